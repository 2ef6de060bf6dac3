/* Manifests. Each endpoint is asked in its turn; the words that the last one is refused with are
 * told, since it is the registry itself. */
#include "registry/repository.h"

#include "base/hash.h"
#include "base/limits.h"
#include "registry/complaint.h"
#include "registry/config.h"
#include "registry/repository_parts.h"
#include "registry/url.h"
#include <errno.h>
#include <jansson.h>
#include <stagefs/format.h>
#include <stagefs/json.h>

#define ACCEPTED                                                                                   \
    "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, "        \
    "application/vnd.docker.distribution.manifest.v2+json, "                                       \
    "application/vnd.docker.distribution.manifest.list.v2+json"

/* Somebody waits in front of a terminal. */
#define DOCUMENT_TRIES 4

/* ---- opening */

int sfs_repository_open(struct sfs_registry *registry, const struct sfs_name *name,
                        struct sfs_repository **ret_repository, struct sfs_error *err)
{
    AUTO(sfs_repository_close) struct sfs_repository *repository = calloc(1, sizeof *repository);
    if (!repository)
        return sfs_fail_memory(err);
    pthread_mutex_init(&repository->lock, NULL);
    pthread_cond_init(&repository->changed, NULL);
    repository->registry = registry;
    struct sfs_endpoint_list list = { 0 };
    int r = sfs_config_find_endpoints(sfs_registry_config(registry), name,
                                      sfs_registry_options(registry)->no_tls_verify, &list, err);
    repository->endpoints = list.items;
    repository->endpoint_count = list.count;
    if (r < 0)
        return r;
    *ret_repository = TAKE(repository);
    return 0;
}

void sfs_repository_close(struct sfs_repository **repository_ptr)
{
    struct sfs_repository *repository = *repository_ptr;
    if (!repository)
        return;
    *repository_ptr = NULL;
    for (size_t i = 0; i < repository->endpoint_count; i++)
        sfs_endpoint_done(&repository->endpoints[i]);
    free(repository->endpoints);
    free(repository->spare_upload);
    sfs_repository_forget_routes(repository);
    pthread_cond_destroy(&repository->changed);
    pthread_mutex_destroy(&repository->lock);
    free(repository);
}

void sfs_manifest_done(struct sfs_manifest *manifest)
{
    sfs_free(&manifest->data);
    sfs_free(&manifest->media_type);
}

/* ---- what came */

struct document {
    struct sfs_buf body;
    char *type;  /* of the header Content-Type, without parameters; NULL: there was none */
    char *claim; /* of the header Docker-Content-Digest */
};

static void done_document(struct document *document)
{
    sfs_buf_close(&document->body);
    sfs_free(&document->type);
    sfs_free(&document->claim);
}

static char *copy_header(const struct sfs_http_answer *answer, const char *name, const char *ends)
{
    const char *value = sfs_http_header(answer, name, 0);
    return value ? strndup(value, strcspn(value, ends)) : NULL;
}

static int on_head(void *user, const struct sfs_call *call, const struct sfs_http_answer *answer,
                   struct sfs_error *err)
{
    struct document *document = user;
    (void)call;
    done_document(document);
    *document = (struct document){ .type = copy_header(answer, "Content-Type", "; \t"),
                                   .claim = copy_header(answer, "Docker-Content-Digest", " \t") };
    const char *coding = sfs_http_header(answer, "Content-Encoding", 0);
    if (coding && strcasecmp(coding, "identity") != 0)
        return sfs_fail(err, EBADMSG, "the answer is encoded (%.50s), which nobody asked for",
                        coding);
    return 0;
}

static int on_data(void *user, const void *data, size_t size, struct sfs_error *err)
{
    struct document *document = user;
    return sfs_buf_add(&document->body, data, size) < 0 ? sfs_fail_memory(err) : 0;
}

static bool is_said(const char *type)
{
    return type && strcasecmp(type, "application/json") != 0 &&
           strcasecmp(type, "application/octet-stream") != 0 &&
           strncasecmp(type, "text/plain", 10) != 0;
}

/* Servers may say less than the document does, but nothing else. */
static int find_type(const struct document *document, const char *host, char **ret_type,
                     struct sfs_error *err)
{
    json_t *json = NULL;
    if (document->type && strncasecmp(document->type, "text/html", 9) == 0)
        return sfs_fail(err, EBADMSG,
                        "%s answers with a web page, not as a registry does: is the address right, "
                        "and is there a proxy or a login page in between?",
                        host);
    int r = sfs_json_parse(document->body.data ? document->body.data : "", document->body.size, 0,
                           &json, err);
    if (r < 0)
        return sfs_fail_while(err, r, "%s answers with no manifest", host);
    const char *inner = json_string_value(json_object_get(json, "mediaType"));
    const char *outer = is_said(document->type) ? document->type : NULL;
    const char *type = inner ? inner : outer;
    if (json_integer_value(json_object_get(json, "schemaVersion")) == 1)
        r = sfs_fail(
            err, ENOTSUP,
            "the manifest at %s has the old form (schema 1), which nothing writes any more: "
            "push the image again",
            host);
    else if (inner && outer && strcmp(inner, outer) != 0)
        r = sfs_fail(err, EBADMSG, "%s sends a manifest as %.100s that says that it is %.100s",
                     host, outer, inner);
    else if (!type)
        r = sfs_fail(err, EBADMSG, "%s sends a manifest that does not say of which type it is",
                     host);
    if (r == 0 && !(*ret_type = strdup(type)))
        r = sfs_fail_memory(err);
    json_decref(json);
    return r;
}

static int check_digest(const struct document *document, const struct sfs_digest *wanted,
                        const char *host, struct sfs_digest *ret_digest, struct sfs_error *err)
{
    char found_text[SFS_DIGEST_TEXT], wanted_text[SFS_DIGEST_TEXT];
    struct sfs_digest claim;
    if (sfs_digest_of(document->body.data ? document->body.data : "", document->body.size,
                      ret_digest) < 0)
        return sfs_fail_memory(err);
    sfs_digest_print(ret_digest, found_text);
    if (wanted && !sfs_digest_equal(wanted, ret_digest))
        return sfs_fail(err, EKEYREJECTED, "%s sends %s in place of %s", host, found_text,
                        sfs_digest_print(wanted, wanted_text));
    /* Only where it is of our algorithm: others may stand there. */
    if (document->claim && sfs_digest_parse(document->claim, &claim, NULL) == 0 &&
        !sfs_digest_equal(&claim, ret_digest))
        return sfs_fail(err, EKEYREJECTED, "%s sends %s and says that it is %.80s", host,
                        found_text, document->claim);
    return 0;
}

static int take_document(struct document *document, const struct sfs_digest *wanted,
                         const char *host, struct sfs_manifest *ret, struct sfs_error *err)
{
    /* A page in place of a manifest is told as that, not as a wrong digest. */
    bool is_page = document->type && strncasecmp(document->type, "text/html", 9) == 0;
    int r = is_page ? 0 : check_digest(document, wanted, host, &ret->digest, err);
    if (r == 0)
        r = find_type(document, host, &ret->media_type, err);
    if (r < 0)
        return r;
    ret->size = document->body.size;
    ret->data = TAKE(document->body.data);
    document->body = (struct sfs_buf){ 0 };
    return 0;
}

/* ---- asking */

/* Calls one endpoint until it answers with 2xx, or fails for good. `last`: it is tried again. */
static int call_endpoint(struct sfs_repository *repository, struct sfs_endpoint *endpoint,
                         const struct sfs_call *model, const char *what, bool last,
                         struct sfs_error *err)
{
    for (struct sfs_retry retry = { .most = last ? DOCUMENT_TRIES : 1 };;) {
        AUTO(sfs_http_answer_done) struct sfs_http_answer answer = { 0 };
        AUTO(sfs_call_done) struct sfs_call call = *model;
        int r = sfs_client_try(repository->registry, endpoint, &retry, &call, &answer, err);
        if (r == 0 && answer.status >= 200 && answer.status < 300)
            return 0;
        bool is_answer = r == 0 || (r == -EAGAIN && answer.failure != SFS_HTTP_ANSWERED);
        if (!is_answer)
            return r == -EAGAIN || r == -EACCES || r == -ECANCELED || r == -ENOMEM
                       ? r
                       : sfs_fail_while(err, r, "%s of %s/%s", what, endpoint->host,
                                        endpoint->repository);
        if (!sfs_retry_wait(sfs_registry_http(repository->registry), &retry, &answer, call.priority,
                            call.cancelled))
            return sfs_complain(endpoint, what, &call, &answer, err);
    }
}

struct manifest_ask {
    const char *tag;
    const struct sfs_digest *digest; /* NULL: the tag's */
    char what[160];
    char *path;
};

static int get_from(struct sfs_repository *repository, struct sfs_endpoint *endpoint,
                    const struct manifest_ask *ask, bool last, struct sfs_manifest *ret,
                    struct sfs_error *err)
{
    AUTO(done_document) struct document document = { 0 };
    struct sfs_call call = { .method = "GET",
                             .path = ask->path,
                             .accept = ACCEPTED,
                             .max_body = SFS_MAX_MANIFEST,
                             .on_head = on_head,
                             .on_data = on_data,
                             .user = &document };
    int r = call_endpoint(repository, endpoint, &call, ask->what, last, err);
    return r < 0 ? r : take_document(&document, ask->digest, endpoint->host, ret, err);
}

static bool serves(const struct sfs_endpoint *endpoint, const struct manifest_ask *ask)
{
    return ask->digest ? endpoint->for_digests : endpoint->for_tags;
}

static int make_ask(const char *tag, const struct sfs_digest *digest, struct manifest_ask *ask,
                    struct sfs_error *err)
{
    char text[SFS_DIGEST_TEXT];
    const char *reference = digest ? sfs_digest_print(digest, text) : tag;
    *ask = (struct manifest_ask){ .tag = tag, .digest = digest };
    snprintf(ask->what, sizeof ask->what, digest ? "manifest %s" : "tag '%.130s'", reference);
    ask->path = sfs_format("manifests/%s", reference);
    return ask->path ? 0 : sfs_fail_memory(err);
}

/* Says more of a tag that no endpoint has. The last one is the registry itself. */
static int explain(struct sfs_repository *repository, const char *tag, struct sfs_error *err)
{
    struct sfs_endpoint *registry = &repository->endpoints[repository->endpoint_count - 1];
    return registry->for_tags ? sfs_repository_explain_tag(repository, registry, tag, err)
                              : -ENOENT;
}

int sfs_repository_get_manifest(struct sfs_repository *repository, const char *tag,
                                const struct sfs_digest *digest, struct sfs_manifest *ret_manifest,
                                struct sfs_error *err)
{
    *ret_manifest = (struct sfs_manifest){ 0 };
    struct manifest_ask ask;
    int r = make_ask(tag, digest, &ask, err);
    AUTO(sfs_free) char *path = ask.path;
    if (r < 0)
        return r;
    r = sfs_fail(err, ENOENT, "no place is set from which %s of %s can be had", ask.what,
                 repository->endpoints[0].repository);
    for (size_t i = 0; i < repository->endpoint_count; i++) {
        bool last = i + 1 == repository->endpoint_count;
        if (!serves(&repository->endpoints[i], &ask))
            continue;
        r = get_from(repository, &repository->endpoints[i], &ask, last, ret_manifest, err);
        if (r == 0 || r == -ECANCELED || r == -ENOMEM)
            return r;
        sfs_manifest_done(ret_manifest);
        *ret_manifest = (struct sfs_manifest){ 0 };
    }
    return r == -ENOENT && !digest ? explain(repository, tag, err) : r;
}

static int tag_from(struct sfs_repository *repository, struct sfs_endpoint *endpoint,
                    const struct manifest_ask *ask, bool last, struct sfs_digest *ret,
                    struct sfs_error *err)
{
    AUTO(done_document) struct document document = { 0 };
    struct sfs_call call = { .method = "HEAD",
                             .path = ask->path,
                             .accept = ACCEPTED,
                             .max_body = SFS_MAX_MANIFEST,
                             .on_head = on_head,
                             .user = &document };
    int r = call_endpoint(repository, endpoint, &call, ask->what, last, err);
    if (r < 0)
        return r;
    if (!document.claim || sfs_digest_parse(document.claim, ret, NULL) < 0)
        return sfs_fail(err, ENOTSUP, "%s does not say what digest %s has", endpoint->host,
                        ask->what);
    return 0;
}

int sfs_repository_get_tag(struct sfs_repository *repository, const char *tag,
                           struct sfs_digest *ret_digest, struct sfs_error *err)
{
    struct manifest_ask ask;
    int r = make_ask(tag, NULL, &ask, err);
    AUTO(sfs_free) char *path = ask.path;
    if (r < 0)
        return r;
    r = sfs_fail(err, ENOENT, "no place is set from which tags of %s can be had",
                 repository->endpoints[0].repository);
    for (size_t i = 0; i < repository->endpoint_count; i++) {
        bool last = i + 1 == repository->endpoint_count;
        if (!repository->endpoints[i].for_tags)
            continue;
        r = tag_from(repository, &repository->endpoints[i], &ask, last, ret_digest, err);
        if (r == 0 || r == -ECANCELED || r == -ENOMEM)
            return r;
    }
    return r == -ENOENT ? explain(repository, tag, err) : r;
}
