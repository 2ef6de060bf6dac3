/* Operations that would change something. The mount is read-only, so the kernel asks for none of
 * them unless somebody remounted it writable. */
#ifndef STAGEFS_REFUSE_H
#define STAGEFS_REFUSE_H

#include "mount/fuse.h"

void sfs_refuse_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *st, int to_set,
                        struct fuse_file_info *info);
void sfs_refuse_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t dev);
void sfs_refuse_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode);
void sfs_refuse_unlink(fuse_req_t req, fuse_ino_t parent, const char *name);
void sfs_refuse_symlink(fuse_req_t req, const char *target, fuse_ino_t parent, const char *name);
void sfs_refuse_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t new_parent,
                       const char *new_name, unsigned flags);
void sfs_refuse_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t parent, const char *name);
void sfs_refuse_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
                       struct fuse_file_info *info);
void sfs_refuse_setxattr(fuse_req_t req, fuse_ino_t ino, const char *name, const char *value,
                         size_t size, int flags);

#endif
