/* The runtimes: how each is told to start init.c confined as run_confine.c says. One is chosen, and
 * what it refuses is refused. */
#include "run/run_parts.h"

#include "base/buf.h"
#include "run/init_spec.h"
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>

/* An argv that grows. */
struct word_list {
    char **items;
    size_t count;
    bool failed;
};

static void words_done(struct word_list *words)
{
    for (size_t i = 0; i < words->count; i++)
        free(words->items[i]);
    free(words->items);
}

static void say(struct word_list *words, const char *text)
{
    char **more = reallocarray(words->items, words->count + 2, sizeof *more);
    char *copy = strdup(text);
    if (more)
        words->items = more;
    if (!more || !copy) {
        free(copy);
        words->failed = true;
        return;
    }
    more[words->count++] = copy;
    more[words->count] = NULL;
}

#define SAY(words, ...) say_all(words, (const char *const[]){ __VA_ARGS__, NULL })

static void say_all(struct word_list *words, const char *const *texts)
{
    for (; *texts; texts++)
        say(words, *texts);
}

static void say_path(struct word_list *words, const struct run *run, const char *name)
{
    AUTO(sfs_free) char *path = sfs_format("%s/%s", run->space->path, name);
    if (path)
        say(words, path);
    else
        words->failed = true;
}

static void say_number(struct word_list *words, int number)
{
    char text[16];
    snprintf(text, sizeof text, "%d", number);
    say(words, text);
}

/* The path of a program in PATH; the caller frees. NULL: not there. */
static char *find_program(const char *name)
{
    const char *dirs = getenv("PATH");
    for (dirs = dirs && *dirs ? dirs : "/usr/sbin:/usr/bin:/sbin:/bin"; dirs;) {
        size_t size = strcspn(dirs, ":");
        AUTO(sfs_free) char *path = sfs_format("%.*s/%s", (int)size, dirs, name);
        struct stat st;
        if (path && size > 0 && stat(path, &st) == 0 && S_ISREG(st.st_mode) &&
            access(path, X_OK) == 0)
            return TAKE(path);
        dirs = dirs[size] ? dirs + size + 1 : NULL;
    }
    return NULL;
}

static int start(struct run *run, const struct word_list *words)
{
    return words->failed ? sfs_fail_memory(run->err) : sfs_run_start(run, words->items);
}

/* ---- runc, crun ---- */

static int run_oci(struct run *run, const char *program)
{
    AUTO(words_done) struct word_list words = { 0 };
    int r = sfs_run_write_config(run);
    if (r < 0)
        return r;
    say(&words, program);
    if (!run->runtime->has_cgroups)
        say(&words, "--cgroup-manager=disabled");
    say(&words, "--root");
    say_path(&words, run, "state");
    SAY(&words, "run", "--preserve-fds");
    say_number(&words, SFS_INIT_FD_END - SFS_INIT_PROGRAM);
    say(&words, "--bundle");
    say_path(&words, run, "bundle");
    say(&words, "--pid-file");
    say_path(&words, run, "pid");
    /* Without the dot in front: crun names a keyring after it, and such names are the kernel's. */
    say(&words, strrchr(run->space->path, '/') + 2);
    return start(run, &words);
}

/* ---- bubblewrap ---- */

/* A sysfs shows the network of whoever mounts it, so it is mounted from within a network that is
 * empty, too, where the command's is. */
static int mount_sysfs(struct run *run)
{
    AUTO(sfs_close_fd) int own = -1;
    if (mkdir("memory/sys", 0755) < 0)
        return sfs_fail_errno(run->err, errno, "memory/sys");
    if (run->request->no_network) {
        own = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
        if (own < 0 || unshare(CLONE_NEWNET) < 0)
            return sfs_fail_errno(run->err, errno, "making a network namespace");
    }
    int r =
        mount("sysfs", "memory/sys", "sysfs", MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
    int code = errno;
    if (own >= 0 && setns(own, CLONE_NEWNET) < 0)
        return sfs_fail_errno(run->err, errno, "leaving a network namespace");
    return r < 0 ? sfs_fail_errno(run->err, code, "mounting a sysfs") : 0;
}

/* Of what a procfs holds besides processes, all show the same: what is bound read-only out of this
 * one is what the command's own would show. Bubblewrap leaves /proc/sys writable to root. */
static int mount_procfs(struct run *run)
{
    if (mkdir("memory/proc", 0755) < 0 ||
        mount("proc", "memory/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) < 0)
        return sfs_fail_errno(run->err, errno, "mounting a procfs");
    return 0;
}

static void say_masks(struct word_list *words)
{
    struct stat st;
    for (const char *const *path = sfs_run_masked_paths; *path; path++)
        if (stat(*path, &st) == 0 && S_ISDIR(st.st_mode))
            SAY(words, "--tmpfs", *path, "--remount-ro", *path);
        else if (stat(*path, &st) == 0)
            SAY(words, "--ro-bind", "/dev/null", *path);
}

static void say_read_only(struct word_list *words, const struct run *run)
{
    for (const char *const *path = sfs_run_read_only_paths; *path; path++) {
        AUTO(sfs_free) char *source = sfs_format("%s/memory%s", run->space->path, *path);
        if (!source)
            words->failed = true;
        else if (access(source, F_OK) == 0)
            SAY(words, "--ro-bind", source, *path);
    }
}

static void say_system(struct word_list *words, const struct run *run)
{
    /* Without --as-pid-1, the first process would be bubblewrap's own: unfiltered, and a command
     * that is root may trace it. */
    SAY(words, "--as-pid-1", "--unshare-pid", "--unshare-ipc", "--unshare-uts", "--hostname",
        "stagefs", "--die-with-parent", "--clearenv");
    if (run->request->no_network)
        say(words, "--unshare-net");
    if (sfs_run_has_unified_cgroups())
        say(words, "--unshare-cgroup");
    /* With devices, as /dev is in there; all else is mounted without. */
    say(words, "--dev-bind");
    say_path(words, run, "merged");
    SAY(words, "/", "--mqueue", "/dev/mqueue", "--proc", "/proc", "--ro-bind");
    say_path(words, run, "memory/sys");
    say(words, "/sys");
    say_read_only(words, run);
    say_masks(words);
}

static int run_bwrap(struct run *run, const char *program)
{
    AUTO(words_done) struct word_list words = { 0 };
    int r = mount_sysfs(run);
    if (r == 0)
        r = mount_procfs(run);
    if (r < 0)
        return r;
    say(&words, program);
    say_system(&words, run);
    SAY(&words, "--cap-drop", "ALL");
    for (const struct run_capability *own = sfs_run_capabilities; own->name; own++)
        SAY(&words, "--cap-add", own->name);
    SAY(&words, "--cap-add", SFS_RUN_INIT_CAPABILITY);
    char init[32];
    snprintf(init, sizeof init, "/proc/self/fd/%d", SFS_INIT_PROGRAM);
    SAY(&words, "--chdir", "/", "--", init);
    return start(run, &words);
}

/* ---- choosing ---- */

static const struct run_runtime runtimes[] = {
    { "runc", run_oci, .has_cgroups = true },
    { "crun", run_oci, .has_cgroups = false },
    { "bwrap", run_bwrap, .has_cgroups = false, .ends_by_parent = true },
};

int sfs_run_choose(struct run *run)
{
    const char *wanted = run->request->runtime;
    for (size_t i = 0; i < sizeof runtimes / sizeof *runtimes; i++) {
        if (wanted && *wanted && strcmp(wanted, runtimes[i].name) != 0)
            continue;
        run->runtime = &runtimes[i];
        run->program = find_program(runtimes[i].name);
        if (run->program)
            return 0;
    }
    if (wanted && *wanted)
        return sfs_fail(run->err, ENOENT,
                        "the runtime '%s' is not installed (one of runc, crun, bwrap)", wanted);
    return sfs_fail(run->err, ENOENT,
                    "no runtime is installed to run commands in: install runc, crun or bubblewrap");
}

/* Reads the last line that the runtime wrote, without what stands before its words. */
static void read_log(const struct run *run, char *text, size_t size)
{
    ssize_t n = sfs_io_read_at(run->init.log, text, size - 1, 0);
    text[n > 0 ? n : 0] = 0;
    size_t end = strlen(text);
    while (end > 0 && isspace((unsigned char)text[end - 1]))
        text[--end] = 0;
    char *line = strrchr(text, '\n');
    line = line ? line + 1 : text;
    const char *message = strstr(line, "msg=\"");
    line = message ? line + (message - line) + 5 : line;
    memmove(text, line, strlen(line) + 1);
    end = strlen(text);
    if (message && end > 0 && text[end - 1] == '"')
        text[end - 1] = 0;
}

int sfs_run_exec(struct run *run)
{
    char said[2048];
    int r = sfs_run_init_open(run);
    if (r == 0)
        r = run->runtime->run(run, run->program);
    if (r < 0 || run->is_ready)
        return r;
    r = sfs_run_filter_wait(&run->filter);
    if (r < 0)
        return sfs_fail(run->err, -r, "%s", run->filter.err.text);
    read_log(run, said, sizeof said);
    return sfs_fail(run->err, EIO,
                    "%s could not start the command: %s (another runtime can be named "
                    "with --runtime or STAGEFS_RUNTIME)",
                    run->runtime->name, *said ? said : "it gives no reason");
}
