/* frames MS: spends MS milliseconds of CPU time in work(), or in a function of libc, below each kind of
 * frame that is hard to walk without a frame pointer. */
#include "common.h"
#include <alloca.h>
#include <immintrin.h>
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>

/* The call before it is no tail call. */
#define KEEP __asm__ volatile("" : : : "memory")
/* What it points to is in memory. */
#define USED(pointer) __asm__ volatile("" : : "r"(pointer) : "memory")

/* In tests/workloads/called.c, a library of its own. */
void called(void);

static uint64_t work_ns;
static char alternate[1 << 16];

NOINLINE void work(void)
{
    spend(work_ns);
    KEEP;
}

NOINLINE void with_alloca(size_t bytes)
{
    char *block = alloca(bytes);
    USED(block);
    work();
    KEEP;
}

NOINLINE void realigned(void)
{
    __attribute__((aligned(64))) char block[64];
    USED(block);
    work();
    KEEP;
}

/* Its arguments are found by a register that the compiler keeps for them. */
NOINLINE void realigned_and_moved(size_t bytes)
{
    __attribute__((aligned(64))) char block[64];
    char *more = alloca(bytes);
    USED(block);
    USED(more);
    work();
    KEEP;
}

__attribute__((target("avx"))) NOINLINE void with_vectors(void)
{
    __m256 vector = _mm256_set1_ps(1.5f);
    USED(&vector);
    work();
    KEEP;
}

NOINLINE void recursive(int depth)
{
    char block[40];
    USED(block);
    if (depth > 1)
        recursive(depth - 1);
    else
        work();
    KEEP;
}

NOINLINE void *threaded(void *unused)
{
    work();
    KEEP;
    return unused;
}

NOINLINE void start_thread_of_work(void)
{
    pthread_t thread;
    if (pthread_create(&thread, NULL, threaded, NULL) != 0)
        exit(1);
    pthread_join(thread, NULL);
}

/* A signal to this thread, sent by a system call that is made right here. */
static inline __attribute__((always_inline)) void signal_self(long number)
{
    long answer;
    __asm__ volatile("syscall"
                     : "=a"(answer)
                     : "0"((long)SYS_kill), "D"((long)getpid()), "S"(number)
                     : "rcx", "r11", "memory");
}

NOINLINE void on_second(int number)
{
    (void)number;
    work();
    KEEP;
}

NOINLINE void on_first(int number)
{
    (void)number;
    signal_self(SIGUSR2);
    KEEP;
}

/* One handler within the other, both on a stack of their own. */
NOINLINE void interrupted(void)
{
    stack_t stack = {.ss_sp = alternate, .ss_size = sizeof alternate};
    struct sigaction first = {.sa_handler = on_first, .sa_flags = SA_ONSTACK};
    struct sigaction second = {.sa_handler = on_second, .sa_flags = SA_ONSTACK};
    sigaltstack(&stack, NULL);
    sigaction(SIGUSR1, &first, NULL);
    sigaction(SIGUSR2, &second, NULL);
    signal_self(SIGUSR1);
    KEEP;
}

NOINLINE void through_plt(void)
{
    uint64_t end = clock_ns(CLOCK_THREAD_CPUTIME_ID) + work_ns;
    while (clock_ns(CLOCK_THREAD_CPUTIME_ID) < end)
        for (int step = 0; step < 10000; step++)
            called();
}

NOINLINE void in_vforked_child(void)
{
    pid_t child = vfork();
    if (child < 0)
        exit(1);
    if (child == 0) {
        work();
        _exit(0);
    }
    waitpid(child, NULL, 0);
}

static int compared;

NOINLINE int compare(const void *left, const void *right)
{
    if (compared++ == 1)
        work();
    return *(const int *)left - *(const int *)right;
}

NOINLINE void sorting(void)
{
    int numbers[8] = {5, 3, 8, 1, 9, 2, 7, 4};
    qsort(numbers, 8, sizeof *numbers, compare);
    USED(numbers);
}

NOINLINE void asking_the_time(void)
{
    struct timespec now;
    uint64_t end = clock_ns(CLOCK_THREAD_CPUTIME_ID) + work_ns;
    while (clock_ns(CLOCK_THREAD_CPUTIME_ID) < end)
        for (int step = 0; step < 1000; step++)
            clock_gettime(CLOCK_MONOTONIC, &now);
}

int main(int argc, char **argv)
{
    if (argc != 2)
        return 2;
    work_ns = strtoull(argv[1], NULL, 10) * 1000000u;
    with_alloca((size_t)argc * 100);
    realigned();
    realigned_and_moved((size_t)argc * 100);
    if (__builtin_cpu_supports("avx"))
        with_vectors();
    recursive(200);
    start_thread_of_work();
    interrupted();
    through_plt();
    in_vforked_child();
    sorting();
    asking_the_time();
    return 0;
}
