#include "toc_bytes.h"

#include "base/limits.h"
#include "layer/toc.h"
#include "layer_fixture.h"
#include "support.h"

TestSuite(toc, .init = fixture_open, .fini = fixture_close);

static struct support_warnings warnings;

/* The layer of a writer's blob. `annotations` NULL: as if it were an ordinary one. */
static int try_layer(const struct toc_writer *w, const json_t *annotations,
                     struct sfs_layer **ret_layer)
{
    char text[SFS_DIGEST_TEXT];
    struct sfs_layer_source source = fixture_source(w->blob.data, w->blob.size, text);
    source.codec = toc_is_zstd(w) ? SFS_CODEC_ZSTD : SFS_CODEC_GZIP;
    source.annotations = annotations;
    AUTO(sfs_blob_close) struct sfs_blob *blob = fixture_blob(w->blob.data, w->blob.size);
    support_warnings_init(&warnings);
    return sfs_layer_open_tar(store, cache, &blob, &source, &warnings.progress, ret_layer, &err);
}

static struct sfs_layer *open_layer(const struct toc_writer *w, const json_t *annotations)
{
    struct sfs_layer *layer = NULL;
    cr_assert_eq(try_layer(w, annotations, &layer), 0, "%s", err.text);
    return layer;
}

static bool is_from_toc(const struct toc_writer *w)
{
    char text[SFS_DIGEST_TEXT];
    struct sfs_layer_state state;
    struct sfs_layer_source source = fixture_source(w->blob.data, w->blob.size, text);
    cr_assert_eq(sfs_layer_get_state(store, source.key, &state, &err), 0);
    cr_assert(state.indexed);
    return state.from_toc;
}

static void dump_bytes(struct sfs_layer *layer, sfs_inode inode, struct sfs_buf *out)
{
    struct sfs_digest digest;
    char text[SFS_DIGEST_TEXT];
    AUTO(sfs_free) char *data = fixture_read(layer, inode);
    sfs_digest_of(data, layer->tables.inodes[inode].size, &digest);
    sfs_buf_printf(out, " %s", sfs_digest_print(&digest, text));
}

/* Everything that a reader can see. The table itself is a file only for whoever unpacks the tar. */
static char *dump(struct sfs_layer *layer)
{
    const struct sfs_tables *tables = &layer->tables;
    struct sfs_buf out = { 0 };
    for (sfs_entry i = 0; i < tables->entry_count; i++) {
        const struct sfs_entry_rec *entry = &tables->entries[i];
        if (strcmp(tables->strings + entry->name, "stargz.index.json") == 0)
            continue;
        tables_text_entry(tables, i, &out);
        if (entry->inode == SFS_NO_INODE)
            continue;
        const struct sfs_inode_rec *inode = &tables->inodes[entry->inode];
        sfs_buf_printf(&out, "  %u:%u %u:%u %lld.%u", inode->uid, inode->gid, inode->rdev_major,
                       inode->rdev_minor, (long long)inode->mtime_sec, inode->mtime_nsec);
        for (uint32_t x = inode->xattrs; x < inode->xattrs + inode->xattr_count; x++)
            sfs_buf_printf(&out, " %s=%.*s", tables->strings + tables->xattrs[x].name,
                           (int)tables->xattrs[x].value_size,
                           tables->strings + tables->xattrs[x].value);
        if (S_ISREG(inode->mode))
            dump_bytes(layer, entry->inode, &out);
        sfs_buf_add_str(&out, "\n");
    }
    return out.data;
}

static char *dump_of(const struct toc_writer *w, const json_t *annotations)
{
    AUTO(sfs_layer_close) struct sfs_layer *layer = open_layer(w, annotations);
    return dump(layer);
}

/* Layers of equal bytes would find each other's index. */
static void forget_indexes(void)
{
    uint64_t freed, items;
    cr_assert_eq(sfs_store_prune(store, 0, &freed, &items, &err), 0, "%s", err.text);
}

/* The table shows the same as the tar that it is in. */
static void expect_same(const struct toc_writer *w)
{
    forget_indexes();
    AUTO(sfs_free) char *lazy = dump_of(w, w->annotations);
    cr_assert_eq(warnings.count, 0, "kind %d: %s", w->kind, warnings.last);
    cr_assert(is_from_toc(w), "kind %d", w->kind);
    AUTO(sfs_free) char *whole = dump_of(w, NULL);
    cr_assert_not(is_from_toc(w));
    cr_assert_str_eq(lazy, whole, "kind %d", w->kind);
}

/* The table is ignored with a warning that says why, and the tar is shown. */
static void expect_ignored(const struct toc_writer *w, const char *why)
{
    forget_indexes();
    AUTO(sfs_free) char *shown = dump_of(w, w->annotations);
    cr_assert_eq(warnings.count, 1, "no warning \"%s\"", why);
    cr_assert_not_null(strstr(warnings.last, why), "\"%s\", not \"%s\"", warnings.last, why);
    cr_assert_eq(strncmp(warnings.last, "sha256:", 7), 0, "it does not name the layer");
    cr_assert_not(is_from_toc(w));
    AUTO(sfs_free) char *whole = dump_of(w, NULL);
    cr_assert_str_eq(shown, whole);
}

static void put_tree(struct toc_writer *w)
{
    AUTO(sfs_buf_close) struct sfs_buf content = make_content(300000, 1);
    memset(content.data + 100000, 0, 100000);
    toc_entry(w, '5', "./", "");
    toc_entry(w, '5', "bin/", "");
    toc_file_note(w, "bin/tool", content.data, 123456, "one");
    toc_text(w, "bin/empty", "");
    toc_entry(w, '1', "bin/again", "bin/tool");
    toc_entry(w, '2', "sbin", "bin");
    toc_file(w, "opt/deep/er/data", content.data, content.size);
    toc_text(w, "./a", "alpha");
    toc_text(w, "b", "beta");
    toc_entry(w, '3', "dev/console", "");
    toc_entry(w, '6', "dev/pipe", "");
    toc_text(w, "etc/.wh.gone", "");
    toc_text(w, "var/.wh..wh..opq", "");
    toc_text(w, "var/new", "new\n");
    toc_entry(w, '1', "var/link", "./b");
    toc_file(w, "zeros", content.data + 100000, 100000);
    toc_text(w, "z", "the last");
}

Test(toc, shows_the_names_and_bytes_that_the_tar_has)
{
    for (enum toc_kind kind = 0; kind < TOC_KINDS; kind++) {
        AUTO(toc_done) struct toc_writer w = { .kind = kind, .chunk = 20000 };
        put_tree(&w);
        toc_finish(&w);
        expect_same(&w);
    }
}

Test(toc, shows_files_of_one_chunk)
{
    for (enum toc_kind kind = 0; kind < TOC_KINDS; kind++) {
        AUTO(toc_done) struct toc_writer w = { .kind = kind };
        put_tree(&w);
        toc_finish(&w);
        expect_same(&w);
    }
}

Test(toc, shows_files_that_share_a_member)
{
    AUTO(toc_done) struct toc_writer w = { .kind = TOC_ESTARGZ, .chunk = 20000, .pack = 50000 };
    put_tree(&w);
    toc_finish(&w);
    cr_assert_not_null(strstr(w.json.data, "innerOffset"));
    expect_same(&w);
}

Test(toc, shows_a_layer_of_nothing)
{
    for (enum toc_kind kind = 0; kind < TOC_KINDS; kind++) {
        AUTO(toc_done) struct toc_writer w = { .kind = kind };
        toc_finish(&w);
        expect_same(&w);
    }
}

static unsigned next_random(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)(*state >> 33);
}

static void put_random_tree(struct toc_writer *w, uint64_t *state)
{
    AUTO(sfs_buf_close) struct sfs_buf content = make_content(200000, next_random(state));
    unsigned count = next_random(state) % 40;
    for (unsigned i = 0; i < count; i++) {
        char name[64];
        snprintf(name, sizeof name, "d%u/e%u/n%u", next_random(state) % 3, next_random(state) % 3,
                 i);
        size_t size = next_random(state) % (next_random(state) % 4 ? 3000 : 100000);
        size_t start = next_random(state) % (content.size - size);
        if (next_random(state) % 4 == 0)
            toc_entry(w, '2', name, "target");
        else
            toc_file(w, name, content.data + start, size);
        memset(content.data + start, 0, size / 3);
    }
}

Test(toc, shows_the_same_as_the_tar_for_any_tree)
{
    uint64_t state = 42;
    for (int i = 0; i < 60; i++) {
        AUTO(toc_done) struct toc_writer w = { .kind = (enum toc_kind)(i % TOC_KINDS) };
        w.chunk = 1 + next_random(&state) % 30000;
        w.chunk = w.chunk < 500 ? 500 : w.chunk;
        w.pack = w.kind == TOC_ESTARGZ ? next_random(&state) % 60000 : 0;
        put_random_tree(&w, &state);
        toc_finish(&w);
        expect_same(&w);
    }
}

static void put_small_tree(struct toc_writer *w)
{
    toc_entry(w, '5', "dir/", "");
    toc_text(w, "dir/first", "what the first file holds");
    toc_text(w, "dir/second", "what the second file holds");
    toc_entry(w, '1', "dir/third", "dir/first");
    toc_entry(w, '2', "dir/link", "first");
}

Test(toc, hides_the_landmarks)
{
    AUTO(toc_done) struct toc_writer w = { .kind = TOC_ESTARGZ };
    toc_text(&w, "a", "early");
    toc_text(&w, ".prefetch.landmark", "\x0f");
    toc_text(&w, "./.no.prefetch.landmark", "\x0f");
    toc_text(&w, "dir/.prefetch.landmark", "shown");
    toc_text(&w, "b", "late");
    toc_finish(&w);
    AUTO(sfs_layer_close) struct sfs_layer *layer = open_layer(&w, w.annotations);
    fixture_expect(layer, "a f644 5\nb f644 4\ndir implied\ndir/.prefetch.landmark f644 5\n");
    fixture_expect_bytes(layer, "b", "late", 4);
    cr_assert(is_from_toc(&w));
}

Test(toc, is_not_read_again_once_the_store_has_the_index)
{
    AUTO(toc_done) struct toc_writer w = { .kind = TOC_CHUNKED };
    put_small_tree(&w);
    toc_finish(&w);
    AUTO(sfs_layer_close) struct sfs_layer *first = open_layer(&w, w.annotations);
    char text[SFS_DIGEST_TEXT];
    struct sfs_layer_source source = fixture_source(w.blob.data, w.blob.size, text);
    source.codec = SFS_CODEC_ZSTD;
    source.annotations = w.annotations;
    memset(w.blob.data + w.toc_at, 0, w.blob.size - w.toc_at);
    AUTO(sfs_blob_close) struct sfs_blob *blob = fixture_blob(w.blob.data, w.blob.size);
    AUTO(sfs_layer_close) struct sfs_layer *second = NULL;
    support_warnings_init(&warnings);
    cr_assert_eq(
        sfs_layer_open_tar(store, cache, &blob, &source, &warnings.progress, &second, &err), 0,
        "%s", err.text);
    cr_assert_eq(warnings.count, 0);
    fixture_expect_bytes(second, "dir/first", "what the first file holds", 25);
}

Test(toc, makes_wrong_bytes_an_error_that_names_the_layer)
{
    for (enum toc_kind kind = 0; kind < TOC_KINDS; kind++) {
        AUTO(toc_done) struct toc_writer w = { .kind = kind };
        AUTO(sfs_buf_close) struct sfs_buf content = make_content(50000, 3);
        toc_text(&w, "good", "nothing happened to these");
        toc_file(&w, "bad", content.data, content.size);
        toc_finish(&w);
        const char *at = strstr(strstr(w.json.data, "bad"), "\"offset\":");
        cr_assert_not_null(at);
        w.blob.data[strtoull(at + 9, NULL, 10) + 200] ^= 4; /* in front of it, the file's digest */
        AUTO(sfs_layer_close) struct sfs_layer *layer = open_layer(&w, w.annotations);
        fixture_expect_bytes(layer, "good", "nothing happened to these", 25);
        struct sfs_slice slice = { 0 };
        sfs_inode bad = layer->tables.entries[fixture_find(layer, "bad")].inode;
        cr_assert_eq(sfs_layer_pin(layer, bad, 0, 100, &slice, &err), -EIO, "kind %d", kind);
        cr_assert_not_null(strstr(err.text, layer->label), "%s", err.text);
    }
}

Test(toc, does_not_let_decodable_but_other_bytes_through)
{
    AUTO(toc_done) struct toc_writer w = { .kind = TOC_CHUNKED };
    AUTO(toc_done) struct toc_writer other = { .kind = TOC_CHUNKED };
    toc_text(&w, "file", "these are the true bytes");
    toc_text(&other, "file", "those are no true bytes!");
    toc_finish(&w);
    toc_finish(&other);
    cr_assert_eq(w.toc_at, other.toc_at);
    memcpy(w.blob.data, other.blob.data, w.toc_at - 8);
    AUTO(sfs_layer_close) struct sfs_layer *layer = open_layer(&w, w.annotations);
    struct sfs_slice slice = { 0 };
    sfs_inode file = layer->tables.entries[fixture_find(layer, "file")].inode;
    cr_assert_eq(sfs_layer_pin(layer, file, 0, 5, &slice, &err), -EIO);
    cr_assert_not_null(strstr(err.text, "does not match"), "%s", err.text);
}

Test(toc, never_reads_zeros)
{
    AUTO(toc_done) struct toc_writer w = { .kind = TOC_CHUNKED, .chunk = 100000 };
    AUTO(sfs_buf_close) struct sfs_buf content = make_content(300000, 1);
    memset(content.data + 100000, 0, 100000);
    toc_file(&w, "holes", content.data, content.size);
    toc_finish(&w);
    const char *at = strstr(strstr(w.json.data, "\"chunkOffset\":100000") - 40, "\"offset\":");
    uint64_t offset = strtoull(at + 9, NULL, 10);
    memset(w.blob.data + offset, 0x55, 8);
    AUTO(sfs_layer_close) struct sfs_layer *layer = open_layer(&w, w.annotations);
    fixture_expect_bytes(layer, "holes", content.data, content.size);
    cr_assert_eq(fixture_inode(layer, "holes")->count, 2);
}

Test(toc, is_not_used_without_an_annotation)
{
    for (enum toc_kind kind = 0; kind < TOC_KINDS; kind++) {
        AUTO(toc_done) struct toc_writer w = { .kind = kind };
        put_small_tree(&w);
        toc_finish(&w);
        AUTO(sfs_layer_close) struct sfs_layer *layer = open_layer(&w, NULL);
        cr_assert_eq(warnings.count, 0);
        cr_assert_not(is_from_toc(&w));
    }
}

Test(toc, is_found_by_its_footer_where_no_annotation_says_where)
{
    AUTO(toc_done) struct toc_writer stargz = { .kind = TOC_STARGZ_ZSTD };
    AUTO(toc_done) struct toc_writer storage = { .kind = TOC_CHUNKED };
    put_small_tree(&stargz);
    put_small_tree(&storage);
    toc_finish(&stargz);
    toc_finish(&storage);
    json_object_del(stargz.annotations, "io.containers.zstd-chunked.manifest-checksum");
    json_object_del(stargz.annotations, "io.containers.zstd-chunked.manifest-position");
    json_object_del(storage.annotations, "io.github.containers.zstd-chunked.manifest-position");
    expect_same(&stargz);
    expect_same(&storage);
}

Test(toc, of_stargz_with_the_old_footer_is_used_too)
{
    AUTO(toc_done) struct toc_writer w = { .kind = TOC_ESTARGZ, .footer = 47 };
    put_small_tree(&w);
    toc_finish(&w);
    expect_same(&w);
}

Test(toc, in_another_image_is_not_looked_for)
{
    AUTO(toc_done) struct toc_writer w = { .kind = TOC_ESTARGZ, .footer = 46 };
    put_small_tree(&w);
    toc_finish(&w);
    expect_ignored(&w, "another image has it");
}

Test(toc, is_ignored_if_it_is_not_what_the_manifest_names)
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

Test(toc, is_ignored_if_annotations_contradict_each_other)
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

Test(toc, is_ignored_if_it_is_malformed)
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
        { "\"name\":\"dir/second\"", "\"name\":\"dir/\\u0000\"", "not JSON" },
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

Test(toc, is_ignored_without_the_digest_of_a_chunk)
{
    expect_damage_ignored(TOC_ESTARGZ, "chunkDigest", "x", "no digest");
    expect_damage_ignored(TOC_CHUNKED, "\"digest\"", "\"x\"", "no digest");
    expect_damage_ignored(TOC_CHUNKED,
                          "\"digest\":\"sha256:", "\"digest\":\"sha512:", "not a SHA-256");
}

Test(toc, is_ignored_if_chunks_overlap_or_go_backwards)
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
        AUTO(toc_done)
        struct toc_writer swapped = { .kind = kind,
                                      .from = { one, two, "\"swap\":" },
                                      .to = { "\"swap\":1", one, two } };
        AUTO(toc_done) struct toc_writer same = { .kind = kind, .from = { two }, .to = { one } };
        char *colon = strchr(two, ':');
        swapped.to[2] = colon ? two : "";
        swapped.from[2] = "\"swap\":1";
        put_small_tree(&swapped);
        put_small_tree(&same);
        toc_finish(&swapped);
        toc_finish(&same);
        expect_ignored(&swapped, "out of order");
        expect_ignored(&same, "out of order");
    }
}

Test(toc, is_ignored_if_a_file_ends_before_its_chunks_or_behind_the_data)
{
    expect_damage_ignored(TOC_CHUNKED,
                          "\"endOffset\":", "\"endOffset\":1,\"x\":", "its end is out");
    expect_damage_ignored(TOC_CHUNKED, "\"endOffset\":", "\"endOffset\":99999", "its end is out");
}

Test(toc, is_ignored_if_it_is_too_large)
{
    for (enum toc_kind kind = 0; kind < TOC_KINDS; kind++) {
        AUTO(toc_done) struct toc_writer w = { .kind = kind, .claimed = SFS_MAX_TOC + 1ull };
        put_small_tree(&w);
        toc_finish(&w);
        expect_ignored(&w, "larger than 157286400 bytes");
    }
}

Test(toc, is_ignored_if_its_footer_is_damaged)
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

Test(toc, is_never_read_outside_of_a_blob_that_was_cut)
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
    struct sfs_toc_index *index = sfs_toc_index_open(1ull << 40, SFS_CODEC_ZSTD);
    int r = sfs_toc_json_each(json, size, add_entry, index, &err);
    if (r == 0)
        r = sfs_toc_index_finish(index, &seek, ret_tables, ret_memory, &err);
    if (r == 0) /* what the index file will be asked when it is opened */
        cr_assert_eq(sfs_tables_check(ret_tables, seek.out_size, &err), 0, "%s", err.text);
    return r;
}

Test(toc, of_any_damage_leads_to_whole_tables_or_none)
{
    AUTO(toc_done) struct toc_writer w = { .kind = TOC_CHUNKED, .chunk = 100000 };
    put_tree(&w);
    toc_finish(&w);
    static const char bytes[] = "\"{}[],:0-9\\.xz\0\xff";
    unsigned whole = 0, none = 0;
    for (size_t i = 0; i < w.json.size; i++) {
        for (size_t b = 0; b < sizeof bytes - 1; b += 1 + i % 3) {
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

Test(toc_entry, of_a_chunk_larger_than_a_span_is_refused)
{
    struct sfs_tables tables;
    AUTO(sfs_tables_close) void *memory = NULL;
    static const char json[] =
        "{\"version\":1,\"entries\":[{\"name\":\"x\",\"type\":\"reg\",\"size\":16777217,"
        "\"offset\":100,\"digest\":"
        "\"sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\"}]}";
    cr_assert_eq(read_json(json, sizeof json - 1, &tables, &memory), -ENOTSUP);
    cr_assert_str_eq(err.text, "a chunk is larger than 16777216 bytes");
}

/* Two blobs under the name of the first: a manifest may name any digest, and any table. */
Test(toc, of_another_manifest_does_not_show_up_under_the_same_digest)
{
    AUTO(toc_done) struct toc_writer honest = { .kind = TOC_CHUNKED };
    AUTO(toc_done) struct toc_writer evil = { .kind = TOC_CHUNKED };
    toc_text(&honest, "file", "the true bytes");
    toc_text(&evil, "file", "the evil bytes");
    toc_finish(&honest);
    toc_finish(&evil);
    cr_assert_eq(honest.blob.size, evil.blob.size);
    char text[SFS_DIGEST_TEXT];
    struct sfs_layer_source source = fixture_source(honest.blob.data, honest.blob.size, text);
    source.codec = SFS_CODEC_ZSTD;
    const struct {
        const struct toc_writer *bytes;
        const json_t *annotations;
        const char *shown; /* NULL: refused */
    } steps[] = { { &evil, evil.annotations, "the evil bytes" },
                  { &honest, honest.annotations, "the true bytes" },
                  { &evil, evil.annotations, "the evil bytes" },
                  { &evil, NULL, NULL },
                  { &evil, honest.annotations, NULL },
                  { &honest, NULL, "the true bytes" },
                  { &honest, honest.annotations, "the true bytes" } };
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        AUTO(sfs_layer_close) struct sfs_layer *layer = NULL;
        const struct toc_writer *w = steps[i].bytes;
        AUTO(sfs_blob_close) struct sfs_blob *blob = fixture_blob(w->blob.data, w->blob.size);
        source.annotations = steps[i].annotations;
        int r = sfs_layer_open_tar(store, cache, &blob, &source, NULL, &layer, &err);
        cr_assert_eq(r, steps[i].shown ? 0 : -EKEYREJECTED, "step %zu: %s", i, err.text);
        if (steps[i].shown)
            fixture_expect_bytes(layer, "file", steps[i].shown, strlen(steps[i].shown));
    }
}
