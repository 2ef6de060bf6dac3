/* Reads what tar-split wrote into a list of pieces, and reads the tar by it. The bytes that are no
 * file's go into a temporary file, since those of 50,000 headers need not stay in memory. */
#include "layer/tar_split.h"

#include "base/array.h"
#include "base/buf.h"
#include "base/limits.h"
#include "base/thread.h"
#include "layer/dir_scan.h"
#include "layer/tar_packed.h"
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <linux/openat2.h>
#include <openssl/evp.h>
#include <stagefs/format.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#define READ_BLOCK (256u << 10)
#define SPLIT_LINE (2u * SFS_MAX_TAR_TEXT) /* base64 of a long header, and what is around it */

/* A run of the tar; it ends where the next one begins. */
struct piece {
    uint64_t offset; /* in the tar */
    uint64_t place;  /* of a file: its name in `names`; else where its bytes are in `raw` */
    bool is_file;
};

struct split_blob {
    struct sfs_blob blob;
    int root; /* files are below it */
    pthread_mutex_t lock;
    struct sfs_blob *split; /* guarded by lock: what is still to be read; NULL: it was */
    /* Set once, before split is NULL. */
    int raw;              /* the bytes that are no file's */
    struct sfs_buf names; /* NUL-terminated paths, one behind another */
    struct piece *pieces;
    size_t count, capacity;
    uint64_t size; /* of all pieces */
};

/* ---- reading the tar ---- */

/* The piece that holds the byte at an offset below the blob's size. */
static const struct piece *find_piece(const struct split_blob *split, uint64_t offset)
{
    size_t low = 0, high = split->count;
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if (split->pieces[middle].offset <= offset)
            low = middle;
        else
            high = middle;
    }
    return &split->pieces[low];
}

static uint64_t end_of(const struct split_blob *split, const struct piece *piece)
{
    size_t next = (size_t)(piece - split->pieces) + 1;
    return next < split->count ? split->pieces[next].offset : split->size;
}

/* A member may have been written through a symlink of the same layer, so such are followed, but
 * only inside the root. The file itself is none. */
static int open_below(int root, const char *path)
{
    const struct open_how how = { .flags =
                                      O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC,
                                  .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS };
    int fd = (int)syscall(SYS_openat2, root, path, &how, sizeof how);
    if (fd >= 0)
        return fd;
    /* Old kernels and sandboxes have no such call; and a path may be longer than it takes. */
    if (errno == ENOSYS || errno == EPERM || errno == ENAMETOOLONG)
        return sfs_dir_open_below(root, path, O_RDONLY | O_NONBLOCK | O_NOCTTY);
    return -errno;
}

static int open_file(const struct split_blob *split, const struct piece *piece, int *ret_fd,
                     struct sfs_error *err)
{
    const char *path = split->names.data + piece->place;
    uint64_t size = end_of(split, piece) - piece->offset;
    struct stat st;
    AUTO(sfs_close_fd) int fd = open_below(split->root, path);
    if (fd == -EACCES || fd == -EPERM)
        return sfs_fail(err, EIO,
                        "%s: %.300s may not be read (in a store of podman without root: "
                        "podman unshare stagefs ...)",
                        split->blob.name, path);
    if (fd < 0)
        return sfs_fail(err, EIO, "%s: %.300s: %s", split->blob.name, path, strerrordesc_np(-fd));
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
        return sfs_fail(err, EIO, "%s: %.300s is no regular file any more", split->blob.name, path);
    if ((uint64_t)st.st_size != size)
        return sfs_fail(err, EIO, "%s: %.300s has %" PRIu64 " bytes, in the layer it has %" PRIu64,
                        split->blob.name, path, (uint64_t)st.st_size, size);
    *ret_fd = TAKE_FD(fd);
    return 0;
}

static int read_piece(const struct split_blob *split, const struct piece *piece, void *buf,
                      size_t size, uint64_t offset, struct sfs_error *err)
{
    uint64_t skip = offset - piece->offset;
    AUTO(sfs_close_fd) int file = -1;
    int r = piece->is_file ? open_file(split, piece, &file, err) : 0;
    if (r < 0)
        return r;
    ssize_t n = piece->is_file ? sfs_io_read_at(file, buf, size, skip)
                               : sfs_io_read_at(split->raw, buf, size, piece->place + skip);
    const char *what = piece->is_file ? split->names.data + piece->place : "its headers";
    if (n < 0)
        return sfs_fail(err, EIO, "%s: reading %.300s: %s", split->blob.name, what,
                        strerrordesc_np((int)-n));
    if ((size_t)n < size)
        return sfs_fail(err, EIO, "%s: %.300s became shorter while it was read", split->blob.name,
                        what);
    return 0;
}

/* ---- reading what tar-split wrote ---- */

struct split_reader {
    struct split_blob *to;
    struct sfs_blob *from;
    uint64_t from_offset;
    char block[READ_BLOCK];
    struct sfs_buf line; /* what is not yet a whole line */
    struct sfs_buf raw;  /* not yet written to to->raw */
    uint64_t raw_size;   /* all of it, written or not */
    uint64_t read;       /* decoded bytes so far */
};

static void close_reader(struct split_reader **reader_ptr)
{
    struct split_reader *reader = *reader_ptr;
    if (!reader)
        return;
    sfs_buf_close(&reader->line);
    sfs_buf_close(&reader->raw);
    free(reader);
}

static int flush_raw(struct split_reader *reader, size_t least, struct sfs_error *err)
{
    if (reader->raw.size < least)
        return 0;
    int r = sfs_io_write_all(reader->to->raw, reader->raw.data, reader->raw.size);
    reader->raw.size = 0;
    return r < 0 ? sfs_fail_errno(err, -r, "writing a temporary file") : 0;
}

/* Adds a run of the tar; one of nothing is no piece. */
static int add_piece(struct split_reader *reader, uint64_t size, uint64_t place, bool is_file,
                     struct sfs_error *err)
{
    struct split_blob *to = reader->to;
    const struct piece *last = to->count > 0 ? &to->pieces[to->count - 1] : NULL;
    const uint64_t offset = to->size;
    if (size == 0)
        return 0;
    if (__builtin_add_overflow(offset, size, &to->size) || to->size > INT64_MAX)
        return sfs_fail(err, EBADMSG, "its files have impossible sizes");
    if (last && !last->is_file && !is_file) /* goes on in the same bytes */
        return 0;
    if (to->count >= 2 * (size_t)SFS_MAX_ENTRIES)
        return sfs_fail(err, E2BIG, "more than %u files", SFS_MAX_ENTRIES);
    if (SFS_ARRAY_GROW(to->pieces, to->count, to->capacity, 64) < 0)
        return sfs_fail_memory(err);
    to->pieces[to->count++] = (struct piece){ offset, place, is_file };
    return 0;
}

/* Decodes a string of base64 to the end of `to`. EBADMSG: it is none. */
static int add_base64(struct sfs_buf *to, const char *text, size_t size, struct sfs_error *err)
{
    unsigned char *place = sfs_buf_grow(to, size + 1);
    if (!place)
        return sfs_fail_memory(err);
    to->size -= size + 1;
    int made = size > 0 ? EVP_DecodeBlock(place, (const unsigned char *)text, (int)size) : 0;
    int padding = size == 0 || text[size - 1] != '=' ? 0 : text[size - 2] != '=' ? 1 : 2;
    if (made < padding || size % 4 != 0)
        return sfs_fail(err, EBADMSG, "bytes that are not base64");
    to->size += (size_t)(made - padding);
    return 0;
}

static int add_bytes(struct split_reader *reader, const char *text, size_t text_size,
                     struct sfs_error *err)
{
    const size_t before = reader->raw.size;
    int r = add_base64(&reader->raw, text, text_size, err);
    if (r < 0)
        return r;
    size_t size = reader->raw.size - before;
    r = add_piece(reader, size, reader->raw_size, false, err);
    reader->raw_size += size;
    return r < 0 ? r : flush_raw(reader, READ_BLOCK, err);
}

static int take_bytes(struct split_reader *reader, const json_t *entry, struct sfs_error *err)
{
    const json_t *payload = json_object_get(entry, "payload");
    if (!json_is_string(payload) && !json_is_null(payload))
        return sfs_fail(err, EBADMSG, "an entry of bytes has none");
    return add_bytes(reader, json_string_value(payload), json_string_length(payload), err);
}

/* The base64 of an entry of bytes in the one form in which tar-split writes it, in which it can be
 * found without the parser, which takes ten times as long: headers are most of what there is to
 * read. NULL: it is another entry, or in another form. */
static const char *find_bytes(const char *line, size_t size, size_t *ret_size)
{
    static const char start[] = "{\"type\":2,\"payload\":\"", end[] = "\",\"position\":";
    const size_t start_size = sizeof start - 1, end_size = sizeof end - 1;
    if (size < start_size || memcmp(line, start, start_size) != 0)
        return NULL;
    const char *text = line + start_size, *quote = memchr(text, '"', size - start_size);
    size_t rest = quote ? size - (size_t)(quote - line) : 0;
    if (rest <= end_size || memcmp(quote, end, end_size) != 0 || line[size - 1] != '}' ||
        memchr(text, '\\', (size_t)(quote - text)))
        return NULL;
    for (size_t i = end_size; i < rest - 1; i++)
        if (!isdigit((unsigned char)quote[i]))
            return NULL;
    *ret_size = (size_t)(quote - text);
    return text;
}

/* Adds the entry's path, with its NUL. A name that is not UTF-8 stands in base64. */
static int add_name(struct split_reader *reader, const json_t *entry, struct sfs_error *err)
{
    struct sfs_buf *names = &reader->to->names;
    const size_t before = names->size;
    const json_t *name = json_object_get(entry, "name"), *raw = json_object_get(entry, "name_raw");
    int r = 0;
    if (json_string_length(raw) > 0)
        r = add_base64(names, json_string_value(raw), json_string_length(raw), err);
    else if (json_is_string(name))
        sfs_buf_add(names, json_string_value(name), json_string_length(name));
    size_t size = names->size - before;
    if (r == 0 && (size == 0 || size > SFS_MAX_PATH || memchr(names->data + before, 0, size)))
        return sfs_fail(err, EBADMSG, "a file without a name that can be");
    sfs_buf_add(names, "", 1);
    if (names->size > SFS_MAX_STRINGS)
        return sfs_fail(err, E2BIG, "more than %u bytes of names", SFS_MAX_STRINGS);
    return r < 0 ? r : sfs_buf_check(names, err);
}

static int take_file(struct split_reader *reader, const json_t *entry, struct sfs_error *err)
{
    const json_t *value = json_object_get(entry, "size");
    json_int_t size = json_integer_value(value);
    const uint64_t place = reader->to->names.size;
    if (size < 0 || (value && !json_is_integer(value)))
        return sfs_fail(err, EBADMSG, "a file with an impossible size");
    if (size == 0)
        return 0;
    int r = add_name(reader, entry, err);
    return r < 0 ? r : add_piece(reader, (uint64_t)size, place, true, err);
}

static int take_line(struct split_reader *reader, const char *line, size_t size,
                     struct sfs_error *err)
{
    json_error_t ignored;
    size_t text_size;
    const char *text = find_bytes(line, size, &text_size);
    if (text)
        return add_bytes(reader, text, text_size, err);
    json_t *entry = json_loadb(line, size, 0, &ignored);
    const json_int_t type = json_integer_value(json_object_get(entry, "type"));
    int r = type == 2   ? take_bytes(reader, entry, err)
            : type == 1 ? take_file(reader, entry, err)
                        : sfs_fail(err, EBADMSG, "an entry that is neither bytes nor a file");
    json_decref(entry);
    return r;
}

/* Takes the whole lines out of some bytes; what is behind the last stays in reader->line. */
static int take_lines(struct split_reader *reader, const char *data, size_t size,
                      struct sfs_error *err)
{
    reader->read += size;
    if (reader->read > SFS_MAX_TAR_SPLIT)
        return sfs_fail(err, E2BIG, "more than %llu bytes", SFS_MAX_TAR_SPLIT);
    for (const char *end; (end = memchr(data, '\n', size)); data = end + 1) {
        size_t part = (size_t)(end - data);
        size -= part + 1;
        if (reader->line.size > 0 && sfs_buf_add(&reader->line, data, part) < 0)
            return sfs_fail_memory(err);
        int r = reader->line.size > 0 ? take_line(reader, reader->line.data, reader->line.size, err)
                                      : take_line(reader, data, part, err);
        reader->line.size = 0;
        if (r < 0)
            return r;
    }
    if (reader->line.size + size > SPLIT_LINE)
        return sfs_fail(err, E2BIG, "an entry of more than %u bytes", SPLIT_LINE);
    return sfs_buf_add(&reader->line, data, size) < 0 ? sfs_fail_memory(err) : 0;
}

static int next_block(void *user, const void **ret_data, size_t *ret_size, struct sfs_error *err)
{
    struct split_reader *reader = user;
    ssize_t n = sfs_blob_read_at(reader->from, reader->block, sizeof reader->block,
                                 reader->from_offset, err);
    if (n < 0)
        return (int)n;
    reader->from_offset += (uint64_t)n;
    *ret_data = reader->block;
    *ret_size = (size_t)n;
    return 0;
}

static int read_split(struct split_reader *reader, struct sfs_error *err)
{
    const struct sfs_tar_source source = { .next = next_block, .user = reader };
    AUTO(sfs_tar_packed_close) struct sfs_tar_packed *packed = NULL;
    int r = sfs_tar_packed_open(&source, &packed, err);
    for (;;) {
        const void *data;
        size_t size = 0;
        if (r == 0)
            r = sfs_tar_packed_next(packed, &data, &size, err);
        if (r < 0 || size == 0)
            break;
        r = take_lines(reader, data, size, err);
    }
    if (r == 0 && reader->line.size > 0)
        r = take_line(reader, reader->line.data, reader->line.size, err);
    return r < 0 ? r : flush_raw(reader, 1, err);
}

/* ---- the blob ---- */

static void drop_pieces(struct split_blob *split)
{
    sfs_close_fd(&split->raw);
    sfs_buf_close(&split->names);
    sfs_free(&split->pieces);
    split->count = split->capacity = 0;
    split->size = 0;
}

static int read_pieces(struct split_blob *split, struct sfs_error *err)
{
    AUTO(close_reader) struct split_reader *reader = calloc(1, sizeof *reader);
    if (!reader)
        return sfs_fail_memory(err);
    drop_pieces(split); /* of an earlier try */
    reader->to = split;
    reader->from = split->split;
    int r = sfs_io_open_unnamed(&split->raw, err);
    return r == 0 ? read_split(reader, err) : r;
}

/* Reads the pieces, unless that was done. */
static int prepare(struct split_blob *split, struct sfs_error *err)
{
    LOCK(&split->lock);
    if (!split->split)
        return 0;
    int r = read_pieces(split, err);
    if (r < 0)
        return sfs_fail_while(err, r, "%s", split->split->name);
    if (split->blob.size > 0 && split->size != split->blob.size)
        return sfs_fail(err, EBADMSG, "%s makes a tar of %" PRIu64 " bytes, not of %" PRIu64,
                        split->split->name, split->size, split->blob.size);
    split->blob.size = split->size;
    sfs_blob_close(&split->split);
    return 0;
}
static ssize_t split_read_at(struct sfs_blob *blob, void *buf, size_t size, uint64_t offset,
                             struct sfs_error *err)
{
    struct split_blob *split = (struct split_blob *)blob;
    int r = prepare(split, err);
    if (r < 0) /* to whoever reads, what is malformed here is a source that failed */
        return r == -ENOMEM ? r : -EIO;
    const struct piece *piece = find_piece(split, offset);
    for (size_t done = 0; done < size; piece++) {
        uint64_t room = end_of(split, piece) - (offset + done);
        size_t part = size - done < room ? size - done : (size_t)room;
        r = read_piece(split, piece, (char *)buf + done, part, offset + done, err);
        if (r < 0)
            return r;
        done += part;
    }
    return (ssize_t)size;
}

static void split_close(struct sfs_blob *blob)
{
    struct split_blob *split = (struct split_blob *)blob;
    drop_pieces(split);
    sfs_close_fd(&split->root);
    sfs_blob_close(&split->split);
    pthread_mutex_destroy(&split->lock);
    free(split);
}

static const struct sfs_blob_ops split_ops = { .read_at = split_read_at, .close = split_close };

int sfs_tar_split_open(struct sfs_blob **split, int *root, const char *name, uint64_t size,
                       struct sfs_blob **ret_blob, struct sfs_error *err)
{
    struct split_blob *made = calloc(1, sizeof *made);
    if (!made)
        return sfs_fail_memory(err);
    *made = (struct split_blob){ .blob = { .ops = &split_ops, .size = size, .name = strdup(name) },
                                 .root = -1,
                                 .raw = -1 };
    pthread_mutex_init(&made->lock, NULL);
    AUTO(sfs_blob_close) struct sfs_blob *blob = &made->blob;
    if (!blob->name)
        return sfs_fail_memory(err);
    made->split = *split;
    int r = size > 0 ? 0 : prepare(made, err);
    if (r < 0) {
        made->split = NULL; /* it stays the caller's */
        return r;
    }
    *split = NULL;
    made->root = TAKE_FD(*root);
    *ret_blob = TAKE(blob);
    return 0;
}
