/* Findings of libraries, kept in the cache directory: what one command looked for, the next one
 * knows. One file for each blob that the libraries lie in; in it, each library by its place. */
#ifndef STAGEFS_FINDINGS_STORE_H
#define STAGEFS_FINDINGS_STORE_H

#include "layer/store.h"
#include "slim/findings.h"

struct sfs_findings_store;
/* Borrows the store, which may be NULL: then nothing is kept. The caller closes it. NULL: out of
 * memory. One thread at a time. */
struct sfs_findings_store *sfs_findings_store_open(struct sfs_store *store);
/* Frees, and sets NULL; NULL is fine. Nothing is written. */
void sfs_findings_store_close(struct sfs_findings_store **kept);

/* Finds what is kept of a library of that content name (sfs_tree_content_name()) and size. Waits
 * for the disk. False: nothing is, or what is there is damaged, of another version, or does not
 * fit. The caller frees *ret_findings. */
bool sfs_findings_store_find(struct sfs_findings_store *kept, const char *name, uint64_t size,
                             struct sfs_findings *ret_findings);
/* Adds the findings of a library, which are borrowed until the store is closed. Out of memory, they
 * are not kept. */
void sfs_findings_store_add(struct sfs_findings_store *kept, const char *name, uint64_t size,
                            const struct sfs_findings *findings);
/* Writes what was added beside what is there. Waits for the disk. Best effort: what cannot be
 * written is looked for again. */
void sfs_findings_store_save(struct sfs_findings_store *kept);

#endif
