/* bench: mounts the stage, puts the same files on other back ends, and lets stagefs-bench (bench/)
 * measure them. */
#include "backends.h"
#include "cmd.h"
#include "ending.h"
#include "front_name.h"
#include "recording.h"
#include "words.h"

#include <stagefs/format.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <signal.h>
#include <stagefs/mount.h>
#include <stagefs/run.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#define MAX_NEEDED_TEXT (16u << 20) /* bytes of the paths that libraries need */

struct bench_args {
    struct session session;
    struct text_list libs, execs;
    const char *against, *html, *front_name;
    enum sfs_front front;
    bool cold, gpu;
    long runs;
    struct backends backends;
    char *harness; /* the program that measures; owned */
    char *config;  /* the file with the stage's config, which the server writes; owned */
    char *line;    /* how this command was called */
    pid_t server;  /* the process that serves the mount; 0: none */
    struct recording recording;
};

static void tell_ready(void *user)
{
    int fd = *(int *)user;
    progress_close();
    /* A terminal's Ctrl-C is for who measures: the mount lives until that is done. */
    signal(SIGINT, SIG_IGN);
    if (write(fd, "\n", 1) != 1)
        _exit(EXIT_FAILED);
    close(fd);
}

/* "UID:GID:GROUP...", as the harness takes them, of the config's user. The caller frees. */
static int find_user(const struct bench_args *args, const json_t *settings, char **ret_ids,
                     struct sfs_error *err)
{
    const char *name = json_string_value(json_object_get(settings, "User"));
    struct sfs_run_user user;
    int r = sfs_run_user_find(name ? name : "", sfs_stage_tree(args->session.stage), &user, err);
    if (r < 0)
        return r;
    char *ids;
    ids = sfs_format("%u:%u", user.uid, user.gid);
    for (size_t i = 0; ids && i < user.group_count; i++) {
        char *shorter = ids;
        ids = sfs_format("%s:%u", shorter, user.groups[i]);
        free(shorter);
    }
    *ret_ids = ids;
    return ids ? 0 : sfs_fail_memory(err);
}

/* The stage is open in the server's process alone: it writes down what commands need of it. */
static int write_config(const struct bench_args *args, struct sfs_error *err)
{
    const json_t *settings = json_object_get(sfs_stage_config(args->session.stage), "config");
    AUTO(sfs_free) char *ids = NULL;
    int r = args->execs.count > 0 ? find_user(args, settings, &ids, err) : 0;
    if (r < 0)
        return r;
    json_auto_t *file = json_pack("{s:O?, s:s?}", "config", settings, "ids", ids);
    if (!file || json_dump_file(file, args->config, 0) < 0)
        return sfs_fail_errno(err, errno, "writing %s", args->config);
    return 0;
}

/* In the child: serves the stage at `mountpoint` until it is unmounted. Exit status. */
static int serve(struct bench_args *args, const char *mountpoint, int ready_fd)
{
    struct sfs_error err;
    int r = session_open(&args->session, true, &err);
    if (r == 0)
        r = write_config(args, &err);
    if (r == 0) {
        struct sfs_mount_options options = {
            .mountpoint = mountpoint,
            .source = "stagefs-bench",
            .dev = geteuid() == 0,         /* programs that run in it want /dev/null */
            .allow_other = geteuid() == 0, /* they are whom the config says */
            .cache = args->session.tool.cache,
            .front = args->front,
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
        ending_unwatch();
        close(ends[0]);
        _exit(serve(args, mountpoint, ends[1]));
    }
    close(ends[1]);
    if (args->server < 0) {
        close(ends[0]);
        args->server = 0;
        return EXIT_FAILED;
    }
    ending_begin(args->server);
    char byte;
    ssize_t n;
    do
        n = read(ends[0], &byte, 1);
    while (n < 0 && errno == EINTR);
    close(ends[0]);
    if (n == 1) {
        ending_begin(0);
        return EXIT_DONE;
    }
    int status = ending_finish(args->server);
    args->server = 0;
    return status == EXIT_DONE ? EXIT_FAILED : status;
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
        path = sfs_format("%s%s/stagefs-bench", self, places[i]);
        if (!path)
            return NULL;
        if (access(path, X_OK) == 0)
            return path;
        free(path);
    }
    return NULL;
}

/* ---- arguments for the harness */

static void add_dir(struct words *list, const struct backend *backend)
{
    words_add(list, "--dir");
    words_add(list, "%s=%s", backend->label, backend->path);
}

/* The mount drops what it holds decoded, as the kernel is told to drop its pages. */
static void add_drop_command(const struct bench_args *args, struct words *list)
{
    char self[4096];
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    if (n <= 0)
        return;
    self[n] = 0;
    words_add(list, "--before-cold");
    words_add(list, "'%s' stats --drop -q '%s'", self, args->backends.list[0].path);
}

/* Commands are whom the image's config says and find what it lets them find, as with `run`. */
static void add_config(const struct bench_args *args, struct words *list)
{
    json_auto_t *file = json_load_file(args->config, 0, NULL);
    const json_t *config = json_object_get(file, "config"), *pair;
    const char *workdir = json_string_value(json_object_get(config, "WorkingDir"));
    size_t i;
    json_array_foreach(json_object_get(config, "Env"), i, pair)
    {
        const char *text = json_string_value(pair);
        if (text && strchr(text, '=')) {
            words_add(list, "--env");
            words_add(list, "%s", text);
        }
    }
    if (workdir && *workdir) {
        words_add(list, "--workdir");
        words_add(list, "%s", workdir);
    }
    const char *ids = json_string_value(json_object_get(file, "ids"));
    if (ids && geteuid() == 0) /* others are one user in their namespace, who is root there */
        words_add(list, "--user=%s", ids);
}

static void add_about(struct words *list, const char *key, const char *value)
{
    words_add(list, "--about");
    words_add(list, "%s=%s", key, value);
}

/* What a reader of the report wants to know of it: of what, by what, when. */
static void add_all_about(const struct bench_args *args, struct words *list)
{
    const char *ref = stage_is_given(&args->session.stage_args) ? NULL : args->session.rest[0];
    AUTO(sfs_image_close) struct sfs_image *image = NULL;
    struct sfs_digest digest;
    char text[SFS_DIGEST_TEXT], date[32];
    time_t now = time(NULL);
    struct tm tm;
    if (ref)
        add_about(list, "image", ref);
    if (ref && tool_open_image(&args->session.tool, ref, &image, NULL) == 0 &&
        sfs_image_digest(image, &digest))
        add_about(list, "digest", sfs_digest_print(&digest, text));
    if (args->line)
        add_about(list, "command", args->line);
    add_about(list, "version", "stagefs " SFS_VERSION);
    if (gmtime_r(&now, &tm) && strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%SZ", &tm))
        add_about(list, "date", date);
}

static void make_arguments(const struct bench_args *args, struct words *list)
{
    words_add(list, "%s", args->harness);
    for (size_t i = 0; i < args->backends.count; i++)
        add_dir(list, &args->backends.list[i]);
    words_add(list, "--found-in");
    words_add(list, "%s", args->backends.list[0].label);
    words_add_option(list, "--lib", &args->libs);
    words_add_option(list, "--exec", &args->execs);
    if (args->execs.count > 0)
        add_config(args, list);
    if (args->runs > 0) {
        words_add(list, "--runs");
        words_add(list, "%ld", args->runs);
    }
    if (args->cold) {
        words_add(list, "--cold");
        add_drop_command(args, list);
    }
    words_add(list, "--record-fd");
    words_add(list, "%d", args->recording.lent);
    if (args->html) {
        words_add(list, "--html");
        words_add(list, "%s", args->html);
    }
    if (args->gpu)
        words_add(list, "--gpu");
    if (args->session.tool.json)
        words_add(list, "--json");
    if (args->session.tool.quiet)
        words_add(list, "--quiet");
    add_all_about(args, list);
}

/* ---- other back ends */

static void show_phase(const struct bench_args *args, const char *what, const char *label)
{
    if (!args->session.tool.quiet && isatty(STDERR_FILENO))
        fprintf(stderr, "\r\033[K%s%s", what, label);
}

/* The paths that the libraries need, out of the harness, into `file`. Its exit status. */
static int ask_for_needed(const struct bench_args *args, const char *file, struct sfs_error *err)
{
    AUTO(words_close) struct words list = { 0 };
    words_add(&list, "%s", args->harness);
    add_dir(&list, &args->backends.list[0]);
    words_add_option(&list, "--lib", &args->libs);
    words_add(&list, "--list-needed");
    if (list.failed)
        return sfs_fail_memory(err);
    pid_t pid = fork();
    if (pid == 0) {
        int fd = open(file, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        if (fd < 0 || dup2(fd, STDOUT_FILENO) < 0)
            _exit(127);
        execv(list.items[0], list.items);
        _exit(127);
    }
    int status = pid < 0 ? 127 : ending_wait(pid);
    return status == 0 ? 0
                       : sfs_fail(err, EIO,
                                  "what the libraries need could not be found: "
                                  "stagefs-bench ended with %d",
                                  status);
}

static int read_needed(const char *path, char **ret_text, size_t *ret_size, struct sfs_error *err)
{
    AUTO(sfs_close_file) FILE *file = fopen(path, "re");
    AUTO(sfs_free) char *text = malloc(MAX_NEEDED_TEXT + 1);
    if (!file)
        return sfs_fail_errno(err, errno, "%s", path);
    if (!text)
        return sfs_fail_memory(err);
    *ret_size = fread(text, 1, MAX_NEEDED_TEXT, file);
    text[*ret_size] = 0;
    *ret_text = TAKE(text);
    return 0;
}

/* The files that are loaded, in a directory of their own, which the back ends are filled from. */
static int gather_needed(struct bench_args *args, const char *directory, struct sfs_error *err)
{
    AUTO(sfs_free) char *file = NULL;
    AUTO(sfs_free) char *paths = NULL;
    size_t size = 0;
    file = sfs_format("%s/list", args->backends.work);
    if (!file)
        return sfs_fail_memory(err);
    if (mkdir(directory, 0755) < 0)
        return sfs_fail_errno(err, errno, "making %s", directory);
    int r = ask_for_needed(args, file, err);
    if (r == 0)
        r = read_needed(file, &paths, &size, err);
    if (r == 0)
        r = backends_copy_files(&args->backends, args->backends.list[0].path, directory, paths,
                                size, err);
    return r;
}

static int add_backend(struct bench_args *args, const char *name, const char *source,
                       struct sfs_error *err)
{
    static const char *const known[] = { "dir", "overlay", "squashfs", "erofs" };
    const char *label = NULL;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strcmp(name, known[i]) == 0)
            label = known[i];
    if (!label)
        return sfs_fail(err, EINVAL, "unknown back end '%s': dir, overlay, squashfs, erofs", name);
    show_phase(args, "copying what is measured: ", label);
    int r = backends_add(&args->backends, label, err);
    if (r == 0)
        r = backends_fill(&args->backends, source, err);
    show_phase(args, "", "");
    if (r == -ENOTSUP) {
        fprintf(stderr, "stagefs: left out %s: %s\n", label, err->text);
        free(args->backends.list[--args->backends.count].path);
        r = 0;
    }
    return r;
}

static void tell_left_out(const struct bench_args *args)
{
    if (args->backends.left_out > 0 && !args->session.tool.quiet)
        fprintf(stderr, "stagefs: not copied: %u file%s that only root may read\n",
                args->backends.left_out, sfs_plural(args->backends.left_out));
}

/* Back ends named by --against, comma-separated. One that cannot be had is told and left out. A
 * command may need any file; of libraries alone it is known what they need. */
static int make_backends(struct bench_args *args, struct sfs_error *err)
{
    AUTO(sfs_free) char *names = strdup(args->against ? args->against : "");
    AUTO(sfs_free) char *needed = sfs_format("%s/needed", args->backends.work);
    if (!names || !needed)
        return sfs_fail_memory(err);
    bool all = args->execs.count > 0 || args->gpu;
    const char *source = all ? args->backends.list[0].path : needed;
    if (*names && all && !args->session.tool.quiet)
        fputs("stagefs: copying all of the stage, since a command may need any file of it\n",
              stderr);
    show_phase(args, *names ? "copying what is measured" : "", "");
    int r = *names && !all ? gather_needed(args, needed, err) : 0;
    char *rest = names, *name;
    while (r == 0 && (name = strsep(&rest, ",")))
        r = *name ? add_backend(args, name, source, err) : 0;
    show_phase(args, "", "");
    tell_left_out(args);
    return r;
}

/* ---- */

static int run_harness(struct bench_args *args, struct sfs_error *err)
{
    AUTO(words_close) struct words list = { 0 };
    make_arguments(args, &list);
    if (list.failed)
        return sfs_fail_memory(err);
    pid_t pid = fork();
    if (pid < 0)
        return sfs_fail_errno(err, errno, "starting %s", args->harness);
    if (pid == 0) {
        fcntl(args->recording.lent, F_SETFD, 0);
        execv(args->harness, list.items);
        _exit(127);
    }
    ending_begin(pid);
    recording_answer(&args->recording);
    return ending_finish(pid);
}

static int prepare(struct bench_args *args, struct sfs_error *err)
{
    int r = backends_open(&args->backends, err);
    if (r == 0)
        r = backends_add(&args->backends, "stagefs", err);
    if (r < 0)
        return r;
    args->harness = find_harness();
    if (!args->harness)
        return sfs_fail(
            err, ENOENT,
            "stagefs-bench, which measures, is neither beside stagefs nor in ../libexec/stagefs");
    args->config = sfs_format("%s/config.json", args->backends.work);
    return args->config ? 0 : sfs_fail_memory(err);
}

/* Negative errno with err, or an exit status. */
static int measure(struct bench_args *args, struct sfs_error *err)
{
    int r = prepare(args, err);
    if (r < 0)
        return r;
    int status = start_server(args, args->backends.list[0].path);
    if (status != EXIT_DONE)
        return status;
    r = make_backends(args, err);
    if (r == 0)
        r = recording_open(&args->recording, &args->session, args->backends.work, err);
    return r < 0 || ending_signal() ? r : run_harness(args, err);
}

int cmd_bench(const struct command *command, int argc, char **argv)
{
    struct bench_args args = { .session.stage_args.allow_run = true };
    const struct option_spec own[] = {
        { "lib", 0, OPTION_PATHS, &args.libs, "GLOB",
          "load libraries that match, '**' crosses '/' (repeatable)" },
        { "exec", 0, OPTION_PATHS, &args.execs, "CMD",
          "run CMD with the stage as its root (repeatable; takes root)" },
        { "against", 0, OPTION_TEXT, &args.against, "LIST",
          "other back ends: dir,overlay,squashfs,erofs" },
        { "front", 0, OPTION_TEXT, &args.front_name, "NAME",
          "whom the kernel asks: fuse, erofs or auto (default), as in mount" },
        { "cold", 0, OPTION_FLAG, &args.cold, NULL, "also with nothing cached (takes root)" },
        { "runs", 0, OPTION_NUMBER, &args.runs, "N", "samples of each (default 5)" },
        { "gpu", 0, OPTION_FLAG, &args.gpu, NULL, "also the stages of a CUDA start" },
        { "html", 0, OPTION_PATH, &args.html, "FILE", "write a page to look at" },
    };
    AUTO(sfs_free) char *line = words_for_shell(argc, argv); /* parsing takes the words apart */
    int leave = session_parse(command, &args.session, own, sizeof own / sizeof *own, argc, argv);
    if (leave)
        return leave - 1;
    args.line = line;
    if (args.session.rest_count != (stage_is_given(&args.session.stage_args) ? 0 : 1))
        return tool_usage(command, "needs one STAGE");
    if (args.libs.count == 0 && args.execs.count == 0 && !args.gpu)
        return tool_usage(command, "needs --lib GLOB, --exec CMD or --gpu");
    if (!front_parse(args.front_name, &args.front))
        return tool_usage(command, "--front %s: it is auto, fuse or erofs", args.front_name);
    ending_watch(); /* what measures is ended, and tells what it has; we then clean up */
    struct sfs_error err;
    int r = measure(&args, &err);
    if (ending_signal())
        r = 128 + ending_signal();
    stop_server(&args);
    recording_close(&args.recording);
    backends_close(&args.backends);
    free(args.libs.items);
    free(args.execs.items);
    free(args.harness);
    free(args.config);
    return session_close(&args.session, r, &err);
}
