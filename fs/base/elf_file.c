/* Headers and dynamic section of an ELF file, each read with bounds. */
#include "base/elf_file.h"

#include "base/banned.h"
#include <errno.h>
#include <string.h>

#define MAX_DYNAMIC 4096u /* entries that are looked at */

static bool is_native(const ElfW(Ehdr) * header)
{
    unsigned char class = sizeof(void *) == 8 ? ELFCLASS64 : ELFCLASS32;
    unsigned char order = __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ ? ELFDATA2LSB : ELFDATA2MSB;
    return memcmp(header->e_ident, ELFMAG, SELFMAG) == 0 && header->e_ident[EI_CLASS] == class &&
           header->e_ident[EI_DATA] == order && header->e_phentsize == sizeof(ElfW(Phdr)) &&
           header->e_phnum > 0 && header->e_phnum <= SFS_ELF_SEGMENTS;
}

int sfs_elf_open(const struct sfs_elf_source *source, struct sfs_elf *ret_elf)
{
    ElfW(Ehdr) header;
    if (source->size < sizeof header || !source->read(source->user, &header, sizeof header, 0) ||
        !is_native(&header))
        return -ENOENT;
    uint64_t size = header.e_phnum * sizeof ret_elf->segments[0];
    if (header.e_phoff > source->size || size > source->size - header.e_phoff ||
        !source->read(source->user, ret_elf->segments, (size_t)size, header.e_phoff))
        return -ENOENT;
    ret_elf->source = source;
    ret_elf->segment_count = header.e_phnum;
    ret_elf->headers_end = header.e_phoff + size;
    return 0;
}

const ElfW(Phdr) * sfs_elf_segment(const struct sfs_elf *elf, uint32_t type)
{
    for (unsigned i = 0; i < elf->segment_count; i++)
        if (elf->segments[i].p_type == type)
            return &elf->segments[i];
    return NULL;
}

bool sfs_elf_offset(const struct sfs_elf *elf, uint64_t address, uint64_t *ret_offset,
                    uint64_t *ret_left)
{
    for (unsigned i = 0; i < elf->segment_count; i++) {
        const ElfW(Phdr) *segment = &elf->segments[i];
        if (segment->p_type != PT_LOAD || address < segment->p_vaddr ||
            address - segment->p_vaddr >= segment->p_filesz)
            continue;
        uint64_t in = address - segment->p_vaddr;
        if (__builtin_add_overflow(segment->p_offset, in, ret_offset))
            return false;
        *ret_left = segment->p_filesz - in;
        return true;
    }
    return false;
}

int sfs_elf_dynamic(const struct sfs_elf *elf, void (*note)(void *user, const ElfW(Dyn) * entry),
                    void *user)
{
    const struct sfs_elf_source *source = elf->source;
    const ElfW(Phdr) *dynamic = sfs_elf_segment(elf, PT_DYNAMIC);
    if (!dynamic || dynamic->p_offset > source->size ||
        dynamic->p_filesz > source->size - dynamic->p_offset)
        return -ENOENT;
    ElfW(Dyn) entries[64];
    uint64_t count = dynamic->p_filesz / sizeof *entries, at = dynamic->p_offset;
    for (uint64_t done = 0; done < count && done < MAX_DYNAMIC;) {
        size_t part = count - done < 64 ? (size_t)(count - done) : 64;
        if (!source->read(source->user, entries, part * sizeof *entries, at))
            return -ENOENT;
        for (size_t i = 0; i < part; i++) {
            if (entries[i].d_tag == DT_NULL)
                return 0;
            note(user, &entries[i]);
        }
        done += part;
        at += part * sizeof *entries;
    }
    return 0;
}
