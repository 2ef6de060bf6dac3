/* containers-storage: as an image. The store keeps no blobs: a layer is its tar, put together again
 * (layer/tar_split.h), whose digest is the diff_id that the config has. So all that holds of a
 * layer in a layout holds of it: it is compared as it is indexed, and each span as it is read. */
#include "image/storage.h"

#include "image/parts.h"
#include <errno.h>
#include <stagefs/format.h>

/* Is every layer of the manifest its tar, uncompressed, as in images that buildah made here? Then
 * the manifest is true of what we have. To be asked before the parts are changed. */
static bool is_all_plain(const struct sfs_image *image)
{
    for (size_t i = 0; i < image->count; i++)
        if (!sfs_digest_equal(&image->parts[i].layer.digest, &image->parts[i].layer.diff_id))
            return false;
    return true;
}

static int note_manifest(struct sfs_image_document *document, const struct sfs_digest *digest,
                         const char *media_type, uint64_t size, struct sfs_error *err)
{
    char path[SFS_BLOB_PATH];
    *document = (struct sfs_image_document){ .has_digest = true,
                                             .digest = *digest,
                                             .member = strdup(sfs_blob_path(digest, path)),
                                             .media_type = strdup(media_type),
                                             .size = size };
    return document->member && document->media_type ? 0 : sfs_fail_memory(err);
}

static int read_manifest(struct sfs_image *image, const struct sfs_digest *digest,
                         json_t **ret_manifest, uint64_t *ret_size, struct sfs_error *err)
{
    struct sfs_descriptor descriptor = { .digest = *digest };
    AUTO(sfs_blob_close) struct sfs_blob *blob = NULL;
    AUTO(sfs_json_close) json_t *manifest = NULL;
    int r = sfs_members_open_blob(image->members, digest, UINT64_MAX, &blob, err);
    if (r < 0)
        return r;
    *ret_size = descriptor.size = blob->size;
    r = sfs_document_read_blob(image->members, &descriptor, &manifest, err);
    if (r < 0)
        return sfs_fail_while(err, r, "manifest");
    const char *type = sfs_document_string(manifest, "mediaType");
    if (type && !sfs_manifest_is_image(type))
        return sfs_manifest_fail_type(type, err);
    *ret_manifest = TAKE(manifest);
    return 0;
}

/* The layer's files alone: nothing can be compared with a digest. */
static int take_directory(const struct sfs_storage *storage, const struct sfs_storage_layer *layer,
                          struct sfs_image_part *part, struct sfs_error *err)
{
    AUTO(sfs_close_fd) int fd = -1;
    if (strcmp(storage->roots[layer->root].driver, "overlay") != 0)
        return sfs_fail(err, ENOTSUP, "the store has no tar-split file of it");
    int r = sfs_storage_open_files(storage, layer, &fd, &part->directory, err);
    part->layer = (struct sfs_image_layer){ .media_type = "inode/directory",
                                            .is_directory = true,
                                            .key = part->key };
    return r;
}

/* The size of the tar, where the store does not tell it. */
static int measure(struct sfs_image *image, struct sfs_image_part *part, struct sfs_error *err)
{
    AUTO(sfs_blob_close) struct sfs_blob *blob = NULL;
    int r = sfs_members_open(image->members, part->member, &blob, err);
    if (r == 0)
        part->layer.size = blob->size;
    return r;
}

static int take_layer(struct sfs_image *image, size_t i, struct sfs_error *err)
{
    const struct sfs_storage *storage = sfs_storage_of(image->members);
    const struct sfs_storage_layer *from = &storage->layers[i];
    struct sfs_image_part *part = &image->parts[i];
    struct sfs_image_layer *layer = &part->layer;
    char text[SFS_DIGEST_TEXT];
    if (from->has_diff_id && !sfs_digest_equal(&from->diff_id, &layer->diff_id))
        return sfs_fail(err, EBADMSG, "the store and the config have different diff_ids of it");
    bool is_tar = sfs_digest_equal(&layer->digest, &layer->diff_id);
    sfs_free(&part->member);
    sfs_free(&part->key);
    part->key = strdup(sfs_digest_print(&layer->diff_id, text));
    part->member = sfs_format(SFS_STORAGE_LAYER "%zu", i);
    if (!part->key || !part->member)
        return sfs_fail_memory(err);
    if (!sfs_storage_has_split(storage, from))
        return take_directory(storage, from, part, err);
    *layer = (struct sfs_image_layer){
        .digest = layer->diff_id,
        .has_digest = true,
        .diff_id = layer->diff_id,
        .has_diff_id = true,
        .size = from->size,
        .media_type =
            is_tar ? layer->media_type : sfs_codec_media_type(SFS_CODEC_NONE, SFS_LAYER_OCI),
        .codec = SFS_CODEC_NONE,
        .key = part->key,
    };
    return layer->size > 0 ? 0 : measure(image, part, err);
}

/* Makes the parts, which are by now as the manifest has them, what the store has. */
static int take_layers(struct sfs_image *image, struct sfs_error *err)
{
    const struct sfs_storage *storage = sfs_storage_of(image->members);
    if (storage->layer_count != image->count)
        return sfs_fail(err, EBADMSG, "the store has %zu layers of it, its manifest %zu",
                        storage->layer_count, image->count);
    for (size_t i = 0; i < image->count; i++) {
        int r = take_layer(image, i, err);
        if (r < 0)
            return sfs_fail_while(err, r, "layer %zu", i);
    }
    return 0;
}

int sfs_storage_open_image(struct sfs_image *image, const struct sfs_reference *reference,
                           const struct sfs_platform *platform, struct sfs_error *err)
{
    (void)platform; /* a store has images of one platform each */
    AUTO(sfs_storage_done) struct sfs_storage storage = { 0 };
    AUTO(sfs_json_close) json_t *manifest = NULL;
    uint64_t size = 0;
    int r = sfs_storage_find(reference, &storage, err);
    const struct sfs_digest digest = storage.manifest;
    if (r == 0)
        r = sfs_storage_open_members(&storage, &image->members, err);
    if (r == 0)
        r = read_manifest(image, &digest, &manifest, &size, err);
    if (r == 0)
        r = sfs_manifest_take(image, &manifest, err);
    if (r < 0)
        return r;
    const char *type = sfs_document_string(image->manifest, "mediaType");
    type = type ? type : "application/vnd.oci.image.manifest.v1+json";
    if (is_all_plain(image)) {
        r = note_manifest(&image->manifest_document, &digest, type, size, err);
        if (r == 0)
            r = note_manifest(&image->top, &digest, type, size, err);
    }
    return r < 0 ? r : take_layers(image, err);
}
