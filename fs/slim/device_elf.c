/* Sections, since fat binaries have no other mark: a library whose section headers were removed
 * has no device code that could be told from other bytes. Pointers to containers are words that
 * the loader relocates, so what they will be stands in the relocations, or, with RELR and in
 * programs at fixed addresses, in the word itself. */
#include "slim/device_elf.h"

#include "base/array.h"
#include "base/banned.h"
#include "base/limits.h"
#include <elf.h>
#include <errno.h>
#include <stagefs/auto.h>
#include <stdbool.h>

#define MAX_NAMES       (1u << 20)
#define MAX_RELOCATIONS (256u << 20) /* bytes */
#define CHUNK           (60u << 10)  /* whole entries of 24 bytes */

/* How a program hands a container to the driver: 24 bytes in .nvFatBinSegment. */
#define WRAPPER_MAGIC 0x466243B1u
struct wrapper {
    uint32_t magic, version; /* 2: linked for devices; `linked` is an array then */
    uint64_t container, linked;
};
_Static_assert(sizeof(struct wrapper) == 24, "as it is in the file");

struct headers {
    Elf64_Ehdr elf;
    Elf64_Shdr *sections;
    char *names;
    size_t names_size;
    const Elf64_Shdr *wrappers;
};

static void headers_done(struct headers *headers)
{
    free(headers->sections);
    free(headers->names);
}

void sfs_device_elf_done(struct sfs_device_elf *elf)
{
    free(elf->sections);
    free(elf->wrappers);
    *elf = (struct sfs_device_elf){ 0 };
}

/* Reads bytes that may be more than a window has. */
static int read_all(struct sfs_window *window, void *buf, uint64_t offset, size_t size,
                    struct sfs_error *err)
{
    for (size_t done = 0; done < size;) {
        const char *bytes;
        size_t part = size - done < SFS_WINDOW_STEP ? size - done : SFS_WINDOW_STEP;
        int r = sfs_window_get(window, offset + done, part, &bytes, err);
        if (r < 0)
            return r;
        memcpy((char *)buf + done, bytes, part);
        done += part;
    }
    return 0;
}

/* Is it a library or a program of a machine that CUDA runs on, with sections? */
static bool is_library(const Elf64_Ehdr *elf)
{
    return memcmp(elf->e_ident, ELFMAG, SELFMAG) == 0 && elf->e_ident[EI_CLASS] == ELFCLASS64 &&
           elf->e_ident[EI_DATA] == ELFDATA2LSB &&
           (elf->e_machine == EM_X86_64 || elf->e_machine == EM_AARCH64) &&
           (elf->e_type == ET_DYN || elf->e_type == ET_EXEC) && elf->e_shoff != 0;
}

/* Returns 1 if it is a library, and its headers were read. */
static int read_headers(struct headers *headers, struct sfs_window *window, struct sfs_error *err)
{
    const char *bytes;
    Elf64_Ehdr *elf = &headers->elf;
    if (window->source->size < sizeof *elf)
        return 0;
    int r = sfs_window_get(window, 0, sizeof *elf, &bytes, err);
    if (r < 0)
        return r;
    memcpy(elf, bytes, sizeof *elf);
    if (!is_library(elf))
        return 0;
    if (elf->e_shentsize != sizeof *headers->sections || elf->e_shnum == 0 ||
        elf->e_shstrndx >= elf->e_shnum)
        return sfs_fail(err, EBADMSG, "its table of sections is malformed");
    headers->sections = calloc(elf->e_shnum, sizeof *headers->sections);
    if (!headers->sections)
        return sfs_fail_memory(err);
    r = read_all(window, headers->sections, elf->e_shoff, elf->e_shnum * sizeof *headers->sections,
                 err);
    if (r < 0)
        return r;
    const Elf64_Shdr *names = &headers->sections[elf->e_shstrndx];
    if (names->sh_size == 0 || names->sh_size > MAX_NAMES)
        return sfs_fail(err, EBADMSG, "its sections have no names");
    headers->names_size = names->sh_size;
    headers->names = calloc(1, names->sh_size + 1);
    if (!headers->names)
        return sfs_fail_memory(err);
    r = read_all(window, headers->names, names->sh_offset, names->sh_size, err);
    return r < 0 ? r : 1;
}

static const char *name_of(const struct headers *headers, const Elf64_Shdr *section)
{
    return section->sh_name < headers->names_size ? headers->names + section->sh_name : "";
}

static bool is_one_of(const char *name, const char *const *names)
{
    for (; *names; names++)
        if (strcmp(name, *names) == 0)
            return true;
    return false;
}

static bool holds_data(const Elf64_Shdr *section)
{
    return section->sh_type == SHT_PROGBITS && section->sh_size > 0 &&
           section->sh_flags & SHF_ALLOC && !(section->sh_flags & SHF_EXECINSTR);
}

/* Does the library have a section that is made for device code only? */
static bool has_device_code(struct headers *headers)
{
    static const char *const marks[] = { ".nv_fatbin", "__nv_relfatbin", ".nvFatBinSegment",
                                         ".cask_resource", NULL };
    bool found = false;
    for (size_t i = 0; i < headers->elf.e_shnum; i++) {
        const Elf64_Shdr *section = &headers->sections[i];
        const char *name = name_of(headers, section);
        if (!holds_data(section) || !is_one_of(name, marks))
            continue;
        found = true;
        if (strcmp(name, ".nvFatBinSegment") == 0)
            headers->wrappers = section;
    }
    return found;
}

static int add_section(struct sfs_device_elf *elf, const Elf64_Shdr *section, const char *name,
                       uint64_t file_size, struct sfs_error *err)
{
    static const char *const tiled[] = { ".nv_fatbin", "__nv_relfatbin", NULL };
    if (section->sh_offset > file_size || section->sh_size > file_size - section->sh_offset)
        return sfs_fail(err, EBADMSG, "section %.32s is not in the file", name);
    if (SFS_ARRAY_GROW(elf->sections, elf->section_count, elf->section_capacity, 8) < 0)
        return sfs_fail_memory(err);
    struct sfs_device_section *added = &elf->sections[elf->section_count++];
    *added = (struct sfs_device_section){
        .kind = is_one_of(name, tiled) ? SFS_DEVICE_TILED : SFS_DEVICE_MIXED,
        .address = section->sh_addr,
        .offset = section->sh_offset,
        .size = section->sh_size,
    };
    snprintf(added->name, sizeof added->name, "%s", name);
    return 0;
}

static int compare_sections(const void *left, const void *right)
{
    uint64_t a = ((const struct sfs_device_section *)left)->offset;
    uint64_t b = ((const struct sfs_device_section *)right)->offset;
    return (a > b) - (a < b);
}

/* Lists what is to be searched. Tables that the compiler makes for the host hold no constants. */
static int choose_sections(struct sfs_device_elf *elf, const struct headers *headers,
                           uint64_t file_size, struct sfs_error *err)
{
    static const char *const others[] = {
        ".nvFatBinSegment", ".interp",      ".eh_frame",         ".eh_frame_hdr", ".got",
        ".got.plt",         ".data.rel.ro", ".gcc_except_table", ".comment",      NULL
    };
    for (size_t i = 0; i < headers->elf.e_shnum; i++) {
        const Elf64_Shdr *section = &headers->sections[i];
        const char *name = name_of(headers, section);
        if (!holds_data(section) || is_one_of(name, others))
            continue;
        int r = add_section(elf, section, name, file_size, err);
        if (r < 0)
            return r;
    }
    if (elf->section_count == 0)
        return 0;
    qsort(elf->sections, elf->section_count, sizeof *elf->sections, compare_sections);
    for (size_t i = 1; i < elf->section_count; i++)
        if (elf->sections[i].offset - elf->sections[i - 1].offset < elf->sections[i - 1].size)
            return sfs_fail(err, EBADMSG, "sections %s and %s overlap", elf->sections[i - 1].name,
                            elf->sections[i].name);
    return 0;
}

/* ---- wrappers ---- */

/* Notes the relocation if it is one of a wrapper's pointer to its container. */
static void note_relocation(struct sfs_device_elf *elf, const struct headers *headers,
                            const Elf64_Rela *relocation)
{
    uint64_t in = relocation->r_offset - headers->wrappers->sh_addr;
    uint64_t type = ELF64_R_TYPE(relocation->r_info);
    uint64_t relative =
        headers->elf.e_machine == EM_X86_64 ? R_X86_64_RELATIVE : R_AARCH64_RELATIVE;
    if (in < elf->wrapper_count * sizeof(struct wrapper) &&
        in % sizeof(struct wrapper) == offsetof(struct wrapper, container))
        elf->wrappers[in / sizeof(struct wrapper)] =
            type == relative ? (uint64_t)relocation->r_addend : UINT64_MAX;
}

static int read_relocations(struct sfs_device_elf *elf, const struct headers *headers,
                            const Elf64_Shdr *section, struct sfs_window *window,
                            struct sfs_error *err)
{
    if (section->sh_size > MAX_RELOCATIONS)
        return sfs_fail(err, E2BIG, "it has more than %u bytes of relocations", MAX_RELOCATIONS);
    uint64_t end = section->sh_size - section->sh_size % sizeof(Elf64_Rela);
    for (uint64_t done = 0; done < end;) {
        const char *bytes;
        size_t part = end - done < CHUNK ? (size_t)(end - done) : CHUNK;
        int r = sfs_window_get(window, section->sh_offset + done, part, &bytes, err);
        if (r < 0)
            return r;
        for (size_t i = 0; i < part; i += sizeof(Elf64_Rela)) {
            Elf64_Rela relocation;
            memcpy(&relocation, bytes + i, sizeof relocation);
            note_relocation(elf, headers, &relocation);
        }
        done += part;
    }
    return 0;
}

static int find_wrappers(struct sfs_device_elf *elf, const struct headers *headers,
                         struct sfs_window *window, struct sfs_error *err)
{
    const Elf64_Shdr *section = headers->wrappers;
    if (!section)
        return 0;
    if (section->sh_size % sizeof(struct wrapper) != 0 ||
        section->sh_size / sizeof(struct wrapper) > SFS_MAX_FATBINS)
        return sfs_fail(err, EBADMSG, "section .nvFatBinSegment has %llu bytes",
                        (unsigned long long)section->sh_size);
    elf->wrapper_count = section->sh_size / sizeof(struct wrapper);
    elf->wrappers_offset = section->sh_offset;
    elf->wrappers = calloc(elf->wrapper_count, sizeof *elf->wrappers);
    if (!elf->wrappers)
        return sfs_fail_memory(err);
    int r = 0;
    for (size_t i = 0; i < headers->elf.e_shnum && r == 0; i++)
        if (headers->sections[i].sh_type == SHT_RELA && headers->sections[i].sh_flags & SHF_ALLOC)
            r = read_relocations(elf, headers, &headers->sections[i], window, err);
    return r;
}

int sfs_device_elf_read_wrappers(struct sfs_device_elf *elf, struct sfs_window *window,
                                 struct sfs_error *err)
{
    for (size_t i = 0; i < elf->wrapper_count; i++) {
        struct wrapper wrapper;
        const char *bytes;
        int r = sfs_window_get(window, elf->wrappers_offset + i * sizeof wrapper, sizeof wrapper,
                               &bytes, err);
        if (r < 0)
            return r;
        memcpy(&wrapper, bytes, sizeof wrapper);
        if (wrapper.magic != WRAPPER_MAGIC || (wrapper.version != 1 && wrapper.version != 2))
            return sfs_fail(err, EBADMSG, "what points to device code is of version %u",
                            wrapper.version);
        if (elf->wrappers[i] == 0)
            elf->wrappers[i] = wrapper.container;
    }
    return 0;
}

int sfs_device_elf_read(struct sfs_device_elf *elf, struct sfs_window *window,
                        struct sfs_error *err)
{
    AUTO(headers_done) struct headers headers = { 0 };
    int r = read_headers(&headers, window, err);
    if (r <= 0 || !has_device_code(&headers))
        return r < 0 ? r : 0;
    r = choose_sections(elf, &headers, window->source->size, err);
    return r < 0 ? r : find_wrappers(elf, &headers, window, err);
}
