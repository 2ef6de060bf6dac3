/* What was learned of the starts of one tree: a profile, and for each of its uses how long nobody
 * has seen it used. The text is a profile, too (profile.h), so that people may read it, and hand it
 * to `--profile`; what is more stands in comments:
 *
 *   # stagefs learned 2, starts 12, poor 0, used 53 of 60
 *   # misses 00100...            a digit a use: in so many of its turns in a row it was not used
 *   read /usr/lib/libc.so.6 0+65536
 *   # sha256:HEX                 the digest of all above: a damaged file is no file
 *
 * What was fetched ahead of a start is not asked for any more, so its use would not be seen. A
 * start therefore leaves one part of sfs_learned_turns() of what is known to be asked for: the
 * blocks of files whose turn it is, and the names; only those gain or lose. Whose it is is left to
 * chance, so that no start that was not seen, or was killed, can hold up the others. */
#ifndef STAGEFS_LEARNED_H
#define STAGEFS_LEARNED_H

#include "tree/profile.h"

/* What is looked at by itself: so many bytes of a file, from a multiple of that on. One request of
 * a page costs more than to fetch hundreds ahead, so a whole library is never left at once. */
#define SFS_LEARNED_BLOCK (256u << 10)
/* A name, or a file of one block, is forgotten when it was not used in so many of its turns in a
 * row; a block of a larger file in one. */
#define SFS_LEARNED_MISSES 2u

struct sfs_learned {          /* all-zero: nothing is known */
    struct sfs_profile uses;  /* each path once, in the order of use */
    uint8_t *misses;          /* of each use, below SFS_LEARNED_MISSES; owned */
    unsigned starts;          /* how many have counted */
    unsigned poor;            /* starts since then that used hardly anything of what is known */
    unsigned used, looked_at; /* blocks and names; an older start weighs half as much as the next */
};
/* Frees what is in it. Fine on an all-zero struct. */
void sfs_learned_done(struct sfs_learned *learned);

/* Each block and name is looked at in one of so many starts: in few while most is used, since that
 * costs a start something; in more while much is not. */
unsigned sfs_learned_turns(const struct sfs_learned *learned);

/* Reads such a text. EBADMSG: damaged, or another form. ENOMEM. */
int sfs_learned_parse(const char *text, size_t size, struct sfs_learned *ret_learned,
                      struct sfs_error *err);
/* Appends the text. E2BIG: more than SFS_MAX_LEARNED bytes. ENOMEM. */
int sfs_learned_print(const struct sfs_learned *learned, struct sfs_buf *text,
                      struct sfs_error *err);

/* How many of the blocks and names that were looked at were used; and the bytes that are known of
 * them. */
struct sfs_learned_sums {
    size_t checked, used;
    uint64_t checked_bytes, used_bytes;
};
/* Is it the turn of this block of the use? Of a name the block is 0. */
typedef bool (*sfs_learned_turn)(void *user, const struct sfs_use *use, uint64_t block);
/* Learns of one more start. `seen` is what was seen of it, each path once, first use first; its
 * uses are moved out. New uses come behind the one that they were seen behind.
 *
 * A start that used less than a quarter of what was looked at was another program, or somebody who
 * looked around: what it used is added, and nothing is lost by it, unless the last ones were all
 * like that. Returns 1 if anything is different from before, 0 if not, or -ENOMEM. */
int sfs_learned_merge(struct sfs_learned *learned, struct sfs_profile *seen,
                      sfs_learned_turn is_checked, void *user, struct sfs_learned_sums *ret_sums);

#endif
