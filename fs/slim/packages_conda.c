/* conda's records: PREFIX/conda-meta/NAME-VERSION-BUILD.json with "files", relative to PREFIX. */
#include "slim/packages_maker.h"

#include <jansson.h>
#include <stagefs/auto.h>
#include <stagefs/json.h>

static void drop_json(json_t **json)
{
    json_decref(*json);
}

static const char *text_of(const json_t *record, const char *key)
{
    const char *text = json_string_value(json_object_get(record, key));
    return text ? text : "";
}

static int claim_files(struct packages_maker *maker, const char *prefix, const json_t *files)
{
    size_t i;
    const json_t *file;
    int r = 0;
    json_array_foreach(files, i, file)
    {
        const char *path = json_string_value(file);
        if (r == 0 && path)
            r = sfs_packages_claim(maker, prefix, path, json_string_length(file));
    }
    return r;
}

/* "numpy >=1.26,<3": what it requires, of which versions do not count. */
static int require_all(struct packages_maker *maker, const json_t *depends)
{
    AUTO(sfs_buf_close) struct sfs_buf lines = { 0 };
    size_t i;
    const json_t *item;
    json_array_foreach(depends, i, item)
    {
        const char *text = json_string_value(item);
        if (text)
            sfs_buf_printf(&lines, "%.*s\n", (int)strcspn(text, " \t\n[<>=!"), text);
    }
    return sfs_packages_require(maker, &lines);
}

static int read_record(struct packages_maker *maker, const char *prefix, const char *path)
{
    AUTO(sfs_free) char *text = NULL;
    AUTO(drop_json) json_t *record = NULL;
    size_t size;
    struct sfs_error why;
    int r = sfs_packages_read(maker, path, &text, &size);
    if (r < 0 || !text)
        return r;
    if (sfs_json_parse(text, size, 0, &record, &why) < 0) {
        sfs_packages_warn(maker, path, why.text);
        return 0;
    }
    if (!json_is_array(json_object_get(record, "files")))
        return 0;
    r = sfs_packages_begin(maker, SFS_PACKAGE_CONDA, path, text_of(record, "name"),
                           text_of(record, "version"));
    if (r == 0)
        r = sfs_packages_claim(maker, "", path, strlen(path));
    if (r == 0)
        r = require_all(maker, json_object_get(record, "depends"));
    return r == 0 ? claim_files(maker, prefix, json_object_get(record, "files")) : r;
}

static int read_place(struct packages_maker *maker, const struct package_place *place)
{
    uint32_t count;
    const struct sfs_dirent *entries = sfs_tree_list(maker->tree, place->node, &count);
    size_t parent = strlen(place->path) - strlen("conda-meta");
    AUTO(sfs_free) char *prefix = strndup(place->path, parent > 0 ? parent - 1 : 0);
    int r = prefix ? 0 : sfs_fail_memory(maker->err);
    for (uint32_t i = 0; r == 0 && i < count; i++) {
        size_t size = entries[i].name_size;
        if (size < 6 || strcmp(entries[i].name + size - 5, ".json") != 0)
            continue;
        AUTO(sfs_free) char *path = sfs_format("%s/%s", place->path, entries[i].name);
        r = path ? read_record(maker, prefix, path) : sfs_fail_memory(maker->err);
    }
    return r;
}

int sfs_packages_read_conda(struct packages_maker *maker)
{
    int r = 0;
    for (size_t i = 0; r == 0 && i < maker->conda_metas.count; i++)
        r = read_place(maker, &maker->conda_metas.items[i]);
    return r;
}
