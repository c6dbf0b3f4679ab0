/* A reference for callers, a library that a test loads: libunwind walks the stack of another process
 * from registers and descriptions that are given, and reads its memory. */
#define _GNU_SOURCE
#include <libunwind.h>
#include <stdint.h>
#include <string.h>
#include <sys/uio.h>

/* A file in the process, and where its sorted table of descriptions (`.eh_frame_hdr`) is there. */
struct image {
    uint64_t start, end, header;
};

struct target {
    int pid;
    const uint64_t *registers; /* by DWARF's numbers, and then the instruction pointer */
    const struct image *images;
    uint64_t image_count;
};

int _Ux86_64_dwarf_search_unwind_table(unw_addr_space_t, unw_word_t, unw_dyn_info_t *, unw_proc_info_t *,
                                       int, void *);

static int read_memory(int pid, uint64_t address, void *into, size_t bytes)
{
    struct iovec local = {into, bytes}, remote = {(void *)address, bytes};
    return process_vm_readv(pid, &local, 1, &remote, 1, 0) == (ssize_t)bytes ? 0 : -UNW_EINVAL;
}

static int access_mem(unw_addr_space_t space, unw_word_t address, unw_word_t *value, int write, void *target)
{
    (void)space;
    return write ? -UNW_EREADONLYREG : read_memory(((struct target *)target)->pid, address, value, 8);
}

static int access_reg(unw_addr_space_t space, unw_regnum_t number, unw_word_t *value, int write, void *target)
{
    (void)space;
    if (write || number < 0 || number > UNW_X86_64_RIP)
        return -UNW_EBADREG;
    *value = ((struct target *)target)->registers[number];
    return 0;
}

static int find_proc_info(unw_addr_space_t space, unw_word_t address, unw_proc_info_t *info, int needed,
                          void *argument)
{
    const struct target *target = argument;
    const struct image *image = target->images, *end = image + target->image_count;
    while (image < end && (address < image->start || image->end <= address))
        image++;
    /* Version, encodings, the address of .eh_frame, the number of entries. */
    uint8_t header[12];
    static const uint8_t expected[4] = {1, 0x1b, 0x03, 0x3b};
    if (image == end || image->header == 0 || read_memory(target->pid, image->header, header, 12) != 0 ||
        memcmp(header, expected, 4) != 0)
        return -UNW_ENOINFO;
    uint32_t entries;
    memcpy(&entries, header + 8, sizeof entries);
    unw_dyn_info_t table = {.start_ip = image->start, .end_ip = image->end};
    table.format = UNW_INFO_FORMAT_REMOTE_TABLE;
    table.u.rti.segbase = image->header;
    table.u.rti.table_len = entries; /* of 8 bytes each */
    table.u.rti.table_data = image->header + 12;
    return _Ux86_64_dwarf_search_unwind_table(space, address, &table, info, needed, argument);
}

static void put_unwind_info(unw_addr_space_t space, unw_proc_info_t *info, void *argument)
{
    (void)space, (void)info, (void)argument;
}

static int no_dynamic_list(unw_addr_space_t space, unw_word_t *address, void *argument)
{
    (void)space, (void)address, (void)argument;
    return -UNW_ENOINFO;
}

static int no_float(unw_addr_space_t space, unw_regnum_t number, unw_fpreg_t *value, int write, void *argument)
{
    (void)space, (void)number, (void)value, (void)write, (void)argument;
    return -UNW_EBADREG;
}

static int no_resume(unw_addr_space_t space, unw_cursor_t *cursor, void *argument)
{
    (void)space, (void)cursor, (void)argument;
    return -UNW_EINVAL;
}

static int no_name(unw_addr_space_t space, unw_word_t address, char *name, size_t bytes, unw_word_t *offset,
                   void *argument)
{
    (void)space, (void)address, (void)name, (void)bytes, (void)offset, (void)argument;
    return -UNW_ENOINFO;
}

/* The instruction pointers of a stack, leaf first; their number. */
int reference_walk(const struct target *target, uint64_t *addresses, int most)
{
    static unw_accessors_t accessors = {
        .find_proc_info = find_proc_info,
        .put_unwind_info = put_unwind_info,
        .get_dyn_info_list_addr = no_dynamic_list,
        .access_mem = access_mem,
        .access_reg = access_reg,
        .access_fpreg = no_float,
        .resume = no_resume,
        .get_proc_name = no_name,
    };
    static unw_addr_space_t space;
    if (space == NULL) {
        space = unw_create_addr_space(&accessors, 0);
        unw_set_caching_policy(space, UNW_CACHE_GLOBAL);
    }
    unw_cursor_t cursor;
    if (unw_init_remote(&cursor, space, (void *)target) != 0)
        return 0;
    int count = 0;
    do {
        if (unw_get_reg(&cursor, UNW_REG_IP, &addresses[count]) != 0 || addresses[count] == 0)
            break;
        count++;
    } while (count < most && unw_step(&cursor) > 0);
    return count;
}
