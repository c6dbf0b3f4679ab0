/* storm fork | storm dlopen LIBRARY: without an end, children of a few milliseconds, or a library that
 * is loaded, run and unloaded again. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static volatile uint64_t word;

__attribute__((noinline)) static void work(long ms)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    int64_t end = now.tv_sec * 1000000000ll + now.tv_nsec + ms * 1000000;
    do {
        for (int round = 0; round < 1000; round++)
            word = word * 3 + 1;
        clock_gettime(CLOCK_MONOTONIC, &now);
    } while (now.tv_sec * 1000000000ll + now.tv_nsec < end);
}

static void forks(void)
{
    for (;;) {
        pid_t child = fork();
        if (child == 0) {
            work(2);
            execl("/bin/true", "true", (char *)NULL);
            _exit(1);
        }
        if (child > 0)
            waitpid(child, NULL, 0);
        usleep(5000);
    }
}

static void libraries(const char *path)
{
    for (;;) {
        void *library = dlopen(path, RTLD_NOW);
        if (library == NULL)
            exit(1);
        double (*cosine)(double) = (double (*)(double))dlsym(library, "cos");
        for (int round = 0; cosine != NULL && round < 100000; round++)
            word += (uint64_t)(1000 * cosine(round));
        dlclose(library);
        usleep(10000);
    }
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "fork") == 0)
        forks();
    if (argc == 3 && strcmp(argv[1], "dlopen") == 0)
        libraries(argv[2]);
    return 2;
}
