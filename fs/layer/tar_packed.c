/* Gzip is decoded as in layers, with its checksums; the others by libarchive's filters under its
 * "raw" format: one entry, which is the decoded stream. What none of them can begin with is lent as
 * it is, so that most files of an ADD do not need libarchive. */
#include "layer/tar_packed.h"

#include "blob/gunzip.h"
#include "layer/archive_api.h"
#include <errno.h>
#include <stagefs/auto.h>
#include <stdlib.h>
#include <string.h>

#define OUT_SIZE (256u << 10)

struct sfs_tar_packed {
    struct sfs_tar_source source;
    const void *first; /* the source's first piece, until it is taken */
    size_t first_size;

    struct sfs_gunzip *gunzip; /* NULL: it is not gzip */
    const uint8_t *in;         /* what is left of the piece that the source has lent */
    size_t in_size;
    uint8_t *out; /* OUT_SIZE bytes */

    const struct sfs_archive_api *api; /* NULL until it is needed */
    struct archive *archive;           /* NULL: it is gzip, or not compressed */
    struct sfs_error *err;             /* of the call that is being made */
    int source_failure;                /* what the source failed with: its words are in `err` */
    bool is_empty;                     /* what is decoded has no bytes at all */
};

/* ---- gzip ---- */

static int open_gzip(struct sfs_tar_packed *packed, struct sfs_error *err)
{
    packed->gunzip = malloc(sizeof *packed->gunzip);
    packed->out = malloc(OUT_SIZE);
    if (!packed->gunzip || !packed->out)
        return sfs_fail_memory(err);
    packed->in = packed->first;
    packed->in_size = packed->first_size;
    sfs_gunzip_start(packed->gunzip, true);
    return 0;
}

static int next_gzip(struct sfs_tar_packed *packed, const void **ret_data, size_t *ret_size,
                     struct sfs_error *err)
{
    for (;;) {
        struct sfs_decoder_io io = { packed->in, packed->in_size, packed->out, OUT_SIZE };
        int r = sfs_gunzip_step(packed->gunzip, &io, err);
        packed->in = io.in;
        packed->in_size = io.in_size;
        *ret_data = packed->out;
        *ret_size = OUT_SIZE - io.out_size;
        if (r < 0 || *ret_size > 0)
            return r;
        const void *more = NULL;
        if (packed->in_size == 0)
            r = packed->source.next(packed->source.user, &more, &packed->in_size, err);
        if (r < 0)
            return r;
        packed->in = more ? more : packed->in;
        if (packed->in_size == 0)
            return sfs_gunzip_may_end(packed->gunzip)
                       ? 0
                       : sfs_fail(err, EBADMSG, "gzip stream is truncated");
    }
}

/* ---- libarchive ---- */

static la_ssize_t read_source(struct archive *archive, void *user, const void **ret_data)
{
    struct sfs_tar_packed *packed = user;
    size_t size = packed->first_size;
    *ret_data = packed->first;
    packed->first = NULL;
    packed->first_size = 0;
    if (size > 0)
        return (la_ssize_t)size;
    int r = packed->source.next(packed->source.user, ret_data, &size, packed->err);
    if (r == 0)
        return (la_ssize_t)size;
    packed->source_failure = r;
    packed->api->archive_set_error(archive, -r, "the source failed");
    return ARCHIVE_FATAL;
}

static int fail(struct sfs_tar_packed *packed, struct sfs_error *err)
{
    if (packed->source_failure < 0)
        return packed->source_failure;
    if (packed->api->archive_errno(packed->archive) == ENOMEM)
        return sfs_fail_memory(err);
    const char *words = packed->api->archive_error_string(packed->archive);
    return sfs_fail(err, EBADMSG, "%s", words ? words : "it cannot be decompressed");
}

static int open_archive(struct sfs_tar_packed *packed, struct sfs_error *err)
{
    struct archive_entry *entry;
    int r = sfs_archive_api_load(&packed->api, err);
    if (r < 0)
        return r;
    packed->archive = packed->api->archive_read_new();
    if (!packed->archive)
        return sfs_fail_memory(err);
    packed->api->archive_read_support_filter_bzip2(packed->archive);
    packed->api->archive_read_support_filter_xz(packed->archive);
    packed->api->archive_read_support_filter_zstd(packed->archive);
    packed->api->archive_read_support_format_raw(packed->archive);
    packed->api->archive_read_support_format_empty(packed->archive);
    if (packed->api->archive_read_open(packed->archive, packed, NULL, read_source, NULL) !=
        ARCHIVE_OK)
        return fail(packed, err);
    r = packed->api->archive_read_next_header(packed->archive, &entry);
    packed->is_empty = r == ARCHIVE_EOF;
    return r == ARCHIVE_OK || r == ARCHIVE_WARN || packed->is_empty ? 0 : fail(packed, err);
}

static int next_archive(struct sfs_tar_packed *packed, const void **ret_data, size_t *ret_size,
                        struct sfs_error *err)
{
    la_int64_t offset;
    int r = ARCHIVE_EOF;
    *ret_size = 0;
    if (packed->is_empty)
        return 0;
    do /* a filter may give a piece of nothing in between */
        r = packed->api->archive_read_data_block(packed->archive, ret_data, ret_size, &offset);
    while (r == ARCHIVE_OK && *ret_size == 0);
    if (r == ARCHIVE_OK)
        return 0;
    *ret_size = 0;
    return r == ARCHIVE_EOF ? 0 : fail(packed, err);
}

/* ---- not compressed ---- */

/* May libarchive know it? Two bytes are all that is sure to be there. If they only look like it (a
 * tar of a file that is called BZ...), libarchive lends it as it is, too. */
static bool may_be_packed(const uint8_t *first, size_t size)
{
    static const uint8_t starts[][2] = { { 'B', 'Z' }, { 0xfd, '7' }, { 0x28, 0xb5 } };
    for (size_t i = 0; size >= 2 && i < sizeof starts / sizeof *starts; i++)
        if (memcmp(first, starts[i], 2) == 0)
            return true;
    return size >= 2 && (first[0] & 0xf0) == 0x50 && first[1] == 0x2a; /* zstd skips this frame */
}

static int next_plain(struct sfs_tar_packed *packed, const void **ret_data, size_t *ret_size,
                      struct sfs_error *err)
{
    *ret_data = packed->first;
    *ret_size = packed->first_size;
    packed->first = NULL;
    packed->first_size = 0;
    return *ret_size > 0 ? 0 : packed->source.next(packed->source.user, ret_data, ret_size, err);
}

/* ---- any ---- */

int sfs_tar_packed_open(const struct sfs_tar_source *source, struct sfs_tar_packed **ret_packed,
                        struct sfs_error *err)
{
    static const uint8_t gzip[] = { 0x1f, 0x8b };
    AUTO(sfs_tar_packed_close) struct sfs_tar_packed *packed = calloc(1, sizeof *packed);
    if (!packed)
        return sfs_fail_memory(err);
    packed->source = *source;
    packed->err = err;
    int r = source->next(source->user, &packed->first, &packed->first_size, err);
    if (r < 0)
        return r;
    bool is_gzip =
        packed->first_size >= sizeof gzip && memcmp(packed->first, gzip, sizeof gzip) == 0;
    if (is_gzip)
        r = open_gzip(packed, err);
    else if (may_be_packed(packed->first, packed->first_size))
        r = open_archive(packed, err);
    if (r == 0)
        *ret_packed = TAKE(packed);
    return r;
}

void sfs_tar_packed_close(struct sfs_tar_packed **packed)
{
    if (!*packed)
        return;
    if ((*packed)->archive)
        (*packed)->api->archive_read_free((*packed)->archive);
    free((*packed)->gunzip);
    free((*packed)->out);
    free(*packed);
    *packed = NULL;
}

int sfs_tar_packed_next(void *user, const void **ret_data, size_t *ret_size, struct sfs_error *err)
{
    struct sfs_tar_packed *packed = user;
    packed->err = err;
    return (packed->gunzip    ? next_gzip
            : packed->archive ? next_archive
                              : next_plain)(packed, ret_data, ret_size, err);
}
