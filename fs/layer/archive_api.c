/* Loads libarchive at run time and looks its functions up by name. */
#include "layer/archive_api.h"

#include "base/banned.h"
#include "base/late_library.h"

static struct sfs_archive_api functions;

int sfs_archive_api_load(const struct sfs_archive_api **ret_api, struct sfs_error *err)
{
    static const char *const sonames[] = { "libarchive.so.13", NULL };
#define ROW(name) { #name, offsetof(struct sfs_archive_api, name) },
    static const struct sfs_late_function table[] = { SFS_ARCHIVE_FUNCTIONS(ROW) };
#undef ROW
    static struct sfs_late_library library = {
        .name = "libarchive",
        .needed_for = "bzip2, xz and zstd of an ADD, and ACLs of a tar, are read by",
        .package = "libarchive13",
        .sonames = sonames,
        .table = table,
        .count = sizeof table / sizeof *table,
        .functions = &functions,
        .loading = PTHREAD_MUTEX_INITIALIZER
    };
    int r = sfs_late_library_load(&library, err);
    if (r == 0)
        *ret_api = &functions;
    return r;
}

const struct sfs_archive_api *sfs_archive_api_get(void)
{
    return &functions;
}
