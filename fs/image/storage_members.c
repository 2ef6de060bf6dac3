/* Documents and layers of an image in a store, as named files. */
#include "image/storage.h"

#include "base/buf.h"
#include "layer/dir_scan.h"
#include "layer/tar_split.h"
#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stagefs/format.h>

struct storage_members {
    struct sfs_members base;
    struct sfs_storage storage;
};

/* ---- layers ---- */

int sfs_storage_open_files(const struct sfs_storage *storage, const struct sfs_storage_layer *layer,
                           int *ret_fd, char **ret_path, struct sfs_error *err)
{
    const struct sfs_storage_root *root = &storage->roots[layer->root];
    bool is_overlay = strcmp(root->driver, "overlay") == 0;
    AUTO(sfs_free)
    char *name = sfs_format(is_overlay ? "overlay/%s/diff" : "vfs/dir/%s", layer->id);
    AUTO(sfs_free) char *path = name ? sfs_format("%s/%s", root->path, name) : NULL;
    if (!path)
        return sfs_fail_memory(err);
    int fd = sfs_dir_open_below(root->fd, name, O_RDONLY | O_DIRECTORY);
    if (fd == -ELOOP || fd == -ENOTDIR)
        return sfs_fail(err, EBADMSG, "%s is no directory (links are not followed in a store)",
                        path);
    if (fd < 0)
        return sfs_fail_errno(err, -fd, "%s", path);
    *ret_fd = fd;
    *ret_path = TAKE(path);
    return 0;
}

static int open_split(const struct sfs_storage *storage, const struct sfs_storage_layer *layer,
                      struct sfs_blob **ret_blob, struct sfs_error *err)
{
    const struct sfs_storage_root *root = &storage->roots[layer->root];
    AUTO(sfs_free) char *name = sfs_format("%s-layers/%s.tar-split.gz", root->driver, layer->id);
    return name ? sfs_members_open(root->files, name, ret_blob, err) : sfs_fail_memory(err);
}

bool sfs_storage_has_split(const struct sfs_storage *storage, const struct sfs_storage_layer *layer)
{
    AUTO(sfs_blob_close) struct sfs_blob *blob = NULL;
    return open_split(storage, layer, &blob, NULL) == 0;
}

static int open_layer(const struct sfs_storage *storage, const struct sfs_storage_layer *layer,
                      struct sfs_blob **ret_blob, struct sfs_error *err)
{
    AUTO(sfs_blob_close) struct sfs_blob *split = NULL;
    AUTO(sfs_close_fd) int fd = -1;
    AUTO(sfs_free) char *path = NULL;
    int r = open_split(storage, layer, &split, err);
    if (r == 0)
        r = sfs_storage_open_files(storage, layer, &fd, &path, err);
    return r < 0 ? r : sfs_tar_split_open(&split, &fd, path, layer->size, ret_blob, err);
}

/* ---- documents ---- */

/* A document's file is named by its key in base64, with a '=' in front where the key is more than
 * small letters and digits. */
static int open_document(const struct sfs_storage *storage, const struct sfs_digest *digest,
                         struct sfs_blob **ret_blob, struct sfs_error *err)
{
    const struct sfs_storage_root *root = &storage->roots[storage->root];
    char key[SFS_DIGEST_TEXT], name[2 * SFS_DIGEST_TEXT] = "manifest";
    sfs_digest_print(digest, key);
    if (!sfs_digest_equal(digest, &storage->manifest)) {
        name[0] = '=';
        EVP_EncodeBlock((unsigned char *)name + 1, (const unsigned char *)key, (int)strlen(key));
    }
    AUTO(sfs_free) char *path = sfs_format("%s-images/%s/%s", root->driver, storage->id, name);
    return path ? sfs_members_open(root->files, path, ret_blob, err) : sfs_fail_memory(err);
}

static int storage_open(struct sfs_members *members, const char *name, struct sfs_blob **ret_blob,
                        struct sfs_error *err)
{
    const struct sfs_storage *storage = &((struct storage_members *)members)->storage;
    struct sfs_digest digest;
    AUTO(sfs_free) char *text = NULL;
    if (strncmp(name, SFS_STORAGE_LAYER, sizeof SFS_STORAGE_LAYER - 1) == 0) {
        size_t i = strtoul(name + sizeof SFS_STORAGE_LAYER - 1, NULL, 10);
        if (i < storage->layer_count)
            return open_layer(storage, &storage->layers[i], ret_blob, err);
    }
    if (strncmp(name, "blobs/sha256/", 13) != 0)
        return sfs_fail(err, ENOENT, "%s/%s is not there", members->label, name);
    text = sfs_format("sha256:%s", name + 13);
    if (!text)
        return sfs_fail_memory(err);
    int r = sfs_digest_parse(text, &digest, err);
    for (size_t i = 0; r == 0 && i < storage->layer_count; i++)
        if (storage->layers[i].has_diff_id &&
            sfs_digest_equal(&storage->layers[i].diff_id, &digest))
            return open_layer(storage, &storage->layers[i], ret_blob, err);
    return r < 0 ? r : open_document(storage, &digest, ret_blob, err);
}

static void storage_close(struct sfs_members *members)
{
    sfs_storage_done(&((struct storage_members *)members)->storage);
}

static const struct sfs_members_ops storage_ops = { .open = storage_open, .close = storage_close };

int sfs_storage_open_members(struct sfs_storage *storage, struct sfs_members **ret_members,
                             struct sfs_error *err)
{
    struct storage_members *made = calloc(1, sizeof *made);
    if (!made)
        return sfs_fail_memory(err);
    made->base = (struct sfs_members){ .ops = &storage_ops,
                                       .label = strdup(storage->roots[storage->root].path) };
    made->storage = *storage;
    *storage = (struct sfs_storage){ 0 };
    AUTO(sfs_members_close) struct sfs_members *members = &made->base;
    if (!members->label)
        return sfs_fail_memory(err);
    *ret_members = TAKE(members);
    return 0;
}

const struct sfs_storage *sfs_storage_of(const struct sfs_members *members)
{
    return &((const struct storage_members *)members)->storage;
}
