/* The document of `du --report --json`: sums of each grouping, what is there twice, advice, and all
 * files. */
#include "survey_out.h"

#include <stagefs/format.h>
#include <jansson.h>

/* Files of one kind, owner or use. */
struct survey_sum {
    uint64_t bytes, touched;
    uint32_t files;
};

static void add(struct survey_sum *sum, const struct sfs_survey_file *file)
{
    sum->bytes += file->bytes;
    sum->touched += file->touched;
    sum->files++;
}

/* An object with a sum in it, to which the caller adds what it is of. */
static json_t *sum_json(const struct survey_view *view, const struct survey_sum *sum)
{
    json_t *json =
        json_pack("{s:I, s:i}", "bytes", (json_int_t)sum->bytes, "files", (int)sum->files);
    if (sfs_survey_has_profile(view->survey))
        json_object_set_new(json, "touched_bytes", json_integer((json_int_t)sum->touched));
    return json;
}

static json_t *kinds_json(const struct survey_view *view)
{
    struct survey_sum sums[SFS_KINDS] = { 0 };
    uint32_t count;
    const struct sfs_survey_file *files = sfs_survey_files(view->survey, &count);
    json_t *array = json_array();
    for (uint32_t i = 0; i < count; i++)
        add(&sums[files[i].kind], &files[i]);
    for (int i = 0; i < SFS_KINDS; i++)
        if (sums[i].files > 0) {
            json_t *json = sum_json(view, &sums[i]);
            json_object_set_new(json, "kind", json_string(sfs_file_kind_words(i)));
            json_array_append_new(array, json);
        }
    return array;
}

static json_t *uses_json(const struct survey_view *view)
{
    struct survey_sum sums[SFS_SURVEY_USES] = { 0 };
    uint32_t count;
    const struct sfs_survey_file *files = sfs_survey_files(view->survey, &count);
    json_t *array = json_array();
    for (uint32_t i = 0; i < count; i++)
        add(&sums[files[i].use], &files[i]);
    for (int i = SFS_SURVEY_USES - 1; i >= 0; i--) {
        json_t *json = sum_json(view, &sums[i]);
        json_object_set_new(json, "use", json_string(sfs_survey_use_words(i)));
        json_array_append_new(array, json);
    }
    return array;
}

static json_t *owner_json(const struct survey_view *view, uint32_t owner,
                          const struct survey_sum *sum)
{
    json_t *json = sum_json(view, sum);
    if (owner == sfs_survey_owner_count(view->survey)) {
        json_object_set_new(json, "owner", json_null());
        return json;
    }
    struct sfs_survey_owner words = sfs_survey_owner(view->survey, owner);
    json_object_set_new(json, "owner", json_string(words.kind));
    json_object_set_new(json, "name", json_text(words.name));
    json_object_set_new(json, "version", json_text(words.version));
    return json;
}

/* Packages that own files, and last those files that no package owns. */
static json_t *owners_json(const struct survey_view *view)
{
    uint32_t count, owners = sfs_survey_owner_count(view->survey);
    const struct sfs_survey_file *files = sfs_survey_files(view->survey, &count);
    AUTO(sfs_free) struct survey_sum *sums = calloc(owners + 1, sizeof *sums);
    json_t *array = json_array();
    for (uint32_t i = 0; sums && i < count; i++)
        add(&sums[files[i].owner == SFS_NO_OWNER ? owners : files[i].owner], &files[i]);
    for (uint32_t i = 0; sums && i <= owners; i++)
        if (sums[i].files > 0)
            json_array_append_new(array, owner_json(view, i, &sums[i]));
    return array;
}

static json_t *same_json(const struct survey_view *view)
{
    uint32_t count, file_count;
    const struct sfs_survey_file *files = sfs_survey_files(view->survey, &file_count);
    const struct sfs_survey_same *same = sfs_survey_same(view->survey, &count);
    json_t *array = json_array();
    uint64_t spare = 0;
    for (uint32_t i = 0; i < count; i++) {
        json_t *paths = json_array();
        spare += same[i].bytes * (same[i].count - 1);
        for (uint32_t k = 0; k < same[i].count; k++)
            json_array_append_new(paths, json_pack("{s:o, s:i}", "path",
                                                   json_text(files[same[i].files[k]].path), "layer",
                                                   (int)files[same[i].files[k]].layer));
        json_array_append_new(
            array, json_pack("{s:I, s:I, s:o}", "bytes", (json_int_t)same[i].bytes, "spare_bytes",
                             (json_int_t)(same[i].bytes * (same[i].count - 1)), "files", paths));
    }
    const struct sfs_survey_search *search = sfs_survey_search(view->survey);
    return json_pack("{s:I, s:I, s:o, s:I, s:I, s:I, s:i}", "spare_bytes", (json_int_t)spare,
                     "group_count", (json_int_t)count, "groups", array, "least_bytes",
                     (json_int_t)search->least, "read_bytes", (json_int_t)search->read,
                     "unread_bytes", (json_int_t)search->unread, "unread_files",
                     (int)search->unread_files);
}

static json_t *code_json(const struct sfs_device_code *code)
{
    static const char *const kinds[] = { "machine code", "PTX", "other", "bare machine code" };
    AUTO(sfs_free) char *arch = NULL;
    arch = code->arch ? sfs_format("%s_%u%s", code->kind == SFS_DEVICE_PTX ? "compute" : "sm",
                                   code->arch, (char[]){ code->feature, 0 })
                      : NULL;
    return json_pack("{s:s, s:o, s:I, s:I, s:I}", "kind", kinds[code->kind], "arch",
                     arch ? json_string(arch) : json_null(), "entries", (json_int_t)code->entries,
                     "bytes", (json_int_t)code->bytes, "gone_bytes", (json_int_t)code->gone_bytes);
}

static json_t *device_json(const struct survey_view *view)
{
    const struct sfs_device_codes *codes = sfs_survey_device_codes(view->survey);
    json_t *array = json_array(), *gpus = json_array();
    for (size_t i = 0; i < codes->count; i++)
        json_array_append_new(array, code_json(&codes->items[i]));
    size_t count;
    const struct sfs_survey_gpu *gpu = sfs_survey_gpus(view->survey, &count);
    for (; count > 0; gpu++, count--) {
        AUTO(sfs_free) char *arch = sfs_format("sm_%u", gpu->capability);
        json_array_append_new(gpus, json_pack("{s:s, s:I, s:I}", "gpu", arch ? arch : "",
                                              "runs_bytes", (json_int_t)gpu->runs, "others_bytes",
                                              (json_int_t)gpu->others));
    }
    return json_pack("{s:o, s:o}", "code", array, "by_gpu", gpus);
}

static json_t *advice_json(const struct survey_view *view)
{
    static const char *const risks[] = { "low", "medium", "high" };
    size_t count;
    const struct sfs_advice *advice = sfs_survey_advice(view->survey, &count);
    json_t *array = json_array();
    for (size_t i = 0; i < count; i++)
        json_array_append_new(
            array, json_pack("{s:s, s:I, s:i, s:s, s:s, s:o}", "what", advice[i].what, "bytes",
                             (json_int_t)advice[i].bytes, "files", (int)advice[i].files, "risk",
                             risks[advice[i].risk], "why", advice[i].why, "option",
                             *advice[i].option ? json_text(advice[i].option) : json_null()));
    return array;
}

json_t *survey_json_summary(const struct survey_view *view)
{
    struct survey_sum sum = { 0 };
    uint32_t count;
    const struct sfs_survey_file *files = sfs_survey_files(view->survey, &count);
    for (uint32_t i = 0; i < count; i++)
        add(&sum, &files[i]);
    json_t *json = sum_json(view, &sum);
    if (!json)
        return NULL;
    json_object_set_new(json, "stage", json_text(view->stage));
    json_object_set_new(json, "directories",
                        json_integer((json_int_t)sfs_survey_directories(view->survey)));
    json_object_set_new(json, "by_kind", kinds_json(view));
    json_object_set_new(json, "by_owner", owners_json(view));
    if (sfs_survey_has_profile(view->survey))
        json_object_set_new(json, "by_use", uses_json(view));
    json_object_set_new(json, "layers", json_deep_copy(view->layers));
    json_object_set_new(json, "duplicates", same_json(view));
    json_object_set_new(json, "device_code", device_json(view));
    json_object_set_new(json, "advice", advice_json(view));
    return json;
}

static json_t *file_json(const struct survey_view *view, const struct sfs_survey_file *file)
{
    json_t *json = json_pack("{s:o, s:I, s:s, s:i, s:b}", "path", json_text(file->path), "bytes",
                             (json_int_t)file->bytes, "kind", sfs_file_kind_words(file->kind),
                             "layer", (int)file->layer, "base", (int)file->is_base);
    if (file->owner != SFS_NO_OWNER) {
        struct sfs_survey_owner owner = sfs_survey_owner(view->survey, file->owner);
        json_object_set_new(json, "owner", json_string(owner.kind));
        json_object_set_new(json, "package", json_text(owner.name));
    }
    if (sfs_survey_has_profile(view->survey)) {
        json_object_set_new(json, "use", json_string(sfs_survey_use_words(file->use)));
        json_object_set_new(json, "touched_bytes", json_integer((json_int_t)file->touched));
    }
    return json;
}

json_t *survey_json(const struct survey_view *view)
{
    json_t *json = survey_json_summary(view);
    json_t *array = json ? json_array() : NULL;
    uint32_t count;
    const struct sfs_survey_file *files = sfs_survey_files(view->survey, &count);
    for (uint32_t i = 0; array && i < count; i++)
        json_array_append_new(array, file_json(view, &files[i]));
    if (json)
        json_object_set_new(json, "all_files", array);
    return json;
}
