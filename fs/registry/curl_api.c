/* Loads libcurl at run time and looks its functions up by name. */
#include "registry/curl_api.h"

#include "base/banned.h"
#include "base/late_library.h"
#include <errno.h>

/* 7.85 has CURLOPT_PROTOCOLS_STR; Debian 12 has 7.88. */
#define OLDEST_VERSION 0x075500

static struct sfs_curl functions;

static int set_up(struct sfs_error *err)
{
    const curl_version_info_data *info = functions.version_info(CURLVERSION_NOW);
    if (info->version_num < OLDEST_VERSION)
        return sfs_fail(err, ENOTSUP, "libcurl %s is too old: 7.85 or newer is needed",
                        info->version);
    if (functions.global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
        return sfs_fail(err, EIO, "libcurl could not be set up");
    return 0;
}

int sfs_curl_load(const struct sfs_curl **ret_curl, struct sfs_error *err)
{
    static const char *const sonames[] = { "libcurl.so.4", "libcurl-gnutls.so.4", NULL };
#define ROW(name) { "curl_" #name, offsetof(struct sfs_curl, name) },
    static const struct sfs_late_function table[] = { SFS_CURL_FUNCTIONS(ROW) };
#undef ROW
    static struct sfs_late_library library = { .name = "libcurl",
                                               .needed_for = "registries are spoken to by",
                                               .package = "libcurl4",
                                               .sonames = sonames,
                                               .table = table,
                                               .count = sizeof table / sizeof *table,
                                               .functions = &functions,
                                               .set_up = set_up,
                                               .loading = PTHREAD_MUTEX_INITIALIZER };
    int r = sfs_late_library_load(&library, err);
    if (r == 0)
        *ret_curl = &functions;
    return r;
}

const struct sfs_curl *sfs_curl_get(void)
{
    return &functions;
}
