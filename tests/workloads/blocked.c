/* blocked: main waits in a function of its own until it is killed; says so before. */
#include "common.h"

NOINLINE void in_pause(void)
{
    pause();
    __asm__ volatile("" : : : "memory");
}

int main(void)
{
    puts("waits");
    fflush(stdout);
    in_pause();
    return 0;
}
