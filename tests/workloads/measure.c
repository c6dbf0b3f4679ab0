/* measure MS: measures a long text again and again for MS milliseconds, by the C library's own
 * function. Built with another C library than that of the system. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

static double elapsed_ms(const struct timespec *since)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)(now.tv_sec - since->tv_sec) * 1e3 + (double)(now.tv_nsec - since->tv_nsec) / 1e6;
}

int main(int argc, char **argv)
{
    enum { LENGTH = 1 << 20 };
    struct timespec began;
    char *text = malloc(LENGTH);
    if (argc != 2 || text == NULL)
        return 2;
    memset(text, 'x', LENGTH - 1);
    text[LENGTH - 1] = 0;
    clock_gettime(CLOCK_MONOTONIC, &began);
    volatile size_t length = 0;
    while (elapsed_ms(&began) < atof(argv[1]))
        for (int round = 0; round < 8; round++)
            length += strlen(text);
    return 0;
}
