/* forks COUNT MS: forks and executes itself COUNT times, as many at a time as there are CPUs; each
 * child spends MS milliseconds of CPU time in child_work and ends. Prints the CPU time of all of it,
 * the parent's included, in ns. */
#include "common.h"
#include <sys/wait.h>

NOINLINE void child_work(uint64_t ms)
{
    spend(ms * 1000000u);
}

NOINLINE void start_child(char **argv)
{
    char *const arguments[] = {argv[0], "child", argv[2], NULL};
    pid_t pid = fork();
    if (pid < 0)
        exit(1);
    if (pid == 0) {
        execv(argv[0], arguments);
        _exit(127);
    }
}

/* Waits for one child; a child that failed ends the program. */
NOINLINE void await_child(void)
{
    int status;
    if (wait(&status) < 0 || status != 0)
        exit(1);
}

static uint64_t ns_of(struct timeval time)
{
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_usec * 1000u;
}

int main(int argc, char **argv)
{
    struct rusage children;
    if (argc != 3)
        return 2;
    if (strcmp(argv[1], "child") == 0) {
        child_work(strtoull(argv[2], NULL, 10));
        return 0;
    }
    int count = atoi(argv[1]), running = 0;
    int at_a_time = (int)sysconf(_SC_NPROCESSORS_ONLN);
    for (int started = 0; started < count; started++) {
        if (running == at_a_time) {
            await_child();
            running--;
        }
        start_child(argv);
        running++;
    }
    while (running-- > 0)
        await_child();
    getrusage(RUSAGE_CHILDREN, &children);
    uint64_t total = ns_of(children.ru_utime) + ns_of(children.ru_stime);
    printf("%llu\n", (unsigned long long)(total + clock_ns(CLOCK_PROCESS_CPUTIME_ID)));
    return 0;
}
