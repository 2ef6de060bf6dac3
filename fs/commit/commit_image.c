/* An image: the new layer is written first, to a temporary file; only when every byte of it was
 * read do blobs get their names, and last of all the tag. So a failure, or a kill, leaves the
 * destination's images as they were. */
#include "commit/commit_parts.h"

#include "image/layout.h"
#include <errno.h>
#include <time.h>

static int open_target(struct commit *commit, struct sfs_error *err)
{
    int r = commit->kind->open(&commit->destination, commit->options->destination, commit->options,
                               &commit->target, err);
    commit->result.fills_stdout = r == 0 && commit->target->fills_stdout;
    return r;
}

/* Begins a new blob: *ret_fd is where it goes, -1 in a dry run. */
static int begin_blob(struct commit *commit, int *ret_fd, struct sfs_error *err)
{
    *ret_fd = -1;
    return commit->target ? commit->target->ops->begin(commit->target, ret_fd, err) : 0;
}

static int end_blob(struct commit *commit, const struct sfs_digest *digest, uint64_t size,
                    struct sfs_error *err)
{
    return commit->target ? commit->target->ops->end(commit->target, digest, size, err) : 0;
}

/* Opens what makes the new layer's index; NULL: nothing does. A layer with a table of contents
 * needs none: it is indexed by that in no time. */
static struct sfs_index_maker *open_maker(const struct commit *commit)
{
    bool is_kept = commit->options->store || commit->options->index;
    bool wanted = is_kept && commit->target && !commit->plan.contents;
    return wanted ? sfs_index_maker_open(commit->plan.codec) : NULL;
}

/* Puts the index into the store. The layer is as good without: a cache that is full, or that we may
 * not write to, is no reason to fail. */
static void keep_index(const struct commit *commit, struct sfs_index_maker *maker,
                       const struct sfs_pipe_result *written)
{
    const struct sfs_made_blob blob = { .digest = written->out_digest,
                                        .diff_id = written->in_digest,
                                        .size = written->out_size };
    if (maker && commit->options->store)
        sfs_index_maker_finish(maker, commit->options->store, &blob, NULL);
}

static int write_layer(struct commit *commit, const struct sfs_tree *tree,
                       struct sfs_changes *changes, struct sfs_layer_record *record,
                       struct sfs_error *err)
{
    struct sfs_pipe_options to = { .fd = -1, .name = commit->options->destination };
    struct sfs_layer_written layer;
    int r = begin_blob(commit, &to.fd, err);
    if (r < 0)
        return r;
    AUTO(sfs_exported_index_done) struct sfs_exported_index exported = { 0 };
    AUTO(sfs_index_maker_close) struct sfs_index_maker *maker = open_maker(commit);
    to.maker = maker;
    r = sfs_commit_layer(commit, tree, changes, &to, &layer, err);
    if (r < 0)
        return r;
    keep_index(commit, maker, &layer.pipe);
    json_t *annotations = layer.annotations;
    if (annotations && json_array_append_new(commit->kept, annotations) < 0)
        return sfs_fail_memory(err);
    const struct sfs_pipe_result written = layer.pipe;
    *record = (struct sfs_layer_record){ .digest = written.out_digest,
                                         .diff_id = written.in_digest,
                                         .size = written.out_size,
                                         .media_type = commit->plan.media_type,
                                         .compression = commit->plan.name,
                                         .annotations = annotations };
    commit->result.tar_size = written.in_size;
    commit->result.copied = layer.copied;
    r = sfs_vouched_export(commit, maker, &layer.pipe, to.fd, &exported, err);
    if (r == 0)
        r = end_blob(commit, &written.out_digest, written.out_size, err);
    return r < 0 ? r : sfs_vouched_add(commit, &exported, record, err);
}

/* Writes the stage's own layer; none if nothing changed and there are others. */
static int write_own_layer(struct commit *commit, struct sfs_error *err)
{
    const struct sfs_tree *tree = sfs_stage_tree(commit->stage);
    struct sfs_commit_result *result = &commit->result;
    AUTO(sfs_changes_done) struct sfs_changes changes = { 0 };
    int r = sfs_changes_find(commit->base, tree, &changes, err);
    if (r < 0)
        return r;
    sfs_commit_count(commit, &changes);
    commit->layer_count = commit->base_count;
    if (changes.count == 0 && commit->base_count > 0)
        return 0;
    struct sfs_layer_record *record = &commit->layers[commit->layer_count++];
    r = write_layer(commit, tree, &changes, record, err);
    result->layer = record->digest;
    result->diff_id = record->diff_id;
    result->layer_size = record->size;
    return r;
}

/* Writes a base that is a directory, and so has no blob, as a layer. */
static int write_directory(struct commit *commit, struct sfs_layer_record *record,
                           struct sfs_error *err)
{
    uint64_t tar_size = commit->result.tar_size, copied = commit->result.copied;
    AUTO(sfs_changes_done) struct sfs_changes changes = { 0 };
    int r = sfs_changes_find(commit->nothing, commit->base, &changes, err);
    if (r == 0)
        r = write_layer(commit, commit->base, &changes, record, err);
    commit->result.tar_size = tar_size; /* the result tells of the new layer only */
    commit->result.copied = copied;
    return r;
}

/* Copies a layer byte by byte. A layer of a docker-archive may have no digest of its own but only
 * its tar's: it gets one here. */
static int copy_layer(struct commit *commit, size_t i, struct sfs_layer_record *record,
                      struct sfs_error *err)
{
    const struct sfs_image_layer *layer = sfs_image_layer(commit->base_image, i);
    AUTO(sfs_blob_close) struct sfs_blob *blob = NULL;
    int fd;
    int r = sfs_image_open_blob(commit->base_image, i, &blob, err);
    if (r == 0)
        r = begin_blob(commit, &fd, err);
    if (r == 0)
        r = sfs_blob_digest(blob, fd, &record->digest, err);
    if (r < 0)
        return r;
    record->size = blob->size;
    bool is_tar = sfs_codec_get(layer->codec)->is_plain;
    if (is_tar && !sfs_digest_equal(&record->digest, &layer->diff_id))
        return sfs_fail(err, EKEYREJECTED, "%s does not match its diff_id", blob->name);
    if (layer->has_digest && !sfs_digest_equal(&record->digest, &layer->digest))
        return sfs_fail(err, EKEYREJECTED, "%s does not match its digest", blob->name);
    if (!layer->has_digest)
        r = sfs_image_check_copied(commit->base_image, i, &record->digest, err);
    return r < 0 ? r : end_blob(commit, &record->digest, blob->size, err);
}

static int bring_layer(struct commit *commit, size_t i, struct sfs_error *err)
{
    const struct sfs_image_layer *layer = sfs_image_layer(commit->base_image, i);
    struct sfs_layer_record *record = &commit->layers[i];
    if (layer->is_directory && commit->base_count == 1)
        return write_directory(commit, record, err);
    if (layer->is_directory)
        return sfs_fail(err, ENOTSUP,
                        "layer %zu of %.300s is kept as files alone, not as a tar; --squash makes "
                        "one layer of all",
                        i, sfs_image_ref(commit->base_image));
    if (!layer->has_diff_id)
        return sfs_fail(err, ENOTSUP, "layer %zu of %.300s has no diff_id in its config", i,
                        sfs_image_ref(commit->base_image));
    *record = (struct sfs_layer_record){
        .digest = layer->digest,
        .diff_id = layer->diff_id,
        .size = layer->size,
        .media_type = sfs_record_media_type(layer->media_type),
        .annotations = layer->annotations,
    };
    struct sfs_target *target = commit->target;
    if (layer->has_digest && !target)
        return 0;
    if (layer->has_digest && target->ops->add_layer)
        return target->ops->add_layer(target, commit->base_image, i, err);
    if (layer->has_digest && target->ops->has(target, &layer->digest, layer->size))
        return 0;
    return copy_layer(commit, i, record, err);
}

/* Prints a document and adds it as a blob. */
static int add_document(struct commit *commit, const json_t *json, struct sfs_digest *ret_digest,
                        size_t *ret_size, struct sfs_error *err)
{
    AUTO(sfs_buf_close) struct sfs_buf text = { 0 };
    int r = sfs_record_print(json, &text, err);
    if (r < 0)
        return r;
    *ret_size = text.size;
    if (commit->target)
        return sfs_target_add_bytes(commit->target, text.data, text.size, ret_digest, err);
    return sfs_digest_of(text.data, text.size, ret_digest) < 0 ? sfs_fail_memory(err) : 0;
}

static int add_config(struct commit *commit, json_t **ret_config, size_t *ret_size,
                      struct sfs_error *err)
{
    const struct sfs_commit_options *options = commit->options;
    const struct sfs_config_record record = {
        .stage = commit->config,
        .layers = commit->layers,
        .layer_count = commit->layer_count,
        .base_count = commit->base_count,
        .added = commit->layer_count > commit->base_count,
        .created = options->has_epoch || options->epoch ? options->epoch : (int64_t)time(NULL),
        .created_by = sfs_stage_created_by(commit->stage),
    };
    int r = sfs_config_make(&record, ret_config, err);
    if (r < 0)
        return r;
    return add_document(commit, *ret_config, &commit->result.config, ret_size, err);
}

static int write_image(struct commit *commit, struct sfs_error *err)
{
    AUTO(sfs_json_close) json_t *config = NULL;
    AUTO(sfs_json_close) json_t *manifest = NULL;
    AUTO(sfs_json_close) json_t *descriptor = NULL;
    struct sfs_commit_result *result = &commit->result;
    size_t config_size = 0, manifest_size = 0;
    int r = add_config(commit, &config, &config_size, err);
    const struct sfs_manifest_record record = { .layers = commit->layers,
                                                .layer_count = commit->layer_count,
                                                .config = result->config,
                                                .config_size = config_size,
                                                .annotations = commit->annotations };
    if (r == 0)
        r = sfs_manifest_make(&record, &manifest, err);
    if (r == 0)
        r = add_document(commit, manifest, &result->manifest, &manifest_size, err);
    result->manifest_size = manifest_size;
    result->has_manifest = true;
    if (r < 0 || !commit->target)
        return r;
    r = sfs_descriptor_make(&result->manifest, manifest_size, config, &descriptor, err);
    const struct sfs_artifact beside = sfs_index_parts_artifact(&commit->indexes);
    const struct sfs_target_image image = { .digest = result->manifest,
                                            .config_digest = result->config,
                                            .manifest = manifest,
                                            .descriptor = descriptor,
                                            .beside = beside.part_count > 0 ? &beside : NULL };
    return r == 0 ? commit->target->ops->finish(commit->target, &image, err) : r;
}

int sfs_commit_write_image(struct commit *commit, struct sfs_error *err)
{
    int r = commit->options->dry_run ? 0 : open_target(commit, err);
    if (r == 0)
        r = sfs_vouched_init(commit, err);
    if (r == 0)
        r = write_own_layer(commit, err);
    for (size_t i = 0; i < commit->base_count && r == 0; i++) {
        r = bring_layer(commit, i, err);
        if (r == 0)
            r = sfs_vouched_add_base(commit, i, err);
        commit->result.base_size += commit->layers[i].size;
    }
    return r == 0 ? write_image(commit, err) : r;
}
