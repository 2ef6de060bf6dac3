/* An identity token is changed by OAuth's POST, as skopeo and crane do it; all else is a GET with
 * Basic, which every token service knows. */
#include "registry/token_parts.h"

#include "base/limits.h"
#include "registry/config.h"
#include "registry/credentials.h"
#include "registry/retry.h"
#include "registry/url.h"
#include <errno.h>
#include <jansson.h>
#include <stagefs/auto.h>
#include <stagefs/format.h>
#include <stagefs/json.h>

#define SHORTEST_S 60    /* what a token without "expires_in" lives, by the specification */
#define LONGEST_S  86400 /* nobody knows what a server means by more */

void sfs_token_wipe(char **text)
{
    if (*text)
        explicit_bzero(*text, strlen(*text));
    sfs_free(text);
}

void sfs_fetched_token_done(struct sfs_fetched_token *fetched)
{
    sfs_token_wipe(&fetched->header);
}

static void close_json(json_t **json)
{
    json_decref(*json);
    *json = NULL;
}

static int take_body(void *user, const void *data, size_t size, struct sfs_error *err)
{
    return sfs_buf_add(user, data, size) < 0 ? sfs_fail_memory(err) : 0;
}

/* No control character may reach a header. */
static bool is_token(const char *text)
{
    for (; *text; text++)
        if (*text <= 0x20 || *text == 0x7f)
            return false;
    return true;
}

static int read_token(const struct sfs_buf *body, const char *realm, struct sfs_fetched_token *ret,
                      struct sfs_error *err)
{
    AUTO(sfs_free) char *shown = sfs_url_show(realm);
    AUTO(close_json) json_t *json = NULL;
    if (sfs_json_parse(body->data ? body->data : "", body->size, 0, &json, NULL) < 0)
        return sfs_fail(err, EBADMSG, "the token service %s does not answer with JSON", shown);
    const char *token = json_string_value(json_object_get(json, "token"));
    if (!token || !*token)
        token = json_string_value(json_object_get(json, "access_token"));
    if (!token || !*token || !is_token(token))
        return sfs_fail(err, EBADMSG, "the token service %s answers without a token", shown);
    json_int_t lives = json_integer_value(json_object_get(json, "expires_in"));
    lives = lives < SHORTEST_S ? SHORTEST_S : lives;
    ret->lives_s = lives > LONGEST_S ? LONGEST_S : lives;
    ret->header = sfs_format("Authorization: Bearer %s", token);
    return ret->header ? 0 : sfs_fail_memory(err);
}

/* ---- where it is got */

/* A registry may name any URL as its token service, so it could have us ask hosts that only we
 * reach, or have us send a password in the clear. */
static int check_realm(const struct sfs_token_for *who, const char *realm,
                       const struct sfs_credentials *login, struct sfs_error *err)
{
    AUTO(sfs_url_done) struct sfs_url registry = { 0 };
    AUTO(sfs_url_done) struct sfs_url url = { 0 };
    AUTO(sfs_free) char *shown = sfs_url_show(realm);
    int r = sfs_url_parse(who->url, &registry, err);
    if (r == 0)
        r = sfs_url_parse(realm, &url, err);
    if (r < 0)
        return sfs_fail_while(err, r, "the token service that %s names", who->host);
    if (sfs_url_is_private(url.host) && strcmp(url.host, registry.host) != 0)
        return sfs_fail(err, EACCES,
                        "%s names %s as its token service, which is an address inside a network: "
                        "it is not asked",
                        who->host, shown);
    bool has_login = login && (login->password || login->identity_token);
    if (has_login && registry.is_https && !url.is_https)
        return sfs_fail(err, EACCES,
                        "%s wants the password sent to %s, which is not encrypted: it is not sent",
                        who->host, shown);
    return 0;
}

static int add_query(struct sfs_buf *url, const char *name, const char *value)
{
    AUTO(sfs_free) char *escaped = sfs_url_escape(value);
    if (!escaped)
        return -ENOMEM;
    bool has_query = strchr(url->data, '?');
    return sfs_buf_printf(url, "%c%s=%s", has_query ? '&' : '?', name, escaped);
}

/* The scopes, the one that lacks first: some services look at the first alone. */
static int list_scopes(const struct sfs_token_for *who, const struct sfs_challenge *challenge,
                       char *ret_scopes[3])
{
    size_t count = 0;
    char *own = sfs_format("repository:%s:%s", who->repository, who->actions);
    bool insufficient = challenge->error && strcmp(challenge->error, "insufficient_scope") == 0;
    if (insufficient && challenge->scope && own && strcmp(challenge->scope, own) != 0)
        ret_scopes[count++] = strdup(challenge->scope);
    ret_scopes[count++] = own;
    if (who->extra)
        ret_scopes[count++] = strdup(who->extra);
    for (size_t i = 0; i < count; i++)
        if (!ret_scopes[i])
            return -ENOMEM;
    return 0;
}

static void free_scopes(char *(*scopes)[3])
{
    for (size_t i = 0; i < 3; i++)
        free((*scopes)[i]);
}

/* One request to the token service: GET with its query, or POST with a form. */
struct ask {
    struct sfs_buf url;
    struct sfs_buf form;   /* of POST; empty: GET */
    char *authorization;   /* a header; NULL: none */
    struct sfs_buf answer; /* body */
    long status;
};

static void done_ask(struct ask *ask)
{
    if (ask->form.data)
        explicit_bzero(ask->form.data, ask->form.size);
    if (ask->answer.data)
        explicit_bzero(ask->answer.data, ask->answer.size);
    sfs_buf_close(&ask->url);
    sfs_buf_close(&ask->form);
    sfs_buf_close(&ask->answer);
    sfs_token_wipe(&ask->authorization);
}

static int make_get(const struct sfs_token_for *who, const struct sfs_challenge *challenge,
                    const struct sfs_credentials *login, struct ask *ask, struct sfs_error *err)
{
    AUTO(free_scopes) char *scopes[3] = { 0 };
    int r = list_scopes(who, challenge, scopes);
    sfs_buf_add_str(&ask->url, challenge->realm);
    if (r == 0 && challenge->service)
        r = add_query(&ask->url, "service", challenge->service);
    for (size_t i = 0; r == 0 && i < 3 && scopes[i]; i++)
        r = add_query(&ask->url, "scope", scopes[i]);
    if (login) {
        AUTO(sfs_token_wipe) char *basic = sfs_credentials_basic(login);
        ask->authorization = basic ? sfs_format("Authorization: Basic %s", basic) : NULL;
        if (r == 0)
            r = ask->authorization ? add_query(&ask->url, "account", login->user) : -ENOMEM;
    }
    return r < 0 ? sfs_fail_memory(err) : sfs_buf_check(&ask->url, err);
}

static void add_field(struct sfs_buf *form, const char *name, const char *value)
{
    AUTO(sfs_token_wipe) char *escaped = sfs_url_escape(value);
    if (!escaped)
        form->failed = true;
    else
        sfs_buf_printf(form, "%s%s=%s", form->size ? "&" : "", name, escaped);
}

static int make_post(const struct sfs_token_for *who, const struct sfs_challenge *challenge,
                     const char *identity_token, struct ask *ask, struct sfs_error *err)
{
    AUTO(free_scopes) char *scopes[3] = { 0 };
    AUTO(sfs_buf_close) struct sfs_buf scope = { 0 };
    if (list_scopes(who, challenge, scopes) < 0)
        return sfs_fail_memory(err);
    for (size_t i = 0; i < 3 && scopes[i]; i++)
        sfs_buf_printf(&scope, "%s%s", i ? " " : "", scopes[i]);
    sfs_buf_add_str(&ask->url, challenge->realm);
    add_field(&ask->form, "grant_type", "refresh_token");
    add_field(&ask->form, "refresh_token", identity_token);
    add_field(&ask->form, "service", challenge->service ? challenge->service : who->host);
    add_field(&ask->form, "client_id", "stagefs");
    add_field(&ask->form, "scope", scope.data ? scope.data : "");
    int r = sfs_buf_check(&scope, err);
    if (r == 0)
        r = sfs_buf_check(&ask->form, err);
    return r < 0 ? r : sfs_buf_check(&ask->url, err);
}

static bool is_redirect(long status)
{
    return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

/* Does the registry's host itself give the tokens? Then what its settings say of TLS counts there.
 */
static bool is_at_home(const struct sfs_token_for *who, const char *url)
{
    AUTO(sfs_url_done) struct sfs_url registry = { 0 };
    AUTO(sfs_url_done) struct sfs_url there = { 0 };
    return sfs_url_parse(who->url, &registry, NULL) == 0 && sfs_url_parse(url, &there, NULL) == 0 &&
           strcmp(registry.host, there.host) == 0;
}

static int exchange_at(const struct sfs_token_source *source, const struct sfs_token_for *who,
                       struct ask *ask, const char *url, struct sfs_http_answer *answer,
                       struct sfs_error *err)
{
    AUTO(sfs_http_tls_done) struct sfs_http_tls tls = { 0 };
    const char *headers[] = { "Accept: application/json", ask->authorization };
    int r = sfs_config_find_tls(source->config, url, source->options->no_tls_verify, &tls, err);
    if (r < 0)
        return r;
    struct sfs_http_request request = { .method = ask->form.size ? "POST" : "GET",
                                        .url = url,
                                        .headers = headers,
                                        .header_count = ask->authorization ? 2 : 1,
                                        .body = ask->form.data,
                                        .tls = is_at_home(who, url) ? who->tls : &tls,
                                        .max_body = SFS_MAX_TOKEN,
                                        .on_data = take_body,
                                        .user = &ask->answer,
                                        .cancelled = who->cancelled };
    sfs_buf_close(&ask->answer);
    return sfs_http_perform(source->http, &request, answer, err);
}

/* One exchange, to the end of redirects. What is secret goes to the realm's own origin alone. */
static int send_ask(const struct sfs_token_source *source, const struct sfs_token_for *who,
                    struct ask *ask, struct sfs_http_answer *answer, struct sfs_error *err)
{
    AUTO(sfs_free) char *url = strdup(ask->url.data);
    for (unsigned hops = 0; url; hops++) {
        int r = exchange_at(source, who, ask, url, answer, err);
        const char *location = sfs_http_header(answer, "Location", 0);
        if (r < 0 || !is_redirect(answer->status) || !location)
            return r;
        if (hops == SFS_MAX_REDIRECTS || ask->form.size || ask->authorization)
            return sfs_fail(err, EACCES, "the token service of %s redirects a login", who->host);
        AUTO(sfs_free) char *next = sfs_url_resolve(url, location);
        r = next ? check_realm(who, next, NULL, err)
                 : sfs_fail(err, EBADMSG, "the token service of %s redirects nowhere", who->host);
        if (r < 0)
            return r;
        sfs_http_answer_done(answer);
        free(url);
        url = TAKE(next);
    }
    return sfs_fail_memory(err);
}

static int ask_service(const struct sfs_token_source *source, const struct sfs_token_for *who,
                       struct ask *ask, struct sfs_error *err)
{
    AUTO(sfs_free) char *shown = sfs_url_show(ask->url.data);
    for (struct sfs_retry retry = { 0 };;) {
        AUTO(sfs_http_answer_done) struct sfs_http_answer answer = { 0 };
        int r = send_ask(source, who, ask, &answer, err);
        ask->status = answer.status;
        if (r < 0 && r != -EAGAIN)
            return r;
        if (r == 0 && !sfs_retry_may_help(&answer))
            return 0;
        if (sfs_retry_wait(source->http, &retry, &answer, SFS_HTTP_DEMAND, who->cancelled))
            continue;
        if (who->cancelled && atomic_load(who->cancelled))
            return sfs_fail(err, ECANCELED, "cancelled");
        if (answer.status)
            return sfs_fail(err, EAGAIN, "the token service %s answers with status %ld", shown,
                            answer.status);
        return sfs_fail(err, answer.failure == SFS_HTTP_BAD_CERTIFICATE ? EIO : EAGAIN,
                        "the token service %s does not answer: %s", shown, answer.detail);
    }
}

int sfs_token_fail_refused(const struct sfs_token_for *who, bool has_login, struct sfs_error *err)
{
    if (has_login)
        return sfs_fail(err, EACCES,
                        "%s refuses the user name or the password, or gives no %s %s: log in "
                        "again (podman login %s), or give --creds USER:PASSWORD",
                        who->host, strstr(who->actions, "push") ? "right to push to" : "access to",
                        who->repository, who->host);
    return sfs_fail(err, EACCES,
                    "%s wants a login for %s (or has nothing of that name): log in (podman login "
                    "%s), or give --creds USER:PASSWORD or --authfile FILE",
                    who->host, who->repository, who->host);
}

static int fetch_bearer(const struct sfs_token_source *source, const struct sfs_token_for *who,
                        const struct sfs_challenge *challenge, const struct sfs_credentials *login,
                        struct sfs_fetched_token *ret, struct sfs_error *err)
{
    AUTO(done_ask) struct ask ask = { 0 };
    bool is_identity = login && login->identity_token;
    int r = check_realm(who, challenge->realm, login, err);
    if (r == 0)
        r = is_identity
                ? make_post(who, challenge, login->identity_token, &ask, err)
                : make_get(who, challenge, login && login->password ? login : NULL, &ask, err);
    if (r == 0)
        r = ask_service(source, who, &ask, err);
    if (r < 0)
        return r;
    if (ask.status == 200)
        return read_token(&ask.answer, challenge->realm, ret, err);
    if (ask.status >= 400 && ask.status < 500)
        return sfs_token_fail_refused(who, login != NULL, err);
    AUTO(sfs_free) char *shown = sfs_url_show(challenge->realm);
    return sfs_fail(err, EBADMSG, "the token service %s answers with status %ld", shown,
                    ask.status);
}

static int fetch_basic(const struct sfs_token_for *who, const struct sfs_credentials *login,
                       struct sfs_fetched_token *ret, struct sfs_error *err)
{
    if (!login || !login->password)
        return sfs_token_fail_refused(who, login != NULL, err);
    AUTO(sfs_token_wipe) char *basic = sfs_credentials_basic(login);
    ret->header = basic ? sfs_format("Authorization: Basic %s", basic) : NULL;
    return ret->header ? 0 : sfs_fail_memory(err);
}

int sfs_token_fetch(const struct sfs_token_source *source, const struct sfs_token_for *who,
                    const struct sfs_challenge *challenge, struct sfs_fetched_token *ret,
                    struct sfs_error *err)
{
    AUTO(sfs_credentials_done) struct sfs_credentials found;
    int r = sfs_credentials_find(source->options, sfs_config_helpers(source->config), who->host,
                                 who->repository, &found, err);
    if (r < 0 && r != -ENOENT)
        return r;
    const struct sfs_credentials *login = r == 0 ? &found : NULL;
    ret->has_login = login != NULL;
    if (challenge->scheme == SFS_SCHEME_BASIC)
        return fetch_basic(who, login, ret, err);
    if (login && login->registry_token) {
        ret->header = sfs_format("Authorization: Bearer %s", login->registry_token);
        return ret->header ? 0 : sfs_fail_memory(err);
    }
    return fetch_bearer(source, who, challenge, login, ret, err);
}
