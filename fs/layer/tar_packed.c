/* libarchive's filters under its "raw" format: one entry, which is the decoded stream. */
#include "layer/tar_packed.h"

#include <archive.h>
#include <errno.h>
#include <stagefs/auto.h>
#include <stdlib.h>

struct sfs_tar_packed {
    struct sfs_tar_source source;
    struct archive *archive;
    struct sfs_error *err; /* of the call that is being made */
    int source_failure;    /* what the source failed with: its words are in `err` */
    bool is_empty;         /* the source has no bytes at all */
};

static la_ssize_t read_source(struct archive *archive, void *user, const void **ret_data)
{
    struct sfs_tar_packed *packed = user;
    size_t size = 0;
    int r = packed->source.next(packed->source.user, ret_data, &size, packed->err);
    if (r == 0)
        return (la_ssize_t)size;
    packed->source_failure = r;
    archive_set_error(archive, -r, "the source failed");
    return ARCHIVE_FATAL;
}

static int fail(struct sfs_tar_packed *packed, struct sfs_error *err)
{
    if (packed->source_failure < 0)
        return packed->source_failure;
    if (archive_errno(packed->archive) == ENOMEM)
        return sfs_fail_memory(err);
    const char *words = archive_error_string(packed->archive);
    return sfs_fail(err, EBADMSG, "%s", words ? words : "it cannot be decompressed");
}

static int start(struct sfs_tar_packed *packed, struct sfs_error *err)
{
    struct archive_entry *entry;
    packed->archive = archive_read_new();
    if (!packed->archive)
        return sfs_fail_memory(err);
    archive_read_support_filter_gzip(packed->archive);
    archive_read_support_filter_bzip2(packed->archive);
    archive_read_support_filter_xz(packed->archive);
    archive_read_support_filter_zstd(packed->archive);
    archive_read_support_format_raw(packed->archive);
    archive_read_support_format_empty(packed->archive);
    if (archive_read_open(packed->archive, packed, NULL, read_source, NULL) != ARCHIVE_OK)
        return fail(packed, err);
    int r = archive_read_next_header(packed->archive, &entry);
    packed->is_empty = r == ARCHIVE_EOF;
    return r == ARCHIVE_OK || r == ARCHIVE_WARN || packed->is_empty ? 0 : fail(packed, err);
}

int sfs_tar_packed_open(const struct sfs_tar_source *source, struct sfs_tar_packed **ret_packed,
                        struct sfs_error *err)
{
    AUTO(sfs_tar_packed_close) struct sfs_tar_packed *packed = calloc(1, sizeof *packed);
    if (!packed)
        return sfs_fail_memory(err);
    packed->source = *source;
    packed->err = err;
    int r = start(packed, err);
    if (r == 0)
        *ret_packed = TAKE(packed);
    return r;
}

void sfs_tar_packed_close(struct sfs_tar_packed **packed)
{
    if (!*packed)
        return;
    archive_read_free((*packed)->archive);
    free(*packed);
    *packed = NULL;
}

int sfs_tar_packed_next(void *user, const void **ret_data, size_t *ret_size, struct sfs_error *err)
{
    struct sfs_tar_packed *packed = user;
    la_int64_t offset;
    *ret_size = 0;
    if (packed->is_empty)
        return 0;
    packed->err = err;
    int r;
    do /* a decoder may give a piece of nothing in between */
        r = archive_read_data_block(packed->archive, ret_data, ret_size, &offset);
    while (r == ARCHIVE_OK && *ret_size == 0);
    if (r == ARCHIVE_OK)
        return 0;
    *ret_size = 0;
    return r == ARCHIVE_EOF ? 0 : fail(packed, err);
}
