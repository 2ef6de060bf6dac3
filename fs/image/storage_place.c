/* storage.conf: which file counts, and what it says of places. As in containers/storage, a user
 * without root takes the system's file only for where the stores of all users are. */
#include "image/storage_place.h"

#include "base/buf.h"
#include "base/io.h"
#include "base/limits.h"
#include "registry/toml.h"
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdbool.h>
#include <stagefs/format.h>

void sfs_storage_places_done(struct sfs_storage_places *places)
{
    free(places->driver);
    for (size_t i = 0; i < places->count; i++)
        free(places->roots[i]);
    *places = (struct sfs_storage_places){ 0 };
}

/* Takes over `root`, which may be NULL for lack of memory. */
static int add_root(struct sfs_storage_places *places, char *root, struct sfs_error *err)
{
    AUTO(sfs_free) char *owned = root;
    if (!root)
        return sfs_fail_memory(err);
    if (root[0] != '/')
        return sfs_fail(err, EINVAL, "'%.200s' is no path of a store: it begins with '/'", root);
    if (places->count == SFS_MAX_STORES)
        return sfs_fail(err, E2BIG, "more than %u stores", SFS_MAX_STORES);
    places->roots[places->count++] = TAKE(owned);
    return 0;
}

static int set_driver(struct sfs_storage_places *places, const char *driver, size_t size,
                      struct sfs_error *err)
{
    free(places->driver);
    places->driver = strndup(driver, size);
    return places->driver ? 0 : sfs_fail_memory(err);
}

/* Is it root's own root, not that of a user namespace which podman made (podman unshare)? */
static bool is_system_root(void)
{
    const char *made = getenv("_CONTAINERS_USERNS_CONFIGURED");
    return geteuid() == 0 && !(made && *made);
}

/* ---- options: of a reference, and in $STORAGE_OPTS */

/* The path of "overlay.imagestore=PATH", "additionalimagestore=PATH" and the like; NULL: it is
 * another option. */
static const char *store_of(const char *option)
{
    const char *value = strchr(option, '=');
    size_t size = value ? (size_t)(value - option) : 0;
    bool names_store = size >= 10 && strncmp(option + size - 10, "imagestore", 10) == 0;
    return names_store ? value + 1 : NULL;
}

static int take_options(struct sfs_storage_places *places, const char *text, struct sfs_error *err)
{
    int r = 0;
    while (r == 0 && *text) {
        size_t size = strcspn(text, ",");
        AUTO(sfs_free) char *option = strndup(text, size);
        const char *root = option ? store_of(option) : NULL;
        if (!option || root)
            r = add_root(places, root ? strdup(root) : NULL, err);
        text += size + (text[size] == ',');
    }
    return r;
}

static int take_text(struct sfs_storage_places *places, const char *text, struct sfs_error *err)
{
    const char *at = strchr(text, '@');
    int r = at ? set_driver(places, text, (size_t)(at - text), err) : 0;
    const char *root = at ? at + 1 : text;
    size_t size = strcspn(root, "+:");
    const char *options = strchr(root + size, ':');
    if (r == 0)
        r = add_root(places, strndup(root, size), err);
    return r == 0 && options ? take_options(places, options + 1, err) : r;
}

/* ---- storage.conf */

static const char *value_of(const char *name, size_t size, char uid[16])
{
    const char *outside = getenv("_CONTAINERS_ROOTLESS_UID"); /* in podman's namespace */
    snprintf(uid, 16, "%u", (unsigned)getuid());
    if (size == 3 && memcmp(name, "UID", 3) == 0)
        return outside && *outside ? outside : uid;
    AUTO(sfs_free) char *copy = strndup(name, size);
    const char *value = copy ? getenv(copy) : NULL;
    return value ? value : "";
}

/* Puts in what "$HOME", "${USER}" and "$UID" stand for. The caller frees; NULL: no memory. */
static char *expand(const char *text)
{
    struct sfs_buf out = { 0 };
    char uid[16];
    sfs_buf_add_str(&out, "");
    while (*text) {
        size_t plain = strcspn(text, "$");
        sfs_buf_add(&out, text, plain);
        text += plain;
        if (!*text)
            break;
        bool braces = text[1] == '{';
        const char *name = text + 1 + braces;
        size_t size = 0;
        while (isalnum((unsigned char)name[size]) || name[size] == '_')
            size++;
        sfs_buf_add_str(&out, value_of(name, size, uid));
        text = name + size + (braces && name[size] == '}');
    }
    if (out.failed)
        sfs_buf_close(&out);
    return out.data;
}

static const char *text_in(const json_t *table, const char *key)
{
    const char *text = json_string_value(json_object_get(table, key));
    return text && *text ? text : NULL;
}

/* The caller frees; NULL: no memory, or no home, which then is the empty path and refused. */
static char *default_root(void)
{
    const char *data = getenv("XDG_DATA_HOME"), *home = getenv("HOME");
    if (is_system_root())
        return strdup("/var/lib/containers/storage");
    if (data && *data)
        return sfs_format("%s/containers/storage", data);
    return home ? sfs_format("%s/.local/share/containers/storage", home) : strdup("");
}

/* `is_own`: the file is meant for this user, not for all. */
static int take_settings(struct sfs_storage_places *places, const json_t *json, bool is_own,
                         struct sfs_error *err)
{
    const json_t *storage = json_object_get(json, "storage");
    const json_t *options = json_object_get(storage, "options"), *store;
    const char *driver = getenv("STORAGE_DRIVER");
    const char *root = text_in(storage, is_own ? "graphroot" : "rootless_storage_path");
    const char *images = text_in(storage, "imagestore");
    size_t i;
    driver = driver && *driver ? driver : text_in(storage, "driver");
    int r = driver ? set_driver(places, driver, strlen(driver), err) : 0;
    if (r == 0)
        r = add_root(places, root ? expand(root) : default_root(), err);
    if (r == 0 && images)
        r = add_root(places, expand(images), err);
    json_array_foreach(json_object_get(options, "additionalimagestores"), i, store)
    {
        if (r == 0 && json_is_string(store))
            r = add_root(places, expand(json_string_value(store)), err);
    }
    const char *more = getenv("STORAGE_OPTS");
    return r == 0 && more ? take_options(places, more, err) : r;
}

/* -ENOENT: there is no such file. */
static int take_file(struct sfs_storage_places *places, const char *file, bool is_own,
                     struct sfs_error *err)
{
    AUTO(sfs_free) char *text = NULL;
    json_t *json = NULL;
    size_t size = 0;
    int r = sfs_io_read_file(AT_FDCWD, file, SFS_MAX_SETTINGS, &text, &size, err);
    if (r == 0)
        r = sfs_toml_parse(text, size, file, &json, err);
    if (r == 0)
        r = take_settings(places, json, is_own, err);
    json_decref(json);
    return r == -EINVAL || r == -E2BIG ? sfs_fail_while(err, r, "%s", file) : r;
}

/* The caller frees; NULL: the user has no home, or no memory. */
static char *own_file(void)
{
    const char *dir = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");
    if (dir && *dir)
        return sfs_format("%s/containers/storage.conf", dir);
    return home && *home && !is_system_root()
               ? sfs_format("%s/.config/containers/storage.conf", home)
               : NULL;
}

int sfs_storage_places_find(const char *text, struct sfs_storage_places *ret_places,
                            struct sfs_error *err)
{
    const char *named = getenv("CONTAINERS_STORAGE_CONF");
    const bool is_root = is_system_root();
    *ret_places = (struct sfs_storage_places){ 0 };
    if (text)
        return take_text(ret_places, text, err);
    if (named && *named)
        return take_file(ret_places, named, true, err);
    AUTO(sfs_free) char *own = own_file();
    int r = own ? take_file(ret_places, own, true, err) : -ENOENT;
    if (r == -ENOENT)
        r = take_file(ret_places, "/etc/containers/storage.conf", is_root, err);
    if (r == -ENOENT)
        r = take_file(ret_places, "/usr/share/containers/storage.conf", is_root, err);
    return r == -ENOENT ? take_settings(ret_places, NULL, is_root, err) : r;
}
