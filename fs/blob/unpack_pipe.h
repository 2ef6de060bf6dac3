/* The pipe of one pass, for the files that are its threads.
 *
 *   input     reads, digests, tags spans once the decoder is past them    unpack_threads.c
 *   decoder   codec_gzip.c, codec_zstd.c or codec_none.c                  unpack_pipe.c
 *   digester  digests what was decoded                                    unpack_threads.c
 *   caller    takes what was decoded                                      unpack.c
 *
 * Two rings of blocks under one lock and one condition: blocks are a millisecond each. */
#ifndef STAGEFS_UNPACK_PIPE_H
#define STAGEFS_UNPACK_PIPE_H

#include "blob/codecs.h"
#include "blob/unpack_copy.h"
#include "blob/unpack_pass.h"

#define SFS_PASS_BLOCKS 16u /* in each ring */

struct sfs_in_block {
    uint8_t *data;
    size_t size;
    uint64_t offset;
};

struct sfs_out_block {
    uint8_t *memory; /* SFS_WINDOW_MAX of what came before, then the block */
    size_t size;
};

struct sfs_pass {
    struct sfs_blob *blob;
    struct sfs_unpack_options options;
    const struct sfs_codec_row *codec;
    struct sfs_points points;
    /* Only the decoder's thread changes these four. */
    struct sfs_copy_writer *copy; /* NULL: no copy is made */
    uint64_t out_size;            /* decoded bytes delivered so far */
    uint64_t frames;              /* how many frames, or members, have begun */
    uint64_t copy_start;          /* decoded bytes delivered when the copy was started */

    pthread_t input, decoder, digester;
    bool has_input, has_decoder, has_digester; /* that thread runs, and is to be joined */

    pthread_mutex_t lock; /* guards the rest, but not the blocks' bytes */
    pthread_cond_t changed;
    bool closing;    /* the threads are to end at once */
    bool discarding; /* the caller takes no more blocks: they count as taken */
    struct sfs_in_block in[SFS_PASS_BLOCKS];
    uint64_t in_read, in_taken, in_tagged; /* how many blocks were read, decoded, tagged */
    bool in_ended;                         /* in_read is final */
    struct sfs_out_block out[SFS_PASS_BLOCKS];
    uint64_t out_made, out_digested, out_taken; /* how many were decoded, digested, taken */
    bool decoder_done;                          /* out_made is final */
    int failure;                                /* of the decoder: 0 or a negative errno */
    struct sfs_error failure_text;
    int read_failure; /* the same of the input or the digests */
    struct sfs_error read_failure_text;

    struct sfs_digest in_digest, out_digest; /* when the threads have ended */
    struct sfs_digest start_digest;          /* of the decoded bytes before copy_start */
    struct sfs_digest replay_digest;         /* the same bytes, when they were read for the copy */
};

/* What the input's thread runs. `arg` is the pass; returns NULL. */
void *sfs_pass_run_input(void *arg);
/* The same for the decoder's thread. */
void *sfs_pass_run_decoder(void *arg);
/* The same for the digester's thread, which is not started for plain bytes: those are digested as
 * input already. */
void *sfs_pass_run_digester(void *arg);

#endif
