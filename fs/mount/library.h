/* Which bytes of a shared library its loader will touch, told before it does: headers, the tables
 * of the dynamic section, and every page that a relocation writes to. */
#ifndef STAGEFS_LIBRARY_H
#define STAGEFS_LIBRARY_H

#include "base/elf_file.h"
#include "tree/profile.h"

#define SFS_LIBRARY_MAX_RELOCATIONS (64u << 20)
/* Appends what the loader will touch to `ranges`, in the order in which it comes to it, not merged,
 * all inside the file. ENOENT: it is not an ELF file with a dynamic section, of this machine's word
 * size and byte order. ENOMEM. Whatever the file says, this ends soon: it reads at most the dynamic
 * section and SFS_LIBRARY_MAX_RELOCATIONS bytes of relocations. */
int sfs_library_plan(const struct sfs_elf_source *source, struct sfs_ranges *ranges);

#endif
