/* Finding SOCI's tables of an image's layers, and reading them. */
#include "image/soci.h"

#include "base/limits.h"
#include "image/parts.h"
#include "image/registry_members.h"
#include "image/registry_source.h"
#include <errno.h>
#include <string.h>

#define LAYER_NOTE "com.amazon.soci.image-layer-digest"
#define TABLE_TYPE "application/octet-stream"

/* ---- lists */

static bool is_type(const char *type)
{
    return type &&
           (strcmp(type, SFS_SOCI_REFERRER_TYPE) == 0 || strcmp(type, SFS_SOCI_VOUCHED_TYPE) == 0);
}

static void list_part(const json_t *part, json_t *list)
{
    struct sfs_descriptor table;
    struct sfs_digest digest;
    char text[SFS_DIGEST_TEXT];
    const char *layer = sfs_document_annotation(part, LAYER_NOTE);
    if (!layer || sfs_digest_parse(layer, &digest, NULL) < 0 ||
        sfs_descriptor_parse(part, "a table", &table, NULL) < 0 ||
        strcmp(table.media_type, TABLE_TYPE) != 0 || table.size > SFS_MAX_ZTOC)
        return;
    json_array_append_new(list, json_pack("{ss ss sI}", "layer", layer, "table",
                                          sfs_digest_print(&table.digest, text), "table_size",
                                          (json_int_t)table.size));
}

void sfs_soci_list(const json_t *index, json_t *list)
{
    const json_t *layers = json_object_get(index, "layers");
    if (!is_type(sfs_document_string(index, "artifactType")) &&
        !is_type(sfs_document_string(json_object_get(index, "config"), "mediaType")))
        return;
    for (size_t i = 0; i < json_array_size(layers) && i < SFS_MAX_LAYERS; i++)
        list_part(json_array_get(layers, i), list);
}

bool sfs_soci_find(const json_t *list, const struct sfs_digest *layer,
                   struct sfs_soci_table *ret_table)
{
    char wanted[SFS_DIGEST_TEXT];
    sfs_digest_print(layer, wanted);
    for (size_t i = json_array_size(list); i > 0; i--) {
        const json_t *item = json_array_get(list, i - 1);
        const char *found = sfs_document_string(item, "layer");
        const char *digest = sfs_document_string(item, "table");
        json_int_t size = json_integer_value(json_object_get(item, "table_size"));
        if (!found || strcmp(found, wanted) != 0 || !digest || size <= 0 ||
            sfs_digest_parse(digest, &ret_table->digest, NULL) < 0)
            continue;
        ret_table->size = (uint64_t)size;
        return true;
    }
    return false;
}

/* ---- the index that the manifest names */

static const char *get_vouched(const struct sfs_image *image)
{
    return sfs_document_annotation(image->manifest, SFS_SOCI_VOUCHED_NOTE);
}

bool sfs_image_has_soci(const struct sfs_image *image)
{
    return image->members && get_vouched(image);
}

static int read_index(struct sfs_image *image, struct sfs_error *err)
{
    AUTO(sfs_blob_close) struct sfs_blob *blob = NULL;
    AUTO(sfs_json_close) json_t *json = NULL;
    struct sfs_descriptor descriptor = { 0 };
    int r = sfs_digest_parse(get_vouched(image), &descriptor.digest, err);
    if (r == 0)
        r = sfs_members_open_blob(image->members, &descriptor.digest, UINT64_MAX, &blob, err);
    if (r < 0)
        return r;
    descriptor.size = blob->size;
    r = sfs_document_read_blob(image->members, &descriptor, &json, err);
    if (r < 0)
        return r;
    image->soci = json_array();
    sfs_soci_list(json, image->soci);
    return 0;
}

/* A copy of an image may lack the index, which is no fault: the layers are read whole then. */
static void tell(const struct sfs_image *image, int r, const struct sfs_error *why)
{
    const struct sfs_progress *progress = image->options.progress;
    char text[sizeof why->text + 100];
    void (*say)(void *user, const char *text) = NULL;
    if (progress)
        say = r == -ENOENT ? progress->note : progress->warn;
    if (!say)
        return;
    snprintf(text, sizeof text, "SOCI's index, which the manifest names, is of no use: %s",
             why->text);
    say(progress->user, text);
}

bool sfs_image_find_soci(struct sfs_image *image, const struct sfs_digest *layer,
                         struct sfs_soci_table *ret_table)
{
    LOCK(&image->artifacts_lock);
    struct sfs_error why;
    if (!sfs_image_has_soci(image))
        return false;
    int r = image->has_asked_soci ? 0 : read_index(image, &why);
    image->has_asked_soci = true;
    if (r < 0)
        tell(image, r, &why);
    return sfs_soci_find(image->soci, layer, ret_table);
}

/* ---- tables */

static int read_member(const struct sfs_image *image, const struct sfs_soci_table *table,
                       char **ret_data, struct sfs_error *err)
{
    AUTO(sfs_blob_close) struct sfs_blob *blob = NULL;
    struct sfs_digest found;
    int r = sfs_members_open_blob(image->members, &table->digest, table->size, &blob, err);
    if (r < 0)
        return r;
    AUTO(sfs_free) char *data = malloc(table->size + 1);
    if (!data)
        return sfs_fail_memory(err);
    ssize_t n = sfs_blob_read_at(blob, data, table->size, 0, err);
    if (n < 0)
        return (int)n;
    if ((uint64_t)n != table->size || sfs_digest_of(data, table->size, &found) < 0 ||
        !sfs_digest_equal(&found, &table->digest))
        return sfs_fail(err, EKEYREJECTED, "%s does not match its digest", blob->name);
    *ret_data = TAKE(data);
    return 0;
}

int sfs_image_read_soci(const struct sfs_image *image, const struct sfs_soci_table *table,
                        char **ret_data, struct sfs_error *err)
{
    struct sfs_repository *repository;
    if (table->size > SFS_MAX_ZTOC)
        return sfs_fail(err, E2BIG, "it has more than %u bytes", SFS_MAX_ZTOC);
    if (!image->members->is_remote)
        return read_member(image, table, ret_data, err);
    int r = sfs_source_connect(sfs_registry_source(image->members), &repository, err);
    return r < 0 ? r
                 : sfs_repository_read_blob(repository, &table->digest, table->size, SFS_MAX_ZTOC,
                                            ret_data, err);
}
