/* What is said of each part: whose index it is, of which form, and what its file is called. */
#include "commit/index_parts.h"

#include "commit/beside.h"

int sfs_index_parts_init(struct sfs_index_parts *parts, size_t layers, struct sfs_error *err)
{
    parts->items = calloc(2 * layers + 1, sizeof *parts->items);
    parts->notes = json_pack("[{ss}]", SFS_INDEX_FORMAT_NOTE, SFS_SENT_INDEX_FORMAT);
    return parts->items && parts->notes ? 0 : sfs_fail_memory(err);
}

void sfs_index_parts_done(struct sfs_index_parts *parts)
{
    free(parts->items);
    sfs_json_close(&parts->notes);
    *parts = (struct sfs_index_parts){ 0 };
}

/* What is told of both parts of a layer. */
struct telling {
    const struct sfs_digest *layer, *diff_id; /* diff_id NULL: not known */
    const struct sfs_digest *windows;         /* of the index, if it has any; else NULL */
    const char *ending;                       /* of the file */
};

static json_t *make_notes(const struct telling *telling)
{
    char digest[SFS_DIGEST_TEXT], text[SFS_DIGEST_TEXT], title[SFS_DIGEST_TEXT + 16];
    sfs_digest_print(telling->layer, digest);
    snprintf(title, sizeof title, "%s.%s", digest + strlen("sha256:"), telling->ending);
    json_t *notes = json_pack("{ss ss ss ss}", SFS_LAYER_NOTE "digest", digest,
                              SFS_LAYER_NOTE "format", SFS_SENT_INDEX_FORMAT,
                              SFS_LAYER_NOTE "span-digest", "sha256", SFS_TITLE_NOTE, title);
    if (telling->diff_id)
        json_object_set_new(notes, SFS_LAYER_NOTE "diff-id",
                            json_string(sfs_digest_print(telling->diff_id, text)));
    if (telling->windows)
        json_object_set_new(notes, SFS_LAYER_NOTE "windows",
                            json_string(sfs_digest_print(telling->windows, text)));
    return notes;
}

static int add_part(struct sfs_index_parts *parts, const char *media_type, const void *data,
                    size_t size, const struct telling *telling, struct sfs_error *err)
{
    struct sfs_artifact_part *part = &parts->items[parts->count];
    *part = (struct sfs_artifact_part){ .media_type = media_type, .size = size };
    int r = parts->put(parts->user, data, size, &part->digest, err);
    if (r < 0)
        return r;
    json_t *notes = make_notes(telling);
    if (!notes || json_array_append_new(parts->notes, notes) < 0)
        return sfs_fail_memory(err);
    part->annotations = notes;
    parts->count++;
    parts->size += size;
    return 0;
}

int sfs_index_parts_add(struct sfs_index_parts *parts, const struct sfs_digest *layer,
                        const struct sfs_digest *diff_id, const struct sfs_exported_index *exported,
                        struct sfs_digest *ret_head, struct sfs_error *err)
{
    struct sfs_digest windows;
    bool has_windows = exported->windows_size > 0;
    if (has_windows && sfs_digest_of(exported->windows, exported->windows_size, &windows) < 0)
        return sfs_fail_memory(err);
    struct telling telling = { layer, diff_id, has_windows ? &windows : NULL, "index.zst" };
    int r =
        add_part(parts, SFS_LAYER_INDEX_TYPE, exported->head, exported->head_size, &telling, err);
    if (r < 0)
        return r;
    *ret_head = parts->items[parts->count - 1].digest;
    telling.windows = NULL;
    telling.ending = "windows";
    return has_windows ? add_part(parts, SFS_LAYER_WINDOWS_TYPE, exported->windows,
                                  exported->windows_size, &telling, err)
                       : 0;
}

struct sfs_artifact sfs_index_parts_artifact(const struct sfs_index_parts *parts)
{
    return (struct sfs_artifact){ .type = SFS_INDEX_ARTIFACT,
                                  .parts = parts->items,
                                  .part_count = parts->count,
                                  .annotations = json_array_get(parts->notes, 0) };
}
