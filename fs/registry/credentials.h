/* Logins: the files that podman, skopeo, buildah and docker write, and their credential helpers. */
#ifndef STAGEFS_CREDENTIALS_H
#define STAGEFS_CREDENTIALS_H

#include <stagefs/error.h>
#include <stagefs/registry.h>

struct sfs_credentials {
    char *user, *password;
    char *identity_token; /* NULL: none; is changed into access tokens by OAuth */
    char *registry_token; /* NULL: none; is an access token itself */
};
/* Frees what is in it, and wipes it first; fine on an all-zero one. */
void sfs_credentials_done(struct sfs_credentials *credentials);

/* Finds the login for a repository at `host` ("HOST[:PORT]" as in references; "docker.io"). Read
 * anew each time, since logins change while a mount lives. May run a helper, and waits for it. The
 * caller calls sfs_credentials_done(), also after a failure. ENOENT: there is none. EBADMSG: a file
 * is malformed. EIO: a helper failed. EACCES: a file cannot be read. */
int sfs_credentials_find(const struct sfs_registry_options *options, const char *const *helpers,
                         const char *host, const char *repository,
                         struct sfs_credentials *ret_credentials, struct sfs_error *err);

/* "USER:PASSWORD" in base64, as Basic has it. The caller frees; NULL: out of memory. */
char *sfs_credentials_basic(const struct sfs_credentials *credentials);

/* Runs docker-credential-NAME for `server`. As sfs_credentials_find(); ENOENT: it knows none, or is
 * not installed. */
int sfs_credential_helper_get(const char *name, const char *server,
                              struct sfs_credentials *ret_credentials, struct sfs_error *err);

#endif
