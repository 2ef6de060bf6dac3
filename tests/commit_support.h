/* The layer between two trees, as a tar in memory and as a listing by libarchive. */
#ifndef STAGEFS_TESTS_COMMIT_SUPPORT_H
#define STAGEFS_TESTS_COMMIT_SUPPORT_H

#include "commit/layer_write.h"
#include "support.h"
#include <archive.h>
#include <archive_entry.h>
#include <criterion/criterion.h>
#include <jansson.h>
#include <locale.h>
#include <sys/mman.h>

struct made_layer {
    int fd;
    struct sfs_changes changes;
    struct sfs_pipe_result result;
    uint64_t copied;
    json_t *annotations; /* NULL: none */
};

static inline void made_layer_done(struct made_layer *made)
{
    sfs_close_fd(&made->fd);
    sfs_changes_done(&made->changes);
    json_decref(made->annotations);
}

/* Takes over the changes. epoch < 0: none */
static inline struct made_layer write_changes(const struct sfs_tree *tree,
                                              struct sfs_changes changes,
                                              enum sfs_compression format, int64_t epoch,
                                              const struct sfs_progress *progress)
{
    struct sfs_error err = { "" };
    struct made_layer made = { .fd = memfd_create("layer", MFD_CLOEXEC), .changes = changes };
    struct sfs_layer_write write = { .tree = tree,
                                     .changes = &made.changes,
                                     .pipe = { .threads = 2, .fd = made.fd, .name = "layer" },
                                     .has_epoch = epoch >= 0,
                                     .epoch = epoch,
                                     .progress = progress };
    cr_assert_eq(sfs_compress_plan(format, 0, &write.pipe.plan, &err), 0, "%s", err.text);
    struct sfs_layer_written written;
    int r = sfs_layer_write(&write, &written, &err);
    cr_assert_eq(r, 0, "%s", err.text);
    made.result = written.pipe;
    made.copied = written.copied;
    made.annotations = written.annotations;
    lseek(made.fd, 0, SEEK_SET);
    return made;
}

static inline struct made_layer make_layer(const struct sfs_tree *base, const struct sfs_tree *tree,
                                           enum sfs_compression format, int64_t epoch,
                                           const struct sfs_progress *progress)
{
    struct sfs_error err = { "" };
    struct sfs_changes changes = { 0 };
    cr_assert_eq(sfs_changes_find(base, tree, &changes, &err), 0, "%s", err.text);
    return write_changes(tree, changes, format, epoch, progress);
}

static inline void list_content(struct archive *archive, struct sfs_buf *text)
{
    char data[4096];
    la_ssize_t n;
    sfs_buf_add_str(text, "=");
    while ((n = archive_read_data(archive, data, sizeof data)) > 0)
        for (la_ssize_t i = 0; i < n; i++)
            sfs_buf_add(text, data[i] ? &data[i] : ".", 1);
    cr_assert_eq(n, 0, "%s", archive_error_string(archive));
}

static inline void list_entry(struct archive *archive, struct archive_entry *entry,
                              struct sfs_buf *text)
{
    const char *hard = archive_entry_hardlink(entry), *soft = archive_entry_symlink(entry);
    sfs_buf_printf(text, "%04o %lld:%lld @%lld %s", archive_entry_perm(entry),
                   (long long)archive_entry_uid(entry), (long long)archive_entry_gid(entry),
                   (long long)archive_entry_mtime(entry), archive_entry_pathname(entry));
    if (hard)
        sfs_buf_printf(text, " == %s", hard);
    else if (soft)
        sfs_buf_printf(text, " -> %s", soft);
    else if (archive_entry_filetype(entry) == AE_IFREG)
        list_content(archive, text);
    const char *name;
    const void *value;
    size_t size;
    for (archive_entry_xattr_reset(entry);
         archive_entry_xattr_next(entry, &name, &value, &size) == ARCHIVE_OK;)
        sfs_buf_printf(text, " +%s=%.*s", name, (int)size, (const char *)value);
    sfs_buf_add_str(text, "\n");
}

/* One line an entry, in the order of the tar; the caller frees. */
static inline char *list_layer(const struct made_layer *made)
{
    setlocale(LC_ALL, "C.UTF-8");
    struct sfs_buf text = { 0 };
    struct archive *archive = archive_read_new();
    struct archive_entry *entry;
    sfs_buf_add_str(&text, "");
    archive_read_support_format_tar(archive);
    archive_read_support_filter_all(archive);
    cr_assert_eq(archive_read_open_fd(archive, made->fd, 65536), ARCHIVE_OK);
    int r;
    while ((r = archive_read_next_header(archive, &entry)) == ARCHIVE_OK)
        list_entry(archive, entry, &text);
    cr_assert_eq(r, ARCHIVE_EOF, "%s", archive_error_string(archive));
    archive_read_free(archive);
    return text.data;
}

/* The layer from one tree to another is this. */
static inline void expect_layer(const struct sfs_tree *base, const struct sfs_tree *tree,
                                const char *expected)
{
    AUTO(made_layer_done)
    struct made_layer made = make_layer(base, tree, SFS_COMPRESS_NONE, -1, NULL);
    AUTO(sfs_free) char *got = list_layer(&made);
    cr_assert_str_eq(got, expected, "got:\n%sexpected:\n%s", got, expected);
}

#endif
