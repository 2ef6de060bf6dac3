/* Operations that would change something: each is answered with EROFS. The mount is read-only, so
 * the kernel asks for none of them unless somebody remounted it writable. */
#ifndef STAGEFS_REFUSE_H
#define STAGEFS_REFUSE_H

#include "mount/fuse.h"

/* Refuses chmod(), chown(), truncate() and utimes(). */
void sfs_refuse_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *st, int to_set,
                        struct fuse_file_info *info);
/* Refuses mknod(). */
void sfs_refuse_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t dev);
/* Refuses mkdir(). */
void sfs_refuse_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode);
/* Refuses unlink(), rmdir() and removexattr(). */
void sfs_refuse_unlink(fuse_req_t req, fuse_ino_t parent, const char *name);
/* Refuses symlink(). */
void sfs_refuse_symlink(fuse_req_t req, const char *target, fuse_ino_t parent, const char *name);
/* Refuses rename(). */
void sfs_refuse_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t new_parent,
                       const char *new_name, unsigned flags);
/* Refuses link(). */
void sfs_refuse_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t parent, const char *name);
/* Refuses open() with O_CREAT. */
void sfs_refuse_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
                       struct fuse_file_info *info);
/* Refuses setxattr(). */
void sfs_refuse_setxattr(fuse_req_t req, fuse_ino_t ino, const char *name, const char *value,
                         size_t size, int flags);

#endif
