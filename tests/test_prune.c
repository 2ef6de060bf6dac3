/* A stage without device code of other GPUs: what is read of it, what commit writes, what the image
 * says. */
#include "fatbin_bytes.h"
#include "image_support.h"
#include "mount/forest.h"
#include "stage/stage_private.h"
#include "support.h"
#include <stagefs/commit.h>

#define MANY 2000000u /* bytes of code: so many holes are told of, were they any */

static struct sfs_store *store;
static struct sfs_cache *cache;
static struct sfs_stage *stage;
static struct sfs_slim *slim;
static struct sfs_error error;
static struct support_warnings warnings;

static void set_up(void)
{
    make_scratch();
    support_warnings_init(&warnings);
    cr_assert_eq(sfs_store_open(say("%s/store", scratch), &store, &error), 0, "%s", error.text);
    cr_assert_eq(sfs_cache_open(8 << 20, 2, &cache, &error), 0, "%s", error.text);
}

static void tear_down(void)
{
    sfs_slim_close(&slim);
    sfs_stage_close(&stage);
    sfs_cache_close(&cache);
    sfs_store_close(&store);
    remove_scratch();
}

TestSuite(prune, .init = set_up, .fini = tear_down);

/* The library that most tests are about; the bytes live as long as the process. */
static struct sfs_buf *make_library(void)
{
    static struct library library;
    library_of(&library,
               PIECES({ .kind = CUBIN, .arch = 80, .coding = RAW, .size = MANY },
                      { .kind = CUBIN, .arch = 90, .coding = ZSTD, .size = 70000 },
                      { .kind = CUBIN, .arch = 120, .coding = ZSTD, .size = MANY }),
               0);
    return &library.bytes;
}

static char *put_builder(const char *name, const struct sfs_buf *bytes)
{
    char *dir = say("%s/builder", scratch);
    mkdir(dir, 0755);
    char *path = say("%s/%s", dir, name);
    put_file(path, bytes->data, bytes->size);
    return path;
}

/* Opens /opt of the builder as a stage on `base` (NULL: none), narrowed. */
static void open_narrowed(const char *base, const char *archs)
{
    const struct sfs_context context = {
        .store = store, .cache = cache, .progress = &warnings.progress, .platform = "linux/amd64"
    };
    const struct sfs_stage_pair copy = { "/", "/opt" };
    const struct sfs_stage_spec spec = {
        .from = say("dir:%s/builder", scratch), .base = base, .copies = &copy, .copy_count = 1
    };
    const struct sfs_slim_spec narrow = { .gpu_archs = archs };
    sfs_slim_close(&slim);
    sfs_stage_close(&stage);
    int r = sfs_stage_open(&spec, &context, &stage, &error);
    if (r == 0)
        r = sfs_slim_open(stage, &narrow, &warnings.progress, &slim, &error);
    cr_assert_eq(r, 0, "%s", error.text);
}

static struct sfs_commit_result commit(const char *ref)
{
    const struct sfs_commit_options options = { .destination = ref,
                                                .compression = SFS_COMPRESS_ZSTD,
                                                .has_epoch = true,
                                                .epoch = 1700000000,
                                                .progress = &warnings.progress };
    struct sfs_commit_result result;
    cr_assert_eq(sfs_commit(stage, &options, &result, &error), 0, "%s", error.text);
    return result;
}

/* How many bytes of an image's layers are decoded while it is narrowed. */
static uint64_t bytes_decoded(const char *image, const char *archs)
{
    AUTO(sfs_cache_close) struct sfs_cache *own = NULL;
    struct sfs_cache_stats stats;
    const struct sfs_slim_spec narrow = { .gpu_archs = archs };
    const struct sfs_stage_spec spec = { .image = image };
    cr_assert_eq(sfs_cache_open(8 << 20, 2, &own, &error), 0, "%s", error.text);
    sfs_slim_close(&slim);
    sfs_stage_close(&stage);
    const struct sfs_context context = { .store = store, .cache = own };
    int r = sfs_stage_open(&spec, &context, &stage, &error);
    if (r == 0)
        r = sfs_slim_open(stage, &narrow, NULL, &slim, &error);
    cr_assert_eq(r, 0, "%s", error.text);
    sfs_cache_get_stats(own, &stats);
    sfs_slim_close(&slim);
    sfs_stage_close(&stage);
    return stats.demand_out + stats.ahead_out;
}

/* The whole of a file of the tree; freed at the end of the process. */
static char *read_whole(const struct sfs_tree *tree, const char *path, uint64_t size)
{
    sfs_node node;
    struct sfs_attr attr;
    cr_assert_eq(sfs_tree_resolve(tree, path, 0, &node, &error), 0, "%s", error.text);
    sfs_tree_attr(tree, node, &attr);
    cr_assert_eq(attr.size, size);
    static char *kept[64];
    static size_t count;
    char *bytes = kept[count++] = malloc(size);
    cr_assert_eq(sfs_tree_read(tree, node, bytes, size, 0, &error), (ssize_t)size, "%s",
                 error.text);
    return bytes;
}

/* What is left of the library: how many bytes differ from it, all of which are zeros now. */
static uint64_t count_zeroed(const struct sfs_buf *whole, const char *left)
{
    uint64_t zeroed = 0;
    for (size_t i = 0; i < whole->size; i++) {
        cr_assert(left[i] == whole->data[i] || left[i] == 0, "byte %zu", i);
        zeroed += left[i] != whole->data[i];
    }
    return zeroed;
}

static void expect_same_in_image(const char *ref, const char *path, const char *bytes,
                                 uint64_t size)
{
    AUTO(sfs_stage_close) struct sfs_stage *image = NULL;
    const struct sfs_context context = { .store = store, .cache = cache };
    const struct sfs_stage_spec spec = { .image = ref };
    cr_assert_eq(sfs_stage_open(&spec, &context, &image, &error), 0, "%s", error.text);
    cr_assert_eq(memcmp(read_whole(sfs_stage_tree(image), path, size), bytes, size), 0);
}

Test(prune, is_read_as_commit_writes_it)
{
    const struct sfs_buf *library = make_library();
    char *path = put_builder("libx.so", library);
    cr_assert_eq(link(path, say("%s/builder/liby.so.1", scratch)), 0);
    open_narrowed(NULL, "sm_90");
    const struct sfs_tree *tree = sfs_stage_tree(stage);
    char *left = read_whole(tree, "/opt/libx.so", library->size);
    cr_assert_gt(count_zeroed(library, left), MANY / 64);
    cr_assert_eq(memcmp(left, read_whole(tree, "/opt/liby.so.1", library->size), library->size), 0);
    sfs_node x, y;
    cr_assert_eq(sfs_tree_resolve(tree, "/opt/libx.so", 0, &x, &error), 0);
    cr_assert_eq(sfs_tree_resolve(tree, "/opt/liby.so.1", 0, &y, &error), 0);
    cr_assert_eq(x, y, "hard links stay hard links");

    char *ref = say("oci:%s/out:a", scratch);
    struct sfs_commit_result first = commit(ref);
    expect_same_in_image(ref, "/opt/liby.so.1", left, library->size);
    cr_assert_eq(warnings.count, 0, "%s", warnings.last);
    open_narrowed(NULL, "90");
    struct sfs_commit_result second = commit(say("oci:%s/out:b", scratch));
    cr_assert(sfs_digest_equal(&first.manifest, &second.manifest));
}

/* What went reads as a hole, and becomes bytes where it is written: a mount by EROFS, which cannot
 * tell holes, shows no less of it. */
Test(prune, leaves_no_holes_that_a_mount_must_tell_of)
{
    const struct sfs_buf *library = make_library();
    put_builder("libx.so", library);
    open_narrowed(NULL, "sm_90");
    const struct sfs_tree *tree = sfs_stage_tree(stage);
    sfs_node node;
    uint64_t hole;
    cr_assert_eq(sfs_tree_resolve(tree, "/opt/libx.so", 0, &node, &error), 0);
    cr_assert_eq(sfs_tree_seek(tree, node, 0, true, &hole), 0);
    cr_assert_lt(hole, library->size);
    AUTO(sfs_forest_done) struct sfs_forest forest = { 0 };
    struct sfs_forest_holes holes;
    cr_assert_eq(sfs_forest_open(&forest, &tree, 1, false, &error), 0, "%s", error.text);
    sfs_forest_count_holes(&forest, 1 << 20, &holes);
    cr_assert_eq(holes.files, 0);
}

Test(prune, tells_what_there_was_and_what_went)
{
    put_builder("libx.so", make_library());
    open_narrowed(NULL, "sm_90,sm_80");
    const struct sfs_device_codes *codes = sfs_slim_device_codes(slim);
    cr_assert_eq(codes->count, 3);
    for (size_t i = 0; i < codes->count; i++) {
        const struct sfs_device_code *code = &codes->items[i];
        cr_assert(code->entries == 1 && code->bytes > 1000);
        cr_assert_eq(code->gone_bytes, code->arch == 120 ? code->bytes : 0);
    }
    struct sfs_device_codes left = { 0 };
    sfs_node node;
    cr_assert_eq(sfs_tree_resolve(sfs_stage_tree(stage), "/opt/libx.so", 0, &node, &error), 0);
    cr_assert_eq(sfs_device_codes_read(sfs_stage_tree(stage), node, &left, &error), 0);
    cr_assert_eq(left.count, 2);
    sfs_device_codes_done(&left);
}

Test(prune, leaves_what_it_does_not_understand_and_names_it)
{
    struct sfs_buf *library = make_library();
    struct sfs_buf broken = { 0 };
    sfs_buf_add(&broken, library->data, library->size);
    char *magic = memmem(broken.data, broken.size, "\x50\xed\x55\xba", 4);
    magic[4] = 9;
    put_builder("libx.so", library);
    put_builder("libold.so", &broken);
    open_narrowed(NULL, "sm_90");
    cr_assert_eq(warnings.count, 1);
    cr_assert_str_eq(warnings.last,
                     "/opt/libold.so: its device code stays whole, since it is not understood: "
                     "section .nv_fatbin: a fat binary is of version 9, with a header of 16 bytes");
    char *left = read_whole(sfs_stage_tree(stage), "/opt/libold.so", broken.size);
    cr_assert_eq(count_zeroed(&broken, left), 0);
    sfs_buf_close(&broken);
}

Test(prune, says_that_no_library_knows_a_gpu)
{
    put_builder("libx.so", make_library());
    open_narrowed(NULL, "sm_90,sm_70");
    cr_assert_eq(warnings.count, 1);
    cr_assert_str_eq(warnings.last, "no library has machine code that runs on sm_70");
}

/* Another command finds what this one did: it does not read what it knows. */
Test(prune, is_found_once)
{
    const struct sfs_buf *library = make_library();
    put_builder("libx.so", library);
    open_narrowed(NULL, "sm_80,sm_90,sm_120");
    char *image = say("oci:%s/image:a", scratch);
    commit(image);
    uint64_t first = bytes_decoded(image, "sm_90"), second = bytes_decoded(image, "sm_80");
    cr_assert_gt(first, 4096);
    cr_assert_eq(second, 0, "%llu bytes were read", (unsigned long long)second);
}

/* ---- symbols ---- */

static void open_stripped(void)
{
    const struct sfs_slim_spec strip = { .strip = true };
    open_narrowed(NULL, "sm_90");
    warnings.count = 0;
    sfs_slim_close(&slim);
    cr_assert_eq(sfs_slim_open(stage, &strip, &warnings.progress, &slim, &error), 0, "%s",
                 error.text);
}

Test(prune, strips_what_nobody_seals)
{
    static struct library library;
    uint64_t bytes, files;
    library_with_symbols(&library, 100000);
    const struct sfs_buf *whole = &library.bytes;
    put_builder("libx.so", whole);
    put_builder("fips.so", whole);
    put_builder("liby.so.1", whole);
    put_builder(".liby.so.1.hmac", &(struct sfs_buf){ .data = (char[]){ "00ff" }, .size = 4 });
    open_stripped();
    sfs_slim_stripped(slim, &bytes, &files);
    cr_assert(bytes == SYMBOL_BYTES && files == 1);
    const struct sfs_tree *tree = sfs_stage_tree(stage);
    cr_assert_gt(count_zeroed(whole, read_whole(tree, "/opt/libx.so", whole->size)), 40000);
    cr_assert_eq(count_zeroed(whole, read_whole(tree, "/opt/fips.so", whole->size)), 0);
    cr_assert_eq(count_zeroed(whole, read_whole(tree, "/opt/liby.so.1", whole->size)), 0);
    cr_assert_str_eq(sfs_stage_created_by(stage), "COPY / /opt # buildkit # stagefs: --strip");
    cr_assert_eq(warnings.count, 0, "%s", warnings.last);
}

Test(prune, names_what_it_does_not_strip)
{
    static struct library library;
    library_with_symbols(&library, 100000);
    Elf64_Ehdr *head = (void *)library.bytes.data;
    head->e_shentsize = 40;
    put_builder("libx.so", &library.bytes);
    open_stripped();
    cr_assert_eq(warnings.count, 1);
    cr_assert_str_eq(warnings.last, "/opt/libx.so: its symbols stay, since it is not understood: "
                                    "its table of sections is malformed");
}

Test(prune, leaves_the_base_alone)
{
    const struct sfs_buf *library = make_library();
    char *path = put_builder("libx.so", library);
    open_narrowed(NULL, "sm_80,sm_90,sm_120");
    char *base = say("oci:%s/base:a", scratch);
    commit(base);
    unlink(path);
    put_builder("libnew.so", library);
    open_narrowed(base, "sm_90");
    const struct sfs_tree *tree = sfs_stage_tree(stage);
    char *left = read_whole(tree, "/opt/libx.so", library->size);
    cr_assert_eq(count_zeroed(library, left), 0);
    cr_assert_gt(count_zeroed(library, read_whole(tree, "/opt/libnew.so", library->size)),
                 MANY / 64);
}

/* What both were narrowed to: a GPU that either left out will miss something. */
Test(prune, records_what_base_and_stage_have_in_common)
{
    put_builder("libx.so", make_library());
    open_narrowed(NULL, "sm_80,sm_90");
    char *base = say("oci:%s/base:a", scratch);
    commit(base);
    open_narrowed(base, "sm_90,sm_120");
    cr_assert_str_eq(sfs_gpu_archs_of(sfs_stage_config(stage)), "sm_90");
    open_narrowed(base, "sm_120");
    cr_assert_str_eq(sfs_gpu_archs_of(sfs_stage_config(stage)), "none");
    cr_assert_not(sfs_gpu_arch_is_kept(sfs_stage_config(stage), 120));
}

Test(prune, is_recorded_once_however_often_the_stage_is_narrowed)
{
    const struct sfs_buf *library = make_library();
    put_builder("libx.so", library);
    open_narrowed(NULL, "sm_80");
    const struct sfs_slim_spec same = { .gpu_archs = "80" };
    sfs_slim_close(&slim);
    cr_assert_eq(sfs_slim_open(stage, &same, &warnings.progress, &slim, &error), 0);
    cr_assert_eq(sfs_slim_device_codes(slim)->count, 3);
    const char *left = read_whole(sfs_stage_tree(stage), "/opt/libx.so", library->size);
    cr_assert_gt(count_zeroed(library, left), 0);
    const struct sfs_slim_spec again = { .gpu_archs = "sm_120,sm_90", .ptx = SFS_PTX_NEWEST };
    sfs_slim_close(&slim);
    cr_assert_eq(sfs_slim_open(stage, &again, NULL, &slim, &error), 0, "%s", error.text);
    const json_t *config = sfs_stage_config(stage);
    cr_assert_str_eq(sfs_gpu_archs_of(config), "sm_90,sm_120");
    cr_assert_str_eq(sfs_stage_created_by(stage),
                     "COPY / /opt # buildkit # stagefs: --gpu-arch sm_90,sm_120 --ptx newest "
                     "(rules 1)");
    cr_assert(sfs_gpu_arch_is_kept(config, 90) && sfs_gpu_arch_is_kept(config, 120));
    cr_assert(!sfs_gpu_arch_is_kept(config, 80) && !sfs_gpu_arch_is_kept(config, 121));
    const struct sfs_slim_spec none = { 0 };
    sfs_slim_close(&slim);
    cr_assert_eq(sfs_slim_open(stage, &none, NULL, &slim, &error), 0, "%s", error.text);
    cr_assert_null(sfs_gpu_archs_of(sfs_stage_config(stage)));
    cr_assert(sfs_gpu_arch_is_kept(sfs_stage_config(stage), 80));
}
