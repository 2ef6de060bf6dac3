/* A store and a cache in a fresh directory, and layers of blobs made there, for tests. */
#ifndef LAYER_FIXTURE_H
#define LAYER_FIXTURE_H

#include "layer/layer.h"
#include "tables_text.h"
#include "tar_bytes.h"
#include <criterion/criterion.h>
#include <fcntl.h>
#include <sys/stat.h>

static char fixture_dir[64];
static struct sfs_store *store;
static struct sfs_cache *cache;
static struct sfs_error err;

static inline void fixture_open(void)
{
    char path[96];
    snprintf(fixture_dir, sizeof fixture_dir, "/tmp/stagefs-test-layer-XXXXXX");
    cr_assert_not_null(mkdtemp(fixture_dir));
    snprintf(path, sizeof path, "%s/cache", fixture_dir);
    cr_assert_eq(sfs_store_open(path, &store, &err), 0, "%s", err.text);
    cr_assert_eq(sfs_cache_open(32 << 20, 2, &cache, &err), 0, "%s", err.text);
}

static inline void fixture_close(void)
{
    char command[128];
    sfs_cache_close(&cache);
    sfs_store_close(&store);
    snprintf(command, sizeof command, "rm -rf %s", fixture_dir);
    cr_assert_eq(system(command), 0);
}

static inline struct sfs_blob *fixture_blob(const void *data, size_t size)
{
    char path[96];
    struct sfs_blob *blob = NULL;
    snprintf(path, sizeof path, "%s/blob", fixture_dir);
    unlink(path);
    AUTO(sfs_close_fd) int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    cr_assert_eq(sfs_io_write_all(fd, data, size), 0);
    cr_assert_eq(sfs_blob_open_file(&fd, path, 0, UINT64_MAX, &blob, &err), 0, "%s", err.text);
    return blob;
}

/* A source whose digest is the data's. */
static inline struct sfs_layer_source fixture_source(const void *data, size_t size, char text[72])
{
    struct sfs_layer_source source = { .codec = SFS_CODEC_NONE, .has_digest = true, .size = size };
    cr_assert_eq(sfs_digest_of(data, size, &source.digest), 0);
    source.key = source.label = sfs_digest_print(&source.digest, text);
    return source;
}

static inline int fixture_try(const void *data, size_t size, struct sfs_layer **ret_layer)
{
    char text[SFS_DIGEST_TEXT];
    struct sfs_layer_source source = fixture_source(data, size, text);
    AUTO(sfs_blob_close) struct sfs_blob *blob = fixture_blob(data, size);
    return sfs_layer_open_tar(store, cache, &blob, &source, NULL, ret_layer, &err);
}

/* The layer of a tar's bytes. */
static inline struct sfs_layer *fixture_layer(const struct sfs_buf *tar)
{
    struct sfs_layer *layer = NULL;
    cr_assert_eq(fixture_try(tar->data, tar->size, &layer), 0, "%s", err.text);
    cr_assert_not_null(layer);
    return layer;
}

static inline sfs_entry fixture_find(const struct sfs_layer *layer, const char *path)
{
    sfs_entry entry = 0;
    while (*path) {
        size_t size = strcspn(path, "/");
        cr_assert_eq(sfs_tables_find(&layer->tables, entry, path, size, &entry), 0, "%s is missing",
                     path);
        path += size + (path[size] == '/');
    }
    return entry;
}

static inline const struct sfs_inode_rec *fixture_inode(const struct sfs_layer *layer,
                                                        const char *path)
{
    return &layer->tables.inodes[layer->tables.entries[fixture_find(layer, path)].inode];
}

/* Reads a whole file by pins; the caller frees. */
static inline char *fixture_read(struct sfs_layer *layer, sfs_inode inode)
{
    uint64_t size = layer->tables.inodes[inode].size;
    char *data = malloc(size + 1);
    for (uint64_t at = 0; at < size;) {
        struct sfs_slice slice = { 0 };
        int r = sfs_layer_pin(layer, inode, at, 100000, &slice, &err);
        cr_assert_eq(r, 0, "%s", err.text);
        cr_assert_gt(slice.size, 0);
        cr_assert_leq(slice.size, size - at);
        memcpy(data + at, slice.data, slice.size);
        at += slice.size;
        sfs_slice_release(&slice);
    }
    data[size] = 0;
    return data;
}

static inline void fixture_expect_bytes(struct sfs_layer *layer, const char *path, const void *data,
                                        size_t size)
{
    const struct sfs_inode_rec *inode = fixture_inode(layer, path);
    cr_assert_eq(inode->size, size, "%s has %llu bytes", path, (unsigned long long)inode->size);
    AUTO(sfs_free) char *actual = fixture_read(layer, (sfs_inode)(inode - layer->tables.inodes));
    cr_assert_eq(memcmp(actual, data, size), 0, "%s has other bytes", path);
}

static inline void fixture_expect(const struct sfs_layer *layer, const char *text)
{
    AUTO(sfs_free) char *actual = tables_text(&layer->tables);
    cr_assert_str_eq(actual, text);
}

static inline const struct sfs_xattr_rec *fixture_xattr(const struct sfs_layer *layer,
                                                        const char *path, const char *name)
{
    const struct sfs_inode_rec *inode = fixture_inode(layer, path);
    for (uint32_t i = 0; i < inode->xattr_count; i++) {
        const struct sfs_xattr_rec *xattr = &layer->tables.xattrs[inode->xattrs + i];
        if (strcmp(layer->tables.strings + xattr->name, name) == 0)
            return xattr;
    }
    return NULL;
}

static inline void fixture_expect_xattr(const struct sfs_layer *layer, const char *path,
                                        const char *name, const void *value, size_t size)
{
    const struct sfs_xattr_rec *xattr = fixture_xattr(layer, path, name);
    cr_assert_not_null(xattr, "%s is missing", name);
    cr_assert_eq(xattr->value_size, size);
    cr_assert_eq(memcmp(layer->tables.strings + xattr->value, value, size), 0);
}

#endif
