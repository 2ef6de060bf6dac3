/* Where the loader finds the libraries that a program or library names: ld.so(8), as far as files
 * tell. In doubt it keeps more: of the ways to read a search path all are tried that differ by
 * machine, and a library that no path leads to is kept wherever one of its name is, as a program
 * may have loaded it before by another path. */
#ifndef STAGEFS_CLOSURE_ELF_H
#define STAGEFS_CLOSURE_ELF_H

#include "slim/look.h"

struct sfs_loader_entry { /* of ld.so.cache; they point into its bytes */
    const char *soname, *path;
};

/* All-zero before sfs_loader_open(). One thread at a time. */
struct sfs_loader {
    struct sfs_kept *kept;
    const char *library_path; /* LD_LIBRARY_PATH of the image's config; may be NULL */
    sfs_name *libraries;      /* names with ".so" in them, sorted */
    uint32_t library_count;
    struct sfs_buf dirs; /* where it looks last, each NUL-terminated: of ld.so.conf, and its own */
    struct sfs_buf program_dirs; /* of the DT_RPATH of programs, for all that they load */
    struct sfs_buf cache;
    struct sfs_loader_entry *entries; /* sorted by soname */
    uint32_t entry_count;
    uint32_t lookups; /* directories that were searched; over a cap, no more are */
};

/* Reads ld.so.cache, and ld.so.conf with its directory, where the tree has them; what they hold is
 * believed only as far as the tree has it. Borrows the rest. The caller closes it, after a failure
 * too. ENOMEM. */
int sfs_loader_open(struct sfs_loader *loader, struct sfs_kept *kept, const char *library_path,
                    struct sfs_error *err);
/* Makes the entries of the bytes in loader->cache, of any bytes; sfs_loader_open() does so of the
 * tree's ld.so.cache. -ENOMEM. */
int sfs_loader_take_cache(struct sfs_loader *loader);
/* Frees what is in it. Fine on an all-zero struct. */
void sfs_loader_done(struct sfs_loader *loader);

/* Takes the DT_RPATH of a program into account, which the loader searches for libraries of
 * libraries, too. Before sfs_loader_need() of what it may load. */
void sfs_loader_note_program(struct sfs_loader *loader, const struct sfs_look *look);
/* Keeps the interpreter and the libraries that a file names. */
void sfs_loader_need(struct sfs_loader *loader, const struct sfs_look *look);
/* Keeps each library of the tree whose name begins so; those beside `beside` alone, if there are
 * any. */
void sfs_loader_need_prefix(struct sfs_loader *loader, const char *prefix, sfs_name beside);

#endif
