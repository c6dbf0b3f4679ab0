/* handed threads|processes COUNT MS: one produces every MS milliseconds and the other consumes, that many
 * times, by a condition variable between two threads or by a pipe between two processes; prints how long
 * the consumer waited for the producer, in ns. */
#include "common.h"
#include <pthread.h>
#include <sys/wait.h>

static pthread_mutex_t guard = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t condition = PTHREAD_COND_INITIALIZER;
static int produced, count, pause_ms;
static int pipe_ends[2];

/* What is produced takes longer than what is consumed, so that each one is waited for. */
static void pause_between(void)
{
    struct timespec time = {.tv_sec = 0, .tv_nsec = pause_ms * 1000000};
    nanosleep(&time, NULL);
}

NOINLINE void produce_by_condition(void)
{
    pthread_mutex_lock(&guard);
    produced++;
    pthread_cond_signal(&condition);
    pthread_mutex_unlock(&guard);
    /* So that the call is none that takes this function's place: it wakes the other one, too. */
    __asm__ volatile("" : : : "memory");
}

NOINLINE void consume_by_condition(void)
{
    pthread_mutex_lock(&guard);
    while (produced == 0)
        pthread_cond_wait(&condition, &guard);
    produced--;
    pthread_mutex_unlock(&guard);
}

NOINLINE void produce_by_pipe(void)
{
    if (write(pipe_ends[1], "", 1) != 1)
        abort();
}

NOINLINE void consume_by_pipe(void)
{
    char byte;
    if (read(pipe_ends[0], &byte, 1) != 1)
        abort();
}

static void *producer(void *unused)
{
    for (int turn = 0; turn < count; turn++) {
        pause_between();
        produce_by_condition();
    }
    return unused;
}

static void produce_in_a_child(void)
{
    if (fork() != 0)
        return;
    for (int turn = 0; turn < count; turn++) {
        pause_between();
        produce_by_pipe();
    }
    _exit(0);
}

int main(int argc, char **argv)
{
    pthread_t thread;
    if (argc != 4 || pipe(pipe_ends) != 0)
        return 2;
    hurry();
    count = atoi(argv[2]);
    pause_ms = atoi(argv[3]);
    int by_threads = strcmp(argv[1], "threads") == 0;
    if (!by_threads)
        produce_in_a_child();
    else if (pthread_create(&thread, NULL, producer, NULL) != 0)
        return 1;
    uint64_t waited_ns = 0;
    for (int turn = 0; turn < count; turn++) {
        uint64_t begin_ns = clock_ns(CLOCK_MONOTONIC);
        if (by_threads)
            consume_by_condition();
        else
            consume_by_pipe();
        waited_ns += clock_ns(CLOCK_MONOTONIC) - begin_ns;
    }
    if (by_threads)
        pthread_join(thread, NULL);
    else
        wait(NULL);
    printf("%llu\n", (unsigned long long)waited_ns);
    return 0;
}
