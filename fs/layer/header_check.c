/* The headers of a tar are read again where an index that was sent says that they stand. */
#include "layer/header_check.h"

#include "base/thread.h"
#include "layer/member_match.h"
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>

#define PIECE (32u << 10) /* bytes that are asked for at once */

struct sfs_header_check {
    const struct sfs_index *index;
    struct sfs_spans *spans;
    const char *label;
    uint32_t *by_place; /* the entries that have a place, in the order of places */
    uint32_t count;     /* of them */
    /* The names of each inode as a list: its first entry, and of each entry the next one. */
    sfs_entry *first_name, *next_name;
    atomic_uchar *inodes, *spans_done; /* 1: compared, and the same */
    atomic_bool has_failed;
    pthread_mutex_t lock;
    struct sfs_error failure; /* guarded by lock */
};

#define NO_NAME UINT32_MAX

/* ---- what stands wrong */

static int fail_again(struct sfs_header_check *check, struct sfs_error *err)
{
    LOCK(&check->lock);
    return sfs_fail(err, EIO, "%s", check->failure.text);
}

/* Notes that the index is not of this layer. */
static int fail_at(struct sfs_header_check *check, const char *name, const char *why,
                   struct sfs_error *err)
{
    {
        LOCK(&check->lock);
        if (!atomic_load(&check->has_failed))
            sfs_fail(
                &check->failure, EIO,
                "%s: the index that was found beside it is forged or of another layer: at "
                "\"%.100s\" the layer says otherwise (%.100s); --index-trust none does without",
                check->label, name, why);
        atomic_store(&check->has_failed, true);
    }
    return fail_again(check, err);
}

/* ---- reading headers */

struct reader {
    struct sfs_header_check *check;
    uint64_t at, end;
    struct sfs_slice slice;
    int failure;      /* of reading; 0: none */
    bool has_run_out; /* more was wanted than there is before `end` */
    struct sfs_tar_stream *stream;
};

static int lend(void *user, const void **ret_data, size_t *ret_size, struct sfs_error *err)
{
    struct reader *reader = user;
    sfs_slice_release(&reader->slice);
    *ret_size = 0;
    if (reader->at >= reader->end) {
        reader->has_run_out = true;
        return 0;
    }
    uint64_t left = reader->end - reader->at;
    reader->failure = sfs_spans_pin(reader->check->spans, reader->at,
                                    left < PIECE ? (size_t)left : PIECE, &reader->slice, err);
    if (reader->failure < 0)
        return reader->failure;
    *ret_data = reader->slice.data;
    *ret_size = reader->slice.size;
    reader->at += reader->slice.size;
    return 0;
}

static int pass_over(void *user, uint64_t size, uint64_t *ret_skipped, struct sfs_error *err)
{
    struct reader *reader = user;
    (void)err;
    uint64_t left = reader->end - reader->at;
    reader->has_run_out = reader->has_run_out || size > left;
    *ret_skipped = size < left ? size : left;
    reader->at += *ret_skipped;
    return 0;
}

static int open_reader(struct sfs_header_check *check, uint64_t from, uint64_t end,
                       struct reader *reader, struct sfs_error *err)
{
    const struct sfs_tar_source source = { .next = lend, .user = reader, .skip = pass_over };
    *reader = (struct reader){ .check = check, .at = from, .end = end };
    reader->stream = sfs_tar_stream_open_at(&source, from);
    return reader->stream ? 0 : sfs_fail_memory(err);
}

static void done_reader(struct reader *reader)
{
    sfs_tar_stream_close(&reader->stream);
    sfs_slice_release(&reader->slice);
}

static const char *name_of(const struct sfs_header_check *check, sfs_entry entry)
{
    const struct sfs_tables *tables = &check->index->tables;
    return tables->strings + tables->entries[entry].name;
}

/* Compares a member with the entry of its place. */
static int compare(struct sfs_header_check *check, sfs_entry entry,
                   const struct sfs_tar_member *member, struct sfs_error *err)
{
    struct sfs_error why;
    int r = sfs_match_member(&check->index->tables, entry, member, &why);
    if (r == -ENOMEM)
        return sfs_fail_memory(err);
    return r < 0 ? fail_at(check, member->name, why.text, err) : 0;
}

/* ---- the names of one inode */

/* 1: it is the file's own header; 0: a hard link's. */
static int check_name(struct sfs_header_check *check, sfs_entry entry, struct sfs_error *err)
{
    uint64_t place = check->index->places[entry];
    AUTO(done_reader) struct reader reader = { 0 };
    struct sfs_tar_member member;
    struct sfs_error why;
    if (place == SFS_NO_PLACE)
        return fail_at(check, name_of(check, entry), "it has no header", err);
    int r = open_reader(check, place, check->index->seek.out_size, &reader, err);
    if (r < 0)
        return r;
    r = sfs_tar_stream_next(reader.stream, &member, &why);
    if (reader.failure < 0 || r == -ENOMEM)
        return sfs_fail(err, -r, "%s", why.text);
    if (r <= 0)
        return fail_at(check, name_of(check, entry), r < 0 ? why.text : "the tar ends there", err);
    r = compare(check, entry, &member, err);
    return r < 0 ? r : !member.hard_link;
}

/* Directories that the tar does not name, which are found in no header. */
static bool is_implied(const struct sfs_header_check *check, sfs_entry entry)
{
    return check->index->tables.entries[entry].flags & SFS_ENTRY_IMPLIED ||
           (entry == 0 && check->index->places[0] == SFS_NO_PLACE);
}

int sfs_header_check_inode(struct sfs_header_check *check, sfs_inode inode, struct sfs_error *err)
{
    if (atomic_load(&check->has_failed))
        return fail_again(check, err);
    if (atomic_load(&check->inodes[inode]))
        return 0;
    bool has_header = false;
    for (sfs_entry i = check->first_name[inode]; i != NO_NAME; i = check->next_name[i]) {
        bool is_link = check->index->tables.entries[i].flags & SFS_ENTRY_LINK;
        int r = is_implied(check, i) ? 1 : check_name(check, i, err);
        if (r < 0)
            return r;
        has_header = has_header || r > 0 || is_link;
    }
    if (!has_header)
        return fail_at(check, name_of(check, check->first_name[inode]), "it has no header", err);
    atomic_store(&check->inodes[inode], 1);
    return 0;
}

/* ---- the headers of one span */

static uint32_t find_place(const struct sfs_header_check *check, uint64_t offset)
{
    uint32_t low = 0, high = check->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (check->index->places[check->by_place[middle]] < offset)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* A member of which no entry was made: a mark, or one that a later member of its name replaced. */
static int explain(struct sfs_header_check *check, const struct sfs_tar_member *member,
                   struct sfs_error *err)
{
    const struct sfs_index *index = check->index;
    sfs_entry entry;
    enum sfs_match_mark mark = sfs_match_mark(&index->tables, member->name);
    if (mark == SFS_MATCH_MARK_HELD)
        return 0;
    if (mark == SFS_MATCH_NO_MARK && sfs_match_find(&index->tables, member->name, &entry) == 0 &&
        index->places[entry] != SFS_NO_PLACE && index->places[entry] > member->start)
        return 0;
    return fail_at(check, member->name, "it is left out", err);
}

static int take_member(struct sfs_header_check *check, const struct sfs_tar_member *member,
                       uint64_t end, uint32_t *next, struct sfs_error *err)
{
    const struct sfs_index *index = check->index;
    sfs_entry entry = *next < check->count ? check->by_place[*next] : 0;
    uint64_t place = *next < check->count ? index->places[entry] : UINT64_MAX;
    if (place > member->start)
        return explain(check, member, err);
    if (place < member->start && place < end)
        return fail_at(check, name_of(check, entry), "no header stands at its place", err);
    int r = compare(check, entry, member, err);
    if (r < 0)
        return r;
    sfs_inode inode = index->tables.entries[entry].inode;
    if (!member->hard_link && index->tables.inodes[inode].nlink == 1)
        atomic_store(&check->inodes[inode], 1);
    ++*next;
    return 0;
}

static int check_headers(struct sfs_header_check *check, uint32_t next, uint64_t end,
                         struct sfs_error *err)
{
    AUTO(done_reader) struct reader reader = { 0 };
    struct sfs_error why;
    uint64_t from = check->index->places[check->by_place[next]];
    int r = open_reader(check, from, end, &reader, err);
    while (r == 0) {
        struct sfs_tar_member member;
        int found = sfs_tar_stream_next(reader.stream, &member, &why);
        if (reader.failure < 0 || found == -ENOMEM)
            return sfs_fail(err, -found, "%s", why.text);
        if (found <= 0 && reader.has_run_out)
            return 0;
        if (found < 0)
            return fail_at(check, next < check->count ? name_of(check, check->by_place[next]) : "",
                           why.text, err);
        if (found == 0)
            break;
        r = take_member(check, &member, end, &next, err);
    }
    if (r == 0 && next < check->count && check->index->places[check->by_place[next]] < end)
        return fail_at(check, name_of(check, check->by_place[next]), "the tar ends before", err);
    return r;
}

int sfs_header_check_span(struct sfs_header_check *check, uint64_t offset, struct sfs_error *err)
{
    const struct sfs_seek_table *seek = &check->index->seek;
    if (atomic_load(&check->has_failed))
        return fail_again(check, err);
    uint32_t span = sfs_seek_find(seek, offset);
    if (atomic_load(&check->spans_done[span]))
        return 0;
    uint64_t start = seek->points[span].out, end = start + sfs_seek_size(seek, span);
    uint32_t next = find_place(check, start);
    bool is_empty = next == check->count || check->index->places[check->by_place[next]] >= end;
    int r = is_empty ? 0 : check_headers(check, next, end, err);
    if (r == 0)
        atomic_store(&check->spans_done[span], 1);
    return r;
}

/* ---- opening */

static int compare_places(const void *a, const void *b, void *user)
{
    const uint64_t *places = user;
    uint64_t left = places[*(const uint32_t *)a], right = places[*(const uint32_t *)b];
    return (left > right) - (left < right);
}

static int compare_extents(const void *a, const void *b)
{
    const struct sfs_extent *left = a, *right = b;
    return (left->data_offset > right->data_offset) - (left->data_offset < right->data_offset);
}

static int check_extents(const struct sfs_tables *tables, struct sfs_error *err)
{
    size_t size = tables->extent_count * sizeof(struct sfs_extent);
    AUTO(sfs_free) struct sfs_extent *sorted = malloc(size + 1);
    uint64_t end = 0;
    if (!sorted)
        return sfs_fail_memory(err);
    if (size > 0)
        memcpy(sorted, tables->extents, size);
    qsort(sorted, tables->extent_count, sizeof *sorted, compare_extents);
    for (uint32_t i = 0; i < tables->extent_count; i++) {
        uint64_t next;
        if (sorted[i].data_offset < end ||
            __builtin_add_overflow(sorted[i].data_offset, sorted[i].size, &next))
            return sfs_fail(err, EBADMSG, "two files share bytes");
        end = next;
    }
    return 0;
}

static int sort_places(struct sfs_header_check *check, struct sfs_error *err)
{
    const struct sfs_index *index = check->index;
    union {
        const uint64_t *in;
        void *out;
    } places = { .in = index->places }; /* qsort_r knows no const */
    for (uint32_t i = 0; i < index->tables.entry_count; i++) {
        if (index->places[i] == SFS_NO_PLACE)
            continue;
        if (index->places[i] >= index->seek.out_size)
            return sfs_fail(err, EBADMSG, "the place of entry %u lies outside the tar", i);
        check->by_place[check->count++] = i;
    }
    qsort_r(check->by_place, check->count, sizeof *check->by_place, compare_places, places.out);
    for (uint32_t i = 1; i < check->count; i++)
        if (index->places[check->by_place[i]] == index->places[check->by_place[i - 1]])
            return sfs_fail(err, EBADMSG, "two names have one header");
    return 0;
}

static void list_names(struct sfs_header_check *check)
{
    const struct sfs_tables *tables = &check->index->tables;
    memset(check->first_name, 0xff, tables->inode_count * sizeof *check->first_name);
    for (uint32_t i = 0; i < tables->entry_count; i++) {
        sfs_inode inode = tables->entries[i].inode;
        if (inode == SFS_NO_INODE)
            continue;
        check->next_name[i] = check->first_name[inode];
        check->first_name[inode] = i;
    }
}

int sfs_header_check_open(const struct sfs_index *index, const char *label,
                          struct sfs_header_check **ret_check, struct sfs_error *err)
{
    const struct sfs_tables *tables = &index->tables;
    AUTO(sfs_header_check_close) struct sfs_header_check *check = calloc(1, sizeof *check);
    if (!check)
        return sfs_fail_memory(err);
    pthread_mutex_init(&check->lock, NULL);
    check->index = index;
    check->label = label;
    check->by_place = calloc(tables->entry_count, sizeof *check->by_place);
    check->first_name = calloc(tables->inode_count, sizeof *check->first_name);
    check->next_name = calloc(tables->entry_count, sizeof *check->next_name);
    check->inodes = calloc(tables->inode_count, sizeof *check->inodes);
    check->spans_done = calloc(index->seek.count + 1ull, sizeof *check->spans_done);
    if (!check->by_place || !check->first_name || !check->next_name || !check->inodes ||
        !check->spans_done)
        return sfs_fail_memory(err);
    int r = check_extents(tables, err);
    if (r == 0)
        r = sort_places(check, err);
    if (r < 0)
        return r;
    list_names(check);
    *ret_check = TAKE(check);
    return 0;
}

void sfs_header_check_use(struct sfs_header_check *check, struct sfs_spans *spans)
{
    check->spans = spans;
}

void sfs_header_check_close(struct sfs_header_check **check_ptr)
{
    struct sfs_header_check *check = TAKE(*check_ptr);
    if (!check)
        return;
    free(check->by_place);
    free(check->first_name);
    free(check->next_name);
    free(check->inodes);
    free(check->spans_done);
    pthread_mutex_destroy(&check->lock);
    free(check);
}
