/* Which guesses are left, by number: every sixteenth, so that a start loses little by it. */
#include "mount/guesses.h"

#include "base/thread.h"
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#define EVERY    16u
#define MAX_LEFT 1024u /* looked through at each read */

struct left_guess {
    sfs_ino ino;
    enum sfs_guess kind;
    struct sfs_range range;
    uint64_t used; /* bytes that were asked for */
};

struct sfs_guesses {
    pthread_mutex_t lock; /* guards all */
    uint64_t number;
    uint64_t bytes[SFS_GUESS_KINDS];
    struct left_guess left[MAX_LEFT];
    size_t count;
    atomic_size_t watched; /* as `count`, to be looked at without the lock */
};

struct sfs_guesses *sfs_guesses_open(void)
{
    struct sfs_guesses *guesses = calloc(1, sizeof *guesses);
    if (guesses)
        pthread_mutex_init(&guesses->lock, NULL);
    return guesses;
}

void sfs_guesses_close(struct sfs_guesses **guesses)
{
    if (*guesses)
        pthread_mutex_destroy(&(*guesses)->lock);
    free(*guesses);
    *guesses = NULL;
}

bool sfs_guesses_leave(struct sfs_guesses *guesses, enum sfs_guess kind, sfs_ino ino,
                       struct sfs_range range)
{
    LOCK(&guesses->lock);
    guesses->bytes[kind] += range.size;
    if (guesses->number++ % EVERY != 0 || guesses->count == MAX_LEFT)
        return false;
    guesses->left[guesses->count++] = (struct left_guess){ ino, kind, range, 0 };
    atomic_store(&guesses->watched, guesses->count);
    return true;
}

/* Is the byte in something that was left? Then *ret_end is where that ends, else where the next one
 * begins, or as it was. */
static bool is_left(const struct sfs_guesses *guesses, sfs_ino ino, uint64_t at, uint64_t *ret_end)
{
    for (size_t i = 0; i < guesses->count; i++) {
        const struct sfs_range *left = &guesses->left[i].range;
        if (guesses->left[i].ino != ino)
            continue;
        if (at >= left->offset && at - left->offset < left->size) {
            *ret_end = left->offset + left->size;
            return true;
        }
        if (left->offset > at && left->offset < *ret_end)
            *ret_end = left->offset;
    }
    return false;
}

bool sfs_guesses_next(struct sfs_guesses *guesses, sfs_ino ino, struct sfs_range *rest,
                      struct sfs_range *ret_part)
{
    const uint64_t end = rest->offset + rest->size;
    uint64_t at = rest->offset, to;
    LOCK(&guesses->lock);
    while (at < end) {
        to = end;
        bool skip = is_left(guesses, ino, at, &to);
        to = to < end ? to : end;
        *rest = (struct sfs_range){ to, end - to };
        *ret_part = (struct sfs_range){ at, to - at };
        if (!skip)
            return true;
        at = to;
    }
    return false;
}

static void use(struct left_guess *left, struct sfs_range range)
{
    uint64_t begin = range.offset > left->range.offset ? range.offset : left->range.offset;
    uint64_t end = range.offset + range.size, left_end = left->range.offset + left->range.size;
    end = end < left_end ? end : left_end;
    if (begin < end)
        left->used += end - begin;
}

void sfs_guesses_touch(struct sfs_guesses *guesses, sfs_ino ino, struct sfs_range range)
{
    if (atomic_load_explicit(&guesses->watched, memory_order_relaxed) == 0)
        return;
    LOCK(&guesses->lock);
    for (size_t i = 0; i < guesses->count; i++)
        if (guesses->left[i].ino == ino)
            use(&guesses->left[i], range);
}

/* (A page may be asked for more than once.) */
static void count(struct sfs_guesses *guesses, enum sfs_guess kind, uint64_t *ret_bytes,
                  uint64_t *ret_checked, uint64_t *ret_used)
{
    LOCK(&guesses->lock);
    *ret_bytes = guesses->bytes[kind];
    for (size_t i = 0; i < guesses->count; i++) {
        const struct left_guess *left = &guesses->left[i];
        if (left->kind != kind)
            continue;
        *ret_checked += left->range.size;
        *ret_used += left->used < left->range.size ? left->used : left->range.size;
    }
}

static void print_kind(struct sfs_buf *buf, const char *name, uint64_t bytes, uint64_t checked,
                       uint64_t used)
{
    sfs_buf_printf(buf, "\"%s\":{\"bytes\":%llu,\"checked_bytes\":%llu,\"used_bytes\":%llu}", name,
                   (unsigned long long)bytes, (unsigned long long)checked,
                   (unsigned long long)used);
}

void sfs_guesses_print(struct sfs_guesses *guesses, const struct sfs_cache_stats *spans,
                       struct sfs_buf *buf)
{
    static const char *const names[SFS_GUESS_KINDS] = { "library", "block" };
    sfs_buf_add_str(buf, ",\"guesses\":{");
    for (unsigned kind = 0; kind < SFS_GUESS_KINDS; kind++) {
        uint64_t bytes = 0, checked = 0, used = 0;
        if (guesses)
            count(guesses, kind, &bytes, &checked, &used);
        print_kind(buf, names[kind], bytes, checked, used);
        sfs_buf_add_str(buf, ",");
    }
    print_kind(buf, "near", spans ? spans->guessed : 0, spans ? spans->guessed : 0,
               spans ? spans->guessed_used : 0);
    sfs_buf_add_str(buf, "}");
}
