/* Documents of an image at a registry: out of the store where it has them, else asked for. */
#include "image/registry_members.h"

#include "base/array.h"
#include "base/buf.h"
#include "base/limits.h"
#include "base/thread.h"
#include "image/registry_source.h"
#include "layer/store.h"
#include <errno.h>
#include <fcntl.h>
#include <stagefs/format.h>
#include <sys/mman.h>
#include <time.h>

/* What the manifest says of a blob, before it is opened. */
struct announced {
    struct sfs_digest digest;
    uint64_t size;
    bool is_layer;
};

/* A document that was read. */
struct registry_document {
    struct sfs_digest digest;
    char *data;
    size_t size;
};

struct registry_members {
    struct sfs_members base;
    struct sfs_source *source;
    struct sfs_store *store; /* NULL: nothing is kept */
    const struct sfs_progress *progress;
    struct announced *announced;
    size_t announced_count, announced_capacity;
    pthread_mutex_t lock; /* of the documents */
    struct registry_document *documents;
    size_t document_count, document_capacity;
};

/* ---- documents */

/* Takes the bytes over. The lock is held. */
static int add_document(struct registry_members *members, const struct sfs_digest *digest,
                        char **data, size_t size, struct sfs_error *err)
{
    if (SFS_ARRAY_GROW(members->documents, members->document_count, members->document_capacity, 4) <
        0)
        return sfs_fail_memory(err);
    members->documents[members->document_count++] =
        (struct registry_document){ *digest, TAKE(*data), size };
    return 0;
}

/* Best effort: what cannot be kept is asked for again. */
static void keep_file(struct registry_members *members, enum sfs_store_kind kind,
                      const struct sfs_digest *digest, const void *data, size_t size)
{
    char key[SFS_DIGEST_TEXT];
    AUTO(sfs_io_temp_close) struct sfs_io_temp temp = { .fd = -1, .dirfd = -1 };
    if (members->store && sfs_store_start_file(members->store, kind, &temp, NULL) == 0 &&
        sfs_io_write_all(temp.fd, data, size) == 0)
        sfs_store_commit_file(members->store, kind, sfs_digest_print(digest, key), &temp, NULL);
}

/* Reads a file of the store; `max` bytes at most. ENOENT: there is none. */
static int read_kept(struct registry_members *members, enum sfs_store_kind kind,
                     const struct sfs_digest *digest, size_t max, char **ret_data, size_t *ret_size)
{
    char key[SFS_DIGEST_TEXT], path[32];
    AUTO(sfs_close_fd) int fd = -1;
    if (!members->store ||
        sfs_store_open_file(members->store, kind, sfs_digest_print(digest, key), &fd, NULL) < 0)
        return -ENOENT;
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    return sfs_io_read_file(AT_FDCWD, path, max, ret_data, ret_size, NULL) < 0 ? -ENOENT : 0;
}

static int read_kept_document(struct registry_members *members, const struct sfs_digest *digest,
                              char **ret_data, size_t *ret_size)
{
    struct sfs_digest found;
    AUTO(sfs_free) char *data = NULL;
    int r = read_kept(members, SFS_STORE_DOCUMENT, digest, SFS_MAX_JSON, &data, ret_size);
    if (r < 0)
        return r;
    if (sfs_digest_of(data, *ret_size, &found) < 0 || !sfs_digest_equal(&found, digest))
        return -ENOENT; /* it was damaged: asked for again */
    *ret_data = TAKE(data);
    return 0;
}

static const struct announced *find_announced(const struct registry_members *members,
                                              const struct sfs_digest *digest)
{
    for (size_t i = 0; i < members->announced_count; i++)
        if (sfs_digest_equal(&members->announced[i].digest, digest))
            return &members->announced[i];
    return NULL;
}

/* Manifests and indexes have an address of their own at registries; all else is a blob. */
static int get_document(struct registry_members *members, const struct sfs_digest *digest,
                        char **ret_data, size_t *ret_size, struct sfs_error *err)
{
    const struct announced *announced = find_announced(members, digest);
    struct sfs_repository *repository;
    int r = sfs_source_connect(members->source, &repository, err);
    if (r < 0)
        return r;
    if (announced) {
        *ret_size = (size_t)announced->size;
        return sfs_repository_read_blob(repository, digest, announced->size, SFS_MAX_JSON, ret_data,
                                        err);
    }
    AUTO(sfs_manifest_done) struct sfs_manifest manifest = { 0 };
    r = sfs_repository_get_manifest(repository, NULL, digest, &manifest, err);
    *ret_data = TAKE(manifest.data);
    *ret_size = manifest.size;
    return r;
}

/* The lock is held. */
static int find_document(struct registry_members *members, const struct sfs_digest *digest,
                         const struct registry_document **ret_document, struct sfs_error *err)
{
    for (size_t i = 0; i < members->document_count; i++) {
        *ret_document = &members->documents[i];
        if (sfs_digest_equal(&members->documents[i].digest, digest))
            return 0;
    }
    AUTO(sfs_free) char *data = NULL;
    size_t size = 0;
    int r = read_kept_document(members, digest, &data, &size);
    if (r < 0) {
        r = get_document(members, digest, &data, &size, err);
        if (r < 0)
            return r;
        keep_file(members, SFS_STORE_DOCUMENT, digest, data, size);
    }
    r = add_document(members, digest, &data, size, err);
    *ret_document = &members->documents[members->document_count - (r == 0)];
    return r;
}

static int open_document(struct registry_members *members, const struct sfs_digest *digest,
                         struct sfs_blob **ret_blob, struct sfs_error *err)
{
    const struct registry_document *document;
    char text[SFS_DIGEST_TEXT];
    LOCK(&members->lock);
    int r = find_document(members, digest, &document, err);
    if (r < 0)
        return r;
    AUTO(sfs_close_fd) int fd = memfd_create("stagefs document", MFD_CLOEXEC);
    if (fd < 0)
        return sfs_fail_errno(err, errno, "holding a document");
    r = sfs_io_write_all(fd, document->data, document->size);
    if (r < 0)
        return sfs_fail_errno(err, -r, "holding a document");
    return sfs_blob_open_file(&fd, sfs_digest_print(digest, text), 0, document->size, ret_blob,
                              err);
}

/* ---- the tag's digest */

/* Names a note by what it is about: a host and a repository may be long, and hold slashes. */
static int name_note(const struct registry_members *members, char **ret_text,
                     struct sfs_digest *ret_digest, struct sfs_error *err)
{
    const struct sfs_name *name = sfs_source_name(members->source);
    AUTO(sfs_free) char *text = sfs_format("%s/%s:%s", name->host, name->repository, name->tag);
    if (!text || sfs_digest_of(text, strlen(text), ret_digest) < 0)
        return sfs_fail_memory(err);
    *ret_text = TAKE(text);
    return 0;
}

/* ENOENT: the registry was not asked before. */
static int read_note(struct registry_members *members, const struct sfs_digest *key,
                     struct sfs_digest *ret_digest)
{
    AUTO(sfs_free) char *data = NULL;
    size_t size;
    if (read_kept(members, SFS_STORE_NAME, key, 4096, &data, &size) < 0)
        return -ENOENT;
    data[strcspn(data, " ")] = 0;
    return sfs_digest_parse(data, ret_digest, NULL) < 0 ? -ENOENT : 0;
}

static void write_note(struct registry_members *members, const struct sfs_digest *key,
                       const char *name, const struct sfs_digest *digest)
{
    char text[SFS_DIGEST_TEXT];
    AUTO(sfs_free) char *note = sfs_format("%s %s\n", sfs_digest_print(digest, text), name);
    if (note)
        keep_file(members, SFS_STORE_NAME, key, note, strlen(note));
}

static void warn_offline(const struct registry_members *members, const char *name,
                         const struct sfs_digest *digest, const struct sfs_error *why)
{
    char text[sizeof why->text + 400], hex[SFS_DIGEST_TEXT];
    if (!members->progress || !members->progress->warn)
        return;
    snprintf(text, sizeof text,
             "%.200s is taken for what it was when it was last asked for, %s: %s", name,
             sfs_digest_print(digest, hex), why->text);
    members->progress->warn(members->progress->user, text);
}

/* Gets the tag's manifest, which says its digest, too. */
static int get_tagged(struct registry_members *members, struct sfs_repository *repository,
                      struct sfs_digest *ret_digest, struct sfs_error *err)
{
    AUTO(sfs_manifest_done) struct sfs_manifest manifest = { 0 };
    const char *tag = sfs_source_name(members->source)->tag;
    int r = sfs_repository_get_manifest(repository, tag, NULL, &manifest, err);
    if (r < 0)
        return r;
    *ret_digest = manifest.digest;
    keep_file(members, SFS_STORE_DOCUMENT, &manifest.digest, manifest.data, manifest.size);
    LOCK(&members->lock);
    return add_document(members, &manifest.digest, &manifest.data, manifest.size, err);
}

/* Asks for the digest alone where the document of the last answer is here, which most often is
 * still the one. */
static int ask_tag(struct registry_members *members, const struct sfs_digest *kept,
                   struct sfs_digest *ret_digest, struct sfs_error *err)
{
    AUTO(sfs_free) char *data = NULL;
    size_t size;
    struct sfs_repository *repository;
    const char *tag = sfs_source_name(members->source)->tag;
    int r = sfs_source_connect(members->source, &repository, err);
    if (r < 0)
        return r;
    if (!kept || read_kept_document(members, kept, &data, &size) < 0)
        return get_tagged(members, repository, ret_digest, err);
    r = sfs_repository_get_tag(repository, tag, ret_digest, err);
    return r == -ENOTSUP ? get_tagged(members, repository, ret_digest, err) : r;
}

int sfs_registry_find_tag(struct sfs_members *base, struct sfs_digest *ret_digest,
                          struct sfs_error *err)
{
    struct registry_members *members = (struct registry_members *)base;
    AUTO(sfs_free) char *name = NULL;
    struct sfs_digest key, kept;
    struct sfs_error why;
    int r = name_note(members, &name, &key, err);
    if (r < 0)
        return r;
    bool has_kept = read_note(members, &key, &kept) == 0;
    r = ask_tag(members, has_kept ? &kept : NULL, ret_digest, &why);
    if (r == -EAGAIN && has_kept) {
        warn_offline(members, name, &kept, &why);
        *ret_digest = kept;
        return 0;
    }
    if (r < 0)
        return sfs_fail(err, -r, "%s", why.text);
    write_note(members, &key, name, ret_digest);
    return 0;
}

/* ---- for what is beside the image */

struct sfs_source *sfs_registry_source(struct sfs_members *base)
{
    return ((struct registry_members *)base)->source;
}

void sfs_registry_keep(struct sfs_members *base, const struct sfs_digest *key, const void *data,
                       size_t size)
{
    keep_file((struct registry_members *)base, SFS_STORE_NAME, key, data, size);
}

int sfs_registry_read_kept(struct sfs_members *base, const struct sfs_digest *key, size_t max,
                           char **ret_data, size_t *ret_size)
{
    return read_kept((struct registry_members *)base, SFS_STORE_NAME, key, max, ret_data, ret_size);
}

bool sfs_registry_has_kept(struct sfs_members *base, const struct sfs_digest *digest)
{
    const struct registry_members *members = (struct registry_members *)base;
    char key[SFS_DIGEST_TEXT];
    AUTO(sfs_close_fd) int fd = -1;
    return members->store && sfs_store_open_file(members->store, SFS_STORE_DOCUMENT,
                                                 sfs_digest_print(digest, key), &fd, NULL) == 0;
}

int sfs_registry_read_document(struct sfs_members *base, const struct sfs_digest *digest,
                               uint64_t size, char **ret_data, size_t *ret_size,
                               struct sfs_error *err)
{
    struct registry_members *members = (struct registry_members *)base;
    struct sfs_repository *repository;
    if (read_kept_document(members, digest, ret_data, ret_size) == 0)
        return 0;
    int r = sfs_source_connect(members->source, &repository, err);
    if (r == 0)
        r = sfs_repository_read_blob(repository, digest, size, SFS_MAX_JSON, ret_data, err);
    if (r < 0)
        return r;
    *ret_size = (size_t)size;
    keep_file(members, SFS_STORE_DOCUMENT, digest, *ret_data, *ret_size);
    return 0;
}

/* ---- the vtable */

static int registry_open(struct sfs_members *base, const char *name, struct sfs_blob **ret_blob,
                         struct sfs_error *err)
{
    static const char prefix[] = "blobs/sha256/";
    struct registry_members *members = (struct registry_members *)base;
    struct sfs_digest digest;
    AUTO(sfs_free) char *text = NULL;
    if (strncmp(name, prefix, sizeof prefix - 1) != 0)
        return sfs_fail(err, ENOENT, "%s has no %.200s", base->label, name);
    text = sfs_format("sha256:%s", name + sizeof prefix - 1);
    if (!text)
        return sfs_fail_memory(err);
    int r = sfs_digest_parse(text, &digest, err);
    if (r < 0)
        return r;
    const struct announced *announced = find_announced(members, &digest);
    return announced && announced->is_layer
               ? sfs_source_open_layer(members->source, &digest, announced->size, ret_blob, err)
               : open_document(members, &digest, ret_blob, err);
}

static int registry_announce(struct sfs_members *base, const struct sfs_digest *digest,
                             uint64_t size, bool is_layer, struct sfs_error *err)
{
    struct registry_members *members = (struct registry_members *)base;
    if (SFS_ARRAY_GROW(members->announced, members->announced_count, members->announced_capacity,
                       16) < 0)
        return sfs_fail_memory(err);
    members->announced[members->announced_count++] = (struct announced){ *digest, size, is_layer };
    return 0;
}

static void registry_close(struct sfs_members *base)
{
    struct registry_members *members = (struct registry_members *)base;
    for (size_t i = 0; i < members->document_count; i++)
        free(members->documents[i].data);
    free(members->documents);
    free(members->announced);
    sfs_source_close(&members->source);
    pthread_mutex_destroy(&members->lock);
}

static const struct sfs_members_ops registry_ops = { .open = registry_open,
                                                     .announce = registry_announce,
                                                     .close = registry_close };

int sfs_members_open_registry(const char *text, const struct sfs_image_options *options,
                              struct sfs_members **ret_members, struct sfs_error *err)
{
    AUTO(sfs_name_done) struct sfs_name name;
    int r = sfs_name_parse(text, &name, err);
    if (r < 0)
        return r;
    struct registry_members *members = calloc(1, sizeof *members);
    if (!members)
        return sfs_fail_memory(err);
    members->base = (struct sfs_members){ .ops = &registry_ops, .is_remote = true };
    pthread_mutex_init(&members->lock, NULL);
    members->store = options->store;
    members->progress = options->progress;
    AUTO(sfs_members_close) struct sfs_members *base = &members->base;
    base->label = sfs_format("docker://%s", text);
    if (!base->label)
        return sfs_fail_memory(err);
    r = sfs_source_open(&name, options, &members->source, err);
    if (r == 0)
        *ret_members = TAKE(base);
    return r;
}
