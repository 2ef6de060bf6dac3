/* GPUs by their compute capability, and which device code runs on which of them.
 *
 * A GPU of capability 9.0 is "sm_90". Code names the architecture that it was made for, and may be
 * for that one alone ("sm_90a") or for its family ("sm_100f"). */
#ifndef STAGEFS_GPU_ARCH_H
#define STAGEFS_GPU_ARCH_H

#include "base/buf.h"
#include <stagefs/slim.h>
#include <stdint.h>

/* The version of the rules below, and of what fatbin.h says is understood: part of what an image
 * records. */
#define SFS_GPU_RULES "1"

#define SFS_GPU_MAX 32u /* GPUs that are named at once */

/* What device code was made for. */
struct sfs_gpu_code {
    unsigned arch; /* 90 of sm_90 */
    char feature;  /* 'a', 'f', or 0 */
};

/* The GPUs whose device code stays, and which PTX does. */
struct sfs_gpu_rules {
    unsigned gpus[SFS_GPU_MAX]; /* capabilities as 90, ascending, each once */
    size_t count;
    enum sfs_ptx_policy ptx;
    bool bare; /* cubins without a fat binary around them go, too */
};
/* Reads "sm_90,sm_80". "90", "9.0" and "sm_90a" are the GPU sm_90 too: a letter is of code, not of
 * GPUs. EINVAL: the words name what is none. */
int sfs_gpu_rules_parse(const char *text, enum sfs_ptx_policy ptx, struct sfs_gpu_rules *ret_rules,
                        struct sfs_error *err);
/* Adds "sm_80,sm_90". */
void sfs_gpu_rules_print(const struct sfs_gpu_rules *rules, struct sfs_buf *buf);
/* "needed", "newest", "all". A constant string. */
const char *sfs_ptx_policy_name(enum sfs_ptx_policy ptx);

/* May a cubin run on this GPU? */
bool sfs_gpu_runs_cubin(unsigned gpu, struct sfs_gpu_code code);
/* And is it sure to? Between GPUs of Jetson boards and others it is not, whatever their numbers. */
bool sfs_gpu_trusts_cubin(unsigned gpu, struct sfs_gpu_code code);
/* Can PTX be compiled for this GPU? */
bool sfs_gpu_runs_ptx(unsigned gpu, struct sfs_gpu_code code);

/* Does a cubin stay? It does if it may run on any of the GPUs. */
bool sfs_gpu_keeps_cubin(const struct sfs_gpu_rules *rules, struct sfs_gpu_code code);
/* What one container holds for these GPUs; all-zero before its first entry is added. */
struct sfs_gpu_choice {
    bool trusted[SFS_GPU_MAX];     /* by GPU: a cubin is there that it trusts */
    unsigned highest[SFS_GPU_MAX]; /* by GPU: of the PTX that it runs; 0: there is none */
    unsigned newest;               /* of all PTX */
};
/* Adds a cubin, or a PTX. */
void sfs_gpu_choice_add_cubin(struct sfs_gpu_choice *choice, const struct sfs_gpu_rules *rules,
                              struct sfs_gpu_code code);
void sfs_gpu_choice_add_ptx(struct sfs_gpu_choice *choice, const struct sfs_gpu_rules *rules,
                            struct sfs_gpu_code code);
/* Does a PTX stay, of a container that was added whole? With SFS_PTX_NEEDED it does if there is a
 * GPU that trusts none of the cubins, and of which it is the highest that runs. */
bool sfs_gpu_keeps_ptx(const struct sfs_gpu_choice *choice, const struct sfs_gpu_rules *rules,
                       struct sfs_gpu_code code);

#endif
