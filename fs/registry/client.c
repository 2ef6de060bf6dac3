/* A call's exchanges: the registry, perhaps its token service and the registry once more, perhaps
 * another host that it names. */
#include "registry/client.h"

#include "base/limits.h"
#include "registry/config.h"
#include "registry/url.h"
#include <errno.h>
#include <stagefs/auto.h>
#include <stagefs/format.h>

#define MOST_CHALLENGES 3 /* without a token; with one that ended; with too small a scope */
#define MOST_HEADERS    24

struct sfs_registry {
    const struct sfs_registry_options *options;
    struct sfs_http *http;
    struct sfs_tokens *tokens;
    struct sfs_config *config;
};

static const struct sfs_registry_options usual_options;

int sfs_registry_open(const struct sfs_registry_options *options,
                      struct sfs_registry **ret_registry, struct sfs_error *err)
{
    AUTO(sfs_registry_close) struct sfs_registry *registry = calloc(1, sizeof *registry);
    if (!registry)
        return sfs_fail_memory(err);
    registry->options = options ? options : &usual_options;
    int r = sfs_http_open(&registry->http, err);
    if (r == 0)
        r = sfs_config_open(&registry->config, err);
    if (r == 0)
        r = sfs_tokens_open(registry->http, registry->options, registry->config, &registry->tokens,
                            err);
    if (r < 0)
        return r;
    *ret_registry = TAKE(registry);
    return 0;
}

void sfs_registry_close(struct sfs_registry **registry_ptr)
{
    struct sfs_registry *registry = *registry_ptr;
    if (!registry)
        return;
    *registry_ptr = NULL;
    sfs_tokens_close(&registry->tokens);
    sfs_http_close(&registry->http);
    sfs_config_close(&registry->config);
    free(registry);
}

struct sfs_http *sfs_registry_http(struct sfs_registry *registry)
{
    return registry->http;
}

const struct sfs_registry_options *sfs_registry_options(const struct sfs_registry *registry)
{
    return registry->options;
}

const struct sfs_config *sfs_registry_config(const struct sfs_registry *registry)
{
    return registry->config;
}

void sfs_call_done(struct sfs_call *call)
{
    sfs_free(&call->final_url);
    sfs_buf_close(&call->refusal);
}

/* ---- one exchange of a call */

struct exchange {
    struct sfs_registry *registry;
    struct sfs_endpoint *endpoint;
    const struct sfs_retry *retry;
    struct sfs_call *call;
    char *base;          /* of the endpoint, by the scheme that it speaks */
    bool is_plain;       /* which is plain HTTP */
    char *authorization; /* what was sent; NULL: nothing */
    bool has_login;      /* that is for a user */
    bool is_final;       /* the answer is for the caller */
    unsigned challenges, hops;
    const char *headers[MOST_HEADERS];
    size_t header_count;
};

static bool is_redirect(const struct sfs_http_answer *answer)
{
    long status = answer->status;
    return (status == 301 || status == 302 || status == 303 || status == 307 || status == 308) &&
           sfs_http_header(answer, "Location", 0);
}

static int on_head(void *user, const struct sfs_http_answer *answer, struct sfs_error *err)
{
    struct exchange *exchange = user;
    struct sfs_call *call = exchange->call;
    exchange->is_final = answer->status >= 200 && answer->status < 300;
    sfs_buf_close(&call->refusal);
    return exchange->is_final && call->on_head ? call->on_head(call->user, call, answer, err) : 0;
}

static int on_data(void *user, const void *data, size_t size, struct sfs_error *err)
{
    struct exchange *exchange = user;
    struct sfs_call *call = exchange->call;
    if (exchange->is_final)
        return call->on_data ? call->on_data(call->user, data, size, err) : 0;
    size_t room = SFS_MAX_HTTP_ERROR - call->refusal.size;
    if (room == 0)
        return -ENOBUFS; /* it has been said at length: exchange_once() goes on with that */
    if (sfs_buf_add(&call->refusal, data, size < room ? size : room) < 0)
        return sfs_fail_memory(err);
    return 0;
}

static ssize_t on_read(void *user, void *buf, size_t size, uint64_t offset, struct sfs_error *err)
{
    struct exchange *exchange = user;
    return exchange->call->on_read(exchange->call->user, buf, size, offset, err);
}

static void add_header(struct exchange *exchange, const char *line)
{
    if (exchange->header_count < MOST_HEADERS)
        exchange->headers[exchange->header_count++] = line;
}

static struct sfs_token_for who_asks(const struct exchange *exchange)
{
    return (struct sfs_token_for){ .url = exchange->base,
                                   .host = exchange->endpoint->host,
                                   .repository = exchange->endpoint->repository,
                                   .actions =
                                       exchange->call->actions ? exchange->call->actions : "pull",
                                   .extra = exchange->call->extra,
                                   .tls = &exchange->endpoint->tls,
                                   .cancelled = exchange->call->cancelled };
}

#define MOST_LINES 5

static void free_lines(char *(*lines)[MOST_LINES])
{
    for (size_t i = 0; i < MOST_LINES; i++)
        free((*lines)[i]);
}

/* The headers that the call names, as lines. */
static int make_lines(const struct sfs_call *call, char *lines[MOST_LINES], struct sfs_error *err)
{
    const struct {
        const char *name, *value;
    } named[MOST_LINES] = { { "Accept", call->accept },
                            { "Range", call->range[0] ? call->range : NULL },
                            /* (with no value libcurl leaves out its own, that of a form) */
                            { "Content-Type",
                              call->body && !call->content_type ? "" : call->content_type },
                            { "Content-Range", call->content_range },
                            { "If-Match", call->if_match } };
    for (size_t i = 0; i < MOST_LINES; i++)
        if (named[i].value && !(lines[i] = sfs_format("%s:%s%s", named[i].name,
                                                      *named[i].value ? " " : "", named[i].value)))
            return sfs_fail_memory(err);
    return 0;
}

/* Certificates of another host are looked for under its own name. */
static int exchange_once(struct exchange *exchange, struct sfs_http_answer *answer,
                         struct sfs_error *err)
{
    struct sfs_call *call = exchange->call;
    AUTO(free_lines) char *lines[MOST_LINES] = { NULL };
    AUTO(sfs_http_tls_done) struct sfs_http_tls other = { 0 };
    const struct sfs_registry *registry = exchange->registry;
    int r = make_lines(call, lines, err);
    if (r == 0 && call->is_elsewhere)
        r = sfs_config_find_tls(registry->config, call->final_url, registry->options->no_tls_verify,
                                &other, err);
    if (r < 0)
        return r;
    exchange->header_count = 0;
    add_header(exchange, "Accept-Encoding: identity");
    for (size_t i = 0; i < MOST_LINES; i++)
        if (lines[i])
            add_header(exchange, lines[i]);
    for (char **line = exchange->endpoint->headers; line && *line && !call->is_elsewhere; line++)
        add_header(exchange, *line);
    if (exchange->authorization && !call->is_elsewhere)
        add_header(exchange, exchange->authorization);
    struct sfs_http_request request = { .method = call->method,
                                        .url = call->final_url,
                                        .headers = exchange->headers,
                                        .header_count = exchange->header_count,
                                        .body = call->body,
                                        .on_read = call->on_read ? on_read : NULL,
                                        .body_size = call->body_size,
                                        .priority = call->priority,
                                        .tls =
                                            call->is_elsewhere ? &other : &exchange->endpoint->tls,
                                        .fresh = exchange->retry->fresh,
                                        .no_http2 = exchange->retry->no_http2,
                                        .max_body = call->max_body,
                                        .on_head = on_head,
                                        .on_data = on_data,
                                        .user = exchange,
                                        .cancelled = call->cancelled,
                                        .urgent = call->urgent };
    r = sfs_http_perform(registry->http, &request, answer, err);
    return r == -ENOBUFS && !exchange->is_final ? 0 : r;
}

/* Where the call goes next. The first URL is ours; what comes later, a server said. */
static int go_to(struct exchange *exchange, char *url, bool was_https, struct sfs_error *err)
{
    const char *host = exchange->endpoint->host;
    AUTO(sfs_free) char *owned = url;
    AUTO(sfs_url_done) struct sfs_url there = { 0 };
    AUTO(sfs_url_done) struct sfs_url home = { 0 };
    if (!url)
        return sfs_fail(err, EBADMSG, "%s redirects to what is no URL", host);
    int r = sfs_url_parse(exchange->base, &home, err);
    if (r == 0)
        r = sfs_url_parse(url, &there, err);
    if (r < 0)
        return sfs_fail_while(err, r, "%s redirects to", host);
    AUTO(sfs_free) char *shown = sfs_url_show(url);
    if (was_https && !there.is_https)
        return sfs_fail(err, EACCES, "%s redirects from https to %s, which is not encrypted", host,
                        shown);
    if (sfs_url_is_link_local(there.host) && strcmp(there.host, home.host) != 0)
        return sfs_fail(err, EACCES, "%s redirects to the link-local address %s", host, there.host);
    exchange->call->is_elsewhere = strcmp(home.origin, there.origin) != 0;
    free(exchange->call->final_url);
    exchange->call->final_url = TAKE(owned);
    return 0;
}

static int follow(struct exchange *exchange, const struct sfs_http_answer *answer,
                  struct sfs_error *err)
{
    const char *from = exchange->call->final_url;
    if (exchange->hops++ >= SFS_MAX_REDIRECTS)
        return sfs_fail(err, EBADMSG, "%s redirects more than %d times", exchange->endpoint->host,
                        SFS_MAX_REDIRECTS);
    char *next = sfs_url_resolve(from, sfs_http_header(answer, "Location", 0));
    return go_to(exchange, next, strncmp(from, "https:", 6) == 0, err);
}

/* 1: the call goes on with other credentials. */
static int log_in(struct exchange *exchange, const struct sfs_http_answer *answer,
                  struct sfs_error *err)
{
    struct sfs_token_for who = who_asks(exchange);
    if (exchange->challenges++ >= MOST_CHALLENGES)
        return 0;
    int r =
        sfs_tokens_answer(exchange->registry->tokens, &who, exchange->authorization, answer, err);
    sfs_free(&exchange->authorization);
    if (r == 0)
        r = sfs_tokens_get(exchange->registry->tokens, &who, &exchange->authorization,
                           &exchange->has_login, err);
    return r < 0 ? r : 1;
}

static void done_exchange(struct exchange *exchange)
{
    sfs_free(&exchange->base);
    sfs_free(&exchange->authorization);
}

static int go_to_start(struct exchange *exchange, struct sfs_error *err)
{
    struct sfs_call *call = exchange->call;
    const struct sfs_endpoint *endpoint = exchange->endpoint;
    const char *rest = strchr(endpoint->base, ':');
    sfs_free(&exchange->base);
    exchange->base =
        exchange->is_plain && rest ? sfs_format("http%s", rest) : strdup(endpoint->base);
    if (!exchange->base)
        return sfs_fail_memory(err);
    if (call->url)
        return go_to(exchange, strdup(call->url), false, err);
    const char *mark = !endpoint->query ? "" : strchr(call->path, '?') ? "&" : "?";
    char *url = sfs_format("%s/%s/%s%s%s", exchange->base, endpoint->repository, call->path, mark,
                           endpoint->query ? endpoint->query : "");
    return url ? go_to(exchange, url, false, err) : sfs_fail_memory(err);
}

/* To the last answer of the call, or the first failure. */
static int make_exchanges(struct exchange *exchange, struct sfs_http_answer *answer,
                          struct sfs_error *err)
{
    struct sfs_token_for who = who_asks(exchange);
    int r = sfs_tokens_get(exchange->registry->tokens, &who, &exchange->authorization,
                           &exchange->has_login, err);
    while (r == 0) {
        sfs_http_answer_done(answer);
        r = exchange_once(exchange, answer, err);
        exchange->call->had_login = exchange->has_login;
        if (r < 0)
            return r;
        if (is_redirect(answer)) {
            r = follow(exchange, answer, err);
        } else if (answer->status == 401 && !exchange->call->is_elsewhere) {
            r = log_in(exchange, answer, err);
            if (r <= 0)
                return r;
            r = 0;
        } else {
            return 0;
        }
    }
    return r;
}

/* No TLS there, as far as that can be told: a server that waits for a line's end is silent. */
static bool may_go_on_plain(const struct exchange *exchange, const struct sfs_http_answer *answer)
{
    struct sfs_endpoint *endpoint = exchange->endpoint;
    if (answer->spoke_tls)
        atomic_store(&endpoint->is_encrypted, true);
    bool speaks_no_tls =
        answer->failure == SFS_HTTP_NO_TLS || answer->failure == SFS_HTTP_TIMEOUT ||
        answer->failure == SFS_HTTP_BROKEN || answer->failure == SFS_HTTP_NO_CONNECTION;
    return speaks_no_tls && endpoint->may_be_plain && !atomic_load(&endpoint->is_encrypted) &&
           !answer->was_reused && strncmp(exchange->base, "https:", 6) == 0;
}

/* Did plain HTTP do better than TLS? A server with TLS answers 400 to it; one that is silent, but
 * let TLS end at once, may be a slow one without. Else the words on TLS say more. */
static bool speaks_plain(int r, const struct sfs_http_answer *tls,
                         const struct sfs_http_answer *plain)
{
    bool refused_tls = tls->failure == SFS_HTTP_NO_TLS || tls->failure == SFS_HTTP_BROKEN;
    if (r == -EAGAIN && plain->failure != SFS_HTTP_ANSWERED)
        return refused_tls && plain->failure != SFS_HTTP_NO_CONNECTION;
    return plain->status != 400;
}

/* The call once more, by plain HTTP. Other threads do so from the start once an answer has come
 * that way, and not before: a server with TLS refuses it for good, though its handshake may only
 * have been cut off. */
static int try_plain(struct exchange *exchange, struct sfs_http_answer *answer,
                     struct sfs_error *err)
{
    struct sfs_endpoint *endpoint = exchange->endpoint;
    struct sfs_http_answer plain = { 0 };
    exchange->is_plain = true;
    int r = go_to_start(exchange, err);
    if (r == 0)
        r = make_exchanges(exchange, &plain, err);
    bool is_known = atomic_load(&endpoint->is_plain); /* by another thread meanwhile */
    if (!is_known && !speaks_plain(r, answer, &plain)) {
        sfs_http_answer_done(&plain);
        return -EAGAIN;
    }
    if (plain.status > 0 && plain.status != 400)
        atomic_store(&endpoint->is_plain, true);
    sfs_http_answer_done(answer);
    *answer = plain;
    return r;
}

int sfs_client_try(struct sfs_registry *registry, struct sfs_endpoint *endpoint,
                   const struct sfs_retry *retry, struct sfs_call *call,
                   struct sfs_http_answer *ret_answer, struct sfs_error *err)
{
    AUTO(done_exchange)
    struct exchange exchange = { .registry = registry,
                                 .endpoint = endpoint,
                                 .retry = retry,
                                 .call = call,
                                 .is_plain = atomic_load(&endpoint->is_plain) };
    *ret_answer = (struct sfs_http_answer){ 0 };
    int r = go_to_start(&exchange, err);
    if (r == 0)
        r = make_exchanges(&exchange, ret_answer, err);
    if (!exchange.base || call->is_elsewhere || !may_go_on_plain(&exchange, ret_answer) ||
        r != -EAGAIN)
        return r;
    return try_plain(&exchange, ret_answer, err);
}
