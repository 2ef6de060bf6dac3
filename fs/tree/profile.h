/* A profile: what a program used of a tree, first use first. The same text is written by a mount
 * that records (mount/recorder.h), read by a mount that fetches ahead (mount/replay.h) and by a
 * commit that puts it first.
 *
 * tools/stagefs.1 tells the form of the text (PROFILES), since people write and edit it too. Each
 * path has one spelling: what need not be written as \ooo is not. Nothing in it tells when, by
 * which process or on which machine it was made, and names of temporary files are left out
 * (mount/ops.c): two traces of one command differ by order only. */
#ifndef STAGEFS_PROFILE_H
#define STAGEFS_PROFILE_H

#include "base/buf.h"
#include <stagefs/auto.h>
#include <stagefs/error.h>
#include <stdbool.h>
#include <stdint.h>

#define SFS_MAX_PROFILE        (64u << 20) /* bytes of text */
#define SFS_MAX_PROFILE_RANGES (1u << 20)  /* of one file in a line */

enum sfs_use_kind { /* a later one says more */
                    SFS_USE_NONE,
                    SFS_USE_STAT,
                    SFS_USE_LIST,
                    SFS_USE_LINK,
                    SFS_USE_OPEN,
                    SFS_USE_READ,
                    SFS_USE_EXEC,
};
/* Has the kind ranges? */
static inline bool sfs_use_has_ranges(enum sfs_use_kind kind)
{
    return kind == SFS_USE_READ || kind == SFS_USE_EXEC;
}

struct sfs_range {
    uint64_t offset, size; /* size is not 0, and the end is at most INT64_MAX */
};

struct sfs_ranges { /* all-zero is empty */
    struct sfs_range *items;
    size_t count, capacity;
};
/* Adds a range; it is joined with the last one if they touch. 0 or -ENOMEM. */
int sfs_ranges_add(struct sfs_ranges *ranges, uint64_t offset, uint64_t size);
/* Sorts the ranges, and joins those between which at most `gap` bytes are missing. */
void sfs_ranges_merge(struct sfs_ranges *ranges, uint64_t gap);
/* Adds ranges to those that are there, and sorts and joins all. 0 or -ENOMEM. */
int sfs_ranges_join(struct sfs_ranges *ranges, const struct sfs_ranges *more);
/* Takes away what is in `less`; both are merged before and after. 0, or -ENOMEM, and then it is as
 * before. */
int sfs_ranges_subtract(struct sfs_ranges *ranges, const struct sfs_ranges *less);
/* Frees what is in it. Fine on an all-zero struct. */
void sfs_ranges_done(struct sfs_ranges *ranges);

/* What a program did with one path. */
struct sfs_use {
    enum sfs_use_kind kind;
    char *path;               /* as in the text; owned */
    struct sfs_ranges ranges; /* where sfs_use_has_ranges(); merged */
};

struct sfs_profile { /* all-zero is empty */
    struct sfs_use *uses;
    size_t count, capacity;
};
/* Frees what is in it. Fine on an all-zero struct. */
void sfs_profile_done(struct sfs_profile *profile);

/* Adds what the text tells to the profile. A path that comes again is in it again: with what it is
 * used for later. `name` names the text in messages. EBADMSG: "NAME:LINE: ...". ENOMEM. */
int sfs_profile_parse(struct sfs_profile *profile, const char *name, const char *text, size_t size,
                      struct sfs_error *err);
/* The same of a file. Waits for the disk. */
int sfs_profile_read(struct sfs_profile *profile, const char *path, struct sfs_error *err);

/* Appends the text with what `more` says besides: lines keep their order and their comments, a line
 * of which more is known is written anew, and paths that the text does not have come last. Uses of
 * one path in `more` are joined in place. `name` names the text in messages. EBADMSG as above. */
int sfs_profile_join_text(const char *name, const char *text, size_t size, struct sfs_profile *more,
                          struct sfs_buf *buf, struct sfs_error *err);

/* Appends the line of one use. 0 or -ENOMEM. */
int sfs_use_print(const struct sfs_use *use, struct sfs_buf *buf);

#endif
