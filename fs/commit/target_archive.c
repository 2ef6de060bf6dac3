/* Both archives are a layout as a tar, as `docker save` has written it since version 25, and skopeo
 * to oci-archive; for docker-archive with a manifest.json for those who know no layouts. One member
 * after the other goes into a temporary file: a header is completed when its blob has ended and its
 * digest is known. Then the file gets its name, or is copied into a pipe. */
#include "commit/target.h"

#include "base/buf.h"
#include "base/temp_dir.h"
#include "layer/tar_write.h"
#include "image/document.h"
#include "image/members.h"
#include <errno.h>
#include <fcntl.h>
#include <stagefs/json.h>
#include <sys/stat.h>

#define REF_NAME   "org.opencontainers.image.ref.name"
#define IMAGE_NAME "io.containerd.image.name"
#define COPY_BLOCK (1u << 20)

struct held {
    struct sfs_digest digest;
    uint64_t size;
};

struct archive_target {
    struct sfs_target target;
    char *file; /* its path; owned */
    char *base; /* its name in its directory; points into `file` */
    bool is_docker;
    char *name; /* TAG, or NAME:TAG for docker; NULL: none */
    struct sfs_io_temp temp;
    int stream;   /* a pipe, a device or standard output, to which the file is copied; -1: none */
    uint64_t end; /* where the last member ends in the file */
    struct held *held;
    size_t held_count;
};

static bool archive_has(const struct sfs_target *target, const struct sfs_digest *digest,
                        uint64_t size)
{
    const struct archive_target *self = (const struct archive_target *)target;
    for (size_t i = 0; i < self->held_count; i++)
        if (self->held[i].size == size && sfs_digest_equal(&self->held[i].digest, digest))
            return true;
    return false;
}

static int fail_write(const struct archive_target *self, int code, struct sfs_error *err)
{
    return sfs_fail_errno(err, code, "writing %s", self->file);
}

static int seek_to(const struct archive_target *self, uint64_t offset, struct sfs_error *err)
{
    return lseek(self->temp.fd, (off_t)offset, SEEK_SET) < 0 ? fail_write(self, errno, err) : 0;
}

static int archive_begin(struct sfs_target *target, int *ret_fd, struct sfs_error *err)
{
    struct archive_target *self = (struct archive_target *)target;
    int r = seek_to(self, self->end + SFS_TAR_BLOCK, err);
    if (r == 0)
        *ret_fd = self->temp.fd;
    return r;
}

static void archive_drop(struct sfs_target *target)
{
    struct archive_target *self = (struct archive_target *)target;
    if (self->temp.fd >= 0 && ftruncate(self->temp.fd, (off_t)self->end) < 0)
        self->end = UINT64_MAX; /* the next seek fails */
}

/* Writes the header in front of `size` bytes that stand behind it already, and their padding. */
static int seal_member(struct archive_target *self, const char *name, uint64_t size,
                       struct sfs_error *err)
{
    static const char zeros[SFS_TAR_BLOCK];
    const struct sfs_tar_entry entry = { .path = name, .attr = { .mode = S_IFREG | 0644 } };
    AUTO(sfs_buf_close) struct sfs_buf header = { 0 };
    int r = sfs_tar_add_header(&header, &entry, err);
    if (r < 0)
        return r;
    sfs_tar_set_size(header.data, size);
    if ((r = seek_to(self, self->end, err)) < 0)
        return r;
    r = sfs_io_write_all(self->temp.fd, header.data, header.size);
    if (r < 0)
        return fail_write(self, -r, err);
    uint64_t next = self->end + header.size + size;
    if ((r = seek_to(self, next, err)) < 0)
        return r;
    r = sfs_io_write_all(self->temp.fd, zeros, sfs_tar_padding(size));
    if (r < 0)
        return fail_write(self, -r, err);
    self->end = next + sfs_tar_padding(size);
    return 0;
}

static int archive_end(struct sfs_target *target, const struct sfs_digest *digest, uint64_t size,
                       struct sfs_error *err)
{
    struct archive_target *self = (struct archive_target *)target;
    char path[SFS_BLOB_PATH];
    if (archive_has(target, digest, size)) {
        archive_drop(target);
        return 0;
    }
    struct held *more = reallocarray(self->held, self->held_count + 1, sizeof *more);
    if (!more)
        return sfs_fail_memory(err);
    self->held = more;
    int r = seal_member(self, sfs_blob_path(digest, path), size, err);
    if (r == 0)
        self->held[self->held_count++] = (struct held){ *digest, size };
    return r;
}

static int add_file(struct archive_target *self, const char *name, const char *text,
                    struct sfs_error *err)
{
    int fd = -1;
    int r = archive_begin(&self->target, &fd, err);
    if (r < 0)
        return r;
    r = sfs_io_write_all(fd, text, strlen(text));
    return r < 0 ? fail_write(self, -r, err) : seal_member(self, name, strlen(text), err);
}

static int add_json(struct archive_target *self, const char *name, json_t *json,
                    struct sfs_error *err)
{
    AUTO(sfs_free) char *text = sfs_json_print(json, JSON_COMPACT | JSON_SORT_KEYS);
    json_decref(json);
    return text ? add_file(self, name, text, err) : sfs_fail_memory(err);
}

/* ---- what names the image ---- */

static json_t *make_index(const struct archive_target *self, const struct sfs_target_image *image)
{
    json_t *entry = json_deep_copy(image->descriptor);
    const char *name = self->name;
    if (name) {
        const char *tag = self->is_docker && strrchr(name, ':') ? strrchr(name, ':') + 1 : name;
        json_t *annotations = json_pack("{ss}", REF_NAME, tag);
        if (annotations && self->is_docker)
            json_object_set_new(annotations, IMAGE_NAME, json_string(name));
        json_object_set_new(entry, "annotations", annotations);
    }
    return json_pack("{si ss s[o]}", "schemaVersion", 2, "mediaType",
                     "application/vnd.oci.image.index.v1+json", "manifests", entry);
}

static json_t *blob_name(const struct sfs_digest *digest)
{
    char path[SFS_BLOB_PATH];
    return json_string(sfs_blob_path(digest, path));
}

/* Makes the manifest.json that `docker save` writes. */
static json_t *make_docker_manifest(const struct archive_target *self,
                                    const struct sfs_target_image *image)
{
    AUTO(sfs_json_close) json_t *layers = json_array();
    const json_t *descriptor;
    size_t i;
    json_array_foreach(json_object_get(image->manifest, "layers"), i, descriptor)
    {
        struct sfs_descriptor layer;
        if (sfs_descriptor_parse(descriptor, "layer", &layer, NULL) < 0 ||
            json_array_append_new(layers, blob_name(&layer.digest)) < 0)
            return NULL;
    }
    json_t *tags = self->name ? json_pack("[s]", self->name) : json_null();
    return json_pack("[{so so sO}]", "Config", blob_name(&image->config_digest), "RepoTags", tags,
                     "Layers", layers);
}

static int copy_to_stream(const struct archive_target *self, struct sfs_error *err)
{
    AUTO(sfs_free) char *block = malloc(COPY_BLOCK);
    ssize_t n;
    if (!block)
        return sfs_fail_memory(err);
    for (uint64_t at = 0; (n = sfs_io_read_at(self->temp.fd, block, COPY_BLOCK, at)) != 0;) {
        int r = n < 0 ? (int)n : sfs_io_write_all(self->stream, block, (size_t)n);
        if (r < 0)
            return fail_write(self, -r, err);
        at += (uint64_t)n;
    }
    return 0;
}

static int archive_finish(struct sfs_target *target, const struct sfs_target_image *image,
                          struct sfs_error *err)
{
    static const char zeros[SFS_TAR_END];
    struct archive_target *self = (struct archive_target *)target;
    int r = add_json(self, "index.json", make_index(self, image), err);
    if (r == 0 && self->is_docker)
        r = add_json(self, "manifest.json", make_docker_manifest(self, image), err);
    if (r == 0)
        r = add_file(self, "oci-layout", "{\"imageLayoutVersion\":\"1.0.0\"}", err);
    if (r < 0)
        return r;
    r = sfs_io_write_all(self->temp.fd, zeros, sizeof zeros);
    if (r < 0)
        return fail_write(self, -r, err);
    if (self->stream >= 0)
        return copy_to_stream(self, err);
    r = sfs_io_temp_commit(&self->temp, self->base, err);
    return r < 0 ? sfs_fail_while(err, r, "%s", self->file) : 0;
}

static void archive_close(struct sfs_target *target)
{
    struct archive_target *self = (struct archive_target *)target;
    sfs_io_temp_close(&self->temp);
    sfs_close_fd(&self->stream);
    free(self->file);
    free(self->name);
    free(self->held);
    free(self);
}

static const struct sfs_target_ops archive_ops = {
    .has = archive_has,
    .begin = archive_begin,
    .end = archive_end,
    .drop = archive_drop,
    .finish = archive_finish,
    .close = archive_close,
};

/* ---- opening ---- */

/* Opens what is written to and not replaced. */
static int open_stream(struct archive_target *self, bool is_stdout, struct sfs_error *err)
{
    self->target.fills_stdout = is_stdout;
    if (is_stdout) /* which has a position, and may be a socket, that cannot be opened anew */
        self->stream = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
    else
        self->stream = open(self->file, O_WRONLY | O_CLOEXEC | O_NOCTTY);
    if (self->stream < 0)
        return sfs_fail_errno(err, errno, "%s", self->file);
    if (isatty(self->stream))
        return sfs_fail(err, EINVAL, "%s is a terminal, for which an archive is nothing",
                        self->file);
    return sfs_io_open_unnamed(&self->temp.fd, err);
}

/* The file itself is replaced, not a symlink that leads to it. */
static int open_file(struct archive_target *self, bool is_there, struct sfs_error *err)
{
    char *path = is_there ? realpath(self->file, NULL) : strdup(self->file);
    if (!path)
        return sfs_fail_errno(err, errno, "%s", self->file);
    free(self->file);
    self->file = path;
    AUTO(sfs_free) char *dir = sfs_parent_of(path);
    if (!dir)
        return sfs_fail_memory(err);
    char *slash = strrchr(self->file, '/');
    self->base = slash ? slash + 1 : self->file;
    if (!*self->base)
        return sfs_fail(err, EINVAL, "%s names no file", self->file);
    sfs_io_sweep(dir);
    return sfs_io_temp_open(&self->temp, dir, 0644, err);
}

static int open_place(struct archive_target *self, struct sfs_error *err)
{
    struct stat st, out;
    if (stat(self->file, &st) < 0)
        return open_file(self, false, err);
    bool is_stdout = fstat(STDOUT_FILENO, &out) == 0 && st.st_dev == out.st_dev &&
                     st.st_ino == out.st_ino && !S_ISDIR(st.st_mode);
    if (!is_stdout && (S_ISDIR(st.st_mode) || S_ISSOCK(st.st_mode)))
        return sfs_fail(err, EINVAL, "%s is there already, and is not a file", self->file);
    return is_stdout || !S_ISREG(st.st_mode) ? open_stream(self, is_stdout, err)
                                             : open_file(self, true, err);
}

int sfs_target_open_archive(const struct sfs_reference *reference, const char *text,
                            const struct sfs_commit_options *options,
                            struct sfs_target **ret_target, struct sfs_error *err)
{
    (void)options;
    (void)text;
    struct archive_target *self = calloc(1, sizeof *self);
    if (!self)
        return sfs_fail_memory(err);
    AUTO(sfs_target_close) struct sfs_target *target = &self->target;
    self->target.ops = &archive_ops;
    self->temp = (struct sfs_io_temp){ .fd = -1, .dirfd = -1 };
    self->stream = -1;
    self->is_docker = reference->transport == SFS_TRANSPORT_DOCKER_ARCHIVE;
    self->file = strdup(reference->path);
    self->name = reference->name ? strdup(reference->name) : NULL;
    if (!self->file || (reference->name && !self->name))
        return sfs_fail_memory(err);
    int r = open_place(self, err);
    if (r == 0)
        *ret_target = TAKE(target);
    return r;
}
