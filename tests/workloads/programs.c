/* programs NAME MILLISECONDS keep|drop: loads a BPF program of that name, runs it for that much CPU
 * time, and prints how much that was, in ns. Then it unloads the program, waits until the kernel lists
 * it no more, and ends; or, with `keep`, begins again until it is killed. */
#include "common.h"
#include <linux/bpf.h>

/* Straight-line code, some microseconds of it. */
#define INSTRUCTIONS 3000
#define RUNS 1000

static long bpf(int command, union bpf_attr *attributes)
{
    return syscall(SYS_bpf, command, attributes, sizeof *attributes);
}

static int load(const char *name)
{
    static struct bpf_insn code[INSTRUCTIONS + 2];
    code[0] = (struct bpf_insn){.code = BPF_ALU64 | BPF_MOV | BPF_K, .imm = 3};
    for (int at = 1; at <= INSTRUCTIONS; at++)
        code[at] = (struct bpf_insn){.code = BPF_ALU64 | BPF_MUL | BPF_K, .imm = 7};
    code[INSTRUCTIONS + 1] = (struct bpf_insn){.code = BPF_JMP | BPF_EXIT};
    union bpf_attr attributes;
    memset(&attributes, 0, sizeof attributes);
    attributes.prog_type = BPF_PROG_TYPE_SCHED_CLS;
    attributes.insns = (uintptr_t)code;
    attributes.insn_cnt = INSTRUCTIONS + 2;
    attributes.license = (uintptr_t)"GPL";
    strncpy(attributes.prog_name, name, sizeof attributes.prog_name - 1);
    return (int)bpf(BPF_PROG_LOAD, &attributes);
}

NOINLINE static void run(int program)
{
    static char packet[64];
    union bpf_attr attributes;
    memset(&attributes, 0, sizeof attributes);
    attributes.test.prog_fd = (unsigned)program;
    attributes.test.data_in = (uintptr_t)packet;
    attributes.test.data_size_in = sizeof packet;
    attributes.test.repeat = RUNS;
    if (bpf(BPF_PROG_TEST_RUN, &attributes) != 0) {
        perror("failed to run the program");
        exit(1);
    }
}

static int is_listed(const char *name)
{
    char line[1024];
    int found = 0;
    FILE *symbols = fopen("/proc/kallsyms", "r");
    while (symbols != NULL && fgets(line, sizeof line, symbols) != NULL)
        found |= strstr(line, "[bpf]") != NULL && strstr(line, name) != NULL;
    if (symbols != NULL)
        fclose(symbols);
    return found;
}

int main(int argc, char **argv)
{
    if (argc != 4)
        return 2;
    int program = load(argv[1]);
    if (program < 0) {
        perror("failed to load the program");
        return 1;
    }
    do {
        uint64_t begin = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
        uint64_t end = begin + strtoull(argv[2], NULL, 10) * 1000000u;
        while (clock_ns(CLOCK_PROCESS_CPUTIME_ID) < end)
            run(program);
        printf("%llu\n", (unsigned long long)(clock_ns(CLOCK_PROCESS_CPUTIME_ID) - begin));
        fflush(stdout);
    } while (strcmp(argv[3], "keep") == 0);
    close(program);
    while (is_listed(argv[1]))
        usleep(10000);
    return 0;
}
