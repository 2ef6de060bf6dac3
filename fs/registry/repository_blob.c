/* Blobs, by single closed ranges: that is what all servers know (several ranges, and open ones, are
 * refused here and there).
 *
 * A blob often lies behind a redirect to a storage, by a URL that is good for minutes. Where that
 * leads is kept per blob (its route), and asked directly; one that is refused there has run out,
 * and is resolved again, once, by one of those who use it while the others wait.
 *
 * A server that answers a range with all of it (a cache that has not got the blob yet) is taken at
 * its word: the first such answer becomes the one download of the blob. */
#include "registry/repository_parts.h"

#include "base/limits.h"
#include "registry/complaint.h"
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stagefs/format.h>

struct blob_route {
    struct sfs_digest digest;
    char *url;           /* where it was led to; NULL: the endpoint has it itself, or not known */
    size_t endpoint;     /* that led there */
    bool is_known;       /* an answer has come */
    bool is_resolving;   /* somebody asks the endpoint */
    unsigned resolved;   /* counts how often that came to an end */
    bool is_whole;       /* somebody downloads all of it */
    unsigned generation; /* counts what `url` was */
    struct blob_route *next;
};

struct blob_fetch {
    struct sfs_repository *repository;
    struct blob_route *route;
    uint64_t blob_size, offset, end; /* what is wanted: [offset, end) */
    enum sfs_http_priority priority;
    sfs_blob_sink sink;
    void *user;
    atomic_bool cancelled;
    atomic_bool is_urgent; /* somebody waits for it, whatever its priority was */

    uint64_t next;       /* the sink has all before */
    uint64_t at;         /* place of the byte that comes next in this try */
    bool is_whole;       /* all of it comes */
    bool is_resolver;    /* others wait for the route that this finds */
    bool has_redone;     /* a URL that had run out was resolved again */
    bool was_routed;     /* this try went to a kept URL */
    unsigned generation; /* of that */
    size_t endpoint;     /* asked in this try */
    struct blob_fetch *next_fetch;
};

void sfs_repository_forget_routes(struct sfs_repository *repository)
{
    for (struct blob_route *it = repository->routes, *next; it; it = next) {
        next = it->next;
        free(it->url);
        free(it);
    }
    repository->routes = NULL;
}

/* ---- routes */

static struct blob_route *find_route(struct sfs_repository *repository,
                                     const struct sfs_digest *digest)
{
    for (struct blob_route *it = repository->routes; it; it = it->next)
        if (sfs_digest_equal(&it->digest, digest))
            return it;
    struct blob_route *route = calloc(1, sizeof *route);
    if (!route)
        return NULL;
    route->digest = *digest;
    route->next = repository->routes;
    repository->routes = route;
    return route;
}

static enum sfs_http_priority priority_of(const struct blob_fetch *fetch)
{
    return atomic_load(&fetch->is_urgent) ? SFS_HTTP_DEMAND : fetch->priority;
}

/* Has those go first that match. False: none does. */
static bool hurry(struct sfs_repository *repository, const void *user,
                  const struct blob_route *resolved)
{
    bool is_new = false, is_any = false;
    {
        LOCK(&repository->lock);
        for (struct blob_fetch *it = repository->fetches; it; it = it->next_fetch) {
            if (resolved ? it->route != resolved || !it->is_resolver : it->user != user)
                continue;
            is_any = true;
            is_new |= !atomic_exchange(&it->is_urgent, true);
        }
    }
    if (is_new)
        sfs_http_wake(sfs_registry_http(repository->registry));
    return is_any;
}

bool sfs_repository_hurry(struct sfs_repository *repository, const void *user)
{
    return hurry(repository, user, NULL);
}

/* Waits until the way is known or this fetch is to find it; a copy of the kept URL, or NULL. Waits
 * for one try of another at most: where nobody answers, they all look for themselves. */
static int take_route(struct blob_fetch *fetch, char **ret_url, struct sfs_error *err)
{
    struct sfs_repository *repository = fetch->repository;
    struct blob_route *route = fetch->route;
    LOCK(&repository->lock);
    unsigned resolved = route->resolved;
    while (route->is_resolving && !route->is_known && route->resolved == resolved &&
           !atomic_load(&fetch->cancelled))
        pthread_cond_wait(&repository->changed, &repository->lock);
    if (atomic_load(&fetch->cancelled))
        return sfs_fail(err, ECANCELED, "cancelled");
    fetch->is_resolver = !route->is_known;
    route->is_resolving |= fetch->is_resolver;
    fetch->was_routed = route->url && route->endpoint == fetch->endpoint;
    fetch->generation = route->generation;
    *ret_url = fetch->was_routed ? strdup(route->url) : NULL;
    return fetch->was_routed && !*ret_url ? sfs_fail_memory(err) : 0;
}

static void stop_resolving(struct blob_fetch *fetch)
{
    if (!fetch->is_resolver)
        return;
    fetch->is_resolver = false;
    fetch->route->is_resolving = false;
    fetch->route->resolved++;
    pthread_cond_broadcast(&fetch->repository->changed);
}

/* An answer came: that is the way from now on. */
static void keep_route(struct blob_fetch *fetch, const struct sfs_call *call)
{
    struct blob_route *route = fetch->route;
    LOCK(&fetch->repository->lock);
    if (!fetch->was_routed) {
        free(route->url);
        route->url = call->is_elsewhere ? strdup(call->final_url) : NULL;
        route->endpoint = fetch->endpoint;
        route->generation++;
        route->is_known = true;
    }
    fetch->repository->preferred = fetch->endpoint;
    stop_resolving(fetch);
}

/* The kept URL was refused. Whoever sees that first has it resolved again. */
static void drop_route(struct blob_fetch *fetch)
{
    struct blob_route *route = fetch->route;
    LOCK(&fetch->repository->lock);
    if (route->generation != fetch->generation)
        return;
    sfs_free(&route->url);
    route->is_known = false;
}

static bool has_run_out(const struct blob_fetch *fetch, const struct sfs_http_answer *answer)
{
    long status = answer->status;
    return fetch->was_routed && !fetch->has_redone &&
           (status == 400 || status == 401 || status == 403 || status == 404 || status == 410);
}

/* ---- what comes */

static bool read_number(const char **at, uint64_t *ret_number)
{
    char *end;
    if (!isdigit((unsigned char)**at))
        return false;
    errno = 0;
    unsigned long long number = strtoull(*at, &end, 10);
    *at = end;
    *ret_number = number;
    return errno == 0;
}

bool sfs_content_range_is(const char *value, uint64_t first, uint64_t last, uint64_t total)
{
    uint64_t numbers[3];
    static const char behind[3] = { '-', '/', 0 };
    if (strncasecmp(value, "bytes ", 6) != 0)
        return false;
    value += 6;
    for (int i = 0; i < 3; i++) {
        if (!read_number(&value, &numbers[i]) || *value != behind[i])
            return false;
        value += behind[i] != 0;
    }
    return numbers[0] == first && numbers[1] == last && numbers[2] == total;
}

static int check_part(struct blob_fetch *fetch, const struct sfs_http_answer *answer,
                      const char *host, struct sfs_error *err)
{
    const char *range = sfs_http_header(answer, "Content-Range", 0);
    if (!range || sfs_http_header(answer, "Content-Range", 1) ||
        !sfs_content_range_is(range, fetch->next, fetch->end - 1, fetch->blob_size))
        return sfs_fail(err, EBADMSG,
                        "%s was asked for bytes %" PRIu64 "-%" PRIu64 "/%" PRIu64
                        " and sends '%.100s'",
                        host, fetch->next, fetch->end - 1, fetch->blob_size, range ? range : "");
    fetch->at = fetch->next;
    return 0;
}

/* All of it comes, though a part was asked for. */
static int begin_whole(struct blob_fetch *fetch, struct sfs_error *err)
{
    LOCK(&fetch->repository->lock);
    fetch->at = 0;
    bool was_asked_for = fetch->offset == 0 && fetch->end == fetch->blob_size;
    if (fetch->is_whole || was_asked_for)
        return 0;
    if (fetch->route->is_whole)
        return sfs_fail(err, EALREADY, "the whole blob is on its way already");
    fetch->route->is_whole = true;
    fetch->is_whole = true;
    fetch->next = 0;
    fetch->end = fetch->blob_size;
    return 0;
}

static int check_length(const struct blob_fetch *fetch, const struct sfs_http_answer *answer,
                        const char *host, struct sfs_error *err)
{
    const char *text = sfs_http_header(answer, "Content-Length", 0);
    uint64_t length = 0, wanted = fetch->end - fetch->at;
    if (!text || (read_number(&text, &length) && length == wanted))
        return 0;
    return sfs_fail(err, EBADMSG, "%s sends %" PRIu64 " bytes where there should be %" PRIu64, host,
                    length, wanted);
}

static int on_head(void *user, const struct sfs_call *call, const struct sfs_http_answer *answer,
                   struct sfs_error *err)
{
    struct blob_fetch *fetch = user;
    const char *host = fetch->repository->endpoints[fetch->endpoint].host;
    const char *coding = sfs_http_header(answer, "Content-Encoding", 0);
    keep_route(fetch, call);
    if (coding && strcasecmp(coding, "identity") != 0)
        return sfs_fail(err, EBADMSG, "%s sends bytes encoded as %.50s, which nobody asked for",
                        host, coding);
    if (answer->status != 200 && answer->status != 206)
        return sfs_fail(err, EBADMSG, "%s answers a range with status %ld", host, answer->status);
    int r = answer->status == 206 ? check_part(fetch, answer, host, err) : begin_whole(fetch, err);
    return r < 0 ? r : check_length(fetch, answer, host, err);
}

/* What the sink has from an earlier try is passed over. */
static int on_data(void *user, const void *data, size_t size, struct sfs_error *err)
{
    struct blob_fetch *fetch = user;
    if (size > fetch->end - fetch->at)
        return sfs_fail(err, EBADMSG, "%s sends more bytes than there should be",
                        fetch->repository->endpoints[fetch->endpoint].host);
    uint64_t old = fetch->next > fetch->at ? fetch->next - fetch->at : 0;
    fetch->at += size;
    if (old >= size)
        return 0;
    const char *fresh = (const char *)data + old;
    int r = fetch->sink(fetch->user, fetch->next, fresh, size - (size_t)old);
    if (r < 0)
        return sfs_fail_errno(err, -r, "keeping what came");
    fetch->next += size - old;
    return 0;
}

/* ---- trying */

static int try_once(struct blob_fetch *fetch, const struct sfs_retry *retry, struct sfs_call *call,
                    struct sfs_http_answer *answer, struct sfs_error *err)
{
    AUTO(sfs_free) char *url = NULL;
    if (priority_of(fetch) == SFS_HTTP_DEMAND)
        hurry(fetch->repository, NULL, fetch->route);
    int r = take_route(fetch, &url, err);
    if (r < 0)
        return r;
    if (!fetch->is_whole)
        snprintf(call->range, sizeof call->range, "bytes=%" PRIu64 "-%" PRIu64, fetch->next,
                 fetch->end - 1);
    call->url = url;
    struct sfs_repository *repository = fetch->repository;
    r = sfs_client_try(repository->registry, &repository->endpoints[fetch->endpoint], retry, call,
                       answer, err);
    call->url = NULL;
    LOCK(&repository->lock);
    stop_resolving(fetch);
    return r;
}

static void broke_off(struct sfs_http_answer *answer)
{
    answer->failure = SFS_HTTP_BROKEN;
    snprintf(answer->detail, sizeof answer->detail, "the answer ended too early");
}

/* What the try came to. 0: all is there. 1: once more, by the same endpoint. Else the failure;
 * where that is of one endpoint, the next may do better. */
static int judge(struct blob_fetch *fetch, int r, struct sfs_call *call,
                 struct sfs_http_answer *answer, struct sfs_retry *retry, uint64_t before,
                 const char *what, struct sfs_error *err)
{
    struct sfs_repository *repository = fetch->repository;
    bool is_good = r == 0 && answer->status >= 200 && answer->status < 300;
    if (is_good && fetch->next == fetch->end)
        return 0;
    if (r == 0 && has_run_out(fetch, answer)) {
        fetch->has_redone = true;
        drop_route(fetch);
        return 1;
    }
    if (is_good)
        broke_off(answer);
    else if (r < 0 && (r != -EAGAIN || answer->failure == SFS_HTTP_ANSWERED))
        return r;
    if (fetch->next > before) { /* it is going on, so patience begins anew */
        *retry = (struct sfs_retry){ .most = retry->most };
        fetch->has_redone = false;
    }
    if (sfs_retry_wait(sfs_registry_http(repository->registry), retry, answer, priority_of(fetch),
                       &fetch->cancelled))
        return 1;
    if (atomic_load(&fetch->cancelled))
        return sfs_fail(err, ECANCELED, "cancelled");
    return sfs_complain(&repository->endpoints[fetch->endpoint], what, call, answer, err);
}

static int fetch_from(struct blob_fetch *fetch, size_t endpoint, bool last, struct sfs_error *err)
{
    char digest[SFS_DIGEST_TEXT], what[SFS_DIGEST_TEXT + 8], path[SFS_DIGEST_TEXT + 8];
    sfs_digest_print(&fetch->route->digest, digest);
    snprintf(what, sizeof what, "blob %s", digest);
    snprintf(path, sizeof path, "blobs/%s", digest);
    fetch->endpoint = endpoint;
    for (struct sfs_retry retry = { .most = last ? 0 : 1 };;) {
        AUTO(sfs_http_answer_done) struct sfs_http_answer answer = { 0 };
        AUTO(sfs_call_done)
        struct sfs_call call = { .method = "GET",
                                 .path = path,
                                 .priority = fetch->priority,
                                 .max_body = 0,
                                 .cancelled = &fetch->cancelled,
                                 .urgent = &fetch->is_urgent,
                                 .on_head = on_head,
                                 .on_data = on_data,
                                 .user = fetch };
        uint64_t before = fetch->next;
        int r = try_once(fetch, &retry, &call, &answer, err);
        r = judge(fetch, r, &call, &answer, &retry, before, what, err);
        if (r <= 0)
            return r;
    }
}

/* Can another endpoint not help? */
static bool is_final(int r)
{
    return r == 0 || r == -ECANCELED || r == -ENOMEM || r == -EALREADY;
}

/* The endpoint that gave something last, and then the others in their order. */
static int fetch_from_any(struct blob_fetch *fetch, struct sfs_error *err)
{
    struct sfs_repository *repository = fetch->repository;
    size_t count = repository->endpoint_count, first;
    {
        LOCK(&repository->lock);
        first = repository->preferred;
    }
    int r = -ENOENT;
    for (size_t n = 0; n < count; n++) {
        size_t i = n == 0 ? first : n <= first ? n - 1 : n;
        if (!repository->endpoints[i].for_digests)
            continue;
        r = fetch_from(fetch, i, n + 1 == count, err);
        if (is_final(r))
            return r;
    }
    return r;
}

static void enlist(struct blob_fetch *fetch)
{
    fetch->next_fetch = fetch->repository->fetches;
    fetch->repository->fetches = fetch;
}

static void leave(struct blob_fetch *fetch)
{
    struct sfs_repository *repository = fetch->repository;
    LOCK(&repository->lock);
    struct blob_fetch **at = &repository->fetches;
    while (*at != fetch)
        at = &(*at)->next_fetch;
    *at = fetch->next_fetch;
    if (fetch->is_whole)
        fetch->route->is_whole = false;
}

int sfs_repository_fetch(struct sfs_repository *repository, const struct sfs_digest *digest,
                         uint64_t blob_size, enum sfs_http_priority priority, uint64_t offset,
                         uint64_t size, sfs_blob_sink sink, void *user, bool *ret_whole,
                         struct sfs_error *err)
{
    *ret_whole = false;
    if (size > blob_size || offset > blob_size - size)
        return sfs_fail(err, EINVAL, "a range behind the end of its blob");
    if (size == 0)
        return 0;
    struct blob_fetch fetch = { .repository = repository,
                                .blob_size = blob_size,
                                .offset = offset,
                                .next = offset,
                                .end = offset + size,
                                .priority = priority,
                                .sink = sink,
                                .user = user };
    {
        LOCK(&repository->lock);
        fetch.route = find_route(repository, digest);
        if (!fetch.route)
            return sfs_fail_memory(err);
        enlist(&fetch);
    }
    int r = fetch_from_any(&fetch, err);
    *ret_whole = fetch.is_whole;
    leave(&fetch);
    return r;
}

void sfs_repository_cancel(struct sfs_repository *repository, const void *user)
{
    {
        LOCK(&repository->lock);
        for (struct blob_fetch *it = repository->fetches; it; it = it->next_fetch)
            if (it->user == user)
                atomic_store(&it->cancelled, true);
        pthread_cond_broadcast(&repository->changed);
    }
    sfs_http_wake(sfs_registry_http(repository->registry));
}

/* ---- small ones */

struct memory {
    char *data;
    uint64_t size;
};

static int into_memory(void *user, uint64_t offset, const void *data, size_t size)
{
    struct memory *memory = user;
    if (offset > memory->size || size > memory->size - offset)
        return -EBADMSG;
    memcpy(memory->data + offset, data, size);
    return 0;
}

int sfs_repository_read_blob(struct sfs_repository *repository, const struct sfs_digest *digest,
                             uint64_t size, uint64_t max, char **ret_data, struct sfs_error *err)
{
    char wanted[SFS_DIGEST_TEXT];
    struct sfs_digest found;
    bool whole;
    sfs_digest_print(digest, wanted);
    if (size > max)
        return sfs_fail(err, E2BIG,
                        "%s: %" PRIu64 " bytes, more than such a document may have (%" PRIu64 ")",
                        wanted, size, max);
    AUTO(sfs_free) char *data = malloc(size + 1);
    if (!data)
        return sfs_fail_memory(err);
    struct memory memory = { .data = data, .size = size };
    int r = sfs_repository_fetch(repository, digest, size, SFS_HTTP_DEMAND, 0, size, into_memory,
                                 &memory, &whole, err);
    if (r < 0)
        return r;
    data[size] = 0;
    if (sfs_digest_of(data, size, &found) < 0)
        return sfs_fail_memory(err);
    if (!sfs_digest_equal(digest, &found))
        return sfs_fail(err, EKEYREJECTED, "the bytes that %s sends for %s have another digest",
                        repository->endpoints[0].host, wanted);
    *ret_data = TAKE(data);
    return 0;
}
