/* Names in an archive that are no files but marks for the layers below (OCI image spec,
 * "Representing Changes"): ".wh.NAME" hides NAME, ".wh..wh..opq" makes its directory opaque. Other
 * ".wh..wh." names are aufs's own and mean nothing. */
#ifndef STAGEFS_WHITEOUT_H
#define STAGEFS_WHITEOUT_H

#include "layer/tables.h"

/* 1: it was such a name, and the builder has the mark; 0: it is an ordinary name. EBADMSG: a
 * whiteout of nothing. */
int sfs_whiteout_take(struct sfs_builder *builder, const char *path, struct sfs_error *err);

/* In an eStargz layer, and only there: is it the table of contents, or a mark of how far to read
 * ahead (".prefetch.landmark", ".no.prefetch.landmark")? Its own readers show none of them. */
bool sfs_estargz_is_mark(const char *path);

#endif
