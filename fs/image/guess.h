/* What kind of image a path may be that came without its transport: for a sentence that helps. */
#ifndef STAGEFS_GUESS_H
#define STAGEFS_GUESS_H

/* "docker-archive:", "oci-archive:", "oci:" or "dir:", by a look into what is there; "": a file
 * that is none of them; NULL: there is nothing. Constant strings. Waits for the disk: reads a tar's
 * headers. */
const char *sfs_guess_transport(const char *path);

#endif
