/* Which bytes of a library strip would take, and that of one which is not as it says none go. */
#include "fatbin_bytes.h"

#include <errno.h>

static struct sfs_error err;

static int read_buf(void *user, void *to, size_t size, uint64_t offset, struct sfs_error *read_err)
{
    const struct sfs_buf *bytes = user;
    (void)read_err;
    cr_assert(offset <= bytes->size && size <= bytes->size - offset, "a read outside");
    memcpy(to, bytes->data + offset, size);
    return 0;
}

static int try_find(struct sfs_buf *bytes, struct sfs_findings *findings)
{
    const struct sfs_device_source source = { read_buf, bytes, bytes->size };
    *findings = (struct sfs_findings){ 0 };
    return sfs_symbols_find(&source, findings, &err);
}

/* All bytes that go. */
static uint64_t sum(struct sfs_buf *bytes)
{
    AUTO(sfs_findings_done) struct sfs_findings findings;
    uint64_t all = 0;
    cr_assert_eq(try_find(bytes, &findings), 0, "%s", err.text);
    for (size_t i = 0; i < findings.symbols.count; i++)
        all += findings.symbols.items[i].size;
    return all;
}

static void apply(struct sfs_buf *bytes)
{
    AUTO(sfs_findings_done) struct sfs_findings findings;
    cr_assert_eq(try_find(bytes, &findings), 0, "%s", err.text);
    for (size_t i = 0; i < findings.symbols.count; i++)
        memset(bytes->data + findings.symbols.items[i].offset, 0, findings.symbols.items[i].size);
}

static Elf64_Ehdr *head_of(struct library *library)
{
    return (void *)library->bytes.data;
}

/* The header of a section, in the file. */
static Elf64_Shdr *section_of(struct library *library, size_t i)
{
    return (Elf64_Shdr *)(void *)(library->bytes.data + head_of(library)->e_shoff) + i;
}

Test(symbols, go_with_their_names_their_headers_and_debug_information)
{
    AUTO(library_close) struct library library = { 0 };
    AUTO(sfs_buf_close) struct sfs_buf before = { 0 };
    library_with_symbols(&library, 0);
    sfs_buf_add(&before, library.bytes.data, library.bytes.size);
    cr_assert_eq(sum(&library.bytes), SYMBOL_BYTES);
    apply(&library.bytes);
    for (size_t i = 0; i < 6; i++) {
        const Elf64_Shdr *section = &library.sections[i];
        bool goes = i >= 2 && i <= 4;
        cr_assert_eq(section_of(&library, i)->sh_type, goes ? SHT_NULL : section->sh_type);
        cr_assert_eq(memcmp(library.bytes.data + section->sh_offset,
                            before.data + section->sh_offset, section->sh_size) != 0,
                     goes, "section %zu", i);
    }
    cr_assert_eq(sum(&library.bytes), 0, "a second time there is nothing to do");
}

Test(symbols, of_other_files_are_none)
{
    AUTO(library_close) struct library library = { 0 };
    AUTO(sfs_buf_close) struct sfs_buf text = { 0 };
    sfs_buf_add_str(&text, "#!/bin/sh\n");
    cr_assert_eq(sum(&text), 0);
    library_with_symbols(&library, 0);
    head_of(&library)->e_type = ET_REL; /* an object, or a kernel's module: it needs them */
    cr_assert_eq(sum(&library.bytes), 0);
    head_of(&library)->e_type = ET_DYN;
    head_of(&library)->e_shoff = 0;
    cr_assert_eq(sum(&library.bytes), 0);
}

Test(symbols, that_are_loaded_stay)
{
    AUTO(library_close) struct library library = { 0 };
    library_with_symbols(&library, 0);
    section_of(&library, 2)->sh_flags = section_of(&library, 4)->sh_flags = SHF_ALLOC;
    cr_assert_eq(sum(&library.bytes), 0);
}

/* Names of sections that stand among those of symbols stay. */
Test(symbols, whose_names_others_need_go_without_them)
{
    AUTO(library_close) struct library library = { 0 };
    library_with_symbols(&library, 0);
    section_of(&library, 2)->sh_link = head_of(&library)->e_shstrndx;
    cr_assert_eq(sum(&library.bytes), SYMBOL_BYTES - 1008 - 64);
}

static void expect_refused(struct library *library, const char *why)
{
    AUTO(sfs_findings_done) struct sfs_findings findings;
    cr_assert_eq(try_find(&library->bytes, &findings), -EBADMSG, "%s", why);
    cr_assert(strstr(err.text, why), "'%s', not '%s'", err.text, why);
    cr_assert_eq(findings.symbols.count, 0);
}

Test(symbols, of_a_library_that_lies_stay)
{
    static const struct {
        size_t section; /* 0: the file's header */
        size_t at;
        uint64_t number;
        size_t size;
        const char *why;
    } cases[] = {
        { 0, offsetof(Elf64_Ehdr, e_shoff), 1ull << 63, 8, "the file ends before" },
        { 0, offsetof(Elf64_Ehdr, e_shoff), UINT64_MAX - 10, 8, "the file ends before" },
        { 0, offsetof(Elf64_Ehdr, e_shentsize), 40, 2, "its table of sections is malformed" },
        { 0, offsetof(Elf64_Ehdr, e_shnum), 65535, 2, "its table of sections is malformed" },
        { 0, offsetof(Elf64_Ehdr, e_shstrndx), 99, 2, "its table of sections is malformed" },
        { 0, offsetof(Elf64_Ehdr, e_phnum), 65535, 2, "its table of segments is malformed" },
        { 2, offsetof(Elf64_Shdr, sh_offset), 1ull << 63, 8, "is not in the file" },
        { 4, offsetof(Elf64_Shdr, sh_size), UINT64_MAX, 8, "lies in section .debug_info" },
        { 4, offsetof(Elf64_Shdr, sh_offset), 8, 8, "overlap" },
        { 4, offsetof(Elf64_Shdr, sh_size), 40064, 8, "overlap" },
        { 1, offsetof(Elf64_Shdr, sh_link), 2, 4, "section .rodata refers to .symtab" },
        { 6, offsetof(Elf64_Shdr, sh_offset), UINT64_MAX, 8, "the file ends before" },
        { 6, offsetof(Elf64_Shdr, sh_size), 1ull << 62, 8, "names of its sections are too long" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        AUTO(library_close) struct library library = { 0 };
        library_with_symbols(&library, 0);
        char *to = cases[i].section > 0 ? (char *)section_of(&library, cases[i].section)
                                        : library.bytes.data;
        uint64_t number = htole64(cases[i].number);
        memcpy(to + cases[i].at, &number, cases[i].size);
        expect_refused(&library, cases[i].why);
    }
}

/* Segments are what the loader maps, whatever sections say. */
Test(symbols, in_a_segment_stay)
{
    AUTO(library_close) struct library library = { 0 };
    library_with_symbols(&library, 0);
    Elf64_Phdr segment = { .p_type = PT_LOAD };
    Elf64_Ehdr *head = head_of(&library);
    head->e_phoff = library.sections[5].sh_offset; /* the comment has room for it */
    head->e_phentsize = sizeof segment;
    head->e_phnum = 1;
    section_of(&library, 5)->sh_type = SHT_NULL;
    char *place = library.bytes.data + head->e_phoff;
    memcpy(place, &segment, sizeof segment);
    cr_assert_eq(sum(&library.bytes), SYMBOL_BYTES);
    segment.p_offset = library.sections[4].sh_offset + 39999;
    segment.p_filesz = 1;
    memcpy(place, &segment, sizeof segment);
    expect_refused(&library, "section .debug_info lies in what is loaded");
    segment.p_offset = head->e_shoff; /* as patchelf and Go's linker have it */
    memcpy(place, &segment, sizeof segment);
    cr_assert_eq(sum(&library.bytes), SYMBOL_BYTES);
    segment.p_type = PT_NOTE;
    memcpy(place, &segment, sizeof segment);
    expect_refused(&library, "its table of sections lies in what is loaded");
}

static uint32_t next_random(void)
{
    static uint32_t state = 7;
    return (state = state * 1664525 + 1013904223) >> 8;
}

/* Whatever the headers say, nothing goes that is not in the file, and nothing of its header. */
Test(symbols, survive_many_wrong_bytes)
{
    AUTO(library_close) struct library library = { 0 };
    AUTO(sfs_buf_close) struct sfs_buf good = { 0 };
    library_with_symbols(&library, 0);
    sfs_buf_add(&good, library.bytes.data, library.bytes.size);
    char *table = (char *)section_of(&library, 0);
    for (unsigned round = 0; round < 20000; round++) {
        AUTO(sfs_findings_done) struct sfs_findings findings;
        for (unsigned i = 0; i < 1 + round % 6; i++) {
            char *to = i % 2 ? library.bytes.data + next_random() % sizeof(Elf64_Ehdr)
                             : table + next_random() % (7 * sizeof(Elf64_Shdr));
            *to = (char)next_random();
        }
        int r = try_find(&library.bytes, &findings);
        cr_assert(r == 0 || r == -EBADMSG);
        for (size_t i = 0; i < findings.symbols.count; i++) {
            const struct sfs_range *range = &findings.symbols.items[i];
            cr_assert(range->offset >= sizeof(Elf64_Ehdr) &&
                      range->size <= library.bytes.size - range->offset);
        }
        memcpy(library.bytes.data, good.data, sizeof(Elf64_Ehdr));
        memcpy(table, good.data + (table - library.bytes.data), 7 * sizeof(Elf64_Shdr));
    }
}
