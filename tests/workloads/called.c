/* A library with a function that is called by way of a procedure linkage table. */
#include <stdint.h>

uint64_t calls;

void called(void);

__attribute__((noinline)) void called(void)
{
    for (int step = 0; step < 8; step++)
        __asm__ volatile("" : : : "memory");
    calls++;
}
