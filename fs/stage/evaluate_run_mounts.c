/* Where the mounts of a RUN come from: stages, contexts, caches, secrets. */
#include "stage/evaluate_run.h"

#include "base/io.h"
#include "base/path.h"
#include "layer/store.h"
#include <stagefs/format.h>
#include <errno.h>
#include <fcntl.h>
#include <stagefs/digest.h>
#include <sys/file.h>
#include <sys/stat.h>

#define MAX_SECRET (500u << 10) /* bytes, as BuildKit has it */

static int keep(struct run_job *job, char *text, const char **ret_text)
{
    return sfs_eval_keep(job->eval, text, ret_text);
}

/* ---- bind ---- */

int sfs_eval_run_bind(struct run_job *job, const struct mount_options *options,
                      const struct sfs_tree **ret_tree, const char **ret_path, sfs_node *ret_node)
{
    int r = options->from && *options->from
                ? sfs_eval_open_from(job->eval, job->stage, options->from, ret_tree)
                : sfs_eval_open_main_context(job->eval, ret_tree);
    if (r == 0)
        r = keep(job, sfs_path_join("/", options->source ? options->source : "/"), ret_path);
    if (r == 0)
        r = sfs_tree_resolve(*ret_tree, *ret_path, SFS_RESOLVE_FOLLOW, ret_node, job->eval->err);
    return r < 0 ? sfs_fail_while(job->eval->err, r, "--mount") : 0;
}

static int add_bind(struct run_job *job, const struct mount_options *options,
                    struct sfs_run_mount *mount)
{
    sfs_node node;
    mount->kind = SFS_RUN_TREE;
    mount->read_only = options->read_only;
    return sfs_eval_run_bind(job, options, &mount->tree, &mount->source, &node);
}

/* ---- cache ---- */

static int lock_cache(struct run_job *job, const char *path, enum mount_sharing sharing)
{
    int *more = reallocarray(job->locks, job->lock_count + 1, sizeof *more);
    if (!more)
        return sfs_fail_memory(job->eval->err);
    job->locks = more;
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return sfs_fail_errno(job->eval->err, errno, "%s", path);
    more[job->lock_count++] = fd;
    /* A private cache that is in use is waited for, too, rather than begun empty. */
    if (sharing == SHARING_LOCKED || sharing == SHARING_PRIVATE)
        while (flock(fd, LOCK_EX) < 0)
            if (errno != EINTR)
                return sfs_fail_errno(job->eval->err, errno, "locking %s", path);
    return 0;
}

static int add_cache(struct run_job *job, const struct mount_options *options,
                     struct sfs_run_mount *mount)
{
    const char *id = options->id && *options->id ? options->id : mount->target;
    struct sfs_digest digest;
    AUTO(sfs_free) char *dir = NULL;
    char text[SFS_DIGEST_TEXT], *path = NULL;
    if (options->from && *options->from)
        return sfs_fail(job->eval->err, ENOTSUP, "--mount=type=cache with from= is not supported");
    int r = sfs_store_make_dir(job->eval->stage->context.store, "run-cache", &dir, job->eval->err);
    if (r < 0)
        return r;
    if (sfs_digest_of(id, strlen(id), &digest) < 0 ||
        !(path = sfs_format("%s/%s", dir, sfs_digest_print(&digest, text) + 7)))
        return sfs_fail_memory(job->eval->err);
    r = keep(job, path, &mount->source);
    struct stat st;
    bool is_new = r == 0 && stat(path, &st) < 0;
    if (r == 0)
        r = sfs_io_make_private_dir(path, job->eval->err);
    if (r == 0 && is_new &&
        (chmod(path, options->has_mode ? options->mode & 07777 : 0755) < 0 ||
         chown(path, options->uid, options->gid) < 0))
        r = sfs_fail_errno(job->eval->err, errno, "%s", path);
    mount->kind = SFS_RUN_HOST;
    mount->read_only = options->read_only;
    return r < 0 ? r : lock_cache(job, path, options->sharing);
}

/* ---- secret ---- */

/* Finds the secret of that id: "id=ID[,src=FILE|,env=NAME]". 1: there is one. */
static int find_secret(struct run_job *job, const char *id, char **ret_file, char **ret_env)
{
    const struct sfs_stage_spec *spec = job->eval->spec;
    for (size_t i = 0; i < spec->secret_count; i++) {
        AUTO(sfs_vars_close) struct sfs_vars fields = { 0 };
        const char *file = NULL, *env = NULL, *given = NULL;
        int r = sfs_csv_parse(spec->secrets[i], &fields, job->eval->err);
        if (r < 0)
            return sfs_fail_while(job->eval->err, r, "--secret %.100s", spec->secrets[i]);
        for (size_t f = 0; f < fields.count; f++) {
            const char *field = fields.items[f];
            if (strncmp(field, "id=", 3) == 0)
                given = field + 3;
            else if (strncmp(field, "src=", 4) == 0)
                file = field + 4;
            else if (strncmp(field, "source=", 7) == 0)
                file = field + 7;
            else if (strncmp(field, "env=", 4) == 0)
                env = field + 4;
            else if (strncmp(field, "type=", 5) != 0)
                return sfs_fail(job->eval->err, EINVAL,
                                "--secret %.100s: it is id=ID,src=FILE or id=ID,env=NAME",
                                spec->secrets[i]);
        }
        if (!given || strcmp(given, id) != 0)
            continue;
        if (!file && !env)
            env = getenv(id) ? id : NULL;
        *ret_env = env ? strdup(env) : NULL;
        *ret_file = env ? NULL : strdup(file ? file : id);
        return *ret_env || *ret_file ? 1 : sfs_fail_memory(job->eval->err);
    }
    return 0;
}

/* Reads the secret of that id. 1: done; 0: nobody gave it. */
static int read_secret(struct run_job *job, const char *id, struct sfs_run_mount *mount)
{
    AUTO(sfs_free) char *file = NULL;
    AUTO(sfs_free) char *env = NULL;
    int r = find_secret(job, id, &file, &env);
    if (r <= 0)
        return r;
    const char *value = env ? getenv(env) : NULL, *kept = NULL;
    char *text = value ? strdup(value) : NULL;
    size_t size = value ? strlen(value) : 0;
    if (env && !value)
        return sfs_fail(job->eval->err, ENOENT, "--secret id=%s: there is no variable %s", id, env);
    if (file) {
        r = sfs_io_read_file(AT_FDCWD, file, MAX_SECRET, &text, &size, job->eval->err);
        if (r < 0)
            return sfs_fail_while(job->eval->err, r, "--secret id=%s", id);
    }
    r = keep(job, text, &kept);
    mount->data = kept;
    mount->size = size;
    return r < 0 ? r : 1;
}

/* Adds a secret. 1: as a mount; 0: without one (it is put into the environment, or is not there and
 * not required). */
static int add_secret(struct run_job *job, const struct mount_options *options,
                      struct sfs_run_mount *mount)
{
    const char *id = options->source ? options->source : options->id;
    if (!id || !*id)
        id = sfs_path_base(options->target);
    int r = read_secret(job, id, mount);
    if (r == 0 && options->required)
        return sfs_fail(job->eval->err, ENOENT,
                        "secret %.100s: not found; give it with --secret "
                        "id=%.100s,src=FILE",
                        id, id);
    if (r <= 0)
        return r;
    const char *variable = options->env && !*options->env ? id : options->env;
    if (variable && sfs_vars_set(&job->env, variable, mount->data) < 0)
        return sfs_fail_memory(job->eval->err);
    if (options->env && !options->target)
        return 0;
    mount->kind = SFS_RUN_TEXT;
    mount->read_only = true;
    mount->uid = options->uid;
    mount->gid = options->gid;
    mount->mode = options->has_mode ? options->mode & 07777 : 0400;
    if (options->target && *options->target)
        return 1;
    char *path = NULL;
    path = sfs_format("/run/secrets/%s", sfs_path_base(id));
    r = keep(job, path, &mount->target);
    return r < 0 ? r : 1;
}

/* ---- ssh ---- */

/* No agent is ever handed on: a command that requires one fails, any other runs without. */
static int skip_agent(struct run_job *job, const struct mount_options *options)
{
    if (!options->required)
        return 0;
    return sfs_fail(job->eval->err, ENOTSUP,
                    "--mount=type=ssh is required, but no ssh agent is handed on; fetch what needs "
                    "it into the build context first");
}

/* ---- all of them ---- */

/* Adds what one --mount asks for. 1: *mount is filled; 0: it needs no mount. */
static int add_mount(struct run_job *job, const struct mount_options *options,
                     struct sfs_run_mount *mount)
{
    const char *workdir = sfs_config_workdir(job->stage->config);
    int r = 0;
    if (options->type == MOUNT_SSH)
        return skip_agent(job, options);
    if (options->type != MOUNT_SECRET || options->target)
        r = keep(job, sfs_path_join(workdir, options->target ? options->target : ""),
                 &mount->target);
    if (r == 0 && options->type != MOUNT_SECRET && strcmp(mount->target, "/") == 0)
        r = sfs_fail(job->eval->err, EINVAL, "invalid mount target \"%s\"",
                     options->target ? options->target : "");
    if (r < 0)
        return r;
    switch (options->type) {
    case MOUNT_BIND:
        r = add_bind(job, options, mount);
        break;
    case MOUNT_CACHE:
        r = add_cache(job, options, mount);
        break;
    case MOUNT_TMPFS:
        mount->kind = SFS_RUN_TMPFS;
        mount->limit = options->size;
        mount->read_only = options->read_only;
        break;
    case MOUNT_SECRET:
        return add_secret(job, options, mount);
    case MOUNT_SSH:
        break;
    }
    return r < 0 ? r : 1;
}

int sfs_eval_run_options(struct run_job *job)
{
    struct eval *eval = job->eval;
    job->options = calloc(job->instruction->flags.count + 1, sizeof *job->options);
    if (!job->options)
        return sfs_fail_memory(eval->err);
    const char *text;
    for (size_t at = 0; (text = sfs_flag_next(job->instruction, "mount", &at));) {
        int r = sfs_mount_options_parse(text, eval->dockerfile.escape, &job->stage->env,
                                        &job->options[job->option_count], eval->err);
        if (r < 0)
            return r;
        job->option_count++;
    }
    const char *security = sfs_flag_text(job->instruction, "security");
    if (security && strcmp(security, "sandbox") != 0)
        return sfs_fail(eval->err, ENOTSUP, "--security=%.50s is not supported", security);
    if (sfs_flag_text(job->instruction, "device"))
        return sfs_fail(eval->err, ENOTSUP, "--device is not supported");
    return 0;
}

int sfs_eval_run_mounts(struct run_job *job)
{
    job->mounts = calloc(job->option_count + 2, sizeof *job->mounts);
    if (!job->mounts)
        return sfs_fail_memory(job->eval->err);
    if (job->script.target)
        job->mounts[job->mount_count++] = job->script;
    for (size_t i = 0; i < job->option_count; i++) {
        int r = add_mount(job, &job->options[i], &job->mounts[job->mount_count]);
        if (r < 0)
            return r;
        job->mount_count += r > 0;
    }
    return 0;
}
