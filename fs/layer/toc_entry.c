/* Reads the fields of one entry of a table of contents. */
#include "layer/toc.h"

#include "base/limits.h"
#include "layer/tar_read.h"
#include <openssl/evp.h>
#include <stagefs/json.h>
#include <time.h>

/* Reads the fields of one entry. The first failure stays in `r`, and what is read after it is
 * empty, so that a list of fields is a list of calls. */
struct field_reader {
    const json_t *json;
    struct sfs_error *err;
    int r;
};

/* The field of that name, if it is there and nothing has failed before; else NULL. */
static const json_t *find(const struct field_reader *reader, const char *key)
{
    const json_t *value = reader->r == 0 ? json_object_get(reader->json, key) : NULL;
    return json_is_null(value) ? NULL : value;
}

/* A field that is text; "" if it is not there. Go writes U+FFFD for bytes that are not UTF-8, so
 * that the true name is only in the tar. */
static const char *get_text(struct field_reader *reader, const char *key)
{
    const json_t *value = find(reader, key);
    if (!value)
        return "";
    if (!json_is_string(value))
        reader->r = sfs_fail(reader->err, EBADMSG, "%s is not a string", key);
    else if (strstr(json_string_value(value), "\xef\xbf\xbd") ||
             sfs_json_is_marked(json_string_value(value)))
        reader->r = sfs_fail(reader->err, ENOTSUP, "%s is not in UTF-8 in the tar", key);
    return reader->r == 0 ? json_string_value(value) : "";
}

/* A field that is a number of 0..max; 0 if it is not there. */
static uint64_t get_number(struct field_reader *reader, const char *key, uint64_t max)
{
    const json_t *value = find(reader, key);
    if (!value)
        return 0;
    json_int_t number = json_integer_value(value);
    if (!json_is_integer(value))
        reader->r = sfs_fail(reader->err, EBADMSG, "%s is not a number", key);
    else if (number < 0 || (uint64_t)number > max)
        reader->r = sfs_fail(reader->err, EBADMSG, "%s is out of range", key);
    return reader->r == 0 ? (uint64_t)number : 0;
}

/* A field that is a digest. False: it is not there. */
static bool get_digest(struct field_reader *reader, const char *key, struct sfs_digest *ret_digest)
{
    const char *text = get_text(reader, key);
    if (*text && sfs_digest_parse(text, ret_digest, NULL) < 0)
        reader->r = sfs_fail(reader->err, EBADMSG, "%s is not a SHA-256", key);
    return *text != '\0';
}

/* Reads what stands behind a time's seconds: ".5Z", "Z", "+02:00". */
static bool parse_zone(const char *text, long *ret_nsec, long *ret_zone)
{
    long nsec = 0, unit = 100000000;
    if (*text == '.') {
        for (text++; *text >= '0' && *text <= '9'; text++, unit /= 10)
            nsec += (*text - '0') * unit;
    }
    *ret_nsec = nsec;
    *ret_zone = 0;
    if (strcmp(text, "Z") == 0)
        return true;
    int hours, minutes, used = 0;
    if ((*text != '+' && *text != '-') || strlen(text) != 6 ||
        sscanf(text + 1, "%2d:%2d%n", &hours, &minutes, &used) != 2 || used != 5)
        return false;
    *ret_zone = (*text == '-' ? -1 : 1) * (hours * 3600l + minutes * 60l);
    return true;
}

int sfs_toc_time_parse(const char *text, struct sfs_inode_rec *inode)
{
    struct tm tm = { 0 };
    long nsec, zone;
    const char *rest = strptime(text, "%Y-%m-%dT%H:%M:%S", &tm);
    if (!rest || !parse_zone(rest, &nsec, &zone))
        return -EBADMSG;
    inode->mtime_sec = (int64_t)timegm(&tm) - zone;
    inode->mtime_nsec = (uint32_t)nsec;
    return 0;
}

/* Go's zero time, of the year 1, means none, as a missing field does. */
static void get_time(struct field_reader *reader, struct sfs_inode_rec *inode)
{
    const char *text = get_text(reader, "modtime");
    if (*text && strcmp(text, "0001-01-01T00:00:00Z") != 0 && sfs_toc_time_parse(text, inode) < 0)
        reader->r = sfs_fail(reader->err, EBADMSG, "modtime is not a time");
}

/* Decodes to `out`. Returns the decoded size, or -1. */
static int decode_base64(const char *text, uint8_t *out)
{
    size_t size = strlen(text);
    if (size == 0)
        return 0;
    if (size % 4 != 0 || strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                                      "0123456789+/=") != size)
        return -1;
    int made = EVP_DecodeBlock(out, (const unsigned char *)text, (int)size);
    int padding = text[size - 1] != '=' ? 0 : text[size - 2] != '=' ? 1 : 2;
    return made < padding ? -1 : made - padding;
}

/* Makes room for all attributes; a decoded value is smaller than its text. */
static int make_xattr_room(const json_t *list, struct sfs_toc_entry *entry, struct sfs_error *err)
{
    const char *name;
    json_t *value;
    size_t room = 1;
    json_object_foreach((json_t *)(uintptr_t)list, name, value)
    {
        if (!json_is_string(value) && !json_is_null(value))
            return sfs_fail(err, EBADMSG, "extended attribute %s is not a string", name);
        room += json_string_length(value);
    }
    entry->xattrs = calloc(json_object_size(list) + 1, sizeof *entry->xattrs);
    entry->values = malloc(room);
    return entry->xattrs && entry->values ? 0 : sfs_fail_memory(err);
}

static int get_xattrs(const json_t *json, struct sfs_toc_entry *entry, struct sfs_error *err)
{
    const json_t *list = json_object_get(json, "xattrs");
    if (!list || json_is_null(list))
        return 0;
    if (!json_is_object(list))
        return sfs_fail(err, EBADMSG, "xattrs is not an object");
    int r = make_xattr_room(list, entry, err);
    if (r < 0)
        return r;
    const char *name;
    json_t *value;
    uint8_t *place = entry->values;
    json_object_foreach((json_t *)(uintptr_t)list, name, value)
    {
        int size = json_is_string(value) ? decode_base64(json_string_value(value), place) : 0;
        if (size < 0)
            return sfs_fail(err, EBADMSG, "extended attribute %s is not base64", name);
        if (strstr(name, "\xef\xbf\xbd") || sfs_json_is_marked(name))
            return sfs_fail(err, ENOTSUP, "the name of an attribute is not in UTF-8 in the tar");
        if (!sfs_tar_xattr_is_shown(name))
            continue;
        entry->xattrs[entry->xattr_count++] =
            (struct sfs_builder_xattr){ name, place, (size_t)size };
        place += size;
    }
    return 0;
}

static void get_metadata(struct field_reader *reader, struct sfs_inode_rec *inode)
{
    inode->mode = get_number(reader, "mode", INT64_MAX) & 07777; /* the type may be there too */
    inode->uid = (uint32_t)get_number(reader, "uid", UINT32_MAX - 1);
    inode->gid = (uint32_t)get_number(reader, "gid", UINT32_MAX - 1);
    inode->size = get_number(reader, "size", INT64_MAX);
    inode->rdev_major = (uint32_t)get_number(reader, "devMajor", (1u << 12) - 1);
    inode->rdev_minor = (uint32_t)get_number(reader, "devMinor", (1u << 20) - 1);
    get_time(reader, inode);
}

static void get_place(struct field_reader *reader, struct sfs_toc_entry *entry)
{
    entry->offset = get_number(reader, "offset", INT64_MAX);
    entry->inner_offset = get_number(reader, "innerOffset", INT64_MAX);
    entry->end_offset = get_number(reader, "endOffset", INT64_MAX);
    entry->chunk_offset = get_number(reader, "chunkOffset", INT64_MAX);
    entry->chunk_size = get_number(reader, "chunkSize", INT64_MAX);
    entry->has_digest = get_digest(reader, "digest", &entry->digest);
    entry->has_chunk_digest = get_digest(reader, "chunkDigest", &entry->chunk_digest);
    const char *kind = get_text(reader, "chunkType");
    entry->is_zeros = strcmp(kind, "zeros") == 0;
    if (!entry->is_zeros && *kind)
        reader->r = sfs_fail(reader->err, ENOTSUP, "chunkType is unknown");
}

int sfs_toc_entry_parse(const json_t *json, struct sfs_toc_entry *ret_entry, struct sfs_error *err)
{
    AUTO(sfs_toc_entry_done) struct sfs_toc_entry entry = { 0 };
    struct field_reader reader = { json, err, 0 };
    entry.type = get_text(&reader, "type");
    entry.name = get_text(&reader, "name");
    entry.link = get_text(&reader, "linkName");
    get_metadata(&reader, &entry.inode);
    get_place(&reader, &entry);
    int r = reader.r < 0 ? reader.r : get_xattrs(json, &entry, err);
    if (r < 0)
        return r;
    *ret_entry = entry;
    entry = (struct sfs_toc_entry){ 0 };
    return 0;
}

void sfs_toc_entry_done(struct sfs_toc_entry *entry)
{
    free(entry->xattrs);
    free(entry->values);
    *entry = (struct sfs_toc_entry){ 0 };
}
