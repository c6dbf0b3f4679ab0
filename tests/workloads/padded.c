/* padded MS: spends MS milliseconds of CPU time, in a program with the unwind rows of FUNCTIONS functions
 * that are never called. */
#include "common.h"

#define TEXT(value) #value
#define REPEAT(value) ".rept " TEXT(value) "\n"

__asm__(".text\n" REPEAT(FUNCTIONS)
        "    .cfi_startproc\n"
        "    push %rbx\n"
        "    .cfi_adjust_cfa_offset 8\n"
        "    pop %rbx\n"
        "    .cfi_adjust_cfa_offset -8\n"
        "    ret\n"
        "    .p2align 5\n"
        "    .cfi_endproc\n"
        ".endr\n");

NOINLINE void work(uint64_t ns)
{
    spend(ns);
    __asm__ volatile("" : : : "memory");
}

int main(int argc, char **argv)
{
    if (argc != 2)
        return 2;
    work(strtoull(argv[1], NULL, 10) * 1000000u);
    return 0;
}
