/* Tar headers: one entry's metadata as the bytes that go before its content.
 *
 * The same entry gives the same bytes everywhere and always: ustar, with a pax extended header in
 * front only for what ustar cannot say; ids as numbers, no user or group names, no atime or ctime,
 * whole seconds and no holes, unless the entry asks for them. */
#ifndef STAGEFS_TAR_WRITE_H
#define STAGEFS_TAR_WRITE_H

#include "base/buf.h"
#include "layer/tables.h"
#include "layer/tar_header.h"
#include <stagefs/error.h>
#include <stagefs/tree.h>

struct sfs_tar_entry {
    const char *path; /* relative to the root, no "/" in front or behind; "" is the root */
    struct sfs_attr attr;
    const char *target;             /* symlink's target, or the path that a hard link links to */
    bool hard_link;                 /* it is a hard link, whatever attr.mode says */
    const struct sfs_xattr *xattrs; /* sorted by name */
    uint32_t xattr_count;
    bool has_nanoseconds; /* the mtime's nanoseconds are written too */
    /* It is a regular file of which only these runs are written (file_offset and size count), in
     * order; all else of it are zeros. */
    bool is_sparse;
    uint32_t extent_count;
    const struct sfs_extent *extents;
};

/* Adds the header blocks. Content (attr.size bytes of a regular file; the runs of a sparse one)
 * follows, then padding to SFS_TAR_BLOCK. Of a sparse file its map is added too, which is whole
 * blocks. ENOTSUP: something that a tar cannot express; the words name the path. */
int sfs_tar_add_header(struct sfs_buf *buf, const struct sfs_tar_entry *entry,
                       struct sfs_error *err);

/* Adds the name as the tar has it: "a/b", "a/b/" for a directory, "./" for the root. The caller
 * checks `name`. */
void sfs_tar_add_name(struct sfs_buf *name, const struct sfs_tar_entry *entry);

/* Sets the size in a header that is one block, for a file whose size is known only after its
 * content.
 */
void sfs_tar_set_size(char *header, uint64_t size);

/* How many zeros bring `size` bytes of content to a whole block. */
static inline size_t sfs_tar_padding(uint64_t size)
{
    return (size_t)(-size & (SFS_TAR_BLOCK - 1));
}

/* How many zeros end a tar. */
#define SFS_TAR_END (2 * SFS_TAR_BLOCK)

#endif
