/* The sections of an ELF library that hold device code, and where the program points to it. */
#ifndef STAGEFS_DEVICE_ELF_H
#define STAGEFS_DEVICE_ELF_H

#include "slim/window.h"

enum sfs_device_section_kind {
    SFS_DEVICE_TILED, /* of fat binaries alone */
    SFS_DEVICE_MIXED, /* of constants, fat binaries perhaps among them */
};

struct sfs_device_section {
    enum sfs_device_section_kind kind;
    char name[32]; /* cut if it is longer */
    uint64_t address, offset, size;
};

struct sfs_device_elf {                  /* all-zero is empty */
    struct sfs_device_section *sections; /* by offset, none in another's bytes; all in the file */
    size_t section_count, section_capacity;
    uint64_t *wrappers; /* addresses of containers that the program hands to the driver */
    size_t wrapper_count;
    uint64_t wrappers_offset; /* where they stand in the file */
};

/* Reads headers and relocations. No sections: it is no 64-bit library or program of x86-64 or
 * aarch64, or has no device code. EBADMSG, E2BIG: it is broken. ENOMEM, or what the source says.
 * The caller calls sfs_device_elf_done(), after a failure too. */
int sfs_device_elf_read(struct sfs_device_elf *elf, struct sfs_window *window,
                        struct sfs_error *err);
/* Completes `wrappers` by what stands in the file itself. EBADMSG: one is of another form. */
int sfs_device_elf_read_wrappers(struct sfs_device_elf *elf, struct sfs_window *window,
                                 struct sfs_error *err);
/* Frees what is in it. Fine on an all-zero struct. */
void sfs_device_elf_done(struct sfs_device_elf *elf);

#endif
