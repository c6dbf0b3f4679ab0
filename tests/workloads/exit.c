/* exit MS: spends MS milliseconds of CPU time at each of three places in the code that compilers put
 * around a program, on its way out: where `__do_global_dtors_aux` tests a byte of `.bss` and where it
 * sets it, which are page faults, and at the first instruction of `_fini`, which is made undefined.
 * The handlers have no variable in the page with the byte. */
#include "common.h"
#include <signal.h>
#include <sys/mman.h>

#define PAGE 4096ull

extern char __bss_start[];
extern void _fini(void);

/* In memory of its own. */
struct state {
    uint64_t work_ns;
    char *data;
    int allowed;
    char code[2];
};
static struct state *const state = (struct state *)0x100000000;

NOINLINE void work(void)
{
    spend(state->work_ns);
    __asm__ volatile("" : : : "memory");
}

/* Allows what was refused, and no more: first reading and then writing. */
void on_fault(int signal, siginfo_t *fault, void *context)
{
    (void)signal;
    (void)context;
    if (((uint64_t)fault->si_addr & ~(PAGE - 1)) != (uint64_t)state->data)
        _exit(1);
    work();
    state->allowed = state->allowed == 0 ? PROT_READ : PROT_READ | PROT_WRITE;
    mprotect(state->data, PAGE, state->allowed);
}

void on_undefined(int signal, siginfo_t *fault, void *context)
{
    (void)signal;
    (void)context;
    if (fault->si_addr != (void *)_fini)
        _exit(1);
    work();
    memcpy((void *)_fini, state->code, sizeof state->code);
}

__attribute__((destructor)) void at_exit(void)
{
    mprotect(state->data, PAGE, PROT_NONE);
}

int main(int argc, char **argv)
{
    if (argc < 2)
        return 2;
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE;
    if (mmap(state, PAGE, PROT_READ | PROT_WRITE, flags, -1, 0) != state)
        return 1;
    state->work_ns = strtoull(argv[1], NULL, 10) * 1000000u;
    state->data = (char *)((uint64_t)__bss_start & ~(PAGE - 1));
    struct sigaction fault = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO};
    struct sigaction undefined = {.sa_sigaction = on_undefined, .sa_flags = SA_SIGINFO};
    if (sigaction(SIGSEGV, &fault, NULL) != 0 || sigaction(SIGILL, &undefined, NULL) != 0)
        return 1;
    char *code = (char *)((uint64_t)_fini & ~(PAGE - 1));
    if (mprotect(code, PAGE, PROT_READ | PROT_WRITE | PROT_EXEC) != 0)
        return 1;
    memcpy(state->code, (void *)_fini, sizeof state->code);
    memcpy((void *)_fini, "\x0f\x0b", sizeof state->code);
    return 0;
}
