#include "layer/tar_read.h"

#include "base/buf.h"
#include "layer/whiteout.h"
#include <archive.h>
#include <archive_entry.h>
#include <fnmatch.h>
#include <locale.h>

/* Libraries from this size on are entered at many places by the dynamic loader. */
#define LARGE_LIBRARY (8u << 20)
/* The loader goes to the start of a library first: headers, symbols, relocations. */
#define DENSE_START (4u << 20)

struct tar_reader {
    struct sfs_unpack *unpack;
    struct sfs_builder *builder;
    bool is_estargz;
    struct archive *archive;
    locale_t locale, outer_locale;
    int source_r; /* what sfs_unpack_next() said, if it failed */
    struct sfs_error source_error;
    struct sfs_buf extents; /* of the entry at hand */
    char last[128];         /* path of the last entry read, for messages */
    bool told;              /* the words of a failure name the entry already */
};

static void close_reader(struct tar_reader *reader)
{
    if (reader->archive)
        archive_read_free(reader->archive);
    if (reader->locale) {
        uselocale(reader->outer_locale);
        freelocale(reader->locale);
    }
    sfs_buf_close(&reader->extents);
}

static la_ssize_t lend_block(struct archive *archive, void *user, const void **ret_data)
{
    struct tar_reader *reader = user;
    size_t size = 0;
    reader->source_r = sfs_unpack_next(reader->unpack, ret_data, &size, &reader->source_error);
    if (reader->source_r < 0) {
        archive_set_error(archive, EIO, "the source failed");
        return ARCHIVE_FATAL;
    }
    return (la_ssize_t)size;
}

static int fail_archive(struct tar_reader *reader, struct sfs_error *err)
{
    reader->told = true;
    if (reader->source_r < 0)
        return sfs_fail(err, -reader->source_r, "%s", reader->source_error.text);
    if (archive_errno(reader->archive) == ENOMEM)
        return sfs_fail_memory(err);
    const char *text = archive_error_string(reader->archive);
    text = text ? text : "a header that cannot be read";
    if (reader->last[0])
        return sfs_fail(err, EBADMSG, "the tar is malformed behind \"%s\": %s", reader->last, text);
    return sfs_fail(err, EBADMSG, "the tar is malformed: %s", text);
}

static int open_archive(struct tar_reader *reader, struct sfs_error *err)
{
    /* In the C locale libarchive hands out names as they stand; in others it may convert them. Only
     * this thread is concerned. */
    reader->locale = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    reader->archive = archive_read_new();
    if (!reader->locale || !reader->archive)
        return sfs_fail_memory(err);
    reader->outer_locale = uselocale(reader->locale);
    if (archive_read_support_format_tar(reader->archive) != ARCHIVE_OK ||
        archive_read_support_format_empty(reader->archive) != ARCHIVE_OK ||
        archive_read_open(reader->archive, reader, NULL, lend_block, NULL) != ARCHIVE_OK)
        return fail_archive(reader, err);
    return 0;
}

static int add_extent(struct tar_reader *reader, const struct sfs_extent *extent,
                      struct sfs_error *err)
{
    struct sfs_extent *list = (void *)reader->extents.data;
    size_t count = reader->extents.size / sizeof *list;
    if (count > 0) {
        struct sfs_extent *last = &list[count - 1];
        if (last->file_offset + last->size == extent->file_offset &&
            last->data_offset + last->size == extent->data_offset) {
            last->size += extent->size;
            return 0;
        }
    }
    if (sfs_buf_add(&reader->extents, extent, sizeof *extent) < 0)
        return sfs_fail_memory(err);
    return 0;
}

/* Where the file's bytes are: libarchive lends them block by block, and its position is where the
 * block at hand starts. */
static int read_extents(struct tar_reader *reader, struct sfs_error *err)
{
    reader->extents.size = 0;
    for (;;) {
        const void *data;
        size_t size;
        la_int64_t offset;
        int status = archive_read_data_block(reader->archive, &data, &size, &offset);
        if (status == ARCHIVE_EOF)
            return 0;
        if (status != ARCHIVE_OK && status != ARCHIVE_WARN)
            return fail_archive(reader, err);
        struct sfs_extent extent = {
            .file_offset = (uint64_t)offset,
            .data_offset = (uint64_t)archive_filter_bytes(reader->archive, 0),
            .size = size,
        };
        int r = size > 0 ? add_extent(reader, &extent, err) : 0;
        if (r < 0)
            return r;
    }
}

static bool is_library(const char *path)
{
    const char *slash = strrchr(path, '/');
    const char *name = slash ? slash + 1 : path;
    return fnmatch("*.so", name, 0) == 0 || fnmatch("*.so.*", name, 0) == 0;
}

static int fill_metadata(struct archive_entry *entry, struct sfs_inode_rec *inode,
                         struct sfs_error *err)
{
    la_int64_t uid = archive_entry_uid(entry), gid = archive_entry_gid(entry);
    uint64_t rdev_major = archive_entry_rdevmajor(entry),
             rdev_minor = archive_entry_rdevminor(entry);
    la_int64_t size = archive_entry_size(entry);
    uint32_t type = archive_entry_filetype(entry);
    if (uid < 0 || uid >= UINT32_MAX || gid < 0 || gid >= UINT32_MAX)
        return sfs_fail(err, EBADMSG, "owner %lld:%lld is out of range", (long long)uid,
                        (long long)gid);
    if ((type == S_IFCHR || type == S_IFBLK) && (rdev_major >= 1 << 12 || rdev_minor >= 1 << 20))
        return sfs_fail(err, EBADMSG, "device %llu:%llu is out of range",
                        (unsigned long long)rdev_major, (unsigned long long)rdev_minor);
    if (size < 0)
        return sfs_fail(err, EBADMSG, "its size is negative");
    long nsec = archive_entry_mtime_nsec(entry);
    *inode = (struct sfs_inode_rec){
        .size = (uint64_t)size,
        .mtime_sec = archive_entry_mtime(entry),
        .mtime_nsec = nsec < 0 || nsec > 999999999 ? 0 : (uint32_t)nsec,
        .mode = type | (archive_entry_perm(entry) & 07777),
        .uid = (uint32_t)uid,
        .gid = (uint32_t)gid,
        .rdev_major = (uint32_t)rdev_major,
        .rdev_minor = (uint32_t)rdev_minor,
    };
    return 0;
}

static int take_file(struct tar_reader *reader, struct archive_entry *entry, const char *path,
                     struct sfs_error *err)
{
    AUTO(sfs_tar_xattrs_done) struct sfs_tar_xattrs xattrs = { 0 };
    struct sfs_builder_item item = { 0 };
    int r = fill_metadata(entry, &item.inode, err);
    if (r == 0)
        r = sfs_tar_xattrs_read(entry, &xattrs, err);
    if (r < 0)
        return r;
    /* The header's group bits are the mask where there is one; libarchive has replaced them. */
    if (xattrs.has_mask)
        item.inode.mode = (item.inode.mode & ~070u) | xattrs.mask << 3;
    item.xattrs = xattrs.list;
    item.xattr_count = xattrs.count;
    item.target = archive_entry_symlink(entry);
    /* Old archives mark a directory only so. */
    if (S_ISREG(item.inode.mode) && path[strlen(path) - 1] == '/')
        item.inode.mode = S_IFDIR | (item.inode.mode & 07777);

    if (S_ISREG(item.inode.mode)) {
        if (item.inode.size > LARGE_LIBRARY && is_library(path))
            sfs_unpack_dense(reader->unpack, (uint64_t)archive_filter_bytes(reader->archive, 0),
                             DENSE_START);
        r = read_extents(reader, err);
        if (r < 0)
            return r;
        if (reader->extents.size / sizeof *item.extents > UINT32_MAX)
            return sfs_fail(err, E2BIG, "too many runs of bytes");
        item.extents = (const void *)reader->extents.data;
        item.extent_count = (uint32_t)(reader->extents.size / sizeof *item.extents);
    }
    return sfs_builder_add(reader->builder, path, &item, err);
}

static int take_named(struct tar_reader *reader, struct archive_entry *entry, const char *path,
                      struct sfs_error *err)
{
    if (reader->is_estargz && sfs_estargz_is_mark(path))
        return 0;
    int r = sfs_whiteout_take(reader->builder, path, err);
    if (r != 0)
        return r < 0 ? r : 0;
    const char *target = archive_entry_hardlink(entry);
    if (target)
        return sfs_builder_link(reader->builder, path, target, err);
    return take_file(reader, entry, path, err);
}

static int take_entry(struct tar_reader *reader, struct archive_entry *entry, struct sfs_error *err)
{
    const char *path = archive_entry_pathname(entry);
    if (!path || !*path)
        return sfs_fail(err, EBADMSG, "an entry of the tar has no name (the one before is \"%s\")",
                        reader->last);
    snprintf(reader->last, sizeof reader->last, "%s", path);
    int r = take_named(reader, entry, path, err);
    if (r < 0 && !reader->told)
        return sfs_fail_while(err, r, "\"%s\"", reader->last);
    return r;
}

int sfs_tar_read(struct sfs_unpack *unpack, struct sfs_builder *builder, bool is_estargz,
                 struct sfs_error *err)
{
    AUTO(close_reader)
    struct tar_reader reader = { .unpack = unpack, .builder = builder, .is_estargz = is_estargz };
    int r = open_archive(&reader, err);
    while (r == 0) {
        struct archive_entry *entry;
        int status = archive_read_next_header(reader.archive, &entry);
        if (status == ARCHIVE_EOF)
            return 0;
        /* A warning is about what libarchive leaves out (unknown charset, malformed attribute). */
        if (status != ARCHIVE_OK && status != ARCHIVE_WARN)
            return fail_archive(&reader, err);
        r = take_entry(&reader, entry, err);
    }
    return r;
}
