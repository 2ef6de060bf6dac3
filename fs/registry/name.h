/* Names of images in registries: HOST[:PORT]/NAME[:TAG|@DIGEST]. */
#ifndef STAGEFS_NAME_H
#define STAGEFS_NAME_H

#include <stagefs/digest.h>
#include <stagefs/error.h>

struct sfs_name {
    char *host;       /* "HOST[:PORT]" as it was written; "docker.io" where none was */
    char *repository; /* "library/NAME" for a bare NAME at docker.io */
    char *tag;        /* "latest" where neither tag nor digest was given; NULL: has_digest */
    bool has_digest;  /* a tag beside a digest says nothing, and is dropped */
    struct sfs_digest digest;
};

/* Reads a name, without "docker://". The caller calls sfs_name_done(), also after a failure.
 * EINVAL: it is none. */
int sfs_name_parse(const char *text, struct sfs_name *ret_name, struct sfs_error *err);
/* Frees what is in it; fine on an all-zero one. */
void sfs_name_done(struct sfs_name *name);

/* Where a host is connected to: "registry-1.docker.io" for docker.io, else the host itself. */
const char *sfs_name_server(const char *host);

#endif
