/* bench: mounts the stage, puts the same files on other back ends, and lets stagefs-bench (bench/)
 * measure them. */
#include "backends.h"
#include "cmd.h"
#include "recording.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stagefs/mount.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#define MAX_ARGUMENTS 512

struct bench_args {
    struct session session;
    struct text_list libs, execs;
    const char *against, *html;
    bool cold, gpu;
    long runs;
    struct backends backends;
    pid_t server; /* the process that serves the mount; 0: none */
    struct recording recording;
};

static void tell_ready(void *user)
{
    int fd = *(int *)user;
    progress_close();
    if (write(fd, "\n", 1) != 1)
        _exit(EXIT_FAILED);
    close(fd);
}

/* In the child: serves the stage at `mountpoint` until it is unmounted. Exit status. */
static int serve(struct bench_args *args, const char *mountpoint, int ready_fd)
{
    struct sfs_error err;
    int r = session_open(&args->session, true, &err);
    if (r == 0) {
        struct sfs_mount_options options = {
            .mountpoint = mountpoint,
            .source = "stagefs-bench",
            .dev = geteuid() == 0, /* programs that run in it want /dev/null */
            .cache = args->session.tool.cache,
            .ready = tell_ready,
            .user = &ready_fd,
        };
        r = sfs_mount_serve(sfs_stage_tree(args->session.stage), &options, &err);
    }
    return session_close(&args->session, r, &err);
}

/* Mounts in a process of its own, as `stagefs mount` does. Returns 0 or an exit status; the child
 * has told why. */
static int start_server(struct bench_args *args, const char *mountpoint)
{
    int ends[2];
    if (pipe(ends) < 0)
        return EXIT_FAILED;
    args->server = fork();
    if (args->server == 0) {
        recording_restore_signals();
        close(ends[0]);
        _exit(serve(args, mountpoint, ends[1]));
    }
    close(ends[1]);
    char byte;
    ssize_t n;
    do
        n = read(ends[0], &byte, 1);
    while (n < 0 && errno == EINTR);
    close(ends[0]);
    if (n == 1)
        return EXIT_DONE;
    int status = 0;
    if (args->server > 0)
        waitpid(args->server, &status, 0);
    args->server = 0;
    return WIFEXITED(status) && WEXITSTATUS(status) ? WEXITSTATUS(status) : EXIT_FAILED;
}

/* Also when it is busy or dead. */
static void stop_server(struct bench_args *args)
{
    if (args->server <= 0)
        return;
    struct sfs_error err;
    kill(args->server, SIGTERM);
    waitpid(args->server, NULL, 0);
    args->server = 0;
    sfs_unmount(args->backends.list[0].path, &err); /* of one that was killed; else there is none */
}

/* Back ends named by --against, comma-separated. One that cannot be had is told and left out. */
static int make_backends(struct bench_args *args, struct sfs_error *err)
{
    AUTO(sfs_free) char *names = strdup(args->against ? args->against : "");
    if (!names)
        return sfs_fail_memory(err);
    static const char *const known[] = { "dir", "overlay", "squashfs", "erofs" };
    const char *source = args->backends.list[0].path;
    char *rest = names, *name;
    while ((name = strsep(&rest, ","))) {
        const char *label = NULL;
        for (size_t i = 0; i < sizeof known / sizeof *known; i++)
            if (strcmp(name, known[i]) == 0)
                label = known[i];
        if (!*name)
            continue;
        if (!label)
            return sfs_fail(err, EINVAL, "unknown back end '%s': dir, overlay, squashfs, erofs",
                            name);
        int r = backends_add(&args->backends, label, err);
        if (r == 0)
            r = backends_fill(&args->backends, source, err);
        if (r == -ENOTSUP) {
            fprintf(stderr, "stagefs: left out %s: %s\n", label, err->text);
            free(args->backends.list[--args->backends.count].path);
        } else if (r < 0) {
            return r;
        }
    }
    return 0;
}

/* The harness stands beside this program, in ../libexec/stagefs, or in the build's bench/. */
static char *find_harness(void)
{
    char self[4096];
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    if (n <= 0)
        return NULL;
    self[n] = 0;
    char *slash = strrchr(self, '/');
    *slash = 0;
    static const char *const places[] = { "", "/../libexec/stagefs", "/../bench" };
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        char *path;
        if (asprintf(&path, "%s%s/stagefs-bench", self, places[i]) < 0)
            return NULL;
        if (access(path, X_OK) == 0)
            return path;
        free(path);
    }
    return NULL;
}

struct argument_list {
    const char *items[MAX_ARGUMENTS];
    size_t count;
    char *owned[MAX_BACKENDS + 3];
    size_t owned_count;
};

static void add_argument(struct argument_list *list, const char *text)
{
    if (list->count < MAX_ARGUMENTS - 1)
        list->items[list->count++] = text;
}

static void add_formatted(struct argument_list *list, const char *format, const char *a,
                          const char *b)
{
    char *text;
    if (list->owned_count == MAX_BACKENDS + 3 || asprintf(&text, format, a, b) < 0)
        return;
    list->owned[list->owned_count++] = text;
    add_argument(list, text);
}

/* The mount drops what it holds decoded, as the kernel is told to drop its pages. */
static void add_drop_command(const struct bench_args *args, struct argument_list *list)
{
    char self[4096];
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    if (n <= 0)
        return;
    self[n] = 0;
    add_argument(list, "--before-cold");
    add_formatted(list, "'%s' stats --drop -q '%s'", self, args->backends.list[0].path);
}

static void make_arguments(const struct bench_args *args, const char *harness,
                           struct argument_list *list)
{
    add_argument(list, harness);
    for (size_t i = 0; i < args->backends.count; i++) {
        add_argument(list, "--dir");
        add_formatted(list, "%s=%s", args->backends.list[i].label, args->backends.list[i].path);
    }
    for (size_t i = 0; i < args->libs.count; i++) {
        add_argument(list, "--lib");
        add_argument(list, args->libs.items[i]);
    }
    for (size_t i = 0; i < args->execs.count; i++) {
        add_argument(list, "--exec");
        add_argument(list, args->execs.items[i]);
    }
    if (args->runs > 0) {
        char number[32];
        snprintf(number, sizeof number, "%ld", args->runs);
        add_argument(list, "--runs");
        add_formatted(list, "%s%s", number, "");
    }
    if (args->cold) {
        add_argument(list, "--cold");
        add_drop_command(args, list);
    }
    char fd[16];
    snprintf(fd, sizeof fd, "%d", args->recording.lent);
    add_argument(list, "--record-fd");
    add_formatted(list, "%s%s", fd, "");
    if (args->gpu)
        add_argument(list, "--gpu");
    if (args->html) {
        add_argument(list, "--html");
        add_argument(list, args->html);
    }
    if (args->session.tool.json)
        add_argument(list, "--json");
}

static int run_harness(struct bench_args *args, struct sfs_error *err)
{
    AUTO(sfs_free) char *harness = find_harness();
    if (!harness)
        return sfs_fail(
            err, ENOENT,
            "stagefs-bench, which measures, is neither beside stagefs nor in ../libexec/stagefs");
    struct argument_list list = { 0 };
    make_arguments(args, harness, &list);
    pid_t pid = fork();
    if (pid == 0) {
        recording_restore_signals();
        fcntl(args->recording.lent, F_SETFD, 0);
        execv(harness, (char *const *)(uintptr_t)list.items);
        _exit(127);
    }
    int status = 0;
    recording_answer(&args->recording);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    for (size_t i = 0; i < list.owned_count; i++)
        free(list.owned[i]);
    return WIFEXITED(status) ? WEXITSTATUS(status) : EXIT_FAILED;
}

/* Negative errno with err, or an exit status. */
static int measure(struct bench_args *args, struct sfs_error *err)
{
    int r = backends_open(&args->backends, err);
    if (r == 0)
        r = backends_add(&args->backends, "stagefs", err);
    if (r < 0)
        return r;
    int status = start_server(args, args->backends.list[0].path);
    if (status != EXIT_DONE)
        return status;
    r = make_backends(args, err);
    if (r == 0)
        r = recording_open(&args->recording, &args->session, args->backends.work, err);
    return r < 0 ? r : run_harness(args, err);
}

int cmd_bench(const struct command *command, int argc, char **argv)
{
    struct bench_args args = { .session.stage_args.allow_run = true };
    const struct option_spec own[] = {
        { "lib", 0, OPTION_LIST, &args.libs, "GLOB",
          "load libraries that match, '**' crosses '/' (repeatable)" },
        { "exec", 0, OPTION_LIST, &args.execs, "CMD",
          "run CMD with the stage as its root (repeatable; takes root)" },
        { "against", 0, OPTION_TEXT, &args.against, "LIST",
          "other back ends: dir,overlay,squashfs,erofs" },
        { "cold", 0, OPTION_FLAG, &args.cold, NULL, "also with nothing cached (takes root)" },
        { "runs", 0, OPTION_NUMBER, &args.runs, "N", "samples of each (default 5)" },
        { "gpu", 0, OPTION_FLAG, &args.gpu, NULL, "also the stages of a CUDA start" },
        { "html", 0, OPTION_TEXT, &args.html, "FILE", "write a page to look at" },
    };
    int leave = session_parse(command, &args.session, own, sizeof own / sizeof *own, argc, argv);
    if (leave)
        return leave - 1;
    if (args.session.rest_count != (stage_is_given(&args.session.stage_args) ? 0 : 1))
        return tool_usage(command, "needs one STAGE");
    if (args.libs.count == 0 && args.execs.count == 0 && !args.gpu)
        return tool_usage(command, "needs --lib GLOB, --exec CMD or --gpu");
    /* Ctrl-C ends what measures; we then clean up. The children have their own handlers or the
     * default. */
    signal(SIGINT, SIG_IGN);
    signal(SIGTERM, SIG_IGN);
    struct sfs_error err;
    int r = measure(&args, &err);
    stop_server(&args);
    recording_close(&args.recording);
    backends_close(&args.backends);
    free(args.libs.items);
    free(args.execs.items);
    return session_close(&args.session, r, &err);
}
