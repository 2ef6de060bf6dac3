/* Keeps what the kept names need, and what that needs, until nothing is added. */
#ifndef STAGEFS_CLOSURE_H
#define STAGEFS_CLOSURE_H

#include "slim/kept.h"
#include "slim/packages.h"
#include <jansson.h>

/* Looks at each name of the work list, and into the files that may tell what they need. config: of
 * the image, for its environment and its command. What cannot be understood is kept as it is, and
 * progress->warn is told (progress may be NULL). Waits for the files' bytes. ENOMEM. */
int sfs_closure_run(struct sfs_kept *kept, const json_t *config,
                    const struct sfs_packages *packages, const struct sfs_progress *progress,
                    struct sfs_error *err);

#endif
