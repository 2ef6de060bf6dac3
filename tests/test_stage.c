#include "image_support.h"
#include "stage/stage_private.h"
#include "support.h"

static struct sfs_store *store;
static struct sfs_cache *cache;
static struct sfs_stage *stage;
static struct sfs_error error;
static struct support_warnings warnings;

static void set_up(void)
{
    make_scratch();
    support_warnings_init(&warnings);
    cr_assert_eq(sfs_store_open(say("%s/store", scratch), &store, &error), 0, "%s", error.text);
    cr_assert_eq(sfs_cache_open(1 << 20, 2, &cache, &error), 0, "%s", error.text);
}

static void tear_down(void)
{
    sfs_stage_close(&stage);
    sfs_cache_close(&cache);
    sfs_store_close(&store);
    remove_scratch();
}

TestSuite(stage, .init = set_up, .fini = tear_down);

/* An image of one layer in a layout of its own. `files` are names and contents in turn; `config` is
 * what the config document holds besides rootfs. */
static char *make_image(const char *name, const char *config, const char *const *files)
{
    struct tar_writer writer;
    char *dir = begin_layout(name);
    tar_begin(&writer, ARCHIVE_FILTER_NONE);
    for (; files[0]; files += 2)
        tar_add(&writer, files[0], files[1], strlen(files[1]));
    struct bytes tar = tar_end(&writer);
    char *id = put_blob(dir, tar.data, tar.size);
    char *layer = descriptor(OCI_TAR, id, tar.size, NULL);
    bytes_free(&tar);
    char *document = put_document(
        dir, OCI_CONFIG,
        say("{%s,\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[\"%s\"]}}", config, id), NULL);
    put_index(dir, say("[%s]", put_document(dir, OCI_MANIFEST,
                                            say("{\"schemaVersion\":2,\"mediaType\":\"" OCI_MANIFEST
                                                "\",\"config\":%s,\"layers\":[%s]}",
                                                document, layer),
                                            ref_name("t"))));
    return say("oci:%s:t", dir);
}

#define FILES(...) ((const char *const[]){ __VA_ARGS__, NULL })
#define PLATFORM   "\"architecture\":\"amd64\",\"os\":\"linux\""

static char *builder_image(void)
{
    return make_image(
        "builder", PLATFORM,
        FILES("opt/conda/bin/python", "py", "opt/conda/lib/a.a", "static", "etc/motd", "hi"));
}

static char *base_image(void)
{
    return make_image(
        "base",
        PLATFORM ",\"created\":\"2020-01-01T00:00:00Z\",\"docker_version\":\"1\",\"author\":\"me\","
                 "\"config\":{\"WorkingDir\":\"/work\",\"Env\":[\"PATH=/bin\",\"A=b\"],"
                 "\"Labels\":{\"k\":\"v\"}},\"history\":[{\"created_by\":\"base layer\"}]",
        FILES("etc/passwd", "app:x:7:8::/:\n", "work/x", "1"));
}

static int try_stage(const struct sfs_stage_spec *spec, bool strict)
{
    struct sfs_context context = { .store = store,
                                   .cache = cache,
                                   .progress = &warnings.progress,
                                   .platform = "linux/amd64",
                                   .epoch = 1000,
                                   .strict = strict };
    sfs_stage_close(&stage);
    error.text[0] = '\0';
    return sfs_stage_open(spec, &context, &stage, &error);
}

static void open_stage(struct sfs_stage_spec spec)
{
    while (spec.copies && spec.copies[spec.copy_count].left)
        spec.copy_count++;
    int r = try_stage(&spec, false);
    cr_assert_eq(r, 0, "%d: %s", r, error.text);
}

static void expect_failure(struct sfs_stage_spec spec, bool strict, int code, const char *words)
{
    while (spec.copies && spec.copies[spec.copy_count].left)
        spec.copy_count++;
    int r = try_stage(&spec, strict);
    cr_expect_eq(r, -code, "%d: %s", r, error.text);
    cr_expect_not_null(strstr(error.text, words), "\"%s\" lacks \"%s\"", error.text, words);
}

#define SPEC(...)   ((struct sfs_stage_spec){ __VA_ARGS__ })
#define COPIES(...) ((const struct sfs_stage_pair[]){ __VA_ARGS__, { NULL, NULL } })

static void expect_config(const char *expected)
{
    json_t *want = json_loads(expected, 0, NULL);
    cr_assert(want, "%s", expected);
    char *got = json_dumps(sfs_stage_config(stage), JSON_SORT_KEYS | JSON_COMPACT);
    cr_expect(json_equal(want, sfs_stage_config(stage)), "got %s", got);
    free(got);
    json_decref(want);
}

Test(stage, of_an_image_is_its_tree_on_nothing)
{
    open_stage(SPEC(.image = base_image()));
    support_expect(sfs_stage_tree(stage), 0, "d 0755 0:0 etc/",
                   "f 0644 0:0 etc/passwd=app:x:7:8::/:\n", "d 0755 0:0 work/",
                   "f 0644 0:0 work/x=1");
    support_expect(sfs_stage_base_tree(stage), 0, NULL);
    cr_assert_null(sfs_stage_base_image(stage));
    cr_assert_str_eq(sfs_stage_created_by(stage), "stagefs commit # 1 layer as one");
}

Test(stage, of_an_image_has_its_config_without_the_history_of_its_layers)
{
    open_stage(SPEC(.image = base_image()));
    expect_config("{\"architecture\":\"amd64\",\"os\":\"linux\",\"author\":\"me\",\"config\":{"
                  "\"WorkingDir\":\"/work\",\"Env\":[\"PATH=/bin\",\"A=b\"],\"Labels\":{\"k\":"
                  "\"v\"}},\"history\":[]}");
}

Test(stage, of_a_copy_without_a_base_is_the_copy_alone)
{
    open_stage(SPEC(.from = builder_image(), .copies = COPIES({ "/opt/conda", NULL })));
    support_expect(sfs_stage_tree(stage), 0, "d 0755 0:0 opt/", "d 0755 0:0 opt/conda/",
                   "d 0755 0:0 opt/conda/bin/", "f 0644 0:0 opt/conda/bin/python=py",
                   "d 0755 0:0 opt/conda/lib/", "f 0644 0:0 opt/conda/lib/a.a=static");
    support_expect(sfs_stage_base_tree(stage), 0, NULL);
    cr_assert_null(sfs_stage_base_image(stage));
}

Test(stage, of_a_copy_without_a_base_has_the_config_of_scratch)
{
    open_stage(SPEC(.from = builder_image(), .copies = COPIES({ "/opt/conda", NULL })));
    expect_config("{\"architecture\":\"amd64\",\"os\":\"linux\",\"config\":{\"WorkingDir\":\"/\","
                  "\"Env\":[\"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\"]"
                  "},\"history\":[]}");
}

Test(stage, of_a_copy_lies_on_its_base)
{
    static const char *const excludes[] = { "**/*.a" };
    open_stage(SPEC(.base = base_image(), .from = builder_image(), .chown = "app",
                    .excludes = excludes, .exclude_count = 1,
                    .copies = COPIES({ "/opt/conda", "/opt/conda" })));
    support_expect(sfs_stage_tree(stage), 0, "d 0755 0:0 etc/",
                   "f 0644 0:0 etc/passwd=app:x:7:8::/:\n", "d 0755 7:8 opt/",
                   "d 0755 7:8 opt/conda/", "d 0755 7:8 opt/conda/bin/",
                   "f 0644 7:8 opt/conda/bin/python=py", "d 0755 7:8 opt/conda/lib/",
                   "d 0755 0:0 work/", "f 0644 0:0 work/x=1");
    support_expect(sfs_stage_base_tree(stage), 0, "d 0755 0:0 etc/",
                   "f 0644 0:0 etc/passwd=app:x:7:8::/:\n", "d 0755 0:0 work/",
                   "f 0644 0:0 work/x=1");
    cr_assert_not_null(sfs_stage_base_image(stage));
}

Test(stage, of_a_copy_shares_its_base_layers_with_the_base_tree)
{
    sfs_node above, below;
    size_t layer;
    uint32_t inode[2];
    open_stage(SPEC(.base = base_image(), .from = builder_image(),
                    .copies = COPIES({ "/opt/conda", NULL })));
    const struct sfs_tree *tree = sfs_stage_tree(stage), *base = sfs_stage_base_tree(stage);
    cr_assert_eq(sfs_tree_resolve(tree, "work/x", 0, &above, NULL), 0);
    cr_assert_eq(sfs_tree_resolve(base, "work/x", 0, &below, NULL), 0);
    cr_assert_eq(sfs_tree_origin(tree, above, &layer, &inode[0]),
                 sfs_tree_origin(base, below, &layer, &inode[1]));
    cr_assert_eq(inode[0], inode[1]);
}

Test(stage, of_a_copy_inherits_the_bases_config_and_history)
{
    open_stage(SPEC(.base = base_image(), .from = builder_image(),
                    .copies = COPIES({ "/opt/conda", NULL })));
    expect_config("{\"architecture\":\"amd64\",\"os\":\"linux\",\"author\":\"me\",\"config\":{"
                  "\"WorkingDir\":\"/work\",\"Env\":[\"PATH=/bin\",\"A=b\"],\"Labels\":{\"k\":"
                  "\"v\"}},\"history\":[{\"created_by\":\"base layer\"}]}");
}

Test(stage, gets_a_path_if_the_base_has_none)
{
    char *base = make_image("base", PLATFORM ",\"config\":{\"Env\":[\"A=b\"]}", FILES("x", "1"));
    open_stage(SPEC(.base = base, .from = builder_image(), .copies = COPIES({ "/etc", NULL })));
    expect_config("{\"architecture\":\"amd64\",\"os\":\"linux\",\"config\":{\"Env\":[\"A=b\","
                  "\"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\"]},"
                  "\"history\":[]}");
}

Test(stage, takes_relative_destinations_from_the_bases_working_directory)
{
    open_stage(SPEC(.base = base_image(), .from = builder_image(),
                    .copies = COPIES({ "etc/motd", "." }, { "etc/motd", "sub/y" })));
    support_expect(sfs_stage_tree(stage), 0, "d 0755 0:0 etc/",
                   "f 0644 0:0 etc/passwd=app:x:7:8::/:\n", "d 0755 0:0 work/",
                   "f 0644 0:0 work/motd=hi", "d 0755 0:0 work/sub/", "f 0644 0:0 work/sub/y=hi",
                   "f 0644 0:0 work/x=1");
}

Test(stage, puts_a_source_without_a_destination_at_its_own_place)
{
    open_stage(SPEC(.base = base_image(), .from = builder_image(),
                    .copies = COPIES({ "etc/motd", NULL })));
    sfs_node node;
    cr_assert_eq(sfs_tree_resolve(sfs_stage_tree(stage), "/etc/motd", 0, &node, NULL), 0);
}

Test(stage, puts_a_source_with_parents_at_its_own_place)
{
    open_stage(SPEC(.from = builder_image(), .parents = true,
                    .copies = COPIES({ "/opt/*/bin", NULL }, { "/opt/conda/./lib", NULL })));
    support_expect(sfs_stage_tree(stage), 0, "d 0755 0:0 opt/", "d 0755 0:0 opt/conda/",
                   "d 0755 0:0 opt/conda/bin/", "f 0644 0:0 opt/conda/bin/python=py",
                   "d 0755 0:0 opt/conda/lib/", "f 0644 0:0 opt/conda/lib/a.a=static");
}

Test(stage, wants_a_destination_for_a_wildcard)
{
    expect_failure(SPEC(.from = builder_image(), .copies = COPIES({ "/opt/*", NULL })), false,
                   EINVAL, "SRC:DST");
}

Test(stage, does_copies_in_order_each_seeing_the_ones_before)
{
    open_stage(
        SPEC(.from = builder_image(), .chmod = "0600",
             .copies = COPIES({ "/etc/motd", "/a" }, { "/etc/motd", "/b/" },
                              { "/opt/conda/lib/a.a", "/b" }, { "/opt/conda/lib/a.a", "/a" })));
    support_expect(sfs_stage_tree(stage), 0, "f 0600 0:0 a=static", "d 0600 0:0 b/",
                   "f 0600 0:0 b/a.a=static", "f 0600 0:0 b/motd=hi");
}

Test(stage, looks_up_names_in_what_earlier_copies_made)
{
    char *from = make_image("from", PLATFORM, FILES("p", "app:x:3:4::/:\n", "q", "1"));
    open_stage(SPEC(.from = from, .chown = "app",
                    .copies = COPIES({ "/p", "/etc/passwd" }, { "/q", NULL })));
    support_expect(sfs_stage_tree(stage), 0, "d 0755 0:0 etc/",
                   "f 0644 0:0 etc/passwd=app:x:3:4::/:\n", "f 0644 3:4 q=1");
    cr_assert_eq(warnings.count, 1u); /* nobody was known to the first */
}

Test(stage, says_what_made_it_as_buildkit_does)
{
    open_stage(SPEC(.from = builder_image(), .chown = "1000", .chmod = "u=rwX", .parents = true,
                    .copies = COPIES({ "/opt/conda", "/x/" }, { "/etc", "/y/" })));
    cr_assert_str_eq(sfs_stage_created_by(stage),
                     "COPY --parents --chown=1000 --chmod=u=rwX /opt/conda /x/; COPY --parents "
                     "--chown=1000 --chmod=u=rwX /etc /y/ # buildkit");
}

Test(stage, makes_directories_at_the_epoch)
{
    open_stage(SPEC(.from = builder_image(), .copies = COPIES({ "/etc/motd", "/new/" })));
    support_expect(sfs_stage_tree(stage), SUPPORT_MTIME, "d 0755 0:0 new/ @1000",
                   "f 0644 0:0 new/motd=hi @1700000000");
}

Test(stage, may_copy_from_its_own_base)
{
    char *image = builder_image();
    open_stage(SPEC(.base = image, .from = image, .copies = COPIES({ "/etc/motd", "/m" })));
    support_expect(sfs_stage_tree(stage), 0, "d 0755 0:0 etc/", "f 0644 0:0 etc/motd=hi",
                   "f 0644 0:0 m=hi", "d 0755 0:0 opt/", "d 0755 0:0 opt/conda/",
                   "d 0755 0:0 opt/conda/bin/", "f 0644 0:0 opt/conda/bin/python=py",
                   "d 0755 0:0 opt/conda/lib/", "f 0644 0:0 opt/conda/lib/a.a=static");
}

Test(stage, warns_of_images_for_different_platforms_and_refuses_them_if_strict)
{
    char *arm = make_image("arm", "\"architecture\":\"arm64\",\"os\":\"linux\"", FILES("x", "1"));
    struct sfs_stage_spec spec =
        SPEC(.base = base_image(), .from = arm, .copies = COPIES({ "/x", NULL }));
    open_stage(spec);
    cr_assert_eq(warnings.count, 1u);
    cr_assert_not_null(strstr(warnings.last, "arm64"));
    expect_failure(spec, true, EINVAL, "arm64");
}

Test(stage, is_strict_if_the_context_is)
{
    expect_failure(
        SPEC(.from = builder_image(), .chown = "ghost", .copies = COPIES({ "/etc/motd", NULL })),
        true, EINVAL, "ghost");
}

Test(stage, names_the_copy_that_failed)
{
    expect_failure(SPEC(.from = builder_image(), .copies = COPIES({ "/nope", "/x" })), false,
                   ENOENT, "COPY /nope /x: \"/nope\": not found");
}

Test(stage, wants_exactly_one_way_to_say_what_it_is)
{
    expect_failure(SPEC(.image = NULL), false, EINVAL, "a stage is one of");
    expect_failure(SPEC(.image = "oci:x", .from = "oci:y"), false, EINVAL, "a stage is one of");
    expect_failure(SPEC(.image = "oci:x", .chown = "1"), false, EINVAL, "go with --from");
    expect_failure(SPEC(.from = "oci:x"), false, EINVAL, "--from needs --copy");
}

Test(stage, of_an_image_that_is_not_there_says_so)
{
    expect_failure(SPEC(.image = say("oci:%s/none", scratch)), false, ENOENT, "none");
}
