/* Trying again: when that may help, and how long to wait before. */
#ifndef STAGEFS_RETRY_H
#define STAGEFS_RETRY_H

#include "registry/http.h"

/* All-zero before the first try. */
struct sfs_retry {
    unsigned tries;       /* that failed */
    unsigned most;        /* 0: SFS_RETRY_TRIES */
    unsigned broken;      /* connections that ended too early */
    bool fresh, no_http2; /* what the next try has to do; see struct sfs_http_request */
};
#define SFS_RETRY_TRIES 5

/* Is it of those failures that time may mend: no connection, silence, 408, 429, 5xx? */
bool sfs_retry_may_help(const struct sfs_http_answer *answer);
/* After a try that failed: waits as long as it should, and says whether to try again. Full jitter:
 * a random time up to 0.1 s, doubled with each try, up to 30 s; the server's Retry-After if it gave
 * one. False: it was tried enough, would not help, or was cancelled. */
bool sfs_retry_wait(struct sfs_http *http, struct sfs_retry *retry,
                    const struct sfs_http_answer *answer, enum sfs_http_priority priority,
                    const atomic_bool *cancelled);

#endif
