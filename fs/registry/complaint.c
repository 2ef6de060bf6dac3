/* The codes are those of the distribution specification; what a server says beside them is shown as
 * far as it fits into a sentence. */
#include "registry/complaint.h"

#include "base/banned.h"
#include <errno.h>
#include <jansson.h>
#include <stagefs/auto.h>
#include <stagefs/format.h>
#include <stagefs/json.h>

#define MOST_SHOWN 200

/* ---- no answer */

static int complain_of_certificate(const char *host, const char *detail, struct sfs_error *err)
{
    if (strstr(detail, "subject name") || strstr(detail, "does not match"))
        return sfs_fail(err, EIO,
                        "%s shows a certificate of another name (%.200s): use the name that stands "
                        "in it, or give --tls-verify=false",
                        host, detail);
    if (strstr(detail, "expired"))
        return sfs_fail(err, EIO,
                        "%s's certificate has run out (%.200s): it has to be renewed there; is the "
                        "clock of this machine right?",
                        host, detail);
    return sfs_fail(
        err, EIO,
        "%s's certificate is not trusted (%.200s): put the certificate of its authority "
        "into /etc/containers/certs.d/%s/ca.crt, or give --tls-verify=false",
        host, detail, host);
}

static int complain_of_failure(const struct sfs_endpoint *endpoint, const char *host,
                               const struct sfs_http_answer *answer, struct sfs_error *err)
{
    const char *detail = answer->detail;
    switch (answer->failure) {
    case SFS_HTTP_NO_NAME:
        return sfs_fail(
            err, EAGAIN,
            "no host of the name %s is known: is it spelt right, and is there a network?", host);
    case SFS_HTTP_NO_TLS:
        if (strstr(detail, "wrong version number"))
            return sfs_fail(err, EIO,
                            "%s speaks plain HTTP: give --tls-verify=false, or set \"insecure = "
                            "true\" for it in registries.conf",
                            host);
        return sfs_fail(err, EIO, "%s and we do not agree on TLS: %.200s", host, detail);
    case SFS_HTTP_BAD_CERTIFICATE:
        return complain_of_certificate(host, detail, err);
    case SFS_HTTP_NO_AUTHORITIES:
        return sfs_fail(err, EIO,
                        "the authorities by which %s's certificate could be checked cannot be read "
                        "(%.200s): install ca-certificates, or name their file in SSL_CERT_FILE",
                        host, detail);
    case SFS_HTTP_OWN_CERTIFICATE:
        return sfs_fail(err, EIO, "the certificate that is set for %s is of no use: %.200s",
                        endpoint->host, detail);
    case SFS_HTTP_PROXY:
        return sfs_fail(err, EAGAIN,
                        "the proxy that http_proxy or https_proxy names gives no connection to %s: "
                        "%.200s",
                        host, detail);
    case SFS_HTTP_UNFIT:
        return sfs_fail(err, EIO, "%s: %.200s", host, detail);
    default:
        return sfs_fail(err, EAGAIN,
                        "%s does not answer (%.200s): is it up, and is the network, or a proxy, in "
                        "between right?",
                        host, detail);
    }
}

/* ---- a refusal */

static bool is_html(const struct sfs_http_answer *answer)
{
    const char *type = sfs_http_header(answer, "Content-Type", 0);
    return type && strncasecmp(type, "text/html", 9) == 0;
}

static void close_json(json_t **json)
{
    json_decref(*json);
    *json = NULL;
}

/* "CODE: message" of {"errors":[{"code","message"}]}; else what the body begins with, if that is
 * text. The caller frees; NULL: nothing is said. */
static char *read_words(const struct sfs_call *call, const struct sfs_http_answer *answer)
{
    AUTO(close_json) json_t *json = NULL;
    const struct sfs_buf *body = &call->refusal;
    if (body->size == 0)
        return NULL;
    if (sfs_json_parse(body->data, body->size, 0, &json, NULL) < 0)
        return is_html(answer) ? strdup("a web page") : sfs_format("%.*s", MOST_SHOWN, body->data);
    const json_t *first = json_array_get(json_object_get(json, "errors"), 0);
    const char *code = json_string_value(json_object_get(first, "code"));
    const char *message = json_string_value(json_object_get(first, "message"));
    if (!code && !message)
        return sfs_format("%.*s", MOST_SHOWN, body->data);
    return sfs_format("%.60s%s%.*s", code ? code : "", code && message ? ": " : "", MOST_SHOWN,
                      message ? message : "");
}

static bool says(const char *words, const char *code)
{
    return words && strncmp(words, code, strlen(code)) == 0;
}

static int complain_of_missing(const struct sfs_endpoint *endpoint, const char *what,
                               const char *words, struct sfs_error *err)
{
    const char *host = endpoint->host, *repository = endpoint->repository;
    if (says(words, "NAME_UNKNOWN"))
        return sfs_fail(err, ENOENT, "%s has no repository '%s': is it spelt right?", host,
                        repository);
    return sfs_fail(
        err, ENOENT, "%s has no %s in '%s'%s%.200s", host, what, repository,
        words && !says(words, "MANIFEST_UNKNOWN") && !says(words, "BLOB_UNKNOWN") ? ": " : "",
        words && !says(words, "MANIFEST_UNKNOWN") && !says(words, "BLOB_UNKNOWN") ? words : "");
}

static int complain_of_access(const struct sfs_endpoint *endpoint, const struct sfs_call *call,
                              const char *words, struct sfs_error *err)
{
    const char *host = endpoint->host;
    if (call->had_login)
        return sfs_fail(err, EACCES,
                        "%s gives this login no access to '%s' (%.200s): log in as another user "
                        "(podman login %s), or give --creds USER:PASSWORD",
                        host, endpoint->repository, words ? words : "no reason given", host);
    return sfs_fail(
        err, EACCES,
        "%s gives no access to '%s' without a login (%.200s): log in (podman login %s), "
        "or give --creds USER:PASSWORD or --authfile FILE",
        host, endpoint->repository, words ? words : "no reason given", host);
}

static int complain_of_push_right(const struct sfs_endpoint *endpoint, const struct sfs_call *call,
                                  const char *words, struct sfs_error *err)
{
    const char *host = endpoint->host;
    if (!call->had_login)
        return sfs_fail(err, EACCES,
                        "%s takes no push to '%s' without a login (%.200s): log in (podman login "
                        "%s), or give --creds USER:PASSWORD or --authfile FILE",
                        host, endpoint->repository, words ? words : "no reason given", host);
    return sfs_fail(err, EACCES,
                    "%s gives this login no right to push to '%s' (%.200s): have it given that "
                    "right, or log in as another user (podman login %s)",
                    host, endpoint->repository, words ? words : "no reason given", host);
}

/* What is refused only to those who write. 0: none of these. */
static int complain_of_push(const struct sfs_endpoint *endpoint, const char *what,
                            const struct sfs_call *call, const struct sfs_http_answer *answer,
                            const char *words, struct sfs_error *err)
{
    const char *host = endpoint->host, *said = words ? words : "no reason given";
    if (words && strcasestr(words, "immutable"))
        return sfs_fail(err, EEXIST,
                        "%s of '%s' is there already, and %s lets no tag change (%.200s): push "
                        "under another tag",
                        what, endpoint->repository, host, said);
    switch (answer->status) {
    case 401:
    case 403:
        return complain_of_push_right(endpoint, call, words, err);
    case 404:
        if (!says(words, "NAME_UNKNOWN"))
            return 0;
        return sfs_fail(err, ENOENT,
                        "%s has no repository '%s', and makes none by itself: make it there first, "
                        "or is it spelt otherwise?",
                        host, endpoint->repository);
    case 405:
        return sfs_fail(err, EROFS,
                        "%s takes no pushes (status 405, %.200s): it is read-only, or a cache of "
                        "another registry; push to that one",
                        host, said);
    case 413:
        return sfs_fail(
            err, E2BIG,
            "%s takes nothing as large as %s (status 413): have the limit raised, which "
            "is often that of a proxy before it",
            host, what);
    default:
        return says(words, "DIGEST_INVALID")
                   ? sfs_fail(err, EKEYREJECTED,
                              "%s got %s with another digest (%.200s): stagefs "
                              "verify tells whether the source holds it",
                              host, what, said)
                   : 0;
    }
}

/* The host that was asked last, for a failure behind a redirect. */
static char *name_host(const struct sfs_endpoint *endpoint, const struct sfs_call *call)
{
    if (!call->is_elsewhere || !call->final_url)
        return strdup(endpoint->host);
    const char *host = strstr(call->final_url, "://");
    host = host ? host + 3 : call->final_url;
    return sfs_format("%.*s (where %s leads to)", (int)strcspn(host, "/?#"), host, endpoint->host);
}

int sfs_complain(const struct sfs_endpoint *endpoint, const char *what, const struct sfs_call *call,
                 const struct sfs_http_answer *answer, struct sfs_error *err)
{
    AUTO(sfs_free) char *host = name_host(endpoint, call);
    /* What a storage says of a signed URL may hold parts of it. */
    AUTO(sfs_free) char *words = call->is_elsewhere ? NULL : read_words(call, answer);
    if (!host)
        return sfs_fail_memory(err);
    if (answer->failure != SFS_HTTP_ANSWERED)
        return complain_of_failure(endpoint, host, answer, err);
    if (!call->is_elsewhere && call->actions && strstr(call->actions, "push")) {
        int r = complain_of_push(endpoint, what, call, answer, words, err);
        if (r < 0)
            return r;
    }
    if (!call->is_elsewhere && (answer->status == 404 || answer->status == 410))
        return complain_of_missing(endpoint, what, words, err);
    if (!call->is_elsewhere && (answer->status == 401 || answer->status == 403))
        return complain_of_access(endpoint, call, words, err);
    if (answer->status == 429)
        return sfs_fail(err, EAGAIN,
                        "%s wants fewer requests (status 429%s%.200s): try again later, or log in "
                        "if you have not",
                        host, words ? ", " : "", words ? words : "");
    if (answer->status == 416)
        return sfs_fail(err, EBADMSG, "%s has %s in another size than the manifest says", host,
                        what);
    bool is_unknown = answer->status == 405 || answer->status == 501;
    int code = is_unknown ? ENOTSUP : sfs_retry_may_help(answer) ? EAGAIN : EIO;
    return sfs_fail(err, code, "%s answers with status %ld for %s%s%.200s", host, answer->status,
                    what, words ? ": " : "", words ? words : "");
}
