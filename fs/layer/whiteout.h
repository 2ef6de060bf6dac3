/* Names in an archive that are no files but marks for the layers below (OCI image spec,
 * "Representing Changes"): ".wh.NAME" hides NAME, ".wh..wh..opq" makes its directory opaque. Other
 * ".wh..wh." names, and what is below those at the root, are aufs's own and mean nothing, but for
 * ".wh..wh.plnk/NAME": a file's body, which hard links name. docker resolves them and hides it. */
#ifndef STAGEFS_WHITEOUT_H
#define STAGEFS_WHITEOUT_H

#include "layer/tables.h"

/* Gives the builder the mark that a name is. 1: it was such a name; 0: it is an ordinary name.
 * EBADMSG: a whiteout of nothing. */
int sfs_whiteout_take(struct sfs_builder *builder, const char *path, struct sfs_error *err);

/* Is it a body that aufs keeps (".wh..wh.plnk/NAME")? One that is a regular file is to be added as
 * an ordinary name, and hidden at the end by sfs_aufs_hide(). */
bool sfs_aufs_is_body(const char *path);
/* To be called once all names are there: hides the bodies; hard links to them stay. */
int sfs_aufs_hide(struct sfs_builder *builder, struct sfs_error *err);

/* In an eStargz layer, and only there: is it the table of contents, or a mark of how far to read
 * ahead (".prefetch.landmark", ".no.prefetch.landmark")? Its own readers show none of them. */
bool sfs_estargz_is_mark(const char *path);

#endif
