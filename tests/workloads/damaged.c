/* damaged MS LIBRARY...: loads the libraries and works MS milliseconds in a function of each. One whose
 * name holds `emptied` is then cut short to the part of it that is loaded. Writes the nanoseconds spent
 * in each. */
#include "common.h"
#include <dlfcn.h>
#include <elf.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

typedef void work(uint64_t ns);

/* Where the part of a file that is loaded ends. */
static off_t loaded_end(int file)
{
    Elf64_Ehdr header;
    Elf64_Phdr segment;
    off_t end = 0;
    if (pread(file, &header, sizeof header, 0) != sizeof header)
        exit(1);
    for (int i = 0; i < header.e_phnum; i++) {
        off_t at = (off_t)(header.e_phoff + (uint64_t)i * sizeof segment);
        if (pread(file, &segment, sizeof segment, at) != sizeof segment)
            exit(1);
        off_t segment_end = (off_t)(segment.p_offset + segment.p_filesz);
        if (segment.p_type == PT_LOAD && segment_end > end)
            end = segment_end;
    }
    return end;
}

static void cut_short(const char *path)
{
    int file = open(path, O_RDWR);
    if (file < 0 || ftruncate(file, loaded_end(file)) != 0)
        exit(1);
    close(file);
}

int main(int argc, char **argv)
{
    if (argc < 3)
        return 2;
    uint64_t ns = (uint64_t)atoi(argv[1]) * 1000000u;
    for (int i = 2; i < argc; i++) {
        void *library = dlopen(argv[i], RTLD_NOW);
        work *outer = library == NULL ? NULL : (work *)dlsym(library, "plugin_outer");
        if (outer == NULL) {
            fprintf(stderr, "failed to load: %s\n", dlerror());
            return 1;
        }
        uint64_t before = clock_ns(CLOCK_THREAD_CPUTIME_ID);
        outer(ns);
        printf("%llu\n", (unsigned long long)(clock_ns(CLOCK_THREAD_CPUTIME_ID) - before));
        if (strstr(argv[i], "emptied") != NULL)
            cut_short(argv[i]);
    }
    return 0;
}
