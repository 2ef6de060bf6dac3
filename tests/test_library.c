/* What a loader is expected to touch: told of a library made here, and of thousands of broken ones,
 * where all that matters is that nothing outside of the file is told, and that it ends. */
#include "mount/library.h"

#include <criterion/criterion.h>
#include <elf.h>
#include <errno.h>
#include <link.h>
#include <string.h>

#define PAGE 4096u

/* Offset and address differ by BIAS in the writable segment.
 *   page 0      headers, dynamic strings, symbols
 *   page 1      relocations
 *   page 2..    written: page 2 the dynamic section, words in pages 4 and 40, 41 */
#define BIAS  0x200000u
#define PAGES 64u

struct library {
    union {
        unsigned char bytes[PAGES * PAGE];
        ElfW(Ehdr) header;
    } u;
    size_t size;
    size_t reads;
};

static bool read_library(void *user, void *buf, size_t size, uint64_t offset)
{
    struct library *library = user;
    library->reads++;
    cr_assert(offset <= library->size && size <= library->size - offset, "a read outside");
    memcpy(buf, library->u.bytes + offset, size);
    return true;
}

static void put(struct library *library, size_t offset, const void *data, size_t size)
{
    memcpy(library->u.bytes + offset, data, size);
}

static struct library *make_library(void)
{
    static struct library library;
    memset(&library, 0, sizeof library);
    library.size = sizeof library.u.bytes;
    library.u.header = (ElfW(Ehdr)){
        .e_ident = { ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3,
                     sizeof(void *) == 8 ? ELFCLASS64 : ELFCLASS32,
                     __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ ? ELFDATA2LSB : ELFDATA2MSB },
        .e_type = ET_DYN,
        .e_phoff = sizeof(ElfW(Ehdr)),
        .e_phentsize = sizeof(ElfW(Phdr)),
        .e_phnum = 3,
    };
    const ElfW(Phdr) segments[] = {
        { .p_type = PT_LOAD, .p_filesz = 2 * PAGE },
        { .p_type = PT_LOAD,
          .p_offset = 2 * PAGE,
          .p_vaddr = BIAS + 2 * PAGE,
          .p_filesz = (PAGES - 2) * PAGE },
        { .p_type = PT_DYNAMIC, .p_offset = 2 * PAGE, .p_vaddr = BIAS + 2 * PAGE, .p_filesz = 512 },
    };
    put(&library, sizeof(ElfW(Ehdr)), segments, sizeof segments);
    const ElfW(Dyn) dynamic[] = {
        { .d_tag = DT_STRTAB, .d_un.d_val = 1024 },
        { .d_tag = DT_STRSZ, .d_un.d_val = 100 },
        { .d_tag = DT_SYMTAB, .d_un.d_val = 512 },
        { .d_tag = DT_RELA, .d_un.d_val = PAGE },
        { .d_tag = DT_RELASZ, .d_un.d_val = 3 * sizeof(ElfW(Rela)) },
        { .d_tag = 36, .d_un.d_val = 2 * PAGE - 64 }, /* DT_RELR */
        { .d_tag = 35, .d_un.d_val = 2 * sizeof(ElfW(Addr)) },
        { .d_tag = DT_NULL },
    };
    put(&library, 2 * PAGE, dynamic, sizeof dynamic);
    const ElfW(Rela) relocations[] = {
        { .r_offset = BIAS + 4 * PAGE + 8 },
        { .r_offset = BIAS + 4 * PAGE + 64 },
        { .r_offset = BIAS + 40 * PAGE },
    };
    put(&library, PAGE, relocations, sizeof relocations);
    /* The word at the end of page 41, and by a bitmap the one behind it, which starts page 42. */
    const ElfW(Addr) relr[] = { BIAS + 42 * PAGE - sizeof(ElfW(Addr)), 3 };
    put(&library, 2 * PAGE - 64, relr, sizeof relr);
    return &library;
}

static int plan(struct library *library, struct sfs_ranges *ranges)
{
    struct sfs_elf_source source = { read_library, library, library->size };
    library->reads = 0;
    return sfs_library_plan(&source, ranges);
}

static bool covers(const struct sfs_ranges *ranges, uint64_t offset)
{
    for (size_t i = 0; i < ranges->count; i++)
        if (offset >= ranges->items[i].offset &&
            offset - ranges->items[i].offset < ranges->items[i].size)
            return true;
    return false;
}

static void expect_covered(uint64_t offset, bool wanted)
{
    struct sfs_ranges ranges = { 0 };
    cr_assert_eq(plan(make_library(), &ranges), 0);
    cr_assert_eq(covers(&ranges, offset), wanted, "%llu", (unsigned long long)offset);
    sfs_ranges_done(&ranges);
}

Test(library, has_its_headers_fetched)
{
    expect_covered(sizeof(ElfW(Ehdr)) + 2 * sizeof(ElfW(Phdr)), true);
}

Test(library, has_its_tables_fetched)
{
    expect_covered(2 * PAGE, true);  /* dynamic section */
    expect_covered(512, true);       /* symbols */
    expect_covered(1024 + 99, true); /* strings */
    expect_covered(PAGE, true);      /* relocations */
    expect_covered(2 * PAGE - 64, true);
}

Test(library, has_pages_fetched_that_relocations_write)
{
    expect_covered(40 * PAGE + 100, true);
    expect_covered(41 * PAGE, true);
    expect_covered(42 * PAGE, true);
}

Test(library, has_other_pages_left_alone)
{
    expect_covered(62 * PAGE, false);
    expect_covered(30 * PAGE, false);
}

Test(library, is_what_an_elf_file_of_this_machine_is)
{
    struct sfs_ranges ranges = { 0 };
    struct library *library = make_library();
    library->u.header.e_ident[EI_CLASS] ^= 3;
    cr_assert_eq(plan(library, &ranges), -ENOENT);
    library = make_library();
    library->u.bytes[0] = 'x';
    cr_assert_eq(plan(library, &ranges), -ENOENT);
    library = make_library();
    library->size = 3;
    cr_assert_eq(plan(library, &ranges), -ENOENT);
    sfs_ranges_done(&ranges);
}

static void expect_inside(struct library *library)
{
    struct sfs_ranges ranges = { 0 };
    plan(library, &ranges);
    for (size_t i = 0; i < ranges.count; i++) {
        cr_assert_gt(ranges.items[i].size, 0);
        cr_assert_leq(ranges.items[i].size, library->size);
        cr_assert_leq(ranges.items[i].offset, library->size - ranges.items[i].size);
    }
    cr_assert_leq(ranges.count, 70000);
    cr_assert_leq(library->reads, 4096);
    sfs_ranges_done(&ranges);
}

Test(library, that_is_cut_off_tells_nothing_outside)
{
    for (size_t size = 0; size < 3 * PAGE; size += 7) {
        struct library *library = make_library();
        library->size = size;
        expect_inside(library);
    }
}

/* Every field of headers, dynamic section and tables, with values that overflow sums. */
Test(library, with_hostile_numbers_tells_nothing_outside)
{
    static const ElfW(Addr) values[] = { 0,
                                         1,
                                         7,
                                         PAGE,
                                         BIAS,
                                         PAGES * PAGE,
                                         (ElfW(Addr)) - 1,
                                         (ElfW(Addr)) - 4096,
                                         (ElfW(Addr))1 << (8 * sizeof(void *) - 1) };
    static const size_t places[][2] = {
        { 0, 512 }, { PAGE, PAGE + 72 }, { 2 * PAGE - 64, 2 * PAGE }, { 2 * PAGE, 2 * PAGE + 128 }
    };
    for (size_t i = 0; i < sizeof places / sizeof *places; i++)
        for (size_t at = places[i][0]; at < places[i][1]; at += 4)
            for (size_t j = 0; j < sizeof values / sizeof *values; j++) {
                struct library *library = make_library();
                put(library, at, &values[j], sizeof values[j]);
                expect_inside(library);
            }
}

Test(library, with_random_bytes_changed_tells_nothing_outside)
{
    uint32_t state = 1;
    for (int round = 0; round < 3000; round++) {
        struct library *library = make_library();
        for (int i = 0; i < 8; i++) {
            state = state * 1664525u + 1013904223u;
            size_t at = (state >> 8) % 700;
            at = at < 300 ? at : at < 500 ? 2 * PAGE + at - 300 : PAGE + at - 500;
            library->u.bytes[at] = (unsigned char)(state >> 3);
        }
        expect_inside(library);
    }
}

Test(library, with_relocations_all_over_is_planned_in_bounds)
{
    /* The largest table that fits, each entry far from the one before. */
    struct library *library = make_library();
    ElfW(Dyn) entry = { .d_tag = DT_RELASZ, .d_un.d_val = (ElfW(Addr)) - 1 };
    put(library, 2 * PAGE + 4 * sizeof entry, &entry, sizeof entry);
    entry = (ElfW(Dyn)){ .d_tag = DT_RELA, .d_un.d_val = BIAS + 3 * PAGE };
    put(library, 2 * PAGE + 3 * sizeof entry, &entry, sizeof entry);
    for (size_t at = 3 * PAGE; at + sizeof(ElfW(Rela)) <= sizeof library->u.bytes;
         at += sizeof(ElfW(Rela))) {
        ElfW(Rela) rela = { .r_offset = BIAS + (at % 2 ? 3 : 60) * PAGE + at };
        put(library, at, &rela, sizeof rela);
    }
    expect_inside(library);
}
