/* Indexes that another machine made: honest ones read as those made here, and changed ones never
 * give other bytes than the layer has. */
#include "layer_fixture.h"

#include "layer/header_check.h"
#include "layer/index_export.h"
#include "layer/sent_index.h"
#include <errno.h>
#include <isa-l/crc64.h>
#include <zstd.h>

#define KEY "sha256:1111111111111111111111111111111111111111111111111111111111111111"

static struct sfs_buf tar;
static char digest_text[SFS_DIGEST_TEXT];

static void open_sent_test(void)
{
    fixture_open();
}

static void close_sent_test(void)
{
    sfs_buf_close(&tar);
    fixture_close();
}

TestSuite(sent_index, .init = open_sent_test, .fini = close_sent_test);

static void put_link(const char *name, char type, const char *target)
{
    tar_bytes_entry(&tar, name, type, target);
}

/* Everything that a member can be. */
static void make_tar(void)
{
    struct sfs_buf big = { 0 };
    tar_bytes_entry(&tar, "./", '5', "");
    tar_bytes_entry(&tar, "bin/", '5', "");
    tar_bytes_file(&tar, "bin/sh", "replaced below");
    tar_bytes_file(&tar, "bin/.wh.gone", "");
    tar_bytes_file(&tar, "lib/.wh..wh..opq", "");
    tar_bytes_file(&tar, "lib/.wh.both", "");
    tar_bytes_file(&tar, "lib/both", "after a whiteout");
    tar_bytes_file(&tar, "bin/sh", "hello");
    put_link("bin/link", '2', "../empty");
    put_link("bin/hard", '1', "bin/sh");
    put_link("bin/far", '1', "usr/elsewhere");
    tar_bytes_pax_text(&tar, "SCHILY.xattr.user.note", "value");
    tar_bytes_file(&tar, "noted", "with an attribute");
    tar_bytes_file(&tar, "empty", "");
    put_link("pipe", '6', "");
    for (unsigned i = 0; i < 60000; i++)
        sfs_buf_printf(&big, "%u\n", i * 7919u % 65537u);
    tar_bytes_file(&tar, "big", big.data);
    tar_bytes_file(&tar, "end", "the last one");
    tar_bytes_end(&tar);
    sfs_buf_close(&big);
}

static struct sfs_layer_source source_of_tar(void)
{
    struct sfs_layer_source source = fixture_source(tar.data, tar.size, digest_text);
    source.has_diff_id = true;
    source.diff_id = source.digest;
    return source;
}

static int export_tar(struct sfs_exported_index *ret)
{
    AUTO(sfs_layer_close) struct sfs_layer *layer = fixture_layer(&tar);
    const struct sfs_layer_source source = source_of_tar();
    AUTO(sfs_blob_close) struct sfs_blob *blob = fixture_blob(tar.data, tar.size);
    return sfs_index_export(store, source.key, blob, ret, &err);
}

static int open_sent(bool is_vouched, struct sfs_layer **ret_layer)
{
    const struct sfs_layer_source source = source_of_tar();
    struct sfs_blob *blob = fixture_blob(tar.data, tar.size);
    struct sfs_layer_sent sent = { .key = KEY, .is_vouched = is_vouched };
    int r = sfs_layer_open_sent(store, cache, &blob, &source, &sent, ret_layer, &err);
    sfs_blob_close(&blob);
    return r;
}

Test(sent_index, reads_as_one_that_was_made_here)
{
    AUTO(sfs_exported_index_done) struct sfs_exported_index exported = { 0 };
    make_tar();
    cr_assert_eq(export_tar(&exported), 0, "%s", err.text);
    cr_assert_eq(sfs_sent_index_keep(store, KEY, exported.head, exported.head_size, &err), 0, "%s",
                 err.text);
    AUTO(sfs_layer_close) struct sfs_layer *made = fixture_layer(&tar);
    AUTO(sfs_free) char *names = tables_text(&made->tables);
    for (int is_vouched = 0; is_vouched < 2; is_vouched++) {
        AUTO(sfs_layer_close) struct sfs_layer *layer = NULL;
        cr_assert_eq(open_sent(is_vouched, &layer), 0, "%s", err.text);
        fixture_expect(layer, names);
        for (sfs_inode i = 0; i < layer->tables.inode_count; i++)
            cr_assert_eq(sfs_layer_confirm(layer, i, &err), 0, "%s", err.text);
        fixture_expect_bytes(layer, "bin/hard", "hello", 5);
        fixture_expect_bytes(layer, "lib/both", "after a whiteout", 16);
        struct sfs_digest digest;
        cr_assert(!sfs_layer_identify(layer, &digest)); /* a manifest vouches for its own image */
        char name[SFS_CONTENT_NAME];
        cr_assert_eq(
            sfs_layer_content_name(
                layer, (sfs_inode)(fixture_inode(layer, "big") - layer->tables.inodes), name),
            -ENOENT);
    }
}

Test(sent_index, a_layer_that_cannot_be_compared_is_not_sent)
{
    AUTO(sfs_exported_index_done) struct sfs_exported_index exported = { 0 };
    tar_bytes_entry(&tar, "usr/lib/", '5', "");
    put_link("lib", '2', "usr/lib");
    tar_bytes_file(&tar, "lib/x", "through a link");
    tar_bytes_end(&tar);
    cr_assert_eq(export_tar(&exported), -ENOTSUP);
    cr_assert_not_null(strstr(err.text, "\"lib/x\" cannot be compared"), "%s", err.text);
}

Test(sent_index, what_is_none_is_refused)
{
    static const char noise[64] = "\x28\xb5\x2f\xfd\xe0\xff\xff\xff\xff\xff\xff\xff\x7f";
    AUTO(sfs_exported_index_done) struct sfs_exported_index exported = { 0 };
    make_tar();
    cr_assert_eq(export_tar(&exported), 0, "%s", err.text);
    cr_assert_eq(sfs_sent_index_keep(store, KEY, noise, 64, &err), -E2BIG, "%s", err.text);
    cr_assert_eq(sfs_sent_index_keep(store, KEY, "", 0, &err), -EBADMSG);
    cr_assert_eq(sfs_sent_index_keep(store, KEY, exported.head, exported.head_size / 2, &err),
                 -EBADMSG);
    AUTO(sfs_layer_close) struct sfs_layer *layer = NULL;
    cr_assert_eq(open_sent(false, &layer), -ENOENT);
}

/* ---- changed bytes */

static uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

/* Does the layer's tar hold that text in a member of that name? What the name, the bytes and their
 * place are is compared with the index that was made here. */
static void expect_same_or_failed(struct sfs_layer *layer, const struct sfs_layer *made)
{
    for (sfs_entry i = 0; i < made->tables.entry_count && i < layer->tables.entry_count; i++) {
        const struct sfs_entry_rec *rec = &made->tables.entries[i],
                                   *has = &layer->tables.entries[i];
        if (rec->inode == SFS_NO_INODE || has->inode == SFS_NO_INODE)
            continue;
        const struct sfs_inode_rec *is = &made->tables.inodes[rec->inode];
        const struct sfs_inode_rec *says = &layer->tables.inodes[has->inode];
        struct sfs_slice slice = { 0 }, right = { 0 };
        if (!S_ISREG(is->mode) || !S_ISREG(says->mode) || says->size == 0 ||
            sfs_layer_pin(layer, has->inode, 0, 4096, &slice, &err) < 0)
            continue;
        union {
            const struct sfs_layer *in;
            struct sfs_layer *out;
        } reader = { .in = made };
        cr_assert_eq(sfs_layer_pin(reader.out, rec->inode, 0, 4096, &right, &err), 0);
        size_t size = slice.size < right.size ? slice.size : right.size;
        cr_assert_eq(is->size, says->size);
        cr_assert_eq(memcmp(slice.data, right.data, size), 0, "other bytes");
        sfs_slice_release(&slice);
        sfs_slice_release(&right);
    }
}

static void try_changed(const uint8_t *data, size_t size, const struct sfs_layer *made)
{
    AUTO(sfs_layer_close) struct sfs_layer *layer = NULL;
    size_t room = ZSTD_compressBound(size);
    AUTO(sfs_free) uint8_t *packed = malloc(room);
    size_t packed_size = ZSTD_compress(packed, room, data, size, 1);
    cr_assert_eq(sfs_sent_index_keep(store, KEY, packed, packed_size, &err), 0, "%s", err.text);
    if (open_sent(false, &layer) == 0)
        expect_same_or_failed(layer, made);
}

/* The checksum is made right again, as whoever forges an index would. */
Test(sent_index, changed_ones_give_no_other_bytes)
{
    AUTO(sfs_exported_index_done) struct sfs_exported_index exported = { 0 };
    make_tar();
    cr_assert_eq(export_tar(&exported), 0, "%s", err.text);
    AUTO(sfs_layer_close) struct sfs_layer *made = fixture_layer(&tar);
    size_t size = (size_t)ZSTD_getFrameContentSize(exported.head, exported.head_size);
    AUTO(sfs_free) uint8_t *data = malloc(size);
    AUTO(sfs_free) uint8_t *changed = malloc(size);
    cr_assert_eq(ZSTD_decompress(data, size, exported.head, exported.head_size), size);
    size_t end = sfs_index_head_size(data, size);
    uint64_t state = 88172645463325252u;
    for (unsigned i = 0; i < 1500; i++) {
        memcpy(changed, data, size);
        unsigned changes = 1 + (unsigned)(next_random(&state) % 3);
        for (unsigned k = 0; k < changes; k++) {
            uint64_t random = next_random(&state);
            uint8_t *at = &changed[32 + random % (size - 32)];
            *at =
                random >> 60 < 8 ? (uint8_t)(random >> 40) : *at ^ (uint8_t)(1u << (random >> 61));
        }
        uint64_t crc = crc64_ecma_refl(0, changed + 32, end - 32);
        memcpy(changed + 24, &crc, sizeof crc);
        try_changed(changed, size, made);
    }
}
