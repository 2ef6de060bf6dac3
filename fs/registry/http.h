/* HTTP: one thread that speaks for all others, by libcurl's multi interface (together with
 * http_transfer.h: what it is asked for, one by one).
 *
 * A request is one exchange: no redirect is followed and nothing is tried again here (client.h does
 * that). Per host there are at most SFS_HTTP_CONNECTIONS requests under way; what somebody waits
 * for goes first and always finds a place, since lesser requests may not take all of them. A host
 * that answered 429 gets no request of any kind before the time that it named. */
#ifndef STAGEFS_HTTP_H
#define STAGEFS_HTTP_H

#include "base/buf.h"
#include <stdatomic.h>
#include <stdint.h>
#include <sys/types.h>

/* Many of the ranges of a start are short: eight left a third of a line of 300 Mbit/s and 20 ms
 * unused. */
#define SFS_HTTP_CONNECTIONS 14
#define SFS_HTTP_UNKNOWN     UINT64_MAX

/* Who waits. */
enum sfs_http_priority {
    SFS_HTTP_DEMAND,  /* a reader */
    SFS_HTTP_PROFILE, /* nobody yet, but a profile says that somebody will */
    SFS_HTTP_FILL,    /* nobody */
};

/* How a server proves who it is, and we to it. All-zero: by the system's certificates. */
struct sfs_http_tls {
    bool no_verify;    /* anybody will do */
    char *authorities; /* PEM texts that are trusted beside the system's; NULL: none */
    char *certificate; /* paths of our own certificate and key; NULL: none */
    char *key;
};
/* Frees what is in it; fine on an all-zero one. */
void sfs_http_tls_done(struct sfs_http_tls *tls);

/* Why there is no answer. */
enum sfs_http_failure {
    SFS_HTTP_ANSWERED,
    SFS_HTTP_NO_NAME,         /* the host's name is not known */
    SFS_HTTP_NO_CONNECTION,   /* refused, no route */
    SFS_HTTP_TIMEOUT,         /* connected or not: it is silent, or next to it */
    SFS_HTTP_NO_TLS,          /* it speaks no TLS, perhaps plain HTTP */
    SFS_HTTP_BAD_CERTIFICATE, /* it is not who it should be */
    SFS_HTTP_NO_AUTHORITIES,  /* the file with those that are trusted cannot be read */
    SFS_HTTP_OWN_CERTIFICATE, /* ours cannot be read, or it wants another one */
    SFS_HTTP_PROXY,           /* the proxy does not answer, or refuses */
    SFS_HTTP_BROKEN,          /* the connection ended too early */
    SFS_HTTP_BROKEN_HTTP2,    /* the same, on a connection that other requests share */
    SFS_HTTP_UNFIT,           /* anything else that trying again does not mend */
};

struct sfs_http_answer {
    long status;                   /* 0: none came */
    enum sfs_http_failure failure; /* and `detail` is libcurl's word for it, without secrets */
    char detail[256];
    unsigned retry_after_ms; /* as the server wants it, at most a minute; 0: it says nothing */
    bool spoke_tls;          /* the connection was encrypted, whatever came then */
    bool was_reused;         /* the connection had served others before */
    struct sfs_buf headers;  /* "Name: value" each, ended by NUL */
};
/* Frees what is in it; fine on an all-zero one. */
void sfs_http_answer_done(struct sfs_http_answer *answer);
/* The value of header number `n`, from 0, of those called `name`, borrowed; NULL: there is none. */
const char *sfs_http_header(const struct sfs_http_answer *answer, const char *name, size_t n);

struct sfs_http_request {
    const char *method; /* "GET", "HEAD", "POST", "PUT", "PATCH" */
    const char *url;
    const char *const *headers; /* "Name: value" */
    size_t header_count;
    const char *body; /* NULL: none; "": there is one, and it is empty */
    /* A longer body, in place of `body`: gives what is at `offset`, as far as it is there. Called
     * by the network thread, which it keeps waiting, and from offset 0 on again if the request has
     * to be sent again. 0: the end. -EAGAIN: nothing is there yet; it is asked again soon, and at
     * once after sfs_http_wake(). Another negative errno ends the request, which fails with it. */
    ssize_t (*on_read)(void *user, void *buf, size_t size, uint64_t offset, struct sfs_error *err);
    uint64_t body_size; /* of what on_read gives; SFS_HTTP_UNKNOWN: it ends where it ends */
    enum sfs_http_priority priority;
    const struct sfs_http_tls *tls; /* NULL: all-zero */
    bool fresh;                     /* on a new connection */
    bool no_http2;
    uint64_t max_body; /* bytes; 0: no limit */

    /* Called by the network thread, which both keep waiting: when status and headers are there, and
     * with the body's bytes as they come. A negative errno ends the request, which fails with it.
     * May be NULL. */
    int (*on_head)(void *user, const struct sfs_http_answer *answer, struct sfs_error *err);
    int (*on_data)(void *user, const void *data, size_t size, struct sfs_error *err);
    void *user;
    const atomic_bool *cancelled; /* set, then sfs_http_wake(): it ends. NULL: it cannot be */
    const atomic_bool *urgent;    /* set, then sfs_http_wake(): it counts as SFS_HTTP_DEMAND. NULL:
                                   * it stays what it is */
};

struct sfs_http;
/* Starts the thread. The caller closes *ret_http. ENOTSUP: libcurl is not there. */
int sfs_http_open(struct sfs_http **ret_http, struct sfs_error *err);
/* Ends the thread; no request may be under way. Sets NULL; NULL is fine. */
void sfs_http_close(struct sfs_http **http);

/* Sends a request and waits for the end of its answer, whatever its status. The caller calls
 * sfs_http_answer_done(), also after a failure.
 * EAGAIN: no (whole) answer: see ret_answer->failure; the words are left to the caller.
 * ECANCELED. E2BIG: the body is longer than max_body. Else what a callback returned. */
int sfs_http_perform(struct sfs_http *http, const struct sfs_http_request *request,
                     struct sfs_http_answer *ret_answer, struct sfs_error *err);
/* Has all requests and sleepers look whether they are cancelled, or urgent. */
void sfs_http_wake(struct sfs_http *http);
/* Waits so long, unless it is cancelled (NULL: cannot be). ECANCELED. */
int sfs_http_sleep(struct sfs_http *http, unsigned ms, const atomic_bool *cancelled);

#endif
