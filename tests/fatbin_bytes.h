/* Fat binaries, and libraries that hold them, made from a description: none of their bytes are
 * NVIDIA's. A cubin is an ELF header with bytes of no meaning behind it, PTX is a text with a
 * .target, and all of it can be stored raw, by zstd or by LZ4. */
#ifndef FATBIN_BYTES_H
#define FATBIN_BYTES_H

#include "base/buf.h"
#include "slim/device_plan.h"
#include <criterion/criterion.h>
#include <elf.h>
#include <endian.h>
#include <zstd.h>

enum piece_coding { RAW, LZ4, ZSTD };

#define PTX   1u
#define CUBIN 2u

#define FLAG_A          0x100000ull
#define FLAG_F          0x200000ull
#define FLAG_OBFUSCATED 0x10000ull

/* One entry of a container. */
struct piece {
    unsigned kind; /* 0 ends a list */
    unsigned arch;
    enum piece_coding coding;
    uint64_t flags;       /* besides those of the coding */
    unsigned header_size; /* 0: 64 */
    unsigned own_arch;    /* what the code says itself; 0: the same */
    size_t size;          /* of the code, decoded; 0: 3000 */
    unsigned abi;         /* of a cubin: 7 or 8; 0: 8 */
};

static inline void put_number(struct sfs_buf *buf, uint64_t number, size_t size)
{
    number = htole64(number);
    cr_assert_eq(sfs_buf_add(buf, &number, size), 0);
}

static inline void put_zeros(struct sfs_buf *buf, size_t size)
{
    for (size_t i = 0; i < size; i++)
        put_number(buf, 0, 1);
}

static inline void make_cubin(const struct piece *piece, struct sfs_buf *code)
{
    unsigned arch = piece->own_arch ? piece->own_arch : piece->arch;
    Elf64_Ehdr header = { .e_ident = { ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB,
                                       EV_CURRENT, 0x41 },
                          .e_machine = 190,
                          .e_version = 1 };
    header.e_ident[EI_ABIVERSION] = piece->abi ? (unsigned char)piece->abi : 8;
    header.e_flags = piece->abi == 7 ? arch << 16 | 5 : arch << 8 | 2;
    sfs_buf_add(code, &header, sizeof header);
    uint32_t state = arch;
    size_t size = piece->size ? piece->size : 3000;
    while (code->size < size) {
        state = state * 1664525 + 1013904223;
        put_number(code, state >> 28 ? 0 : state >> 8, 1);
    }
}

static inline void make_ptx(const struct piece *piece, struct sfs_buf *code)
{
    unsigned arch = piece->own_arch ? piece->own_arch : piece->arch;
    sfs_buf_printf(code, "//\n// made for a test\n//\n.version 8.0\n.target sm_%u\n", arch);
    size_t size = piece->size ? piece->size : 3000;
    while (code->size < size)
        sfs_buf_printf(code, "ld.param.u64 %%rd%zu, [param_%zu];\n", code->size % 97, code->size);
}

/* Literals, and where a byte comes five times or more, a match that overlaps itself. */
static inline void put_lz4_length(struct sfs_buf *out, size_t length)
{
    for (; length >= 255; length -= 255)
        put_number(out, 255, 1);
    put_number(out, length, 1);
}

static inline void lz4(const char *in, size_t size, struct sfs_buf *out)
{
    for (size_t at = 0; at <= size;) {
        size_t literals = at, run = 0;
        for (; literals < size; literals++) {
            for (run = 0; literals + run < size && literals > at && run < 4000 &&
                          in[literals + run] == in[literals - 1];
                 run++)
                ;
            if (run >= 4)
                break;
        }
        size_t count = literals - at, match = run >= 4 ? run - 4 : 0;
        put_number(out, (count < 15 ? count : 15) << 4 | (match < 15 ? match : 15), 1);
        if (count >= 15)
            put_lz4_length(out, count - 15);
        sfs_buf_add(out, in + at, count);
        at += count;
        if (run < 4)
            return;
        put_number(out, 1, 2);
        if (match >= 15)
            put_lz4_length(out, match - 15);
        at += run;
    }
}

static inline void pack(const struct piece *piece, const struct sfs_buf *code, struct sfs_buf *out)
{
    if (piece->coding == RAW)
        sfs_buf_add(out, code->data, code->size);
    else if (piece->coding == LZ4)
        lz4(code->data, code->size, out);
    else {
        size_t bound = ZSTD_compressBound(code->size);
        char *to = sfs_buf_grow(out, bound);
        size_t packed = ZSTD_compress(to, bound, code->data, code->size, 3);
        cr_assert(!ZSTD_isError(packed));
        out->size = packed;
    }
}

static inline void put_piece(struct sfs_buf *buf, const struct piece *piece)
{
    AUTO(sfs_buf_close) struct sfs_buf code = { 0 };
    AUTO(sfs_buf_close) struct sfs_buf packed = { 0 };
    (piece->kind == CUBIN ? make_cubin : make_ptx)(piece, &code);
    pack(piece, &code, &packed);
    size_t padded = (packed.size + 7) / 8 * 8, begin = buf->size;
    unsigned header = piece->header_size ? piece->header_size : 64;
    put_number(buf, piece->kind, 2);
    put_number(buf, 0x0101, 2);
    put_number(buf, header, 4);
    put_number(buf, padded, 8);
    put_number(buf, piece->coding == RAW ? 0 : packed.size, 4);
    put_zeros(buf, 8);
    put_number(buf, piece->arch, 4);
    put_zeros(buf, 8);
    put_number(buf,
               piece->flags | 0x11 | (piece->coding == LZ4 ? 0x2000 : 0) |
                   (piece->coding == ZSTD ? 0x8000 : 0),
               8);
    put_zeros(buf, 8);
    put_number(buf, piece->coding == RAW ? 0 : code.size, 8);
    put_zeros(buf, header - (buf->size - begin));
    sfs_buf_add(buf, packed.data, packed.size);
    put_zeros(buf, padded - packed.size);
}

/* Adds a container of the pieces. */
static inline void put_container(struct sfs_buf *buf, const struct piece *pieces)
{
    AUTO(sfs_buf_close) struct sfs_buf inside = { 0 };
    for (; pieces->kind; pieces++)
        put_piece(&inside, pieces);
    put_number(buf, 0xBA55ED50, 4);
    put_number(buf, 1, 2);
    put_number(buf, 16, 2);
    put_number(buf, inside.size, 8);
    sfs_buf_add(buf, inside.data, inside.size);
}

/* ---- libraries ---- */

#define BIAS 0x400000u /* address less offset */

/* A library in the making: its sections, of which each begins at a multiple of 16. */
struct library {
    struct sfs_buf bytes;
    Elf64_Shdr sections[16];
    const char *names[16];
    unsigned count;
};

static inline void library_close(struct library *library)
{
    sfs_buf_close(&library->bytes);
}

static inline void library_begin(struct library *library)
{
    put_zeros(&library->bytes, sizeof(Elf64_Ehdr));
    library->names[0] = "";
    library->count = 1;
}

/* Adds a section; returns its offset, which is its address less BIAS. */
static inline size_t library_add(struct library *library, const char *name, unsigned type,
                                 unsigned flags, const struct sfs_buf *contents)
{
    put_zeros(&library->bytes, -library->bytes.size % 16);
    size_t offset = library->bytes.size;
    library->names[library->count] = name;
    library->sections[library->count++] = (Elf64_Shdr){ .sh_type = type,
                                                        .sh_flags = flags,
                                                        .sh_addr = BIAS + offset,
                                                        .sh_offset = offset,
                                                        .sh_size = contents->size,
                                                        .sh_addralign = 16 };
    sfs_buf_add(&library->bytes, contents->data, contents->size);
    return offset;
}

/* Adds .rela.dyn and .nvFatBinSegment, of wrappers that point to these offsets. */
static inline void library_add_wrappers(struct library *library, const size_t *targets,
                                        size_t count)
{
    AUTO(sfs_buf_close) struct sfs_buf relocations = { 0 };
    AUTO(sfs_buf_close) struct sfs_buf wrappers = { 0 };
    size_t rela = (library->bytes.size + 15) / 16 * 16;
    size_t at = (rela + count * sizeof(Elf64_Rela) + 15) / 16 * 16;
    for (size_t i = 0; i < count; i++) {
        Elf64_Rela relocation = { BIAS + at + 24 * i + 8, ELF64_R_INFO(0, R_X86_64_RELATIVE),
                                  (int64_t)(BIAS + targets[i]) };
        sfs_buf_add(&relocations, &relocation, sizeof relocation);
        put_number(&wrappers, 0x466243B1, 4);
        put_number(&wrappers, 1 + i % 2, 4);
        put_zeros(&wrappers, 16);
    }
    library_add(library, ".rela.dyn", SHT_RELA, SHF_ALLOC, &relocations);
    library_add(library, ".nvFatBinSegment", SHT_PROGBITS, SHF_ALLOC | SHF_WRITE, &wrappers);
}

/* Adds names and headers, and makes the file at least `least` bytes long. */
static inline void library_end(struct library *library, size_t least)
{
    AUTO(sfs_buf_close) struct sfs_buf names = { 0 };
    struct sfs_buf *bytes = &library->bytes;
    put_zeros(&names, 1);
    for (unsigned i = 1; i < library->count; i++) {
        library->sections[i].sh_name = (uint32_t)names.size;
        sfs_buf_add(&names, library->names[i], strlen(library->names[i]) + 1);
    }
    library_add(library, "", SHT_STRTAB, 0, &names);
    put_zeros(bytes, -bytes->size % 16);
    if (bytes->size < least)
        put_zeros(bytes, (least - bytes->size + 15) / 16 * 16);
    Elf64_Ehdr header = { .e_ident = { ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB,
                                       EV_CURRENT },
                          .e_type = ET_DYN,
                          .e_machine = EM_X86_64,
                          .e_version = EV_CURRENT,
                          .e_shoff = bytes->size,
                          .e_ehsize = sizeof header,
                          .e_shentsize = sizeof(Elf64_Shdr),
                          .e_shnum = (uint16_t)library->count,
                          .e_shstrndx = (uint16_t)(library->count - 1) };
    memcpy(bytes->data, &header, sizeof header);
    sfs_buf_add(bytes, library->sections, library->count * sizeof *library->sections);
    cr_assert(!bytes->failed);
}

/* What library_with_symbols() has for strip: its sections, and their three headers. */
#define SYMBOL_BYTES (2400u + 1008u + 40000u + 3 * 64u)

/* A library of some loaded bytes, a table of symbols with its names, debug information, and a
 * comment that is none of this: sections 1 to 5. It is at least `least` bytes long. */
static inline void library_with_symbols(struct library *library, size_t least)
{
    static const struct {
        const char *name;
        unsigned type, flags;
        size_t size;
    } sections[] = { { ".rodata", SHT_PROGBITS, SHF_ALLOC, 4000 },
                     { ".symtab", SHT_SYMTAB, 0, 2400 },
                     { ".strtab", SHT_STRTAB, 0, 1008 },
                     { ".debug_info", SHT_PROGBITS, 0, 40000 },
                     { ".comment", SHT_PROGBITS, 0, 64 } };
    library_begin(library);
    for (size_t i = 0; i < sizeof sections / sizeof *sections; i++) {
        AUTO(sfs_buf_close) struct sfs_buf bytes = { 0 };
        for (size_t k = 0; k < sections[i].size; k++)
            put_number(&bytes, 'a' + (k * 7 + i) % 23, 1);
        library_add(library, sections[i].name, sections[i].type, sections[i].flags, &bytes);
    }
    library->sections[2].sh_link = 3;
    library_end(library, least);
}

/* A library of one container in .nv_fatbin, with a wrapper; returns the container's offset. */
static inline size_t library_of(struct library *library, const struct piece *pieces, size_t least)
{
    AUTO(sfs_buf_close) struct sfs_buf container = { 0 };
    put_container(&container, pieces);
    library_begin(library);
    size_t at = library_add(library, ".nv_fatbin", SHT_PROGBITS, SHF_ALLOC, &container);
    library_add_wrappers(library, &at, 1);
    library_end(library, least);
    return at;
}
#define PIECES(...) ((const struct piece[]){ __VA_ARGS__, { .kind = 0 } })

#endif
