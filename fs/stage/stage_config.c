/* The image config that a stage begins with, from nothing or from its base. */
#include "base/warn.h"
#include "image/platform.h"
#include "stage/stage_private.h"

#include "base/banned.h"
#include <errno.h>

#define DEFAULT_PATH "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

/* Sets architecture, os and variant where the config does not say them. */
static int set_platform(json_t *config, const char *text, struct sfs_error *err)
{
    struct sfs_platform platform;
    if (json_object_get(config, "architecture") && json_object_get(config, "os"))
        return 0;
    int r = sfs_platform_parse(text, &platform, err);
    if (r < 0)
        return r;
    r = json_object_set_new(config, "architecture", json_string(platform.arch));
    if (r == 0)
        r = json_object_set_new(config, "os", json_string(platform.os));
    if (r == 0 && platform.variant[0])
        r = json_object_set_new(config, "variant", json_string(platform.variant));
    return r < 0 ? sfs_fail_memory(err) : 0;
}

int sfs_config_scratch(const char *platform, json_t **ret_config, struct sfs_error *err)
{
    json_t *config = json_pack("{s:{s:s, s:[s]}, s:[]}", "config", "WorkingDir", "/", "Env",
                               DEFAULT_PATH, "history");
    if (!config)
        return sfs_fail_memory(err);
    int r = set_platform(config, platform, err);
    if (r < 0) {
        json_decref(config);
        return r;
    }
    *ret_config = config;
    return 0;
}

static bool has_path(const json_t *env)
{
    size_t i;
    json_t *item;
    json_array_foreach(env, i, item)
    {
        const char *text = json_string_value(item);
        if (text && strncmp(text, "PATH=", 5) == 0)
            return true;
    }
    return false;
}

/* Sets PATH if the config has none, as BuildKit does. */
static int ensure_path(json_t *settings)
{
    json_t *env = json_object_get(settings, "Env");
    if (!json_is_array(env)) {
        env = json_array();
        if (json_object_set_new(settings, "Env", env) < 0)
            return -ENOMEM;
    }
    if (has_path(env))
        return 0;
    return json_array_append_new(env, json_string(DEFAULT_PATH)) < 0 ? -ENOMEM : 0;
}

/* Copies the fields that an image config has by the specification; a builder's own (container,
 * docker_version, parent, ...) would be wrong of the new image. */
static int copy_fields(const json_t *from, json_t *to)
{
    static const char *const names[] = { "architecture", "os",     "os.version", "os.features",
                                         "variant",      "author", "config",     "history" };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        const json_t *value = json_object_get(from, names[i]);
        if (!value || json_is_null(value))
            continue;
        json_t *copy = json_deep_copy(value);
        if (!copy || json_object_set_new(to, names[i], copy) < 0)
            return -ENOMEM;
    }
    return 0;
}

static int ensure(json_t *config, const char *name, json_t *empty)
{
    const json_t *value = json_object_get(config, name);
    if (value && json_typeof(value) == json_typeof(empty)) {
        json_decref(empty);
        return 0;
    }
    return json_object_set_new(config, name, empty);
}

int sfs_config_inherit(const json_t *config, const char *platform, json_t **ret_config,
                       struct sfs_error *err)
{
    if (json_object_size(config) == 0)
        return sfs_config_scratch(platform, ret_config, err);
    json_t *copy = json_object();
    int r = copy ? copy_fields(config, copy) : -ENOMEM;
    if (r == 0 &&
        (ensure(copy, "config", json_object()) < 0 || ensure(copy, "history", json_array()) < 0))
        r = -ENOMEM;
    if (r == 0)
        r = ensure_path(json_object_get(copy, "config"));
    r = r < 0 ? sfs_fail_memory(err) : set_platform(copy, platform, err);
    if (r < 0) {
        json_decref(copy);
        return r;
    }
    *ret_config = copy;
    return 0;
}

const char *sfs_config_workdir(const json_t *config)
{
    const json_t *settings = json_object_get(config, "config");
    const char *workdir = json_string_value(json_object_get(settings, "WorkingDir"));
    return workdir && *workdir ? workdir : "/";
}

static const char *get_text(const struct sfs_image *image, const char *name)
{
    return json_string_value(json_object_get(sfs_image_config(image), name));
}

int sfs_config_compare_platforms(const struct sfs_context *context, const struct sfs_image *base,
                                 const struct sfs_image *from, struct sfs_error *err)
{
    static const char *const names[] = { "os", "architecture" };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        const char *left = get_text(base, names[i]), *right = get_text(from, names[i]);
        if (!left || !right || strcmp(left, right) == 0)
            continue;
        return sfs_fail_or_warn(err, context->progress, context->strict, EINVAL,
                                "%s is for %s, but %s is for %s", sfs_image_ref(from), right,
                                sfs_image_ref(base), left);
    }
    return 0;
}
