/* Bringing file bytes into the kernel's page cache before they are asked for. Works in threads of
 * its own, below the readers' priority; nothing waits for it. Decoded bytes go straight to the
 * kernel (a notification, not an answer), so that the later page fault is no request at all. */
#ifndef STAGEFS_FILL_H
#define STAGEFS_FILL_H

#include "mount/erofs_image.h"
#include "mount/fuse.h"
#include "tree/profile.h"
#include "mount/counters.h"

struct sfs_fill;

/* Borrows all. `flat` and `names`: the session shows these as its two files; NULL: it shows the
 * forest. Starts threads, with signals blocked. */
int sfs_fill_open(const struct sfs_forest *forest, const struct sfs_flat *flat,
                  const struct sfs_erofs_image *names, struct sfs_stats *stats,
                  struct sfs_fill **ret_ahead, struct sfs_error *err);
/* `stored` is told of all bytes of files that the kernel got, by the threads that bring them. To be
 * said before the start, if at all; `user` must outlive the fill. */
void sfs_fill_watch(struct sfs_fill *ahead, void (*stored)(void *user, sfs_ino ino, uint64_t size),
                    void *user);
/* The session is mounted: from now on work is taken. */
void sfs_fill_start(struct sfs_fill *ahead, struct fuse_session *fuse);
/* Ends what is running, waits for it, and takes no more work. Before the session is unmounted. */
void sfs_fill_stop(struct sfs_fill *ahead);
void sfs_fill_close(struct sfs_fill **ahead);

/* The kernel asks for this part of a file, of so many bytes in all: what is likely to be asked for
 * next is brought along. Does not wait. */
void sfs_fill_touch(struct sfs_fill *ahead, sfs_ino ino, uint64_t file_size,
                    struct sfs_range range);

/* The same for a part of the names. */
void sfs_fill_touch_names(struct sfs_fill *ahead, struct sfs_range range);

/* Parts of files in the order in which they are to come. */
struct sfs_fill_part {
    sfs_ino ino;
    struct sfs_range range;
};
/* Takes over *parts on success. Does not wait. -ENOMEM. */
int sfs_fill_submit(struct sfs_fill *ahead, struct sfs_fill_part **parts, size_t count);

#endif
