/* First all that the image consists of is listed, from its manifest down; then blobs are sent, by
 * several threads, and then manifests, those below an index before it. */
#include <stagefs/push.h>

#include "base/array.h"
#include "base/hash.h"
#include "base/limits.h"
#include "base/pool.h"
#include "base/thread.h"
#include "commit/base_place.h"
#include "commit/pipe.h"
#include "commit/records.h"
#include "commit/target.h"
#include "image/parts.h"
#include "registry/upload.h"
#include <errno.h>
#include <inttypes.h>
#include <stagefs/commit.h>

#define AT_ONCE        6 /* as skopeo has it */
#define MOST_NESTING   8
#define MOST_BLOBS     65536u
#define MOST_MANIFESTS 4096u
#define READ_BLOCK     (1u << 20)

struct pushed_blob {
    struct push *push;
    struct sfs_digest digest;
    uint64_t size;
    bool may_lack; /* a layer that is not distributed with its image */
};

struct pushed_manifest {
    struct sfs_digest digest;
    char *data;
    size_t size;
    char *media_type;
};

struct push {
    const struct sfs_push_options *options;
    struct sfs_image *image;
    struct sfs_name name;
    struct sfs_registry *registry;
    struct sfs_repository *repository;
    char *from; /* another repository there that the image is in; NULL: none */
    struct pushed_blob *blobs;
    size_t blob_count, blob_capacity;
    struct pushed_manifest *manifests; /* in the order in which they are put */
    size_t manifest_count, manifest_capacity;
    atomic_bool failed;
    pthread_mutex_t lock;
    struct sfs_push_result sums; /* guarded by lock */
    int result;                  /* the first failure; guarded by lock */
    struct sfs_error error;      /* guarded by lock */
};

static void push_done(struct push *push)
{
    for (size_t i = 0; i < push->manifest_count; i++) {
        free(push->manifests[i].data);
        free(push->manifests[i].media_type);
    }
    free(push->manifests);
    free(push->blobs);
    free(push->from);
    sfs_repository_close(&push->repository);
    sfs_registry_close(&push->registry);
    sfs_name_done(&push->name);
    sfs_image_close(&push->image);
    pthread_mutex_destroy(&push->lock);
}

/* ---- what the image consists of */

static int list_blob(struct push *push, const json_t *json, bool is_layer, struct sfs_error *err)
{
    struct sfs_descriptor descriptor;
    enum sfs_codec codec;
    enum sfs_layer_type type;
    int r = sfs_descriptor_parse(json, is_layer ? "layer" : "config", &descriptor, err);
    if (r < 0)
        return r;
    for (size_t i = 0; i < push->blob_count; i++)
        if (sfs_digest_equal(&push->blobs[i].digest, &descriptor.digest))
            return 0;
    if (push->blob_count >= MOST_BLOBS)
        return sfs_fail(err, E2BIG, "more than %u blobs", MOST_BLOBS);
    r = sfs_members_announce(push->image->members, &descriptor.digest, descriptor.size, is_layer,
                             err);
    if (r < 0)
        return r;
    if (SFS_ARRAY_GROW(push->blobs, push->blob_count, push->blob_capacity, 16) < 0)
        return sfs_fail_memory(err);
    push->blobs[push->blob_count++] = (struct pushed_blob){
        .push = push,
        .digest = descriptor.digest,
        .size = descriptor.size,
        .may_lack = sfs_codec_find_type(descriptor.media_type, &codec, &type) &&
                    sfs_layer_type_is_foreign(type),
    };
    return 0;
}

static int list_blobs(struct push *push, const json_t *manifest, struct sfs_error *err)
{
    const json_t *layers;
    int r = list_blob(push, json_object_get(manifest, "config"), false, err);
    if (r == 0)
        r = sfs_document_array(manifest, "layers", "the manifest", &layers, err);
    for (size_t i = 0; r == 0 && i < json_array_size(layers); i++)
        r = list_blob(push, json_array_get(layers, i), true, err);
    return r;
}

/* The document's bytes, which are compared with its digest. */
static int read_document(struct push *push, const struct sfs_digest *digest, uint64_t size,
                         char **ret_data, struct sfs_error *err)
{
    AUTO(sfs_blob_close) struct sfs_blob *blob = NULL;
    struct sfs_digest found;
    char text[SFS_DIGEST_TEXT];
    int r = sfs_members_open_blob(push->image->members, digest, size, &blob, err);
    if (r < 0)
        return r;
    if (blob->size > SFS_MAX_MANIFEST)
        return sfs_fail(err, E2BIG, "manifest %s has %" PRIu64 " bytes: registries take %u",
                        sfs_digest_print(digest, text), blob->size, SFS_MAX_MANIFEST);
    AUTO(sfs_free) char *data = calloc(1, blob->size + 1);
    if (!data)
        return sfs_fail_memory(err);
    ssize_t n = sfs_blob_read_at(blob, data, blob->size, 0, err);
    if (n < 0)
        return (int)n;
    if (sfs_digest_of(data, (size_t)n, &found) < 0)
        return sfs_fail_memory(err);
    if (!sfs_digest_equal(&found, digest))
        return sfs_fail(err, EKEYREJECTED, "manifest %s does not hold its digest",
                        sfs_digest_print(digest, text));
    *ret_data = TAKE(data);
    return 0;
}

static int list_document(struct push *push, const struct sfs_descriptor *descriptor, int depth,
                         struct sfs_error *err);

static int list_below(struct push *push, const json_t *index, int depth, struct sfs_error *err)
{
    const json_t *manifests;
    int r = sfs_document_array(index, "manifests", "the image index", &manifests, err);
    for (size_t i = 0; r == 0 && i < json_array_size(manifests); i++) {
        struct sfs_descriptor below;
        r = sfs_descriptor_parse(json_array_get(manifests, i), "the image index", &below, err);
        if (r == 0)
            r = list_document(push, &below, depth + 1, err);
    }
    return r;
}

static int keep_manifest(struct push *push, const struct sfs_descriptor *descriptor, char **data,
                         struct sfs_error *err)
{
    if (push->manifest_count >= MOST_MANIFESTS)
        return sfs_fail(err, E2BIG, "more than %u manifests", MOST_MANIFESTS);
    AUTO(sfs_free) char *media_type = strdup(descriptor->media_type);
    if (!media_type ||
        SFS_ARRAY_GROW(push->manifests, push->manifest_count, push->manifest_capacity, 4) < 0)
        return sfs_fail_memory(err);
    push->manifests[push->manifest_count++] =
        (struct pushed_manifest){ .digest = descriptor->digest,
                                  .data = TAKE(*data),
                                  .size = (size_t)descriptor->size,
                                  .media_type = TAKE(media_type) };
    return 0;
}

static int list_document(struct push *push, const struct sfs_descriptor *descriptor, int depth,
                         struct sfs_error *err)
{
    AUTO(sfs_free) char *data = NULL;
    AUTO(sfs_json_close) json_t *json = NULL;
    for (size_t i = 0; i < push->manifest_count; i++)
        if (sfs_digest_equal(&push->manifests[i].digest, &descriptor->digest))
            return 0;
    if (depth > MOST_NESTING)
        return sfs_fail(err, E2BIG, "image indexes are nested more than %d deep", MOST_NESTING);
    int r = read_document(push, &descriptor->digest, descriptor->size, &data, err);
    if (r == 0)
        r = sfs_document_parse(data, (size_t)descriptor->size, "manifest", &json, err);
    if (r < 0)
        return r;
    if (sfs_manifest_is_index(descriptor->media_type))
        r = list_below(push, json, depth, err);
    else if (sfs_manifest_is_image(descriptor->media_type))
        r = list_blobs(push, json, err);
    else
        r = sfs_manifest_fail_type(descriptor->media_type, err);
    return r < 0 ? r : keep_manifest(push, descriptor, &data, err);
}

/* ---- blobs */

static ssize_t read_blob(void *user, void *buf, size_t size, uint64_t offset, struct sfs_error *err)
{
    return sfs_blob_read_at(user, buf, size, offset, err);
}

static int send_blob(const struct pushed_blob *blob, enum sfs_uploaded *ret_how,
                     struct sfs_error *err)
{
    struct push *push = blob->push;
    AUTO(sfs_blob_close) struct sfs_blob *source = NULL;
    int r = sfs_members_open_blob(push->image->members, &blob->digest, blob->size, &source, err);
    if (r == -ENOENT && blob->may_lack) {
        *ret_how = SFS_UPLOADED_NOT;
        return 0;
    }
    if (r < 0)
        return r;
    const struct sfs_upload upload = { .digest = blob->digest,
                                       .size = blob->size,
                                       .read_at = read_blob,
                                       .user = source,
                                       .mount_from = push->from,
                                       .progress = push->options->progress,
                                       .cancelled = &push->failed };
    return sfs_repository_put_blob(push->repository, &upload, ret_how, err);
}

static void note(struct push *push, const struct pushed_blob *blob, int r, enum sfs_uploaded how,
                 const struct sfs_error *error)
{
    LOCK(&push->lock);
    struct sfs_push_result *sums = &push->sums;
    sums->there += r == 0 && how == SFS_UPLOADED_NOT;
    sums->mounted += r == 0 && how == SFS_UPLOADED_MOUNTED;
    sums->sent += r == 0 && how == SFS_UPLOADED_SENT;
    sums->sent_size += r == 0 && how == SFS_UPLOADED_SENT ? blob->size : 0;
    if (r < 0 && push->result == 0) {
        push->result = r;
        push->error = *error;
        atomic_store(&push->failed, true);
        sfs_http_wake(sfs_registry_http(push->registry));
    }
}

static void run_blob(void *arg)
{
    struct pushed_blob *blob = arg;
    struct sfs_error error;
    enum sfs_uploaded how = SFS_UPLOADED_NOT;
    if (atomic_load(&blob->push->failed))
        return;
    int r = send_blob(blob, &how, &error);
    note(blob->push, blob, r, how, &error);
}

/* The largest first, so that the last one to be done is a small one. */
static int compare_sizes(const void *a, const void *b)
{
    const struct pushed_blob *left = a, *right = b;
    return left->size < right->size ? 1 : left->size > right->size ? -1 : 0;
}

static int send_blobs(struct push *push, struct sfs_error *err)
{
    AUTO(sfs_pool_close) struct sfs_pool *pool = NULL;
    int r = sfs_pool_open(AT_ONCE, &pool, err);
    if (push->blob_count > 0)
        qsort(push->blobs, push->blob_count, sizeof *push->blobs, compare_sizes);
    for (size_t i = 0; i < push->blob_count && r == 0; i++) {
        push->sums.size += push->blobs[i].size;
        if (sfs_pool_submit(pool, SFS_POOL_DEMAND, run_blob, &push->blobs[i]) < 0)
            r = sfs_fail_memory(err);
    }
    sfs_pool_close(&pool);
    push->sums.blobs = push->blob_count;
    if (r == 0 && push->result < 0)
        r = sfs_fail(err, -push->result, "%s", push->error.text);
    return r;
}

static int put_manifests(struct push *push, struct sfs_error *err)
{
    int r = 0;
    for (size_t i = 0; i < push->manifest_count && r == 0; i++) {
        const struct pushed_manifest *manifest = &push->manifests[i];
        bool is_last = i + 1 == push->manifest_count;
        const struct sfs_manifest_put put = { .data = manifest->data,
                                              .size = manifest->size,
                                              .media_type = manifest->media_type,
                                              .tag = is_last ? push->name.tag : NULL };
        r = sfs_repository_put_manifest(push->repository, &put, NULL, err);
        push->sums.manifests++;
        push->sums.manifest = manifest->digest;
    }
    return r;
}

static int push_listed(struct push *push, struct sfs_error *err)
{
    const struct sfs_image_document *root =
        push->options->all ? &push->image->top : &push->image->manifest_document;
    const struct sfs_descriptor descriptor = { .media_type = root->media_type,
                                               .digest = root->digest,
                                               .size = root->size };
    char text[SFS_DIGEST_TEXT];
    int r = 0;
    if (push->name.has_digest && !sfs_digest_equal(&push->name.digest, &root->digest))
        return sfs_fail(err, EINVAL,
                        "%s names a digest, and what is pushed has another: %s; name a tag",
                        push->options->destination, sfs_digest_print(&root->digest, text));
    r = list_document(push, &descriptor, 0, err);
    if (r < 0)
        return sfs_fail_while(err, r, "%.200s", sfs_image_ref(push->image));
    r = send_blobs(push, err);
    return r < 0 ? r : put_manifests(push, err);
}

/* ---- a docker-archive without a manifest of its own */

/* Through the pipe that commit compresses with; what is compressed already stays as it is. */
static int pack_layer(struct push *push, struct sfs_target *target, size_t i,
                      struct sfs_layer_record *record, struct sfs_error *err)
{
    const struct sfs_image_layer *layer = sfs_image_layer(push->image, i);
    struct sfs_pipe_options options = { .name = "a layer" };
    struct sfs_pipe_result done;
    AUTO(sfs_blob_close) struct sfs_blob *blob = NULL;
    AUTO(sfs_pipe_close) struct sfs_pipe *pipe = NULL;
    AUTO(sfs_free) char *buf = malloc(READ_BLOCK);
    bool is_tar = sfs_codec_get(layer->codec)->is_plain;
    if (!buf)
        return sfs_fail_memory(err);
    int r =
        sfs_compress_plan(is_tar ? SFS_COMPRESS_GZIP : SFS_COMPRESS_NONE, 0, &options.plan, err);
    if (r == 0)
        r = sfs_image_open_blob(push->image, i, &blob, err);
    if (r == 0)
        r = target->ops->begin(target, &options.fd, err);
    if (r == 0)
        r = sfs_pipe_open(&options, &pipe, err);
    for (uint64_t offset = 0; r == 0 && offset < blob->size;) {
        ssize_t n = sfs_blob_read_at(blob, buf, READ_BLOCK, offset, err);
        r = n < 0    ? (int)n
            : n == 0 ? sfs_fail(err, EIO, "%s became shorter while it was read", blob->name)
                     : sfs_pipe_write(pipe, buf, (size_t)n, err);
        offset += n > 0 ? (uint64_t)n : 0;
    }
    if (r == 0)
        r = sfs_pipe_finish(pipe, &done, err);
    if (r < 0)
        return r;
    if (is_tar && !sfs_digest_equal(&done.in_digest, &layer->diff_id))
        return sfs_fail(err, EKEYREJECTED, "%s does not match its diff_id", blob->name);
    if (layer->has_digest && !is_tar && !sfs_digest_equal(&done.out_digest, &layer->digest))
        return sfs_fail(err, EKEYREJECTED, "%s does not match its digest", blob->name);
    *record = (struct sfs_layer_record){
        .digest = done.out_digest,
        .diff_id = layer->diff_id,
        .size = done.out_size,
        .media_type = is_tar ? options.plan.media_type : sfs_record_media_type(layer->media_type)
    };
    return target->ops->end(target, &done.out_digest, done.out_size, err);
}

static int add_config(struct push *push, struct sfs_target *target,
                      struct sfs_manifest_record *record, struct sfs_error *err)
{
    AUTO(sfs_blob_close) struct sfs_blob *blob = NULL;
    AUTO(sfs_free) char *data = NULL;
    int r = sfs_members_open(push->image->members, push->image->config_document.member, &blob, err);
    if (r < 0)
        return r;
    if (blob->size > SFS_MAX_JSON || !(data = malloc(blob->size + 1)))
        return sfs_fail_memory(err);
    ssize_t n = sfs_blob_read_at(blob, data, blob->size, 0, err);
    if (n < 0)
        return (int)n;
    record->config_size = (size_t)n;
    return sfs_target_add_bytes(target, data, (size_t)n, &record->config, err);
}

static int finish_packed(struct push *push, struct sfs_target *target,
                         const struct sfs_manifest_record *record, struct sfs_error *err)
{
    AUTO(sfs_json_close) json_t *manifest = NULL;
    AUTO(sfs_json_close) json_t *descriptor = NULL;
    AUTO(sfs_buf_close) struct sfs_buf text = { 0 };
    int r = sfs_manifest_make(record, &manifest, err);
    if (r == 0)
        r = sfs_record_print(manifest, &text, err);
    if (r == 0)
        r = sfs_target_add_bytes(target, text.data, text.size, &push->sums.manifest, err);
    if (r == 0)
        r = sfs_descriptor_make(&push->sums.manifest, text.size, push->image->config, &descriptor,
                                err);
    const struct sfs_target_image image = { .digest = push->sums.manifest,
                                            .config_digest = record->config,
                                            .manifest = manifest,
                                            .descriptor = descriptor };
    push->sums.manifests = 1;
    return r < 0 ? r : target->ops->finish(target, &image, err);
}

static int push_packed(struct push *push, const struct sfs_reference *to, struct sfs_error *err)
{
    const struct sfs_commit_options options = { .registry = push->options->registry,
                                                .progress = push->options->progress };
    AUTO(sfs_target_close) struct sfs_target *target = NULL;
    size_t count = push->image->count;
    AUTO(sfs_free) struct sfs_layer_record *layers = calloc(count + 1, sizeof *layers);
    struct sfs_manifest_record record = { .layers = layers, .layer_count = count };
    if (!layers)
        return sfs_fail_memory(err);
    if (push->name.has_digest)
        return sfs_fail(err, EINVAL, "%s: name a tag, the digest comes out of what is written",
                        push->options->destination);
    int r = sfs_target_open_registry(to, push->options->destination, &options, &target, err);
    for (size_t i = 0; i < count && r == 0; i++) {
        r = pack_layer(push, target, i, &layers[i], err);
        push->sums.size += layers[i].size;
    }
    push->sums.sent = push->sums.blobs = count + 1;
    push->sums.sent_size = push->sums.size;
    if (r == 0)
        r = add_config(push, target, &record, err);
    return r < 0 ? r : finish_packed(push, target, &record, err);
}

/* ---- all of it */

static int parse_destination(struct push *push, struct sfs_reference *ret_to, struct sfs_error *err)
{
    const char *text = push->options->destination;
    int r = sfs_reference_parse(text, ret_to, err);
    if (r < 0)
        return r;
    if (ret_to->transport != SFS_TRANSPORT_DOCKER)
        return sfs_fail(err, EINVAL,
                        "'%.300s' is no image in a registry: write docker://HOST/NAME:TAG (other "
                        "places are written to by stagefs commit, or skopeo copy)",
                        text);
    return sfs_name_parse(ret_to->name, &push->name, err);
}

static int open_source(struct push *push, const char *ref, struct sfs_error *err)
{
    const struct sfs_push_options *options = push->options;
    const struct sfs_image_options source = { .platform = options->platform,
                                              .store = options->store,
                                              .registry = options->registry,
                                              .progress = options->progress };
    int r = options->all ? sfs_image_open_top(ref, &source, &push->image, err)
                         : sfs_image_open_with(ref, &source, &push->image, err);
    if (r < 0)
        return r;
    if (push->image->directory)
        return sfs_fail(err, EINVAL,
                        "%.300s is a directory, not an image: stagefs commit %.300s -t %.300s", ref,
                        ref, options->destination);
    for (size_t i = 0; i < sfs_image_layer_count(push->image); i++)
        if (sfs_image_layer(push->image, i)->is_directory)
            return sfs_fail(err, ENOTSUP,
                            "layer %zu of %.300s is kept as files alone, not as a tar; all layers "
                            "as one: stagefs commit %.300s -t %.300s",
                            i, ref, ref, options->destination);
    return sfs_base_place(push->image, &push->name, &push->from, err);
}

static int connect(struct push *push, struct sfs_error *err)
{
    int r = sfs_registry_open(push->options->registry, &push->registry, err);
    return r < 0 ? r : sfs_repository_open(push->registry, &push->name, &push->repository, err);
}

int sfs_push(const char *ref, const struct sfs_push_options *options,
             struct sfs_push_result *ret_result, struct sfs_error *err)
{
    AUTO(push_done) struct push push = { .options = options };
    AUTO(sfs_reference_done) struct sfs_reference to = { 0 };
    pthread_mutex_init(&push.lock, NULL);
    int r = parse_destination(&push, &to, err);
    if (r == 0)
        r = open_source(&push, ref, err);
    if (r < 0)
        return r;
    if (push.image->manifest_document.has_digest || push.image->top.has_digest)
        r = connect(&push, err);
    else
        r = push_packed(&push, &to, err);
    if (r == 0 && push.repository)
        r = push_listed(&push, err);
    if (r == 0)
        *ret_result = push.sums;
    return r;
}
