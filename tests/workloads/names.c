/* Processes that call themselves what would break a line, a terminal or XML; each spends 150 ms in a
 * function whose symbol is no better. */
#include "common.h"
#include <sys/prctl.h>
#include <sys/wait.h>

static const char *const NAMES[] = {
    "a;b",       "new\nline", "<script>x", "</svg>",    "]]>&\"'",    "\x1b[31mred",
    "\xff\xfe\x80", "tail 12", "# comment", "\xc2\x9b" "31m", "tab\there", " ",
};

NOINLINE void hostile(void) __asm__("\"evil;<script>alert(1)</script> & 7\"");

NOINLINE void hostile(void)
{
    spend(150000000u);
}

int main(void)
{
    for (unsigned index = 0; index < sizeof NAMES / sizeof *NAMES; index++) {
        pid_t pid = fork();
        if (pid < 0)
            return 1;
        if (pid == 0) {
            prctl(PR_SET_NAME, NAMES[index]);
            hostile();
            _exit(0);
        }
    }
    while (wait(NULL) > 0)
        ;
    return 0;
}
