/* What RUN asks of the runner, which is a stand-in here, and what becomes of its answer. */
#include "image/document.h"
#include "dockerfile/run_mount.h"
#include "support.h"
#include <criterion/criterion.h>
#include <errno.h>
#include <stagefs/run.h>
#include <stagefs/stage.h>
#include <sys/stat.h>

static char dir[64], said[2048], upper[128];
static int status;
static unsigned discarded;
static struct sfs_store *store;
static struct sfs_error error;
static struct sfs_stage *stage;

static int pretend(const struct sfs_run_request *request, struct sfs_run_result *ret_result,
                   struct sfs_error *err)
{
    FILE *out = fmemopen(said, sizeof said, "w");
    (void)err;
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
}

static void tear_down(void)
{
    char command[128];
    sfs_stage_close(&stage);
    sfs_store_close(&store);
    snprintf(command, sizeof command, "rm -rf '%s'", dir);
    cr_assert_eq(system(command), 0);
}

TestSuite(run_request, .init = set_up, .fini = tear_down);
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
                                         .secret_count = 1 };
    const struct sfs_context opened = {
        .store = store, .platform = "linux/amd64", .epoch = 1, .runner = &runner
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

Test(run_result, becomes_a_layer_that_lives_with_the_stage)
{
    cr_assert_eq(open_stage("ARG A=1\nRUN x\n"), 0, "%s", error.text);
    sfs_node node;
    cr_expect_eq(sfs_tree_resolve(sfs_stage_tree(stage), "/made", 0, &node, NULL), 0);
    cr_expect_str_eq(sfs_stage_created_by(stage), "RUN |1 A=1 /bin/sh -c x # buildkit");
    cr_expect_eq(discarded, 0);
    sfs_stage_close(&stage);
    cr_expect_eq(discarded, 1);
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
