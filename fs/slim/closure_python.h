/* What Python needs beside what is kept: the source of bytecode and the reverse, the __init__
 * modules of packages above, .pth files and what they name. */
#ifndef STAGEFS_CLOSURE_PYTHON_H
#define STAGEFS_CLOSURE_PYTHON_H

#include "slim/look.h"

/* Keeps what the name of a kept file or directory asks for. Reads nothing. */
void sfs_python_need(struct sfs_kept *kept, sfs_name name);

/* Keeps the standard library (but for its tests, and what linking with Python takes) of each Python
 * that a profile has: that of which the source of `os` was looked for, as each start does. For a
 * policy that keeps whole packages: no package needs to say that it requires it. */
void sfs_python_keep_libraries(struct sfs_kept *kept);

/* Is it a file of a site directory whose text names others (.pth, .egg-link)? */
bool sfs_python_is_path_file(const struct sfs_kept *kept, sfs_name name);
/* Keeps what the text of such a file names: directories, by themselves, and modules that it
 * imports. Only what is in the tree; ".." and absolute paths stay inside of it. */
void sfs_python_need_paths(struct sfs_kept *kept, const struct sfs_look *look);

#endif
