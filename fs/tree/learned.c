/* The text of what was learned, and how one more start is learned. */
#include "tree/learned.h"

#include "base/limits.h"
#include <errno.h>
#include <stagefs/digest.h>
#include <string.h>
#define HASH_NONFATAL_OOM 1
#include <uthash.h>

#define HEAD   "# stagefs learned 1, starts %u, poor %u\n"
#define MISSES "# misses "
/* With fewer uses that were looked at than this, their share says nothing. */
#define FEW 4u
/* So many starts one after the other that use little are how the image is used now. */
#define MANY_POOR 4u

void sfs_learned_done(struct sfs_learned *learned)
{
    sfs_profile_done(&learned->uses);
    free(learned->misses);
    *learned = (struct sfs_learned){ 0 };
}

/* ---- the text ---- */

/* The size of the text before the digest's line, if that line holds. */
static int check_digest(const char *text, size_t size, size_t *ret_size)
{
    char line[SFS_DIGEST_TEXT + 4], hex[SFS_DIGEST_TEXT];
    struct sfs_digest digest;
    const size_t tail = SFS_DIGEST_TEXT - 1 + 3; /* "# ", the digest, a newline */
    if (size < tail || size > SFS_MAX_LEARNED)
        return -EBADMSG;
    if (sfs_digest_of(text, size - tail, &digest) < 0)
        return -ENOMEM;
    snprintf(line, sizeof line, "# %s\n", sfs_digest_print(&digest, hex));
    *ret_size = size - tail;
    return memcmp(text + size - tail, line, tail) == 0 ? 0 : -EBADMSG;
}

/* Reads the two lines at the top. `text` ends with a NUL somewhere behind them. */
static int parse_head(const char *text, struct sfs_learned *learned)
{
    char again[96];
    const char *line = strchr(text, '\n');
    if (sscanf(text, HEAD, &learned->starts, &learned->poor) != 2 || !line)
        return -EBADMSG;
    snprintf(again, sizeof again, HEAD, learned->starts, learned->poor);
    if (strncmp(text, again, strlen(again)) != 0 || strncmp(++line, MISSES, strlen(MISSES)) != 0)
        return -EBADMSG;
    line += strlen(MISSES);
    if (strspn(line, "01") != learned->uses.count || line[learned->uses.count] != '\n')
        return -EBADMSG;
    learned->misses = calloc(learned->uses.count + 1, 1);
    for (size_t i = 0; learned->misses && i < learned->uses.count; i++)
        learned->misses[i] = (uint8_t)(line[i] - '0');
    return learned->misses ? 0 : -ENOMEM;
}

_Static_assert(SFS_LEARNED_MISSES == 2, "parse_head() knows the digits");

int sfs_learned_parse(const char *text, size_t size, struct sfs_learned *ret_learned,
                      struct sfs_error *err)
{
    AUTO(sfs_learned_done) struct sfs_learned learned = { 0 };
    AUTO(sfs_free) char *copy = NULL;
    int r = check_digest(text, size, &size);
    if (r == 0 && !(copy = strndup(text, size)))
        r = -ENOMEM;
    if (r == 0)
        r = sfs_profile_parse(&learned.uses, "learned", copy, strlen(copy), NULL);
    if (r == 0 && learned.uses.count > SFS_MAX_LEARNED_USES)
        r = -EBADMSG;
    if (r == 0)
        r = parse_head(copy, &learned);
    if (r < 0)
        return r == -ENOMEM ? sfs_fail_memory(err)
                            : sfs_fail(err, EBADMSG, "what was learned of starts is damaged");
    *ret_learned = learned;
    learned = (struct sfs_learned){ 0 };
    return 0;
}

int sfs_learned_print(const struct sfs_learned *learned, struct sfs_buf *text,
                      struct sfs_error *err)
{
    struct sfs_digest digest;
    char hex[SFS_DIGEST_TEXT];
    const size_t before = text->size;
    sfs_buf_printf(text, HEAD MISSES, learned->starts, learned->poor);
    for (size_t i = 0; i < learned->uses.count; i++)
        sfs_buf_add(text, &"01"[learned->misses[i]], 1);
    sfs_buf_add_str(text, "\n");
    for (size_t i = 0; i < learned->uses.count; i++)
        sfs_use_print(&learned->uses.uses[i], text);
    int r = sfs_buf_check(text, err);
    if (r < 0)
        return r;
    if (sfs_digest_of(text->data + before, text->size - before, &digest) < 0)
        return sfs_fail_memory(err);
    sfs_buf_printf(text, "# %s\n", sfs_digest_print(&digest, hex));
    r = sfs_buf_check(text, err);
    if (r == 0 && text->size - before > SFS_MAX_LEARNED)
        r = sfs_fail(err, E2BIG, "what was learned of starts is over %u bytes", SFS_MAX_LEARNED);
    return r;
}

/* ---- one more start ---- */

struct learned_path {
    struct sfs_use *use;
    const struct sfs_use *seen; /* NULL: not in this start */
    bool is_checked;
    uint8_t misses;
    size_t place; /* twice its number; of a new one: one more than that of the one before it */
    UT_hash_handle hh;
};

struct learning {
    struct learned_path *items, *by_path;
    size_t count, known;
    bool changed;
};

static void learning_done(struct learning *learning)
{
    HASH_CLEAR(hh, learning->by_path);
    free(learning->items);
}

static int add_path(struct learning *learning, struct sfs_use *use, size_t place)
{
    struct learned_path *item = &learning->items[learning->count];
    *item = (struct learned_path){ .use = use, .place = place };
    HASH_ADD_KEYPTR(hh, learning->by_path, use->path, strlen(use->path), item);
    if (!item->hh.tbl)
        return -ENOMEM;
    learning->count++;
    return 0;
}

static struct learned_path *find_path(const struct learning *learning, const char *path)
{
    struct learned_path *found;
    HASH_FIND_STR(learning->by_path, path, found);
    return found;
}

/* Lists what is known, then what was seen for the first time. */
static int list_paths(struct learning *learning, struct sfs_learned *learned,
                      struct sfs_profile *seen)
{
    size_t place = 0;
    learning->items = calloc(learned->uses.count + seen->count + 1, sizeof *learning->items);
    if (!learning->items)
        return -ENOMEM;
    for (size_t i = 0; i < learned->uses.count; i++) {
        if (find_path(learning, learned->uses.uses[i].path))
            continue; /* of one path the first line counts */
        if (add_path(learning, &learned->uses.uses[i], 2 * i + 2) < 0)
            return -ENOMEM;
        learning->items[learning->count - 1].misses = learned->misses[i];
    }
    learning->known = learning->count;
    for (size_t i = 0; i < seen->count; i++) {
        struct learned_path *item = find_path(learning, seen->uses[i].path);
        if (!item && add_path(learning, &seen->uses[i], place | 1) < 0)
            return -ENOMEM;
        if (item && item->use != &seen->uses[i])
            item->seen = &seen->uses[i];
        place = item ? item->place : place;
        learning->changed |= !item;
    }
    return 0;
}

static uint64_t bytes_of(const struct sfs_use *use)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < use->ranges.count; i++)
        bytes += use->ranges.items[i].size;
    return bytes;
}

static void count_checked(struct learning *learning,
                          bool (*is_checked)(void *user, const struct sfs_use *use), void *user,
                          struct sfs_learned_sums *sums)
{
    *sums = (struct sfs_learned_sums){ 0 };
    for (size_t i = 0; i < learning->known; i++) {
        struct learned_path *item = &learning->items[i];
        item->is_checked = is_checked(user, item->use);
        if (!item->is_checked)
            continue;
        const uint64_t bytes = bytes_of(item->use);
        sums->checked++;
        sums->checked_bytes += bytes;
        sums->used += item->seen ? 1 : 0;
        sums->used_bytes += item->seen ? bytes : 0;
    }
}

/* Does this start count, so that what it did not use comes closer to being forgotten? */
static bool counts(struct sfs_learned *learned, const struct sfs_learned_sums *sums)
{
    bool is_poor = sums->checked >= FEW && sums->used < sums->checked / 4;
    learned->poor = is_poor ? learned->poor + 1 : 0;
    if (is_poor && learned->poor < MANY_POOR)
        return false;
    learned->poor = 0;
    learned->starts++;
    return true;
}

/* Takes over what was seen of a use. Where nothing had been fetched ahead of it, exactly what it
 * uses was seen, and takes the place of what was known. */
static int join_seen(struct learned_path *item, bool exactly)
{
    struct sfs_ranges *ranges = &item->use->ranges;
    if (item->seen->kind > item->use->kind)
        item->use->kind = item->seen->kind;
    if (exactly && item->seen->ranges.count > 0)
        ranges->count = 0;
    for (size_t i = 0; i < item->seen->ranges.count; i++)
        if (sfs_ranges_add(ranges, item->seen->ranges.items[i].offset,
                           item->seen->ranges.items[i].size) < 0)
            return -ENOMEM;
    sfs_ranges_merge(ranges, 0);
    return 0;
}

static int judge(struct learning *learning, bool start_counts)
{
    for (size_t i = 0; i < learning->known; i++) {
        struct learned_path *item = &learning->items[i];
        if (item->seen && join_seen(item, item->is_checked && start_counts) < 0)
            return -ENOMEM;
        if (item->seen)
            item->misses = 0;
        else if (item->is_checked && start_counts)
            item->misses++;
        learning->changed |= item->seen || (item->is_checked && start_counts);
    }
    return 0;
}

static int compare_places(const void *left, const void *right)
{
    const struct learned_path *a = left, *b = right;
    if (a->place != b->place)
        return a->place < b->place ? -1 : 1;
    return (a > b) - (a < b);
}

/* Moves what is kept into a list of its own, in order. */
static int collect(struct learning *learning, struct sfs_learned *ret_learned)
{
    HASH_CLEAR(hh, learning->by_path); /* sorting moves what it is made of */
    struct sfs_profile *uses = &ret_learned->uses;
    uses->uses = calloc(learning->count + 1, sizeof *uses->uses);
    ret_learned->misses = calloc(learning->count + 1, 1);
    if (!uses->uses || !ret_learned->misses)
        return -ENOMEM;
    uses->capacity = learning->count + 1;
    qsort(learning->items, learning->count, sizeof *learning->items, compare_places);
    for (size_t i = 0; i < learning->count && uses->count < SFS_MAX_LEARNED_USES; i++) {
        struct learned_path *item = &learning->items[i];
        if (item->misses >= SFS_LEARNED_MISSES)
            continue;
        ret_learned->misses[uses->count] = item->misses;
        uses->uses[uses->count++] = *item->use;
        *item->use = (struct sfs_use){ 0 };
    }
    return 0;
}

int sfs_learned_merge(struct sfs_learned *learned, struct sfs_profile *seen,
                      bool (*is_checked)(void *user, const struct sfs_use *use), void *user,
                      struct sfs_learned_sums *ret_sums)
{
    AUTO(learning_done) struct learning learning = { 0 };
    AUTO(sfs_learned_done) struct sfs_learned now = { 0 };
    if (list_paths(&learning, learned, seen) < 0)
        return -ENOMEM;
    count_checked(&learning, is_checked, user, ret_sums);
    bool start_counts = counts(learned, ret_sums);
    if (judge(&learning, start_counts) < 0 || collect(&learning, &now) < 0)
        return -ENOMEM;
    now.starts = learned->starts;
    now.poor = learned->poor;
    sfs_learned_done(learned);
    *learned = now;
    now = (struct sfs_learned){ 0 };
    return learning.changed || start_counts;
}
