/* Collects chunks while the tar is written, and ends the blob with the table of contents. */
#include "commit/contents.h"

#include <stagefs/utf8.h>

#include "base/hash.h"
#include "commit/layer_entry.h"
#include "base/array.h"
#include <isa-l/crc64.h>
#include <endian.h>
#include <errno.h>
#include <inttypes.h>
#include <stagefs/auto.h>
#include <sys/stat.h>
#include <zstd.h>

#define ESTARGZ_TABLE  "stargz.index.json"
#define ESTARGZ_DIGEST "containerd.io/snapshot/stargz/toc.digest"
#define ESTARGZ_SIZE   "io.containers.estargz.uncompressed-size"
#define CHUNKED        "io.github.containers.zstd-chunked."

#define TABLE_LEVEL 9 /* the level by which zstd compresses the table */

struct sfs_contents {
    const struct sfs_layer_write *write;
    struct sfs_pipe *pipe;
    struct sfs_chunk *chunks;
    size_t chunk_count, chunk_capacity;
    size_t items; /* how many headers came */

    /* Of the file at hand: */
    struct sfs_buf name;    /* as in the tar */
    uint64_t size, written; /* bytes of it, and those that came so far */
    size_t first;           /* the number of its first chunk */
    bool in_chunk;          /* the last chunk goes on */
    uint64_t chunk_end;     /* where in the file that chunk ends at the latest */
    uint64_t crc;           /* CRC-64 of ISO 3309, of what came so far */
    struct sfs_hash *hash;  /* the file's; NULL: its digest is that of its only chunk */
    struct sfs_hash
        *chunk_hash; /* the chunk's; NULL: it is the first one, and `hash` does for it */

    struct sfs_split *split; /* NULL: none is wanted */
};

int sfs_contents_open(const struct sfs_layer_write *write, struct sfs_pipe *pipe,
                      struct sfs_contents **ret_contents, struct sfs_error *err)
{
    AUTO(sfs_contents_close) struct sfs_contents *contents = calloc(1, sizeof *contents);
    if (!contents)
        return sfs_fail_memory(err);
    contents->write = write;
    contents->pipe = pipe;
    if (write->pipe.plan.contents == SFS_CONTENTS_CHUNKED && !(contents->split = sfs_split_open()))
        return sfs_fail_memory(err);
    *ret_contents = TAKE(contents);
    return 0;
}

void sfs_contents_close(struct sfs_contents **contents_ptr)
{
    struct sfs_contents *contents = *contents_ptr;
    if (!contents)
        return;
    *contents_ptr = NULL;
    free(contents->chunks);
    sfs_buf_close(&contents->name);
    sfs_hash_close(&contents->hash);
    sfs_hash_close(&contents->chunk_hash);
    sfs_split_close(&contents->split);
    free(contents);
}

static int check_text(const struct sfs_tar_entry *tar, const char *text, struct sfs_error *err)
{
    if (sfs_utf8_is_valid(text))
        return 0;
    return sfs_fail(err, ENOTSUP,
                    "%s: it, its target or an attribute is not UTF-8, which a table of contents "
                    "cannot hold: use --compression gzip or zstd",
                    tar->path);
}

int sfs_contents_add_header(struct sfs_contents *contents, const struct sfs_tar_entry *tar,
                            const struct sfs_buf *header, struct sfs_error *err)
{
    int r = check_text(tar, tar->path, err);
    if (r == 0 && tar->target)
        r = check_text(tar, tar->target, err);
    for (uint32_t i = 0; i < tar->xattr_count && r == 0; i++)
        r = check_text(tar, tar->xattrs[i].name, err);
    if (r < 0)
        return r;
    bool has_content = !tar->hard_link && S_ISREG(tar->attr.mode) && tar->attr.size > 0;
    contents->items++;
    contents->size = has_content ? tar->attr.size : 0;
    contents->written = 0;
    contents->crc = 0;
    contents->first = contents->chunk_count;
    contents->name.size = 0;
    sfs_tar_add_name(&contents->name, tar);
    if (sfs_buf_check(&contents->name, err) < 0)
        return -ENOMEM;
    if (contents->split)
        sfs_split_add_bytes(contents->split, header->data, header->size);
    if (contents->split && !has_content)
        sfs_split_add_file(contents->split, contents->name.data, 0, 0);
    return 0;
}

/* ---- chunks ---- */

static int start_chunk(struct sfs_contents *contents, struct sfs_error *err)
{
    uint64_t offset = contents->written, left = contents->size - offset;
    size_t most = contents->write->pipe.plan.chunk_size;
    int r = sfs_pipe_cut(contents->pipe, err);
    if (r < 0)
        return r;
    if (SFS_ARRAY_GROW(contents->chunks, contents->chunk_count, contents->chunk_capacity, 256) < 0)
        return sfs_fail_memory(err);
    contents->chunks[contents->chunk_count++] = (struct sfs_chunk){
        .item = contents->items - 1, .in = sfs_pipe_position(contents->pipe), .offset = offset
    };
    contents->chunk_end = offset + (left < most ? left : most);
    contents->in_chunk = true;
    return 0;
}

static int open_hash(struct sfs_hash **hash, struct sfs_error *err)
{
    return (*hash = sfs_hash_open()) ? 0 : sfs_fail_memory(err);
}

/* Starts a chunk whose bytes are to be digested. */
static int start_written_chunk(struct sfs_contents *contents, struct sfs_error *err)
{
    bool is_first = contents->written == 0;
    int r = start_chunk(contents, err);
    return r == 0 ? open_hash(is_first ? &contents->hash : &contents->chunk_hash, err) : r;
}

static int end_chunk(struct sfs_contents *contents, struct sfs_error *err)
{
    struct sfs_chunk *chunk = &contents->chunks[contents->chunk_count - 1];
    int r = contents->chunk_hash ? sfs_hash_finish(contents->chunk_hash, &chunk->digest)
                                 : sfs_hash_peek(contents->hash, &chunk->digest);
    sfs_hash_close(&contents->chunk_hash);
    chunk->size = contents->written - chunk->offset;
    contents->in_chunk = false;
    return r < 0 ? sfs_fail_memory(err) : 0;
}

static int digest_piece(struct sfs_contents *contents, const void *data, size_t size)
{
    int r = contents->hash ? sfs_hash_add(contents->hash, data, size) : 0;
    if (r == 0 && contents->chunk_hash)
        r = sfs_hash_add(contents->chunk_hash, data, size);
    if (r == 0 && contents->split)
        contents->crc = crc64_iso_refl(contents->crc, data, size);
    return r;
}

/* Writes up to `size` bytes, not past the chunk's end. Returns how many. */
static ssize_t write_piece(struct sfs_contents *contents, const void *data, uint64_t size,
                           struct sfs_error *err)
{
    static const char zeros[64 << 10];
    uint64_t room = contents->chunk_end - contents->written;
    size_t n = size < room ? (size_t)size : (size_t)room;
    if (!data && n > sizeof zeros)
        n = sizeof zeros;
    if (digest_piece(contents, data ? data : zeros, n) < 0)
        return sfs_fail_memory(err);
    int r = sfs_pipe_write(contents->pipe, data ? data : zeros, n, err);
    if (r < 0)
        return r;
    contents->written += n;
    return n == room && (r = end_chunk(contents, err)) < 0 ? r : (ssize_t)n;
}

int sfs_contents_write(struct sfs_contents *contents, const void *data, uint64_t size,
                       struct sfs_error *err)
{
    const char *from = data;
    while (size > 0) {
        int r = contents->in_chunk ? 0 : start_written_chunk(contents, err);
        if (r < 0)
            return r;
        ssize_t n = write_piece(contents, from, size, err);
        if (n < 0)
            return (int)n;
        size -= (uint64_t)n;
        if (from)
            from += n;
    }
    return 0;
}

/* Puts the block as a chunk; its bytes are digested only if the file has other chunks, too. */
static int put_chunk(struct sfs_contents *contents, const struct sfs_packed *block,
                     const struct sfs_digest *digest, struct sfs_error *err)
{
    bool is_whole = block->size == contents->size;
    int r = contents->in_chunk ? end_chunk(contents, err) : 0;
    if (r == 0 && contents->written == 0 && !is_whole)
        r = open_hash(&contents->hash, err);
    if (r == 0)
        r = start_chunk(contents, err);
    if (r < 0)
        return r;
    struct sfs_chunk *chunk = &contents->chunks[contents->chunk_count - 1];
    chunk->size = block->size;
    chunk->digest = *digest;
    contents->in_chunk = false;
    contents->written += block->size;
    return digest_piece(contents, block->data, block->size) < 0 ? sfs_fail_memory(err) : 0;
}

int sfs_contents_put(struct sfs_contents *contents, const struct sfs_packed *block,
                     const struct sfs_digest *digest, struct sfs_error *err)
{
    int r = put_chunk(contents, block, digest, err);
    if (r < 0) {
        block->release(block->owner);
        return r;
    }
    return sfs_pipe_put(contents->pipe, block, err);
}

/* Puts the file's digest, and its end, into each of its chunks. */
static int end_chunks(struct sfs_contents *contents)
{
    struct sfs_digest digest = contents->chunks[contents->first].digest;
    int r = contents->hash ? sfs_hash_finish(contents->hash, &digest) : 0;
    sfs_hash_close(&contents->hash);
    for (size_t i = contents->first; i < contents->chunk_count; i++) {
        contents->chunks[i].file_digest = digest;
        contents->chunks[i].end = sfs_pipe_position(contents->pipe);
    }
    return r;
}

int sfs_contents_end_file(struct sfs_contents *contents, struct sfs_error *err)
{
    static const char zeros[SFS_TAR_BLOCK];
    if (contents->size == 0)
        return 0;
    if (end_chunks(contents) < 0)
        return sfs_fail_memory(err);
    if (contents->split) {
        sfs_split_add_file(contents->split, contents->name.data, contents->size, contents->crc);
        sfs_split_add_bytes(contents->split, zeros, sfs_tar_padding(contents->size));
    }
    /* So that the last chunk, too, is a block of the file's bytes alone, which can be copied. */
    return sfs_pipe_cut(contents->pipe, err);
}

/* ---- the end ---- */

static int print_table(struct sfs_contents *contents, const char *split_digest,
                       struct sfs_buf *json, struct sfs_error *err)
{
    struct sfs_contents_table table = { .write = contents->write,
                                        .chunks = contents->chunks,
                                        .chunk_count = contents->chunk_count,
                                        .split_digest = split_digest };
    int r = sfs_pipe_drain(contents->pipe, err);
    if (r < 0)
        return r;
    table.segments = sfs_pipe_segments(contents->pipe, &table.segment_count);
    return sfs_contents_print(&table, json, err);
}

static int digest_text(const struct sfs_buf *buf, char text[SFS_DIGEST_TEXT], struct sfs_error *err)
{
    struct sfs_digest digest;
    if (sfs_digest_of(buf->data, buf->size, &digest) < 0)
        return sfs_fail_memory(err);
    sfs_digest_print(&digest, text);
    return 0;
}

/* Puts an empty gzip member whose extra field says where the table starts. */
static int put_estargz_footer(struct sfs_pipe *pipe, uint64_t table, struct sfs_error *err)
{
    unsigned char footer[52] = { 0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 0xff, 26, 0, 'S', 'G', 22, 0 };
    static const unsigned char end[13] = { 1, 0, 0, 0xff, 0xff };
    char field[23];
    snprintf(field, sizeof field, "%016" PRIx64 "STARGZ", table);
    memcpy(footer + 16, field, 22);
    memcpy(footer + 38, end, sizeof end);
    return sfs_pipe_put_raw(pipe, footer, 51, err);
}

/* Bytes of the tar, as one gzip member. */
struct toc_member {
    struct sfs_buf plain, packed;
};

static void member_close(struct toc_member **member_ptr)
{
    struct toc_member *member = TAKE(*member_ptr);
    if (!member)
        return;
    sfs_buf_close(&member->plain);
    sfs_buf_close(&member->packed);
    free(member);
}

static void release_member(void *owner)
{
    struct toc_member *member = owner;
    member_close(&member);
}

static int pack_member(struct sfs_contents *contents, struct toc_member *member,
                       struct sfs_error *err)
{
    const struct sfs_compress_plan *plan = &contents->write->pipe.plan;
    AUTO(sfs_compressor_close) struct sfs_compressor *compressor = sfs_compressor_open(plan);
    size_t room = sfs_compress_bound(plan, member->plain.size);
    if (room > UINT32_MAX)
        return sfs_fail(err, E2BIG,
                        "the table of contents takes 4 GiB: too many files for eStargz");
    char *place = compressor ? sfs_buf_grow(&member->packed, room) : NULL;
    if (!place)
        return sfs_fail_memory(err);
    ssize_t n = sfs_compressor_run(compressor, member->plain.data, member->plain.size, place, room);
    if (n < 0)
        return sfs_fail(err, EIO, "compressing the table of contents");
    member->packed.size = (size_t)n;
    return 0;
}

/* Puts the table, as the tar's last file, and the tar's end. Readers take one gzip member from
 * where the footer points to, so the table may not be cut into blocks, however long it is. */
static int put_estargz_table(struct sfs_contents *contents, const struct sfs_buf *json,
                             struct sfs_error *err)
{
    static const char zeros[SFS_TAR_BLOCK + SFS_TAR_END];
    const struct sfs_tar_entry tar = { .path = ESTARGZ_TABLE,
                                       .attr = { .mode = S_IFREG | 0444, .size = json->size } };
    AUTO(member_close) struct toc_member *member = calloc(1, sizeof *member);
    if (!member)
        return sfs_fail_memory(err);
    int r = sfs_tar_add_header(&member->plain, &tar, err);
    if (r < 0)
        return r;
    if (sfs_buf_add(&member->plain, json->data, json->size) < 0 ||
        sfs_buf_add(&member->plain, zeros, sfs_tar_padding(json->size) + SFS_TAR_END) < 0)
        return sfs_fail_memory(err);
    r = pack_member(contents, member, err);
    if (r < 0)
        return r;
    const struct sfs_packed block = { .data = member->plain.data,
                                      .packed = member->packed.data,
                                      .size = (uint32_t)member->plain.size,
                                      .packed_size = (uint32_t)member->packed.size,
                                      .release = release_member,
                                      .owner = member };
    member = NULL;
    return sfs_pipe_put(contents->pipe, &block, err);
}

static int finish_estargz(struct sfs_contents *contents, json_t **ret_annotations,
                          struct sfs_error *err)
{
    struct sfs_pipe *pipe = contents->pipe;
    AUTO(sfs_buf_close) struct sfs_buf json = { 0 };
    char digest[SFS_DIGEST_TEXT], size[24];
    int r = print_table(contents, NULL, &json, err);
    if (r == 0)
        r = digest_text(&json, digest, err);
    if (r < 0)
        return r;
    uint64_t table = sfs_pipe_out_size(pipe);
    r = put_estargz_table(contents, &json, err);
    if (r == 0)
        r = sfs_pipe_drain(pipe, err);
    if (r == 0)
        r = put_estargz_footer(pipe, table, err);
    if (r < 0)
        return r;
    snprintf(size, sizeof size, "%" PRIu64, sfs_pipe_position(pipe));
    *ret_annotations = json_pack("{ss ss}", ESTARGZ_DIGEST, digest, ESTARGZ_SIZE, size);
    return *ret_annotations ? 0 : sfs_fail_memory(err);
}

/* Puts data into the blob as a skippable frame; *ret_offset: of the data. */
static int put_frame(struct sfs_pipe *pipe, const void *data, size_t size, uint64_t *ret_offset,
                     struct sfs_error *err)
{
    uint32_t head[2] = { htole32(0x184d2a50u), htole32((uint32_t)size) };
    int r = sfs_pipe_put_raw(pipe, head, sizeof head, err);
    *ret_offset = sfs_pipe_out_size(pipe);
    return r == 0 ? sfs_pipe_put_raw(pipe, data, size, err) : r;
}

static int pack_table(const struct sfs_buf *json, struct sfs_buf *packed, struct sfs_error *err)
{
    size_t room = ZSTD_compressBound(json->size);
    char *place = sfs_buf_grow(packed, room);
    size_t size = place ? ZSTD_compress(place, room, json->data, json->size, TABLE_LEVEL) : 0;
    if (!place || ZSTD_isError(size))
        return sfs_fail_memory(err);
    packed->size = size;
    return 0;
}

/* Puts table, tar-split and a footer, which repeats what the annotations say. */
static int put_frames(struct sfs_contents *contents, const struct sfs_buf *json,
                      const struct sfs_buf *split, uint64_t split_plain, json_t **ret_annotations,
                      struct sfs_error *err)
{
    struct sfs_pipe *pipe = contents->pipe;
    AUTO(sfs_buf_close) struct sfs_buf packed = { 0 };
    char digest[SFS_DIGEST_TEXT], place[96], split_place[96];
    uint64_t at = 0, split_at = 0, footer_at;
    int r = pack_table(json, &packed, err);
    if (r == 0)
        r = digest_text(&packed, digest, err);
    if (r == 0)
        r = put_frame(pipe, packed.data, packed.size, &at, err);
    if (r == 0)
        r = put_frame(pipe, split->data, split->size, &split_at, err);
    uint64_t footer[8] = { htole64(at),       htole64(packed.size), htole64(json->size), htole64(1),
                           htole64(split_at), htole64(split->size), htole64(split_plain) };
    memcpy(&footer[7], "GNUlInUx", 8);
    if (r == 0)
        r = put_frame(pipe, footer, sizeof footer, &footer_at, err);
    if (r < 0)
        return r;
    snprintf(place, sizeof place, "%" PRIu64 ":%zu:%zu:1", at, packed.size, json->size);
    snprintf(split_place, sizeof split_place, "%" PRIu64 ":%zu:%" PRIu64, split_at, split->size,
             split_plain);
    *ret_annotations =
        json_pack("{ss ss ss}", CHUNKED "manifest-checksum", digest, CHUNKED "manifest-position",
                  place, CHUNKED "tarsplit-position", split_place);
    return *ret_annotations ? 0 : sfs_fail_memory(err);
}

static int finish_chunked(struct sfs_contents *contents, json_t **ret_annotations,
                          struct sfs_error *err)
{
    static const char zeros[SFS_TAR_END];
    AUTO(sfs_buf_close) struct sfs_buf json = { 0 };
    AUTO(sfs_buf_close) struct sfs_buf split = { 0 };
    char digest[SFS_DIGEST_TEXT];
    uint64_t plain;
    int r = sfs_pipe_write(contents->pipe, zeros, sizeof zeros, err);
    if (r < 0)
        return r;
    sfs_split_add_bytes(contents->split, zeros, sizeof zeros);
    if (sfs_split_finish(contents->split, &split, &plain) < 0)
        return sfs_fail_memory(err);
    r = digest_text(&split, digest, err);
    if (r == 0)
        r = print_table(contents, digest, &json, err);
    if (r == 0)
        r = put_frames(contents, &json, &split, plain, ret_annotations, err);
    return r;
}

int sfs_contents_finish(struct sfs_contents *contents, json_t **ret_annotations,
                        struct sfs_error *err)
{
    return contents->split ? finish_chunked(contents, ret_annotations, err)
                           : finish_estargz(contents, ret_annotations, err);
}
