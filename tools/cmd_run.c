/* run, trace: a command with a stage as its root. */
#include "cmd.h"

#include <stagefs/format.h>
#include <errno.h>
#include <jansson.h>
#include <stagefs/run.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define EXIT_OWN 125 /* stagefs itself failed, not the command */

struct run_args {
    struct session session;
    struct text_list env, writable, profiles;
    const char *trace; /* the profile to be written; NULL: none */
    const char *user, *workdir, *runtime;
    bool interactive, terminal, init, suid, append, pages;
    const char **envs;            /* the stage's and --env's, ended by NULL */
    struct sfs_run_mount *mounts; /* of --rw */
    char **kept;                  /* texts that mounts point to */
    size_t kept_count;
};

static const struct json_t *settings(const struct run_args *args)
{
    return json_object_get(sfs_stage_config(args->session.stage), "config");
}

/* Later ones of a name replace earlier ones, in their place. */
static void set_env(const char **envs, size_t *count, const char *item)
{
    size_t size = strcspn(item, "=") + 1;
    for (size_t i = 0; i < *count; i++)
        if (strncmp(envs[i], item, size) == 0) {
            envs[i] = item;
            return;
        }
    envs[(*count)++] = item;
}

static const char *keep(struct run_args *args, char *text)
{
    char **more = text ? reallocarray(args->kept, args->kept_count + 1, sizeof *more) : NULL;
    if (!more) {
        free(text);
        return NULL;
    }
    args->kept = more;
    more[args->kept_count++] = text;
    return text;
}

static int make_env(struct run_args *args, const char *home, struct sfs_error *err)
{
    const struct json_t *list = json_object_get(settings(args), "Env");
    size_t count = 0, i, given = json_array_size(list);
    json_t *item;
    args->envs = calloc(given + args->env.count + 2, sizeof *args->envs);
    char *text = NULL;
    if (!args->envs || asprintf(&text, "HOME=%s", home) < 0)
        return sfs_fail_memory(err);
    const char *home_item = keep(args, text);
    if (!home_item)
        return sfs_fail_memory(err);
    set_env(args->envs, &count, home_item);
    json_array_foreach(list, i, item)
    {
        if (json_string_value(item))
            set_env(args->envs, &count, json_string_value(item));
    }
    for (i = 0; i < args->env.count; i++) {
        const char *env = args->env.items[i];
        if (!strchr(env, '=')) { /* as docker: of this environment, if it is there */
            const char *value = getenv(env);
            if (!value)
                continue;
            text = sfs_format("%s=%s", env, value);
            if (!text)
                return sfs_fail_memory(err);
            env = keep(args, text);
            if (!env)
                return sfs_fail_memory(err);
        }
        set_env(args->envs, &count, env);
    }
    return 0;
}

/* --rw DIR[:PATH]: a directory of this machine, at the same place or at PATH. */
static int make_mounts(struct run_args *args, struct sfs_error *err)
{
    args->mounts = calloc(args->writable.count + 1, sizeof *args->mounts);
    if (!args->mounts)
        return sfs_fail_memory(err);
    for (size_t i = 0; i < args->writable.count; i++) {
        const char *text = args->writable.items[i], *colon = strstr(text, ":/");
        AUTO(sfs_free)
        char *dir = colon ? strndup(text, (size_t)(colon - text)) : strdup(text);
        struct stat st;
        if (!dir)
            return sfs_fail_memory(err);
        char *real = realpath(dir, NULL);
        if (!real || stat(real, &st) < 0 || !S_ISDIR(st.st_mode)) {
            free(real);
            return sfs_fail(err, ENOENT, "--rw %s: there is no such directory", dir);
        }
        const char *source = keep(args, real);
        if (!source)
            return sfs_fail_memory(err);
        args->mounts[i] = (struct sfs_run_mount){ .kind = SFS_RUN_HOST,
                                                  .source = source,
                                                  .target = colon ? colon + 1 : source };
    }
    return 0;
}

/* Names of files are given to a thread with a working directory of its own; "-" is none. */
static int make_absolute(struct run_args *args, const char **path, struct sfs_error *err)
{
    char *text = NULL;
    if (!*path || **path == '/' || strcmp(*path, "-") == 0)
        return 0;
    AUTO(sfs_free) char *dir = getcwd(NULL, 0);
    if (!dir)
        return sfs_fail_errno(err, errno, "%s", *path);
    *path = asprintf(&text, "%s/%s", dir, *path) < 0 ? NULL : keep(args, text);
    return *path ? 0 : sfs_fail_memory(err);
}

static int make_paths(struct run_args *args, struct sfs_error *err)
{
    int r = make_absolute(args, &args->trace, err);
    for (size_t i = 0; r == 0 && i < args->profiles.count; i++)
        r = make_absolute(args, &args->profiles.items[i], err);
    return r;
}

/* Where the command's overlay lies. */
static int find_work_dir(struct run_args *args, const char **ret_dir, struct sfs_error *err)
{
    char *dir = NULL;
    int r = sfs_store_work_dir(args->session.tool.context.store, &dir, err);
    if (r < 0)
        return r;
    *ret_dir = keep(args, dir);
    return *ret_dir ? 0 : sfs_fail_memory(err);
}

/* A shell that somebody starts by hand should be as their own shell, and a command whose output
 * goes to a file or a program should not. */
static bool wants_terminal(const struct run_args *args)
{
    return args->terminal || (isatty(STDIN_FILENO) && isatty(STDOUT_FILENO));
}

static const char *find_directory(const struct run_args *args)
{
    const char *own = json_string_value(json_object_get(settings(args), "WorkingDir"));
    if (args->workdir)
        return args->workdir;
    return own && *own ? own : "/";
}

static bool has_no_network(const struct run_args *args)
{
    const char *network = args->session.stage_args.network;
    return network && strcmp(network, "none") == 0;
}

static int prepare_run(struct run_args *args, struct sfs_run_user *ret_who,
                       const char **ret_work_dir, struct sfs_error *err)
{
    const char *user = json_string_value(json_object_get(settings(args), "User"));
    int r = sfs_run_user_find(args->user ? args->user
                              : user     ? user
                                         : "",
                              sfs_stage_tree(args->session.stage), ret_who, err);
    if (r == 0)
        r = make_env(args, ret_who->home, err);
    if (r == 0)
        r = make_mounts(args, err);
    if (r == 0)
        r = make_paths(args, err);
    *ret_work_dir = NULL;
    return r == 0 ? find_work_dir(args, ret_work_dir, err) : r;
}

/* The command's status, or negative errno. */
static int run_stage(struct run_args *args, const char *const *command, struct sfs_error *err)
{
    struct sfs_run_user who;
    const char *work_dir;
    int r = prepare_run(args, &who, &work_dir, err);
    if (r < 0)
        return r;
    const struct sfs_run_request request = {
        .tree = sfs_stage_tree(args->session.stage),
        .args = command,
        .env = args->envs,
        .cwd = find_directory(args),
        .uid = who.uid,
        .gid = who.gid,
        .groups = who.groups,
        .group_count = who.group_count,
        .mounts = args->mounts,
        .mount_count = args->writable.count,
        .no_network = has_no_network(args),
        .suid = args->suid,
        .init = args->init,
        .terminal = wants_terminal(args),
        .hand_on = true,
        .runtime = args->runtime ? args->runtime : getenv("STAGEFS_RUNTIME"),
        .trace_path = args->trace,
        .trace_append = args->append,
        .trace_pages = args->pages,
        .profiles = args->profiles.items,
        .profile_count = args->profiles.count,
        .work_dir = work_dir,
        .cache_dir = sfs_store_dir(args->session.tool.context.store),
        .progress = &args->session.tool.progress,
    };
    progress_close();
    struct sfs_run_result result;
    r = sfs_sandbox.run(&request, &result, err);
    if (r < 0)
        return r;
    sfs_sandbox.discard(&result.space);
    if (*result.not_started.text)
        fprintf(stderr, "stagefs: %s\n", result.not_started.text);
    return result.status;
}

static void run_args_done(struct run_args *args)
{
    for (size_t i = 0; i < args->kept_count; i++)
        free(args->kept[i]);
    free(args->kept);
    free(args->envs);
    free(args->mounts);
    free(args->env.items);
    free(args->writable.items);
    free(args->profiles.items);
}

/* 0, or as session_parse() has it. */
static int parse_args(struct run_args *args, const struct command *command, bool is_trace, int argc,
                      char **argv)
{
    const struct option_spec of_run[] = {
        { "profile", 0, OPTION_LIST, &args->profiles, "FILE",
          "fetch at once what such a file of trace tells (repeatable)" },
    };
    const struct option_spec of_trace[] = {
        { "output", 'o', OPTION_TEXT, &args->trace, "PROFILE", "the file to be written" },
        { "append", 'a', OPTION_FLAG, &args->append, NULL,
          "add to what the file has already: what several runs use" },
        { "pages", 0, OPTION_FLAG, &args->pages, NULL,
          "tell which bytes of files are used, too, which makes the run slower" },
    };
    options_add(&args->session.set, is_trace ? of_trace : of_run, is_trace ? 3 : 1);
    const struct option_spec own[] = {
        { "env", 'e', OPTION_LIST, &args->env, "KEY=VALUE",
          "a variable for the command (repeatable)" },
        { "rw", 0, OPTION_LIST, &args->writable, "DIR[:PATH]",
          "a directory of this machine, writable, at the same place or at PATH (repeatable)" },
        { "interactive", 'i', OPTION_FLAG, &args->interactive, NULL,
          "pass standard input on, as is done anyway" },
        { "tty", 't', OPTION_FLAG, &args->terminal, NULL,
          "a terminal for the command (default: if standard input and output are terminals)" },
        { "init", 0, OPTION_FLAG, &args->init, NULL,
          "a small init as first process, which takes in orphans and hands signals on" },
        { "suid", 0, OPTION_FLAG, &args->suid, NULL,
          "let setuid programs of the stage work (not in bubblewrap)" },
        { "user", 'u', OPTION_TEXT, &args->user, "USER[:GROUP]",
          "who runs it (default: the stage's USER)" },
        { "workdir", 'w', OPTION_TEXT, &args->workdir, "PATH",
          "where it begins (default: the stage's WORKDIR)" },
        { "runtime", 0, OPTION_TEXT, &args->runtime, "NAME",
          "runc, crun or bwrap (default: the first of them that is installed)" },
    };
    return session_parse(command, &args->session, own, sizeof own / sizeof *own, argc, argv);
}

static int run_or_trace(const struct command *command, bool is_trace, int argc, char **argv)
{
    AUTO(run_args_done) struct run_args args = { 0 };
    int leave = parse_args(&args, command, is_trace, argc, argv);
    if (leave)
        return leave == EXIT_DONE + 1 ? EXIT_DONE : EXIT_OWN;
    struct sfs_error err;
    int r = is_trace && !(args.trace && *args.trace)
                ? sfs_fail(&err, EINVAL, "trace needs a file: -o PROFILE")
                : 0;
    if (r == 0)
        r = session_open(&args.session, true, &err);
    if (r == 0 && args.session.rest_count == 0)
        r = sfs_fail(&err, EINVAL, "%s needs a command: stagefs %s STAGE -- CMD...", command->name,
                     command->name);
    int status = 0;
    if (r == 0)
        status = run_stage(&args, (const char *const *)args.session.rest, &err);
    bool failed = r < 0 || status < 0;
    int told = session_close(&args.session, r < 0 ? r : status < 0 ? status : 0, &err);
    return failed || told != EXIT_DONE ? EXIT_OWN : status;
}

int cmd_run(const struct command *command, int argc, char **argv)
{
    return run_or_trace(command, false, argc, argv);
}

int cmd_trace(const struct command *command, int argc, char **argv)
{
    return run_or_trace(command, true, argc, argv);
}
