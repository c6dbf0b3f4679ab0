/* Two threads that work without end, each at the bottom of chains of 18 calls, which makes stacks
 * of about twenty frames. Built with frame pointers. */

#include <pthread.h>
#include <stddef.h>
#include <stdint.h>

#define STEPS 2000

static volatile uint64_t result;

/* A few microseconds of arithmetic, so that nearly every sample hits at full depth. */
__attribute__((noinline)) static uint64_t work(uint64_t seed)
{
    for (int step = 0; step < STEPS; step++)
        seed = seed * 6364136223846793005u + 1442695040888963407u;
    return seed;
}

/* The multiplication after the call keeps it from becoming a jump. */
#define LINK(name, next)                                          \
    __attribute__((noinline)) static uint64_t name(uint64_t seed) \
    {                                                             \
        return next(seed + 1) * 3;                                \
    }

#define CHAIN(chain)                                                    \
    LINK(chain##_18, work) LINK(chain##_17, chain##_18)                 \
    LINK(chain##_16, chain##_17) LINK(chain##_15, chain##_16)           \
    LINK(chain##_14, chain##_15) LINK(chain##_13, chain##_14)           \
    LINK(chain##_12, chain##_13) LINK(chain##_11, chain##_12)           \
    LINK(chain##_10, chain##_11) LINK(chain##_09, chain##_10)           \
    LINK(chain##_08, chain##_09) LINK(chain##_07, chain##_08)           \
    LINK(chain##_06, chain##_07) LINK(chain##_05, chain##_06)           \
    LINK(chain##_04, chain##_05) LINK(chain##_03, chain##_04)           \
    LINK(chain##_02, chain##_03) LINK(chain##_01, chain##_02)

CHAIN(parse)
CHAIN(plan)
CHAIN(fetch)
CHAIN(render)

static void *run(void *unused)
{
    uint64_t seed = 1;
    (void)unused;
    for (;;) {
        seed = parse_01(seed);
        seed = plan_01(seed);
        seed = fetch_01(seed);
        seed = render_01(seed);
        result = seed;
    }
    return NULL;
}

int main(void)
{
    pthread_t second;
    if (pthread_create(&second, NULL, run, NULL) != 0)
        return 1;
    run(NULL);
    return 0;
}
