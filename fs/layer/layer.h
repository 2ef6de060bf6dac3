/* A layer: names and metadata (tables) and where file bytes come from (a vtable). Immutable once
 * open, so any thread may use it without a lock. Pointers into the tables live until
 * sfs_layer_close().
 *
 * Kinds: indexed tar (layer_tar.c), directory (layer_dir.c), texts in memory (layer_text.c), files
 * of a tree (tree/tree_layer.c: what COPY takes out of another tree, and what slim/ leaves). */
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
    /* A hint, as sfs_spans_prefetch(); may be NULL. */
    bool (*prefetch)(struct sfs_layer *layer, sfs_inode inode, uint64_t offset, uint64_t size,
                     enum sfs_pool_priority priority);
    /* Tells that a reader read this range, as sfs_spans_follow(). May be NULL. */
    void (*follow)(struct sfs_layer *layer, sfs_inode inode, uint64_t offset, uint64_t size);
    /* Frees what the implementation owns, but not what struct sfs_layer itself owns. */
    void (*close)(struct sfs_layer *layer);
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
    /* See sfs_layer_confirm(); NULL: what the tables say is so. */
    int (*confirm)(struct sfs_layer *layer, sfs_inode inode, struct sfs_error *err);
    /* See sfs_layer_source_holes(); NULL: all holes were there. */
    uint64_t (*source_holes)(const struct sfs_layer *layer, sfs_inode inode);
};

/* The base of every kind: embed it as the first member. */
struct sfs_layer {
    const struct sfs_layer_ops *ops;
    struct sfs_tables tables;
    void *memory; /* what the tables lie in, for sfs_tables_close(); NULL: they are mapped */
    char *label;  /* "layer 3 (sha256:0123456789ab)": for messages and for du --layers; owned */
};

/* Frees, and sets NULL; NULL is fine. All slices must have been given back. */
void sfs_layer_close(struct sfs_layer **layer);
/* Lends 1..size bytes of a regular file at `offset`, which is below its size, until the slice is
 * released. May wait for disk and decoder. EIO: they cannot be read. */
int sfs_layer_pin(struct sfs_layer *layer, sfs_inode inode, uint64_t offset, size_t size,
                  struct sfs_slice *ret_slice, struct sfs_error *err);
/* Lends up to `size` bytes of a hole: zeros that need no release. For implementations of pin. */
void sfs_layer_lend_hole(size_t size, struct sfs_slice *ret_slice);
/* Where the bytes at an offset of a regular file lie: in which layer, and how far into its decoded
 * bytes. For putting reads into the order of the blobs; of a hole it is only an estimate. */
void sfs_layer_locate(struct sfs_layer *layer, sfs_inode inode, uint64_t offset,
                      const struct sfs_layer **ret_layer, uint64_t *ret_position);
/* A name for the bytes of a regular file, as sfs_tree_content_name() has it. -ENOENT: there is
 * none. */
int sfs_layer_content_name(struct sfs_layer *layer, sfs_inode inode,
                           char ret_name[SFS_CONTENT_NAME]);
/* A digest of what the layer holds, the same wherever the same tar is opened. No I/O. False: none
 * is known, as for directories, whose contents nobody has read. */
bool sfs_layer_identify(const struct sfs_layer *layer, struct sfs_digest *ret_digest);
/* Finds out whether an inode is what the tables say, where that is still open: names, attributes
 * and targets out of an index that somebody else made are compared with the layer when they are
 * wanted. (pin() does so by itself.) May wait for the network. EIO: they are not. */
int sfs_layer_confirm(struct sfs_layer *layer, sfs_inode inode, struct sfs_error *err);
/* Where the bytes at an offset of a regular file are, as sfs_tree_find_spans() has it. NULL: in no
 * blob. */
struct sfs_spans *sfs_layer_find_spans(struct sfs_layer *layer, sfs_inode inode, uint64_t offset,
                                       uint64_t *ret_position, uint64_t *ret_size);
/* How many bytes of a regular file are holes where it comes from: not those that were made since,
 * out of bytes that are not wanted. */
uint64_t sfs_layer_source_holes(const struct sfs_layer *layer, sfs_inode inode);
/* Has a range of a regular file decoded in the background. Does not wait. False: some of it was not
 * begun, since the budget is spent: ask again. */
bool sfs_layer_prefetch(struct sfs_layer *layer, sfs_inode inode, uint64_t offset, uint64_t size,
                        enum sfs_pool_priority priority);
/* Tells that a reader has read this range of a regular file, and will go on. Does not wait. */
void sfs_layer_follow(struct sfs_layer *layer, sfs_inode inode, uint64_t offset, uint64_t size);

/* What is known of a layer blob before it is read. */
struct sfs_layer_source {
    /* The name of its index in the store: the blob's digest "sha256:HEX", or another unique key. */
    const char *key;
    enum sfs_codec codec;      /* as the media type says or, where none says, the first bytes */
    bool has_digest;           /* digest is set: it is verified while indexing */
    struct sfs_digest digest;  /* of the blob */
    uint64_t size;             /* bytes that the blob should have, for messages; 0: unknown */
    bool has_diff_id;          /* diff_id is set: it is verified while indexing */
    struct sfs_digest diff_id; /* of the tar inside, from the config */
    const char *label;         /* what messages call the layer */
    /* Of the layer's descriptor, or NULL: they may vouch for a table of contents in the blob. */
    const struct json_t *annotations;
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

/* The same, if the store has its index; the blob is not read. ENOENT: it has none. */
int sfs_layer_open_indexed(struct sfs_store *store, struct sfs_cache *cache, struct sfs_blob **blob,
                           const struct sfs_layer_source *source, struct sfs_layer **ret_layer,
                           struct sfs_error *err);

/* An index of a layer that another machine made, in the store (sent_index.h). */
struct sfs_layer_sent {
    const char *key; /* of it in the store */
    /* The image's manifest vouches for it, so it is as good as one that was made here. Else its
     * names are compared with the layer's headers as they are used. */
    bool is_vouched;
    struct sfs_blob *windows; /* of it; NULL: it has none. Taken over on success */
};
/* Opens the layer by such an index. Takes over *blob on success. ENOENT: the store has none of that
 * key. EBADMSG: it is none of this layer. Else as sfs_layer_open_tar(). */
int sfs_layer_open_sent(struct sfs_store *store, struct sfs_cache *cache, struct sfs_blob **blob,
                        const struct sfs_layer_source *source, struct sfs_layer_sent *sent,
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
const char *sfs_layer_dir_left_out(const struct sfs_layer *base);

/* Makes a layer in memory of what is in the builder, which can then only be closed. Its regular
 * files must be empty or holes alone: there are no bytes. */
int sfs_layer_open_built(struct sfs_builder *builder, const char *label,
                         struct sfs_layer **ret_layer, struct sfs_error *err);

#endif
