/* The pack of a start: a file in the cache directory with the pages that the start uses, decoded
 * and in the order of use. It is read in one row, without decoding. What is read of it is checked
 * before anybody gets it, and each file of it only counts where the tree that is served has the
 * same bytes of the same blob: a pack that is damaged, cut, or of something else gives nothing, and
 * readers are served from the layers. Any thread may ask an open pack. */
#ifndef STAGEFS_PACK_H
#define STAGEFS_PACK_H

#include "blob/spans.h"
#include "layer/store.h"
#include "mount/forest.h"
#include "tree/profile.h"

/* The key of the pack for a tree and a profile (a digest of its text, or of what else names it).
 * The layers of the tree go into it, and which blobs they are read from, as far as they can be
 * identified. 0 or -ENOMEM. */
int sfs_pack_key(const struct sfs_tree *tree, const struct sfs_digest *profile,
                 char ret_key[SFS_DIGEST_TEXT]);

struct sfs_pack;
/* Opens the pack, and checks its tables and which of its files are those of the first tree of the
 * forest; it and the store are borrowed. The caller closes *ret_pack. Waits for the disk. ENOENT:
 * there is none. EBADMSG: it is damaged, or of another version. ESTALE: nothing in it is of this
 * tree. */
int sfs_pack_open(struct sfs_store *store, const char *key, const struct sfs_forest *forest,
                  struct sfs_pack **ret_pack, struct sfs_error *err);
/* Frees, and sets NULL; NULL is fine. All slices must have been given back. */
void sfs_pack_close(struct sfs_pack **pack);

/* Everything below takes NULL for a pack without files. */

/* Lends 1..size bytes of a file, checked. -ENOENT: the byte at `offset` is not in the pack.
 * -EBADMSG, -EIO: the pack is damaged: it is removed from the store, so that another is made for
 * the next start, and gives nothing from now on. -ENOMEM. */
int sfs_pack_pin(struct sfs_pack *pack, sfs_ino ino, uint64_t offset, size_t size,
                 struct sfs_slice *ret_slice);
/* Is all of this range in it? */
bool sfs_pack_has(const struct sfs_pack *pack, sfs_ino ino, struct sfs_range range);
/* Is any of this range in it? Then it was asked for because of what is, and the rest is what the
 * kernel reads around that. */
bool sfs_pack_has_some(const struct sfs_pack *pack, sfs_ino ino, struct sfs_range range);
/* Does it have nearly all that the profile says of the tree that it was opened for, and little
 * besides? */
bool sfs_pack_fits(struct sfs_pack *pack, const struct sfs_tree *tree,
                   const struct sfs_profile *profile);
/* Has a range of it read from the disk soon. Does not wait for that. */
void sfs_pack_will_read(const struct sfs_pack *pack, sfs_ino ino, struct sfs_range range);

/* --- the pack as a file of the kernel's ------------------------------------------------------- */

/* Starts to check all pieces, in their order, on a thread of its own, after which whoever is given
 * the pack's file (a front) may read them from there. Their bytes are in the kernel's cache then.
 */
int sfs_pack_check_all(struct sfs_pack *pack, struct sfs_error *err);
/* Waits until a piece was checked. False: it is damaged, or one before it, or is not checked any
 * more. */
bool sfs_pack_wait(struct sfs_pack *pack, uint32_t number);
/* Ends the checking; who waits is told soon. */
void sfs_pack_stop(struct sfs_pack *pack);
/* The pack's file, which stays the pack's. Not NULL. */
int sfs_pack_file(const struct sfs_pack *pack);
/* Gives up the kernel's cache of the pack: whoever read it has what is wanted. Waits for the end of
 * the checking. Not NULL. */
void sfs_pack_leave(struct sfs_pack *pack);

/* --- what is in it ---------------------------------------------------------------------------- */

/* How many files it has, in the order of use; and the inode of one of them, 0: it is not of this
 * tree. */
size_t sfs_pack_files(const struct sfs_pack *pack);
sfs_ino sfs_pack_ino(const struct sfs_pack *pack, size_t i);
/* The number among all pieces of a file's i-th. */
uint32_t sfs_pack_number(const struct sfs_pack *pack, sfs_ino ino, size_t i);
/* How many pieces of a file there are. */
size_t sfs_pack_count(const struct sfs_pack *pack, sfs_ino ino);
/* The range of one of them, and where in the pack it is: in that order they lie in one row. */
struct sfs_range sfs_pack_piece(const struct sfs_pack *pack, sfs_ino ino, size_t i,
                                uint64_t *ret_at);

struct sfs_pack_stats {
    uint64_t size, lent; /* bytes of the file, bytes lent */
    uint64_t checked;    /* bytes that others may read from the file (sfs_pack_check_all()) */
    uint64_t failed;     /* pieces that were not whole */
};
/* What it gave so far. */
void sfs_pack_get_stats(struct sfs_pack *pack, struct sfs_pack_stats *ret_stats);

#endif
