/* The order of things is BuildKit's: a directory that the patterns let through is made at once; one
 * that they do not is entered all the same (something below it may get through) and made when the
 * first such name is found. */
#include "copy/copy_walk.h"

#include "base/banned.h"
#include "base/limits.h"
#include <errno.h>
#include <search.h>
#include <sys/stat.h>

static void apply_rules(const struct copy_rules *rules, struct sfs_attr *attr)
{
    if (rules->has_owner) {
        attr->uid = rules->uid;
        attr->gid = rules->gid;
    }
    if (rules->chmod && !S_ISLNK(attr->mode))
        attr->mode = (attr->mode & S_IFMT) | sfs_chmod_apply(rules->chmod, attr->mode);
}

/* Makes a directory that COPY itself needs. An octal --chmod counts for it, without the special
 * bits; a symbolic one does not. */
static int make_dir(const struct copy_rules *rules, struct draft_node *dir, const char *name,
                    size_t name_size, struct draft_node **ret_node)
{
    uint32_t mode = 0755;
    if (rules->chmod && sfs_chmod_is_octal(rules->chmod))
        mode = sfs_chmod_apply(rules->chmod, S_IFDIR) & 0777;
    int r = sfs_draft_claim(rules->draft, dir, name, name_size, ret_node);
    if (r < 0)
        return r;
    struct draft_inode *inode = sfs_draft_change(rules->draft, *ret_node);
    if (!inode)
        return -ENOMEM;
    inode->attr = (struct sfs_attr){ .mode = S_IFDIR | mode,
                                     .mtime_sec = rules->epoch,
                                     .uid = rules->has_owner ? rules->uid : 0,
                                     .gid = rules->has_owner ? rules->gid : 0 };
    return 0;
}

int sfs_copy_make_dirs(const struct copy_rules *rules, struct draft_place *place, unsigned spare,
                       struct sfs_error *err)
{
    AUTO(sfs_free) char *rest = strdup(place->rest.size > 0 ? place->rest.data : "");
    if (!rest)
        return sfs_fail_memory(err);
    if (*rest == '\0' && !sfs_draft_is_dir(rules->draft, place->node)) {
        struct sfs_buf path = { 0 };
        int r = sfs_draft_path(place->node, &path);
        r = r < 0 ? r : sfs_fail(err, ENOTDIR, "mkdir %s: not a directory", path.data);
        sfs_buf_close(&path);
        return r;
    }
    place->rest.size = 0;
    for (char *name = rest; *name;) {
        size_t size = strcspn(name, "/");
        bool last = name[size] == '\0';
        if (last && spare > 0)
            return sfs_buf_add(&place->rest, name, size) < 0 ? sfs_fail_memory(err) : 0;
        if (size > SFS_MAX_NAME)
            return sfs_fail(err, ENAMETOOLONG, "the name %.32s... is too long", name);
        if (make_dir(rules, place->node, name, size, &place->node) < 0)
            return sfs_fail_memory(err);
        name += size + !last;
    }
    return 0;
}

/* Fails with words such as "cannot copy to non-directory: /lib (a symlink to usr/lib)". */
static int refuse(const struct copy_rules *rules, const struct draft_node *node, int code,
                  struct sfs_error *err)
{
    struct sfs_buf path = { 0 };
    if (sfs_draft_path(node, &path) < 0) {
        sfs_buf_close(&path);
        return sfs_fail_memory(err);
    }
    const char *target = sfs_draft_target(rules->draft, node);
    int r = code == EISDIR
                ? sfs_fail(err, EISDIR, "cannot replace to directory %s with file", path.data)
            : target ? sfs_fail(err, ENOTDIR,
                                "cannot copy to non-directory: %s is a symlink to %s; name that "
                                "directory as the destination",
                                path.data, target)
                     : sfs_fail(err, ENOTDIR, "cannot copy to non-directory: %s", path.data);
    sfs_buf_close(&path);
    return r;
}

struct copy_walk {
    const struct copy_rules *rules;
    void *links;               /* tsearch() tree, by source, of inodes that have more names */
    struct sfs_buf path;       /* where the walk is, relative to the source: for the patterns */
    size_t includes, excludes; /* how many patterns of each */
    struct sfs_error *err;
};

/* A directory on the way from the source down to where the walk is. */
struct level {
    struct level *up;
    sfs_node source;
    const char *name;
    struct draft_node *target; /* NULL: not made yet */
    const uint8_t
        *matched; /* which patterns matched: a byte for each include, then exclude; or NULL */
};

static int compare_sources(const void *a, const void *b)
{
    const struct draft_inode *left = a, *right = b;
    return (left->source > right->source) - (left->source < right->source);
}

static int make_inode(const struct copy_rules *rules, sfs_node source,
                      struct draft_inode **ret_inode)
{
    struct draft_inode *inode = sfs_draft_alloc(rules->draft, sizeof *inode);
    if (!inode)
        return -ENOMEM;
    sfs_tree_attr(rules->source, source, &inode->attr);
    inode->source = source;
    apply_rules(rules, &inode->attr);
    *ret_inode = inode;
    return sfs_draft_add_xattrs(rules->draft, inode, source);
}

/* Finds or makes the inode of a source. Hard links stay hard links among the names that one walk
 * copies; `links` NULL: only one name is copied. */
static int find_inode(const struct copy_rules *rules, sfs_node source, void **links,
                      struct draft_inode **ret_inode)
{
    struct sfs_attr attr;
    sfs_tree_attr(rules->source, source, &attr);
    if (!links || !S_ISREG(attr.mode) || attr.nlink < 2)
        return make_inode(rules, source, ret_inode);
    struct draft_inode key = { .source = source };
    struct draft_inode **found = tfind(&key, links, compare_sources);
    if (found) {
        *ret_inode = *found;
        (*found)->shared = true;
        return 0;
    }
    int r = make_inode(rules, source, ret_inode);
    if (r == 0 && !tsearch(*ret_inode, links, compare_sources))
        r = -ENOMEM;
    return r;
}

static int put_file(const struct copy_rules *rules, sfs_node source, struct draft_node *dir,
                    const char *name, void **links, struct sfs_error *err)
{
    struct draft_node *node;
    if (sfs_draft_claim(rules->draft, dir, name, strlen(name), &node) < 0)
        return sfs_fail_memory(err);
    bool is_there = node->inode || node->lower != DRAFT_NO_NODE;
    if (is_there && sfs_draft_is_dir(rules->draft, node))
        return refuse(rules, node, EISDIR, err);
    struct draft_inode *inode;
    if (find_inode(rules, source, links, &inode) < 0)
        return sfs_fail_memory(err);
    node->inode = inode;
    ++*rules->copied;
    return 0;
}

int sfs_copy_file(const struct copy_rules *rules, sfs_node source, struct draft_node *dir,
                  const char *name, struct sfs_error *err)
{
    return put_file(rules, source, dir, name, NULL, err);
}

/* Puts a directory. If one is there already, it gets the source's metadata. If it is made late,
 * only because something below it got through, it gets nothing but the mode: so does BuildKit. */
static int put_dir(const struct copy_walk *walk, const struct level *level, struct draft_node *dir,
                   bool late, struct draft_node **ret_node)
{
    const struct copy_rules *rules = walk->rules;
    struct draft_node *node;
    if (sfs_draft_claim(rules->draft, dir, level->name, strlen(level->name), &node) < 0)
        return sfs_fail_memory(walk->err);
    bool is_there = node->inode || node->lower != DRAFT_NO_NODE;
    if (is_there && !sfs_draft_is_dir(rules->draft, node))
        return refuse(rules, node, ENOTDIR, walk->err);
    struct draft_inode *inode = sfs_draft_change(rules->draft, node);
    if (!inode)
        return sfs_fail_memory(walk->err);
    struct sfs_attr attr;
    sfs_tree_attr(rules->source, level->source, &attr);
    *ret_node = node;
    ++*rules->copied;
    if (is_there && late) {
        inode->attr.mode = attr.mode;
        return 0;
    }
    inode->attr = attr;
    apply_rules(rules, &inode->attr);
    return sfs_draft_add_xattrs(rules->draft, inode, level->source) < 0 ? sfs_fail_memory(walk->err)
                                                                        : 0;
}

static int make_late(const struct copy_walk *walk, struct level *level)
{
    if (level->target)
        return 0;
    int r = make_late(walk, level->up);
    return r < 0 ? r : put_dir(walk, level, level->up->target, true, &level->target);
}

struct verdict {
    bool in;   /* the name is copied */
    bool skip; /* neither the name nor anything below it is */
};

/* Asks the patterns about walk->path. `matched` gets what matched, for the names below. */
static int judge(const struct copy_walk *walk, const struct level *level, uint8_t *matched,
                 struct verdict *ret_verdict)
{
    const struct copy_rules *rules = walk->rules;
    const char *path = walk->path.data;
    int in = 1, out = 0;
    if (rules->includes)
        in = sfs_patterns_match_below(rules->includes, path, level->matched, matched);
    if (in >= 0 && rules->excludes)
        out = sfs_patterns_match_below(rules->excludes, path,
                                       level->matched ? level->matched + walk->includes : NULL,
                                       matched + walk->includes);
    if (in < 0 || out < 0)
        return sfs_fail(walk->err, EINVAL, "syntax error in pattern of %s",
                        in < 0 ? "--parents" : "--exclude");
    ret_verdict->in = in && !out;
    ret_verdict->skip = (out && !sfs_patterns_has_exceptions(rules->excludes)) ||
                        (!in && !sfs_patterns_may_match_below(rules->includes, path));
    return 0;
}

static int copy_below(struct copy_walk *walk, struct level *level);

static int copy_one(struct copy_walk *walk, struct level *level, const struct sfs_dirent *entry,
                    uint8_t *matched)
{
    struct verdict verdict = { .in = true };
    int r = matched ? judge(walk, level, matched, &verdict) : 0;
    if (r < 0 || verdict.skip)
        return r;
    struct sfs_attr attr;
    sfs_tree_attr(walk->rules->source, entry->node, &attr);
    bool is_dir = S_ISDIR(attr.mode);
    if (verdict.in)
        r = make_late(walk, level);
    if (r < 0 || (!verdict.in && !is_dir))
        return r;
    if (!is_dir)
        return put_file(walk->rules, entry->node, level->target, entry->name, &walk->links,
                        walk->err);
    struct level below = {
        .up = level, .source = entry->node, .name = entry->name, .matched = matched
    };
    if (verdict.in)
        r = put_dir(walk, &below, level->target, false, &below.target);
    return r < 0 ? r : copy_below(walk, &below);
}

static int push_path(struct sfs_buf *path, const char *name)
{
    int r = path->size > 0 ? sfs_buf_add_str(path, "/") : 0;
    return r < 0 ? r : sfs_buf_add_str(path, name);
}

static int copy_below(struct copy_walk *walk, struct level *level)
{
    uint32_t count;
    const struct sfs_dirent *entries = sfs_tree_list(walk->rules->source, level->source, &count);
    bool selects = walk->rules->includes || walk->rules->excludes;
    size_t size = walk->path.size;
    AUTO(sfs_free) uint8_t *matched = selects ? malloc(walk->includes + walk->excludes + 1) : NULL;
    if (selects && !matched)
        return sfs_fail_memory(walk->err);
    int r = 0;
    for (uint32_t i = 0; r == 0 && i < count; i++) {
        if (matched && push_path(&walk->path, entries[i].name) < 0)
            return sfs_fail_memory(walk->err);
        r = copy_one(walk, level, &entries[i], matched);
        walk->path.size = size;
        if (walk->path.data)
            walk->path.data[size] = '\0';
    }
    return r;
}

static void keep(void *node)
{
    (void)node;
}

int sfs_copy_directory(const struct copy_rules *rules, sfs_node source, struct draft_node *target,
                       struct sfs_error *err)
{
    struct copy_walk walk = { .rules = rules, .err = err };
    struct sfs_attr attr;
    struct draft_inode *inode = sfs_draft_change(rules->draft, target);
    if (!inode)
        return sfs_fail_memory(err);
    sfs_tree_attr(rules->source, source, &attr);
    inode->attr.mtime_sec = attr.mtime_sec;
    inode->attr.mtime_nsec = attr.mtime_nsec;
    if (rules->includes)
        walk.includes = sfs_patterns_count(rules->includes);
    if (rules->excludes)
        walk.excludes = sfs_patterns_count(rules->excludes);
    struct level top = { .source = source, .name = "", .target = target };
    int r = copy_below(&walk, &top);
    tdestroy(walk.links, keep);
    sfs_buf_close(&walk.path);
    return r;
}
