#include "toc_fixture.h"

#include "base/limits.h"

TestSuite(toc_bad, .init = fixture_open, .fini = fixture_close);

Test(toc_bad, in_another_image_is_not_looked_for)
{
    AUTO(toc_done) struct toc_writer w = { .kind = TOC_ESTARGZ, .footer = 46 };
    put_small_tree(&w);
    toc_finish(&w);
    expect_ignored(&w, "another image has it");
}

Test(toc_bad, is_ignored_if_it_is_not_what_the_manifest_names)
{
    for (enum toc_kind kind = 0; kind < TOC_KINDS; kind++) {
        AUTO(toc_done) struct toc_writer w = { .kind = kind };
        put_small_tree(&w);
        toc_finish(&w);
        const char *key;
        json_t *value;
        json_object_foreach(w.annotations, key, value)
        {
            const char *text = json_string_value(value);
            if (strncmp(text, "sha256:", 7) == 0) {
                char wrong[SFS_DIGEST_TEXT];
                snprintf(wrong, sizeof wrong, "sha256:%c%s", text[7] == '0' ? '1' : '0', text + 8);
                json_string_set(value, wrong);
                break;
            }
        }
        expect_ignored(&w, "does not match the digest in the manifest");
    }
}

Test(toc_bad, is_ignored_if_annotations_contradict_each_other)
{
    static const char digest[] =
        "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    static const struct {
        enum toc_kind kind;
        const char *key, *value, *why;
    } cases[] = {
        { TOC_CHUNKED, "io.containers.zstd-chunked.manifest-checksum", digest,
          "two tables with different digests" },
        { TOC_CHUNKED, "containerd.io/snapshot/stargz/toc.digest", digest,
          "its JSON does not match" },
        { TOC_STARGZ_ZSTD, "containerd.io/snapshot/stargz/toc.digest", digest,
          "its JSON does not match" },
        { TOC_ESTARGZ, "io.containers.zstd-chunked.manifest-checksum", digest,
          "zstd:chunked on a gzip layer" },
        { TOC_ESTARGZ, "containerd.io/snapshot/stargz/toc.digest", "md5:0", "is not a digest" },
        { TOC_CHUNKED, "io.github.containers.zstd-chunked.manifest-position", "1:2:3",
          "malformed" },
        { TOC_CHUNKED, "io.github.containers.zstd-chunked.manifest-position", "1:2:3:1x",
          "malformed" },
        { TOC_CHUNKED, "io.github.containers.zstd-chunked.manifest-position", "1:2:3:2",
          "table of type 2" },
        { TOC_CHUNKED, "io.github.containers.zstd-chunked.manifest-position",
          "18446744073709551615:18446744073709551615:1:1", "larger than" },
        { TOC_CHUNKED, "io.github.containers.zstd-chunked.manifest-position",
          "18446744073709551615:10:10:1", "outside of the blob" },
        { TOC_CHUNKED, "io.github.containers.zstd-chunked.manifest-position", "0:10:10:1",
          "outside of the blob" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        AUTO(toc_done) struct toc_writer w = { .kind = cases[i].kind };
        put_small_tree(&w);
        toc_finish(&w);
        json_object_set_new(w.annotations, cases[i].key, json_string(cases[i].value));
        expect_ignored(&w, cases[i].why);
    }
}

/* Vouched for, and wrong all the same. */
static void expect_damage_ignored(enum toc_kind kind, const char *from, const char *to,
                                  const char *why)
{
    AUTO(toc_done) struct toc_writer w = { .kind = kind, .from = { from }, .to = { to } };
    put_small_tree(&w);
    toc_finish(&w);
    expect_ignored(&w, why);
}

Test(toc_bad, is_ignored_if_it_is_malformed)
{
    static const struct {
        const char *from, *to, *why;
    } cases[] = {
        { "\"version\":1", "\"version\":2", "unknown version" },
        { "\"version\":1,", "", "no version" },
        { "{\"version\"", "[\"version\"", "not a JSON object" },
        { "\n]}", "\n]", "not JSON" },
        { "\n]}", "\n]}x", "not JSON" },
        { "\n]}", "\n],\"entries\":[]}", "not JSON" },
        { "\"entries\":[", "\"entries\":[7,", "not an object" },
        { "dir/second", "dir/first", "more than once" },
        { "\"dir/second", "\"dir/first/x", "is not a directory" },
        { "\"dir/link", "\"./dir//first", "more than once" },
        { "\"name\":\"dir/second\"", "\"name\":\"../second\"", "\"..\" in a path" },
        { "\"name\":\"dir/second\"", "\"name\":\"\"", "has no name" },
        { "\"name\":\"dir/second\"", "\"name\":\"dir/\\u0000\"", "not in UTF-8" },
        { "\"name\":\"dir/second\"", "\"name\":\"dir/\xff\"", "not JSON" },
        { "\"name\":\"dir/second\"", "\"name\":\"dir/\xef\xbf\xbd\"", "not in UTF-8" },
        { "\"linkName\":\"dir/first\"", "\"linkName\":\"dir/nowhere\"", "what is not there" },
        { "\"linkName\":\"dir/first\"", "\"linkName\":\"dir\"", "hard link to a directory" },
        { "\"linkName\":\"dir/first\"", "\"x\":\"\"", "no target" },
        { "\"type\":\"symlink\"", "\"type\":\"socket\"", "type is unknown" },
        { "\"type\":\"symlink\"", "\"type\":7", "not a string" },
        { "\"type\":\"symlink\"", "\"type\":\"chunk\"", "a chunk of no file" },
        { "\"uid\":7", "\"uid\":4294967295", "out of range" },
        { "\"uid\":7", "\"uid\":\"7\"", "not a number" },
        { "\"mode\":420", "\"mode\":-1", "out of range" },
        { "\"size\":25", "\"size\":-25", "out of range" },
        { "\"size\":25", "\"size\":9223372036854775807", "larger than" },
        { "\"modtime\":\"2020", "\"modtime\":\"MMXX", "not a time" },
        { "\"offset\":", "\"offset\":99999999", "outside of the layer's data" },
        { "\"offset\":", "\"other\":", "no offset" },
        { "\"size\":25", "\"size\":25,\"chunkSize\":26", "do not make up the file" },
        { "\"size\":25", "\"size\":25,\"chunkOffset\":1", "do not make up the file" },
        { "\"size\":25", "\"size\":25,\"chunkType\":\"lz4\"", "unknown" },
        { "\"size\":25", "\"size\":25,\"xattrs\":{\"user.a\":\"?\"}", "not base64" },
        { "\"size\":25", "\"size\":25,\"xattrs\":{\"user.a\":7}", "not a string" },
        { "\"size\":25", "\"size\":25,\"xattrs\":[]", "not an object" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        expect_damage_ignored(TOC_ESTARGZ, cases[i].from, cases[i].to, cases[i].why);
        expect_damage_ignored(TOC_CHUNKED, cases[i].from, cases[i].to, cases[i].why);
    }
}

Test(toc_bad, is_ignored_without_the_digest_of_a_chunk)
{
    expect_damage_ignored(TOC_ESTARGZ, "chunkDigest", "x", "no digest");
    expect_damage_ignored(TOC_CHUNKED, "\"digest\"", "\"x\"", "no digest");
    expect_damage_ignored(TOC_CHUNKED,
                          "\"digest\":\"sha256:", "\"digest\":\"sha512:", "not a SHA-256");
}

Test(toc_bad, is_ignored_if_chunks_overlap_or_go_backwards)
{
    for (enum toc_kind kind = 0; kind < TOC_KINDS; kind++) {
        AUTO(toc_done) struct toc_writer plain = { .kind = kind };
        put_small_tree(&plain);
        toc_finish(&plain);
        const char *first = strstr(plain.json.data, "\"offset\":");
        const char *second = strstr(first + 1, "\"offset\":");
        char one[32], two[32];
        snprintf(one, sizeof one, "%.*s", (int)strspn(first + 9, "0123456789") + 9, first);
        snprintf(two, sizeof two, "%.*s", (int)strspn(second + 9, "0123456789") + 9, second);
        AUTO(toc_done) struct toc_writer same = { .kind = kind, .from = { two }, .to = { one } };
        AUTO(toc_done) struct toc_writer swapped = { .kind = kind };
        const char *const from[] = { one, two, "\"swap\":1" }, *const to[] = { from[2], one, two };
        memcpy(swapped.from, from, sizeof from);
        memcpy(swapped.to, to, sizeof to);
        put_small_tree(&swapped);
        put_small_tree(&same);
        toc_finish(&swapped);
        toc_finish(&same);
        expect_ignored(&swapped, "out of order");
        expect_ignored(&same, "out of order");
    }
}

Test(toc_bad, is_ignored_if_a_file_ends_before_its_chunks_or_behind_the_data)
{
    expect_damage_ignored(TOC_CHUNKED,
                          "\"endOffset\":", "\"endOffset\":1,\"x\":", "its end is out");
    expect_damage_ignored(TOC_CHUNKED, "\"endOffset\":", "\"endOffset\":99999", "its end is out");
}

Test(toc_bad, is_ignored_if_it_is_too_large)
{
    for (enum toc_kind kind = TOC_CHUNKED; kind < TOC_KINDS; kind++) {
        AUTO(toc_done) struct toc_writer w = { .kind = kind, .claimed = SFS_MAX_TOC + 1ull };
        put_small_tree(&w);
        toc_finish(&w);
        expect_ignored(&w, "larger than 157286400 bytes");
    }
    AUTO(toc_done) struct toc_writer w = { .kind = TOC_ESTARGZ, .claimed = SFS_MAX_TOC + 1ull };
    struct sfs_toc_text text = { 0 };
    struct sfs_toc_claim claim = { 0 };
    toc_finish(&w);
    AUTO(sfs_blob_close) struct sfs_blob *blob = fixture_blob(w.blob.data, w.blob.size);
    cr_assert_eq(sfs_toc_read_estargz(blob, &claim, &text, &err), -E2BIG);
}

Test(toc_bad, is_ignored_if_its_footer_is_damaged)
{
    for (size_t at = 1; at <= 51; at++) {
        AUTO(toc_done) struct toc_writer w = { .kind = TOC_ESTARGZ };
        put_small_tree(&w);
        toc_finish(&w);
        bool matters = at > 8 && (at <= 39 || at > 47); /* not CRC-32, ISIZE, time, XFL and OS */
        w.blob.data[w.blob.size - at] ^= 0x40;
        struct sfs_toc_text text = { 0 };
        struct sfs_toc_claim claim = { .has_plain = true };
        sfs_digest_of(w.json.data, w.json.size, &claim.plain);
        AUTO(sfs_blob_close) struct sfs_blob *blob = fixture_blob(w.blob.data, w.blob.size);
        int r = sfs_toc_read_estargz(blob, &claim, &text, &err);
        cr_assert(matters ? r < 0 : at >= 40 || r < 0, "byte %zu from the end", at);
        sfs_toc_text_done(&text);
    }
}

Test(toc_bad, is_never_read_outside_of_a_blob_that_was_cut)
{
    for (enum toc_kind kind = 0; kind < TOC_KINDS; kind++) {
        AUTO(toc_done) struct toc_writer w = { .kind = kind };
        put_small_tree(&w);
        toc_finish(&w);
        for (size_t size = 0; size < w.blob.size; size++) {
            struct sfs_toc_text text = { 0 };
            struct sfs_toc_claim claim = { .has_plain = true };
            sfs_digest_of(w.json.data, w.json.size, &claim.plain);
            AUTO(sfs_free) char *exact = malloc(size + 1);
            memcpy(exact, w.blob.data, size);
            AUTO(sfs_blob_close) struct sfs_blob *blob = blob_of(exact, size);
            int r = toc_is_zstd(&w) ? sfs_toc_read_chunked(blob, &claim, &text, &err)
                                    : sfs_toc_read_estargz(blob, &claim, &text, &err);
            cr_assert_lt(r, 0, "kind %d, %zu bytes", kind, size);
        }
    }
}

static int add_entry(void *user, const json_t *json, struct sfs_error *error)
{
    AUTO(sfs_toc_entry_done) struct sfs_toc_entry entry = { 0 };
    int r = sfs_toc_entry_parse(json, &entry, error);
    return r < 0 ? r : sfs_toc_index_add(user, &entry, error);
}

/* The tables of a table's text, which are freed with *ret_memory. */
static int read_json(const char *json, size_t size, struct sfs_tables *ret_tables,
                     void **ret_memory)
{
    struct sfs_seek_table seek;
    AUTO(sfs_toc_index_close)
    struct sfs_toc_index *index = sfs_toc_index_open(1ull << 40, sfs_toc_find_kind(SFS_CODEC_ZSTD));
    int r = sfs_toc_json_each(json, size, add_entry, index, &err);
    if (r == 0)
        r = sfs_toc_index_finish(index, &seek, ret_tables, ret_memory, &err);
    if (r == 0) /* what the index file will be asked when it is opened */
        cr_assert_eq(sfs_tables_check(ret_tables, seek.out_size, &err), 0, "%s", err.text);
    return r;
}

Test(toc_bad, of_any_damage_leads_to_whole_tables_or_none)
{
    AUTO(toc_done) struct toc_writer w = { .kind = TOC_CHUNKED, .chunk = 100000 };
    put_tree(&w);
    toc_finish(&w);
    static const char bytes[] = "\"{}[],:0-9\\.xz\0\xff";
    unsigned whole = 0, none = 0;
    for (size_t i = 0; i < w.json.size; i++) {
        for (size_t b = i % support_step(); b < sizeof bytes - 1; b += support_step() + i % 3) {
            struct sfs_tables tables;
            AUTO(sfs_tables_close) void *memory = NULL;
            char kept = w.json.data[i];
            w.json.data[i] = bytes[b];
            int r = read_json(w.json.data, w.json.size, &tables, &memory);
            w.json.data[i] = kept;
            *(r == 0 ? &whole : &none) += 1;
        }
    }
    cr_assert_gt(whole, 100);
    cr_assert_gt(none, 100);
    for (size_t size = 0; size < w.json.size; size++) {
        struct sfs_tables tables;
        AUTO(sfs_tables_close) void *memory = NULL;
        AUTO(sfs_free) char *exact = malloc(size + 1);
        memcpy(exact, w.json.data, size);
        cr_assert_lt(read_json(exact, size, &tables, &memory), 0, "cut at %zu", size);
    }
}

/* The inode of the only entry of a table. */
static struct sfs_inode_rec read_entry(const char *fields)
{
    struct sfs_tables tables;
    AUTO(sfs_tables_close) void *memory = NULL;
    AUTO(sfs_free) char *json = NULL;
    cr_assert_gt(asprintf(&json,
                          "{\"version\":1,\"more\":{\"a\":[1,\"]\"]},"
                          "\"entries\":[{\"name\":\"x\",%s}]}",
                          fields),
                 0);
    cr_assert_eq(read_json(json, strlen(json), &tables, &memory), 0, "%s", err.text);
    cr_assert_eq(tables.entry_count, 2);
    return tables.inodes[tables.entries[1].inode];
}

Test(toc_entry, masks_the_type_that_a_mode_may_hold)
{
    cr_assert_eq(read_entry("\"type\":\"reg\",\"mode\":33261").mode, S_IFREG | 0755);
    cr_assert_eq(read_entry("\"type\":\"reg\",\"mode\":2541").mode, S_IFREG | 04755);
    cr_assert_eq(read_entry("\"type\":\"dir\",\"mode\":17407").mode, S_IFDIR | 01777);
}

Test(toc_entry, reads_times_of_every_form)
{
    static const struct {
        const char *text;
        int64_t sec;
        uint32_t nsec;
    } cases[] = {
        { "2020-09-13T12:26:40Z", 1600000000, 0 },
        { "2020-09-13T12:26:40.25Z", 1600000000, 250000000 },
        { "2020-09-13T12:26:40.0123456789Z", 1600000000, 12345678 },
        { "2020-09-13T14:26:40+02:00", 1600000000, 0 },
        { "2020-09-13T06:56:40-05:30", 1600000000, 0 },
        { "1969-12-31T23:59:59Z", -1, 0 },
        { "0001-01-01T00:00:00Z", 0, 0 },
        { "", 0, 0 },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char fields[128];
        snprintf(fields, sizeof fields, "\"type\":\"fifo\",\"modtime\":\"%s\"", cases[i].text);
        struct sfs_inode_rec inode = read_entry(fields);
        cr_assert_eq(inode.mtime_sec, cases[i].sec, "%s", cases[i].text);
        cr_assert_eq(inode.mtime_nsec, cases[i].nsec, "%s", cases[i].text);
    }
    cr_assert_eq(read_entry("\"type\":\"fifo\"").mtime_sec, 0);
}

Test(toc_entry, has_no_owner_but_root_where_none_is_named)
{
    struct sfs_inode_rec inode = read_entry("\"type\":\"dir\",\"gid\":5,\"userName\":\"joe\"");
    cr_assert_eq(inode.uid, 0);
    cr_assert_eq(inode.gid, 5);
}

Test(toc_entry, is_refused_if_it_is_larger_than_a_file_can_need)
{
    struct sfs_tables tables;
    AUTO(sfs_tables_close) void *memory = NULL;
    AUTO(sfs_buf_close) struct sfs_buf json = { 0 };
    sfs_buf_add_str(&json, "{\"version\":1,\"entries\":[{\"name\":\"x\",\"type\":\"dir\",\"x\":[");
    for (int i = 0; i < 70000; i++)
        sfs_buf_add_str(&json, "{},");
    sfs_buf_add_str(&json, "{}]}]}");
    cr_assert_eq(read_json(json.data, json.size, &tables, &memory), -E2BIG);
}

#define DIGEST                                                                                     \
    "\"digest\":\"sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\""

/* Compressed bytes that the first file's span has, where the second one starts at `next`. */
static uint64_t first_input(unsigned next)
{
    struct sfs_tables tables;
    struct sfs_seek_table seek;
    AUTO(sfs_tables_close) void *memory = NULL;
    AUTO(sfs_free) char *json = NULL;
    AUTO(sfs_toc_index_close)
    struct sfs_toc_index *index =
        sfs_toc_index_open(next + 1000, sfs_toc_find_kind(SFS_CODEC_ZSTD));
    const char *format =
        "{\"version\":1,\"entries\":[{\"name\":\"a\",\"type\":\"reg\",\"size\":9,\"offset\":100,"
        "\"endOffset\":200," DIGEST
        "},{\"name\":\"b\",\"type\":\"reg\",\"size\":9,\"offset\":%u," DIGEST "}]}";
    uint64_t start, end;
    cr_assert_gt(asprintf(&json, format, next), 0);
    cr_assert_eq(sfs_toc_json_each(json, strlen(json), add_entry, index, &err), 0, "%s", err.text);
    cr_assert_eq(sfs_toc_index_finish(index, &seek, &tables, &memory, &err), 0, "%s", err.text);
    sfs_seek_input(&seek, 0, &start, &end);
    cr_assert_eq(start, 100);
    cr_assert_eq(sfs_seek_find(&seek, 0), 0);
    cr_assert_eq(sfs_seek_find(&seek, 9), seek.count - 1);
    return end - start;
}

Test(toc_entry, has_a_span_that_ends_where_much_follows_that_nobody_needs)
{
    cr_assert_eq(first_input(300), 200); /* a header: not worth a span */
    cr_assert_eq(first_input(100000000), 100);
}

Test(toc_entry, of_a_chunk_larger_than_a_span_is_refused)
{
    struct sfs_tables tables;
    AUTO(sfs_tables_close) void *memory = NULL;
    static const char json[] =
        "{\"version\":1,\"entries\":[{\"name\":\"x\",\"type\":\"reg\",\"size\":16777217,"
        "\"offset\":100," DIGEST "}]}";
    cr_assert_eq(read_json(json, sizeof json - 1, &tables, &memory), -ENOTSUP);
    cr_assert_str_eq(err.text, "a chunk is larger than 16777216 bytes");
}
