/* One thread walks the entries and copies file bytes into the pipe. It tells the tree what it will
 * read soon, so that decoding goes on on other cores; digesting, compressing and writing are the
 * pipe's. Sparse files are written dense: a reader of a layer need not know what a hole is. */
#include "commit/layer_write.h"

#include "blob/spans.h"
#include "commit/read_plan.h"
#include "commit/contents.h"
#include "commit/layer_entry.h"
#include "commit/layer_names.h"
#include "commit/splice.h"
#include "layer/tar_write.h"
#include "image/document.h"
#include "tree/tree_inner.h"
#include <errno.h>
#include <sys/stat.h>
#include <stagefs/format.h>

#define PIN (1u << 20)
/* Bytes of memory for stretches that are decoded ahead, to be copied: at least STRETCHES, or
 * CUT_STRETCHES where stretches are small, and at least A_THREAD for each thread that decodes. */
#define STRETCHES     (48u << 20)
#define CUT_STRETCHES (16u << 20)
#define A_THREAD      (8u << 20)
#define REPORT_STEP   (8u << 20)
#define HOLES_TOLD    (1u << 20) /* files with so many bytes of holes are told of */

struct layer_writer {
    const struct sfs_layer_write *write;
    struct sfs_pipe *pipe;
    struct sfs_contents *contents; /* NULL: the format has no table */
    struct sfs_buf header;
    const char *path; /* of the file that is being read */
    struct sfs_error *err;
    struct sfs_read_plan ahead;
    struct sfs_splice *splice; /* NULL: no blocks are copied */
    uint64_t done;             /* file bytes that were written so far */
    uint64_t reported;         /* what `done` was when progress was told last */
    uint64_t clamped_sources;  /* Python sources whose mtime was changed */
    uint64_t sparse_files;     /* files with many bytes of holes */
    uint64_t holes;            /* bytes of their holes */
    uint64_t copied;           /* compressed bytes that were copied */
};

static void writer_done(struct layer_writer *writer)
{
    sfs_contents_close(&writer->contents);
    sfs_pipe_close(&writer->pipe); /* first, since stretches are lent to it */
    sfs_splice_close(&writer->splice);
    sfs_frames_close(&writer->ahead.frames);
    sfs_buf_close(&writer->header);
}

/* Tells of progress. Only sfs_layer_write() knows when all is `finished`. */
static void report(struct layer_writer *writer, bool finished)
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

/* Puts file bytes; zeros where data is NULL. */
static int put_bytes(struct layer_writer *writer, const void *data, uint64_t size)
{
    if (writer->contents)
        return sfs_contents_write(writer->contents, data, size, writer->err);
    return data ? sfs_pipe_write(writer->pipe, data, size, writer->err)
                : sfs_pipe_write_zeros(writer->pipe, size, writer->err);
}

static int copy_plain(struct layer_writer *writer, sfs_node node, uint64_t offset, uint64_t end)
{
    while (offset < end) {
        sfs_read_plan_ask(&writer->ahead, writer->done);
        AUTO(sfs_slice_spend) struct sfs_slice slice = { 0 };
        size_t wanted = end - offset < PIN ? (size_t)(end - offset) : PIN;
        int r = sfs_tree_pin(writer->write->tree, node, offset, wanted, &slice, writer->err);
        if (r < 0)
            return sfs_fail_while(writer->err, r, "%s", writer->path);
        r = put_bytes(writer, slice.data, slice.size);
        if (r < 0)
            return r;
        offset += slice.size;
        writer->done += slice.size;
        report(writer, false);
    }
    return 0;
}

static void release_stretch(void *owner)
{
    sfs_stretch_release(owner);
}

static int put_frame(struct layer_writer *writer, const struct sfs_stretch *stretch,
                     const struct sfs_frame *frame)
{
    const struct sfs_packed block = { .data = stretch->data + (frame->out - stretch->out),
                                      .packed = stretch->in + frame->in,
                                      .size = frame->out_size,
                                      .packed_size = frame->in_size,
                                      .release = release_stretch,
                                      .owner = (void *)(uintptr_t)stretch };
    sfs_stretch_hold(stretch);
    writer->copied += frame->in_size;
    return writer->contents
               ? sfs_contents_put(writer->contents, &block, &frame->digest, writer->err)
               : sfs_pipe_put(writer->pipe, &block, writer->err);
}

/* The first frame from `at` on that ends at `end` or before it; NULL: there is none. */
static const struct sfs_frame *next_frame(const struct layer_writer *writer,
                                          const struct sfs_stretch *stretch, uint64_t at,
                                          uint64_t end)
{
    for (size_t i = 0; i < stretch->frame_count; i++) {
        const struct sfs_frame *frame = &stretch->frames[i];
        if (frame->out >= at && frame->out + frame->out_size <= end &&
            frame->out_size >= writer->write->pipe.plan.copy_min)
            return frame;
    }
    return NULL;
}

/* Puts the decoded bytes from `at` on, to the stretch's end or to `stop`; `end` is where the file's
 * bytes end. */
static int put_between(struct layer_writer *writer, const struct sfs_stretch *stretch, uint64_t at,
                       uint64_t stop, uint64_t end)
{
    uint64_t stretch_end = stretch->out + stretch->size;
    if (writer->splice)
        return sfs_splice_put(writer->splice, stretch, at, stop, end, writer->err);
    return put_bytes(writer, stretch->data + (at - stretch->out),
                     (stop < stretch_end ? stop : stretch_end) - at);
}

/* Puts what a stretch has of the decoded bytes [*at, end), which are one file's. Moves *at on. */
static int put_stretch(struct layer_writer *writer, const struct sfs_stretch *stretch, uint64_t *at,
                       uint64_t end)
{
    uint64_t stretch_end = stretch->out + stretch->size;
    while (*at < end && *at < stretch_end) {
        const struct sfs_frame *frame = next_frame(writer, stretch, *at, end);
        uint64_t next = frame ? frame->out : end < stretch_end ? end : stretch_end;
        int r = 0;
        if (next > *at || (writer->splice && sfs_splice_waits(writer->splice)))
            r = put_between(writer, stretch, *at, frame ? next : end, end);
        if (r == 0 && frame)
            r = put_frame(writer, stretch, frame);
        if (r < 0)
            return r;
        *at = frame ? next + frame->out_size : next;
    }
    return 0;
}

static int copy_frames(struct layer_writer *writer, struct sfs_spans *spans, uint64_t at,
                       uint64_t size)
{
    uint64_t end = at + size;
    while (at < end) {
        sfs_read_plan_ask(&writer->ahead, writer->done);
        const struct sfs_stretch *stretch;
        uint64_t before = at;
        int r = sfs_frames_get(writer->ahead.frames, spans, at, &stretch, writer->err);
        if (r < 0)
            return sfs_fail_while(writer->err, r, "%s", writer->path);
        r = put_stretch(writer, stretch, &at, end);
        sfs_stretch_release(stretch);
        if (r < 0)
            return r;
        writer->done += at - before;
        report(writer, false);
    }
    return 0;
}

/* Copies the bytes [offset, end) of a file, where it has no hole. */
static int copy_data(struct layer_writer *writer, sfs_node node, uint64_t offset, uint64_t end)
{
    while (offset < end) {
        uint64_t position, size;
        struct sfs_spans *spans =
            sfs_read_plan_find_spans(&writer->ahead, node, offset, &position, &size);
        size = spans && size < end - offset ? size : end - offset;
        int r = spans ? copy_frames(writer, spans, position, size)
                      : copy_plain(writer, node, offset, offset + size);
        if (r < 0)
            return r;
        offset += size;
    }
    return 0;
}

static int end_content(struct layer_writer *writer, uint64_t size)
{
    int r = writer->contents ? sfs_contents_end_file(writer->contents, writer->err) : 0;
    return r == 0 ? sfs_pipe_write_zeros(writer->pipe, sfs_tar_padding(size), writer->err) : r;
}

/* Copies a file's bytes; the zeros of holes are written without reading them. */
static int copy_content(struct layer_writer *writer, sfs_node node, uint64_t size)
{
    uint64_t holes = 0;
    for (uint64_t offset = 0; offset < size;) {
        uint64_t data = size, hole = size;
        if (sfs_tree_seek(writer->write->tree, node, offset, false, &data) < 0)
            data = size;
        int r = put_bytes(writer, NULL, data - offset);
        if (r < 0)
            return r;
        writer->done += data - offset;
        holes += data - offset;
        if (data < size && sfs_tree_seek(writer->write->tree, node, data, true, &hole) < 0)
            hole = size;
        r = copy_data(writer, node, data, hole);
        if (r < 0)
            return r;
        offset = hole;
    }
    if (holes >= HOLES_TOLD) /* some may stand for device code that went */
        holes = sfs_tree_source_holes(writer->write->tree, node);
    writer->sparse_files += holes >= HOLES_TOLD;
    writer->holes += holes >= HOLES_TOLD ? holes : 0;
    return end_content(writer, size);
}

static int write_landmark(struct layer_writer *writer)
{
    int r = put_bytes(writer, "\x0f", 1);
    return r == 0 ? end_content(writer, 1) : r;
}

static int write_header(struct layer_writer *writer, const struct sfs_tar_entry *entry)
{
    writer->header.size = 0;
    int r = sfs_tar_add_header(&writer->header, entry, writer->err);
    if (r == 0)
        r = sfs_pipe_write(writer->pipe, writer->header.data, writer->header.size, writer->err);
    if (r == 0 && writer->contents)
        r = sfs_contents_add_header(writer->contents, entry, &writer->header, writer->err);
    return r;
}

static bool ends_with(const char *text, const char *end)
{
    size_t size = strlen(text), end_size = strlen(end);
    return size >= end_size && strcmp(text + size - end_size, end) == 0;
}

static int write_item(struct layer_writer *writer, const struct sfs_item *item)
{
    AUTO(sfs_layer_entry_done) struct sfs_layer_entry entry = { 0 };
    int r = sfs_layer_entry_get(writer->write, item, &entry, writer->err);
    if (r == 0)
        r = write_header(writer, &entry.tar);
    if (r < 0)
        return r;
    if (writer->write->pipe.maker)
        sfs_layer_names_add(writer->write->pipe.maker, &entry, sfs_pipe_position(writer->pipe));
    if (item->kind == SFS_ITEM_LANDMARK)
        return write_landmark(writer);
    writer->clamped_sources += entry.new_time && ends_with(entry.tar.path, ".py");
    if (item->kind != SFS_ITEM_ENTRY || !S_ISREG(entry.tar.attr.mode))
        return 0;
    writer->path = entry.tar.path;
    return copy_content(writer, item->node, entry.tar.attr.size);
}

/* Warns of Python sources whose mtime was changed: a .pyc holds the time of its .py, and if that is
 * another, Python compiles at every start. */
static void warn_of_clamping(const struct layer_writer *writer)
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
                 "%llu .py file%s %s: .pyc files made from them may no longer match, and Python "
                 "then compiles them at each start",
                 (unsigned long long)writer->clamped_sources, sfs_plural(writer->clamped_sources),
                 writer->write->set_mtimes ? "got the time of --timestamp"
                                           : "newer than SOURCE_DATE_EPOCH got its time");
        progress->warn(progress->user, text);
        return;
    }
}

/* docker and podman keep a layer as files and headers (tar-split) and cannot make one with sparse
 * members again: a push of it fails. Zeros compress well, but whoever unpacks them has them. */
static void warn_of_holes(const struct layer_writer *writer)
{
    const struct sfs_progress *progress = writer->write->progress;
    char text[256];
    if (writer->sparse_files == 0 || !progress || !progress->warn)
        return;
    snprintf(text, sizeof text,
             "%llu bytes of holes are written as zeros (sparse files: %llu): podman and docker "
             "cannot push layers that have holes",
             (unsigned long long)writer->holes, (unsigned long long)writer->sparse_files);
    progress->warn(progress->user, text);
}

/* Writes what stands behind the last entry. */
static int write_end(struct layer_writer *writer, json_t **ret_annotations)
{
    if (writer->contents)
        return sfs_contents_finish(writer->contents, ret_annotations, writer->err);
    return sfs_pipe_write_zeros(writer->pipe, SFS_TAR_END, writer->err);
}

static int open_frames(struct layer_writer *writer)
{
    const struct sfs_pipe_options *pipe = &writer->write->pipe;
    if (!pipe->plan.copies)
        return 0;
    struct sfs_stretch_wish wish = { .digests = pipe->plan.contents, .cuts = pipe->plan.splices };
    writer->ahead.codec = pipe->plan.codec;
    writer->ahead.cuts = wish.cuts;
    unsigned threads = pipe->threads ? pipe->threads : sfs_cpus();
    uint64_t budget = (uint64_t)threads * A_THREAD, least = wish.cuts ? CUT_STRETCHES : STRETCHES;
    return sfs_frames_open(pipe->threads, budget > least ? budget : least, &wish,
                           &writer->ahead.frames, writer->err);
}

int sfs_layer_write(const struct sfs_layer_write *write, struct sfs_layer_written *ret_written,
                    struct sfs_error *err)
{
    AUTO(sfs_json_close) json_t *annotations = NULL;
    AUTO(writer_done)
    struct layer_writer writer = { .write = write,
                                   .err = err,
                                   .ahead = { .tree = write->tree, .changes = write->changes } };
    struct sfs_pipe_result result;
    int r = open_frames(&writer);
    if (r == 0)
        r = sfs_pipe_open(&write->pipe, &writer.pipe, err);
    if (r == 0 && writer.ahead.cuts && !(writer.splice = sfs_splice_open(writer.pipe)))
        r = sfs_fail_memory(err);
    if (r == 0 && write->pipe.plan.contents)
        r = sfs_contents_open(write, writer.pipe, &writer.contents, err);
    for (size_t i = 0; i < write->changes->count && r == 0; i++)
        r = write_item(&writer, &write->changes->items[i]);
    if (r == 0)
        r = write_end(&writer, &annotations);
    if (r == 0)
        r = sfs_pipe_finish(writer.pipe, &result, err);
    if (r < 0)
        return r;
    report(&writer, true);
    warn_of_clamping(&writer);
    warn_of_holes(&writer);
    *ret_written = (struct sfs_layer_written){ .pipe = result, .copied = writer.copied };
    if (writer.splice)
        ret_written->copied += sfs_splice_copied(writer.splice);
    ret_written->annotations = TAKE(annotations);
    return 0;
}
