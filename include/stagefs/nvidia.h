/* What a machine has for programs that use its NVIDIA GPUs: device files, and the parts of the
 * driver that run in the program's process and so have to be of the same version as the kernel's.
 * An image cannot bring those; whoever runs it puts them in. */
#ifndef STAGEFS_NVIDIA_H
#define STAGEFS_NVIDIA_H

#include <stagefs/error.h>
#include <stddef.h>
#include <stdint.h>

/* Where the libraries are in a sandbox: a directory that holds nothing else, so that looking there
 * for libraries finds nothing but these. NVIDIA's own images have it in LD_LIBRARY_PATH. */
#define SFS_NVIDIA_LIBRARIES "/usr/local/nvidia/lib64"

struct sfs_nvidia_device {
    char *source; /* its path here */
    char *name;   /* below /dev in the sandbox: "nvidia0", "nvidia-caps/nvidia-cap1" */
    uint32_t major, minor;
};

struct sfs_nvidia_library {
    char *name;   /* in SFS_NVIDIA_LIBRARIES */
    char *source; /* its path here; NULL: it is a symlink */
    char *target; /* of the symlink, a name beside it; NULL: it is a file */
};

struct sfs_nvidia_program {
    char *source, *target; /* its paths here and in the sandbox */
};

/* All strings and arrays are owned. */
struct sfs_nvidia {
    struct sfs_nvidia_device *devices;
    struct sfs_nvidia_library *libraries;
    struct sfs_nvidia_program *programs;
    size_t device_count, library_count, program_count;
    size_t device_room, library_room, program_room;
};

/* Finds what there is for the GPUs that `visible` names, as NVIDIA_VISIBLE_DEVICES has it: "all",
 * "none", or numbers and UUIDs with commas between; NULL, "" and "void" are "all". It goes by the
 * machine's description in etc/cdi or var/run/cdi (CDI, in JSON), and without one by the names that
 * the driver's files have. `root` is where the driver's files are: "/", or another directory that
 * stands for it. Waits for the disk. The caller closes *ret_nvidia.
 * ENODEV: there is no GPU, or no driver. EINVAL: `visible` names one that is not there. ENOTSUP: a
 * part of a GPU (MIG) by its name. ENOMEM. */
int sfs_nvidia_open(const char *root, const char *visible, struct sfs_nvidia **ret_nvidia,
                    struct sfs_error *err);
/* Frees, and sets NULL; NULL is fine. */
void sfs_nvidia_close(struct sfs_nvidia **nvidia);

#endif
