/* apk's database: paragraphs of "X:value" lines. P and V are name and version; F is a directory,
 * and each R a file in it. */
#include "slim/packages_maker.h"

#include <stagefs/auto.h>

#define DATABASE "lib/apk/db/installed"

struct apk_reader {
    struct packages_maker *maker;
    struct sfs_buf name, version, dir;
    bool begun;
};

static void apk_reader_done(struct apk_reader *reader)
{
    sfs_buf_close(&reader->name);
    sfs_buf_close(&reader->version);
    sfs_buf_close(&reader->dir);
}

static int set(struct packages_maker *maker, struct sfs_buf *buf, const char *value, size_t size)
{
    buf->size = 0;
    sfs_buf_add(buf, value, size);
    return sfs_buf_check(buf, maker->err);
}

static int begin(struct apk_reader *reader)
{
    if (reader->begun)
        return 0;
    reader->begun = true;
    return sfs_packages_begin(reader->maker, SFS_PACKAGE_ALPINE, DATABASE,
                              reader->name.data ? reader->name.data : "",
                              reader->version.data ? reader->version.data : "");
}

static int read_line(struct apk_reader *reader, const char *line, size_t size)
{
    struct packages_maker *maker = reader->maker;
    if (size < 2 || line[1] != ':') {
        reader->begun = reader->begun && size > 0; /* an empty line ends a package */
        return 0;
    }
    const char *value = line + 2;
    size -= 2;
    switch (*line) {
    case 'P':
        reader->begun = false;
        set(maker, &reader->version, "", 0);
        return set(maker, &reader->name, value, size);
    case 'V':
        return set(maker, &reader->version, value, size);
    case 'F': {
        int r = begin(reader);
        if (r == 0)
            r = sfs_packages_claim(maker, "", value, size);
        return r == 0 ? set(maker, &reader->dir, value, size) : r;
    }
    case 'R': {
        int r = begin(reader);
        return r == 0 ? sfs_packages_claim(maker, reader->dir.data ? reader->dir.data : "", value,
                                           size)
                      : r;
    }
    default:
        return 0;
    }
}

int sfs_packages_read_alpine(struct packages_maker *maker)
{
    AUTO(sfs_free) char *text = NULL;
    size_t size;
    int r = sfs_packages_read(maker, DATABASE, &text, &size);
    if (r < 0 || !text)
        return r;
    AUTO(apk_reader_done) struct apk_reader reader = { .maker = maker };
    const char *at = text, *end = text + size;
    while (r == 0 && at < end) {
        const char *newline = memchr(at, '\n', (size_t)(end - at));
        size_t line = newline ? (size_t)(newline - at) : (size_t)(end - at);
        r = read_line(&reader, at, line);
        at += line + 1;
    }
    return r;
}
