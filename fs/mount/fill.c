/* What is stored into the kernel's page cache ahead of readers, and how it gets there. */
#include "mount/fill.h"

#include "base/pool.h"
#include "base/wanted.h"
#include "blob/blob.h"
#include "blob/spans.h"
#include "mount/blocks.h"
#include "mount/guesses.h"
#include "mount/library.h"
#include "base/thread.h"
#include "tree/learned.h"
#include "tree/tree_inner.h"
#include <errno.h>
#include <pthread.h>

/* Files of fewer bytes come whole with their first read. */
#define MIN_LIBRARY (1u << 20)
#define THREADS     2u
/* Behind EROFS what is guessed is decoded and no more. Of blocks, of which less than a third is
 * used, that gained nothing on 2 cores; on 16 a first start of PyTorch took 0.8 of the time
 * (docs/starts.md). */
#define MANY_CPUS 8u
#define PAGE      4096u
#define PIECE     (1u << 20)
/* Decoding is asked for so many bytes ahead of storing. */
#define WINDOW (4u << 20)

struct sfs_fill {
    const struct sfs_forest *forest;
    const struct sfs_flat *flat; /* NULL: the kernel knows the forest's own files */
    const struct sfs_erofs_image *names;
    pthread_mutex_t lock; /* around giving work to the pool, and closing it; guards `blocks` */
    struct sfs_blocks *blocks;
    struct sfs_pool *pool;
    struct sfs_pack *pack;             /* NULL: there is none */
    struct fuse_session *_Atomic fuse; /* NULL: no work is taken */
    struct sfs_guesses *guesses;
    struct sfs_stats *stats;
    void (*stored)(void *user, sfs_ino ino, uint64_t size); /* NULL: nobody is told */
    void *user;
    bool (*spares)(void *user, sfs_ino ino, struct sfs_range range,
                   bool is_guess); /* NULL: no file is spared */
    void *spares_user;
    bool is_planned;   /* see sfs_fill_leave_remote() */
    bool has_few_cpus; /* and EROFS is in front: fewer than MANY_CPUS */
};

struct fill_job {
    struct sfs_fill *ahead;
    sfs_ino ino; /* the file of a library to be planned, or of a block; 0: `parts` is the plan */
    bool is_block;
    uint32_t block;
    struct sfs_fill_part *parts;
    size_t count;
};

int sfs_fill_open(const struct sfs_forest *forest, const struct sfs_flat *flat,
                  const struct sfs_erofs_image *names, struct sfs_stats *stats,
                  struct sfs_fill **ret_ahead, struct sfs_error *err)
{
    AUTO(sfs_free) struct sfs_fill *ahead = calloc(1, sizeof *ahead);
    if (!ahead)
        return sfs_fail_memory(err);
    ahead->forest = forest;
    ahead->flat = flat;
    ahead->names = names;
    ahead->stats = stats;
    ahead->has_few_cpus = flat && sfs_cpus() < MANY_CPUS;
    AUTO(sfs_guesses_close) struct sfs_guesses *guesses = sfs_guesses_open();
    if (!guesses)
        return sfs_fail_memory(err);
    int r = sfs_pool_open(THREADS, &ahead->pool, err);
    if (r < 0)
        return r;
    pthread_mutex_init(&ahead->lock, NULL);
    stats->guesses = ahead->guesses = TAKE(guesses);
    *ret_ahead = TAKE(ahead);
    return 0;
}

void sfs_fill_watch(struct sfs_fill *ahead, void (*stored)(void *user, sfs_ino ino, uint64_t size),
                    void *user)
{
    ahead->stored = stored;
    ahead->user = user;
}

void sfs_fill_spare(struct sfs_fill *ahead,
                    bool (*spares)(void *user, sfs_ino ino, struct sfs_range range, bool is_guess),
                    void *user)
{
    ahead->spares = spares;
    ahead->spares_user = user;
}

void sfs_fill_use_pack(struct sfs_fill *ahead, struct sfs_pack *pack)
{
    ahead->pack = pack;
}

void sfs_fill_leave_remote(struct sfs_fill *ahead)
{
    ahead->is_planned = true;
}

void sfs_fill_start(struct sfs_fill *ahead, struct fuse_session *fuse)
{
    atomic_store(&ahead->fuse, fuse);
}

void sfs_fill_stop(struct sfs_fill *ahead)
{
    atomic_store(&ahead->fuse, NULL);
    sfs_pool_close_shared(&ahead->pool, &ahead->lock);
}

void sfs_fill_close(struct sfs_fill **ahead)
{
    if (!*ahead)
        return;
    sfs_fill_stop(*ahead);
    pthread_mutex_destroy(&(*ahead)->lock);
    sfs_blocks_close(&(*ahead)->blocks);
    (*ahead)->stats->guesses = NULL;
    sfs_guesses_close(&(*ahead)->guesses);
    free(*ahead);
    *ahead = NULL;
}

/* --- storing ---------------------------------------------------------------------------------- */

/* Gives bytes to the kernel. -ENOENT: the kernel does not know the file, so it cannot keep them. */
static int store_at(struct sfs_fill *ahead, fuse_ino_t ino, uint64_t offset, const void *data,
                    size_t size)
{
    union {
        const void *from;
        void *to;
    } mem = { .from = data }; /* libfuse knows no const here */
    struct fuse_bufvec bytes = FUSE_BUFVEC_INIT(size);
    bytes.buf[0].mem = mem.to;
    struct fuse_session *fuse = atomic_load(&ahead->fuse);
    return fuse ? fuse_lowlevel_notify_store(fuse, ino, (off_t)offset, &bytes, 0) : -ECANCELED;
}

static int store(struct sfs_fill *ahead, sfs_ino ino, uint64_t offset, const void *data,
                 size_t size)
{
    int r = store_at(ahead, ino, offset, data, size);
    if (r < 0)
        return r;
    atomic_fetch_add(&ahead->stats->bytes_stored, size);
    if (ahead->stored)
        ahead->stored(ahead->user, ino, size);
    return 0;
}

/* Stores whole pages from where they lie in memory; a page that is cut by the end of what is lent
 * is put together first. Returns how many bytes were stored, or -errno. */
static ssize_t store_some(struct sfs_fill *ahead, const struct sfs_place *place, sfs_ino ino,
                          struct sfs_range range)
{
    char page[PAGE];
    AUTO(sfs_slice_release) struct sfs_slice slice = { 0 };
    size_t size = range.size < PIECE ? (size_t)range.size : PIECE;
    ssize_t r = sfs_pack_pin(ahead->pack, ino, range.offset, size, &slice);
    if (r < 0)
        r = sfs_tree_pin(place->tree, place->node, range.offset, size, &slice, NULL);
    if (r < 0)
        return r;
    const void *data = slice.data;
    size = slice.size;
    if (size < range.size)
        size -= size % PAGE;
    if (size == 0) {
        size = range.size < PAGE ? (size_t)range.size : PAGE;
        r = sfs_tree_read(place->tree, place->node, page, size, range.offset, NULL);
        if (r != (ssize_t)size)
            return r < 0 ? r : -EIO;
        data = page;
    }
    r = store(ahead, ino, range.offset, data, size);
    if (r == 0 && size == slice.size)
        sfs_slice_spend(&slice); /* the kernel has it now */
    return r < 0 ? r : (ssize_t)size;
}

static void prefetch(struct sfs_fill *ahead, const struct sfs_fill_part *part)
{
    struct sfs_place place;
    if (sfs_pack_has(ahead->pack, part->ino, part->range))
        sfs_pack_will_read(ahead->pack, part->ino, part->range);
    else if (sfs_forest_locate(ahead->forest, part->ino, &place) && place.tree)
        sfs_tree_prefetch(place.tree, place.node, part->range.offset, part->range.size, 1);
}

/* The same for a whole part of a block that may have to be asked for. */
static int store_part(struct sfs_fill *ahead, const struct sfs_place *place, sfs_ino ino,
                      struct sfs_range part, bool is_guess)
{
    if (ahead->spares && ahead->spares(ahead->spares_user, ino, part, is_guess)) {
        prefetch(ahead, &(struct sfs_fill_part){ ino, part });
        return 0;
    }
    while (part.size > 0) {
        ssize_t done = store_some(ahead, place, ino, part);
        if (done < 0)
            return (int)done;
        part = (struct sfs_range){ part.offset + (uint64_t)done, part.size - (uint64_t)done };
    }
    return 0;
}

static int store_range(struct sfs_fill *ahead, sfs_ino ino, struct sfs_range range, bool is_guess)
{
    struct sfs_place place;
    struct sfs_attr attr;
    if (!sfs_forest_locate(ahead->forest, ino, &place) || !place.tree)
        return -ENOENT;
    sfs_tree_attr(place.tree, place.node, &attr);
    if (range.offset >= attr.size)
        return 0;
    uint64_t at = range.offset / PAGE * PAGE, end = attr.size;
    if (range.size < end - range.offset)
        end = range.offset + range.size;
    if (attr.size - end > PAGE)
        end = (end + PAGE - 1) / PAGE * PAGE;
    else
        end = attr.size;
    int r = 0;
    for (uint64_t size; r == 0 && at < end; at += size) {
        const uint64_t room = SFS_LEARNED_BLOCK - at % SFS_LEARNED_BLOCK;
        size = end - at < room ? end - at : room;
        r = store_part(ahead, &place, ino, (struct sfs_range){ at, size }, is_guess);
    }
    return r;
}

/* Stores what is guessed, unless it is left to see whether it is asked for: then it is decoded, as
 * is all that EROFS will ask for. Again and again, since what is decoded is soon dropped. */
static void store_guess(struct sfs_fill *ahead, enum sfs_guess kind, sfs_ino ino,
                        struct sfs_range range)
{
    struct sfs_range part;
    if (sfs_guesses_leave(ahead->guesses, kind, ino, range) || ahead->flat)
        prefetch(ahead, &(struct sfs_fill_part){ ino, range });
    else
        while (sfs_guesses_next(ahead->guesses, ino, &range, &part))
            store_range(ahead, ino, part, true);
}

static void store_parts(struct sfs_fill *ahead, const struct sfs_fill_part *parts, size_t count,
                        bool are_guesses)
{
    uint64_t asked = 0, stored = 0;
    size_t next = 0;
    for (size_t i = 0; i < count && atomic_load(&ahead->fuse); i++) {
        for (; next < count && asked <= stored + WINDOW; next++) {
            prefetch(ahead, &parts[next]);
            asked += parts[next].range.size;
        }
        if (are_guesses)
            store_guess(ahead, SFS_GUESS_LIBRARY, parts[i].ino, parts[i].range);
        else
            store_range(ahead, parts[i].ino, parts[i].range, false);
        stored += parts[i].range.size;
    }
}

/* --- the image before EROFS ------------------------------------------------------------------- */

/* Names have blocks as large files have: under the number behind the last inode. */
static sfs_ino names_of(const struct sfs_flat *flat)
{
    return flat->count;
}

static void store_names(struct sfs_fill *ahead, struct sfs_range range)
{
    uint64_t left = ahead->names->fixed - range.offset;
    size_t size = (size_t)(range.size < left ? range.size : left);
    if (store_at(ahead, SFS_IMAGE_INO, range.offset, ahead->names->data + range.offset, size) == 0)
        atomic_fetch_add(&ahead->stats->bytes_stored, size);
}

/* --- libraries -------------------------------------------------------------------------------- */

static bool read_place(void *user, void *buf, size_t size, uint64_t offset)
{
    const struct sfs_place *place = user;
    return sfs_tree_read(place->tree, place->node, buf, size, offset, NULL) == (ssize_t)size;
}

static void plan_library(struct fill_job *job)
{
    struct sfs_place place;
    struct sfs_attr attr;
    if (!sfs_forest_locate(job->ahead->forest, job->ino, &place) || !place.tree)
        return;
    sfs_tree_attr(place.tree, place.node, &attr);
    struct sfs_elf_source source = { read_place, &place, attr.size };
    struct sfs_ranges ranges = { 0 };
    if (sfs_library_plan(&source, &ranges) == 0)
        job->parts = calloc(ranges.count + 1, sizeof *job->parts);
    if (job->parts) {
        atomic_fetch_add(&job->ahead->stats->libraries, 1);
        for (size_t i = 0; i < ranges.count; i++)
            job->parts[job->count++] =
                (struct sfs_fill_part){ .ino = job->ino, .range = ranges.items[i] };
    }
    sfs_ranges_done(&ranges);
}

static void store_block(const struct fill_job *job)
{
    struct sfs_range range = { (uint64_t)job->block * SFS_BLOCK, SFS_BLOCK };
    const struct sfs_flat *flat = job->ahead->flat;
    if (flat && job->ino == names_of(flat))
        store_names(job->ahead, range);
    else
        store_guess(job->ahead, SFS_GUESS_BLOCK, job->ino, range);
    LOCK(&job->ahead->lock);
    sfs_blocks_done(job->ahead->blocks, job->ino, job->block);
}

/* Whoever ends the mount waits for no other machine. */
static bool is_wanted(void *user)
{
    return atomic_load(&((struct sfs_fill *)user)->fuse) != NULL;
}

static void run_job(void *arg)
{
    struct fill_job *job = arg;
    const struct sfs_wanted wanted = { is_wanted, job->ahead };
    sfs_wanted_set(&wanted);
    if (atomic_load(&job->ahead->fuse)) {
        if (job->is_block)
            store_block(job);
        else if (job->ino)
            plan_library(job);
        store_parts(job->ahead, job->parts, job->count, job->ino != 0);
    }
    sfs_wanted_set(NULL);
    free(job->parts);
    free(job);
}

static int queue_job(struct sfs_fill *ahead, struct fill_job *job, enum sfs_pool_priority priority)
{
    LOCK(&ahead->lock);
    return ahead->pool ? sfs_pool_submit(ahead->pool, priority, run_job, job) : -ECANCELED;
}

static int submit(struct sfs_fill *ahead, const struct fill_job *plan,
                  enum sfs_pool_priority priority)
{
    struct fill_job *job = malloc(sizeof *job);
    if (!job)
        return -ENOMEM;
    *job = *plan;
    int r = queue_job(ahead, job, priority);
    if (r < 0)
        free(job);
    return r;
}

/* Says which blocks a read asks for: their count, at most SFS_BLOCKS_AT. */
static unsigned choose_blocks(struct sfs_fill *ahead, sfs_ino ino, uint64_t file_size,
                              struct sfs_range range, uint32_t *ret_blocks)
{
    LOCK(&ahead->lock);
    return sfs_blocks_touch(&ahead->blocks, ino, file_size, range, ret_blocks);
}

static void touch_blocks(struct sfs_fill *ahead, sfs_ino ino, uint64_t file_size,
                         struct sfs_range range)
{
    uint32_t blocks[SFS_BLOCKS_AT];
    unsigned count = choose_blocks(ahead, ino, file_size, range, blocks);
    for (unsigned i = 0; i < count; i++)
        submit(
            ahead,
            &(struct fill_job){ .ahead = ahead, .ino = ino, .is_block = true, .block = blocks[i] },
            i == 0 ? SFS_POOL_DEMAND : SFS_POOL_AHEAD);
}

static struct sfs_spans *find_spans(const struct sfs_fill *ahead, sfs_ino ino, uint64_t offset,
                                    struct sfs_range *ret_place)
{
    struct sfs_place place;
    if (!sfs_forest_locate(ahead->forest, ino, &place) || !place.tree)
        return NULL;
    return sfs_tree_find_spans(place.tree, place.node, offset, &ret_place->offset,
                               &ret_place->size);
}

static bool is_remote(const struct sfs_fill *ahead, sfs_ino ino, uint64_t offset)
{
    struct sfs_range place;
    struct sfs_spans *spans = find_spans(ahead, ino, offset, &place);
    return spans && sfs_blob_ahead(sfs_spans_blob(spans)) > 0;
}

/* Guesses what follows in the layer, where it does not lie on another machine. (Behind FUSE blocks
 * do much the same, and both together gained nothing.) */
static void expect(const struct sfs_fill *ahead, sfs_ino ino, struct sfs_range range)
{
    struct sfs_range place;
    struct sfs_spans *spans = find_spans(ahead, ino, range.offset, &place);
    if (spans && sfs_blob_ahead(sfs_spans_blob(spans)) == 0)
        sfs_spans_expect(spans, place.offset, range.size < place.size ? range.size : place.size);
}

void sfs_fill_touch(struct sfs_fill *ahead, sfs_ino ino, uint64_t file_size, struct sfs_range range)
{
    sfs_guesses_touch(ahead->guesses, ino, range);
    if (!atomic_load(&ahead->fuse) || sfs_pack_has_some(ahead->pack, ino, range) ||
        (ahead->is_planned && is_remote(ahead, ino, range.offset)))
        return;
    if (ahead->flat && !ahead->is_planned)
        expect(ahead, ino, range);
    if (file_size < MIN_LIBRARY ||
        (ahead->has_few_cpus && (ahead->is_planned || is_remote(ahead, ino, range.offset))))
        return;
    /* The loader starts with the headers; the kernel asks for them once while it keeps them. */
    if (range.offset == 0)
        submit(ahead, &(struct fill_job){ .ahead = ahead, .ino = ino }, SFS_POOL_DEMAND);
    if (!ahead->has_few_cpus)
        touch_blocks(ahead, ino, file_size, range);
}

void sfs_fill_touch_names(struct sfs_fill *ahead, struct sfs_range range)
{
    if (atomic_load(&ahead->fuse))
        touch_blocks(ahead, names_of(ahead->flat), ahead->names->fixed, range);
}

bool sfs_fill_spares(struct sfs_fill *ahead, sfs_ino ino, struct sfs_range range)
{
    if (!ahead->spares || !ahead->spares(ahead->spares_user, ino, range, false))
        return false;
    if (!sfs_pack_has(ahead->pack, ino, range)) /* which the caller has had read already */
        prefetch(ahead, &(struct sfs_fill_part){ ino, range });
    return true;
}

int sfs_fill_submit(struct sfs_fill *ahead, struct sfs_fill_part **parts, size_t count)
{
    int r = submit(ahead, &(struct fill_job){ .ahead = ahead, .parts = *parts, .count = count },
                   SFS_POOL_BACKGROUND);
    if (r == 0)
        *parts = NULL;
    return r;
}
