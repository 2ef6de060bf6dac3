/* What the store offers to layers: files by kind and key, and the lock under which they are made.
 *
 *   DIR/index/sha256-HEX.idx   layer indexes
 *   DIR/copy/sha256-HEX.zst    seekable copies of blobs that cannot be entered in the middle
 *   DIR/file/sha256-HEX.HEX.bin  decoded files, for FUSE passthrough
 *   DIR/result/sha256-HEX.tar  the layer that a RUN made (stage/run_kept.h)
 *   DIR/filter/sha256-HEX.bpf  programs that filter system calls (run/run_seccomp.c)
 *   DIR/seen/sha256-HEX.id     which file was found to have that digest (verified.h)
 *   DIR/blob/sha256-HEX.blob   a registry's blob, whole
 *   DIR/part/sha256-HEX.SIZE.part  and .map: what was fetched of one (blob/range_file.h)
 *   DIR/document/sha256-HEX.json   manifests and configs of registries
 *   DIR/pack/sha256-HEX.pack   what a start uses, decoded (mount/pack.h)
 *   DIR/name/sha256-HEX.ref    the digest that a name had when its registry was asked last
 *   DIR/findings/sha256-HEX.find  what is in a blob's libraries (slim/findings_store.h)
 *   DIR/start/sha256-HEX.profile   what starts of an image use (mount/learner.h)
 *
 * Besides: DIR/run, where commands that run write to, and DIR/run-cache, of RUN --mount=type=cache.
 *
 * A file that is open here carries a shared flock, which keeps prune away from it. */
#ifndef STAGEFS_STORE_H
#define STAGEFS_STORE_H

#include "base/io.h"
#include <stagefs/cache.h>

/* Makes DIR and DIR/NAME if they are not there, both for this user alone. The caller frees
 * *ret_path. EROFS, EACCES, ENOSPC, ...: the words name the cache directory. */
int sfs_store_make_dir(struct sfs_store *store, const char *name, char **ret_path,
                       struct sfs_error *err);

/* Opens a file for reading, and marks it as used now. The caller closes *ret_fd. ENOENT: not
 * there. EPERM: it is another user's, or no regular file. */
int sfs_store_open_file(struct sfs_store *store, enum sfs_store_kind kind, const char *key,
                        int *ret_fd, struct sfs_error *err);

/* Starts a file; makes the directories that are missing. EROFS, EACCES, ENOSPC, ...: the words name
 * the cache directory. The caller writes it, then commits, then calls sfs_io_temp_close(). */
int sfs_store_start_file(struct sfs_store *store, enum sfs_store_kind kind,
                         struct sfs_io_temp *ret_temp, struct sfs_error *err);
/* Gives the file its name, replacing one that is there. Waits for the disk. Errors as above. */
int sfs_store_commit_file(struct sfs_store *store, enum sfs_store_kind kind, const char *key,
                          struct sfs_io_temp *temp, struct sfs_error *err);
/* The same without waiting for the disk, as sfs_io_temp_rename() has it. */
int sfs_store_name_file(struct sfs_store *store, enum sfs_store_kind kind, const char *key,
                        struct sfs_io_temp *temp, struct sfs_error *err);

/* Removes files of that kind, those not used for longest first, until `size` bytes more will not
 * exceed `limit`. ENOSPC: that cannot be. */
int sfs_store_make_room(struct sfs_store *store, enum sfs_store_kind kind, uint64_t limit,
                        uint64_t size, struct sfs_error *err);

/* Opens the files of a blob of which a part is here, and makes them if they are not there. Another
 * process may have them open, too. The caller closes both. EEXIST: it is a BLOB
 * by now. EROFS, EACCES, ENOSPC, ...: the words name the cache directory. */
int sfs_store_open_part(struct sfs_store *store, const struct sfs_digest *digest, uint64_t size,
                        int *ret_data_fd, int *ret_map_fd, struct sfs_error *err);
/* Makes a blob of a part, of which all is there: gives the data the name of a BLOB, and takes the
 * map away. 0 or a negative errno. */
int sfs_store_keep_part(struct sfs_store *store, const struct sfs_digest *digest, uint64_t size);
/* Removes a file, whether it is in use or not, if it is the one that is open as `fd`: that was
 * found to be damaged. What another process has put there since stays. */
void sfs_store_drop_file(struct sfs_store *store, enum sfs_store_kind kind, const char *key,
                         int fd);
/* The same of a BLOB. */
void sfs_store_drop_blob(struct sfs_store *store, const struct sfs_digest *digest, int fd);
/* As sfs_store_make_room(), for BLOB and PART together. */
int sfs_store_make_blob_room(struct sfs_store *store, uint64_t limit, uint64_t size,
                             struct sfs_error *err);

/* The right to make files for a key, in one process at a time. */
struct sfs_store_lock {
    int fd;
    char *path; /* owned */
};
/* Waits until nobody else has the lock of that key, and takes it. The lock of a killed process is
 * free. Errors as above. */
int sfs_store_lock(struct sfs_store *store, const char *key, struct sfs_store_lock *ret_lock,
                   struct sfs_error *err);
/* Gives the lock back. Fine on an all-zero struct with fd -1. */
void sfs_store_unlock(struct sfs_store_lock *lock);

#endif
