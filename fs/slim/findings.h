/* What was found in one library, whatever is wanted of it: where its device code is, of which GPUs,
 * and where its symbols and debug information are. Finding it means to read and to decode most of
 * the library; what of it goes is decided without another look (device_plan.h). */
#ifndef STAGEFS_FINDINGS_H
#define STAGEFS_FINDINGS_H

#include "slim/window.h"
#include "tree/profile.h"
#include <stdbool.h>

/* The version of what finds, and of the struct below: findings of another one are not used. */
#define SFS_FINDINGS_VERSION 1u

#define SFS_FINDINGS_FILE_MIN (64u << 10) /* bytes of a file that is worth a look */

enum sfs_piece_flags {
    SFS_PIECE_SURE = 1 << 0, /* the code says itself that it is for that architecture */
    SFS_PIECE_OBFUSCATED = 1 << 1,
    SFS_PIECE_BARE = 1 << 2, /* a compressed cubin that stands without a fat binary around it */
};

/* A piece of device code. The cache directory keeps it as it is here. */
struct sfs_device_piece {
    uint64_t offset;       /* of its header, behind which its payload stands */
    uint64_t payload_size; /* bytes */
    uint32_t container;    /* pieces of one fat binary follow one another, and have one number */
    uint16_t header_size;  /* 0: it is bare */
    uint16_t kind;         /* enum sfs_fatbin_kind, and others that are known and never touched */
    uint16_t arch;         /* 90 of sm_90 */
    uint8_t feature;       /* 'a', 'f', or 0 */
    uint8_t flags;         /* enum sfs_piece_flags */
    uint8_t zeros[4];
};
_Static_assert(sizeof(struct sfs_device_piece) == 32, "on-disk struct");

struct sfs_findings { /* all-zero: nothing was found */
    struct sfs_device_piece *pieces;
    size_t piece_count, piece_capacity;
    char *complaint;           /* why its device code is not understood; owned; NULL: it is */
    struct sfs_ranges symbols; /* no loader reads them: symbols, debug information */
    char *symbols_complaint;   /* why these are not understood; owned; NULL: they are */
};
/* Frees what is in it. Fine on an all-zero struct. */
void sfs_findings_done(struct sfs_findings *findings);

/* Finds all of it. What is not understood leaves a complaint and finds nothing; a file that is no
 * library leaves all empty. Holds a window of the file in memory. The caller frees *ret_findings.
 * EIO, or what else the source says. ENOMEM. */
int sfs_findings_make(const struct sfs_device_source *source, struct sfs_findings *ret_findings,
                      struct sfs_error *err);

/* Its parts, which add to findings that have none of it. EBADMSG: not understood, the words say
 * why, and nothing was added. */

/* Finds device code. Reads only headers, tables of relocations, and sections with device code, each
 * once and in order, as far as they follow one another in the file. */
int sfs_device_code_find(const struct sfs_device_source *source, struct sfs_findings *findings,
                         struct sfs_error *err);
/* Finds symbols and debug information, and the section headers that say where they are: without
 * these, nobody misses them. Reads headers. */
int sfs_symbols_find(const struct sfs_device_source *source, struct sfs_findings *findings,
                     struct sfs_error *err);

#endif
