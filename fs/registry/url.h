/* URLs, as libcurl reads them, so that what is checked is what is connected to. All functions want
 * sfs_curl_load() to have been called. */
#ifndef STAGEFS_URL_H
#define STAGEFS_URL_H

#include <stagefs/error.h>
#include <stdbool.h>

/* The parts that decide who gets the request. */
struct sfs_url {
    char *origin;  /* "SCHEME://HOST:PORT", lower case, always with a port: equal means the same */
    char *host;    /* without port; "[::1]" for IPv6 */
    char *place;   /* "HOST[:PORT]": the port where it is not the scheme's */
    bool is_https; /* else http */
};

/* Reads an absolute http or https URL. The caller calls sfs_url_done(), also after a failure.
 * EBADMSG: it is none, or holds a user name. The words hold no more of it than may be shown. */
int sfs_url_parse(const char *text, struct sfs_url *ret_url, struct sfs_error *err);
void sfs_url_done(struct sfs_url *url);

/* Where `location`, which may be relative to `base`, leads. The caller frees. NULL: nowhere, or out
 * of memory. */
char *sfs_url_resolve(const char *base, const char *location);
/* The URL for messages: no user name, query (signed URLs have their secret there) or fragment. The
 * caller frees; never NULL but for lack of memory. */
char *sfs_url_show(const char *text);
/* The text as a part of a query. The caller frees; NULL: out of memory. */
char *sfs_url_escape(const char *text);

/* Is the host this machine: localhost, *.localhost, 127.0.0.0/8, [::1]? */
bool sfs_url_is_loopback(const char *host);
/* Is the host written as an address that only means something inside (private, loopback,
 * link-local, none)? A name never is: what it resolves to is the resolver's matter. */
bool sfs_url_is_private(const char *host);
/* Is it a link-local address, where clouds give out credentials? */
bool sfs_url_is_link_local(const char *host);

#endif
