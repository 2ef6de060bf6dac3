/* One artifact for the image, with two parts for each layer: the index, and its windows. Both have
 * the layer's digest as an annotation, so that a base that many images share is found, and sent,
 * once. */
#include "commit/beside.h"

#include "image/parts.h"
#include "layer/index.h"
#include "layer/index_export.h"
#include <errno.h>
#include <inttypes.h>

struct index_push {
    struct sfs_image *image;
    struct sfs_store *store;
    struct sfs_beside beside;
    struct sfs_artifact_part *parts;
    size_t count;
    json_t *notes; /* an array: what the parts' annotations are kept by */
    struct sfs_index_push_result result;
};

static void done_index_push(struct index_push *push)
{
    sfs_beside_done(&push->beside);
    sfs_json_close(&push->notes);
    free(push->parts);
}

static json_t *make_notes(const struct sfs_image_layer *layer, const struct sfs_digest *windows)
{
    char digest[SFS_DIGEST_TEXT], diff_id[SFS_DIGEST_TEXT], text[SFS_DIGEST_TEXT];
    json_t *notes = json_pack("{ss ss ss}", SFS_LAYER_NOTE "digest",
                              sfs_digest_print(&layer->digest, digest), SFS_LAYER_NOTE "format",
                              SFS_SENT_INDEX_FORMAT, SFS_LAYER_NOTE "span-digest", "sha256");
    if (layer->has_diff_id)
        json_object_set_new(notes, SFS_LAYER_NOTE "diff-id",
                            json_string(sfs_digest_print(&layer->diff_id, diff_id)));
    if (windows)
        json_object_set_new(notes, SFS_LAYER_NOTE "windows",
                            json_string(sfs_digest_print(windows, text)));
    return notes;
}

static int add_part(struct index_push *push, const char *media_type, const void *data, size_t size,
                    const struct sfs_image_layer *layer, const struct sfs_digest *windows,
                    struct sfs_error *err)
{
    struct sfs_artifact_part *part = &push->parts[push->count];
    *part = (struct sfs_artifact_part){ .media_type = media_type, .size = size };
    int r = sfs_repository_put_bytes(push->beside.repository, data, size, &part->digest, err);
    if (r < 0)
        return r;
    json_t *notes = make_notes(layer, windows);
    if (!notes || json_array_append_new(push->notes, notes) < 0)
        return sfs_fail_memory(err);
    part->annotations = notes;
    push->count++;
    push->result.size += size;
    return 0;
}

static int put_layer(struct index_push *push, const struct sfs_image_layer *layer,
                     const struct sfs_exported_index *exported, struct sfs_error *err)
{
    struct sfs_digest windows;
    bool has_windows = exported->windows_size > 0;
    if (has_windows && sfs_digest_of(exported->windows, exported->windows_size, &windows) < 0)
        return sfs_fail_memory(err);
    int r = add_part(push, SFS_LAYER_INDEX_TYPE, exported->head, exported->head_size, layer,
                     has_windows ? &windows : NULL, err);
    if (r == 0 && has_windows)
        r = add_part(push, SFS_LAYER_WINDOWS_TYPE, exported->windows, exported->windows_size, layer,
                     NULL, err);
    return r;
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
    if (!layer->has_digest || is_repeated(push->image, i))
        return 0;
    int r = sfs_image_open_blob(push->image, i, &blob, err);
    if (r == 0)
        r = sfs_index_export(push->store, layer->key, blob, &exported, err);
    if (r == -ENOTSUP) {
        push->result.left_out++;
        return 0;
    }
    if (r == 0)
        r = put_layer(push, layer, &exported, err);
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
    AUTO(sfs_json_close)
    json_t *notes = json_pack("{ss}", SFS_INDEX_FORMAT_NOTE, SFS_SENT_INDEX_FORMAT);
    struct sfs_artifact artifact = { .type = SFS_INDEX_ARTIFACT,
                                     .parts = push->parts,
                                     .part_count = push->count,
                                     .annotations = notes };
    if (!notes)
        return sfs_fail_memory(err);
    if (push->count == 0)
        return sfs_fail(err, ENOENT,
                        "no layer of %.300s has an index that is of use elsewhere: they bring "
                        "tables of contents, or cannot be entered in the middle",
                        sfs_image_ref(push->image));
    return sfs_beside_add(&push->beside, &artifact, &push->result.artifact, err);
}

int sfs_index_push(struct sfs_image *image, struct sfs_store *store,
                   const struct sfs_artifact_place *place, struct sfs_index_push_result *ret_result,
                   struct sfs_error *err)
{
    size_t layers = sfs_image_layer_count(image);
    AUTO(done_index_push)
    struct index_push push = { .image = image,
                               .store = store,
                               .parts = calloc(2 * layers + 1, sizeof *push.parts),
                               .notes = json_array() };
    if (!push.parts || !push.notes)
        return sfs_fail_memory(err);
    int r = sfs_beside_open(&push.beside, place, err);
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
