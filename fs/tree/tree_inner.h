/* What the library does with trees and programs do not (stagefs/tree.h has the rest): making them
 * of layers, and lending, finding and fetching file bytes. Any thread may call. */
#ifndef STAGEFS_TREE_INNER_H
#define STAGEFS_TREE_INNER_H

#include <stagefs/tree.h>

struct sfs_buf;
struct sfs_slice;
struct sfs_spans;

/* Merges layers, layers[0] lowest, to what extracting them one after the other gives (fs/tree/
 * stack.h has the rules). Borrows the layers (not the array) until close. count 0: an empty root.
 * No I/O but on mapped indexes. EBADMSG: a visible hard link leads nowhere, or to a directory.
 * E2BIG. */
int sfs_tree_merge(struct sfs_layer *const *layers, size_t count, struct sfs_tree **ret_tree,
                   struct sfs_error *err);
/* Frees the tree, not its layers, and sets NULL; NULL is fine. */
void sfs_tree_close(struct sfs_tree **tree);

/* The layers that were merged, lowest first: sfs_tree_layers() of them. The array lives as long as
 * the tree. */
struct sfs_layer *const *sfs_tree_layer_array(const struct sfs_tree *tree);

/* Finds the child of a directory by name ("." and ".." are none). ENOENT: there is none. ENOTDIR:
 * dir is no directory. */
int sfs_tree_find(const struct sfs_tree *tree, sfs_node dir, const char *name, size_t name_size,
                  sfs_node *ret_node);

/* The same, for who wants the name itself: it stands in the array of sfs_tree_list(tree, dir). */
int sfs_tree_find_name(const struct sfs_tree *tree, sfs_node dir, const char *name,
                       size_t name_size, const struct sfs_dirent **ret_name);

/* Resolves a path as sfs_tree_resolve() does, from `dir` on, and calls `pass` for each name on the
 * way, the last one included: directories, and symlinks before they are followed. The names that
 * were passed before a failure were passed, too. */
int sfs_tree_resolve_from(const struct sfs_tree *tree, sfs_node dir, const char *path,
                          unsigned flags, void (*pass)(void *user, const struct sfs_dirent *name),
                          void *user, sfs_node *ret_node, struct sfs_error *err);

/* Adds the path of a directory: "/opt/conda"; nothing for the root. 0 or -ENOMEM. */
int sfs_tree_dir_path(const struct sfs_tree *tree, sfs_node dir, struct sfs_buf *path);

/* Reads a regular file without a copy: lends 1..size bytes at `offset`, until sfs_slice_release().
 * May wait. EINVAL: size is 0, or offset is not inside the file. EIO: the bytes cannot be read. */
int sfs_tree_pin(const struct sfs_tree *tree, sfs_node node, uint64_t offset, size_t size,
                 struct sfs_slice *ret_slice, struct sfs_error *err);

/* Reads a small regular file whole, following links to it; NUL-terminated, and the caller frees it.
 * *ret_text NULL: there is no such file, or it has more than `max` bytes. May wait. */
int sfs_tree_read_text(const struct sfs_tree *tree, const char *path, size_t max, char **ret_text,
                       struct sfs_error *err);

/* A hint that bytes will be read soon; priority as in base/pool.h (0 demand, 1 ahead, 2
 * background). Does not wait. False: some of them do not fit into the memory cache now: ask
 * again. */
bool sfs_tree_prefetch(const struct sfs_tree *tree, sfs_node node, uint64_t offset, uint64_t size,
                       int priority);

/* Finds out whether a node is what its layer says of it, as sfs_layer_confirm() has it: to be asked
 * before a symlink's target is used. May wait. EIO: it is not. */
int sfs_tree_confirm(const struct sfs_tree *tree, sfs_node node, struct sfs_error *err);

/* A hint that a reader has read this range and will go on. sfs_tree_read() gives it by itself,
 * sfs_tree_pin() does not. Does not wait. */
void sfs_tree_follow(const struct sfs_tree *tree, sfs_node node, uint64_t offset, uint64_t size);

/* Where the bytes of a regular file lie: an opaque mark of the blob, and how far into its decoded
 * bytes. For reading many files in the order of the blobs; of a hole it is only an estimate. */
void sfs_tree_locate(const struct sfs_tree *tree, sfs_node node, uint64_t offset,
                     const void **ret_blob, uint64_t *ret_position);

/* How many bytes of a regular file are holes where it comes from, as sfs_layer_source_holes() has
 * it. */
uint64_t sfs_tree_source_holes(const struct sfs_tree *tree, sfs_node node);

/* A name for the bytes of a regular file, the same whenever they are the same bytes of the same
 * blob, in whatever mount: "sha256:HEX.HEX", the blob and a digest of where in it they lie. ENOENT:
 * there is none (a file in a directory may change; a file with holes). ENOMEM. */
int sfs_tree_content_name(const struct sfs_tree *tree, sfs_node node,
                          char ret_name[SFS_CONTENT_NAME]);

/* Where the bytes at an offset of a regular file are, if that is a blob: from decoded byte
 * *ret_position on, *ret_size of them in a row. NULL: a hole, or no blob. */
struct sfs_spans *sfs_tree_find_spans(const struct sfs_tree *tree, sfs_node node, uint64_t offset,
                                      uint64_t *ret_position, uint64_t *ret_size);

#endif
