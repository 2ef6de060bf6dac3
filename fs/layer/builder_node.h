/* Inside of the builder, shared by its files: builder_node.c (memory and lookup), builder_path.c
 * (walking), builder.c (what an archive's records do), builder_finish.c (arrays).
 *
 * Names are nodes of a linked tree and hang in one hash table under (parent, name). Nodes, inodes
 * and texts are carved out of large chunks and only freed together. */
#ifndef STAGEFS_BUILDER_NODE_H
#define STAGEFS_BUILDER_NODE_H

#include "base/buf.h"
#include "layer/tables.h"

#define HASH_NONFATAL_OOM 1
#define HASH_BLOOM        24 /* bits: most names are new, and this says so without a walk */
#include <uthash.h>

/* The attributes of an inode. Inodes that follow one another share a set if theirs are equal. */
struct builder_xattrs {
    uint32_t count;
    uint32_t first;                   /* while finishing: its place in the array, or UINT32_MAX */
    struct sfs_builder_xattr items[]; /* sorted by name */
};

struct builder_inode {
    struct sfs_inode_rec rec; /* nlink is kept current; count: extents */
    const char *target;       /* of a symlink, or of a hard link out of the layer */
    const struct sfs_extent *extents;
    struct builder_xattrs *xattrs; /* NULL: none */
    uint32_t number;               /* while finishing: its place in the array, or SFS_NO_INODE */
};

struct builder_node {
    UT_hash_handle hh; /* its key is `key`: the parent's id, then the name */
    struct builder_node *parent, *first_child, *next, *previous;
    struct builder_inode *inode; /* NULL: a pure whiteout */
    const char *key;
    uint32_t id; /* of its own; while finishing: its place in the array of entries */
    uint16_t name_size;
    uint16_t flags; /* enum sfs_entry_flags */
    uint16_t depth; /* how many directories it is in */
    bool dead;      /* it was removed; its memory stays */
};

struct builder_chunk;

struct sfs_builder {
    struct builder_chunk *chunks;
    struct builder_node *root;
    struct builder_node *table; /* uthash */
    uint64_t seed;              /* of the hash, random: nobody can choose names that collide */
    uint32_t next_id;
    uint32_t live;   /* how many nodes are not dead */
    uint32_t inodes; /* how many were made so far */
    /* The directory that the previous path was in: archives come directory by directory. */
    struct builder_node *last_dir;
    struct sfs_buf last_path;           /* that directory's path */
    struct builder_xattrs *last_xattrs; /* the set that was made last */
};

/* Makes the root of an all-zero builder. 0 or -ENOMEM. */
int sfs_builder_node_init(struct sfs_builder *builder);
/* Frees everything but the struct. */
void sfs_builder_node_done(struct sfs_builder *builder);

/* Memory that lives as long as the builder; NULL: out of memory. */
void *sfs_builder_alloc(struct sfs_builder *builder, size_t size);
/* A copy with a NUL behind it, which lives as long as the builder; NULL: out of memory. */
char *sfs_builder_copy_text(struct sfs_builder *builder, const char *text, size_t size);

/* The node's name, NUL-terminated. */
static inline const char *builder_node_name(const struct builder_node *node)
{
    return node->key + sizeof(uint32_t);
}

/* Is the node a directory of this layer? */
static inline bool builder_node_is_dir(const struct builder_node *node)
{
    return node->inode && S_ISDIR(node->inode->rec.mode);
}

/* The child of that name, or NULL. */
struct builder_node *sfs_builder_node_find(struct sfs_builder *builder,
                                           const struct builder_node *parent, const char *name,
                                           size_t size);
/* Makes a node without an inode; there is none of that name yet. E2BIG: too many names, or too
 * deep. ENOMEM. */
int sfs_builder_node_make(struct sfs_builder *builder, struct builder_node *parent,
                          const char *name, size_t size, struct builder_node **ret_node,
                          struct sfs_error *err);
/* Gives the node this inode (NULL: none) instead of the one it has. */
void sfs_builder_node_set_inode(struct builder_node *node, struct builder_inode *inode);
/* Removes what is below the node. */
void sfs_builder_node_prune(struct sfs_builder *builder, struct builder_node *node);
/* Removes the node, which is not the root, and what is below it. */
void sfs_builder_node_remove(struct sfs_builder *builder, struct builder_node *node);

/* Makes an inode of that mode, all else zero. E2BIG: too many. ENOMEM. */
int sfs_builder_inode_make(struct sfs_builder *builder, uint32_t mode,
                           struct builder_inode **ret_inode, struct sfs_error *err);

/* Where a path leads: its directory and its last component. Of the root: the root and "". */
struct builder_place {
    struct builder_node *dir;
    const char *name; /* points into the path */
    size_t name_size;
};

enum builder_place_flags {
    BUILDER_CREATE = 1 << 0, /* make missing directories; without it: ENOENT */
    BUILDER_ENTER = 1 << 1,  /* the last component is a directory too: name is "" */
};
/* Finds where a path leads. Symlinks of this layer in the middle are followed inside the layer, as
 * an extraction into a root would. ENOENT: see BUILDER_CREATE. EBADMSG: "..", or something in the
 * middle that is no directory. */
int sfs_builder_find_place(struct sfs_builder *builder, const char *path, unsigned flags,
                           struct builder_place *ret_place, struct sfs_error *err);

#endif
