/* What is sent as Authorization: Basic, or tokens that a registry's token service gives for a
 * login, or for none. One for each (host, scope), got by one thread while others wait, and renewed
 * before it ends. */
#ifndef STAGEFS_TOKEN_H
#define STAGEFS_TOKEN_H

#include "registry/http.h"
#include <stagefs/registry.h>

/* Who asks for what. All texts are borrowed during a call. */
struct sfs_token_for {
    const char *url;                /* of the registry: "https://HOST:PORT/v2" */
    const char *host;               /* whose login it is: "HOST[:PORT]" as in references */
    const char *repository;         /* there */
    const char *actions;            /* "pull", "pull,push" */
    const char *extra;              /* another scope that the request needs too; NULL: none */
    const struct sfs_http_tls *tls; /* of the registry's host */
    const atomic_bool *cancelled;
};

struct sfs_config;
struct sfs_tokens;
/* Borrows all; the caller closes *ret_tokens. ENOMEM. */
int sfs_tokens_open(struct sfs_http *http, const struct sfs_registry_options *options,
                    const struct sfs_config *config, struct sfs_tokens **ret_tokens,
                    struct sfs_error *err);
/* Frees and wipes; sets NULL; NULL is fine. */
void sfs_tokens_close(struct sfs_tokens **tokens);

/* The header line "Authorization: ..." to send; the caller frees it. NULL in *ret_header: none is
 * known to be needed. *ret_has_login: it is for a user, not for anybody. Renews what is about to
 * end, for which it may wait. ECANCELED, and as below.
 */
int sfs_tokens_get(struct sfs_tokens *tokens, const struct sfs_token_for *who, char **ret_header,
                   bool *ret_has_login, struct sfs_error *err);

/* Answers a 401 to a request that was sent with `used` (NULL: without). 0: another try is worth it
 * now, with what sfs_tokens_get() gives. Waits for the token service.
 * EACCES: there is no login, or it is refused. EAGAIN: the token service does not answer. EBADMSG:
 * it, or the registry, answers what makes no sense. EIO: a helper failed. ECANCELED. */
int sfs_tokens_answer(struct sfs_tokens *tokens, const struct sfs_token_for *who, const char *used,
                      const struct sfs_http_answer *answer, struct sfs_error *err);

#endif
