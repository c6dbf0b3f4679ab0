/* unnamed PROGRAM ARGUMENT: becomes a copy of PROGRAM in memory, which has no path. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

int main(int argc, char **argv, char **environment)
{
    struct stat data;
    if (argc != 3)
        return 2;
    int program = open(argv[1], O_RDONLY | O_CLOEXEC);
    int copy = memfd_create("spin", MFD_CLOEXEC);
    if (program < 0 || copy < 0 || fstat(program, &data) != 0)
        return 1;
    if (sendfile(copy, program, NULL, (size_t)data.st_size) != data.st_size)
        return 1;
    char *const arguments[] = {argv[1], argv[2], NULL};
    fexecve(copy, arguments, environment);
    return 1;
}
