/* COPY: selects paths of one tree and makes a layer of them for another, by BuildKit's rules
 * (test_copy.c has them one by one). Nothing is read but names and metadata; file bytes stay where
 * they are until somebody reads or commits them.
 *
 * Where this differs from BuildKit: holes stay holes; a directory made is dated with the epoch, not
 * with now; a negative id is refused; an escaped letter in a pattern is that letter, and [classes]
 * are Go's (BuildKit hands both to a regular expression). */
#ifndef STAGEFS_COPY_H
#define STAGEFS_COPY_H

#include "layer/layer.h"
#include <stagefs/progress.h>
#include <stagefs/tree.h>

struct sfs_copy {
    const char *const *sources; /* as written; may hold wildcards */
    size_t source_count;
    const char *destination; /* as written; relative to workdir */
    const char *workdir;     /* of the destination stage; NULL: "/" */
    const char *chown;       /* "U[:G]"; NULL: see reset_owner */
    bool reset_owner;        /* without chown: owners become 0:0 (files of a build context) */
    const char *chmod;       /* NULL: modes stay */
    const char *const *excludes;
    size_t exclude_count;
    bool parents; /* --parents */
    bool link;    /* --link */
    /* What BuildKit silently lets pass is an error: unknown names, patterns that match nothing. */
    bool strict;
    int64_t epoch; /* mtime (seconds) of directories that COPY itself has to make */
    const struct sfs_progress *progress; /* for warn(); may be NULL */
};

/* Makes the layer of a COPY, which the caller closes. It holds exactly what changes against the
 * destination's tree: created and replaced paths, and existing directories whose metadata the copy
 * changes; names are resolved through the destination's symlinks. The root's own metadata is never
 * part of it. Borrows `source` until the
 * layer is closed; `destination` only during the call. ENOENT: a source without wildcard that is
 * not there. ENOTDIR, EISDIR: "cannot copy to non-directory", "cannot replace to directory", as
 * BuildKit. */
int sfs_copy_layer(const struct sfs_tree *source, const struct sfs_tree *destination,
                   const struct sfs_copy *copy, const char *label, struct sfs_layer **ret_layer,
                   struct sfs_error *err);

#endif
