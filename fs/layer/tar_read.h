/* From a tar to names and metadata: its members, as a builder wants them.
 *
 * Where readers of tars differ (tar_stream.h has what concerns headers):
 *   ".wh."     a whiteout, whatever the entry's type; ".wh..wh..opq" an opaque mark; ".wh." alone
 * is refused aufs       what is at the root and begins with ".wh..wh." is its own and not shown;
 * files in
 *              ".wh..wh.plnk" can be what hard links name
 *   ".."       refused, as are entries without a name
 *   xattrs     SCHILY.xattr.*, LIBARCHIVE.xattr.*, RHT.security.selinux, in the namespaces that
 *              Linux has
 *   ACLs       SCHILY.acl.access and .default become system.posix_acl_*; an ACL that names a user
 *              or group without its number is left out whole
 *   owners     above 32 bits, and devices that Linux has no number for, are refused
 *   the end    what follows is passed over; if it is an archive, the caller hears of it */
#ifndef STAGEFS_TAR_READ_H
#define STAGEFS_TAR_READ_H

#include "blob/unpack.h"
#include "layer/tables.h"
#include "layer/tar_pax.h"

struct archive_entry;

struct sfs_tar_read_options {
    bool is_estargz;                     /* marks of that format are no files */
    const struct sfs_progress *progress; /* for warn(); may be NULL */
    const char *label;                   /* of the layer, in warnings */
};

/* Reads the stream to its end. EBADMSG: not a tar, or one that is refused; the words name the
 * entry. Failures of `unpack` come out as they are. */
int sfs_tar_read(struct sfs_unpack *unpack, struct sfs_builder *builder,
                 const struct sfs_tar_read_options *options, struct sfs_error *err);

/* Extended attributes and ACLs of one entry; all-zero is empty. */
struct sfs_tar_xattrs {
    struct sfs_builder_xattr *list;
    uint32_t count, capacity;
    void *access, *default_acl;      /* binary ACLs that `list` points to */
    struct sfs_tar_decoded *decoded; /* so do these */
};
/* Of a member as pax has them; what it hands out borrows the records too. */
int sfs_tar_xattrs_take(const struct sfs_tar_record *records, size_t count,
                        struct sfs_tar_xattrs *ret_xattrs, struct sfs_error *err);
/* Of an entry that libarchive has read. */
int sfs_tar_xattrs_read(struct archive_entry *entry, struct sfs_tar_xattrs *ret_xattrs,
                        struct sfs_error *err);
/* False: in no namespace that Linux has. */
bool sfs_tar_xattr_is_shown(const char *name);
void sfs_tar_xattrs_done(struct sfs_tar_xattrs *xattrs);

#endif
