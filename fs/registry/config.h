/* Settings: those of containers/image, which podman, skopeo and buildah share (registries.conf with
 * its drop-ins, and certs.d), and containerd's hosts.toml. registries.conf is read once, when the
 * client is opened; certificates and hosts.toml when a host is first used. */
#ifndef STAGEFS_REGISTRY_CONFIG_H
#define STAGEFS_REGISTRY_CONFIG_H

#include "registry/endpoint.h"
#include "registry/name.h"
#include <stagefs/error.h>

struct sfs_config;
/* Reads registries.conf: that of $CONTAINERS_REGISTRIES_CONF, else the user's, else the system's,
 * and drop-ins of both. None is fine. The caller closes *ret_config. EBADMSG, ENOTSUP: a file.
 * EACCES. */
int sfs_config_open(struct sfs_config **ret_config, struct sfs_error *err);
/* Frees, and sets NULL; NULL is fine. */
void sfs_config_close(struct sfs_config **config);

/* The names of "credential-helpers", ended by NULL; borrowed. NULL: none are set. */
const char *const *sfs_config_helpers(const struct sfs_config *config);

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

/* How the host of a URL has to prove who it is, and we to it: for where redirects lead, and for
 * token services. `no_verify`: whatever is set, anybody will do. Adds to *ret_tls, on which the
 * caller calls sfs_http_tls_done(), also after a failure. EBADMSG: the URL, or a certificate. */
int sfs_config_find_tls(const struct sfs_config *config, const char *url, bool no_verify,
                        struct sfs_http_tls *ret_tls, struct sfs_error *err);

/* Adds what containerd's hosts.toml for the host says. 0: there is none. 1: they were added.
 * EBADMSG. */
int sfs_hosts_add_endpoints(const char *host, const char *repository, bool insecure,
                            struct sfs_endpoint_list *list, struct sfs_error *err);

#endif
