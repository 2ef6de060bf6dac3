/* A tree being changed: the destination of a COPY, and over it the names that were made, replaced
 * or changed so far. Only what is touched takes memory. One thread.
 *
 * Nothing is ever removed: COPY refuses to put a file in place of a directory, or the reverse. */
#ifndef STAGEFS_COPY_DRAFT_H
#define STAGEFS_COPY_DRAFT_H

#include "base/buf.h"
#include <stagefs/tree.h>

#define DRAFT_NO_NODE UINT32_MAX

struct draft_chunk;

/* Extended attributes: those of nodes of either tree, the later ones winning. */
struct draft_xattrs {
    const struct draft_xattrs *under;
    const struct sfs_tree *tree;
    sfs_node node;
};

struct draft_inode {
    struct sfs_attr attr;
    sfs_node
        source; /* whose bytes, target or device number; DRAFT_NO_NODE: a directory COPY made */
    const struct draft_xattrs *xattrs;
    bool shared;      /* hard links: several nodes may have it */
    const char *path; /* while the layer is built: its first name, once that is there */
};

struct draft_node {
    struct draft_node *parent; /* the root's is NULL */
    const char *name;
    uint32_t name_size;
    sfs_node lower;            /* what the destination has there, or DRAFT_NO_NODE */
    struct draft_inode *inode; /* what is there instead; NULL: what the destination has */
    void *children;            /* tsearch() tree of those touched */
    struct draft_node *next_dir;
};

struct draft {
    const struct sfs_tree *source, *lower;
    struct draft_chunk *chunks;
    struct draft_node *dirs; /* those with children */
    struct draft_node root;
};

/* lower NULL: nothing is there yet. */
void sfs_draft_init(struct draft *draft, const struct sfs_tree *source,
                    const struct sfs_tree *lower);
void sfs_draft_done(struct draft *draft);
void *sfs_draft_alloc(struct draft *draft, size_t size); /* zeroed; lives as long as the draft */

void sfs_draft_attr(const struct draft *draft, const struct draft_node *node,
                    struct sfs_attr *ret_attr);
bool sfs_draft_is_dir(const struct draft *draft, const struct draft_node *node);
/* Target of a symlink; NULL: it is none. */
const char *sfs_draft_target(const struct draft *draft, const struct draft_node *node);

/* The child of that name. *ret_node NULL: there is none. -ENOMEM. */
int sfs_draft_find(struct draft *draft, struct draft_node *dir, const char *name, size_t name_size,
                   struct draft_node **ret_node);
/* The same, making a node (with nothing there yet) where there is none. `name` need not last. */
int sfs_draft_claim(struct draft *draft, struct draft_node *dir, const char *name, size_t name_size,
                    struct draft_node **ret_node);
/* Gives the node an inode of its own, beginning as a copy of what is there. NULL: out of memory. */
struct draft_inode *sfs_draft_change(struct draft *draft, struct draft_node *node);
/* Adds a source node's extended attributes to those that the inode has. */
int sfs_draft_add_xattrs(struct draft *draft, struct draft_inode *inode, sfs_node source);

/* Where a path leads, symlinks followed inside the tree, the last one too. */
struct draft_place {
    struct draft_node *node; /* the last one that is there */
    struct sfs_buf rest;     /* "a/b": what is not, below it; empty: all is there */
};
/* ENOTDIR: something on the way is no directory. ELOOP. */
int sfs_draft_resolve(struct draft *draft, const char *path, struct draft_place *ret_place,
                      struct sfs_error *err);
void sfs_draft_place_done(struct draft_place *place);

/* "/a/b" */
int sfs_draft_path(const struct draft_node *node, struct sfs_buf *path);

#endif
