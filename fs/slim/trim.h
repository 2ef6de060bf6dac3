/* What of a stage profiles keep: profiles, globs and policies in, a kept set out. */
#ifndef STAGEFS_TRIM_H
#define STAGEFS_TRIM_H

#include "slim/kept.h"
#include "stage/stage_private.h"

struct sfs_trim;
/* Decides it for the tree `full` of a stage, by the spec's profiles, globs and policy. full and the
 * stage are borrowed until close, the spec during the call. The caller closes *ret_trim. Waits for
 * files that tell what others they need. Fails as sfs_slim_open(). */
int sfs_trim_open(const struct sfs_stage *stage, const struct sfs_tree *full,
                  const struct sfs_slim_spec *spec, const struct sfs_progress *progress,
                  struct sfs_trim **ret_trim, struct sfs_error *err);
/* Frees, and sets NULL; NULL is fine. */
void sfs_trim_close(struct sfs_trim **trim);

/* Does the name stay? As sfs_pick.keeps asks it: for names that the base lacks, or has otherwise.
 */
bool sfs_trim_keeps(const struct sfs_trim *trim, const char *path);
/* As sfs_slim_why(). */
int sfs_trim_why(const struct sfs_trim *trim, const char *path, enum sfs_why *ret_why,
                 char **ret_cause);
/* Appends what history says of it: " # trimmed to 12 of 345 files". 0 or -ENOMEM. */
int sfs_trim_words(const struct sfs_trim *trim, struct sfs_buf *words);

#endif
