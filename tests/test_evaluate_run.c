/* What RUN asks of the runner, which is a stand-in here, and what becomes of its answer. */
#include "tree/tree_inner.h"
#include "image/document.h"
#include "dockerfile/run_mount.h"
#include "support.h"
#include <criterion/criterion.h>
#include <errno.h>
#include <stagefs/cache.h>
#include <stagefs/run.h>
#include <stagefs/stage.h>
#include <sys/stat.h>

static char dir[64], said[2048], upper[128];
static int status;
static unsigned ran, discarded;
static bool looks_only, wants_anew;
static struct sfs_store *store;
static struct sfs_cache *cache;
static struct sfs_error error;
static struct sfs_stage *stage;

static int pretend(const struct sfs_run_request *request, struct sfs_run_result *ret_result,
                   struct sfs_error *err)
{
    FILE *out = fmemopen(said, sizeof said, "w");
    (void)err;
    ran++;
    fprintf(out, "%u:%u", request->uid, request->gid);
    for (size_t i = 0; i < request->group_count; i++)
        fprintf(out, "%c%u", i > 0 ? '+' : '/', request->groups[i]);
    fprintf(out, " %s", request->cwd);
    for (const char *const *arg = request->args; *arg; arg++)
        fprintf(out, " [%s]", *arg);
    for (const char *const *env = request->env; *env; env++)
        fprintf(out, " %s", *env);
    for (size_t i = 0; i < request->mount_count; i++)
        fprintf(out, " %d:%s:%s%s", (int)request->mounts[i].kind, request->mounts[i].target,
                request->mounts[i].kind == SFS_RUN_TEXT ? (const char *)request->mounts[i].data
                : request->mounts[i].source             ? "-"
                                                        : "",
                request->mounts[i].read_only ? ":ro" : "");
    fprintf(out, "%s", request->no_network ? " no network" : "");
    fclose(out);
    *ret_result = (struct sfs_run_result){ .status = status,
                                           .space = (struct sfs_run_space *)said,
                                           .upper = upper };
    return 0;
}

static void discard(struct sfs_run_space **space)
{
    discarded += *space != NULL;
    *space = NULL;
}

static const struct sfs_runner runner = { pretend, discard };

static void set_up(void)
{
    char command[400];
    snprintf(dir, sizeof dir, "/tmp/stagefs-test-run-XXXXXX");
    cr_assert(mkdtemp(dir));
    snprintf(upper, sizeof upper, "%s/upper", dir);
    snprintf(command, sizeof command,
             "cd '%s' && mkdir -p base/etc base/bin upper && touch base/bin/sh && "
             "printf 'app:x:1000:1001::/home/app:/bin/sh\\n' >base/etc/passwd && "
             "printf '1001:x:5:5::/:/bin/sh\\n' >>base/etc/passwd && "
             "printf 'more:x:7:app\\n1001:x:8:\\nown:x:1001:app\\n' >base/etc/group && echo made "
             ">upper/made && echo s >secret",
             dir);
    cr_assert_eq(system(command), 0);
    snprintf(command, sizeof command, "%s/store", dir);
    cr_assert_eq(sfs_store_open(command, &store, &error), 0);
    cr_assert_eq(sfs_cache_open(0, 1, &cache, &error), 0);
}

static void tear_down(void)
{
    char command[128];
    sfs_stage_close(&stage);
    sfs_cache_close(&cache);
    sfs_store_close(&store);
    snprintf(command, sizeof command, "rm -rf '%s'", dir);
    cr_assert_eq(system(command), 0);
}

static void shell(const char *command)
{
    char text[600];
    snprintf(text, sizeof text, "cd '%s' && %s", dir, command);
    cr_assert_eq(system(text), 0, "%s", command);
}

TestSuite(run_request, .init = set_up, .fini = tear_down);
TestSuite(run_kept, .init = set_up, .fini = tear_down);
TestSuite(run_result, .init = set_up, .fini = tear_down);

static int open_stage(const char *instructions)
{
    char path[128], base[128], secret[160];
    sfs_stage_close(&stage);
    snprintf(path, sizeof path, "%s/Dockerfile", dir);
    snprintf(base, sizeof base, "dir:%s/base", dir);
    snprintf(secret, sizeof secret, "id=s,src=%s/secret", dir);
    const char *secrets[] = { secret };
    FILE *file = fopen(path, "we");
    cr_assert(file);
    fprintf(file, "FROM base\n%s", instructions);
    fclose(file);
    const struct sfs_stage_pair context = { "base", base };
    const struct sfs_stage_spec spec = { .dockerfile = path,
                                         .context = dir,
                                         .build_contexts = &context,
                                         .build_context_count = 1,
                                         .secrets = secrets,
                                         .secret_count = 1,
                                         .allow_run = !looks_only,
                                         .no_cache = wants_anew };
    const struct sfs_context opened = {
        .store = store, .cache = cache, .platform = "linux/amd64", .epoch = 1, .runner = &runner
    };
    return sfs_stage_open(&spec, &opened, &stage, &error);
}

static void expect_said(const char *instructions, const char *words)
{
    int r = open_stage(instructions);
    cr_assert_eq(r, 0, "%s", error.text);
    cr_expect_not_null(strstr(said, words), "\"%s\" lacks \"%s\"", said, words);
}

Test(run_request, has_the_shell_the_user_and_the_workdir)
{
    expect_said("SHELL [\"/bin/sh\", \"-e\"]\nUSER app\nWORKDIR /w\nRUN echo $HOME \\\n  x\n",
                "1000:1001/1001+7 /w [/bin/sh] [-e] [echo $HOME   x]");
}

Test(run_request, has_the_primary_group_among_the_others)
{
    expect_said("RUN x\n", "0:0/0 /");
    expect_said("USER 1234\nRUN x\n", "1234:0/0 /");
    expect_said("USER 1234:77\nRUN x\n", "1234:77/77 /");
    expect_said("USER app:more\nRUN x\n", "1000:7/7 /");
    expect_said("USER 1000\nRUN x\n", "1000:1001/1001+7 /");
}

Test(run_request, takes_a_number_for_no_name)
{
    expect_said("USER 1001:1001\nRUN x\n", "1001:1001/1001 /");
    expect_said("USER root:root\nRUN x\n", "0:0/0 /");
}

Test(run_request, does_without_an_agent_unless_it_is_required)
{
    expect_said("RUN --mount=type=ssh x\n", "0:0/0 / [/bin/sh] [-c] [x]");
    cr_expect_eq(open_stage("RUN --mount=type=ssh,required x\n"), -ENOTSUP);
    cr_expect_not_null(strstr(error.text, "type=ssh is required"), "%s", error.text);
}

Test(run_request, has_args_and_env_and_a_home)
{
    expect_said("USER app\nARG A=1\nENV B=2\nRUN x\n", " A=1 B=2 HOME=/home/app");
}

Test(run_request, takes_json_as_it_is)
{
    expect_said("RUN [\"/bin/sh\", \"$A b\"]\n", " [/bin/sh] [$A b]");
}

Test(run_request, makes_a_script_of_a_heredoc)
{
    expect_said("RUN <<E\na $B\nb\nE\n", " [/bin/sh] [-c] [a $B\nb\n]");
}

Test(run_request, leaves_other_heredocs_to_the_shell)
{
    expect_said("RUN cat <<E >x\na\nE\n", " [-c] [cat <<E >x\na\nE]");
}

Test(run_request, makes_a_file_of_a_heredoc_with_an_interpreter)
{
    expect_said("RUN <<E\n#!/bin/sh\nE\n", "[/dev/pipes/E]");
    cr_expect_not_null(strstr(said, "3:/dev/pipes/E:#!/bin/sh\n:ro"), "%s", said);
}

Test(run_request, has_mounts_with_variables)
{
    expect_said("ENV T=/there\nWORKDIR /w\nRUN --mount=type=tmpfs,target=$T --mount=target=in "
                "--mount=type=secret,id=s x\n",
                " 2:/there: 0:/w/in:-:ro 3:/run/secrets/s:s\n:ro");
}

Test(run_request, has_secrets_in_the_environment)
{
    expect_said("RUN --mount=type=secret,id=s,env=KEY x\n", " KEY=s\n");
    expect_said("RUN --mount=type=secret,id=s,env= x\n", " s=s\n");
}

Test(run_request, can_do_without_a_network)
{
    expect_said("RUN --network=none x\n", " no network");
}

static bool shows(const char *path)
{
    sfs_node node;
    return sfs_tree_resolve(sfs_stage_tree(stage), path, 0, &node, NULL) == 0;
}

Test(run_result, becomes_a_layer)
{
    cr_assert_eq(open_stage("ARG A=1\nRUN x\n"), 0, "%s", error.text);
    cr_expect(shows("/made"));
    cr_expect_str_eq(sfs_stage_created_by(stage), "RUN |1 A=1 /bin/sh -c x # buildkit");
    cr_expect_eq(discarded, 1, "what is kept needs no space of its own");
}

Test(run_result, lives_with_the_stage_if_it_cannot_be_kept)
{
    shell("touch upper/.wh.x");
    cr_assert_eq(open_stage("RUN x\nRUN y\n"), 0, "%s", error.text);
    cr_expect(shows("/made"));
    cr_expect_eq(discarded, 0);
    sfs_stage_close(&stage);
    cr_expect_eq(discarded, 2);
    looks_only = true;
    cr_expect_eq(open_stage("RUN x\nRUN y\n"), -EPERM);
}

Test(run_result, is_dropped_if_the_command_fails)
{
    status = 3;
    cr_expect_eq(open_stage("\nRUN x\n"), -EIO);
    cr_expect_not_null(
        strstr(error.text, "Dockerfile:3: RUN: \"/bin/sh -c x\" ended with status 3"), "%s",
        error.text);
    cr_expect_eq(discarded, 1);
}

static const struct {
    const char *flag, *words;
} wrong[] = {
    { "type=tmp,target=/x", "unsupported mount type \"tmp\" (did you mean tmpfs?)" },
    { "type=bnd,target=/x", "unsupported mount type \"bnd\" (did you mean bind?)" },
    { "type=bind,target=/x,size=1", "unexpected key 'size' for mount type 'bind'" },
    { "type=bind,target=/x,mode=0755", "mode not allowed for \"bind\" type mounts" },
    { "tpye=bind", "unexpected key 'tpye' in 'tpye=bind' (did you mean type?)" },
    { "type=cache,target=/x,sharing=sometimes", "unsupported sharing value" },
    { "type=tmpfs,target=/x,sharing=locked", "invalid cache sharing set for tmpfs mount" },
    { "type=secret", "invalid secret mount" },
    { "from=$X,target=/x", "'from' doesn't support variable expansion" },
    { "target", "must be a key=value pair" },
    { "\"target=/x", "a quote is not closed" },
};

Test(run_mount, tells_what_is_wrong)
{
    static const struct sfs_vars none;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct mount_options options;
        int r = sfs_mount_options_parse(wrong[i].flag, '\\', &none, &options, &error);
        cr_expect_eq(r, -EINVAL, "%s", wrong[i].flag);
        cr_expect_not_null(strstr(error.text, wrong[i].words), "\"%s\" lacks \"%s\"", error.text,
                           wrong[i].words);
    }
}

Test(run_mount, reads_quoted_fields_and_sizes)
{
    static const struct sfs_vars none;
    struct mount_options options;
    cr_assert_eq(sfs_mount_options_parse("type=tmpfs,\"target=/a,b\",size=2m", '\\', &none,
                                         &options, &error),
                 0, "%s", error.text);
    cr_expect_str_eq(options.target, "/a,b");
    cr_expect_eq(options.size, 2u << 20);
    cr_expect_not(options.read_only);
    sfs_mount_options_close(&options);
}

/* ---- what is kept ---- */

/* How often commands run when a stage is opened. */
static unsigned count_runs(const char *instructions)
{
    unsigned before = ran;
    sfs_stage_close(&stage);
    int r = open_stage(instructions);
    cr_assert_eq(r, 0, "%s: %s", instructions, error.text);
    cr_expect(shows("/made"));
    return ran - before;
}

Test(run_kept, runs_once_for_all_who_build_or_look)
{
    cr_expect_eq(count_runs("RUN x\nRUN y\n"), 2);
    cr_expect_eq(count_runs("RUN x\nRUN y\n"), 0);
    looks_only = true;
    cr_expect_eq(count_runs("RUN x\nRUN y\n"), 0);
    cr_expect_str_eq(sfs_stage_created_by(stage), "RUN /bin/sh -c x # buildkit; RUN /bin/sh -c y "
                                                  "# buildkit");
}

Test(run_kept, is_not_run_by_who_only_looks)
{
    looks_only = true;
    cr_expect_eq(open_stage("\nRUN x\n"), -EPERM);
    cr_expect_not_null(strstr(error.text,
                              "Dockerfile:3: RUN: no result of it is kept, and what "
                              "only looks at a stage executes nothing: add --allow-run"),
                       "%s", error.text);
    cr_expect_eq(ran, 0);
}

Test(run_kept, is_run_anew_where_that_is_asked_for)
{
    cr_expect_eq(count_runs("RUN x\n"), 1);
    wants_anew = true;
    cr_expect_eq(count_runs("RUN x\n"), 1);
    looks_only = true;
    cr_expect_eq(open_stage("RUN x\n"), -EPERM);
}

Test(run_kept, depends_on_all_that_goes_in)
{
    static const char *const stages[] = {
        "RUN x\n",
        "RUN y\n",
        "RUN [\"/bin/sh\", \"x\"]\n",
        "ENV A=1\nRUN x\n",
        "ARG A=2\nRUN x\n",
        "USER app\nRUN x\n",
        "USER app:7\nRUN x\n",
        "WORKDIR /bin\nRUN x\n",
        "COPY secret /\nRUN x\n",
        "RUN --network=none x\n",
        "RUN --mount=type=tmpfs,target=/t x\n",
        "RUN --mount=type=tmpfs,target=/u x\n",
        "RUN --mount=source=secret,target=/t x\n",
        "RUN --mount=type=cache,target=/t x\n",
        "RUN --mount=type=secret,id=s x\n",
        "RUN --mount=type=secret,id=s,env=T x\n",
        "RUN <<E\n#!/bin/sh\nx\nE\n",
        "RUN <<E\n#!/bin/sh\ny\nE\n",
    };
    const size_t count = sizeof stages / sizeof *stages;
    for (size_t i = 0; i < count; i++)
        cr_expect_eq(count_runs(stages[i]), 1, "%s", stages[i]);
    for (size_t i = 0; i < count; i++)
        cr_expect_eq(count_runs(stages[i]), 0, "%s", stages[i]);
}

Test(run_kept, depends_on_contents)
{
    static const char *const stages[] = { "RUN x\n", "RUN --mount=source=data,target=/t x\n",
                                          "COPY data /\nRUN x\n" };
    static const char *const changes[] = {
        "echo changed >base/etc/group",
        "touch -r data/f t && echo two >data/f && touch -r t data/f", "chmod 600 data/f"
    };
    shell("mkdir data && echo one >data/f");
    for (size_t i = 0; i < sizeof stages / sizeof *stages; i++) {
        cr_expect_eq(count_runs(stages[i]), 1);
        cr_expect_eq(count_runs(stages[i]), 0);
        shell(changes[i]);
        cr_expect_eq(count_runs(stages[i]), 1, "%s: a result from before %s", stages[i],
                     changes[i]);
    }
}

Test(run_kept, depends_on_no_secret_and_no_cache)
{
    static const char secret[] = "RUN --mount=type=secret,id=s,env=T --mount=type=secret,id=s x\n";
    cr_expect_eq(count_runs(secret), 1);
    shell("echo another >secret");
    cr_expect_eq(count_runs(secret), 0);
    shell("! grep -r another store");
}

Test(run_kept, is_run_anew_if_what_is_kept_is_damaged)
{
    cr_expect_eq(count_runs("RUN x\n"), 1);
    shell("for f in store/result/*; do printf damaged | dd of=$f bs=1 seek=600 conv=notrunc 2>dd; "
          "done");
    cr_expect_eq(count_runs("RUN x\n"), 1);
    cr_expect_eq(count_runs("RUN x\n"), 0);
    shell("for f in store/result/*; do truncate -s -1 $f; done");
    looks_only = true;
    cr_expect_eq(open_stage("RUN x\n"), -EPERM);
}

static int add_line(void *user, const char *path, sfs_node node)
{
    const struct sfs_tree *tree = sfs_stage_tree(stage);
    struct sfs_attr attr;
    char text[64] = "";
    uint64_t hole = 0;
    sfs_tree_attr(tree, node, &attr);
    if (S_ISREG(attr.mode) && sfs_tree_read(tree, node, text, sizeof text - 1, 0, &error) < 0)
        snprintf(text, sizeof text, "unreadable");
    if (S_ISREG(attr.mode) && sfs_tree_seek(tree, node, 0, true, &hole) < 0)
        hole = 0;
    fprintf(user, "%s %o %u:%u %llu %lld.%u %u %u,%u %s %u '%s' %llu\n", path, attr.mode, attr.uid,
            attr.gid, S_ISDIR(attr.mode) ? 0ull : (unsigned long long)attr.size,
            (long long)attr.mtime_sec, attr.mtime_nsec, attr.nlink, attr.rdev_major,
            attr.rdev_minor, sfs_tree_target(tree, node), sfs_tree_xattr_count(tree, node), text,
            (unsigned long long)hole);
    return 0;
}

static void list_stage(char *text, size_t size)
{
    FILE *out = fmemopen(text, size, "w");
    cr_assert_eq(sfs_tree_walk(sfs_stage_tree(stage), SFS_ROOT, add_line, out, &error), 0);
    fclose(out);
}

/* Shown from the directory that the command wrote, and from what is kept of that. */
Test(run_kept, is_the_same_as_what_was_written)
{
    static char written[16384], kept[16384];
    if (geteuid() != 0)
        cr_skip_test("takes root");
    shell("cd upper && mkdir -m 1777 -p d/e etc && ln -s ../x d/link && ln made d/hard && "
          "mknod d/dev c 5 7 && mkfifo d/fifo && mknod bin c 0 0 && chown 70000:3000000 d/e && "
          "printf a >\"$(printf 'd/\\377\\303\\244')\" && truncate -s 1M d/hole && "
          "printf x >d/part && truncate -s 300000 d/part && touch -d @-5.25 d/old && "
          "touch -d @-0.25 d/older && truncate -s 2M d/runs && printf y | dd of=d/runs bs=1 "
          "seek=1M conv=notrunc 2>/dev/null && "
          "chmod 4755 made && setfattr -n user.a -v b made 2>/dev/null; touch -d @77.5 .");
    shell("touch upper/.wh.y");
    cr_assert_eq(open_stage("RUN x\n"), 0, "%s", error.text);
    cr_assert_eq(discarded, 0);
    sfs_stage_close(&stage);
    shell("rm upper/.wh.y && touch -d @77.5 upper");
    cr_assert_eq(open_stage("RUN x\n"), 0, "%s", error.text);
    cr_assert_eq(discarded, 2);
    list_stage(kept, sizeof kept);
    shell("touch upper/.wh.z && touch -d @77.5 upper");
    wants_anew = true;
    sfs_stage_close(&stage);
    cr_assert_eq(open_stage("RUN x\n"), 0, "%s", error.text);
    list_stage(written, sizeof written);
    char *mark = strstr(written, ".wh.z");
    cr_assert(mark);
    memmove(mark, strchr(mark, '\n') + 1, strlen(strchr(mark, '\n') + 1) + 1);
    cr_expect_str_eq(kept, written);
    cr_expect_not(shows("/bin/sh"));
}
