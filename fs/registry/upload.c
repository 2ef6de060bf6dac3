/* One POST, and one PUT with all bytes, as containerd does it: registries differ least there. Where
 * that breaks twice, pieces are sent by PATCH, which a broken connection costs less.
 *
 * Where a blob goes is said anew with each answer (Location), may be at another host, which gets no
 * credentials (client.h), and its query is the upload's state. */
#include "registry/upload.h"

#include "base/limits.h"
#include "registry/feed.h"
#include "registry/reply.h"
#include "registry/repository_parts.h"
#include "registry/url.h"
#include <errno.h>
#include <inttypes.h>
#include <stagefs/format.h>

#define SMALL_TRIES 5          /* of requests without a body that is worth telling */
#define MOST_TRIES  3          /* of whole blobs */
#define WHOLE_TRIES 2          /* of them in one request */
#define CHUNK       (4u << 20) /* GHCR takes no larger ones */
#define CHUNK_MAX   (256u << 20)
#define BLOB_TEXT   96

struct uploading {
    struct sfs_repository *repository;
    const struct sfs_upload *upload;
    struct sfs_feed *feed;
    char what[BLOB_TEXT]; /* for messages */
    char *location;       /* the newest, absolute */
    uint64_t chunk_start, chunk_size, smallest_chunk;
};

static void done_uploading(struct uploading *self)
{
    sfs_feed_close(&self->feed);
    sfs_free(&self->location);
}

static struct sfs_call make_call(const struct uploading *self, const char *method)
{
    return (struct sfs_call){ .method = method,
                              .url = self->location,
                              .actions = "pull,push",
                              .max_body = SFS_MAX_HTTP_ERROR,
                              .cancelled = self->upload ? self->upload->cancelled : NULL };
}

/* ---- where it goes */

/* A registry behind a proxy may take itself for plain HTTP: its own host is spoken to as before. */
static int keep_https(const char *from, char **location, struct sfs_error *err)
{
    AUTO(sfs_url_done) struct sfs_url was = { 0 };
    AUTO(sfs_url_done) struct sfs_url is = { 0 };
    int r = sfs_url_parse(from, &was, err);
    if (r == 0)
        r = sfs_url_parse(*location, &is, err);
    if (r < 0)
        return sfs_fail_while(err, r, "where to upload to");
    if (!was.is_https || is.is_https)
        return 0;
    if (strcmp(was.host, is.host) != 0)
        return sfs_fail(err, EACCES, "%s wants an upload at %s, which is not encrypted", was.place,
                        is.place);
    const char *rest = strstr(*location, "://");
    rest = rest ? rest + 3 + strcspn(rest + 3, "/?#") : "";
    char *changed = sfs_format("https://%s%s", was.place, rest);
    if (!changed)
        return sfs_fail_memory(err);
    free(*location);
    *location = changed;
    return 0;
}

static int take_location(struct uploading *self, const struct sfs_reply *reply,
                         struct sfs_error *err)
{
    if (reply->smallest_chunk)
        self->smallest_chunk = reply->smallest_chunk;
    if (!reply->location && self->location)
        return 0;
    if (!reply->location)
        return sfs_fail(err, EBADMSG, "%s does not say where to upload %s to",
                        sfs_repository_home(self->repository)->host, self->what);
    AUTO(sfs_free) char *location = sfs_url_resolve(reply->from, reply->location);
    if (!location)
        return sfs_fail(err, EBADMSG, "%s wants %s uploaded to what is no URL",
                        sfs_repository_home(self->repository)->host, self->what);
    int r = keep_https(reply->from, &location, err);
    if (r < 0)
        return r;
    free(self->location);
    self->location = TAKE(location);
    return 0;
}

/* One that was begun and not used; NULL: there is none. */
static char *take_spare(struct sfs_repository *repository)
{
    LOCK(&repository->lock);
    return TAKE(repository->spare_upload);
}

/* Begins an upload. 1: no need, the blob was mounted. */
static int post(struct uploading *self, const char *from, struct sfs_error *err)
{
    char digest[SFS_DIGEST_TEXT];
    AUTO(sfs_free) char *escaped = from ? sfs_url_escape(from) : NULL;
    AUTO(sfs_free) char *path = NULL;
    AUTO(sfs_free) char *scope = from ? sfs_format("repository:%s:pull", from) : NULL;
    AUTO(sfs_reply_done) struct sfs_reply reply = { 0 };
    sfs_free(&self->location);
    if (!from && (self->location = take_spare(self->repository)))
        return 0;
    path = !from ? strdup("blobs/uploads/")
                 : sfs_format("blobs/uploads/?mount=%s&from=%s",
                              sfs_digest_print(&self->upload->digest, digest), escaped);
    if (!path || (from && (!escaped || !scope)))
        return sfs_fail_memory(err);
    struct sfs_call call = make_call(self, "POST");
    call.path = path;
    call.body = "";
    call.extra = scope;
    int r = sfs_repository_ask(self->repository, &call, self->what, from ? 1 : SMALL_TRIES, &reply,
                               err);
    if (r < 0)
        return r;
    return from && reply.status == 201 ? 1 : take_location(self, &reply, err);
}

/* With the blob mounted, where that goes; some registries fail at it where others answer 202. */
static int begin(struct uploading *self, struct sfs_error *err)
{
    const char *from = self->upload->mount_from;
    int r = from ? post(self, from, err) : 0;
    if (from && (r >= 0 || r == -ECANCELED || r == -ENOMEM))
        return r;
    return post(self, NULL, err);
}

/* The location with the digest in its query. */
static char *name_end(const struct uploading *self)
{
    char digest[SFS_DIGEST_TEXT];
    AUTO(sfs_free) char *escaped = sfs_url_escape(sfs_digest_print(&self->upload->digest, digest));
    if (!escaped)
        return NULL;
    return sfs_format("%s%cdigest=%s", self->location, strchr(self->location, '?') ? '&' : '?',
                      escaped);
}

/* ---- the bytes */

static void tell(const struct sfs_upload *upload, uint64_t done)
{
    char digest[SFS_DIGEST_TEXT], what[48];
    const struct sfs_progress *progress = upload->progress;
    if (!progress || !progress->report || upload->is_growing)
        return;
    snprintf(what, sizeof what, "pushing %.19s", sfs_digest_print(&upload->digest, digest));
    progress->report(progress->user, what, done, upload->size);
}

static ssize_t read_whole(void *user, void *buf, size_t size, uint64_t offset,
                          struct sfs_error *err)
{
    const struct uploading *self = user;
    ssize_t n = sfs_feed_read(self->feed, buf, size, offset, err);
    /* The end is told when the registry has it. */
    if (n > 0 && offset + (uint64_t)n < self->upload->size)
        tell(self->upload, offset + (uint64_t)n);
    return n;
}

static ssize_t read_chunk(void *user, void *buf, size_t size, uint64_t offset,
                          struct sfs_error *err)
{
    const struct uploading *self = user;
    uint64_t left = self->chunk_size - offset;
    if (left == 0)
        return 0;
    return read_whole(user, buf, size < left ? size : (size_t)left, self->chunk_start + offset,
                      err);
}

/* Ends the upload with what the call sends. */
static int put(struct uploading *self, struct sfs_call *call, unsigned tries,
               struct sfs_reply *ret_reply, struct sfs_error *err)
{
    AUTO(sfs_free) char *url = name_end(self);
    if (!url)
        return sfs_fail_memory(err);
    call->url = url;
    return sfs_repository_ask(self->repository, call, self->what, tries, ret_reply, err);
}

static int put_end(struct uploading *self, struct sfs_error *err)
{
    AUTO(sfs_reply_done) struct sfs_reply reply = { 0 };
    struct sfs_call call = make_call(self, "PUT");
    call.body = "";
    return put(self, &call, SMALL_TRIES, &reply, err);
}

static int put_whole(struct uploading *self, bool *ret_may_help, struct sfs_error *err)
{
    AUTO(sfs_reply_done) struct sfs_reply reply = { 0 };
    struct sfs_call call = make_call(self, "PUT");
    call.content_type = "application/octet-stream";
    call.on_read = read_whole;
    call.body_size = self->upload->size;
    call.user = self;
    int r = put(self, &call, 1, &reply, err);
    /* An upload that the registry has forgotten, and a token that ended in it, begin anew. */
    *ret_may_help =
        reply.may_help || reply.status == 404 || reply.status == 401 || reply.status == 416;
    return r;
}

/* ---- in pieces */

/* "0-END": how many bytes the registry has. Some never say more than "0-0": what was sent counts.
 */
static uint64_t stored(const struct sfs_reply *reply, uint64_t sent)
{
    uint64_t end;
    if (!reply->range || sscanf(reply->range, "0-%" SCNu64, &end) != 1 || end == 0)
        return sent;
    return end < sent ? end + 1 : sent;
}

static int patch(struct uploading *self, struct sfs_error *err)
{
    char range[64];
    AUTO(sfs_reply_done) struct sfs_reply reply = { 0 };
    struct sfs_call call = make_call(self, "PATCH");
    snprintf(range, sizeof range, "%" PRIu64 "-%" PRIu64, self->chunk_start,
             self->chunk_start + self->chunk_size - 1);
    call.content_type = "application/octet-stream";
    call.content_range = range;
    call.on_read = read_chunk;
    call.body_size = self->chunk_size;
    call.user = self;
    int r = sfs_repository_ask(self->repository, &call, self->what, 1, &reply, err);
    if (r == 0)
        r = take_location(self, &reply, err);
    if (r == 0)
        self->chunk_start += self->chunk_size;
    return r;
}

/* After a piece that failed: what of it is there? */
static int find_place(struct uploading *self, struct sfs_error *err)
{
    AUTO(sfs_reply_done) struct sfs_reply reply = { 0 };
    struct sfs_call call = make_call(self, "GET");
    int r = sfs_repository_ask(self->repository, &call, self->what, SMALL_TRIES, &reply, err);
    if (r == 0)
        r = take_location(self, &reply, err);
    if (r == 0 && reply.range)
        self->chunk_start = stored(&reply, self->chunk_start + self->chunk_size);
    return r;
}

static int put_chunks(struct uploading *self, struct sfs_error *err)
{
    uint64_t size = self->upload->size, most = self->smallest_chunk;
    most = most < CHUNK ? CHUNK : most < CHUNK_MAX ? most : CHUNK_MAX;
    unsigned failures = 0;
    self->chunk_start = 0;
    while (self->chunk_start < size) {
        uint64_t left = size - self->chunk_start;
        self->chunk_size = left < most ? left : most;
        int r = patch(self, err);
        if (r == 0) {
            failures = 0;
            continue;
        }
        if (r == -ECANCELED || r == -ENOMEM || r == -EACCES || r == -EKEYREJECTED ||
            ++failures > MOST_TRIES)
            return r;
        struct sfs_error ignored;
        if (find_place(self, &ignored) < 0)
            return r;
    }
    return put_end(self, err);
}

/* ---- all of it */

static int send_once(struct uploading *self, unsigned try, bool *ret_may_help,
                     enum sfs_uploaded *ret_how, struct sfs_error *err)
{
    *ret_may_help = false;
    int r = begin(self, err);
    if (r == 1) {
        *ret_how = SFS_UPLOADED_MOUNTED;
        return 0;
    }
    if (r < 0)
        return r;
    *ret_how = SFS_UPLOADED_SENT;
    if (!self->feed)
        r = sfs_feed_open(sfs_registry_http(self->repository->registry), self->upload, &self->feed,
                          err);
    if (r < 0)
        return r;
    r = try < WHOLE_TRIES ? put_whole(self, ret_may_help, err) : put_chunks(self, err);
    /* What the source said matters more than what the registry made of it. */
    int source = r < 0 ? sfs_feed_failure(self->feed, err) : 0;
    *ret_may_help = *ret_may_help && source == 0;
    return source < 0 ? source : r;
}

static int send(struct uploading *self, enum sfs_uploaded *ret_how, struct sfs_error *err)
{
    for (unsigned try = 0;; try++) {
        bool may_help;
        int r = send_once(self, try, &may_help, ret_how, err);
        if (r == 0 || !may_help || try + 1 == MOST_TRIES)
            return r;
    }
}

static void name_it(struct uploading *self)
{
    char digest[SFS_DIGEST_TEXT];
    if (self->upload->is_growing)
        snprintf(self->what, sizeof self->what, "a new blob");
    else
        snprintf(self->what, sizeof self->what, "blob %s",
                 sfs_digest_print(&self->upload->digest, digest));
}

/* While it is being written: a PATCH without a range, whose end nobody knows. */
static int send_growing(struct uploading *self, struct sfs_error *err)
{
    struct sfs_upload known = *self->upload;
    int r = post(self, NULL, err);
    if (r == 0)
        r = sfs_feed_open(sfs_registry_http(self->repository->registry), self->upload, &self->feed,
                          err);
    if (r < 0)
        return r;
    AUTO(sfs_reply_done) struct sfs_reply reply = { 0 };
    struct sfs_call call = make_call(self, "PATCH");
    call.content_type = "application/octet-stream";
    call.on_read = read_whole;
    call.body_size = SFS_HTTP_UNKNOWN;
    call.user = self;
    r = sfs_repository_ask(self->repository, &call, self->what, 1, &reply, err);
    if (r == 0)
        r = take_location(self, &reply, err);
    if (r == 0)
        r = known.is_known(known.user, &known.digest, err);
    if (r < 0)
        return r;
    self->upload = &known;
    return put_end(self, err);
}

int sfs_repository_put_blob(struct sfs_repository *repository, const struct sfs_upload *upload,
                            enum sfs_uploaded *ret_how, struct sfs_error *err)
{
    AUTO(done_uploading)
    struct uploading self = { .repository = repository, .upload = upload };
    name_it(&self);
    *ret_how = SFS_UPLOADED_SENT;
    if (upload->is_growing)
        return send_growing(&self, err);
    int r = sfs_repository_has_blob(repository, &upload->digest, err);
    *ret_how = SFS_UPLOADED_NOT;
    if (r == 0)
        r = send(&self, ret_how, err);
    if (r < 0)
        return r;
    tell(upload, upload->size);
    return 0;
}

int sfs_repository_has_blob(struct sfs_repository *repository, const struct sfs_digest *digest,
                            struct sfs_error *err)
{
    char text[SFS_DIGEST_TEXT], what[BLOB_TEXT], path[BLOB_TEXT];
    AUTO(sfs_reply_done) struct sfs_reply reply = { 0 };
    snprintf(what, sizeof what, "blob %s", sfs_digest_print(digest, text));
    snprintf(path, sizeof path, "blobs/%s", text);
    struct sfs_call call = { .method = "HEAD", .path = path, .actions = "pull,push" };
    int r = sfs_repository_ask(repository, &call, what, SMALL_TRIES, &reply, err);
    if (r == 0)
        return 1;
    /* A registry leads elsewhere only for what it has, and the storage may know no HEAD. A refusal
     * is left to the upload: some registries hide so what is not there. */
    if (reply.is_elsewhere && reply.status >= 400 && reply.status < 500)
        return 1;
    bool is_told =
        reply.status == 404 || reply.status == 400 || reply.status == 403 || reply.status == 405;
    return is_told ? 0 : r;
}

int sfs_repository_check_push(struct sfs_repository *repository, struct sfs_error *err)
{
    AUTO(done_uploading)
    struct uploading self = { .repository = repository, .what = "a new blob" };
    int r = post(&self, NULL, err);
    if (r < 0)
        return r;
    LOCK(&repository->lock);
    free(repository->spare_upload);
    repository->spare_upload = TAKE(self.location);
    return 0;
}

static ssize_t read_memory(void *user, void *buf, size_t size, uint64_t offset,
                           struct sfs_error *err)
{
    (void)err;
    memcpy(buf, (const char *)user + offset, size);
    return (ssize_t)size;
}

int sfs_repository_put_bytes(struct sfs_repository *repository, const void *data, size_t size,
                             struct sfs_digest *ret_digest, struct sfs_error *err)
{
    enum sfs_uploaded how;
    struct sfs_upload upload = { .size = size,
                                 .read_at = read_memory,
                                 .user = (void *)(uintptr_t)data };
    if (sfs_digest_of(data, size, &upload.digest) < 0)
        return sfs_fail_memory(err);
    int r = sfs_repository_put_blob(repository, &upload, &how, err);
    if (r == 0)
        *ret_digest = upload.digest;
    return r;
}

/* ---- manifests */

static ssize_t read_manifest(void *user, void *buf, size_t size, uint64_t offset,
                             struct sfs_error *err)
{
    const struct sfs_manifest_put *put = user;
    (void)err;
    size_t left = put->size - (size_t)offset;
    size_t n = size < left ? size : left;
    memcpy(buf, (const char *)put->data + offset, n);
    return (ssize_t)n;
}

int sfs_repository_put_manifest(struct sfs_repository *repository,
                                const struct sfs_manifest_put *put, bool *ret_took_subject,
                                struct sfs_error *err)
{
    char text[SFS_DIGEST_TEXT], what[192];
    struct sfs_digest digest;
    AUTO(sfs_reply_done) struct sfs_reply reply = { 0 };
    if (sfs_digest_of(put->data, put->size, &digest) < 0)
        return sfs_fail_memory(err);
    if (put->size > SFS_MAX_MANIFEST)
        return sfs_fail(err, E2BIG, "a manifest of %zu bytes: registries take %u", put->size,
                        SFS_MAX_MANIFEST);
    const char *name = put->tag ? put->tag : sfs_digest_print(&digest, text);
    snprintf(what, sizeof what, put->tag ? "tag '%.130s'" : "manifest %.130s", name);
    AUTO(sfs_free) char *path = sfs_format("manifests/%s", name);
    if (!path)
        return sfs_fail_memory(err);
    struct sfs_call call = { .method = "PUT",
                             .path = path,
                             .content_type = put->media_type,
                             .if_match = put->if_match,
                             .actions = "pull,push",
                             .max_body = SFS_MAX_HTTP_ERROR,
                             .on_read = read_manifest,
                             .body_size = put->size,
                             .user = (void *)(uintptr_t)put };
    int r = sfs_repository_ask(repository, &call, what, SMALL_TRIES, &reply, err);
    if (r < 0 && put->if_match && reply.status == 412)
        return sfs_fail(err, EBUSY, "%s was changed by somebody else", what);
    if (r == 0 && ret_took_subject)
        *ret_took_subject = reply.has_subject;
    return r;
}
