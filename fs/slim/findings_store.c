/* A file of findings, in the byte order of this machine: a header, libraries, each with its place
 * in the blob, and for all of them, in that order, pieces, ranges and complaints. The digest in the
 * header is of all behind it. As with indexes, who can write to the cache directory is trusted: the
 * digest is for what was cut or damaged. */
#include "slim/findings_store.h"

#include "base/array.h"
#include "base/buf.h"
#include "base/hash.h"
#include "base/limits.h"
#include <errno.h>
#include <stagefs/tree.h>
#include <sys/stat.h>

#define MAGIC "SFSFIND1"
#define PLACE 32u /* hexadecimal digits behind the dot of a content name */

struct findings_header {
    char magic[8];
    uint32_t version, file_count;
    uint64_t piece_count, range_count, text_size;
    struct sfs_digest digest;
};
_Static_assert(sizeof(struct findings_header) == 72, "on-disk struct");

struct findings_file {
    char place[PLACE];
    uint64_t size; /* of the library */
    uint32_t piece_count, range_count;
    uint32_t complaint, symbols_complaint; /* bytes of each, in the text; 0: none */
};
_Static_assert(sizeof(struct findings_file) == 56, "on-disk struct");

/* A library in memory: of the file, or added. */
struct kept_library {
    struct findings_file file;
    const struct sfs_device_piece *pieces;
    const struct sfs_range *ranges;
    const char *complaint, *symbols_complaint;
};

struct kept_blob {
    char key[SFS_DIGEST_TEXT];
    char *data; /* the file's; owned; NULL: there is none that is good */
    struct kept_library *libraries;
    size_t count, capacity;
    size_t
        sorted; /* so many of them, of the file, are in order of their places; the rest is added */
    bool has_more; /* than the file */
};

struct sfs_findings_store {
    struct sfs_store *store;
    struct kept_blob *blobs;
    size_t count, capacity;
};

struct sfs_findings_store *sfs_findings_store_open(struct sfs_store *store)
{
    struct sfs_findings_store *kept = calloc(1, sizeof *kept);
    if (kept)
        kept->store = store;
    return kept;
}

void sfs_findings_store_close(struct sfs_findings_store **kept_ptr)
{
    struct sfs_findings_store *kept = TAKE(*kept_ptr);
    if (!kept)
        return;
    for (size_t i = 0; i < kept->count; i++) {
        free(kept->blobs[i].data);
        free(kept->blobs[i].libraries);
    }
    free(kept->blobs);
    free(kept);
}

/* ---- reading ---- */

/* The parts of a file that is being read. */
struct cursor {
    const struct findings_file *files;
    const struct sfs_device_piece *pieces;
    const struct sfs_range *ranges;
    const char *text;
    uint64_t pieces_left, ranges_left, text_left;
};

static bool is_sound(const char *data, size_t size, struct findings_header *ret_header)
{
    AUTO(sfs_hash_close) struct sfs_hash *hash = NULL;
    struct sfs_digest digest;
    struct findings_header header;
    if (size < sizeof header || size > SFS_MAX_FINDINGS)
        return false;
    memcpy(&header, data, sizeof header);
    if (memcmp(header.magic, MAGIC, sizeof header.magic) != 0 ||
        header.version != SFS_FINDINGS_VERSION || header.piece_count > size ||
        header.range_count > size || header.text_size > size)
        return false;
    if (sizeof header + header.file_count * sizeof(struct findings_file) +
            header.piece_count * sizeof(struct sfs_device_piece) +
            header.range_count * sizeof(struct sfs_range) + header.text_size !=
        size)
        return false;
    hash = sfs_hash_open();
    *ret_header = header;
    return hash && sfs_hash_add(hash, data + sizeof header, size - sizeof header) == 0 &&
           sfs_hash_finish(hash, &digest) == 0 && sfs_digest_equal(&digest, &header.digest);
}

static struct cursor begin(const char *data, const struct findings_header *header)
{
    struct cursor cursor = { .pieces_left = header->piece_count,
                             .ranges_left = header->range_count,
                             .text_left = header->text_size };
    cursor.files = (const void *)(data + sizeof *header);
    cursor.pieces = (const void *)(cursor.files + header->file_count);
    cursor.ranges = (const void *)(cursor.pieces + header->piece_count);
    cursor.text = (const void *)(cursor.ranges + header->range_count);
    return cursor;
}

/* Takes the next library off the parts; false: they are not as long as it says. */
static bool take_library(struct cursor *cursor, struct kept_library *ret_library)
{
    const struct findings_file *file = cursor->files++;
    uint64_t text = (uint64_t)file->complaint + file->symbols_complaint;
    if (file->piece_count > cursor->pieces_left || file->range_count > cursor->ranges_left ||
        text > cursor->text_left)
        return false;
    *ret_library = (struct kept_library){ .file = *file,
                                          .pieces = cursor->pieces,
                                          .ranges = cursor->ranges,
                                          .complaint = cursor->text,
                                          .symbols_complaint = cursor->text + file->complaint };
    cursor->pieces += file->piece_count;
    cursor->ranges += file->range_count;
    cursor->text += text;
    cursor->pieces_left -= file->piece_count;
    cursor->ranges_left -= file->range_count;
    cursor->text_left -= text;
    return true;
}

static int compare_places(const void *left, const void *right)
{
    const struct kept_library *a = left, *b = right;
    return memcmp(a->file.place, b->file.place, PLACE);
}

static void read_libraries(struct kept_blob *blob, const struct findings_header *header)
{
    struct cursor cursor = begin(blob->data, header);
    for (uint32_t i = 0; i < header->file_count; i++) {
        struct kept_library library;
        if (!take_library(&cursor, &library) ||
            SFS_ARRAY_GROW(blob->libraries, blob->count, blob->capacity, 256) < 0)
            break;
        blob->libraries[blob->count++] = library;
    }
    if (blob->count > 0)
        qsort(blob->libraries, blob->count, sizeof *blob->libraries, compare_places);
    blob->sorted = blob->count;
}

static void read_blob(struct sfs_store *store, struct kept_blob *blob)
{
    AUTO(sfs_close_fd) int fd = -1;
    AUTO(sfs_free) char *data = NULL;
    struct findings_header header;
    struct stat st;
    if (sfs_store_open_file(store, SFS_STORE_FINDINGS, blob->key, &fd, NULL) < 0 ||
        fstat(fd, &st) < 0 || st.st_size > SFS_MAX_FINDINGS)
        return;
    size_t size = (size_t)st.st_size;
    data = malloc(size + 1);
    if (!data || sfs_io_read_at(fd, data, size, 0) != (ssize_t)size ||
        !is_sound(data, size, &header))
        return;
    blob->data = TAKE(data);
    read_libraries(blob, &header);
}

/* The blob of a content name, read if it was not yet, and the place in it. NULL: there is no store,
 * the name is none, or out of memory. */
static struct kept_blob *find_blob(struct sfs_findings_store *kept, const char *name,
                                   const char **ret_place)
{
    const char *dot = strchr(name, '.');
    if (!kept->store || !dot || strlen(dot + 1) != PLACE || dot - name >= SFS_DIGEST_TEXT)
        return NULL;
    size_t size = (size_t)(dot - name);
    *ret_place = dot + 1;
    for (size_t i = 0; i < kept->count; i++)
        if (strncmp(kept->blobs[i].key, name, size) == 0 && !kept->blobs[i].key[size])
            return &kept->blobs[i];
    if (SFS_ARRAY_GROW(kept->blobs, kept->count, kept->capacity, 8) < 0)
        return NULL;
    struct kept_blob *blob = &kept->blobs[kept->count++];
    *blob = (struct kept_blob){ 0 };
    memcpy(blob->key, name, size);
    read_blob(kept->store, blob);
    return blob;
}

static const struct kept_library *find_library(const struct kept_blob *blob, const char *place)
{
    struct kept_library key;
    memcpy(key.file.place, place, PLACE);
    const struct kept_library *found =
        blob->sorted > 0 ? bsearch(&key, blob->libraries, blob->sorted, sizeof key, compare_places)
                         : NULL;
    for (size_t i = blob->sorted; i < blob->count && !found; i++)
        if (compare_places(&key, &blob->libraries[i]) == 0)
            found = &blob->libraries[i];
    return found;
}

/* Does everything lie in the library? What is zeroed by it must. */
static bool fits(const struct kept_library *library)
{
    uint64_t size = library->file.size;
    for (uint32_t i = 0; i < library->file.piece_count; i++) {
        const struct sfs_device_piece *piece = &library->pieces[i];
        if (piece->offset > size || piece->header_size > size - piece->offset ||
            piece->payload_size > size - piece->offset - piece->header_size)
            return false;
    }
    for (uint32_t i = 0; i < library->file.range_count; i++)
        if (library->ranges[i].offset > size ||
            library->ranges[i].size > size - library->ranges[i].offset)
            return false;
    return true;
}

/* Copies `count` items; false: out of memory. */
static bool copy_items(void *ret_items, const void *items, size_t count, size_t size)
{
    void *copy = calloc(count + 1, size);
    if (copy && count > 0)
        memcpy(copy, items, count * size);
    *(void **)ret_items = copy;
    return copy;
}

bool sfs_findings_store_find(struct sfs_findings_store *kept, const char *name, uint64_t size,
                             struct sfs_findings *ret_findings)
{
    AUTO(sfs_findings_done) struct sfs_findings found = { 0 };
    const char *place;
    const struct kept_blob *blob = find_blob(kept, name, &place);
    const struct kept_library *library = blob ? find_library(blob, place) : NULL;
    if (!library || library->file.size != size || !fits(library))
        return false;
    const struct findings_file *file = &library->file;
    found.piece_count = found.piece_capacity = file->piece_count;
    found.symbols.count = found.symbols.capacity = file->range_count;
    if (!copy_items(&found.pieces, library->pieces, file->piece_count, sizeof *found.pieces) ||
        !copy_items(&found.symbols.items, library->ranges, file->range_count,
                    sizeof *found.symbols.items) ||
        (file->complaint &&
         !copy_items(&found.complaint, library->complaint, file->complaint, 1)) ||
        (file->symbols_complaint &&
         !copy_items(&found.symbols_complaint, library->symbols_complaint, file->symbols_complaint,
                     1)))
        return false;
    *ret_findings = found;
    found = (struct sfs_findings){ 0 };
    return true;
}

/* ---- writing ---- */

static uint32_t length(const char *text)
{
    return text ? (uint32_t)strlen(text) : 0;
}

void sfs_findings_store_add(struct sfs_findings_store *kept, const char *name, uint64_t size,
                            const struct sfs_findings *findings)
{
    const char *place;
    struct kept_blob *blob = find_blob(kept, name, &place);
    if (!blob || findings->piece_count > UINT32_MAX || findings->symbols.count > UINT32_MAX ||
        find_library(blob, place) ||
        SFS_ARRAY_GROW(blob->libraries, blob->count, blob->capacity, 256) < 0)
        return;
    struct kept_library library = {
        .file = { .size = size,
                  .piece_count = (uint32_t)findings->piece_count,
                  .range_count = (uint32_t)findings->symbols.count,
                  .complaint = length(findings->complaint),
                  .symbols_complaint = length(findings->symbols_complaint) },
        .pieces = findings->pieces,
        .ranges = findings->symbols.items,
        .complaint = findings->complaint,
        .symbols_complaint = findings->symbols_complaint,
    };
    memcpy(library.file.place, place, PLACE);
    blob->libraries[blob->count++] = library;
    blob->has_more = true;
}

static void print_blob(const struct kept_blob *blob, struct sfs_buf *buf)
{
    struct findings_header header = { .magic = MAGIC,
                                      .version = SFS_FINDINGS_VERSION,
                                      .file_count = (uint32_t)blob->count };
    sfs_buf_add(buf, &header, sizeof header);
    for (size_t i = 0; i < blob->count; i++) {
        const struct findings_file *file = &blob->libraries[i].file;
        header.piece_count += file->piece_count;
        header.range_count += file->range_count;
        header.text_size += (uint64_t)file->complaint + file->symbols_complaint;
        sfs_buf_add(buf, file, sizeof *file);
    }
    for (size_t i = 0; i < blob->count; i++)
        sfs_buf_add(buf, blob->libraries[i].pieces,
                    blob->libraries[i].file.piece_count * sizeof(struct sfs_device_piece));
    for (size_t i = 0; i < blob->count; i++)
        sfs_buf_add(buf, blob->libraries[i].ranges,
                    blob->libraries[i].file.range_count * sizeof(struct sfs_range));
    for (size_t i = 0; i < blob->count; i++) {
        const struct kept_library *library = &blob->libraries[i];
        sfs_buf_add(buf, library->complaint, library->file.complaint);
        sfs_buf_add(buf, library->symbols_complaint, library->file.symbols_complaint);
    }
    if (!buf->failed)
        memcpy(buf->data, &header, sizeof header);
}

/* Puts the digest of all that is behind the header into it. */
static int seal(struct sfs_buf *buf)
{
    AUTO(sfs_hash_close) struct sfs_hash *hash = sfs_hash_open();
    struct sfs_digest digest;
    size_t head = sizeof(struct findings_header);
    if (!hash || buf->failed || buf->size > SFS_MAX_FINDINGS ||
        sfs_hash_add(hash, buf->data + head, buf->size - head) < 0 ||
        sfs_hash_finish(hash, &digest) < 0)
        return -E2BIG;
    memcpy(buf->data + offsetof(struct findings_header, digest), &digest, sizeof digest);
    return 0;
}

static void write_blob(struct sfs_store *store, const struct kept_blob *blob)
{
    AUTO(sfs_buf_close) struct sfs_buf buf = { 0 };
    AUTO(sfs_io_temp_close) struct sfs_io_temp temp = { .fd = -1, .dirfd = -1 };
    print_blob(blob, &buf);
    if (seal(&buf) == 0 && sfs_store_start_file(store, SFS_STORE_FINDINGS, &temp, NULL) == 0 &&
        sfs_io_write_all(temp.fd, buf.data, buf.size) == 0 &&
        sfs_store_make_room(store, SFS_STORE_FINDINGS, SFS_MAX_ALL_FINDINGS, buf.size, NULL) == 0)
        sfs_store_commit_file(store, SFS_STORE_FINDINGS, blob->key, &temp, NULL);
}

void sfs_findings_store_save(struct sfs_findings_store *kept)
{
    for (size_t i = 0; i < kept->count; i++) {
        if (kept->blobs[i].has_more)
            write_blob(kept->store, &kept->blobs[i]);
        kept->blobs[i].has_more = false;
    }
}
