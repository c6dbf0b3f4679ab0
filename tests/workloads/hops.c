/* hops COUNT: a thread sleeps that many times for 10 ms, and while it sleeps another one binds it to the
 * other one of the first two CPUs; prints how often it woke where it had not gone to sleep, and for how
 * many ns it slept. */
#include "common.h"
#include <pthread.h>
#include <sched.h>

static int count, hops;
static uint64_t slept_ns;
static volatile pid_t sleeper;
static volatile int naps, has_ended;

static void sleep_for(long ms)
{
    struct timespec time = {.tv_sec = 0, .tv_nsec = ms * 1000000};
    nanosleep(&time, NULL);
}

NOINLINE void nap(void)
{
    int cpu = sched_getcpu();
    uint64_t begin_ns = clock_ns(CLOCK_MONOTONIC);
    naps++;
    sleep_for(10);
    slept_ns += clock_ns(CLOCK_MONOTONIC) - begin_ns;
    hops += sched_getcpu() != cpu;
}

static void *napping(void *unused)
{
    sleeper = gettid();
    for (int turn = 0; turn < count; turn++)
        nap();
    has_ended = 1;
    return unused;
}

static void bind_to(int cpu)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    sched_setaffinity(sleeper, sizeof set, &set);
}

int main(int argc, char **argv)
{
    pthread_t thread;
    if (argc != 2)
        return 2;
    hurry();
    count = atoi(argv[1]);
    if (pthread_create(&thread, NULL, napping, NULL) != 0)
        return 1;
    for (int seen = 0; !has_ended; sleep_for(1)) {
        if (naps == seen)
            continue;
        seen = naps;
        sleep_for(3);
        bind_to(seen % 2);
    }
    pthread_join(thread, NULL);
    printf("%d %llu\n", hops, (unsigned long long)slept_ns);
    return 0;
}
