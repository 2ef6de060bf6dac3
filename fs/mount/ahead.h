/* Bringing file bytes into the kernel's page cache before they are asked for. Works in threads of
 * its own, below the readers' priority; nothing waits for it. Decoded bytes go straight to the
 * kernel (a notification, not an answer), so that the later page fault is no request at all. */
#ifndef STAGEFS_AHEAD_H
#define STAGEFS_AHEAD_H

#include "mount/erofs_image.h"
#include "mount/fuse.h"
#include "stage/profile.h"
#include "mount/stats.h"

struct sfs_ahead;

/* Borrows all. `flat` and `names`: the session shows these as its two files; NULL: it shows the
 * forest. Starts threads, with signals blocked. */
int sfs_ahead_open(const struct sfs_forest *forest, const struct sfs_flat *flat,
                   const struct sfs_erofs_image *names, struct sfs_stats *stats,
                   struct sfs_ahead **ret_ahead, struct sfs_error *err);
/* The session is mounted: from now on work is taken. */
void sfs_ahead_start(struct sfs_ahead *ahead, struct fuse_session *fuse);
/* Ends what is running, waits for it, and takes no more work. Before the session is unmounted. */
void sfs_ahead_stop(struct sfs_ahead *ahead);
void sfs_ahead_close(struct sfs_ahead **ahead);

/* The kernel asks for this part of a file, of so many bytes in all: what is likely to be asked for
 * next is brought along. Does not wait. */
void sfs_ahead_touch(struct sfs_ahead *ahead, sfs_ino ino, uint64_t file_size,
                     struct sfs_range range);

/* The same for a part of the names. */
void sfs_ahead_touch_names(struct sfs_ahead *ahead, struct sfs_range range);

/* Parts of files in the order in which they are to come. */
struct sfs_ahead_part {
    sfs_ino ino;
    struct sfs_range range;
};
/* Takes over *parts on success. Does not wait. -ENOMEM. */
int sfs_ahead_submit(struct sfs_ahead *ahead, struct sfs_ahead_part **parts, size_t count);

#endif
