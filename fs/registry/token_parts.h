/* What the files of tokens share: token.c (who has one) and token_fetch.c (how one is got). */
#ifndef STAGEFS_TOKEN_PARTS_H
#define STAGEFS_TOKEN_PARTS_H

#include "registry/challenge.h"
#include "registry/token.h"

struct sfs_token_source { /* borrowed */
    struct sfs_http *http;
    const struct sfs_registry_options *options;
    const struct sfs_config *config;
};

struct sfs_fetched_token {
    char *header;    /* "Authorization: ..." */
    int64_t lives_s; /* seconds; 0: for ever */
    bool has_login;  /* it was got with one */
};
/* Wipes and frees what is in it; fine on an all-zero one. */
void sfs_fetched_token_done(struct sfs_fetched_token *fetched);
/* Overwrites the text, frees it, and sets NULL; NULL is fine. */
void sfs_token_wipe(char **text);

/* Gets what the challenge asks for, with the login there is, or none. Waits for files, helpers and
 * the token service. The caller calls sfs_fetched_token_done(), also after a failure. As
 * sfs_tokens_answer(). */
int sfs_token_fetch(const struct sfs_token_source *source, const struct sfs_token_for *who,
                    const struct sfs_challenge *challenge, struct sfs_fetched_token *ret_fetched,
                    struct sfs_error *err);
/* Says that there is no login, or that it is refused, with the next step. Returns -EACCES. */
int sfs_token_fail_refused(const struct sfs_token_for *who, bool has_login, struct sfs_error *err);

#endif
