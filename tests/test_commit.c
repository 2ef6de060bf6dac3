#include "image_support.h"
#include "tree/tree_inner.h"

#include <stagefs/commit.h>

/* scratch/from, scratch/base: directories; scratch/out: the layout that is written. */
static struct sfs_store *store;
static struct sfs_cache *cache;
static struct sfs_stage *stage;
static struct sfs_error err;

static char *in_scratch(const char *name)
{
    return say("%s/%s", scratch, name);
}

static void make_file(const char *name, const char *content, mode_t mode)
{
    char *path = in_scratch(name);
    FILE *file = fopen(path, "w");
    cr_assert(file, "%s", path);
    fputs(content, file);
    fclose(file);
    cr_assert_eq(chmod(path, mode), 0);
    struct timespec times[2] = { { .tv_sec = 1600000000 }, { .tv_sec = 1600000000 } };
    cr_assert_eq(utimensat(AT_FDCWD, path, times, 0), 0);
}

static void make_dir(const char *name)
{
    cr_assert_eq(mkdir(in_scratch(name), 0755), 0, "%s", name);
}

static void make_trees(void)
{
    make_dir("base");
    make_dir("base/etc");
    make_file("base/etc/passwd", "root:x:0:0::/:/bin/sh\n", 0644);
    make_dir("base/opt");
    make_file("base/opt/tool", "old", 0755);
    make_dir("from");
    make_dir("from/opt");
    make_file("from/opt/tool", "new and longer", 0755);
    make_dir("from/opt/lib");
    make_file("from/opt/lib/a.so", "library", 0644);
    cr_assert_eq(link(in_scratch("from/opt/lib/a.so"), in_scratch("from/opt/lib/b.so")), 0);
    cr_assert_eq(symlink("a.so", in_scratch("from/opt/lib/c.so")), 0);
    make_file("from/opt/lib/skip.a", "static", 0644);
}

static void set_up(void)
{
    umask(022);
    make_scratch();
    make_trees();
    cr_assert_eq(sfs_store_open(in_scratch("store"), &store, &err), 0, "%s", err.text);
    cr_assert_eq(sfs_cache_open(16 << 20, 2, &cache, &err), 0, "%s", err.text);
}

static void tear_down(void)
{
    sfs_stage_close(&stage);
    sfs_cache_close(&cache);
    sfs_store_close(&store);
    remove_scratch();
}

TestSuite(commit, .init = set_up, .fini = tear_down);

static void open_stage(const struct sfs_stage_spec *spec)
{
    struct sfs_context context = {
        .store = store, .cache = cache, .platform = "linux/amd64", .epoch = 1700000000
    };
    sfs_stage_close(&stage);
    cr_assert_eq(sfs_stage_open(spec, &context, &stage, &err), 0, "%s", err.text);
}

/* COPY /opt /opt from the directory onto `base`, which may be NULL. */
static void open_copy(const char *base)
{
    static const char *const excludes[] = { "**/*.a" };
    static const struct sfs_stage_pair copy = { "/opt", "/opt" };
    open_stage(&(struct sfs_stage_spec){ .from = say("dir:%s/from", scratch),
                                         .base = base,
                                         .copies = &copy,
                                         .copy_count = 1,
                                         .excludes = excludes,
                                         .exclude_count = 1 });
}

static struct sfs_commit_options options_for(const char *tag)
{
    return (struct sfs_commit_options){ .destination = say("oci:%s/out:%s", scratch, tag),
                                        .threads = 2,
                                        .has_epoch = true,
                                        .epoch = 1650000000 };
}

static struct sfs_commit_result commit(const struct sfs_commit_options *options)
{
    struct sfs_commit_result result;
    int r = sfs_commit(stage, options, &result, &err);
    cr_assert_eq(r, 0, "%s", err.text);
    return result;
}

static struct sfs_commit_result commit_tag(const char *tag)
{
    struct sfs_commit_options options = options_for(tag);
    return commit(&options);
}

/* The base image that others go on, as an image of a layout: its one layer has a digest. */
static char *make_base(void)
{
    open_stage(&(struct sfs_stage_spec){ .image = say("dir:%s/base", scratch) });
    commit_tag("base");
    return say("oci:%s/out:base", scratch);
}

static int print_change(void *user, const struct sfs_change *change)
{
    struct sfs_change *kept = user;
    *kept = *change;
    kept->path = say("%s", change->path);
    return 1;
}

/* Opens what was committed and compares it with the stage, byte by byte. */
static void expect_same_as_stage(const char *tag)
{
    struct sfs_image *image = NULL;
    struct sfs_layer **layers = NULL;
    struct sfs_tree *tree = NULL;
    cr_assert_eq(sfs_image_open(say("oci:%s/out:%s", scratch, tag), "linux/amd64", &image, &err), 0,
                 "%s", err.text);
    cr_assert_eq(sfs_image_open_layers(image, store, cache, NULL, &layers, &err), 0, "%s",
                 err.text);
    size_t count = sfs_image_layer_count(image);
    cr_assert_eq(sfs_tree_merge(layers, count, &tree, &err), 0, "%s", err.text);
    struct sfs_change change = { .path = "" };
    int r =
        sfs_tree_diff(sfs_stage_tree(stage), tree, SFS_DIFF_CONTENT, print_change, &change, &err);
    /* Directories that COPY made have the time of the stage's epoch, which the commit's clamps. */
    cr_assert(r == 0 || change.what == SFS_CHANGE_MTIME, "'%s' differs: kind %d, what %x",
              change.path, change.kind, change.what);
    sfs_tree_close(&tree);
    sfs_image_close_layers(&layers, count);
    sfs_image_close(&image);
}

static json_t *read_json(const struct sfs_digest *digest)
{
    char text[SFS_DIGEST_TEXT];
    sfs_digest_print(digest, text);
    json_t *json = json_load_file(say("%s/out/blobs/sha256/%s", scratch, text + 7), 0, NULL);
    cr_assert(json, "%s", text);
    return json;
}

static bool has_blob(const struct sfs_digest *digest)
{
    char text[SFS_DIGEST_TEXT];
    sfs_digest_print(digest, text);
    return access(say("%s/out/blobs/sha256/%s", scratch, text + 7), F_OK) == 0;
}

Test(commit, writes_an_image_that_reads_as_the_stage)
{
    static const enum sfs_compression formats[] = { SFS_COMPRESS_GZIP, SFS_COMPRESS_ZSTD,
                                                    SFS_COMPRESS_NONE };
    char *base = make_base();
    for (size_t i = 0; i < 3; i++) {
        open_copy(base);
        struct sfs_commit_options options = options_for(say("t%zu", i));
        options.compression = formats[i];
        commit(&options);
        expect_same_as_stage(say("t%zu", i));
    }
}

Test(commit, counts_what_it_wrote)
{
    open_copy(make_base());
    struct sfs_commit_result result = commit_tag("t");
    cr_assert_eq(result.files, 2); /* tool, a.so */
    cr_assert_eq(result.file_bytes, strlen("new and longer") + strlen("library"));
    cr_assert_eq(result.whiteouts, 0);
    cr_assert_eq(result.tar_size % 512, 0);
    cr_assert(has_blob(&result.layer) && has_blob(&result.config) && has_blob(&result.manifest));
}

Test(commit, gives_the_same_digests_again_and_with_any_number_of_threads)
{
    open_copy(make_base());
    struct sfs_commit_result first = commit_tag("a");
    static const unsigned threads[] = { 1, 2, 8 };
    for (size_t i = 0; i < 3; i++) {
        struct sfs_commit_options options = options_for("b");
        options.threads = threads[i];
        struct sfs_commit_result next = commit(&options);
        cr_assert_eq(memcmp(&first, &next, sizeof first), 0);
    }
}

Test(commit, in_a_dry_run_gives_the_digests_and_writes_nothing)
{
    open_copy(make_base());
    struct sfs_commit_options options = options_for("dry");
    options.dry_run = true;
    struct sfs_commit_result dry = commit(&options);
    cr_assert(!has_blob(&dry.layer) && !has_blob(&dry.config) && !has_blob(&dry.manifest));
    options.dry_run = false;
    struct sfs_commit_result wet = commit(&options);
    cr_assert_eq(memcmp(&dry, &wet, sizeof dry), 0);
}

Test(commit, in_a_dry_run_makes_no_layout)
{
    open_stage(&(struct sfs_stage_spec){ .image = say("dir:%s/base", scratch) });
    struct sfs_commit_options options = options_for("dry");
    options.dry_run = true;
    commit(&options);
    cr_assert_neq(access(in_scratch("out"), F_OK), 0);
}

Test(commit, keeps_the_bases_layers_and_history)
{
    open_copy(make_base());
    struct sfs_commit_result result = commit_tag("t");
    json_t *config = read_json(&result.config), *manifest = read_json(&result.manifest);
    cr_assert_eq(json_array_size(json_object_get(manifest, "layers")), 2);
    cr_assert_eq(json_array_size(json_object_get(json_object_get(config, "rootfs"), "diff_ids")),
                 2);
    cr_assert_eq(json_array_size(json_object_get(config, "history")), 2);
    cr_assert_str_eq(json_string_value(json_object_get(config, "created")), "2022-04-15T05:20:00Z");
    const json_t *layer = json_array_get(json_object_get(manifest, "layers"), 1);
    char text[SFS_DIGEST_TEXT];
    cr_assert_str_eq(json_string_value(json_object_get(layer, "digest")),
                     sfs_digest_print(&result.layer, text));
    cr_assert_eq(json_integer_value(json_object_get(layer, "size")), (json_int_t)result.layer_size);
    json_decref(config);
    json_decref(manifest);
}

Test(commit, squashes_base_and_selection)
{
    open_copy(make_base());
    struct sfs_commit_options options = options_for("s");
    options.squash = true;
    struct sfs_commit_result result = commit(&options);
    json_t *manifest = read_json(&result.manifest);
    cr_assert_eq(json_array_size(json_object_get(manifest, "layers")), 1);
    json_decref(manifest);
    expect_same_as_stage("s");
}

Test(commit, writes_a_directory_below_as_a_layer)
{
    open_copy(say("dir:%s/base", scratch));
    struct sfs_commit_result result = commit_tag("t");
    json_t *manifest = read_json(&result.manifest);
    cr_assert_eq(json_array_size(json_object_get(manifest, "layers")), 2);
    json_decref(manifest);
    expect_same_as_stage("t");
}

Test(commit, adds_no_layer_where_nothing_changed)
{
    static const struct sfs_stage_pair copy = { "/etc/passwd", "/etc/passwd" };
    char *base = make_base();
    open_stage(
        &(struct sfs_stage_spec){ .from = base, .base = base, .copies = &copy, .copy_count = 1 });
    struct sfs_commit_result result = commit_tag("t");
    json_t *config = read_json(&result.config), *manifest = read_json(&result.manifest);
    size_t layers = json_array_size(json_object_get(manifest, "layers"));
    const json_t *history = json_object_get(config, "history");
    bool empty = json_is_true(json_object_get(json_array_get(history, 1), "empty_layer"));
    cr_assert_eq(json_array_size(history), 2);
    cr_assert_eq(layers, result.entries ? 2 : 1);
    cr_assert_eq(empty, result.entries == 0);
    json_decref(config);
    json_decref(manifest);
}

Test(commit, writes_what_is_edited)
{
    static const struct sfs_edit edits[] = { { SFS_EDIT_ENV, "A=1" },
                                             { SFS_EDIT_USER, "me" },
                                             { SFS_EDIT_ANNOTATION, "x=y" } };
    open_copy(make_base());
    struct sfs_commit_options options = options_for("t");
    options.edits = edits;
    options.edit_count = 3;
    struct sfs_commit_result result = commit(&options);
    json_t *config = read_json(&result.config), *manifest = read_json(&result.manifest);
    const json_t *settings = json_object_get(config, "config");
    const json_t *env = json_object_get(settings, "Env");
    cr_assert_str_eq(json_string_value(json_object_get(settings, "User")), "me");
    cr_assert_str_eq(json_string_value(json_array_get(env, json_array_size(env) - 1)), "A=1");
    const json_t *annotations = json_object_get(manifest, "annotations");
    cr_assert_str_eq(json_string_value(json_object_get(annotations, "x")), "y");
    json_decref(config);
    json_decref(manifest);
}

static int check_time(void *user, const char *path, sfs_node node)
{
    struct sfs_attr attr;
    sfs_tree_attr(user, node, &attr);
    cr_assert(!*path || attr.mtime_sec == 1500000000, "%s: %lld", path, (long long)attr.mtime_sec);
    return 0;
}

Test(commit, gives_everything_the_time_that_is_set)
{
    struct sfs_stage_spec spec = { .image = say("dir:%s/from", scratch) };
    open_stage(&spec);
    struct sfs_commit_options options = options_for("t");
    options.epoch = 1500000000;
    options.set_mtimes = true;
    commit(&options);
    spec.image = say("oci:%s/out:t", scratch);
    open_stage(&spec);
    const struct sfs_tree *tree = sfs_stage_tree(stage);
    cr_assert_eq(sfs_tree_walk(tree, SFS_ROOT, check_time, (void *)(uintptr_t)tree, &err), 0);
}

Test(commit, refuses_other_destinations)
{
    open_copy(NULL);
    static const char *const wrong[] = { "docker-daemon:x",
                                         "oci:/x@sha256:00",
                                         "docker://x/y@sha256:00",
                                         "docker://X/y/",
                                         "/x",
                                         "oci-archive:/",
                                         "docker-archive:/dev",
                                         "" };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct sfs_commit_options options = options_for("x");
        struct sfs_commit_result result;
        options.destination = wrong[i];
        cr_assert_eq(sfs_commit(stage, &options, &result, &err), -EINVAL, "%s", wrong[i]);
    }
}

Test(commit, writes_an_archive_to_a_device)
{
    open_copy(NULL);
    struct sfs_commit_options options = options_for("x");
    struct sfs_commit_result result;
    options.destination = "docker-archive:/dev/null";
    cr_assert_eq(sfs_commit(stage, &options, &result, &err), 0, "%s", err.text);
    struct stat st;
    cr_assert(stat("/dev/null", &st) == 0 && S_ISCHR(st.st_mode));
    options.destination = "docker-archive:/dev/full";
    cr_assert_eq(sfs_commit(stage, &options, &result, &err), -ENOSPC);
}

/* Names below scratch/out, one a line. */
static char *list_out(void)
{
    char *text = say("%s", "");
    FILE *pipe = popen(say("cd %s && find out 2>/dev/null | sort", scratch), "r");
    char line[512];
    while (fgets(line, sizeof line, pipe))
        text = say("%s%s", text, line);
    pclose(pipe);
    return text;
}

Test(commit, leaves_nothing_behind_when_a_file_cannot_be_read)
{
    open_copy(NULL);
    cr_assert_eq(truncate(in_scratch("from/opt/tool"), 3), 0);
    struct sfs_commit_options options = options_for("x");
    struct sfs_commit_result result;
    int r = sfs_commit(stage, &options, &result, &err);
    cr_assert_lt(r, 0);
    cr_assert(strstr(err.text, "opt/tool"), "%s", err.text);
    cr_assert_str_eq(list_out(), "");
}

Test(commit, leaves_a_layout_as_it_was_when_a_file_cannot_be_read)
{
    open_copy(make_base());
    char *before = list_out();
    cr_assert_eq(truncate(in_scratch("from/opt/tool"), 3), 0);
    struct sfs_commit_options options = options_for("base");
    struct sfs_commit_result result;
    cr_assert_lt(sfs_commit(stage, &options, &result, &err), 0);
    cr_assert_str_eq(list_out(), before);
}

Test(commit, is_accepted_by_other_programs)
{
    if (system("command -v umoci skopeo oci-image-tool >/dev/null 2>&1") != 0)
        cr_skip_test("umoci, skopeo and oci-image-tool are not all installed");
    open_copy(make_base());
    commit_tag("t");
    cr_assert_eq(system(say("cd %s && oci-image-tool validate --type image --ref name=t out "
                            ">log 2>&1 || { cat log >&2; exit 1; }",
                            scratch)),
                 0);
    cr_assert_eq(system(say("cd %s && skopeo --insecure-policy copy -q oci:out:t "
                            "docker-archive:back.tar:a:b >log 2>&1 || { cat log >&2; exit 1; }",
                            scratch)),
                 0);
    cr_assert_eq(system(say("cd %s && umoci unpack --rootless --image out:t un >log 2>&1 && "
                            "test \"$(cat un/rootfs/opt/tool)\" = 'new and longer' && "
                            "test un/rootfs/opt/lib/a.so -ef un/rootfs/opt/lib/b.so || "
                            "{ cat log >&2; exit 1; }",
                            scratch)),
                 0);
}
