/* The table's JSON. The entries of both formats are alike, but they differ in when the only chunk
 * of a file has an entry as such, and zstd:chunked says where a file ends. */
#include "commit/contents.h"

#include "base/limits.h"
#include "commit/layer_entry.h"
#include <errno.h>
#include <inttypes.h>
#include <openssl/evp.h>
#include <sys/stat.h>
#include <time.h>

struct printer {
    const struct sfs_contents_table *table;
    struct sfs_buf *json;
    bool is_chunked; /* the format is zstd:chunked, else eStargz */
    size_t chunk;    /* number of the next chunk */
    size_t segment;  /* number of the segment that was found last */
};

void sfs_json_add_string(struct sfs_buf *buf, const char *text)
{
    sfs_buf_add_str(buf, "\"");
    while (*text) {
        size_t plain = 0;
        while ((unsigned char)text[plain] >= 0x20 && text[plain] != '"' && text[plain] != '\\')
            plain++;
        sfs_buf_add(buf, text, plain);
        text += plain;
        if (*text)
            sfs_buf_printf(buf, "\\u%04x", (unsigned char)*text++);
    }
    sfs_buf_add_str(buf, "\"");
}

void sfs_json_add_base64(struct sfs_buf *buf, const void *data, size_t size)
{
    char *place = NULL;
    if (size <= INT32_MAX / 2)
        place = sfs_buf_grow(buf, (size + 2) / 3 * 4 + 1);
    buf->failed = !place;
    if (!place)
        return;
    EVP_EncodeBlock((unsigned char *)place, data, (int)size);
    buf->size--; /* the NUL */
}

static const char *type_of(const struct sfs_tar_entry *tar)
{
    if (tar->hard_link)
        return "hardlink";
    switch (tar->attr.mode & S_IFMT) {
    case S_IFDIR:
        return "dir";
    case S_IFLNK:
        return "symlink";
    case S_IFCHR:
        return "char";
    case S_IFBLK:
        return "block";
    case S_IFIFO:
        return "fifo";
    default:
        return "reg";
    }
}

static void add_number(struct sfs_buf *json, const char *key, uint64_t value)
{
    if (value)
        sfs_buf_printf(json, ",\"%s\":%" PRIu64, key, value);
}

static void add_text(struct sfs_buf *json, const char *key, const char *value)
{
    sfs_buf_printf(json, ",\"%s\":", key);
    sfs_json_add_string(json, value);
}

static void add_digest(struct sfs_buf *json, const char *key, const struct sfs_digest *digest)
{
    char text[SFS_DIGEST_TEXT];
    sfs_buf_printf(json, ",\"%s\":\"%s\"", key, sfs_digest_print(digest, text));
}

/* RFC 3339. A time that it cannot express is left out: unknown. */
static void add_time(struct sfs_buf *json, int64_t seconds)
{
    time_t when = (time_t)seconds;
    struct tm tm;
    if (!gmtime_r(&when, &tm) || tm.tm_year < -1900 || tm.tm_year > 9999 - 1900)
        return;
    sfs_buf_printf(json, ",\"modtime\":\"%04d-%02d-%02dT%02d:%02d:%02dZ\"", tm.tm_year + 1900,
                   tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec);
}

static void add_xattrs(struct sfs_buf *json, const struct sfs_tar_entry *tar)
{
    if (tar->xattr_count == 0)
        return;
    for (uint32_t i = 0; i < tar->xattr_count; i++) {
        sfs_buf_add_str(json, i ? "," : ",\"xattrs\":{");
        sfs_json_add_string(json, tar->xattrs[i].name);
        sfs_buf_add_str(json, ":\"");
        sfs_json_add_base64(json, tar->xattrs[i].value, tar->xattrs[i].size);
        sfs_buf_add_str(json, "\"");
    }
    sfs_buf_add_str(json, "}");
}

static void add_metadata(struct sfs_buf *json, const struct sfs_tar_entry *tar)
{
    const struct sfs_attr *attr = &tar->attr;
    bool is_device = !tar->hard_link && (S_ISCHR(attr->mode) || S_ISBLK(attr->mode));
    if (tar->hard_link || S_ISLNK(attr->mode))
        add_text(json, "linkName", tar->target);
    else if (S_ISREG(attr->mode))
        add_number(json, "size", attr->size);
    add_time(json, attr->mtime_sec);
    add_number(json, "mode", attr->mode & 07777);
    add_number(json, "uid", attr->uid);
    add_number(json, "gid", attr->gid);
    if (is_device) {
        add_number(json, "devMajor", attr->rdev_major);
        add_number(json, "devMinor", attr->rdev_minor);
    }
    add_xattrs(json, tar);
}

/* Finds where in the blob the block is that starts at byte `in` of the tar. -EINVAL: none does. */
static int find_block(struct printer *printer, uint64_t in, uint64_t *ret_out)
{
    const struct sfs_contents_table *table = printer->table;
    while (printer->segment < table->segment_count && table->segments[printer->segment].in < in)
        printer->segment++;
    if (printer->segment == table->segment_count || table->segments[printer->segment].in != in)
        return -EINVAL;
    *ret_out = table->segments[printer->segment].out;
    return 0;
}

/* Adds a chunk. The last chunk of an eStargz file has size 0, for "up to the end". -EINVAL: as
 * find_block(). */
static int add_chunk(struct printer *printer, const struct sfs_chunk *chunk, bool is_only,
                     bool is_last)
{
    struct sfs_buf *json = printer->json;
    uint64_t out = 0;
    int r = find_block(printer, chunk->in, &out);
    add_number(json, "offset", out);
    add_number(json, "chunkOffset", chunk->offset);
    bool has_size = printer->is_chunked ? !is_only : !is_last;
    if (has_size)
        add_number(json, "chunkSize", chunk->size);
    if (!(printer->is_chunked && is_only))
        add_digest(json, "chunkDigest", &chunk->digest);
    return r;
}

/* Adds the chunks of one file: the next ones. -EINVAL: as find_block(). */
static int add_chunks(struct printer *printer, const char *name)
{
    const struct sfs_contents_table *table = printer->table;
    const struct sfs_chunk *first = &table->chunks[printer->chunk];
    struct sfs_buf *json = printer->json;
    size_t left = table->chunk_count - printer->chunk, count = 1;
    while (count < left && first[count].item == first->item)
        count++;
    uint64_t end = 0;
    size_t segment = printer->segment; /* the chunks found next are in front of the file's end */
    int r = printer->is_chunked ? find_block(printer, first->end, &end) : 0;
    printer->segment = segment;
    add_digest(json, "digest", &first->file_digest);
    add_number(json, "endOffset", end);
    for (size_t i = 0; r == 0 && i < count; i++) {
        if (i > 0) {
            sfs_buf_add_str(json, "},\n{\"type\":\"chunk\",\"name\":");
            sfs_json_add_string(json, name);
        }
        r = add_chunk(printer, &first[i], count == 1, i + 1 == count);
    }
    printer->chunk += count;
    return r;
}

static int add_entry(struct printer *printer, size_t item, struct sfs_error *err)
{
    const struct sfs_contents_table *table = printer->table;
    struct sfs_buf *json = printer->json;
    AUTO(sfs_layer_entry_done) struct sfs_layer_entry entry = { 0 };
    AUTO(sfs_buf_close) struct sfs_buf name = { 0 };
    int r = sfs_layer_entry_get(table->write, &table->write->changes->items[item], &entry, err);
    if (r < 0)
        return r;
    sfs_tar_add_name(&name, &entry.tar);
    if (sfs_buf_check(&name, err) < 0)
        return -ENOMEM;
    sfs_buf_printf(json, "%s{\"type\":\"%s\",\"name\":", item ? ",\n" : "", type_of(&entry.tar));
    sfs_json_add_string(json, name.data);
    add_metadata(json, &entry.tar);
    if (printer->chunk < table->chunk_count && table->chunks[printer->chunk].item == item)
        r = add_chunks(printer, name.data);
    sfs_buf_add_str(json, "}");
    if (r < 0)
        return sfs_fail(err, EIO, "%s: no block starts where its chunk does", entry.tar.path);
    return sfs_buf_check(json, err);
}

int sfs_contents_print(const struct sfs_contents_table *table, struct sfs_buf *json,
                       struct sfs_error *err)
{
    struct printer printer = { .table = table,
                               .json = json,
                               .is_chunked =
                                   table->write->pipe.plan.contents == SFS_CONTENTS_CHUNKED };
    sfs_buf_add_str(json, "{\"version\":1");
    if (table->split_digest)
        add_text(json, "tarSplitDigest", table->split_digest);
    sfs_buf_add_str(json, ",\"entries\":[\n");
    for (size_t i = 0; i < table->write->changes->count; i++) {
        int r = add_entry(&printer, i, err);
        if (r < 0)
            return r;
        if (json->size > SFS_MAX_TOC)
            return sfs_fail(err, E2BIG,
                            "the table of contents is larger than the %u bytes that "
                            "readers take: use --compression gzip or zstd",
                            SFS_MAX_TOC);
    }
    sfs_buf_add_str(json, "\n]}\n");
    return sfs_buf_check(json, err);
}
