/* The data is decoded twice with a window of which every byte tells its own position: once the low
 * half, once the high one. Where the two outputs are not the same, a byte came from the window, and
 * the two say from where. No more output can come from it than its own size. */
#include "blob/unpack_window.h"

#include "blob/gunzip.h"
#include <stagefs/auto.h>

struct sfs_window_pruner {
    struct sfs_gunzip gunzip;
    uint8_t window[SFS_WINDOW_MAX];
    uint8_t low[SFS_WINDOW_MAX], high[SFS_WINDOW_MAX];
    uint8_t used[SFS_WINDOW_MAX];
};

struct sfs_window_pruner *sfs_window_pruner_open(void)
{
    return calloc(1, sizeof(struct sfs_window_pruner));
}

void sfs_window_pruner_close(struct sfs_window_pruner **pruner)
{
    free(*pruner);
    *pruner = NULL;
}

/* Decodes up to a window's size. Returns false if the input ends before that and before the member
 * does; whoever enters here sees no window behind a member's end. */
static bool decode(struct sfs_window_pruner *pruner, uint8_t byte, unsigned bits, const uint8_t *in,
                   size_t in_size, size_t window_size, uint8_t *out, size_t *ret_size)
{
    struct sfs_gunzip *gunzip = &pruner->gunzip;
    if (sfs_gunzip_resume(gunzip, byte, bits, pruner->window, window_size) < 0)
        return false;
    struct sfs_decoder_io io = { in, in_size, out, SFS_WINDOW_MAX };
    while (gunzip->phase == SFS_GUNZIP_DATA && io.out_size > 0) {
        size_t out_size = io.out_size, left = io.in_size;
        if (sfs_gunzip_step(gunzip, &io, NULL) < 0)
            return false;
        if (gunzip->phase == SFS_GUNZIP_DATA && io.out_size == out_size && io.in_size == left)
            return false;
    }
    *ret_size = SFS_WINDOW_MAX - io.out_size;
    return true;
}

/* Marks where in the window the bytes of one word of output came from. */
static void mark_word(struct sfs_window_pruner *pruner, size_t at, size_t end)
{
    for (size_t i = at; i < end; i++)
        if (pruner->low[i] != pruner->high[i])
            pruner->used[((pruner->high[i] & 0x7fu) << 8 | pruner->low[i]) % SFS_WINDOW_MAX] = 0xff;
}

static void mark_used(struct sfs_window_pruner *pruner, size_t size)
{
    memset(pruner->used, 0, sizeof pruner->used);
    for (size_t i = 0; i < size; i += 8) { /* most of it is the same in both */
        size_t end = i + 8 < size ? i + 8 : size;
        if (memcmp(pruner->low + i, pruner->high + i, end - i) != 0)
            mark_word(pruner, i, end);
    }
    /* Positions whose two halves are the same cannot be told from plain bytes: they stay. */
    for (size_t i = 0x80; i <= 0xff; i++)
        pruner->used[(i & 0x7f) << 8 | i] = 0xff;
}

void sfs_window_prune(struct sfs_window_pruner *pruner, uint8_t byte, unsigned bits,
                      const uint8_t *in, size_t in_size, uint8_t *window, size_t size)
{
    size_t low_size, high_size;
    for (size_t i = 0; i < size; i++)
        pruner->window[i] = (uint8_t)i;
    if (!decode(pruner, byte, bits, in, in_size, size, pruner->low, &low_size))
        return;
    for (size_t i = 0; i < size; i++)
        pruner->window[i] = (uint8_t)(0x80 | i >> 8);
    if (!decode(pruner, byte, bits, in, in_size, size, pruner->high, &high_size) ||
        high_size != low_size)
        return;
    mark_used(pruner, low_size);
    for (size_t i = 0; i < size; i++)
        window[i] &= pruner->used[i];
}
