/* SOCI's tables: honest ones read as the layer itself, and hostile ones are refused, or never give
 * other bytes or metadata than the layer has. */
#include "layer_fixture.h"

#include "base/limits.h"
#include "blob/span_entry.h"
#include "layer/header_check.h"
#include "layer/index.h"
#include "layer/ztoc.h"
#include <errno.h>
#include <time.h>
#include <zlib.h>

#define KEY  "sha256:2222222222222222222222222222222222222222222222222222222222222222"
#define SPAN 60000

static struct sfs_buf tar, blob, ztoc;
static enum sfs_codec codec;
static char digest_text[SFS_DIGEST_TEXT];

static void close_ztoc_test(void)
{
    sfs_buf_close(&tar);
    sfs_buf_close(&blob);
    sfs_buf_close(&ztoc);
    fixture_close();
}

TestSuite(ztoc, .init = fixture_open, .fini = close_ztoc_test);

static uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

/* ---- a writer of FlatBuffers: what is named comes behind what names it */

static void put(struct sfs_buf *out, const void *data, size_t size)
{
    cr_assert_eq(sfs_buf_add(out, data, size), 0);
}

static void put_number(struct sfs_buf *out, uint64_t value, size_t size)
{
    put(out, &value, size);
}

static void set_number(struct sfs_buf *out, size_t at, uint64_t value, size_t size)
{
    memcpy(out->data + at, &value, size);
}

/* Makes the offset at `at` name what is written next. */
static void name_next(struct sfs_buf *out, size_t at)
{
    set_number(out, at, out->size - at, 4);
}

static void put_text(struct sfs_buf *out, size_t at, const char *text)
{
    name_next(out, at);
    put_number(out, strlen(text), 4);
    put(out, text, strlen(text) + 1);
}

/* Writes a table of fields of these widths, and says where each is. */
static void put_table(struct sfs_buf *out, size_t at, const uint8_t *widths, unsigned count,
                      size_t *places)
{
    uint16_t offset = 4, slots[16] = { 0 };
    for (unsigned i = 0; i < count; i++) {
        slots[i] = offset;
        offset = (uint16_t)(offset + widths[i]);
    }
    size_t vtable = out->size;
    put_number(out, 4 + 2 * count, 2);
    put_number(out, offset, 2);
    put(out, slots, 2 * count);
    size_t table = out->size;
    set_number(out, at, table - at, 4);
    put_number(out, table - vtable, 4);
    for (unsigned i = 0; i < count; i++) {
        places[i] = table + slots[i];
        put_number(out, 0, widths[i]);
    }
}

static size_t put_vector(struct sfs_buf *out, size_t at, uint32_t count)
{
    name_next(out, at);
    put_number(out, count, 4);
    size_t first = out->size;
    for (uint32_t i = 0; i < count; i++)
        put_number(out, 0, 4);
    return first;
}

/* ---- the table of a tar */

static int lend_tar(void *user, const void **ret_data, size_t *ret_size, struct sfs_error *unused)
{
    size_t *at = user;
    (void)unused;
    *ret_data = tar.data + *at;
    *ret_size = tar.size - *at;
    *at = tar.size;
    return 0;
}

static const char *word_of(const struct sfs_tar_member *member)
{
    uint32_t mode = member->inode.mode;
    return member->hard_link ? "hardlink"
           : S_ISREG(mode)   ? "reg"
           : S_ISDIR(mode)   ? "dir"
           : S_ISLNK(mode)   ? "symlink"
           : S_ISCHR(mode)   ? "char"
           : S_ISBLK(mode)   ? "block"
                             : "fifo";
}

static void put_records(const struct sfs_tar_member *member, size_t at)
{
    static const uint8_t widths[] = { 4, 4 };
    size_t first = put_vector(&ztoc, at, (uint32_t)member->record_count), places[2];
    for (size_t i = 0; i < member->record_count; i++) {
        put_table(&ztoc, first + 4 * i, widths, 2, places);
        put_text(&ztoc, places[0], member->records[i].key);
        put_text(&ztoc, places[1], member->records[i].value);
    }
}

static void put_member(const struct sfs_tar_member *member, size_t at)
{
    static const uint8_t widths[] = { 4, 4, 8, 8, 4, 8, 4, 4, 4, 4, 4, 8, 8, 4 };
    const struct sfs_inode_rec *inode = &member->inode;
    size_t places[14];
    char text[64], all[96];
    struct tm tm;
    time_t seconds = inode->mtime_sec;
    strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", gmtime_r(&seconds, &tm));
    snprintf(all, sizeof all, "%s.%09uZ", text, inode->mtime_nsec);
    put_table(&ztoc, at, widths, 14, places);
    set_number(&ztoc, places[2], member->data_offset, 8);
    set_number(&ztoc, places[3], inode->size, 8);
    set_number(&ztoc, places[5], inode->mode & 07777, 8);
    set_number(&ztoc, places[6], inode->uid, 4);
    set_number(&ztoc, places[7], inode->gid, 4);
    set_number(&ztoc, places[11], inode->rdev_major, 8);
    set_number(&ztoc, places[12], inode->rdev_minor, 8);
    put_text(&ztoc, places[0], member->name);
    put_text(&ztoc, places[1], word_of(member));
    put_text(&ztoc, places[4], member->link ? member->link : "");
    put_text(&ztoc, places[8], "root");
    put_text(&ztoc, places[9], "root");
    put_text(&ztoc, places[10], all);
    put_records(member, places[13]);
}

static uint32_t each_member(size_t first)
{
    uint32_t count = 0;
    size_t at = 0;
    const struct sfs_tar_source source = { .next = lend_tar, .user = &at };
    AUTO(sfs_tar_stream_close) struct sfs_tar_stream *stream = sfs_tar_stream_open(&source);
    struct sfs_tar_member member;
    for (; sfs_tar_stream_next(stream, &member, &err) > 0; count++)
        if (first)
            put_member(&member, first + 4 * count);
    return count;
}

/* ---- its points */

struct point {
    uint64_t in, out;
    unsigned bits;
    unsigned char window[SFS_WINDOW_MAX];
};
static struct point points[128];
static unsigned point_count;

/* Those where zlib stops between blocks, as SOCI has it. */
static void find_gzip_points(void)
{
    static unsigned char out[SFS_WINDOW_MAX + 4000000];
    z_stream stream = { .next_in = (void *)blob.data, .avail_in = (unsigned)blob.size };
    uint64_t last = 0;
    cr_assert_eq(inflateInit2(&stream, 47), Z_OK);
    stream.next_out = out + SFS_WINDOW_MAX;
    stream.avail_out = sizeof out - SFS_WINDOW_MAX;
    point_count = 0;
    while (inflate(&stream, Z_BLOCK) == Z_OK) {
        if (!(stream.data_type & 128) || stream.data_type & 64 ||
            (stream.total_out > 0 && stream.total_out - last <= SPAN))
            continue;
        struct point *point = &points[point_count++];
        point->in = stream.total_in;
        point->out = stream.total_out;
        point->bits = (unsigned)stream.data_type & 7;
        memcpy(point->window, stream.next_out - SFS_WINDOW_MAX, SFS_WINDOW_MAX);
        last = stream.total_out;
    }
    inflateEnd(&stream);
}

static void find_points(void)
{
    if (codec == SFS_CODEC_GZIP) {
        find_gzip_points();
        return;
    }
    point_count = 0;
    for (uint64_t at = 0; at < blob.size; at += SPAN, point_count++) {
        points[point_count].in = points[point_count].out = at;
        points[point_count].bits = 0;
    }
}

static void put_digests(size_t at)
{
    size_t first = put_vector(&ztoc, at, point_count);
    for (unsigned i = 0; i < point_count; i++) {
        struct sfs_digest digest;
        char text[SFS_DIGEST_TEXT];
        uint64_t start = points[i].in - (points[i].bits ? 1 : 0);
        uint64_t end = i + 1 < point_count ? points[i + 1].in : blob.size;
        if (start <= end && end <= blob.size)
            cr_assert_eq(sfs_digest_of(blob.data + start, end - start, &digest), 0);
        put_text(&ztoc, first + 4 * i, sfs_digest_print(&digest, text));
    }
}

static void put_points(size_t at, bool is_first_version)
{
    struct sfs_buf data = { 0 };
    size_t places[3], start;
    if (codec == SFS_CODEC_GZIP) {
        put_number(&data, point_count, 4);
        put_number(&data, SPAN, 8);
        for (unsigned i = is_first_version; i < point_count; i++) {
            put_number(&data, points[i].in, 8);
            put_number(&data, points[i].out, 8);
            put_number(&data, points[i].bits, 1);
            put(&data, points[i].window, SFS_WINDOW_MAX);
        }
    } else {
        static const uint8_t widths[] = { 4, 8, 8 };
        put_number(&data, 0, 4);
        put_table(&data, 0, widths, 3, places);
        set_number(&data, places[0], 2, 4);
        set_number(&data, places[1], SPAN, 8);
        set_number(&data, places[2], blob.size, 8);
    }
    name_next(&ztoc, at);
    put_number(&ztoc, data.size, 4);
    start = ztoc.size;
    put(&ztoc, data.data, data.size);
    cr_assert_gt(ztoc.size, start);
    sfs_buf_close(&data);
}

static void put_ztoc(bool is_first_version)
{
    static const uint8_t root[] = { 4, 4, 8, 8, 4, 4 }, toc[] = { 4 }, info[] = { 1, 4, 4, 4 };
    size_t places[6], members, parts[4];
    ztoc.size = 0;
    put_number(&ztoc, 0, 4);
    put_table(&ztoc, 0, root, 6, places);
    set_number(&ztoc, places[2], blob.size, 8);
    set_number(&ztoc, places[3], tar.size, 8);
    put_text(&ztoc, places[0], "0.9");
    put_text(&ztoc, places[1], "tests");
    put_table(&ztoc, places[5], info, 4, parts);
    set_number(&ztoc, parts[0], codec == SFS_CODEC_GZIP ? 1 : 2, 1);
    set_number(&ztoc, parts[1], point_count - 1, 4);
    put_points(parts[3], is_first_version);
    put_digests(parts[2]);
    put_table(&ztoc, places[4], toc, 1, &members);
    each_member(put_vector(&ztoc, members, each_member(0)));
}

/* ---- layers */

/* Everything that a member can be. */
static void make_tar(void)
{
    struct sfs_buf big = { 0 };
    uint32_t noise = 1;
    tar_bytes_entry(&tar, "./", '5', "");
    tar_bytes_entry(&tar, "bin/", '5', "");
    tar_bytes_file(&tar, "bin/sh", "replaced below");
    tar_bytes_file(&tar, "bin/.wh.gone", "");
    tar_bytes_file(&tar, "lib/.wh..wh..opq", "");
    tar_bytes_file(&tar, "bin/sh", "hello");
    tar_bytes_entry(&tar, "bin/link", '2', "../empty");
    tar_bytes_entry(&tar, "bin/hard", '1', "bin/sh");
    tar_bytes_entry(&tar, "bin/far", '1', "usr/elsewhere");
    tar_bytes_pax_text(&tar, "SCHILY.xattr.user.note", "value");
    tar_bytes_file(&tar, "noted", "with an attribute");
    tar_bytes_pax_text(&tar, "mtime", "981173106.789");
    tar_bytes_file(&tar, "empty", "");
    tar_bytes_entry(&tar, "pipe", '6', "");
    for (unsigned i = 0; i < 60000; i++, noise = noise * 1664525 + 1013904223)
        sfs_buf_printf(&big, "%u\n", i % 3 ? i % 1000 : noise >> 8);
    tar_bytes_file(&tar, "big", big.data);
    tar_bytes_file(&tar, "end", "the last one");
    tar_bytes_end(&tar);
    sfs_buf_close(&big);
}

static void compress_tar(void)
{
    size_t room = tar.size + 4096;
    void *out = sfs_buf_grow(&blob, room);
    z_stream stream = { .next_in = (void *)tar.data,
                        .avail_in = (unsigned)tar.size,
                        .next_out = out,
                        .avail_out = (unsigned)room };
    cr_assert_eq(deflateInit2(&stream, 6, Z_DEFLATED, 31, 8, Z_DEFAULT_STRATEGY), Z_OK);
    cr_assert_eq(deflate(&stream, Z_FINISH), Z_STREAM_END);
    blob.size = stream.total_out;
    deflateEnd(&stream);
}

static void make_layer(enum sfs_codec which)
{
    codec = which;
    make_tar();
    if (codec == SFS_CODEC_GZIP)
        compress_tar();
    else
        put(&blob, tar.data, tar.size);
    find_points();
    cr_assert_gt(point_count, 3);
    put_ztoc(false);
}

static struct sfs_layer_source source_of_blob(void)
{
    struct sfs_layer_source source = fixture_source(blob.data, blob.size, digest_text);
    source.codec = codec;
    source.has_diff_id = true;
    cr_assert_eq(sfs_digest_of(tar.data, tar.size, &source.diff_id), 0);
    return source;
}

static int keep(const void *data, size_t size)
{
    const struct sfs_layer_source source = source_of_blob();
    return sfs_ztoc_keep(store, KEY, data, size, &source, &err);
}

static int open_kept(bool is_vouched, struct sfs_layer **ret_layer)
{
    const struct sfs_layer_source source = source_of_blob();
    AUTO(sfs_blob_close) struct sfs_blob *bytes = fixture_blob(blob.data, blob.size);
    struct sfs_layer_sent sent = { .key = KEY, .is_vouched = is_vouched };
    return sfs_layer_open_sent(store, cache, &bytes, &source, &sent, ret_layer, &err);
}

static struct sfs_layer *open_made(void)
{
    struct sfs_layer *layer = NULL;
    const struct sfs_layer_source source = source_of_blob();
    AUTO(sfs_blob_close) struct sfs_blob *bytes = fixture_blob(blob.data, blob.size);
    cr_assert_eq(sfs_layer_open_tar(store, cache, &bytes, &source, NULL, &layer, &err), 0, "%s",
                 err.text);
    return layer;
}

/* Is all of the layer as the one says that was read whole? */
static void expect_whole(bool is_vouched)
{
    AUTO(sfs_layer_close) struct sfs_layer *layer = NULL;
    AUTO(sfs_layer_close) struct sfs_layer *made = open_made();
    AUTO(sfs_free) char *names = tables_text(&made->tables);
    cr_assert_eq(open_kept(is_vouched, &layer), 0, "%s", err.text);
    cr_assert_eq(layer->unconfirmed, !is_vouched);
    fixture_expect(layer, names);
    for (sfs_inode i = 0; i < layer->tables.inode_count; i++)
        cr_assert_eq(sfs_layer_confirm(layer, i, &err), 0, "%s", err.text);
    const struct sfs_inode_rec *big = fixture_inode(made, "big");
    AUTO(sfs_free) char *bytes = fixture_read(made, (sfs_inode)(big - made->tables.inodes));
    fixture_expect_bytes(layer, "big", bytes, big->size);
    fixture_expect_bytes(layer, "bin/hard", "hello", 5);
    fixture_expect_bytes(layer, "end", "the last one", 12);
    fixture_expect_xattr(layer, "noted", "user.note", "value", 5);
}

Test(ztoc, a_plain_layer_reads_as_one_that_was_read_whole)
{
    make_layer(SFS_CODEC_NONE);
    cr_assert_eq(keep(ztoc.data, ztoc.size), 0, "%s", err.text);
    expect_whole(true);
    expect_whole(false);
}

Test(ztoc, a_gzip_layer_reads_as_one_that_was_read_whole)
{
    make_layer(SFS_CODEC_GZIP);
    for (int is_first_version = 0; is_first_version < 2; is_first_version++) {
        put_ztoc(is_first_version);
        cr_assert_eq(keep(ztoc.data, ztoc.size), 0, "%s", err.text);
        expect_whole(true);
    }
}

/* Go's reader of tars stops behind two blocks of zeros, whatever follows. */
Test(ztoc, points_behind_the_end_of_the_tar_are_left_out)
{
    uint64_t noise = 1;
    codec = SFS_CODEC_GZIP;
    make_tar();
    size_t end = tar.size;
    for (unsigned i = 0; i < 100000; i++)
        put_number(&tar, next_random(&noise), 8);
    compress_tar();
    find_points();
    cr_assert_gt(points[point_count - 2].out, end);
    size_t all = tar.size;
    tar.size = end;
    put_ztoc(false);
    tar.size = all;
    cr_assert_eq(keep(ztoc.data, ztoc.size), 0, "%s", err.text);
    expect_whole(true);
}

Test(ztoc, bytes_of_another_layer_are_not_handed_out)
{
    make_layer(SFS_CODEC_GZIP);
    cr_assert_eq(keep(ztoc.data, ztoc.size), 0, "%s", err.text);
    const struct sfs_layer_source source = source_of_blob();
    blob.data[points[2].in + 1000] ^= 1;
    AUTO(sfs_layer_close) struct sfs_layer *layer = NULL;
    AUTO(sfs_blob_close) struct sfs_blob *bytes = fixture_blob(blob.data, blob.size);
    struct sfs_layer_sent sent = { .key = KEY, .is_vouched = true };
    cr_assert_eq(sfs_layer_open_sent(store, cache, &bytes, &source, &sent, &layer, &err), 0);
    struct sfs_slice slice = { 0 };
    sfs_inode big = (sfs_inode)(fixture_inode(layer, "big") - layer->tables.inodes);
    uint64_t offset = points[2].out; /* a little behind that in the file */
    cr_assert_lt(sfs_layer_pin(layer, big, offset, 10, &slice, &err), 0);
    cr_assert_not_null(strstr(err.text, "does not match"), "%s", err.text);
    fixture_expect_bytes(layer, "bin/hard", "hello", 5);
}

/* ---- what is refused */

/* Replaces a text of the table by one that is no longer. */
static void set_text(const char *from, const char *to)
{
    char *at = memmem(ztoc.data, ztoc.size, from, strlen(from) + 1);
    cr_assert_not_null(at);
    memset(at, 0, strlen(from));
    memcpy(at, to, strlen(to));
    set_number(&ztoc, (size_t)(at - ztoc.data) - 4, strlen(to), 4);
}

static void refuse(int code, const char *words)
{
    cr_assert_eq(keep(ztoc.data, ztoc.size), -code, "%s", err.text);
    cr_assert_not_null(strstr(err.text, words), "%s", err.text);
    AUTO(sfs_layer_close) struct sfs_layer *layer = NULL;
    cr_assert_eq(open_kept(true, &layer), -ENOENT);
}

Test(ztoc, points_that_are_not_of_the_layer_are_refused)
{
    make_layer(SFS_CODEC_GZIP);
    uint64_t last = points[point_count - 1].in;
    points[point_count - 1].in = blob.size + 1;
    put_ztoc(false);
    refuse(EBADMSG, "not in order");
    points[point_count - 1].in = points[point_count - 3].in;
    put_ztoc(false);
    refuse(EBADMSG, "not in order");
    points[point_count - 1].in = last;
    points[2].bits = 8;
    put_ztoc(false);
    refuse(EBADMSG, "starts nowhere");
    points[2].bits = 0;
    points[0].out = 5;
    put_ztoc(false);
    refuse(EBADMSG, "does not start at the start");
    points[0].out = 0;
    codec = SFS_CODEC_NONE; /* of which the layer is not */
    refuse(ENOTSUP, "not of a none layer");
    codec = SFS_CODEC_GZIP;
    sfs_buf_add(&blob, "x", 1);
    refuse(EBADMSG, "of another layer");
}

Test(ztoc, members_that_cannot_be_compared_are_refused)
{
    const struct {
        const char *key, *value, *words;
    } records[] = { { "GNU.sparse.major", "1", "sparse file" },
                    { "SCHILY.realsize", "1", "sparse file" } };
    for (size_t i = 0; i < sizeof records / sizeof *records; i++) {
        sfs_buf_close(&tar);
        sfs_buf_close(&blob);
        tar_bytes_pax_text(&tar, "SCHILY.xattr.user.a_name_of_some_length", "x");
        tar_bytes_file(&tar, "file", "bytes");
        tar_bytes_end(&tar);
        put(&blob, tar.data, tar.size);
        codec = SFS_CODEC_NONE;
        find_points();
        put_ztoc(false);
        set_text("SCHILY.xattr.user.a_name_of_some_length", records[i].key);
        refuse(ENOTSUP, records[i].words);
    }
}

Test(ztoc, times_that_go_prints_wrongly_are_refused)
{
    static const char *const wrong[] = { "1874-12-08T00:01:10+05:21", "", "10000-01-01T00:00:00Z",
                                         "0001-01-01" };
    static const char *const right[] = { "1970-01-01T05:30:00+05:30", "1969-12-31T23:59:59Z" };
    for (size_t i = 0; i < 4; i++) {
        make_layer(SFS_CODEC_NONE);
        set_text("2001-02-03T04:05:06.789000000Z", wrong[i]);
        refuse(ENOTSUP, "its time is none");
        sfs_buf_close(&tar);
        sfs_buf_close(&blob);
    }
    for (size_t i = 0; i < 2; i++) {
        make_layer(SFS_CODEC_NONE);
        set_text("2001-02-03T04:05:06.789000000Z", right[i]);
        cr_assert_eq(keep(ztoc.data, ztoc.size), 0, "%s", err.text);
        sfs_buf_close(&tar);
        sfs_buf_close(&blob);
    }
}

static void refuse_tar(int code, const char *words)
{
    tar_bytes_end(&tar);
    put(&blob, tar.data, tar.size);
    codec = SFS_CODEC_NONE;
    find_points();
    put_ztoc(false);
    refuse(code, words);
    sfs_buf_close(&tar);
    sfs_buf_close(&blob);
}

Test(ztoc, names_that_cannot_be_compared_are_refused)
{
    tar_bytes_entry(&tar, "usr/lib/", '5', "");
    tar_bytes_entry(&tar, "lib", '2', "usr/lib");
    tar_bytes_file(&tar, "lib/x", "through a link");
    refuse_tar(ENOTSUP, "\"lib/x\" cannot be compared");
    tar_bytes_file(&tar, "stargz.index.json", "{}");
    refuse_tar(ENOTSUP, "a mark of eStargz");
    tar_bytes_file(&tar, "../outside", "x");
    refuse_tar(EBADMSG, "..");
    tar_bytes_file(&tar, ".wh..wh.plnk/1.2", "x");
    refuse_tar(ENOTSUP, "cannot be compared");
}

Test(ztoc, texts_that_are_named_again_and_again_are_refused)
{
    tar_bytes_file(&tar, "first", "x");
    for (unsigned i = 0; i < 100; i++) {
        char name[32];
        snprintf(name, sizeof name, "file-%u", i);
        tar_bytes_file(&tar, name, "x");
    }
    tar_bytes_end(&tar);
    put(&blob, tar.data, tar.size);
    codec = SFS_CODEC_NONE;
    find_points();
    put_ztoc(false);
    /* All name one text, which is as long as all of theirs together. */
    size_t end = ztoc.size;
    put_number(&ztoc, 20000, 4);
    for (unsigned i = 0; i < 20000; i++)
        put(&ztoc, i % 200 ? "a" : "/", 1);
    put(&ztoc, "", 1);
    for (unsigned i = 0; i < 100; i++) {
        char name[32];
        snprintf(name, sizeof name, "file-%u", i);
        char *text = memmem(ztoc.data, end, name, strlen(name) + 1);
        size_t at = (size_t)(text - ztoc.data) - 4;
        for (size_t k = 0; k + 4 < at; k++) {
            uint32_t offset;
            memcpy(&offset, ztoc.data + k, 4);
            if (k + offset == at)
                set_number(&ztoc, k, end - k, 4);
        }
    }
    refuse(EBADMSG, "longer than it is itself");
}

/* ---- hostile bytes */

/* The entry of the same path in other tables, which must be there. */
static sfs_entry find_same(const struct sfs_tables *tables, sfs_entry entry,
                           const struct sfs_tables *made)
{
    const struct sfs_entry_rec *rec = &tables->entries[entry];
    sfs_entry found = 0;
    if (entry == 0)
        return 0;
    sfs_entry parent = find_same(tables, rec->parent, made);
    cr_assert_eq(sfs_tables_find(made, parent, tables->strings + rec->name, rec->name_size, &found),
                 0, "\"%s\" can be read, and is not there", tables->strings + rec->name);
    return found;
}

static void expect_same_or_failed(struct sfs_layer *layer, struct sfs_layer *made)
{
    for (sfs_entry i = 0; i < layer->tables.entry_count; i++) {
        sfs_inode says = layer->tables.entries[i].inode;
        struct sfs_slice slice = { 0 }, right = { 0 };
        if (says == SFS_NO_INODE || !S_ISREG(layer->tables.inodes[says].mode) ||
            layer->tables.inodes[says].size == 0 ||
            sfs_layer_pin(layer, says, 0, 4096, &slice, &err) < 0)
            continue;
        sfs_inode is = made->tables.entries[find_same(&layer->tables, i, &made->tables)].inode;
        const struct sfs_inode_rec *a = &made->tables.inodes[is], *b = &layer->tables.inodes[says];
        cr_assert(a->size == b->size && a->mode == b->mode && a->uid == b->uid &&
                  a->mtime_sec == b->mtime_sec && a->xattr_count == b->xattr_count);
        cr_assert_eq(sfs_layer_pin(made, is, 0, 4096, &right, &err), 0);
        size_t size = slice.size < right.size ? slice.size : right.size;
        cr_assert_eq(memcmp(slice.data, right.data, size), 0, "other bytes");
        sfs_slice_release(&slice);
        sfs_slice_release(&right);
    }
}

/* Whoever vouches for it: a table may be wrong, and is compared with the layer all the same. */
Test(ztoc, changed_ones_give_no_other_bytes_or_metadata)
{
    make_layer(SFS_CODEC_NONE);
    AUTO(sfs_layer_close) struct sfs_layer *made = open_made();
    AUTO(sfs_free) char *changed = malloc(ztoc.size);
    uint64_t state = 88172645463325252u;
    unsigned opened = 0;
    for (unsigned i = 0; i < 3000; i++) {
        memcpy(changed, ztoc.data, ztoc.size);
        uint64_t random = next_random(&state);
        changed[random % ztoc.size] ^= (char)(random >> 56 ? random >> 56 : 1);
        AUTO(sfs_layer_close) struct sfs_layer *layer = NULL;
        if (keep(changed, ztoc.size) < 0 || open_kept(i % 2, &layer) < 0)
            continue;
        expect_same_or_failed(layer, made);
        opened++;
    }
    cr_assert_gt(opened, 100);
}

Test(ztoc, one_that_is_cut_off_is_refused)
{
    make_layer(SFS_CODEC_NONE);
    for (size_t size = 0; size < ztoc.size; size++) {
        AUTO(sfs_free) char *exact = malloc(size + 1); /* so that a step behind it is seen */
        memcpy(exact, ztoc.data, size);
        AUTO(sfs_free) char *cut = realloc(TAKE(exact), size ? size : 1);
        cr_assert_lt(keep(cut, size), 0, "%zu of %zu bytes", size, ztoc.size);
    }
}

Test(ztoc, noise_is_refused)
{
    uint64_t state = 1;
    char noise[512];
    codec = SFS_CODEC_NONE;
    put(&blob, "x", 1);
    for (unsigned i = 0; i < 20000; i++) {
        for (size_t k = 0; k < sizeof noise; k++)
            noise[k] = (char)(next_random(&state) >> (i % 2 ? 60 : 40));
        cr_assert_lt(keep(noise, 1 + i % sizeof noise), 0);
    }
}
