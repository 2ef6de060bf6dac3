/* One thread walks the entries and copies file bytes into the pipe. It tells the tree what it will
 * read soon, so that decoding goes on on other cores; digesting, compressing and writing are the
 * pipe's. Sparse files are written dense: a reader of a layer need not know what a hole is. */
#include "commit/layer_write.h"

#include "blob/spans.h"
#include "commit/ahead.h"
#include "commit/tar.h"
#include <errno.h>
#include <sys/stat.h>

#define PIN         (1u << 20)
#define REPORT_STEP (8u << 20)

struct writer {
    const struct sfs_layer_write *write;
    struct sfs_pipe *pipe;
    struct sfs_buf header;
    const char *path; /* of the file that is being read */
    struct sfs_error *err;
    struct sfs_ahead ahead;
    uint64_t done;     /* file bytes */
    uint64_t reported; /* done, when it was told last */
    uint64_t clamped_sources;
};

static void writer_done(struct writer *writer)
{
    sfs_pipe_close(&writer->pipe);
    sfs_buf_close(&writer->header);
}

/* Whether it is done only sfs_layer_write() knows. */
static void report(struct writer *writer, bool finished)
{
    const struct sfs_progress *progress = writer->write->progress;
    uint64_t total = writer->write->changes->file_bytes;
    if (!progress || !progress->report || total == 0)
        return;
    if (!finished && (writer->done < writer->reported + REPORT_STEP || writer->done >= total))
        return;
    progress->report(progress->user, "committing", finished ? total : writer->done, total);
    writer->reported = writer->done;
}

static int copy_data(struct writer *writer, sfs_node node, uint64_t offset, uint64_t end)
{
    while (offset < end) {
        sfs_ahead_ask(&writer->ahead, writer->done);
        AUTO(sfs_slice_release) struct sfs_slice slice = { 0 };
        size_t wanted = end - offset < PIN ? (size_t)(end - offset) : PIN;
        int r = sfs_tree_pin(writer->write->tree, node, offset, wanted, &slice, writer->err);
        if (r < 0)
            return sfs_fail_while(writer->err, r, "%s", writer->path);
        r = sfs_pipe_write(writer->pipe, slice.data, slice.size, writer->err);
        if (r < 0)
            return r;
        offset += slice.size;
        writer->done += slice.size;
        report(writer, false);
    }
    return 0;
}

/* Holes cost their zeros only, not a reading. */
static int copy_content(struct writer *writer, sfs_node node, uint64_t size)
{
    for (uint64_t offset = 0; offset < size;) {
        uint64_t data = size, hole = size;
        if (sfs_tree_seek(writer->write->tree, node, offset, false, &data) < 0)
            data = size;
        int r = sfs_pipe_write_zeros(writer->pipe, data - offset, writer->err);
        if (r < 0)
            return r;
        writer->done += data - offset;
        if (data < size && sfs_tree_seek(writer->write->tree, node, data, true, &hole) < 0)
            hole = size;
        r = copy_data(writer, node, data, hole);
        if (r < 0)
            return r;
        offset = hole;
    }
    return sfs_pipe_write_zeros(writer->pipe, sfs_tar_padding(size), writer->err);
}

static int write_header(struct writer *writer, const struct sfs_tar_entry *entry)
{
    writer->header.size = 0;
    int r = sfs_tar_add_header(&writer->header, entry, writer->err);
    if (r < 0)
        return r;
    return sfs_pipe_write(writer->pipe, writer->header.data, writer->header.size, writer->err);
}

/* Whose labels mean something on the builder's machine only. */
static bool is_local_xattr(const char *name)
{
    return strcmp(name, "security.selinux") == 0;
}

static int get_xattrs(const struct sfs_tree *tree, sfs_node node, struct sfs_xattr **ret_xattrs,
                      uint32_t *ret_count)
{
    uint32_t all = sfs_tree_xattr_count(tree, node), count = 0;
    struct sfs_xattr *xattrs = all ? calloc(all, sizeof *xattrs) : NULL;
    if (all && !xattrs)
        return -ENOMEM;
    for (uint32_t i = 0; i < all; i++) {
        xattrs[count] = sfs_tree_xattr(tree, node, i);
        if (!is_local_xattr(xattrs[count].name))
            count++;
    }
    *ret_xattrs = xattrs;
    *ret_count = count;
    return 0;
}

static bool ends_with(const char *text, const char *end)
{
    size_t size = strlen(text), end_size = strlen(end);
    return size >= end_size && strcmp(text + size - end_size, end) == 0;
}

static void clamp_mtime(struct writer *writer, struct sfs_tar_entry *entry)
{
    const struct sfs_layer_write *write = writer->write;
    if (!write->has_epoch || entry->attr.mtime_sec == write->epoch ||
        (entry->attr.mtime_sec < write->epoch && !write->set_mtimes))
        return;
    entry->attr.mtime_sec = write->epoch;
    if (ends_with(entry->path, ".py"))
        writer->clamped_sources++;
}

/* A hard link's header repeats the inode's metadata with its xattrs, since podman and docker set
 * the owner again through each name, which takes away security.capability. */
static int write_node(struct writer *writer, const struct sfs_item *item)
{
    const struct sfs_layer_write *write = writer->write;
    const struct sfs_changes *changes = write->changes;
    AUTO(sfs_free) struct sfs_xattr *xattrs = NULL;
    struct sfs_tar_entry entry = { .path = sfs_changes_path(changes, item),
                                   .target = sfs_tree_target(write->tree, item->node),
                                   .hard_link = item->kind == SFS_ITEM_LINK };
    if (get_xattrs(write->tree, item->node, &xattrs, &entry.xattr_count) < 0)
        return sfs_fail(writer->err, ENOMEM, "out of memory");
    entry.xattrs = xattrs;
    sfs_tree_attr(write->tree, item->node, &entry.attr);
    clamp_mtime(writer, &entry);
    if (entry.hard_link)
        entry.target = sfs_changes_path(changes, &changes->items[item->first]);
    int r = write_header(writer, &entry);
    if (r < 0 || entry.hard_link || !S_ISREG(entry.attr.mode))
        return r;
    writer->path = entry.path;
    return copy_content(writer, item->node, entry.attr.size);
}

static int write_item(struct writer *writer, const struct sfs_item *item)
{
    if (item->kind != SFS_ITEM_WHITEOUT)
        return write_node(writer, item);
    const struct sfs_tar_entry entry = { .path = sfs_changes_path(writer->write->changes, item),
                                         .attr = { .mode = S_IFREG } };
    return write_header(writer, &entry);
}

/* A .pyc holds the time of its .py; if that is not the same, Python compiles at every start. */
static void warn_of_clamping(const struct writer *writer)
{
    const struct sfs_progress *progress = writer->write->progress;
    if (writer->clamped_sources == 0 || !progress || !progress->warn)
        return;
    const struct sfs_changes *changes = writer->write->changes;
    for (size_t i = 0; i < changes->count; i++) {
        if (!ends_with(sfs_changes_path(changes, &changes->items[i]), ".pyc"))
            continue;
        char text[256];
        snprintf(text, sizeof text,
                 "%llu .py files %s: .pyc files made from them may no longer match, and Python "
                 "then compiles them at each start",
                 (unsigned long long)writer->clamped_sources,
                 writer->write->set_mtimes ? "got the time of --timestamp"
                                           : "are newer than SOURCE_DATE_EPOCH and got its time");
        progress->warn(progress->user, text);
        return;
    }
}

int sfs_layer_write(const struct sfs_layer_write *write, struct sfs_pipe_result *ret_result,
                    struct sfs_error *err)
{
    AUTO(writer_done)
    struct writer writer = { .write = write,
                             .err = err,
                             .ahead = { .tree = write->tree, .changes = write->changes } };
    int r = sfs_pipe_open(&write->pipe, &writer.pipe, err);
    for (size_t i = 0; i < write->changes->count && r == 0; i++)
        r = write_item(&writer, &write->changes->items[i]);
    if (r == 0)
        r = sfs_pipe_write_zeros(writer.pipe, SFS_TAR_END, err);
    if (r == 0)
        r = sfs_pipe_finish(writer.pipe, ret_result, err);
    if (r < 0)
        return r;
    report(&writer, true);
    warn_of_clamping(&writer);
    return 0;
}
