/* The text of what was learned, and how one more start is learned. */
#include "tree/learned.h"

#include "base/limits.h"
#include <errno.h>
#include <stagefs/digest.h>
#include <string.h>
#define HASH_NONFATAL_OOM 1
#include <uthash.h>

#define HEAD   "# stagefs learned 2, starts %u, poor %u, used %u of %u\n"
#define MISSES "# misses "
/* With fewer uses that were looked at than this, their share says nothing. */
#define FEW 4u
/* So many starts one after the other that use little are how the image is used now. */
#define MANY_POOR 4u
/* In how many starts each is looked at: while most is used, and while much is not. */
#define SELDOM 32u
#define OFTEN  8u
/* Of a use of more blocks than this (16 GiB) none is looked at. */
#define MOST_BLOCKS (64u << 10)

void sfs_learned_done(struct sfs_learned *learned)
{
    sfs_profile_done(&learned->uses);
    free(learned->misses);
    *learned = (struct sfs_learned){ 0 };
}

unsigned sfs_learned_turns(const struct sfs_learned *learned)
{
    const bool is_rough =
        learned->looked_at >= FEW && learned->used < learned->looked_at - learned->looked_at / 4;
    return is_rough ? OFTEN : SELDOM;
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
    char again[128];
    const char *line = strchr(text, '\n');
    if (sscanf(text, HEAD, &learned->starts, &learned->poor, &learned->used, &learned->looked_at) !=
            4 ||
        !line)
        return -EBADMSG;
    snprintf(again, sizeof again, HEAD, learned->starts, learned->poor, learned->used,
             learned->looked_at);
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
    sfs_buf_printf(text, HEAD MISSES, learned->starts, learned->poor, learned->used,
                   learned->looked_at);
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
    uint32_t blocks, checked;   /* how many it has, and of how many it was the turn */
    struct sfs_ranges others;   /* what it has in blocks that were not looked at; owned */
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
    for (size_t i = 0; i < learning->count; i++)
        sfs_ranges_done(&learning->items[i].others);
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

/* ---- blocks ---- */

struct range_cursor {
    size_t range;
    uint64_t at;
};

/* Finds the next part of the ranges, which lie in order, that is within one block. */
static bool next_part(const struct sfs_ranges *ranges, struct range_cursor *cursor,
                      struct sfs_range *ret_part)
{
    for (; cursor->range < ranges->count; cursor->range++) {
        const struct sfs_range *range = &ranges->items[cursor->range];
        const uint64_t at = cursor->at > range->offset ? cursor->at : range->offset;
        if (at - range->offset >= range->size)
            continue;
        const uint64_t left = range->size - (at - range->offset);
        const uint64_t room = SFS_LEARNED_BLOCK - at % SFS_LEARNED_BLOCK;
        *ret_part = (struct sfs_range){ at, left < room ? left : room };
        cursor->at = at + ret_part->size;
        return true;
    }
    return false;
}

/* Ranges of a text that nobody wrote may have no end. */
static bool has_many_blocks(const struct sfs_ranges *ranges)
{
    uint64_t blocks = 0;
    for (size_t i = 0; i < ranges->count && blocks <= MOST_BLOCKS; i++)
        blocks += ranges->items[i].size / SFS_LEARNED_BLOCK + 1;
    return blocks > MOST_BLOCKS;
}

static bool has_seen(const struct sfs_use *seen, uint64_t block)
{
    for (size_t i = 0; seen && i < seen->ranges.count; i++) {
        const struct sfs_range *range = &seen->ranges.items[i];
        const uint64_t end = range->offset + range->size;
        if (range->size > 0 && range->offset / SFS_LEARNED_BLOCK <= block &&
            (end - 1) / SFS_LEARNED_BLOCK >= block)
            return true;
    }
    return false;
}

/* Looks at the blocks of an item whose turn it was, and notes what lies in the others. */
static int look_at_blocks(struct learned_path *item, sfs_learned_turn is_checked, void *user,
                          struct sfs_learned_sums *sums)
{
    uint64_t block = UINT64_MAX;
    bool checked = false, used = false;
    struct range_cursor cursor = { 0 };
    for (struct sfs_range part; next_part(&item->use->ranges, &cursor, &part);) {
        if (part.offset / SFS_LEARNED_BLOCK != block) {
            block = part.offset / SFS_LEARNED_BLOCK;
            checked = is_checked(user, item->use, block);
            used = checked && has_seen(item->seen, block);
            item->blocks++;
            item->checked += checked;
            sums->checked += checked;
            sums->used += used;
        }
        sums->checked_bytes += checked ? part.size : 0;
        sums->used_bytes += used ? part.size : 0;
        if (!checked && sfs_ranges_add(&item->others, part.offset, part.size) < 0)
            return -ENOMEM;
    }
    return 0;
}

static int look_at(struct learning *learning, sfs_learned_turn is_checked, void *user,
                   struct sfs_learned_sums *sums)
{
    int r = 0;
    *sums = (struct sfs_learned_sums){ 0 };
    for (size_t i = 0; r == 0 && i < learning->known; i++) {
        struct learned_path *item = &learning->items[i];
        sfs_ranges_merge(&item->use->ranges, 0);
        if (item->use->ranges.count > 0) {
            if (!has_many_blocks(&item->use->ranges))
                r = look_at_blocks(item, is_checked, user, sums);
        } else if (is_checked(user, item->use, 0)) {
            item->checked = 1;
            sums->checked++;
            sums->used += item->seen ? 1 : 0;
        }
    }
    return r;
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
    learned->used = learned->used / 2 + (unsigned)sums->used;
    learned->looked_at = learned->looked_at / 2 + (unsigned)sums->checked;
    return true;
}

/* Adds what was seen of a use to what is known of it. */
static int join_seen(struct learned_path *item)
{
    if (item->seen->kind > item->use->kind)
        item->use->kind = item->seen->kind;
    for (size_t i = 0; i < item->seen->ranges.count; i++)
        if (sfs_ranges_add(&item->use->ranges, item->seen->ranges.items[i].offset,
                           item->seen->ranges.items[i].size) < 0)
            return -ENOMEM;
    sfs_ranges_merge(&item->use->ranges, 0);
    return 0;
}

/* Takes away what was known of blocks that were looked at. Nothing of them had been fetched ahead,
 * so exactly what is used of them was seen, and takes its place. */
static void drop_checked(struct learned_path *item)
{
    if (item->blocks == 1 && (!item->seen || item->seen->ranges.count == 0))
        return; /* it is kept or forgotten whole */
    sfs_ranges_done(&item->use->ranges);
    item->use->ranges = item->others;
    item->others = (struct sfs_ranges){ 0 };
}

static int judge_path(struct learned_path *item, bool start_counts)
{
    const bool is_checked = item->checked > 0 && start_counts;
    if (is_checked && item->blocks > 0)
        drop_checked(item);
    if (item->seen && join_seen(item) < 0)
        return -ENOMEM;
    if (item->seen)
        item->misses = 0;
    else if (is_checked && item->blocks <= 1)
        item->misses++;
    else if (is_checked && item->use->ranges.count == 0)
        item->misses = SFS_LEARNED_MISSES;
    return item->seen || is_checked;
}

static int judge(struct learning *learning, bool start_counts)
{
    for (size_t i = 0; i < learning->known; i++) {
        int r = judge_path(&learning->items[i], start_counts);
        if (r < 0)
            return r;
        learning->changed |= r > 0;
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
                      sfs_learned_turn is_checked, void *user, struct sfs_learned_sums *ret_sums)
{
    AUTO(learning_done) struct learning learning = { 0 };
    AUTO(sfs_learned_done) struct sfs_learned now = { 0 };
    if (list_paths(&learning, learned, seen) < 0)
        return -ENOMEM;
    if (look_at(&learning, is_checked, user, ret_sums) < 0)
        return -ENOMEM;
    bool start_counts = counts(learned, ret_sums);
    if (judge(&learning, start_counts) < 0 || collect(&learning, &now) < 0)
        return -ENOMEM;
    now.starts = learned->starts;
    now.poor = learned->poor;
    now.used = learned->used;
    now.looked_at = learned->looked_at;
    sfs_learned_done(learned);
    *learned = now;
    now = (struct sfs_learned){ 0 };
    return learning.changed || start_counts;
}
