/* The two caches. In memory (struct sfs_cache): decoded spans, decoders and prefetch under one
 * budget, with the worker threads that fill it. On disk (struct sfs_store): layer indexes,
 * seekable copies, what came from registries. Both thread-safe; both outlive everything opened with
 * them. */
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

/* Makes an empty cache of `budget` bytes (0: SFS_CACHE_DEFAULT) with `threads` worker threads (0:
 * one for each CPU). The caller closes it. */
int sfs_cache_open(uint64_t budget, unsigned threads, struct sfs_cache **ret_cache,
                   struct sfs_error *err);
/* Waits for the worker threads, frees, and sets NULL; NULL is fine. The caller has closed all that
 * was opened with it. */
void sfs_cache_close(struct sfs_cache **cache);

struct sfs_cache_stats {
    uint64_t budget, used; /* bytes: what it may hold, and what it holds */
    /* Requests for a span: it was decoded (hits), the request decoded it (misses), or another
     * request was decoding it (waits). */
    uint64_t hits, misses, waits;
    /* Because a reader waited: bytes read from blobs (in), and bytes decoded from them (out). */
    uint64_t demand_in, demand_out;
    /* Before a reader asked: bytes read from blobs (in), and bytes decoded from them (out). */
    uint64_t ahead_in, ahead_out;
    /* Of those, spans that were guessed from what was asked for near them, whole; and how much of
     * that was asked for later, counted by spans. */
    uint64_t guessed, guessed_used;
    uint64_t served;         /* decoded bytes handed out */
    uint64_t evicted;        /* decoded bytes given up for others */
    uint64_t check_failures; /* spans whose bytes were not those that had been verified */
    /* Nanoseconds, all threads together: decoding, reading blobs, waiting for another's decode. */
    uint64_t decode_ns, read_ns, wait_ns;
};
/* The counters since the cache was opened. Does not wait. */
void sfs_cache_get_stats(struct sfs_cache *cache, struct sfs_cache_stats *ret_stats);
/* Frees all decoded spans but those that somebody is reading: for measuring a cold start. */
void sfs_cache_drop(struct sfs_cache *cache);

struct sfs_store;

/* dir NULL: $STAGEFS_CACHE_DIR, else $XDG_CACHE_HOME/stagefs, else /var/cache/stagefs for root and
 * ~/.cache/stagefs for others. Creates nothing yet: a store that cannot be written is fine while
 * everything needed is in it. Sweeps temporary files that dead processes left, and takes from
 * others what an older version let them do in it. EPERM: another user's directory, one that others
 * can write to and that is no cache directory yet, or one in which something is another user's. */
int sfs_store_open(const char *dir, struct sfs_store **ret_store, struct sfs_error *err);
/* Frees, and sets NULL; what is on the disk stays. */
void sfs_store_close(struct sfs_store **store);
/* The directory that it is in; lives as long as the store. */
const char *sfs_store_dir(const struct sfs_store *store);

/* Where commands that are run write to: in $TMPDIR, below a directory that is this user's alone;
 * where $TMPDIR is not set, or other users could put something in that directory's place, in the
 * cache directory. Makes what lacks. Absolute; the caller frees. */
int sfs_store_work_dir(struct sfs_store *store, char **ret_path, struct sfs_error *err);

/* What the store keeps. */
enum sfs_store_kind {
    SFS_STORE_INDEX,  /* a layer's index */
    SFS_STORE_COPY,   /* the seekable copy of a layer's blob that cannot be entered in the middle */
    SFS_STORE_FILE,   /* a file that a mount with passthrough keeps decoded (mount.h) */
    SFS_STORE_SEEN,   /* a note of a few bytes: which file was found to have a digest */
    SFS_STORE_RESULT, /* the layer that a RUN made */
    SFS_STORE_FILTER, /* the program that filters a sandbox's system calls */
    SFS_STORE_BLOB,   /* a blob of a registry, whole */
    SFS_STORE_PART,   /* what was fetched so far of one */
    SFS_STORE_DOCUMENT, /* a manifest or a config of a registry */
    SFS_STORE_NAME,     /* a note: which digest a tag had when it was asked for last */
    SFS_STORE_FINDINGS, /* where device code and symbols are in the libraries of a blob */
    SFS_STORE_START,    /* what starts of an image were seen to use (mount.h) */
    SFS_STORE_PACK,     /* what a start uses, decoded, in the order of use */
};

struct sfs_store_item {
    enum sfs_store_kind kind;
    /* "sha256:HEX": the digest of the blob that it belongs to; of a RESULT or PACK: of all that
     * it depends on. Of a FILE: the name that sfs_tree_content_name() gives. Of a PART: with
     * ".SIZE" behind. Of a NAME: the digest of the name. Of a START: what identifies the tree. */
    char key[160];
    uint64_t size; /* bytes on disk */
    int64_t used;  /* last use, Unix seconds */
    bool in_use;   /* some process has it open now */
};
/* Calls `item` for each thing kept, in order of key. Stops where it returns non-zero, and returns
 * that. Waits for the disk. */
int sfs_store_list(struct sfs_store *store,
                   int (*item)(void *user, const struct sfs_store_item *item), void *user,
                   struct sfs_error *err);
/* Removes what was not used for longest until at most `keep` bytes are left; what is in use stays.
 * Says how many bytes and how many items went. Waits for the disk. */
int sfs_store_prune(struct sfs_store *store, uint64_t keep, uint64_t *ret_freed,
                    uint64_t *ret_items, struct sfs_error *err);

struct sfs_layer_state { /* what `inspect` tells of a layer */
    bool indexed;        /* there is a usable index; else all below is zero */
    bool from_toc; /* made from a table of contents that the image brought: the blob was not read */
    uint64_t index_size, copy_size; /* bytes on disk; copy_size 0: there is no seekable copy */
    uint64_t out_size;              /* decoded bytes of the tar; from_toc: of its files */
    uint32_t entries, spans;        /* how many names, and how many spans of the seek table */
    struct sfs_digest digest;       /* of the blob that it was made from */
};
/* Is there a usable index in the store, and how large are it and its seekable copy? Opens the index
 * and checks it, which waits for the disk; a layer without one is no failure. ENOMEM. */
int sfs_layer_get_state(struct sfs_store *store, const char *key, struct sfs_layer_state *ret_state,
                        struct sfs_error *err);

#endif
