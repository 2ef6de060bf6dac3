/* Headers by hand, since libarchive's pax writer cannot be made to write just this: it adds
 * LIBARCHIVE.xattr beside SCHILY.xattr, writes nanoseconds and pax headers where ustar would do,
 * and depends on the locale for names that are not ASCII.
 *
 * What readers make of it: Go's archive/tar (podman, skopeo, containerd, umoci) takes pax values as
 * bytes; GNU tar and libarchive take them as UTF-8 unless hdrcharset says BINARY, which Go and GNU
 * tar pass over. So names that are ASCII and short stand in the ustar header, others in a `path` or
 * `linkpath` record, and hdrcharset=BINARY goes before a name that is no UTF-8. */
#include "commit/tar.h"

#include <stagefs/utf8.h>

#include <errno.h>
#include <sys/stat.h>

struct ustar {
    char name[100];
    char mode[8];
    char uid[8];
    char gid[8];
    char size[12];
    char mtime[12];
    char checksum[8];
    char type;
    char target[100];
    char magic[6];
    char version[2];
    char user[32];
    char group[32];
    char major[8];
    char minor[8];
    char prefix[155];
    char unused[12];
};
_Static_assert(sizeof(struct ustar) == SFS_TAR_BLOCK, "a tar header is one block");

#define MAX_OCTAL_7  07777777u      /* the largest number of 7 digits */
#define MAX_OCTAL_11 077777777777ll /* the largest number of 11 digits: 8 GiB - 1 */

static bool is_ascii(const char *text)
{
    for (; *text; text++)
        if ((unsigned char)*text >= 0x80)
            return false;
    return true;
}

/* Puts size - 1 octal digits and a NUL, as POSIX has it. */
static void put_octal(char *field, size_t size, uint64_t value)
{
    field[size - 1] = 0;
    for (size_t i = size - 1; i-- > 0; value >>= 3)
        field[i] = (char)('0' + (value & 7));
}

static void put_text(char *field, size_t size, const char *text)
{
    size_t length = strnlen(text, size);
    memcpy(field, text, length);
}

/* Puts what a name has of ASCII, for readers that do not know pax; libarchive also wants it not to
 * be empty. */
static void put_ascii(char *field, size_t size, const char *text)
{
    put_text(field, size, text);
    for (size_t i = 0; i < size; i++)
        if ((unsigned char)field[i] >= 0x80)
            field[i] = '_';
}

static void seal(struct ustar *header)
{
    memcpy(header->magic, "ustar", 6);
    memcpy(header->version, "00", 2);
    memset(header->checksum, ' ', sizeof header->checksum);
    unsigned sum = 0;
    const unsigned char *bytes = (const unsigned char *)header;
    for (size_t i = 0; i < sizeof *header; i++)
        sum += bytes[i];
    put_octal(header->checksum, 7, sum);
}

/* Puts the name into name, or into prefix and name parted at a '/'. Returns whether it fits. */
static bool put_name(struct ustar *header, const char *name)
{
    size_t size = strlen(name);
    if (!is_ascii(name))
        return false;
    if (size <= sizeof header->name) {
        put_text(header->name, sizeof header->name, name);
        return true;
    }
    /* The first '/' that leaves at most 100 bytes behind it; one at the very end parts nothing. */
    size_t from = size - sizeof header->name - 1;
    const char *slash = strchr(name + (from ? from : 1), '/');
    if (!slash || !slash[1] || (size_t)(slash - name) > sizeof header->prefix)
        return false;
    memcpy(header->prefix, name, (size_t)(slash - name));
    put_text(header->name, sizeof header->name, slash + 1);
    return true;
}

static size_t count_digits(size_t value)
{
    size_t digits = 1;
    for (; value >= 10; value /= 10)
        digits++;
    return digits;
}

/* Adds a record: "LENGTH KEY=VALUE\n", where LENGTH counts itself. */
static int add_record(struct sfs_buf *records, const char *key, const void *value, size_t size)
{
    size_t rest = 1 + strlen(key) + 1 + size + 1;
    size_t length = rest + count_digits(rest);
    length = rest + count_digits(length);
    int r = sfs_buf_printf(records, "%zu %s=", length, key);
    if (r == 0)
        r = sfs_buf_add(records, value, size);
    if (r == 0)
        r = sfs_buf_add(records, "\n", 1);
    return r;
}

static int add_number(struct sfs_buf *records, const char *key, int64_t value)
{
    char text[24];
    int size = snprintf(text, sizeof text, "%lld", (long long)value);
    return add_record(records, key, text, (size_t)size);
}

static int add_xattrs(struct sfs_buf *records, const struct sfs_tar_entry *entry,
                      struct sfs_error *err)
{
    for (uint32_t i = 0; i < entry->xattr_count; i++) {
        const struct sfs_xattr *xattr = &entry->xattrs[i];
        char key[288];
        int size = snprintf(key, sizeof key, "SCHILY.xattr.%s", xattr->name);
        if (strchr(xattr->name, '=') || (size_t)size >= sizeof key)
            return sfs_fail(err, ENOTSUP,
                            "%s: a tar cannot express the extended attribute '%.255s'", entry->path,
                            xattr->name);
        int r = add_record(records, key, xattr->value, xattr->size);
        if (r < 0)
            return sfs_fail_memory(err);
    }
    return 0;
}

/* What of `entry` did not go into the ustar header. */
struct excess {
    const char *path, *target; /* NULL: it fits */
};

/* Adds the records in the order of their keys, so that the same entry gives the same bytes. */
static int add_records(struct sfs_buf *records, const struct sfs_tar_entry *entry, uint64_t size,
                       const struct excess *excess, struct sfs_error *err)
{
    int r = add_xattrs(records, entry, err);
    if (r < 0)
        return r;
    const struct sfs_attr *attr = &entry->attr;
    if (attr->gid > MAX_OCTAL_7)
        r = add_number(records, "gid", attr->gid);
    if (r == 0 && ((excess->path && !sfs_utf8_is_valid(excess->path)) ||
                   (excess->target && !sfs_utf8_is_valid(excess->target))))
        r = add_record(records, "hdrcharset", "BINARY", 6);
    if (r == 0 && excess->target)
        r = add_record(records, "linkpath", excess->target, strlen(excess->target));
    if (r == 0 && (attr->mtime_sec < 0 || attr->mtime_sec > MAX_OCTAL_11))
        r = add_number(records, "mtime", attr->mtime_sec);
    if (r == 0 && excess->path)
        r = add_record(records, "path", excess->path, strlen(excess->path));
    if (r == 0 && size > (uint64_t)MAX_OCTAL_11)
        r = add_number(records, "size", (int64_t)size);
    if (r == 0 && attr->uid > MAX_OCTAL_7)
        r = add_number(records, "uid", attr->uid);
    return r < 0 ? sfs_fail_memory(err) : 0;
}

/* Puts the extended header's own name, which matters only to readers that list such headers. */
static void put_pax_name(struct ustar *header, const char *path)
{
    const char *slash = strrchr(path, '/');
    const char *base = slash ? slash + 1 : path;
    char name[sizeof header->name + 1];
    snprintf(name, sizeof name, "PaxHeaders.0/%.80s", *base ? base : "root");
    put_ascii(header->name, sizeof header->name, name);
}

static int add_pax(struct sfs_buf *buf, const char *path, const struct sfs_buf *records)
{
    struct ustar header = { .type = 'x' };
    put_pax_name(&header, path);
    put_octal(header.mode, sizeof header.mode, 0644);
    put_octal(header.uid, sizeof header.uid, 0);
    put_octal(header.gid, sizeof header.gid, 0);
    put_octal(header.size, sizeof header.size, records->size);
    put_octal(header.mtime, sizeof header.mtime, 0);
    seal(&header);
    static const char zeros[SFS_TAR_BLOCK];
    int r = sfs_buf_add(buf, &header, sizeof header);
    if (r == 0)
        r = sfs_buf_add(buf, records->data, records->size);
    if (r == 0)
        r = sfs_buf_add(buf, zeros, sfs_tar_padding(records->size));
    return r;
}

/* The type flag of an entry; 0: a tar knows no such type. */
static char type_of(const struct sfs_tar_entry *entry)
{
    if (entry->hard_link)
        return '1';
    switch (entry->attr.mode & S_IFMT) {
    case S_IFREG:
        return '0';
    case S_IFLNK:
        return '2';
    case S_IFCHR:
        return '3';
    case S_IFBLK:
        return '4';
    case S_IFDIR:
        return '5';
    case S_IFIFO:
        return '6';
    default:
        return 0;
    }
}

static uint64_t clip(int64_t value, int64_t max)
{
    return value >= 0 && value <= max ? (uint64_t)value : 0;
}

static void put_numbers(struct ustar *header, const struct sfs_attr *attr, uint64_t size)
{
    put_octal(header->mode, sizeof header->mode, attr->mode & 07777);
    put_octal(header->uid, sizeof header->uid, clip(attr->uid, MAX_OCTAL_7));
    put_octal(header->gid, sizeof header->gid, clip(attr->gid, MAX_OCTAL_7));
    put_octal(header->size, sizeof header->size, clip((int64_t)size, MAX_OCTAL_11));
    put_octal(header->mtime, sizeof header->mtime, clip(attr->mtime_sec, MAX_OCTAL_11));
    bool device = header->type == '3' || header->type == '4';
    put_octal(header->major, sizeof header->major, device ? attr->rdev_major : 0);
    put_octal(header->minor, sizeof header->minor, device ? attr->rdev_minor : 0);
}

int sfs_tar_add_name(struct sfs_buf *name, const struct sfs_tar_entry *entry)
{
    int r = sfs_buf_add_str(name, *entry->path ? entry->path : ".");
    if (r == 0 && type_of(entry) == '5')
        r = sfs_buf_add_str(name, "/");
    return r;
}

static int add_headers(struct sfs_buf *buf, const struct sfs_tar_entry *entry, const char *name,
                       char type, struct sfs_error *err)
{
    const char *target = type == '1' || type == '2' ? entry->target : "";
    uint64_t size = type == '0' ? entry->attr.size : 0;
    struct ustar header = { .type = type };
    struct excess excess = { 0 };
    if (!put_name(&header, name))
        excess.path = name;
    if (strlen(target) <= sizeof header.target && is_ascii(target))
        put_text(header.target, sizeof header.target, target);
    else
        excess.target = target;
    put_numbers(&header, &entry->attr, size);

    AUTO(sfs_buf_close) struct sfs_buf records = { 0 };
    int r = add_records(&records, entry, size, &excess, err);
    if (r < 0)
        return r;
    if (records.size > 0)
        r = add_pax(buf, entry->path, &records);
    if (excess.path)
        put_ascii(header.name, sizeof header.name, name);
    if (excess.target)
        put_ascii(header.target, sizeof header.target, target);
    seal(&header);
    if (r == 0)
        r = sfs_buf_add(buf, &header, sizeof header);
    return r < 0 ? sfs_fail_memory(err) : 0;
}

/* More than 11 octal digits are written in binary, as GNU tar does and all read. */
void sfs_tar_set_size(char *header, uint64_t size)
{
    struct ustar *ustar = (struct ustar *)header;
    if (size <= (uint64_t)MAX_OCTAL_11) {
        put_octal(ustar->size, sizeof ustar->size, size);
    } else {
        memset(ustar->size, 0, sizeof ustar->size);
        ustar->size[0] = (char)0x80;
        for (size_t i = 0; i < sizeof size; i++)
            ustar->size[sizeof ustar->size - 1 - i] = (char)(size >> 8 * i & 0xff);
    }
    seal(ustar);
}

int sfs_tar_add_header(struct sfs_buf *buf, const struct sfs_tar_entry *entry,
                       struct sfs_error *err)
{
    char type = type_of(entry);
    if (!type)
        return sfs_fail(err, ENOTSUP, "%s: a tar cannot express a file of type %o", entry->path,
                        entry->attr.mode & S_IFMT);
    if (entry->attr.size > INT64_MAX || entry->attr.rdev_major > MAX_OCTAL_7 ||
        entry->attr.rdev_minor > MAX_OCTAL_7)
        return sfs_fail(err, ENOTSUP, "%s: a tar cannot express so large a number", entry->path);
    AUTO(sfs_buf_close) struct sfs_buf name = { 0 };
    int r = sfs_tar_add_name(&name, entry);
    if (r < 0)
        return sfs_fail_memory(err);
    return add_headers(buf, entry, name.data, type, err);
}
