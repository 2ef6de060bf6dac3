/* Is a name of a layer's tables what a member of its tar says? For tables that somebody else made:
 * they are compared with the tar's own headers. Only what is plain is found equal: a member whose
 * path leads through a symlink of the layer, for one, is not. No function waits. */
#ifndef STAGEFS_MEMBER_MATCH_H
#define STAGEFS_MEMBER_MATCH_H

#include "layer/tables.h"
#include "layer/tar_stream.h"

/* Finds the entry of a path as a tar has it ("./a/b/"). ENOENT: there is none. */
int sfs_match_find(const struct sfs_tables *tables, const char *path, sfs_entry *ret_entry);

/* Compares a member that is no mark with the entry: its name, type, mode, owner, time, size, device
 * numbers, target, attributes, and where its bytes lie. Of a hard link: what it links to. 0: they
 * are the same. ESTALE: they are not, and the words say in what. ENOMEM; EBADMSG: attributes that
 * no layer may have. */
int sfs_match_member(const struct sfs_tables *tables, sfs_entry entry,
                     const struct sfs_tar_member *member, struct sfs_error *err);

/* What a member is that no entry is made of. */
enum sfs_match_mark {
    SFS_MATCH_NO_MARK,   /* an ordinary name */
    SFS_MATCH_MARK_HELD, /* a whiteout or an opaque mark, and the tables have it */
    SFS_MATCH_MARK_LOST, /* one that they do not have, or one of aufs's */
};
/* Says which. */
enum sfs_match_mark sfs_match_mark(const struct sfs_tables *tables, const char *path);

#endif
