/* A layer: names and metadata (tables) and where file bytes come from (a vtable). Immutable once
 * open, so any thread may use it without a lock. Pointers into the tables live until
 * sfs_layer_close().
 *
 * Kinds: indexed tar (layer_tar.c), directory (layer_dir.c), COPY out of another tree
 * (copy/copy.c). */
#ifndef STAGEFS_LAYER_H
#define STAGEFS_LAYER_H

#include "blob/spans.h"
#include "layer/tables.h"
#include <stagefs/digest.h>
#include <stagefs/progress.h>

struct json_t; /* jansson */
struct sfs_layer;

struct sfs_layer_ops {
    /* Lends 1..size bytes of regular file `inode` at offset (< its size). May wait for disk and
     * decoder. */
    int (*pin)(struct sfs_layer *layer, sfs_inode inode, uint64_t offset, size_t size,
               struct sfs_slice *ret_slice, struct sfs_error *err);
    /* Hint, as sfs_spans_prefetch(); may be NULL. */
    bool (*prefetch)(struct sfs_layer *layer, sfs_inode inode, uint64_t offset, uint64_t size,
                     enum sfs_pool_priority priority);
    /* A reader read this; as sfs_spans_follow(). May be NULL. */
    void (*follow)(struct sfs_layer *layer, sfs_inode inode, uint64_t offset, uint64_t size);
    void (*close)(
        struct sfs_layer *layer); /* frees what the implementation owns, not the struct's base */
    /* See sfs_layer_locate(); NULL: the bytes lie in the layer itself, by its extents. */
    void (*locate)(struct sfs_layer *layer, sfs_inode inode, uint64_t offset,
                   const struct sfs_layer **ret_layer, uint64_t *ret_position);
    /* See sfs_tree_content_name(); NULL: no file has one. */
    int (*content_name)(struct sfs_layer *layer, sfs_inode inode, char ret_name[SFS_CONTENT_NAME]);
    /* See sfs_layer_identify(); NULL: it is not known. */
    bool (*identify)(const struct sfs_layer *layer, struct sfs_digest *ret_digest);
    /* See sfs_tree_find_spans(); NULL: no file is in frames. */
    struct sfs_spans *(*find_spans)(struct sfs_layer *layer, sfs_inode inode, uint64_t offset,
                                    uint64_t *ret_position, uint64_t *ret_size);
};

struct sfs_layer { /* base of every kind: embed as first member */
    const struct sfs_layer_ops *ops;
    struct sfs_tables tables;
    void *memory; /* sfs_tables_close()d, or NULL if the tables are mapped */
    char *label;  /* "layer 3 (sha256:0123456789ab)": for messages and for du --layers; owned */
};

void sfs_layer_close(struct sfs_layer **layer);
int sfs_layer_pin(struct sfs_layer *layer, sfs_inode inode, uint64_t offset, size_t size,
                  struct sfs_slice *ret_slice, struct sfs_error *err);
/* Where the bytes at an offset lie, for bringing reads into the order of the blobs: in which layer,
 * and how far into its decoded bytes. An estimate where there is a hole. */
void sfs_layer_locate(struct sfs_layer *layer, sfs_inode inode, uint64_t offset,
                      const struct sfs_layer **ret_layer, uint64_t *ret_position);
int sfs_layer_content_name(struct sfs_layer *layer, sfs_inode inode,
                           char ret_name[SFS_CONTENT_NAME]);
/* A digest of what the layer is, the same wherever the same tar is opened. No I/O. False: none is
 * known, as for directories, whose contents nobody has read. */
bool sfs_layer_identify(const struct sfs_layer *layer, struct sfs_digest *ret_digest);
struct sfs_spans *sfs_layer_find_spans(struct sfs_layer *layer, sfs_inode inode, uint64_t offset,
                                       uint64_t *ret_position, uint64_t *ret_size);
bool sfs_layer_prefetch(struct sfs_layer *layer, sfs_inode inode, uint64_t offset, uint64_t size,
                        enum sfs_pool_priority priority);
void sfs_layer_follow(struct sfs_layer *layer, sfs_inode inode, uint64_t offset, uint64_t size);

/* What is known of a layer blob before it is read. */
struct sfs_layer_source {
    const char *key; /* name of its index in the store: the blob's digest "sha256:HEX", or another
                        unique key */
    enum sfs_codec codec; /* what the media type says; for archives that do not say, the bytes */
    bool has_digest;      /* digest is the blob's, to be verified while indexing */
    struct sfs_digest digest;
    uint64_t size;    /* bytes that the blob should have, for messages; 0: unknown */
    bool has_diff_id; /* diff_id from the config, to be verified while indexing */
    struct sfs_digest diff_id;
    const char *label;
    const struct json_t *annotations; /* of the layer's descriptor, or NULL: they vouch for a table
                                         of contents that the blob may hold */
};

/* Opens the layer from its index in the store, building that first if it is not there (or is
 * damaged, or of another version): from the blob's table of contents if the annotations vouch for
 * one (then digest and diff_id are not verified, and each chunk is as it is read), else by a pass
 * over the blob. Takes over *blob on success. `cache` may be NULL if no file bytes will be read.
 * EKEYREJECTED: blob does not match its digest or diff_id (nothing is kept). EBADMSG: not a tar
 * that can be shown. */
int sfs_layer_open_tar(struct sfs_store *store, struct sfs_cache *cache, struct sfs_blob **blob,
                       const struct sfs_layer_source *source, const struct sfs_progress *progress,
                       struct sfs_layer **ret_layer, struct sfs_error *err);

enum sfs_layer_dir_flags {
    /* Read overlayfs's marks: 0/0 character devices are whiteouts, trusted.overlay.opaque=y, and
     * those xattrs are not shown. */
    SFS_LAYER_DIR_OVERLAY = 1 << 0,
    /* Sockets are empty regular files of their mode, as in BuildKit's contexts. */
    SFS_LAYER_DIR_STUBS = 1 << 1,
};
/* A directory tree as one layer: all that it shows, what is mounted inside too, but the file
 * systems in which the kernel shows itself (proc, sysfs, cgroup, ...) and, without STUBS, sockets.
 * Does not follow links. */
int sfs_layer_open_dir(const char *path, unsigned flags, const char *label,
                       struct sfs_layer **ret_layer, struct sfs_error *err);
/* What was left out of it, in words, or NULL. Lives as long as the layer. */
const char *sfs_layer_dir_left_out(const struct sfs_layer *layer);

/* A layer in memory from a finished builder, whose ops and source numbers the caller defines.
 * For COPY (copy/copy_layer.c) and for tests. `ops` NULL: its regular files must be empty. */
int sfs_layer_open_built(struct sfs_builder *builder, const char *label,
                         struct sfs_layer **ret_layer, struct sfs_error *err);

#endif
