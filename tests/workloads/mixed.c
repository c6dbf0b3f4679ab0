/* mixed MILLISECONDS: four processes of fifty threads each compute, sleep, hand on a mutex, write to
 * themselves through a pipe, and move between the CPUs for that long. Then they stop, one thread after
 * another, while nothing else runs, and the first process prints what the kernel's scheduler and the
 * clock say of each thread's whole life: tid, ns on a CPU, ns in a run queue, ns of the clock. */
#include "common.h"
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <sys/mman.h>
#include <sys/wait.h>

enum { PROCESSES = 4, THREADS = 50, ALL = PROCESSES * THREADS, CPUS = 2 };

struct life {
    int tid;
    uint64_t created_ns, ended_ns, on_ns, queued_ns;
    sem_t may_end, has_read;
};

/* Shared by all processes. */
static struct life *lives;
static uint64_t end_ns;
static pthread_mutex_t contended = PTHREAD_MUTEX_INITIALIZER;

static void sleep_for(uint64_t ns)
{
    struct timespec time = {.tv_sec = 0, .tv_nsec = (long)ns};
    nanosleep(&time, NULL);
}

static void run_on(int cpu)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu % CPUS, &set);
    sched_setaffinity(0, sizeof set, &set);
}

NOINLINE void compute(int turn)
{
    (void)turn;
    spend(300000);
}

NOINLINE void doze(int turn)
{
    sleep_for(100000u * (unsigned)(turn % 17 + 1));
    spend(50000);
}

NOINLINE void hand_on(int turn)
{
    pthread_mutex_lock(&contended);
    spend(20000);
    if (turn % 8 == 0)
        sleep_for(200000);
    pthread_mutex_unlock(&contended);
    sleep_for(1000000);
}

NOINLINE void pipe_on(int turn)
{
    int ends[2];
    char byte = (char)turn;
    if (pipe(ends) != 0 || write(ends[1], &byte, 1) != 1 || read(ends[0], &byte, 1) != 1)
        abort();
    close(ends[0]);
    close(ends[1]);
    sched_yield();
    sleep_for(500000);
}

NOINLINE void move(int turn)
{
    run_on(turn);
    spend(100000);
    sleep_for(300000);
    run_on(turn + 1);
    spend(100000);
}

/* What the scheduler has counted up to the last time that it looked. */
static void read_schedstat(struct life *life)
{
    unsigned long long on_ns = 0, queued_ns = 0;
    FILE *file = fopen("/proc/thread-self/schedstat", "r");
    if (file == NULL || fscanf(file, "%llu %llu", &on_ns, &queued_ns) != 2)
        abort();
    fclose(file);
    life->on_ns = on_ns;
    life->queued_ns = queued_ns;
}

/* Both at one time: once more where the thread lost the CPU between them. It has just got it where it
 * reads, which is when the scheduler looked. */
static void read_account(struct life *life)
{
    for (;;) {
        uint64_t begin_ns = clock_ns(CLOCK_MONOTONIC);
        read_schedstat(life);
        life->ended_ns = clock_ns(CLOCK_MONOTONIC);
        if (life->ended_ns - begin_ns < 1000000)
            return;
        sleep_for(1000000);
    }
}

static void *live(void *argument)
{
    static void (*const kinds[])(int) = {compute, doze, hand_on, pipe_on, move};
    struct life *life = argument;
    int number = (int)(life - lives);
    for (int turn = number; clock_ns(CLOCK_MONOTONIC) < end_ns; turn++)
        kinds[number % 5](turn);
    life->tid = gettid();
    while (sem_wait(&life->may_end) != 0) {
    }
    read_account(life);
    sem_post(&life->has_read);
    return NULL;
}

/* Creates the threads without losing the CPU between looking at the clock and creating one: what passes
 * there is no thread's time. They do not inherit that. */
static void be_a_process(struct life *own)
{
    pthread_t threads[THREADS];
    struct sched_param first = {.sched_priority = 1}, ordinary = {.sched_priority = 0};
    if (sched_setscheduler(0, SCHED_FIFO | SCHED_RESET_ON_FORK, &first) != 0)
        abort();
    for (int index = 0; index < THREADS; index++) {
        own[index].created_ns = clock_ns(CLOCK_MONOTONIC);
        if (pthread_create(&threads[index], NULL, live, &own[index]) != 0)
            abort();
    }
    if (sched_setscheduler(0, SCHED_OTHER, &ordinary) != 0)
        abort();
    for (int index = 0; index < THREADS; index++)
        pthread_join(threads[index], NULL);
}

int main(int argc, char **argv)
{
    if (argc != 2)
        return 2;
    lives = mmap(NULL, ALL * sizeof *lives, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (lives == MAP_FAILED)
        return 1;
    for (int index = 0; index < ALL; index++)
        if (sem_init(&lives[index].may_end, 1, 0) != 0 || sem_init(&lives[index].has_read, 1, 0) != 0)
            return 1;
    uint64_t run_ns = strtoull(argv[1], NULL, 10) * 1000000u;
    end_ns = clock_ns(CLOCK_MONOTONIC) + run_ns;
    for (int process = 0; process < PROCESSES; process++)
        if (fork() == 0) {
            be_a_process(&lives[process * THREADS]);
            _exit(0);
        }
    /* By then the threads wait to be let go. */
    struct timespec time = {.tv_sec = (time_t)(run_ns / 1000000000u) + 1};
    nanosleep(&time, NULL);
    for (int index = 0; index < ALL; index++) {
        sem_post(&lives[index].may_end);
        while (sem_wait(&lives[index].has_read) != 0) {
        }
        sleep_for(1000000);
    }
    while (wait(NULL) > 0) {
    }
    for (int index = 0; index < ALL; index++) {
        struct life *life = &lives[index];
        printf("%d %llu %llu %llu\n", life->tid, (unsigned long long)life->on_ns,
               (unsigned long long)life->queued_ns,
               (unsigned long long)(life->ended_ns - life->created_ns));
    }
    return 0;
}
