/* A pack on disk: the pages that a start uses, decoded, in the order of use. Little-endian; made
 * once, renamed into place, never changed.
 *
 *   struct pack_header
 *   struct pack_file   files[]     in the order of first use
 *   struct pack_piece  pieces[]    of the first file, of the second, ...; by offset in each
 *   zeros up to a page
 *   the pieces' bytes, in the order of the pieces, each at the start of a page
 *
 * Header and tables have one tag, and each piece has one of its own: a GMAC under the key in the
 * header, with nonce 0 and 1 + the piece's number. The key is the file's own, as an index has it:
 * what keeps others from changing both is that the cache directory is this user's alone. */
#ifndef STAGEFS_PACK_FORMAT_H
#define STAGEFS_PACK_FORMAT_H

#include "blob/gmac.h"
#include <stagefs/digest.h>
#include <stdint.h>

#define PACK_MAGIC   "SFSPACK"
#define PACK_VERSION 1u
#define PACK_PAGE    4096u
/* A piece has at most so many bytes, and begins at a multiple of PACK_GRAIN in its file: what is
 * read from the pack at once because one page of it is asked for. */
#define PACK_PIECE (64u << 10)

struct pack_header {
    char magic[8];
    uint32_t version, files, pieces, unused;
    uint64_t data_at, size; /* where the first piece begins; bytes of the file */
    uint8_t key[16];
    uint8_t tag[SFS_GMAC_SIZE]; /* zeros while it is computed */
};
_Static_assert(sizeof(struct pack_header) == 72, "as on disk");

struct pack_file {
    uint64_t node, size; /* in the tree that the pack was made of */
    uint32_t first, count;
    char name[SFS_CONTENT_NAME]; /* sfs_tree_content_name(): says which bytes the file has */
};
_Static_assert(sizeof(struct pack_file) == 136, "as on disk");

struct pack_piece {
    uint64_t offset, at; /* in the file that it is of, and in the pack */
    uint32_t size, unused;
    uint8_t tag[SFS_GMAC_SIZE];
};
_Static_assert(sizeof(struct pack_piece) == 40, "as on disk");

#endif
