/* One commit, as its files share it: commit.c reads what is wanted and chooses, commit_layer.c
 * writes a layer, commit_image.c an image around it, commit_files.c what is no image. One thread.
 */
#ifndef STAGEFS_COMMIT_PARTS_H
#define STAGEFS_COMMIT_PARTS_H

#include <stagefs/commit.h>

#include "commit/index_parts.h"
#include "commit/layer_write.h"
#include "commit/records.h"
#include "commit/target.h"
#include "image/parts.h"
#include "tree/profile.h"
#include "tree/tree_inner.h"

struct commit {
    const struct sfs_stage *stage;
    const struct sfs_commit_options *options;
    struct sfs_compress_plan plan;
    struct sfs_reference destination;
    const struct destination *kind; /* how the destination's transport is written to */
    struct sfs_target *target;      /* NULL: a dry run, or no image is written */
    struct sfs_tree *nothing;       /* an empty tree */
    const struct sfs_tree *base;
    struct sfs_image *base_image; /* NULL: no layers go below */
    struct sfs_layer_record *layers;
    size_t base_count, layer_count; /* how many layers of the new image are the base's, and all */
    json_t *kept;                   /* an array: annotations of layers that were written */
    json_t *config, *annotations;   /* the stage's config, and the manifest's, as edited */
    struct sfs_profile profile;     /* what comes first in new layers */
    struct sfs_index_parts indexes; /* that go beside the image; all-zero: none are wanted */
    struct sfs_commit_result result;
};

/* How a transport is written to; commit.c has the table of them. */
struct destination {
    int (*write)(struct commit *commit, struct sfs_error *err); /* NULL: it is not written to */
    /* Where images are written: opens the target. */
    int (*open)(const struct sfs_reference *reference, const char *text,
                const struct sfs_commit_options *options, struct sfs_target **ret_target,
                struct sfs_error *err);
    unsigned codecs;  /* which codecs of layers its readers know: bits 1 << enum sfs_codec */
    const char *what; /* what messages call it, if those are not all codecs */
};

/* ---- commit_layer.c ---- */

/* Puts the changes into the order in which they are to be written, and writes them as a layer to
 * where `to` says (fd, name, maker; the rest of it is set here). The caller closes
 * ret_written->annotations. Waits for the source, and for the disk. */
int sfs_commit_layer(struct commit *commit, const struct sfs_tree *tree,
                     struct sfs_changes *changes, const struct sfs_pipe_options *to,
                     struct sfs_layer_written *ret_written, struct sfs_error *err);
/* Notes in the result how many changes there are. */
void sfs_commit_count(struct commit *commit, const struct sfs_changes *changes);

/* ---- commit_image.c ---- */

/* Opens the target, unless it is a dry run, and writes the new layer, those below it, and the
 * documents. As all writers it waits for the source and the disk. */
int sfs_commit_write_image(struct commit *commit, struct sfs_error *err);

/* ---- vouched_index.c ---- */

/* Makes room for indexes, if they are wanted (options->index). All-zero until then. ENOMEM. */
int sfs_vouched_init(struct commit *commit, struct sfs_error *err);
/* Makes the index of a layer as it is sent, if they are wanted, of what the maker saw; `written` is
 * where the layer was written to, and borrowed. Reads the layer once more, and decodes it. A layer
 * that has none of use leaves *ret_exported as it is, and a warning says why. */
int sfs_vouched_export(const struct commit *commit, struct sfs_index_maker *maker,
                       const struct sfs_pipe_result *layer, int written,
                       struct sfs_exported_index *ret_exported, struct sfs_error *err);
/* Adds it to the target, where no other blob is begun, and names it in the layer's record. Does
 * nothing with an all-zero one. */
int sfs_vouched_add(struct commit *commit, const struct sfs_exported_index *exported,
                    struct sfs_layer_record *record, struct sfs_error *err);

/* The same of layer i of the base, whose record is there, and whose blob the target has or gets:
 * reads and decodes it twice. */
int sfs_vouched_add_base(struct commit *commit, size_t i, struct sfs_error *err);

/* ---- commit_files.c ---- */

/* Writes the new layer alone, as one tar, to the options' fd. */
int sfs_commit_write_tar(struct commit *commit, struct sfs_error *err);
/* Writes the whole tree, with its base, as files of a directory. EEXIST: that is not empty. */
int sfs_commit_write_files(struct commit *commit, struct sfs_error *err);

#endif
