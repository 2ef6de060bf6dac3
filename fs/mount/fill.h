/* Bringing file bytes into the kernel's page cache before they are asked for. Works in threads of
 * its own, below the readers' priority; nothing waits for it. Decoded bytes go straight to the
 * kernel (a notification, not an answer), so that the later page fault is no request at all. */
#ifndef STAGEFS_FILL_H
#define STAGEFS_FILL_H

#include "mount/erofs_image.h"
#include "mount/fuse.h"
#include "mount/pack.h"
#include "tree/profile.h"
#include "mount/counters.h"

struct sfs_fill;

/* Starts the threads, with signals blocked; no work is taken before sfs_fill_start(). Borrows all.
 * `flat` and `names`: the session shows an image of these, and only names are brought, since EROFS
 * reads contents past the kernel's cache of the image; NULL: it shows the forest. The caller closes
 * *ret_ahead. */
int sfs_fill_open(const struct sfs_forest *forest, const struct sfs_flat *flat,
                  const struct sfs_erofs_image *names, struct sfs_stats *stats,
                  struct sfs_fill **ret_ahead, struct sfs_error *err);
/* Has `stored` called for all bytes of files that the kernel gets from here, on the threads that
 * bring them. To be called before the start, if at all; `user` must outlive the fill. */
void sfs_fill_watch(struct sfs_fill *ahead, void (*stored)(void *user, sfs_ino ino, uint64_t size),
                    void *user);
/* Leaves out of what the kernel gets the files that `spares` names: their bytes are only decoded,
 * so that the kernel has to ask for them. is_guess: they are brought along with a read; else they
 * were submitted. Called on any thread. To be set before the start, if at all. */
void sfs_fill_spare(struct sfs_fill *ahead,
                    bool (*spares)(void *user, sfs_ino ino, struct sfs_range range, bool is_guess),
                    void *user);
/* Has bytes taken from the pack, as far as it has them, and no more brought along with what it has.
 * To be called before the start, if at all; `pack` is borrowed. */
void sfs_fill_use_pack(struct sfs_fill *ahead, struct sfs_pack *pack);
/* To be called before the start where a profile tells what is wanted: of blobs on other machines,
 * of which each byte has to be brought, nothing else is guessed. */
void sfs_fill_leave_remote(struct sfs_fill *ahead);
/* To be called when the session is mounted: from now on work is taken. */
void sfs_fill_start(struct sfs_fill *ahead, struct fuse_session *fuse);
/* Ends what is running, waits for it, and takes no more work. To be called before the session is
 * unmounted. */
void sfs_fill_stop(struct sfs_fill *ahead);
/* Frees, and sets NULL; NULL is fine. */
void sfs_fill_close(struct sfs_fill **ahead);

/* Tells that the kernel asks for this range of a file of file_size bytes: what is likely to be
 * asked for next is brought along. Does not wait. */
void sfs_fill_touch(struct sfs_fill *ahead, sfs_ino ino, uint64_t file_size,
                    struct sfs_range range);

/* The same for a range of the image's names. */
void sfs_fill_touch_names(struct sfs_fill *ahead, struct sfs_range range);

/* A range of a file. */
struct sfs_fill_part {
    sfs_ino ino;
    struct sfs_range range;
};
/* Is this range to be asked for, so that it is seen whether it is used (sfs_fill_spare())? Then it
 * is decoded. */
bool sfs_fill_spares(struct sfs_fill *ahead, sfs_ino ino, struct sfs_range range);
/* Has these parts of files brought, in this order. Takes over *parts on success. Does not wait. 0
 * or -ENOMEM. */
int sfs_fill_submit(struct sfs_fill *ahead, struct sfs_fill_part **parts, size_t count);

#endif
