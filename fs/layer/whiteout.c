/* Which names of an archive are marks, and what they do to the builder. */
#include "layer/whiteout.h"

#include "base/buf.h"
#include "base/path.h"

static bool starts_with(const char *text, size_t size, const char *start)
{
    size_t start_size = strlen(start);
    return size >= start_size && memcmp(text, start, start_size) == 0;
}

static int hide(struct sfs_builder *builder, const char *path, size_t dir_size, const char *name,
                size_t name_size, struct sfs_error *err)
{
    AUTO(sfs_buf_close) struct sfs_buf hidden = { 0 };
    if (name_size == 0 || (name_size == 1 && name[0] == '.') ||
        (name_size == 2 && name[0] == '.' && name[1] == '.'))
        return sfs_fail(err, EBADMSG, "a whiteout of nothing");
    if (sfs_buf_add(&hidden, path, dir_size) < 0 || sfs_buf_add(&hidden, name, name_size) < 0)
        return sfs_fail_memory(err);
    return sfs_builder_whiteout(builder, hidden.data, err);
}

static int make_opaque(struct sfs_builder *builder, const char *path, size_t dir_size,
                       struct sfs_error *err)
{
    AUTO(sfs_free) char *dir = strndup(path, dir_size);
    if (!dir)
        return sfs_fail_memory(err);
    return sfs_builder_opaque(builder, dir, err);
}

#define AUFS_OWN    ".wh..wh."
#define AUFS_BODIES ".wh..wh.plnk"

static const char *skip_root(const char *path)
{
    while (path[0] == '/' || (path[0] == '.' && path[1] == '/'))
        path++;
    return path;
}

bool sfs_aufs_is_body(const char *path)
{
    path = skip_root(path);
    if (strncmp(path, AUFS_BODIES "/", sizeof AUFS_BODIES) != 0)
        return false;
    return path[strspn(path + sizeof AUFS_BODIES, "/") + sizeof AUFS_BODIES] != 0;
}

/* Is the path below a name at the root that is aufs's own? */
static bool is_below_own(const char *path)
{
    path = skip_root(path);
    const char *slash = strchr(path, '/');
    return starts_with(path, strlen(path), AUFS_OWN) && slash && slash[strspn(slash, "/")];
}

int sfs_aufs_hide(struct sfs_builder *builder, struct sfs_error *err)
{
    return sfs_builder_remove(builder, AUFS_BODIES, err);
}

bool sfs_estargz_is_mark(const char *path)
{
    static const char *const marks[] = { ".prefetch.landmark", ".no.prefetch.landmark",
                                         "stargz.index.json" };
    path = skip_root(path);
    for (size_t i = 0; i < sizeof marks / sizeof *marks; i++)
        if (strcmp(path, marks[i]) == 0)
            return true;
    return false;
}

int sfs_whiteout_take(struct sfs_builder *builder, const char *path, struct sfs_error *err)
{
    static const char mark[] = ".wh.", own[] = AUFS_OWN, opaque[] = ".wh..wh..opq";
    if (is_below_own(path))
        return 1;
    size_t size, start = sfs_path_last(path, &size);
    const char *name = path + start;
    if (!starts_with(name, size, mark))
        return 0;
    int r = 0;
    if (size == sizeof opaque - 1 && starts_with(name, size, opaque))
        r = make_opaque(builder, path, start, err);
    else if (!starts_with(name, size, own))
        r = hide(builder, path, start, name + sizeof mark - 1, size - (sizeof mark - 1), err);
    return r < 0 ? r : 1;
}
