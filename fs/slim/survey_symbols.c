/* What strip would take out of libraries and programs: symbols that no loader reads, and debug
 * information. Section headers are read, and nothing else. */
#include "slim/survey_parts.h"

#include "slim/window.h"
#include <elf.h>
#include <errno.h>
#include <stagefs/auto.h>

#define LEAST (64u << 10) /* bytes of a file that is worth a look */

struct symbols_source {
    const struct sfs_tree *tree;
    sfs_node node;
};

static int read_source(void *user, void *buf, size_t size, uint64_t offset, struct sfs_error *err)
{
    const struct symbols_source *source = user;
    for (size_t at = 0; at < size;) {
        ssize_t n = sfs_tree_read(source->tree, source->node, (char *)buf + at, size - at,
                                  offset + at, err);
        if (n <= 0)
            return n < 0 ? (int)n : sfs_fail(err, EBADMSG, "the file ends before it should");
        at += (size_t)n;
    }
    return 0;
}

static bool is_understood(const Elf64_Ehdr *head)
{
    return memcmp(head->e_ident, ELFMAG, SELFMAG) == 0 && head->e_ident[EI_CLASS] == ELFCLASS64 &&
           head->e_ident[EI_DATA] == ELFDATA2LSB && head->e_shentsize == sizeof(Elf64_Shdr) &&
           head->e_shstrndx < head->e_shnum &&
           head->e_shnum <= SFS_WINDOW_ROOM / sizeof(Elf64_Shdr);
}

static bool is_debug(const Elf64_Shdr *section, const char *names, size_t names_size)
{
    static const char *const starts[] = { ".debug_", ".zdebug_" };
    for (size_t i = 0; i < sizeof starts / sizeof *starts; i++) {
        size_t size = strlen(starts[i]);
        if (section->sh_name < names_size && names_size - section->sh_name >= size &&
            memcmp(names + section->sh_name, starts[i], size) == 0)
            return true;
    }
    return false;
}

/* A symbol table that is not loaded, and the names of its symbols. */
static uint64_t symbol_bytes(const Elf64_Shdr *sections, size_t count, size_t i)
{
    if (sections[i].sh_type != SHT_SYMTAB)
        return 0;
    uint32_t names = sections[i].sh_link;
    bool has_names = names < count && sections[names].sh_type == SHT_STRTAB &&
                     !(sections[names].sh_flags & SHF_ALLOC);
    return sections[i].sh_size / 2 + (has_names ? sections[names].sh_size / 2 : 0);
}

/* Adds up in halves, so that no sizes that a file claims can overflow; more than the file has is a
 * lie. */
static uint64_t add_up(const Elf64_Shdr *sections, size_t count, const char *names,
                       size_t names_size, uint64_t file_bytes)
{
    uint64_t half = 0;
    for (size_t i = 0; i < count && half <= file_bytes; i++) {
        if (sections[i].sh_flags & SHF_ALLOC || sections[i].sh_type == SHT_NOBITS)
            continue;
        half += symbol_bytes(sections, count, i);
        if (half <= file_bytes && is_debug(&sections[i], names, names_size))
            half += sections[i].sh_size / 2;
    }
    return half <= file_bytes / 2 ? 2 * half : 0;
}

/* How much strip would take. -EBADMSG: the file is broken. */
static int read_sections(struct sfs_window *window, uint64_t file_bytes, uint64_t *ret_bytes,
                         struct sfs_error *err)
{
    const char *bytes;
    Elf64_Ehdr head;
    *ret_bytes = 0;
    int r = sfs_window_get(window, 0, sizeof head, &bytes, err);
    if (r < 0)
        return r;
    memcpy(&head, bytes, sizeof head);
    if (!is_understood(&head))
        return 0;
    size_t size = head.e_shnum * sizeof(Elf64_Shdr);
    AUTO(sfs_free) Elf64_Shdr *sections = malloc(size);
    if (!sections)
        return sfs_fail_memory(err);
    r = sfs_window_get(window, head.e_shoff, size, &bytes, err);
    if (r < 0)
        return r;
    memcpy(sections, bytes, size);
    const Elf64_Shdr *names = &sections[head.e_shstrndx];
    if (names->sh_size > SFS_WINDOW_ROOM)
        return 0;
    r = sfs_window_get(window, names->sh_offset, (size_t)names->sh_size, &bytes, err);
    if (r == 0)
        *ret_bytes = add_up(sections, head.e_shnum, bytes, (size_t)names->sh_size, file_bytes);
    return r;
}

int sfs_survey_find_symbols(struct sfs_survey *survey, struct sfs_error *err)
{
    for (size_t i = 0; i < survey->file_count; i++) {
        const struct sfs_survey_file *file = &survey->files[i];
        if (file->is_base || file->bytes < LEAST ||
            (file->kind != SFS_KIND_SHARED_LIBRARY && file->kind != SFS_KIND_PROGRAM))
            continue;
        struct sfs_attr attr;
        sfs_tree_attr(survey->tree, file->node, &attr);
        struct symbols_source source = { survey->tree, file->node };
        const struct sfs_device_source from = { read_source, &source, attr.size };
        AUTO(sfs_window_done) struct sfs_window window = { .source = &from };
        uint64_t bytes;
        int r = read_sections(&window, file->bytes, &bytes, err);
        if (r < 0 && r != -EBADMSG)
            return r;
        if (r == 0 && bytes > 0) {
            survey->symbols.bytes += bytes;
            survey->symbols.files++;
        }
    }
    return 0;
}
