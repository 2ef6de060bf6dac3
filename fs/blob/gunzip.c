/* ISA-L is used for raw deflate only; the wrapper is parsed here, because a random access enters
 * behind it and because ISA-L's own reading of it cannot be stopped at its edges. */
#include "blob/gunzip.h"

#include <endian.h>
#include <errno.h>
#include <isa-l/crc.h>

/* Names and comments have no length; nobody writes long ones. */
#define MAX_HEADER (256u << 10)

enum flag { FLAG_HCRC = 2, FLAG_EXTRA = 4, FLAG_NAME = 8, FLAG_COMMENT = 16, FLAG_RESERVED = 0xe0 };
enum head_state { HEAD_FIXED, HEAD_EXTRA_SIZE, HEAD_EXTRA, HEAD_NAME, HEAD_COMMENT, HEAD_CRC };

static void set_phase(struct sfs_gunzip *gunzip, enum sfs_gunzip_phase phase)
{
    gunzip->phase = phase;
    memset(&gunzip->head, 0, sizeof gunzip->head);
}

void sfs_gunzip_start(struct sfs_gunzip *gunzip, bool verify)
{
    gunzip->verify = verify;
    gunzip->in = gunzip->member_in = gunzip->data_end = 0;
    set_phase(gunzip, SFS_GUNZIP_START);
}

static void reset_inflate(struct sfs_gunzip *gunzip)
{
    isal_inflate_reset(&gunzip->inflate);
    gunzip->inflate.dict_length = 0;
    gunzip->inflate.crc_flag = ISAL_DEFLATE;
    gunzip->inflate.hist_bits = 0;
    gunzip->stopping = false;
}

static void begin_data(struct sfs_gunzip *gunzip)
{
    set_phase(gunzip, SFS_GUNZIP_DATA);
    gunzip->member_out = 0;
    gunzip->crc = 0;
    reset_inflate(gunzip);
}

static int set_window(struct sfs_gunzip *gunzip, const void *window, size_t size)
{
    if (size == 0)
        return 0;
    /* ISA-L takes a writable pointer, but only copies from it. */
    uint8_t *bytes = (uint8_t *)(uintptr_t)window;
    return isal_inflate_set_dict(&gunzip->inflate, bytes, (uint32_t)size) == COMP_OK ? 0 : -EBADMSG;
}

int sfs_gunzip_resume(struct sfs_gunzip *gunzip, uint8_t byte, unsigned bits, const void *window,
                      size_t window_size)
{
    sfs_gunzip_start(gunzip, false);
    isal_inflate_init(&gunzip->inflate);
    begin_data(gunzip);
    gunzip->inflate.read_in = bits ? (uint64_t)(byte >> (8 - bits)) : 0;
    gunzip->inflate.read_in_length = (int32_t)bits;
    return set_window(gunzip, window, window_size);
}

/* ISA-L looks at bfinal when a block ends, to see whether the stream does. Set early, it makes
 * ISA-L stop there, with all output handed out and the next bits in read_in. */
bool sfs_gunzip_ask_stop(struct sfs_gunzip *gunzip)
{
    struct inflate_state *inflate = &gunzip->inflate;
    bool in_block =
        inflate->block_state == ISAL_BLOCK_TYPE0 || inflate->block_state == ISAL_BLOCK_CODED;
    if (gunzip->phase != SFS_GUNZIP_DATA || !in_block || inflate->bfinal)
        return gunzip->stopping;
    inflate->bfinal = 1;
    gunzip->stopping = true;
    return true;
}

bool sfs_gunzip_is_ending(const struct sfs_gunzip *gunzip)
{
    return gunzip->phase == SFS_GUNZIP_DATA && gunzip->inflate.bfinal;
}

uint64_t sfs_gunzip_stop_bit(const struct sfs_gunzip *gunzip)
{
    return gunzip->in * 8 - (uint64_t)gunzip->inflate.read_in_length;
}

int sfs_gunzip_go_on(struct sfs_gunzip *gunzip, const void *window, size_t window_size)
{
    uint64_t bits = gunzip->inflate.read_in;
    int32_t count = gunzip->inflate.read_in_length;
    reset_inflate(gunzip);
    gunzip->phase = SFS_GUNZIP_DATA;
    gunzip->inflate.read_in = count < 64 ? bits & ((1ull << count) - 1) : bits;
    gunzip->inflate.read_in_length = count;
    return set_window(gunzip, window, window_size);
}

static void take(struct sfs_gunzip *gunzip, struct sfs_decoder_io *io, size_t size)
{
    if (gunzip->phase == SFS_GUNZIP_HEADER && gunzip->head.state != HEAD_CRC)
        gunzip->head.crc = crc32_gzip_refl(gunzip->head.crc, io->in, size);
    gunzip->in += size;
    gunzip->head.size += (uint32_t)size;
    io->in += size;
    io->in_size -= size;
}

/* Collects `size` bytes in head.bytes; true when they are there. */
static bool collect(struct sfs_gunzip *gunzip, struct sfs_decoder_io *io, uint32_t size)
{
    while (gunzip->head.left < size && io->in_size > 0) {
        gunzip->head.bytes[gunzip->head.left++ % 8] = io->in[0];
        take(gunzip, io, 1);
    }
    if (gunzip->head.left < size)
        return false;
    gunzip->head.left = 0;
    return true;
}

static bool skip_text(struct sfs_gunzip *gunzip, struct sfs_decoder_io *io)
{
    const uint8_t *end = memchr(io->in, 0, io->in_size);
    take(gunzip, io, end ? (size_t)(end - io->in) + 1 : io->in_size);
    return end != NULL;
}

static void next_head_state(struct sfs_gunzip *gunzip)
{
    static const struct {
        enum head_state state;
        uint32_t flag;
    } order[] = { { HEAD_EXTRA_SIZE, FLAG_EXTRA },
                  { HEAD_NAME, FLAG_NAME },
                  { HEAD_COMMENT, FLAG_COMMENT },
                  { HEAD_CRC, FLAG_HCRC } };
    for (size_t i = 0; i < sizeof order / sizeof order[0]; i++) {
        if (order[i].state > gunzip->head.state && (gunzip->head.flags & order[i].flag)) {
            gunzip->head.state = order[i].state;
            return;
        }
    }
    begin_data(gunzip);
}

/* The first ten bytes. They are looked at one by one, since `head.bytes` is short. */
static int read_fixed(struct sfs_gunzip *gunzip, struct sfs_decoder_io *io, struct sfs_error *err)
{
    while (gunzip->head.size < 10 && io->in_size > 0) {
        uint8_t byte = io->in[0];
        uint32_t at = gunzip->head.size;
        if (at == 2 && byte != 8)
            return sfs_fail(err, EBADMSG, "gzip member of unknown method %u", byte);
        if (at == 3 && (byte & FLAG_RESERVED))
            return sfs_fail(err, EBADMSG, "gzip header has unknown flags 0x%02x", byte);
        if (at == 3)
            gunzip->head.flags = byte;
        take(gunzip, io, 1);
    }
    if (gunzip->head.size == 10)
        next_head_state(gunzip);
    return 0;
}

static int step_header(struct sfs_gunzip *gunzip, struct sfs_decoder_io *io, struct sfs_error *err)
{
    if (gunzip->head.size > MAX_HEADER)
        return sfs_fail(err, EBADMSG, "gzip header is longer than %u bytes", MAX_HEADER);
    const uint8_t *bytes = gunzip->head.bytes;
    switch ((enum head_state)gunzip->head.state) {
    case HEAD_FIXED:
        return read_fixed(gunzip, io, err);
    case HEAD_EXTRA_SIZE:
        if (collect(gunzip, io, 2)) {
            gunzip->head.left = bytes[0] | (uint32_t)bytes[1] << 8;
            gunzip->head.state = HEAD_EXTRA;
        }
        return 0;
    case HEAD_EXTRA: {
        size_t part = gunzip->head.left < io->in_size ? gunzip->head.left : io->in_size;
        take(gunzip, io, part);
        gunzip->head.left -= (uint32_t)part;
        if (gunzip->head.left == 0)
            next_head_state(gunzip);
        return 0;
    }
    case HEAD_NAME:
    case HEAD_COMMENT:
        if (skip_text(gunzip, io))
            next_head_state(gunzip);
        return 0;
    case HEAD_CRC:
        if (!collect(gunzip, io, 2))
            return 0;
        if ((gunzip->head.crc & 0xffff) != (bytes[0] | (uint32_t)bytes[1] << 8))
            return sfs_fail(err, EBADMSG, "gzip header does not match its checksum");
        next_head_state(gunzip);
        return 0;
    }
    return sfs_fail(err, EBADMSG, "gzip header state");
}

/* Before a member's magic. As gzip(1): zeros and other bytes that are no gzip end the stream. */
static int step_between(struct sfs_gunzip *gunzip, struct sfs_decoder_io *io, struct sfs_error *err)
{
    static const uint8_t magic[2] = { 0x1f, 0x8b };
    if (gunzip->head.size == 0)
        gunzip->member_in = gunzip->in;
    while (gunzip->head.size < 2 && io->in_size > 0) {
        if (io->in[0] != magic[gunzip->head.size]) {
            if (gunzip->phase == SFS_GUNZIP_START)
                return sfs_fail(err, EBADMSG, "not a gzip stream");
            set_phase(gunzip, SFS_GUNZIP_REST);
            return 0;
        }
        take(gunzip, io, 1);
    }
    if (gunzip->head.size == 2) {
        uint32_t crc = crc32_gzip_refl(0, magic, 2);
        set_phase(gunzip, SFS_GUNZIP_HEADER);
        gunzip->head.size = 2;
        gunzip->head.crc = crc;
    }
    return 0;
}

/* What the inflater read beyond the data is the trailer's: never more than its eight bytes. */
static void begin_trailer(struct sfs_gunzip *gunzip)
{
    struct inflate_state *inflate = &gunzip->inflate;
    uint32_t count = (uint32_t)inflate->read_in_length / 8;
    uint64_t bytes = inflate->read_in >> (inflate->read_in_length % 8);
    set_phase(gunzip, SFS_GUNZIP_TRAILER);
    for (uint32_t i = 0; i < count; i++)
        gunzip->head.bytes[i] = (uint8_t)(bytes >> (8 * i));
    gunzip->head.left = count;
}

static int step_data(struct sfs_gunzip *gunzip, struct sfs_decoder_io *io, struct sfs_error *err)
{
    struct inflate_state *inflate = &gunzip->inflate;
    uint32_t in_size = io->in_size > (1u << 30) ? 1u << 30 : (uint32_t)io->in_size;
    uint32_t out_size = io->out_size > (1u << 30) ? 1u << 30 : (uint32_t)io->out_size;
    inflate->next_in = (uint8_t *)(uintptr_t)io->in; /* ISA-L only reads it */
    inflate->avail_in = in_size;
    inflate->next_out = io->out;
    inflate->avail_out = out_size;
    int r = isal_inflate(inflate);
    size_t taken = in_size - inflate->avail_in, made = out_size - inflate->avail_out;
    if (r != ISAL_DECOMP_OK)
        return sfs_fail(err, EBADMSG, "gzip data is damaged");
    if (gunzip->verify)
        gunzip->crc = crc32_gzip_refl(gunzip->crc, io->out, made);
    gunzip->in += taken;
    gunzip->member_out += made;
    *io = (struct sfs_decoder_io){ io->in + taken, io->in_size - taken, io->out + made,
                                   io->out_size - made };
    if (inflate->block_state == ISAL_BLOCK_FINISH && gunzip->stopping)
        gunzip->phase = SFS_GUNZIP_STOPPED;
    else if (inflate->block_state == ISAL_BLOCK_FINISH)
        begin_trailer(gunzip);
    return 0;
}

uint32_t sfs_gunzip_load32(const uint8_t bytes[4])
{
    uint32_t little;
    memcpy(&little, bytes, sizeof little);
    return le32toh(little);
}

static int step_trailer(struct sfs_gunzip *gunzip, struct sfs_decoder_io *io, struct sfs_error *err)
{
    if (!collect(gunzip, io, 8))
        return 0;
    const uint8_t *bytes = gunzip->head.bytes;
    if (gunzip->verify && sfs_gunzip_load32(bytes) != gunzip->crc)
        return sfs_fail(err, EBADMSG, "gzip data does not match its checksum");
    if (gunzip->verify && sfs_gunzip_load32(bytes + 4) != (uint32_t)gunzip->member_out)
        return sfs_fail(err, EBADMSG, "gzip data does not have the size that it claims");
    gunzip->data_end = gunzip->in;
    set_phase(gunzip, SFS_GUNZIP_BETWEEN);
    return 0;
}

int sfs_gunzip_step(struct sfs_gunzip *gunzip, struct sfs_decoder_io *io, struct sfs_error *err)
{
    switch (gunzip->phase) {
    case SFS_GUNZIP_START:
    case SFS_GUNZIP_BETWEEN:
        return step_between(gunzip, io, err);
    case SFS_GUNZIP_HEADER:
        return step_header(gunzip, io, err);
    case SFS_GUNZIP_DATA:
        return step_data(gunzip, io, err);
    case SFS_GUNZIP_STOPPED:
        return 0;
    case SFS_GUNZIP_TRAILER:
        return step_trailer(gunzip, io, err);
    case SFS_GUNZIP_REST:
        take(gunzip, io, io->in_size);
        return 0;
    }
    return sfs_fail(err, EBADMSG, "gzip state");
}

bool sfs_gunzip_may_end(const struct sfs_gunzip *gunzip)
{
    return gunzip->phase == SFS_GUNZIP_REST ||
           (gunzip->phase == SFS_GUNZIP_BETWEEN && gunzip->head.size == 0);
}
