/* sfs_commit(): the new layer is written first, to a temporary file; only when every byte of it was
 * read do blobs get their names, and last of all the tag. So a failure, or a kill, leaves the
 * destination's images as they were. */
#include <stagefs/commit.h>

#include "base/hash.h"
#include "commit/config_edit.h"
#include "commit/extract.h"
#include "commit/layer_write.h"
#include "commit/records.h"
#include "commit/target.h"
#include "base/temp_dir.h"
#include "commit/order.h"
#include "image/layout.h"
#include "image/parts.h"
#include "tree/profile.h"
#include "tree/tree_inner.h"
#include <dirent.h>
#include <errno.h>
#include <time.h>

#define READ_BLOCK (1u << 20)

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
    struct sfs_commit_result result;
};

static void commit_done(struct commit *commit)
{
    free(commit->layers);
    sfs_json_close(&commit->kept);
    sfs_json_close(&commit->config);
    sfs_json_close(&commit->annotations);
    sfs_tree_close(&commit->nothing);
    sfs_target_close(&commit->target);
    sfs_reference_done(&commit->destination);
    sfs_profile_done(&commit->profile);
}

/* How a transport is written to; the table of them is at the end. */
struct destination {
    int (*write)(struct commit *commit, struct sfs_error *err); /* NULL: it is not written to */
    /* Where images are written: opens the target. */
    int (*open)(const struct sfs_reference *reference, const char *text,
                const struct sfs_commit_options *options, struct sfs_target **ret_target,
                struct sfs_error *err);
    unsigned codecs;  /* which codecs of layers its readers know: bits 1 << enum sfs_codec */
    const char *what; /* what messages call it, if those are not all codecs */
};

/* Refuses a codec that the destination's readers do not know: docker's archives are read by
 * programs that know gzip at most. */
static int check_codecs(const struct commit *commit, struct sfs_error *err)
{
    unsigned known = commit->kind->codecs;
    enum sfs_codec codec = commit->plan.codec;
    if (!(known >> codec & 1))
        return sfs_fail(err, EINVAL, "%s holds no %s: use --compression gzip, or oci-archive:",
                        commit->kind->what, sfs_codec_name(codec));
    for (size_t i = 0; i < commit->base_count; i++) {
        codec = sfs_image_layer(commit->base_image, i)->codec;
        if (!(known >> codec & 1))
            return sfs_fail(err, ENOTSUP,
                            "%s holds no %s, and layer %zu of the base is compressed with it: use "
                            "oci-archive:, or --squash",
                            commit->kind->what, sfs_codec_name(codec), i);
    }
    return 0;
}

static int open_target(struct commit *commit, struct sfs_error *err)
{
    int r = commit->kind->open(&commit->destination, commit->options->destination, commit->options,
                               &commit->target, err);
    commit->result.fills_stdout = r == 0 && commit->target->fills_stdout;
    return r;
}

/* Chooses what the new layer goes on: nothing for --squash, and where there is no base image. */
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
    return commit->layers ? 0 : sfs_fail_memory(err);
}

/* Edits config and annotations. It is done before anything is read, so that a wrong option costs no
 * time. */
static int edit_config(struct commit *commit, struct sfs_error *err)
{
    const struct sfs_commit_options *options = commit->options;
    commit->config = json_deep_copy(sfs_stage_config(commit->stage));
    commit->annotations = json_object();
    commit->kept = json_array();
    if (!commit->kept || !commit->config || !commit->annotations)
        return sfs_fail_memory(err);
    return sfs_config_edit(commit->config, commit->annotations, options->edits, options->edit_count,
                           err);
}

static int read_profiles(struct commit *commit, struct sfs_error *err)
{
    const struct sfs_commit_options *options = commit->options;
    int r = 0;
    for (size_t i = 0; i < options->profile_count && r == 0; i++)
        r = sfs_profile_read(&commit->profile, options->profiles[i], err);
    return r;
}

static int order_changes(const struct commit *commit, const struct sfs_tree *tree,
                         struct sfs_changes *changes, struct sfs_error *err)
{
    const struct sfs_order order = { .tree = tree,
                                     .profile = &commit->profile,
                                     .is_estargz = commit->plan.contents == SFS_CONTENTS_ESTARGZ };
    return sfs_changes_order(changes, &order, err);
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
    bool wanted = commit->options->store && commit->target && !commit->plan.contents;
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
    if (maker)
        sfs_index_maker_finish(maker, commit->options->store, &blob, NULL);
}

static int write_layer(struct commit *commit, const struct sfs_tree *tree,
                       struct sfs_changes *changes, struct sfs_layer_record *record,
                       struct sfs_error *err)
{
    const struct sfs_commit_options *options = commit->options;
    int fd = -1;
    int r = order_changes(commit, tree, changes, err);
    if (r == 0)
        r = begin_blob(commit, &fd, err);
    if (r < 0)
        return r;
    AUTO(sfs_index_maker_close) struct sfs_index_maker *maker = open_maker(commit);
    const struct sfs_layer_write write = {
        .tree = tree,
        .changes = changes,
        .pipe = { .plan = commit->plan,
                  .threads = options->threads,
                  .fd = fd,
                  .name = options->destination,
                  .maker = maker },
        .has_epoch = options->has_epoch,
        .epoch = options->epoch,
        .set_mtimes = options->set_mtimes,
        .progress = options->progress,
    };
    struct sfs_layer_written layer;
    r = sfs_layer_write(&write, &layer, err);
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
    return end_blob(commit, &written.out_digest, written.out_size, err);
}

static void count_changes(struct commit *commit, const struct sfs_changes *changes)
{
    commit->result.entries = changes->count;
    commit->result.files = changes->files;
    commit->result.whiteouts = changes->whiteouts;
    commit->result.file_bytes = changes->file_bytes;
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
    count_changes(commit, &changes);
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

/* Digests a blob, and copies it where fd is not -1. */
static int read_blob(struct sfs_blob *blob, int fd, struct sfs_digest *ret_digest,
                     struct sfs_error *err)
{
    AUTO(sfs_hash_close) struct sfs_hash *hash = sfs_hash_open();
    AUTO(sfs_free) char *buf = malloc(READ_BLOCK);
    if (!hash || !buf)
        return sfs_fail_memory(err);
    for (uint64_t offset = 0; offset < blob->size;) {
        ssize_t n = sfs_blob_read_at(blob, buf, READ_BLOCK, offset, err);
        if (n < 0)
            return (int)n;
        if (n == 0)
            return sfs_fail(err, EIO, "%s became shorter while it was read", blob->name);
        if (sfs_hash_add(hash, buf, (size_t)n) < 0)
            return sfs_fail_memory(err);
        int r = fd >= 0 ? sfs_io_write_all(fd, buf, (size_t)n) : 0;
        if (r < 0)
            return sfs_fail_errno(err, -r, "writing a copy of %s", blob->name);
        offset += (uint64_t)n;
    }
    return sfs_hash_finish(hash, ret_digest) < 0 ? sfs_fail_memory(err) : 0;
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
        r = read_blob(blob, fd, &record->digest, err);
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
    if (layer->is_directory)
        return write_directory(commit, record, err);
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
    const struct sfs_target_image image = { .digest = result->manifest,
                                            .config_digest = result->config,
                                            .manifest = manifest,
                                            .descriptor = descriptor };
    return r == 0 ? commit->target->ops->finish(commit->target, &image, err) : r;
}

static int write_to_target(struct commit *commit, struct sfs_error *err)
{
    int r = commit->options->dry_run ? 0 : open_target(commit, err);
    if (r == 0)
        r = write_own_layer(commit, err);
    for (size_t i = 0; i < commit->base_count && r == 0; i++) {
        r = bring_layer(commit, i, err);
        commit->result.base_size += commit->layers[i].size;
    }
    return r == 0 ? write_image(commit, err) : r;
}

/* ---- what is no image ---- */

/* Writes the layer alone, as one tar. */
static int write_stream(struct commit *commit, struct sfs_error *err)
{
    const struct sfs_commit_options *options = commit->options;
    const struct sfs_tree *tree = sfs_stage_tree(commit->stage);
    AUTO(sfs_changes_done) struct sfs_changes changes = { 0 };
    struct sfs_layer_written written;
    int r = sfs_changes_find(commit->base, tree, &changes, err);
    if (r < 0)
        return r;
    const struct sfs_layer_write write = {
        .tree = tree,
        .changes = &changes,
        .pipe = { .plan = commit->plan,
                  .threads = options->threads,
                  .fd = options->dry_run ? -1 : options->fd,
                  .name = "the layer" },
        .has_epoch = options->has_epoch,
        .epoch = options->epoch,
        .set_mtimes = options->set_mtimes,
        .progress = options->progress,
    };
    count_changes(commit, &changes);
    r = order_changes(commit, tree, &changes, err);
    if (r == 0)
        r = sfs_layer_write(&write, &written, err);
    if (r < 0)
        return r;
    sfs_json_close(&written.annotations);
    commit->result.layer = written.pipe.out_digest;
    commit->result.diff_id = written.pipe.in_digest;
    commit->result.layer_size = written.pipe.out_size;
    commit->result.tar_size = written.pipe.in_size;
    commit->result.copied = written.copied;
    return 0;
}

static int extract_to(struct commit *commit, const struct sfs_changes *changes,
                      struct sfs_error *err)
{
    const struct sfs_commit_options *options = commit->options;
    const char *path = commit->destination.path;
    AUTO(sfs_temp_dir_close) struct sfs_temp_dir temp = { .fd = -1, .parent = -1 };
    AUTO(sfs_free) char *parent = sfs_parent_of(path);
    if (!parent)
        return sfs_fail_memory(err);
    int r = sfs_io_make_dirs(parent, err);
    if (r == 0)
        r = sfs_temp_dir_open(&temp, parent, err);
    const struct sfs_extract extract = { .tree = sfs_stage_tree(commit->stage),
                                         .changes = changes,
                                         .fd = temp.fd,
                                         .has_epoch = options->has_epoch,
                                         .set_mtimes = options->set_mtimes,
                                         .epoch = options->epoch,
                                         .progress = options->progress };
    if (r == 0)
        r = sfs_extract(&extract, err);
    return r == 0 ? sfs_temp_dir_commit(&temp, path, err) : r;
}

/* Fails if the directory is not empty. */
static int check_is_empty(const char *path, struct sfs_error *err)
{
    DIR *stream = opendir(path);
    if (!stream)
        return errno == ENOENT ? 0 : sfs_fail_errno(err, errno, "%s", path);
    const struct dirent *entry;
    bool empty = true;
    while (empty && (entry = readdir(stream)))
        empty = strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0;
    closedir(stream);
    return empty ? 0 : sfs_fail(err, EEXIST, "%s is not empty", path);
}

/* Writes the whole tree, with its base, as files. */
static int write_directory_tree(struct commit *commit, struct sfs_error *err)
{
    AUTO(sfs_changes_done) struct sfs_changes changes = { 0 };
    int r = check_is_empty(commit->destination.path, err);
    if (r == 0)
        r = sfs_changes_find(commit->nothing, sfs_stage_tree(commit->stage), &changes, err);
    if (r < 0)
        return r;
    count_changes(commit, &changes);
    return commit->options->dry_run ? 0 : extract_to(commit, &changes, err);
}

/* ---- destinations ---- */

#define ALL_CODECS   (~0u)
#define DOCKER_KNOWS (1u << SFS_CODEC_NONE | 1u << SFS_CODEC_GZIP)

/* How each transport is read stands in image/image.c, how it is spelt in image/reference.c. */
static const struct destination destinations[SFS_TRANSPORTS] = {
    [SFS_TRANSPORT_OCI] = { write_to_target, sfs_target_open_layout, ALL_CODECS },
    [SFS_TRANSPORT_OCI_ARCHIVE] = { write_to_target, sfs_target_open_archive, ALL_CODECS },
    [SFS_TRANSPORT_DOCKER_ARCHIVE] = { write_to_target, sfs_target_open_archive, DOCKER_KNOWS,
                                       "a docker-archive" },
    [SFS_TRANSPORT_STORAGE] = { write_to_target, sfs_target_open_storage, ALL_CODECS },
    [SFS_TRANSPORT_DOCKER] = { write_to_target, sfs_target_open_registry, ALL_CODECS },
    [SFS_TRANSPORT_DIR] = { .write = write_directory_tree, .codecs = ALL_CODECS },
    [SFS_TRANSPORT_TAR] = { .write = write_stream, .codecs = ALL_CODECS },
};

static int parse_destination(struct commit *commit, struct sfs_error *err)
{
    const char *text = commit->options->destination;
    int r = sfs_reference_parse(text, &commit->destination, err);
    if (r < 0)
        return r;
    commit->kind = &destinations[commit->destination.transport];
    if (!commit->kind->write)
        return sfs_fail(err, EINVAL,
                        "'%.300s' is not written to: commit to oci:DIR:TAG, then skopeo copy "
                        "oci:DIR:TAG %.300s",
                        text, text);
    if (commit->destination.has_digest)
        return sfs_fail(err, EINVAL,
                        "'%.300s': name a tag, the digest comes out of what is written", text);
    if (commit->destination.has_position)
        return sfs_fail(err, EINVAL, "'%.300s': give a name, @N counts images that are there",
                        text);
    return 0;
}

int sfs_commit(const struct sfs_stage *stage, const struct sfs_commit_options *options,
               struct sfs_commit_result *ret_result, struct sfs_error *err)
{
    AUTO(commit_done) struct commit commit = { .stage = stage, .options = options };
    int r = sfs_compress_plan(options->compression, options->level, &commit.plan, err);
    if (r == 0)
        r = parse_destination(&commit, err);
    if (r == 0)
        r = read_profiles(&commit, err);
    if (r == 0)
        r = choose_base(&commit, err);
    if (r == 0)
        r = edit_config(&commit, err);
    if (r == 0)
        r = check_codecs(&commit, err);
    if (r == 0)
        r = commit.kind->write(&commit, err);
    if (r < 0)
        return r;
    *ret_result = commit.result;
    return 0;
}
