/* libarchive, loaded when the first bzip2, xz, zstd file of an ADD or the first ACL is read. It
 * brings libxml2, ICU, libstdc++ and more, 40 MB of files, of which each start of the program would
 * map a part; and a system without it can do all the rest. */
#ifndef STAGEFS_ARCHIVE_API_H
#define STAGEFS_ARCHIVE_API_H

#include <archive.h>
#include <archive_entry.h>
#include <stagefs/error.h>

/* The functions that we call, under their whole names (errno alone is a macro): one line each.
 * bench/portable makes a small libarchive of them. */
#define SFS_ARCHIVE_FUNCTIONS(F)                                                                   \
    F(archive_entry_acl_from_text)                                                                 \
    F(archive_entry_acl_next)                                                                      \
    F(archive_entry_acl_reset)                                                                     \
    F(archive_entry_free)                                                                          \
    F(archive_entry_new)                                                                           \
    F(archive_errno)                                                                               \
    F(archive_error_string)                                                                        \
    F(archive_read_data_block)                                                                     \
    F(archive_read_free)                                                                           \
    F(archive_read_new)                                                                            \
    F(archive_read_next_header)                                                                    \
    F(archive_read_open)                                                                           \
    F(archive_read_support_filter_bzip2)                                                           \
    F(archive_read_support_filter_xz)                                                              \
    F(archive_read_support_filter_zstd)                                                            \
    F(archive_read_support_format_empty)                                                           \
    F(archive_read_support_format_raw)                                                             \
    F(archive_set_error)

struct sfs_archive_api {
#define SFS_ARCHIVE_MEMBER(name) __typeof__(name) *name;
    SFS_ARCHIVE_FUNCTIONS(SFS_ARCHIVE_MEMBER)
#undef SFS_ARCHIVE_MEMBER
};

/* Loads it once; any thread. It stays loaded. Waits for the disk. ENOTSUP: it is not installed, or
 * too old. */
int sfs_archive_api_load(const struct sfs_archive_api **ret_api, struct sfs_error *err);
/* What sfs_archive_api_load() gave before. Does not wait. */
const struct sfs_archive_api *sfs_archive_api_get(void);

#endif
