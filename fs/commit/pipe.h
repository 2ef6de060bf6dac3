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
    unsigned threads; /* that compress; 0: one a CPU */
    int fd;           /* written to from its present position; borrowed until close; -1: nothing is
                         written */
    const char *name; /* of the file, for messages; borrowed */
    struct sfs_index_maker *maker; /* is told of each block; borrowed until close; NULL: none */
};

struct sfs_pipe_result {
    struct sfs_digest in_digest, out_digest; /* of what was written, and of what became of it */
    uint64_t in_size, out_size;
};

int sfs_pipe_open(const struct sfs_pipe_options *options, struct sfs_pipe **ret_pipe,
                  struct sfs_error *err);

/* Each may wait for the workers and the disk, and returns a failure of any of them (EIO, ENOSPC,
 * ENOMEM, ...), after which only close may follow. */
int sfs_pipe_write(struct sfs_pipe *pipe, const void *data, size_t size, struct sfs_error *err);
int sfs_pipe_write_zeros(struct sfs_pipe *pipe, uint64_t size, struct sfs_error *err);
/* The next byte starts a block. */
int sfs_pipe_cut(struct sfs_pipe *pipe, struct sfs_error *err);
/* A block that is compressed already, as the plan's codec has it, into no more than 4 GiB. It goes
 * behind what came so far. `data` and `packed` are borrowed until release(owner), which any thread
 * calls, once, whatever happens. */
struct sfs_packed {
    const void *data, *packed;
    uint32_t size, packed_size;
    enum sfs_entry_kind entry; /* as in struct sfs_made_block, with the next two */
    uint8_t raw_skip, raw_bits;
    void (*release)(void *owner);
    void *owner;
};
int sfs_pipe_put(struct sfs_pipe *pipe, const struct sfs_packed *block, struct sfs_error *err);
/* Bytes that were written to the pipe so far. */
uint64_t sfs_pipe_position(const struct sfs_pipe *pipe);
/* Cuts, and waits until all that came so far is in the file. Until more comes, segments and
 * out_size may be asked for, and raw bytes be added to the file (and its digest) alone. */
int sfs_pipe_drain(struct sfs_pipe *pipe, struct sfs_error *err);
uint64_t sfs_pipe_out_size(const struct sfs_pipe *pipe);
int sfs_pipe_put_raw(struct sfs_pipe *pipe, const void *data, size_t size, struct sfs_error *err);
/* Waits until all is digested and written; then only close may follow. */
int sfs_pipe_finish(struct sfs_pipe *pipe, struct sfs_pipe_result *ret_result,
                    struct sfs_error *err);

/* Where the blocks lie, after finish (lives until close) or drain (until the next write). */
const struct sfs_segment *sfs_pipe_segments(const struct sfs_pipe *pipe, size_t *ret_count);

/* Stops the threads, frees. */
void sfs_pipe_close(struct sfs_pipe **pipe);

#endif
