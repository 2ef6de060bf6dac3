/* Opening and closing the parts that one mount has, as its options ask for them. */
#include "mount/server.h"

#include "mount/asker.h"
#include "mount/choose.h"
#include "mount/pack_make.h"
#include "tree/tree_inner.h"
#include <stagefs/format.h>
#include <errno.h>
#include <fcntl.h>
#include <time.h>

/* Bytes of holes in one file from which on FUSE shows the image; EROFS shows smaller ones as
 * zeros. */
#define HOLES_FOR_FUSE (1u << 20)
/* Bytes of files that are kept decoded: room for the libraries of some images. */
#define DEFAULT_LIMIT (8ull << 30)
#define END_S         10
#define TELL_AGAIN_S  10

/* Numbers the layers of all trees, so that one array says which of them were told of. */
static int count_layers(struct sfs_server *server, struct sfs_error *err)
{
    const struct sfs_forest *forest = &server->forest;
    server->first_layer = calloc(forest->count + 1, sizeof *server->first_layer);
    if (!server->first_layer)
        return sfs_fail_memory(err);
    for (size_t i = 0; i < forest->count; i++)
        server->first_layer[i + 1] = server->first_layer[i] + sfs_tree_layers(forest->trees[i]);
    server->warned = calloc(server->first_layer[forest->count] + 1, sizeof *server->warned);
    if (!server->warned)
        return sfs_fail_memory(err);
    return 0;
}

/* Makes the path of the trace absolute, since the process may change its directory, and checks now
 * that the file can be written. */
static int resolve_trace_path(struct sfs_server *server, struct sfs_error *err)
{
    const char *path = server->options->trace_path, *slash = strrchr(path, '/');
    if (strcmp(path, "-") == 0) { /* standard output */
        server->trace_path = strdup(path);
        return server->trace_path ? 0 : sfs_fail_memory(err);
    }
    AUTO(sfs_free) char *dir = slash ? strndup(path, (size_t)(slash - path) + 1) : strdup(".");
    AUTO(sfs_free) char *real = dir ? realpath(dir, NULL) : NULL;
    struct stat st;
    bool is_there = *path && stat(path, &st) == 0;
    bool is_replaced = !is_there || S_ISREG(st.st_mode); /* which its directory allows */
    if (!*path || (is_there && S_ISDIR(st.st_mode)))
        return sfs_fail(err, EISDIR, "a profile cannot be written to '%s', which is no file", path);
    if (!real || access(is_replaced ? real : path, W_OK) < 0)
        return sfs_fail_errno(err, errno, "%s", path);
    server->trace_path = sfs_format("%s/%s", real, slash ? slash + 1 : path);
    if (!server->trace_path)
        return sfs_fail_memory(err);
    return 0;
}

static int open_passthrough(struct sfs_server *server, struct sfs_error *err)
{
    const struct sfs_mount_options *options = server->options;
    struct sfs_passthrough_options parts = {
        .forest = &server->forest,
        .store = options->store,
        .limit = options->passthrough_limit ? options->passthrough_limit : DEFAULT_LIMIT,
        .backing = &sfs_backing_ops,
        .user = server,
        .stats = &server->stats,
    };
    return sfs_passthrough_open(&parts, &server->passthrough, err);
}

static void count_stored(void *user, sfs_ino ino, uint64_t size)
{
    sfs_passthrough_stored(user, ino, size);
}

/* Linux's EROFS counts a file's blocks by its size, holes or not, and `cp` goes by the blocks: a
 * copy would write every hole. Chunks without an address change nothing: they are read as zeros,
 * but neither st_blocks nor SEEK_HOLE tells of them (Linux 6.18). So an image with large holes is
 * shown by FUSE, which tells them. */
static bool has_holes(const struct sfs_server *server)
{
    struct sfs_forest_holes holes;
    struct sfs_error words;
    sfs_forest_count_holes(&server->forest, HOLES_FOR_FUSE, &holes);
    if (holes.files > 0 && server->options->warn) {
        sfs_fail(&words, ENOTSUP,
                 "mounted without --erofs: EROFS would count %llu bytes of holes as bytes on disk "
                 "(sparse files: %llu)",
                 (unsigned long long)holes.bytes, (unsigned long long)holes.files);
        server->options->warn(server->options->user, words.text);
    }
    return holes.files > 0;
}

static int open_flat(struct sfs_server *server, struct sfs_error *err)
{
    server->flat = calloc(1, sizeof *server->flat);
    if (!server->flat)
        return sfs_fail_memory(err);
    return sfs_flat_open(server->flat, &server->forest, err);
}

static void close_flat(struct sfs_server *server)
{
    if (server->flat)
        sfs_flat_done(server->flat);
    free(server->flat);
    server->flat = NULL;
    sfs_erofs_image_done(&server->names);
}

/* Puts EROFS in front, as it was asked for, or as nothing speaks against it. */
static int open_front(struct sfs_server *server, struct sfs_error *err)
{
    enum sfs_front front = server->options->front;
    if (front == SFS_FRONT_EROFS && !has_holes(server))
        return open_flat(server, err);
    if (front != SFS_FRONT_AUTO || *server->plain.text)
        return 0;
    const char *why = sfs_choose_by_files(&server->forest, server->xattrs);
    if (why)
        sfs_fail(&server->plain, ENOTSUP, "%s", why);
    else if (open_flat(server, &server->plain) < 0)
        close_flat(server);
    return 0;
}

static int open_image(struct sfs_server *server, struct sfs_error *err)
{
    int r = sfs_erofs_image_make(server->flat, server->pack, &server->names, err);
    server->front_failed = r < 0;
    return r;
}

static int open_recorder(struct sfs_server *server, struct sfs_error *err)
{
    const struct sfs_mount_options *options = server->options;
    int r = options->trace_path ? resolve_trace_path(server, err) : 0;
    sfs_ino root = options->first_tree ? server->forest.first[0] : SFS_INO_ROOT;
    return r < 0 ? r : sfs_recorder_open(root, options->trace_pages, &server->recorder, err);
}

/* May this mount learn? Not where others than the program decide what is asked for, nor where
 * somebody has said already what a start uses. */
static bool may_learn(const struct sfs_server *server)
{
    const struct sfs_mount_options *options = server->options;
    bool has_one_root = options->first_tree || !server->forest.numbered;
    return options->learn && options->store && has_one_root && !server->recorder &&
           options->profile_count == 0 && !options->passthrough && !options->no_prefetch &&
           !options->no_read_ahead;
}

/* Has what is known of starts fetched ahead. Without memory for it, the start is as the first. */
static void open_learner(struct sfs_server *server)
{
    const struct sfs_learner_options options = { .forest = &server->forest,
                                                 .store = server->options->store,
                                                 .sees_names = !server->flat,
                                                 .stats = &server->stats };
    AUTO(sfs_profile_done) struct sfs_profile known = { 0 };
    if (!may_learn(server) || sfs_learner_open(&options, &server->learner, NULL) < 0)
        return;
    sfs_learner_take(server->learner, &known);
    sfs_fill_spare(server->ahead, sfs_learner_spares, server->learner);
    if (known.count > 0)
        (void)sfs_replay_open_known(&server->forest, server->options->first_tree, &known,
                                    &server->replay, NULL);
}

/* Takes the pack that there is under the key. Without one, or with one that is damaged or of
 * something else, a start is as before there were any. False: there is none. */
static bool use_pack(struct sfs_server *server)
{
    struct sfs_store *store = server->options->store;
    if (sfs_pack_open(store, server->pack_key, &server->forest, &server->pack, NULL) < 0)
        return false;
    sfs_replay_use_pack(server->replay, server->pack);
    sfs_fill_use_pack(server->ahead, server->pack);
    return true;
}

static bool may_pack(const struct sfs_server *server)
{
    const struct sfs_mount_options *options = server->options;
    return options->store && !options->no_pack && (!server->forest.numbered || options->first_tree);
}

static int open_pack(struct sfs_server *server, struct sfs_error *err)
{
    const struct sfs_mount_options *options = server->options;
    struct sfs_digest profile;
    if (!may_pack(server))
        return 0;
    int r = sfs_pack_read_profiles(options->profiles, options->profile_count, &server->pack_profile,
                                   &profile, err);
    if (r < 0)
        return r;
    if (sfs_pack_key(server->forest.trees[0], &profile, server->pack_key) < 0)
        return sfs_fail_memory(err);
    if (use_pack(server))
        sfs_profile_done(&server->pack_profile);
    return 0;
}

/* The same for what was learned. It has one pack, whatever was learned, which is made anew when it
 * does not fit any more (session.c). */
static void open_learned_pack(struct sfs_server *server)
{
    static const char name[] = "what starts were seen to use";
    struct sfs_digest digest;
    if (!server->learner || !may_pack(server) ||
        sfs_digest_of(name, sizeof name - 1, &digest) < 0 ||
        sfs_pack_key(server->forest.trees[0], &digest, server->pack_key) < 0)
        return;
    if (server->replay)
        use_pack(server);
}

int sfs_server_pin(struct sfs_server *server, sfs_ino ino, const struct sfs_place *place,
                   uint64_t offset, size_t size, struct sfs_slice *ret_slice, struct sfs_error *err)
{
    if (sfs_pack_pin(server->pack, ino, offset, size, ret_slice) == 0)
        return 0;
    return sfs_tree_pin(place->tree, place->node, offset, size, ret_slice, err);
}

static void prepare_replay(struct sfs_server *server)
{
    sfs_fill_leave_remote(server->ahead);
    if (server->flat)
        sfs_replay_fill_front(server->replay);
}

/* Opens the parts. The first read of a file is seen whatever is fetched ahead, but of the pages
 * that are used only those that nobody has fetched before. */
static int open_parts(struct sfs_server *server, struct sfs_error *err)
{
    const struct sfs_mount_options *options = server->options;
    int r = options->trace_path || options->missing ? open_recorder(server, err) : 0;
    if (r < 0 || (server->recorder && options->trace_pages))
        return r;
    r = options->passthrough ? open_passthrough(server, err) : 0;
    if (r == 0)
        r = open_front(server, err);
    if (r < 0)
        return r;
    r = options->no_prefetch ? 0
                             : sfs_fill_open(&server->forest, server->flat, &server->names,
                                             &server->stats, &server->ahead, err);
    if (r == 0 && server->ahead && server->passthrough)
        sfs_fill_watch(server->ahead, count_stored, server->passthrough);
    if (r == 0 && server->ahead && options->profile_count > 0)
        r = sfs_replay_open(&server->forest, options->first_tree, options->profiles,
                            options->profile_count, &server->replay, err);
    if (r == 0)
        open_learner(server);
    if (r == 0)
        open_learned_pack(server);
    if (r == 0 && server->replay && options->profile_count > 0)
        r = open_pack(server, err);
    if (r == 0 && server->replay)
        prepare_replay(server);
    if (r == 0 && server->flat)
        r = open_image(server, err);
    const char *path;
    size_t unknown = r == 0 && options->profile_count > 0 && server->replay
                         ? sfs_replay_unknown(server->replay, &path)
                         : 0;
    if (unknown > 0 && options->warn) {
        struct sfs_error words;
        sfs_fail(&words, ENOENT, "%zu of the profile's paths %s not here, such as %s", unknown,
                 unknown == 1 ? "is" : "are", path);
        options->warn(options->user, words.text);
    }
    unsigned named = r == 0 && server->replay ? sfs_replay_is_eager(server->replay) : 0;
    if (named > 0 && options->warn) {
        struct sfs_error words;
        sfs_fail(&words, EAGAIN,
                 "the profile names %u %% of the image's bytes, so all of it is fetched at once",
                 named);
        options->warn(options->user, words.text);
    }
    if (r == 0 && server->replay)
        sfs_replay_fetch(server->replay);
    return r;
}

/* Decides how an overlay's attributes are shown; called before attributes are looked at. */
static void prepare_for_overlay(struct sfs_server *server)
{
    const struct sfs_mount_options *options = server->options;
    server->under_overlay = options->only_overlay || options->upper;
    server->forest.is_merged_below = server->under_overlay;
    if (options->for_overlay || server->under_overlay)
        server->forest.overlay = geteuid() == 0 && sfs_asker_is_of_machine(getpid())
                                     ? SFS_OVERLAY_TRUSTED
                                     : SFS_OVERLAY_USER;
}

/* What one try to open a server is given. */
struct server_options {
    const struct sfs_tree *const *trees;
    size_t count;
    bool numbered;
    const struct sfs_mount_options *options;
};

/* *ret_failed: it was the image for EROFS that could not be made. */
static int open_server(const struct server_options *wanted, const char *plain,
                       struct sfs_server **ret_server, bool *ret_failed, struct sfs_error *err)
{
    AUTO(sfs_server_close)
    struct sfs_server *server = aligned_alloc(_Alignof(struct sfs_server), sizeof *server);
    if (!server)
        return sfs_fail_memory(err);
    memset(server, 0, sizeof *server);
    server->options = wanted->options;
    if (plain)
        sfs_fail(&server->plain, ENOTSUP, "%s", plain);
    sfs_stats_init(&server->stats);
    int r = sfs_forest_open(&server->forest, wanted->trees, wanted->count, wanted->numbered, err);
    if (r < 0)
        return r;
    prepare_for_overlay(server);
    r = count_layers(server, err);
    if (r < 0)
        return r;
    sfs_forest_scan_xattrs(&server->forest, &server->xattrs, &server->acls);
    r = open_parts(server, err);
    *ret_failed = server->front_failed;
    if (r < 0)
        return r;
    server->stats.front = server->flat ? "erofs" : "fuse";
    server->stats.why = *server->plain.text ? server->plain.text : NULL;
    *ret_server = TAKE(server);
    return 0;
}

int sfs_server_open(const struct sfs_tree *const *trees, size_t count, bool numbered,
                    const struct sfs_mount_options *options, const char *plain,
                    struct sfs_server **ret_server, struct sfs_error *err)
{
    const struct server_options wanted = { trees, count, numbered, options };
    struct sfs_error words;
    bool failed = false;
    int r = open_server(&wanted, plain, ret_server, &failed, &words);
    if (r < 0 && failed && options->front == SFS_FRONT_AUTO) {
        const struct sfs_error why = words;
        r = open_server(&wanted, why.text, ret_server, &failed, &words);
    }
    return r < 0 ? sfs_fail(err, -r, "%s", words.text) : 0;
}

void sfs_server_close(struct sfs_server **server)
{
    if (!*server)
        return;
    sfs_replay_close(&(*server)->replay);
    sfs_fill_close(&(*server)->ahead);
    sfs_learner_close(&(*server)->learner);
    sfs_packer_close(&(*server)->packer);
    sfs_pack_close(&(*server)->pack);
    sfs_profile_done(&(*server)->pack_profile);
    sfs_passthrough_close(&(*server)->passthrough);
    sfs_recorder_close(&(*server)->recorder);
    close_flat(*server);
    sfs_forest_done(&(*server)->forest);
    free((*server)->first_layer);
    free((*server)->warned);
    free((*server)->trace_path);
    free(*server);
    *server = NULL;
}

static long long now_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec;
}

void sfs_server_end_soon(struct sfs_server *server)
{
    atomic_store(&server->end_by_s, now_s() + END_S);
}

bool sfs_server_is_overdue(const struct sfs_server *server)
{
    long long end_by_s = atomic_load(&server->end_by_s);
    return end_by_s != 0 && now_s() > end_by_s;
}

/* Was somebody told of this layer just now? A damaged one fails again and again with the same
 * words; what fails later may do so for another cause. Else notes that it is told now. */
static bool is_told(atomic_llong *told_at)
{
    long long before = atomic_load(told_at), second = now_s() + 1;
    if (before > 0 && second - before < TELL_AGAIN_S)
        return true;
    return !atomic_compare_exchange_strong(told_at, &before, second);
}

void sfs_server_warn(struct sfs_server *server, const struct sfs_place *place,
                     const struct sfs_error *err)
{
    size_t layer;
    uint32_t inode;
    sfs_tree_origin(place->tree, place->node, &layer, &inode);
    atomic_fetch_add(&server->stats.read_errors, 1);
    if (is_told(&server->warned[server->first_layer[place->index] + layer]))
        return;
    if (server->options->warn)
        server->options->warn(server->options->user, err->text);
}

bool sfs_server_learns_of(fuse_req_t req)
{
    const struct sfs_server *server = sfs_server_of(req);
    return server->learner &&
           !(server->replay && sfs_replay_is_thread(server->replay, fuse_req_ctx(req)->pid));
}

void sfs_server_note(fuse_req_t req, sfs_ino ino, enum sfs_use_kind kind)
{
    const struct sfs_server *server = sfs_server_of(req);
    if (server->recorder)
        sfs_recorder_use(server->recorder, ino, kind);
    if (sfs_server_learns_of(req))
        sfs_learner_use(server->learner, ino, kind);
}

int sfs_server_entry(const struct sfs_server *server, sfs_ino ino,
                     struct fuse_entry_param *ret_entry)
{
    memset(ret_entry, 0, sizeof *ret_entry);
    int r = sfs_forest_stat(&server->forest, ino, &ret_entry->attr);
    if (r < 0)
        return r;
    ret_entry->ino = ino;
    ret_entry->attr_timeout = ret_entry->entry_timeout = SFS_FOREVER;
    return 0;
}
