#include "layer/toc.h"

#include "base/limits.h"
#include "layer/tar_read.h"
#include <openssl/evp.h>
#include <stagefs/json.h>
#include <time.h>

/* A text, "" if it is not there. Go writes U+FFFD for bytes that are not UTF-8, so that the true
 * name is only in the tar. */
static int get_text(const json_t *json, const char *key, const char **ret_text,
                    struct sfs_error *err)
{
    const json_t *value = json_object_get(json, key);
    *ret_text = "";
    if (!value || json_is_null(value))
        return 0;
    if (!json_is_string(value))
        return sfs_fail(err, EBADMSG, "%s is not a string", key);
    *ret_text = json_string_value(value);
    if (strstr(*ret_text, "\xef\xbf\xbd") || sfs_json_is_marked(*ret_text))
        return sfs_fail(err, ENOTSUP, "%s is not in UTF-8 in the tar", key);
    return 0;
}

/* 0 if it is not there. */
static int get_number(const json_t *json, const char *key, uint64_t max, uint64_t *ret_number,
                      struct sfs_error *err)
{
    const json_t *value = json_object_get(json, key);
    *ret_number = 0;
    if (!value || json_is_null(value))
        return 0;
    if (!json_is_integer(value))
        return sfs_fail(err, EBADMSG, "%s is not a number", key);
    json_int_t number = json_integer_value(value);
    if (number < 0 || (uint64_t)number > max)
        return sfs_fail(err, EBADMSG, "%s is out of range", key);
    *ret_number = (uint64_t)number;
    return 0;
}

static int get_digest(const json_t *json, const char *key, bool *ret_has,
                      struct sfs_digest *ret_digest, struct sfs_error *err)
{
    const char *text;
    int r = get_text(json, key, &text, err);
    if (r < 0)
        return r;
    *ret_has = text[0] != '\0';
    if (*ret_has && sfs_digest_parse(text, ret_digest, NULL) < 0)
        return sfs_fail(err, EBADMSG, "%s is not a SHA-256", key);
    return 0;
}

/* Behind the seconds: ".5Z", "Z", "+02:00". */
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

/* RFC 3339. Go's zero time, of the year 1, stands for none as nothing does. */
static int get_time(const json_t *json, struct sfs_inode_rec *inode, struct sfs_error *err)
{
    const char *text;
    int r = get_text(json, "modtime", &text, err);
    if (r < 0 || !*text || strcmp(text, "0001-01-01T00:00:00Z") == 0)
        return r;
    struct tm tm = { 0 };
    long nsec, zone;
    const char *rest = strptime(text, "%Y-%m-%dT%H:%M:%S", &tm);
    if (!rest || !parse_zone(rest, &nsec, &zone))
        return sfs_fail(err, EBADMSG, "modtime is not a time");
    inode->mtime_sec = (int64_t)timegm(&tm) - zone;
    inode->mtime_nsec = (uint32_t)nsec;
    return 0;
}

/* The decoded size, or -1. */
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

/* Room for all of them; what is decoded is smaller than its text. */
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

static int get_metadata(const json_t *json, struct sfs_inode_rec *inode, struct sfs_error *err)
{
    uint64_t mode, uid, gid, major = 0, minor = 0;
    int r = get_number(json, "mode", INT64_MAX, &mode, err);
    if (r == 0)
        r = get_number(json, "uid", UINT32_MAX - 1, &uid, err);
    if (r == 0)
        r = get_number(json, "gid", UINT32_MAX - 1, &gid, err);
    if (r == 0)
        r = get_number(json, "size", INT64_MAX, &inode->size, err);
    if (r == 0)
        r = get_number(json, "devMajor", (1u << 12) - 1, &major, err);
    if (r == 0)
        r = get_number(json, "devMinor", (1u << 20) - 1, &minor, err);
    if (r == 0)
        r = get_time(json, inode, err);
    if (r < 0)
        return r;
    inode->mode = mode & 07777; /* the type's bits may be there too */
    inode->uid = (uint32_t)uid;
    inode->gid = (uint32_t)gid;
    inode->rdev_major = (uint32_t)major;
    inode->rdev_minor = (uint32_t)minor;
    return 0;
}

static int get_place(const json_t *json, struct sfs_toc_entry *entry, struct sfs_error *err)
{
    const char *kind;
    int r = get_number(json, "offset", INT64_MAX, &entry->offset, err);
    if (r == 0)
        r = get_number(json, "innerOffset", INT64_MAX, &entry->inner_offset, err);
    if (r == 0)
        r = get_number(json, "endOffset", INT64_MAX, &entry->end_offset, err);
    if (r == 0)
        r = get_number(json, "chunkOffset", INT64_MAX, &entry->chunk_offset, err);
    if (r == 0)
        r = get_number(json, "chunkSize", INT64_MAX, &entry->chunk_size, err);
    if (r == 0)
        r = get_digest(json, "digest", &entry->has_digest, &entry->digest, err);
    if (r == 0)
        r = get_digest(json, "chunkDigest", &entry->has_chunk_digest, &entry->chunk_digest, err);
    if (r == 0)
        r = get_text(json, "chunkType", &kind, err);
    if (r < 0)
        return r;
    entry->is_zeros = strcmp(kind, "zeros") == 0;
    return entry->is_zeros || !*kind ? 0 : sfs_fail(err, ENOTSUP, "chunkType is unknown");
}

int sfs_toc_entry_parse(const json_t *json, struct sfs_toc_entry *ret_entry, struct sfs_error *err)
{
    AUTO(sfs_toc_entry_done) struct sfs_toc_entry entry = { 0 };
    int r = get_text(json, "type", &entry.type, err);
    if (r == 0)
        r = get_text(json, "name", &entry.name, err);
    if (r == 0)
        r = get_text(json, "linkName", &entry.link, err);
    if (r == 0)
        r = get_metadata(json, &entry.inode, err);
    if (r == 0)
        r = get_place(json, &entry, err);
    if (r == 0)
        r = get_xattrs(json, &entry, err);
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
