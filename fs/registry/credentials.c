/* The order is that of containers-auth.json(5): the first file that knows the host is right. */
#include "registry/credentials.h"

#include "base/io.h"
#include "base/limits.h"
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <openssl/evp.h>
#include <stagefs/format.h>
#include <stagefs/json.h>

#define HUB_SERVER "https://index.docker.io/v1/"
#define FILES      "containers-auth.json" /* as registries.conf calls them */

static void wipe(char **text)
{
    if (*text)
        explicit_bzero(*text, strlen(*text));
    sfs_free(text);
}

void sfs_credentials_done(struct sfs_credentials *credentials)
{
    wipe(&credentials->user);
    wipe(&credentials->password);
    wipe(&credentials->identity_token);
    wipe(&credentials->registry_token);
}

static void close_json(json_t **json)
{
    json_decref(*json);
    *json = NULL;
}

/* ---- base64 */

char *sfs_credentials_basic(const struct sfs_credentials *credentials)
{
    AUTO(wipe) char *plain = sfs_format("%s:%s", credentials->user, credentials->password);
    size_t size = plain ? strlen(plain) : 0;
    char *text = plain ? malloc(size / 3 * 4 + 8) : NULL;
    if (text)
        EVP_EncodeBlock((unsigned char *)text, (unsigned char *)plain, (int)size);
    return text;
}

/* "dXNlcjpwYXNz" of a file; some writers leave NULs behind the password. */
static int decode_login(const char *text, struct sfs_credentials *login, const char *file,
                        struct sfs_error *err)
{
    size_t size = strlen(text);
    if (size == 0)
        return 0;
    AUTO(wipe) char *plain = calloc(1, size + 4);
    if (!plain)
        return sfs_fail_memory(err);
    int n = size < SFS_MAX_TOKEN
                ? EVP_DecodeBlock((unsigned char *)plain, (const unsigned char *)text, (int)size)
                : -1;
    char *colon = n > 0 ? strchr(plain, ':') : NULL;
    if (!colon)
        return sfs_fail(err, EBADMSG, "%s: an \"auth\" is not USER:PASSWORD in base64", file);
    *colon = 0;
    login->user = strdup(plain);
    login->password = strdup(colon + 1);
    return login->user && login->password ? 0 : sfs_fail_memory(err);
}

/* ---- one file */

static int copy_text(const json_t *object, const char *key, char **ret_text, struct sfs_error *err)
{
    const char *text = json_string_value(json_object_get(object, key));
    if (!text || !*text)
        return 0;
    wipe(ret_text);
    *ret_text = strdup(text);
    return *ret_text ? 0 : sfs_fail_memory(err);
}

/* An entry of "auths". -ENOENT: it is empty, so a helper has it, or nobody. */
static int read_entry(const json_t *entry, const char *file, struct sfs_credentials *login,
                      struct sfs_error *err)
{
    const char *text = json_string_value(json_object_get(entry, "auth"));
    int r = text ? decode_login(text, login, file, err) : 0;
    if (r == 0)
        r = copy_text(entry, "username", &login->user, err);
    if (r == 0)
        r = copy_text(entry, "password", &login->password, err);
    if (r == 0)
        r = copy_text(entry, "identitytoken", &login->identity_token, err);
    if (r == 0)
        r = copy_text(entry, "registrytoken", &login->registry_token, err);
    if (r < 0)
        return r;
    bool is_login =
        (login->user && login->password) || login->identity_token || login->registry_token;
    return is_login ? 0 : -ENOENT;
}

/* A key as docker wrote it in the course of time: with a scheme, with a path. */
static bool is_same_host(const char *key, const char *host)
{
    if (strncmp(key, "https://", 8) == 0)
        key += 8;
    else if (strncmp(key, "http://", 7) == 0)
        key += 7;
    size_t size = strcspn(key, "/");
    if (strcmp(host, "docker.io") == 0)
        return (size == 9 && memcmp(key, "docker.io", size) == 0) ||
               (size == 15 && memcmp(key, "index.docker.io", size) == 0) ||
               (size == 20 && memcmp(key, "registry-1.docker.io", size) == 0);
    return strlen(host) == size && memcmp(key, host, size) == 0;
}

/* The entry for the longest of HOST/A/B, HOST/A, HOST; then one whose key is of docker's kind. */
static const json_t *find_entry(const json_t *auths, const char *host, const char *repository)
{
    AUTO(sfs_free) char *key = sfs_format("%s/%s", host, repository);
    for (char *slash; key;) {
        const json_t *entry = json_object_get(auths, key);
        if (entry)
            return entry;
        slash = strrchr(key, '/');
        if (!slash)
            break;
        *slash = 0;
    }
    const char *name;
    json_t *entry;
    json_object_foreach((json_t *)(uintptr_t)auths, name,
                        entry) if (is_same_host(name, host)) return entry;
    return NULL;
}

static const char *find_helper(const json_t *json, const char *host, bool *ret_is_own)
{
    const json_t *helpers = json_object_get(json, "credHelpers");
    const char *name;
    json_t *value;
    *ret_is_own = true;
    json_object_foreach((json_t *)(uintptr_t)helpers, name,
                        value) if (is_same_host(name, host)) return json_string_value(value);
    *ret_is_own = false;
    return json_string_value(json_object_get(json, "credsStore"));
}

static int look_into(const json_t *json, const char *file, const char *host, const char *repository,
                     struct sfs_credentials *login, struct sfs_error *err)
{
    bool is_own;
    const char *helper = find_helper(json, host, &is_own);
    const char *server = strcmp(host, "docker.io") == 0 ? HUB_SERVER : host;
    if (helper && *helper) {
        int r = sfs_credential_helper_get(helper, server, login, err);
        if (r != -ENOENT || is_own)
            return r < 0 && r != -ENOENT ? sfs_fail_while(err, r, "%s", file) : r;
    }
    const json_t *entry = find_entry(json_object_get(json, "auths"), host, repository);
    return entry ? read_entry(entry, file, login, err) : -ENOENT;
}

/* ~/.dockercfg is what "auths" holds elsewhere. */
static json_t *as_auths(json_t *json, bool is_old)
{
    return is_old ? json_pack("{s:o}", "auths", json) : json;
}

/* -ENOENT: it is not there, or knows nothing of the host. */
static int look_into_file(const char *file, bool is_old, const char *host, const char *repository,
                          struct sfs_credentials *login, struct sfs_error *err)
{
    AUTO(wipe) char *text = NULL;
    AUTO(close_json) json_t *json = NULL;
    size_t size = 0;
    int r = sfs_io_read_file(AT_FDCWD, file, SFS_MAX_TOKEN, &text, &size, err);
    if (r == -ENOTDIR)
        r = -ENOENT;
    if (r < 0 || size == 0)
        return r < 0 ? r : -ENOENT;
    r = sfs_json_parse(text, size, 0, &json, err);
    if (r < 0)
        return sfs_fail_while(err, r, "%s", file);
    json = as_auths(json, is_old);
    return json ? look_into(json, file, host, repository, login, err) : sfs_fail_memory(err);
}

/* ---- all of them */

struct login_file {
    const char *variable; /* its directory; NULL: `instead` alone */
    const char *instead;  /* where the variable is not set: below $HOME, or absolute */
    const char *name;
    bool is_old;
};

static const struct login_file places[] = {
    { "XDG_RUNTIME_DIR", NULL, "containers/auth.json", false },
    { "XDG_CONFIG_HOME", ".config", "containers/auth.json", false },
    { "DOCKER_CONFIG", ".docker", "config.json", false },
    { NULL, ".", ".dockercfg", true },
};

/* The caller frees; NULL: there is no such place, or no memory. */
static char *name_place(const struct login_file *place)
{
    const char *dir = place->variable ? getenv(place->variable) : NULL;
    const char *home = getenv("HOME");
    if (dir && *dir)
        return sfs_format("%s/%s", dir, place->name);
    if (!place->instead)
        return sfs_format("/run/containers/%u/auth.json", (unsigned)getuid());
    return home && *home ? sfs_format("%s/%s/%s", home, place->instead, place->name) : NULL;
}

static int take_creds(const char *creds, struct sfs_credentials *login, struct sfs_error *err)
{
    const char *colon = strchr(creds, ':');
    login->user = strndup(creds, colon ? (size_t)(colon - creds) : strlen(creds));
    login->password = strdup(colon ? colon + 1 : "");
    return login->user && login->password ? 0 : sfs_fail_memory(err);
}

/* A file that was named must be there. */
static int look_into_named(const char *file, const char *host, const char *repository,
                           struct sfs_credentials *login, struct sfs_error *err)
{
    if (access(file, R_OK) < 0)
        return sfs_fail_errno(err, errno == ENOENT ? EINVAL : errno, "the file with logins, %s",
                              file);
    return look_into_file(file, false, host, repository, login, err);
}

static int look_into_files(const char *host, const char *repository, struct sfs_credentials *login,
                           struct sfs_error *err)
{
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        AUTO(sfs_free) char *file = name_place(&places[i]);
        int r =
            file ? look_into_file(file, places[i].is_old, host, repository, login, err) : -ENOENT;
        if (r != -ENOENT)
            return r;
        sfs_credentials_done(login);
    }
    return -ENOENT;
}

int sfs_credentials_find(const struct sfs_registry_options *options, const char *const *helpers,
                         const char *host, const char *repository,
                         struct sfs_credentials *ret_credentials, struct sfs_error *err)
{
    static const char *const usual[] = { FILES, NULL };
    *ret_credentials = (struct sfs_credentials){ 0 };
    const char *named = options->authfile ? options->authfile : getenv("REGISTRY_AUTH_FILE");
    if (options->creds)
        return take_creds(options->creds, ret_credentials, err);
    if (named && *named)
        return look_into_named(named, host, repository, ret_credentials, err);
    for (const char *const *helper = helpers ? helpers : usual; *helper; helper++) {
        const char *server = strcmp(host, "docker.io") == 0 ? HUB_SERVER : host;
        int r = strcmp(*helper, FILES) == 0
                    ? look_into_files(host, repository, ret_credentials, err)
                    : sfs_credential_helper_get(*helper, server, ret_credentials, err);
        if (r != -ENOENT)
            return r;
    }
    return sfs_fail(err, ENOENT, "there is no login for %s", host);
}
