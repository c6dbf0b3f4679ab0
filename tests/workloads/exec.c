/* Compiled with -DWORK=name. exec COUNT OTHER: spends 5 ms in the function of that name, then
 * becomes the program OTHER, which becomes this one again, and so on COUNT times. */
#include "common.h"

NOINLINE void WORK(void)
{
    spend(5000000u);
}

int main(int argc, char **argv)
{
    char left[16];
    if (argc != 3)
        return 2;
    WORK();
    int count = atoi(argv[1]);
    if (count == 0)
        return 0;
    snprintf(left, sizeof left, "%d", count - 1);
    char *const arguments[] = {argv[2], left, argv[0], NULL};
    execv(argv[2], arguments);
    return 1;
}
