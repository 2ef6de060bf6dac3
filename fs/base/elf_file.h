/* What of an ELF file tells how it is loaded: program headers and the dynamic section, read where
 * they lie and judged, of files of any size. Only files of this machine's word size and byte order.
 * Whatever a file says, this ends soon and reads inside of it. */
#ifndef STAGEFS_ELF_FILE_H
#define STAGEFS_ELF_FILE_H

#include <link.h>
#include <stdbool.h>
#include <stdint.h>

/* A file to be looked into. */
struct sfs_elf_source {
    /* Reads exactly `size` bytes at `offset`; false if that cannot be done. */
    bool (*read)(void *user, void *buf, size_t size, uint64_t offset);
    void *user;
    uint64_t size; /* bytes of the file */
};

#define SFS_ELF_SEGMENTS 64u
struct sfs_elf {
    const struct sfs_elf_source *source;
    ElfW(Phdr) segments[SFS_ELF_SEGMENTS];
    unsigned segment_count;
    uint64_t headers_end; /* the headers lie in front of this offset */
};

/* Reads the headers; the source is borrowed. Nothing is to be freed. ENOENT: it is not such a file.
 */
int sfs_elf_open(const struct sfs_elf_source *source, struct sfs_elf *ret_elf);

/* The first segment of a type (PT_DYNAMIC, PT_INTERP); NULL: there is none. What it says of its
 * place in the file is not checked. */
const ElfW(Phdr) * sfs_elf_segment(const struct sfs_elf *elf, uint32_t type);

/* Where an address is in the file, and how many bytes of its segment follow. False: nowhere; the
 * offset may still lie behind the file's end. */
bool sfs_elf_offset(const struct sfs_elf *elf, uint64_t address, uint64_t *ret_offset,
                    uint64_t *ret_left);

/* Calls `note` for each entry of the dynamic section before DT_NULL, up to some thousands. ENOENT:
 * there is no dynamic section, or it is not in the file. */
int sfs_elf_dynamic(const struct sfs_elf *elf, void (*note)(void *user, const ElfW(Dyn) * entry),
                    void *user);

#endif
