/* A directory tree as one layer. Names and metadata are read once when it is opened; file bytes are
 * read from the files themselves, which are reached again from the root without following a single
 * symlink, and refused if they are no longer the files that were listed. */
#include "layer/dir_scan.h"
#include "layer/layer.h"

#include <fcntl.h>

struct dir_layer {
    struct sfs_layer base;
    int root;
    struct sfs_dir_files files;
};

/* At most this much is read for one pin. */
#define PIN_MAX (4u << 20)

static int open_file(const struct dir_layer *layer, const struct sfs_inode_rec *inode, int *ret_fd,
                     struct sfs_error *err)
{
    const struct sfs_dir_file *files = (const void *)layer->files.files.data;
    const struct sfs_dir_file *file = &files[inode->source];
    const char *path = layer->files.paths.data + file->path;
    AUTO(sfs_close_fd)
    int fd = sfs_dir_open_below(layer->root, path, O_RDONLY | O_NONBLOCK | O_NOCTTY);
    struct stat st;
    if (fd < 0)
        return sfs_fail(err, EIO, "%s: opening %s: %s", layer->base.label, path,
                        fd == -EACCES ? "Permission denied" : "it is not there any more");
    if (fstat(fd, &st) < 0 || st.st_dev != file->dev || st.st_ino != file->ino ||
        (uint64_t)st.st_size != inode->size || st.st_mtim.tv_sec != inode->mtime_sec ||
        (uint32_t)st.st_mtim.tv_nsec != inode->mtime_nsec)
        return sfs_fail(err, EIO, "%s: %s was changed since it was listed", layer->base.label,
                        path);
    *ret_fd = TAKE_FD(fd);
    return 0;
}

static int pin(struct sfs_layer *base, sfs_inode number, uint64_t offset, size_t size,
               struct sfs_slice *ret_slice, struct sfs_error *err)
{
    struct dir_layer *layer = (struct dir_layer *)base;
    const struct sfs_inode_rec *inode = &base->tables.inodes[number];
    AUTO(sfs_close_fd) int fd = -1;
    if (!S_ISREG(inode->mode) || offset >= inode->size || size == 0)
        return sfs_fail(err, EINVAL, "%s: no such bytes", base->label);
    int r = open_file(layer, inode, &fd, err);
    if (r < 0)
        return r;
    size = size < PIN_MAX ? size : PIN_MAX;
    size = size < inode->size - offset ? size : (size_t)(inode->size - offset);
    AUTO(sfs_free) void *data = malloc(size);
    if (!data)
        return sfs_fail(err, ENOMEM, "%s: out of memory", base->label);
    ssize_t actual = sfs_io_read_at(fd, data, size, offset);
    if (actual <= 0)
        return sfs_fail(err, EIO, "%s: reading a file of the directory: %s", base->label,
                        actual < 0 ? strerrordesc_np((int)-actual) : "it was cut off");
    *ret_slice = (struct sfs_slice){ .data = data, .size = (size_t)actual, .release = free };
    ret_slice->owner = TAKE(data);
    return 0;
}

static void close_dir(struct sfs_layer *base)
{
    struct dir_layer *layer = (struct dir_layer *)base;
    sfs_close_fd(&layer->root);
    sfs_dir_files_done(&layer->files);
}

const char *sfs_layer_dir_left_out(const struct sfs_layer *base)
{
    const struct dir_layer *layer = (const struct dir_layer *)base;
    return layer->files.left_out.size > 0 ? layer->files.left_out.data : NULL;
}

static const struct sfs_layer_ops dir_ops = { .pin = pin, .close = close_dir };

int sfs_layer_open_dir(const char *path, unsigned flags, const char *label,
                       struct sfs_layer **ret_layer, struct sfs_error *err)
{
    AUTO(sfs_layer_close) struct sfs_layer *base = NULL;
    AUTO(sfs_builder_close) struct sfs_builder *builder = sfs_builder_open();
    struct dir_layer *layer = calloc(1, sizeof *layer);
    if (!layer || !builder) {
        free(layer);
        return sfs_fail_memory(err);
    }
    base = &layer->base;
    base->ops = &dir_ops;
    base->label = strdup(label);
    layer->root = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (layer->root < 0)
        return sfs_fail_errno(err, errno, "%s", path);
    if (!base->label)
        return sfs_fail_memory(err);
    int r = sfs_dir_scan(layer->root, flags, builder, &layer->files, err);
    if (r == 0)
        r = sfs_builder_finish(builder, &base->tables, &base->memory, err);
    if (r < 0)
        return sfs_fail_while(err, r, "%s", path);
    *ret_layer = TAKE(base);
    return 0;
}
