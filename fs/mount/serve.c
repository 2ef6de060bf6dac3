/* The public functions of mount.h: they check what the caller asks for, and put the parts
 * together. */
#include "mount/choose.h"
#include "mount/control.h"
#include "mount/mountpoint.h"
#include "mount/session.h"
#include "mount/upper.h"

#include <errno.h>
#include <fcntl.h>

#define FUSE_CONF "/etc/fuse.conf"

/* Has root allowed users to share their mounts, by a line in /etc/fuse.conf? */
static bool users_may_share(void)
{
    AUTO(sfs_close_file) FILE *file = fopen(FUSE_CONF, "re");
    AUTO(sfs_free) char *line = NULL;
    size_t capacity = 0;
    while (file && getline(&line, &capacity, file) >= 0) {
        line[strcspn(line, " \t\n#")] = 0;
        if (strcmp(line, "user_allow_other") == 0)
            return true;
    }
    return false;
}

static int check_options(const struct sfs_mount_options *options, struct sfs_error *err)
{
    if (options->trace_path && options->profile_count > 0)
        return sfs_fail(err, EINVAL, "a mount either records or replays");
    if (options->passthrough && options->trace_path)
        return sfs_fail(err, EINVAL, "a mount that records sees all reads: no passthrough");
    if (options->front == SFS_FRONT_EROFS && options->trace_path)
        return sfs_fail(err, EINVAL, "a mount that records sees all names: not with --erofs");
    if (options->front == SFS_FRONT_EROFS && options->passthrough)
        return sfs_fail(err, EINVAL, "--erofs and --passthrough exclude each other");
    if (options->passthrough && !options->store)
        return sfs_fail(err, EINVAL, "passthrough needs a place to keep files");
    if (access("/dev/fuse", F_OK) < 0)
        return sfs_fail(err, ENOTSUP,
                        "there is no /dev/fuse here (modprobe fuse; in a container --device "
                        "/dev/fuse)");
    if (geteuid() == 0)
        return 0;
    if (!sfs_mountpoint_has_helper())
        return sfs_fail(err, ENOENT, "mounting for who is not root: " SFS_NO_HELPER);
    if (options->front == SFS_FRONT_EROFS)
        return sfs_fail(err, EACCES, "--erofs: only root may mount EROFS");
    if (options->upper)
        return sfs_fail(err, EACCES,
                        "--upper: only root may mount an overlay (or who is root in a namespace: "
                        "unshare --user --map-root-user --mount)");
    if (options->dev || options->suid)
        return sfs_fail(err, EACCES, "only root may mount with devices or set-user-ID programs");
    if (options->allow_other && !users_may_share())
        return sfs_fail(err, EACCES,
                        "allowing others to see the mount needs the line user_allow_other "
                        "in " FUSE_CONF);
    return 0;
}

/* What is served, and where. */
struct serving {
    const struct sfs_tree *const *trees;
    size_t count;
    bool numbered;
    const struct sfs_mount_options *options;
    const char *path;
    const struct sfs_upper *upper;
};

static void tell_front(const struct sfs_server *server)
{
    const struct sfs_mount_options *options = server->options;
    struct sfs_error words;
    sfs_fail(&words, ENOTSUP, "without EROFS in front: %s", server->plain.text);
    if (*server->plain.text && options->note)
        options->note(options->user, words.text);
}

/* Serves until the end. `plain`: why FUSE is in front, where EROFS could be; NULL: EROFS is tried.
 * If it was tried, and could not be mounted, *ret_plain says why, and nothing was served. */
static int serve_once(const struct serving *serving, const char *plain, struct sfs_error *ret_plain,
                      struct sfs_error *err)
{
    AUTO(sfs_server_close) struct sfs_server *server = NULL;
    int r = sfs_server_open(serving->trees, serving->count, serving->numbered, serving->options,
                            plain, &server, err);
    if (r < 0)
        return r;
    server->upper = serving->upper;
    tell_front(server);
    r = sfs_session_run(server, serving->path, err);
    if (r < 0 && server->front_failed)
        *ret_plain = *err;
    return r;
}

/* A mount that is tried and fails is the only sure answer to whether this kernel lets this process
 * have EROFS. */
static int serve_by_choice(const struct serving *serving, struct sfs_error *err)
{
    struct sfs_error plain = { .text = "" };
    const char *why = sfs_choose_by_options(
        serving->options, sfs_mountpoint_is_private(serving->path), serving->numbered);
    int r = serve_once(serving, why, &plain, err);
    if (r < 0 && *plain.text)
        r = serve_once(serving, plain.text, &plain, err);
    return r;
}

static int serve(const struct sfs_tree *const *trees, size_t count, bool numbered,
                 const struct sfs_mount_options *options, struct sfs_error *err)
{
    int r = check_options(options, err);
    if (r < 0)
        return r;
    AUTO(sfs_free) char *path = NULL;
    r = sfs_mountpoint_prepare(options->mountpoint, &path, err);
    if (r < 0)
        return r;
    AUTO(sfs_upper_close) struct sfs_upper *upper = NULL;
    if (options->upper && numbered)
        return sfs_fail(err, EINVAL, "--upper lies over a merged tree, not over --layers");
    if (options->upper)
        r = sfs_upper_open(options, trees[0], path, &upper, err);
    if (r < 0)
        return r;
    const struct serving serving = { trees, count, numbered, options, path, upper };
    struct sfs_error unused;
    if (options->front == SFS_FRONT_AUTO)
        return serve_by_choice(&serving, err);
    return serve_once(&serving, NULL, &unused, err);
}

int sfs_mount_serve(const struct sfs_tree *tree, const struct sfs_mount_options *options,
                    struct sfs_error *err)
{
    return serve(&tree, 1, false, options, err);
}

int sfs_mount_serve_layers(const struct sfs_tree *const *trees, size_t count,
                           const struct sfs_mount_options *options, struct sfs_error *err)
{
    return serve(trees, count, true, options, err);
}

/* Asks the server of the EROFS or overlay that fd is in. 0 or an error number. */
static int ask_server_of(int fd, unsigned long command, struct sfs_control_text *text)
{
    struct sfs_mounted mounted;
    if (sfs_mountpoint_find_fd(fd, &mounted, NULL) < 0)
        return ENOTTY;
    pid_t server = sfs_mounted_server(&mounted);
    return server > 0 ? -sfs_control_ask(server, command, text) : ENOTTY;
}

/* Asks the mount at `path`: by ioctl, or over the socket of one that has EROFS in front. -EINVAL:
 * neither answers. */
static int ask(const char *path, unsigned long command, struct sfs_control_text *text,
               struct sfs_error *err)
{
    AUTO(sfs_close_fd) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 && errno == EACCES)
        return sfs_fail(err, EACCES,
                        "%s: Permission denied (others than who mounted are let in by mount "
                        "--allow-other)",
                        path);
    if (fd < 0)
        return sfs_fail_errno(err, errno, "%s", path);
    int code = ioctl(fd, command, text) == 0 ? 0 : errno;
    if (code == ENOTTY)
        code = ask_server_of(fd, command, text);
    if (code == EPERM)
        return sfs_fail(err, EACCES, "%s was mounted by another user", path);
    return code == 0 ? 0 : sfs_fail(err, EINVAL, "%s is not in a stagefs mount", path);
}

int sfs_mount_drop(const char *path, struct sfs_error *err)
{
    return ask(path, SFS_IOCTL_DROP, NULL, err);
}

int sfs_mount_stats(const char *path, char **ret_json, struct sfs_error *err)
{
    AUTO(sfs_free) struct sfs_control_text *text = calloc(1, sizeof *text);
    if (!text)
        return sfs_fail_memory(err);
    int r = ask(path, SFS_IOCTL_STATS, text, err);
    if (r < 0)
        return r;
    text->text[sizeof text->text - 1] = 0;
    *ret_json = strdup(text->text);
    return *ret_json ? 0 : sfs_fail_memory(err);
}
