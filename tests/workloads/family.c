/* Works in a thread, in a child, and in the children of another child that bears one every 1 ms, of
 * which some live at any time; says its thread's id when all are there, and ends when it is killed. */
#include "common.h"
#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>

#define FOREVER_NS 600000000000u

NOINLINE void in_main(void)
{
    spend(FOREVER_NS);
}

NOINLINE void in_thread(void)
{
    spend(FOREVER_NS);
}

NOINLINE void in_child(void)
{
    spend(FOREVER_NS);
}

NOINLINE void in_grandchild(void)
{
    spend(200000u);
}

static pid_t thread_id;
static pthread_barrier_t ready;

static void *thread(void *unused)
{
    (void)unused;
    thread_id = gettid();
    pthread_barrier_wait(&ready);
    in_thread();
    return NULL;
}

/* Whether this is the child; it does not outlive its parent. */
static int is_child(void)
{
    if (fork() != 0)
        return 0;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    return 1;
}

static void bear(void)
{
    signal(SIGCHLD, SIG_IGN);
    for (;;) {
        if (is_child()) {
            in_grandchild();
            usleep(20000);
            _exit(0);
        }
        usleep(1000);
    }
}

int main(void)
{
    pthread_t handle;
    pthread_barrier_init(&ready, NULL, 2);
    if (is_child())
        in_child();
    if (is_child())
        bear();
    if (pthread_create(&handle, NULL, thread, NULL) != 0)
        return 1;
    pthread_barrier_wait(&ready);
    printf("%d\n", (int)thread_id);
    fflush(stdout);
    in_main();
    return 0;
}
