/* Loads libcurl at run time and looks its functions up by name. */
#include "registry/curl_api.h"

#include "base/banned.h"
#include "base/thread.h"
#include <dlfcn.h>
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>

/* 7.85 has CURLOPT_PROTOCOLS_STR; Debian 12 has 7.88. */
#define OLDEST_VERSION 0x075500

static struct sfs_curl functions;
static bool is_loaded;
static pthread_mutex_t loading = PTHREAD_MUTEX_INITIALIZER;

static int find_functions(void *library, struct sfs_error *err)
{
#define FIND(name)                                                                                 \
    functions.name = (__typeof__(functions.name))(uintptr_t)dlsym(library, "curl_" #name);         \
    if (!functions.name)                                                                           \
        return sfs_fail(err, ENOTSUP, "libcurl is too old: it has no curl_%s()", #name);
    SFS_CURL_FUNCTIONS(FIND)
#undef FIND
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
    LOCK(&loading);
    if (!is_loaded) {
        void *library = dlopen("libcurl.so.4", RTLD_NOW | RTLD_LOCAL);
        if (!library)
            library = dlopen("libcurl-gnutls.so.4", RTLD_NOW | RTLD_LOCAL);
        if (!library)
            return sfs_fail(err, ENOTSUP,
                            "registries are spoken to by libcurl, which is not installed (Debian "
                            "has it in libcurl4): %s",
                            dlerror());
        int r = find_functions(library, err);
        if (r < 0) {
            dlclose(library);
            return r;
        }
        is_loaded = true;
    }
    *ret_curl = &functions;
    return 0;
}

const struct sfs_curl *sfs_curl_get(void)
{
    return &functions;
}
