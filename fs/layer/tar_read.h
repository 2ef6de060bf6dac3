/* From a tar to names and metadata: its members, as a builder wants them.
 *
 * Where readers of tars differ (tar_stream.h has what concerns headers):
 *   ".wh."     a whiteout, whatever the entry's type; ".wh..wh..opq" an opaque mark; ".wh."
 *              alone is refused
 *   aufs       what is at the root and begins with ".wh..wh." is its own and not shown; files
 *              in ".wh..wh.plnk" can be what hard links name
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

struct sfs_tar_stream;
struct sfs_tar_member;

struct sfs_tar_read_options {
    bool is_estargz;                     /* marks of that format are no files */
    const struct sfs_progress *progress; /* for warn(); may be NULL */
    const char *label;                   /* what warnings call the layer */
};

/* Reads the pass's stream to its end, and adds what it names to the builder. Waits for the disk.
 * EBADMSG: not a tar, or one that is refused; the words name the entry. Failures of `unpack` are
 * handed on as they are. */
int sfs_tar_read(struct sfs_unpack *unpack, struct sfs_builder *builder,
                 const struct sfs_tar_read_options *options, struct sfs_error *err);

/* Gives the builder what one member says: a name, a hard link or a mark. EBADMSG: it is one that is
 * refused. E2BIG, ENOMEM: as the builder has it. */
int sfs_tar_add_member(struct sfs_builder *builder, const struct sfs_tar_member *member,
                       struct sfs_error *err);

/* To be called at a tar's end: warns of another archive behind it. Only readers that pass over
 * zeros show that one: it is no fault, but a good place to hide something. `label` is what the
 * warning calls the tar; progress may be NULL. Reads to the end of the source, whose failures are
 * handed on. */
int sfs_tar_warn_behind(struct sfs_tar_stream *stream, const char *label,
                        const struct sfs_progress *progress, struct sfs_error *err);

/* Extended attributes and ACLs of one entry; all-zero is empty. */
struct sfs_tar_xattrs {
    struct sfs_builder_xattr *list;
    uint32_t count, capacity;
    void *access, *default_acl;      /* binary ACLs that `list` points to; owned */
    struct sfs_tar_decoded *decoded; /* decoded names and values that it points to; owned */
};
/* Takes the attributes of a member out of its pax records. The result may point into the records,
 * too, and is freed with sfs_tar_xattrs_done(). ENOTSUP: there is an ACL, and no libarchive. */
int sfs_tar_xattrs_take(const struct sfs_tar_record *records, size_t count,
                        struct sfs_tar_xattrs *ret_xattrs, struct sfs_error *err);
/* Is the attribute in a namespace that Linux has? */
bool sfs_tar_xattr_is_shown(const char *name);
/* Frees what is in it. Fine on an all-zero struct. */
void sfs_tar_xattrs_done(struct sfs_tar_xattrs *xattrs);

#endif
