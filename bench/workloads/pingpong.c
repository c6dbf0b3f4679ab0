/* pingpong COUNTER: two processes on the first CPU that is allowed hand a byte to and fro through pipes
 * without end, which is as often as processes can wait. The first eight bytes of the file COUNTER are
 * the number of round trips so far. Built with frame pointers. */

#define _GNU_SOURCE
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

static int there[2], back[2];

__attribute__((noinline)) static int hand_on(int from, int to)
{
    char byte;
    return read(from, &byte, 1) == 1 && write(to, &byte, 1) == 1;
}

static int bind_to_first_cpu(void)
{
    cpu_set_t allowed, one;
    if (sched_getaffinity(0, sizeof allowed, &allowed) != 0)
        return 0;
    CPU_ZERO(&one);
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
        if (CPU_ISSET(cpu, &allowed)) {
            CPU_SET(cpu, &one);
            break;
        }
    return sched_setaffinity(0, sizeof one, &one) == 0;
}

int main(int argc, char **argv)
{
    if (argc != 2 || pipe(there) != 0 || pipe(back) != 0 || !bind_to_first_cpu())
        return 2;
    int file = open(argv[1], O_RDWR | O_CREAT, 0600);
    if (file < 0 || ftruncate(file, sizeof(uint64_t)) != 0)
        return 2;
    volatile uint64_t *trips = mmap(NULL, sizeof *trips, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (trips == MAP_FAILED)
        return 2;
    pid_t child = fork();
    if (child < 0)
        return 1;
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        while (hand_on(there[0], back[1])) {
        }
        return 0;
    }
    if (write(there[1], "", 1) != 1)
        return 1;
    while (hand_on(back[0], there[1]))
        ++*trips;
    return 0;
}
