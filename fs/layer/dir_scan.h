/* Reading a directory tree into a builder. */
#ifndef STAGEFS_DIR_SCAN_H
#define STAGEFS_DIR_SCAN_H

#include "base/buf.h"
#include "layer/tables.h"

/* What the `source` number of a regular file's inode leads to. */
struct sfs_dir_file {
    uint64_t path; /* offset in paths; relative to the root, NUL-terminated */
    uint64_t dev, ino;
};

struct sfs_dir_files {
    struct sfs_buf files; /* struct sfs_dir_file */
    struct sfs_buf paths;
    struct sfs_buf left_out; /* "2 sockets (run/a, run/b)"; empty: nothing */
};
void sfs_dir_files_done(struct sfs_dir_files *files);

/* Reads all below directory `root`; flags of enum sfs_layer_dir_flags. Extents have the file's own
 * offsets as data_offset. EACCES, EIO, ...: the words name the path. ENOTSUP: an overlay that needs
 * its lower layers to be read (redirect, metacopy). */
int sfs_dir_scan(int root, unsigned flags, struct sfs_builder *builder, struct sfs_dir_files *files,
                 struct sfs_error *err);

/* Opens `path` below `root` without following a symlink anywhere. fd or -errno. */
int sfs_dir_open_below(int root, const char *path, int flags);

/* Extended attributes of an open file; all-zero is empty. */
struct sfs_dir_xattrs {
    struct sfs_builder_xattr *list; /* names and values point into memory */
    uint32_t count;
    struct sfs_buf memory;
    bool opaque, whiteout; /* overlay's marks */
};
/* overlay: its attributes are read as marks and not listed. */
int sfs_dir_xattrs_read(int fd, bool overlay, struct sfs_dir_xattrs *ret_xattrs,
                        struct sfs_error *err);
void sfs_dir_xattrs_done(struct sfs_dir_xattrs *xattrs);

#endif
