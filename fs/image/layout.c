/* Two locks (flock, so a killed process holds none): the directory's is held for the moments of
 * creating and tagging; blobs/sha256's is shared by all writers and tells the one that wants to
 * take a failed layout away that it is alone. */
#include "image/layout_parts.h"

#include "image/document.h"
#include <dirent.h>
#include <stagefs/format.h>
#include <errno.h>
#include <fcntl.h>
#include <stagefs/json.h>
#include <sys/file.h>
#include <sys/stat.h>

#define REF_NAME    "org.opencontainers.image.ref.name"
#define LAYOUT_FILE "{\"imageLayoutVersion\":\"1.0.0\"}"
#define EMPTY_INDEX                                                                                \
    "{\"schemaVersion\":2,\"mediaType\":\"application/vnd.oci.image.index.v1+json\","              \
    "\"manifests\":[]}"

enum { MAX_TAG = 1024, MAX_ATTEMPTS = 100 };

static int lock(int fd, int operation)
{
    int r;
    do {
        r = flock(fd, operation);
    } while (r < 0 && errno == EINTR);
    return r < 0 ? -errno : 0;
}

static void unlock(const int *fd)
{
    if (*fd >= 0)
        flock(*fd, LOCK_UN);
}

static bool has_file(const struct sfs_layout *layout, const char *name)
{
    return faccessat(layout->fd, name, F_OK, 0) == 0;
}

/* Is the directory empty, but for temporary files? */
static bool is_empty(int dirfd)
{
    int fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *stream = fd >= 0 ? fdopendir(fd) : NULL;
    if (!stream) {
        sfs_close_fd(&fd);
        return false;
    }
    bool empty = true;
    const struct dirent *entry;
    while (empty && (entry = readdir(stream)))
        empty = strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0 ||
                strncmp(entry->d_name, "." SFS_IO_TEMP, sizeof SFS_IO_TEMP) == 0;
    closedir(stream);
    return empty;
}

static int check_version(const struct sfs_layout *layout, struct sfs_error *err)
{
    AUTO(sfs_json_close) json_t *json = NULL;
    int r = sfs_document_read(layout->members, "oci-layout", &json, NULL, err);
    if (r < 0)
        return r;
    const char *version = sfs_document_string(json, "imageLayoutVersion");
    if (!version || strcmp(version, "1.0.0") != 0)
        return sfs_fail(err, ENOTSUP, "%s: OCI layout version %.40s is not supported (1.0.0 is)",
                        layout->dir, version ? version : "?");
    return 0;
}

static int make_dir(const struct sfs_layout *layout, const char *name, struct sfs_error *err)
{
    if (mkdirat(layout->fd, name, 0777) < 0 && errno != EEXIST)
        return sfs_fail_errno(err, errno, "making %s/%s", layout->dir, name);
    return 0;
}

/* Makes what is not there. oci-layout comes first: a directory that has one is ours to complete. */
static int complete_layout(struct sfs_layout *layout, struct sfs_error *err)
{
    int r = 0;
    if (has_file(layout, "oci-layout")) {
        r = check_version(layout, err);
    } else if (!is_empty(layout->fd)) {
        r = sfs_fail(err, EINVAL,
                     "%s is neither empty nor an OCI layout (it has no file oci-layout); nothing "
                     "was written",
                     layout->dir);
    } else {
        layout->made = true;
        r = sfs_io_replace_file(layout->dir, "oci-layout", LAYOUT_FILE, strlen(LAYOUT_FILE), 0644,
                                err);
    }
    if (r == 0)
        r = make_dir(layout, "blobs", err);
    if (r == 0)
        r = make_dir(layout, "blobs/sha256", err);
    if (r == 0 && !has_file(layout, "index.json"))
        r = sfs_io_replace_file(layout->dir, "index.json", EMPTY_INDEX, strlen(EMPTY_INDEX), 0644,
                                err);
    return r;
}

/* Opens the directory, making it where needed, and locks it. -EAGAIN: somebody took it away in
 * between. */
static int open_dir(struct sfs_layout *layout, struct sfs_error *err)
{
    struct stat st;
    if (stat(layout->dir, &st) < 0 && errno == ENOENT) {
        int r = sfs_io_make_dirs(layout->dir, err);
        if (r < 0)
            return r;
        layout->made_dir = true;
    }
    layout->fd = open(layout->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (layout->fd < 0 && errno == ENOENT)
        return -EAGAIN;
    if (layout->fd < 0)
        return sfs_fail_errno(err, errno, "%s", layout->dir);
    int r = lock(layout->fd, LOCK_EX);
    if (r < 0)
        return sfs_fail_errno(err, -r, "locking %s", layout->dir);
    if (fstat(layout->fd, &st) < 0 || st.st_nlink == 0) {
        sfs_close_fd(&layout->fd);
        return -EAGAIN;
    }
    return 0;
}

static int open_locked(struct sfs_layout *layout, struct sfs_error *err)
{
    int r = sfs_members_open_dir(layout->dir, &layout->members, err);
    if (r == 0) {
        sfs_io_sweep(layout->dir);
        r = complete_layout(layout, err);
    }
    if (r < 0)
        return r;
    layout->blobs_fd = openat(layout->fd, "blobs/sha256", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (layout->blobs_fd < 0)
        return sfs_fail_errno(err, errno, "%s", layout->blobs);
    r = lock(layout->blobs_fd, LOCK_SH);
    if (r < 0)
        return sfs_fail_errno(err, -r, "locking %s", layout->blobs);
    sfs_io_sweep(layout->blobs);
    return 0;
}

int sfs_layout_open(const char *dir, struct sfs_layout **ret_layout, struct sfs_error *err)
{
    AUTO(sfs_layout_close) struct sfs_layout *layout = calloc(1, sizeof *layout);
    if (!layout)
        return sfs_fail_memory(err);
    layout->fd = layout->blobs_fd = -1;
    layout->dir = strdup(dir);
    layout->blobs = sfs_format("%s/blobs/sha256", dir);
    if (!layout->dir || !layout->blobs)
        return sfs_fail_memory(err);
    int r = -EAGAIN;
    for (int attempt = 0; r == -EAGAIN && attempt < MAX_ATTEMPTS; attempt++)
        r = open_dir(layout, err);
    if (r == -EAGAIN)
        return sfs_fail(err, EBUSY, "%s is made and removed by others all the time", dir);
    if (r == 0)
        r = open_locked(layout, err);
    unlock(&layout->fd);
    if (r < 0)
        return r;
    *ret_layout = TAKE(layout);
    return 0;
}

static bool has_no_images(const struct sfs_layout *layout)
{
    AUTO(sfs_json_close) json_t *json = NULL;
    if (!has_file(layout, "index.json"))
        return true;
    return layout->members &&
           sfs_document_read(layout->members, "index.json", &json, NULL, NULL) == 0 &&
           json_array_size(json_object_get(json, "manifests")) == 0;
}

static void remove_blobs(const struct sfs_layout *layout)
{
    DIR *stream = opendir(layout->blobs);
    const struct dirent *entry;
    while (stream && (entry = readdir(stream)))
        if (entry->d_name[0] != '.')
            unlinkat(dirfd(stream), entry->d_name, 0);
    if (stream)
        closedir(stream);
}

/* Takes away what open made, if it is still without an image and nobody else is writing there.
 * Ends with oci-layout: killed in the middle, it leaves what the next open completes. */
static void remove_layout(const struct sfs_layout *layout)
{
    if (lock(layout->fd, LOCK_EX) < 0)
        return;
    bool alone = layout->blobs_fd < 0 || lock(layout->blobs_fd, LOCK_EX | LOCK_NB) == 0;
    if (layout->made && alone && has_no_images(layout)) {
        remove_blobs(layout);
        unlinkat(layout->fd, "index.json", 0);
        unlinkat(layout->fd, "blobs/sha256", AT_REMOVEDIR);
        unlinkat(layout->fd, "blobs", AT_REMOVEDIR);
        unlinkat(layout->fd, "oci-layout", 0);
    }
    if (layout->made_dir)
        rmdir(layout->dir); /* only if it is empty */
}

void sfs_layout_close(struct sfs_layout **layout_ptr)
{
    struct sfs_layout *layout = TAKE(*layout_ptr);
    if (!layout)
        return;
    if ((layout->made || layout->made_dir) && !layout->tagged && layout->fd >= 0)
        remove_layout(layout);
    sfs_members_close(&layout->members);
    sfs_close_fd(&layout->blobs_fd);
    sfs_close_fd(&layout->fd);
    free(layout->blobs);
    free(layout->dir);
    free(layout);
}

/* The new entry: a copy of the descriptor that bears the tag. */
static json_t *make_entry(const char *tag, const json_t *descriptor)
{
    AUTO(sfs_json_close) json_t *entry = json_deep_copy(descriptor);
    AUTO(sfs_json_close) json_t *annotations = NULL;
    if (!entry)
        return NULL;
    annotations = json_incref(json_object_get(entry, "annotations"));
    if (!json_is_object(annotations)) {
        json_decref(annotations);
        annotations = json_object();
    }
    int r = tag ? json_object_set_new(annotations, REF_NAME, json_string(tag))
                : (json_object_del(annotations, REF_NAME), 0);
    if (r == 0)
        r = json_object_size(annotations) > 0 ? json_object_set(entry, "annotations", annotations)
                                              : (json_object_del(entry, "annotations"), 0);
    return r == 0 ? TAKE(entry) : NULL;
}

/* Does the new entry replace this one? It does if both have the same name or, without a name, the
 * same digest. */
static bool is_replaced(const json_t *old, const char *tag, const json_t *entry)
{
    const char *name = sfs_document_annotation(old, REF_NAME);
    const char *a = sfs_document_string(old, "digest"), *b = sfs_document_string(entry, "digest");
    if (tag)
        return name && strcmp(name, tag) == 0;
    return !name && a && b && strcmp(a, b) == 0;
}

/* Puts the entry where the first one that it replaces was, else at the end. */
static int enter(json_t *index, const char *tag, json_t *entry)
{
    json_t *manifests = json_object_get(index, "manifests");
    if (!json_is_array(manifests)) { /* null, as Go writes an empty list */
        manifests = json_array();
        if (json_object_set_new(index, "manifests", manifests) < 0)
            return -ENOMEM;
    }
    bool placed = false;
    for (size_t i = 0; i < json_array_size(manifests);) {
        if (!is_replaced(json_array_get(manifests, i), tag, entry)) {
            i++;
        } else if (placed) {
            json_array_remove(manifests, i);
        } else {
            placed = json_array_set(manifests, i++, entry) == 0;
            if (!placed)
                return -ENOMEM;
        }
    }
    return placed || json_array_append(manifests, entry) == 0 ? 0 : -ENOMEM;
}

static int check_tag(const char *tag, const json_t *descriptor, struct sfs_error *err)
{
    struct sfs_descriptor parsed;
    int r = sfs_descriptor_parse(descriptor, "the image to be tagged", &parsed, err);
    if (r < 0)
        return sfs_fail(err, EINVAL, "a manifest without digest, size or media type");
    if (tag && (!*tag || strlen(tag) > MAX_TAG))
        return sfs_fail(err, EINVAL, "a tag has 1 to %d bytes", MAX_TAG);
    for (const char *p = tag; p && *p; p++)
        if ((unsigned char)*p <= 0x20 || *p == 0x7f)
            return sfs_fail(err, EINVAL, "tag '%.200s' holds a space or control character", tag);
    return 0;
}

static int tag_locked(struct sfs_layout *layout, const char *tag, const json_t *descriptor,
                      struct sfs_error *err)
{
    AUTO(sfs_json_close) json_t *index = NULL;
    AUTO(sfs_json_close) json_t *entry = NULL;
    const json_t *manifests;
    int r = sfs_document_read(layout->members, "index.json", &index, NULL, err);
    if (r == 0)
        r = sfs_document_array(index, "manifests", "index.json", &manifests, err);
    if (r < 0)
        return r;
    entry = make_entry(tag, descriptor);
    if (!entry || enter(index, tag, entry) < 0)
        return sfs_fail(err, ENOMEM, "out of memory (or tag '%.100s' is not UTF-8)",
                        tag ? tag : "");
    AUTO(sfs_free)
    char *text = sfs_json_print(index, JSON_COMPACT);
    if (!text)
        return sfs_fail_memory(err);
    return sfs_io_replace_file(layout->dir, "index.json", text, strlen(text), 0644, err);
}

int sfs_layout_tag(struct sfs_layout *layout, const char *tag, const struct json_t *descriptor,
                   struct sfs_error *err)
{
    int r = check_tag(tag, descriptor, err);
    if (r < 0)
        return r;
    r = lock(layout->fd, LOCK_EX);
    if (r < 0)
        return sfs_fail_errno(err, -r, "locking %s", layout->dir);
    r = tag_locked(layout, tag, descriptor, err);
    unlock(&layout->fd);
    if (r < 0)
        return sfs_fail_while(err, r, "tagging in %s", layout->dir);
    layout->tagged = true;
    return 0;
}
