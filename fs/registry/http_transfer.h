/* One request at libcurl (together with http.h, which owns it): its options, and what comes back.
 * Used by the network thread alone, but for sfs_transfer_init(). */
#ifndef STAGEFS_HTTP_TRANSFER_H
#define STAGEFS_HTTP_TRANSFER_H

#include "registry/curl_api.h"
#include "registry/http.h"

struct http_host;
struct sfs_transfer {
    const struct sfs_http_request *request;
    struct sfs_http_answer *answer;
    struct sfs_error *err;
    CURL *easy;
    struct curl_slist *headers;
    char *authorities; /* all certificates that are trusted, where the system's are not enough */
    char words[CURL_ERROR_SIZE];
    uint64_t received; /* bytes of the body */
    uint64_t sent;     /* bytes of our body */
    bool is_paused;    /* our body goes on later: the network thread asks again */
    bool is_slow;      /* our body is large: its receiver is given time to store it */
    bool has_head;     /* status and headers are there */
    int stopped;       /* negative: why we end it */
    int result;        /* what sfs_http_perform() returns, once it is done */

    struct http_host *host;    /* the rest is http.c's own */
    int64_t started_ms;        /* when it was given to libcurl, or last took of our body */
    bool is_active, is_done;   /* guarded by http->lock */
    struct sfs_transfer *next; /* guarded by http->lock */
};

/* Makes the handle; sfs_transfer_done() frees it, also after a failure. ENOMEM; EINVAL: the URL, or
 * the certificates. `is_loopback`: no proxy is asked for it. */
int sfs_transfer_init(struct sfs_transfer *transfer, bool is_loopback);
void sfs_transfer_done(struct sfs_transfer *transfer);
/* Has a body that was paused go on, as far as it can. */
void sfs_transfer_resume(struct sfs_transfer *transfer);
/* Sets `result` and the answer when libcurl has done with it. */
void sfs_transfer_finish(struct sfs_transfer *transfer, CURLcode code);

#endif
