/* run, trace: a command with a stage as its root. */
#include "cmd.h"
#include "front_name.h"
#include "run_request.h"

#include <errno.h>
#include <stdio.h>

#define EXIT_OWN 125 /* stagefs itself failed, not the command */

struct run_args {
    struct session session;
    struct run_setup setup;
    struct text_list profiles;
    const char *front_name;
    enum sfs_front front;
    const char *trace; /* the profile to be written; NULL: none */
    bool interactive, terminal, init, suid, append, pages, no_profile, no_learn;
    bool rm; /* as docker has it: nothing would stay anyway */
};

static int make_paths(struct run_args *args, struct sfs_error *err)
{
    int r = run_setup_absolute(&args->setup, &args->trace, err);
    for (size_t i = 0; r == 0 && i < args->profiles.count; i++)
        r = run_setup_absolute(&args->setup, &args->profiles.items[i], err);
    return r;
}

/* A shell that somebody starts by hand should be as their own shell, and a command whose output
 * goes to a file or a program should not. */
static bool wants_terminal(const struct run_args *args)
{
    return args->terminal || (isatty(STDIN_FILENO) && isatty(STDOUT_FILENO));
}

/* The command's status, or negative errno. Without words, it is the one that the image says. */
static int run_stage(struct run_args *args, struct sfs_error *err)
{
    struct sfs_run_request request;
    const char *const *command = (const char *const *)args->session.rest;
    int r = run_setup_prepare(&args->setup, &args->session, &request, err);
    if (r == 0 && args->session.rest_count == 0)
        r = run_setup_own_command(&args->setup, &command, err);
    if (r == 0)
        r = make_paths(args, err);
    if (r < 0)
        return r;
    request.args = command;
    request.suid = args->suid;
    request.init = args->init;
    request.terminal = wants_terminal(args);
    request.front = args->front;
    request.trace_path = args->trace;
    request.trace_append = args->append;
    request.trace_pages = args->pages;
    request.profiles = args->profiles.items;
    request.profile_count = args->profiles.count;
    request.learn = !args->no_learn;
    request.pack_limit = args->session.tool.registry.keep;
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
    run_setup_done(&args->setup);
    free(args->profiles.items);
}

/* 0, or as session_parse() has it. */
static int parse_args(struct run_args *args, const struct command *command, bool is_trace, int argc,
                      char **argv)
{
    const struct option_spec of_run[] = {
        { "profile", 0, OPTION_PATHS, &args->profiles, "FILE",
          "fetch at once what such a file of trace tells (repeatable)" },
        { "front", 0, OPTION_TEXT, &args->front_name, "NAME",
          "whom the kernel asks for files: fuse, erofs or auto (default), as in mount" },
        { "no-profile", 0, OPTION_FLAG, &args->no_profile, NULL,
          "heed no profile that is beside the image at its registry" },
        { "no-learn", 0, OPTION_FLAG, &args->no_learn, NULL,
          "neither remember what a start uses, nor fetch what earlier ones used" },
    };
    const struct option_spec of_trace[] = {
        { "output", 'o', OPTION_PATH, &args->trace, "PROFILE", "the file to be written" },
        { "append", 'a', OPTION_FLAG, &args->append, NULL,
          "add to what the file has already: what several runs use" },
        { "pages", 0, OPTION_FLAG, &args->pages, NULL,
          "tell which bytes of files are used, too, which makes the run slower" },
    };
    args->session.set.before_command = &args->session.stage_args;
    options_add(&args->session.set, is_trace ? of_trace : of_run,
                is_trace ? sizeof of_trace / sizeof *of_trace : sizeof of_run / sizeof *of_run);
    const struct option_spec own[] = {
        { "env", 'e', OPTION_LIST, &args->setup.env, "KEY=VALUE",
          "a variable for the command (repeatable)" },
        { "rw", 0, OPTION_PATHS, &args->setup.writable, "DIR[:PATH]",
          "a directory of this machine, writable, at the same place or at PATH (repeatable)" },
        { "interactive", 'i', OPTION_FLAG, &args->interactive, NULL,
          "pass standard input on, as is done anyway" },
        { "tty", 't', OPTION_FLAG, &args->terminal, NULL,
          "a terminal for the command (default: if standard input and output are terminals)" },
        { "init", 0, OPTION_FLAG, &args->init, NULL,
          "a small init as first process, which takes in orphans and hands signals on" },
        { "gpu", 0, OPTION_FLAG, &args->setup.gpu, NULL,
          "the machine's NVIDIA GPUs, and the libraries of their driver" },
        { "suid", 0, OPTION_FLAG, &args->suid, NULL,
          "let setuid programs of the stage work (not in bubblewrap)" },
        { "user", 'u', OPTION_TEXT, &args->setup.user, "USER[:GROUP]",
          "who runs it (default: the stage's USER)" },
        { "workdir", 'w', OPTION_PATH, &args->setup.workdir, "PATH",
          "where it begins (default: the stage's WORKDIR)" },
        { "runtime", 0, OPTION_TEXT, &args->setup.runtime, "NAME",
          "runc, crun or bwrap (default: the first of them that is installed)" },
        { "rm", 0, OPTION_FLAG, &args->rm, NULL, NULL },
    };
    return session_parse(command, &args->session, own, sizeof own / sizeof *own, argc, argv);
}

static int run_or_trace(const struct command *command, bool is_trace, int argc, char **argv)
{
    AUTO(run_args_done) struct run_args args = { 0 };
    int leave = parse_args(&args, command, is_trace, argc, argv);
    if (leave)
        return leave == EXIT_DONE + 1 ? EXIT_DONE : EXIT_OWN;
    if (!front_parse(args.front_name, &args.front)) {
        tool_usage(command, "--front %s: it is auto, fuse or erofs", args.front_name);
        return EXIT_OWN;
    }
    struct sfs_error err;
    int r = is_trace && !(args.trace && *args.trace)
                ? sfs_fail(&err, EINVAL, "trace needs a file: -o PROFILE")
                : 0;
    /* Rights that the kernel heeds by itself are none to be made up by others. */
    if (args.suid)
        args.session.tool.usual_trust = SFS_INDEX_TRUST_MANIFEST;
    bool wants_profiles = !is_trace && !args.no_profile;
    args.session.tool.context.wants_profiles =
        wants_profiles && args.profiles.count == 0 && !stage_is_given(&args.session.stage_args);
    if (r == 0)
        r = session_open(&args.session, true, &err);
    if (r == 0 && wants_profiles)
        session_find_profiles(&args.session, &args.profiles);
    int status = 0;
    if (r == 0)
        status = run_stage(&args, &err);
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
