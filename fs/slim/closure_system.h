/* What programs take for granted, or load by names that stand in no header: users and hosts,
 * certificates, locales; the parts of cuDNN, ptxas; interpreters of scripts. */
#ifndef STAGEFS_CLOSURE_SYSTEM_H
#define STAGEFS_CLOSURE_SYSTEM_H

#include "slim/closure_elf.h"

/* Keeps what any program may ask for. */
void sfs_system_need(struct sfs_kept *kept);

/* Keeps what the table has for a kept name. Reads nothing. */
void sfs_system_need_companions(struct sfs_loader *loader, sfs_name name);

/* Keeps the interpreter that a script begins with; of "/usr/bin/env NAME", and of a shell that only
 * executes another, that one too. path: directories, ':' between them, where NAME is looked for. */
void sfs_system_need_interpreter(struct sfs_kept *kept, const struct sfs_look *look,
                                 const char *path);

#endif
