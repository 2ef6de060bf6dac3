/* Layers that bring a table of contents, byte by byte, for tests. */
#ifndef TOC_BYTES_H
#define TOC_BYTES_H

#include "blob_support.h"
#include "tar_bytes.h"
#include <jansson.h>
#include <stagefs/digest.h>

enum toc_kind {
    TOC_ESTARGZ,
    TOC_CHUNKED,     /* containers/storage as it is now */
    TOC_CHUNKED_OLD, /* as it was: the other's annotations and footer, entries of its own */
    TOC_STARGZ_ZSTD, /* zstd:chunked by stargz-snapshotter */
    TOC_KINDS
};

struct toc_writer {
    enum toc_kind kind;
    size_t chunk;        /* decoded bytes; 0: 4 MiB */
    size_t pack;         /* eStargz: payloads share a member up to these decoded bytes */
    const char *from[4]; /* in the table, in front of its digest, the first of this text */
    const char *to[4];   /*   becomes this */
    uint64_t claimed;    /* not 0: the annotation says that the table has so many bytes */
    int footer;          /* eStargz: 51 (0), 46 or 47 bytes */

    struct sfs_buf blob, plain, json;
    json_t *annotations;
    uint64_t toc_at; /* where in the blob the table's frame is */
};

static inline void toc_done(struct toc_writer *w)
{
    sfs_buf_close(&w->blob);
    sfs_buf_close(&w->plain);
    sfs_buf_close(&w->json);
    json_decref(w->annotations);
}

static inline bool toc_is_zstd(const struct toc_writer *w)
{
    return w->kind != TOC_ESTARGZ;
}

static inline bool toc_is_stargz(const struct toc_writer *w)
{
    return w->kind == TOC_ESTARGZ || w->kind == TOC_STARGZ_ZSTD;
}

static inline void toc_flush(struct toc_writer *w)
{
    if (w->plain.size == 0)
        return;
    if (toc_is_zstd(w))
        add_zstd(&w->blob, w->plain.data, w->plain.size, 3, false, true);
    else
        add_zlib(&w->blob, w->plain.data, w->plain.size, 6, Z_DEFAULT_STRATEGY, NULL);
    w->plain.size = 0;
}

static inline void toc_start_json(struct toc_writer *w, const char *type, const char *name)
{
    if (w->json.size == 0)
        sfs_buf_add_str(&w->json, "{\"version\":1,\"entries\":[");
    else
        sfs_buf_add_str(&w->json, ",");
    sfs_buf_printf(&w->json, "\n{\"type\":\"%s\",\"name\":\"%s\"", type, name);
}

static inline void toc_digest_json(struct toc_writer *w, const char *key, const void *data,
                                   size_t size)
{
    struct sfs_digest digest;
    char text[SFS_DIGEST_TEXT];
    sfs_digest_of(data, size, &digest);
    sfs_buf_printf(&w->json, ",\"%s\":\"%s\"", key, sfs_digest_print(&digest, text));
}

/* What stands in front of an entry: xattr "user.note" if `note` is not NULL. */
static inline void toc_header(struct toc_writer *w, struct tar_header header, const char *note)
{
    if (note)
        tar_bytes_pax_text(&w->plain, "SCHILY.xattr.user.note", note);
    tar_bytes_octal(header.mtime, sizeof header.mtime, 1600000000);
    tar_bytes_octal(header.uid, sizeof header.uid, 7);
    tar_bytes_put(&w->plain, header, "", 0);
}

static inline void toc_metadata_json(struct toc_writer *w, unsigned mode)
{
    sfs_buf_printf(&w->json, ",\"mode\":%u,\"uid\":7,\"modtime\":\"2020-09-13T12:26:40Z\"", mode);
}

/* Type '2' symlink, '1' hard link, '3' character device 5:1, '5' directory, '6' FIFO. */
static inline void toc_entry(struct toc_writer *w, char type, const char *name, const char *link)
{
    static const char *const types[] = { "", "hardlink", "symlink", "char", "", "dir", "fifo" };
    struct tar_header header = tar_bytes_header(name, type, 0);
    tar_bytes_text(header.link, sizeof header.link, link);
    if (type == '3') {
        tar_bytes_octal(header.major, sizeof header.major, 5);
        tar_bytes_octal(header.minor, sizeof header.minor, 1);
    }
    toc_header(w, header, NULL);
    toc_start_json(w, types[type - '0'], name);
    toc_metadata_json(w, type == '5' ? 040755 : 0644);
    if (*link)
        sfs_buf_printf(&w->json, ",\"linkName\":\"%s\"", link);
    if (type == '3')
        sfs_buf_add_str(&w->json, ",\"devMajor\":5,\"devMinor\":1");
    sfs_buf_add_str(&w->json, "}");
}

struct toc_chunk {
    size_t start, size;
    uint64_t offset, inner;
    bool zeros;
};

static inline size_t toc_put_chunks(struct toc_writer *w, const char *data, size_t size,
                                    struct toc_chunk *chunks)
{
    size_t step = w->chunk ? w->chunk : 4u << 20, count = 0;
    for (size_t at = 0; at < size; at += step) {
        struct toc_chunk *chunk = &chunks[count++];
        if (w->plain.size >= w->pack)
            toc_flush(w);
        *chunk = (struct toc_chunk){ at, size - at < step ? size - at : step, w->blob.size,
                                     w->plain.size, !toc_is_stargz(w) };
        for (size_t i = 0; i < chunk->size && chunk->zeros; i++)
            chunk->zeros = data[at + i] == 0;
        sfs_buf_add(&w->plain, data + at, chunk->size);
    }
    if (size > 0 && w->plain.size >= w->pack)
        toc_flush(w);
    return count;
}

static inline void toc_chunk_json(struct toc_writer *w, const char *data, size_t count,
                                  const struct toc_chunk *chunk)
{
    sfs_buf_printf(&w->json, ",\"offset\":%llu", (unsigned long long)chunk->offset);
    if (chunk->inner)
        sfs_buf_printf(&w->json, ",\"innerOffset\":%llu", (unsigned long long)chunk->inner);
    if (chunk->start)
        sfs_buf_printf(&w->json, ",\"chunkOffset\":%zu", chunk->start);
    if (count > 1 && (!toc_is_stargz(w) || chunk->size == w->chunk))
        sfs_buf_printf(&w->json, ",\"chunkSize\":%zu", chunk->size);
    if (count > 1 && chunk->zeros)
        sfs_buf_add_str(&w->json, ",\"chunkType\":\"zeros\"");
    else if (count > 1 || toc_is_stargz(w))
        toc_digest_json(w, "chunkDigest", data + chunk->start, chunk->size);
}

static inline void toc_file_note(struct toc_writer *w, const char *name, const char *data,
                                 size_t size, const char *note)
{
    AUTO(sfs_free)
    struct toc_chunk *chunks = calloc(size / (w->chunk ? w->chunk : 1u << 20) + 2, sizeof *chunks);
    toc_header(w, tar_bytes_header(name, '0', size), note);
    size_t count = toc_put_chunks(w, data, size, chunks);
    toc_start_json(w, "reg", name);
    toc_metadata_json(w, 0644);
    if (note) /* "one" in base64 */
        sfs_buf_add_str(&w->json, ",\"xattrs\":{\"user.note\":\"b25l\"}");
    if (size > 0) {
        sfs_buf_printf(&w->json, ",\"size\":%zu", size);
        toc_digest_json(w, "digest", data, size);
        if (!toc_is_stargz(w))
            sfs_buf_printf(&w->json, ",\"endOffset\":%zu", w->blob.size);
        toc_chunk_json(w, data, count, &chunks[0]);
    }
    sfs_buf_add_str(&w->json, "}");
    for (size_t i = 1; i < count; i++) {
        toc_start_json(w, "chunk", name);
        toc_chunk_json(w, data, count, &chunks[i]);
        sfs_buf_add_str(&w->json, "}");
    }
    static const char zeros[512];
    sfs_buf_add(&w->plain, zeros, (512 - size % 512) % 512);
}

static inline void toc_file(struct toc_writer *w, const char *name, const char *data, size_t size)
{
    toc_file_note(w, name, data, size, NULL);
}

static inline void toc_text(struct toc_writer *w, const char *name, const char *text)
{
    toc_file(w, name, text, strlen(text));
}

static inline void toc_replace(struct sfs_buf *json, const char *from, const char *to)
{
    char *found = strstr(json->data, from);
    cr_assert_not_null(found, "the table has no %s: %s", from, json->data);
    struct sfs_buf made = { 0 };
    sfs_buf_add(&made, json->data, (size_t)(found - json->data));
    sfs_buf_add_str(&made, to);
    sfs_buf_add_str(&made, found + strlen(from));
    sfs_buf_close(json);
    *json = made;
}

static inline void toc_annotate(struct toc_writer *w, const char *key, const void *data,
                                size_t size)
{
    struct sfs_digest digest;
    char text[SFS_DIGEST_TEXT];
    sfs_digest_of(data, size, &digest);
    json_object_set_new(w->annotations, key, json_string(sfs_digest_print(&digest, text)));
}

static inline void toc_add_frame(struct toc_writer *w, const void *data, size_t size)
{
    uint32_t head[2] = { 0x184d2a50, (uint32_t)size };
    sfs_buf_add(&w->blob, head, sizeof head);
    sfs_buf_add(&w->blob, data, size);
}

static inline void toc_finish_estargz(struct toc_writer *w)
{
    toc_flush(w);
    w->toc_at = w->blob.size;
    uint64_t size = w->claimed ? w->claimed : w->json.size;
    tar_bytes_put(&w->plain, tar_bytes_header("stargz.index.json", '0', size), w->json.data,
                  w->json.size);
    tar_bytes_end(&w->plain);
    toc_flush(w);
    int total = w->footer ? w->footer : 51;
    uint8_t head[16] = { 0x1f, 0x8b, 8, 4, [9] = 0xff, [10] = (uint8_t)(total - 25) };
    static const uint8_t tail[13] = { 1, 0, 0, 0xff, 0xff };
    uint8_t field[4] = { 'S', 'G', (uint8_t)(total - 29), 0 };
    sfs_buf_add(&w->blob, head, 12);
    if (total != 47)
        sfs_buf_add(&w->blob, field, sizeof field);
    if (total == 46)
        sfs_buf_add_str(&w->blob, "STARGZEXTERNALTOC");
    else
        sfs_buf_printf(&w->blob, "%016llxSTARGZ", (unsigned long long)w->toc_at);
    sfs_buf_add(&w->blob, tail, sizeof tail);
}

static inline void toc_finish_zstd(struct toc_writer *w)
{
    AUTO(sfs_buf_close) struct sfs_buf packed = { 0 };
    bool is_new = w->kind == TOC_CHUNKED;
    const char *prefix =
        is_new ? "io.github.containers.zstd-chunked." : "io.containers.zstd-chunked.";
    char key[80], place[80];
    tar_bytes_end(&w->plain);
    toc_flush(w);
    add_zstd(&packed, w->json.data, w->json.size, 3, false, true);
    w->toc_at = w->blob.size + 8;
    toc_add_frame(w, packed.data, packed.size);
    uint64_t numbers[7] = { w->toc_at, packed.size,      w->claimed ? w->claimed : w->json.size,
                            1,         w->blob.size + 8, 6,
                            6 };
    if (is_new)
        toc_add_frame(w, "split!", 6);
    AUTO(sfs_buf_close) struct sfs_buf footer = { 0 };
    sfs_buf_add(&footer, numbers, is_new ? 56 : 32);
    sfs_buf_add_str(&footer, is_new ? "GNUlInUx" : "GnUlInUx");
    toc_add_frame(w, footer.data, footer.size);
    snprintf(key, sizeof key, "%smanifest-checksum", prefix);
    toc_annotate(w, key, packed.data, packed.size);
    snprintf(place, sizeof place, "%llu:%zu:%llu:1", (unsigned long long)w->toc_at, packed.size,
             (unsigned long long)numbers[2]);
    snprintf(key, sizeof key, "%smanifest-position", prefix);
    json_object_set_new(w->annotations, key, json_string(place));
}

static inline void toc_finish(struct toc_writer *w)
{
    sfs_buf_add_str(&w->json, w->json.size ? "\n]}" : "{\"version\":1,\"entries\":[]}");
    for (size_t i = 0; i < 4 && w->from[i]; i++)
        toc_replace(&w->json, w->from[i], w->to[i]);
    w->annotations = json_object();
    if (toc_is_zstd(w))
        toc_finish_zstd(w);
    else
        toc_finish_estargz(w);
    if (toc_is_stargz(w))
        toc_annotate(w, "containerd.io/snapshot/stargz/toc.digest", w->json.data, w->json.size);
}

#endif
