/* How a command is run in a stage: what the stage's config and the options say. */
#include "run_request.h"

#include <errno.h>
#include <jansson.h>
#include <stagefs/format.h>
#include <string.h>
#include <sys/stat.h>

static const struct json_t *settings(const struct run_setup *setup)
{
    return json_object_get(setup->config, "config");
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

static const char *keep(struct run_setup *setup, char *text)
{
    char **more = text ? reallocarray(setup->kept, setup->kept_count + 1, sizeof *more) : NULL;
    if (!more) {
        free(text);
        return NULL;
    }
    setup->kept = more;
    more[setup->kept_count++] = text;
    return text;
}

static int make_env(struct run_setup *setup, const char *home, struct sfs_error *err)
{
    const struct json_t *list = json_object_get(settings(setup), "Env");
    size_t count = 0, i, given = json_array_size(list);
    json_t *item;
    setup->envs = calloc(given + setup->env.count + 3, sizeof *setup->envs);
    char *text = setup->envs ? sfs_format("HOME=%s", home) : NULL;
    const char *home_item = text ? keep(setup, text) : NULL;
    if (!home_item)
        return sfs_fail_memory(err);
    set_env(setup->envs, &count, home_item);
    json_array_foreach(list, i, item)
    {
        if (json_string_value(item))
            set_env(setup->envs, &count, json_string_value(item));
    }
    for (i = 0; i < setup->env.count; i++) {
        const char *env = setup->env.items[i];
        if (!strchr(env, '=')) { /* as docker: of this environment, if it is there */
            const char *value = getenv(env);
            if (!value)
                continue;
            text = sfs_format("%s=%s", env, value);
            if (!text)
                return sfs_fail_memory(err);
            env = keep(setup, text);
            if (!env)
                return sfs_fail_memory(err);
        }
        set_env(setup->envs, &count, env);
    }
    return 0;
}

static const char *find_env(const struct run_setup *setup, const char *name)
{
    size_t size = strlen(name);
    for (const char *const *env = setup->envs; *env; env++)
        if (strncmp(*env, name, size) == 0 && (*env)[size] == '=')
            return *env + size + 1;
    return NULL;
}

static bool has_directory(const char *list, const char *dir)
{
    for (size_t size = strlen(dir); list; list = strchr(list, ':') ? strchr(list, ':') + 1 : NULL)
        if (strncmp(list, dir, size) == 0 && (!list[size] || list[size] == ':'))
            return true;
    return false;
}

/* The driver's libraries are found behind all that the image names itself: it may bring newer ones
 * on purpose. */
static int add_driver_path(struct run_setup *setup, struct sfs_error *err)
{
    const char *before = find_env(setup, "LD_LIBRARY_PATH");
    bool has_some = before && *before;
    if (has_directory(before, SFS_NVIDIA_LIBRARIES))
        return 0;
    char *text = sfs_format("LD_LIBRARY_PATH=%s%s" SFS_NVIDIA_LIBRARIES, has_some ? before : "",
                            has_some ? ":" : "");
    const char *item = keep(setup, text);
    size_t count = 0;
    if (!item)
        return sfs_fail_memory(err);
    while (setup->envs[count])
        count++;
    set_env(setup->envs, &count, item);
    return 0;
}

/* The image may have been made for other GPUs: kernels will fail there, in words that do not say
 * why. */
static void warn_of_other_gpus(const struct run_setup *setup)
{
    unsigned capabilities[16];
    const struct json_t *config = setup->config;
    const struct sfs_progress *progress = &setup->session->tool.progress;
    size_t count = sfs_gpu_archs_of(config)
                       ? sfs_gpu_capabilities(capabilities, sizeof capabilities / sizeof(unsigned))
                       : 0;
    for (size_t i = 0; i < count && progress->warn; i++) {
        struct sfs_error words;
        if (sfs_gpu_arch_is_kept(config, capabilities[i]))
            continue;
        sfs_fail(&words, ENOTSUP,
                 "the image holds device code for %s, and this machine has a GPU of sm_%u: what "
                 "runs on it will fail",
                 sfs_gpu_archs_of(config), capabilities[i]);
        progress->warn(progress->user, words.text);
        return;
    }
}

/* NVIDIA_DRIVER_ROOT: where the driver is, if it is not installed on the machine itself. */
static int find_gpus(struct run_setup *setup, struct sfs_error *err)
{
    const char *root = getenv("NVIDIA_DRIVER_ROOT");
    int r = sfs_nvidia_open(root && *root ? root : "/", find_env(setup, "NVIDIA_VISIBLE_DEVICES"),
                            &setup->nvidia, err);
    if (r == 0)
        warn_of_other_gpus(setup);
    return r < 0 ? r : add_driver_path(setup, err);
}

/* --rw DIR[:PATH]: a directory of this machine, at the same place or at PATH. */
static int make_mounts(struct run_setup *setup, struct sfs_error *err)
{
    setup->mounts = calloc(setup->writable.count + 1, sizeof *setup->mounts);
    if (!setup->mounts)
        return sfs_fail_memory(err);
    for (size_t i = 0; i < setup->writable.count; i++) {
        const char *text = setup->writable.items[i], *colon = strstr(text, ":/");
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
        const char *source = keep(setup, real);
        if (!source)
            return sfs_fail_memory(err);
        setup->mounts[i] = (struct sfs_run_mount){ .kind = SFS_RUN_HOST,
                                                   .source = source,
                                                   .target = colon ? colon + 1 : source };
    }
    return 0;
}

/* Adds the texts of a JSON array behind `count` others. False: it holds something else. */
static bool add_words(const char **words, size_t *count, const struct json_t *array)
{
    for (size_t i = 0; i < json_array_size(array); i++) {
        const char *word = json_string_value(json_array_get(array, i));
        if (!word)
            return false;
        words[(*count)++] = word;
    }
    return true;
}

int run_setup_own_command(struct run_setup *setup, const char *const **ret_command,
                          struct sfs_error *err)
{
    const struct json_t *entrypoint = json_object_get(settings(setup), "Entrypoint"),
                        *cmd = json_object_get(settings(setup), "Cmd");
    size_t count = 0, most = json_array_size(entrypoint) + json_array_size(cmd);
    setup->own_command = calloc(most + 1, sizeof *setup->own_command);
    if (!setup->own_command)
        return sfs_fail_memory(err);
    if (!add_words(setup->own_command, &count, entrypoint) ||
        !add_words(setup->own_command, &count, cmd))
        return sfs_fail(err, EBADMSG, "the image's Entrypoint or Cmd is no array of words");
    if (count == 0)
        return sfs_fail(err, EINVAL,
                        "a command is needed: the image says none (neither ENTRYPOINT nor CMD)");
    *ret_command = setup->own_command;
    return 0;
}

int run_setup_absolute(struct run_setup *setup, const char **path, struct sfs_error *err)
{
    if (!*path || **path == '/' || strcmp(*path, "-") == 0)
        return 0;
    AUTO(sfs_free) char *dir = getcwd(NULL, 0);
    if (!dir)
        return sfs_fail_errno(err, errno, "%s", *path);
    char *text = sfs_format("%s/%s", dir, *path);
    *path = text ? keep(setup, text) : NULL;
    return *path ? 0 : sfs_fail_memory(err);
}

/* Where the command's overlay lies. */
static int find_work_dir(struct run_setup *setup, const char **ret_dir, struct sfs_error *err)
{
    char *dir = NULL;
    int r = sfs_store_work_dir(setup->session->tool.context.store, &dir, err);
    if (r < 0)
        return r;
    *ret_dir = keep(setup, dir);
    return *ret_dir ? 0 : sfs_fail_memory(err);
}

static const char *find_directory(const struct run_setup *setup)
{
    const char *own = json_string_value(json_object_get(settings(setup), "WorkingDir"));
    if (setup->workdir)
        return setup->workdir;
    return own && *own ? own : "/";
}

static bool has_no_network(const struct run_setup *setup)
{
    const char *network = setup->session->stage_args.network;
    return network && strcmp(network, "none") == 0;
}

int run_setup_prepare(struct run_setup *setup, struct session *session,
                      struct sfs_run_request *ret_request, struct sfs_error *err)
{
    setup->session = session;
    setup->config = json_incref((json_t *)(uintptr_t)sfs_stage_config(session->stage));
    const char *user = json_string_value(json_object_get(settings(setup), "User"));
    const char *work_dir = NULL;
    int r = sfs_run_user_find(setup->user ? setup->user
                              : user      ? user
                                          : "",
                              sfs_stage_tree(session->stage), &setup->who, err);
    if (r == 0)
        r = make_env(setup, setup->who.home, err);
    if (r == 0)
        r = make_mounts(setup, err);
    if (r == 0 && setup->gpu)
        r = find_gpus(setup, err);
    if (r == 0)
        r = find_work_dir(setup, &work_dir, err);
    if (r < 0)
        return r;
    *ret_request = (struct sfs_run_request){
        .tree = sfs_stage_tree(session->stage),
        .env = setup->envs,
        .cwd = find_directory(setup),
        .uid = setup->who.uid,
        .gid = setup->who.gid,
        .groups = setup->who.groups,
        .group_count = setup->who.group_count,
        .mounts = setup->mounts,
        .mount_count = setup->writable.count,
        .nvidia = setup->nvidia,
        .no_network = has_no_network(setup),
        .hand_on = true,
        .runtime = setup->runtime ? setup->runtime : getenv("STAGEFS_RUNTIME"),
        .work_dir = work_dir,
        .store = session->tool.context.store,
        .progress = &session->tool.progress,
    };
    return 0;
}

void run_setup_done(struct run_setup *setup)
{
    for (size_t i = 0; i < setup->kept_count; i++)
        free(setup->kept[i]);
    free(setup->kept);
    sfs_nvidia_close(&setup->nvidia);
    json_decref(setup->config);
    free(setup->envs);
    free(setup->own_command);
    free(setup->mounts);
    free(setup->env.items);
    free(setup->writable.items);
}
