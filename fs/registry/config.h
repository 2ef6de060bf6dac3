/* Settings (together with client.h: they are read into its endpoints): those of containers/image,
 * which podman, skopeo and buildah share: registries.conf with its drop-ins, and certs.d; and
 * containerd's hosts.toml. Files are read once, when the client is opened, but for certificates and
 * hosts.toml, which are read when a host is first used. */
#ifndef STAGEFS_REGISTRY_CONFIG_H
#define STAGEFS_REGISTRY_CONFIG_H

#include "registry/client.h"
#include "registry/name.h"

struct sfs_config;
/* Reads registries.conf: that of $CONTAINERS_REGISTRIES_CONF, else the user's, else the system's,
 * and drop-ins of both. None is fine. The caller closes *ret_config. EBADMSG, ENOTSUP: a file.
 * EACCES. */
int sfs_config_open(struct sfs_config **ret_config, struct sfs_error *err);
/* Frees, and sets NULL; NULL is fine. */
void sfs_config_close(struct sfs_config **config);

/* The names of "credential-helpers", ended by NULL; borrowed. NULL: none are set. */
const char *const *sfs_config_helpers(const struct sfs_config *config);

/* A growing list of endpoints. All-zero is empty. */
struct sfs_endpoint_list {
    struct sfs_endpoint *items;
    size_t count, capacity;
};
/* Frees all; fine on an empty one. */
void sfs_endpoint_list_done(struct sfs_endpoint_list *list);
/* Adds one for the repository `location` ("HOST[:PORT]/NAME") with the certificates that are set
 * for its host. `insecure`: nothing is verified, and plain HTTP will do. *ret_endpoint, which may
 * be NULL, is valid until the next call. EBADMSG: the location is none, or a certificate. ENOMEM.
 */
int sfs_endpoint_list_add(struct sfs_endpoint_list *list, const char *location, bool insecure,
                          struct sfs_endpoint **ret_endpoint, struct sfs_error *err);

/* Adds what registries.conf says of a repository: mirrors in their order, and its own location. 0:
 * nothing is said. 1: they were added. EACCES: it is blocked. */
int sfs_config_add_endpoints(const struct sfs_config *config, const char *host,
                             const char *repository, bool insecure, struct sfs_endpoint_list *list,
                             struct sfs_error *err);
/* Finds where a repository is read: as the settings say, mirrors in their order and then the
 * registry itself. At least one. The caller calls sfs_endpoint_list_done(), also after a failure.
 * No request is made. EACCES: it is blocked. EBADMSG: the settings are malformed. */
int sfs_config_find_endpoints(const struct sfs_config *config, const struct sfs_name *name,
                              bool insecure, struct sfs_endpoint_list *ret_list,
                              struct sfs_error *err);

/* Is plain HTTP, and any certificate, set to do for that host? For where redirects lead. */
bool sfs_config_is_insecure(const struct sfs_config *config, const char *host);

/* Adds what containerd's hosts.toml for the host says. 0: there is none. 1: they were added.
 * EBADMSG. */
int sfs_hosts_add_endpoints(const char *host, const char *repository, bool insecure,
                            struct sfs_endpoint_list *list, struct sfs_error *err);

/* Reads what certs.d has for "HOST[:PORT]": *.crt, and *.cert with *.key. Nothing is fine. EBADMSG:
 * half of a pair lacks. EACCES. Adds to *tls. */
int sfs_certificates_find(const char *host, struct sfs_http_tls *tls, struct sfs_error *err);
/* Adds the file's text to the authorities. As above. */
int sfs_certificates_add(const char *file, struct sfs_http_tls *tls, struct sfs_error *err);

#endif
