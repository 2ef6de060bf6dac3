/* Reading a directory tree into a builder. */
#ifndef STAGEFS_DIR_SCAN_H
#define STAGEFS_DIR_SCAN_H

#include "base/buf.h"
#include "layer/tables.h"

/* What the `source` number of a regular file's inode leads to. */
struct sfs_dir_file {
    uint64_t path;     /* offset in paths; relative to the root, NUL-terminated */
    uint64_t dev, ino; /* as it was listed: another file by now is refused */
};

/* What a scan finds beside names and metadata. All-zero is empty. */
struct sfs_dir_files {
    struct sfs_buf files;    /* struct sfs_dir_file, one behind another */
    struct sfs_buf paths;    /* the texts that those point into */
    struct sfs_buf left_out; /* "2 sockets (run/a, run/b)"; empty: nothing was left out */
};
/* Frees what is in it. */
void sfs_dir_files_done(struct sfs_dir_files *files);

/* Reads all below the open directory `root` into the builder; flags of enum sfs_layer_dir_flags.
 * Waits for the disk. After a failure too, the caller calls sfs_dir_files_done(). Extents have the
 * file's own offsets as data_offset. EACCES, EIO, ...: the words name the path. ENOTSUP: an overlay
 * that needs its lower layers to be read (redirect, metacopy). */
int sfs_dir_scan(int root, unsigned flags, struct sfs_builder *builder, struct sfs_dir_files *files,
                 struct sfs_error *err);

/* Opens `path` below `root`, with `flags` of open(), without following a symlink anywhere. Returns
 * an open file, which is the caller's, or -errno. */
int sfs_dir_open_below(int root, const char *path, int flags);

/* Extended attributes of an open file; all-zero is empty. */
struct sfs_dir_xattrs {
    struct sfs_builder_xattr *list; /* names and values point into memory */
    uint32_t count;
    struct sfs_buf memory;
    bool opaque, whiteout; /* an overlay marked the file so */
};
/* Reads the attributes. `overlay`: attributes of overlayfs are read as marks, and not listed. The
 * caller calls sfs_dir_xattrs_done(). */
int sfs_dir_xattrs_read(int fd, bool overlay, struct sfs_dir_xattrs *ret_xattrs,
                        struct sfs_error *err);
/* Frees what is in it. Fine on an all-zero struct. */
void sfs_dir_xattrs_done(struct sfs_dir_xattrs *xattrs);

#endif
