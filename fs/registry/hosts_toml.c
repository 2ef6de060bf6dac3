/* containerd's hosts.toml: mirrors, and P2P mirrors as Dragonfly's, in the form that clusters have
 * anyhow. */
#include "registry/config.h"

#include "base/io.h"
#include "base/limits.h"
#include "registry/certificates.h"
#include "registry/toml.h"
#include "registry/url.h"
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stagefs/auto.h>
#include <stagefs/format.h>
#include <sys/stat.h>

#define MOST_HEADERS 16

static void close_json(json_t **json)
{
    json_decref(*json);
    *json = NULL;
}

static bool is_true(const json_t *table, const char *key)
{
    return json_is_true(json_object_get(table, key));
}

/* ---- where the file is */

/* "HOST_PORT_", "HOST:PORT", "_default": the first directory that is there. */
static char *find_in(const char *root, const char *host)
{
    const char *colon = strrchr(host, ':');
    bool has_port = colon && !strchr(colon, ']');
    char *names[] = { has_port
                          ? sfs_format("%s/%.*s_%s_", root, (int)(colon - host), host, colon + 1)
                          : NULL,
                      sfs_format("%s/%s", root, host), sfs_format("%s/_default", root) };
    char *found = NULL;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        struct stat st;
        if (!found && names[i] && stat(names[i], &st) == 0 && S_ISDIR(st.st_mode))
            found = names[i];
        else
            free(names[i]);
    }
    return found;
}

/* The caller frees; NULL: there is none. */
static char *find_dir(const char *host)
{
    const char *config = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");
    AUTO(sfs_free)
    char *own = config && *config ? sfs_format("%s/containerd/certs.d", config)
                                  : sfs_format("%s/.config/containerd/certs.d", home ? home : "");
    char *found = own ? find_in(own, host) : NULL;
    return found ? found : find_in("/etc/containerd/certs.d", host);
}

/* ---- what a table says */

static bool has_capability(const json_t *table, const char *name)
{
    const json_t *list = json_object_get(table, "capabilities");
    if (!json_is_array(list))
        return true;
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *item = json_string_value(json_array_get(list, i));
        if (item && strcasecmp(item, name) == 0)
            return true;
    }
    return false;
}

static char *below(const char *dir, const char *file)
{
    return *file == '/' ? strdup(file) : sfs_format("%s/%s", dir, file);
}

static int add_authority(const char *dir, const json_t *name, struct sfs_http_tls *tls,
                         struct sfs_error *err)
{
    if (!json_is_string(name))
        return sfs_fail(err, EBADMSG, "\"ca\" is no name of a file");
    AUTO(sfs_free) char *file = below(dir, json_string_value(name));
    return file ? sfs_certificates_add(file, tls, err) : sfs_fail_memory(err);
}

static int take_authorities(const json_t *table, const char *dir, struct sfs_http_tls *tls,
                            struct sfs_error *err)
{
    const json_t *ca = json_object_get(table, "ca");
    if (!json_is_array(ca))
        return ca ? add_authority(dir, ca, tls, err) : 0;
    int r = 0;
    for (size_t i = 0; r == 0 && i < json_array_size(ca); i++)
        r = add_authority(dir, json_array_get(ca, i), tls, err);
    return r;
}

/* "file with both", ["one", ...] or [["certificate", "key"], ...]: the first counts. */
static int take_client(const json_t *table, const char *dir, struct sfs_http_tls *tls,
                       struct sfs_error *err)
{
    const json_t *client = json_object_get(table, "client");
    if (!client)
        return 0;
    const json_t *first = json_is_array(client) ? json_array_get(client, 0) : client;
    const char *certificate =
        json_string_value(json_is_array(first) ? json_array_get(first, 0) : first);
    const char *key = json_is_array(first) ? json_string_value(json_array_get(first, 1)) : NULL;
    if (!certificate)
        return sfs_fail(err, EBADMSG, "\"client\" is no name of a file");
    sfs_free(&tls->certificate);
    sfs_free(&tls->key);
    tls->certificate = below(dir, certificate);
    tls->key = below(dir, key ? key : certificate);
    return tls->certificate && tls->key ? 0 : sfs_fail_memory(err);
}

static bool is_header(const char *name, const char *value)
{
    for (const char *p = name; *p; p++)
        if (!isalnum((unsigned char)*p) && !strchr("-_", *p))
            return false;
    for (const char *p = value; p && *p; p++)
        if ((unsigned char)*p < 0x20 || *p == 0x7f)
            return false;
    return *name && value;
}

static int take_headers(const json_t *table, struct sfs_endpoint *endpoint, struct sfs_error *err)
{
    const char *name;
    json_t *value;
    size_t count = 0;
    json_t *headers = json_object_get(table, "header");
    endpoint->headers = calloc(MOST_HEADERS + 1, sizeof *endpoint->headers);
    if (!endpoint->headers)
        return sfs_fail_memory(err);
    json_object_foreach(headers, name, value)
    {
        const json_t *first = json_is_array(value) ? json_array_get(value, 0) : value;
        const char *text = json_string_value(first);
        if (!is_header(name, text) || count == MOST_HEADERS)
            return sfs_fail(err, EBADMSG, "header '%.60s' cannot be sent", name);
        char *line = endpoint->headers[count++] = sfs_format("%s: %s", name, text);
        if (!line)
            return sfs_fail_memory(err);
    }
    return 0;
}

/* ---- endpoints */

struct hosts {
    const char *dir, *host, *repository;
    bool insecure;
    struct sfs_endpoint_list *list;
};

/* A URL may lack its scheme, and has "/v2" added unless override_path says otherwise. */
static char *make_base(const char *text, bool override_path)
{
    AUTO(sfs_free) char *url = strdup(text);
    size_t size = url ? strlen(url) : 0;
    while (size > 0 && url[size - 1] == '/')
        url[--size] = 0;
    if (!url)
        return NULL;
    bool has_scheme = strstr(url, "://");
    bool has_v2 = size >= 3 && strcmp(url + size - 3, "/v2") == 0;
    return sfs_format("%s%s%s", has_scheme ? "" : "https://", url,
                      override_path || has_v2 ? "" : "/v2");
}

static int take_table(const struct hosts *hosts, const char *text, const json_t *table,
                      struct sfs_error *err)
{
    AUTO(sfs_free) char *base = make_base(text, is_true(table, "override_path"));
    AUTO(sfs_url_done) struct sfs_url url = { 0 };
    struct sfs_endpoint *endpoint;
    if (!base)
        return sfs_fail_memory(err);
    int r = sfs_url_parse(base, &url, err);
    if (r < 0)
        return r;
    bool is_own = strcmp(url.place, sfs_name_server(hosts->host)) == 0;
    AUTO(sfs_free)
    char *location = sfs_format("%s/%s", is_own ? hosts->host : url.place, hosts->repository);
    bool insecure = hosts->insecure || is_true(table, "skip_verify");
    r = location ? sfs_endpoint_list_add(hosts->list, location, insecure, &endpoint, err)
                 : sfs_fail_memory(err);
    if (r < 0)
        return r;
    free(endpoint->base);
    endpoint->base = TAKE(base);
    endpoint->may_be_plain &= !strstr(text, "://");
    endpoint->query = is_own ? NULL : sfs_format("ns=%s", hosts->host);
    endpoint->for_tags = has_capability(table, "resolve");
    endpoint->for_digests = has_capability(table, "pull");
    if (!is_own && !endpoint->query)
        return sfs_fail_memory(err);
    r = take_authorities(table, hosts->dir, &endpoint->tls, err);
    if (r == 0)
        r = take_client(table, hosts->dir, &endpoint->tls, err);
    return r < 0 ? r : take_headers(table, endpoint, err);
}

static int take_file(const struct hosts *hosts, const json_t *json, struct sfs_error *err)
{
    const char *name;
    json_t *table;
    json_object_foreach(json_object_get(json, "host"), name, table)
    {
        int r = take_table(hosts, name, table, err);
        if (r < 0)
            return r;
    }
    const char *server = json_string_value(json_object_get(json, "server"));
    return take_table(hosts, server ? server : sfs_name_server(hosts->host), json, err);
}

int sfs_hosts_add_endpoints(const char *host, const char *repository, bool insecure,
                            struct sfs_endpoint_list *list, struct sfs_error *err)
{
    AUTO(sfs_free) char *dir = find_dir(host);
    AUTO(sfs_free) char *file = dir ? sfs_format("%s/hosts.toml", dir) : NULL;
    AUTO(sfs_free) char *text = NULL;
    AUTO(close_json) json_t *json = NULL;
    size_t size = 0;
    if (!file)
        return dir ? sfs_fail_memory(err) : 0;
    int r = sfs_io_read_file(AT_FDCWD, file, SFS_MAX_SETTINGS, &text, &size, err);
    if (r == -ENOENT)
        return 0;
    if (r == 0)
        r = sfs_toml_parse(text, size, file, &json, err);
    if (r < 0)
        return r;
    struct hosts hosts = {
        .dir = dir, .host = host, .repository = repository, .insecure = insecure, .list = list
    };
    r = take_file(&hosts, json, err);
    return r < 0 ? sfs_fail_while(err, r, "%s", file) : 1;
}
