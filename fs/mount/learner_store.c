/* What is kept of starts: read when a mount begins, joined with what was noted when the start has
 * ended. Two mounts of one tree may do so at a time: each reads under a lock what the other has
 * written. */
#include "mount/learner_parts.h"

#include "base/io.h"
#include "base/limits.h"
#include "layer/store.h"
#include "tree/learned.h"
#include "tree/tree_inner.h"
#include <errno.h>
#include <string.h>
#include <time.h>

/* Reads the kept text. -ENOENT: there is none, or none that can be used. */
static int read_learned(struct sfs_learner *learner, struct sfs_learned *ret_learned)
{
    AUTO(sfs_close_fd) int fd = -1;
    AUTO(sfs_free) char *text = NULL;
    struct stat st;
    struct sfs_error err;
    if (sfs_store_open_file(learner->options.store, SFS_STORE_START, learner->key, &fd, &err) < 0 ||
        fstat(fd, &st) < 0 || st.st_size <= 0 || st.st_size > SFS_MAX_LEARNED)
        return -ENOENT;
    text = malloc((size_t)st.st_size);
    if (!text)
        return -ENOMEM;
    if (sfs_io_read_at(fd, text, (size_t)st.st_size, 0) != st.st_size)
        return -ENOENT;
    int r = sfs_learned_parse(text, (size_t)st.st_size, ret_learned, &err);
    return r == -ENOMEM ? r : r < 0 ? -ENOENT : 0;
}

/* ---- whose turn it is ---- */

static bool is_turn(const struct sfs_learner *learner, uint64_t number)
{
    return (number * 0x9e3779b97f4a7c15u >> 40) % learner->turns == learner->turn;
}

/* Neighbours are used together, so they should not have their turns together. */
static bool is_turn_of_block(const struct sfs_learner *learner, sfs_ino ino, uint64_t block)
{
    return is_turn(learner, (ino << 24) + block);
}

bool sfs_learner_spares(void *arg, sfs_ino ino, struct sfs_range range, bool is_guess)
{
    struct sfs_learner *learner = arg;
    if (!atomic_load_explicit(&learner->listens, memory_order_relaxed))
        return false;
    if (learner->has_known && is_turn_of_block(learner, ino, range.offset / SFS_LEARNED_BLOCK))
        return true;
    /* Requests that find their bytes decoded take no longer than storing what nobody will use. */
    return is_guess;
}

static bool is_turn_of_name(const struct sfs_learner *learner, const char *path)
{
    uint32_t hash = 2166136261u;
    for (; *path; path++)
        hash = (hash ^ (unsigned char)*path) * 16777619u;
    return is_turn(learner, hash);
}

/* Is it the turn of this block of the use? One that leads nowhere in this tree was not used for
 * sure. */
static bool is_checked(const struct sfs_learner *learner, const struct sfs_use *use, uint64_t block)
{
    const struct sfs_forest *forest = learner->options.forest;
    sfs_node node;
    if (use->ranges.count == 0)
        return learner->options.sees_names && is_turn_of_name(learner, use->path);
    if (sfs_tree_resolve(forest->trees[0], use->path, SFS_RESOLVE_FOLLOW | SFS_RESOLVE_UNCONFIRMED,
                         &node, NULL) < 0)
        return true;
    return is_turn_of_block(learner, forest->first[0] + node, block);
}

/* Leaves out the names that are to be asked for. */
static void leave_names(struct sfs_learner *learner)
{
    struct sfs_profile *known = &learner->known;
    size_t kept = 0;
    for (size_t i = 0; i < known->count; i++) {
        struct sfs_use *use = &known->uses[i];
        if (use->ranges.count == 0 && is_checked(learner, use, 0))
            free(use->path);
        else
            known->uses[kept++] = *use;
    }
    known->count = kept;
}

static uint64_t bytes_of(const struct sfs_profile *profile)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < profile->count; i++)
        for (size_t k = 0; k < profile->uses[i].ranges.count; k++)
            bytes += profile->uses[i].ranges.items[k].size;
    return bytes;
}

int sfs_learner_load(struct sfs_learner *learner)
{
    AUTO(sfs_learned_done) struct sfs_learned learned = { 0 };
    struct sfs_digest digest;
    int r = sfs_tree_identify(learner->options.forest->trees[0], &digest);
    if (r < 0)
        return r;
    sfs_digest_print(&digest, learner->key);
    r = read_learned(learner, &learned);
    if (r < 0)
        return r == -ENOENT ? 0 : r;
    learner->turns = sfs_learned_turns(&learned);
    learner->has_known = learned.uses.count > 0;
    learner->known = learned.uses;
    learned.uses = (struct sfs_profile){ 0 };
    atomic_store(&learner->options.stats->learned_paths, learner->known.count);
    atomic_store(&learner->options.stats->learned_bytes, bytes_of(&learner->known));
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    learner->turn = (unsigned)(now.tv_nsec / 1000) % learner->turns;
    leave_names(learner);
    return 0;
}

/* ---- notes become a profile ---- */

/* What was seen of the first tree's nodes. */
struct sightings {
    const struct sfs_learner *learner;
    uint32_t *first;          /* by node: its use's number and 1; 0: none */
    struct sfs_profile *seen; /* in the order of first use; paths come last */
};

static void sightings_done(struct sightings *sightings)
{
    free(sightings->first);
}

static struct sfs_use *add_use(struct sfs_profile *profile, enum sfs_use_kind kind)
{
    struct sfs_use *use = &profile->uses[profile->count++];
    *use = (struct sfs_use){ .kind = kind };
    return use;
}

static int note_node(struct sightings *sightings, sfs_node node, const struct sfs_note *note)
{
    struct sfs_profile *seen = sightings->seen;
    struct sfs_use *use = sightings->first[node] ? &seen->uses[sightings->first[node] - 1]
                                                 : add_use(seen, note->kind);
    sightings->first[node] = (uint32_t)(use - seen->uses) + 1;
    if (note->kind > use->kind)
        use->kind = note->kind;
    return note->range.size > 0 ? sfs_ranges_add(&use->ranges, note->range.offset, note->range.size)
                                : 0;
}

static int note_missing(struct sightings *sightings, sfs_node dir, const char *name)
{
    AUTO(sfs_buf_close) struct sfs_buf path = { 0 };
    sfs_tree_dir_path(sightings->learner->options.forest->trees[0], dir, &path);
    sfs_buf_printf(&path, "/%s", name);
    if (path.failed)
        return -ENOMEM;
    add_use(sightings->seen, SFS_USE_NONE)->path = TAKE(path.data);
    return 0;
}

static int list_notes(struct sightings *sightings)
{
    const struct sfs_learner *learner = sightings->learner;
    const struct sfs_forest *forest = learner->options.forest;
    const uint32_t nodes = sfs_tree_count(forest->trees[0]);
    const struct sfs_note *notes = (const struct sfs_note *)(const void *)learner->notes.data;
    int r = 0;
    for (size_t i = 0; r == 0 && i < learner->notes.size / sizeof *notes; i++) {
        const sfs_ino node = notes[i].ino - forest->first[0]; /* before the first: very large */
        if (node >= nodes)
            continue;
        r = notes[i].kind == SFS_USE_NONE
                ? note_missing(sightings, (sfs_node)node,
                               learner->names.data + notes[i].range.offset)
                : note_node(sightings, (sfs_node)node, &notes[i]);
    }
    return r;
}

static int name_node(void *user, const char *path, sfs_node node)
{
    const struct sightings *sightings = user;
    const uint32_t number = sightings->first[node];
    struct sfs_use *use = number ? &sightings->seen->uses[number - 1] : NULL;
    if (!use || use->path)
        return 0;
    use->path = sfs_format("/%s", path);
    sfs_ranges_merge(&use->ranges, 0);
    return use->path ? 0 : -ENOMEM;
}

/* Drops what has no path: it is not below the root that was walked. */
static void drop_nameless(struct sfs_profile *profile)
{
    size_t kept = 0;
    for (size_t i = 0; i < profile->count; i++)
        if (profile->uses[i].path)
            profile->uses[kept++] = profile->uses[i];
        else
            sfs_ranges_done(&profile->uses[i].ranges);
    profile->count = kept;
}

static int make_profile(const struct sfs_learner *learner, struct sfs_profile *seen)
{
    const struct sfs_tree *tree = learner->options.forest->trees[0];
    AUTO(sightings_done)
    struct sightings sightings = { .learner = learner,
                                   .first = calloc(sfs_tree_count(tree) + 1, sizeof(uint32_t)),
                                   .seen = seen };
    const size_t count = learner->notes.size / sizeof(struct sfs_note);
    seen->uses = calloc(count + 1, sizeof *seen->uses);
    seen->capacity = count + 1;
    int r = sightings.first && seen->uses ? list_notes(&sightings) : -ENOMEM;
    if (r == 0)
        r = sfs_tree_walk(tree, SFS_ROOT, name_node, &sightings, NULL);
    drop_nameless(seen);
    return r;
}

/* ---- writing ---- */

static bool is_checked_now(void *user, const struct sfs_use *use, uint64_t block)
{
    const struct sfs_learner *learner = user;
    bool would_be_seen = !learner->watcher.look || learner->has_looked;
    return learner->has_known && would_be_seen && is_checked(learner, use, block);
}

static void count_learned(const struct sfs_learner *learner, const struct sfs_learned_sums *sums,
                          size_t paths)
{
    struct sfs_stats *stats = learner->options.stats;
    atomic_store(&stats->seen_paths, paths);
    atomic_store(&stats->checked_paths, sums->checked);
    atomic_store(&stats->used_paths, sums->used);
    atomic_store(&stats->checked_bytes, sums->checked_bytes);
    atomic_store(&stats->used_bytes, sums->used_bytes);
}

/* (The disk is not waited for, since a `run` ends after this, and a digest tells damage.) */
static int keep_text(const struct sfs_learner *learner, const struct sfs_buf *text,
                     struct sfs_error *err)
{
    struct sfs_store *store = learner->options.store;
    AUTO(sfs_io_temp_close) struct sfs_io_temp temp = { .fd = -1, .dirfd = -1 };
    int r = sfs_store_make_room(store, SFS_STORE_START, ALL_LEARNED, text->size, err);
    if (r == 0)
        r = sfs_store_start_file(store, SFS_STORE_START, &temp, err);
    if (r == 0)
        r = sfs_io_write_all(temp.fd, text->data, text->size);
    if (r == 0)
        r = sfs_store_name_file(store, SFS_STORE_START, learner->key, &temp, err);
    return r;
}

void sfs_learner_write(struct sfs_learner *learner, struct sfs_profile *ret_known)
{
    AUTO(sfs_profile_done) struct sfs_profile seen = { 0 };
    AUTO(sfs_learned_done) struct sfs_learned learned = { 0 };
    AUTO(sfs_store_unlock) struct sfs_store_lock lock = { .fd = -1 };
    AUTO(sfs_buf_close) struct sfs_buf text = { 0 };
    struct sfs_learned_sums sums;
    struct sfs_error err;
    const bool is_start = learner->bytes > 0 || (learner->has_known && learner->notes.size > 0);
    if (!is_start || make_profile(learner, &seen) < 0)
        return;
    const size_t paths = seen.count;
    if (sfs_store_lock(learner->options.store, learner->key, &lock, &err) < 0 ||
        read_learned(learner, &learned) == -ENOMEM)
        return;
    int changed = sfs_learned_merge(&learned, &seen, is_checked_now, learner, &sums);
    if (changed < 0)
        return;
    count_learned(learner, &sums, paths);
    if (changed && sfs_learned_print(&learned, &text, &err) == 0)
        (void)keep_text(learner, &text, &err);
    *ret_known = learned.uses;
    learned.uses = (struct sfs_profile){ 0 };
}
