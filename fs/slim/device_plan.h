/* What goes of the device code of one library: that which GPUs that one does not have would run. */
#ifndef STAGEFS_DEVICE_PLAN_H
#define STAGEFS_DEVICE_PLAN_H

#include "slim/findings.h"
#include "slim/gpu_arch.h"

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

/* Plans what goes of what was found; rules NULL: nothing does. No I/O. The caller frees *ret_plan.
 * ENOMEM. */
int sfs_device_plan_make(const struct sfs_findings *findings, const struct sfs_gpu_rules *rules,
                         struct sfs_device_plan *ret_plan, struct sfs_error *err);

/* Adds device code to a list of it. 0 or -ENOMEM. */
int sfs_device_codes_add(struct sfs_device_codes *codes, const struct sfs_device_code *code);

#endif
