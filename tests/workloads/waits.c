/* waits MILLISECONDS: threads that wait for that long, each in functions of its own, and measure each
 * wait around the call that waits: sleeping, for a condition, for a pipe, for a time in poll, for a mutex,
 * and for other threads. Prints each function's name, how often it waited, for how many ns, and how many
 * of these the call took of the CPU. */
#include "common.h"
#include <poll.h>
#include <pthread.h>

#define MILLISECOND 1000000u

enum { NANOSLEEP, CONDITION, READ, POLL, MUTEX, JOIN, FUNCTIONS };

static const char *const names[] = {"in_nanosleep", "in_condition", "in_read",
                                    "in_poll",      "in_mutex",     "in_join"};
static struct {
    uint64_t waits, ns, ran_ns;
} truth[FUNCTIONS];
static uint64_t end_ns;
static int wake_up[2], silent[2];
static pthread_mutex_t contended = PTHREAD_MUTEX_INITIALIZER, guard = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t condition = PTHREAD_COND_INITIALIZER;
static int is_set;

static void sleep_for(uint64_t ns)
{
    struct timespec time = {.tv_sec = 0, .tv_nsec = (long)ns};
    nanosleep(&time, NULL);
}

/* Measures the statement in the function that it stands in. */
#define MEASURED(function, statement)                                                    \
    do {                                                                                 \
        uint64_t begin_ns = clock_ns(CLOCK_MONOTONIC);                                   \
        uint64_t ran_ns = clock_ns(CLOCK_THREAD_CPUTIME_ID);                             \
        statement;                                                                       \
        truth[function].ran_ns += clock_ns(CLOCK_THREAD_CPUTIME_ID) - ran_ns;            \
        truth[function].ns += clock_ns(CLOCK_MONOTONIC) - begin_ns;                      \
        truth[function].waits++;                                                         \
    } while (0)

NOINLINE void in_nanosleep(void)
{
    MEASURED(NANOSLEEP, sleep_for(7 * MILLISECOND));
}

NOINLINE void in_condition(void)
{
    MEASURED(CONDITION, while (!is_set) pthread_cond_wait(&condition, &guard));
}

NOINLINE void in_read(void)
{
    char byte;
    MEASURED(READ, if (read(wake_up[0], &byte, 1) != 1) abort());
}

NOINLINE void in_poll(void)
{
    struct pollfd never = {.fd = silent[0], .events = POLLIN};
    MEASURED(POLL, poll(&never, 1, 9));
}

NOINLINE void in_mutex(void)
{
    MEASURED(MUTEX, pthread_mutex_lock(&contended));
}

NOINLINE void in_join(pthread_t thread)
{
    MEASURED(JOIN, pthread_join(thread, NULL));
}

static int goes_on(void)
{
    return clock_ns(CLOCK_MONOTONIC) < end_ns;
}

static void *sleeping(void *unused)
{
    while (goes_on())
        in_nanosleep();
    return unused;
}

static void *waiting(void *unused)
{
    while (goes_on()) {
        pthread_mutex_lock(&guard);
        is_set = 0;
        in_condition();
        pthread_mutex_unlock(&guard);
    }
    return unused;
}

static void *reading(void *unused)
{
    while (goes_on())
        in_read();
    return unused;
}

static void *polling(void *unused)
{
    while (goes_on())
        in_poll();
    return unused;
}

static void *contending(void *unused)
{
    while (goes_on()) {
        in_mutex();
        pthread_mutex_unlock(&contended);
        sleep_for(MILLISECOND);
    }
    return unused;
}

/* Wakes the others, and keeps the mutex while it sleeps; goes on until the others have ended. */
static volatile int others_run = 1;

static void *waking(void *unused)
{
    while (others_run) {
        pthread_mutex_lock(&contended);
        sleep_for(4 * MILLISECOND);
        pthread_mutex_unlock(&contended);
        pthread_mutex_lock(&guard);
        is_set = 1;
        pthread_cond_signal(&condition);
        pthread_mutex_unlock(&guard);
        if (write(wake_up[1], "", 1) != 1)
            abort();
        sleep_for(2 * MILLISECOND);
    }
    return unused;
}

int main(int argc, char **argv)
{
    static void *(*const others[])(void *) = {sleeping, waiting, reading, polling, contending};
    enum { OTHERS = sizeof others / sizeof *others };
    pthread_t threads[OTHERS], waker;
    if (argc != 2 || pipe(wake_up) != 0 || pipe(silent) != 0)
        return 2;
    hurry();
    end_ns = clock_ns(CLOCK_MONOTONIC) + strtoull(argv[1], NULL, 10) * MILLISECOND;
    for (int index = 0; index < OTHERS; index++)
        if (pthread_create(&threads[index], NULL, others[index], NULL) != 0)
            return 1;
    if (pthread_create(&waker, NULL, waking, NULL) != 0)
        return 1;
    for (int index = 0; index < OTHERS; index++)
        in_join(threads[index]);
    others_run = 0;
    pthread_join(waker, NULL);
    for (int index = 0; index < FUNCTIONS; index++)
        printf("%s %llu %llu %llu\n", names[index], (unsigned long long)truth[index].waits,
               (unsigned long long)truth[index].ns, (unsigned long long)truth[index].ran_ns);
    return 0;
}
