/* One buffer, filled from where somebody asked. */
#include "slim/window.h"

#include <assert.h>
#include <errno.h>
#include <stagefs/auto.h>

int sfs_window_get_more(struct sfs_window *window, uint64_t offset, size_t size,
                        const char **ret_bytes, size_t *ret_size, struct sfs_error *err)
{
    assert(size <= SFS_WINDOW_ROOM);
    if (offset > window->source->size || size > window->source->size - offset)
        return sfs_fail(err, EBADMSG, "the file ends before its contents do");
    if (!window->bytes)
        window->bytes = malloc(SFS_WINDOW_ROOM);
    if (!window->bytes)
        return sfs_fail_memory(err);
    uint64_t in = offset - window->offset;
    if (offset < window->offset || in > window->size || size > window->size - in) {
        uint64_t left = window->source->size - offset;
        size_t fill = size > SFS_WINDOW_STEP ? size : SFS_WINDOW_STEP;
        fill = fill < left ? fill : (size_t)left;
        window->size = 0;
        int r = window->source->read(window->source->user, window->bytes, fill, offset, err);
        if (r < 0)
            return r;
        window->offset = offset;
        window->size = fill;
        in = 0;
    }
    *ret_bytes = window->bytes + in;
    *ret_size = window->size - (size_t)in;
    return 0;
}

int sfs_window_get(struct sfs_window *window, uint64_t offset, size_t size, const char **ret_bytes,
                   struct sfs_error *err)
{
    size_t more;
    return sfs_window_get_more(window, offset, size, ret_bytes, &more, err);
}

void sfs_window_done(struct sfs_window *window)
{
    free(TAKE(window->bytes));
    window->size = 0;
}
