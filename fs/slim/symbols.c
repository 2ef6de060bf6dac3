/* What strip would take out of a library or program. Sections go whole, and with each its header,
 * so that the file says of itself that it has none of them. Nothing goes that a loader maps, that
 * another section refers to, or that shares a byte with anything else. Relocatable files (objects,
 * kernel modules) need their symbols, so they are not looked into. */
#include "slim/findings.h"

#include "base/banned.h"
#include <elf.h>
#include <errno.h>
#include <stagefs/auto.h>

#define MAX_SECTIONS (SFS_WINDOW_ROOM / sizeof(Elf64_Shdr))
#define MAX_SEGMENTS 1024u

struct elf {
    Elf64_Ehdr head;
    Elf64_Shdr *sections;
    Elf64_Phdr *segments;
    char *names;
    size_t names_size;
    bool *goes; /* by section */
    uint64_t file_size;
};

static void elf_done(struct elf *elf)
{
    free(elf->sections);
    free(elf->segments);
    free(elf->names);
    free(elf->goes);
}

static bool is_program(const Elf64_Ehdr *head)
{
    return memcmp(head->e_ident, ELFMAG, SELFMAG) == 0 && head->e_ident[EI_CLASS] == ELFCLASS64 &&
           head->e_ident[EI_DATA] == ELFDATA2LSB &&
           (head->e_type == ET_DYN || head->e_type == ET_EXEC) && head->e_shoff != 0 &&
           head->e_shnum > 0;
}

/* Reads a table; the caller frees *ret_data. */
static int read_table(struct sfs_window *window, uint64_t offset, size_t size, void *ret_data,
                      struct sfs_error *err)
{
    const char *bytes;
    int r = sfs_window_get(window, offset, size, &bytes, err);
    if (r < 0)
        return r;
    char *copy = malloc(size + 1);
    if (!copy)
        return sfs_fail_memory(err);
    memcpy(copy, bytes, size);
    copy[size] = 0;
    *(void **)ret_data = copy;
    return 0;
}

/* Returns 1 if it is a program or library with sections, and its headers were read. */
static int read_headers(struct elf *elf, struct sfs_window *window, struct sfs_error *err)
{
    const char *bytes;
    Elf64_Ehdr *head = &elf->head;
    elf->file_size = window->source->size;
    if (elf->file_size < sizeof *head)
        return 0;
    int r = sfs_window_get(window, 0, sizeof *head, &bytes, err);
    if (r < 0)
        return r;
    memcpy(head, bytes, sizeof *head);
    if (!is_program(head))
        return 0;
    if (head->e_shentsize != sizeof(Elf64_Shdr) || head->e_shnum > MAX_SECTIONS ||
        head->e_shstrndx >= head->e_shnum)
        return sfs_fail(err, EBADMSG, "its table of sections is malformed");
    if (head->e_phnum > MAX_SEGMENTS ||
        (head->e_phnum > 0 && head->e_phentsize != sizeof(Elf64_Phdr)))
        return sfs_fail(err, EBADMSG, "its table of segments is malformed");
    r = read_table(window, head->e_phoff, head->e_phnum * sizeof(Elf64_Phdr), &elf->segments, err);
    if (r == 0)
        r = read_table(window, head->e_shoff, head->e_shnum * sizeof(Elf64_Shdr), &elf->sections,
                       err);
    if (r < 0)
        return r;
    const Elf64_Shdr *names = &elf->sections[head->e_shstrndx];
    if (names->sh_size > SFS_WINDOW_ROOM)
        return sfs_fail(err, EBADMSG, "the names of its sections are too long");
    elf->names_size = (size_t)names->sh_size;
    r = read_table(window, names->sh_offset, elf->names_size, &elf->names, err);
    return r < 0 ? r : 1;
}

static const char *name_of(const struct elf *elf, size_t i)
{
    uint32_t at = elf->sections[i].sh_name;
    return at < elf->names_size ? elf->names + at : "";
}

static bool is_in_file(const Elf64_Shdr *section)
{
    return section->sh_type != SHT_NULL && section->sh_type != SHT_NOBITS && section->sh_size > 0;
}

static bool is_debug(const struct elf *elf, size_t i)
{
    const char *name = name_of(elf, i);
    return elf->sections[i].sh_type == SHT_PROGBITS &&
           (strncmp(name, ".debug_", 7) == 0 || strncmp(name, ".zdebug_", 8) == 0 ||
            strcmp(name, ".gdb_index") == 0);
}

/* Symbols that are not loaded, and their names, if these are of nothing else. */
static void mark_symbols(struct elf *elf, size_t i)
{
    uint32_t names = elf->sections[i].sh_link;
    elf->goes[i] = true;
    if (names < elf->head.e_shnum && names != elf->head.e_shstrndx &&
        elf->sections[names].sh_type == SHT_STRTAB && is_in_file(&elf->sections[names]) &&
        !(elf->sections[names].sh_flags & SHF_ALLOC))
        elf->goes[names] = true;
}

static bool mark(struct elf *elf)
{
    bool any = false;
    for (size_t i = 1; i < elf->head.e_shnum; i++) {
        const Elf64_Shdr *section = &elf->sections[i];
        if (section->sh_flags & SHF_ALLOC || !is_in_file(section))
            continue;
        if (section->sh_type == SHT_SYMTAB)
            mark_symbols(elf, i);
        else if (is_debug(elf, i))
            elf->goes[i] = true;
        any |= elf->goes[i];
    }
    return any;
}

/* Relocations that a linker left for others, say: they are of no use without the symbols. */
static int check_links(const struct elf *elf, struct sfs_error *err)
{
    for (size_t i = 1; i < elf->head.e_shnum; i++) {
        const Elf64_Shdr *section = &elf->sections[i];
        if (section->sh_type != SHT_NULL && !elf->goes[i] && section->sh_link < elf->head.e_shnum &&
            elf->goes[section->sh_link])
            return sfs_fail(err, EBADMSG, "section %.32s refers to %.32s", name_of(elf, i),
                            name_of(elf, section->sh_link));
    }
    return 0;
}

static bool overlap(uint64_t offset, uint64_t size, uint64_t other, uint64_t other_size)
{
    return size > 0 && other_size > 0 &&
           (offset < other ? other - offset < size : offset - other < other_size);
}

/* Shares the range a byte with the headers that a loader reads, or with a segment? Those that are
 * mapped as a whole count if `with_mapped` says so. */
static bool is_loaded(const struct elf *elf, uint64_t offset, uint64_t size, bool with_mapped)
{
    if (overlap(offset, size, 0, sizeof elf->head) ||
        overlap(offset, size, elf->head.e_phoff, elf->head.e_phnum * sizeof(Elf64_Phdr)))
        return true;
    for (size_t i = 0; i < elf->head.e_phnum; i++)
        if ((with_mapped || elf->segments[i].p_type != PT_LOAD) &&
            overlap(offset, size, elf->segments[i].p_offset, elf->segments[i].p_filesz))
            return true;
    return false;
}

/* Nothing else may lie where the section does. */
static int check_place(const struct elf *elf, size_t i, struct sfs_error *err)
{
    const Elf64_Shdr *section = &elf->sections[i];
    uint64_t table = elf->head.e_shnum * sizeof *section;
    if (section->sh_offset > elf->file_size ||
        section->sh_size > elf->file_size - section->sh_offset)
        return sfs_fail(err, EBADMSG, "section %.32s is not in the file", name_of(elf, i));
    if (is_loaded(elf, section->sh_offset, section->sh_size, true) ||
        overlap(section->sh_offset, section->sh_size, elf->head.e_shoff, table))
        return sfs_fail(err, EBADMSG, "section %.32s lies in what is loaded", name_of(elf, i));
    for (size_t k = 1; k < elf->head.e_shnum; k++)
        if (k != i && is_in_file(&elf->sections[k]) &&
            overlap(section->sh_offset, section->sh_size, elf->sections[k].sh_offset,
                    elf->sections[k].sh_size))
            return sfs_fail(err, EBADMSG, "sections %.32s and %.32s overlap", name_of(elf, i),
                            name_of(elf, k));
    return 0;
}

/* The headers are changed, so nothing else may lie there. They may be mapped: patchelf, and Go's
 * linker, put them between what is loaded. No loader and no program looks for them in memory. */
static int check_table(const struct elf *elf, struct sfs_error *err)
{
    uint64_t table = elf->head.e_shnum * sizeof(Elf64_Shdr);
    if (is_loaded(elf, elf->head.e_shoff, table, false))
        return sfs_fail(err, EBADMSG, "its table of sections lies in what is loaded");
    for (size_t k = 1; k < elf->head.e_shnum; k++)
        if (is_in_file(&elf->sections[k]) &&
            overlap(elf->head.e_shoff, table, elf->sections[k].sh_offset, elf->sections[k].sh_size))
            return sfs_fail(err, EBADMSG, "its table of sections lies in section %.32s",
                            name_of(elf, k));
    return 0;
}

static int check(const struct elf *elf, struct sfs_error *err)
{
    int r = check_links(elf, err);
    if (r == 0)
        r = check_table(elf, err);
    for (size_t i = 1; i < elf->head.e_shnum && r == 0; i++)
        if (elf->goes[i])
            r = check_place(elf, i, err);
    return r;
}

static int add_sections(const struct elf *elf, struct sfs_ranges *symbols)
{
    int r = 0;
    for (size_t i = 1; i < elf->head.e_shnum && r == 0; i++) {
        const Elf64_Shdr *section = &elf->sections[i];
        if (elf->goes[i])
            r = sfs_ranges_add(symbols, section->sh_offset, section->sh_size);
        if (elf->goes[i] && r == 0)
            r = sfs_ranges_add(symbols, elf->head.e_shoff + i * sizeof *section, sizeof *section);
    }
    sfs_ranges_merge(symbols, 0);
    return r;
}

int sfs_symbols_find(const struct sfs_device_source *source, struct sfs_findings *findings,
                     struct sfs_error *err)
{
    AUTO(sfs_window_done) struct sfs_window window = { .source = source };
    AUTO(elf_done) struct elf elf = { 0 };
    int r = read_headers(&elf, &window, err);
    if (r <= 0)
        return r;
    elf.goes = calloc(elf.head.e_shnum, sizeof *elf.goes);
    if (!elf.goes)
        return sfs_fail_memory(err);
    if (!mark(&elf))
        return 0;
    r = check(&elf, err);
    if (r == 0 && add_sections(&elf, &findings->symbols) < 0)
        return sfs_fail_memory(err);
    return r;
}
