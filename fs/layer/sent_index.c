/* Unpacking, keeping and opening indexes from elsewhere. */
#include "layer/sent_index.h"

#include "base/limits.h"
#include <zstd.h>

static int unpack(const void *head, size_t size, char **ret_data, size_t *ret_size,
                  struct sfs_error *err)
{
    unsigned long long whole = ZSTD_getFrameContentSize(head, size);
    if (whole == ZSTD_CONTENTSIZE_UNKNOWN || whole == ZSTD_CONTENTSIZE_ERROR)
        return sfs_fail(err, EBADMSG, "it is no zstd frame that says its size");
    if (whole > SFS_MAX_SENT_INDEX)
        return sfs_fail(err, E2BIG, "it is larger than %llu bytes", SFS_MAX_SENT_INDEX);
    AUTO(sfs_free) char *data = malloc((size_t)whole + 1);
    if (!data)
        return sfs_fail_memory(err);
    size_t done = ZSTD_decompress(data, (size_t)whole, head, size);
    if (ZSTD_isError(done) || done != whole)
        return sfs_fail(err, EBADMSG, "it is damaged");
    *ret_data = TAKE(data);
    *ret_size = done;
    return 0;
}

int sfs_sent_index_keep(struct sfs_store *store, const char *key, const void *head, size_t size,
                        struct sfs_error *err)
{
    AUTO(sfs_io_temp_close) struct sfs_io_temp temp = { .fd = -1, .dirfd = -1 };
    AUTO(sfs_free) char *data = NULL;
    size_t whole = 0;
    int r = unpack(head, size, &data, &whole, err);
    if (r == 0)
        r = sfs_store_start_file(store, SFS_STORE_INDEX, &temp, err);
    if (r < 0)
        return r;
    r = sfs_io_write_all(temp.fd, data, whole);
    if (r < 0)
        return sfs_fail_errno(err, -r, "cache directory %s", sfs_store_dir(store));
    return sfs_store_commit_file(store, SFS_STORE_INDEX, key, &temp, err);
}

/* Is it of the layer that the source is? What the index says of itself is no proof, but another
 * layer's is found out at once. */
static bool is_of(const struct sfs_index *index, const struct sfs_layer_source *source)
{
    return index->codec == source->codec && index->blob_size == source->size &&
           source->has_digest && sfs_digest_equal(&index->digest, &source->digest) &&
           (!source->has_diff_id || sfs_digest_equal(&index->diff_id, &source->diff_id));
}

int sfs_sent_index_open(struct sfs_store *store, const char *key,
                        const struct sfs_layer_source *source, struct sfs_index *ret_index,
                        struct sfs_error *err)
{
    AUTO(sfs_close_fd) int fd = -1;
    AUTO(sfs_index_close) struct sfs_index index = { .fd = -1 };
    int r = sfs_store_open_file(store, SFS_STORE_INDEX, key, &fd, err);
    if (r == 0)
        r = sfs_index_open_sent(&fd, &index, err);
    if (r == 0 && !is_of(&index, source))
        r = sfs_fail(err, EBADMSG, "it is of another layer");
    if (r < 0)
        return r;
    *ret_index = index;
    index = (struct sfs_index){ .fd = -1 };
    return 0;
}
