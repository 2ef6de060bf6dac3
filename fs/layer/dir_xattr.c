/* Extended attributes of a file on disk, and which of them are marks of an overlay. */
#include "layer/dir_scan.h"

#include "base/limits.h"
#include <sys/xattr.h>

static int list_names(const char *path, struct sfs_buf *names)
{
    for (;;) {
        ssize_t size = listxattr(path, NULL, 0);
        if (size < 0)
            return errno == ENOTSUP ? 0 : -errno;
        names->size = 0;
        char *place = sfs_buf_grow(names, (size_t)size);
        if (!place)
            return -ENOMEM;
        ssize_t actual = size ? listxattr(path, place, (size_t)size) : 0;
        if (actual < 0 && errno == ERANGE) /* grew meanwhile */
            continue;
        if (actual < 0)
            return -errno;
        names->size = (size_t)actual;
        return 0;
    }
}

/* Appends the value. -ENODATA: it may not be read, or has gone. */
static int read_value(const char *path, const char *name, struct sfs_buf *values, size_t *ret_size)
{
    char value[4096];
    ssize_t size = getxattr(path, name, value, sizeof value);
    if (size >= 0) {
        *ret_size = (size_t)size;
        return sfs_buf_add(values, value, (size_t)size);
    }
    if (errno == ERANGE) {
        char *place = sfs_buf_grow(values, SFS_MAX_XATTR);
        if (!place)
            return -ENOMEM;
        size = getxattr(path, name, place, SFS_MAX_XATTR);
        values->size -= SFS_MAX_XATTR - (size < 0 ? 0 : (size_t)size);
    }
    if (size < 0)
        return errno == EACCES || errno == EPERM || errno == ENOTSUP ? -ENODATA : -errno;
    *ret_size = (size_t)size;
    return 0;
}

/* Only what the overlay alone can have set: attributes of the user's kind (user.overlay.*) are the
 * command's own, since that overlay was not told to use them (userxattr). */
static const char *overlay_mark(const char *name)
{
    static const char prefix[] = "trusted.overlay.";
    return strncmp(name, prefix, sizeof prefix - 1) == 0 ? name + sizeof prefix - 1 : NULL;
}

static int take_mark(struct sfs_dir_xattrs *xattrs, const char *mark, const char *value,
                     size_t size, struct sfs_error *err)
{
    if (strcmp(mark, "redirect") == 0 || strcmp(mark, "metacopy") == 0)
        return sfs_fail(err, ENOTSUP, "an overlay with %s cannot be read without its lower layers",
                        mark);
    if (strcmp(mark, "opaque") == 0)
        xattrs->opaque = size == 1 && value[0] == 'y';
    if (strcmp(mark, "whiteout") == 0)
        xattrs->whiteout = true;
    return 0;
}

static int take_attribute(const char *path, const char *name, bool overlay,
                          struct sfs_dir_xattrs *xattrs, struct sfs_error *err)
{
    size_t size = 0, start = xattrs->memory.size;
    int r = read_value(path, name, &xattrs->memory, &size);
    if (r == -ENODATA)
        return 0;
    if (r < 0)
        return sfs_fail_errno(err, -r, "extended attribute %s", name);
    const char *mark = overlay ? overlay_mark(name) : NULL;
    if (mark) {
        r = take_mark(xattrs, mark, xattrs->memory.data + start, size, err);
        xattrs->memory.size = start;
        return r;
    }
    struct sfs_builder_xattr *xattr = &xattrs->list[xattrs->count++];
    /* Offsets for now: the memory still moves. */
    *xattr = (struct sfs_builder_xattr){ .size = size };
    if (sfs_buf_add(&xattrs->memory, name, strlen(name) + 1) < 0)
        return sfs_fail_memory(err);
    return 0;
}

/* Memory holds value and name of one attribute after the other. */
static void set_pointers(struct sfs_dir_xattrs *xattrs)
{
    const char *at = xattrs->memory.data;
    for (uint32_t i = 0; i < xattrs->count; i++) {
        xattrs->list[i].value = at;
        at += xattrs->list[i].size;
        xattrs->list[i].name = at;
        at += strlen(at) + 1;
    }
}

static void close_names(struct sfs_buf *names)
{
    sfs_buf_close(names);
}

int sfs_dir_xattrs_read(int fd, bool overlay, struct sfs_dir_xattrs *ret_xattrs,
                        struct sfs_error *err)
{
    AUTO(sfs_dir_xattrs_done) struct sfs_dir_xattrs xattrs = { 0 };
    AUTO(close_names) struct sfs_buf names = { 0 };
    char path[32];
    /* By way of /proc, since what is open by name only has no other. */
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    int r = list_names(path, &names);
    if (r < 0)
        return sfs_fail_errno(err, -r, "extended attributes");
    size_t count = 0;
    for (size_t i = 0; i < names.size; i++)
        count += names.data[i] == '\0';
    if (count == 0)
        return 0;
    xattrs.list = calloc(count, sizeof *xattrs.list);
    if (!xattrs.list)
        return sfs_fail_memory(err);
    for (size_t i = 0; i < names.size && r == 0; i += strlen(names.data + i) + 1)
        r = take_attribute(path, names.data + i, overlay, &xattrs, err);
    if (r < 0)
        return r;
    set_pointers(&xattrs);
    *ret_xattrs = xattrs;
    xattrs = (struct sfs_dir_xattrs){ 0 };
    return 0;
}

void sfs_dir_xattrs_done(struct sfs_dir_xattrs *xattrs)
{
    free(xattrs->list);
    sfs_buf_close(&xattrs->memory);
    *xattrs = (struct sfs_dir_xattrs){ 0 };
}
