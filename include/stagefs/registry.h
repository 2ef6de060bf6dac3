/* How registries are spoken to: what a user may say about it, named as skopeo names it. */
#ifndef STAGEFS_REGISTRY_H
#define STAGEFS_REGISTRY_H

#include <stdbool.h>
#include <stdint.h>

/* Who may say what a layer holds, before anybody has read it: whose index of it is used
 * (docs/security.md has what that comes to). */
enum sfs_index_trust {
    /* Whoever may push to the repository: each name is compared with the layer as it is used. */
    SFS_INDEX_TRUST_REGISTRY,
    /* Only the image's manifest, which names the digest of an index. */
    SFS_INDEX_TRUST_MANIFEST,
    SFS_INDEX_TRUST_NONE, /* nobody: layers are read whole first */
};

/* All-zero is the default. The texts are borrowed by whatever is opened with them. */
struct sfs_registry_options {
    const char *authfile; /* --authfile FILE: the only file with logins; NULL: the usual ones */
    const char *creds;    /* --creds USER[:PASSWORD]: for all registries; NULL: none */
    bool no_tls_verify;   /* --tls-verify=false: any certificate will do, and so will plain HTTP */
    enum sfs_index_trust index_trust;
    uint64_t keep;        /* bytes of blobs that may be kept on the disk; 0: 32 GiB */
};

#endif
