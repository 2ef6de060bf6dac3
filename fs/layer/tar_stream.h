/* The members of a tar, one after the other: ustar, pax and GNU headers put together. One thread.
 *
 * Where readers of tars differ:
 *   names      bytes as they stand, whatever hdrcharset says; empty ones are refused, and two long
 *              names of one member that are not the same
 *   sizes      only regular files have bytes behind their header: a link's or a directory's size
 *              is 0 whatever its header says
 *   types      files, links, devices, FIFOs and directories; a file without bytes whose name ends
 *              with a slash is a directory, one with bytes is refused, as is every other type
 *   pax        records count for the next member only, of two headers the last; what a global
 *              header says is passed over, and refused where it would change names or sizes
 *   sparse     GNU's four forms; other ones are refused
 *   the end    two blocks of zeros, or the end of the stream (after one block of zeros, too); a
 *              header behind a single block of zeros is refused, and extended headers whose
 *              member does not come */
#ifndef STAGEFS_TAR_STREAM_H
#define STAGEFS_TAR_STREAM_H

#include "layer/tables.h"
#include "layer/tar_blocks.h"
#include "layer/tar_pax.h"

struct sfs_tar_stream;

struct sfs_tar_member { /* lives until the next call */
    const char *name;   /* as the tar has it, never empty */
    const char *link;   /* a symlink's target, or what a hard link names; else NULL */
    bool hard_link;     /* a hard link: of the rest only name and link mean something */
    /* Size, mode, owner, time and device numbers are set; size is the file's, holes included. */
    struct sfs_inode_rec inode;
    uint64_t start; /* where in the tar its first header stands, extended ones included */
    /* Where in the tar its bytes start; of a sparse file of form 1.0: the map before them. */
    uint64_t data_offset;
    const struct sfs_extent *extents; /* their data_offset counts from the tar's start */
    size_t extent_count;
    const struct sfs_tar_record *records; /* attributes and ACLs, as pax has them */
    size_t record_count;
};

/* A new one, which copies `source` and is closed by the caller. NULL: out of memory. */
struct sfs_tar_stream *sfs_tar_stream_open(const struct sfs_tar_source *source);
/* The same, for a source that begins at that byte of the tar, where a member's first header is. */
struct sfs_tar_stream *sfs_tar_stream_open_at(const struct sfs_tar_source *source, uint64_t offset);
/* Frees, and sets NULL; NULL is fine. */
void sfs_tar_stream_close(struct sfs_tar_stream **stream);

/* Reads the next member. 1: done; 0: the end. EBADMSG: not a tar, or one that is refused; the words
 * name the member before. Failures of the source are handed on as they are. */
int sfs_tar_stream_next(struct sfs_tar_stream *stream, struct sfs_tar_member *ret_member,
                        struct sfs_error *err);

/* To be called at the end: is there another archive behind it, which no reader shows unless it is
 * asked to pass over zeros? Reads the source to its end. 1, 0, or a failure of the source. */
int sfs_tar_stream_look_behind(struct sfs_tar_stream *stream, struct sfs_error *err);

#endif
