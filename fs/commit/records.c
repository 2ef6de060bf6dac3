/* History has one entry that is not empty_layer for each layer: readers insist on it. Where the
 * base's has fewer, entries that say so are put in front; where it has more, the oldest surplus is
 * marked empty. */
#include "commit/records.h"

#include "blob/codecs.h"
#include "image/document.h"
#include "image/platform.h"
#include <errno.h>
#include <stagefs/json.h>
#include <time.h>

#define CONFIG_TYPE      "application/vnd.oci.image.config.v1+json"
#define MANIFEST_TYPE    "application/vnd.oci.image.manifest.v1+json"
#define COMPRESSION_NOTE "io.stagefs.compression"

const char *sfs_record_media_type(const char *media_type)
{
    enum sfs_codec codec;
    enum sfs_layer_type type;
    if (!sfs_codec_find_type(media_type, &codec, &type))
        return media_type;
    bool is_foreign = sfs_layer_type_is_foreign(type);
    return sfs_codec_media_type(codec, is_foreign ? SFS_LAYER_OCI_FOREIGN : SFS_LAYER_OCI);
}

/* RFC 3339, UTC. */
static char *print_time(int64_t seconds, char text[64])
{
    time_t when = (time_t)seconds;
    struct tm tm;
    if (!gmtime_r(&when, &tm) || tm.tm_year < -1900 || tm.tm_year > 9999 - 1900)
        tm = (struct tm){ .tm_year = 70, .tm_mday = 1 };
    snprintf(text, 64, "%04d-%02d-%02dT%02d:%02d:%02dZ", tm.tm_year + 1900, tm.tm_mon + 1,
             tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec);
    return text;
}

static json_t *digest_json(const struct sfs_digest *digest)
{
    char text[SFS_DIGEST_TEXT];
    return json_string(sfs_digest_print(digest, text));
}

static bool is_empty_layer(const json_t *entry)
{
    return json_is_true(json_object_get(entry, "empty_layer"));
}

/* Makes the entries of a history tell of exactly `count` layers. */
static int settle_history(json_t *entries, size_t count)
{
    size_t told = 0, i;
    json_t *entry;
    json_array_foreach(entries, i, entry) told += !is_empty_layer(entry);
    json_array_foreach(entries, i, entry)
    {
        if (told <= count || is_empty_layer(entry))
            continue;
        if (json_object_set_new(entry, "empty_layer", json_true()) < 0)
            return -ENOMEM;
        told--;
    }
    for (; told < count; told++) {
        json_t *filler = json_pack("{ss}", "created_by", "(not in the base image's history)");
        if (!filler || json_array_insert_new(entries, 0, filler) < 0)
            return -ENOMEM;
    }
    return 0;
}

/* Makes a JSON string of any bytes: JSON is UTF-8, but a command line need not be. */
static json_t *any_string(const char *text)
{
    json_t *string = json_string(text);
    AUTO(sfs_free) char *ascii = string ? NULL : strdup(text);
    for (char *at = ascii; at && *at; at++)
        if ((unsigned char)*at >= 0x80)
            *at = '?';
    return ascii ? json_string(ascii) : string;
}

static json_t *history_entry(const struct sfs_config_record *record)
{
    char created[64];
    json_t *entry = json_pack("{ss so ss}", "created", print_time(record->created, created),
                              "created_by", any_string(record->created_by), "comment", "stagefs");
    if (entry && !record->added && json_object_set_new(entry, "empty_layer", json_true()) < 0) {
        json_decref(entry);
        return NULL;
    }
    return entry;
}

static json_t *make_history(const struct sfs_config_record *record)
{
    const json_t *old = json_object_get(record->stage, "history");
    AUTO(sfs_json_close) json_t *history = json_array();
    size_t i;
    const json_t *entry;
    json_array_foreach(old, i, entry)
    {
        if (json_is_object(entry) && json_array_append_new(history, json_deep_copy(entry)) < 0)
            return NULL;
    }
    if (!history || settle_history(history, record->base_count) < 0)
        return NULL;
    return json_array_append_new(history, history_entry(record)) < 0 ? NULL : TAKE(history);
}

static json_t *make_rootfs(const struct sfs_config_record *record)
{
    AUTO(sfs_json_close) json_t *ids = json_array();
    for (size_t i = 0; i < record->layer_count; i++)
        if (json_array_append_new(ids, digest_json(&record->layers[i].diff_id)) < 0)
            return NULL;
    return json_pack("{ss sO}", "type", "layers", "diff_ids", ids);
}

/* Copies the fields that OCI has; Docker's `container`, `docker_version` and others tell of the
 * machine that built the base. */
static int copy_known(const json_t *stage, json_t *config)
{
    static const char *const known[] = { "architecture", "os",     "os.version", "os.features",
                                         "variant",      "author", "config" };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        const json_t *value = json_object_get(stage, known[i]);
        if (value && json_object_set_new(config, known[i], json_deep_copy(value)) < 0)
            return -ENOMEM;
    }
    return 0;
}

/* Sets architecture and os where they are missing: both must be there. */
static int complete_platform(json_t *config, struct sfs_error *err)
{
    const char *arch = sfs_document_string(config, "architecture");
    const char *os = sfs_document_string(config, "os");
    if (arch && *arch && os && *os)
        return 0;
    struct sfs_platform host;
    int r = sfs_platform_parse(NULL, &host, err);
    if (r < 0)
        return r;
    if ((!arch || !*arch) &&
        json_object_set_new(config, "architecture", json_string(host.arch)) < 0)
        return sfs_fail_memory(err);
    if ((!os || !*os) && json_object_set_new(config, "os", json_string(host.os)) < 0)
        return sfs_fail_memory(err);
    return 0;
}

int sfs_config_make(const struct sfs_config_record *record, json_t **ret_config,
                    struct sfs_error *err)
{
    AUTO(sfs_json_close) json_t *config = json_object();
    if (!config || copy_known(record->stage, config) < 0)
        return sfs_fail_memory(err);
    int r = complete_platform(config, err);
    if (r < 0)
        return r;
    char created[64];
    print_time(record->created, created);
    if (json_object_set_new(config, "created", json_string(created)) < 0 ||
        json_object_set_new(config, "history", make_history(record)) < 0 ||
        json_object_set_new(config, "rootfs", make_rootfs(record)) < 0)
        return sfs_fail_memory(err);
    *ret_config = TAKE(config);
    return 0;
}

static json_t *layer_annotations(const struct sfs_layer_record *layer)
{
    json_t *annotations = layer->annotations ? json_deep_copy(layer->annotations) : json_object();
    if (layer->compression && *layer->compression &&
        json_object_set_new(annotations, COMPRESSION_NOTE, json_string(layer->compression)) < 0) {
        json_decref(annotations);
        return NULL;
    }
    return annotations;
}

static json_t *make_descriptor(const char *media_type, const struct sfs_digest *digest,
                               uint64_t size)
{
    char text[SFS_DIGEST_TEXT];
    return json_pack("{ss ss sI}", "mediaType", media_type, "digest",
                     sfs_digest_print(digest, text), "size", (json_int_t)size);
}

static json_t *make_layer(const struct sfs_layer_record *layer)
{
    AUTO(sfs_json_close)
    json_t *descriptor = make_descriptor(layer->media_type, &layer->digest, layer->size);
    AUTO(sfs_json_close) json_t *annotations = layer_annotations(layer);
    if (!descriptor || !annotations)
        return NULL;
    if (json_object_size(annotations) > 0 &&
        json_object_set(descriptor, "annotations", annotations) < 0)
        return NULL;
    return TAKE(descriptor);
}

int sfs_manifest_make(const struct sfs_manifest_record *record, json_t **ret_manifest,
                      struct sfs_error *err)
{
    AUTO(sfs_json_close) json_t *list = json_array();
    for (size_t i = 0; i < record->layer_count; i++)
        if (json_array_append_new(list, make_layer(&record->layers[i])) < 0)
            return sfs_fail_memory(err);
    AUTO(sfs_json_close)
    json_t *manifest = json_pack(
        "{si ss so sO}", "schemaVersion", 2, "mediaType", MANIFEST_TYPE, "config",
        make_descriptor(CONFIG_TYPE, &record->config, record->config_size), "layers", list);
    if (!manifest)
        return sfs_fail_memory(err);
    if (json_object_size(record->annotations) > 0 &&
        json_object_set_new(manifest, "annotations", json_deep_copy(record->annotations)) < 0)
        return sfs_fail_memory(err);
    *ret_manifest = TAKE(manifest);
    return 0;
}

int sfs_descriptor_make(const struct sfs_digest *manifest, size_t size, const json_t *config,
                        json_t **ret_descriptor, struct sfs_error *err)
{
    static const char *const keys[] = { "architecture", "os", "os.version", "os.features",
                                        "variant" };
    AUTO(sfs_json_close) json_t *descriptor = make_descriptor(MANIFEST_TYPE, manifest, size);
    AUTO(sfs_json_close) json_t *platform = json_object();
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        const json_t *value = json_object_get(config, keys[i]);
        if (value && json_object_set_new(platform, keys[i], json_deep_copy(value)) < 0)
            return sfs_fail_memory(err);
    }
    if (!descriptor || json_object_set(descriptor, "platform", platform) < 0)
        return sfs_fail_memory(err);
    *ret_descriptor = TAKE(descriptor);
    return 0;
}

int sfs_record_print(const json_t *json, struct sfs_buf *buf, struct sfs_error *err)
{
    AUTO(sfs_free) char *text = sfs_json_print(json, JSON_COMPACT | JSON_SORT_KEYS);
    return !text || sfs_buf_add_str(buf, text) < 0 ? sfs_fail_memory(err) : 0;
}
