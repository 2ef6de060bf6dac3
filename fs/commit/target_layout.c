/* Writing to a layout, and through one to containers-storage: skopeo, which knows the forms and
 * locks of that, copies the image from a layout in a temporary directory. */
#include "commit/target.h"

#include "base/program.h"
#include "base/temp_dir.h"
#include "image/layout.h"
#include <stagefs/format.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#define STORAGE_TAG "image" /* in the temporary layout */

struct layout_target {
    struct sfs_target target;
    struct sfs_layout *layout;
    char *tag; /* NULL: none */
    struct sfs_io_temp blob;
    /* For containers-storage: */
    struct sfs_temp_dir temp; /* where the layout is */
    char *name;               /* what skopeo copies it to; NULL: the layout itself is wanted */
};

static bool layout_has(const struct sfs_target *target, const struct sfs_digest *digest,
                       uint64_t size)
{
    return sfs_layout_has(((const struct layout_target *)target)->layout, digest, size);
}

static int layout_begin(struct sfs_target *target, int *ret_fd, struct sfs_error *err)
{
    struct layout_target *self = (struct layout_target *)target;
    int r = sfs_layout_temp(self->layout, &self->blob, err);
    if (r == 0)
        *ret_fd = self->blob.fd;
    return r;
}

static void layout_drop(struct sfs_target *target)
{
    sfs_io_temp_close(&((struct layout_target *)target)->blob);
}

static int layout_end(struct sfs_target *target, const struct sfs_digest *digest, uint64_t size,
                      struct sfs_error *err)
{
    struct layout_target *self = (struct layout_target *)target;
    (void)size;
    /* A blob of that name is replaced, too, since nobody has checked it. */
    int r = sfs_layout_commit(self->layout, &self->blob, digest, err);
    layout_drop(target);
    return r;
}

static int layout_add_layer(struct sfs_target *target, struct sfs_image *image, size_t i,
                            struct sfs_error *err)
{
    return sfs_layout_add_layer(((struct layout_target *)target)->layout, image, i, err);
}

static int layout_finish(struct sfs_target *target, const struct sfs_target_image *image,
                         struct sfs_error *err)
{
    const struct layout_target *self = (const struct layout_target *)target;
    return sfs_layout_tag(self->layout, self->tag, image->descriptor, err);
}

static void layout_close(struct sfs_target *target)
{
    struct layout_target *self = (struct layout_target *)target;
    layout_drop(target);
    sfs_layout_close(&self->layout);
    sfs_temp_dir_close(&self->temp);
    free(self->tag);
    free(self->name);
    free(self);
}

static const struct sfs_target_ops layout_ops = {
    .has = layout_has,
    .begin = layout_begin,
    .end = layout_end,
    .drop = layout_drop,
    .add_layer = layout_add_layer,
    .finish = layout_finish,
    .close = layout_close,
};

static struct layout_target *make_target(const struct sfs_target_ops *ops)
{
    struct layout_target *self = calloc(1, sizeof *self);
    if (!self)
        return NULL;
    self->target.ops = ops;
    self->blob = (struct sfs_io_temp){ .fd = -1, .dirfd = -1 };
    self->temp = (struct sfs_temp_dir){ .fd = -1, .parent = -1 };
    return self;
}

int sfs_target_open_layout(const struct sfs_reference *reference, const char *text,
                           const struct sfs_commit_options *options, struct sfs_target **ret_target,
                           struct sfs_error *err)
{
    (void)options;
    (void)text;
    struct layout_target *self = make_target(&layout_ops);
    AUTO(sfs_target_close) struct sfs_target *target = self ? &self->target : NULL;
    if (!self || (reference->name && !(self->tag = strdup(reference->name))))
        return sfs_fail_memory(err);
    int r = sfs_layout_open(reference->path, &self->layout, err);
    if (r == 0)
        *ret_target = TAKE(target);
    return r;
}

/* ---- containers-storage ---- */

/* The last line that was written to the file, without its end. */
static char *last_line(int fd)
{
    char text[2048];
    off_t end = lseek(fd, 0, SEEK_END);
    off_t from = end > (off_t)sizeof text - 1 ? end - (off_t)sizeof text + 1 : 0;
    ssize_t size = sfs_io_read_at(fd, text, sizeof text - 1, (uint64_t)from);
    size = size > 0 ? size : 0;
    while (size > 0 && text[size - 1] == '\n')
        size--;
    text[size] = 0;
    const char *line = strrchr(text, '\n');
    return strdup(line ? line + 1 : text);
}

/* Has skopeo copy an image. No policy is asked: it says whose images are trusted, and this one was
 * made here. */
static int run_skopeo(const char *from, const char *to, struct sfs_error *err)
{
    const char *argv[] = { "skopeo", "--insecure-policy", "copy", "--quiet", from, to, NULL };
    AUTO(sfs_close_fd) int log = memfd_create("skopeo", MFD_CLOEXEC);
    pid_t pid;
    if (log < 0)
        return sfs_fail_errno(err, errno, "skopeo");
    int r = sfs_program_start(argv, (int[]){ -1, log, log }, &pid);
    if (r == -ENOENT)
        return sfs_fail(err, ENOENT, "%.300s is written by skopeo, which is not installed", to);
    if (r < 0)
        return sfs_fail_errno(err, -r, "starting skopeo");
    if (sfs_program_wait(pid) == 0)
        return 0;
    AUTO(sfs_free) char *words = last_line(log);
    return sfs_fail(err, EIO, "skopeo did not write %.300s: %.600s", to, words ? words : "");
}

static int storage_finish(struct sfs_target *target, const struct sfs_target_image *image,
                          struct sfs_error *err)
{
    const struct layout_target *self = (const struct layout_target *)target;
    int r = layout_finish(target, image, err);
    if (r < 0)
        return r;
    AUTO(sfs_free) char *from = NULL;
    from = sfs_format("oci:%s/layout:" STORAGE_TAG, self->temp.path);
    if (!from)
        return sfs_fail_memory(err);
    return run_skopeo(from, self->name, err);
}

static const struct sfs_target_ops storage_ops = {
    .has = layout_has,
    .begin = layout_begin,
    .end = layout_end,
    .drop = layout_drop,
    .add_layer = layout_add_layer,
    .finish = storage_finish,
    .close = layout_close,
};

/* Fails if there is no skopeo, before anything is read. */
static int find_skopeo(const char *text, struct sfs_error *err)
{
    const char *path = getenv("PATH");
    AUTO(sfs_free) char *copy = strdup(path ? path : "/usr/bin:/bin");
    char *rest = NULL;
    for (char *dir = copy ? strtok_r(copy, ":", &rest) : NULL; dir;
         dir = strtok_r(NULL, ":", &rest)) {
        AUTO(sfs_free) char *file = sfs_format("%s/skopeo", dir);
        if (file && access(file, X_OK) == 0)
            return 0;
    }
    return sfs_fail(err, ENOENT, "%.300s is written by skopeo, which is not installed", text);
}

int sfs_target_open_storage(const struct sfs_reference *reference, const char *text,
                            const struct sfs_commit_options *options,
                            struct sfs_target **ret_target, struct sfs_error *err)
{
    (void)options;
    (void)reference;
    int r = find_skopeo(text, err);
    if (r < 0)
        return r;
    struct layout_target *self = make_target(&storage_ops);
    AUTO(sfs_target_close) struct sfs_target *target = self ? &self->target : NULL;
    if (!self || !(self->name = strdup(text)) || !(self->tag = strdup(STORAGE_TAG)))
        return sfs_fail_memory(err);
    AUTO(sfs_free) char *home = NULL;
    r = sfs_temp_dir_home(sfs_io_temp_parent(), &home, err);
    if (r == 0)
        r = sfs_temp_dir_open(&self->temp, home, err);
    if (r < 0)
        return r;
    AUTO(sfs_free) char *dir = NULL;
    dir = sfs_format("%s/layout", self->temp.path);
    if (!dir)
        return sfs_fail_memory(err);
    r = sfs_layout_open(dir, &self->layout, err);
    if (r == 0)
        *ret_target = TAKE(target);
    return r;
}
