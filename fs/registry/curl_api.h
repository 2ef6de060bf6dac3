/* libcurl, loaded when the first registry is asked. It brings some twenty libraries (LDAP,
 * Kerberos,
 * ...) which would cost each start of the program time, also where all is on the disk; and a system
 * without it can do all but docker://. */
#ifndef STAGEFS_CURL_API_H
#define STAGEFS_CURL_API_H

#include <curl/curl.h>
#include <stagefs/error.h>

/* The functions that we call: one line each. */
#define SFS_CURL_FUNCTIONS(F)                                                                      \
    F(global_init)                                                                                 \
    F(version_info)                                                                                \
    F(free)                                                                                        \
    F(easy_init)                                                                                   \
    F(easy_setopt)                                                                                 \
    F(easy_getinfo)                                                                                \
    F(easy_strerror)                                                                               \
    F(easy_escape)                                                                                 \
    F(easy_pause)                                                                                  \
    F(easy_cleanup)                                                                                \
    F(multi_init)                                                                                  \
    F(multi_setopt)                                                                                \
    F(multi_add_handle)                                                                            \
    F(multi_remove_handle)                                                                         \
    F(multi_perform)                                                                               \
    F(multi_poll)                                                                                  \
    F(multi_wakeup)                                                                                \
    F(multi_info_read)                                                                             \
    F(multi_cleanup)                                                                               \
    F(slist_append)                                                                                \
    F(slist_free_all)                                                                              \
    F(url)                                                                                         \
    F(url_set)                                                                                     \
    F(url_get)                                                                                     \
    F(url_cleanup)

struct sfs_curl {
#define SFS_CURL_MEMBER(name) __typeof__(curl_##name) *name;
    SFS_CURL_FUNCTIONS(SFS_CURL_MEMBER)
#undef SFS_CURL_MEMBER
};

/* Loads it once; any thread. It stays loaded. ENOTSUP: it is not installed, or too old. */
int sfs_curl_load(const struct sfs_curl **ret_curl, struct sfs_error *err);
/* What sfs_curl_load() gave before. Does not wait. */
const struct sfs_curl *sfs_curl_get(void);

#endif
