/* What the workloads share: an entry by which every stack is whole, clocks read without a call, and
 * CPU time spent in the function that asks for it. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define NOINLINE __attribute__((noinline, noclone))

#ifdef OWN_START
/* The outermost frame has a frame pointer of 0, as the ABI asks; libc's own entry calls main through
 * a function that uses the register for something else. Built with -nostartfiles. */
__asm__(".text\n"
        ".globl _start\n"
        ".type _start, @function\n"
        "_start:\n"
        "    xor %ebp, %ebp\n"
        "    mov (%rsp), %rdi\n"
        "    lea 8(%rsp), %rsi\n"
        "    call main\n"
        "    mov %eax, %edi\n"
        "    call exit@PLT\n"
        "    hlt\n"
        ".size _start, . - _start\n");
#endif

/* A clock in ns, by a system call that is made right here: libc's function has no frame of its own,
 * and a sample in it would lack its caller. */
static inline __attribute__((always_inline)) uint64_t clock_ns(long clock)
{
    struct timespec time;
#if defined(__x86_64__)
    long answer;
    __asm__ volatile("syscall"
                     : "=a"(answer)
                     : "0"((long)SYS_clock_gettime), "D"(clock), "S"(&time)
                     : "rcx", "r11", "memory");
#elif defined(__aarch64__)
    register long x8 __asm__("x8") = SYS_clock_gettime;
    register long x0 __asm__("x0") = clock;
    register struct timespec *x1 __asm__("x1") = &time;
    __asm__ volatile("svc #0" : "+r"(x0) : "r"(x8), "r"(x1) : "memory");
#endif
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

/* Runs until `clock` shows `end_ns`, in steps of some 20 µs. */
static inline __attribute__((always_inline)) void spin_until(long clock, uint64_t end_ns)
{
    while (clock_ns(clock) < end_ns)
        for (int step = 0; step < 20000; step++)
            __asm__ volatile("" : : : "memory");
}

/* Spends `ns` of the thread's CPU time in the function that calls this. */
static inline __attribute__((always_inline)) void spend(uint64_t ns)
{
    spin_until(CLOCK_THREAD_CPUTIME_ID, clock_ns(CLOCK_THREAD_CPUTIME_ID) + ns);
}

/* Goes before all else on its CPU. A thread that shares its CPU is sampled right only on average,
 * and the tests want to know the truth to 1 % from a few hundred samples. Where the kernel groups the
 * processes of a session, priorities hold inside the group, so the group gets one too. */
static inline void hurry(void)
{
    if (setpriority(PRIO_PROCESS, 0, -20) != 0)
        perror("failed to raise the priority");
    if (setsid() < 0)
        return;
    FILE *group = fopen("/proc/self/autogroup", "w");
    if (group == NULL)
        return;
    fputs("-20", group);
    fclose(group);
}
