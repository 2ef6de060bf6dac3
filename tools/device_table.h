/* Device code of a stage as a table, for du and commit. */
#ifndef STAGEFS_DEVICE_TABLE_H
#define STAGEFS_DEVICE_TABLE_H

#include "tool.h"

/* Prints, or with --json prints as JSON, the device code of all libraries of the stage, by kind and
 * architecture; with --gpu-arch, that of the libraries that it was applied to, and what goes of it.
 * Reads the libraries. 0, or -errno in words. */
int device_table_print(const struct session *session, struct sfs_error *err);

/* How much device code the stage had where --gpu-arch was applied, and how much of it went. False:
 * --gpu-arch was not given. */
bool device_code_sums(const struct stage_args *args, uint64_t *ret_bytes, uint64_t *ret_gone);

#endif
