/* One image's manifest and config, OCI's or Docker's: the same fields under other media types. */
#include "image/parts.h"
#include "image/registry_members.h"

#include "base/limits.h"
#include <errno.h>
#include <inttypes.h>
#include <stagefs/format.h>

#define OCI    "application/vnd.oci.image."
#define DOCKER "application/vnd.docker."

static bool is_one_of(const char *text, const char *a, const char *b)
{
    return strcmp(text, a) == 0 || strcmp(text, b) == 0;
}

bool sfs_manifest_is_index(const char *media_type)
{
    return is_one_of(media_type, OCI "index.v1+json", DOCKER "distribution.manifest.list.v2+json");
}

bool sfs_manifest_is_image(const char *media_type)
{
    return is_one_of(media_type, OCI "manifest.v1+json", DOCKER "distribution.manifest.v2+json");
}

bool sfs_manifest_is_config(const char *media_type)
{
    return is_one_of(media_type, OCI "config.v1+json", DOCKER "container.image.v1+json");
}

int sfs_manifest_fail_type(const char *media_type, struct sfs_error *err)
{
    static const char schema1[] = DOCKER "distribution.manifest.v1+";
    if (strncmp(media_type, schema1, sizeof schema1 - 1) == 0)
        return sfs_fail(err, ENOTSUP,
                        "the manifest is in Docker's old schema 1; have it converted: skopeo copy "
                        "--format oci");
    return sfs_fail(err, ENOTSUP, "media type %.120s is not that of an image", media_type);
}

int sfs_image_make_parts(struct sfs_image *image, size_t count, struct sfs_error *err)
{
    if (count > SFS_MAX_LAYERS)
        return sfs_fail(err, E2BIG, "%zu layers, more than %u", count, SFS_MAX_LAYERS);
    image->parts = calloc(count ? count : 1, sizeof *image->parts);
    if (!image->parts)
        return sfs_fail_memory(err);
    image->count = count;
    return 0;
}

static int find_codec(const char *media_type, size_t i, enum sfs_codec *ret_codec,
                      struct sfs_error *err)
{
    enum sfs_layer_type type;
    if (sfs_codec_find_type(media_type, ret_codec, &type))
        return 0;
    size_t size = strlen(media_type);
    if (size > 10 && strcmp(media_type + size - 10, "+encrypted") == 0)
        return sfs_fail(err, ENOTSUP,
                        "layer %zu is encrypted (%.120s); decrypt it first: skopeo "
                        "copy --decryption-key",
                        i, media_type);
    return sfs_fail(err, ENOTSUP, "layer %zu: media type %.120s is not supported", i, media_type);
}

static int fill_part(struct sfs_image *image, size_t i, const json_t *json, struct sfs_error *err)
{
    struct sfs_image_part *part = &image->parts[i];
    struct sfs_descriptor descriptor;
    enum sfs_codec codec;
    char what[32], path[SFS_BLOB_PATH], digest[SFS_DIGEST_TEXT];
    snprintf(what, sizeof what, "layer %zu", i);
    int r = sfs_descriptor_parse(json, what, &descriptor, err);
    if (r == 0)
        r = find_codec(descriptor.media_type, i, &codec, err);
    if (r == 0)
        r = sfs_members_announce(image->members, &descriptor.digest, descriptor.size, true, err);
    if (r < 0)
        return r;
    part->member = strdup(sfs_blob_path(&descriptor.digest, path));
    part->key = strdup(sfs_digest_print(&descriptor.digest, digest));
    if (!part->member || !part->key)
        return sfs_fail_memory(err);
    const json_t *annotations = json_object_get(json, "annotations");
    part->layer = (struct sfs_image_layer){
        .digest = descriptor.digest,
        .has_digest = true,
        .size = descriptor.size,
        .media_type = descriptor.media_type,
        .codec = codec,
        .key = part->key,
        .annotations = json_is_object(annotations) ? annotations : NULL,
    };
    return 0;
}

int sfs_config_take_diff_ids(struct sfs_image *image, struct sfs_error *err)
{
    const json_t *rootfs = json_object_get(image->config, "rootfs"), *diff_ids;
    if (!json_is_object(image->config))
        return sfs_fail(err, EBADMSG, "the config is not a JSON object");
    if (!json_is_object(rootfs))
        return sfs_fail(err, EBADMSG, "the config has no rootfs");
    const char *type = sfs_document_string(rootfs, "type");
    if (type && strcmp(type, "layers") != 0)
        return sfs_fail(err, ENOTSUP, "the config's rootfs has type '%.60s', not 'layers'", type);
    int r = sfs_document_array(rootfs, "diff_ids", "the config's rootfs", &diff_ids, err);
    if (r < 0)
        return r;
    if (json_array_size(diff_ids) != image->count)
        return sfs_fail(err, EBADMSG, "the config has %zu diff_id%s for %zu layer%s",
                        json_array_size(diff_ids), sfs_plural(json_array_size(diff_ids)),
                        image->count, sfs_plural(image->count));
    for (size_t i = 0; i < image->count; i++) {
        struct sfs_image_layer *layer = &image->parts[i].layer;
        const char *text = json_string_value(json_array_get(diff_ids, i));
        if (!text)
            return sfs_fail(err, EBADMSG, "the config's diff_id %zu is not a string", i);
        r = sfs_digest_parse(text, &layer->diff_id, err);
        if (r < 0)
            return sfs_fail_while(err, r == -EINVAL ? -EBADMSG : r, "the config's diff_id %zu", i);
        layer->has_diff_id = true;
    }
    return 0;
}

static int check_config_type(const char *media_type, const json_t *manifest, struct sfs_error *err)
{
    if (sfs_manifest_is_config(media_type))
        return 0;
    const char *artifact = sfs_document_string(manifest, "artifactType");
    return sfs_fail(err, ENOTSUP,
                    "this is an artifact, not a container image: its config has media type %.120s%s"
                    "%.120s",
                    media_type, artifact ? ", its artifact type is " : "",
                    artifact ? artifact : "");
}

static int take_config(struct sfs_image *image, struct sfs_error *err)
{
    struct sfs_descriptor descriptor;
    char path[SFS_BLOB_PATH];
    int r = sfs_descriptor_parse(json_object_get(image->manifest, "config"), "config", &descriptor,
                                 err);
    if (r == 0)
        r = check_config_type(descriptor.media_type, image->manifest, err);
    if (r == 0)
        r = sfs_members_announce(image->members, &descriptor.digest, descriptor.size, false, err);
    if (r < 0)
        return r;
    image->config_document = (struct sfs_image_document){
        .has_digest = true,
        .digest = descriptor.digest,
        .member = strdup(sfs_blob_path(&descriptor.digest, path)),
    };
    if (!image->config_document.member)
        return sfs_fail_memory(err);
    /* Where the config is here, the image was opened before, and all else is likely to be, too. */
    if (image->members->is_remote && !sfs_registry_has_kept(image->members, &descriptor.digest))
        sfs_image_ask_ahead(image);
    r = sfs_document_read_blob(image->members, &descriptor, &image->config, err);
    return r < 0 ? sfs_fail_while(err, r, "config") : 0;
}

int sfs_manifest_take(struct sfs_image *image, json_t **manifest, struct sfs_error *err)
{
    image->manifest = TAKE(*manifest);
    const json_t *layers;
    int r = sfs_document_array(image->manifest, "layers", "the manifest", &layers, err);
    if (r == 0)
        r = sfs_document_check_schema(image->manifest, "the manifest", err);
    if (r < 0)
        return r;
    /* What one program takes for an image must not be an index to another (CVE-2021-41190). */
    if (json_object_get(image->manifest, "manifests"))
        return sfs_fail(err, EBADMSG, "the manifest is an index as well (it has \"manifests\")");
    r = sfs_image_make_parts(image, json_array_size(layers), err);
    if (r == 0)
        r = take_config(image, err);
    for (size_t i = 0; r == 0 && i < image->count; i++)
        r = fill_part(image, i, json_array_get(layers, i), err);
    return r < 0 ? r : sfs_config_take_diff_ids(image, err);
}
