/* A tree: merged layers, immutable. Node 0 is the root; a node is an inode (a hard link is two
 * names of one node), so FUSE's inode number is node + 1. Any thread may use it without a lock.
 * Pointers handed out live until sfs_tree_close(). */
#ifndef STAGEFS_TREE_H
#define STAGEFS_TREE_H

#include <stagefs/auto.h>
#include <stagefs/digest.h>
#include <stagefs/error.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct sfs_tree;
struct sfs_layer;
typedef uint32_t sfs_node;
#define SFS_ROOT 0u

/* What stat() tells of a node. */
struct sfs_attr {
    uint64_t size;     /* bytes; of a symlink: of its target */
    int64_t mtime_sec; /* seconds since 1970 */
    uint32_t mtime_nsec;
    uint32_t mode; /* S_IFMT | 07777 */
    uint32_t uid, gid;
    uint32_t rdev_major, rdev_minor; /* of a device file; else 0 */
    uint32_t nlink; /* regular and others: names in this tree; directory: 2 + subdirectories */
};

/* One name in a directory. */
struct sfs_dirent {
    const char *name; /* NUL-terminated */
    uint32_t name_size;
    sfs_node node;
};

/* How many nodes the tree has: they are 0 .. count - 1. */
uint32_t sfs_tree_count(const struct sfs_tree *tree);
/* Type, mode, owner, time, size and links of a node. */
void sfs_tree_attr(const struct sfs_tree *tree, sfs_node node, struct sfs_attr *ret_attr);

/* The names in a directory, sorted (memcmp), without "." and "..": an array that lives as long as
 * the tree. Not a directory: NULL and 0. */
const struct sfs_dirent *sfs_tree_list(const struct sfs_tree *tree, sfs_node dir,
                                       uint32_t *ret_count);

/* The directory that a directory is in; the root's is the root. */
sfs_node sfs_tree_parent(const struct sfs_tree *tree, sfs_node dir);

enum sfs_resolve_flags {
    /* Follow a symlink at the last component too; earlier ones are always followed. */
    SFS_RESOLVE_FOLLOW = 1 << 0,
    /* Take a symlink's target as it is told, even where its layer has not confirmed it yet, which
     * may take a wait: for hints alone. */
    SFS_RESOLVE_UNCONFIRMED = 1 << 1,
};
/* Resolves a path inside the tree: absolute or not, it starts at the root; ".." stops there, as in
 * a chroot. "" is the root. A "/" at the end asks for a directory, and follows. ENOENT, ENOTDIR,
 * ELOOP; err names path and component. */
int sfs_tree_resolve(const struct sfs_tree *tree, const char *path, unsigned flags,
                     sfs_node *ret_node, struct sfs_error *err);

/* Target of a symlink, NUL-terminated. Others: "". */
const char *sfs_tree_target(const struct sfs_tree *tree, sfs_node node);

/* Extended attributes, sorted by name. */
struct sfs_xattr {
    const char *name;
    const void *value;
    size_t size;
};
/* How many extended attributes the node has. */
uint32_t sfs_tree_xattr_count(const struct sfs_tree *tree, sfs_node node);
/* Attribute i, below the count; name and value live as long as the tree. */
struct sfs_xattr sfs_tree_xattr(const struct sfs_tree *tree, sfs_node node, uint32_t i);

/* Reads up to `size` bytes of a regular file; short only at its end, 0 behind it. May wait. Count
 * or -errno (EIO, EISDIR, EINVAL). */
ssize_t sfs_tree_read(const struct sfs_tree *tree, sfs_node node, void *buf, size_t size,
                      uint64_t offset, struct sfs_error *err);
/* Where file bytes are, for lseek(SEEK_DATA/SEEK_HOLE): the next data (or hole) at or after offset;
 * the file's size is a hole. ENXIO: offset is not inside the file, or no data follows. */
int sfs_tree_seek(const struct sfs_tree *tree, sfs_node node, uint64_t offset, bool hole,
                  uint64_t *ret_offset);

/* Which layer gives this node (its position in the array that was merged); for a directory the
 * topmost that names it, or, if all only imply it, the topmost of those. *ret_inode: its inode
 * there. NULL and SIZE_MAX: the root of a merge of nothing. Two nodes that are no directories are
 * the same file, metadata included, if both layer (the pointer) and inode are equal. */
struct sfs_layer *sfs_tree_origin(const struct sfs_tree *tree, sfs_node node, size_t *ret_layer,
                                  uint32_t *ret_inode);
/* How many layers were merged. */
size_t sfs_tree_layers(const struct sfs_tree *tree);
/* What messages call a layer ("layer sha256:0123..."); lives as long as the layer. */
const char *sfs_tree_layer_label(const struct sfs_tree *tree, size_t layer);

/* Compares two trees and calls `change` for each path that differs: depth first, parents before
 * what is in them, the names of a directory in order (memcmp). Together they tell what turns a into
 * b, and so what a layer on top of a must hold.
 *
 * - SFS_ADDED: only b has it. What is in an added directory follows, each as SFS_ADDED.
 * - SFS_REMOVED: only a has it. What was in a removed directory is not reported, unless
 *   SFS_DIFF_REMOVED_BELOW asks for it; then it follows, each as SFS_REMOVED.
 * - SFS_CHANGED: both have it, and it differs in `what`. A directory is reported for its own
 *   metadata only, never because something in it changed.
 * - SFS_CHANGED with `replaces`: exactly one of the two is a directory (`what` has TYPE). If it was
 *   one, all that was in it is gone, as with SFS_REMOVED. If it is one now, what is in it follows
 *   as SFS_ADDED.
 *
 * Files of one origin are equal without looking. Others differ in content, unless SFS_DIFF_CONTENT
 * finds their bytes equal (the only thing here that may wait). The root is compared too.
 *
 * A `change` that returns non-zero stops it, and sfs_tree_diff() returns that (err is left alone).
 * EIO, EKEYREJECTED: from reading. ENOMEM. */
enum sfs_change_kind { SFS_ADDED, SFS_REMOVED, SFS_CHANGED };

/* What differs in an SFS_CHANGED.
 * TYPE: S_IFMT; CONTENT is then not looked at. CONTENT: a file's bytes, a device's numbers. MODE:
 * 07777. LINK: a symlink's target; or a name is now linked with one that it was not linked with
 * before (a new one, too), or was parted from one that still exists. Every name of a group that
 * gained one is reported, so that a layer can hold the group whole; names that only lost one that
 * is gone are not. */
enum sfs_change_what {
    SFS_CHANGE_TYPE = 1 << 0,
    SFS_CHANGE_CONTENT = 1 << 1,
    SFS_CHANGE_MODE = 1 << 2,
    SFS_CHANGE_OWNER = 1 << 3,
    SFS_CHANGE_MTIME = 1 << 4,
    SFS_CHANGE_XATTRS = 1 << 5,
    SFS_CHANGE_LINK = 1 << 6,
};

struct sfs_change {
    enum sfs_change_kind kind;
    unsigned what;    /* enum sfs_change_what, for SFS_CHANGED */
    const char *path; /* no leading '/'; "" is the root; valid during the call */
    sfs_node a, b;    /* in the first and second tree; UINT32_MAX where there is none */
    bool replaces;    /* a directory takes the place of something else, or the other way round */
};

enum sfs_diff_flags {
    SFS_DIFF_CONTENT = 1 << 0, /* compare bytes of files of equal size from different origins */
    SFS_DIFF_REMOVED_BELOW = 1 << 1, /* report what was in a removed directory, too */
};
/* As told above: 0, what `change` returned, or a negative errno. */
int sfs_tree_diff(const struct sfs_tree *a, const struct sfs_tree *b, unsigned flags,
                  int (*change)(void *user, const struct sfs_change *change), void *user,
                  struct sfs_error *err);

#define SFS_WALK_SKIP 1 /* what a visitor returns to leave out what is in a directory */

/* Visits every name below `dir` (and dir itself), parents first, names in order. `path` is relative
 * to dir ("" for dir itself), and valid during the call. The visitor returns 0 to go on,
 * SFS_WALK_SKIP not to descend, negative to stop with that (err is left alone). ENOMEM. */
int sfs_tree_walk(const struct sfs_tree *tree, sfs_node dir,
                  int (*visit)(void *user, const char *path, sfs_node node), void *user,
                  struct sfs_error *err);

#endif
