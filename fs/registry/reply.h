/* Calls that write to a registry, or ask for what is beside an image: one after the other at the
 * registry itself (mirrors are only read), each tried again where that may help, and what of the
 * answer the next one depends on. Inside this folder. */
#ifndef STAGEFS_REPLY_H
#define STAGEFS_REPLY_H

#include "registry/repository.h"

struct sfs_reply {
    long status;              /* 0: none came */
    bool may_help;            /* another try may end otherwise */
    bool is_elsewhere;        /* the registry led to another host, which answered */
    bool has_subject;         /* the header OCI-Subject is there */
    bool is_filtered;         /* OCI-Filters-Applied names artifactType */
    char *from;               /* the URL that answered */
    char *location, *range;   /* the headers of these names; NULL: not there */
    char *type, *etag, *link; /* Content-Type without parameters, ETag, Link */
    uint64_t smallest_chunk;  /* OCI-Chunk-Min-Length; 0: not there */
    struct sfs_buf body;      /* at most call->max_body bytes; of an answer with 2xx */
};
/* Frees what is in it; fine on an all-zero one. */
void sfs_reply_done(struct sfs_reply *reply);

/* The place where the repository is written: the registry itself. Borrowed. */
struct sfs_endpoint *sfs_repository_home(struct sfs_repository *repository);

/* Makes a call there, at most `tries` times where time may mend what failed; `what` names its
 * object in the words. The call is only read, but for `user`, `on_head` and `on_data`, which are
 * taken. 0: the status is 2xx. Else as sfs_complain(), or as sfs_client_try() without an answer;
 * ret_reply->status tells more. The caller calls sfs_reply_done(), also after a failure. */
int sfs_repository_ask(struct sfs_repository *repository, const struct sfs_call *call,
                       const char *what, unsigned tries, struct sfs_reply *ret_reply,
                       struct sfs_error *err);

#endif
