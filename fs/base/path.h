/* Paths as text, the way Go's path package treats them. */
#ifndef STAGEFS_PATH_H
#define STAGEFS_PATH_H

#include <stdbool.h>

/* Go's filepath.Clean: "a//./b/../c/" becomes "a/c", "/.." becomes "/", "" becomes ".". The caller
 * frees; NULL: out of memory. */
char *sfs_path_clean(const char *path);

/* `path`, from `parent` if it is relative, cleaned; always begins with '/'. The caller frees; NULL:
 * out of memory. */
char *sfs_path_join(const char *parent, const char *path);

/* What is behind the last '/', or all where there is none: points into `path`. */
const char *sfs_path_base(const char *path);

/* Is `path` below `dir`, as text? Both are clean; a path is not below itself. */
bool sfs_path_is_below(const char *path, const char *dir);

#endif
