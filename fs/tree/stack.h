/* Layers one over the other: what they say together about one name, and finding a path among them
 * without merging everything. Here are the rules of the merge, all of them:
 *
 *  - a whiteout hides the name in the layers below it;
 *  - the topmost file hides everything below it;
 *  - directories join down to the first one that is opaque or whited out, or the first file;
 *  - a directory that its layer only implies takes its metadata from the next one below. With none
 *    below, it exists only if it leads to something other than whiteouts;
 *  - an implied directory over a symlink is no directory: what it holds goes where the symlink
 *    leads, since extraction would write through the link. See grafts.
 *
 * Everything here is private to a merge; one thread. */
#ifndef STAGEFS_STACK_H
#define STAGEFS_STACK_H

#include "layer/layer.h"

/* What one layer says about a name. */
struct sfs_part {
    uint32_t layer;
    sfs_entry entry;
};

struct sfs_parts {
    struct sfs_part *items;
    size_t count, capacity;
};

/* Makes room for `more` parts. 0 or -ENOMEM. */
int sfs_parts_reserve(struct sfs_parts *parts, size_t more);
void sfs_parts_done(struct sfs_parts *parts);

/* An implied directory that stands over a symlink, and the directory that it joins instead. */
struct sfs_graft {
    struct sfs_part source;
    struct sfs_part anchor; /* the topmost part of that directory when source's layer was put on */
    bool stays;             /* the symlink leads to no directory: source hides it after all */
};

struct sfs_stack {
    struct sfs_layer *const *layers; /* [0] lowest; borrowed */
    size_t count;
    struct sfs_graft *grafts;           /* sorted by source */
    size_t graft_count, graft_capacity; /* capacity: of both arrays */
    uint32_t grafting;                  /* the layer whose grafts are being found; 0: none */
    struct sfs_graft *anchored; /* those that moved, sorted by anchor, then higher layers first */
    size_t anchored_count;
};

void sfs_stack_done(struct sfs_stack *stack);

static inline const struct sfs_tables *sfs_stack_tables(const struct sfs_stack *stack,
                                                        struct sfs_part part)
{
    return &stack->layers[part.layer]->tables;
}

static inline const struct sfs_entry_rec *sfs_stack_entry(const struct sfs_stack *stack,
                                                          struct sfs_part part)
{
    return &sfs_stack_tables(stack, part)->entries[part.entry];
}

enum sfs_settled_kind { SFS_SETTLED_NOTHING, SFS_SETTLED_FILE, SFS_SETTLED_DIRECTORY };

struct sfs_settled {
    enum sfs_settled_kind kind;
    struct sfs_part what; /* the file, or the directory whose metadata counts */
    bool implied;         /* directory: no layer gives metadata */
};

/* Decides what a name is. `group` holds what each layer says, topmost first. For a directory, adds
 * the parts that it consists of to `parts`, which must have room for count + anchored_count. */
void sfs_stack_settle(const struct sfs_stack *stack, const struct sfs_part *group, size_t count,
                      struct sfs_parts *parts, struct sfs_settled *ret_settled);

/* The root, which always exists. */
void sfs_stack_root(const struct sfs_stack *stack, struct sfs_parts *parts,
                    struct sfs_settled *ret_settled);

/* Does the directory lead to anything but whiteouts? */
bool sfs_stack_has_substance(const struct sfs_stack *stack, struct sfs_part dir);

/* What is at `path` ("" is the root) in the lowest `count` layers. Symlinks are followed inside the
 * root, the last one only with `follow`; hard links to lower layers lead to what they name. A file:
 * *ret_part is an entry with its inode; a directory: its topmost part that is not grafted there.
 * ENOENT, ENOTDIR, ELOOP, E2BIG, ENOMEM. */
int sfs_stack_find(const struct sfs_stack *stack, size_t count, const char *path, bool follow,
                   struct sfs_part *ret_part, bool *ret_is_dir);

/* What the SFS_ENTRY_LINK `link` names: in the layers below it; failing that, in its own too, where
 * its path may lead through a symlink. EISDIR: a directory. Others as sfs_stack_find(). */
int sfs_stack_find_link(const struct sfs_stack *stack, struct sfs_part link,
                        struct sfs_part *ret_part);

/* Would there be a symlink in the place of the implied directory `dir` without it? `path` begins
 * with
 * '/' and is where its layer has it. 1, 0 or -ENOMEM. */
int sfs_stack_is_over_symlink(const struct sfs_stack *stack, struct sfs_part dir, const char *path);

/* Finds all grafts. -ENOMEM; -E2BIG: too many. */
int sfs_stack_graft(struct sfs_stack *stack);
/* The graft of this source, or NULL. */
const struct sfs_graft *sfs_stack_find_graft(const struct sfs_stack *stack, struct sfs_part source);

#endif
