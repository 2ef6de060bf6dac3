/* From a stream of plain bytes to a compressed file and both digests, on all cores.
 *
 * The caller writes; blocks are compressed on worker threads, digested in order on a thread of
 * their own, and, compressed, digested and written in order on another. A ring of blocks bounds the
 * memory: a writer that is ahead waits. What comes out depends on what goes in and on the plan
 * only, not on threads or timing. One caller's thread. */
#ifndef STAGEFS_PIPE_H
#define STAGEFS_PIPE_H

#include "commit/compress.h"
#include "layer/index_maker.h"
#include <stagefs/digest.h>

struct sfs_pipe;

struct sfs_pipe_options {
    struct sfs_compress_plan plan;
    unsigned threads; /* how many compress; 0: one for each CPU */
    /* Written to from its present position; borrowed until close. -1: nothing is written. */
    int fd;
    const char *name;              /* of the file, for messages; borrowed */
    struct sfs_index_maker *maker; /* is told of each block; borrowed until close; NULL: none */
};

struct sfs_pipe_result {
    struct sfs_digest in_digest, out_digest; /* of the plain bytes, and of the file's */
    uint64_t in_size, out_size;              /* how many of each there are */
};

/* Starts the threads; the caller closes *ret_pipe. */
int sfs_pipe_open(const struct sfs_pipe_options *options, struct sfs_pipe **ret_pipe,
                  struct sfs_error *err);

/* The functions with `err` that follow may wait for the workers and the disk, and return a failure
 * of any of them (EIO, ENOSPC, ENOMEM, ...), after which only close may follow. */

/* Writes plain bytes, which are copied. */
int sfs_pipe_write(struct sfs_pipe *pipe, const void *data, size_t size, struct sfs_error *err);
/* Writes so many zeros. */
int sfs_pipe_write_zeros(struct sfs_pipe *pipe, uint64_t size, struct sfs_error *err);
/* Ends the present block: the next byte starts one. */
int sfs_pipe_cut(struct sfs_pipe *pipe, struct sfs_error *err);
/* A block that is compressed already, by the plan's codec, to less than 4 GiB. `data` and `packed`
 * are borrowed until release(owner), which any thread calls, once, whatever happens. */
struct sfs_packed {
    const void *data, *packed; /* the bytes, plain and compressed */
    uint32_t size, packed_size;
    enum sfs_entry_kind entry; /* as in struct sfs_made_block, with the next two */
    uint8_t raw_skip, raw_bits;
    void (*release)(void *owner);
    void *owner;
};
/* Puts such a block behind what came so far. */
int sfs_pipe_put(struct sfs_pipe *pipe, const struct sfs_packed *block, struct sfs_error *err);
/* How many plain bytes came so far. */
uint64_t sfs_pipe_position(const struct sfs_pipe *pipe);
/* Ends the present block, and waits until all that came so far is in the file. Until more comes,
 * sfs_pipe_segments(), sfs_pipe_out_size() and sfs_pipe_put_raw() may be called. */
int sfs_pipe_drain(struct sfs_pipe *pipe, struct sfs_error *err);
/* How many bytes are in the file; after drain. */
uint64_t sfs_pipe_out_size(const struct sfs_pipe *pipe);
/* Adds bytes to the file and its digest alone, uncompressed and in no block; after drain. */
int sfs_pipe_put_raw(struct sfs_pipe *pipe, const void *data, size_t size, struct sfs_error *err);
/* Waits until all is digested and written; then only close may follow. */
int sfs_pipe_finish(struct sfs_pipe *pipe, struct sfs_pipe_result *ret_result,
                    struct sfs_error *err);

/* Where the blocks lie, after finish (lives until close) or drain (until the next write). */
const struct sfs_segment *sfs_pipe_segments(const struct sfs_pipe *pipe, size_t *ret_count);

/* Stops the threads, frees, and sets NULL; NULL is fine. */
void sfs_pipe_close(struct sfs_pipe **pipe);

#endif
