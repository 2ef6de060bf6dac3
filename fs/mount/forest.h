/* What one mount shows: a tree as it is, or several trees under the names "0", "1", ...
 *
 * It gives every node of every tree an inode number, by addition alone: number = first of its tree
 * + node. With one tree, not numbered, that is node + 1, so its root is FUSE's root. With numbered
 * trees, inode 1 is a directory of our own. Borrows the trees. Immutable once open. */
#ifndef STAGEFS_FOREST_H
#define STAGEFS_FOREST_H

#include "base/banned.h"
#include <stagefs/tree.h>
#include <sys/stat.h>

typedef uint64_t sfs_ino;
#define SFS_INO_ROOT 1u

/* Which attributes would steer an overlay that lies on top: an image's must not. */
enum sfs_forest_overlay {
    SFS_OVERLAY_NONE,    /* none is foreseen: attributes are shown as they are */
    SFS_OVERLAY_TRUSTED, /* an overlay of root's: trusted.overlay.* */
    SFS_OVERLAY_USER,    /* an overlay of a user namespace: user.overlay.* */
};

struct sfs_forest {
    const struct sfs_tree *const *trees;
    size_t count;
    bool numbered;
    sfs_ino *first; /* the number of each tree's root, and one more for the end of all */
    struct sfs_dirent *numbers; /* if numbered: the trees' names; `node` is the tree's position */
    char (*names)[24];          /* the texts of those names */
    enum sfs_forest_overlay overlay;
    /* An overlay lies on merged trees, in which a whiteout would be a device file of an image. */
    bool is_merged_below;
};

/* Gives numbers to all nodes of the trees. `numbered`: they are shown under the names "0", "1",
 * ...; else there is one tree. ENOMEM. */
int sfs_forest_open(struct sfs_forest *forest, const struct sfs_tree *const *trees, size_t count,
                    bool numbered, struct sfs_error *err);
/* Frees what is in it, but no tree. Fine on an all-zero struct. */
void sfs_forest_done(struct sfs_forest *forest);

/* What an inode number stands for. */
struct sfs_place {
    const struct sfs_tree *tree; /* NULL: the directory of the numbered trees */
    size_t index;                /* the tree's position */
    sfs_node node;
};
/* Finds what an inode number stands for. False: nothing. */
bool sfs_forest_locate(const struct sfs_forest *forest, sfs_ino ino, struct sfs_place *ret_place);

/* The device number that is shown of a device file. An overlay takes 0/0 for a whiteout: where one
 * lies on merged trees, an image's own file of that number gets another. */
dev_t sfs_forest_rdev(const struct sfs_forest *forest, const struct sfs_attr *attr);
/* Attributes as stat() has them. -ESTALE: no such inode; so do the functions below. */
int sfs_forest_stat(const struct sfs_forest *forest, sfs_ino ino, struct stat *ret_stat);
/* Finds a name in a directory. "." of anything and ".." of a directory are found, too: exported
 * mounts ask for them. -ENOENT, -ENOTDIR. -ENAMETOOLONG: longer than a name can be, which the
 * kernel does not check. */
int sfs_forest_find(const struct sfs_forest *forest, sfs_ino dir, const char *name,
                    sfs_ino *ret_ino);
/* The directory that a directory is in; the root's is the root. */
int sfs_forest_parent(const struct sfs_forest *forest, sfs_ino dir, sfs_ino *ret_ino);

/* The names in a directory, without "." and "..". */
struct sfs_listing {
    const struct sfs_dirent *entries;
    uint32_t count;
    const sfs_ino *roots; /* NULL: an entry's inode is first + node; else it is roots[node] */
    sfs_ino first;        /* see roots */
};
/* Lists a directory; *ret_listing is borrowed from the forest. Anything else has no names. */
int sfs_forest_list(const struct sfs_forest *forest, sfs_ino dir, struct sfs_listing *ret_listing);

/* The inode of entry i. */
static inline sfs_ino sfs_listing_ino(const struct sfs_listing *listing, uint32_t i)
{
    sfs_node node = listing->entries[i].node;
    return listing->roots ? listing->roots[node] : listing->first + node;
}

/* Extended attributes. Where an overlay may lie on top, the image's own of the overlay's are shown
 * by another name, "trusted.overlay.overlay.X" for "trusted.overlay.X": such an overlay hides the
 * outer "overlay." again (Linux 6.7; before, the attribute), and is steered by none of them. The
 * opaque directories of a layer alone have the mark that steers it. */
struct sfs_forest_xattr {
    const char *name; /* valid as long as this struct stays where it is */
    const void *value;
    size_t size;
    char room[256];
};
/* How many extended attributes there are, with those that cannot be shown. */
uint32_t sfs_forest_xattr_count(const struct sfs_forest *forest, const struct sfs_place *place);
/* Attribute i, below the count. False: it has no name that it could be shown by. */
bool sfs_forest_xattr(const struct sfs_forest *forest, const struct sfs_place *place, uint32_t i,
                      struct sfs_forest_xattr *ret_xattr);

/* Sums over all trees. */
struct sfs_forest_sums {
    uint64_t blocks; /* of 512 bytes */
    uint64_t inodes;
};
/* Visits every node: too slow for answering requests. */
void sfs_forest_sum(const struct sfs_forest *forest, struct sfs_forest_sums *ret_sums);
/* Files with large holes, and the bytes of those holes. */
struct sfs_forest_holes {
    uint64_t files, bytes;
};
/* Counts files that have `least` bytes of holes or more. Visits every node. */
void sfs_forest_count_holes(const struct sfs_forest *forest, uint64_t least,
                            struct sfs_forest_holes *ret_holes);
/* May any file have extended attributes; may access control lists be among them? */
void sfs_forest_scan_xattrs(const struct sfs_forest *forest, bool *ret_any, bool *ret_acls);

#endif
