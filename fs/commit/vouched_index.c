/* commit --index: the index of a new layer goes beside the image, and the layer's descriptor says
 * its digest, so that it is as good as the manifest (docs/registry.md). It is made of what was
 * written, and not what the store has for the layer, which a pass over the blob may have made: the
 * same stage gives the same digests. */
#include "commit/commit_parts.h"

#include "image/artifacts.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>

int sfs_vouched_init(struct commit *commit, struct sfs_error *err)
{
    return commit->options->index ? sfs_index_parts_init(&commit->indexes, 2, err) : 0;
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

static void tell_none(const struct commit *commit, const struct sfs_error *why)
{
    const struct sfs_progress *progress = commit->options->progress;
    char text[sizeof why->text + 80];
    snprintf(text, sizeof text, "the new layer has no index beside the image: %s", why->text);
    if (progress && progress->warn)
        progress->warn(progress->user, text);
}

int sfs_vouched_export(const struct commit *commit, struct sfs_index_maker *maker,
                       const struct sfs_pipe_result *layer, int written,
                       struct sfs_exported_index *ret_exported, struct sfs_error *err)
{
    struct sfs_error why;
    if (!commit->options->index)
        return 0;
    if (commit->plan.contents)
        sfs_fail(&why, ENOTSUP, "it brings a table of contents, which is one");
    int r = commit->plan.contents ? -ENOTSUP
            : maker               ? export(commit, maker, layer, written, ret_exported, &why)
                                  : sfs_fail_memory(&why);
    if (r == -ENOTSUP)
        tell_none(commit, &why);
    return r == -ENOTSUP ? 0 : r < 0 ? sfs_fail(err, -r, "%s", why.text) : 0;
}

/* The `put` of the parts: config and manifest go the same way. */
static int put(void *user, const void *data, size_t size, struct sfs_digest *ret_digest,
               struct sfs_error *err)
{
    const struct commit *commit = user;
    return sfs_target_add_bytes(commit->target, data, size, ret_digest, err);
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
    if (r < 0)
        return r;
    json_t *notes = json_pack("{ss}", SFS_LAYER_VOUCHED_NOTE, sfs_digest_print(&head, text));
    if (!notes || json_array_append_new(commit->kept, notes) < 0)
        return sfs_fail_memory(err);
    record->annotations = notes;
    return 0;
}
