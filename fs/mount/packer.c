/* When a pack is made: after the start that it is of. */
#include "mount/packer.h"

#include "base/thread.h"
#include "base/wanted.h"
#include "blob/blob_range.h"
#include "mount/pack_make.h"
#include <errno.h>
#include <time.h>

/* It is quiet when nobody read anything for so long. */
#define QUIET_MS 3000u
/* The start of a program that is never quiet is over after so long. */
#define START_MS 120000u
/* Meanwhile, and while it is made, it is looked so often whether somebody reads. */
#define LOOK_MS 20u

struct sfs_packer {
    struct sfs_packer_options options;
    uint64_t seen; /* what there was at the last look of what is_busy() adds up */
    atomic_bool stop;
    pthread_t thread;
};

static void pause_ms(unsigned ms)
{
    struct timespec pause = { .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000l };
    nanosleep(&pause, NULL);
}

/* Did somebody read since the last call, or was something brought that a reader waits for? */
static bool is_busy(struct sfs_packer *packer)
{
    uint64_t reads = atomic_load(&packer->options.stats->requests[SFS_REQUEST_READ].count);
    uint64_t stored = atomic_load(&packer->options.stats->bytes_stored);
    struct sfs_range_stats fetched;
    sfs_range_get_stats(&fetched);
    uint64_t seen = reads + stored + fetched.demand;
    bool is_busy = seen != packer->seen;
    packer->seen = seen;
    return is_busy;
}

static void end_start(const struct sfs_packer *packer)
{
    if (packer->options.end_start)
        packer->options.end_start(packer->options.session);
}

/* False: stopped. */
static bool wait_for_quiet(struct sfs_packer *packer)
{
    unsigned all = 0;
    for (unsigned quiet = 0; quiet < QUIET_MS; quiet += LOOK_MS, all += LOOK_MS) {
        if (atomic_load(&packer->stop))
            return false;
        if (all == START_MS)
            end_start(packer);
        if (is_busy(packer))
            quiet = 0;
        pause_ms(LOOK_MS);
    }
    if (all < START_MS)
        end_start(packer);
    return true;
}

/* The `go_on` of the making: readers go first. */
static bool go_on(void *user)
{
    struct sfs_packer *packer = user;
    if (is_busy(packer))
        pause_ms(LOOK_MS);
    return !atomic_load(&packer->stop);
}

static int make(struct sfs_packer *packer, struct sfs_error *err)
{
    const struct sfs_packer_options *options = &packer->options;
    struct sfs_pack_made made = { 0 };
    const struct sfs_pack_making making = { .store = options->store,
                                            .key = options->key,
                                            .limit = options->limit,
                                            .before = options->before,
                                            .first = options->first,
                                            .go_on = go_on,
                                            .user = packer };
    int r = sfs_pack_make(options->tree, options->profile, &making, &made, err);
    if (options->before)
        sfs_pack_leave(options->before); /* of which the kernel has pages again */
    if (r == 0)
        atomic_store(&options->stats->pack_made, made.size);
    return r;
}

/* Whoever ends the mount waits for no other machine. */
static bool is_wanted(void *user)
{
    return !atomic_load(&((struct sfs_packer *)user)->stop);
}

static void *run(void *arg)
{
    struct sfs_packer *packer = arg;
    const struct sfs_packer_options *options = &packer->options;
    struct sfs_error err;
    sfs_thread_give_way();
    if (!wait_for_quiet(packer))
        return NULL;
    const struct sfs_wanted wanted = { is_wanted, packer };
    sfs_wanted_set(&wanted);
    int r = options->profile ? make(packer, &err) : 0;
    sfs_wanted_set(NULL);
    if (r < 0 && r != -ECANCELED && r != -ENODATA && is_wanted(packer) && options->warn) {
        sfs_fail_while(&err, r, "no pack for the next start");
        options->warn(options->user, err.text);
    }
    return NULL;
}

int sfs_packer_open(const struct sfs_packer_options *options, struct sfs_packer **ret_packer,
                    struct sfs_error *err)
{
    AUTO(sfs_free) struct sfs_packer *packer = calloc(1, sizeof *packer);
    if (!packer)
        return sfs_fail_memory(err);
    packer->options = *options;
    int r = sfs_thread_start(&packer->thread, run, packer, "makes packs", err);
    if (r < 0)
        return r;
    *ret_packer = TAKE(packer);
    return 0;
}

void sfs_packer_close(struct sfs_packer **packer)
{
    if (!*packer)
        return;
    atomic_store(&(*packer)->stop, true);
    pthread_join((*packer)->thread, NULL);
    free(*packer);
    *packer = NULL;
}
