/* What packages say that they require: Requires-Dist of Python's METADATA, requires.txt of its
 * older egg-info, Depends of Debian, depends of conda. All are brought into one form, a requirement
 * a line, as METADATA has it: "name[extra, ..] >= 1; marker".
 *
 * Versions are not compared, since what is installed is taken to fit. Of a marker only what is
 * certain counts: `extra`, and that the system is a Linux. In doubt a requirement applies. */
#ifndef STAGEFS_REQUIREMENT_H
#define STAGEFS_REQUIREMENT_H

#include "base/buf.h"
#include "base/limits.h"
#include <stdbool.h>

struct sfs_requirement {                 /* the pointers are into the line */
    char name[SFS_MAX_PACKAGE_NAME + 1]; /* as sfs_requirement_name() makes it */
    const char *extras, *marker;         /* "a, b" and what is behind ';'; not NUL-terminated */
    size_t extras_size, marker_size;
};

/* Writes the form in which names are compared: small letters, and one '-' for each run of '-', '_'
 * and '.' (PEP 503). Takes what a name may consist of, cut at the cap, and returns how many bytes
 * of `text` that was. */
size_t sfs_requirement_name(const char *text, size_t size, char name[SFS_MAX_PACKAGE_NAME + 1]);
/* Takes a line apart. False: it names nothing. */
bool sfs_requirement_parse(const char *line, size_t size, struct sfs_requirement *ret_requirement);
/* Does it count for a package that is there for the sake of `extra` (a name in its compared form),
 * or of itself ("")? */
bool sfs_requirement_applies(const struct sfs_requirement *requirement, const char *extra);
/* Takes the next extra off requirement->extras; false: there is none. */
bool sfs_requirement_next_extra(struct sfs_requirement *requirement,
                                char extra[SFS_MAX_PACKAGE_NAME + 1]);

/* Append the requirements of a METADATA, a requires.txt, and a Debian package's Depends, of whose
 * alternatives each is taken. Memory that ran out shows in lines->failed. */
void sfs_requirements_of_metadata(const char *text, struct sfs_buf *lines);
void sfs_requirements_of_list(const char *text, struct sfs_buf *lines);
void sfs_requirements_of_depends(const char *text, struct sfs_buf *lines);

#endif
