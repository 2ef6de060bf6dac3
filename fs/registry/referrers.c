/* The list under a tag is read, changed and written back, and nothing keeps another writer from
 * doing the same in between: who writes last wins, and does not know whom it left out. So each
 * writer looks again: soon, since it may have been left out, and after a while that is long against
 * the time that a writer takes from reading to writing, since one that read before may still have
 * written. It looks whether the list is what it read just before it writes, which makes that time
 * short. */
#include "registry/referrers.h"

#include "base/buf.h"
#include "base/limits.h"
#include "registry/reply.h"
#include "registry/repository_parts.h"
#include "registry/upload.h"
#include "registry/url.h"
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <stagefs/format.h>
#include <stagefs/json.h>
#include <sys/file.h>
#include <sys/random.h>
#include <time.h>

#define INDEX_TYPE    "application/vnd.oci.image.index.v1+json"
#define MANIFEST_TYPE "application/vnd.oci.image.manifest.v1+json"
#define TRIES         5
#define MOST_PAGES    100
#define MOST_LISTED   10000u
#define MOST_ROUNDS   100   /* of writing, all in all */
#define SETTLE_MS     1000u /* after which nobody who read before still writes */
#define SETTLE_TIMES  4u    /* or so many times what reading and writing took us */
#define MOST_SETTLE   10000u
#define TURN_MS       60000 /* how long to wait for others of this machine */

static void close_json(json_t **json)
{
    json_decref(*json);
    *json = NULL;
}

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static unsigned random_below(unsigned limit)
{
    unsigned value = 0;
    if (getrandom(&value, sizeof value, GRND_NONBLOCK) != sizeof value)
        return limit / 2;
    return limit ? value % limit : 0;
}

static int print_document(const json_t *json, char **ret_text, struct sfs_error *err)
{
    *ret_text = sfs_json_print(json, JSON_COMPACT | JSON_SORT_KEYS);
    return *ret_text ? 0 : sfs_fail_memory(err);
}

/* ---- the artifact's manifest */

static json_t *make_descriptor(const char *media_type, const struct sfs_digest *digest,
                               uint64_t size, const json_t *annotations)
{
    char text[SFS_DIGEST_TEXT];
    json_t *json = json_pack("{ss ss sI}", "mediaType", media_type, "digest",
                             sfs_digest_print(digest, text), "size", (json_int_t)size);
    if (json && annotations)
        json_object_set_new(json, "annotations", json_deep_copy(annotations));
    return json;
}

static int make_manifest(const struct sfs_artifact *artifact, const struct sfs_digest *config,
                         json_t **ret_json, struct sfs_error *err)
{
    json_t *layers = json_array();
    for (size_t i = 0; i < artifact->part_count; i++) {
        const struct sfs_artifact_part *part = &artifact->parts[i];
        json_array_append_new(layers, make_descriptor(part->media_type, &part->digest, part->size,
                                                      part->annotations));
    }
    AUTO(close_json)
    json_t *json = json_pack(
        "{si ss ss so so so}", "schemaVersion", 2, "mediaType", MANIFEST_TYPE, "artifactType",
        artifact->type, "config", make_descriptor(artifact->type, config, 2, NULL), "layers",
        layers, "subject",
        make_descriptor(artifact->subject_type, &artifact->subject, artifact->subject_size, NULL));
    if (!json)
        return sfs_fail_memory(err);
    if (artifact->annotations)
        json_object_set_new(json, "annotations", json_deep_copy(artifact->annotations));
    *ret_json = TAKE(json);
    return 0;
}

/* ---- reading lists */

static bool is_digest(const json_t *json)
{
    const char *text = json_string_value(json);
    struct sfs_digest digest;
    return text && sfs_digest_parse(text, &digest, NULL) == 0;
}

static bool is_usable(const json_t *entry)
{
    const json_t *size = json_object_get(entry, "size");
    return is_digest(json_object_get(entry, "digest")) && json_is_integer(size) &&
           json_integer_value(size) > 0 && json_integer_value(size) <= (json_int_t)SFS_MAX_MANIFEST;
}

/* Does the list hold that digest? */
static bool holds(const json_t *list, const char *digest)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *found = json_string_value(json_object_get(json_array_get(list, i), "digest"));
        if (found && strcmp(found, digest) == 0)
            return true;
    }
    return false;
}

static int add_entries(const json_t *index, const char *type, json_t *list, struct sfs_error *err)
{
    const json_t *manifests = json_object_get(index, "manifests");
    for (size_t i = 0; i < json_array_size(manifests); i++) {
        json_t *entry = json_array_get(manifests, i);
        const char *found = json_string_value(json_object_get(entry, "artifactType"));
        if (!is_usable(entry) || (type && (!found || strcmp(found, type) != 0)) ||
            holds(list, json_string_value(json_object_get(entry, "digest"))))
            continue;
        if (json_array_size(list) >= MOST_LISTED)
            return sfs_fail(err, E2BIG, "more than %u artifacts beside one image", MOST_LISTED);
        if (json_array_append(list, entry) < 0)
            return sfs_fail_memory(err);
    }
    return 0;
}

/* The next page's URL, out of "<URL>; rel="next""; NULL: this was the last. */
static char *find_next(const struct sfs_reply *reply)
{
    const char *start = reply->link ? strchr(reply->link, '<') : NULL;
    const char *end = start ? strchr(start, '>') : NULL;
    if (!end || !strstr(end, "next"))
        return NULL;
    AUTO(sfs_free) char *relative = strndup(start + 1, (size_t)(end - start - 1));
    return relative ? sfs_url_resolve(reply->from, relative) : NULL;
}

static struct sfs_call make_get(const char *path, const char *url)
{
    return (struct sfs_call){ .method = "GET",
                              .path = path,
                              .url = url,
                              .accept = INDEX_TYPE,
                              .max_body = SFS_MAX_MANIFEST };
}

/* One page. 1: it is one. 0: the registry has no such list. */
static int get_page(struct sfs_repository *repository, const char *path, const char *url,
                    const char *type, json_t *list, char **ret_next, struct sfs_error *err)
{
    AUTO(sfs_reply_done) struct sfs_reply reply = { 0 };
    AUTO(close_json) json_t *json = NULL;
    struct sfs_call call = make_get(path, url);
    int r = sfs_repository_ask(repository, &call, "the list of referrers", TRIES, &reply, err);
    if (r < 0 && reply.status >= 400 && reply.status < 500 && reply.status != 401 &&
        reply.status != 403 && reply.status != 429)
        return 0;
    if (r < 0)
        return r;
    /* A page for people, or a login, in place of a list. */
    if (reply.is_elsewhere || !reply.type || strcmp(reply.type, INDEX_TYPE) != 0)
        return 0;
    r = sfs_json_parse(reply.body.data ? reply.body.data : "", reply.body.size, 0, &json, err);
    if (r < 0)
        return sfs_fail_while(err, r, "the list of referrers");
    *ret_next = find_next(&reply);
    r = add_entries(json, type, list, err);
    return r < 0 ? r : 1;
}

static int list_by_api(struct sfs_repository *repository, const char *digest, const char *type,
                       json_t *list, struct sfs_error *err)
{
    AUTO(sfs_free) char *escaped = type ? sfs_url_escape(type) : NULL;
    AUTO(sfs_free)
    char *path = sfs_format("referrers/%s%s%s", digest, type ? "?artifactType=" : "",
                            escaped ? escaped : "");
    AUTO(sfs_free) char *url = NULL;
    int r = path ? 1 : sfs_fail_memory(err);
    for (unsigned page = 0; r == 1 && (page == 0 || url) && page < MOST_PAGES; page++) {
        AUTO(sfs_free) char *next = NULL;
        r = get_page(repository, page == 0 ? path : NULL, url, type, list, &next, err);
        free(url);
        url = TAKE(next);
    }
    return r;
}

/* ---- the list under a tag */

static void name_tag(const struct sfs_digest *subject, char tag[SFS_DIGEST_TEXT])
{
    sfs_digest_print(subject, tag);
    tag[6] = '-'; /* "sha256:HEX" is no tag */
}

struct tagged {
    json_t *index;            /* NULL: there is none yet */
    struct sfs_digest digest; /* of its bytes; zeros: there is none */
    char *etag;
};

static void done_tagged(struct tagged *tagged)
{
    close_json(&tagged->index);
    sfs_free(&tagged->etag);
    *tagged = (struct tagged){ 0 };
}

static int read_tagged(struct sfs_repository *repository, const char *tag,
                       const atomic_bool *cancelled, struct tagged *ret_tagged,
                       struct sfs_error *err)
{
    char path[SFS_DIGEST_TEXT + 16];
    AUTO(sfs_reply_done) struct sfs_reply reply = { 0 };
    snprintf(path, sizeof path, "manifests/%s", tag);
    struct sfs_call call = make_get(path, NULL);
    call.cancelled = cancelled;
    int r = sfs_repository_ask(repository, &call, tag, TRIES, &reply, err);
    *ret_tagged = (struct tagged){ 0 };
    if (r < 0)
        return reply.status == 404 ? 0 : r;
    const char *data = reply.body.data ? reply.body.data : "";
    if (sfs_digest_of(data, reply.body.size, &ret_tagged->digest) < 0)
        return sfs_fail_memory(err);
    r = sfs_json_parse(data, reply.body.size, 0, &ret_tagged->index, err);
    if (r < 0)
        return sfs_fail_while(err, r, "tag '%s'", tag);
    ret_tagged->etag = TAKE(reply.etag);
    if (json_is_array(json_object_get(ret_tagged->index, "manifests")))
        return 0;
    return sfs_fail(err, EBADMSG,
                    "tag '%s' of %s is no index: it is left alone, so nothing can be put beside "
                    "that image",
                    tag, sfs_repository_home(repository)->repository);
}

/* The tag is asked for while the registry is asked for its own list: many have none, and a round
 * trip more would be one more to wait for. */
struct tag_reader {
    struct sfs_repository *repository;
    char tag[SFS_DIGEST_TEXT];
    pthread_t thread;
    bool has_thread;
    atomic_bool cancelled;
    struct tagged tagged;
    int result;
    struct sfs_error err; /* of the result */
};

static void *run_reader(void *arg)
{
    struct tag_reader *reader = arg;
    reader->result = read_tagged(reader->repository, reader->tag, &reader->cancelled,
                                 &reader->tagged, &reader->err);
    return NULL;
}

static void end_reader(struct tag_reader *reader)
{
    if (reader->has_thread)
        pthread_join(reader->thread, NULL);
    else
        run_reader(reader);
    reader->has_thread = false;
}

static void drop_reader(struct tag_reader *reader)
{
    atomic_store(&reader->cancelled, true);
    sfs_http_wake(sfs_registry_http(reader->repository->registry));
    if (reader->has_thread)
        pthread_join(reader->thread, NULL);
    done_tagged(&reader->tagged);
}

static int take_tagged(struct tag_reader *reader, const char *type, json_t *list,
                       struct sfs_error *err)
{
    end_reader(reader);
    if (reader->result < 0)
        return sfs_fail(err, -reader->result, "%s", reader->err.text);
    return add_entries(reader->tagged.index, type, list, err);
}

int sfs_referrers_list(struct sfs_repository *repository, const struct sfs_digest *subject,
                       const char *type, struct json_t **ret_list, struct sfs_error *err)
{
    char digest[SFS_DIGEST_TEXT];
    AUTO(close_json) json_t *list = json_array();
    AUTO(drop_reader) struct tag_reader reader = { .repository = repository };
    if (!list)
        return sfs_fail_memory(err);
    name_tag(subject, reader.tag);
    reader.has_thread =
        sfs_thread_start(&reader.thread, run_reader, &reader, "reads a list", NULL) == 0;
    int r = list_by_api(repository, sfs_digest_print(subject, digest), type, list, err);
    if (r == 0)
        r = take_tagged(&reader, type, list, err);
    if (r < 0)
        return r;
    *ret_list = TAKE(list);
    return 0;
}

/* ---- changing it */

struct adding {
    struct sfs_repository *repository;
    const struct sfs_referrers_options *options;
    char tag[SFS_DIGEST_TEXT];
    char digest[SFS_DIGEST_TEXT]; /* of what is added */
    const json_t *entry;
    unsigned settle_ms;
    unsigned rounds;
};

static int wait_ms(const struct adding *adding, unsigned ms, struct sfs_error *err)
{
    int r = sfs_http_sleep(sfs_registry_http(adding->repository->registry), ms,
                           adding->options->cancelled);
    return r < 0 ? sfs_fail(err, ECANCELED, "cancelled") : 0;
}

/* The text of the list with our entry in it. */
static int extend(const struct adding *adding, const struct tagged *tagged, char **ret_text,
                  struct sfs_error *err)
{
    AUTO(close_json)
    json_t *index = tagged->index ? json_deep_copy(tagged->index)
                                  : json_pack("{si ss s[]}", "schemaVersion", 2, "mediaType",
                                              INDEX_TYPE, "manifests");
    json_t *manifests = json_object_get(index, "manifests");
    if (!manifests || json_array_append_new(manifests, json_deep_copy(adding->entry)) < 0)
        return sfs_fail_memory(err);
    return print_document(index, ret_text, err);
}

/* Is it still what was read? A registry that does not tell is not asked twice. */
static bool is_unchanged(const struct adding *adding, const struct tagged *tagged)
{
    AUTO(done_tagged) struct tagged now = { 0 };
    struct sfs_error ignored;
    return read_tagged(adding->repository, adding->tag, NULL, &now, &ignored) < 0 ||
           sfs_digest_equal(&now.digest, &tagged->digest);
}

/* Writes the list with our entry. 1: it changed meanwhile. */
static int write_tagged(struct adding *adding, const struct tagged *tagged, struct sfs_error *err)
{
    AUTO(sfs_free) char *text = NULL;
    int r = extend(adding, tagged, &text, err);
    if (r < 0)
        return r;
    if (!is_unchanged(adding, tagged))
        return 1;
    int64_t start = now_ms();
    const struct sfs_manifest_put put = { .data = text,
                                          .size = strlen(text),
                                          .media_type = INDEX_TYPE,
                                          .tag = adding->tag,
                                          .if_match = tagged->etag };
    r = sfs_repository_put_manifest(adding->repository, &put, NULL, err);
    int64_t took = (now_ms() - start) * SETTLE_TIMES;
    if (took > adding->settle_ms)
        adding->settle_ms = took < MOST_SETTLE ? (unsigned)took : MOST_SETTLE;
    return r == -EBUSY ? 1 : r;
}

/* Has our entry written if it lacks. 1: it was there. 0: it was written, or has to be once more. */
static int try_once(struct adding *adding, struct sfs_digest *ret_seen, struct sfs_error *err)
{
    AUTO(done_tagged) struct tagged tagged = { 0 };
    int r = read_tagged(adding->repository, adding->tag, NULL, &tagged, err);
    if (r < 0)
        return r;
    *ret_seen = tagged.digest;
    if (holds(json_object_get(tagged.index, "manifests"), adding->digest))
        return 1;
    if (adding->rounds++ >= MOST_ROUNDS)
        return sfs_fail(err, EBUSY,
                        "others wrote over the list of what is beside the image %u times: try "
                        "again later",
                        MOST_ROUNDS);
    r = write_tagged(adding, &tagged, err);
    return r < 0 ? r : 0;
}

/* Until the entry was seen in a list that nobody changed for a while. */
static int add_tagged(struct adding *adding, struct sfs_error *err)
{
    struct sfs_digest seen = { 0 }, before = { 0 };
    bool was_there = false;
    for (;;) {
        int r = try_once(adding, &seen, err);
        if (r < 0)
            return r;
        if (r == 1 && was_there && sfs_digest_equal(&seen, &before))
            return 0;
        /* What was just written over by others is written again soon, at a time that is not theirs.
         */
        unsigned wait = r == 1 ? adding->settle_ms : random_below(100 + 20 * adding->rounds);
        was_there = r == 1;
        before = seen;
        r = wait_ms(adding, wait, err);
        if (r < 0)
            return r;
    }
}

/* The turn of this process among those of this machine: a locked file, or -1. Those who cannot take
 * turns go on without. */
static int take_turn(const struct adding *adding)
{
    const char *dir = adding->options->lock_dir;
    AUTO(sfs_free) char *path = dir ? sfs_format("%s/%s.lock", dir, adding->tag) : NULL;
    AUTO(sfs_close_fd)
    int fd = path ? open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600) : -1;
    int64_t end = now_ms() + TURN_MS;
    struct sfs_error ignored;
    while (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) < 0)
        if (now_ms() > end || wait_ms(adding, 20 + random_below(30), &ignored) < 0)
            return -1;
    return TAKE_FD(fd);
}

/* Reading and writing, taking turns; what waits afterwards waits without the turn. */
static int add_by_turn(struct adding *adding, struct sfs_error *err)
{
    struct sfs_digest seen;
    AUTO(sfs_close_fd) int turn = take_turn(adding);
    if (turn < 0)
        return 0;
    int r = try_once(adding, &seen, err);
    return r < 0 ? r : 0;
}

static int enter_under_tag(struct sfs_repository *repository, const struct sfs_artifact *artifact,
                           const struct sfs_referrers_options *options, const char *digest,
                           size_t size, struct sfs_error *err)
{
    struct adding adding = { .repository = repository, .options = options, .settle_ms = SETTLE_MS };
    AUTO(close_json)
    json_t *entry = json_pack("{ss ss sI ss}", "mediaType", MANIFEST_TYPE, "digest", digest, "size",
                              (json_int_t)size, "artifactType", artifact->type);
    if (!entry)
        return sfs_fail_memory(err);
    if (artifact->annotations)
        json_object_set_new(entry, "annotations", json_deep_copy(artifact->annotations));
    adding.entry = entry;
    name_tag(&artifact->subject, adding.tag);
    snprintf(adding.digest, sizeof adding.digest, "%s", digest);
    int r = add_by_turn(&adding, err);
    return r < 0 ? r : add_tagged(&adding, err);
}

/* Does the registry list it by itself? One that says so is asked, since not all who say it do. */
static int is_listed(struct sfs_repository *repository, const struct sfs_artifact *artifact,
                     const char *digest, struct sfs_error *err)
{
    char subject[SFS_DIGEST_TEXT];
    AUTO(close_json) json_t *list = json_array();
    if (!list)
        return sfs_fail_memory(err);
    int r = list_by_api(repository, sfs_digest_print(&artifact->subject, subject), NULL, list, err);
    return r < 0 ? r : r == 1 && holds(list, digest);
}

int sfs_referrers_add(struct sfs_repository *repository, const struct sfs_artifact *artifact,
                      const struct sfs_referrers_options *options, struct sfs_digest *ret_digest,
                      struct sfs_error *err)
{
    struct sfs_digest config;
    char text[SFS_DIGEST_TEXT];
    AUTO(close_json) json_t *json = NULL;
    AUTO(sfs_free) char *manifest = NULL;
    bool took_subject = false;
    int r = sfs_repository_put_bytes(repository, "{}", 2, &config, err);
    if (r == 0)
        r = make_manifest(artifact, &config, &json, err);
    if (r == 0)
        r = print_document(json, &manifest, err);
    if (r < 0)
        return r;
    const struct sfs_manifest_put put = { .data = manifest,
                                          .size = strlen(manifest),
                                          .media_type = MANIFEST_TYPE };
    if (sfs_digest_of(manifest, put.size, ret_digest) < 0)
        return sfs_fail_memory(err);
    r = sfs_repository_put_manifest(repository, &put, &took_subject, err);
    sfs_digest_print(ret_digest, text);
    if (r == 0 && took_subject)
        r = is_listed(repository, artifact, text, err);
    return r != 0 ? (r == 1 ? 0 : r)
                  : enter_under_tag(repository, artifact, options, text, put.size, err);
}
