/* Packs of starts: what goes into one, and that nothing but the tree's own bytes comes out. */
#include "layer_fixture.h"

#include "mount/pack.h"
#include "mount/pack_format.h"
#include "mount/pack_make.h"
#include "tree/tree_inner.h"
#include "tree/tree_layer.h"
#include <errno.h>
#include <zstd.h>

#define BIG (1000u << 10)

static struct sfs_layer *layer;
static struct sfs_tree *tree;
static const struct sfs_tree *trees[1];
static struct sfs_forest forest;
static struct sfs_pack *pack;
static char *big;
static char key[SFS_DIGEST_TEXT];

/* `size` bytes that differ from place to place, and with the seed. */
static char *pattern(size_t size, uint32_t state)
{
    char *data = malloc(size);
    cr_assert_not_null(data);
    for (size_t i = 0; i < size; i++) {
        state = state * 1664525u + 1013904223u;
        data[i] = (char)(state >> 24);
    }
    return data;
}

/* The layer of a tar that is one zstd frame. */
static struct sfs_layer *zstd_layer(const struct sfs_buf *tar)
{
    char text[SFS_DIGEST_TEXT];
    struct sfs_layer *packed = NULL;
    AUTO(sfs_free) void *data = malloc(ZSTD_compressBound(tar->size));
    size_t size = ZSTD_compress(data, ZSTD_compressBound(tar->size), tar->data, tar->size, 1);
    cr_assert_not(ZSTD_isError(size));
    struct sfs_layer_source source = fixture_source(data, size, text);
    source.codec = SFS_CODEC_ZSTD;
    AUTO(sfs_blob_close) struct sfs_blob *blob = fixture_blob(data, size);
    cr_assert_eq(sfs_layer_open_tar(store, cache, &blob, &source, NULL, &packed, &err), 0, "%s",
                 err.text);
    return packed;
}

/* A tree with "big", "small" of six bytes and the link "link" to it. */
static void open_tree_of(uint32_t seed, struct sfs_layer *(*open_layer)(const struct sfs_buf *tar))
{
    struct sfs_buf tar = { 0 };
    big = pattern(BIG, seed);
    tar_bytes_put(&tar, tar_bytes_header("big", '0', BIG), big, BIG);
    tar_bytes_file(&tar, "small", "hello\n");
    tar_bytes_entry(&tar, "link", '2', "small");
    tar_bytes_end(&tar);
    layer = open_layer(&tar);
    sfs_buf_close(&tar);
    cr_assert_eq(sfs_tree_merge(&layer, 1, &tree, &err), 0, "%s", err.text);
    trees[0] = tree;
    cr_assert_eq(sfs_forest_open(&forest, trees, 1, false, &err), 0);
}

static void open_tree(uint32_t seed)
{
    open_tree_of(seed, fixture_layer);
}

static void close_tree(void)
{
    sfs_pack_close(&pack);
    sfs_forest_done(&forest);
    sfs_tree_close(&tree);
    sfs_layer_close(&layer);
    free(TAKE(big));
}

static void init(void)
{
    fixture_open();
    open_tree(1);
}

static void fini(void)
{
    close_tree();
    fixture_close();
}

TestSuite(pack, .init = init, .fini = fini, .timeout = 300);

static sfs_ino ino_of(const char *path)
{
    sfs_node node;
    cr_assert_eq(sfs_tree_resolve(tree, path, 0, &node, &err), 0, "%s", err.text);
    return forest.first[0] + node;
}

static void key_of(const char *text)
{
    struct sfs_digest digest;
    cr_assert_eq(sfs_digest_of(text, strlen(text), &digest), 0);
    cr_assert_eq(sfs_pack_key(tree, &digest, key), 0);
}

static int make_with(const char *text, struct sfs_pack_making making)
{
    struct sfs_pack_made made;
    AUTO(sfs_profile_done) struct sfs_profile profile = { 0 };
    cr_assert_eq(sfs_profile_parse(&profile, "text", text, strlen(text), &err), 0, "%s", err.text);
    key_of(text);
    making.store = store;
    making.key = key;
    return sfs_pack_make(tree, &profile, &making, &made, &err);
}

static void make(const char *text)
{
    cr_assert_eq(make_with(text, (struct sfs_pack_making){ 0 }), 0, "%s", err.text);
}

static int try_open(void)
{
    return sfs_pack_open(store, key, &forest, &pack, &err);
}

static void make_and_open(const char *text)
{
    make(text);
    cr_assert_eq(try_open(), 0, "%s", err.text);
}

static bool has(const char *path, uint64_t offset, uint64_t size)
{
    return sfs_pack_has(pack, ino_of(path), (struct sfs_range){ offset, size });
}

/* All that the pack lends of the range is what the file has; returns how much that was. */
static size_t lent_of_big(uint64_t offset, size_t size)
{
    struct sfs_slice slice = { 0 };
    int r = sfs_pack_pin(pack, ino_of("big"), offset, size, &slice);
    if (r < 0)
        return 0;
    cr_assert_leq(slice.size, size);
    cr_assert_eq(memcmp(slice.data, big + offset, slice.size), 0);
    size = slice.size;
    sfs_slice_release(&slice);
    return size;
}

static char *pack_path(void)
{
    static char path[256];
    snprintf(path, sizeof path, "%s/cache/pack/sha256-%s.pack", fixture_dir, key + 7);
    return path;
}

/* --- what is in it ---------------------------------------------------------------------------- */

Test(pack, pages_of_large_files_and_small_files_whole)
{
    make_and_open("read /big 5000+10 200000+100000\nread /link 0+1\n");
    cr_assert(has("big", 4096, 4096));
    cr_assert_not(has("big", 4095, 1));
    cr_assert_not(has("big", 8192, 1));
    cr_assert(has("big", 196608, 106496), "whole pages around 200000+100000");
    cr_assert_not(has("big", 196608, 106497));
    cr_assert(has("small", 0, 6));
    cr_assert_not(has("big", 0, BIG));
    cr_assert(sfs_pack_has_some(pack, ino_of("big"), (struct sfs_range){ 0, 5000 }));
    cr_assert(sfs_pack_has_some(pack, ino_of("big"), (struct sfs_range){ 8191, BIG }));
    cr_assert_not(sfs_pack_has_some(pack, ino_of("big"), (struct sfs_range){ 0, 4096 }));
    cr_assert_not(sfs_pack_has_some(pack, ino_of("big"), (struct sfs_range){ 303104, BIG }));
    cr_assert_not(sfs_pack_has_some(pack, ino_of("link"), (struct sfs_range){ 0, 1 }));
}

Test(pack, nothing_is_left_behind_what_is_less_than_a_page_to_the_end)
{
    char text[64];
    snprintf(text, sizeof text, "read /big %u+1\n", BIG - 2 * PACK_PAGE);
    make_and_open(text);
    cr_assert(has("big", BIG - 2 * PACK_PAGE, 2 * PACK_PAGE));
}

Test(pack, of_a_use_without_ranges_the_first_bytes)
{
    make_and_open("read /big\n");
    cr_assert(has("big", 0, BIG));
}

Test(pack, pieces_lie_in_the_order_of_use)
{
    make_and_open("read /small 0+6\nread /big 300000+10 0+10\n");
    uint64_t small, first, second;
    cr_assert_eq(sfs_pack_count(pack, ino_of("small")), 1);
    cr_assert_eq(sfs_pack_count(pack, ino_of("big")), 2);
    cr_assert_eq(sfs_pack_piece(pack, ino_of("small"), 0, &small).size, 6);
    cr_assert_eq(sfs_pack_piece(pack, ino_of("big"), 0, &first).offset, 0);
    cr_assert_eq(sfs_pack_piece(pack, ino_of("big"), 1, &second).offset, 299008);
    cr_assert(small < first && first < second);
    cr_assert_eq(sfs_pack_piece(pack, ino_of("big"), 2, &second).size, 0);
}

Test(pack, lends_what_the_file_has_piece_by_piece)
{
    make_and_open("read /big 0+300000\n");
    cr_assert_eq(lent_of_big(0, 100), 100);
    cr_assert_eq(lent_of_big(PACK_PIECE - 10, 100), 10, "up to the end of the piece");
    for (uint64_t at = 0; at < 300000; at += 777)
        cr_assert_gt(lent_of_big(at, 1000), 0);
    cr_assert_eq(lent_of_big(400000, 1), 0);
    struct sfs_pack_stats stats;
    sfs_pack_get_stats(pack, &stats);
    cr_assert_gt(stats.lent, 300000);
    cr_assert_eq(stats.failed, 0);
}

Test(pack, without_anything_to_pack_there_is_none)
{
    cr_assert_eq(
        make_with("stat /big\nread /nothing 0+5\nnone /x\n", (struct sfs_pack_making){ 0 }),
        -ENODATA);
    cr_assert_eq(make_with("read /big 2000000+5\n", (struct sfs_pack_making){ 0 }), -ENODATA);
    cr_assert_eq(try_open(), -ENOENT);
}

static bool stop_after_one(void *user)
{
    int *left = user;
    return (*left)-- > 0;
}

Test(pack, one_that_was_given_up_or_has_no_room_leaves_nothing)
{
    int left = 1;
    cr_assert_eq(make_with("read /big 0+300000\n",
                           (struct sfs_pack_making){ .go_on = stop_after_one, .user = &left }),
                 -ECANCELED);
    cr_assert_eq(make_with("read /big 0+300000\n", (struct sfs_pack_making){ .limit = 100000 }),
                 -ENOSPC);
    cr_assert_eq(try_open(), -ENOENT);
}

static bool fits(const char *text)
{
    AUTO(sfs_profile_done) struct sfs_profile profile = { 0 };
    cr_assert_eq(sfs_profile_parse(&profile, "text", text, strlen(text), &err), 0, "%s", err.text);
    return sfs_pack_fits(pack, tree, &profile);
}

/* One page that is missing in a range does not make all of the range missing. */
Test(pack, fits_while_it_lacks_little_of_what_is_known)
{
    make_and_open("read /big 0+300000 400000+100000\n");
    cr_assert(fits("read /big 0+300000 400000+100000\n"));
    cr_assert(fits("read /big 0+307200 400000+100000\n"), "a page more");
    cr_assert_not(fits("read /big 0+320000 400000+100000\n"), "one part of 25 more");
    cr_assert_not(fits("read /big 0+500000\n"), "what lies between");
    cr_assert_not(fits("read /big 0+300000\nread /small 0+6\nread /big 600000+100000\n"));
}

/* Whoever makes the next pack takes from the one before what that has. */
Test(pack, the_next_one_is_copied_from_the_one_before)
{
    make("read /big 0+300000\n");
    cr_assert_eq(try_open(), 0);
    struct sfs_pack *before = pack;
    struct sfs_pack_stats stats;
    const struct sfs_pack_making making = { .before = before, .first = forest.first[0] };
    cr_assert_eq(make_with("read /big 0+400000\n", making), 0, "%s", err.text);
    sfs_pack_get_stats(before, &stats);
    cr_assert_eq(stats.lent, 4 * PACK_PIECE, "the pieces that it has whole");
    cr_assert_eq(try_open(), 0);
    cr_assert(sfs_pack_has(pack, ino_of("big"), (struct sfs_range){ 0, 400000 }));
    for (uint64_t at = 0; at < 400000; at += 1000)
        cr_assert_gt(lent_of_big(at, 1000), 0);
    sfs_pack_close(&before);
}

Test(pack, older_ones_make_room)
{
    make("read /big 0+300000\n");
    char older[SFS_DIGEST_TEXT];
    memcpy(older, key, sizeof older);
    cr_assert_eq(make_with("read /big 0+400000\n", (struct sfs_pack_making){ .limit = 500000 }), 0,
                 "%s", err.text);
    cr_assert_eq(try_open(), 0);
    sfs_pack_close(&pack);
    memcpy(key, older, sizeof older);
    cr_assert_eq(try_open(), -ENOENT);
}

Test(pack, its_key_tells_trees_and_profiles_apart)
{
    char first[SFS_DIGEST_TEXT], second[SFS_DIGEST_TEXT];
    key_of("a");
    memcpy(first, key, sizeof first);
    key_of("b");
    memcpy(second, key, sizeof second);
    cr_assert_str_neq(first, second);
    close_tree();
    open_tree(1);
    key_of("a");
    cr_assert_str_eq(first, key);
    close_tree();
    open_tree(2);
    key_of("a");
    cr_assert_str_neq(first, key);
}

/* The same tar in another blob: its pack would give nothing, and must not take the other's place.
 */
Test(pack, its_key_tells_compressions_apart)
{
    char first[SFS_DIGEST_TEXT], second[SFS_DIGEST_TEXT];
    make("read /big 0+300000\n");
    memcpy(first, key, sizeof first);
    close_tree();
    open_tree_of(1, zstd_layer);
    make("read /big 0+300000\n");
    memcpy(second, key, sizeof second);
    cr_assert_str_neq(first, second);
    cr_assert_eq(try_open(), 0, "%s", err.text);
    close_tree();
    open_tree(1);
    memcpy(key, first, sizeof first);
    cr_assert_eq(try_open(), 0, "%s", err.text);
}

/* A layer as COPY makes it, of "big" alone. */
static struct sfs_layer *copy_of_big(void)
{
    struct sfs_attr attr;
    struct sfs_layer *copy = NULL;
    AUTO(sfs_buf_close) struct sfs_buf extents = { 0 };
    AUTO(sfs_builder_close) struct sfs_builder *builder = sfs_builder_open();
    sfs_node node = (sfs_node)(ino_of("big") - forest.first[0]);
    sfs_tree_attr(tree, node, &attr);
    cr_assert_eq(sfs_tree_layer_extents(tree, node, NULL, &extents), 0);
    const struct sfs_builder_item item = { .inode = sfs_tree_layer_record(&attr, node),
                                           .extents = (const struct sfs_extent *)extents.data,
                                           .extent_count = 1 };
    cr_assert_eq(sfs_builder_add(builder, "big", &item, &err), 0, "%s", err.text);
    cr_assert_eq(sfs_tree_layer_open(builder, tree, "copy", &copy, &err), 0, "%s", err.text);
    return copy;
}

/* What COPY takes has no digest as a whole: the bytes tell it apart. */
Test(pack, its_key_tells_copies_apart)
{
    char keys[2][SFS_DIGEST_TEXT];
    for (uint32_t seed = 1; seed <= 2; seed++) {
        struct sfs_tree *whole = NULL;
        struct sfs_digest digest = { 0 };
        close_tree();
        open_tree(seed);
        struct sfs_layer *copy = copy_of_big();
        cr_assert_eq(sfs_tree_merge(&copy, 1, &whole, &err), 0, "%s", err.text);
        cr_assert_eq(sfs_pack_key(whole, &digest, keys[seed - 1]), 0);
        sfs_tree_close(&whole);
        sfs_layer_close(&copy);
    }
    cr_assert_str_neq(keys[0], keys[1]);
}

Test(pack, no_pack_is_a_pack_without_files)
{
    struct sfs_slice slice;
    cr_assert_eq(sfs_pack_pin(NULL, 1, 0, 1, &slice), -ENOENT);
    cr_assert_not(sfs_pack_has(NULL, 1, (struct sfs_range){ 0, 1 }));
    cr_assert_eq(sfs_pack_count(NULL, 1), 0);
    sfs_pack_will_read(NULL, 1, (struct sfs_range){ 0, 1 });
}

/* --- what is wrong with it -------------------------------------------------------------------- */

Test(pack, of_another_tree_gives_nothing)
{
    make("read /big 0+300000\n");
    char made[SFS_DIGEST_TEXT];
    memcpy(made, key, sizeof made);
    close_tree();
    open_tree(2);
    memcpy(key, made, sizeof made);
    cr_assert_eq(try_open(), -ESTALE);
}

static void flip(uint64_t at)
{
    uint8_t byte;
    AUTO(sfs_close_fd) int fd = open(pack_path(), O_RDWR | O_CLOEXEC);
    cr_assert_eq(pread(fd, &byte, 1, (off_t)at), 1);
    byte ^= 1;
    cr_assert_eq(pwrite(fd, &byte, 1, (off_t)at), 1);
}

Test(pack, with_any_bit_of_its_tables_changed_is_not_opened)
{
    make("read /small 0+6\n");
    for (uint64_t at = 0;
         at < sizeof(struct pack_header) + sizeof(struct pack_file) + sizeof(struct pack_piece);
         at++) {
        flip(at);
        cr_assert_eq(try_open(), -EBADMSG, "byte %llu", (unsigned long long)at);
        flip(at);
    }
    cr_assert_eq(try_open(), 0, "%s", err.text);
}

Test(pack, with_other_bytes_in_a_piece_gives_nothing_any_more_and_is_removed)
{
    make("read /big 0+300000\n");
    struct stat st;
    cr_assert_eq(stat(pack_path(), &st), 0);
    flip((uint64_t)st.st_size - 2 * PACK_PAGE);
    cr_assert_eq(try_open(), 0, "%s", err.text);
    cr_assert_eq(lent_of_big(0, 10), 10);
    cr_assert_eq(lent_of_big(299000, 10), 0);
    cr_assert_eq(lent_of_big(0, 10), 0, "it is not trusted any more");
    struct sfs_pack_stats stats;
    sfs_pack_get_stats(pack, &stats);
    cr_assert_eq(stats.failed, 1);
    cr_assert_eq(access(pack_path(), F_OK), -1);
}

Test(pack, cut_anywhere_is_not_opened)
{
    make("read /big 0+300000\n");
    struct stat st;
    cr_assert_eq(stat(pack_path(), &st), 0);
    for (off_t size = st.st_size - 1; size >= 0; size = size * 3 / 4 - 1) {
        cr_assert_eq(truncate(pack_path(), size), 0);
        cr_assert_eq(try_open(), -EBADMSG, "%lld bytes", (long long)size);
    }
}

/* Somebody cuts it while it is in use. */
Test(pack, cut_later_gives_no_more_than_is_there)
{
    make_and_open("read /big 0+300000\n");
    cr_assert_eq(truncate(pack_path(), 50000), 0);
    cr_assert_eq(lent_of_big(299000, 10), 0);
}
