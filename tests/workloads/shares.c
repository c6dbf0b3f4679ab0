/* shares SECONDS: spends that much CPU time at the ends of main -> a -> b -> leaf_*, 50, 30, 15 and
 * 5 % of it, in rounds of 7.3 ms, and prints each function's share of the process's CPU time. */
#include "common.h"

#define ROUND_NS 7300000u

static uint64_t spent_ns[4];

#define LEAF(name, index, percent)                                                                \
    NOINLINE void name(void)                                                                      \
    {                                                                                             \
        uint64_t start = clock_ns(CLOCK_THREAD_CPUTIME_ID);                                       \
        spin_until(CLOCK_THREAD_CPUTIME_ID, start + ROUND_NS / 100u * (percent));                 \
        spent_ns[index] += clock_ns(CLOCK_THREAD_CPUTIME_ID) - start;                             \
    }

LEAF(leaf_one, 0, 50)
LEAF(leaf_two, 1, 30)
LEAF(leaf_three, 2, 15)
LEAF(leaf_four, 3, 5)

NOINLINE void b(void)
{
    leaf_one();
    leaf_two();
    leaf_three();
    leaf_four();
}

NOINLINE void a(void)
{
    b();
}

int main(int argc, char **argv)
{
    static const char *const names[] = {"leaf_one", "leaf_two", "leaf_three", "leaf_four"};
    if (argc != 2)
        return 2;
    hurry();
    uint64_t end = strtoull(argv[1], NULL, 10) * 1000000000u;
    while (clock_ns(CLOCK_PROCESS_CPUTIME_ID) < end)
        a();
    double total = (double)clock_ns(CLOCK_PROCESS_CPUTIME_ID);
    for (int index = 0; index < 4; index++)
        printf("%s %.6f\n", names[index], (double)spent_ns[index] / total);
    return 0;
}
