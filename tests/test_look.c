/* What ELF files say that they need: of a library made here, and of thousands of broken ones, where
 * all that matters is that nothing outside of the file is read, and that it ends. */
#include "slim/look.h"

#include <criterion/criterion.h>
#include <elf.h>
#include <string.h>

#define STRINGS 1024u
#define BIAS    0x10000u
#define SIZE    4096u

struct elf_bytes {
    unsigned char bytes[SIZE];
    size_t size, reads;
};

static bool read_bytes(void *user, void *buf, size_t size, uint64_t offset)
{
    struct elf_bytes *elf = user;
    elf->reads++;
    cr_assert(offset <= elf->size && size <= elf->size - offset, "a read outside");
    memcpy(buf, elf->bytes + offset, size);
    return true;
}

static void put(struct elf_bytes *elf, size_t offset, const void *data, size_t size)
{
    memcpy(elf->bytes + offset, data, size);
}

/* Headers at 0, the interpreter at 600, the dynamic section at 700; the strings begin in one
 * segment and end in another, as patchelf leaves them. */
static struct elf_bytes *make_elf(void)
{
    static struct elf_bytes elf;
    memset(&elf, 0, sizeof elf);
    elf.size = SIZE;
    const ElfW(Ehdr) header = {
        .e_ident = { ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3,
                     sizeof(void *) == 8 ? ELFCLASS64 : ELFCLASS32, ELFDATA2LSB },
        .e_type = ET_DYN,
        .e_phoff = sizeof(ElfW(Ehdr)),
        .e_phentsize = sizeof(ElfW(Phdr)),
        .e_phnum = 4,
    };
    const ElfW(Phdr) segments[] = {
        { .p_type = PT_LOAD, .p_vaddr = BIAS, .p_filesz = STRINGS + 16 },
        { .p_type = PT_LOAD,
          .p_offset = STRINGS + 16,
          .p_vaddr = BIAS + STRINGS + 16,
          .p_filesz = SIZE - STRINGS - 16 },
        { .p_type = PT_DYNAMIC, .p_offset = 700, .p_vaddr = BIAS + 700, .p_filesz = 256 },
        { .p_type = PT_INTERP, .p_offset = 600, .p_filesz = 10 },
    };
    static const char strings[] = "\0libz.so.1\0liblong.so.1\0$ORIGIN/../lib\0/opt/lib";
    const ElfW(Dyn) dynamic[] = {
        { .d_tag = DT_NEEDED, .d_un.d_val = 1 },
        { .d_tag = DT_NEEDED, .d_un.d_val = 11 },
        { .d_tag = DT_RPATH, .d_un.d_val = 24 },
        { .d_tag = DT_RUNPATH, .d_un.d_val = 39 },
        { .d_tag = DT_STRTAB, .d_un.d_val = BIAS + STRINGS },
        { .d_tag = DT_STRSZ, .d_un.d_val = sizeof strings },
        { .d_tag = DT_NULL },
        { .d_tag = DT_NEEDED, .d_un.d_val = 1 },
    };
    put(&elf, 0, &header, sizeof header);
    put(&elf, sizeof header, segments, sizeof segments);
    put(&elf, 600, "/lib/ld.so", 11);
    put(&elf, 700, dynamic, sizeof dynamic);
    put(&elf, STRINGS, strings, sizeof strings);
    return &elf;
}

static struct sfs_look look_at(struct elf_bytes *elf)
{
    const struct sfs_elf_source source = { read_bytes, elf, elf->size };
    struct sfs_look look = { 0 };
    elf->reads = 0;
    sfs_look_at_elf(&source, &look);
    return look;
}

Test(look, tells_what_a_library_needs)
{
    struct elf_bytes *elf = make_elf();
    const unsigned char eleven = 11; /* with its NUL */
    put(elf, sizeof(ElfW(Ehdr)) + 3 * sizeof(ElfW(Phdr)) + offsetof(ElfW(Phdr), p_filesz), &eleven,
        1);
    struct sfs_look look = look_at(elf);
    cr_assert_eq(look.kind, SFS_LOOK_ELF);
    cr_assert_not(look.is_odd);
    cr_assert_eq(look.needed.size, sizeof "libz.so.1" + sizeof "liblong.so.1");
    cr_assert_str_eq(look.needed.data, "libz.so.1");
    cr_assert_str_eq(look.needed.data + sizeof "libz.so.1", "liblong.so.1");
    cr_assert_str_eq(look.rpath, "$ORIGIN/../lib");
    cr_assert_str_eq(look.runpath, "/opt/lib");
    cr_assert_str_eq(look.interpreter, "/lib/ld.so");
    cr_assert_leq(elf->reads, 12);
    sfs_look_done(&look);
}

Test(look, finds_a_text_without_an_end_odd_and_takes_the_rest)
{
    struct sfs_look look = look_at(make_elf()); /* the interpreter's NUL is not counted */
    cr_assert(look.is_odd);
    cr_assert_null(look.interpreter);
    cr_assert_str_eq(look.needed.data, "libz.so.1");
    sfs_look_done(&look);
}

Test(look, leaves_files_of_other_machines_alone)
{
    struct elf_bytes *elf = make_elf();
    elf->bytes[EI_DATA] = ELFDATA2MSB;
    struct sfs_look look = look_at(elf);
    cr_assert_eq(look.kind, SFS_LOOK_OTHER);
    cr_assert_not(look.is_odd);
    sfs_look_done(&look);
}

static void expect_inside(struct elf_bytes *elf)
{
    struct sfs_look look = look_at(elf);
    cr_assert_not(look.failed);
    cr_assert_leq(elf->reads, 1200);
    sfs_look_done(&look);
}

Test(look, at_a_file_that_is_cut_reads_nothing_outside)
{
    for (size_t size = 0; size < 1200; size++) {
        struct elf_bytes *elf = make_elf();
        elf->size = size;
        expect_inside(elf);
    }
}

/* Every field of headers, dynamic section and strings, with values that overflow sums. */
Test(look, at_hostile_numbers_reads_nothing_outside)
{
    static const ElfW(Addr) values[] = { 0,
                                         1,
                                         SIZE - 1,
                                         SIZE,
                                         BIAS,
                                         BIAS + SIZE - 1,
                                         BIAS + SIZE,
                                         (ElfW(Addr)) - 1,
                                         (ElfW(Addr)) - STRINGS,
                                         (ElfW(Addr))1 << (8 * sizeof(void *) - 1) };
    for (size_t at = 0; at < STRINGS + 64; at += 4)
        for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
            struct elf_bytes *elf = make_elf();
            put(elf, at, &values[i], sizeof values[i]);
            expect_inside(elf);
        }
}

Test(look, at_random_bytes_reads_nothing_outside)
{
    uint32_t state = 1;
    for (int round = 0; round < 20000; round++) {
        struct elf_bytes *elf = make_elf();
        for (int i = 0; i < 6; i++) {
            state = state * 1664525u + 1013904223u;
            elf->bytes[(state >> 8) % (STRINGS + 64)] = (unsigned char)(state >> 3);
        }
        expect_inside(elf);
    }
}

/* A dynamic section that never ends, and names more libraries than any file does. */
Test(look, at_endless_names_ends)
{
    struct elf_bytes *elf = make_elf();
    const ElfW(Dyn) needed = { .d_tag = DT_NEEDED, .d_un.d_val = 1 };
    const ElfW(Addr) all = SIZE - STRINGS - 64;
    for (size_t at = STRINGS + 64; at + sizeof needed <= SIZE; at += sizeof needed)
        put(elf, at, &needed, sizeof needed);
    size_t place = sizeof(ElfW(Ehdr)) + 2 * sizeof(ElfW(Phdr));
    const ElfW(Addr) start = STRINGS + 64;
    put(elf, place + offsetof(ElfW(Phdr), p_offset), &start, sizeof start);
    put(elf, place + offsetof(ElfW(Phdr), p_filesz), &all, sizeof all);
    expect_inside(elf);
}
