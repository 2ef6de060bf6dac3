/* The places where a repository can be read: mirrors, and the registry itself. */
#ifndef STAGEFS_ENDPOINT_H
#define STAGEFS_ENDPOINT_H

#include "registry/http.h"

/* One of them. */
struct sfs_endpoint {
    char *base;       /* "https://HOST[:PORT]/v2", without '/' at its end */
    char *host;       /* whose logins and certificates count: "HOST[:PORT]" as in references */
    char *repository; /* its name there */
    char *query;      /* added to each request's URL ("ns=docker.io"); NULL: none */
    char **headers;   /* added to each request there, ended by NULL; NULL: none */
    struct sfs_http_tls tls;
    bool may_be_plain;                  /* plain HTTP will do, if no TLS is spoken there */
    bool for_tags;                      /* a tag may be asked for */
    bool for_digests;                   /* what has a digest may be asked for */
    atomic_bool is_plain, is_encrypted; /* found so */
};
/* Frees what is in it; fine on an all-zero one. */
void sfs_endpoint_done(struct sfs_endpoint *endpoint);

/* A growing list of endpoints. All-zero is empty. */
struct sfs_endpoint_list {
    struct sfs_endpoint *items;
    size_t count, capacity;
};
/* Frees all; fine on an empty one. */
void sfs_endpoint_list_done(struct sfs_endpoint_list *list);
/* Adds one for the repository `location` ("HOST[:PORT]/NAME") with the certificates that are set
 * for its host. `insecure`: nothing is verified, and plain HTTP will do. *ret_endpoint, which may
 * be NULL, is valid until the next call. EBADMSG: the location is none, or a certificate. ENOMEM.
 */
int sfs_endpoint_list_add(struct sfs_endpoint_list *list, const char *location, bool insecure,
                          struct sfs_endpoint **ret_endpoint, struct sfs_error *err);

#endif
