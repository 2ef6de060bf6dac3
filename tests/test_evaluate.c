/* What a Dockerfile comes to: trees, configs, failures. RUN is in test_evaluate_run.c and in the
 * end-to-end tests. */
#include "tree/tree_inner.h"
#include "stage/evaluate.h"
#include "image/document.h"
#include "support.h"
#include "tar_bytes.h"
#include <criterion/criterion.h>
#include <errno.h>
#include <stagefs/json.h>
#include <stagefs/stage.h>
#include <sys/stat.h>

static char dir[64];
static struct sfs_store *store;
static struct sfs_cache *cache;
static struct support_warnings warnings;
static struct sfs_error error;
static struct sfs_stage *stage;

static void write_file(const char *name, const char *text)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    for (char *slash = strchr(path + strlen(dir) + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = 0;
        mkdir(path, 0755);
        *slash = '/';
    }
    FILE *file = fopen(path, "we");
    cr_assert(file);
    fputs(text, file);
    fclose(file);
}

static void set_up(void)
{
    snprintf(dir, sizeof dir, "/tmp/stagefs-test-evaluate-XXXXXX");
    cr_assert(mkdtemp(dir));
    char path[128];
    snprintf(path, sizeof path, "%s/store", dir);
    cr_assert_eq(sfs_store_open(path, &store, &error), 0);
    cr_assert_eq(sfs_cache_open(0, 1, &cache, &error), 0);
    support_warnings_init(&warnings);
    write_file("base/etc/passwd",
               "root:x:0:0::/root:/bin/sh\napp:x:1000:1001::/home/app:/bin/sh\n");
    write_file("other/opt/file", "other");
    write_file("context/a", "A");
    write_file("context/b.log", "B");
    write_file("context/sub/c", "C");
}

static void tear_down(void)
{
    sfs_stage_close(&stage);
    sfs_cache_close(&cache);
    sfs_store_close(&store);
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", dir);
    cr_assert_eq(system(command), 0);
}

TestSuite(evaluate, .init = set_up, .fini = tear_down);
TestSuite(evaluate_error, .init = set_up, .fini = tear_down);
TestSuite(evaluate_add, .init = set_up, .fini = tear_down);
TestSuite(evaluate_config, .init = set_up, .fini = tear_down);

struct options {
    const char *target;
    bool strict;
    struct sfs_stage_pair build_args[4], contexts[4];
};

static size_t count_pairs(const struct sfs_stage_pair *pairs)
{
    size_t count = 0;
    while (count < 4 && pairs[count].left)
        count++;
    return count;
}

/* "base" and "other" are build contexts unless the test says others. */
static int try_open(const char *text, struct options options)
{
    char dockerfile[128], context[128], base[128], other[128];
    write_file("Dockerfile", text);
    snprintf(dockerfile, sizeof dockerfile, "%s/Dockerfile", dir);
    snprintf(context, sizeof context, "%s/context", dir);
    snprintf(base, sizeof base, "dir:%s/base", dir);
    snprintf(other, sizeof other, "dir:%s/other", dir);
    if (!options.contexts[0].left) {
        options.contexts[0] = (struct sfs_stage_pair){ "base", base };
        options.contexts[1] = (struct sfs_stage_pair){ "other", other };
    }
    const struct sfs_stage_spec spec = {
        .dockerfile = dockerfile,
        .context = context,
        .target = options.target,
        .build_args = options.build_args,
        .build_arg_count = count_pairs(options.build_args),
        .build_contexts = options.contexts,
        .build_context_count = count_pairs(options.contexts),
    };
    const struct sfs_context opened = { .store = store,
                                        .cache = cache,
                                        .progress = &warnings.progress,
                                        .platform = "linux/amd64",
                                        .epoch = 1000,
                                        .strict = options.strict };
    error.text[0] = 0;
    return sfs_stage_open(&spec, &opened, &stage, &error);
}

#define OPTIONS(...) ((struct options){ __VA_ARGS__ })

static void open_stage(const char *text, struct options options)
{
    int r = try_open(text, options);
    cr_assert_eq(r, 0, "%d: %s", r, error.text);
}

static void expect_error(const char *text, struct options options, int code, const char *words)
{
    int r = try_open(text, options);
    cr_expect_eq(r, -code, "%d, not %d: %s", r, -code, error.text);
    cr_expect_not_null(strstr(error.text, words), "\"%s\" lacks \"%s\"", error.text, words);
    cr_expect_null(stage);
}

/* A file's text, with its owner in front: "0:0 text"; "" if it is not there. */
static const char *content(const char *path)
{
    static char text[256];
    sfs_node node;
    struct sfs_attr attr;
    text[0] = 0;
    if (sfs_tree_resolve(sfs_stage_tree(stage), path, 0, &node, NULL) < 0)
        return text;
    sfs_tree_attr(sfs_stage_tree(stage), node, &attr);
    int n = snprintf(text, sizeof text, "%u:%u ", attr.uid, attr.gid);
    if (S_ISREG(attr.mode)) {
        ssize_t got = sfs_tree_read(sfs_stage_tree(stage), node, text + n,
                                    sizeof text - 1 - (size_t)n, 0, NULL);
        cr_assert_geq(got, 0);
        text[n + got] = 0;
    }
    return text;
}

/* A field of config.config, printed. */
static const char *field(const char *name)
{
    static char *text;
    free(text);
    const json_t *settings = json_object_get(sfs_stage_config(stage), "config");
    text = json_dumps(json_object_get(settings, name),
                      JSON_COMPACT | JSON_ENCODE_ANY | JSON_SORT_KEYS);
    return text ? text : "";
}

static const char *last_history(void)
{
    const json_t *history = json_object_get(sfs_stage_config(stage), "history");
    const json_t *last = json_array_get(history, json_array_size(history) - 1);
    return json_string_value(json_object_get(last, "created_by"));
}

/* ---- stages ---- */

Test(evaluate, copies_from_another_stage_with_a_variable_in_chown)
{
    open_stage("FROM other AS build\nFROM base\nARG PREFIX=/opt/conda\nARG APP_UID=1000\n"
               "COPY --chown=$APP_UID --from=build /opt/. $PREFIX\n",
               OPTIONS(0));
    cr_expect_str_eq(content("/opt/conda/file"), "1000:1000 other");
    cr_expect_str_eq(sfs_stage_created_by(stage), "COPY --chown=1000 /opt/. /opt/conda # buildkit");
}

Test(evaluate, takes_an_earlier_stage_by_number)
{
    open_stage("FROM other\nFROM base\nCOPY --from=0 /opt/file /x\n", OPTIONS(0));
    cr_expect_str_eq(strchr(content("/x"), ' '), " other");
}

Test(evaluate, begins_with_an_earlier_stage_and_all_that_it_had)
{
    open_stage(
        "FROM base AS one\nARG A=1\nENV B=2\nCOPY a /a\nFROM one\nENV C=$A$B\nCOPY sub/c /c\n",
        OPTIONS(0));
    cr_expect_str_eq(content("/a"), "0:0 A");
    cr_expect_str_eq(content("/c"), "0:0 C");
    cr_expect_not_null(strstr(field("Env"), "\"C=12\""));
}

Test(evaluate, does_not_look_at_stages_that_nobody_needs)
{
    open_stage("FROM nowhere AS unused\nCOPY nothing /x\nFROM base\nCOPY a /a\n", OPTIONS(0));
    cr_expect_str_eq(content("/a"), "0:0 A");
}

Test(evaluate, never_evaluates_a_stage_that_a_build_context_replaces)
{
    char other[128];
    snprintf(other, sizeof other, "dir:%s/other", dir);
    open_stage(
        "FROM nowhere AS build\nCOPY nothing /x\nFROM scratch\nCOPY --from=build /opt/file /f\n",
        OPTIONS(.contexts = { { "build", other } }));
    cr_expect_str_eq(strchr(content("/f"), ' '), " other");
}

Test(evaluate, finds_a_build_context_by_any_form_of_an_image_name)
{
    char base[128];
    snprintf(base, sizeof base, "dir:%s/base", dir);
    open_stage("FROM docker.io/nvidia/cuda:10.0-base\n",
               OPTIONS(.contexts = { { "nvidia/cuda:10.0-base", base } }));
    cr_expect_neq(content("/etc/passwd")[0], 0);
}

Test(evaluate, takes_a_directory_as_a_build_context_and_gives_its_files_to_root)
{
    char other[128];
    snprintf(other, sizeof other, "%s/other", dir);
    open_stage("FROM scratch\nCOPY --from=files opt /o\n",
               OPTIONS(.contexts = { { "files", other } }));
    cr_expect_str_eq(content("/o/file"), "0:0 other");
}

Test(evaluate, stops_at_the_target)
{
    open_stage("FROM base AS one\nENV A=1\nFROM nowhere\n", OPTIONS(.target = "ONE"));
    cr_expect_not_null(strstr(field("Env"), "\"A=1\""));
}

Test(evaluate, has_the_base_below)
{
    open_stage("FROM base\nCOPY a /a\n", OPTIONS(0));
    cr_expect_not_null(sfs_stage_base_image(stage));
    sfs_node node;
    cr_expect_eq(sfs_tree_resolve(sfs_stage_base_tree(stage), "/a", 0, &node, NULL), -ENOENT);
    cr_expect_eq(sfs_tree_resolve(sfs_stage_base_tree(stage), "/etc/passwd", 0, &node, NULL), 0);
}

/* ---- scopes ---- */

Test(evaluate, gives_build_args_to_those_that_declare_them)
{
    open_stage("ARG G=g\nFROM base\nARG G\nARG L=l\nARG U\nENV OUT=$G-$L-${U:-unset}-$NOT\n",
               OPTIONS(.build_args = { { "L", "given" }, { "NOT", "x" } }));
    cr_expect_not_null(strstr(field("Env"), "\"OUT=g-given-unset-\""));
    cr_expect_not_null(strstr(warnings.last, "no ARG takes --build-arg NOT"));
}

Test(evaluate, keeps_global_args_out_of_stages_that_do_not_ask)
{
    open_stage("ARG G=base\nFROM $G\nENV OUT=[$G]\n", OPTIONS(0));
    cr_expect_not_null(strstr(field("Env"), "\"OUT=[]\""));
}

Test(evaluate, knows_the_platform_it_builds_for)
{
    open_stage(
        "FROM base\nARG TARGETARCH\nARG TARGETPLATFORM\nENV OUT=$TARGETARCH,$TARGETPLATFORM\n",
        OPTIONS(0));
    cr_expect_not_null(strstr(field("Env"), "\"OUT=amd64,linux/amd64\""));
}

Test(evaluate, names_platforms_as_containerd_does)
{
    open_stage("ARG P=linux/aarch64/v8\nFROM --platform=$P scratch\nLABEL a=$P\n", OPTIONS(0));
    const json_t *config = sfs_stage_config(stage);
    cr_expect_str_eq(json_string_value(json_object_get(config, "architecture")), "arm64");
    cr_expect_null(json_object_get(config, "variant"));
    sfs_stage_close(&stage);
    open_stage("FROM --platform=armhf scratch\n", OPTIONS(0));
    config = sfs_stage_config(stage);
    cr_expect_str_eq(json_string_value(json_object_get(config, "architecture")), "arm");
    cr_expect_str_eq(json_string_value(json_object_get(config, "variant")), "v7");
}

Test(evaluate, lets_an_instruction_see_what_was_before_it)
{
    open_stage("FROM base\nENV abc=hello\nENV abc=bye def=$abc\nENV ghi=$abc\n", OPTIONS(0));
    cr_expect_not_null(strstr(field("Env"), "\"abc=bye\",\"def=hello\",\"ghi=bye\""));
}

/* ---- COPY, ADD, WORKDIR ---- */

Test(evaluate, leaves_out_what_is_ignored)
{
    write_file("context/.dockerignore", "# comment\n*.log\n");
    open_stage("FROM scratch\nCOPY . /\n", OPTIONS(0));
    cr_expect_str_eq(content("/b.log"), "");
    cr_expect_str_eq(content("/sub/c"), "0:0 C");
}

Test(evaluate, prefers_the_ignore_file_of_the_dockerfile)
{
    write_file("context/.dockerignore", "*.log\n");
    write_file("Dockerfile.dockerignore", "a\n");
    open_stage("FROM scratch\nCOPY . /\n", OPTIONS(0));
    cr_expect_str_eq(content("/b.log"), "0:0 B");
    cr_expect_str_eq(content("/a"), "");
}

Test(evaluate, makes_files_of_heredocs)
{
    open_stage(
        "FROM base\nENV WHO=world\nCOPY <<one <<-'two' /d/\nhello $WHO\none\n\tas $WHO\n\ttwo\n",
        OPTIONS(0));
    cr_expect_str_eq(content("/d/one"), "0:0 hello world\n");
    cr_expect_str_eq(content("/d/two"), "0:0 as $WHO\n");
    cr_expect_str_eq(sfs_stage_created_by(stage), "COPY <<one <<two /d/ # buildkit");
}

Test(evaluate, makes_the_workdir_for_the_user)
{
    open_stage("FROM base\nUSER app\nWORKDIR /home/app\nWORKDIR sub\n", OPTIONS(0));
    cr_expect_str_eq(content("/home/app/sub"), "1000:1001 ");
    cr_expect_str_eq(content("/home"), "1000:1001 ");
    cr_expect_str_eq(field("WorkingDir"), "\"/home/app/sub\"");
}

Test(evaluate, names_an_absolute_workdir_as_it_is_written)
{
    open_stage("FROM base\nWORKDIR /srv/\nCOPY a .\n", OPTIONS(0));
    cr_expect_str_eq(field("WorkingDir"), "\"/srv/\"");
    cr_expect_str_eq(content("/srv/a"), "0:0 A");
    sfs_stage_close(&stage);
    open_stage("FROM base\nWORKDIR /srv/\nWORKDIR x//y/\n", OPTIONS(0));
    cr_expect_str_eq(field("WorkingDir"), "\"/srv/x/y\"");
}

Test(evaluate, makes_what_a_link_leads_to)
{
    static const char *const cases[][2] = {
        { "WORKDIR /d/l", "/x/y" },          { "WORKDIR /d/l/z", "/x/y/z" },
        { "ADD t.tar /d/l/", "/x/y/sub/c" }, { "ADD t.tar /d/l/z/", "/x/y/z/sub/c" },
        { "COPY a /d/l/z/", "/x/y/z/a" },
    };
    char command[400], text[200];
    snprintf(command, sizeof command,
             "cd '%s' && mkdir base/d && ln -s ../x/y base/d/l && "
             "tar -cf context/t.tar -C context sub",
             dir);
    cr_assert_eq(system(command), 0);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        snprintf(text, sizeof text, "FROM base\n%s\n", cases[i][0]);
        open_stage(text, OPTIONS(0));
        sfs_node node;
        struct sfs_attr attr;
        cr_expect_neq(content(cases[i][1])[0], 0, "%s", text);
        cr_assert_eq(sfs_tree_resolve(sfs_stage_tree(stage), "/d/l", 0, &node, NULL), 0);
        sfs_tree_attr(sfs_stage_tree(stage), node, &attr);
        cr_expect(S_ISLNK(attr.mode), "%s", text);
        sfs_stage_close(&stage);
    }
}

Test(evaluate, is_dated_by_the_argument)
{
    static const struct {
        const char *text, *argument;
        int64_t date; /* -1: none */
    } cases[] = {
        { "FROM base\n", "1700000001", 1700000001 },
        { "ARG SOURCE_DATE_EPOCH=5\nFROM base\n", NULL, 5 },
        { "ARG SOURCE_DATE_EPOCH=5\nFROM base\n", "7", 7 },
        { "ARG SOURCE_DATE_EPOCH=5\nFROM base\n", "", -1 },
        { "ARG SOURCE_DATE_EPOCH=context\nFROM base\n", NULL, -1 },
        { "FROM base\nARG SOURCE_DATE_EPOCH=5\n", NULL, -1 },
    };
    unsetenv("SOURCE_DATE_EPOCH");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int64_t date = -1;
        struct options options = { 0 };
        if (cases[i].argument)
            options.build_args[0] =
                (struct sfs_stage_pair){ "SOURCE_DATE_EPOCH", cases[i].argument };
        open_stage(cases[i].text, options);
        cr_expect_eq(sfs_stage_epoch(stage, &date), cases[i].date >= 0, "%zu", i);
        cr_expect_eq(date, cases[i].date, "%zu: %lld", i, (long long)date);
        sfs_stage_close(&stage);
    }
    expect_error("ARG SOURCE_DATE_EPOCH=yesterday\nFROM base\n", OPTIONS(0), EINVAL,
                 "SOURCE_DATE_EPOCH is 'yesterday'");
}

Test(evaluate, takes_the_date_of_the_environment_for_an_argument)
{
    setenv("SOURCE_DATE_EPOCH", "9", 1);
    open_stage("FROM base\nARG SOURCE_DATE_EPOCH\nLABEL d=$SOURCE_DATE_EPOCH\n", OPTIONS(0));
    cr_expect_str_eq(field("Labels"), "{\"d\":\"9\"}");
    cr_expect_eq(warnings.count, 0);
}

Test(evaluate, unpacks_tars_that_are_added_and_copies_what_is_none)
{
    char command[400];
    snprintf(command, sizeof command,
             "cd '%s' && tar --owner=7 --group=8 --numeric-owner -czf context/t.tgz -C context sub",
             dir);
    cr_assert_eq(system(command), 0);
    open_stage("FROM base\nADD t.tgz a /u/\nCOPY t.tgz /copied\n", OPTIONS(0));
    cr_expect_str_eq(content("/u/sub/c"), "7:8 C");
    cr_expect_str_eq(content("/u/a"), "0:0 A");
    cr_expect_str_eq(content("/u/t.tgz"), "");
    cr_expect_neq(content("/copied")[0], 0);
}

/* A tar in the context, from a script for Python: t is the tar, add(NAME, LINK, KIND) an entry. */
static void make_tar(const char *name, const char *script)
{
    char path[160], command[2000];
    snprintf(path, sizeof path, "%s/context/%s", dir, name);
    snprintf(command, sizeof command,
             "python3 - '%s' <<'E'\nimport sys, tarfile, io\nt = tarfile.open(sys.argv[1], 'w')\n"
             "def add(name, link='', kind=None):\n"
             " e = tarfile.TarInfo(name)\n e.linkname = link\n e.mode = 0o755\n"
             " e.type = kind or (tarfile.SYMTYPE if link else tarfile.REGTYPE)\n"
             " e.size = 1 if e.type == tarfile.REGTYPE else 0\n"
             " t.addfile(e, io.BytesIO(b'x'))\n%s\nt.close()\nE",
             path, script);
    cr_assert_eq(system(command), 0);
}

Test(evaluate_add, keeps_what_links_lead_to_below_the_destination)
{
    static const struct {
        const char *script, *found;
    } tars[] = {
        { "add('s', '..'); add('s/f')", "/d/f" },
        { "add('etc/x'); add('s', '/etc'); add('s/f')", "/d/etc/f" },
        { "add('a/b/x'); add('a/b/s', '../../a'); add('a/b/s/f')", "/d/a/f" },
        { "add('d/f'); add('s', '/d'); add('g', 's/f', tarfile.LNKTYPE)", "/d/g" },
        { "add('s', '/etc'); add('s', kind=tarfile.DIRTYPE); add('s/f')", "/d/s/f" },
        { "add('bin/x'); add('to-bin/f')", "/d/bin/f" },
    };
    for (size_t i = 0; i < sizeof tars / sizeof *tars; i++) {
        make_tar("t.tar", tars[i].script);
        make_tar("base.tar", "add('to-bin', '/bin')");
        open_stage("FROM base\nADD base.tar t.tar /d/\n", OPTIONS(0));
        cr_expect_str_eq(content(tars[i].found), "0:0 x", "%s", tars[i].script);
        sfs_stage_close(&stage);
    }
}

Test(evaluate_add, refuses_what_lies_behind_a_link_to_nothing)
{
    make_tar("t.tar", "add('s', '/nothing'); add('s/f')");
    cr_expect_eq(try_open("FROM base\nADD t.tar /d/\n", OPTIONS(0)), -EBADMSG);
    make_tar("t.tar", "add('a', 'b'); add('b', 'a'); add('a/f')");
    cr_expect_eq(try_open("FROM base\nADD t.tar /d/\n", OPTIONS(0)), -EBADMSG);
}

/* Writes a tar of bytes that no writer would make, and ADDs it. */
static int add_bytes(struct sfs_buf *tar, const char *end, size_t end_size)
{
    char path[160];
    cr_assert_eq(sfs_buf_add(tar, end, end_size), 0);
    snprintf(path, sizeof path, "%s/context/t.tar", dir);
    FILE *file = fopen(path, "we");
    cr_assert(file && fwrite(tar->data, 1, tar->size, file) == tar->size);
    fclose(file);
    sfs_buf_close(tar);
    return try_open("FROM base\nADD t.tar /d/\n", OPTIONS(0));
}

/* As of layers: what lies there is what docker and tar make of it. */
Test(evaluate_add, judges_headers_as_those_of_layers)
{
    static const char zeros[1024];
    struct sfs_buf tar = { 0 };
    struct tar_header link = tar_bytes_header("l", '2', 512); /* a link has no bytes */
    tar_bytes_text(link.link, sizeof link.link, "x");
    tar_bytes_put(&tar, link, "", 0);
    tar_bytes_file(&tar, "f", "text");
    cr_assert_eq(add_bytes(&tar, zeros, sizeof zeros), 0, "%s", error.text);
    cr_expect_str_eq(content("/d/f"), "0:0 text");
    sfs_stage_close(&stage);

    tar_bytes_file(&tar, "f", "text");
    tar_bytes_add(&tar, zeros, 512);
    tar_bytes_file(&tar, "hidden", "text");
    cr_expect_eq(add_bytes(&tar, zeros, sizeof zeros), -EBADMSG);
    cr_expect_not_null(strstr(error.text, "a single block of zeros"), "%s", error.text);

    tar_bytes_file(&tar, "f", "text");
    tar_bytes_put(&tar, tar_bytes_header("ext", 'x', 15), "15 path=longer\n", 15);
    cr_expect_eq(add_bytes(&tar, zeros, sizeof zeros), -EBADMSG);
    cr_expect_not_null(strstr(error.text, "ends with an extended header"), "%s", error.text);

    struct tar_header odd = tar_bytes_header("f", '0', 0); /* not to be copied as it is */
    memcpy(odd.mtime, "yesterday", 9);
    tar_bytes_put(&tar, odd, "", 0);
    cr_expect_eq(add_bytes(&tar, zeros, sizeof zeros), -EBADMSG);
}

Test(evaluate_add, warns_of_a_tar_behind_the_end)
{
    static const char zeros[1024];
    struct sfs_buf tar = { 0 };
    tar_bytes_file(&tar, "f", "text");
    tar_bytes_add(&tar, zeros, sizeof zeros);
    tar_bytes_file(&tar, "hidden", "text");
    cr_assert_eq(add_bytes(&tar, zeros, sizeof zeros), 0, "%s", error.text);
    cr_expect_str_eq(content("/d/f"), "0:0 text");
    cr_expect_not_null(strstr(warnings.last, "stands another one"), "%s", warnings.last);
}

/* All of the stream is read, so that decompressing shows what is wrong behind the tar, too. */
Test(evaluate_add, refuses_a_compressed_tar_that_is_damaged)
{
    static const char *const damage[] = {
        "gzip -kf t.tar && printf 'crc?' | dd of=t.tar.gz bs=1 conv=notrunc "
        "seek=$(( $(stat -c %s t.tar.gz) - 8 )) && mv t.tar.gz t.tar",
        "gzip -kf t.tar && head -c -9 t.tar.gz >t.tar",
        "bzip2 -kf t.tar && head -c -9 t.tar.bz2 >t.tar",
        "xz -kf t.tar && head -c -40 t.tar.xz >t.tar",
        "zstd -qkf t.tar && head -c -5 t.tar.zst >t.tar",
    };
    for (size_t i = 0; i < sizeof damage / sizeof *damage; i++) {
        char command[400];
        make_tar("t.tar", "import os\ne = tarfile.TarInfo('r')\ne.size = 3000000\n"
                          "t.addfile(e, io.BytesIO(os.urandom(e.size)))");
        snprintf(command, sizeof command, "cd '%s/context' && { %s; } 2>/dev/null", dir, damage[i]);
        cr_assert_eq(system(command), 0, "%s", command);
        cr_expect_eq(try_open("FROM base\nADD t.tar /d/\n", OPTIONS(0)), -EBADMSG, "%s: %s",
                     damage[i], error.text);
        sfs_stage_close(&stage);
    }
}

/* A file that cannot be read may be a tar or not: to copy it as it is would be to guess. */
Test(evaluate_add, tells_that_a_file_cannot_be_read)
{
    struct sfs_builder *builder = sfs_builder_open();
    const struct sfs_builder_item item = { .inode = { .mode = S_IFREG | 0644, .size = 10240 } };
    struct sfs_layer *unreadable = NULL, *layer = NULL;
    struct sfs_tree *tree = NULL;
    cr_assert_eq(sfs_builder_add(builder, "t.tar", &item, &error), 0);
    cr_assert_eq(sfs_layer_open_built(builder, "unreadable", &unreadable, &error), 0);
    cr_assert_eq(sfs_tree_merge(&unreadable, 1, &tree, &error), 0);
    struct eval_unpack unpack = { .source = tree, .tree = tree, .destination = "/", .label = "x" };
    cr_assert_eq(sfs_tree_resolve(tree, "t.tar", 0, &unpack.node, &error), 0);
    cr_expect_eq(sfs_eval_unpack_layer(&unpack, &layer, &error), -EIO);
    cr_expect_null(layer);
    sfs_tree_close(&tree);
    sfs_layer_close(&unreadable);
    sfs_builder_close(&builder);
}

Test(evaluate_add, tells_that_an_ignore_file_cannot_be_read)
{
    char path[128];
    snprintf(path, sizeof path, "%s/context/.dockerignore", dir);
    cr_assert_eq(symlink(".dockerignore", path), 0);
    expect_error("FROM scratch\nCOPY . /\n", OPTIONS(0), ELOOP, ".dockerignore");
}

/* As many lines as the text says, with a number where it has %u; the caller frees. */
static char *repeat(const char *first, const char *line, unsigned count)
{
    struct sfs_buf text = { 0 };
    sfs_buf_add_str(&text, first);
    for (unsigned i = 0; i < count; i++) {
        const char *at = strstr(line, "%u");
        sfs_buf_printf(&text, "%.*s%u%s", (int)(at - line), line, i, at + 2);
    }
    cr_assert_eq(sfs_buf_check(&text, NULL), 0);
    return text.data;
}

/* What is compared with all others of its kind has a cap. */
Test(evaluate_error, bounds_stages_variables_and_layers)
{
    static const struct {
        const char *first, *line, *words;
        unsigned most;
    } cases[] = { { "", "FROM scratch AS s%u\n", "more than 4096 stages", 4096 },
                  { "FROM scratch\n", "ENV A%u=x\n", "more than 8192 variables", 8191 },
                  { "FROM scratch\n", "ARG A%u\n", "more than 8192 variables", 8192 },
                  { "FROM scratch\n", "WORKDIR /d%u\n", "more than 1024 layers", 1024 } };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *text = repeat(cases[i].first, cases[i].line, cases[i].most);
        open_stage(text, OPTIONS(0));
        sfs_stage_close(&stage);
        free(text);
        text = repeat(cases[i].first, cases[i].line, cases[i].most + 1);
        expect_error(text, OPTIONS(0), E2BIG, cases[i].words);
        free(text);
    }
}

/* Nobody writes to these pipes: a test that waits fails by its time. */
Test(evaluate_error, does_not_wait_for_what_a_context_holds)
{
    char path[128];
    snprintf(path, sizeof path, "%s/context/.dockerignore", dir);
    cr_assert_eq(mkfifo(path, 0600), 0);
    expect_error("FROM scratch\nCOPY . /\n", OPTIONS(0), EBADMSG, ".dockerignore is not a regular");
    cr_assert_eq(unlink(path), 0);
    cr_assert_eq(symlink("/dev/zero", path), 0);
    expect_error("FROM scratch\nCOPY . /\n", OPTIONS(0), EBADMSG, ".dockerignore is not a regular");
    snprintf(path, sizeof path, "%s/context/Pipe", dir);
    cr_assert_eq(mkfifo(path, 0600), 0);
    char context[128];
    snprintf(context, sizeof context, "%s/context", dir);
    const struct sfs_stage_spec spec = { .dockerfile = path, .context = context };
    const struct sfs_context use = { .store = store, .cache = cache };
    cr_expect_eq(sfs_stage_open(&spec, &use, &stage, &error), -EBADMSG);
    cr_expect(strstr(error.text, "Pipe is not a regular file"), "%s", error.text);
}

/* ---- config ---- */

Test(evaluate_config, prepends_the_shell_to_text)
{
    open_stage("FROM base\nSHELL [\"/bin/bash\", \"-c\"]\nCMD echo hi\n", OPTIONS(0));
    cr_expect_str_eq(field("Cmd"), "[\"/bin/bash\",\"-c\",\"echo hi\"]");
    cr_expect_str_eq(last_history(), "CMD [\"/bin/bash\" \"-c\" \"echo hi\"]");
}

Test(evaluate_config, drops_the_base_cmd_with_a_new_entrypoint)
{
    open_stage("FROM base AS one\nCMD [\"a\"]\nFROM one\nENTRYPOINT [\"b\"]\n", OPTIONS(0));
    cr_expect_str_eq(field("Cmd"), "");
    cr_expect_str_eq(field("Entrypoint"), "[\"b\"]");
}

Test(evaluate_config, keeps_a_cmd_that_stands_before_the_entrypoint)
{
    open_stage("FROM base\nCMD [\"a\"]\nENTRYPOINT [\"b\"]\n", OPTIONS(0));
    cr_expect_str_eq(field("Cmd"), "[\"a\"]");
}

Test(evaluate_config, expands_ports_and_ranges)
{
    open_stage("FROM base\nENV P=90-91\nEXPOSE 80 443/UDP 127.0.0.1:8080:81 $P\n", OPTIONS(0));
    cr_expect_str_eq(field("ExposedPorts"),
                     "{\"443/udp\":{},\"80/tcp\":{},\"81/tcp\":{},\"90/tcp\":{},\"91/tcp\":{}}");
}

Test(evaluate_config, reads_healthchecks)
{
    open_stage("FROM base\nHEALTHCHECK --interval=1m30s --timeout=500ms --retries=3 CMD true\n",
               OPTIONS(0));
    cr_expect_str_eq(field("Healthcheck"), "{\"Interval\":90000000000,\"Retries\":3,\"Test\":["
                                           "\"CMD-SHELL\",\"true\"],\"Timeout\":500000000}");
    cr_expect_str_eq(last_history(), "HEALTHCHECK {Test:[CMD-SHELL true] Interval:1m30s "
                                     "Timeout:500ms StartPeriod:0s StartInterval:0s Retries:3}");
}

Test(evaluate_config, expands_keys_of_labels_too)
{
    open_stage("FROM base\nENV K=key\nLABEL $K=value \"a b\"='$K'\n", OPTIONS(0));
    cr_expect_str_eq(field("Labels"), "{\"a b\":\"$K\",\"key\":\"value\"}");
}

Test(evaluate_config, runs_the_triggers_of_the_base_and_forgets_them)
{
    open_stage("FROM base AS one\nONBUILD ENV T=1\nFROM one\n", OPTIONS(0));
    cr_expect_not_null(strstr(field("Env"), "\"T=1\""));
    cr_expect_str_eq(field("OnBuild"), "");
}

Test(evaluate_config, keeps_triggers_for_others)
{
    open_stage("FROM base\nONBUILD RUN echo  $X\n", OPTIONS(0));
    cr_expect_str_eq(field("OnBuild"), "[\"RUN echo  $X\"]");
}

Test(evaluate_config, replaces_bytes_that_are_no_text)
{
    open_stage("FROM base\nLABEL a=\"b\xff\"\n", OPTIONS(0));
    cr_expect_str_eq(field("Labels"), "{\"a\":\"b\xef\xbf\xbd\"}");
}

Test(evaluate_config, keeps_a_nul_of_the_json_form)
{
    open_stage("FROM base\nCMD [\"a\\u0000b\"]\nVOLUME [\"/v\\u0000\"]\n", OPTIONS(0));
    const json_t *settings = json_object_get(sfs_stage_config(stage), "config");
    AUTO(sfs_free) char *cmd = sfs_json_print(json_object_get(settings, "Cmd"), JSON_COMPACT);
    AUTO(sfs_free)
    char *volumes = sfs_json_print(json_object_get(settings, "Volumes"), JSON_COMPACT);
    cr_expect_str_eq(cmd, "[\"a\\u0000b\"]");
    cr_expect_str_eq(volumes, "{\"/v\\u0000\":{}}");
}

Test(evaluate_config, sets_a_variable_that_the_base_names_twice)
{
    open_stage("FROM base AS b\nENV A=1 B=2\nFROM b\nENV A=3\n", OPTIONS(0));
    cr_expect_not_null(strstr(field("Env"), "\"A=3\",\"B=2\"]"), "%s", field("Env"));
}

/* ---- failures ---- */

static const struct {
    const char *text;
    int code;
    const char *words;
} failures[] = {
    { "FROM base\nCPOY a b\n", EINVAL,
      "Dockerfile:2: CPOY: unknown instruction: CPOY (did you mean COPY?)" },
    { "FROM base\n\n# x\nCOPY a \\\n b \\\n", EINVAL, "" },
    { "FROM base\nENV A=\"b\n", EINVAL, "Dockerfile:2: ENV: unexpected end of statement" },
    { "FROM base\nCOPY <<EOT /x\nhello\n", EINVAL, "Dockerfile:2: unterminated heredoc" },
    { "FROM base\nCOPY nothing /x\n", ENOENT, "Dockerfile:2: COPY: \"/nothing\": not found" },
    { "FROM base\nCOPY --form=x a b\n", EINVAL, "unknown flag: --form (did you mean from?)" },
    { "FROM base\nCOPY --link=perhaps a b\n", EINVAL, "expecting boolean value for flag --link" },
    { "FROM base\nCOPY --chown=1 --chown=2 a b\n", EINVAL, "duplicate flag specified: --chown" },
    { "FROM base\nCOPY --chown a b\n", EINVAL, "missing a value on flag: --chown" },
    { "FROM base\nCOPY [\"a\\u0000b\", \"/x\"]\n", EINVAL, "COPY: a path holds a NUL" },
    { "FROM base\nCOPY a\n", EINVAL, "COPY requires at least two arguments" },
    { "FROM base\nCOPY --from=$X a b\n", EINVAL, "variable expansion is not supported for --from" },
    { "FROM base\nWORKDIR\n", EINVAL, "WORKDIR requires exactly one argument" },
    { "FROM base\nENV =b\n", EINVAL, "ENV names can not be blank" },
    { "FROM base\nHEALTHCHECK NEVER x\n", EINVAL,
      "Unknown type \"NEVER\" in HEALTHCHECK (try CMD)" },
    { "FROM base\nHEALTHCHECK --interval=1us CMD x\n", EINVAL, "cannot be less than 1ms" },
    { "FROM base\nHEALTHCHECK --retries=-1 CMD x\n", EINVAL, "--retries cannot be negative (-1)" },
    { "FROM base\nSTOPSIGNAL SIGNOTHING\n", EINVAL, "invalid signal: SIGNOTHING" },
    { "FROM base\nEXPOSE 70000\n", EINVAL, "invalid containerPort: 70000" },
    { "FROM base\nEXPOSE 80/http\n", EINVAL, "invalid proto: http" },
    { "FROM base\nSHELL sh -c\n", EINVAL, "SHELL requires the arguments to be in JSON form" },
    { "FROM base\nONBUILD FROM x\n", EINVAL, "FROM isn't allowed as an ONBUILD trigger" },
    { "FROM base\nVOLUME [\"\"]\n", EINVAL, "VOLUME specified can not be an empty string" },
    { "FROM base AS 1st\n", EINVAL, "invalid name for build stage" },
    { "FROM base as\n", EINVAL, "FROM requires either one or three arguments" },
    { "FROM $NONE\n", EINVAL, "base name ($NONE) should not be blank" },
    { "COPY a b\n", EINVAL, "Dockerfile:1: COPY: no build stage in current context" },
    { "FROM debian:12\n", ENOENT, "--build-context debian:12=oci:DIR:TAG" },
    { "FROM base\nCOPY --from=buidl a b\n", ENOENT,
      "\"buidl\" is neither a stage nor a build context" },
    { "FROM base\nCOPY --from=7 a b\n", EINVAL, "invalid stage index 7" },
    { "FROM base AS one\nCOPY --from=two a b\nFROM one AS two\n", EINVAL, "circular dependency" },
    { "FROM base AS one\nCOPY --from=one a b\n", EINVAL,
      "circular dependency detected on stage: one" },
    { "FROM base AS one\nCOPY --from=two a b\nFROM base AS two\nFROM one\n", EINVAL,
      "needs to be defined before" },
    { "FROM base\nADD http://example.com/x /x\n", ENOTSUP,
      "sources of the network are not fetched" },
    { "FROM base\nCOPY https://example.com/x /x\n", EINVAL, "source can't be a URL for COPY" },
    { "FROM base\nRUN --mount=from=$X,target=/x true\nFROM base\n", EINVAL,
      "Dockerfile:2: RUN: --mount=from=$X,target=/x: 'from' doesn't support variable" },
    { "FROM base\nRUN true\n", ENOTSUP, "Dockerfile:2: RUN: commands are not run here" },
};

Test(evaluate_error, tells_file_and_line_and_what_is_wrong)
{
    for (size_t i = 0; i < sizeof failures / sizeof *failures; i++) {
        if (!*failures[i].words)
            continue;
        int r = try_open(failures[i].text, OPTIONS(0));
        cr_expect_eq(r, -failures[i].code, "%s\n%d: %s", failures[i].text, r, error.text);
        cr_expect_not_null(strstr(error.text, failures[i].words), "%s\n\"%s\" lacks \"%s\"",
                           failures[i].text, error.text, failures[i].words);
    }
}

Test(evaluate_error, names_the_ignore_file_that_is_wrong)
{
    write_file("context/.dockerignore", "a\n!\n");
    expect_error("FROM base\nCOPY a /\n", OPTIONS(0), EINVAL,
                 "context/.dockerignore: illegal exclusion pattern: \"!\"");
}

Test(evaluate_error, suggests_a_target)
{
    expect_error("FROM base AS runtime\n", OPTIONS(.target = "runtme"), EINVAL,
                 "target stage \"runtme\" could not be found (did you mean runtime?)");
}

Test(evaluate_error, is_what_strict_makes_of_an_unknown_user)
{
    expect_error("FROM base\nCOPY --chown=nobody a /a\n", OPTIONS(.strict = true), EINVAL,
                 "Dockerfile:2: COPY: --chown=nobody");
}

Test(evaluate_error, is_a_warning_without_strict)
{
    open_stage("FROM base\nCOPY --chown=nobody a /a\nCOPY *.none /x/\n", OPTIONS(0));
    cr_expect_str_eq(content("/a"), "0:0 A");
    cr_expect_eq(warnings.count, 2);
}

Test(evaluate_error, survives_any_byte_cut_off_or_changed)
{
    static const char whole[] = "ARG A=b\nFROM other AS x\nFROM base\nENV A=\"b\" C=${A:-d}\n"
                                "COPY --chown=1:2 --from=x <<E /opt /d/\nt $A\nE\nEXPOSE 80-81\n"
                                "HEALTHCHECK --interval=1s CMD [\"a\"]\nADD --chmod=u+x a /q\n";
    for (size_t i = 0; i < sizeof whole - 1; i++) {
        char text[sizeof whole];
        memcpy(text, whole, sizeof whole);
        text[i] = 0;
        if (*text && try_open(text, OPTIONS(0)) == 0)
            sfs_stage_close(&stage);
        memcpy(text, whole, sizeof whole);
        text[i] ^= 0x15;
        if (try_open(text, OPTIONS(0)) == 0)
            sfs_stage_close(&stage);
        cr_assert_null(stage);
    }
}
