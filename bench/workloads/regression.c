/* Eight functions in rounds of about ten milliseconds: `regression ROUNDS PERCENT` has `parse` do so
 * many percent more than its share.
 *
 * Each is a chain of operations that wait for one another, within the registers and the first cache, so
 * that its time does not depend on what the other thread of the core, or of the cache, does. */

#include <stdint.h>
#include <stdlib.h>

#define ROUND 100000

static uint32_t ring[512];
static volatile uint64_t seed = 1;
static volatile double ratio = 1.0000001;

#define PART __attribute__((noinline)) static uint64_t

#define CHAIN(name, step)                           \
    PART name(int times)                            \
    {                                               \
        uint64_t value = seed;                      \
        for (int time = 0; time < times; time++)    \
            value = step;                           \
        return value;                               \
    }

#define ROTATED(value, bits) ((value) << (bits) | (value) >> (64 - (bits)))

CHAIN(parse, (value ^ (uint8_t)time) * 1099511628211u)
CHAIN(checksum, value * 6364136223846793005u + 1442695040888963407u)
CHAIN(hash, ROTATED(value, 31) * 0x9e3779b97f4a7c15u)
CHAIN(shift, (value ^ value >> 7) * 0xff51afd7ed558ccdu)
CHAIN(mix, (value + time) * 0xbf58476d1ce4e5b9u)
CHAIN(follow, ring[value % 512])

PART grow(int times)
{
    double value = seed, by = ratio;
    for (int time = 0; time < times; time++)
        value = value * by + 1;
    return value;
}

PART average(int times)
{
    double value = seed, by = ratio;
    for (int time = 0; time < times; time++)
        value = value + by;
    return value;
}

int main(int arguments, char **argument)
{
    int rounds = arguments > 1 ? atoi(argument[1]) : 1000;
    int percent = arguments > 2 ? atoi(argument[2]) : 0;
    for (int at = 0; at < 512; at++)
        ring[at] = (at + 331) % 512;
    uint64_t sum = 0;
    for (int round = 0; round < rounds; round++) {
        sum += parse(25 * ROUND + 25 * ROUND / 100 * percent);
        sum += checksum(20 * ROUND) + hash(15 * ROUND) + shift(11 * ROUND);
        sum += mix(12 * ROUND) + follow(6 * ROUND) + grow(4 * ROUND) + average(4 * ROUND);
    }
    seed = sum;
    return 0;
}
