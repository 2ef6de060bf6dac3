#include "toc_fixture.h"

TestSuite(toc, .init = fixture_open, .fini = fixture_close);

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
    expect_same(&w);
}

Test(toc, hides_landmarks_only_where_there_is_a_table)
{
    AUTO(toc_done) struct toc_writer w = { .kind = TOC_CHUNKED };
    toc_text(&w, ".prefetch.landmark", "\x0f");
    toc_finish(&w);
    AUTO(sfs_layer_close) struct sfs_layer *layer = open_layer(&w, w.annotations);
    fixture_expect(layer, ".prefetch.landmark f644 1\n");
    expect_same(&w);
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
