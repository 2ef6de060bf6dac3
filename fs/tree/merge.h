/* A merge under way: merge.c goes through the directories and decides, merge_names.c puts names and
 * nodes into the tree. */
#ifndef STAGEFS_MERGE_H
#define STAGEFS_MERGE_H

#include "tree/nodes.h"
#include "tree/stack.h"
#include "tree/union.h"

struct pending_link {
    uint32_t dirent;
    struct sfs_part part;
};

struct merge {
    struct sfs_tree *tree;
    struct sfs_stack stack;
    struct sfs_union set;
    /* Arrays below have room for every name of every layer, as those of the tree have: no name is
     * used twice. What is not touched costs no memory. */
    struct sfs_parts parts; /* of all directories, in the order of tree->dirs */
    uint32_t *part_ends;    /* by directory: the place in parts.items behind its last part */
    uint32_t *dir_names;    /* by directory: its place in tree->dirents; the root has none */
    uint32_t **node_of;     /* by layer, then inode: node + 1 of an inode with several names */
    struct pending_link *links;
    size_t link_count, link_capacity;
    bool shadows_link; /* there is an implied directory over a symlink */
    bool hides_dirs;   /* something hides a directory, with all that may be in it */
    bool alone;        /* the tree is of the topmost layer's names alone, and of what they hide */
};

/* Adds a node, for which there is room. */
sfs_node sfs_merge_add_node(struct sfs_tree *tree, struct sfs_tree_node node);
/* Adds a directory, which takes the parts since the last one. `name` is an entry of that name; what
 * gives metadata may have another one, where it came through a symlink. */
void sfs_merge_add_dir(struct merge *merge, struct sfs_part name, const struct sfs_settled *settled,
                       sfs_node parent);
/* Adds what is no directory. -ENOMEM. */
int sfs_merge_add_file(struct merge *merge, const struct sfs_tables *tables, struct sfs_part part);
/* Adds a whiteout, as a layer alone shows it. */
void sfs_merge_add_whiteout(struct merge *merge, const struct sfs_tables *tables,
                            struct sfs_part part);
/* Gives the names of hard links to lower layers their nodes, once all names are there: those of the
 * inodes as they were when the link was made, which may have no other name any more. EBADMSG: a
 * link leads nowhere, or to a directory. */
int sfs_merge_resolve_links(struct merge *merge, struct sfs_error *err);

#endif
