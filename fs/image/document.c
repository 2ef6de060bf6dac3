/* Reads JSON documents from outside under caps, and their fields with type checks. */
#include "image/document.h"

#include "base/limits.h"
#include <errno.h>
#include <inttypes.h>
#include <stagefs/json.h>

void sfs_json_close(json_t **json)
{
    json_decref(*json);
    *json = NULL;
}

/* Are there too many values? Every value but the first follows a '[', '{', ',' or ':'. Such bytes
 * inside strings make the count too high, never too low. */
static bool has_too_many_values(const char *data, size_t size)
{
    size_t count = 0;
    for (size_t i = 0; i < size; i++)
        count += data[i] == ',' || data[i] == '[' || data[i] == '{' || data[i] == ':';
    return count > SFS_MAX_JSON_VALUES;
}

int sfs_document_parse(const char *data, size_t size, const char *what, json_t **ret_json,
                       struct sfs_error *err)
{
    if (has_too_many_values(data, size))
        return sfs_fail(err, E2BIG, "%s: more than %u values", what, SFS_MAX_JSON_VALUES);
    int r = sfs_json_parse(data, size, 0, ret_json, err);
    return r < 0 ? sfs_fail_while(err, r, "%s", what) : 0;
}

static int read_whole(struct sfs_blob *blob, char **ret_data, struct sfs_error *err)
{
    if (blob->size > SFS_MAX_JSON)
        return sfs_fail(err, E2BIG,
                        "%s: %" PRIu64 " bytes, more than a JSON document may have (%u)",
                        blob->name, blob->size, SFS_MAX_JSON);
    AUTO(sfs_free) char *data = malloc(blob->size + 1);
    if (!data)
        return sfs_fail_memory(err);
    ssize_t n = sfs_blob_read_at(blob, data, blob->size, 0, err);
    if (n < 0)
        return (int)n;
    if ((uint64_t)n != blob->size)
        return sfs_fail(err, EIO, "%s became shorter while it was read", blob->name);
    *ret_data = TAKE(data);
    return 0;
}

int sfs_document_read(struct sfs_members *members, const char *name, json_t **ret_json,
                      struct sfs_digest *ret_digest, struct sfs_error *err)
{
    AUTO(sfs_blob_close) struct sfs_blob *blob = NULL;
    AUTO(sfs_free) char *data = NULL;
    int r = sfs_members_open(members, name, &blob, err);
    if (r == 0)
        r = read_whole(blob, &data, err);
    if (r < 0)
        return r;
    if (ret_digest && sfs_digest_of(data, blob->size, ret_digest) < 0)
        return sfs_fail_memory(err);
    return sfs_document_parse(data, blob->size, blob->name, ret_json, err);
}

int sfs_document_read_blob(struct sfs_members *members, const struct sfs_descriptor *descriptor,
                           json_t **ret_json, struct sfs_error *err)
{
    AUTO(sfs_blob_close) struct sfs_blob *blob = NULL;
    AUTO(sfs_free) char *data = NULL;
    char expected[SFS_DIGEST_TEXT], found[SFS_DIGEST_TEXT];
    sfs_digest_print(&descriptor->digest, expected);
    if (descriptor->size > SFS_MAX_JSON)
        return sfs_fail(err, E2BIG,
                        "%s: %" PRIu64 " bytes, more than a JSON document may have (%u)", expected,
                        descriptor->size, SFS_MAX_JSON);
    int r = sfs_members_open_blob(members, &descriptor->digest, descriptor->size, &blob, err);
    if (r == 0)
        r = read_whole(blob, &data, err);
    if (r < 0)
        return r;
    struct sfs_digest digest;
    if (sfs_digest_of(data, blob->size, &digest) < 0)
        return sfs_fail_memory(err);
    if (!sfs_digest_equal(&digest, &descriptor->digest))
        return sfs_fail(err, EKEYREJECTED, "%s does not match its digest: its bytes have %s",
                        blob->name, sfs_digest_print(&digest, found));
    return sfs_document_parse(data, blob->size, expected, ret_json, err);
}

int sfs_descriptor_parse(const json_t *json, const char *what,
                         struct sfs_descriptor *ret_descriptor, struct sfs_error *err)
{
    struct sfs_descriptor descriptor = { .json = json };
    if (!json_is_object(json))
        return sfs_fail(err, EBADMSG, "%s: no descriptor", what);
    descriptor.media_type = sfs_document_string(json, "mediaType");
    const char *digest = sfs_document_string(json, "digest");
    const json_t *size = json_object_get(json, "size");
    const json_t *annotations = json_object_get(json, "annotations");
    if (!descriptor.media_type || !digest)
        return sfs_fail(err, EBADMSG, "%s: its descriptor has no %s", what,
                        digest ? "mediaType" : "digest");
    if (!json_is_integer(size) || json_integer_value(size) < 0)
        return sfs_fail(err, EBADMSG, "%s: its descriptor has no valid size", what);
    if (annotations && !json_is_null(annotations) && !json_is_object(annotations))
        return sfs_fail(err, EBADMSG, "%s: its annotations are not an object", what);
    int r = sfs_digest_parse(digest, &descriptor.digest, err);
    if (r < 0)
        return sfs_fail_while(err, r == -EINVAL ? -EBADMSG : r, "%s", what);
    descriptor.size = (uint64_t)json_integer_value(size);
    *ret_descriptor = descriptor;
    return 0;
}

int sfs_document_array(const json_t *object, const char *key, const char *what,
                       const json_t **ret_array, struct sfs_error *err)
{
    const json_t *array = json_object_get(object, key);
    if (!json_is_object(object))
        return sfs_fail(err, EBADMSG, "%s is not a JSON object", what);
    if (array && !json_is_null(array) && !json_is_array(array))
        return sfs_fail(err, EBADMSG, "%s: %s is not an array", what, key);
    *ret_array = json_is_array(array) ? array : NULL;
    return 0;
}

const char *sfs_document_string(const json_t *object, const char *key)
{
    return json_string_value(json_object_get(object, key));
}

const char *sfs_document_annotation(const json_t *descriptor, const char *key)
{
    return sfs_document_string(json_object_get(descriptor, "annotations"), key);
}

int sfs_document_check_schema(const json_t *object, const char *what, struct sfs_error *err)
{
    const json_t *version = json_object_get(object, "schemaVersion");
    if (json_is_integer(version) && json_integer_value(version) == 1)
        return sfs_fail(
            err, ENOTSUP,
            "%s is in Docker's old schema 1; have it converted: skopeo copy --format oci", what);
    if (!json_is_integer(version) || json_integer_value(version) != 2)
        return sfs_fail(err, EBADMSG, "%s: schemaVersion is not 2", what);
    return 0;
}
