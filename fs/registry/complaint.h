/* What a registry's refusal, or its silence, is in words: one sentence with the next step. */
#ifndef STAGEFS_COMPLAINT_H
#define STAGEFS_COMPLAINT_H

#include "registry/client.h"

/* Sets the words for a call that failed; `what` is what was asked for ("tag 'x'", "blob
 * sha256:.."). Returns -EAGAIN where time may mend it, -EACCES, -ENOENT, -EBADMSG, -ENOTSUP (405,
 * 501), or -EIO; of a push also -EROFS, -EEXIST, -E2BIG, -EKEYREJECTED. Does not wait. */
int sfs_complain(const struct sfs_endpoint *endpoint, const char *what, const struct sfs_call *call,
                 const struct sfs_http_answer *answer, struct sfs_error *err);

#endif
