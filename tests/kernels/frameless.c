/* frameless MILLISECONDS: for that long chains of calls take turns that need unwind tables, in a
 * program that keeps no frame pointers:
 *
 *   main → serve → parse → count → advance     nearly always in the last, a leaf without a frame
 *   main → serve → reserve → fill              below a frame whose size is known at run time only
 *   main → serve → interrupt → (raise) → (the code to return to) → on_signal → answer
 *   main → serve → watch → (clock_gettime)     in the vdso, where the kernel has it do the work
 */
#include <alloca.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define NOINLINE __attribute__((noinline, noclone))
/* An empty statement that the compiler must keep comes last, so that no call is a jump. */
#define STAY __asm__ volatile("" : : : "memory")

static inline __attribute__((always_inline)) long now_ms(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000 + time.tv_nsec / 1000000;
}

NOINLINE static long advance(long seed)
{
    for (int turn = 0; turn < 64; turn++) {
        seed = seed * 25214903917 + 11;
        STAY;
    }
    return seed;
}

NOINLINE static long count(long end_ms)
{
    long seed = 1;
    while (now_ms() < end_ms)
        for (int step = 0; step < 3000; step++)
            seed = advance(seed);
    return seed;
}

volatile long sum;

NOINLINE static void parse(long end_ms)
{
    sum = count(end_ms);
    STAY;
}

NOINLINE static void fill(volatile char *room, long bytes)
{
    for (int turn = 0; turn < 200; turn++)
        for (long at = 0; at < bytes; at++)
            room[at] = turn;
}

NOINLINE static void reserve(long end_ms)
{
    long bytes = 64 + end_ms % 64;
    char *room = alloca(bytes);
    while (now_ms() < end_ms)
        fill(room, bytes);
    STAY;
}

NOINLINE static void answer(void)
{
    for (int step = 0; step < 500000; step++)
        STAY;
}

static void on_signal(int number)
{
    (void)number;
    answer();
    STAY;
}

NOINLINE static void interrupt(long end_ms)
{
    while (now_ms() < end_ms)
        raise(SIGUSR1);
    STAY;
}

NOINLINE static void watch(long end_ms)
{
    while (now_ms() < end_ms)
        STAY;
}

NOINLINE static void serve(long begin_ms)
{
    parse(begin_ms + 25);
    reserve(begin_ms + 50);
    interrupt(begin_ms + 75);
    watch(begin_ms + 100);
    STAY;
}

int main(int words, char **word)
{
    long run_ms = words > 1 ? atol(word[1]) : 0;
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = on_signal;
    sigaction(SIGUSR1, &action, NULL);
    for (long end_ms = now_ms() + run_ms; now_ms() < end_ms;)
        serve(now_ms());
    return 0;
}
