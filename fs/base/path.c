/* Paths as text only: nothing here asks the file system. */
#include "base/path.h"

#include "base/banned.h"
#include "base/buf.h"

/* Length of what is left of the cleaned text when its last component is taken away. */
static size_t drop_last(const char *text, size_t size, size_t floor)
{
    while (size > floor && text[size - 1] != '/')
        size--;
    return size > floor ? size - 1 : size;
}

char *sfs_path_clean(const char *path)
{
    size_t length = strlen(path);
    char *out = malloc(length + 2);
    if (!out)
        return NULL;
    bool rooted = path[0] == '/';
    size_t size = 0, floor = rooted; /* below floor: "/", or leading ".." that must stay */
    if (rooted)
        out[size++] = '/';
    for (const char *p = path; *p;) {
        p += strspn(p, "/");
        size_t name = strcspn(p, "/");
        if (name == 2 && p[0] == '.' && p[1] == '.' && (rooted || size > floor)) {
            size = drop_last(out, size, floor);
        } else if (name > 0 && !(name == 1 && p[0] == '.')) {
            if (size > rooted)
                out[size++] = '/';
            memcpy(out + size, p, name);
            size += name;
            if (name == 2 && p[0] == '.' && p[1] == '.')
                floor = size;
        }
        p += name;
    }
    if (size == 0)
        out[size++] = '.';
    out[size] = '\0';
    return out;
}

char *sfs_path_join(const char *parent, const char *path)
{
    struct sfs_buf joined = { 0 };
    int r = sfs_buf_printf(&joined, "/%s/%s", path[0] == '/' ? "" : parent, path);
    char *clean = r < 0 ? NULL : sfs_path_clean(joined.data);
    sfs_buf_close(&joined);
    return clean;
}

const char *sfs_path_base(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

size_t sfs_path_last(const char *path, size_t *ret_size)
{
    size_t end = strlen(path);
    while (end > 0 && path[end - 1] == '/')
        end--;
    size_t start = end;
    while (start > 0 && path[start - 1] != '/')
        start--;
    *ret_size = end - start;
    return start;
}

bool sfs_path_is_below(const char *path, const char *dir)
{
    size_t size = strlen(dir);
    return strncmp(path, dir, size) == 0 && path[size] == '/';
}
