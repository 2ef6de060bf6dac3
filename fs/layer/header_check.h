/* Tables that another machine made, compared with the headers of the tar that they are of, as its
 * spans come to be decoded. Two questions are asked before a file's bytes are handed out: is each
 * name of the file what the header at its place says; and does the span that the bytes are in hold
 * headers that the tables know, and no others? A span's first and last header may reach into its
 * neighbours: those are looked at when their own file is read.
 *
 * What differs once makes everything of the layer fail from then on. Any thread may call. */
#ifndef STAGEFS_HEADER_CHECK_H
#define STAGEFS_HEADER_CHECK_H

#include "blob/spans.h"
#include "layer/index.h"

struct sfs_header_check;

/* Makes one for an index that was sent, which it borrows. `label` names the layer in messages;
 * borrowed. No byte is read. EBADMSG: files share bytes, or places do not lie in the tar: no honest
 * index is like that. ENOMEM. */
int sfs_header_check_open(const struct sfs_index *index, const char *label,
                          struct sfs_header_check **ret_check, struct sfs_error *err);
/* Says where the decoded bytes are, before anything is asked; borrowed. */
void sfs_header_check_use(struct sfs_header_check *check, struct sfs_spans *spans);
/* Frees, and sets NULL; NULL is fine. */
void sfs_header_check_close(struct sfs_header_check **check);

/* Compares all names of an inode with their headers, once. Waits for the disk, the network and the
 * decoder. EIO: they are not the same, here or elsewhere in the layer; the words name the layer.
 * Failures of reading are handed on. */
int sfs_header_check_inode(struct sfs_header_check *check, sfs_inode inode, struct sfs_error *err);
/* Compares the headers in the span that holds this decoded byte, once. As above. */
int sfs_header_check_span(struct sfs_header_check *check, uint64_t offset, struct sfs_error *err);

#endif
