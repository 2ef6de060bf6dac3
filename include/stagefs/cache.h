/* The two caches. In memory (struct sfs_cache): decoded spans, decoders and prefetch under one
 * budget, with the worker threads that fill it. On disk (struct sfs_store): layer indexes and
 * seekable copies. Both thread-safe; both outlive everything opened with them. */
#ifndef STAGEFS_CACHE_H
#define STAGEFS_CACHE_H

#include <stagefs/digest.h>
#include <stagefs/error.h>
#include <stdbool.h>
#include <stdint.h>

struct sfs_cache;
#define SFS_CACHE_DEFAULT (256ull << 20)

/* CPUs that this process may use. */
unsigned sfs_cpus(void);

/* budget 0: SFS_CACHE_DEFAULT bytes. threads 0: one a CPU. */
int sfs_cache_open(uint64_t budget, unsigned threads, struct sfs_cache **ret_cache,
                   struct sfs_error *err);
/* Waits for the worker threads and frees; sets NULL. What was opened with it is closed before. */
void sfs_cache_close(struct sfs_cache **cache);

struct sfs_cache_stats {
    uint64_t budget, used;        /* bytes */
    uint64_t hits, misses, waits; /* span requests: ready; started a decode; waited for another's */
    uint64_t demand_in, demand_out; /* bytes read from blobs and decoded because somebody waited */
    uint64_t ahead_in, ahead_out;   /* the same, ahead of readers */
    uint64_t served;                /* decoded bytes handed out */
    uint64_t evicted;               /* bytes */
    uint64_t check_failures;
    uint64_t decode_ns, read_ns, wait_ns;
};
/* The counters since the cache was opened. Does not wait. */
void sfs_cache_get_stats(struct sfs_cache *cache, struct sfs_cache_stats *ret_stats);
/* Forgets what is decoded and nobody is reading: for measuring a cold start. */
void sfs_cache_drop(struct sfs_cache *cache);

struct sfs_store;

/* dir NULL: $STAGEFS_CACHE_DIR, else $XDG_CACHE_HOME/stagefs, else /var/cache/stagefs for root and
 * ~/.cache/stagefs for others. Creates nothing yet: a store that cannot be written is fine while
 * everything needed is in it. Sweeps temporary files that dead processes left. */
int sfs_store_open(const char *dir, struct sfs_store **ret_store, struct sfs_error *err);
/* Frees, and sets NULL; what is on the disk stays. */
void sfs_store_close(struct sfs_store **store);
/* The directory that it is in; lives as long as the store. */
const char *sfs_store_dir(const struct sfs_store *store);

/* Where commands that are run write to: in $TMPDIR, below a directory that is this user's alone;
 * where $TMPDIR is not set, or other users could put something in that directory's place, in the
 * cache directory. Makes what lacks. Absolute; the caller frees. */
int sfs_store_work_dir(struct sfs_store *store, char **ret_path, struct sfs_error *err);

/* A file is one that a mount with passthrough keeps decompressed (mount.h). Seen are notes of a few
 * bytes, which file was found to have a digest. A result is the layer that a RUN made. */
enum sfs_store_kind {
    SFS_STORE_INDEX,
    SFS_STORE_COPY,
    SFS_STORE_FILE,
    SFS_STORE_SEEN,
    SFS_STORE_RESULT
};

struct sfs_store_item {
    enum sfs_store_kind kind;
    char key[160]; /* "sha256:HEX", the blob it belongs to; a file's: sfs_tree_content_name(); a
                      result's: of all that it depends on */
    uint64_t size; /* bytes on disk */
    int64_t used;  /* last use, Unix seconds */
    bool in_use;   /* some process has it open now */
};
/* Calls `item` for each thing kept, in order of key; stops if it returns non-zero and returns that.
 */
int sfs_store_list(struct sfs_store *store,
                   int (*item)(void *user, const struct sfs_store_item *item), void *user,
                   struct sfs_error *err);
/* Removes what was not used for longest until at most `keep` bytes are left; what is in use stays.
 */
int sfs_store_prune(struct sfs_store *store, uint64_t keep, uint64_t *ret_freed,
                    uint64_t *ret_items, struct sfs_error *err);

struct sfs_layer_state { /* what `inspect` tells of a layer */
    bool indexed;
    bool from_toc; /* made from a table of contents that the image brought: the blob was not read */
    uint64_t index_size, copy_size; /* bytes; copy_size 0: none */
    uint64_t out_size;              /* decoded bytes of the tar; from_toc: of its files */
    uint32_t entries, spans;
    struct sfs_digest digest; /* of the blob that it was made from */
};
/* Is there a usable index in the store, and how large are it and its seekable copy? Opens the index
 * and checks it; a layer without one is no failure. ENOMEM. */
int sfs_layer_get_state(struct sfs_store *store, const char *key, struct sfs_layer_state *ret_state,
                        struct sfs_error *err);

#endif
