/* RUN: what the instruction says becomes a request to the runner, and what the runner's overlay
 * keeps of the command becomes a layer. */
#include "stage/evaluate_run.h"

#include "image/document.h"
#include "layer/store.h"
#include "stage/run_kept.h"
#include "base/path.h"
#include <stagefs/format.h>
#include <errno.h>
#include <stagefs/run.h>

static void run_job_done(struct run_job *job)
{
    json_decref(job->args);
    free(job->argv);
    sfs_vars_close(&job->env);
    free(job->mounts);
    for (size_t i = 0; i < job->option_count; i++)
        sfs_mount_options_close(&job->options[i]);
    free(job->options);
    for (size_t i = 0; i < job->lock_count; i++)
        close(job->locks[i]);
    free(job->locks);
}

/* ---- the command ---- */

/* Reads the instruction's heredocs: one that is the whole command is a script; others are left to
 * the shell. */
static int read_heredocs(struct run_job *job, const char **ret_text)
{
    const struct sfs_instruction *instruction = job->instruction;
    struct sfs_heredoc first;
    int r = sfs_heredoc_parse(instruction->args.items[0], &first, job->eval->err);
    if (r < 0)
        return r;
    if (r == 1) {
        sfs_heredoc_close(&first);
        return sfs_eval_heredoc(job->eval, job->stage, &instruction->heredocs[0], false, ret_text);
    }
    AUTO(sfs_buf_close) struct sfs_buf text = { 0 };
    sfs_eval_add_heredocs(instruction, instruction->args.items[0], &text);
    return sfs_eval_keep(job->eval, text.failed ? NULL : TAKE(text.data), ret_text);
}

/* Makes the script of a heredoc that begins with "#!" a file, and that file the command. */
static int take_script(struct run_job *job, const char *text)
{
    const char *name = job->instruction->heredocs[0].name;
    char *path = NULL;
    path = sfs_format("/dev/pipes/%s", name);
    int r = sfs_eval_keep(job->eval, path, &job->script.target);
    if (r < 0)
        return r;
    job->script.kind = SFS_RUN_TEXT;
    job->script.data = text;
    job->script.size = strlen(text);
    job->script.mode = 0755;
    job->script.read_only = true;
    job->args = json_pack("[s]", job->script.target);
    return job->args ? 0 : sfs_fail_memory(job->eval->err);
}

static int read_command(struct run_job *job)
{
    const char *text = NULL;
    int r = job->instruction->heredoc_count > 0 ? read_heredocs(job, &text) : 0;
    if (r < 0)
        return r;
    struct sfs_heredoc first;
    bool alone = text && sfs_heredoc_parse(job->instruction->args.items[0], &first, NULL) == 1;
    if (alone)
        sfs_heredoc_close(&first);
    r = alone && strncmp(text, "#!", 2) == 0
            ? take_script(job, text)
            : sfs_eval_command(job->eval, job->stage, job->instruction, text, &job->args);
    if (r < 0)
        return r;
    job->argv = calloc(json_array_size(job->args) + 1, sizeof *job->argv);
    if (!job->argv)
        return sfs_fail_memory(job->eval->err);
    for (size_t i = 0; i < json_array_size(job->args); i++)
        job->argv[i] = json_string_value(json_array_get(job->args, i));
    return job->argv[0] ? 0 : sfs_fail(job->eval->err, EINVAL, "there is no command");
}

/* ---- its environment ---- */

static int add_proxies(struct run_job *job)
{
    static const char *const names[] = { "HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY",
                                         "ALL_PROXY" };
    const struct sfs_vars *given = &job->eval->build_args;
    for (size_t i = 0; i < given->count; i++) {
        const char *item = given->items[i];
        size_t size = strcspn(item, "=");
        for (size_t k = 0; k < sizeof names / sizeof *names; k++) {
            if (strlen(names[k]) != size || strncasecmp(item, names[k], size) != 0)
                continue;
            char lower[16] = "";
            for (size_t c = 0; c < size; c++)
                lower[c] = (char)(names[k][c] == '_' ? '_' : names[k][c] + ('a' - 'A'));
            if (sfs_vars_set(&job->env, names[k], item + size + 1) < 0 ||
                sfs_vars_set(&job->env, lower, item + size + 1) < 0)
                return sfs_fail_memory(job->eval->err);
        }
    }
    return 0;
}

static int make_env(struct run_job *job)
{
    if (sfs_vars_copy(&job->stage->env, &job->env) < 0)
        return sfs_fail_memory(job->eval->err);
    int r = add_proxies(job);
    if (r == 0 && !sfs_vars_get(&job->env, "HOME", 4) &&
        sfs_vars_set(&job->env, "HOME", job->user.home) < 0)
        r = sfs_fail_memory(job->eval->err);
    return r;
}

/* Fails in words if the program does not exist, since a runtime would not name it. It may be in
 * what is mounted. */
static int find_program(struct run_job *job)
{
    if (job->mount_count > 0 ||
        sfs_run_finds(job->tree, job->argv[0], sfs_vars_get(&job->env, "PATH", 4),
                      sfs_config_workdir(job->stage->config)))
        return 0;
    return sfs_fail(job->eval->err, ENOENT,
                    "there is no %.200s in the stage's file system to run the command with",
                    job->argv[0]);
}

/* ---- doing it ---- */

/* Adds to the history, as BuildKit has it: "RUN |1 A=b /bin/sh -c ...". */
static int add_history(struct run_job *job)
{
    const struct sfs_vars *args = &job->stage->args;
    AUTO(sfs_buf_close) struct sfs_buf text = { 0 };
    sfs_buf_add_str(&text, "RUN");
    if (args->count > 0)
        sfs_buf_printf(&text, " |%zu", args->count);
    for (size_t i = 0; i < args->count; i++) {
        size_t size = strcspn(args->items[i], "=");
        const char *value = sfs_vars_get(&job->stage->env, args->items[i], size);
        sfs_buf_printf(&text, " %.*s=%s", (int)size, args->items[i],
                       value ? value : args->items[i] + size + 1);
    }
    for (size_t i = 0; job->argv[i]; i++)
        sfs_buf_printf(&text, " %s", job->argv[i]);
    int r = sfs_buf_check(&text, job->eval->err);
    if (r < 0)
        return r;
    return sfs_eval_history(job->eval, job->stage, true, "%s # buildkit", text.data);
}

static int fail_status(struct run_job *job, int status)
{
    AUTO(sfs_buf_close) struct sfs_buf text = { 0 };
    for (size_t i = 0; job->argv[i]; i++)
        sfs_buf_printf(&text, "%s%s", i ? " " : "", job->argv[i]);
    int r = sfs_buf_check(&text, job->eval->err);
    if (r < 0)
        return r;
    return sfs_fail(job->eval->err, EIO, "\"%.400s\" ended with status %d", text.data, status);
}

static int print_label(const struct run_job *job, struct sfs_buf *label)
{
    sfs_buf_printf(label, "RUN of line %u", job->instruction->line);
    return sfs_buf_check(label, job->eval->err);
}

/* Puts a kept result on top of the stage. 1: done; 0: there is none. */
static int take_kept(struct run_job *job)
{
    AUTO(sfs_buf_close) struct sfs_buf label = { 0 };
    struct sfs_layer *layer = NULL;
    if (!job->has_key)
        return 0;
    int r = print_label(job, &label);
    if (r == 0)
        r = sfs_run_kept_open(job, &job->key, label.data, &layer);
    if (r <= 0)
        return r;
    r = sfs_stage_stack_push(job->eval->stage, &job->stage->stack, &layer, job->eval->err);
    return r < 0 ? r : 1;
}

/* Puts what was written into the store. 0: it could not be kept, and the user was told. */
static int keep_layer(struct run_job *job, struct sfs_layer *layer)
{
    const struct sfs_context *context = &job->eval->stage->context;
    struct sfs_error err, told;
    if (!job->has_key)
        return 0;
    int r = sfs_run_kept_write(context->store, &job->key, layer, &err);
    if (r == 0)
        return take_kept(job);
    sfs_fail(&told, EIO, "the result of RUN in line %u is not kept: %.400s", job->instruction->line,
             err.text);
    if (context->progress && context->progress->warn)
        context->progress->warn(context->progress->user, told.text);
    return 0;
}

/* A result that cannot be kept is used as it lies in the command's space, until the stage is
 * closed. */
static int take_layer(struct run_job *job, struct sfs_run_result *result)
{
    struct sfs_stage *stage = job->eval->stage;
    AUTO(sfs_buf_close) struct sfs_buf label = { 0 };
    AUTO(sfs_layer_close) struct sfs_layer *layer = NULL;
    int r = print_label(job, &label);
    if (r == 0)
        r = sfs_layer_open_dir(result->upper, SFS_LAYER_DIR_OVERLAY, label.data, &layer,
                               job->eval->err);
    if (r == 0)
        r = keep_layer(job, layer);
    if (r != 0) {
        sfs_layer_close(&layer);
        stage->context.runner->discard(&result->space);
        return r < 0 ? r : 0;
    }
    job->stage->unkeyed = true;
    r = sfs_stage_add_space(stage, &result->space, job->eval->err);
    return r < 0 ? r : sfs_stage_stack_push(stage, &job->stage->stack, &layer, job->eval->err);
}

bool sfs_eval_run_has_network(const struct run_job *job)
{
    const char *network = sfs_flag_text(job->instruction, "network");
    const char *given = job->eval->spec->network;
    if (network && strcmp(network, "default") != 0)
        return strcmp(network, "none") != 0;
    return !given || strcmp(given, "none") != 0;
}

static int run_it(struct run_job *job)
{
    struct sfs_stage *stage = job->eval->stage;
    const struct sfs_context *context = &stage->context;
    const struct sfs_run_request request = {
        .tree = job->tree,
        .args = job->argv,
        .env = (const char *const *)job->env.items,
        .cwd = sfs_config_workdir(job->stage->config),
        .uid = job->user.uid,
        .gid = job->user.gid,
        .groups = job->user.groups,
        .group_count = job->user.group_count,
        .mounts = job->mounts,
        .mount_count = job->mount_count,
        .no_network = !sfs_eval_run_has_network(job),
        .quiet_input = true,
        .suid = job->user.uid != 0, /* such steps call sudo; root has nothing to gain */
        .runtime = getenv("STAGEFS_RUNTIME"),
        .work_dir = job->work_dir,
        .store = context->store,
        .progress = context->progress,
    };
    struct sfs_run_result result;
    int r = context->runner->run(&request, &result, job->eval->err);
    if (r < 0)
        return r;
    if (result.status == 0)
        return take_layer(job, &result);
    context->runner->discard(&result.space);
    return fail_status(job, result.status);
}

static int find_work_dir(struct run_job *job)
{
    char *path = NULL;
    int r = sfs_store_work_dir(job->eval->stage->context.store, &path, job->eval->err);
    return r < 0 ? r : sfs_eval_keep(job->eval, path, &job->work_dir);
}

/* Finds out all about the command, without making anything that only running it needs. */
static int prepare(struct run_job *job)
{
    const char *user = json_string_value(json_object_get(sfs_eval_settings(job->stage), "User"));
    struct eval *eval = job->eval;
    int r = read_command(job);
    if (r == 0)
        r = sfs_stage_stack_tree(eval->stage, &job->stage->stack, &job->tree, eval->err);
    if (r == 0)
        r = sfs_run_user_find(user ? user : "", job->tree, &job->user, eval->err);
    if (r == 0)
        r = sfs_eval_run_options(job);
    if (r < 0)
        return r;
    r = sfs_eval_run_key(job, &job->key);
    job->has_key = r > 0;
    return r < 0 ? r : 0;
}

static int check_allowed(const struct run_job *job)
{
    if (!job->eval->stage->context.runner)
        return sfs_fail(job->eval->err, ENOTSUP, "commands are not run here");
    if (job->eval->spec->allow_run)
        return 0;
    return sfs_fail(job->eval->err, EPERM,
                    "%s, and what only looks at a stage executes nothing: add --allow-run",
                    job->eval->spec->no_cache ? "a kept result is not to be used"
                    : job->has_key            ? "no result of it is kept"
                                              : "its result cannot be kept");
}

static int end_env(struct run_job *job)
{
    return sfs_vars_ended(&job->env) < 0 ? sfs_fail_memory(job->eval->err) : 0;
}

static int run_anew(struct run_job *job)
{
    static int (*const steps[])(struct run_job *) = {
        make_env, sfs_eval_run_mounts, find_program, end_env, find_work_dir, run_it,
    };
    int r = 0;
    for (size_t i = 0; r == 0 && i < sizeof steps / sizeof *steps; i++)
        r = steps[i](job);
    return r;
}

/* Runs the command with its key locked: another process that builds the same waits, and then takes
 * what this one kept. */
static int run_once(struct run_job *job)
{
    AUTO(sfs_store_unlock) struct sfs_store_lock lock = { .fd = -1 };
    char name[SFS_DIGEST_TEXT];
    struct eval *eval = job->eval;
    int r = job->has_key ? sfs_store_lock(eval->stage->context.store,
                                          sfs_digest_print(&job->key, name), &lock, eval->err)
                         : 0;
    if (r == 0 && !eval->spec->no_cache)
        r = take_kept(job);
    return r == 0 ? run_anew(job) : r;
}

int sfs_eval_run(struct eval *eval, struct eval_stage *stage,
                 const struct sfs_instruction *instruction)
{
    AUTO(run_job_done)
    struct run_job job = { .eval = eval, .stage = stage, .instruction = instruction };
    int r = prepare(&job);
    if (r == 0 && !eval->spec->no_cache)
        r = take_kept(&job);
    if (r == 0)
        r = check_allowed(&job);
    else if (r > 0)
        return add_history(&job);
    if (r == 0)
        r = run_once(&job);
    return r < 0 ? r : add_history(&job);
}
