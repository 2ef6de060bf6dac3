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
/* Frees what is in it. Fine on an all-zero struct. */
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
    size_t graft_count, graft_capacity; /* the capacity is also that of `anchored` */
    uint32_t grafting;                  /* the layer whose grafts are being found; 0: none */
    /* The grafts that do not stay, sorted by anchor, those of higher layers first. */
    struct sfs_graft *anchored;
    size_t anchored_count;
};

/* Frees the grafts. */
void sfs_stack_done(struct sfs_stack *stack);

/* The tables of the part's layer. */
static inline const struct sfs_tables *sfs_stack_tables(const struct sfs_stack *stack,
                                                        struct sfs_part part)
{
    return &stack->layers[part.layer]->tables;
}

/* The part's entry in those tables. */
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

/* The same for the root, which always exists. */
void sfs_stack_root(const struct sfs_stack *stack, struct sfs_parts *parts,
                    struct sfs_settled *ret_settled);

/* Does the directory lead to anything but whiteouts? */
bool sfs_stack_has_substance(const struct sfs_stack *stack, struct sfs_part dir);

/* Finds what is at `path` ("" is the root) in the lowest `count` layers. Symlinks are followed
 * inside the root, the last one only with `follow`; hard links to lower layers lead to what they
 * name. A file: *ret_part is an entry with its inode; a directory: its topmost part that is not
 * grafted there. ENOENT, ENOTDIR, ELOOP, E2BIG, ENOMEM. */
int sfs_stack_find(const struct sfs_stack *stack, size_t count, const char *path, bool follow,
                   struct sfs_part *ret_part, bool *ret_is_dir);

/* Finds what the SFS_ENTRY_LINK `link` names: in the layers below it or, if it is not there, in its
 * own layer too, where its path may lead through a symlink. EISDIR: it is a directory. Else as
 * sfs_stack_find(). */
int sfs_stack_find_link(const struct sfs_stack *stack, struct sfs_part link,
                        struct sfs_part *ret_part);

/* Does the implied directory `dir` stand over a symlink of the layers below? `path` is the
 * directory's path in its layer, and begins with '/'. 1, 0 or -ENOMEM. */
int sfs_stack_is_over_symlink(const struct sfs_stack *stack, struct sfs_part dir, const char *path);

/* Finds all grafts. 0, -ENOMEM, or -E2BIG: too many. */
int sfs_stack_graft(struct sfs_stack *stack);
/* The graft of this source, or NULL. */
const struct sfs_graft *sfs_stack_find_graft(const struct sfs_stack *stack, struct sfs_part source);

#endif
