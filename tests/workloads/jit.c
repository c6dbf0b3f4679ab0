/* jit FORM MS [PROGRAM ARGUMENT...]: a JIT. It puts functions that spin into one piece of memory, one
 * after the other at the same address, and runs each for some milliseconds, as long as it has not used
 * MS of CPU time; the last of each round lies elsewhere. FORM says what it writes of that: `dump` a
 * jitdump in the folder where it runs, `list` a perf map in /tmp, `none` nothing. `map` is as `list`, but
 * since a perf map has no times, each function waits for longer than the recorder takes to look at the
 * map again. `forked` is as `list`, and a child goes on with the code that is there.
 * `late` writes one line for all of it at its end. At the end it prints
 * each function's CPU time in ns, or becomes another program. */
#include "common.h"
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#if defined(__x86_64__)
/* push rbp; mov rbp, rsp; 1: dec rdi; jnz 1b; pop rbp; ret */
static const unsigned char CODE[] = {0x55, 0x48, 0x89, 0xe5, 0x48, 0xff, 0xcf,
                                     0x75, 0xfb, 0x5d, 0xc3};
#define MACHINE 62
#elif defined(__aarch64__)
/* stp x29, x30, [sp, #-16]!; mov x29, sp; 1: subs x0, x0, #1; b.ne 1b; ldp x29, x30, [sp], #16; ret */
static const unsigned int CODE[] = {0xa9bf7bfd, 0x910003fd, 0xf1000400,
                                    0x54ffffe1, 0xa8c17bfd, 0xd65f03c0};
#define MACHINE 183
#endif

#define FUNCTIONS 5
#define SPINS 20000u

typedef void function(uint64_t spins);

static FILE *map, *dump;
static uint64_t spent_ns[FUNCTIONS], loads;

static void put(const void *bytes, size_t size)
{
    fwrite(bytes, size, 1, dump);
}

static void put32(uint32_t word)
{
    put(&word, 4);
}

static void put64(uint64_t word)
{
    put(&word, 8);
}

static void open_dump(void)
{
    char name[64];
    snprintf(name, sizeof name, "jit-%d.dump", getpid());
    dump = fopen(name, "w+");
    if (dump == NULL)
        exit(3);
    put32(0x4a695444);
    put32(1);
    put32(40);
    put32(MACHINE);
    put32(0);
    put32((uint32_t)getpid());
    put64(clock_ns(CLOCK_MONOTONIC));
    put64(0);
    fflush(dump);
    /* By this mapping a profiler finds the file. */
    if (mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE, fileno(dump), 0) == MAP_FAILED)
        exit(3);
}

static void record_lines(uint64_t address, uint64_t time, uint32_t line)
{
    static const char file[] = "/src/jit.script";
    put32(2);
    put32(16 + 16 + 16 + sizeof file);
    put64(time);
    put64(address);
    put64(1);
    put64(address);
    put32(line);
    put32(0);
    put(file, sizeof file);
}

static void record_load(uint64_t address, const char *name, uint32_t line)
{
    uint64_t time = clock_ns(CLOCK_MONOTONIC);
    record_lines(address, time, line);
    put32(0);
    put32((uint32_t)(16 + 40 + strlen(name) + 1 + sizeof CODE));
    put64(time);
    put32((uint32_t)getpid());
    put32((uint32_t)getpid());
    put64(address);
    put64(address);
    put64(sizeof CODE);
    put64(loads++);
    put(name, strlen(name) + 1);
    put(CODE, sizeof CODE);
    fflush(dump);
}

static void list(uint64_t address, const char *name)
{
    fprintf(map, "%lx %lx %s\n", (unsigned long)address, (unsigned long)sizeof CODE, name);
    fflush(map);
}

static function *emit(unsigned char *memory, int index)
{
    char name[64];
    snprintf(name, sizeof name, "script:function_%d /src/jit.script:%d", index, index + 1);
    unsigned char *place = memory + (index == FUNCTIONS - 1 ? 2048 : 0);
    memcpy(place, CODE, sizeof CODE);
    __builtin___clear_cache((char *)place, (char *)place + sizeof CODE);
    if (dump != NULL)
        record_load((uint64_t)place, name, (uint32_t)index + 1);
    if (map != NULL)
        list((uint64_t)place, name);
    return (function *)place;
}

NOINLINE void run(function *code, int index, uint64_t ns)
{
    uint64_t start = clock_ns(CLOCK_THREAD_CPUTIME_ID);
    while (clock_ns(CLOCK_THREAD_CPUTIME_ID) - start < ns)
        code(SPINS);
    spent_ns[index] += clock_ns(CLOCK_THREAD_CPUTIME_ID) - start;
}

static int is(const char *form, const char *wanted)
{
    return strcmp(form, wanted) == 0;
}

int main(int argc, char **argv)
{
    if (argc < 3)
        return 2;
    const char *form = argv[1];
    int waits = is(form, "map");
    hurry();
    if (is(form, "dump"))
        open_dump();
    char name[64];
    snprintf(name, sizeof name, "/tmp/perf-%d.map", getpid());
    if (waits || is(form, "list") || is(form, "forked"))
        map = fopen(name, "w");
    unsigned char *memory = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC,
                                 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        return 3;
    uint64_t end = clock_ns(CLOCK_PROCESS_CPUTIME_ID) + strtoull(argv[2], NULL, 10) * 1000000u;
    while (clock_ns(CLOCK_PROCESS_CPUTIME_ID) < end)
        for (int index = 0; index < FUNCTIONS; index++) {
            if (waits)
                usleep(2100000);
            run(emit(memory, index), index, (waits ? 300000000u : 7300000u) / (index + 1u));
        }
    if (is(form, "forked")) {
        pid_t child = fork();
        if (child == 0) {
            prctl(PR_SET_NAME, "forked");
            run((function *)memory, 0, 500000000u);
            _exit(0);
        }
        waitpid(child, NULL, 0);
    }
    if (is(form, "late")) {
        map = fopen(name, "w");
        fprintf(map, "%lx 1000 script:all\n", (unsigned long)memory);
        fclose(map);
    }
    if (argc > 3) {
        execv(argv[3], argv + 3);
        return 3;
    }
    for (int index = 0; index < FUNCTIONS; index++)
        printf("function_%d %lu\n", index, (unsigned long)spent_ns[index]);
    return 0;
}
