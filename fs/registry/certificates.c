/* certs.d of containers/image and of docker: the first directory that has something for the host.
 */
#include "registry/certificates.h"

#include "base/io.h"
#include "base/limits.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stagefs/auto.h>
#include <stagefs/format.h>
#include <sys/stat.h>

int sfs_certificates_add(const char *file, struct sfs_http_tls *tls, struct sfs_error *err)
{
    AUTO(sfs_free) char *text = NULL;
    size_t size = 0;
    int r = sfs_io_read_file(AT_FDCWD, file, SFS_MAX_SETTINGS, &text, &size, err);
    if (r < 0)
        return r;
    char *all = sfs_format("%s%s\n", tls->authorities ? tls->authorities : "", text);
    if (!all)
        return sfs_fail_memory(err);
    free(tls->authorities);
    tls->authorities = all;
    return 0;
}

static bool ends_with(const char *name, const char *end)
{
    size_t size = strlen(name), tail = strlen(end);
    return size > tail && strcmp(name + size - tail, end) == 0;
}

/* X.cert goes with X.key. */
static int take_pair(const char *dir, const char *name, struct sfs_http_tls *tls,
                     struct sfs_error *err)
{
    bool is_key = ends_with(name, ".key");
    int stem = (int)(strlen(name) - (is_key ? strlen(".key") : strlen(".cert")));
    AUTO(sfs_free) char *certificate = sfs_format("%s/%.*s.cert", dir, stem, name);
    AUTO(sfs_free) char *key = sfs_format("%s/%.*s.key", dir, stem, name);
    if (!certificate || !key)
        return sfs_fail_memory(err);
    const char *other = is_key ? certificate : key;
    if (access(other, F_OK) < 0)
        return sfs_fail(err, EBADMSG, "%s/%s stands there without %s", dir, name, other);
    sfs_free(&tls->certificate);
    sfs_free(&tls->key);
    tls->certificate = TAKE(certificate);
    tls->key = TAKE(key);
    return 0;
}

static int read_dir(const char *dir, struct sfs_http_tls *tls, struct sfs_error *err)
{
    struct dirent **entries;
    int r = 0, count = scandir(dir, &entries, NULL, alphasort);
    for (int i = 0; i < count; i++) {
        const char *name = entries[i]->d_name;
        AUTO(sfs_free) char *file = sfs_format("%s/%s", dir, name);
        if (r == 0 && !file)
            r = sfs_fail_memory(err);
        else if (r == 0 && ends_with(name, ".crt"))
            r = sfs_certificates_add(file, tls, err);
        else if (r == 0 && (ends_with(name, ".cert") || ends_with(name, ".key")))
            r = take_pair(dir, name, tls, err);
        free(entries[i]);
    }
    if (count >= 0)
        free(entries);
    return r;
}

int sfs_certificates_find(const char *host, struct sfs_http_tls *tls, struct sfs_error *err)
{
    const char *config = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");
    AUTO(sfs_free)
    char *own = config && *config ? sfs_format("%s/containers/certs.d", config)
                                  : sfs_format("%s/.config/containers/certs.d", home ? home : "");
    const char *dirs[] = { own, "/etc/containers/certs.d", "/etc/docker/certs.d" };
    for (size_t i = 0; i < sizeof dirs / sizeof dirs[0]; i++) {
        struct stat st;
        AUTO(sfs_free) char *dir = sfs_format("%s/%s", dirs[i] ? dirs[i] : "", host);
        if (!dir)
            return sfs_fail_memory(err);
        if (stat(dir, &st) == 0 && S_ISDIR(st.st_mode))
            return read_dir(dir, tls, err);
    }
    return 0;
}
