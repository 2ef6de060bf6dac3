/* Who has which. The order of steps is containerd's: no ping first, the challenge is taken from the
 * request that failed. */
#include "registry/token_parts.h"

#include "base/limits.h"
#include "base/thread.h"
#include <errno.h>
#include <stagefs/format.h>
#include <time.h>

/* A password that was refused is not sent again for so long: accounts get locked. */
#define REFUSED_S 10

struct held_token {
    char *key;    /* "HOST REPOSITORY ACTIONS" */
    char *header; /* NULL: none yet */
    struct sfs_challenge challenge;
    int64_t renew_at;      /* seconds; 0: never (Basic) */
    int64_t refused_until; /* seconds; until then `refusal` is the answer */
    char refusal[256];
    bool has_login; /* it was got with one */
    bool is_busy;   /* somebody is getting it */
    struct held_token *next;
};

struct sfs_tokens {
    struct sfs_token_source source;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct held_token *list; /* guarded by lock; entries stay until the end */
};

static int64_t now_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec;
}

static struct held_token *find_token(struct sfs_tokens *tokens, const struct sfs_token_for *who)
{
    AUTO(sfs_free)
    char *key = sfs_format("%s %s %s %s %s", who->url, who->host, who->repository, who->actions,
                           who->extra ? who->extra : "");
    for (struct held_token *it = key ? tokens->list : NULL; it; it = it->next)
        if (strcmp(it->key, key) == 0)
            return it;
    struct held_token *token = key ? calloc(1, sizeof *token) : NULL;
    if (!token)
        return NULL;
    token->key = TAKE(key);
    token->next = tokens->list;
    tokens->list = token;
    return token;
}

/* Waits while somebody else gets it. The lock is held. */
static int wait_while_busy(struct sfs_tokens *tokens, const struct held_token *token,
                           const atomic_bool *cancelled, struct sfs_error *err)
{
    while (token->is_busy) {
        struct timespec until;
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_sec += 1;
        if (cancelled && atomic_load(cancelled))
            return sfs_fail(err, ECANCELED, "cancelled");
        pthread_cond_timedwait(&tokens->changed, &tokens->lock, &until);
    }
    return 0;
}

static void refuse(struct held_token *token, const struct sfs_error *err)
{
    token->refused_until = now_s() + REFUSED_S;
    snprintf(token->refusal, sizeof token->refusal, "%.255s", err ? err->text : "refused");
}

/* Gets a token with the lock given up meanwhile: nobody else touches one that is busy. */
static int renew(struct sfs_tokens *tokens, const struct sfs_token_for *who,
                 struct held_token *token, struct sfs_error *err)
{
    AUTO(sfs_fetched_token_done) struct sfs_fetched_token fetched = { 0 };
    token->is_busy = true;
    pthread_mutex_unlock(&tokens->lock);
    int r = sfs_token_fetch(&tokens->source, who, &token->challenge, &fetched, err);
    pthread_mutex_lock(&tokens->lock);
    token->is_busy = false;
    pthread_cond_broadcast(&tokens->changed);
    sfs_token_wipe(&token->header);
    if (r == -EACCES)
        refuse(token, err);
    if (r < 0)
        return r;
    token->header = TAKE(fetched.header);
    token->has_login = fetched.has_login;
    token->renew_at = fetched.lives_s ? now_s() + fetched.lives_s * 4 / 5 : 0;
    return 0;
}

int sfs_tokens_open(struct sfs_http *http, const struct sfs_registry_options *options,
                    const struct sfs_config *config, struct sfs_tokens **ret_tokens,
                    struct sfs_error *err)
{
    struct sfs_tokens *tokens = calloc(1, sizeof *tokens);
    if (!tokens)
        return sfs_fail_memory(err);
    tokens->source =
        (struct sfs_token_source){ .http = http, .options = options, .config = config };
    pthread_mutex_init(&tokens->lock, NULL);
    pthread_cond_init(&tokens->changed, NULL);
    *ret_tokens = tokens;
    return 0;
}

void sfs_tokens_close(struct sfs_tokens **tokens_ptr)
{
    struct sfs_tokens *tokens = *tokens_ptr;
    if (!tokens)
        return;
    *tokens_ptr = NULL;
    for (struct held_token *it = tokens->list, *next; it; it = next) {
        next = it->next;
        sfs_token_wipe(&it->header);
        free(it->key);
        sfs_challenge_done(&it->challenge);
        free(it);
    }
    pthread_cond_destroy(&tokens->changed);
    pthread_mutex_destroy(&tokens->lock);
    free(tokens);
}

int sfs_tokens_get(struct sfs_tokens *tokens, const struct sfs_token_for *who, char **ret_header,
                   bool *ret_has_login, struct sfs_error *err)
{
    LOCK(&tokens->lock);
    struct held_token *token = find_token(tokens, who);
    if (!token)
        return sfs_fail_memory(err);
    int r = wait_while_busy(tokens, token, who->cancelled, err);
    bool is_old = r == 0 && token->header && token->renew_at && now_s() >= token->renew_at;
    if (is_old)
        r = renew(tokens, who, token, err);
    if (r < 0)
        return r;
    *ret_has_login = token->header && token->has_login;
    *ret_header = token->header ? strdup(token->header) : NULL;
    return token->header && !*ret_header ? sfs_fail_memory(err) : 0;
}

/* The first challenge of several headers that can be answered. */
static int find_challenge(const struct sfs_http_answer *answer, struct sfs_challenge *ret,
                          struct sfs_error *err)
{
    const char *value;
    for (size_t n = 0; (value = sfs_http_header(answer, "WWW-Authenticate", n)); n++) {
        int r = sfs_challenge_parse(value, ret, err);
        if (r < 0 || ret->scheme != SFS_SCHEME_NONE)
            return r;
    }
    return 0;
}

/* Some registries say only at /v2/ how to log in. */
static int ask_for_challenge(struct sfs_tokens *tokens, const struct sfs_token_for *who,
                             struct sfs_challenge *ret, struct sfs_error *err)
{
    AUTO(sfs_http_answer_done) struct sfs_http_answer answer = { 0 };
    AUTO(sfs_free) char *url = sfs_format("%s/", who->url);
    if (!url)
        return sfs_fail_memory(err);
    struct sfs_http_request request = { .method = "GET",
                                        .url = url,
                                        .tls = who->tls,
                                        .max_body = SFS_MAX_HTTP_ERROR,
                                        .cancelled = who->cancelled };
    int r = sfs_http_perform(tokens->source.http, &request, &answer, err);
    if (r < 0 && r != -EAGAIN)
        return r;
    r = find_challenge(&answer, ret, err);
    if (r == 0 && ret->scheme == SFS_SCHEME_NONE)
        r = sfs_fail(err, EACCES, "%s refuses access to %s, and does not say how to log in",
                     who->host, who->repository);
    return r;
}

int sfs_tokens_answer(struct sfs_tokens *tokens, const struct sfs_token_for *who, const char *used,
                      const struct sfs_http_answer *answer, struct sfs_error *err)
{
    AUTO(sfs_challenge_done) struct sfs_challenge challenge = { 0 };
    int r = find_challenge(answer, &challenge, err);
    if (r == 0 && challenge.scheme == SFS_SCHEME_NONE)
        r = ask_for_challenge(tokens, who, &challenge, err);
    if (r < 0)
        return r;
    LOCK(&tokens->lock);
    struct held_token *token = find_token(tokens, who);
    if (!token)
        return sfs_fail_memory(err);
    r = wait_while_busy(tokens, token, who->cancelled, err);
    if (r < 0)
        return r;
    /* Somebody else may have got a new one meanwhile. */
    if (token->header && (!used || strcmp(used, token->header) != 0))
        return 0;
    if (now_s() < token->refused_until)
        return sfs_fail(err, EACCES, "%s", token->refusal);
    sfs_challenge_done(&token->challenge);
    token->challenge = challenge;
    challenge = (struct sfs_challenge){ 0 };
    r = renew(tokens, who, token, err);
    /* The same once more is refused once more. */
    if (r == 0 && used && strcmp(used, token->header) == 0) {
        sfs_token_wipe(&token->header);
        r = sfs_token_fail_refused(who, token->has_login, err);
        refuse(token, err);
    }
    return r;
}
