/* One request to a registry, as it takes several exchanges: logging in when it is asked for, and
 * following redirects, without telling other hosts what is meant for the registry. */
#ifndef STAGEFS_CLIENT_H
#define STAGEFS_CLIENT_H

#include "registry/endpoint.h"
#include "registry/http.h"
#include "registry/retry.h"
#include "registry/token.h"

struct sfs_config;

struct sfs_registry;
/* The client: its thread, its tokens, its settings. One serves all images of a program. The options
 * are borrowed until it is closed; NULL: all-zero. No request is made. The caller closes
 * *ret_registry, after all repositories. ENOTSUP: libcurl is not there. EBADMSG: a settings file.
 */
int sfs_registry_open(const struct sfs_registry_options *options,
                      struct sfs_registry **ret_registry, struct sfs_error *err);
/* Ends the thread, and sets NULL; NULL is fine. */
void sfs_registry_close(struct sfs_registry **registry);

/* What else works with it inside this folder. */
struct sfs_http *sfs_registry_http(struct sfs_registry *registry);
const struct sfs_registry_options *sfs_registry_options(const struct sfs_registry *registry);
const struct sfs_config *sfs_registry_config(const struct sfs_registry *registry);

/* What is asked of an endpoint. All-zero but for what is set. */
struct sfs_call {
    const char *method;
    const char *path;         /* behind BASE/REPOSITORY/: "manifests/latest" */
    const char *url;          /* where an earlier call was led to; asked in place of the path */
    const char *accept;       /* the header of that name; NULL: anything */
    char range[64];           /* the header of that name; empty: none */
    const char *content_type; /* the headers of these names; NULL: none */
    const char *content_range;
    const char *if_match;
    const char *actions; /* "pull" */
    const char *extra;   /* another scope that it needs; see token.h */
    enum sfs_http_priority priority;
    uint64_t max_body;
    const atomic_bool *cancelled, *urgent;
    /* As in struct sfs_http_request, but called only for an answer with a status of 2xx that ends
     * the call. */
    int (*on_head)(void *user, const struct sfs_call *call, const struct sfs_http_answer *answer,
                   struct sfs_error *err);
    int (*on_data)(void *user, const void *data, size_t size, struct sfs_error *err);
    /* As in struct sfs_http_request: what is sent. */
    const char *body;
    ssize_t (*on_read)(void *user, void *buf, size_t size, uint64_t offset, struct sfs_error *err);
    uint64_t body_size;
    void *user;

    /* Filled in. */
    char *final_url;        /* that answered */
    bool is_elsewhere;      /* it is at another origin than the endpoint */
    bool had_login;         /* what was sent as Authorization is for a user */
    struct sfs_buf refusal; /* the body, or its beginning, where the status was not 2xx */
};
/* Frees what was filled in. */
void sfs_call_done(struct sfs_call *call);

/* Makes a call; a failed try is not repeated here, but for a change to plain HTTP. 0: there is an
 * answer, whatever its status. The caller calls sfs_http_answer_done() and sfs_call_done(), also
 * after a failure. EAGAIN: there is none, and the words are not set (ret_answer->failure; see
 * complaint.h). EACCES: a login is refused, or a redirect is forbidden. EBADMSG: a redirect leads
 * nowhere. What a callback returned, and what sfs_tokens_answer() fails with. */
int sfs_client_try(struct sfs_registry *registry, struct sfs_endpoint *endpoint,
                   const struct sfs_retry *retry, struct sfs_call *call,
                   struct sfs_http_answer *ret_answer, struct sfs_error *err);

#endif
