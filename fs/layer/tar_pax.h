/* A pax extended header: "LENGTH KEY=VALUE\n", again and again. */
#ifndef STAGEFS_TAR_PAX_H
#define STAGEFS_TAR_PAX_H

#include "base/buf.h"
#include <stdint.h>

/* One record. Both texts have a NUL behind them; a value may hold NULs, too. */
struct sfs_tar_record {
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
        bool any;             /* there is at least one such record */
    } sparse;
    struct sfs_buf others; /* struct sfs_tar_record: attributes and ACLs, in their order */
};

/* Reads the records of `text`, which it cuts into strings and which must live as long as the
 * result. After a failure too, the caller calls sfs_tar_pax_done(). EBADMSG: malformed, or
 * something that readers disagree on. */
int sfs_tar_pax_parse(struct sfs_buf *text, struct sfs_tar_pax *pax, struct sfs_error *err);
/* Frees what is in it, and makes it all-zero. */
void sfs_tar_pax_done(struct sfs_tar_pax *pax);

/* Is it one of those that `others` holds? */
bool sfs_tar_pax_keeps(const struct sfs_tar_record *record);

/* Checks a global header. What it says of times, owners and comments is passed over. EBADMSG: it
 * changes names, sizes or sparse maps, which GNU tar heeds and Go does not. */
int sfs_tar_pax_check_global(const struct sfs_tar_pax *pax, struct sfs_error *err);

/* Reads decimal digits, up to 18 behind leading zeros; a '-' may stand in front if `sign`. EBADMSG,
 * without words: it is something else. */
int sfs_tar_decimal(const char *text, size_t size, bool sign, int64_t *ret_number);

#endif
