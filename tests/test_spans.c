/* fs/blob: decoded bytes at random offsets, under a budget, by many readers, over a blob that
 * somebody may have changed. */
#include "blob_support.h"
#include "blob/readahead.h"
#include "blob/spans.h"
#include <criterion/criterion.h>
#include <pthread.h>
#include <stdatomic.h>

#define MIB (1u << 20)

static struct sfs_error err;

/* A stream, unpacked, open for reading. */
struct fixture {
    struct sfs_buf content, stream;
    struct sfs_unpacked unpacked;
    struct sfs_cache *cache;
    struct sfs_spans *spans;
};

static void open_fixture(struct fixture *fixture, enum sfs_codec codec, size_t size,
                         uint64_t budget)
{
    *fixture = (struct fixture){ .content = make_content(size, 77) };
    const char *data = fixture->content.data;
    if (codec == SFS_CODEC_NONE)
        sfs_buf_add(&fixture->stream, data, size);
    else if (codec == SFS_CODEC_GZIP)
        add_zlib(&fixture->stream, data, size, 1, 0, NULL);
    for (size_t at = 0; codec == SFS_CODEC_ZSTD && at < size; at += 600000)
        add_zstd(&fixture->stream, data + at, size - at < 600000 ? size - at : 600000, 1, true,
                 true);
    struct sfs_blob *blob = blob_of(fixture->stream.data, fixture->stream.size);
    AUTO(sfs_buf_close) struct sfs_buf got = { 0 };
    int r = unpack(blob, codec, 256 << 10, -1, &got, &fixture->unpacked, &err);
    cr_assert_eq(r, 0, "%s", err.text);
    cr_assert_eq(sfs_cache_open(budget, 2, &fixture->cache, &err), 0);
    r = sfs_spans_open(fixture->cache, &blob, &fixture->unpacked.table, "layer 3", &fixture->spans,
                       &err);
    cr_assert_eq(r, 0, "%s", err.text);
}

static void close_fixture(struct fixture *fixture)
{
    sfs_spans_close(&fixture->spans);
    sfs_cache_close(&fixture->cache);
    sfs_unpacked_close(&fixture->unpacked);
    sfs_buf_close(&fixture->content);
    sfs_buf_close(&fixture->stream);
}

/* Reads a range through as many slices as it takes; compares. Returns 0 or what failed. */
static int check_range(const struct fixture *fixture, uint64_t offset, size_t size,
                       struct sfs_error *words)
{
    while (size > 0) {
        struct sfs_slice slice;
        int r = sfs_spans_pin(fixture->spans, offset, size, &slice, words);
        if (r < 0)
            return r;
        if (slice.size == 0 || slice.size > size)
            return sfs_fail(words, ERANGE, "a slice of %zu bytes", slice.size);
        bool same = memcmp(slice.data, fixture->content.data + offset, slice.size) == 0;
        offset += slice.size;
        size -= slice.size;
        sfs_slice_release(&slice);
        if (!same)
            return sfs_fail(words, ERANGE, "wrong bytes before %llu", (unsigned long long)offset);
    }
    return 0;
}

static void check_sequence(enum sfs_codec codec, uint64_t budget)
{
    struct fixture fixture;
    open_fixture(&fixture, codec, 9 * MIB + 77, budget);
    for (size_t part = 4096; part <= 4 * MIB; part *= 32)
        for (size_t at = 0; at < fixture.content.size; at += part) {
            size_t left = fixture.content.size - at;
            int r = check_range(&fixture, at, left < part ? left : part, &err);
            cr_assert_eq(r, 0, "%s", err.text);
        }
    close_fixture(&fixture);
}

Test(spans, gives_gzip_in_sequence)
{
    check_sequence(SFS_CODEC_GZIP, 0);
}

Test(spans, gives_zstd_in_sequence)
{
    check_sequence(SFS_CODEC_ZSTD, 0);
}

Test(spans, gives_plain_bytes_in_sequence)
{
    check_sequence(SFS_CODEC_NONE, 0);
}

Test(spans, works_with_a_budget_that_holds_nothing)
{
    check_sequence(SFS_CODEC_GZIP, 1);
    check_sequence(SFS_CODEC_ZSTD, 700000);
}

Test(spans, gives_nothing_past_the_end)
{
    struct fixture fixture;
    open_fixture(&fixture, SFS_CODEC_GZIP, MIB, 0);
    struct sfs_slice slice;
    cr_assert_eq(sfs_spans_pin(fixture.spans, MIB, 1, &slice, &err), -EINVAL);
    cr_assert_eq(sfs_spans_pin(fixture.spans, UINT64_MAX, 1, &slice, &err), -EINVAL);
    close_fixture(&fixture);
}

struct reader {
    const struct fixture *fixture;
    unsigned seed;
    int rounds;
    int r;
    struct sfs_error err;
};

static void *read_at_random(void *arg)
{
    struct reader *reader = arg;
    uint64_t size = reader->fixture->content.size;
    for (int i = 0; i < reader->rounds && reader->r == 0; i++) {
        uint64_t offset = (uint64_t)rand_r(&reader->seed) * 4096 % size;
        size_t part = (size_t)rand_r(&reader->seed) % (i % 4 == 0 ? MIB : 20000) + 1;
        if (part > size - offset)
            part = (size_t)(size - offset);
        if (i % 7 == 0)
            sfs_spans_prefetch(reader->fixture->spans, offset, MIB,
                               i % 2 ? SFS_POOL_AHEAD : SFS_POOL_BACKGROUND);
        reader->r = check_range(reader->fixture, offset, part, &reader->err);
    }
    return NULL;
}

static void check_readers(const struct fixture *fixture, int rounds)
{
    enum { READERS = 12 };
    pthread_t threads[READERS];
    static struct reader readers[READERS];
    for (unsigned i = 0; i < READERS; i++) {
        readers[i] = (struct reader){ .fixture = fixture, .seed = i + 1, .rounds = rounds };
        pthread_create(&threads[i], NULL, read_at_random, &readers[i]);
    }
    for (unsigned i = 0; i < READERS; i++)
        pthread_join(threads[i], NULL);
    for (unsigned i = 0; i < READERS; i++)
        cr_assert_eq(readers[i].r, 0, "%s", readers[i].err.text);
}

Test(spans, gives_many_readers_the_same_bytes)
{
    struct fixture fixture;
    open_fixture(&fixture, SFS_CODEC_GZIP, 12 * MIB, 0);
    check_readers(&fixture, 100);
    close_fixture(&fixture);
}

Test(spans, gives_many_readers_the_same_bytes_under_a_tiny_budget)
{
    struct fixture fixture;
    open_fixture(&fixture, SFS_CODEC_GZIP, 12 * MIB, 2 * MIB);
    check_readers(&fixture, 60);
    struct sfs_cache_stats stats;
    sfs_spans_close(&fixture.spans); /* waits for what runs in the background */
    sfs_cache_get_stats(fixture.cache, &stats);
    cr_assert_leq(stats.used, stats.budget, "%llu bytes kept", (unsigned long long)stats.used);
    cr_assert_gt(stats.evicted, 0);
    close_fixture(&fixture);
}

Test(spans, keeps_within_the_budget_while_nobody_reads)
{
    struct fixture fixture;
    open_fixture(&fixture, SFS_CODEC_NONE, 20 * MIB, 6 * MIB);
    for (size_t at = 0; at < fixture.content.size; at += MIB) {
        cr_assert_eq(check_range(&fixture, at, MIB, &err), 0, "%s", err.text);
        struct sfs_cache_stats stats;
        sfs_cache_get_stats(fixture.cache, &stats);
        cr_assert_leq(stats.used, stats.budget + 2 * MIB);
    }
    close_fixture(&fixture);
}

Test(spans, decodes_a_span_once_for_all_who_wait)
{
    struct fixture fixture;
    open_fixture(&fixture, SFS_CODEC_GZIP, 4 * MIB, 0);
    check_readers(&fixture, 200);
    sfs_spans_prefetch(fixture.spans, 0, 4 * MIB, SFS_POOL_BACKGROUND);
    cr_assert_eq(check_range(&fixture, 0, 4 * MIB, &err), 0);
    sfs_spans_close(&fixture.spans);
    struct sfs_cache_stats stats;
    sfs_cache_get_stats(fixture.cache, &stats);
    cr_assert_eq(stats.demand_out + stats.ahead_out, 4 * MIB);
    close_fixture(&fixture);
}

Test(spans, keeps_a_lent_slice_while_all_else_is_evicted)
{
    struct fixture fixture;
    open_fixture(&fixture, SFS_CODEC_GZIP, 12 * MIB, MIB);
    struct sfs_slice slice;
    cr_assert_eq(sfs_spans_pin(fixture.spans, 3 * MIB + 5, 10000, &slice, &err), 0);
    size_t size = slice.size;
    cr_assert_eq(check_range(&fixture, 0, 12 * MIB, &err), 0);
    cr_assert(memcmp(slice.data, fixture.content.data + 3 * MIB + 5, size) == 0);
    sfs_slice_release(&slice);
    close_fixture(&fixture);
}

Test(spans, prefetches_so_that_reading_only_hits)
{
    struct fixture fixture;
    open_fixture(&fixture, SFS_CODEC_GZIP, 4 * MIB, 0);
    sfs_spans_prefetch(fixture.spans, 0, UINT64_MAX, SFS_POOL_AHEAD);
    struct sfs_cache_stats stats;
    do
        sfs_cache_get_stats(fixture.cache, &stats);
    while (stats.ahead_out < 4 * MIB);
    cr_assert_eq(check_range(&fixture, 0, 4 * MIB, &err), 0);
    sfs_cache_get_stats(fixture.cache, &stats);
    cr_assert_eq(stats.misses, 0);
    cr_assert_eq(stats.demand_out, 0);
    cr_assert_gt(stats.hits, 0);
    cr_assert_eq(stats.served, 4 * MIB);
    close_fixture(&fixture);
}

static struct sfs_cache_stats read_page(const struct fixture *fixture, uint32_t span)
{
    struct sfs_cache_stats stats;
    uint64_t offset = fixture->unpacked.table.points[span].out;
    sfs_spans_expect(fixture->spans, offset, 4096);
    cr_assert_eq(check_range(fixture, offset, 4096, &err), 0);
    sfs_cache_get_stats(fixture->cache, &stats);
    return stats;
}

Test(spans, decodes_ahead_of_a_reader_that_goes_backwards)
{
    struct fixture fixture;
    open_fixture(&fixture, SFS_CODEC_GZIP, 8 * MIB, 0);
    uint32_t last = fixture.unpacked.table.count - 1;
    cr_assert_gt(last, 8);
    cr_assert_eq(read_page(&fixture, last - 1).guessed, 0);
    cr_assert_eq(read_page(&fixture, last - 2).guessed, 0);
    struct sfs_cache_stats before, stats = read_page(&fixture, last - 3);
    uint64_t four = stats.guessed;
    cr_assert_gt(four, 0);
    cr_assert_eq(stats.guessed_used, 0);
    do
        sfs_cache_get_stats(fixture.cache, &before);
    while (before.ahead_out < four);
    for (uint32_t i = 4; i < 8; i++)
        stats = read_page(&fixture, last - i);
    cr_assert_eq(stats.misses, before.misses);
    cr_assert_eq(stats.guessed_used, four);
    close_fixture(&fixture);
}

Test(spans, expects_nothing_outside)
{
    struct fixture fixture;
    open_fixture(&fixture, SFS_CODEC_GZIP, MIB, 0);
    sfs_spans_expect(fixture.spans, MIB, 1);
    sfs_spans_expect(fixture.spans, UINT64_MAX, UINT64_MAX);
    sfs_spans_expect(fixture.spans, MIB - 1, UINT64_MAX);
    sfs_spans_expect(fixture.spans, 0, 0);
    close_fixture(&fixture);
}

/* Whatever byte of the blob somebody changes, nobody gets a wrong byte. */
static void check_flips(enum sfs_codec codec)
{
    struct fixture fixture;
    open_fixture(&fixture, codec, 3 * MIB, 0);
    uint32_t failures = 0, flips = 0;
    for (size_t at = 0; at < fixture.stream.size; at += fixture.stream.size / 60 + 1) {
        fixture.stream.data[at] ^= 0x40;
        struct sfs_blob *blob = blob_of(fixture.stream.data, fixture.stream.size);
        sfs_spans_close(&fixture.spans);
        cr_assert_eq(sfs_spans_open(fixture.cache, &blob, &fixture.unpacked.table,
                                    "layer sha256:0123", &fixture.spans, &err),
                     0);
        bool failed = false;
        for (size_t from = 0; from < fixture.content.size; from += 200000) {
            size_t left = fixture.content.size - from;
            int r = check_range(&fixture, from, left < 200000 ? left : 200000, &err);
            cr_assert(r == 0 || r == -EIO, "byte %zu: %s", at, err.text);
            if (r == -EIO) {
                failed = true;
                cr_assert(strstr(err.text, "layer sha256:0123: span "), "%s", err.text);
                cr_assert(strstr(err.text, "the blob was changed"), "%s", err.text);
            }
        }
        failures += failed;
        flips++;
        fixture.stream.data[at] ^= 0x40;
    }
    cr_assert_eq(failures, flips);
    close_fixture(&fixture);
}

Test(spans, never_gives_bytes_of_a_changed_gzip_blob)
{
    check_flips(SFS_CODEC_GZIP);
}

Test(spans, never_gives_bytes_of_a_changed_zstd_blob)
{
    check_flips(SFS_CODEC_ZSTD);
}

Test(spans, never_gives_bytes_of_a_changed_plain_blob)
{
    check_flips(SFS_CODEC_NONE);
}

Test(spans, tries_again_after_a_failure)
{
    struct fixture fixture;
    open_fixture(&fixture, SFS_CODEC_GZIP, MIB, 0);
    fixture.stream.data[1000] ^= 1;
    cr_assert_eq(check_range(&fixture, 0, 1000, &err), -EIO);
    cr_assert_eq(check_range(&fixture, 0, 1000, &err), -EIO);
    fixture.stream.data[1000] ^= 1;
    cr_assert_eq(check_range(&fixture, 0, 1000, &err), 0);
    struct sfs_cache_stats stats;
    sfs_cache_get_stats(fixture.cache, &stats);
    cr_assert_eq(stats.check_failures, 2);
    close_fixture(&fixture);
}

static ssize_t read_nothing(struct sfs_blob *blob, void *buf, size_t size, uint64_t offset,
                            struct sfs_error *words)
{
    (void)blob;
    (void)buf;
    (void)size;
    (void)offset;
    return sfs_fail(words, EIO, "the disk is broken");
}

Test(spans, names_the_layer_when_the_disk_fails)
{
    struct fixture fixture;
    open_fixture(&fixture, SFS_CODEC_ZSTD, MIB, 0);
    static const struct sfs_blob_ops broken = { .read_at = read_nothing, .close = memory_close };
    sfs_spans_blob(fixture.spans)->ops = &broken;
    cr_assert_eq(check_range(&fixture, 0, 1000, &err), -EIO);
    cr_assert_str_eq(err.text, "layer 3: span 0: the disk is broken");
    close_fixture(&fixture);
}

static atomic_uint slow_reads;

/* The first read fails, and takes its time for it. */
static ssize_t read_late(struct sfs_blob *blob, void *buf, size_t size, uint64_t offset,
                         struct sfs_error *words)
{
    if (atomic_fetch_add(&slow_reads, 1) > 0)
        return memory_read_at(blob, buf, size, offset, words);
    usleep(4000000);
    return sfs_fail(words, EIO, "no answer");
}

static void *read_the_first(void *arg)
{
    struct sfs_error words;
    return check_range(arg, 0, 1000, &words) == 0 ? NULL : arg;
}

Test(spans, a_late_reader_does_not_share_the_failure_of_an_early_one)
{
    struct fixture fixture;
    pthread_t early, late;
    void *early_failed, *late_failed;
    open_fixture(&fixture, SFS_CODEC_GZIP, MIB, 0);
    static const struct sfs_blob_ops slow = { .read_at = read_late, .close = memory_close };
    sfs_spans_blob(fixture.spans)->ops = &slow;
    pthread_create(&early, NULL, read_the_first, &fixture);
    usleep(2500000);
    pthread_create(&late, NULL, read_the_first, &fixture);
    pthread_join(early, &early_failed);
    pthread_join(late, &late_failed);
    cr_assert(early_failed);
    cr_assert_null(late_failed);
    close_fixture(&fixture);
}

static atomic_bool is_stopped;
static atomic_uint waiting_reads;

/* As one that waits for another machine. */
static ssize_t read_until_stopped(struct sfs_blob *blob, void *buf, size_t size, uint64_t offset,
                                  struct sfs_error *words)
{
    (void)blob;
    (void)buf;
    (void)size;
    (void)offset;
    atomic_fetch_add(&waiting_reads, 1);
    while (!atomic_load(&is_stopped))
        usleep(1000);
    return sfs_fail(words, ECANCELED, "cancelled");
}

static void stop_reads(struct sfs_blob *blob)
{
    (void)blob;
    atomic_store(&is_stopped, true);
}

Test(spans, closing_waits_for_no_other_machine, .timeout = 20)
{
    struct fixture fixture;
    open_fixture(&fixture, SFS_CODEC_GZIP, MIB, 0);
    static const struct sfs_blob_ops silent = { .read_at = read_until_stopped,
                                                .stop = stop_reads,
                                                .close = memory_close };
    sfs_spans_blob(fixture.spans)->ops = &silent;
    cr_assert(sfs_spans_prefetch(fixture.spans, 0, 1000, SFS_POOL_AHEAD));
    while (waiting_reads == 0)
        usleep(1000);
    close_fixture(&fixture);
    cr_assert(is_stopped);
}

Test(spans, checks_decoded_bytes_where_the_image_brought_their_digests)
{
    AUTO(sfs_buf_close) struct sfs_buf content = make_content(2 * MIB, 5);
    AUTO(sfs_buf_close) struct sfs_buf stream = { 0 };
    struct sfs_point points[2] = { 0 };
    struct sfs_digest digests[2];
    for (size_t i = 0; i < 2; i++) {
        points[i] = (struct sfs_point){ .out = i * MIB, .in = stream.size };
        add_libdeflate(&stream, content.data + i * MIB, MIB, 6);
        sfs_digest_of(content.data + i * MIB, MIB, &digests[i]);
    }
    digests[1].bytes[7] ^= 1;
    struct fixture fixture = { .content = content, .stream = stream };
    struct sfs_seek_table table = { .codec = SFS_CODEC_GZIP,
                                    .check = SFS_CHECK_SHA256,
                                    .in_size = stream.size,
                                    .out_size = content.size,
                                    .count = 2,
                                    .points = points,
                                    .tags = digests[0].bytes };
    struct sfs_blob *blob = blob_of(stream.data, stream.size);
    cr_assert_eq(sfs_cache_open(0, 2, &fixture.cache, &err), 0);
    cr_assert_eq(sfs_spans_open(fixture.cache, &blob, &table, "layer", &fixture.spans, &err), 0);
    cr_assert_eq(check_range(&fixture, 100, 5000, &err), 0, "%s", err.text);
    cr_assert_eq(check_range(&fixture, MIB + 100, 5000, &err), -EIO);
    sfs_spans_close(&fixture.spans);
    sfs_cache_close(&fixture.cache);
}

Test(spans, skips_to_a_file_inside_a_frame)
{
    AUTO(sfs_buf_close) struct sfs_buf content = make_content(MIB, 6);
    AUTO(sfs_buf_close) struct sfs_buf stream = { 0 };
    add_zstd(&stream, content.data, content.size, 1, false, true);
    for (uint32_t skip = 0; skip < MIB; skip += 99999) {
        struct sfs_point point = { .skip = skip };
        struct fixture fixture = { .content = content };
        fixture.content.data += skip;
        fixture.content.size -= skip;
        struct sfs_seek_table table = { .codec = SFS_CODEC_ZSTD,
                                        .in_size = stream.size,
                                        .out_size = content.size - skip,
                                        .count = 1,
                                        .points = &point };
        struct sfs_blob *blob = blob_of(stream.data, stream.size);
        cr_assert_eq(sfs_cache_open(0, 1, &fixture.cache, &err), 0);
        cr_assert_eq(sfs_spans_open(fixture.cache, &blob, &table, "l", &fixture.spans, &err), 0);
        cr_assert_eq(check_range(&fixture, 0, fixture.content.size, &err), 0, "%s", err.text);
        sfs_spans_close(&fixture.spans);
        sfs_cache_close(&fixture.cache);
    }
}

Test(spans, never_gives_wrong_bytes_of_a_wrong_table_without_tags)
{
    struct fixture fixture;
    open_fixture(&fixture, SFS_CODEC_GZIP, 2 * MIB, 0);
    struct sfs_seek_table table = fixture.unpacked.table;
    table.check = SFS_CHECK_NONE;
    table.in_size = table.in_size / 2; /* as if the blob had been cut */
    struct sfs_point *points = calloc(table.count, sizeof *points);
    for (uint32_t i = 0; i < table.count; i++) {
        points[i] = table.points[i];
        if (points[i].in > table.in_size)
            points[i].in = table.in_size;
    }
    table.points = points;
    sfs_spans_close(&fixture.spans);
    struct sfs_blob *blob = blob_of(fixture.stream.data, fixture.stream.size);
    cr_assert_eq(sfs_spans_open(fixture.cache, &blob, &table, "layer", &fixture.spans, &err), 0);
    cr_assert_eq(check_range(&fixture, 2 * MIB - 10, 10, &err), -EIO);
    close_fixture(&fixture);
    free(points);
}

static int check_table(const struct sfs_seek_table *table, uint64_t blob_size)
{
    return sfs_seek_check(table, blob_size, &err);
}

Test(seek, refuses_tables_that_would_read_outside)
{
    struct sfs_point points[2] = { { 0 }, { .out = 100, .in = 50 } };
    uint8_t tags[32] = { 0 }, windows[10] = { 0 };
    const struct sfs_seek_table good = { .codec = SFS_CODEC_GZIP,
                                         .check = SFS_CHECK_GMAC,
                                         .in_size = 100,
                                         .out_size = 200,
                                         .count = 2,
                                         .points = points,
                                         .tags = tags,
                                         .windows = windows,
                                         .windows_size = 10 };
    cr_assert_eq(check_table(&good, 100), 0);
    cr_assert_eq(check_table(&good, 99), -EBADMSG);
    struct sfs_seek_table table = good;
    table.codec = 3;
    cr_assert_eq(check_table(&table, 100), -EBADMSG);
    table = good;
    table.tags = NULL;
    cr_assert_eq(check_table(&table, 100), -EBADMSG);
    table = good;
    table.count = 0;
    cr_assert_eq(check_table(&table, 100), -EBADMSG);
    table = good;
    table.out_size = 99;
    cr_assert_eq(check_table(&table, 100), -EBADMSG);
    table.out_size = 101 + SFS_SPAN_MAX;
    cr_assert_eq(check_table(&table, 100), -EBADMSG);
    static const struct sfs_point bad[] = {
        { .out = 201, .in = 50 },
        { .out = 100, .in = 101 },
        { .out = 100, .in = 50, .bits = 3 },
        { .out = 100, .in = 50, .bits = 0x90 },
        { .out = 100, .in = 50, .window = 5, .window_size = 6 },
        { .out = 100, .in = 50, .window = UINT64_MAX, .window_size = 2 },
        { .out = 100, .in = 50, .skip = UINT32_MAX },
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        points[1] = bad[i];
        cr_assert_eq(check_table(&good, 100), -EBADMSG, "case %zu", i);
    }
    points[1] = (struct sfs_point){ .out = 100, .in = 50 };
    points[0].out = 1;
    cr_assert_eq(check_table(&good, 100), -EBADMSG);
    points[0] = (struct sfs_point){ .bits = SFS_POINT_RAW | 3 };
    cr_assert_eq(check_table(&good, 100), -EBADMSG);
}

Test(seek, finds_the_span_that_holds_a_byte_and_never_an_empty_one)
{
    const struct sfs_point points[] = { { .out = 0 },           { .out = 10, .in = 1 },
                                        { .out = 10, .in = 2 }, { .out = 10, .in = 3 },
                                        { .out = 20, .in = 4 }, { .out = 30, .in = 5 } };
    struct sfs_seek_table table = { .in_size = 6, .out_size = 30, .count = 6, .points = points };
    cr_assert_eq(sfs_seek_find(&table, 0), 0);
    cr_assert_eq(sfs_seek_find(&table, 9), 0);
    cr_assert_eq(sfs_seek_find(&table, 10), 3);
    cr_assert_eq(sfs_seek_find(&table, 19), 3);
    cr_assert_eq(sfs_seek_find(&table, 29), 4);
}

Test(readahead, leaves_random_readers_alone)
{
    struct sfs_readahead readahead = { 0 };
    uint32_t first;
    for (uint64_t i = 0; i < 100; i++) {
        uint64_t offset = i * 7919 % 100 * (16ull << 20);
        cr_assert_eq(
            sfs_readahead_note(&readahead, offset, 4096, (uint32_t)(offset >> 22), 8, &first), 0);
    }
}

Test(readahead, asks_for_each_span_once_and_ever_more_of_them)
{
    struct sfs_readahead readahead = { 0 };
    uint32_t expected = 1, furthest = 0;
    for (uint64_t offset = 0; offset < (200u << 20); offset += 128 << 10) {
        uint32_t span = (uint32_t)(offset >> 22), first;
        uint32_t count = sfs_readahead_note(&readahead, offset, 128 << 10, span, 8, &first);
        if (count == 0)
            continue;
        cr_assert_eq(first, expected);
        expected = first + count;
        if (expected - span > furthest)
            furthest = expected - span;
    }
    cr_assert_eq(expected, 50 + 8);
    cr_assert_eq(furthest, 9);
}

Test(readahead, fetches_as_much_as_was_read_and_stops_where_the_reader_will)
{
    struct sfs_readahead readahead = { 0 };
    uint64_t end = 100u << 20, max = 16u << 20, fetched = 0, from, to;
    uint32_t first;
    for (uint64_t offset = 0; offset < end; offset += 128 << 10) {
        uint64_t next = offset + (128 << 10);
        sfs_readahead_note(&readahead, offset, 128 << 10, (uint32_t)(offset >> 22), 8, &first);
        if (!sfs_readahead_fetch(&readahead, max, end, &from, &to))
            continue;
        cr_assert_eq(from, fetched > next ? fetched : next);
        cr_assert_leq(to - next, max);
        cr_assert_leq(to - next, 2 * next);
        fetched = to;
    }
    cr_assert_eq(fetched, end);
    sfs_readahead_note(&readahead, 500u << 20, 4096, 125, 8, &first);
    cr_assert(!sfs_readahead_fetch(&readahead, max, UINT64_MAX, &from, &to));
}

Test(readahead, follows_several_readers_whose_requests_come_out_of_order)
{
    struct sfs_readahead readahead = { 0 };
    uint32_t first, asked[4] = { 0 };
    for (uint64_t step = 0; step < 400; step++) {
        for (uint64_t reader = 0; reader < 4; reader++) {
            uint64_t offset = reader * (1ull << 30) + (step ^ 1) * (128 << 10);
            asked[reader] += sfs_readahead_note(&readahead, offset, 128 << 10,
                                                (uint32_t)(offset >> 22), 4, &first);
        }
    }
    for (int reader = 0; reader < 4; reader++)
        cr_assert(asked[reader] >= 12 && asked[reader] <= 18, "%u", asked[reader]);
}
