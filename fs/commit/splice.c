/* Which blocks are copied, and how a member of copied blocks is put together, bit by bit. */
#include "commit/splice.h"

#include <endian.h>
#include <errno.h>
#include <libdeflate.h>

#define WINDOW SFS_WINDOW_MAX

/* A member is worth its stored block if so many decoded bytes follow the cut. */
#define RUN_MIN (1u << 20)

/* RFC 1952, 2.3: deflate, no flags, no time, unknown system. */
static const uint8_t member_header[10] = { 0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff };

struct sfs_splice {
    struct sfs_pipe *pipe;
    uint64_t copied; /* compressed bytes that were copied so far */

    const struct sfs_stretch *stretch; /* the one that is being put; borrowed */
    uint64_t at; /* decoded offset: the bytes before it are in the pipe, or wait */
    uint8_t waiting[SFS_WINDOW_MAX]; /* plain bytes that wait, while no member is open */
    size_t waiting_size;             /* how many those are */
    bool is_open; /* a member is open; `at` is then the cut that it has come to */
    uint64_t bit; /* if is_open: the bit of that cut, in `held` or, without it, in `stretch` */
    bool is_bare; /* if is_open: nothing is copied into the member yet */
    uint32_t crc, size; /* if is_open: of the member's decoded bytes; size modulo 2^32 */
    /* The stretch before, while a member is open that has not come to its end; NULL: there is
     * none. */
    const struct sfs_stretch *held;
};

/* A block that is compressed here, with its memory. */
struct made {
    size_t size, packed_size;
    uint8_t data[WINDOW];
    uint8_t packed[WINDOW + 64];
};

static void let_go(struct sfs_splice *splice)
{
    if (splice->held)
        sfs_stretch_release(splice->held);
    splice->held = NULL;
}

struct sfs_splice *sfs_splice_open(struct sfs_pipe *pipe)
{
    struct sfs_splice *splice = calloc(1, sizeof *splice);
    if (splice)
        splice->pipe = pipe;
    return splice;
}

void sfs_splice_close(struct sfs_splice **splice_ptr)
{
    struct sfs_splice *splice = *splice_ptr;
    if (!splice)
        return;
    *splice_ptr = NULL;
    let_go(splice);
    free(splice);
}

uint64_t sfs_splice_copied(const struct sfs_splice *splice)
{
    return splice->copied;
}

static uint64_t end_of(const struct sfs_stretch *stretch)
{
    return stretch->out + stretch->size;
}

static const uint8_t *bytes_at(const struct sfs_stretch *stretch, uint64_t offset)
{
    return stretch->data + (offset - stretch->out);
}

/* ---- blocks ---- */

static struct made *make_block(size_t size, struct sfs_error *err)
{
    struct made *made = malloc(sizeof *made);
    if (!made) {
        sfs_fail_memory(err);
        return NULL;
    }
    made->size = size;
    made->packed_size = 0;
    return made;
}

static int put_made(struct sfs_splice *splice, struct made *made, enum sfs_entry_kind entry,
                    struct sfs_error *err)
{
    const struct sfs_packed block = { .data = made->data,
                                      .packed = made->packed,
                                      .size = (uint32_t)made->size,
                                      .packed_size = (uint32_t)made->packed_size,
                                      .entry = entry,
                                      .release = free,
                                      .owner = made };
    return sfs_pipe_put(splice->pipe, &block, err);
}

static void add(struct made *made, const void *bytes, size_t size)
{
    memcpy(made->packed + made->packed_size, bytes, size);
    made->packed_size += size;
}

static void add_u32(struct made *made, uint32_t value)
{
    uint32_t little = htole32(value);
    add(made, &little, sizeof little);
}

/* Adds a stored block (RFC 1951, 3.2.4). */
static void add_stored(struct made *made)
{
    uint8_t head[5] = { 0, made->size & 0xff, (uint8_t)(made->size >> 8) };
    head[3] = (uint8_t)~head[1];
    head[4] = (uint8_t)~head[2];
    add(made, head, sizeof head);
    add(made, made->data, made->size);
}

/* Adds empty blocks of the fixed code (RFC 1951, 3.2.6), ten bits each, until the next bit is the
 * `bits`th of a byte. The bits that they have in that last byte are zeros, and are left out. */
static void add_alignment(struct made *made, unsigned bits)
{
    uint32_t value = 0;
    unsigned count = 0;
    for (; count % 8 != bits; count += 10)
        value |= 2u << count; /* not the last; fixed code; its end is seven zeros */
    for (unsigned i = 0; i + 8 <= count; i += 8)
        made->packed[made->packed_size++] = (uint8_t)(value >> i);
}

/* Puts the byte that the first of the copied blocks begins in. */
static int put_first_byte(struct sfs_splice *splice, uint8_t byte, struct sfs_error *err)
{
    struct made *made = make_block(0, err);
    if (!made)
        return -ENOMEM;
    add(made, &byte, 1);
    return put_made(splice, made, SFS_ENTER_NEVER, err);
}

/* Adds an empty block of the fixed code as the member's last, from that bit of the byte on. */
static void add_last(struct made *made, unsigned bits, uint8_t byte)
{
    uint32_t value = (byte & ((1u << bits) - 1)) | 3u << bits;
    for (unsigned i = 0; i < bits + 10; i += 8)
        made->packed[made->packed_size++] = (uint8_t)(value >> i);
}

static void release_stretch(void *owner)
{
    sfs_stretch_release(owner);
}

/* Puts bytes of a stretch by the bits [from, to) that they are compressed in; a block begins at
 * `from`. A byte whose last bits are not among those is left for what comes next. */
static int put_blocks(struct sfs_splice *splice, const struct sfs_stretch *stretch, uint64_t at,
                      uint64_t end, uint64_t from, uint64_t to, struct sfs_error *err)
{
    size_t first = (size_t)(from / 8), last = (size_t)(to / 8), size = (size_t)(end - at);
    if (splice->is_bare && from % 8 > 0) {
        int r = put_first_byte(splice, stretch->in[first++] & (uint8_t)(0xff << from % 8), err);
        if (r < 0)
            return r;
    }
    splice->is_bare = false;
    splice->crc = libdeflate_crc32(splice->crc, bytes_at(stretch, at), size);
    splice->size += (uint32_t)size;
    splice->copied += last - first;
    const struct sfs_packed block = { .data = bytes_at(stretch, at),
                                      .packed = stretch->in + first,
                                      .size = (uint32_t)size,
                                      .packed_size = (uint32_t)(last - first),
                                      .entry = SFS_ENTER_RAW,
                                      .raw_skip = first == from / 8 && from % 8 > 0,
                                      .raw_bits = (uint8_t)(-from % 8),
                                      .release = release_stretch,
                                      .owner = (void *)(uintptr_t)stretch };
    sfs_stretch_hold(stretch);
    return sfs_pipe_put(splice->pipe, &block, err);
}

/* ---- plain bytes ---- */

/* Puts the first `count` of the bytes that wait. */
static int put_waiting(struct sfs_splice *splice, size_t count, struct sfs_error *err)
{
    int r = sfs_pipe_write(splice->pipe, splice->waiting, count, err);
    splice->waiting_size -= count;
    memmove(splice->waiting, splice->waiting + count, splice->waiting_size);
    return r;
}

static int put_plain(struct sfs_splice *splice, uint64_t end, struct sfs_error *err)
{
    int r = put_waiting(splice, splice->waiting_size, err);
    if (r == 0 && splice->at < end) {
        r = sfs_pipe_write(splice->pipe, bytes_at(splice->stretch, splice->at), end - splice->at,
                           err);
        splice->at = end;
    }
    return r;
}

/* Puts the rest of a stretch, behind which the range goes on; the last bytes wait, since a member
 * may begin soon. */
static int set_aside(struct sfs_splice *splice, const struct sfs_stretch *stretch,
                     struct sfs_error *err)
{
    size_t size = (size_t)(end_of(stretch) - splice->at);
    size_t kept = size < WINDOW ? size : WINDOW, room = WINDOW - kept;
    int r = 0;
    if (splice->waiting_size > room)
        r = put_waiting(splice, splice->waiting_size - room, err);
    if (r == 0 && size > kept)
        r = sfs_pipe_write(splice->pipe, bytes_at(stretch, splice->at), size - kept, err);
    memcpy(splice->waiting + splice->waiting_size, bytes_at(stretch, end_of(stretch) - kept), kept);
    splice->waiting_size += kept;
    splice->at = end_of(stretch);
    return r;
}

/* ---- what the member is made of ---- */

/* Puts what stands before the 32 KiB in front of the cut, and copies those. */
static int take_window(struct sfs_splice *splice, const struct sfs_cut *cut, uint8_t *window,
                       struct sfs_error *err)
{
    uint64_t start = cut->out - WINDOW;
    if (start >= splice->at) {
        memcpy(window, bytes_at(splice->stretch, start), WINDOW);
        return put_plain(splice, start, err);
    }
    size_t part = (size_t)(splice->at - start);
    int r = put_waiting(splice, splice->waiting_size - part, err);
    memcpy(window, splice->waiting, part);
    memcpy(window + part, bytes_at(splice->stretch, splice->at), WINDOW - part);
    splice->waiting_size = 0;
    return r;
}

static int open_member(struct sfs_splice *splice, const struct sfs_cut *cut, struct sfs_error *err)
{
    struct made *made = make_block(WINDOW, err);
    if (!made)
        return -ENOMEM;
    int r = take_window(splice, cut, made->data, err);
    if (r < 0) {
        free(made);
        return r;
    }
    add(made, member_header, sizeof member_header);
    add_stored(made);
    add_alignment(made, cut->bit % 8);
    splice->crc = libdeflate_crc32(0, made->data, WINDOW);
    splice->size = WINDOW;
    splice->at = cut->out;
    splice->bit = cut->bit;
    splice->is_open = splice->is_bare = true;
    return put_made(splice, made, SFS_ENTER_FRAME, err);
}

/* Puts the rest of the held stretch, to its end. The byte that its last bits share with the next
 * stretch is left to that one. */
static int leave_held(struct sfs_splice *splice, struct sfs_error *err)
{
    const struct sfs_stretch *held = splice->held, *stretch = splice->stretch;
    int r = 0;
    if (held && splice->bit < held->end_bit)
        r = put_blocks(splice, held, splice->at, end_of(held), splice->bit, held->end_bit, err);
    if (held) {
        splice->at = stretch->out;
        splice->bit = stretch->first_bit;
    }
    let_go(splice);
    return r;
}

/* Copies as far as a cut of the present stretch. */
static int go_on_to(struct sfs_splice *splice, const struct sfs_cut *cut, struct sfs_error *err)
{
    int r = leave_held(splice, err);
    if (r == 0)
        r = put_blocks(splice, splice->stretch, splice->at, cut->out, splice->bit, cut->bit, err);
    splice->at = cut->out;
    splice->bit = cut->bit;
    return r;
}

/* Closes the member. What the held stretch has behind the member's end is put as plain bytes. */
static int close_member(struct sfs_splice *splice, struct sfs_error *err)
{
    if (!splice->is_open)
        return 0;
    splice->is_open = false;
    struct made *made = make_block(0, err);
    if (!made)
        return -ENOMEM;
    const struct sfs_stretch *held = splice->held, *here = held ? held : splice->stretch;
    unsigned bits = splice->bit % 8;
    add_last(made, bits, bits && !splice->is_bare ? here->in[splice->bit / 8] : 0);
    add_u32(made, splice->crc);
    add_u32(made, splice->size);
    int r = put_made(splice, made, SFS_ENTER_NEVER, err);
    if (r == 0 && held)
        r = set_aside(splice, held, err);
    let_go(splice);
    return r;
}

/* ---- which cuts ---- */

/* May a member begin at the cut? Only one at an even bit can be reached by empty blocks of ten
 * bits. */
static bool may_open(const struct sfs_splice *splice, const struct sfs_cut *cut, uint64_t end)
{
    return cut->bit % 2 == 0 && cut->out + splice->waiting_size >= splice->at + WINDOW &&
           end >= cut->out + RUN_MIN;
}

/* Are the blocks from `last`, or else from where the member has come to, up to `cut` no larger than
 * bad compression makes them? Blocks of nothing could be any number. */
static bool is_fair(const struct sfs_splice *splice, const struct sfs_cut *last,
                    const struct sfs_cut *cut)
{
    uint64_t size = cut->out - (last ? last->out : splice->at);
    uint64_t bits = cut->bit - (last           ? last->bit
                                : splice->held ? splice->stretch->first_bit
                                               : splice->bit);
    if (!last && splice->held)
        bits += splice->held->end_bit - splice->bit;
    return bits / 8 <= size + size / 16 + 4096;
}

/* Copies what lies between cuts, up to `stop` at most. */
static int put_cuts(struct sfs_splice *splice, uint64_t stop, uint64_t end, struct sfs_error *err)
{
    const struct sfs_stretch *stretch = splice->stretch;
    const struct sfs_cut *last = NULL; /* the cut up to which will be copied */
    int r = 0;
    for (size_t i = 0; i < stretch->cut_count && stretch->cuts[i].out <= stop && r == 0; i++) {
        const struct sfs_cut *cut = &stretch->cuts[i];
        if (splice->is_open && !(cut->is_joined && is_fair(splice, last, cut))) {
            r = last ? go_on_to(splice, last, err) : 0;
            last = NULL;
            if (r == 0)
                r = close_member(splice, err);
        }
        if (r == 0 && splice->is_open)
            last = cut;
        else if (r == 0 && may_open(splice, cut, end))
            r = open_member(splice, cut, err);
    }
    return r == 0 && last ? go_on_to(splice, last, err) : r;
}

/* Is the stretch the one that the held one goes on in? */
static bool is_joined(const struct sfs_stretch *held, const struct sfs_stretch *stretch)
{
    return held->goes_on && stretch->is_inside && end_of(held) == stretch->out;
}

/* Keeps the stretch, since the range goes on in the next one. */
static int hold(struct sfs_splice *splice, struct sfs_error *err)
{
    const struct sfs_stretch *stretch = splice->stretch;
    /* If one is held already, this whole stretch had no cut. */
    int r = splice->held ? close_member(splice, err) : 0;
    if (r < 0 || !splice->is_open)
        return r < 0 ? r : set_aside(splice, stretch, err);
    sfs_stretch_hold(stretch);
    splice->held = stretch;
    return 0;
}

int sfs_splice_put(struct sfs_splice *splice, const struct sfs_stretch *stretch, uint64_t at,
                   uint64_t stop, uint64_t end, struct sfs_error *err)
{
    int r = 0;
    splice->stretch = stretch;
    if (!splice->is_open)
        splice->at = at;
    if (splice->held && !is_joined(splice->held, stretch))
        r = close_member(splice, err);
    if (r == 0)
        r = put_cuts(splice, stop, end, err);
    if (r == 0 && stop > end_of(stretch))
        return hold(splice, err);
    if (r == 0)
        r = close_member(splice, err);
    return r == 0 ? put_plain(splice, stop, err) : r;
}

bool sfs_splice_waits(const struct sfs_splice *splice)
{
    return splice->is_open || splice->waiting_size > 0;
}
