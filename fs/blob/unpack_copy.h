/* Writes a seekable copy of a decoded stream: independent zstd frames of SFS_COPY_SPAN bytes,
 * compressed on all cores, with the table that describes them. One thread calls. */
#ifndef STAGEFS_UNPACK_COPY_H
#define STAGEFS_UNPACK_COPY_H

#include "base/buf.h"
#include "blob/seek.h"

#define SFS_COPY_SPAN (1u << 20)

struct sfs_copy_writer;

/* Starts a copy, with its threads. Borrows fd, which is written from its present position on. */
int sfs_copy_writer_open(int fd, struct sfs_copy_writer **ret_writer, struct sfs_error *err);
/* Adds decoded bytes, which are copied. May wait for the disk. */
int sfs_copy_writer_add(struct sfs_copy_writer *writer, const void *data, size_t size,
                        struct sfs_error *err);
/* Writes what is left; waits for it. */
int sfs_copy_writer_finish(struct sfs_copy_writer *writer, struct sfs_error *err);
/* The table of what was written; its arrays live until close. */
void sfs_copy_writer_table(const struct sfs_copy_writer *writer, struct sfs_seek_table *ret_table);
/* Waits for what is being compressed; frees. Does nothing if *writer is NULL. */
void sfs_copy_writer_close(struct sfs_copy_writer **writer);

#endif
