/* silent FOLDER SECONDS: mounts at FOLDER a file system that never answers, says so, and is gone after
 * that time. It speaks the kernel's own protocol (linux/fuse.h) as far as the first message. */
#include <fcntl.h>
#include <linux/fuse.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/uio.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    static char request[1 << 17];
    char options[128];
    if (argc != 3)
        return 2;
    int device = open("/dev/fuse", O_RDWR);
    snprintf(options, sizeof options, "fd=%d,rootmode=40000,user_id=0,group_id=0,allow_other", device);
    if (device < 0 || mount("silent", argv[1], "fuse.silent", 0, options) != 0) {
        perror("failed to mount");
        return 1;
    }
    if (read(device, request, sizeof request) < 0)
        return 1;
    struct fuse_init_out init = {.major = FUSE_KERNEL_VERSION, .minor = FUSE_KERNEL_MINOR_VERSION,
                                 .max_write = 4096};
    struct fuse_out_header header = {.len = sizeof header + sizeof init,
                                     .unique = ((struct fuse_in_header *)request)->unique};
    struct iovec parts[] = {{&header, sizeof header}, {&init, sizeof init}};
    if (writev(device, parts, 2) < 0)
        return 1;
    puts("mounted");
    fclose(stdout);
    sleep((unsigned)atoi(argv[2]));
    return 0;
}
