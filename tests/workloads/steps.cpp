// steps: does a little of each kind of thing, between breakpoints, for a tracer that goes through it
// instruction by instruction.
#include "common.h"
#include <alloca.h>
#include <signal.h>
#include <stdexcept>
#include <string>

#define KEEP __asm__ volatile("" : : : "memory")
#define USED(pointer) __asm__ volatile("" : : "r"(pointer) : "memory")
// Scenes begin and end with it.
#define BREAK __asm__ volatile("int3")

static volatile uint64_t sum;
static char alternate[1 << 16];

NOINLINE int compare(const void *left, const void *right)
{
    sum = sum + 1;
    return *static_cast<const int *>(left) - *static_cast<const int *>(right);
}

NOINLINE void library()
{
    int numbers[12] = {5, 3, 8, 1, 9, 2, 7, 4, 12, 11, 6, 10};
    char text[256], copy[4096];
    qsort(numbers, 12, sizeof *numbers, compare);
    snprintf(text, sizeof text, "%s %d %08lx %.3f %p", "printed", numbers[3], 77ul, 3.25, text);
    memset(copy, 7, sizeof copy);
    memcpy(copy + 1000, text, strlen(text));
    memmove(copy + 1, copy, 3000);
    char *allocated = static_cast<char *>(malloc(5000));
    memcpy(allocated, copy, sizeof copy);
    sum = sum + strtoull("123456", nullptr, 10) + static_cast<uint64_t>(allocated[17]);
    free(allocated);
    time_t now = 1;
    struct tm broken_down;
    gmtime_r(&now, &broken_down);
    strftime(text, sizeof text, "%Y-%m-%d", &broken_down);
    getenv("HOME");
}

struct Guard {
    std::string text = "something that has to be destroyed";
    ~Guard() { sum = sum + text.size(); }
};

NOINLINE void thrower(int depth)
{
    Guard guard;
    if (depth > 0)
        thrower(depth - 1);
    else
        throw std::runtime_error("thrown");
    KEEP;
}

NOINLINE void exceptions()
{
    try {
        thrower(3);
    } catch (const std::exception &exception) {
        sum = sum + std::string(exception.what()).size();
    }
}

NOINLINE void realigned(size_t bytes)
{
    alignas(64) char block[64];
    char *more = static_cast<char *>(alloca(bytes));
    USED(block);
    USED(more);
    sum = sum + strlen("called from a realigned frame");
}

NOINLINE void handler(int number)
{
    sum = sum + static_cast<uint64_t>(number);
    realigned(100);
}

NOINLINE void signals()
{
    stack_t stack = {};
    stack.ss_sp = alternate;
    stack.ss_size = sizeof alternate;
    struct sigaction action = {};
    action.sa_handler = handler;
    action.sa_flags = SA_ONSTACK;
    sigaltstack(&stack, nullptr);
    sigaction(SIGUSR1, &action, nullptr);
    raise(SIGUSR1);
    KEEP;
}

NOINLINE void kernel_page()
{
    struct timespec now;
    for (long clock : {CLOCK_MONOTONIC, CLOCK_REALTIME, CLOCK_MONOTONIC_COARSE})
        clock_gettime(static_cast<clockid_t>(clock), &now);
    sum = sum + static_cast<uint64_t>(time(nullptr));
}

static void scene(void (*function)())
{
    BREAK;
    function();
    BREAK;
}

// The second time, every function of a library has been found.
int main()
{
    for (int turn = 0; turn < 2; turn++) {
        scene(library);
        scene(exceptions);
        scene(signals);
        scene(kernel_page);
    }
    return 0;
}
