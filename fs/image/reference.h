/* An image reference, taken apart: where the image lies and which one there. Text only, except that
 * a path with ':' in it is told from a tag by looking whether the path is there.
 *
 *   oci:DIR[:TAG|:@N|@DIGEST]   oci-layout://DIR[...]   oci-archive:FILE[...]
 *   docker-archive:FILE[:NAME[:TAG]|:@N]   dir:DIR
 *   docker://NAME[:TAG|@DIGEST]   docker-image://NAME...   docker-daemon:NAME[:TAG]   -
 *   containers-storage:["["STORE"]"]NAME[:TAG|@DIGEST][@ID]
 *
 * ":@N" counts the images of an archive or a layout from 0, in the order of its manifest.json or
 * index.json: so those without a name have one.
 *
 * The path ends at the first ':' where something exists; if there is none such, at the first ':',
 * as in skopeo (a tag may hold ':', e.g. a whole image name). */
#ifndef STAGEFS_REFERENCE_H
#define STAGEFS_REFERENCE_H

#include "base/io.h"
#include <stagefs/digest.h>

/* What is known of a transport stands in three tables with a row for each, in the order of the
 * arrows: here how it is spelt (reference.c), how an image is read from it (image.c), and how one
 * is written to it (commit/commit.c). */
enum sfs_transport {
    SFS_TRANSPORT_OCI,
    SFS_TRANSPORT_OCI_ARCHIVE,
    SFS_TRANSPORT_DOCKER_ARCHIVE,
    SFS_TRANSPORT_DIR,
    SFS_TRANSPORT_DOCKER,
    SFS_TRANSPORT_STORAGE,
    SFS_TRANSPORT_DAEMON,
    SFS_TRANSPORT_TAR, /* "-": a stream, of the program that called stagefs */
    SFS_TRANSPORTS
};

struct sfs_reference {
    enum sfs_transport transport;
    /* DIR or FILE; what stands in the brackets of containers-storage; NULL for the transports that
     * have a name only. */
    char *path;
    /* The tag (oci), or NAME:TAG (docker-archive and those without a path; in full, such as
     * "docker.io/library/debian:12"); NULL: not given. */
    char *name;
    bool is_short; /* the name had no host, and is one of docker.io only if it is nowhere else */
    char *id;      /* containers-storage: the image's id, or how it begins; NULL: not given */
    bool has_digest;
    struct sfs_digest digest;
    bool has_position;
    size_t position; /* N of ":@N"; then there is neither name nor digest */
};

/* Takes a reference apart; the caller calls sfs_reference_done(). EINVAL: not a reference; the
 * words suggest one. ENOTSUP: a digest other than sha256. */
int sfs_reference_parse(const char *text, struct sfs_reference *ret_reference,
                        struct sfs_error *err);
/* Does it begin as a reference does, with a transport and ':'? */
bool sfs_reference_has_transport(const char *text);
/* The transport, as in "oci:", that what stands before the ':' may be a misspelling of; NULL: of
 * none. */
const char *sfs_reference_meant(const char *text);
/* Frees what it holds. Fine on an all-zero struct. */
void sfs_reference_done(struct sfs_reference *reference);

/* Does an image's name say its host? */
bool sfs_reference_names_host(const char *name);
/* The full form of a Docker image name: "debian" -> "docker.io/library/debian:latest". A digest
 * behind '@' stays, and keeps "latest" away. The caller frees. EINVAL: not a name. */
int sfs_reference_full_name(const char *name, char **ret_full, struct sfs_error *err);

#endif
