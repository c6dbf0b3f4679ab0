/* Two threads that work without end at the bottom of chains of calls. Without FRAMES, four chains of
 * 18 calls make stacks of about twenty frames. With -DFRAMES=12 or 40, two chains make stacks of that
 * many frames, those of libc in which a thread begins included. */

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

#define CHAIN(chain, end)                                               \
    LINK(chain##_18, end) LINK(chain##_17, chain##_18)                  \
    LINK(chain##_16, chain##_17) LINK(chain##_15, chain##_16)           \
    LINK(chain##_14, chain##_15) LINK(chain##_13, chain##_14)           \
    LINK(chain##_12, chain##_13) LINK(chain##_11, chain##_12)           \
    LINK(chain##_10, chain##_11) LINK(chain##_09, chain##_10)           \
    LINK(chain##_08, chain##_09) LINK(chain##_07, chain##_08)           \
    LINK(chain##_06, chain##_07) LINK(chain##_05, chain##_06)           \
    LINK(chain##_04, chain##_05) LINK(chain##_03, chain##_04)           \
    LINK(chain##_02, chain##_03) LINK(chain##_01, chain##_02)

CHAIN(parse, work)
CHAIN(fetch, work)

#ifndef FRAMES
CHAIN(plan, work)
CHAIN(render, work)

static uint64_t calls(uint64_t seed)
{
    return render_01(fetch_01(plan_01(parse_01(seed))));
}
#elif FRAMES == 12 /* 8 calls, work, run, and libc's two functions below it */
static uint64_t calls(uint64_t seed)
{
    return fetch_11(parse_11(seed));
}
#elif FRAMES == 40 /* 36 calls, and the same */
CHAIN(plan, parse_01)
CHAIN(render, fetch_01)

static uint64_t calls(uint64_t seed)
{
    return render_01(plan_01(seed));
}
#else
#error "FRAMES is 12 or 40"
#endif

static void *run(void *unused)
{
    uint64_t seed = 1;
    (void)unused;
    for (;;) {
        seed = calls(seed);
        result = seed;
    }
    return NULL;
}

int main(void)
{
    pthread_t first, second;
    if (pthread_create(&first, NULL, run, NULL) != 0 || pthread_create(&second, NULL, run, NULL) != 0)
        return 1;
    pthread_join(first, NULL);
    return 0;
}
