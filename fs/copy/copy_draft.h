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

/* Extended attributes: those of a node of either tree, over those that were there before. */
struct draft_xattrs {
    const struct draft_xattrs *under; /* what was there before; NULL: nothing */
    const struct sfs_tree *tree;
    sfs_node node;
};

/* What is at a name instead of what the destination has. */
struct draft_inode {
    struct sfs_attr attr;
    /* The node of the source that has its bytes, target or device number; DRAFT_NO_NODE: it is a
     * directory that COPY made. */
    sfs_node source;
    const struct draft_xattrs *xattrs; /* NULL: none */
    bool shared;                       /* several nodes may have it: hard links */
    const char *path; /* while the layer is built: its first name, once that is in the layer */
};

struct draft_node {
    struct draft_node *parent; /* the root's is NULL */
    const char *name;
    uint32_t name_size;
    sfs_node lower;              /* what the destination has there, or DRAFT_NO_NODE */
    struct draft_inode *inode;   /* what is there instead; NULL: what the destination has */
    void *children;              /* tsearch() tree of its names that were touched */
    struct draft_node *next_dir; /* in the draft's list of nodes with children */
};

struct draft {
    const struct sfs_tree *source, *lower;
    struct draft_chunk *chunks;
    struct draft_node *dirs; /* list of the nodes that have children */
    struct draft_node root;
};

/* Starts a draft over the destination's tree `lower` (NULL: nothing is there yet). Both trees are
 * borrowed. */
void sfs_draft_init(struct draft *draft, const struct sfs_tree *source,
                    const struct sfs_tree *lower);
/* Frees all nodes and inodes. */
void sfs_draft_done(struct draft *draft);
/* Zeroed memory that lives as long as the draft; NULL: out of memory. */
void *sfs_draft_alloc(struct draft *draft, size_t size);

/* What is at a node now; of the root of nothing: an empty directory. */
void sfs_draft_attr(const struct draft *draft, const struct draft_node *node,
                    struct sfs_attr *ret_attr);
/* Is a directory at the node now? */
bool sfs_draft_is_dir(const struct draft *draft, const struct draft_node *node);
/* The target of the symlink at a node, borrowed; NULL: it is none. */
const char *sfs_draft_target(const struct draft *draft, const struct draft_node *node);

/* Finds the child of that name. *ret_node NULL: there is none. 0 or -ENOMEM. */
int sfs_draft_find(struct draft *draft, struct draft_node *dir, const char *name, size_t name_size,
                   struct draft_node **ret_node);
/* The same, making a node (with nothing there yet) where there is none. `name` need not last. */
int sfs_draft_claim(struct draft *draft, struct draft_node *dir, const char *name, size_t name_size,
                    struct draft_node **ret_node);
/* The node's own inode; one that is made now is a copy of what is there. NULL: out of memory. */
struct draft_inode *sfs_draft_change(struct draft *draft, struct draft_node *node);
/* Adds a source node's extended attributes to those that the inode has. 0 or -ENOMEM. */
int sfs_draft_add_xattrs(struct draft *draft, struct draft_inode *inode, sfs_node source);

/* Where a path leads, symlinks followed inside the tree, the last one too. */
struct draft_place {
    struct draft_node *node; /* the last one on the way that exists */
    struct sfs_buf rest;     /* "a/b": what does not exist below it; empty: all exists */
};
/* Finds where a path leads; the caller calls sfs_draft_place_done(). ENOTDIR: something on the way
 * is no directory. ELOOP. */
int sfs_draft_resolve(struct draft *draft, const char *path, struct draft_place *ret_place,
                      struct sfs_error *err);
/* Frees the text in it. */
void sfs_draft_place_done(struct draft_place *place);

/* Adds the path of a node to `path`: "/a/b". 0 or -ENOMEM. */
int sfs_draft_path(const struct draft_node *node, struct sfs_buf *path);

#endif
