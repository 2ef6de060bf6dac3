/* What `docker save` and `podman save` write: a tar with manifest.json, an array that gives for
 * each image its names, its config and its layers as member names. New ones hold an OCI layout as
 * well; without a manifest.json that is read instead. */
#include "image/parts.h"

#include "base/buf.h"
#include <errno.h>
#include <inttypes.h>

#define KEY_SAMPLE (64u << 10)

static bool has_name(const json_t *entry, const char *full)
{
    const json_t *tags = json_object_get(entry, "RepoTags");
    for (size_t i = 0; i < json_array_size(tags); i++) {
        const char *tag = json_string_value(json_array_get(tags, i));
        AUTO(sfs_free) char *name = NULL;
        if (tag && sfs_reference_full_name(tag, &name, NULL) == 0 && strcmp(name, full) == 0)
            return true;
    }
    return false;
}

static int fail_with_names(const json_t *manifest, const char *text, struct sfs_error *err)
{
    AUTO(sfs_buf_close) struct sfs_buf names = { 0 };
    for (size_t i = 0; i < json_array_size(manifest); i++) {
        const json_t *tags = json_object_get(json_array_get(manifest, i), "RepoTags");
        if (json_array_size(tags) == 0 && names.size < 600)
            sfs_buf_printf(&names, "%s@%zu (it has no name)", names.size ? ", " : "", i);
        for (size_t t = 0; t < json_array_size(tags) && names.size < 600; t++) {
            const char *tag = json_string_value(json_array_get(tags, t));
            if (tag)
                sfs_buf_printf(&names, "%s%.200s", names.size ? ", " : "", tag);
        }
    }
    return sfs_fail(err, ENOENT, "%s; there are: %s", text, names.size ? names.data : "none");
}

static int choose_entry(const json_t *manifest, const struct sfs_reference *reference,
                        const json_t **ret_entry, struct sfs_error *err)
{
    const char *name = reference->name;
    size_t count = json_array_size(manifest);
    char text[400];
    if (!json_is_array(manifest))
        return sfs_fail(err, EBADMSG, "manifest.json is not an array");
    if (count == 0)
        return sfs_fail(err, ENOENT, "the archive holds no image");
    *ret_entry = json_array_get(manifest, reference->position);
    if (reference->has_position && *ret_entry)
        return 0;
    for (size_t i = 0; i < count && !reference->has_position; i++) {
        *ret_entry = json_array_get(manifest, i);
        if (name ? has_name(*ret_entry, name) : count == 1)
            return 0;
    }
    if (reference->has_position)
        snprintf(text, sizeof text, "%zu image%s here, none at @%zu (the first is @0)", count,
                 count == 1 ? " is" : "s are", reference->position);
    else if (name)
        snprintf(text, sizeof text, "no image is named %.300s", name);
    else
        snprintf(text, sizeof text, "%zu images are here, say which one", count);
    return fail_with_names(manifest, text, err);
}

/* Is this name made of a digest, as prefix and suffix have it around the hex digits? */
static bool digest_in_name(const char *name, const char *prefix, const char *suffix,
                           struct sfs_digest *ret_digest)
{
    char text[SFS_DIGEST_TEXT];
    size_t size = strlen(prefix);
    if (strncmp(name, prefix, size) != 0 || strlen(name) != size + 64 + strlen(suffix) ||
        strcmp(name + size + 64, suffix) != 0)
        return false;
    snprintf(text, sizeof text, "sha256:%.64s", name + size);
    return sfs_digest_parse(text, ret_digest, NULL) == 0;
}

/* The forms in use: docker and skopeo "HEX.json", docker 25 "blobs/sha256/HEX", and crane, ko,
 * kaniko and jib "sha256:HEX". */
static bool config_digest_in_name(const char *name, struct sfs_digest *ret_digest)
{
    return digest_in_name(name, "", ".json", ret_digest) ||
           digest_in_name(name, "blobs/sha256/", "", ret_digest) ||
           digest_in_name(name, "sha256:", "", ret_digest);
}

static int take_config(struct sfs_image *image, const json_t *entry, struct sfs_error *err)
{
    struct sfs_image_document *document = &image->config_document;
    const char *name = sfs_document_string(entry, "Config");
    if (!name)
        return sfs_fail(err, EBADMSG, "manifest.json names no Config");
    document->has_digest = config_digest_in_name(name, &document->digest);
    document->member = strdup(name);
    if (!document->member)
        return sfs_fail_memory(err);
    struct sfs_digest digest;
    int r = sfs_document_read(image->members, name, &image->config, &digest, err);
    if (r < 0)
        return sfs_fail_while(err, r, "config");
    if (document->has_digest && !sfs_digest_equal(&digest, &document->digest))
        return sfs_fail(err, EKEYREJECTED, "config %.200s does not match the digest it is named by",
                        name);
    return 0;
}

/* Makes the key of a layer whose digest is not told, out of what would change if it were another
 * one: SHA-256 over its diff_id, its size, and its first and last 64 KiB. (If two blobs were the
 * same in all that, the index's check of each span would still refuse the wrong one.) */
static int make_key(struct sfs_blob *blob, const struct sfs_digest *diff_id,
                    struct sfs_digest *ret_key, struct sfs_error *err)
{
    AUTO(sfs_buf_close) struct sfs_buf buf = { 0 };
    char text[SFS_DIGEST_TEXT];
    size_t sample = blob->size < KEY_SAMPLE ? (size_t)blob->size : KEY_SAMPLE;
    if (sfs_buf_printf(&buf, "stagefs archive layer\n%s\n%" PRIu64 "\n",
                       sfs_digest_print(diff_id, text), blob->size) < 0)
        return sfs_fail_memory(err);
    const uint64_t offsets[] = { 0, blob->size - sample };
    for (size_t i = 0; i < 2; i++) {
        void *place = sfs_buf_grow(&buf, sample);
        if (!place)
            return sfs_fail_memory(err);
        ssize_t n = sfs_blob_read_at(blob, place, sample, offsets[i], err);
        if (n < 0)
            return (int)n;
        if ((size_t)n != sample)
            return sfs_fail(err, EIO, "%s became shorter while it was read", blob->name);
    }
    if (sfs_digest_of(buf.data, buf.size, ret_key) < 0)
        return sfs_fail_memory(err);
    return 0;
}

static int fill_part(struct sfs_image *image, size_t i, const char *name, struct sfs_error *err)
{
    struct sfs_image_part *part = &image->parts[i];
    struct sfs_image_layer *layer = &part->layer;
    AUTO(sfs_blob_close) struct sfs_blob *blob = NULL;
    struct sfs_digest key;
    char text[SFS_DIGEST_TEXT];
    int r = sfs_members_open(image->members, name, &blob, err);
    if (r == 0)
        r = sfs_codec_guess(blob, &layer->codec, err);
    if (r < 0)
        return r;
    layer->has_digest = digest_in_name(name, "blobs/sha256/", "", &layer->digest) ||
                        digest_in_name(name, "sha256:", "", &layer->digest);
    if (!layer->has_digest && sfs_codec_get(layer->codec)->is_plain) { /* the blob is the tar */
        layer->digest = layer->diff_id;
        layer->has_digest = true;
    }
    if (layer->has_digest)
        key = layer->digest;
    else
        r = make_key(blob, &layer->diff_id, &key, err);
    if (r < 0)
        return r;
    part->member = strdup(name);
    part->key = strdup(sfs_digest_print(&key, text));
    if (!part->member || !part->key)
        return sfs_fail_memory(err);
    layer->size = blob->size;
    layer->key = part->key;
    layer->media_type = sfs_codec_media_type(layer->codec, SFS_LAYER_DOCKER);
    return 0;
}

static int take_entry(struct sfs_image *image, const json_t *entry, struct sfs_error *err)
{
    const json_t *layers;
    int r = sfs_document_array(entry, "Layers", "manifest.json", &layers, err);
    if (r == 0)
        r = sfs_image_make_parts(image, json_array_size(layers), err);
    if (r == 0)
        r = take_config(image, entry, err);
    if (r == 0)
        r = sfs_config_take_diff_ids(image, err);
    for (size_t i = 0; r == 0 && i < image->count; i++) {
        const char *name = json_string_value(json_array_get(layers, i));
        if (!name)
            return sfs_fail(err, EBADMSG, "manifest.json: layer %zu is not a string", i);
        r = fill_part(image, i, name, err);
        if (r < 0)
            return sfs_fail_while(err, r, "layer %zu", i);
    }
    return r;
}

int sfs_docker_open_archive(struct sfs_image *image, const struct sfs_reference *reference,
                            const struct sfs_platform *platform, struct sfs_error *err)
{
    AUTO(sfs_json_close) json_t *manifest = NULL;
    const json_t *entry;
    int r = sfs_members_open_tar(reference->path, &image->members, err);
    if (r < 0)
        return r;
    r = sfs_document_read(image->members, "manifest.json", &manifest, NULL, err);
    if (r == -ENOENT && sfs_members_has(image->members, "index.json"))
        return sfs_oci_open(image, reference, platform, err);
    if (r == -ENOENT)
        return sfs_fail(err, EBADMSG,
                        "%s is not what docker save writes: it has neither manifest.json nor "
                        "index.json",
                        reference->path);
    if (r == 0)
        r = choose_entry(manifest, reference, &entry, err);
    return r < 0 ? r : take_entry(image, entry, err);
}
