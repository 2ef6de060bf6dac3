/* Headers by hand, since libarchive's pax writer cannot be made to write just this: it adds
 * LIBARCHIVE.xattr beside SCHILY.xattr, writes nanoseconds and pax headers where ustar would do,
 * and depends on the locale for names that are not ASCII.
 *
 * What readers make of it: Go's archive/tar (podman, skopeo, containerd, umoci) takes pax values as
 * bytes; GNU tar and libarchive take them as UTF-8 unless hdrcharset says BINARY, which Go and GNU
 * tar pass over. So names that are ASCII and short stand in the ustar header, others in a `path` or
 * `linkpath` record, and hdrcharset=BINARY goes before a name that is no UTF-8. */
#include "layer/tar_write.h"

#include <stagefs/utf8.h>

#include <errno.h>
#include <sys/stat.h>

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

static void seal(struct sfs_tar_raw *header)
{
    memcpy(header->magic,
           "ustar\0"
           "00",
           sizeof header->magic);
    memset(header->checksum, ' ', sizeof header->checksum);
    unsigned sum = 0;
    const unsigned char *bytes = (const unsigned char *)header;
    for (size_t i = 0; i < sizeof *header; i++)
        sum += bytes[i];
    put_octal(header->checksum, 7, sum);
}

/* Puts the name into name, or into prefix and name parted at a '/'. Returns whether it fits. */
static bool put_name(struct sfs_tar_raw *header, const char *name)
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
static void add_record(struct sfs_buf *records, const char *key, const void *value, size_t size)
{
    size_t rest = 1 + strlen(key) + 1 + size + 1;
    size_t length = rest + count_digits(rest);
    length = rest + count_digits(length);
    sfs_buf_printf(records, "%zu %s=", length, key);
    sfs_buf_add(records, value, size);
    sfs_buf_add(records, "\n", 1);
}

static void add_text(struct sfs_buf *records, const char *key, const char *text)
{
    add_record(records, key, text, strlen(text));
}

static void add_number(struct sfs_buf *records, const char *key, int64_t value)
{
    char text[24];
    snprintf(text, sizeof text, "%lld", (long long)value);
    add_text(records, key, text);
}

/* Adds a time with a fraction, which before 1970 counts downwards: 0.75 behind -6 is "-5.25". */
static void add_time(struct sfs_buf *records, const char *key, int64_t sec, uint32_t nsec)
{
    char text[40];
    bool is_before = sec < 0 && nsec > 0;
    uint64_t whole = sec < 0 ? -(uint64_t)sec - is_before : (uint64_t)sec;
    snprintf(text, sizeof text, "%s%llu.%09u", sec < 0 ? "-" : "", (unsigned long long)whole,
             is_before ? 1000000000 - nsec : nsec);
    add_text(records, key, text);
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
        add_record(records, key, xattr->value, xattr->size);
    }
    return 0;
}

/* What of `entry` did not go into the ustar header. */
struct excess {
    const char *path, *target; /* NULL: it fits */
};

static void add_mtime(struct sfs_buf *records, const struct sfs_tar_entry *entry)
{
    const struct sfs_attr *attr = &entry->attr;
    if (entry->has_nanoseconds && attr->mtime_nsec > 0)
        add_time(records, "mtime", attr->mtime_sec, attr->mtime_nsec);
    else if (attr->mtime_sec < 0 || attr->mtime_sec > MAX_OCTAL_11)
        add_number(records, "mtime", attr->mtime_sec);
}

/* Says that a map of the file's runs (form 1.0) stands before its bytes. */
static void add_sparse(struct sfs_buf *records, const struct sfs_tar_entry *entry)
{
    add_text(records, "GNU.sparse.major", "1");
    add_text(records, "GNU.sparse.minor", "0");
    add_number(records, "GNU.sparse.realsize", (int64_t)entry->attr.size);
}

/* Adds the records in the order of their keys, so that the same entry gives the same bytes. `size`:
 * of the bytes that follow. */
static int add_records(struct sfs_buf *records, const struct sfs_tar_entry *entry, uint64_t size,
                       const struct excess *excess, struct sfs_error *err)
{
    if (entry->is_sparse)
        add_sparse(records, entry);
    int r = add_xattrs(records, entry, err);
    if (r < 0)
        return r;
    if (entry->attr.gid > MAX_OCTAL_7)
        add_number(records, "gid", entry->attr.gid);
    if ((excess->path && !sfs_utf8_is_valid(excess->path)) ||
        (excess->target && !sfs_utf8_is_valid(excess->target)))
        add_text(records, "hdrcharset", "BINARY");
    if (excess->target)
        add_text(records, "linkpath", excess->target);
    add_mtime(records, entry);
    if (excess->path)
        add_text(records, "path", excess->path);
    if (size > (uint64_t)MAX_OCTAL_11)
        add_number(records, "size", (int64_t)size);
    if (entry->attr.uid > MAX_OCTAL_7)
        add_number(records, "uid", entry->attr.uid);
    return sfs_buf_check(records, err);
}

/* Puts the extended header's own name, which matters only to readers that list such headers. */
static void put_pax_name(struct sfs_tar_raw *header, const char *path)
{
    const char *slash = strrchr(path, '/');
    const char *base = slash ? slash + 1 : path;
    char name[sizeof header->name + 1];
    snprintf(name, sizeof name, "PaxHeaders.0/%.80s", *base ? base : "root");
    put_ascii(header->name, sizeof header->name, name);
}

static void add_padding(struct sfs_buf *buf, uint64_t size)
{
    static const char zeros[SFS_TAR_BLOCK];
    sfs_buf_add(buf, zeros, sfs_tar_padding(size));
}

static void add_pax(struct sfs_buf *buf, const char *path, const struct sfs_buf *records)
{
    struct sfs_tar_raw header = { .type = 'x' };
    put_pax_name(&header, path);
    put_octal(header.mode, sizeof header.mode, 0644);
    put_octal(header.uid, sizeof header.uid, 0);
    put_octal(header.gid, sizeof header.gid, 0);
    put_octal(header.size, sizeof header.size, records->size);
    put_octal(header.mtime, sizeof header.mtime, 0);
    seal(&header);
    sfs_buf_add(buf, &header, sizeof header);
    sfs_buf_add(buf, records->data, records->size);
    add_padding(buf, records->size);
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

static void put_numbers(struct sfs_tar_raw *header, const struct sfs_attr *attr, uint64_t size)
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

void sfs_tar_add_name(struct sfs_buf *name, const struct sfs_tar_entry *entry)
{
    sfs_buf_add_str(name, *entry->path ? entry->path : ".");
    if (type_of(entry) == '5')
        sfs_buf_add_str(name, "/");
}

/* Adds the map of a sparse file: how many runs it has, then each one's place and size, a line each,
 * up to the end of a block. */
static void add_map(struct sfs_buf *map, const struct sfs_tar_entry *entry)
{
    sfs_buf_printf(map, "%u\n", entry->extent_count);
    for (uint32_t i = 0; i < entry->extent_count; i++)
        sfs_buf_printf(map, "%llu\n%llu\n", (unsigned long long)entry->extents[i].file_offset,
                       (unsigned long long)entry->extents[i].size);
    add_padding(map, map->size);
}

/* How many bytes follow the headers: an entry's content, of a sparse file only the map and its
 * runs. */
static uint64_t stored_size(const struct sfs_tar_entry *entry, const struct sfs_buf *map)
{
    if (type_of(entry) != '0')
        return 0;
    if (!entry->is_sparse)
        return entry->attr.size;
    uint64_t size = map->size;
    for (uint32_t i = 0; i < entry->extent_count; i++)
        size += entry->extents[i].size;
    return size;
}

/* Puts what fits into ustar's fields, and says what does not. */
static struct excess put_texts(struct sfs_tar_raw *header, const char *name, const char *target)
{
    struct excess excess = { 0 };
    if (!put_name(header, name)) {
        excess.path = name;
        put_ascii(header->name, sizeof header->name, name);
    }
    if (strlen(target) > sizeof header->link || !is_ascii(target))
        excess.target = target;
    put_ascii(header->link, sizeof header->link, target);
    return excess;
}

static int add_headers(struct sfs_buf *buf, const struct sfs_tar_entry *entry, const char *name,
                       struct sfs_error *err)
{
    AUTO(sfs_buf_close) struct sfs_buf records = { 0 }, map = { 0 };
    struct sfs_tar_raw header = { .type = type_of(entry) };
    const char *target = header.type == '1' || header.type == '2' ? entry->target : "";
    if (entry->is_sparse)
        add_map(&map, entry);
    if (sfs_buf_check(&map, err) < 0)
        return -ENOMEM;
    uint64_t size = stored_size(entry, &map);
    const struct excess excess = put_texts(&header, name, target);
    put_numbers(&header, &entry->attr, size);
    seal(&header);
    int r = add_records(&records, entry, size, &excess, err);
    if (r < 0)
        return r;
    if (records.size > 0)
        add_pax(buf, entry->path, &records);
    sfs_buf_add(buf, &header, sizeof header);
    sfs_buf_add(buf, map.data, map.size);
    return sfs_buf_check(buf, err);
}

/* More than 11 octal digits are written in binary, as GNU tar does and all read. */
void sfs_tar_set_size(char *header, uint64_t size)
{
    struct sfs_tar_raw *ustar = (struct sfs_tar_raw *)header;
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
    if (!type_of(entry))
        return sfs_fail(err, ENOTSUP, "%s: a tar cannot express a file of type %o", entry->path,
                        entry->attr.mode & S_IFMT);
    if (entry->attr.size > INT64_MAX || entry->attr.rdev_major > MAX_OCTAL_7 ||
        entry->attr.rdev_minor > MAX_OCTAL_7)
        return sfs_fail(err, ENOTSUP, "%s: a tar cannot express so large a number", entry->path);
    AUTO(sfs_buf_close) struct sfs_buf name = { 0 };
    sfs_tar_add_name(&name, entry);
    if (sfs_buf_check(&name, err) < 0)
        return -ENOMEM;
    return add_headers(buf, entry, name.data, err);
}
