/* From a tar stream to names and metadata: what libarchive reads, as a builder wants it.
 *
 * Where readers of tars differ:
 *   names      bytes as they stand in the archive, whatever the locale; never converted
 *   ".wh."     a whiteout, whatever the entry's type; ".wh..wh..opq" an opaque mark; other
 *              ".wh..wh." names are aufs's own and skipped; ".wh." alone is refused
 *   ".."       refused, as are entries without a name
 *   xattrs     SCHILY.xattr.*, LIBARCHIVE.xattr.*, RHT.security.selinux, in the namespaces that
 *              Linux has
 *   ACLs       SCHILY.acl.access and .default become system.posix_acl_*; an ACL that names a user
 *              or group without its number is left out whole
 *   extents    asked from libarchive block by block, so sparse files of any form are read as it
 *              reads them
 *   owners     above 32 bits, and devices that Linux has no number for, are refused
 *   hard links that bring bytes of their own: the bytes are ignored
 *   the end    two zero blocks, or the end of the stream; what follows is ignored */
#ifndef STAGEFS_TAR_READ_H
#define STAGEFS_TAR_READ_H

#include "blob/unpack.h"
#include "layer/tables.h"

struct archive_entry;

/* Reads the stream to its end of archive. `is_estargz`: marks of that format are no files. EBADMSG:
 * not a tar, or one that is refused; the words name the entry. Failures of `unpack` come out as
 * they are. */
int sfs_tar_read(struct sfs_unpack *unpack, struct sfs_builder *builder, bool is_estargz,
                 struct sfs_error *err);

/* Extended attributes and ACLs of one entry; all-zero is empty. */
struct sfs_tar_xattrs {
    struct sfs_builder_xattr *list;
    uint32_t count, capacity;
    void *access, *default_acl; /* binary ACLs that `list` points to */
    bool has_mask;
    uint32_t mask; /* permission bits of the access ACL's mask: the mode's group bits */
};
int sfs_tar_xattrs_read(struct archive_entry *entry, struct sfs_tar_xattrs *ret_xattrs,
                        struct sfs_error *err);
/* False: in no namespace that Linux has. */
bool sfs_tar_xattr_is_shown(const char *name);
void sfs_tar_xattrs_done(struct sfs_tar_xattrs *xattrs);

#endif
