/* How sizes, modes, times, names and JSON look. */
#include "tool.h"

#include <stagefs/format.h>
#include <stagefs/utf8.h>
#include <jansson.h>
#include <stagefs/json.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

char *print_size(uint64_t bytes, char text[SIZE_TEXT])
{
    static const char units[] = "KMGTPE";
    unsigned unit = 0;
    while (bytes >> 10 * unit >= 1024)
        unit++;
    uint64_t part = bytes & ((1ull << 10 * unit) - 1), tenths = 0;
    uint64_t whole = bytes >> 10 * unit;
    if (unit == 0) {
        snprintf(text, SIZE_TEXT, "%u", (unsigned)bytes);
        return text;
    }
    /* Up, so that nothing seems smaller than it is: 9.91 K are 10K, and 1023.1 K are 1.0M. */
    if (whole < 10)
        tenths = ((part * 10) >> 10 * unit) + (((part * 10) & ((1ull << 10 * unit) - 1)) > 0);
    else
        whole += part > 0;
    whole += tenths / 10;
    tenths %= 10;
    if (whole == 1024 && unit < 6) {
        whole = 1;
        unit++;
    }
    if (whole < 10)
        snprintf(text, SIZE_TEXT, "%u.%u%c", (unsigned)whole, (unsigned)tenths, units[unit - 1]);
    else
        snprintf(text, SIZE_TEXT, "%u%c", (unsigned)whole, units[unit - 1]);
    return text;
}

char *path_in(const char *dir, const char *name)
{
    size_t size = strlen(dir);
    return sfs_format("%s%s%s", dir, size > 0 && dir[size - 1] == '/' ? "" : "/", name);
}

char *print_mode(uint32_t mode, char text[12])
{
    static const struct {
        uint32_t type;
        char letter;
    } types[] = {
        { S_IFDIR, 'd' }, { S_IFLNK, 'l' }, { S_IFCHR, 'c' }, { S_IFBLK, 'b' }, { S_IFIFO, 'p' }
    };
    text[0] = '-';
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if ((mode & S_IFMT) == types[i].type)
            text[0] = types[i].letter;
    for (int i = 0; i < 9; i++)
        text[1 + i] = mode & (0400u >> i) ? "rwxrwxrwx"[i] : '-';
    if (mode & S_ISUID)
        text[3] = mode & 0100 ? 's' : 'S';
    if (mode & S_ISGID)
        text[6] = mode & 0010 ? 's' : 'S';
    if (mode & S_ISVTX)
        text[9] = mode & 0001 ? 't' : 'T';
    text[10] = 0;
    return text;
}

char *print_time(int64_t seconds, char text[32])
{
    time_t t = (time_t)seconds;
    struct tm tm;
    if (!localtime_r(&t, &tm) || strftime(text, 32, "%Y-%m-%d %H:%M", &tm) == 0)
        snprintf(text, 32, "%lld", (long long)seconds);
    return text;
}

static bool is_escaped(unsigned char c)
{
    return c < 0x20 || c == 0x7f || c == '\\';
}

unsigned print_path_width(const char *path)
{
    unsigned width = 0;
    for (const unsigned char *p = (const unsigned char *)path; *p; p++)
        width += is_escaped(*p) ? 4 : (*p & 0xc0) != 0x80; /* of UTF-8, the first byte */
    return width;
}

unsigned print_columns(int fd)
{
    struct winsize size;
    if (ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
        return size.ws_col;
    return 80;
}

void print_path(const char *path)
{
    for (const unsigned char *p = (const unsigned char *)path; *p; p++) {
        if (is_escaped(*p))
            printf("\\%03o", *p);
        else
            putchar(*p);
    }
}

int print_json(json_t *json)
{
    if (sfs_json_write(json, JSON_INDENT(2) | JSON_PRESERVE_ORDER, stdout) < 0) {
        fprintf(stderr, "stagefs: the answer could not be written as JSON\n");
        json_decref(json);
        return EXIT_FAILED;
    }
    putchar('\n');
    json_decref(json);
    return tool_finish(EXIT_DONE);
}

json_t *json_text(const char *bytes)
{
    AUTO(sfs_free) char *text = sfs_utf8_clean(bytes);
    return text ? json_string(text) : NULL;
}

json_t *json_digest(const struct sfs_digest *digest)
{
    char text[SFS_DIGEST_TEXT];
    return json_string(sfs_digest_print(digest, text));
}

static const char *type_name(uint32_t mode)
{
    switch (mode & S_IFMT) {
    case S_IFDIR:
        return "directory";
    case S_IFLNK:
        return "symlink";
    case S_IFCHR:
        return "character device";
    case S_IFBLK:
        return "block device";
    case S_IFIFO:
        return "fifo";
    }
    return "file";
}

static json_t *json_bytes(const void *data, size_t size)
{
    AUTO(sfs_free) char *hex = malloc(2 * size + 1);
    if (!hex)
        return NULL;
    for (size_t i = 0; i < size; i++)
        snprintf(hex + 2 * i, 3, "%02x", ((const unsigned char *)data)[i]);
    hex[2 * size] = 0;
    return json_string(hex);
}

json_t *json_attr(const struct sfs_tree *tree, sfs_node node)
{
    struct sfs_attr attr;
    sfs_tree_attr(tree, node, &attr);
    char mode[8];
    snprintf(mode, sizeof mode, "%04o", attr.mode & 07777);
    json_t *json = json_pack("{s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "type",
                             type_name(attr.mode), "mode", mode, "uid", (json_int_t)attr.uid, "gid",
                             (json_int_t)attr.gid, "size", (json_int_t)attr.size, "mtime",
                             (json_int_t)attr.mtime_sec, "mtime_nsec", (json_int_t)attr.mtime_nsec,
                             "nlink", (json_int_t)attr.nlink, "inode", (json_int_t)node + 1);
    if (S_ISLNK(attr.mode))
        json_object_set_new(json, "target", json_text(sfs_tree_target(tree, node)));
    if (S_ISCHR(attr.mode) || S_ISBLK(attr.mode))
        json_object_set_new(json, "device",
                            json_pack("[i, i]", (int)attr.rdev_major, (int)attr.rdev_minor));
    uint32_t count = sfs_tree_xattr_count(tree, node);
    if (count > 0) {
        json_t *xattrs = json_object();
        for (uint32_t i = 0; i < count; i++) {
            struct sfs_xattr xattr = sfs_tree_xattr(tree, node, i);
            json_object_set_new(xattrs, xattr.name, json_bytes(xattr.value, xattr.size));
        }
        json_object_set_new(json, "xattrs", xattrs);
    }
    return json;
}
