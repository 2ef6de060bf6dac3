/* Paths as text, the way Go's path package treats them. */
#ifndef STAGEFS_PATH_H
#define STAGEFS_PATH_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

/* Go's filepath.Clean: "a//./b/../c/" becomes "a/c", "/.." becomes "/", "" becomes ".". The caller
 * frees; NULL: out of memory. */
char *sfs_path_clean(const char *path);

/* `path`, from `parent` if it is relative, cleaned; always begins with '/'. The caller frees; NULL:
 * out of memory. */
char *sfs_path_join(const char *parent, const char *path);

/* What is behind the last '/', or all where there is none: points into `path`. */
const char *sfs_path_base(const char *path);

/* Where the last component starts; *ret_size: its bytes, without slashes behind. */
size_t sfs_path_last(const char *path, size_t *ret_size);

/* Is `path` below `dir`, as text? Both are clean; a path is not below itself. */
bool sfs_path_is_below(const char *path, const char *dir);

/* Names in the order of their bytes, in which layers, trees and directories keep them: less than,
 * equal to or greater than 0, as strcmp(). Here, since look-ups do little else. */
static inline int sfs_name_compare(const char *a, size_t a_size, const char *b, size_t b_size)
{
    int order = memcmp(a, b, a_size < b_size ? a_size : b_size);
    return order ? order : (a_size > b_size) - (a_size < b_size);
}

#endif
