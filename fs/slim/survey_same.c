/* Files of equal bytes. Of files of one size, those that are the same bytes of the same blob are
 * equal by name. The others are digested: first how they begin, and whole where that is equal, in
 * the order in which they lie in the blobs, so that nothing is decoded twice. */
#include "slim/survey_parts.h"

#include "base/hash.h"
#include "tree/tree_inner.h"
#include <errno.h>
#include <stagefs/auto.h>

#define LEAST (4u << 10)  /* bytes: nobody makes links of smaller files */
#define FRONT (64u << 10) /* bytes that tell most files apart */
#define BLOCK (256u << 10)

struct same_item {
    uint32_t file; /* its place among the survey's */
    uint64_t bytes;
    const void *blob; /* where it lies */
    uint64_t position;
    struct sfs_digest name;   /* of its content name, or of nothing */
    bool has_name, is_read;   /* is_read: digest is of its bytes, as far as they were asked for */
    struct sfs_digest digest; /* of its front, then of the whole */
};

struct same_search {
    struct sfs_survey *survey;
    struct same_item *items;
    size_t count;
    struct same_item **wanted; /* to be read */
    size_t wanted_count;
    uint64_t max_read, done, total; /* bytes */
    char *block;
    struct sfs_error *err;
};

static void same_search_done(struct same_search *search)
{
    free(search->items);
    free(search->wanted);
    free(search->block);
}

/* ---- order ---- */

static int compare_digests(const struct sfs_digest *a, const struct sfs_digest *b)
{
    return memcmp(a->bytes, b->bytes, sizeof a->bytes);
}

/* Largest first; of one size, those that are known to be equal follow one another. */
static int compare_items(const void *left, const void *right)
{
    const struct same_item *a = left, *b = right;
    if (a->bytes != b->bytes)
        return a->bytes > b->bytes ? -1 : 1;
    int order = compare_digests(&a->digest, &b->digest);
    if (order == 0)
        order = compare_digests(&a->name, &b->name);
    return order ? order : (a->file > b->file) - (a->file < b->file);
}

static int compare_places(const void *left, const void *right)
{
    const struct same_item *a = *(struct same_item *const *)left,
                           *b = *(struct same_item *const *)right;
    if (a->blob != b->blob)
        return (uintptr_t)a->blob < (uintptr_t)b->blob ? -1 : 1;
    return (a->position > b->position) - (a->position < b->position);
}

static void sort_items(struct same_search *search)
{
    if (search->count > 0)
        qsort(search->items, search->count, sizeof *search->items, compare_items);
}

/* Where the run of items of one size, and of equal digests as far as they are known, ends. */
static size_t run_end(const struct same_search *search, size_t start)
{
    const struct same_item *first = &search->items[start];
    size_t end = start + 1;
    while (end < search->count && search->items[end].bytes == first->bytes &&
           compare_digests(&search->items[end].digest, &first->digest) == 0)
        end++;
    return end;
}

static bool is_same_name(const struct same_item *a, const struct same_item *b)
{
    return a->has_name && b->has_name && compare_digests(&a->name, &b->name) == 0;
}

/* Are all items of the run the same bytes of the same blob? */
static bool is_one_name(const struct same_search *search, size_t start, size_t end)
{
    for (size_t i = start + 1; i < end; i++)
        if (!is_same_name(&search->items[start], &search->items[i]))
            return false;
    return true;
}

/* ---- reading ---- */

static int digest_item(struct same_search *search, struct same_item *item, uint64_t most)
{
    AUTO(sfs_hash_close) struct sfs_hash *hash = sfs_hash_open();
    sfs_node node = search->survey->files[item->file].node;
    uint64_t at = 0;
    if (!hash)
        return sfs_fail_memory(search->err);
    while (at < most) {
        size_t size = most - at < BLOCK ? (size_t)(most - at) : BLOCK;
        ssize_t n = sfs_tree_read(search->survey->tree, node, search->block, size, at, search->err);
        if (n < 0)
            return sfs_fail_while(search->err, (int)n, "reading %s",
                                  search->survey->files[item->file].path);
        if (n == 0)
            break;
        if (sfs_hash_add(hash, search->block, (size_t)n) < 0)
            return sfs_fail(search->err, EIO, "OpenSSL cannot digest");
        at += (uint64_t)n;
        search->done += (uint64_t)n;
        if (search->survey->progress && search->survey->progress->report)
            search->survey->progress->report(search->survey->progress->user,
                                             "comparing files of one size", search->done,
                                             search->total);
    }
    item->is_read = true;
    return sfs_hash_finish(hash, &item->digest) < 0
               ? sfs_fail(search->err, EIO, "OpenSSL cannot digest")
               : 0;
}

/* Wants a run of items that may be equal read, of each name one; false: that would be too much. */
static bool want_run(struct same_search *search, size_t start, size_t end, uint64_t most)
{
    uint64_t bytes = search->items[start].bytes < most ? search->items[start].bytes : most;
    size_t before = search->wanted_count;
    for (size_t i = start; i < end; i++)
        if (i == start || !is_same_name(&search->items[i - 1], &search->items[i]))
            search->wanted[search->wanted_count++] = &search->items[i];
    if (search->total + bytes * (search->wanted_count - before) <= search->max_read) {
        search->total += bytes * (search->wanted_count - before);
        return true;
    }
    search->wanted_count = before;
    return false;
}

/* What is too much to be read counts as unlike all others. */
static void give_up_run(struct same_search *search, size_t start, size_t end)
{
    for (size_t i = start; i < end; i++) {
        search->survey->search.unread += search->items[i].bytes;
        search->survey->search.unread_files++;
        search->items[i].bytes = 0;
    }
}

/* Those of one name as the one that was read. */
static void share_digests(struct same_search *search)
{
    for (size_t i = 1; i < search->count; i++)
        if (!search->items[i].is_read && search->items[i].bytes > 0 &&
            search->items[i].bytes == search->items[i - 1].bytes &&
            is_same_name(&search->items[i - 1], &search->items[i])) {
            search->items[i].digest = search->items[i - 1].digest;
            search->items[i].is_read = true;
        }
}

/* Digests up to `most` bytes of all that still may be equal. */
static int read_round(struct same_search *search, uint64_t most, uint64_t least)
{
    search->wanted_count = 0;
    for (size_t start = 0, end; start < search->count; start = end) {
        end = run_end(search, start);
        if (search->items[start].bytes <= least || end - start < 2 ||
            is_one_name(search, start, end))
            continue;
        if (!want_run(search, start, end, most))
            give_up_run(search, start, end);
    }
    if (search->wanted_count > 0)
        qsort(search->wanted, search->wanted_count, sizeof(struct same_item *), compare_places);
    for (size_t i = 0; i < search->count; i++)
        search->items[i].is_read = false;
    int r = 0;
    for (size_t i = 0; r == 0 && i < search->wanted_count; i++) {
        struct same_item *item = search->wanted[i];
        r = digest_item(search, item, item->bytes < most ? item->bytes : most);
    }
    share_digests(search);
    sort_items(search);
    return r;
}

/* ---- items and groups ---- */

static int add_item(struct same_search *search, uint32_t file)
{
    struct sfs_survey *survey = search->survey;
    struct same_item *item = &search->items[search->count++];
    char name[SFS_CONTENT_NAME];
    *item = (struct same_item){ .file = file, .bytes = survey->files[file].bytes };
    sfs_node node = survey->files[file].node;
    sfs_tree_locate(survey->tree, node, 0, &item->blob, &item->position);
    int r = sfs_tree_content_name(survey->tree, node, name);
    if (r == 0)
        r = sfs_digest_of(name, strlen(name), &item->name);
    item->has_name = r == 0;
    return r == -ENOMEM ? sfs_fail_memory(search->err) : 0;
}

static int compare_sizes(const void *left, const void *right)
{
    const uint64_t *a = left, *b = right;
    return (*a > *b) - (*a < *b);
}

/* Does another file have that size? */
static bool is_twice(const uint64_t *sizes, size_t count, uint64_t size)
{
    const uint64_t *found = bsearch(&size, sizes, count, sizeof size, compare_sizes);
    return found && ((found > sizes && found[-1] == size) ||
                     (found + 1 < sizes + count && found[1] == size));
}

static int add_items(struct same_search *search)
{
    const struct sfs_survey *survey = search->survey;
    AUTO(sfs_free) uint64_t *sizes = calloc(survey->file_count + 1, sizeof *sizes);
    search->items = calloc(survey->file_count + 1, sizeof *search->items);
    search->wanted = calloc(survey->file_count + 1, sizeof *search->wanted);
    search->block = malloc(BLOCK);
    if (!sizes || !search->items || !search->wanted || !search->block)
        return sfs_fail_memory(search->err);
    for (size_t i = 0; i < survey->file_count; i++)
        sizes[i] = survey->files[i].bytes;
    qsort(sizes, survey->file_count, sizeof *sizes, compare_sizes);
    int r = 0;
    for (size_t i = 0; r == 0 && i < survey->file_count; i++)
        if (survey->files[i].bytes >= LEAST &&
            is_twice(sizes, survey->file_count, survey->files[i].bytes))
            r = add_item(search, (uint32_t)i);
    sort_items(search);
    return r;
}

static int compare_groups(const void *left, const void *right)
{
    const struct sfs_survey_same *a = left, *b = right;
    uint64_t saved_a = a->bytes * (a->count - 1), saved_b = b->bytes * (b->count - 1);
    if (saved_a != saved_b)
        return saved_a > saved_b ? -1 : 1;
    return (a->files[0] > b->files[0]) - (a->files[0] < b->files[0]);
}

static int compare_files(const void *left, const void *right)
{
    const uint32_t *a = left, *b = right;
    return (*a > *b) - (*a < *b);
}

/* A run is a group, if its bytes were read or it has one name. */
static void add_group(struct same_search *search, size_t start, size_t end, uint32_t *at)
{
    struct sfs_survey *survey = search->survey;
    const struct same_item *first = &search->items[start];
    static const struct sfs_digest nothing;
    if (first->bytes == 0 || end - start < 2 ||
        (sfs_digest_equal(&first->digest, &nothing) && !is_one_name(search, start, end)))
        return;
    struct sfs_survey_same *group = &survey->same[survey->same_count++];
    *group =
        (struct sfs_survey_same){ first->bytes, survey->same_files + *at, (uint32_t)(end - start) };
    for (size_t i = start; i < end; i++)
        survey->same_files[(*at)++] = search->items[i].file;
    qsort(survey->same_files + *at - group->count, group->count, sizeof *survey->same_files,
          compare_files);
}

static int make_groups(struct same_search *search)
{
    struct sfs_survey *survey = search->survey;
    survey->same = calloc(search->count / 2 + 1, sizeof *survey->same);
    survey->same_files = calloc(search->count + 1, sizeof *survey->same_files);
    if (!survey->same || !survey->same_files)
        return sfs_fail_memory(search->err);
    uint32_t at = 0;
    for (size_t start = 0, end; start < search->count; start = end) {
        end = run_end(search, start);
        add_group(search, start, end, &at);
    }
    if (survey->same_count > 0)
        qsort(survey->same, survey->same_count, sizeof *survey->same, compare_groups);
    return 0;
}

int sfs_survey_find_same(struct sfs_survey *survey, uint64_t max_read, struct sfs_error *err)
{
    AUTO(same_search_done)
    struct same_search search = { .survey = survey, .max_read = max_read, .err = err };
    survey->search.least = LEAST;
    int r = add_items(&search);
    if (r == 0)
        r = read_round(&search, FRONT, 0);
    if (r == 0)
        r = read_round(&search, UINT64_MAX, FRONT);
    survey->search.read = search.done;
    return r == 0 ? make_groups(&search) : r;
}
