/* Requests wait in one list, in the order of their coming. The thread gives them to libcurl, the
 * more urgent first, as far as their host has room, and sleeps in curl_multi_poll(). Whoever asks
 * owns its transfer, on its stack, and waits until the thread marks it done. */
#include "registry/http.h"

#include "base/thread.h"
#include "registry/http_transfer.h"
#include "registry/url.h"
#include <errno.h>
#include <time.h>
#include <unistd.h>

#define FIRST_BYTE_MS  15000  /* 5 s for the connection, and 10 s */
#define SLOW_MS        300000 /* the same where a large body was sent */
#define IDLE_MS        1000
#define LOOP_MS        2000 /* one turn of the thread's loop, and some more */
#define PAUSE_MS       20   /* until a body that waits for more is asked again */
#define MOST_PAUSED    64
#define STOP_MS        1000 /* where a 429 does not say how long */
#define FILL_AT_ONCE   2
#define LESSER_AT_ONCE (SFS_HTTP_CONNECTIONS - 2)
/* While so many requests are under way, bytes gather for so long before they are looked at: each
 * look goes over all requests, and a packet alone is not worth that. */
#define GATHER_FROM 4
#define GATHER_US   1000

struct http_host {
    char *origin;
    unsigned users;     /* transfers that point here */
    unsigned active;    /* of them at libcurl */
    int64_t not_before; /* no request is sent before this time */
    struct http_host *next;
};

struct sfs_http {
    const struct sfs_curl *curl;
    CURLM *multi;
    pthread_t thread;
    bool has_thread;
    pthread_mutex_t lock;
    pthread_cond_t changed; /* a transfer is done, or somebody called sfs_http_wake() */
    bool closing;           /* guarded by lock, as all below */
    int64_t looked_ms;      /* when the thread last looked for those that are silent */
    struct http_host *hosts;
    struct sfs_transfer *transfers; /* in the order in which they came */
};

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* ---- hosts */

static struct http_host *find_host(struct sfs_http *http, const char *origin)
{
    for (struct http_host *host = http->hosts; host; host = host->next)
        if (strcmp(host->origin, origin) == 0)
            return host;
    struct http_host *host = calloc(1, sizeof *host);
    char *copy = strdup(origin);
    if (!host || !copy) {
        free(host);
        free(copy);
        return NULL;
    }
    *host = (struct http_host){ .origin = copy, .next = http->hosts };
    http->hosts = host;
    return host;
}

/* What says nothing any more goes: a registry may name new hosts without end. */
static void forget_hosts(struct sfs_http *http, bool all)
{
    int64_t now = now_ms();
    for (struct http_host **at = &http->hosts; *at;) {
        struct http_host *host = *at;
        if (!all && (host->users > 0 || host->not_before > now)) {
            at = &host->next;
            continue;
        }
        *at = host->next;
        free(host->origin);
        free(host);
    }
}

static enum sfs_http_priority priority_of(const struct sfs_transfer *transfer)
{
    const struct sfs_http_request *request = transfer->request;
    bool is_urgent = request->urgent && atomic_load(request->urgent);
    return is_urgent ? SFS_HTTP_DEMAND : request->priority;
}

static bool has_room(const struct http_host *host, enum sfs_http_priority priority, int64_t now)
{
    static const unsigned most[] = { [SFS_HTTP_DEMAND] = SFS_HTTP_CONNECTIONS,
                                     [SFS_HTTP_PROFILE] = LESSER_AT_ONCE,
                                     [SFS_HTTP_FILL] = FILL_AT_ONCE };
    return host->not_before <= now && host->active < most[priority];
}

/* ---- the thread's work; all of it holds the lock, but for what libcurl does */

static void end_transfer(struct sfs_http *http, struct sfs_transfer *transfer)
{
    if (transfer->is_active) {
        transfer->is_active = false;
        transfer->host->active--;
    }
    transfer->is_done = true;
    pthread_cond_broadcast(&http->changed);
}

static void start_transfer(struct sfs_http *http, struct sfs_transfer *transfer)
{
    if (http->curl->multi_add_handle(http->multi, transfer->easy) != CURLM_OK) {
        transfer->result = sfs_fail_memory(transfer->err);
        end_transfer(http, transfer);
        return;
    }
    transfer->is_active = true;
    transfer->started_ms = now_ms();
    transfer->host->active++;
}

static void start_what_may(struct sfs_http *http)
{
    int64_t now = now_ms();
    for (int priority = SFS_HTTP_DEMAND; priority <= SFS_HTTP_FILL; priority++)
        for (struct sfs_transfer *it = http->transfers; it; it = it->next)
            if (!it->is_active && !it->is_done && (int)priority_of(it) == priority &&
                has_room(it->host, (enum sfs_http_priority)priority, now))
                start_transfer(http, it);
}

static bool is_cancelled(const struct sfs_transfer *transfer)
{
    return transfer->request->cancelled && atomic_load(transfer->request->cancelled);
}

/* Ends a transfer that libcurl may be busy with. */
static void break_off(struct sfs_http *http, struct sfs_transfer *transfer, int result)
{
    if (transfer->is_active)
        http->curl->multi_remove_handle(http->multi, transfer->easy);
    transfer->result = result;
    end_transfer(http, transfer);
}

/* Has it been given all that we have, and still says nothing? */
static bool is_silent(struct sfs_transfer *transfer, int64_t now)
{
    if (transfer->started_ms == 0)
        transfer->started_ms = now;
    return transfer->is_active && !transfer->has_head && !transfer->is_paused &&
           now - transfer->started_ms > (transfer->is_slow ? SLOW_MS : FIRST_BYTE_MS);
}

static void break_off_cancelled(struct sfs_http *http)
{
    for (struct sfs_transfer *it = http->transfers; it; it = it->next)
        if (!it->is_done && is_cancelled(it))
            break_off(http, it, sfs_fail(it->err, ECANCELED, "cancelled"));
}

/* Where this thread stood still itself (it was stopped, got no processor, or a disk kept it), that
 * is time which nobody had to answer in. */
static void forgive(struct sfs_http *http, int64_t now)
{
    int64_t stood = http->looked_ms ? now - http->looked_ms - LOOP_MS : 0;
    http->looked_ms = now;
    for (struct sfs_transfer *it = http->transfers; it && stood > 0; it = it->next)
        if (it->is_active && it->started_ms > 0)
            it->started_ms += stood;
}

/* To be called when libcurl has just taken what had come. */
static void break_off_silent(struct sfs_http *http)
{
    int64_t now = now_ms();
    forgive(http, now);
    for (struct sfs_transfer *it = http->transfers; it; it = it->next) {
        if (it->is_done || !is_silent(it, now))
            continue;
        it->answer->failure = SFS_HTTP_TIMEOUT;
        snprintf(it->answer->detail, sizeof it->answer->detail, "no answer after %d seconds",
                 (it->is_slow ? SLOW_MS : FIRST_BYTE_MS) / 1000);
        break_off(http, it, -EAGAIN);
    }
}

/* "Too many requests" is meant for all of them. */
static void heed(struct http_host *host, const struct sfs_http_answer *answer)
{
    bool is_busy = answer->status == 503 && answer->retry_after_ms > 0;
    if (answer->status != 429 && !is_busy)
        return;
    int64_t until = now_ms() + (answer->retry_after_ms ? answer->retry_after_ms : STOP_MS);
    if (until > host->not_before)
        host->not_before = until;
}

static void take_results(struct sfs_http *http)
{
    int left;
    CURLMsg *message;
    while ((message = http->curl->multi_info_read(http->multi, &left))) {
        char *private = NULL;
        if (message->msg != CURLMSG_DONE)
            continue;
        CURLcode code = message->data.result; /* removing the handle frees the message */
        CURL *easy = message->easy_handle;
        http->curl->easy_getinfo(easy, CURLINFO_PRIVATE, &private);
        struct sfs_transfer *transfer = (void *)private;
        http->curl->multi_remove_handle(http->multi, easy);
        sfs_transfer_finish(transfer, code);
        heed(transfer->host, transfer->answer);
        end_transfer(http, transfer);
    }
}

/* Until a host may be asked again that somebody waits for, or a silent one has had its time. */
static int sleep_ms(const struct sfs_http *http)
{
    int64_t now = now_ms(), wait = IDLE_MS;
    for (const struct sfs_transfer *it = http->transfers; it; it = it->next) {
        if (!it->is_active && !it->is_done && it->host->not_before > now &&
            it->host->not_before - now < wait)
            wait = it->host->not_before - now;
        if (it->is_active && it->is_paused && wait > PAUSE_MS)
            wait = PAUSE_MS;
    }
    return (int)wait;
}

static size_t list_paused(const struct sfs_http *http, struct sfs_transfer *paused[MOST_PAUSED])
{
    size_t count = 0;
    for (struct sfs_transfer *it = http->transfers; it && count < MOST_PAUSED; it = it->next)
        if (it->is_active && it->is_paused)
            paused[count++] = it;
    return count;
}

static void *run(void *arg)
{
    struct sfs_http *http = arg;
    pthread_mutex_lock(&http->lock);
    while (!http->closing) {
        break_off_cancelled(http);
        start_what_may(http);
        int wait, running = 0;
        struct sfs_transfer *paused[MOST_PAUSED];
        size_t count = list_paused(http, paused);
        pthread_mutex_unlock(&http->lock);
        for (size_t i = 0; i < count; i++)
            sfs_transfer_resume(paused[i]);
        http->curl->multi_perform(http->multi, &running);
        pthread_mutex_lock(&http->lock);
        take_results(http);
        break_off_silent(http);
        start_what_may(http);
        wait = sleep_ms(http);
        pthread_mutex_unlock(&http->lock);
        http->curl->multi_poll(http->multi, NULL, 0, wait, NULL);
        if (running >= GATHER_FROM)
            usleep(GATHER_US);
        pthread_mutex_lock(&http->lock);
    }
    pthread_mutex_unlock(&http->lock);
    return NULL;
}

/* ---- for all threads */

int sfs_http_open(struct sfs_http **ret_http, struct sfs_error *err)
{
    const struct sfs_curl *curl;
    int r = sfs_curl_load(&curl, err);
    if (r < 0)
        return r;
    AUTO(sfs_http_close) struct sfs_http *http = calloc(1, sizeof *http);
    if (!http)
        return sfs_fail_memory(err);
    http->curl = curl;
    pthread_mutex_init(&http->lock, NULL);
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&http->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    http->multi = curl->multi_init();
    if (!http->multi)
        return sfs_fail_memory(err);
    curl->multi_setopt(http->multi, CURLMOPT_PIPELINING, CURLPIPE_MULTIPLEX);
    curl->multi_setopt(http->multi, CURLMOPT_MAXCONNECTS, 4L * SFS_HTTP_CONNECTIONS);
    r = sfs_thread_start(&http->thread, run, http, "speaks to registries", err);
    if (r < 0)
        return r;
    http->has_thread = true;
    *ret_http = TAKE(http);
    return 0;
}

void sfs_http_close(struct sfs_http **http_ptr)
{
    struct sfs_http *http = *http_ptr;
    if (!http)
        return;
    *http_ptr = NULL;
    pthread_mutex_lock(&http->lock);
    http->closing = true;
    pthread_mutex_unlock(&http->lock);
    if (http->has_thread) {
        http->curl->multi_wakeup(http->multi);
        pthread_join(http->thread, NULL);
    }
    if (http->multi)
        http->curl->multi_cleanup(http->multi);
    forget_hosts(http, true);
    pthread_cond_destroy(&http->changed);
    pthread_mutex_destroy(&http->lock);
    free(http);
}

void sfs_http_wake(struct sfs_http *http)
{
    LOCK(&http->lock);
    pthread_cond_broadcast(&http->changed);
    http->curl->multi_wakeup(http->multi);
}

/* Puts it behind those that wait, and waits until the thread has done with it. */
static void wait_for(struct sfs_http *http, struct sfs_transfer *transfer)
{
    struct sfs_transfer **end = &http->transfers;
    while (*end)
        end = &(*end)->next;
    *end = transfer;
    transfer->host->users++;
    http->curl->multi_wakeup(http->multi);
    while (!transfer->is_done)
        pthread_cond_wait(&http->changed, &http->lock);
    transfer->host->users--;
    struct sfs_transfer **at = &http->transfers;
    while (*at != transfer)
        at = &(*at)->next;
    *at = transfer->next;
    forget_hosts(http, false);
}

int sfs_http_perform(struct sfs_http *http, const struct sfs_http_request *request,
                     struct sfs_http_answer *ret_answer, struct sfs_error *err)
{
    *ret_answer = (struct sfs_http_answer){ 0 };
    AUTO(sfs_url_done) struct sfs_url url;
    int r = sfs_url_parse(request->url, &url, err);
    if (r < 0)
        return r;
    struct sfs_transfer transfer = { .request = request, .answer = ret_answer, .err = err };
    r = sfs_transfer_init(&transfer, sfs_url_is_loopback(url.host));
    if (r == 0) {
        LOCK(&http->lock);
        transfer.host = find_host(http, url.origin);
        if (transfer.host)
            wait_for(http, &transfer);
        r = transfer.host ? transfer.result : sfs_fail_memory(err);
    }
    sfs_transfer_done(&transfer);
    return r;
}

int sfs_http_sleep(struct sfs_http *http, unsigned ms, const atomic_bool *cancelled)
{
    int64_t end = now_ms() + ms;
    struct timespec until = { .tv_sec = end / 1000, .tv_nsec = end % 1000 * 1000000 };
    LOCK(&http->lock);
    for (;;) {
        if (cancelled && atomic_load(cancelled))
            return -ECANCELED;
        if (pthread_cond_timedwait(&http->changed, &http->lock, &until) == ETIMEDOUT)
            return 0;
    }
}
