/* Profiles joined: what several runs used, each path once, in the order of first use. */
#include "tree/profile.h"

#include <errno.h>
#include <string.h>
#define HASH_NONFATAL_OOM 1
#include <uthash.h>

struct known {
    size_t index; /* of its use in the profile */
    bool is_in_text;
    UT_hash_handle hh;
};

/* The uses of a profile by path: the first one of each path stands for all of it. */
struct known_paths {
    struct sfs_profile *profile;
    struct known *items, *by_path;
};

static void known_paths_done(struct known_paths *known)
{
    HASH_CLEAR(hh, known->by_path);
    free(known->items);
}

static struct known *find(const struct known_paths *known, const char *path)
{
    struct known *found;
    HASH_FIND_STR(known->by_path, path, found);
    return found;
}

/* Adds what `more` says of a path to what is known of it. 1: that changed something. */
static int join_use(struct sfs_use *use, const struct sfs_use *more)
{
    int changed = more->kind > use->kind;
    struct sfs_ranges *ranges = &use->ranges;
    if (changed)
        use->kind = more->kind;
    const size_t count = ranges->count;
    uint64_t bytes = 0, before = 0;
    for (size_t i = 0; i < count; i++)
        before += ranges->items[i].size;
    if (sfs_ranges_join(ranges, &more->ranges) < 0)
        return -ENOMEM;
    for (size_t i = 0; i < ranges->count; i++)
        bytes += ranges->items[i].size;
    return changed || bytes != before || ranges->count != count;
}

static int learn(struct known_paths *known, struct sfs_profile *profile)
{
    known->profile = profile;
    known->items = calloc(profile->count + 1, sizeof *known->items);
    if (!known->items)
        return -ENOMEM;
    for (size_t i = 0; i < profile->count; i++) {
        struct sfs_use *use = &profile->uses[i];
        struct known *before = find(known, use->path), *item = &known->items[i];
        if (before) {
            if (join_use(&profile->uses[before->index], use) < 0)
                return -ENOMEM;
            item->is_in_text = true; /* its other line stands for it */
            continue;
        }
        item->index = i;
        HASH_ADD_KEYPTR(hh, known->by_path, use->path, strlen(use->path), item);
        if (!item->hh.tbl)
            return -ENOMEM;
    }
    return 0;
}

/* Takes out of what is known what a line of the text tells: a path may have several, for what it is
 * used for first and later, and what the last of them tells is not to be added to the first. */
static int forget_told(const struct known_paths *known, const struct sfs_use *told)
{
    const struct known *item = find(known, told->path);
    return item ? sfs_ranges_subtract(&known->profile->uses[item->index].ranges, &told->ranges) : 0;
}

/* The comment at the end of a line, with what stands before it; "" if there is none. */
static const char *find_comment(const char *line, const char *end)
{
    for (const char *at = line; at < end; at++)
        if (*at == '#' && (at == line || at[-1] == ' ' || at[-1] == '\t'))
            return at;
    return end;
}

/* Copies one line of the text, as it is or with what is known besides. */
static int join_line(struct known_paths *known, const char *line, const char *end,
                     struct sfs_buf *buf)
{
    AUTO(sfs_profile_done) struct sfs_profile one = { 0 };
    int changed = 0;
    struct known *item = NULL;
    if (sfs_profile_parse(&one, "", line, (size_t)(end - line), NULL) == 0 && one.count > 0)
        item = find(known, one.uses[0].path);
    if (item && !item->is_in_text)
        changed = join_use(&one.uses[0], &known->profile->uses[item->index]);
    if (changed < 0)
        return changed;
    if (item)
        item->is_in_text = true;
    if (changed == 0) {
        sfs_buf_add(buf, line, (size_t)(end - line));
        return sfs_buf_add_str(buf, "\n");
    }
    const char *comment = find_comment(line, end);
    sfs_use_print(&one.uses[0], buf);
    if (comment < end && buf->size > 0) {
        buf->data[buf->size - 1] = ' ';
        sfs_buf_add(buf, comment, (size_t)(end - comment));
        sfs_buf_add_str(buf, "\n");
    }
    return 0;
}

int sfs_profile_join_text(const char *name, const char *text, size_t size, struct sfs_profile *more,
                          struct sfs_buf *buf, struct sfs_error *err)
{
    AUTO(sfs_profile_done) struct sfs_profile check = { 0 };
    AUTO(known_paths_done) struct known_paths known = { 0 };
    int r = sfs_profile_parse(&check, name, text, size, err);
    if (r < 0)
        return r;
    r = learn(&known, more);
    for (size_t i = 0; r == 0 && i < check.count; i++)
        r = forget_told(&known, &check.uses[i]);
    for (const char *at = text, *end = text + size; r == 0 && at < end;) {
        const char *newline = memchr(at, '\n', (size_t)(end - at));
        const char *line_end = newline ? newline : end;
        r = join_line(&known, at, line_end, buf);
        at = line_end + 1;
    }
    for (size_t i = 0; r == 0 && i < more->count; i++)
        if (!known.items[i].is_in_text)
            sfs_use_print(&more->uses[i], buf);
    return r < 0 ? sfs_fail_memory(err) : sfs_buf_check(buf, err);
}
