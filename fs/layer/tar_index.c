/* The index of a tar, and its seekable copy, in the store: opened if they are there and fit, or
 * made by one pass over the blob, or out of the blob's table of contents. */
#include "layer/tar_index.h"

#include "blob/codecs.h"
#include "layer/tar_read.h"
#include "layer/toc.h"
#include "layer/verified.h"

#include <isa-l/crc64.h>
#include <stagefs/format.h>

/* Index and copy are two files, and only together are they right: the copy ends with a zstd
 * skippable frame that holds a number from its index. */
struct copy_mark {
    uint32_t magic, size;
    uint64_t id;
};
#define COPY_MARK_MAGIC 0x184d2a5eu

static struct copy_mark make_mark(const struct sfs_index *index)
{
    const struct sfs_seek_table *seek = &index->seek;
    uint64_t id = crc64_ecma_refl(0, seek->key, sizeof seek->key);
    if (seek->tags && seek->check == SFS_CHECK_GMAC)
        id = crc64_ecma_refl(id, seek->tags, 16ull * seek->count);
    id = crc64_ecma_refl(id, (const unsigned char *)seek->points,
                         sizeof *seek->points * seek->count);
    return (struct copy_mark){ COPY_MARK_MAGIC, sizeof(uint64_t), id };
}

int sfs_tar_index_open_copy(struct sfs_store *store, const char *key, const struct sfs_index *index,
                            struct sfs_blob **ret_blob, struct sfs_error *err)
{
    AUTO(sfs_close_fd) int fd = -1;
    int r = sfs_store_open_file(store, SFS_STORE_COPY, key, &fd, err);
    if (r < 0)
        return r;
    struct copy_mark mark, expected = make_mark(index);
    ssize_t size = sfs_io_read_at(fd, &mark, sizeof mark, index->copy_size);
    if (size != sizeof mark || memcmp(&mark, &expected, sizeof mark) != 0)
        return sfs_fail(err, ENOENT, "the seekable copy does not belong to the index");
    return sfs_blob_open_file(&fd, "seekable copy in the cache", 0, index->copy_size, ret_blob,
                              err);
}

int sfs_tar_index_open(struct sfs_store *store, const struct sfs_layer_source *source,
                       uint64_t blob_size, struct sfs_index *ret_index, struct sfs_error *err)
{
    AUTO(sfs_close_fd) int fd = -1;
    AUTO(sfs_index_close) struct sfs_index index = { .fd = -1 };
    int r = sfs_store_open_file(store, SFS_STORE_INDEX, source->key, &fd, err);
    if (r < 0)
        return r;
    r = sfs_index_open(&fd, &index, err);
    if (r == -EBADMSG)
        return -ENOENT;
    if (r < 0)
        return r;
    if (index.codec != source->codec || index.blob_size != blob_size ||
        (source->has_digest && !sfs_digest_equal(&index.digest, &source->digest)))
        return sfs_fail(err, ENOENT, "the index is of another blob");
    /* Whoever wrote another manifest may have made up the table, and the blob of that name. */
    if (index.from_toc && !sfs_toc_vouches(source, &index))
        return sfs_fail(err, ENOENT, "the index is of another table of contents");
    if (!index.from_toc && source->has_diff_id &&
        !sfs_digest_equal(&index.diff_id, &source->diff_id))
        return sfs_fail(err, EKEYREJECTED, "%s: the tar inside does not match its diff_id",
                        source->label);
    *ret_index = index;
    index = (struct sfs_index){ .fd = -1 };
    return 0;
}

/* What making an index needs besides the blob. */
struct making {
    struct sfs_store *store;
    const struct sfs_layer_source *source;
    struct sfs_blob *blob;
    const struct sfs_progress *progress;
    struct sfs_io_temp index_file, copy_file;
    struct sfs_unpack *unpack;
    struct sfs_unpacked unpacked;
    struct sfs_builder *builder;
};

static void close_making(struct making *making)
{
    sfs_unpack_close(&making->unpack);
    sfs_unpacked_close(&making->unpacked);
    sfs_builder_close(&making->builder);
    sfs_io_temp_close(&making->index_file);
    sfs_io_temp_close(&making->copy_file);
}

static int check_digest(const struct making *making, const struct sfs_digest *actual,
                        struct sfs_error *err)
{
    const struct sfs_layer_source *source = making->source;
    char text[SFS_DIGEST_TEXT];
    if (!source->has_digest || sfs_digest_equal(actual, &source->digest))
        return 0;
    sfs_digest_print(&source->digest, text);
    if (making->blob->size < source->size)
        return sfs_fail(err, EKEYREJECTED,
                        "layer %s does not match its digest (it is truncated: %llu of %llu byte%s)",
                        text, (unsigned long long)making->blob->size,
                        (unsigned long long)source->size, sfs_plural(source->size));
    return sfs_fail(err, EKEYREJECTED, "layer %s does not match its digest", text);
}

/* Reads the tar out of the blob. If that fails, and the blob is not what its digest says, only the
 * latter is told: it explains the former. */
static int read_blob(struct making *making, struct sfs_error *err)
{
    const struct sfs_layer_source *source = making->source;
    struct sfs_error read_err = { 0 }, finish_err = { 0 };
    const struct sfs_tar_read_options options = {
        .is_estargz = sfs_toc_is_estargz(source, making->blob),
        .progress = making->progress,
        .label = source->label,
    };
    int read_r = sfs_tar_read(making->unpack, making->builder, &options, &read_err);
    int finish_r = sfs_unpack_finish(making->unpack, &making->unpacked, &finish_err);
    if (finish_r == 0 || finish_r == -EBADMSG) {
        int r = check_digest(making, &making->unpacked.in_digest, err);
        if (r < 0)
            return r;
    }
    if (finish_r == -ENOSPC || finish_r == -EDQUOT || finish_r == -EFBIG)
        return sfs_fail(err, -finish_r, "cache directory %s: %s", sfs_store_dir(making->store),
                        finish_err.text);
    if (finish_r < 0)
        return sfs_fail(err, -finish_r, "%s: %s", source->label, finish_err.text);
    if (read_r < 0)
        return sfs_fail(err, -read_r, "%s: %s", source->label, read_err.text);
    if (source->has_diff_id && !sfs_digest_equal(&making->unpacked.out_digest, &source->diff_id)) {
        char text[SFS_DIGEST_TEXT];
        return sfs_fail(err, EKEYREJECTED, "%s: the tar inside does not match its diff_id %s",
                        source->label, sfs_digest_print(&source->diff_id, text));
    }
    return 0;
}

static int write_mark(int fd, const struct sfs_index *index)
{
    struct copy_mark mark = make_mark(index);
    if (lseek(fd, (off_t)index->copy_size, SEEK_SET) < 0)
        return -errno;
    return sfs_io_write_all(fd, &mark, sizeof mark);
}

static int write_files(struct making *making, struct sfs_error *err)
{
    AUTO(sfs_tables_close) void *memory = NULL;
    const struct sfs_layer_source *source = making->source;
    struct sfs_index index = {
        .fd = -1,
        .digest = making->unpacked.in_digest,
        .diff_id = making->unpacked.out_digest,
        .blob_size = making->blob->size,
        .copy_size = making->unpacked.uses_copy ? making->unpacked.copy_size : 0,
        .codec = source->codec,
        .seek = making->unpacked.table,
    };
    int r = sfs_builder_finish(making->builder, &index.tables, &memory, err);
    if (r < 0)
        return sfs_fail_while(err, r, "%s", source->label);
    sfs_builder_close(&making->builder);
    r = sfs_index_write(making->index_file.fd, &index, err);
    if (r < 0)
        return sfs_fail_while(err, r, "cache directory %s", sfs_store_dir(making->store));
    if (making->unpacked.uses_copy) {
        r = write_mark(making->copy_file.fd, &index);
        if (r < 0)
            return sfs_fail_errno(err, -r, "cache directory %s: writing a seekable copy",
                                  sfs_store_dir(making->store));
        r = sfs_store_commit_file(making->store, SFS_STORE_COPY, source->key, &making->copy_file,
                                  err);
        if (r < 0)
            return r;
    }
    return sfs_store_commit_file(making->store, SFS_STORE_INDEX, source->key, &making->index_file,
                                 err);
}

/* 1: the layer brings a table of contents, and has its index; 0: the blob has to be read. */
static int write_toc_index(struct making *making, struct sfs_error *err)
{
    int fd = making->index_file.fd;
    int r = sfs_toc_write(making->blob, making->source, making->progress, fd, err);
    if (r < 0)
        return sfs_fail_while(err, r, "cache directory %s", sfs_store_dir(making->store));
    if (r == 0)
        return 0;
    r = sfs_store_commit_file(making->store, SFS_STORE_INDEX, making->source->key,
                              &making->index_file, err);
    return r < 0 ? r : 1;
}

int sfs_tar_index_make(struct sfs_store *store, struct sfs_blob *blob,
                       const struct sfs_layer_source *source, const struct sfs_progress *progress,
                       struct sfs_error *err)
{
    AUTO(close_making)
    struct making making = { .store = store,
                             .source = source,
                             .blob = blob,
                             .progress = progress,
                             .index_file = { .fd = -1, .dirfd = -1 },
                             .copy_file = { .fd = -1, .dirfd = -1 } };
    char what[96];
    snprintf(what, sizeof what, "indexing %.19s", source->key);
    /* This comes first, so that a cache that cannot be written to costs no time. */
    int r = sfs_store_start_file(store, SFS_STORE_INDEX, &making.index_file, err);
    if (r == 0)
        r = write_toc_index(&making, err);
    if (r > 0)
        return 0;
    if (r == 0 && sfs_codec_get(source->codec)->may_be_copied)
        r = sfs_store_start_file(store, SFS_STORE_COPY, &making.copy_file, err);
    if (r < 0)
        return r;
    struct sfs_unpack_options options = {
        .codec = source->codec, .copy_fd = making.copy_file.fd, .progress = progress, .what = what
    };
    making.builder = sfs_builder_open();
    if (!making.builder)
        return sfs_fail_memory(err);
    int file = sfs_blob_file(blob);
    struct sfs_file_id id;
    bool is_file = file >= 0 && sfs_file_identify(file, &id) == 0;
    r = sfs_unpack_open(blob, &options, &making.unpack, err);
    if (r < 0)
        return sfs_fail_while(err, r, "%s", source->label);
    sfs_blob_judge(blob, SFS_VERDICT_BEGINS);
    r = read_blob(&making, err);
    bool again = sfs_blob_judge(blob, r == 0               ? SFS_VERDICT_HOLDS
                                      : r == -EKEYREJECTED ? SFS_VERDICT_WRONG
                                                           : SFS_VERDICT_NONE);
    if (again)
        return -EAGAIN;
    if (r == 0)
        r = write_files(&making, err);
    if (r == 0 && is_file && source->has_digest)
        sfs_verified_note(store, file, &id, &source->digest);
    return r;
}
