/* How long to wait: 5 s for a connection, 10 s more for the first byte (http.c looks), and no less
 * than 1 KB/s over 15 s. There is no limit for the whole: layers are large. Who gets a large body
 * is given more time, since it may digest and copy all of it before it answers. */
#include "registry/http_transfer.h"

#include "base/io.h"
#include "base/limits.h"
#include <errno.h>
#include <fcntl.h>
#include <stagefs/format.h>

#define CONNECT_MS      5000L
#define LOW_SPEED_BYTES 1000L
#define LOW_SPEED_S     15L
#define SLOW_S          300L
#define SLOW_FROM       (1u << 20)
#define EXPECT_MS       300L /* a server that does not know "Expect" costs that */
#define SEND_BUFFER     (512L << 10)

void sfs_http_tls_done(struct sfs_http_tls *tls)
{
    sfs_free(&tls->authorities);
    sfs_free(&tls->certificate);
    sfs_free(&tls->key);
}

void sfs_http_answer_done(struct sfs_http_answer *answer)
{
    sfs_buf_close(&answer->headers);
}

const char *sfs_http_header(const struct sfs_http_answer *answer, const char *name, size_t n)
{
    size_t size = strlen(name);
    const char *end = answer->headers.data + answer->headers.size;
    for (const char *p = answer->headers.data; p && p < end; p += strlen(p) + 1) {
        if (strncasecmp(p, name, size) != 0 || p[size] != ':' || n-- > 0)
            continue;
        p += size + 1;
        return p + strspn(p, " \t");
    }
    return NULL;
}

static int take_head(struct sfs_transfer *transfer)
{
    long status = 0;
    sfs_curl_get()->easy_getinfo(transfer->easy, CURLINFO_RESPONSE_CODE, &status);
    if (status < 200)
        return 0; /* "100 Continue" and the like: the answer follows */
    transfer->has_head = true;
    transfer->answer->status = status;
    const struct sfs_http_request *request = transfer->request;
    return request->on_head ? request->on_head(request->user, transfer->answer, transfer->err) : 0;
}

/* A line of the head, with its end. Those behind the body (trailers) are left out. */
static size_t on_header(char *line, size_t one, size_t size, void *user)
{
    (void)one;
    struct sfs_transfer *transfer = user;
    struct sfs_buf *headers = &transfer->answer->headers;
    if (transfer->has_head)
        return size;
    if (size >= 5 && memcmp(line, "HTTP/", 5) == 0) {
        sfs_buf_close(headers);
        return size;
    }
    if (size > 0 && (line[0] == '\r' || line[0] == '\n')) {
        transfer->stopped = take_head(transfer);
        return transfer->stopped < 0 ? 0 : size;
    }
    size_t used = size;
    while (used > 0 && strchr(" \t\r\n", line[used - 1]))
        used--;
    if (headers->size + used > SFS_MAX_HTTP_HEAD) {
        transfer->stopped =
            sfs_fail(transfer->err, E2BIG, "more than %u bytes of headers", SFS_MAX_HTTP_HEAD);
        return 0;
    }
    if (memchr(line, 0, used))
        return size; /* no value that we look at holds one */
    if (sfs_buf_add(headers, line, used) < 0 || sfs_buf_add(headers, "", 1) < 0) {
        transfer->stopped = sfs_fail_memory(transfer->err);
        return 0;
    }
    return size;
}

static size_t on_body(char *data, size_t one, size_t size, void *user)
{
    (void)one;
    struct sfs_transfer *transfer = user;
    const struct sfs_http_request *request = transfer->request;
    transfer->received += size;
    if (request->max_body && transfer->received > request->max_body)
        transfer->stopped = sfs_fail(transfer->err, E2BIG, "more than %llu bytes were sent",
                                     (unsigned long long)request->max_body);
    else if (request->on_data)
        transfer->stopped = request->on_data(request->user, data, size, transfer->err);
    return transfer->stopped < 0 ? 0 : size;
}

/* The system's certificates are one file, and where it is differs. libcurl knows that of the system
 * that it was built for, which need not be this one. */
static const char *find_system_authorities(void)
{
    static const char *const places[] = { "/etc/ssl/certs/ca-certificates.crt",
                                          "/etc/pki/tls/certs/ca-bundle.crt",
                                          "/etc/ssl/ca-bundle.pem", "/etc/ssl/cert.pem" };
    const char *named = getenv("SSL_CERT_FILE");
    if (named && *named)
        return named;
    const char *built = sfs_curl_get()->version_info(CURLVERSION_NOW)->cainfo;
    if (built && access(built, R_OK) == 0)
        return built;
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++)
        if (access(places[i], R_OK) == 0)
            return places[i];
    return NULL;
}

static int add_authorities(struct sfs_transfer *transfer, const struct sfs_http_tls *tls)
{
    const struct sfs_curl *curl = sfs_curl_get();
    const char *system = find_system_authorities();
    if (!tls->authorities) {
        if (system)
            curl->easy_setopt(transfer->easy, CURLOPT_CAINFO, system);
        return 0;
    }
    AUTO(sfs_free) char *known = NULL;
    size_t size = 0;
    struct sfs_error ignored;
    if (system)
        sfs_io_read_file(AT_FDCWD, system, SFS_MAX_JSON, &known, &size, &ignored);
    transfer->authorities = sfs_format("%s\n%s", known ? known : "", tls->authorities);
    if (!transfer->authorities)
        return sfs_fail_memory(transfer->err);
    struct curl_blob blob = { .data = transfer->authorities,
                              .len = strlen(transfer->authorities),
                              .flags = CURL_BLOB_NOCOPY };
    curl->easy_setopt(transfer->easy, CURLOPT_CAINFO_BLOB, &blob);
    return 0;
}

static int set_tls(struct sfs_transfer *transfer)
{
    static const struct sfs_http_tls usual;
    const struct sfs_curl *curl = sfs_curl_get();
    const struct sfs_http_tls *tls = transfer->request->tls ? transfer->request->tls : &usual;
    if (tls->no_verify) {
        curl->easy_setopt(transfer->easy, CURLOPT_SSL_VERIFYPEER, 0L);
        curl->easy_setopt(transfer->easy, CURLOPT_SSL_VERIFYHOST, 0L);
    }
    if (tls->certificate) {
        curl->easy_setopt(transfer->easy, CURLOPT_SSLCERT, tls->certificate);
        curl->easy_setopt(transfer->easy, CURLOPT_SSLKEY, tls->key);
    }
    return tls->no_verify ? 0 : add_authorities(transfer, tls);
}

static int set_headers(struct sfs_transfer *transfer)
{
    const struct sfs_curl *curl = sfs_curl_get();
    const struct sfs_http_request *request = transfer->request;
    for (size_t i = 0; i < request->header_count; i++) {
        struct curl_slist *more = curl->slist_append(transfer->headers, request->headers[i]);
        if (!more)
            return sfs_fail_memory(transfer->err);
        transfer->headers = more;
    }
    curl->easy_setopt(transfer->easy, CURLOPT_HTTPHEADER, transfer->headers);
    return 0;
}

static size_t on_send(char *buf, size_t one, size_t size, void *user)
{
    struct sfs_transfer *transfer = user;
    const struct sfs_http_request *request = transfer->request;
    size *= one;
    transfer->is_paused = false;
    transfer->started_ms = 0; /* http.c sets it */
    ssize_t n = request->on_read(request->user, buf, size, transfer->sent, transfer->err);
    if (n == -EAGAIN) {
        transfer->is_paused = true;
        return CURL_READFUNC_PAUSE;
    }
    if (n < 0) {
        transfer->stopped = (int)n;
        return CURL_READFUNC_ABORT;
    }
    transfer->sent += (uint64_t)n;
    return (size_t)n;
}

/* libcurl sends again what it sent on a connection that had died. */
static int on_seek(void *user, curl_off_t offset, int origin)
{
    struct sfs_transfer *transfer = user;
    if (origin != SEEK_SET || offset < 0)
        return CURL_SEEKFUNC_FAIL;
    transfer->sent = (uint64_t)offset;
    return CURL_SEEKFUNC_OK;
}

void sfs_transfer_resume(struct sfs_transfer *transfer)
{
    sfs_curl_get()->easy_pause(transfer->easy, CURLPAUSE_CONT);
}

static void set_upload(struct sfs_transfer *transfer)
{
    const struct sfs_curl *curl = sfs_curl_get();
    const struct sfs_http_request *request = transfer->request;
    CURL *easy = transfer->easy;
    bool is_known = request->body_size != SFS_HTTP_UNKNOWN;
    curl->easy_setopt(easy, CURLOPT_UPLOAD, 1L);
    curl->easy_setopt(easy, CURLOPT_READFUNCTION, on_send);
    curl->easy_setopt(easy, CURLOPT_READDATA, transfer);
    curl->easy_setopt(easy, CURLOPT_SEEKFUNCTION, on_seek);
    curl->easy_setopt(easy, CURLOPT_SEEKDATA, transfer);
    curl->easy_setopt(easy, CURLOPT_UPLOAD_BUFFERSIZE, SEND_BUFFER);
    curl->easy_setopt(easy, CURLOPT_EXPECT_100_TIMEOUT_MS, EXPECT_MS);
    if (is_known)
        curl->easy_setopt(easy, CURLOPT_INFILESIZE_LARGE, (curl_off_t)request->body_size);
    transfer->is_slow = !is_known || request->body_size >= SLOW_FROM;
    if (transfer->is_slow)
        curl->easy_setopt(easy, CURLOPT_LOW_SPEED_TIME, SLOW_S);
}

static void set_method(struct sfs_transfer *transfer)
{
    const struct sfs_curl *curl = sfs_curl_get();
    const struct sfs_http_request *request = transfer->request;
    if (strcmp(request->method, "HEAD") == 0)
        curl->easy_setopt(transfer->easy, CURLOPT_NOBODY, 1L);
    else if (strcmp(request->method, "GET") != 0)
        curl->easy_setopt(transfer->easy, CURLOPT_CUSTOMREQUEST, request->method);
    if (request->on_read)
        set_upload(transfer);
    if (request->body) {
        curl->easy_setopt(transfer->easy, CURLOPT_POSTFIELDSIZE_LARGE,
                          (curl_off_t)strlen(request->body));
        curl->easy_setopt(transfer->easy, CURLOPT_POSTFIELDS, request->body);
    }
}

static void set_manners(CURL *easy, const struct sfs_http_request *request)
{
    const struct sfs_curl *curl = sfs_curl_get();
    /* HTTP/2 is a matter of TLS; without it, nobody waits whether a connection can be shared. */
    bool may_share = !request->no_http2 && strncmp(request->url, "http:", 5) != 0;
    curl->easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl->easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
    curl->easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl->easy_setopt(easy, CURLOPT_HTTP_VERSION,
                      may_share ? CURL_HTTP_VERSION_2TLS : CURL_HTTP_VERSION_1_1);
    curl->easy_setopt(easy, CURLOPT_PIPEWAIT, may_share ? 1L : 0L);
    curl->easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L);
    curl->easy_setopt(easy, CURLOPT_FRESH_CONNECT, request->fresh ? 1L : 0L);
    curl->easy_setopt(easy, CURLOPT_HTTP_CONTENT_DECODING, 0L);
    curl->easy_setopt(easy, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
    curl->easy_setopt(easy, CURLOPT_USERAGENT, "stagefs/" SFS_VERSION);
    curl->easy_setopt(easy, CURLOPT_BUFFERSIZE, 256L << 10);
    curl->easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, CONNECT_MS);
    curl->easy_setopt(easy, CURLOPT_LOW_SPEED_LIMIT, LOW_SPEED_BYTES);
    curl->easy_setopt(easy, CURLOPT_LOW_SPEED_TIME, LOW_SPEED_S);
}

int sfs_transfer_init(struct sfs_transfer *transfer, bool is_loopback)
{
    const struct sfs_curl *curl = sfs_curl_get();
    CURL *easy = transfer->easy = curl->easy_init();
    if (!easy)
        return sfs_fail_memory(transfer->err);
    set_manners(easy, transfer->request);
    curl->easy_setopt(easy, CURLOPT_URL, transfer->request->url);
    curl->easy_setopt(easy, CURLOPT_PRIVATE, transfer);
    curl->easy_setopt(easy, CURLOPT_ERRORBUFFER, transfer->words);
    curl->easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header);
    curl->easy_setopt(easy, CURLOPT_HEADERDATA, transfer);
    curl->easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
    curl->easy_setopt(easy, CURLOPT_WRITEDATA, transfer);
    /* Else libcurl takes it from http_proxy, https_proxy and no_proxy. */
    if (is_loopback)
        curl->easy_setopt(easy, CURLOPT_PROXY, "");
    set_method(transfer);
    int r = set_headers(transfer);
    return r < 0 ? r : set_tls(transfer);
}

void sfs_transfer_done(struct sfs_transfer *transfer)
{
    const struct sfs_curl *curl = sfs_curl_get();
    curl->easy_cleanup(transfer->easy);
    curl->slist_free_all(transfer->headers);
    sfs_free(&transfer->authorities);
}

/* Was a handshake ended by the network, and not by what was said in it? (libcurl has one code for
 * both; the words are those of OpenSSL and GnuTLS.) */
static bool is_cut(const char *words)
{
    static const char *const signs[] = { "reset by peer", "SSL_ERROR_SYSCALL", "unexpected eof",
                                         "terminated", "pull function" };
    for (size_t i = 0; i < sizeof signs / sizeof signs[0]; i++)
        if (strcasestr(words, signs[i]))
            return true;
    return false;
}

static enum sfs_http_failure name_failure(CURLcode code, const char *words)
{
    switch (code) {
    case CURLE_COULDNT_RESOLVE_HOST:
        return SFS_HTTP_NO_NAME;
    case CURLE_COULDNT_CONNECT:
        return SFS_HTTP_NO_CONNECTION;
    case CURLE_OPERATION_TIMEDOUT:
        return SFS_HTTP_TIMEOUT;
    case CURLE_SSL_CONNECT_ERROR:
        return is_cut(words) ? SFS_HTTP_BROKEN : SFS_HTTP_NO_TLS;
    case CURLE_PEER_FAILED_VERIFICATION:
        return SFS_HTTP_BAD_CERTIFICATE;
    case CURLE_SSL_CACERT_BADFILE:
        return SFS_HTTP_NO_AUTHORITIES;
    case CURLE_SSL_CERTPROBLEM:
        return SFS_HTTP_OWN_CERTIFICATE;
    case CURLE_COULDNT_RESOLVE_PROXY:
    case CURLE_PROXY:
        return SFS_HTTP_PROXY;
    case CURLE_HTTP2:
    case CURLE_HTTP2_STREAM:
        return SFS_HTTP_BROKEN_HTTP2;
    case CURLE_PARTIAL_FILE:
    case CURLE_GOT_NOTHING:
    case CURLE_SEND_ERROR:
    case CURLE_RECV_ERROR:
    case CURLE_WEIRD_SERVER_REPLY:
        return SFS_HTTP_BROKEN;
    default:
        return SFS_HTTP_UNFIT;
    }
}

/* A number of seconds, or a date: libcurl reads both. */
static void take_retry_after(struct sfs_transfer *transfer)
{
    curl_off_t seconds = 0;
    sfs_curl_get()->easy_getinfo(transfer->easy, CURLINFO_RETRY_AFTER, &seconds);
    if (seconds > SFS_MAX_RETRY_AFTER)
        seconds = SFS_MAX_RETRY_AFTER;
    transfer->answer->retry_after_ms = seconds > 0 ? (unsigned)seconds * 1000 : 0;
}

void sfs_transfer_finish(struct sfs_transfer *transfer, CURLcode code)
{
    const struct sfs_curl *curl = sfs_curl_get();
    struct sfs_http_answer *answer = transfer->answer;
    long connections = 0, proxy_status = 0;
    curl->easy_getinfo(transfer->easy, CURLINFO_NUM_CONNECTS, &connections);
    curl->easy_getinfo(transfer->easy, CURLINFO_HTTP_CONNECTCODE, &proxy_status);
    curl_off_t tls_time = 0;
    curl->easy_getinfo(transfer->easy, CURLINFO_APPCONNECT_TIME_T, &tls_time);
    answer->was_reused = connections == 0;
    answer->spoke_tls = tls_time > 0;
    take_retry_after(transfer);
    transfer->result = transfer->stopped;
    /* A refusal that breaks off is a refusal. */
    if (transfer->stopped < 0 || code == CURLE_OK || answer->status >= 300)
        return;
    answer->failure = name_failure(code, transfer->words);
    if (proxy_status >= 300)
        answer->failure = SFS_HTTP_PROXY;
    snprintf(answer->detail, sizeof answer->detail, "%.250s",
             transfer->words[0] ? transfer->words : curl->easy_strerror(code));
    transfer->result = code == CURLE_OUT_OF_MEMORY ? sfs_fail_memory(transfer->err) : -EAGAIN;
}
