/* Layers and trees from a few words, for tests. Every function asserts that it succeeds.
 *
 * A word makes one name. In front of the path, in any order, each followed by a blank:
 *   0644        permission bits (else: directory 0755, file 0644, symlink 0777)
 *   10:20       owner (else 0:0)
 *   @123        mtime in seconds (else 0), @123.5 with nanoseconds
 *   +user.a=b   an extended attribute
 *   fifo        a FIFO;  c5,1  b8,0  devices
 * Then the path, by its form:
 *   "opt/"           a directory
 *   "opt/a=hello"    a file that holds "hello"
 *   "opt/a#4096"     a file of 4096 bytes, all of them holes but the last
 *   "opt/l -> a"     a symlink
 *   "opt/h == opt/a" a hard link
 *   "-opt/x"         a whiteout;  "!opt/"  an opaque directory */
#ifndef STAGEFS_TESTS_SUPPORT_H
#define STAGEFS_TESTS_SUPPORT_H

#include "layer/layer.h"
#include <stagefs/tree.h>

struct sfs_layer *support_layer_of(const char *const *words);
#define support_layer(...) support_layer_of((const char *const[]){ __VA_ARGS__, NULL })

/* A tree of one layer, which lives as long as the test. */
struct sfs_tree *support_tree_of(const char *const *words);
#define support_tree(...) support_tree_of((const char *const[]){ __VA_ARGS__, NULL })

/* A tree of a tree's layers with one more on top (which may be NULL). */
struct sfs_tree *support_stack(const struct sfs_tree *below, struct sfs_layer *layer);

enum support_list_flags {
    SUPPORT_MTIME = 1 << 0,
    SUPPORT_XATTRS = 1 << 1,
};
/* All names but the root's, one a line, in order, as
 *   "d 0755 0:0 opt/", "f 0644 0:0 opt/a=hello", "l 0777 0:0 opt/l -> a", "h opt/h == opt/a",
 *   "p 0644 0:0 opt/fifo", "c 0600 0:0 dev/x 5,1";
 * with flags " @123" and " +user.a=b" behind. The caller frees. */
char *support_list(const struct sfs_tree *tree, unsigned flags);

/* Compares a listing with lines, showing both if they differ. */
void support_expect_of(const struct sfs_tree *tree, unsigned flags, const char *const *lines);
#define support_expect(tree, flags, ...)                                                           \
    support_expect_of(tree, flags, (const char *const[]){ __VA_ARGS__, NULL })

/* The path of a file or folder of the test vectors: in tests/data/, or in the folder that the
 * environment's SFS_VECTORS names. */
void support_vectors(const char *name, char path[4096]);

/* How many of the places of a loop over "any damage" lie between two that are tried: 1, or what
 * SUPPORT_STEP says where each try costs more (meson.build). */
unsigned support_step(void);

/* A progress that keeps the last warning. */
struct support_warnings {
    struct sfs_progress progress;
    unsigned count;
    char last[1024];
};
void support_warnings_init(struct support_warnings *warnings);

#endif
