/* The certificates that are set for a host: certs.d of containers/image and of docker. */
#ifndef STAGEFS_CERTIFICATES_H
#define STAGEFS_CERTIFICATES_H

#include "registry/http.h"

/* Reads what certs.d has for "HOST[:PORT]": *.crt, and *.cert with *.key. Nothing is fine. EBADMSG:
 * half of a pair lacks. EACCES. Adds to *tls. */
int sfs_certificates_find(const char *host, struct sfs_http_tls *tls, struct sfs_error *err);
/* Adds the file's text to the authorities. As above. */
int sfs_certificates_add(const char *file, struct sfs_http_tls *tls, struct sfs_error *err);

#endif
