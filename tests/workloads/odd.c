/* odd MODE MS: spends MS milliseconds of CPU time on a stack that is odd in the way that MODE names. */
#include "common.h"
#include <dlfcn.h>
#include <sys/mman.h>
#include <ucontext.h>

/* The call before it is no tail call. */
#define KEEP __asm__ volatile("" : : : "memory")
#define USED(pointer) __asm__ volatile("" : : "r"(pointer) : "memory")
/* Loops of some 20 µs. */
#define LOOPS 20000

static uint64_t work_ns;
static char coroutine_stack[1 << 16];
static ucontext_t back, coroutine_context;

NOINLINE void work(void)
{
    spend(work_ns);
    KEEP;
}

/* Its description says that the caller's stack pointer is its own, where no caller's can be. */
void stuck(uint64_t loops);
__asm__(".text\n"
        ".globl stuck\n"
        ".type stuck, @function\n"
        "stuck:\n"
        "    .cfi_startproc\n"
        "    .cfi_def_cfa %rsp, 0\n"
        "1:  dec %rdi\n"
        "    jnz 1b\n"
        "    ret\n"
        "    .cfi_endproc\n"
        ".size stuck, . - stuck\n");

NOINLINE void not_advancing(void)
{
    uint64_t end = clock_ns(CLOCK_THREAD_CPUTIME_ID) + work_ns;
    while (clock_ns(CLOCK_THREAD_CPUTIME_ID) < end)
        stuck(LOOPS);
}

/* Generated code that runs with a frame pointer to a frame whose caller is the frame itself. */
NOINLINE void in_a_cycle(void)
{
    /* dec %rdi; jnz -5; ret */
    static const uint8_t loop[] = {0x48, 0xff, 0xcf, 0x75, 0xfb, 0xc3};
    char *code = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (code == MAP_FAILED)
        exit(1);
    memcpy(code, loop, sizeof loop);
    uint64_t frame[2] = {0, (uint64_t)code + 1};
    frame[0] = (uint64_t)frame;
    uint64_t end = clock_ns(CLOCK_THREAD_CPUTIME_ID) + work_ns;
    while (clock_ns(CLOCK_THREAD_CPUTIME_ID) < end) {
        uint64_t loops = LOOPS;
        __asm__ volatile("push %%rbp\n"
                         "mov %1, %%rbp\n"
                         "call *%2\n"
                         "pop %%rbp"
                         : "+D"(loops)
                         : "r"(frame), "r"(code)
                         : "memory");
    }
}

/* Its return address is overwritten by one without memory while it works. */
NOINLINE void corrupted(void)
{
    uint64_t *volatile slot = (uint64_t *)__builtin_frame_address(0) + 1;
    uint64_t saved = *slot;
    *slot = 0x123456789;
    work();
    *slot = saved;
}

/* The pages from here up to the one with the frame of work() are taken from the page table. */
NOINLINE void without_pages(char *end)
{
    char *start = (char *)(((uint64_t)__builtin_frame_address(0) + 3 * 4096) & ~4095ull);
    if (madvise(start, (size_t)(end - start), MADV_DONTNEED) != 0)
        exit(1);
    work();
    KEEP;
}

NOINLINE void with_large_frame(char *end)
{
    char block[8 * 4096];
    USED(block);
    without_pages(end);
    KEEP;
}

static char *shared_stack;
#define SHARED_BYTES (1 << 17)

NOINLINE void on_shared_stack(void)
{
    with_large_frame(shared_stack + SHARED_BYTES);
    KEEP;
}

NOINLINE void coroutine(void)
{
    work();
    KEEP;
}

NOINLINE void switch_to(void (*function)(void), char *stack, size_t bytes)
{
    getcontext(&coroutine_context);
    coroutine_context.uc_stack.ss_sp = stack;
    coroutine_context.uc_stack.ss_size = bytes;
    coroutine_context.uc_link = &back;
    makecontext(&coroutine_context, function, 0);
    swapcontext(&back, &coroutine_context);
    KEEP;
}

/* The memory behind the stack is a file's, so that its pages keep what is on them. */
NOINLINE void on_absent_pages(void)
{
    int file = memfd_create("stack", 0);
    if (file < 0 || ftruncate(file, SHARED_BYTES) != 0)
        exit(1);
    shared_stack = mmap(NULL, SHARED_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (shared_stack == MAP_FAILED)
        exit(1);
    switch_to(on_shared_stack, shared_stack, SHARED_BYTES);
}

NOINLINE void deep(int depth)
{
    char block[40];
    USED(block);
    if (depth > 1)
        deep(depth - 1);
    else
        work();
    KEEP;
}

/* After as much time again, a library that nobody knew of. */
NOINLINE void by_library(const char *path)
{
    work();
    void *library = dlopen(path, RTLD_NOW);
    void (*outer)(uint64_t) = library == NULL ? NULL : (void (*)(uint64_t))dlsym(library, "plugin_outer");
    if (outer == NULL)
        exit(1);
    outer(work_ns);
    KEEP;
}

int main(int argc, char **argv)
{
    if (argc < 3)
        return 2;
    work_ns = strtoull(argv[2], NULL, 10) * 1000000u;
    const char *mode = argv[1];
    if (strcmp(mode, "not_advancing") == 0)
        not_advancing();
    else if (strcmp(mode, "in_a_cycle") == 0)
        in_a_cycle();
    else if (strcmp(mode, "corrupted") == 0)
        corrupted();
    else if (strcmp(mode, "on_absent_pages") == 0)
        on_absent_pages();
    else if (strcmp(mode, "coroutine") == 0)
        switch_to(coroutine, coroutine_stack, sizeof coroutine_stack);
    else if (strcmp(mode, "deep") == 0 && argc > 3)
        deep(atoi(argv[3]));
    else if (strcmp(mode, "by_library") == 0 && argc > 3)
        by_library(argv[3]);
    else
        return 2;
    return 0;
}
