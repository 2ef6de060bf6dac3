/* Names in an archive that are no files but marks for the layers below (OCI image spec,
 * "Representing Changes"): ".wh.NAME" hides NAME, ".wh..wh..opq" makes its directory opaque. Other
 * ".wh..wh." names, and what is below those at the root, are aufs's own and mean nothing, but for
 * ".wh..wh.plnk/NAME": a file's body, which hard links name. docker resolves them and hides it. */
#ifndef STAGEFS_WHITEOUT_H
#define STAGEFS_WHITEOUT_H

#include "layer/tables.h"

/* 1: it was such a name, and the builder has the mark; 0: it is an ordinary name. EBADMSG: a
 * whiteout of nothing. */
int sfs_whiteout_take(struct sfs_builder *builder, const char *path, struct sfs_error *err);

/* Is it the body of files, of any type, that aufs keeps? It is to be added as an ordinary name, if
 * it is a regular file, and to be hidden at the end. */
bool sfs_aufs_is_body(const char *path);
/* Once all names are there: hides the bodies; hard links to them stay. */
int sfs_aufs_hide(struct sfs_builder *builder, struct sfs_error *err);

/* In an eStargz layer, and only there: is it the table of contents, or a mark of how far to read
 * ahead (".prefetch.landmark", ".no.prefetch.landmark")? Its own readers show none of them. */
bool sfs_estargz_is_mark(const char *path);

#endif
