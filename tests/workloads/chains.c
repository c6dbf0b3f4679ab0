/* chains SECONDS: runs 64 chains of calls for that long, some through qsort, each with its own share of
 * the time. Which comes next is random: in turn, a round took two ticks of a sampler, whose samples then
 * met the same chains again and again. */
#include "common.h"

#define KEEP __asm__ volatile("" : : : "memory")

NOINLINE void leaf_one(unsigned weight)
{
    for (unsigned step = 0; step < weight * 40000; step++)
        KEEP;
}

NOINLINE void leaf_two(unsigned weight)
{
    for (unsigned step = 0; step < weight * 25000; step++)
        KEEP;
}

#define MIDDLE(name, more)                                                                        \
    NOINLINE void name(unsigned weight)                                                           \
    {                                                                                             \
        leaf_one(weight % 5 + more);                                                              \
        leaf_two(weight % 3 + more);                                                              \
        KEEP;                                                                                     \
    }

MIDDLE(middle_one, 1)
MIDDLE(middle_two, 2)
MIDDLE(middle_three, 3)

static unsigned compared_weight;

NOINLINE int compare(const void *left, const void *right)
{
    leaf_one(compared_weight % 5 + 1);
    leaf_two(compared_weight % 3 + 1);
    KEEP;
    return *(const int *)left - *(const int *)right;
}

NOINLINE void middle_sorting(unsigned weight)
{
    int numbers[2] = {2, 1};
    compared_weight = weight;
    qsort(numbers, 2, sizeof *numbers, compare);
    KEEP;
}

#define OUTER(name, weight)                                                                       \
    NOINLINE void name(void)                                                                      \
    {                                                                                             \
        middle_one(weight);                                                                       \
        middle_two(weight + 1);                                                                   \
        middle_three(weight + 2);                                                                 \
        middle_sorting(weight + 3);                                                               \
        KEEP;                                                                                     \
    }

OUTER(outer_one, 1)
OUTER(outer_two, 2)
OUTER(outer_three, 3)
OUTER(outer_four, 4)
OUTER(outer_five, 5)
OUTER(outer_six, 6)
OUTER(outer_seven, 7)
OUTER(outer_eight, 8)

static void (*const outers[])(void) = {
    outer_one,  outer_two, outer_three, outer_four,
    outer_five, outer_six, outer_seven, outer_eight,
};

int main(int argc, char **argv)
{
    if (argc != 2)
        return 2;
    uint64_t end = clock_ns(CLOCK_MONOTONIC) + strtoull(argv[1], NULL, 10) * 1000000000u;
    srand(1);
    while (clock_ns(CLOCK_MONOTONIC) < end)
        outers[rand() % 8]();
    return 0;
}
