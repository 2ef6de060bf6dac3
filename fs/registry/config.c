/* registries.conf: which table is meant for a name, and what it comes to. */
#include "registry/config.h"

#include "base/array.h"
#include "base/io.h"
#include "base/limits.h"
#include "registry/certificates.h"
#include "registry/toml.h"
#include "registry/url.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stagefs/auto.h>
#include <stagefs/format.h>

#define MOST_REGISTRIES 4096u

struct sfs_config {
    json_t *registries;   /* an array of tables; of one prefix, the last holds */
    const char **helpers; /* point into `helper_json` */
    json_t *helper_json;
};

/* ---- reading */

static void close_json(json_t **json)
{
    json_decref(*json);
    *json = NULL;
}

static const char *text_of(const json_t *table, const char *key)
{
    return json_string_value(json_object_get(table, key));
}

static bool is_true(const json_t *table, const char *key)
{
    return json_is_true(json_object_get(table, key));
}

/* A table's prefix is its location where it names none. */
static const char *prefix_of(const json_t *registry)
{
    const char *prefix = text_of(registry, "prefix");
    return prefix && *prefix ? prefix : text_of(registry, "location");
}

static int take_helpers(struct sfs_config *config, json_t *helpers, struct sfs_error *err)
{
    size_t count = json_array_size(helpers);
    const char **names = calloc(count + 1, sizeof *names);
    if (!names)
        return sfs_fail_memory(err);
    for (size_t i = 0; i < count; i++) {
        const char *name = json_string_value(json_array_get(helpers, i));
        names[i] = name ? name : "";
    }
    free(config->helpers);
    close_json(&config->helper_json);
    config->helpers = names;
    config->helper_json = json_incref(helpers);
    return 0;
}

static int take_document(struct sfs_config *config, const json_t *json, const char *file,
                         struct sfs_error *err)
{
    json_t *helpers = json_object_get(json, "credential-helpers");
    json_t *registries = json_object_get(json, "registry");
    size_t count = json_array_size(registries);
    if (count + json_array_size(config->registries) > MOST_REGISTRIES)
        return sfs_fail(err, E2BIG, "%s: more than %u registries", file, MOST_REGISTRIES);
    for (size_t i = 0; i < count; i++) {
        json_t *registry = json_array_get(registries, i);
        if (!prefix_of(registry))
            return sfs_fail(err, EBADMSG, "%s: a [[registry]] has neither prefix nor location",
                            file);
        if (json_array_append(config->registries, registry) < 0)
            return sfs_fail_memory(err);
    }
    return helpers ? take_helpers(config, helpers, err) : 0;
}

/* -ENOENT: there is no such file. */
static int read_file(struct sfs_config *config, const char *file, struct sfs_error *err)
{
    AUTO(sfs_free) char *text = NULL;
    AUTO(close_json) json_t *json = NULL;
    size_t size = 0;
    int r = sfs_io_read_file(AT_FDCWD, file, SFS_MAX_SETTINGS, &text, &size, err);
    if (r == -ENOTDIR)
        r = -ENOENT;
    if (r == 0)
        r = sfs_toml_parse(text, size, file, &json, err);
    return r < 0 ? r : take_document(config, json, file, err);
}

static int is_drop_in(const struct dirent *entry)
{
    size_t size = strlen(entry->d_name);
    return size > 5 && entry->d_name[0] != '.' && strcmp(entry->d_name + size - 5, ".conf") == 0;
}

static int read_drop_ins(struct sfs_config *config, const char *dir, struct sfs_error *err)
{
    struct dirent **entries;
    int r = 0, count = scandir(dir, &entries, is_drop_in, alphasort);
    for (int i = 0; i < count; i++) {
        AUTO(sfs_free) char *file = sfs_format("%s/%s", dir, entries[i]->d_name);
        if (r == 0)
            r = file ? read_file(config, file, err) : sfs_fail_memory(err);
        r = r == -ENOENT ? 0 : r;
        free(entries[i]);
    }
    if (count >= 0)
        free(entries);
    return r;
}

/* The caller frees; NULL: the user has no home, or no memory. */
static char *name_user_file(const char *name)
{
    const char *dir = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");
    if (dir && *dir)
        return sfs_format("%s/containers/%s", dir, name);
    return home && *home ? sfs_format("%s/.config/containers/%s", home, name) : NULL;
}

static int read_all(struct sfs_config *config, struct sfs_error *err)
{
    const char *named = getenv("CONTAINERS_REGISTRIES_CONF");
    AUTO(sfs_free) char *own = name_user_file("registries.conf");
    AUTO(sfs_free) char *own_drop_ins = name_user_file("registries.conf.d");
    if (named && *named)
        return read_file(config, named, err);
    int r = own ? read_file(config, own, err) : -ENOENT;
    if (r == -ENOENT)
        r = read_file(config, "/etc/containers/registries.conf", err);
    if (r == 0 || r == -ENOENT)
        r = read_drop_ins(config, "/etc/containers/registries.conf.d", err);
    if (r == 0 && own_drop_ins)
        r = read_drop_ins(config, own_drop_ins, err);
    return r;
}

int sfs_config_open(struct sfs_config **ret_config, struct sfs_error *err)
{
    AUTO(sfs_config_close) struct sfs_config *config = calloc(1, sizeof *config);
    if (!config || !(config->registries = json_array()))
        return sfs_fail_memory(err);
    int r = read_all(config, err);
    if (r < 0)
        return r;
    *ret_config = TAKE(config);
    return 0;
}

void sfs_config_close(struct sfs_config **config_ptr)
{
    struct sfs_config *config = *config_ptr;
    if (!config)
        return;
    *config_ptr = NULL;
    close_json(&config->registries);
    close_json(&config->helper_json);
    free(config->helpers);
    free(config);
}

const char *const *sfs_config_helpers(const struct sfs_config *config)
{
    return config->helpers;
}

/* ---- finding */

/* How much of "HOST/NAME" the prefix is; 0: nothing. "*.example.com" is any host below it. */
static size_t match(const char *prefix, const char *name)
{
    size_t size = strlen(prefix), host = strcspn(name, "/");
    if (strncmp(prefix, "*.", 2) != 0)
        return strncmp(prefix, name, size) == 0 && (name[size] == '/' || !name[size]) ? size : 0;
    size_t own = strcspn(prefix, "/") - 1, rest = size - 1 - own; /* ".example.com", "/a/b" */
    if (host <= own || memcmp(name + host - own, prefix + 1, own) != 0)
        return 0;
    const char *end = name + host + rest;
    bool fits = strncmp(name + host, prefix + 1 + own, rest) == 0 && (*end == '/' || !*end);
    return fits ? host + rest : 0;
}

/* The table with the longest prefix; of equal ones the last, since drop-ins come last. */
static const json_t *find_registry(const struct sfs_config *config, const char *name,
                                   size_t *ret_matched)
{
    const json_t *found = NULL;
    size_t longest = 0, i;
    json_t *registry;
    json_array_foreach(config->registries, i, registry)
    {
        const char *prefix = prefix_of(registry);
        size_t matched = match(prefix, name);
        if (matched > 0 && strlen(prefix) >= longest) {
            longest = strlen(prefix);
            *ret_matched = matched;
            found = registry;
        }
    }
    return found;
}

int sfs_config_find_tls(const struct sfs_config *config, const char *url, bool no_verify,
                        struct sfs_http_tls *ret_tls, struct sfs_error *err)
{
    size_t matched;
    AUTO(sfs_url_done) struct sfs_url parts = { 0 };
    int r = sfs_url_parse(url, &parts, err);
    if (r < 0)
        return r;
    const json_t *registry = find_registry(config, parts.place, &matched);
    ret_tls->no_verify = no_verify || (registry && is_true(registry, "insecure"));
    return sfs_certificates_find(parts.place, ret_tls, err);
}

static int add_place(const json_t *table, const char *rest, const char *name, bool insecure,
                     struct sfs_endpoint_list *list, struct sfs_endpoint **ret_endpoint,
                     struct sfs_error *err)
{
    const char *location = text_of(table, "location");
    bool has_location = location && *location;
    AUTO(sfs_free)
    char *place = sfs_format("%s%s", has_location ? location : name, has_location ? rest : "");
    if (!place)
        return sfs_fail_memory(err);
    return sfs_endpoint_list_add(list, place, insecure || is_true(table, "insecure"), ret_endpoint,
                                 err);
}

static int add_mirror(const json_t *mirror, const char *rest, const char *name, bool insecure,
                      bool by_digest, struct sfs_endpoint_list *list, struct sfs_error *err)
{
    const char *from = text_of(mirror, "pull-from-mirror");
    struct sfs_endpoint *endpoint;
    if (!text_of(mirror, "location"))
        return sfs_fail(err, EBADMSG, "registries.conf: a mirror of %s has no location", name);
    int r = add_place(mirror, rest, name, insecure, list, &endpoint, err);
    if (r < 0)
        return r;
    endpoint->for_tags = !by_digest && !(from && strcmp(from, "digest-only") == 0);
    endpoint->for_digests = !(from && strcmp(from, "tag-only") == 0);
    return 0;
}

int sfs_config_add_endpoints(const struct sfs_config *config, const char *host,
                             const char *repository, bool insecure, struct sfs_endpoint_list *list,
                             struct sfs_error *err)
{
    AUTO(sfs_free) char *name = sfs_format("%s/%s", host, repository);
    if (!name)
        return sfs_fail_memory(err);
    size_t matched = 0, i;
    const json_t *registry = find_registry(config, name, &matched);
    if (!registry)
        return 0;
    if (is_true(registry, "blocked"))
        return sfs_fail(err, EACCES, "%s is blocked by registries.conf", prefix_of(registry));
    json_t *mirror;
    bool by_digest = is_true(registry, "mirror-by-digest-only");
    json_array_foreach(json_object_get(registry, "mirror"), i, mirror)
    {
        int r = add_mirror(mirror, name + matched, name, insecure, by_digest, list, err);
        if (r < 0)
            return r;
    }
    int r = add_place(registry, name + matched, name, insecure, list, NULL, err);
    return r < 0 ? r : 1;
}

/* registries.conf goes before hosts.toml: where it has a table for the name, that is all that
 * counts. */
int sfs_config_find_endpoints(const struct sfs_config *config, const struct sfs_name *name,
                              bool insecure, struct sfs_endpoint_list *ret_list,
                              struct sfs_error *err)
{
    int r = sfs_config_add_endpoints(config, name->host, name->repository, insecure, ret_list, err);
    if (r == 0)
        r = sfs_hosts_add_endpoints(name->host, name->repository, insecure, ret_list, err);
    if (r != 0)
        return r < 0 ? r : 0;
    AUTO(sfs_free) char *location = sfs_format("%s/%s", name->host, name->repository);
    return location ? sfs_endpoint_list_add(ret_list, location, insecure, NULL, err)
                    : sfs_fail_memory(err);
}
