/* The device code of one library: which of its bytes GPUs that one does not have would run. */
#ifndef STAGEFS_DEVICE_CODE_H
#define STAGEFS_DEVICE_CODE_H

#include "slim/gpu_arch.h"
#include "slim/window.h"
#include "tree/profile.h"

struct sfs_device_plan { /* all-zero is empty */
    struct sfs_device_codes codes;
    /* What becomes zeros, ascending: of each entry that goes its payload, and its kind, so that the
     * driver passes it over. */
    struct sfs_ranges zeros;
    /* Entries that would go, but stay: the code in them does not say that it is for the same
     * architecture as the entry does. */
    uint64_t doubtful;
};
/* Frees what is in it. Fine on an all-zero struct. */
void sfs_device_plan_done(struct sfs_device_plan *plan);

#define SFS_DEVICE_FILE_MIN (64u << 10) /* bytes of a file that is worth a look */

/* Looks for device code, and plans what goes; rules NULL: nothing does. A file that is no ELF
 * library, or one without device code, leaves the plan empty. It holds a window of the file in
 * memory, and reads only headers, tables of relocations, and sections with device code, each once
 * and in order, as far as they follow one another in the file. The caller frees the plan.
 * EBADMSG: something about it is not understood, so all of it must stay; the words say what. */
int sfs_device_plan_make(const struct sfs_device_source *source, const struct sfs_gpu_rules *rules,
                         struct sfs_device_plan *ret_plan, struct sfs_error *err);

/* Adds device code to a list of it. 0 or -ENOMEM. */
int sfs_device_codes_add(struct sfs_device_codes *codes, const struct sfs_device_code *code);

#endif
