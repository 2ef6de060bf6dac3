/* commit --index: the indexes of the layers go beside the image, and each layer's descriptor says
 * the digest of its own, so that it is as good as the manifest (docs/registry.md).
 *
 * The same stage gives the same digests. So none is the one that the store has, which may be of a
 * pass over the blob, or of the commit that wrote it: they enter it at other places. That of the
 * new layer is made of what was written, and those of the base are made anew. */
#include "commit/commit_parts.h"

#include "base/temp_dir.h"
#include "image/artifacts.h"
#include "layer/tar_index.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>

int sfs_vouched_init(struct commit *commit, struct sfs_error *err)
{
    return commit->options->index
               ? sfs_index_parts_init(&commit->indexes, commit->base_count + 1, err)
               : 0;
}

/* What was written so far of the destination's blob. */
static int open_written(int written, const struct commit *commit,
                        const struct sfs_pipe_result *layer, struct sfs_blob **ret_blob,
                        struct sfs_error *err)
{
    AUTO(sfs_close_fd) int fd = fcntl(written, F_DUPFD_CLOEXEC, 0);
    if (fd < 0)
        return sfs_fail_errno(err, errno, "reading a new layer");
    return sfs_blob_open_file(&fd, commit->options->destination, 0, layer->out_size, ret_blob, err);
}

static int export(const struct commit *commit, struct sfs_index_maker *maker,
                  const struct sfs_pipe_result *layer, int written,
                  struct sfs_exported_index *ret_exported, struct sfs_error *err)
{
    AUTO(sfs_blob_close) struct sfs_blob *blob = NULL;
    AUTO(sfs_close_fd) int fd = memfd_create("stagefs index", MFD_CLOEXEC);
    const struct sfs_made_blob made = { .digest = layer->out_digest,
                                        .diff_id = layer->in_digest,
                                        .size = layer->out_size };
    if (fd < 0)
        return sfs_fail_errno(err, errno, "holding an index");
    int r = sfs_index_maker_write(maker, &made, fd, err);
    if (r == 0)
        r = open_written(written, commit, layer, &blob, err);
    return r < 0 ? r : sfs_index_export_file(&fd, blob, ret_exported, err);
}

/* What an export came to, if a layer may be without: such a one is told of. */
static int bear(const struct commit *commit, int r, const char *label, const struct sfs_error *why,
                struct sfs_error *err)
{
    const struct sfs_progress *progress = commit->options->progress;
    char text[sizeof why->text + SFS_LAYER_LABEL + 80];
    if (r < 0 && r != -ENOTSUP && r != -EFBIG)
        return sfs_fail(err, -r, "%s", why->text);
    snprintf(text, sizeof text, "%s has no index beside the image: %s", label, why->text);
    if (r < 0 && progress && progress->warn)
        progress->warn(progress->user, text);
    return 0;
}

int sfs_vouched_export(const struct commit *commit, struct sfs_index_maker *maker,
                       const struct sfs_pipe_result *layer, int written,
                       struct sfs_exported_index *ret_exported, struct sfs_error *err)
{
    struct sfs_error why;
    if (!commit->options->index)
        return 0;
    int r = commit->plan.contents
                ? sfs_fail(&why, ENOTSUP, "it brings a table of contents, which is one")
            : maker ? export(commit, maker, layer, written, ret_exported, &why)
                    : sfs_fail_memory(&why);
    return bear(commit, r, "the new layer", &why, err);
}

/* The `put` of the parts: config and manifest go the same way. */
static int put(void *user, const void *data, size_t size, struct sfs_digest *ret_digest,
               struct sfs_error *err)
{
    const struct commit *commit = user;
    return sfs_target_add_bytes(commit->target, data, size, ret_digest, err);
}

/* Names the index in the record, beside what the layer's descriptor said so far. */
static int name_index(struct commit *commit, struct sfs_layer_record *record, const char *head,
                      struct sfs_error *err)
{
    json_t *notes = record->annotations ? json_deep_copy(record->annotations) : json_object();
    if (json_array_append_new(commit->kept, notes) < 0 ||
        json_object_set_new(notes, SFS_LAYER_VOUCHED_NOTE, json_string(head)) < 0)
        return sfs_fail_memory(err);
    record->annotations = notes;
    return 0;
}

int sfs_vouched_add(struct commit *commit, const struct sfs_exported_index *exported,
                    struct sfs_layer_record *record, struct sfs_error *err)
{
    struct sfs_digest head;
    char text[SFS_DIGEST_TEXT];
    if (!exported->head)
        return 0;
    commit->indexes.put = put;
    commit->indexes.user = commit;
    int r = sfs_index_parts_add(&commit->indexes, &record->digest, &record->diff_id, exported,
                                &head, err);
    return r < 0 ? r : name_index(commit, record, sfs_digest_print(&head, text), err);
}

/* ---- layers of the base ---- */

/* Indexes the layer in a store of its own, and exports that. */
static int export_anew(const struct commit *commit, size_t i, const char *label,
                       struct sfs_exported_index *ret_exported, struct sfs_error *err)
{
    AUTO(sfs_free) char *home = NULL;
    AUTO(sfs_temp_dir_close) struct sfs_temp_dir temp = { .fd = -1, .parent = -1 };
    AUTO(sfs_store_close) struct sfs_store *store = NULL;
    AUTO(sfs_blob_close) struct sfs_blob *blob = NULL;
    struct sfs_layer_source source = sfs_image_layer_source(commit->base_image, i, label);
    int r = sfs_temp_dir_home(sfs_io_temp_parent(), &home, err);
    if (r == 0)
        r = sfs_temp_dir_open(&temp, home, err);
    if (r == 0)
        r = sfs_store_open(temp.path, &store, err);
    if (r == 0)
        r = sfs_image_open_blob(commit->base_image, i, &blob, err);
    if (r == 0)
        r = sfs_image_settle_codec(commit->base_image, i, blob, NULL, &source.codec, err);
    if (r == 0)
        r = sfs_tar_index_make(store, blob, &source, commit->options->progress, err);
    return r < 0 ? r : sfs_index_export(store, source.key, blob, ret_exported, err);
}

/* The record of the same layer, if the image has it further down; else NULL. */
static const struct sfs_layer_record *find_same(const struct commit *commit,
                                                const struct sfs_layer_record *record)
{
    for (const struct sfs_layer_record *other = commit->layers; other < record; other++)
        if (sfs_digest_equal(&other->digest, &record->digest))
            return other;
    return NULL;
}

int sfs_vouched_add_base(struct commit *commit, size_t i, struct sfs_error *err)
{
    char label[SFS_LAYER_LABEL];
    struct sfs_error why;
    AUTO(sfs_exported_index_done) struct sfs_exported_index exported = { 0 };
    struct sfs_layer_record *record = &commit->layers[i];
    if (!commit->options->index || sfs_image_layer(commit->base_image, i)->is_directory)
        return 0;
    const struct sfs_layer_record *same = find_same(commit, record);
    if (same) {
        record->annotations = same->annotations;
        return 0;
    }
    sfs_image_label(commit->base_image, i, label);
    int r = export_anew(commit, i, label, &exported, &why);
    r = bear(commit, r, label, &why, err);
    return r < 0 ? r : sfs_vouched_add(commit, &exported, record, err);
}
