/* busy THREADS SECONDS: that many threads run for that long, then the process prints the CPU time
 * that it used, in ns. */
#include "common.h"
#include <pthread.h>

static uint64_t end_ns;

NOINLINE void *work(void *unused)
{
    spin_until(CLOCK_MONOTONIC, end_ns);
    return unused;
}

int main(int argc, char **argv)
{
    pthread_t threads[64];
    if (argc != 3)
        return 2;
    int count = atoi(argv[1]);
    if (count < 1 || count > 64)
        return 2;
    hurry();
    end_ns = clock_ns(CLOCK_MONOTONIC) + strtoull(argv[2], NULL, 10) * 1000000000u;
    for (int index = 0; index < count; index++)
        if (pthread_create(&threads[index], NULL, work, NULL) != 0)
            return 1;
    for (int index = 0; index < count; index++)
        pthread_join(threads[index], NULL);
    printf("%llu\n", (unsigned long long)clock_ns(CLOCK_PROCESS_CPUTIME_ID));
    return 0;
}
