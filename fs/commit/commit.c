/* sfs_commit(): the new layer is written first, to a temporary file; only when every byte of it was
 * read do blobs get their names, and last of all the tag. So a failure, or a kill, leaves the
 * destination's images as they were. */
#include <stagefs/commit.h>

#include "commit/config_edit.h"
#include "commit/layer_write.h"
#include "commit/records.h"
#include "image/layout.h"
#include "image/parts.h"
#include <errno.h>
#include <time.h>

#define READ_BLOCK (1u << 20)

struct commit {
    const struct sfs_stage *stage;
    const struct sfs_commit_options *options;
    struct sfs_compress_plan plan;
    struct sfs_reference destination;
    struct sfs_layout *layout; /* NULL: a dry run */
    struct sfs_tree *nothing;  /* an empty tree */
    const struct sfs_tree *base;
    struct sfs_image *base_image; /* NULL: no layers go below */
    struct sfs_layer_record *layers;
    size_t base_count, layer_count; /* of the image to be */
    json_t *config, *annotations;   /* the stage's config, and the manifest's, as edited */
    struct sfs_commit_result result;
};

static void commit_done(struct commit *commit)
{
    free(commit->layers);
    sfs_json_close(&commit->config);
    sfs_json_close(&commit->annotations);
    sfs_tree_close(&commit->nothing);
    sfs_layout_close(&commit->layout);
    sfs_reference_done(&commit->destination);
}

static int parse_destination(struct commit *commit, struct sfs_error *err)
{
    const char *text = commit->options->destination;
    struct sfs_reference *destination = &commit->destination;
    int r = sfs_reference_parse(text, destination, err);
    if (r < 0)
        return r;
    if (destination->transport != SFS_TRANSPORT_OCI)
        return sfs_fail(err, EINVAL, "'%.300s': images are written to oci:DIR:TAG only", text);
    if (destination->has_digest)
        return sfs_fail(err, EINVAL,
                        "'%.300s': name a tag, the digest comes out of what is written", text);
    return 0;
}

/* What the new layer goes on: nothing for --squash, and where there is no base image. */
static int choose_base(struct commit *commit, struct sfs_error *err)
{
    int r = sfs_tree_merge(NULL, 0, &commit->nothing, err);
    if (r < 0)
        return r;
    commit->base = commit->nothing;
    commit->base_image = NULL;
    if (!commit->options->squash && sfs_stage_base_image(commit->stage)) {
        commit->base_image = sfs_stage_base_image(commit->stage);
        commit->base = sfs_stage_base_tree(commit->stage);
        commit->base_count = sfs_image_layer_count(commit->base_image);
    }
    commit->layers = calloc(commit->base_count + 1, sizeof *commit->layers);
    return commit->layers ? 0 : sfs_fail(err, ENOMEM, "out of memory");
}

/* Before anything is read, so that a wrong option costs no time. */
static int edit_config(struct commit *commit, struct sfs_error *err)
{
    const struct sfs_commit_options *options = commit->options;
    commit->config = json_deep_copy(sfs_stage_config(commit->stage));
    commit->annotations = json_object();
    if (!commit->config || !commit->annotations)
        return sfs_fail(err, ENOMEM, "out of memory");
    return sfs_config_edit(commit->config, commit->annotations, options->edits, options->edit_count,
                           err);
}

/* Gives a finished blob its name, unless it is there already. */
static int keep_blob(struct commit *commit, struct sfs_io_temp *temp,
                     const struct sfs_digest *digest, uint64_t size, struct sfs_error *err)
{
    if (!commit->layout || sfs_layout_has(commit->layout, digest, size))
        return 0;
    return sfs_layout_commit(commit->layout, temp, digest, err);
}

static int write_layer(struct commit *commit, const struct sfs_tree *tree,
                       const struct sfs_changes *changes, struct sfs_layer_record *record,
                       struct sfs_error *err)
{
    const struct sfs_commit_options *options = commit->options;
    AUTO(sfs_io_temp_close) struct sfs_io_temp temp = { .fd = -1, .dirfd = -1 };
    int r = commit->layout ? sfs_layout_temp(commit->layout, &temp, err) : 0;
    if (r < 0)
        return r;
    const struct sfs_layer_write write = {
        .tree = tree,
        .changes = changes,
        .pipe = { .plan = commit->plan,
                  .threads = options->threads,
                  .fd = temp.fd,
                  .name = commit->destination.path },
        .has_epoch = options->has_epoch,
        .epoch = options->epoch,
        .set_mtimes = options->set_mtimes,
        .progress = options->progress,
    };
    struct sfs_pipe_result written;
    r = sfs_layer_write(&write, &written, err);
    if (r < 0)
        return r;
    *record = (struct sfs_layer_record){ .digest = written.out_digest,
                                         .diff_id = written.in_digest,
                                         .size = written.out_size,
                                         .media_type = commit->plan.media_type,
                                         .compression = commit->plan.name };
    commit->result.tar_size = written.in_size;
    return keep_blob(commit, &temp, &written.out_digest, written.out_size, err);
}

/* The stage's own layer; none if nothing changed and there are others. */
static int write_own_layer(struct commit *commit, struct sfs_error *err)
{
    const struct sfs_tree *tree = sfs_stage_tree(commit->stage);
    struct sfs_commit_result *result = &commit->result;
    AUTO(sfs_changes_done) struct sfs_changes changes = { 0 };
    int r = sfs_changes_find(commit->base, tree, &changes, err);
    if (r < 0)
        return r;
    result->entries = changes.count;
    result->files = changes.files;
    result->whiteouts = changes.whiteouts;
    result->file_bytes = changes.file_bytes;
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

/* A base that is a directory has no blob: it is written as a layer too. */
static int write_directory(struct commit *commit, struct sfs_layer_record *record,
                           struct sfs_error *err)
{
    uint64_t tar_size = commit->result.tar_size;
    AUTO(sfs_changes_done) struct sfs_changes changes = { 0 };
    int r = sfs_changes_find(commit->nothing, commit->base, &changes, err);
    if (r == 0)
        r = write_layer(commit, commit->base, &changes, record, err);
    commit->result.tar_size = tar_size; /* the result tells of the new layer only */
    return r;
}

/* Digests a blob, and copies it where fd is not -1. */
static int read_blob(struct sfs_blob *blob, int fd, struct sfs_digest *ret_digest,
                     struct sfs_error *err)
{
    AUTO(sfs_hash_close) struct sfs_hash *hash = sfs_hash_open();
    AUTO(sfs_free) char *buf = malloc(READ_BLOCK);
    if (!hash || !buf)
        return sfs_fail(err, ENOMEM, "out of memory");
    for (uint64_t offset = 0; offset < blob->size;) {
        ssize_t n = sfs_blob_read_at(blob, buf, READ_BLOCK, offset, err);
        if (n < 0)
            return (int)n;
        if (n == 0)
            return sfs_fail(err, EIO, "%s became shorter while it was read", blob->name);
        if (sfs_hash_add(hash, buf, (size_t)n) < 0)
            return sfs_fail(err, ENOMEM, "out of memory");
        int r = fd >= 0 ? sfs_io_write_all(fd, buf, (size_t)n) : 0;
        if (r < 0)
            return sfs_fail_errno(err, -r, "writing a copy of %s", blob->name);
        offset += (uint64_t)n;
    }
    return sfs_hash_finish(hash, ret_digest) < 0 ? sfs_fail(err, ENOMEM, "out of memory") : 0;
}

/* A layer of a docker-archive has no digest but that of its tar. */
static int bring_undigested(struct commit *commit, size_t i, struct sfs_layer_record *record,
                            struct sfs_error *err)
{
    const struct sfs_image_layer *layer = sfs_image_layer(commit->base_image, i);
    AUTO(sfs_blob_close) struct sfs_blob *blob = NULL;
    AUTO(sfs_io_temp_close) struct sfs_io_temp temp = { .fd = -1, .dirfd = -1 };
    int r = sfs_image_open_blob(commit->base_image, i, &blob, err);
    if (r == 0 && commit->layout)
        r = sfs_layout_temp(commit->layout, &temp, err);
    if (r == 0)
        r = read_blob(blob, temp.fd, &record->digest, err);
    if (r < 0)
        return r;
    record->size = blob->size;
    if (strcmp(layer->codec, "none") == 0 && !sfs_digest_equal(&record->digest, &layer->diff_id))
        return sfs_fail(err, EKEYREJECTED, "%s does not match its diff_id", blob->name);
    return keep_blob(commit, &temp, &record->digest, blob->size, err);
}

static int bring_layer(struct commit *commit, size_t i, struct sfs_error *err)
{
    const struct sfs_image_layer *layer = sfs_image_layer(commit->base_image, i);
    struct sfs_layer_record *record = &commit->layers[i];
    if (strcmp(layer->codec, "directory") == 0)
        return write_directory(commit, record, err);
    if (!layer->has_diff_id)
        return sfs_fail(err, ENOTSUP, "layer %zu of %.300s has no diff_id in its config", i,
                        sfs_image_ref(commit->base_image));
    *record = (struct sfs_layer_record){
        .digest = layer->digest,
        .diff_id = layer->diff_id,
        .size = layer->size,
        .media_type = sfs_record_media_type(layer->media_type, layer->codec),
        .annotations = layer->annotations,
    };
    if (!layer->has_digest)
        return bring_undigested(commit, i, record, err);
    return commit->layout ? sfs_layout_add_layer(commit->layout, commit->base_image, i, err) : 0;
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
    if (commit->layout)
        return sfs_layout_add_bytes(commit->layout, text.data, text.size, ret_digest, err);
    return sfs_digest_of(text.data, text.size, ret_digest) < 0
               ? sfs_fail(err, ENOMEM, "out of memory")
               : 0;
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
    if (r < 0 || !commit->layout)
        return r;
    r = sfs_descriptor_make(&result->manifest, manifest_size, config, &descriptor, err);
    if (r == 0)
        r = sfs_layout_tag(commit->layout, commit->destination.name, descriptor, err);
    return r;
}

int sfs_commit(const struct sfs_stage *stage, const struct sfs_commit_options *options,
               struct sfs_commit_result *ret_result, struct sfs_error *err)
{
    AUTO(commit_done) struct commit commit = { .stage = stage, .options = options };
    int r = sfs_compress_plan(options->compression, options->level, &commit.plan, err);
    if (r == 0)
        r = parse_destination(&commit, err);
    if (r == 0)
        r = choose_base(&commit, err);
    if (r == 0)
        r = edit_config(&commit, err);
    if (r == 0 && !options->dry_run)
        r = sfs_layout_open(commit.destination.path, &commit.layout, err);
    if (r == 0)
        r = write_own_layer(&commit, err);
    for (size_t i = 0; i < commit.base_count && r == 0; i++)
        r = bring_layer(&commit, i, err);
    if (r == 0)
        r = write_image(&commit, err);
    if (r < 0)
        return r;
    *ret_result = commit.result;
    return 0;
}
