/* faults PAGES: touches so many pages for the first time, and writes how many minor faults the kernel
 * counts for it. */
#include "common.h"
#include <sys/mman.h>

NOINLINE void touch(volatile char *memory, size_t pages)
{
    for (size_t page = 0; page < pages; page++)
        memory[page * 4096] = 1;
}

int main(int argc, char **argv)
{
    if (argc != 2)
        return 2;
    size_t pages = (size_t)atol(argv[1]);
    char *memory = mmap(NULL, pages * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED || madvise(memory, pages * 4096, MADV_NOHUGEPAGE) != 0)
        return 1;
    touch(memory, pages);
    struct rusage usage;
    if (getrusage(RUSAGE_SELF, &usage) != 0)
        return 1;
    printf("%ld\n", usage.ru_minflt);
    return 0;
}
