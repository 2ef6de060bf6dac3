/* What a 401 asks for: the header WWW-Authenticate (RFC 9110, 11.6.1). */
#ifndef STAGEFS_CHALLENGE_H
#define STAGEFS_CHALLENGE_H

#include <stagefs/error.h>

enum sfs_scheme {
    SFS_SCHEME_NONE, /* none that we can answer */
    SFS_SCHEME_BASIC,
    SFS_SCHEME_BEARER,
};

struct sfs_challenge {
    enum sfs_scheme scheme;
    char *realm, *service, *scope, *error; /* of BEARER; NULL: not said */
};

/* Finds the first challenge in the header's value that is Basic or Bearer; others, as Negotiate,
 * are passed over, and so is the rest behind what is malformed. The caller calls
 * sfs_challenge_done(), also after a failure. ENOMEM. */
int sfs_challenge_parse(const char *value, struct sfs_challenge *ret_challenge,
                        struct sfs_error *err);
/* Frees what is in it; fine on an all-zero one. */
void sfs_challenge_done(struct sfs_challenge *challenge);

#endif
