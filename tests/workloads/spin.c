/* Compiled with -DWORK=name and -DBEFORE=bytes. spin MS: spends MS milliseconds of CPU time in the
 * function of that name, which lies behind so many bytes of code. */
#include "common.h"

#define TEXT_OF(number) #number
#define TEXT(number) TEXT_OF(number)

NOINLINE void before(void)
{
    __asm__ volatile(".skip " TEXT(BEFORE) ", 0x90");
}

NOINLINE void WORK(uint64_t ms)
{
    spend(ms * 1000000u);
}

int main(int argc, char **argv)
{
    if (argc != 2)
        return 2;
    if (argv[1][0] == 'x')
        before();
    WORK(strtoull(argv[1], NULL, 10));
    return 0;
}
