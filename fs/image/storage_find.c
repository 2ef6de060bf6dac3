/* Finding an image and its layers in the stores. The JSON is outside text: ids become file names
 * only if they can be one, and a chain of layers ends at a cap. */
#include "image/storage.h"

#include "base/array.h"
#include "base/buf.h"
#include "base/limits.h"
#include "image/document.h"
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stagefs/format.h>
#include <sys/stat.h>
#include <time.h>

#define LOCK_TRIES  600 /* of 100 ms */
#define SHORTEST_ID 3   /* digits of an id that is not given in full, as in skopeo */
#define MOST_LISTED 30

void sfs_storage_done(struct sfs_storage *storage)
{
    for (size_t i = 0; i < storage->root_count; i++) {
        free(storage->roots[i].path);
        sfs_close_fd(&storage->roots[i].fd);
        sfs_members_close(&storage->roots[i].files);
    }
    for (size_t i = 0; i < storage->layer_count; i++)
        free(storage->layers[i].id);
    free(storage->layers);
    free(storage->id);
    *storage = (struct sfs_storage){ 0 };
}

/* ---- opening the stores ---- */

static bool has_driver(int root, const char *driver)
{
    struct stat st;
    AUTO(sfs_free) char *path = sfs_format("%s-images", driver);
    return path && fstatat(root, path, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode);
}

/* Which driver filled it? The one that is asked for goes first; what is there decides. NULL: none
 * that we read. */
static const char *find_driver(int root, const char *wanted)
{
    static const char *const known[] = { "overlay", "vfs" };
    bool second = wanted && strcmp(wanted, "vfs") == 0;
    if (has_driver(root, known[second]))
        return known[second];
    return has_driver(root, known[!second]) ? known[!second] : NULL;
}

/* 1: it is open; 0: there is no store. */
static int open_root(struct sfs_storage *storage, const char *path, const char *driver,
                     struct sfs_error *err)
{
    struct sfs_storage_root *root = &storage->roots[storage->root_count];
    AUTO(sfs_close_fd) int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 && (errno == ENOENT || errno == ENOTDIR))
        return 0;
    if (fd < 0)
        return sfs_fail_errno(err, errno, "%s", path);
    const char *found = find_driver(fd, driver);
    if (!found && (has_driver(fd, "btrfs") || has_driver(fd, "zfs")))
        return sfs_fail(err, ENOTSUP,
                        "the store in %s is neither overlay's nor vfs's; export the image first: "
                        "skopeo copy containers-storage:NAME oci:DIR:TAG",
                        path);
    if (!found)
        return 0;
    *root = (struct sfs_storage_root){ .path = strdup(path), .driver = found, .fd = TAKE_FD(fd) };
    storage->root_count++;
    if (!root->path)
        return sfs_fail_memory(err);
    int r = sfs_members_open_dir(path, &root->files, err);
    return r < 0 ? r : 1;
}

static int open_roots(struct sfs_storage *storage, const char *text, struct sfs_error *err)
{
    AUTO(sfs_storage_places_done) struct sfs_storage_places places = { 0 };
    int r = sfs_storage_places_find(text, &places, err);
    for (size_t i = 0; r >= 0 && i < places.count; i++)
        r = open_root(storage, places.roots[i], places.driver, err);
    if (r >= 0 && storage->root_count == 0)
        return sfs_fail(err, ENOENT,
                        "podman keeps no images in %.300s; another store is named as in "
                        "containers-storage:[overlay@/path/of/store]NAME",
                        places.roots[0]);
    return r < 0 ? r : 0;
}

int sfs_storage_lock(const struct sfs_storage_root *root, const char *what, int *ret_fd,
                     struct sfs_error *err)
{
    const struct timespec moment = { .tv_nsec = 100000000 };
    /* Of the open file, not of the process, so that no other close() in it gives it back. */
    struct flock lock = { .l_type = F_RDLCK, .l_whence = SEEK_SET };
    *ret_fd = -1;
    AUTO(sfs_free) char *name = sfs_format("%s-%s/%s.lock", root->driver, what, what);
    if (!name)
        return sfs_fail_memory(err);
    AUTO(sfs_close_fd) int fd = -1;
    int r = sfs_io_open_regular(root->fd, name, &fd, err);
    if (r == -ENOENT) /* a store on a read-only medium needs none */
        return 0;
    for (int i = 0; r == 0 && fcntl(fd, F_OFD_SETLK, &lock) < 0; i++) {
        if (errno != EAGAIN && errno != EACCES)
            r = sfs_fail_errno(err, errno, "locking %s/%s", root->path, name);
        else if (i == LOCK_TRIES)
            r = sfs_fail(err, EAGAIN, "%s/%s has been held by another program for a minute",
                         root->path, name);
        else
            nanosleep(&moment, NULL);
    }
    if (r == 0)
        *ret_fd = TAKE_FD(fd);
    return r;
}

/* Reads images.json or layers.json, locked. *ret_json NULL: there is none. */
static int read_list(const struct sfs_storage_root *root, const char *what, json_t **ret_json,
                     struct sfs_error *err)
{
    AUTO(sfs_close_fd) int lock = -1;
    AUTO(sfs_json_close) json_t *json = NULL;
    AUTO(sfs_free) char *name = sfs_format("%s-%s/%s.json", root->driver, what, what);
    if (!name)
        return sfs_fail_memory(err);
    int r = sfs_storage_lock(root, what, &lock, err);
    if (r == 0)
        r = sfs_document_read(root->files, name, &json, NULL, err);
    if (r == -ENOENT)
        return 0;
    if (r == 0 && !json_is_array(json))
        return sfs_fail(err, EBADMSG, "%s/%s is no array", root->path, name);
    if (r == 0)
        *ret_json = TAKE(json);
    return r;
}

/* ---- the image ---- */

/* Can it be a file's name, which leads nowhere else? */
static bool is_id(const char *text)
{
    size_t size = text ? strlen(text) : 0;
    for (size_t i = 0; i < size; i++)
        if (!isalnum((unsigned char)text[i]) && !strchr("_-.", text[i]))
            return false;
    return size > 0 && size <= SFS_MAX_NAME && text[0] != '.';
}

static bool has_name(const json_t *image, const char *name)
{
    const json_t *names = json_object_get(image, "names");
    for (size_t i = 0; name && i < json_array_size(names); i++) {
        const char *found = json_string_value(json_array_get(names, i));
        if (found && strcmp(found, name) == 0)
            return true;
    }
    return false;
}

/* Has it a manifest of this digest: its own, or that of the index that it came by? */
static bool has_digest(const json_t *image, const struct sfs_digest *digest)
{
    char text[SFS_DIGEST_TEXT];
    const char *key, *own = sfs_document_string(image, "digest");
    json_t *value;
    sfs_digest_print(digest, text);
    if (own && strcmp(own, text) == 0)
        return true;
    json_object_foreach(json_object_get(image, "big-data-digests"), key, value)
    {
        const char *found = json_string_value(value);
        if (strncmp(key, "manifest", 8) == 0 && found && strcmp(found, text) == 0)
            return true;
    }
    return false;
}

/* In which way may an image be meant? The first way by which one is found counts. */
enum match_way { BY_DIGEST, BY_ID, BY_NAME, BY_LOCAL_NAME, BY_SHORT_ID, WAYS };

struct sought_image {
    const struct sfs_reference *reference;
    char *local; /* "localhost/NAME:TAG", as podman calls what it built; NULL: not meant */
    char *id;    /* what may be an id in place of a name; NULL: nothing */
};

static void free_sought(struct sought_image *sought)
{
    free(sought->local);
    free(sought->id);
}

static bool begins_with(const json_t *image, const char *id)
{
    const char *found = sfs_document_string(image, "id");
    size_t size = id ? strlen(id) : 0;
    return found && size >= SHORTEST_ID && strncmp(found, id, size) == 0;
}

static bool is_meant(const json_t *image, const struct sought_image *sought, enum match_way way)
{
    const struct sfs_reference *reference = sought->reference;
    bool by_name = !reference->has_digest && !reference->id;
    switch (way) {
    case BY_DIGEST:
        return reference->has_digest && has_digest(image, &reference->digest);
    case BY_ID:
        return !reference->has_digest && begins_with(image, reference->id);
    case BY_NAME:
        return by_name && has_name(image, reference->name);
    case BY_LOCAL_NAME:
        return by_name && has_name(image, sought->local);
    default:
        return by_name && begins_with(image, sought->id);
    }
}

/* What a name without a host may mean besides a name at docker.io. */
static int prepare(const struct sfs_reference *reference, struct sought_image *ret_sought,
                   struct sfs_error *err)
{
    static const char hub[] = "docker.io/library/", latest[] = ":latest";
    *ret_sought = (struct sought_image){ .reference = reference };
    const char *name = reference->name;
    if (!name || !reference->is_short)
        return 0;
    name += strncmp(name, hub, sizeof hub - 1) == 0 ? sizeof hub - 1 : strlen("docker.io/");
    ret_sought->local = sfs_format("localhost/%s", name);
    size_t digits = strspn(name, "0123456789abcdef");
    if (strcmp(name + digits, latest) == 0)
        ret_sought->id = strndup(name, digits);
    return ret_sought->local ? 0 : sfs_fail_memory(err);
}

struct lists {
    json_t *images[SFS_MAX_STORES], *layers[SFS_MAX_STORES];
};

static void free_lists(struct lists *lists)
{
    for (size_t i = 0; i < SFS_MAX_STORES; i++) {
        json_decref(lists->images[i]);
        json_decref(lists->layers[i]);
    }
}

/* Counts the images that are meant in this way; one in a later store counts only where no earlier
 * one has its id. */
static size_t count_meant(const struct sfs_storage *storage, const struct lists *lists,
                          const struct sought_image *sought, enum match_way way,
                          const json_t **ret_image, size_t *ret_root)
{
    size_t count = 0;
    for (size_t k = 0; k < storage->root_count; k++) {
        for (size_t i = 0; i < json_array_size(lists->images[k]); i++) {
            const json_t *image = json_array_get(lists->images[k], i);
            const char *id = sfs_document_string(image, "id");
            if (!is_meant(image, sought, way) ||
                (count > 0 && id && strcmp(id, sfs_document_string(*ret_image, "id")) == 0))
                continue;
            if (count++ == 0) {
                *ret_image = image;
                *ret_root = k;
            }
        }
    }
    return count;
}

static int fail_with_list(const struct sfs_storage *storage, const struct lists *lists,
                          struct sfs_error *err)
{
    AUTO(sfs_buf_close) struct sfs_buf text = { 0 };
    size_t count = 0;
    for (size_t k = 0; k < storage->root_count; k++) {
        for (size_t i = 0; i < json_array_size(lists->images[k]) && count <= MOST_LISTED; i++) {
            const json_t *image = json_array_get(lists->images[k], i);
            const char *id = sfs_document_string(image, "id");
            const char *name =
                json_string_value(json_array_get(json_object_get(image, "names"), 0));
            if (count++ == MOST_LISTED)
                sfs_buf_add_str(&text, ", ...");
            else
                sfs_buf_printf(&text, "%s%s%.*s", text.size ? ", " : "", name ? "" : "@",
                               name ? 80 : 12,
                               name ? name
                               : id ? id
                                    : "?");
        }
    }
    return sfs_fail(err, ENOENT, "no such image in %.200s; there are: %s", storage->roots[0].path,
                    text.size ? text.data : "none");
}

static int choose_image(const struct sfs_storage *storage, const struct lists *lists,
                        const struct sfs_reference *reference, const json_t **ret_image,
                        size_t *ret_root, struct sfs_error *err)
{
    AUTO(free_sought) struct sought_image sought = { 0 };
    int r = prepare(reference, &sought, err);
    for (enum match_way way = 0; r == 0 && way < WAYS; way++) {
        size_t count = count_meant(storage, lists, &sought, way, ret_image, ret_root);
        /* Several images may have one manifest; which is read makes no difference. */
        if (count == 1 || (count > 1 && way == BY_DIGEST))
            return 0;
        if (count > 1)
            return sfs_fail(err, EINVAL, "%zu images are meant by it: give more of the id", count);
    }
    return r < 0 ? r : fail_with_list(storage, lists, err);
}

/* The digest of the file "manifest" is told apart in newer stores. */
static int take_image(struct sfs_storage *storage, const json_t *image, struct sfs_error *err)
{
    const json_t *digests = json_object_get(image, "big-data-digests");
    const char *id = sfs_document_string(image, "id");
    const char *digest = sfs_document_string(digests, "manifest");
    if (!digest)
        digest = sfs_document_string(image, "digest");
    if (!is_id(id))
        return sfs_fail(err, EBADMSG, "the store has an image with an impossible id");
    if (!digest)
        return sfs_fail(err, ENOTSUP, "the store does not tell the digest of the manifest");
    storage->id = strdup(id);
    if (!storage->id)
        return sfs_fail_memory(err);
    int r = sfs_digest_parse(digest, &storage->manifest, err);
    return r == -EINVAL ? -EBADMSG : r;
}

/* ---- its layers ---- */

static const json_t *find_layer(const struct sfs_storage *storage, struct lists *lists,
                                const char *id, size_t *root)
{
    /* The image's own store first; a parent may lie in another one. */
    for (size_t n = 0; n < storage->root_count; n++) {
        size_t k = (*root + n) % storage->root_count;
        for (size_t i = 0; i < json_array_size(lists->layers[k]); i++) {
            const json_t *layer = json_array_get(lists->layers[k], i);
            const char *found = sfs_document_string(layer, "id");
            if (found && strcmp(found, id) == 0) {
                *root = k;
                return layer;
            }
        }
    }
    return NULL;
}

static int take_layer(const json_t *json, size_t root, struct sfs_storage_layer *layer,
                      struct sfs_error *err)
{
    const char *diff = sfs_document_string(json, "diff-digest");
    json_int_t size = json_integer_value(json_object_get(json, "diff-size"));
    *layer = (struct sfs_storage_layer){ .id = strdup(sfs_document_string(json, "id")),
                                         .root = root,
                                         .size = size > 0 ? (uint64_t)size : 0,
                                         .has_diff_id = diff && *diff };
    if (!layer->id)
        return sfs_fail_memory(err);
    int r = layer->has_diff_id ? sfs_digest_parse(diff, &layer->diff_id, err) : 0;
    return r == -EINVAL ? -EBADMSG : r;
}

static void reverse(struct sfs_storage_layer *layers, size_t count)
{
    for (size_t i = 0; i < count / 2; i++) {
        struct sfs_storage_layer kept = layers[i];
        layers[i] = layers[count - 1 - i];
        layers[count - 1 - i] = kept;
    }
}

/* From the top layer down by its parents. */
static int take_chain(struct sfs_storage *storage, struct lists *lists, const char *top,
                      struct sfs_error *err)
{
    size_t capacity = 0, root = storage->root;
    for (const char *id = top; id && *id;) {
        const json_t *json = is_id(id) ? find_layer(storage, lists, id, &root) : NULL;
        if (!json)
            return sfs_fail(err, EBADMSG, "the store has no layer %.80s", id);
        if (storage->layer_count == SFS_MAX_LAYERS)
            return sfs_fail(err, E2BIG, "more than %u layers", SFS_MAX_LAYERS);
        if (SFS_ARRAY_GROW(storage->layers, storage->layer_count, capacity, 16) < 0)
            return sfs_fail_memory(err);
        int r = take_layer(json, root, &storage->layers[storage->layer_count++], err);
        if (r < 0)
            return sfs_fail_while(err, r, "layer %.80s", id);
        id = sfs_document_string(json, "parent");
    }
    reverse(storage->layers, storage->layer_count);
    return 0;
}

int sfs_storage_find(const struct sfs_reference *reference, struct sfs_storage *storage,
                     struct sfs_error *err)
{
    AUTO(free_lists) struct lists lists = { 0 };
    const json_t *image = NULL;
    int r = open_roots(storage, reference->path, err);
    for (size_t k = 0; r == 0 && k < storage->root_count; k++)
        r = read_list(&storage->roots[k], "images", &lists.images[k], err);
    if (r == 0)
        r = choose_image(storage, &lists, reference, &image, &storage->root, err);
    if (r == 0)
        r = take_image(storage, image, err);
    for (size_t k = 0; r == 0 && k < storage->root_count; k++)
        r = read_list(&storage->roots[k], "layers", &lists.layers[k], err);
    return r < 0 ? r : take_chain(storage, &lists, sfs_document_string(image, "layer"), err);
}
