/* The page: survey.html with the data in it. All names stand in one text, parted by '/', as a walk
 * meets them, and beside them columns of numbers, of which runs of equal ones are counted, so that
 * 50,000 files are 2 MB. Of more files than that, the smallest of a directory become one entry for
 * each kind, owner, layer and use.
 *
 * Names are bytes that somebody else chose. What a browser could take for something else, or show
 * in another order, is written as \ooo, as profiles have it; and in the text of the data no '<'
 * stands for itself. */
#include "survey_out.h"

#include <stagefs/utf8.h>
#include <errno.h>
#include <jansson.h>
#include <stagefs/json.h>
#include <string.h>

#define MAX_ENTRIES 50000u /* files that have a name of their own in the page */
#define MAX_SAME    200u   /* groups of equal files in the page */
#define MAX_PATHS   20u    /* of one group */

/* tools/survey.html, by embed_page.py: what comes before the data, and behind it. */
extern const char survey_page_head[], survey_page_tail[];

/* ---- names ---- */

/* Characters that turn the order of text, part lines, or are not seen. */
static bool is_odd(const char *text, size_t size)
{
    static const char *const ranges[][2] = {
        { "\xc2\x80", "\xc2\xa0" },         { "\xc2\xad", "\xc2\xad" },
        { "\xd8\x9c", "\xd8\x9c" },         { "\xe1\xa0\x8e", "\xe1\xa0\x8e" },
        { "\xe2\x80\x8b", "\xe2\x80\x8f" }, { "\xe2\x80\xa8", "\xe2\x80\xaf" },
        { "\xe2\x81\xa0", "\xe2\x81\xaf" }, { "\xef\xbb\xbf", "\xef\xbb\xbf" },
        { "\xef\xbf\xb9", "\xef\xbf\xbf" }, { "\xf3\xa0\x80\x80", "\xf4\x8f\xbf\xbf" },
    };
    if (size == 1)
        return (unsigned char)*text < 0x20 || *text == 0x7f || *text == '\\';
    for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++)
        if (strlen(ranges[i][0]) == size && memcmp(text, ranges[i][0], size) >= 0 &&
            memcmp(text, ranges[i][1], size) <= 0)
            return true;
    return false;
}

static void put_name(FILE *out, const char *text, size_t size)
{
    for (const char *end = text + size; text < end;) {
        size_t step = sfs_utf8_size(text);
        bool odd = step == 0 || is_odd(text, step);
        for (size_t i = 0; i < (step ? step : 1); i++)
            fprintf(out, odd ? "\\%03o" : "%c", (unsigned char)text[i]);
        text += step ? step : 1;
    }
}

/* The same of any text, as JSON. */
static json_t *safe_text(const char *text)
{
    AUTO(sfs_free) char *safe = NULL;
    size_t size;
    FILE *out = open_memstream(&safe, &size);
    if (!out)
        return NULL;
    put_name(out, text, strlen(text));
    return fclose(out) == 0 ? json_string(safe) : NULL;
}

/* Makes all texts in a document safe. */
static json_t *safe_copy(const json_t *json)
{
    json_t *copy = NULL, *value;
    const char *key;
    size_t i;
    if (json_is_string(json))
        return safe_text(json_string_value(json));
    if (json_is_array(json)) {
        copy = json_array();
        json_array_foreach(json, i, value) json_array_append_new(copy, safe_copy(value));
        return copy;
    }
    if (!json_is_object(json))
        return json_deep_copy(json);
    copy = json_object();
    void *at = json_object_iter((json_t *)(uintptr_t)json);
    for (; at; at = json_object_iter_next((json_t *)(uintptr_t)json, at)) {
        key = json_object_iter_key(at);
        json_object_set_new(copy, key, safe_copy(json_object_iter_value(at)));
    }
    return copy;
}

/* ---- columns ---- */

/* Runs of equal numbers: value, count, value, count, ... */
struct run_column {
    json_t *json;
    json_int_t value, count;
};

static void end_run(struct run_column *column)
{
    if (column->count > 0) {
        json_array_append_new(column->json, json_integer(column->value));
        json_array_append_new(column->json, json_integer(column->count));
    }
    column->count = 0;
}

static void add_to_run(struct run_column *column, json_int_t value)
{
    if (column->count > 0 && column->value != value)
        end_run(column);
    column->value = value;
    column->count++;
}

/* Files that have no entry of their own. */
struct small_files {
    struct sfs_survey_file first; /* kind, owner, layer and use of all */
    uint64_t bytes, touched;
    uint32_t count;
};

/* A directory in which the walk is. */
struct open_dir {
    uint32_t entry;   /* its number among the entries */
    size_t row;       /* where its end is told */
    const char *name; /* in a path; not ended */
    size_t name_size;
    struct small_files *small;
    size_t small_count;
};

struct page_maker {
    const struct survey_view *view;
    uint64_t least; /* bytes of a file that has an entry of its own */
    struct open_dir *dirs;
    size_t depth, capacity;
    FILE *names;
    uint32_t entries;       /* so far; the root is 0 */
    json_t *ends, *sizes;   /* directory and its last entry, ...; bytes of each file */
    json_t *touched, *many; /* entry and bytes, entry and files, where not 0 and 1 */
    struct run_column kind, owner, layer, use, base;
    bool failed;
};

static void add_name(struct page_maker *maker, const char *name, size_t size)
{
    maker->entries++;
    fputc('/', maker->names);
    put_name(maker->names, name, size);
}

static void add_pair(json_t *array, json_int_t left, json_int_t right)
{
    json_array_append_new(array, json_integer(left));
    json_array_append_new(array, json_integer(right));
}

static void add_numbers(struct page_maker *maker, const struct sfs_survey_file *file,
                        uint64_t bytes, uint64_t touched)
{
    json_array_append_new(maker->sizes, json_integer((json_int_t)bytes));
    if (touched > 0)
        add_pair(maker->touched, maker->entries, (json_int_t)touched);
    add_to_run(&maker->kind, file->kind);
    add_to_run(&maker->owner, file->owner == SFS_NO_OWNER ? -1 : (json_int_t)file->owner);
    add_to_run(&maker->layer, file->layer);
    add_to_run(&maker->use, file->use);
    add_to_run(&maker->base, file->is_base);
}

/* ---- directories ---- */

static void open_dir(struct page_maker *maker, const char *name, size_t size)
{
    if (maker->depth == maker->capacity) {
        size_t capacity = maker->capacity ? 2 * maker->capacity : 32;
        struct open_dir *dirs = reallocarray(maker->dirs, capacity, sizeof *dirs);
        maker->failed |= !dirs;
        if (!dirs)
            return;
        maker->dirs = dirs;
        maker->capacity = capacity;
    }
    if (maker->depth > 0)
        add_name(maker, name, size);
    maker->dirs[maker->depth++] = (struct open_dir){ .entry = maker->entries,
                                                     .row = json_array_size(maker->ends) + 1,
                                                     .name = name,
                                                     .name_size = size };
    add_pair(maker->ends, maker->entries, 0);
}

/* Ends the innermost directory: what is small in it becomes entries, and its end is known. */
static void close_dir(struct page_maker *maker)
{
    struct open_dir *dir = &maker->dirs[--maker->depth];
    for (size_t i = 0; i < dir->small_count; i++) {
        const struct small_files *small = &dir->small[i];
        char name[64];
        int size = snprintf(name, sizeof name, "%u small files", small->count);
        add_name(maker, name, (size_t)size);
        add_numbers(maker, &small->first, small->bytes, small->touched);
        add_pair(maker->many, maker->entries, small->count);
    }
    free(dir->small);
    json_array_set_new(maker->ends, dir->row, json_integer(maker->entries));
}

/* How many of the open directories `path` is in, the root counted. */
static size_t common_depth(const struct page_maker *maker, const char *path, size_t dir_size)
{
    size_t depth = 1, at = 0;
    while (depth < maker->depth) {
        const struct open_dir *dir = &maker->dirs[depth];
        if (dir_size - at <= dir->name_size || memcmp(path + at, dir->name, dir->name_size) != 0 ||
            path[at + dir->name_size] != '/')
            break;
        at += dir->name_size + 1;
        depth++;
    }
    return depth;
}

/* Closes and opens directories until the walk is in that of `path`, whose first dir_size bytes are
 * its directory, with a '/' at the end. */
static void go_to(struct page_maker *maker, const char *path, size_t dir_size)
{
    size_t depth = common_depth(maker, path, dir_size);
    while (maker->depth > depth)
        close_dir(maker);
    size_t at = 0;
    for (size_t i = 1; i < depth; i++)
        at += maker->dirs[i].name_size + 1;
    while (at < dir_size && !maker->failed) {
        size_t size = (size_t)((const char *)memchr(path + at, '/', dir_size - at) - (path + at));
        open_dir(maker, path + at, size);
        at += size + 1;
    }
}

/* How much of both paths, up to a '/', is equal. */
static size_t common_dir(const char *a, const char *b)
{
    size_t dir = 0;
    for (size_t i = 0; a[i] && a[i] == b[i]; i++)
        if (a[i] == '/')
            dir = i + 1;
    return dir;
}

static void add_small(struct page_maker *maker, const struct sfs_survey_file *file)
{
    struct open_dir *dir = &maker->dirs[maker->depth - 1];
    size_t i = 0;
    for (; i < dir->small_count; i++) {
        const struct sfs_survey_file *first = &dir->small[i].first;
        if (first->kind == file->kind && first->owner == file->owner &&
            first->layer == file->layer && first->use == file->use)
            break;
    }
    if (i == dir->small_count) {
        struct small_files *small = reallocarray(dir->small, i + 1, sizeof *small);
        maker->failed |= !small;
        if (!small)
            return;
        small[i] = (struct small_files){ .first = *file };
        dir->small = small;
        dir->small_count++;
    }
    dir->small[i].bytes += file->bytes;
    dir->small[i].touched += file->touched;
    dir->small[i].count++;
}

/* ---- all files ---- */

static int compare_sizes(const void *left, const void *right)
{
    const uint64_t *a = left, *b = right;
    return (*a < *b) - (*a > *b);
}

/* The size from which on files have entries of their own. */
static uint64_t find_least(const struct sfs_survey_file *files, uint32_t count)
{
    if (count <= MAX_ENTRIES)
        return 0;
    AUTO(sfs_free) uint64_t *sizes = calloc(count, sizeof *sizes);
    if (!sizes)
        return UINT64_MAX;
    for (uint32_t i = 0; i < count; i++)
        sizes[i] = files[i].bytes;
    qsort(sizes, count, sizeof *sizes, compare_sizes);
    return sizes[MAX_ENTRIES - 1] + 1;
}

/* A small file is put into the innermost directory that has a file with an entry. */
static void add_files(struct page_maker *maker)
{
    uint32_t count, next = 0;
    const struct sfs_survey_file *files = sfs_survey_files(maker->view->survey, &count);
    const char *before = "";
    for (uint32_t i = 0; i < count && !maker->failed; i++) {
        const char *path = files[i].path, *last = strrchr(path, '/');
        size_t dir = last ? (size_t)(last - path) + 1 : 0;
        if (files[i].bytes >= maker->least) {
            go_to(maker, path, dir);
            add_name(maker, path + dir, strlen(path + dir));
            add_numbers(maker, &files[i], files[i].bytes, files[i].touched);
            before = path;
            continue;
        }
        for (next = next > i ? next : i; next < count && files[next].bytes < maker->least;)
            next++;
        size_t left = common_dir(before, path);
        size_t right = next < count ? common_dir(path, files[next].path) : 0;
        go_to(maker, path, left > right ? left : right);
        add_small(maker, &files[i]);
    }
    while (maker->depth > 0)
        close_dir(maker);
}

static json_t *finish_run(struct run_column *column)
{
    end_run(column);
    return column->json;
}

/* ---- what is told once ---- */

static json_t *owners(const struct sfs_survey *survey)
{
    json_t *array = json_array();
    for (uint32_t i = 0; i < sfs_survey_owner_count(survey); i++) {
        struct sfs_survey_owner owner = sfs_survey_owner(survey, i);
        json_array_append_new(array, json_pack("[s, o, o]", owner.kind, safe_text(owner.name),
                                               safe_text(owner.version)));
    }
    return array;
}

static json_t *same(const struct page_maker *maker)
{
    uint32_t count, file_count;
    const struct sfs_survey_file *files = sfs_survey_files(maker->view->survey, &file_count);
    const struct sfs_survey_same *groups = sfs_survey_same(maker->view->survey, &count);
    json_t *array = json_array();
    for (uint32_t i = 0; i < count && i < MAX_SAME; i++) {
        json_t *paths = json_array();
        for (uint32_t k = 0; k < groups[i].count && k < MAX_PATHS; k++) {
            const struct sfs_survey_file *file = &files[groups[i].files[k]];
            json_array_append_new(paths, safe_text(file->path));
        }
        json_array_append_new(array, json_pack("[I, i, o]", (json_int_t)groups[i].bytes,
                                               (int)groups[i].count, paths));
    }
    return array;
}

static json_t *words_of_kinds(void)
{
    json_t *array = json_array();
    for (int i = 0; i < SFS_KINDS; i++)
        json_array_append_new(array, json_string(sfs_file_kind_words(i)));
    return array;
}

static json_t *words_of_uses(void)
{
    json_t *array = json_array();
    for (int i = 0; i < SFS_SURVEY_USES; i++)
        json_array_append_new(array, json_string(sfs_survey_use_words(i)));
    return array;
}

/* The summary, without what the page adds up by itself. */
static json_t *summary(const struct survey_view *view)
{
    AUTO(json_decrefp) json_t *json = survey_json_summary(view);
    if (!json)
        return NULL;
    json_object_del(json, "by_kind");
    json_object_del(json, "by_owner");
    json_object_del(json, "by_use");
    json_object_del(json_object_get(json, "duplicates"), "groups");
    return safe_copy(json);
}

static json_t *page_json(struct page_maker *maker, const char *names)
{
    const struct sfs_survey *survey = maker->view->survey;
    return json_pack("{s:o, s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, "
                     "s:b}",
                     "summary", summary(maker->view), "names", names, "ends", maker->ends, "sizes",
                     maker->sizes, "touched", maker->touched, "many", maker->many, "kind",
                     finish_run(&maker->kind), "owner", finish_run(&maker->owner), "layer",
                     finish_run(&maker->layer), "use", finish_run(&maker->use), "base",
                     finish_run(&maker->base), "kinds", words_of_kinds(), "uses", words_of_uses(),
                     "owners", owners(survey), "same", same(maker), "profile",
                     (int)sfs_survey_has_profile(survey));
}

static int begin(struct page_maker *maker)
{
    uint32_t count;
    const struct sfs_survey_file *files = sfs_survey_files(maker->view->survey, &count);
    maker->least = find_least(files, count);
    json_t **const arrays[] = { &maker->ends,       &maker->sizes,     &maker->touched,
                                &maker->many,       &maker->kind.json, &maker->owner.json,
                                &maker->layer.json, &maker->use.json,  &maker->base.json };
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++)
        *arrays[i] = json_array();
    open_dir(maker, "", 0);
    return !maker->failed ? 0 : -ENOMEM;
}

/* Writes the document so that it cannot end the element which it stands in. */
static void put_document(FILE *out, const char *text)
{
    for (; *text; text++)
        if (*text == '<' || *text == '>' || *text == '&')
            fprintf(out, "\\u%04x", (unsigned)*text);
        else
            fputc(*text, out);
}

static int put_page(const struct survey_view *view, FILE *out)
{
    AUTO(sfs_free) char *names = NULL;
    size_t size;
    struct page_maker maker = { .view = view, .names = open_memstream(&names, &size) };
    if (!maker.names)
        return -ENOMEM;
    int r = begin(&maker);
    if (r == 0)
        add_files(&maker);
    bool written = fclose(maker.names) == 0;
    AUTO(json_decrefp) json_t *json = written && names ? page_json(&maker, names) : NULL;
    AUTO(sfs_free) char *text = json ? sfs_json_print(json, JSON_COMPACT) : NULL;
    free(maker.dirs);
    if (r < 0 || maker.failed || !text)
        return -ENOMEM;
    fputs(survey_page_head, out);
    put_document(out, text);
    fputs(survey_page_tail, out);
    return 0;
}

int survey_page(const struct survey_view *view, char **ret_text, size_t *ret_size)
{
    AUTO(sfs_free) char *text = NULL;
    FILE *out = open_memstream(&text, ret_size);
    int r = out ? put_page(view, out) : -ENOMEM;
    if (out && fclose(out) != 0)
        r = -ENOMEM;
    if (r == 0)
        *ret_text = TAKE(text);
    return r;
}
