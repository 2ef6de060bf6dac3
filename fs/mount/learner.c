/* Notes of uses, and when there are enough of them; learner_store.c reads and writes what is kept
 * of them. */
#include "mount/learner_parts.h"
#include "base/thread.h"

#include <errno.h>
#include <string.h>
#include <time.h>

void sfs_learner_close(struct sfs_learner **learner_ptr)
{
    struct sfs_learner *learner = *learner_ptr;
    if (!learner)
        return;
    *learner_ptr = NULL;
    sfs_learner_stop(learner);
    pthread_cond_destroy(&learner->changed);
    pthread_mutex_destroy(&learner->lock);
    sfs_profile_done(&learner->known);
    sfs_buf_close(&learner->notes);
    sfs_buf_close(&learner->names);
    free(learner);
}

int sfs_learner_open(const struct sfs_learner_options *options, struct sfs_learner **ret_learner,
                     struct sfs_error *err)
{
    struct sfs_learner *learner = calloc(1, sizeof *learner);
    if (!learner)
        return sfs_fail_memory(err);
    learner->options = *options;
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&learner->changed, &attr);
    pthread_condattr_destroy(&attr);
    pthread_mutex_init(&learner->lock, NULL);
    int r = sfs_learner_load(learner);
    if (r < 0) {
        sfs_learner_close(&learner);
        return sfs_fail_errno(err, -r, "what is known of starts");
    }
    *ret_learner = learner;
    return 0;
}

void sfs_learner_take(struct sfs_learner *learner, struct sfs_profile *ret_profile)
{
    *ret_profile = learner->known;
    learner->known = (struct sfs_profile){ 0 };
}

/* ---- notes ---- */

/* Asked without the lock first, since it is asked for as long as the mount lives; and with it,
 * since who writes what was noted reads it without. */
static bool listens(const struct sfs_learner *learner)
{
    return atomic_load_explicit(&learner->listens, memory_order_relaxed);
}

/* Adds a note; the lock is held. What is over the bounds is not noted: the first uses count. */
static void add_note(struct sfs_learner *learner, const struct sfs_note *note)
{
    if (!listens(learner) || learner->notes.size >= MAX_NOTES * sizeof *note ||
        sfs_buf_add(&learner->notes, note, sizeof *note) < 0)
        return;
    learner->bytes += note->kind == SFS_USE_READ ? note->range.size : 0;
    if (learner->notes.size == sizeof *note)
        pthread_cond_signal(&learner->changed);
}

void sfs_learner_read(struct sfs_learner *learner, sfs_ino ino, struct sfs_range range)
{
    if (!listens(learner))
        return;
    LOCK(&learner->lock);
    add_note(learner, &(struct sfs_note){ ino, SFS_USE_READ, range });
}

void sfs_learner_use(struct sfs_learner *learner, sfs_ino ino, enum sfs_use_kind kind)
{
    if (!listens(learner))
        return;
    LOCK(&learner->lock);
    add_note(learner, &(struct sfs_note){ .ino = ino, .kind = kind });
}

/* Notes a name that is not there. */
static void note_missing(struct sfs_learner *learner, sfs_ino dir, const char *name)
{
    if (!listens(learner))
        return;
    LOCK(&learner->lock);
    const uint64_t at = learner->names.size;
    if (listens(learner) && at < MAX_NAMES &&
        sfs_buf_add(&learner->names, name, strlen(name) + 1) == 0)
        add_note(learner, &(struct sfs_note){ dir, SFS_USE_NONE, { .offset = at } });
}

void sfs_learner_lookup(struct sfs_learner *learner, sfs_ino dir, const char *name, sfs_ino ino)
{
    if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
        return; /* of mounts that are exported */
    if (ino)
        sfs_learner_use(learner, ino, SFS_USE_STAT);
    else
        note_missing(learner, dir, name);
}

/* ---- when it is enough ---- */

/* Waits a second, or until somebody is told. The lock is held. */
static void wait_a_second(struct sfs_learner *learner)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec++;
    pthread_cond_timedwait(&learner->changed, &learner->lock, &until);
}

static void wait_for_use(struct sfs_learner *learner)
{
    LOCK(&learner->lock);
    while (!learner->stop && learner->notes.size == 0 && !atomic_load(&learner->is_awake))
        pthread_cond_wait(&learner->changed, &learner->lock);
}

/* Waits until nothing was asked for in a while, or what comes now is no start any more. False: the
 * mount ends. */
static bool wait_for_quiet(struct sfs_learner *learner)
{
    LOCK(&learner->lock);
    size_t noted = learner->notes.size;
    for (unsigned quiet = 0; !learner->stop && quiet < QUIET_SECONDS; learner->seconds++) {
        if (learner->seconds >= MOST_SECONDS)
            return true;
        wait_a_second(learner);
        quiet = learner->notes.size == noted ? quiet + 1 : 0;
        noted = learner->notes.size;
    }
    return !learner->stop;
}

static bool is_left(void *learner, sfs_ino ino, struct sfs_range range)
{
    return sfs_learner_spares(learner, ino, range, false);
}

static void count_seen(void *arg, sfs_ino ino, struct sfs_range range)
{
    (void)ino;
    struct sfs_learner *learner = arg;
    learner->seen += range.size;
}

static void note_seen(void *learner, sfs_ino ino, struct sfs_range range)
{
    sfs_learner_read(learner, ino, range);
}

static bool look(struct sfs_learner *learner,
                 void (*seen)(void *learner, sfs_ino ino, struct sfs_range range))
{
    const struct sfs_learner_watcher *watcher = &learner->watcher;
    return watcher->look && watcher->look(watcher->user, is_left, seen, learner);
}

/* Was more used since the last look, though nobody was asked for it? */
static bool is_used_still(struct sfs_learner *learner)
{
    const uint64_t before = learner->seen;
    learner->seen = 0;
    return look(learner, count_seen) && learner->seen != before;
}

/* Who asks for less looks at the image (`ls`, `cat`): the start is still to come. */
static bool is_enough(struct sfs_learner *learner)
{
    LOCK(&learner->lock);
    return learner->bytes + learner->seen >= SMALL;
}

/* Waits for the end of the start. False: for the end of the mount. */
static bool wait_for_end(struct sfs_learner *learner)
{
    wait_for_use(learner);
    while (wait_for_quiet(learner)) {
        if (learner->seconds >= MOST_SECONDS || (!is_used_still(learner) && is_enough(learner)))
            return true;
    }
    return false;
}

static void write_and_tell(struct sfs_learner *learner)
{
    AUTO(sfs_profile_done) struct sfs_profile known = { 0 };
    sfs_learner_write(learner, &known);
    if (known.count > 0 && learner->watcher.ended)
        learner->watcher.ended(learner->watcher.user, &known);
}

static void *listen(void *arg)
{
    struct sfs_learner *learner = arg;
    if (!wait_for_end(learner))
        return NULL;
    learner->has_looked = look(learner, note_seen);
    {
        LOCK(&learner->lock);
        if (learner->stop)
            return NULL;
        atomic_store(&learner->listens, false);
    }
    write_and_tell(learner);
    return NULL;
}

void sfs_learner_watch(struct sfs_learner *learner, const struct sfs_learner_watcher *watcher)
{
    learner->watcher = *watcher;
}

void sfs_learner_wake(struct sfs_learner *learner)
{
    if (!listens(learner) || atomic_load_explicit(&learner->is_awake, memory_order_relaxed))
        return;
    LOCK(&learner->lock);
    atomic_store(&learner->is_awake, true);
    pthread_cond_signal(&learner->changed);
}

int sfs_learner_start(struct sfs_learner *learner, struct sfs_error *err)
{
    atomic_store(&learner->listens, true);
    int r = sfs_thread_start(&learner->thread, listen, learner, "learns of starts", err);
    learner->has_thread = r == 0;
    return r;
}

void sfs_learner_stop(struct sfs_learner *learner)
{
    if (!learner->has_thread)
        return;
    {
        LOCK(&learner->lock);
        learner->stop = true;
        pthread_cond_signal(&learner->changed);
    }
    pthread_join(learner->thread, NULL);
    learner->has_thread = false;
}

void sfs_learner_finish(struct sfs_learner *learner)
{
    AUTO(sfs_profile_done) struct sfs_profile known = { 0 };
    sfs_learner_stop(learner);
    if (atomic_exchange(&learner->listens, false))
        sfs_learner_write(learner, &known);
}
