/* A pax extended header: "LENGTH KEY=VALUE\n", again and again. */
#ifndef STAGEFS_TAR_PAX_H
#define STAGEFS_TAR_PAX_H

#include "base/buf.h"
#include <stdint.h>

struct sfs_tar_record { /* text, with a NUL behind it; a value may hold others */
    const char *key, *value;
    size_t value_size;
};

/* What one header says. All-zero: nothing. Texts point into the header's own text. */
struct sfs_tar_pax {
    const char *path, *link; /* NULL: not said */
    bool has_size, has_uid, has_gid, has_mtime;
    int64_t size, uid, gid, mtime_sec;
    uint32_t mtime_nsec;
    struct { /* GNU.sparse.* */
        const char *major, *minor, *name, *map;
        bool has_size, has_count;
        int64_t size, count;
        struct sfs_buf pairs; /* version 0.0: offset and size in turn, each a uint64_t */
        bool any;
    } sparse;
    struct sfs_buf others; /* struct sfs_tar_record: attributes and ACLs, in their order */
};

/* Reads the records of `text`, which it cuts into strings and which has to live as long as the
 * result. EBADMSG: malformed, or something that readers disagree on. After a failure, too, the
 * result is to be emptied by sfs_tar_pax_done(). */
int sfs_tar_pax_parse(struct sfs_buf *text, struct sfs_tar_pax *pax, struct sfs_error *err);
void sfs_tar_pax_done(struct sfs_tar_pax *pax);

/* A global header may say what it likes about times, owners and comments: nobody here heeds it.
 * EBADMSG: it changes names, sizes or sparse maps, which GNU tar heeds and Go does not. */
int sfs_tar_pax_check_global(const struct sfs_tar_pax *pax, struct sfs_error *err);

/* Decimal digits, up to 18 behind leading zeros, with a '-' in front if `sign`. EBADMSG, without
 * words. */
int sfs_tar_decimal(const char *text, size_t size, bool sign, int64_t *ret_number);

#endif
