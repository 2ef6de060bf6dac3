/* Which bytes of a library go, told of libraries made here; and of thousands of broken ones, of
 * which nothing may go that was not for another GPU. */
#include "fatbin_bytes.h"
#include "support.h"

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

/* Cubins without a container go too where the test says so. */
static bool with_bare;

static int try_plan(struct sfs_buf *bytes, const char *archs, enum sfs_ptx_policy ptx,
                    struct sfs_device_plan *plan)
{
    AUTO(sfs_findings_done) struct sfs_findings findings = { 0 };
    const struct sfs_device_source source = { read_buf, bytes, bytes->size };
    struct sfs_gpu_rules rules;
    cr_assert_eq(sfs_gpu_rules_parse(archs, ptx, &rules, &err), 0, "%s", err.text);
    rules.bare = with_bare;
    *plan = (struct sfs_device_plan){ 0 };
    int r = sfs_device_code_find(&source, &findings, &err);
    cr_assert(r == 0 || findings.piece_count == 0);
    return r < 0 ? r : sfs_device_plan_make(&findings, &rules, plan, &err);
}

/* "c80 2-2 p90 1-0": of each kind and architecture, how many there are, and how many go. */
static void describe(const struct sfs_device_plan *plan, struct sfs_buf *text)
{
    sfs_buf_add_str(text, "");
    for (size_t i = 0; i < plan->codes.count; i++) {
        const struct sfs_device_code *code = &plan->codes.items[i];
        sfs_buf_printf(text, "%s%c%u%.1s %llu-%llu", i ? " " : "", "cpob"[code->kind], code -> arch,
                       &code -> feature, (unsigned long long)code -> entries,
                       (unsigned long long)code -> gone_entries);
    }
}

static void expect_plan(struct sfs_buf *bytes, const char *archs, enum sfs_ptx_policy ptx,
                        const char *expected)
{
    AUTO(sfs_device_plan_done) struct sfs_device_plan plan;
    AUTO(sfs_buf_close) struct sfs_buf text = { 0 };
    cr_assert_eq(try_plan(bytes, archs, ptx, &plan), 0, "%s", err.text);
    describe(&plan, &text);
    cr_assert_str_eq(text.data, expected);
}

static void expect_pieces(const struct piece *pieces, const char *archs, enum sfs_ptx_policy ptx,
                          const char *expected)
{
    AUTO(library_close) struct library library = { 0 };
    library_of(&library, pieces, 0);
    expect_plan(&library.bytes, archs, ptx, expected);
}

static void expect_refused(struct sfs_buf *bytes, const char *why)
{
    AUTO(sfs_device_plan_done) struct sfs_device_plan plan;
    cr_assert_eq(try_plan(bytes, "sm_90", SFS_PTX_NEEDED, &plan), -EBADMSG, "%s", why);
    cr_assert(strstr(err.text, why), "'%s', not '%s'", err.text, why);
    cr_assert(plan.zeros.count == 0 && plan.codes.count == 0);
}

static void apply(const struct sfs_device_plan *plan, struct sfs_buf *bytes)
{
    for (size_t i = 0; i < plan->zeros.count; i++)
        memset(bytes->data + plan->zeros.items[i].offset, 0, plan->zeros.items[i].size);
}

/* ---- what goes ---- */

Test(device_code, goes_that_no_kept_gpu_runs)
{
    for (enum piece_coding coding = RAW; coding <= ZSTD; coding++)
        for (unsigned header = 64; header <= 144; header += 16)
            for (unsigned abi = 7; abi <= 8; abi++)
                expect_pieces(
                    PIECES({ .kind = CUBIN,
                             .arch = 75,
                             .coding = coding,
                             .header_size = header,
                             .abi = abi },
                           { .kind = CUBIN,
                             .arch = 90,
                             .coding = coding,
                             .header_size = header,
                             .abi = abi },
                           { .kind = CUBIN,
                             .arch = 120,
                             .coding = coding,
                             .header_size = header,
                             .abi = abi },
                           { .kind = PTX, .arch = 120, .coding = coding, .header_size = header }),
                    "sm_90", SFS_PTX_NEEDED, "c75 1-1 c90 1-0 c120 1-1 p120 1-1");
}

Test(device_code, goes_whatever_its_size)
{
    for (size_t size = 64; size < 400000; size = size * 3 + 1)
        for (enum piece_coding coding = RAW; coding <= ZSTD; coding++) {
            /* Raw code is a multiple of 8 bytes long. */
            size_t rounded = (size + 7) / 8 * 8;
            expect_pieces(PIECES({ .kind = CUBIN, .arch = 80, .coding = coding, .size = rounded },
                                 { .kind = CUBIN, .arch = 90, .coding = coding, .size = rounded }),
                          "sm_90", SFS_PTX_NEEDED, "c80 1-1 c90 1-0");
        }
}

Test(device_code, of_letters_stays_where_it_runs)
{
    const struct piece *pieces =
        PIECES({ .kind = CUBIN, .arch = 90, .coding = ZSTD },
               { .kind = CUBIN, .arch = 90, .coding = ZSTD, .flags = FLAG_A },
               { .kind = CUBIN, .arch = 100, .coding = ZSTD, .flags = FLAG_A },
               { .kind = CUBIN, .arch = 100, .coding = ZSTD, .flags = FLAG_F },
               { .kind = CUBIN, .arch = 103, .coding = ZSTD });
    expect_pieces(pieces, "sm_90", SFS_PTX_NEEDED, "c90 1-0 c90a 1-0 c100a 1-1 c100f 1-1 c103 1-1");
    expect_pieces(pieces, "sm_103", SFS_PTX_NEEDED,
                  "c90 1-1 c90a 1-1 c100a 1-1 c100f 1-0 c103 1-0");
    expect_pieces(pieces, "sm_90,sm_100", SFS_PTX_NEEDED,
                  "c90 1-0 c90a 1-0 c100a 1-0 c100f 1-0 c103 1-1");
}

Test(device_code, of_ptx_alone_stays_as_far_as_it_is_needed)
{
    const struct piece *pieces = PIECES({ .kind = PTX, .arch = 75, .coding = LZ4 },
                                        { .kind = PTX, .arch = 80, .coding = LZ4 },
                                        { .kind = PTX, .arch = 120, .coding = LZ4 });
    expect_pieces(pieces, "sm_90", SFS_PTX_NEEDED, "p75 1-1 p80 1-0 p120 1-1");
    expect_pieces(pieces, "sm_90", SFS_PTX_NEWEST, "p75 1-1 p80 1-0 p120 1-0");
    expect_pieces(pieces, "sm_90", SFS_PTX_ALL, "p75 1-0 p80 1-0 p120 1-0");
}

Test(device_code, that_is_not_understood_stays_beside_what_goes)
{
    expect_pieces(PIECES({ .kind = CUBIN, .arch = 80, .coding = RAW },
                         { .kind = 8, .arch = 80, .coding = RAW },
                         { .kind = 0x10, .arch = 80, .coding = ZSTD },
                         { .kind = 0x20, .arch = 80, .coding = RAW },
                         { .kind = 0x100, .arch = 80, .coding = LZ4 },
                         { .kind = CUBIN, .arch = 70, .coding = ZSTD, .flags = FLAG_OBFUSCATED },
                         { .kind = CUBIN, .arch = 90, .coding = RAW }),
                  "sm_90", SFS_PTX_NEEDED, "c80 1-1 c90 1-0 o70 1-0 o80 4-0");
}

Test(device_code, stays_that_says_itself_that_it_is_for_another_gpu)
{
    for (enum piece_coding coding = RAW; coding <= ZSTD; coding++) {
        AUTO(library_close) struct library library = { 0 };
        AUTO(sfs_device_plan_done) struct sfs_device_plan plan;
        library_of(&library,
                   PIECES({ .kind = CUBIN, .arch = 70, .coding = coding, .own_arch = 90 },
                          { .kind = CUBIN, .arch = 80, .coding = coding },
                          { .kind = PTX, .arch = 80, .coding = coding, .own_arch = 90 },
                          { .kind = CUBIN, .arch = 90, .coding = coding }),
                   0);
        cr_assert_eq(try_plan(&library.bytes, "sm_90", SFS_PTX_NEEDED, &plan), 0);
        cr_assert_eq(plan.doubtful, 2);
        expect_plan(&library.bytes, "sm_90", SFS_PTX_NEEDED, "c70 1-0 c80 1-1 c90 1-0 p80 1-0");
    }
}

/* ---- where it stands ---- */

Test(device_code, among_constants_is_found_and_what_only_looks_like_it_is_not)
{
    AUTO(library_close) struct library library = { 0 };
    AUTO(sfs_buf_close) struct sfs_buf tiled = { 0 };
    AUTO(sfs_buf_close) struct sfs_buf mixed = { 0 };
    AUTO(sfs_buf_close) struct sfs_buf text = { 0 };
    put_container(&tiled, PIECES({ .kind = CUBIN, .arch = 90, .coding = ZSTD }));
    put_zeros(&tiled, 24);
    put_container(&tiled, PIECES({ .kind = CUBIN, .arch = 80, .coding = ZSTD }));
    put_container(&text, PIECES({ .kind = CUBIN, .arch = 80, .coding = ZSTD }));
    sfs_buf_add_str(&mixed, "constants of a program, 40 bytes of them");
    put_container(&mixed, PIECES({ .kind = CUBIN, .arch = 75, .coding = RAW },
                                 { .kind = CUBIN, .arch = 90, .coding = RAW }));
    put_number(&mixed, 0xBA55ED50, 8);
    put_zeros(&mixed, 100000);
    put_number(&mixed, 0x0010000100000000 | 0xBA55ED50, 8);
    put_number(&mixed, 64, 8);
    sfs_buf_add_str(&mixed, "the rest is no entry of a fat binary at all, as one sees it here.");
    put_zeros(&mixed, -mixed.size % 8);
    put_container(&mixed, PIECES({ .kind = CUBIN, .arch = 86, .coding = LZ4 }));
    library_begin(&library);
    library_add(&library, ".text", SHT_PROGBITS, SHF_ALLOC | SHF_EXECINSTR, &text);
    library_add(&library, ".rodata", SHT_PROGBITS, SHF_ALLOC, &mixed);
    library_add(&library, "__nv_relfatbin", SHT_PROGBITS, SHF_ALLOC, &tiled);
    library_end(&library, 0);
    expect_plan(&library.bytes, "sm_90", SFS_PTX_NEEDED, "c75 1-1 c80 1-1 c86 1-1 c90 2-0");
}

Test(device_code, of_files_without_it_is_nothing)
{
    AUTO(library_close) struct library library = { 0 };
    AUTO(sfs_buf_close) struct sfs_buf fatbin = { 0 };
    AUTO(sfs_buf_close) struct sfs_buf text = { 0 };
    put_container(&fatbin, PIECES({ .kind = CUBIN, .arch = 80, .coding = RAW }));
    expect_plan(&fatbin, "sm_90", SFS_PTX_NEEDED, "");
    sfs_buf_add_str(&text, "#!/bin/sh\n");
    expect_plan(&text, "sm_90", SFS_PTX_NEEDED, "");
    library_begin(&library);
    library_add(&library, ".rodata", SHT_PROGBITS, SHF_ALLOC, &fatbin);
    library_end(&library, 0);
    expect_plan(&library.bytes, "sm_90", SFS_PTX_NEEDED, "");
}

Test(device_code, that_went_is_passed_over_the_next_time)
{
    AUTO(library_close) struct library library = { 0 };
    AUTO(sfs_device_plan_done) struct sfs_device_plan plan;
    library_of(&library,
               PIECES({ .kind = CUBIN, .arch = 80, .coding = ZSTD, .size = 300000 },
                      { .kind = CUBIN, .arch = 80, .coding = RAW },
                      { .kind = CUBIN, .arch = 90, .coding = LZ4 },
                      { .kind = PTX, .arch = 120, .coding = ZSTD }),
               0);
    cr_assert_eq(try_plan(&library.bytes, "sm_90", SFS_PTX_NEEDED, &plan), 0, "%s", err.text);
    apply(&plan, &library.bytes);
    expect_plan(&library.bytes, "sm_90", SFS_PTX_NEEDED, "c90 1-0");
    expect_plan(&library.bytes, "sm_80", SFS_PTX_NEEDED, "c90 1-1");
}

/* ---- without a container ---- */

/* Adds a zstd frame of a cubin where a program's own table of them would have it. */
static void put_bare(struct sfs_buf *buf, unsigned arch, size_t size)
{
    AUTO(sfs_buf_close) struct sfs_buf code = { 0 };
    const struct piece piece = { .kind = CUBIN, .arch = arch, .coding = ZSTD, .size = size };
    put_zeros(buf, -buf->size % 16);
    make_cubin(&piece, &code);
    char *to = sfs_buf_grow(buf, ZSTD_compressBound(code.size));
    size_t packed = ZSTD_compress(to, ZSTD_compressBound(code.size), code.data, code.size, 3);
    cr_assert(to && !ZSTD_isError(packed));
    buf->size = (size_t)(to - buf->data) + packed;
}

/* A library with such frames in .ldata, and a container in .nv_fatbin. */
static void make_bare(struct library *library, const struct sfs_buf *frames)
{
    AUTO(sfs_buf_close) struct sfs_buf tiled = { 0 };
    put_container(&tiled, PIECES({ .kind = CUBIN, .arch = 90, .coding = ZSTD }));
    library_begin(library);
    library_add(library, ".nv_fatbin", SHT_PROGBITS, SHF_ALLOC, &tiled);
    library_add(library, ".ldata", SHT_PROGBITS, SHF_ALLOC | SHF_WRITE, frames);
    library_end(library, 0);
}

Test(bare_cubins, go_only_where_that_is_asked_for)
{
    AUTO(library_close) struct library library = { 0 };
    AUTO(sfs_buf_close) struct sfs_buf frames = { 0 };
    put_bare(&frames, 80, 500000);
    put_bare(&frames, 90, 3000);
    put_bare(&frames, 120, 140000);
    make_bare(&library, &frames);
    expect_plan(&library.bytes, "sm_90", SFS_PTX_NEEDED, "c90 1-0 b80 1-0 b90 1-0 b120 1-0");
    with_bare = true;
    expect_plan(&library.bytes, "sm_90", SFS_PTX_NEEDED, "c90 1-0 b80 1-1 b90 1-0 b120 1-1");
    AUTO(sfs_device_plan_done) struct sfs_device_plan plan;
    cr_assert_eq(try_plan(&library.bytes, "sm_90", SFS_PTX_NEEDED, &plan), 0, "%s", err.text);
    uint64_t start = library.sections[2].sh_offset;
    cr_assert_eq(plan.zeros.items[0].offset, start, "the frame goes from its first byte");
    apply(&plan, &library.bytes);
    expect_plan(&library.bytes, "sm_90", SFS_PTX_NEEDED, "c90 1-0 b90 1-0");
}

Test(bare_cubins, are_whole_frames_of_cubins)
{
    AUTO(library_close) struct library library = { 0 };
    AUTO(sfs_buf_close) struct sfs_buf frames = { 0 };
    AUTO(sfs_buf_close) struct sfs_buf text = { 0 };
    with_bare = true;
    put_bare(&frames, 80, 3000);
    frames.data[4] |= 3; /* it would need a dictionary */
    put_zeros(&text, 32);
    sfs_buf_add(&text, frames.data, frames.size);
    put_bare(&text, 120, 400000);
    text.size -= 1; /* cut */
    make_bare(&library, &text);
    expect_plan(&library.bytes, "sm_90", SFS_PTX_NEEDED, "c90 1-0");
}

/* Frames of a container that is not understood are not bare. */
Test(bare_cubins, beside_what_is_not_understood_stay)
{
    AUTO(library_close) struct library library = { 0 };
    AUTO(sfs_buf_close) struct sfs_buf frames = { 0 };
    with_bare = true;
    put_bare(&frames, 80, 3000);
    put_zeros(&frames, -frames.size % 16);
    size_t at = frames.size;
    put_container(&frames, PIECES({ .kind = CUBIN, .arch = 120, .coding = ZSTD }));
    frames.data[at + 4] = 9;
    make_bare(&library, &frames);
    expect_plan(&library.bytes, "sm_90", SFS_PTX_NEEDED, "c90 1-0");
}

/* ---- what is broken ---- */

#define ENTRY (16u) /* of the first entry, in its container */

static void set(struct library *library, size_t at, uint64_t number, size_t size)
{
    number = htole64(number);
    memcpy(library->bytes.data + at, &number, size);
}

Test(device_code, with_any_violation_stays_whole_and_says_which)
{
    static const struct {
        size_t at; /* in the container */
        uint64_t number;
        size_t size;
        const char *why;
    } cases[] = {
        { 0, 0xBA55ED51, 4, "bytes that must be zeros are not" },
        { 4, 2, 2, "is of version 2" },
        { 6, 24, 2, "a header of 24 bytes" },
        { 8, 1ull << 63, 8, "claims to have 9223372036854775808 bytes" },
        { 8, UINT64_MAX, 8, "claims to have" },
        { 8, 1ull << 31, 8, "claims to have 2147483648 bytes" },
        { 8, 64, 8, "an entry claims to have" },
        { 8, 40, 8, "ends within an entry" },
        { ENTRY, 3, 2, "of kind 0x3" },
        { ENTRY, 0, 2, "bytes that must be zeros are not" },
        { ENTRY + 2, 0x0102, 2, "version 0x102" },
        { ENTRY + 4, 56, 4, "header claims to have 56 bytes" },
        { ENTRY + 4, 65, 4, "header claims to have 65 bytes" },
        { ENTRY + 4, 4096, 4, "header claims to have 4096 bytes" },
        { ENTRY + 8, 1ull << 63, 8, "an entry claims to have 9223372036854775808 bytes" },
        { ENTRY + 8, UINT64_MAX - 7, 8, "an entry claims to have" },
        { ENTRY + 8, 12, 8, "an entry claims to have 12 bytes" },
        { ENTRY + 16, 0, 4, "claims to have 0 compressed" },
        { ENTRY + 16, UINT32_MAX, 4, "claims to have 4294967295 compressed" },
        { ENTRY + 28, 0, 4, "for architecture 0" },
        { ENTRY + 28, 1000, 4, "for architecture 1000" },
        { ENTRY + 40, 0xA011, 8, "the flags 0xa011" },
        { ENTRY + 40, 0x308011, 8, "the flags 0x308011" },
        { ENTRY + 40, 0x408011, 8, "the flags 0x408011" },
        { ENTRY + 64, 0, 4, "does not begin as its header says" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        AUTO(library_close) struct library library = { 0 };
        size_t at = library_of(&library,
                               PIECES({ .kind = CUBIN, .arch = 80, .coding = ZSTD },
                                      { .kind = CUBIN, .arch = 90, .coding = ZSTD }),
                               0);
        set(&library, at + cases[i].at, cases[i].number, cases[i].size);
        expect_refused(&library.bytes, cases[i].why);
    }
}

Test(device_code, that_the_program_does_not_point_to_stays_whole)
{
    AUTO(library_close) struct library library = { 0 };
    AUTO(sfs_buf_close) struct sfs_buf container = { 0 };
    put_container(&container, PIECES({ .kind = CUBIN, .arch = 80, .coding = ZSTD },
                                     { .kind = CUBIN, .arch = 90, .coding = ZSTD }));
    library_begin(&library);
    size_t at = library_add(&library, ".nv_fatbin", SHT_PROGBITS, SHF_ALLOC, &container);
    library_add_wrappers(&library, (const size_t[]){ at, at + 16 }, 2);
    library_end(&library, 0);
    expect_refused(&library.bytes, "where none was found");
    size_t wrapper = library.sections[3].sh_offset;
    set(&library, wrapper + 4, 3, 4);
    expect_refused(&library.bytes, "what points to device code is of version 3");
}

Test(device_code, of_a_broken_library_stays_whole)
{
    static const struct {
        size_t at; /* in the header, or in that of section 1 */
        bool in_section;
        uint64_t number;
        size_t size;
        const char *why;
    } cases[] = {
        { offsetof(Elf64_Ehdr, e_shoff), false, 1ull << 63, 8, "the file ends before" },
        { offsetof(Elf64_Ehdr, e_shoff), false, UINT64_MAX - 63, 8, "the file ends before" },
        { offsetof(Elf64_Ehdr, e_shnum), false, 0, 2, "its table of sections is malformed" },
        { offsetof(Elf64_Ehdr, e_shentsize), false, 40, 2, "its table of sections is malformed" },
        { offsetof(Elf64_Ehdr, e_shstrndx), false, 77, 2, "its table of sections is malformed" },
        { offsetof(Elf64_Shdr, sh_offset), true, 1ull << 63, 8, "is not in the file" },
        { offsetof(Elf64_Shdr, sh_size), true, UINT64_MAX, 8, "is not in the file" },
        { offsetof(Elf64_Shdr, sh_size), true, 24, 8, "a fat binary claims to have" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        AUTO(library_close) struct library library = { 0 };
        library_of(&library,
                   PIECES({ .kind = CUBIN, .arch = 80, .coding = ZSTD },
                          { .kind = CUBIN, .arch = 90, .coding = ZSTD }),
                   0);
        Elf64_Ehdr header;
        memcpy(&header, library.bytes.data, sizeof header);
        size_t base = cases[i].in_section ? header.e_shoff + sizeof(Elf64_Shdr) : 0;
        set(&library, base + cases[i].at, cases[i].number, cases[i].size);
        expect_refused(&library.bytes, cases[i].why);
    }
}

Test(device_code, in_sections_that_overlap_stays_whole)
{
    AUTO(library_close) struct library library = { 0 };
    AUTO(sfs_buf_close) struct sfs_buf container = { 0 };
    put_container(&container, PIECES({ .kind = CUBIN, .arch = 80, .coding = ZSTD },
                                     { .kind = CUBIN, .arch = 90, .coding = ZSTD }));
    library_begin(&library);
    library_add(&library, ".nv_fatbin", SHT_PROGBITS, SHF_ALLOC, &container);
    library_add(&library, ".rodata", SHT_PROGBITS, SHF_ALLOC, &container);
    library.sections[2].sh_offset -= 16;
    library_end(&library, 0);
    expect_refused(&library.bytes, "sections .nv_fatbin and .rodata overlap");
}

/* Containers that begin in one another's entries, each of them false: more work than they are worth
 * is not done. */
Test(device_code, that_is_a_maze_stays_whole)
{
    AUTO(library_close) struct library library = { 0 };
    AUTO(sfs_buf_close) struct sfs_buf maze = { 0 };
    AUTO(sfs_buf_close) struct sfs_buf mark = { 0 };
    for (size_t i = 0; i < 20000; i++) {
        size_t begin = maze.size;
        put_piece(&maze, &(struct piece){ .kind = 8, .arch = 80, .coding = RAW, .size = 64 });
        uint64_t magic = htole64(0x0010000100000000 | 0xBA55ED50), size = htole64(1000000);
        memcpy(maze.data + begin + 48, &magic, 8); /* the key, and the size before */
        memcpy(maze.data + begin + 56, &size, 8);
        maze.size = begin + 64;
        set(&(struct library){ .bytes = maze }, begin + 8, 0, 8);
    }
    put_zeros(&maze, 900000);
    library_begin(&library);
    library_add(&library, ".rodata", SHT_PROGBITS, SHF_ALLOC, &maze);
    put_container(&mark, PIECES({ .kind = CUBIN, .arch = 80, .coding = RAW }));
    library_add(&library, ".nv_fatbin", SHT_PROGBITS, SHF_ALLOC, &mark);
    library_end(&library, 0);
    expect_refused(&library.bytes, "its fat binaries have more than 1048576 entries");
}

/* ---- whatever is broken ---- */

/* A library, and where in it the code lies that must not go, whatever one byte of it says. */
struct sample {
    struct library library;
    size_t container, kept, kept_size;
};

static void make_sample(struct sample *sample, enum piece_coding coding)
{
    struct piece first = { .kind = CUBIN, .arch = 80, .coding = coding, .size = 400 };
    struct piece kept = { .kind = CUBIN, .arch = 90, .coding = coding, .size = 400 };
    struct piece last = { .kind = PTX, .arch = 80, .coding = coding, .size = 400 };
    AUTO(sfs_buf_close) struct sfs_buf before = { 0 };
    AUTO(sfs_buf_close) struct sfs_buf with = { 0 };
    put_piece(&before, &first);
    put_piece(&with, &kept);
    sample->container = library_of(&sample->library, PIECES(first, kept, last), 0);
    sample->kept = sample->container + 16 + before.size + 64;
    sample->kept_size = with.size - 64;
}

/* Plans, and looks that no byte of the code that stays goes. Returns 1 if something goes at all. */
static bool keeps_its_code(const struct sample *sample, struct sfs_buf *bytes)
{
    AUTO(sfs_device_plan_done) struct sfs_device_plan plan = { 0 };
    int r = try_plan(bytes, "sm_90", SFS_PTX_NEEDED, &plan);
    cr_assert(r == 0 || r == -EBADMSG);
    for (size_t i = 0; i < plan.zeros.count; i++) {
        uint64_t from = plan.zeros.items[i].offset, to = from + plan.zeros.items[i].size;
        cr_assert(to <= bytes->size, "zeros behind the end");
        cr_assert(to <= sample->kept || from >= sample->kept + sample->kept_size,
                  "bytes %zu to %zu go", (size_t)from, (size_t)to);
    }
    return plan.zeros.count > 0;
}

Test(device_code, that_stays_survives_any_byte_that_is_wrong)
{
    unsigned step = support_step();
    for (enum piece_coding coding = RAW; coding <= ZSTD; coding++) {
        AUTO(library_close) struct library unused = { 0 };
        struct sample sample = { 0 };
        size_t pruned = 0;
        make_sample(&sample, coding);
        unused = sample.library; /* closes it */
        struct sfs_buf *bytes = &sample.library.bytes;
        for (size_t at = 0; at < bytes->size; at++)
            for (unsigned flip = 1; flip < 256; flip = at < 64 ? flip * 2 : flip + step) {
                if (at >= sample.kept && at < sample.kept + sample.kept_size && flip > 1)
                    break; /* of the code itself one try is enough */
                bytes->data[at] = (char)(bytes->data[at] ^ (int)flip);
                pruned += keeps_its_code(&sample, bytes);
                bytes->data[at] = (char)(bytes->data[at] ^ (int)flip);
            }
        cr_assert(pruned > 0);
    }
}

Test(device_code, of_a_library_that_is_cut_stays)
{
    AUTO(library_close) struct library unused = { 0 };
    struct sample sample = { 0 };
    make_sample(&sample, ZSTD);
    unused = sample.library;
    for (size_t size = 0; size < sample.library.bytes.size; size++) {
        struct sfs_buf cut = { .data = malloc(size + 1), .size = size };
        memcpy(cut.data, sample.library.bytes.data, size);
        cr_assert_not(keeps_its_code(&sample, &cut), "cut to %zu bytes", size);
        sfs_buf_close(&cut);
    }
}

/* Several bytes at once, at random, mostly in headers. DEVICE_CODE_ROUNDS makes it a fuzzer. */
Test(device_code, survives_many_wrong_bytes, .timeout = 3600)
{
    const char *asked = getenv("DEVICE_CODE_ROUNDS");
    size_t rounds = asked ? strtoul(asked, NULL, 10) : 3000;
    uint32_t state = 1;
    for (size_t round = 0; round < rounds; round++) {
        AUTO(library_close) struct library library = { 0 };
        struct sfs_device_plan plan = { 0 };
        with_bare = round % 2;
        library_of(&library,
                   PIECES({ .kind = CUBIN, .arch = 80, .coding = round % 3, .size = 200 },
                          { .kind = CUBIN, .arch = 90, .coding = round % 3, .size = 200 },
                          { .kind = PTX, .arch = 80, .coding = round % 3, .size = 200 }),
                   0);
        struct sfs_buf *bytes = &library.bytes;
        for (unsigned i = 0; i < 1 + round % 8; i++) {
            state = state * 1664525 + 1013904223;
            size_t at = (state >> 8) % bytes->size;
            state = state * 1664525 + 1013904223;
            bytes->data[at] = (char)(state >> 24);
        }
        int r =
            try_plan(bytes, round % 2 ? "sm_90" : "sm_80", (enum sfs_ptx_policy)(round % 3), &plan);
        cr_assert(r == 0 || r == -EBADMSG);
        for (size_t i = 0; i < plan.zeros.count; i++)
            cr_assert(plan.zeros.items[i].offset + plan.zeros.items[i].size <= bytes->size);
        sfs_device_plan_done(&plan);
    }
}
