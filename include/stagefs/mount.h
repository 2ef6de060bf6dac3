/* Serving a tree as a read-only FUSE file system. */
#ifndef STAGEFS_MOUNT_H
#define STAGEFS_MOUNT_H

#include <stagefs/cache.h>
#include <stagefs/tree.h>

/* Whom the kernel asks for names, attributes and pages that were read once: this process (FUSE), or
 * its own EROFS, which asks this process only for contents. */
enum sfs_front {
    SFS_FRONT_FUSE,
    SFS_FRONT_AUTO, /* EROFS where it can be had and shows the same to the same users, else FUSE */
    SFS_FRONT_EROFS,
};

struct sfs_mount_options {
    const char *mountpoint;
    const char *source;      /* shown in /proc/mounts */
    bool allow_other;        /* other users may see the mount */
    bool dev, suid;          /* device files and setuid programs work; root only */
    unsigned threads;        /* most that answer requests at a time; 0: chosen */
    unsigned read_ahead_kb;  /* of the kernel, where root; 0: chosen */
    struct sfs_cache *cache; /* its counters are shown in the statistics; may be NULL */
    const char *stats_path;  /* SIGUSR1 replaces this file with the statistics; NULL: tells warn */
    /* Called once when the mount answers (its root was stat'ed through the kernel). May be NULL. */
    void (*ready)(void *user);
    /* One sentence that somebody should see: the first read error of each layer; with SIGUSR1 the
     * statistics. Called from any thread. May be NULL. */
    void (*warn)(void *user, const char *text);
    /* The kernel asks for bytes of a file for the first time since they left its cache. `tree` is
     * its position among the trees served. Called from any thread, before the bytes are read, which
     * wait for it: for prefetch and for recording. May be NULL. */
    void (*touch)(void *user, size_t tree, sfs_node node, uint64_t offset, size_t size);
    void *user; /* handed to ready, warn, note, touch, was_used and missing */
    /* What was used is written to this file, replacing it, at the end and on SIGUSR1, as a profile
     * (stagefs(1), PROFILES, has the form). Not together with profiles, whose replay would be what
     * is seen. NULL: nothing is recorded. */
    const char *trace_path;
    /* Asked at the end: is that file to be written, and `missing` to be called? NULL: yes. */
    bool (*was_used)(void *user);
    /* A trace is added to what the file has already, as sfs_profile_join_text() says. */
    bool trace_append;
    /* A trace tells the pages of files that were asked for, and so nothing is brought ahead, which
     * takes longer. Else it tells no bytes, and the mount is as fast as another. */
    bool trace_pages;
    /* Called after the end for each path that was looked for and was not there, in the order of the
     * first look, with the path of the program that looked ("": not known). May be NULL. */
    void (*missing)(void *user, const char *path, const char *who);
    /* Set at the end: bytes of files that the kernel was given, decoded, those brought ahead
     * included. May be NULL. */
    uint64_t *ret_bytes;
    /* Of several trees, traces and profiles speak of the first one, and leave its number out. */
    bool first_tree;
    /* Files of that form: names and bytes in them are fetched as soon as the mount answers, behind
     * what readers wait for. */
    const char *const *profiles;
    size_t profile_count;
    /* With a store, what profiles name, or what was learned, is kept there in a pack, decoded and
     * in the order of use, at most pack_limit bytes of all packs (0, and more than 4 GiB: 4 GiB):
     * made when the mount has been quiet for some seconds, read by the next ones. */
    bool no_pack;
    uint64_t pack_limit;
    /* Large files that are read much are kept decompressed in the store, at most passthrough_limit
     * bytes of them (0: chosen), and later opens of them are handed to the kernel (FUSE
     * passthrough), which then reads them without asking. Every open costs a request then. Where it
     * cannot be had, warn is told why, and the mount is as without it. */
    bool passthrough;
    uint64_t passthrough_limit;
    struct sfs_store *store; /* may be NULL without passthrough and `learn` */
    /* What the first use after the mount asks for is kept in the store, names and ranges alone, and
     * fetched ahead in the next mount of the same tree. Not where a trace is written, profiles are
     * given, nothing may be fetched ahead, or several trees are shown without first_tree: then
     * nothing is learned. Whatever fails of it is as if nothing were known, and tells nobody. */
    bool learn;
    /* The kernel asks for the pages that are used and no others, one at a time: slow, and what a
     * trace should see that tells pages. Goes before read_ahead_kb. */
    bool no_read_ahead;
    /* With SFS_FRONT_EROFS everybody may see the mount, as any other of root's. Root, Linux 6.12;
     * not together with trace_path or passthrough. EROFS does not tell holes: where a file has a
     * MiB of them, warn is told, and FUSE is in front. */
    enum sfs_front front;
    /* One sentence for who wants to know more: why FUSE is in front where the choice was ours.
     * May be NULL. */
    void (*note)(void *user, const char *text);
    /* An overlay may lie on top, which is root's or, where another user serves, of a namespace of
     * theirs: the image's own attributes of overlays are shown by names that do not steer it, and
     * opaque directories of layers alone (sfs_tree_split()) have the mark that does; of a merged
     * tree, a device file that the overlay would take for a whiteout has another number.
     * only_overlay: and nobody else can see the mount, so trusted attributes are in all lists. */
    bool for_overlay, only_overlay;
    /* A directory for what is written to the mount, which makes it writable: an overlay of the
     * kernel's lies on top, and everybody may see it. Only one tree, and only the one that the
     * directory was first used with. Root, also of a user namespace. NULL: read-only. */
    const char *upper;
    bool no_signals;  /* SIGTERM, SIGINT and SIGHUP are the caller's, and do not end the session */
    bool no_prefetch; /* nothing that was not asked for, not even what a library's loader will */
};

/* Mounts and serves until unmounted, SIGTERM, SIGINT or SIGHUP; those unmount even when the mount
 * is in use. Changes the process's signal mask and SIGUSR2 while it serves; threads started before
 * must have signals blocked (sfs_pool's have). A dead mount (ENOTCONN) left by a killed process at
 * the mountpoint is cleared first.
 * EBUSY: something is mounted there already. ENOTSUP: the kernel lacks what SFS_FRONT_EROFS needs.
 * ENOENT, ENOTDIR, EACCES: the mountpoint. EBADMSG: a profile is malformed. EINVAL: options that
 * exclude each other. EEXIST, EBUSY, ENOTSUP: `upper` belongs to something else, is in use, or lies
 * where no overlay can write. Anything else may come from writing the trace. */
int sfs_mount_serve(const struct sfs_tree *tree, const struct sfs_mount_options *options,
                    struct sfs_error *err);

/* The same for several trees, each under its number: "0/", "1/", ... */
int sfs_mount_serve_layers(const struct sfs_tree *const *trees, size_t count,
                           const struct sfs_mount_options *options, struct sfs_error *err);

/* Makes the pack that a mount of the tree with these profiles reads: takes profiles, store and
 * pack_limit from the options. Decodes what they name, which takes long. Says how large it is.
 * ENOSPC: there is no room. ENODATA: there is nothing to be packed. EBADMSG: a profile is
 * malformed. */
int sfs_mount_pack(const struct sfs_tree *tree, const struct sfs_mount_options *options,
                   uint64_t *ret_size, struct sfs_error *err);

/* Statistics of a mount that somebody serves, as one JSON document that the caller frees: requests
 * and time by kind, bytes, cache. `path` is any file or directory in it that may be opened.
 * EINVAL: not in a stagefs mount. */
int sfs_mount_stats(const char *path, char **ret_json, struct sfs_error *err);

/* Makes the process that serves the mount forget what it holds decoded (sfs_cache_drop()).
 * EINVAL: not in a stagefs mount. EACCES: mounted by another user. */
int sfs_mount_drop(const char *path, struct sfs_error *err);

/* Unmounts, also a dead mount; waits until it is gone, and then until the process that served it
 * has ended, and has written what it learned or recorded. For that it waits at most 5 seconds, and
 * not where the process cannot be found: it is of another pid namespace, or the mount of another
 * user who lets nobody in. EINVAL: nothing of FUSE is mounted there. EBUSY: in use. */
int sfs_unmount(const char *mountpoint, struct sfs_error *err);

#endif
