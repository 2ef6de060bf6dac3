/* The set, and the ways to put something into it. */
#include "slim/kept.h"

#include "base/banned.h"
#include "tree/nodes.h"
#include <errno.h>
#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

_Static_assert(sizeof(struct sfs_kept_name) == 12, "a million of them are held in memory");

/* ---- names ---- */

const struct sfs_dirent *sfs_kept_entry(const struct sfs_kept *kept, sfs_name name)
{
    return &kept->tree->dirents[name];
}

sfs_name sfs_kept_place(const struct sfs_kept *kept, const struct sfs_dirent *entry)
{
    return (sfs_name)(entry - kept->tree->dirents);
}

uint32_t sfs_kept_mode(const struct sfs_kept *kept, sfs_name name)
{
    return sfs_node_inode(kept->tree, sfs_kept_entry(kept, name)->node)->mode;
}

bool sfs_kept_is_used_file(const struct sfs_kept *kept, sfs_name name)
{
    return kept->names[name].reason == SFS_WHY_USED && !S_ISDIR(sfs_kept_mode(kept, name));
}

int sfs_kept_path(const struct sfs_kept *kept, sfs_name name, struct sfs_buf *path)
{
    if (name == SFS_NO_NAME)
        return sfs_buf_add_str(path, "/");
    sfs_tree_dir_path(kept->tree, kept->names[name].dir, path);
    sfs_buf_add(path, "/", 1);
    const struct sfs_dirent *entry = sfs_kept_entry(kept, name);
    return sfs_buf_add(path, entry->name, entry->name_size);
}

sfs_name sfs_kept_find(const struct sfs_kept *kept, const char *path)
{
    sfs_node dir = SFS_ROOT;
    sfs_name found = SFS_NO_NAME;
    for (path += strspn(path, "/"); *path; path += strspn(path, "/")) {
        size_t size = strcspn(path, "/");
        const struct sfs_dirent *entry;
        if (sfs_tree_find_name(kept->tree, dir, path, size, &entry) < 0)
            return SFS_NO_NAME;
        found = sfs_kept_place(kept, entry);
        dir = entry->node;
        path += size;
    }
    return found;
}

/* ---- opening ---- */

static void note_names(struct sfs_kept *kept)
{
    const struct sfs_tree *tree = kept->tree;
    for (sfs_node node = 0; node < sfs_tree_count(tree); node++) {
        uint32_t count;
        const struct sfs_dirent *entries = sfs_tree_list(tree, node, &count);
        for (uint32_t i = 0; i < count; i++) {
            sfs_name name = sfs_kept_place(kept, &entries[i]);
            kept->names[name].dir = node;
            if (sfs_node_is_dir(tree, entries[i].node))
                kept->dir_names[entries[i].node] = name;
        }
    }
}

/* Does the base's come back with something else, if this is not kept? A directory's time tells of
 * the names in it, and a file that only got one more name is the same file. */
static bool is_other(const struct sfs_kept *kept, const struct sfs_change *change)
{
    uint32_t mode = sfs_node_inode(kept->tree, change->b)->mode;
    unsigned same = S_ISDIR(mode) ? SFS_CHANGE_MTIME : S_ISLNK(mode) ? 0 : SFS_CHANGE_LINK;
    return change->kind == SFS_CHANGED && (change->what & ~same) != 0;
}

static int note_own(void *user, const struct sfs_change *change)
{
    struct sfs_kept *kept = user;
    if (change->kind == SFS_REMOVED || change->b == SFS_ROOT)
        return 0;
    sfs_name name = sfs_kept_find(kept, change->path);
    if (name != SFS_NO_NAME) {
        kept->names[name].is_own = true;
        kept->names[name].is_changed = is_other(kept, change);
    }
    return 0;
}

int sfs_kept_open(struct sfs_kept *kept, const struct sfs_tree *base, const struct sfs_tree *tree,
                  struct sfs_error *err)
{
    kept->tree = tree;
    kept->count = tree->dirent_count;
    if (kept->count == SFS_NO_NAME)
        return sfs_fail(err, E2BIG, "too many names to trim");
    kept->names = calloc(kept->count + 1, sizeof *kept->names);
    kept->dir_names = calloc(sfs_tree_count(tree), sizeof *kept->dir_names);
    kept->queue = calloc(kept->count + 1, sizeof *kept->queue);
    if (!kept->names || !kept->dir_names || !kept->queue)
        return sfs_fail_memory(err);
    kept->dir_names[SFS_ROOT] = SFS_NO_NAME;
    note_names(kept);
    return sfs_tree_diff(base, tree, 0, note_own, kept, err);
}

void sfs_kept_done(struct sfs_kept *kept)
{
    free(kept->names);
    free(kept->dir_names);
    free(kept->queue);
    sfs_buf_close(&kept->passed);
    *kept = (struct sfs_kept){ 0 };
}

/* ---- keeping ---- */

/* Keeps one name; false: it was kept before, or cannot be. */
static bool add_one(struct sfs_kept *kept, sfs_name name, enum sfs_why why, uint32_t cause)
{
    struct sfs_kept_name *at = &kept->names[name];
    bool is_better = at->reason == SFS_WHY_PARENT && why != SFS_WHY_PARENT;
    if (at->is_dropped || (at->reason != SFS_WHY_NOT && !is_better))
        return false;
    bool is_new = at->reason == SFS_WHY_NOT;
    at->reason = (uint8_t)why;
    at->cause = cause;
    if (is_new)
        kept->queue[kept->kept_count++] = name;
    return is_new;
}

void sfs_kept_add(struct sfs_kept *kept, sfs_name name, enum sfs_why why, uint32_t cause)
{
    if (name == SFS_NO_NAME || !add_one(kept, name, why, cause))
        return;
    /* What is kept has its directories kept already, so this stops where it meets one. */
    sfs_name above = kept->dir_names[kept->names[name].dir];
    while (above != SFS_NO_NAME && add_one(kept, above, SFS_WHY_PARENT, name))
        above = kept->dir_names[kept->names[above].dir];
}

static void note_passed(void *user, const struct sfs_dirent *entry)
{
    struct sfs_kept *kept = user;
    sfs_name name = sfs_kept_place(kept, entry);
    sfs_buf_add(&kept->passed, &name, sizeof name);
}

int sfs_kept_add_path(struct sfs_kept *kept, sfs_node dir, const char *path, unsigned flags,
                      enum sfs_why why, uint32_t cause)
{
    sfs_node node;
    kept->passed.size = 0;
    int r = sfs_tree_resolve_from(kept->tree, dir, path, flags, note_passed, kept, &node, NULL);
    kept->failed |= kept->passed.failed || r == -ENOMEM;
    if (r < 0 || kept->failed)
        return -ENOENT;
    size_t count = kept->passed.size / sizeof(sfs_name);
    const sfs_name *names = (const void *)kept->passed.data;
    bool ends_in_dir = sfs_node_is_dir(kept->tree, node);
    sfs_name last = ends_in_dir ? kept->dir_names[node]
                    : count > 0 ? names[count - 1]
                                : SFS_NO_NAME;
    kept->last = last;
    if (last != SFS_NO_NAME && kept->names[last].is_dropped)
        return 0;
    sfs_kept_add(kept, last, why, cause);
    for (size_t i = 0; i < count; i++)
        sfs_kept_add(kept, names[i],
                     S_ISLNK(sfs_kept_mode(kept, names[i])) ? SFS_WHY_LINK : SFS_WHY_PARENT, last);
    return 0;
}

void sfs_kept_add_below(struct sfs_kept *kept, sfs_node dir, enum sfs_why why, uint32_t cause)
{
    AUTO(sfs_buf_close) struct sfs_buf dirs = { 0 }; /* whose names are still to be kept */
    sfs_kept_add(kept, kept->dir_names[dir], why, cause);
    sfs_buf_add(&dirs, &dir, sizeof dir);
    for (size_t at = 0; at + sizeof dir <= dirs.size; at += sizeof dir) {
        memcpy(&dir, dirs.data + at, sizeof dir);
        uint32_t count;
        const struct sfs_dirent *entries = sfs_tree_list(kept->tree, dir, &count);
        for (uint32_t i = 0; i < count; i++) {
            sfs_kept_add(kept, sfs_kept_place(kept, &entries[i]), why, cause);
            if (sfs_node_is_dir(kept->tree, entries[i].node))
                sfs_buf_add(&dirs, &entries[i].node, sizeof dir);
        }
    }
    kept->failed |= dirs.failed;
}

/* One component of a glob: the names of `dir` that it matches, each with the rest of the glob. */
static size_t add_matches(struct sfs_kept *kept, sfs_node dir, const char *part, const char *rest,
                          enum sfs_why why, uint32_t cause)
{
    uint32_t count;
    size_t found = 0, plain = strcspn(part, "*?[\\");
    const struct sfs_dirent *entries = sfs_tree_list(kept->tree, dir, &count);
    for (uint32_t i = 0; i < count; i++) {
        if (strncmp(entries[i].name, part, plain) != 0 ||
            fnmatch(part, entries[i].name, FNM_PERIOD) != 0)
            continue;
        if (*rest) {
            found += sfs_kept_add_glob(kept, entries[i].node, rest, why, cause);
        } else {
            found++;
            sfs_kept_add(kept, sfs_kept_place(kept, &entries[i]), why, cause);
        }
    }
    return found;
}

size_t sfs_kept_add_glob(struct sfs_kept *kept, sfs_node dir, const char *glob, enum sfs_why why,
                         uint32_t cause)
{
    if (!sfs_node_is_dir(kept->tree, dir))
        return 0;
    char part[256];
    size_t size = strcspn(glob, "/");
    const char *rest = glob + size + strspn(glob + size, "/");
    if (size >= sizeof part)
        return 0;
    memcpy(part, glob, size);
    part[size] = 0;
    if (strcmp(part, "..") == 0)
        return sfs_kept_add_glob(kept, sfs_tree_parent(kept->tree, dir), rest, why, cause);
    if (strcmp(part, "**") == 0) {
        sfs_kept_add_below(kept, dir, why, cause);
        return 1;
    }
    if (strpbrk(part, "*?["))
        return add_matches(kept, dir, part, rest, why, cause);
    const struct sfs_dirent *entry;
    if (sfs_tree_find_name(kept->tree, dir, part, size, &entry) < 0)
        return 0;
    if (*rest)
        return sfs_kept_add_glob(kept, entry->node, rest, why, cause);
    sfs_kept_add(kept, sfs_kept_place(kept, entry), why, cause);
    return 1;
}
