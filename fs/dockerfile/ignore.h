/* .dockerignore (github.com/moby/patternmatcher/ignorefile). */
#ifndef STAGEFS_IGNORE_H
#define STAGEFS_IGNORE_H

#include "dockerfile/expand.h"

/* Appends the patterns of the file's text: without comments and blanks, cleaned, relative. 0 or
 * -ENOMEM. */
int sfs_ignore_parse(const char *text, size_t size, struct sfs_vars *patterns);

#endif
