/* places COUNT: a thread waits that many times, always in the same function and with the stack pointer
 * at the same place, but called from one of two functions and for a pipe or a socket, in runs of random
 * length. Prints for each of the four how often it went to sleep there, as the kernel counts. */
#include "common.h"
#include <pthread.h>
#include <sys/socket.h>

enum { PIPE, SOCKET };

static const char *const kinds[] = {"[pipe read]", "[socket]"};
static int readers[2], writers[2], requests[2];
static long slept[2][2];

/* Gives a byte to whoever asks for one, a little later. */
static void *serve(void *unused)
{
    char kind;
    while (read(requests[0], &kind, 1) == 1) {
        struct timespec time = {.tv_sec = 0, .tv_nsec = 100000};
        nanosleep(&time, NULL);
        if (write(writers[(int)kind], "x", 1) != 1)
            break;
    }
    return unused;
}

static long voluntary(void)
{
    struct rusage usage;
    getrusage(RUSAGE_THREAD, &usage);
    return usage.ru_nvcsw;
}

NOINLINE long await(int kind)
{
    char byte = (char)kind;
    if (write(requests[1], &byte, 1) != 1)
        exit(1);
    long before = voluntary();
    if (read(readers[kind], &byte, 1) != 1)
        exit(1);
    return voluntary() - before;
}

NOINLINE void here(int kind)
{
    slept[0][kind] += await(kind);
}

NOINLINE void there(int kind)
{
    slept[1][kind] += await(kind);
}

int main(int argc, char **argv)
{
    int ends[2];
    pthread_t thread;
    if (argc != 2 || pipe(requests) != 0 || pipe(ends) != 0)
        return 2;
    readers[PIPE] = ends[0];
    writers[PIPE] = ends[1];
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends) != 0)
        return 2;
    readers[SOCKET] = ends[0];
    writers[SOCKET] = ends[1];
    if (pthread_create(&thread, NULL, serve, NULL) != 0)
        return 1;
    srand(1);
    for (int left = atoi(argv[1]); left > 0;) {
        int place = rand() % 4;
        /* One call for all four, so that nothing but the kernel's stack tells a pipe from a socket. */
        void (*volatile where)(int) = place & 1 ? here : there;
        volatile int kind = place & 2 ? PIPE : SOCKET;
        for (int turns = 1 + rand() % 9; turns > 0 && left > 0; turns--, left--)
            where(kind);
    }
    for (int kind = 0; kind < 2; kind++) {
        printf("here;%s;%ld\n", kinds[kind], slept[0][kind]);
        printf("there;%s;%ld\n", kinds[kind], slept[1][kind]);
    }
    return 0;
}
