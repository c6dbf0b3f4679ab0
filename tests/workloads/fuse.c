/* fuse FOLDER FILE USER: mounts at FOLDER, for that user, a file system that has one file, `program`,
 * with the bytes of FILE, and says so. After SIGUSR1 it takes requests and answers none. It speaks the
 * kernel's own protocol (linux/fuse.h). */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum { PROGRAM = 2, LONG = 100000, LARGEST = 1 << 17 };

static volatile sig_atomic_t is_silent;
static int device, file;
static uint64_t bytes;

static void fall_silent(int signal)
{
    (void)signal;
    is_silent = 1;
}

static void answer(uint64_t unique, int error, const void *data, size_t length)
{
    struct fuse_out_header header = {
        .len = (uint32_t)(sizeof header + length), .error = -error, .unique = unique};
    struct iovec parts[] = {{&header, sizeof header}, {(void *)data, length}};
    /* A request that was interrupted meanwhile is no longer known. */
    if (writev(device, parts, 2) < 0 && errno != ENOENT)
        exit(1);
}

static struct fuse_attr attributes(uint64_t node)
{
    struct fuse_attr attr = {.ino = node, .nlink = 1, .blksize = 4096};
    attr.mode = node == PROGRAM ? S_IFREG | 0555 : S_IFDIR | 0555;
    attr.size = node == PROGRAM ? bytes : 0;
    return attr;
}

static void look_up(const struct fuse_in_header *in, const char *name)
{
    struct fuse_entry_out out = {.nodeid = PROGRAM, .entry_valid = LONG, .attr_valid = LONG};
    out.attr = attributes(PROGRAM);
    int known = in->nodeid == FUSE_ROOT_ID && strcmp(name, "program") == 0;
    answer(in->unique, known ? 0 : ENOENT, &out, known ? sizeof out : 0);
}

static void read_file(const struct fuse_in_header *in, const struct fuse_read_in *wanted)
{
    static char buffer[LARGEST];
    size_t size = wanted->size < LARGEST ? wanted->size : LARGEST;
    ssize_t got = pread(file, buffer, size, (off_t)wanted->offset);
    answer(in->unique, got < 0 ? EIO : 0, buffer, got < 0 ? 0 : (size_t)got);
}

static void serve(const struct fuse_in_header *in, const void *argument)
{
    struct fuse_init_out init = {.major = FUSE_KERNEL_VERSION,
                                 .minor = FUSE_KERNEL_MINOR_VERSION,
                                 .max_readahead = LARGEST,
                                 .max_write = 4096};
    struct fuse_attr_out attr = {.attr_valid = LONG, .attr = attributes(in->nodeid)};
    struct fuse_open_out opened = {0};
    struct fuse_statfs_out whole = {.st = {.bsize = 4096, .namelen = 255}};
    switch (in->opcode) {
    case FUSE_INIT:
        return answer(in->unique, 0, &init, sizeof init);
    case FUSE_LOOKUP:
        return look_up(in, argument);
    case FUSE_GETATTR:
        return answer(in->unique, 0, &attr, sizeof attr);
    case FUSE_OPEN:
    case FUSE_OPENDIR:
        return answer(in->unique, 0, &opened, sizeof opened);
    case FUSE_STATFS:
        return answer(in->unique, 0, &whole, sizeof whole);
    case FUSE_READ:
        return read_file(in, argument);
    case FUSE_FLUSH:
    case FUSE_RELEASE:
    case FUSE_RELEASEDIR:
        return answer(in->unique, 0, NULL, 0);
    case FUSE_FORGET:
    case FUSE_BATCH_FORGET:
    case FUSE_INTERRUPT:
        return;
    default:
        return answer(in->unique, ENOSYS, NULL, 0);
    }
}

int main(int argc, char **argv)
{
    static _Alignas(8) char request[FUSE_MIN_READ_BUFFER + LARGEST];
    struct stat data;
    char options[128];
    struct sigaction silent = {.sa_handler = fall_silent, .sa_flags = SA_RESTART};
    if (argc != 4)
        return 2;
    device = open("/dev/fuse", O_RDWR | O_CLOEXEC);
    file = open(argv[2], O_RDONLY | O_CLOEXEC);
    if (device < 0 || file < 0 || fstat(file, &data) != 0)
        return 1;
    bytes = (uint64_t)data.st_size;
    sigaction(SIGUSR1, &silent, NULL);
    snprintf(options, sizeof options, "fd=%d,rootmode=40000,user_id=%s,group_id=%s", device,
             argv[3], argv[3]);
    if (mount("test", argv[1], "fuse", MS_NOSUID | MS_NODEV, options) != 0)
        return 1;
    puts("mounted");
    fflush(stdout);
    for (;;) {
        ssize_t got = read(device, request, sizeof request);
        if (got < 0 && errno == ENODEV)
            return 0;
        if (got < (ssize_t)sizeof(struct fuse_in_header) || is_silent)
            continue;
        serve((struct fuse_in_header *)request, request + sizeof(struct fuse_in_header));
    }
}
