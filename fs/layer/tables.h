/* The names and metadata of one layer, as plain arrays: what an index file holds, and what is built
 * in memory for directories and COPYs. After sfs_tables_check() or sfs_builder_finish() nothing
 * checks again.
 *
 * Entry 0 is the root. The children of a directory are one run of entries, sorted by name (memcmp,
 * shorter first). */
#ifndef STAGEFS_TABLES_H
#define STAGEFS_TABLES_H

#include "base/io.h"
#include <errno.h>
#include <stagefs/tree.h>
#include <sys/stat.h>

/* Position of a name, or of an inode, in its layer. */
typedef uint32_t sfs_entry;
typedef uint32_t sfs_inode;
#define SFS_NO_INODE UINT32_MAX

enum sfs_entry_flags {
    /* Hides the name in lower layers; if the entry has an inode, that one is there instead. */
    SFS_ENTRY_WHITEOUT = 1 << 0,
    /* Of a directory: hides all that lower layers have below it. */
    SFS_ENTRY_OPAQUE = 1 << 1,
    /* A directory that the layer does not name, but only things below it: the metadata of a lower
     * layer holds; where there is none, 0755 root:root, mtime 0. */
    SFS_ENTRY_IMPLIED = 1 << 2,
    /* A hard link to a path that this layer does not have: its inode's mode is 0, and its string is
     * the path ("usr/bin/x": relative to the root, normalised). */
    SFS_ENTRY_LINK = 1 << 3,
};

struct sfs_entry_rec { /* 16 bytes, little-endian on disk, as everything here */
    uint32_t name;     /* offset in strings, NUL-terminated there */
    uint16_t name_size;
    uint16_t flags;   /* enum sfs_entry_flags */
    sfs_inode inode;  /* SFS_NO_INODE only for a pure whiteout */
    sfs_entry parent; /* entry of the directory it is in; the root's is 0 */
};

struct sfs_inode_rec { /* 72 bytes */
    uint64_t size;     /* regular: bytes; symlink: bytes of the target; else 0 */
    int64_t mtime_sec;
    uint32_t mtime_nsec;
    uint32_t mode; /* S_IFMT | 07777 */
    uint32_t uid;
    uint32_t gid;
    uint32_t rdev_major;
    uint32_t rdev_minor;
    uint32_t first;  /* directory: first child entry; regular: first extent */
    uint32_t count;  /* directory: children; regular: extents */
    uint32_t string; /* symlink or SFS_ENTRY_LINK: offset of the target in strings */
    uint32_t xattrs; /* index of its first xattr record */
    uint32_t xattr_count;
    uint32_t nlink; /* names that this layer gives it */
    /* Of a layer without a seek table: what its vtable reads the bytes by (a node of another tree,
     * ...). */
    uint64_t source;
};

struct sfs_xattr_rec { /* 16 bytes; those of an inode are sorted by name */
    uint32_t name;     /* offset in strings */
    uint32_t value;    /* offset in strings */
    uint32_t value_size;
    uint32_t reserved;
};

struct sfs_extent { /* a run of file bytes in the decoded stream; gaps are holes */
    uint64_t file_offset;
    uint64_t data_offset;
    uint64_t size;
};

/* The number of the first extent that ends behind the offset; `count` if there is none. */
static inline uint32_t sfs_extent_find(const struct sfs_extent *extents, uint32_t count,
                                       uint64_t offset)
{
    uint32_t low = 0, high = count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (extents[middle].file_offset + extents[middle].size <= offset)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

_Static_assert(sizeof(struct sfs_entry_rec) == 16, "on-disk struct");
_Static_assert(sizeof(struct sfs_inode_rec) == 72, "on-disk struct");
_Static_assert(sizeof(struct sfs_extent) == 24, "on-disk struct");

struct sfs_tables {
    const struct sfs_entry_rec *entries;
    const struct sfs_inode_rec *inodes;
    const struct sfs_extent *extents;
    const struct sfs_xattr_rec *xattrs;
    const char *strings;
    uint32_t entry_count, inode_count, extent_count, xattr_count;
    uint64_t strings_size;
};

/* Checks all that a mapped file could have wrong: offsets inside their sections, runs inside and
 * not overlapping, children sorted, unique, not empty, no '/', no NUL, not "." or "..", parents
 * before children, extents sorted and within the file's size, known file types. `data_size`: bytes
 * of the decoded stream. EBADMSG. */
int sfs_tables_check(const struct sfs_tables *tables, uint64_t data_size, struct sfs_error *err);

/* Finds `name` among the children of directory entry `dir`. ENOENT: not there. No I/O. */
int sfs_tables_find(const struct sfs_tables *tables, sfs_entry dir, const char *name,
                    size_t name_size, sfs_entry *ret_entry);

/* What stat() tells of an inode; nlink: the names that this layer gives it. */
void sfs_tables_attr(const struct sfs_inode_rec *inode, struct sfs_attr *ret_attr);
/* The target of a symlink, which lives as long as the tables; of anything else "". */
const char *sfs_tables_target(const struct sfs_tables *tables, const struct sfs_inode_rec *inode);
/* Attribute i of an inode, below its count; name and value live as long as the tables. */
struct sfs_xattr sfs_tables_xattr(const struct sfs_tables *tables,
                                  const struct sfs_inode_rec *inode, uint32_t i);

/* Collects names in the order of a tar stream and makes tables of them: later ones replace earlier
 * ones of the same path as an extraction would. One thread. */
struct sfs_builder;
/* A new one, which holds the root alone; the caller closes it. NULL: out of memory. */
struct sfs_builder *sfs_builder_open(void);
/* Frees, and sets NULL; NULL is fine. */
void sfs_builder_close(struct sfs_builder **builder);

struct sfs_builder_xattr {
    const char *name;
    const void *value;
    size_t size;
};

/* What is to be added under a name; all of it is borrowed for the call. */
struct sfs_builder_item {
    /* The builder fills first, count, string, xattrs, xattr_count and nlink. */
    struct sfs_inode_rec inode;
    const char *target; /* of a symlink */
    const struct sfs_extent *extents;
    uint32_t extent_count;
    const struct sfs_builder_xattr *xattrs;
    uint32_t xattr_count;
};

/* Adds a name. `path` is as written in the archive: "./", leading "/", "//" and trailing "/" are
 * dropped, "." components too; ".." is EBADMSG (a path escape), as are components over
 * SFS_MAX_NAME.
 * "" is the root, which must be a directory. Missing parents become SFS_ENTRY_IMPLIED. A
 * non-directory over a directory removes what was below it; a directory over a directory keeps its
 * children and takes the new metadata. A symlink gets mode 0777, as Linux has it. Everything is
 * copied. */
int sfs_builder_add(struct sfs_builder *builder, const char *path,
                    const struct sfs_builder_item *item, struct sfs_error *err);
/* Adds a hard link. If `target` is a name in this layer so far, both share its inode (EBADMSG if it
 * is a directory); otherwise an SFS_ENTRY_LINK is made. A link to itself changes nothing if the
 * name exists. */
int sfs_builder_link(struct sfs_builder *builder, const char *path, const char *target,
                     struct sfs_error *err);
/* Hides `path` of lower layers; does not touch what this layer has under that name. */
int sfs_builder_whiteout(struct sfs_builder *builder, const char *path, struct sfs_error *err);
/* Hides what lower layers have below directory `path`. */
int sfs_builder_opaque(struct sfs_builder *builder, const char *path, struct sfs_error *err);
/* Is there a file of that name so far? */
bool sfs_builder_has(struct sfs_builder *builder, const char *path);
/* Removes the name and what is below it, as if it had never been there; it may be missing. Hard
 * links to its files stay. */
int sfs_builder_remove(struct sfs_builder *builder, const char *path, struct sfs_error *err);
/* Makes sorted, compact arrays, which lie in *ret_memory; the caller frees that with
 * sfs_tables_close(). The builder can then only be closed. E2BIG: too many names. ENOMEM. */
int sfs_builder_finish(struct sfs_builder *builder, struct sfs_tables *ret_tables,
                       void **ret_memory, struct sfs_error *err);
/* Frees what sfs_builder_finish() gave, and sets NULL; NULL is fine. */
void sfs_tables_close(void **memory);

#endif
