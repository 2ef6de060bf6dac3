/* mount, umount, stats. */
#include "cmd.h"
#include "daemon.h"
#include "front_name.h"
#include "rlimits.h"

#include <errno.h>
#include <signal.h>
#include <syslog.h>
#include <jansson.h>
#include <stagefs/mount.h>
#include <stagefs/usage.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

struct mount_args {
    struct session session;
    bool foreground, layers, dev, suid;
    bool allow_other, no_prefetch, no_read_ahead, no_profile, no_learn, no_pack, passthrough, erofs,
        fill;
    const char *front_name;
    enum sfs_front front;
    uint64_t passthrough_limit;
    atomic_bool answers; /* the mount: nobody looks at the terminal any more */
    const char *trace, *upper;
    struct text_list profiles;
    long ready_fd;                /* 0: none (it would be stdin) */
    int report_fd;                /* to the waiting parent; -1 in the foreground */
    struct sfs_progress terminal; /* who is told until the mount answers */
};

static void ready(void *user)
{
    struct mount_args *args = user;
    progress_close();
    atomic_store(&args->answers, true);
    if (args->ready_fd > 0) {
        if (write((int)args->ready_fd, "\n", 1) != 1)
            fprintf(stderr, "stagefs: warning: --ready-fd %ld cannot be written\n", args->ready_fd);
        close((int)args->ready_fd);
    }
    if (args->report_fd >= 0)
        daemon_report(args->report_fd, EXIT_DONE);
}

/* In the background there is no terminal: the system's log it is. */
static void warn(void *user, const char *text)
{
    const struct mount_args *args = user;
    if (args->report_fd < 0 || !atomic_load(&args->answers))
        args->terminal.warn(args->terminal.user, text);
    else
        syslog(LOG_DAEMON | LOG_WARNING, "%s", text);
}

/* Told with -v, and only while somebody may look. */
static void note(void *user, const char *text)
{
    const struct mount_args *args = user;
    if (args->terminal.note && !atomic_load(&args->answers))
        args->terminal.note(args->terminal.user, text);
}

static int serve(struct mount_args *args, const char *source, const char *mountpoint,
                 struct sfs_error *err)
{
    struct sfs_mount_options options = {
        .mountpoint = mountpoint,
        .source = source,
        .allow_other = args->allow_other,
        .dev = args->dev,
        .suid = args->suid,
        .threads = 0,
        .cache = args->session.tool.cache,
        .ready = ready,
        .warn = warn,
        .user = args,
        .trace_path = args->trace,
        .trace_pages = args->trace != NULL,
        .profiles = args->profiles.items,
        .profile_count = args->profiles.count,
        .no_pack = args->no_pack,
        .pack_limit = args->session.tool.registry.keep,
        .no_prefetch = args->no_prefetch,
        .no_read_ahead = args->no_read_ahead,
        .front = args->front,
        .note = note,
        .for_overlay = args->layers,
        .upper = args->upper,
        .passthrough = args->passthrough,
        .passthrough_limit = args->passthrough_limit,
        .store = args->session.tool.store,
        .learn = !args->no_learn,
    };
    if (!args->layers)
        return sfs_mount_serve(sfs_stage_tree(args->session.stage), &options, err);

    size_t count;
    struct sfs_tree **trees;
    int r = sfs_tree_split(sfs_stage_tree(args->session.stage), &trees, &count, err);
    if (r < 0)
        return r;
    r = sfs_mount_serve_layers((const struct sfs_tree *const *)trees, count, &options, err);
    sfs_tree_split_close(&trees, count);
    return r;
}

/* In the child (or the foreground): opens, serves until unmounted, closes. */
static int run_mount(struct mount_args *args, const char *mountpoint)
{
    struct sfs_error err;
    const char *source =
        stage_is_given(&args->session.stage_args) ? "stagefs" : args->session.rest[0];
    /* Rights and links that the kernel heeds by itself are none to be made up by others. */
    if (args->dev || args->suid || args->front == SFS_FRONT_EROFS || args->upper)
        args->session.tool.usual_trust = SFS_INDEX_TRUST_MANIFEST;
    bool wants_profiles = !args->trace && !args->no_prefetch && !args->no_profile && !args->layers;
    /* Only of an image as it is: one that is made of several has no profile of its own. */
    args->session.tool.context.wants_profiles =
        wants_profiles && args->profiles.count == 0 && !stage_is_given(&args->session.stage_args);
    int r = session_open(&args->session, true, &err);
    if (r == 0 && wants_profiles)
        session_find_profiles(&args->session, &args->profiles);
    /* What layers tell of while they are read, as of a registry that does not answer, goes there
     * too. */
    args->terminal = args->session.tool.progress;
    args->session.tool.progress.warn = warn;
    args->session.tool.progress.user = args;
    struct sfs_image *image = r == 0 ? sfs_stage_image(args->session.stage) : NULL;
    struct sfs_image_fill *fill = NULL;
    if (args->fill && image)
        r = sfs_image_fill_open(image, &args->session.tool.progress, &fill, &err);
    if (r == 0)
        r = serve(args, source, mountpoint, &err);
    sfs_image_fill_close(&fill);
    return session_close(&args->session, r, &err);
}

/* Fits into the process's limits and goes to the background, if it is to. */
static int start(struct mount_args *args, const char *mountpoint)
{
    rlimits_raise_files();
    uint64_t memory = rlimits_fit_memory();
    if (args->session.tool.memory == 0)
        args->session.tool.memory = memory;
    signal(SIGPIPE, SIG_IGN); /* a mount outlives whoever read its words */
    struct sfs_error err;
    if (!args->foreground) {
        int r = daemon_start(&args->report_fd, &err);
        if (r < 0)
            return tool_fail(r, &err);
    }
    int status = run_mount(args, mountpoint);
    if (args->report_fd >= 0 && status != EXIT_DONE)
        daemon_report(args->report_fd, status);
    return status;
}

int cmd_mount(const struct command *command, int argc, char **argv)
{
    struct mount_args args = { .report_fd = -1, .session.stage_args.allow_run = true };
    const struct option_spec own[] = {
        { "foreground", 0, OPTION_FLAG, &args.foreground, NULL, "stay in the foreground" },
        { "layers", 0, OPTION_FLAG, &args.layers, NULL,
          "one directory a layer, 0/, 1/, ..., instead of the merged tree" },
        { "upper", 0, OPTION_PATH, &args.upper, "DIR",
          "make it writable: keep in this directory what is written (root only)" },
        { "allow-other", 0, OPTION_FLAG, &args.allow_other, NULL,
          "let other users in too; without it they get 'Permission denied'" },
        { "dev", 0, OPTION_FLAG, &args.dev, NULL, "device nodes work (root only)" },
        { "suid", 0, OPTION_FLAG, &args.suid, NULL,
          "setuid bits and capabilities work (root only)" },
        { "trace", 0, OPTION_PATH, &args.trace, "FILE",
          "write down what is used, at the end and on SIGUSR1" },
        { "profile", 0, OPTION_PATHS, &args.profiles, "FILE",
          "fetch at once what such a file tells; may be repeated" },
        { "fill", 0, OPTION_FLAG, &args.fill, NULL,
          "bring the whole image from its registry, while nobody waits for anything else" },
        { "no-profile", 0, OPTION_FLAG, &args.no_profile, NULL,
          "heed no profile that is beside the image at its registry" },
        { "no-pack", 0, OPTION_FLAG, &args.no_pack, NULL,
          "keep nothing decoded of what --profile tells, for the next mount" },
        { "no-prefetch", 0, OPTION_FLAG, &args.no_prefetch, NULL, "read only what is asked for" },
        { "no-learn", 0, OPTION_FLAG, &args.no_learn, NULL,
          "neither remember what a start uses, nor fetch what earlier ones used" },
        { "no-read-ahead", 0, OPTION_FLAG, &args.no_read_ahead, NULL,
          "let the kernel ask for single pages: for --trace, which then tells what was touched" },
        { "front", 0, OPTION_TEXT, &args.front_name, "NAME",
          "whom the kernel asks: fuse (stagefs), erofs (itself, and stagefs only for contents: "
          "root, Linux 6.12), or auto (default)" },
        { "erofs", 0, OPTION_FLAG, &args.erofs, NULL, "the same as --front erofs" },
        { "passthrough", 0, OPTION_FLAG, &args.passthrough, NULL,
          "keep large files that are read much decompressed, for the kernel to read (root only)" },
        { "passthrough-limit", 0, OPTION_SIZE, &args.passthrough_limit, "SIZE",
          "bytes of files kept for that (default 8G)" },
        { "ready-fd", 0, OPTION_NUMBER, &args.ready_fd, "N",
          "write a newline to this descriptor when the mount answers" },
    };
    int leave = session_parse(command, &args.session, own, sizeof own / sizeof *own, argc, argv);
    if (leave)
        return leave - 1;
    int wanted = stage_is_given(&args.session.stage_args) ? 1 : 2;
    if (args.session.rest_count != wanted)
        return tool_usage(command,
                          wanted == 1 ? "needs one MOUNTPOINT" : "needs STAGE and MOUNTPOINT");
    if (args.layers && args.upper)
        return tool_usage(command, "--layers and --upper exclude each other");
    if (args.erofs && args.front_name)
        return tool_usage(command, "--erofs is --front erofs: one of them is enough");
    if (!front_parse(args.erofs ? "erofs" : args.front_name, &args.front))
        return tool_usage(command, "--front %s: it is auto, fuse or erofs", args.front_name);
    const char *mountpoint = args.session.rest[wanted - 1];
    if (!args.foreground && args.trace && strcmp(args.trace, "-") == 0)
        return tool_usage(command, "--trace - needs --foreground");

    int status = start(&args, mountpoint);
    free(args.profiles.items);
    return status;
}

int cmd_umount(const struct command *command, int argc, char **argv)
{
    struct tool tool = { 0 };
    char **rest;
    int count;
    int leave = tool_plain_arguments(command, &tool, NULL, 0, argc, argv, &rest, &count);
    if (leave)
        return leave - 1;
    if (count != 1)
        return tool_usage(command, "needs one MOUNTPOINT");
    struct sfs_error err;
    int r = sfs_unmount(rest[0], &err);
    /* Not a mount of ours is a failure, not wrong usage. */
    return r < 0 ? tool_fail(r == -EINVAL ? -ENOENT : r, &err) : EXIT_DONE;
}

/* A line a number, nested names joined by dots. */
static void print_numbers(const char *prefix, const json_t *object)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)object, key, value)
    {
        char name[256];
        snprintf(name, sizeof name, "%s%s%s", prefix, *prefix ? "." : "", key);
        if (json_is_object(value))
            print_numbers(name, value);
        else if (json_is_real(value))
            printf("%-40s %.6g\n", name, json_real_value(value));
        else if (json_is_string(value))
            printf("%-40s %s\n", name, json_string_value(value));
        else
            printf("%-40s %lld\n", name, (long long)json_integer_value(value));
    }
}

static int show_stats(const char *mountpoint, bool json, struct sfs_error *err)
{
    AUTO(sfs_free) char *text = NULL;
    int r = sfs_mount_stats(mountpoint, &text, err);
    if (r < 0)
        return r;
    json_t *stats = json_loads(text, 0, NULL);
    if (!stats)
        return sfs_fail(err, EBADMSG, "%s: the mount's answer is not JSON", mountpoint);
    if (json)
        return print_json(stats);
    print_numbers("", stats);
    json_decref(stats);
    return 0;
}

int cmd_stats(const struct command *command, int argc, char **argv)
{
    struct tool tool = { 0 };
    bool drop = false;
    const struct option_spec own[] = {
        { "drop", 0, OPTION_FLAG, &drop, NULL, "make the mount forget what it holds decoded" },
        { "json", 0, OPTION_FLAG, &tool.json, NULL, "print one JSON document on stdout" },
    };
    char **rest;
    int count;
    int leave = tool_plain_arguments(command, &tool, own, sizeof own / sizeof *own, argc, argv,
                                     &rest, &count);
    if (leave)
        return leave - 1;
    if (count != 1)
        return tool_usage(command, "needs one MOUNTPOINT");
    struct sfs_error err;
    int r = drop ? sfs_mount_drop(rest[0], &err) : show_stats(rest[0], tool.json, &err);
    if (r < 0)
        return tool_fail(r == -EINVAL ? -ENOENT : r, &err);
    return tool_finish(r);
}
