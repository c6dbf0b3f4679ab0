/* recurse DEPTH SECONDS: DEPTH frames of recurse(), and below the last of them some CPU time. */
#include "common.h"

NOINLINE void bottom(uint64_t seconds)
{
    spend(seconds * 1000000000u);
}

NOINLINE void recurse(int depth, uint64_t seconds)
{
    if (depth > 1)
        recurse(depth - 1, seconds);
    else
        bottom(seconds);
    /* Something is left to do, so that the call is no tail call whatever the compiler's flags. */
    __asm__ volatile("" : : : "memory");
}

int main(int argc, char **argv)
{
    if (argc != 3)
        return 2;
    recurse(atoi(argv[1]), strtoull(argv[2], NULL, 10));
    return 0;
}
