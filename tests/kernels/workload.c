/* workload MILLISECONDS: for that long two chains of calls take turns, one that computes and one that
 * is in the kernel most of the time. It needs no libc, so that every function in it is known:
 * main → serve → parse → compute, and main → serve → store → shuffle. */
#define NOINLINE __attribute__((noinline, noclone))

enum { MONOTONIC = 1, GRND_INSECURE = 4 };

#if defined(__x86_64__)
enum { SYS_exit_group = 231, SYS_clock_gettime = 228, SYS_getrandom = 318 };

/* The outermost frame has a frame pointer of 0 and no return address, as the ABI asks. */
__asm__(".globl _start\n"
        ".type _start, @function\n"
        "_start:\n"
        "    xor %ebp, %ebp\n"
        "    mov (%rsp), %rdi\n"
        "    lea 8(%rsp), %rsi\n"
        "    call main\n"
        "    hlt\n"
        ".size _start, . - _start\n");

/* Inlined, since a function without a frame of its own would hide its caller. */
static inline __attribute__((always_inline)) long call(long number, long a, long b, long c)
{
    long answer;
    __asm__ volatile("syscall"
                     : "=a"(answer)
                     : "0"(number), "D"(a), "S"(b), "d"(c)
                     : "rcx", "r11", "memory");
    return answer;
}
#elif defined(__aarch64__)
enum { SYS_exit_group = 94, SYS_clock_gettime = 113, SYS_getrandom = 278 };

__asm__(".globl _start\n"
        ".type _start, %function\n"
        "_start:\n"
        "    mov x29, #0\n"
        "    mov x30, #0\n"
        "    ldr x0, [sp]\n"
        "    add x1, sp, #8\n"
        "    bl main\n"
        "    brk #0\n"
        ".size _start, . - _start\n");

static inline __attribute__((always_inline)) long call(long number, long a, long b, long c)
{
    register long x8 __asm__("x8") = number;
    register long x0 __asm__("x0") = a;
    register long x1 __asm__("x1") = b;
    register long x2 __asm__("x2") = c;
    __asm__ volatile("svc #0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2) : "memory");
    return x0;
}
#endif

static inline __attribute__((always_inline)) long now_ms(void)
{
    long time[2];
    call(SYS_clock_gettime, MONOTONIC, (long)time, 0);
    return time[0] * 1000 + time[1] / 1000000;
}

NOINLINE static void compute(long end_ms)
{
    while (now_ms() < end_ms)
        for (int step = 0; step < 50000; step++)
            __asm__ volatile("" : : : "memory");
}

NOINLINE static void shuffle(long end_ms)
{
    char random[4096];
    while (now_ms() < end_ms)
        call(SYS_getrandom, (long)random, sizeof random, GRND_INSECURE);
}

/* An empty statement that the compiler must keep comes last, so that no call is a jump. */
#define STAY __asm__ volatile("" : : : "memory")

NOINLINE static void parse(long end_ms)
{
    compute(end_ms);
    STAY;
}

NOINLINE static void store(long end_ms)
{
    shuffle(end_ms);
    STAY;
}

NOINLINE static void serve(long begin_ms)
{
    parse(begin_ms + 50);
    store(begin_ms + 100);
    STAY;
}

int main(int count, char **words)
{
    long run_ms = 0;
    for (const char *digit = count > 1 ? words[1] : ""; *digit; digit++)
        run_ms = run_ms * 10 + (*digit - '0');
    for (long end_ms = now_ms() + run_ms; now_ms() < end_ms;)
        serve(now_ms());
    call(SYS_exit_group, 0, 0, 0);
    return 0;
}
