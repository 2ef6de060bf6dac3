/* One artifact for the image, with the indexes of its layers (index_parts.h). */
#include "commit/beside.h"

#include "commit/index_parts.h"
#include "image/parts.h"
#include "layer/index.h"
#include "layer/index_export.h"
#include <errno.h>
#include <inttypes.h>

struct index_push {
    struct sfs_image *image;
    struct sfs_store *store;
    const struct sfs_progress *progress; /* may be NULL */
    struct sfs_beside beside;
    struct sfs_index_parts parts;
    struct sfs_index_push_result result;
};

static void done_index_push(struct index_push *push)
{
    sfs_beside_done(&push->beside);
    sfs_index_parts_done(&push->parts);
}

static int put(void *user, const void *data, size_t size, struct sfs_digest *ret_digest,
               struct sfs_error *err)
{
    const struct index_push *push = user;
    return sfs_repository_put_bytes(push->beside.repository, data, size, ret_digest, err);
}

static bool is_repeated(const struct sfs_image *image, size_t i)
{
    for (size_t k = 0; k < i; k++)
        if (strcmp(sfs_image_layer(image, k)->key, sfs_image_layer(image, i)->key) == 0)
            return true;
    return false;
}

static int push_layer(struct index_push *push, size_t i, struct sfs_error *err)
{
    const struct sfs_image_layer *layer = sfs_image_layer(push->image, i);
    AUTO(sfs_exported_index_done) struct sfs_exported_index exported = { 0 };
    AUTO(sfs_blob_close) struct sfs_blob *blob = NULL;
    struct sfs_digest head;
    if (!layer->has_digest || is_repeated(push->image, i))
        return 0;
    int r = sfs_image_open_blob(push->image, i, &blob, err);
    if (r == 0)
        r = sfs_index_export(push->store, layer->key, blob, &exported, err);
    if (r == -EFBIG && push->progress && push->progress->warn)
        push->progress->warn(push->progress->user, err->text);
    if (r == -ENOTSUP || r == -EFBIG) {
        push->result.left_out++;
        return 0;
    }
    if (r == 0)
        r = sfs_index_parts_add(&push->parts, &layer->digest,
                                layer->has_diff_id ? &layer->diff_id : NULL, &exported, &head, err);
    if (r == 0)
        push->result.layers++;
    return r;
}

static int check_same(const struct index_push *push, const char *ref, struct sfs_error *err)
{
    struct sfs_digest here, there;
    char a[SFS_DIGEST_TEXT], b[SFS_DIGEST_TEXT];
    if (!sfs_image_digest(push->image, &here) || !sfs_image_digest(push->beside.image, &there))
        return sfs_fail(err, EINVAL, "%.300s has no manifest: push it, and index that",
                        sfs_image_ref(push->image));
    if (sfs_digest_equal(&here, &there))
        return 0;
    return sfs_fail(err, EINVAL, "%.300s is another image (%s) than %.300s (%s): push it first",
                    ref, sfs_digest_print(&there, a), sfs_image_ref(push->image),
                    sfs_digest_print(&here, b));
}

static int put_artifact(struct index_push *push, struct sfs_error *err)
{
    struct sfs_artifact artifact = sfs_index_parts_artifact(&push->parts);
    if (push->parts.count == 0)
        return sfs_fail(err, ENOENT,
                        "no layer of %.300s has an index that is of use elsewhere: they bring "
                        "tables of contents, or cannot be entered in the middle",
                        sfs_image_ref(push->image));
    push->result.size = push->parts.size;
    return sfs_beside_add(&push->beside, &artifact, &push->result.artifact, err);
}

int sfs_index_push(struct sfs_image *image, struct sfs_store *store,
                   const struct sfs_artifact_place *place, struct sfs_index_push_result *ret_result,
                   struct sfs_error *err)
{
    size_t layers = sfs_image_layer_count(image);
    AUTO(done_index_push)
    struct index_push push = {
        .image = image, .store = store, .progress = place->options.progress, .parts = { .put = put }
    };
    push.parts.user = &push;
    int r = sfs_index_parts_init(&push.parts, layers, err);
    if (r == 0)
        r = sfs_beside_open(&push.beside, place, err);
    if (r == 0)
        r = check_same(&push, place->ref, err);
    for (size_t i = 0; i < layers && r == 0; i++) {
        char label[SFS_LAYER_LABEL];
        r = push_layer(&push, i, err);
        if (r < 0)
            sfs_fail_while(err, r, "%s", sfs_image_label(image, i, label));
    }
    if (r == 0)
        r = put_artifact(&push, err);
    if (r == 0)
        *ret_result = push.result;
    return r;
}
