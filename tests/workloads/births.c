/* births COUNT MS: when a line comes, bears COUNT children one after the other, each of which spends MS
 * milliseconds of CPU time in child_work and ends; says "done", and ends when its input does. It does
 * not execute anything. */
#include "common.h"
#include <sys/wait.h>

NOINLINE void child_work(uint64_t ms)
{
    spend(ms * 1000000u);
}

int main(int argc, char **argv)
{
    if (argc != 3)
        return 2;
    int count = atoi(argv[1]);
    getchar();
    for (int born = 0; born < count; born++) {
        pid_t pid = fork();
        if (pid < 0)
            return 1;
        if (pid == 0) {
            child_work(strtoull(argv[2], NULL, 10));
            _exit(0);
        }
        waitpid(pid, NULL, 0);
    }
    puts("done");
    fflush(stdout);
    while (getchar() != EOF)
        ;
    return 0;
}
