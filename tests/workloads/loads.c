/* loads SECONDS ALPHA BETA: loads one library after the other, lets it work for 1 ms in a function of
 * its own, and unloads it, in turn. Writes how often it did so, and how often the second library lay at
 * the address of the first. */
#include "common.h"
#include <dlfcn.h>

typedef void work(uint64_t ns);

static void *library;

/* Where the library that holds a function begins. */
static void *start_of(work *function)
{
    Dl_info info;
    return dladdr((void *)function, &info) != 0 ? info.dli_fbase : NULL;
}

static work *load(const char *path, const char *name)
{
    library = dlopen(path, RTLD_NOW);
    if (library == NULL) {
        fprintf(stderr, "failed to load: %s\n", dlerror());
        exit(1);
    }
    return (work *)dlsym(library, name);
}

NOINLINE void run_alpha(work *alpha)
{
    alpha(1000000u);
    __asm__ volatile("" : : : "memory");
}

NOINLINE void run_beta(work *beta)
{
    beta(1000000u);
    __asm__ volatile("" : : : "memory");
}

int main(int argc, char **argv)
{
    if (argc != 4)
        return 2;
    uint64_t end = clock_ns(CLOCK_MONOTONIC) + (uint64_t)atoi(argv[1]) * 1000000000u;
    int loads = 0, same = 0;
    while (clock_ns(CLOCK_MONOTONIC) < end) {
        work *alpha = load(argv[2], "alpha_work");
        run_alpha(alpha);
        void *start = start_of(alpha);
        dlclose(library);
        work *beta = load(argv[3], "beta_work");
        run_beta(beta);
        same += start == start_of(beta);
        dlclose(library);
        loads++;
    }
    printf("%d %d\n", loads, same);
    return 0;
}
