/* The loader maps the segments, reads the dynamic section, and then walks the relocations: each
 * names a word that it writes, and the page around it comes from the file first. Those pages lie
 * scattered in .data.rel.ro, .got and .data, which may be a hundred MB larger than what is touched
 * of them, so the relocations are read here too, and tell. Addresses are turned into offsets by
 * the segments; what lies in none is left out. */
#include "mount/library.h"

#include <elf.h>
#include <errno.h>
#include <link.h>

#define PAGE        4096u
#define GAP         (64u << 10) /* pages between which less is missing are fetched as one */
#define FIRST_BYTES (64u << 10) /* so many bytes of each segment are fetched in any case */
#define MAX_TABLE   (64u << 20)
#define MAX_RANGES  (64u << 10)
#define MAX_RELR    (4u << 20)  /* each bit of it may be a relocation */
#define CHUNK       (48u << 10) /* bytes read at a time: whole entries, whatever their size */

struct image {
    const struct sfs_elf_source *source;
    struct sfs_ranges *ranges;
    struct sfs_elf elf;
    uint64_t tags[DT_NUM];
    uint64_t gnu_hash, versym, verneed, relr, relr_size;
    uint64_t budget; /* bytes of relocations that may still be read */
    bool failed;     /* a range could not be added for lack of memory: none is, from then on */
};

/* Adds what of [offset, offset + size) is inside the file. */
static void add_range(struct image *image, uint64_t offset, uint64_t size)
{
    uint64_t end = image->source->size;
    if (image->failed || offset >= end || size == 0 || image->ranges->count >= MAX_RANGES)
        return;
    size = size < end - offset ? size : end - offset;
    image->failed = sfs_ranges_add(image->ranges, offset, size) < 0;
}

static void add_table(struct image *image, uint64_t address, uint64_t size)
{
    uint64_t offset, left;
    if (address == 0 || !sfs_elf_offset(&image->elf, address, &offset, &left))
        return;
    size = size < left ? size : left;
    add_range(image, offset, size < MAX_TABLE ? size : MAX_TABLE);
}

/* --- headers ---------------------------------------------------------------------------------- */

static void note_tag(void *user, const ElfW(Dyn) * entry)
{
    struct image *image = user;
    uint64_t value = entry->d_un.d_val;
    if (entry->d_tag > 0 && entry->d_tag < DT_NUM)
        image->tags[entry->d_tag] = value;
    else if (entry->d_tag == DT_GNU_HASH)
        image->gnu_hash = value;
    else if (entry->d_tag == DT_VERSYM)
        image->versym = value;
    else if (entry->d_tag == DT_VERNEED)
        image->verneed = value;
    if (entry->d_tag == 36) /* DT_RELR; older headers lack the names */
        image->relr = value;
    else if (entry->d_tag == 35) /* DT_RELRSZ */
        image->relr_size = value;
}

static int read_headers(struct image *image)
{
    int r = sfs_elf_open(image->source, &image->elf);
    if (r < 0)
        return r;
    add_range(image, 0, image->elf.headers_end);
    r = sfs_elf_dynamic(&image->elf, note_tag, image);
    if (r < 0)
        return r;
    const ElfW(Phdr) *dynamic = sfs_elf_segment(&image->elf, PT_DYNAMIC);
    add_range(image, dynamic->p_offset, dynamic->p_filesz);
    return 0;
}

/* --- tables ----------------------------------------------------------------------------------- */

/* Most tables do not tell their size; they end where another starts, or where the segment does. */
static void add_until_next(struct image *image, uint64_t address)
{
    const uint64_t starts[] = { image->tags[DT_HASH],   image->tags[DT_STRTAB],
                                image->tags[DT_SYMTAB], image->tags[DT_RELA],
                                image->tags[DT_REL],    image->tags[DT_JMPREL],
                                image->gnu_hash,        image->versym,
                                image->verneed,         image->relr,
                                image->tags[DT_INIT] };
    uint64_t next = UINT64_MAX;
    for (size_t i = 0; i < sizeof starts / sizeof *starts; i++)
        if (starts[i] > address && starts[i] < next)
            next = starts[i];
    add_table(image, address, next - address);
}

static void add_tables(struct image *image)
{
    add_until_next(image, image->gnu_hash ? image->gnu_hash : image->tags[DT_HASH]);
    add_until_next(image, image->tags[DT_SYMTAB]);
    add_until_next(image, image->versym);
    add_until_next(image, image->verneed);
    add_table(image, image->tags[DT_STRTAB], image->tags[DT_STRSZ]);
}

/* --- relocations ------------------------------------------------------------------------------ */

/* Turns addresses, mostly ascending, into ranges of pages. Those far apart in the file, and those
 * that step back, start a range of their own; the table's own bytes stand before them. */
struct pages {
    struct image *image;
    uint64_t first, end; /* the range of the file that is being put together */
    /* The segment of the last address: its addresses, and its offset in the file. */
    uint64_t from, until, at_from;
};

static void flush_pages(struct pages *pages)
{
    add_range(pages->image, pages->first, pages->end - pages->first);
    pages->first = pages->end = 0;
}

static void add_word(struct pages *pages, uint64_t address)
{
    if (address < pages->from || address >= pages->until) {
        uint64_t offset, left;
        if (!sfs_elf_offset(&pages->image->elf, address, &offset, &left))
            return;
        pages->from = address;
        pages->at_from = offset;
        pages->until = left < UINT64_MAX - address ? address + left : UINT64_MAX;
    }
    uint64_t offset = pages->at_from + (address - pages->from);
    if (offset >= pages->image->source->size)
        return;
    uint64_t page = offset / PAGE * PAGE;
    if (pages->end > 0 && page >= pages->first && page <= pages->end + GAP) {
        if (page + PAGE > pages->end)
            pages->end = page + PAGE;
        return;
    }
    flush_pages(pages);
    pages->first = page;
    pages->end = page + PAGE;
}

/* Adds what one chunk of a table tells. DT_RELR packs words: an address, or a bitmap of the words
 * behind it. */
static void add_words(struct pages *pages, const char *data, size_t size, size_t entry_size,
                      uint64_t *relr_next)
{
    const unsigned word = sizeof(ElfW(Addr));
    for (size_t i = 0; i + entry_size <= size; i += entry_size) {
        ElfW(Addr) value;
        memcpy(&value, data + i, sizeof value);
        if (!relr_next) {
            add_word(pages, value); /* r_offset stands first */
        } else if (!(value & 1)) {
            add_word(pages, value);
            *relr_next = value + word;
        } else {
            for (unsigned bit = 1; bit < 8 * word; bit++)
                if (value >> bit & 1)
                    add_word(pages, *relr_next + (bit - 1) * word);
            *relr_next += (8 * word - 1) * word;
        }
    }
}

static void add_relocations(struct image *image, uint64_t address, uint64_t size, size_t entry_size,
                            bool is_relr)
{
    uint64_t offset, left, relr_next = 0;
    if (address == 0 || !sfs_elf_offset(&image->elf, address, &offset, &left) ||
        offset >= image->source->size)
        return;
    left = left < image->source->size - offset ? left : image->source->size - offset;
    size = size < left ? size : left;
    add_range(image, offset, size);
    size = size < image->budget ? size : image->budget;
    image->budget -= size;
    struct pages pages = { .image = image };
    AUTO(sfs_free) char *chunk = malloc(CHUNK);
    image->failed = image->failed || !chunk;
    for (uint64_t done = 0; !image->failed && done < size;) {
        size_t part = size - done < CHUNK ? (size_t)(size - done) : CHUNK;
        if (!image->source->read(image->source->user, chunk, part, offset + done))
            break;
        add_words(&pages, chunk, part, entry_size, is_relr ? &relr_next : NULL);
        done += part;
    }
    flush_pages(&pages);
}

static void add_all_relocations(struct image *image)
{
    const uint64_t *tags = image->tags;
    bool plt_is_rela = tags[DT_PLTREL] == DT_RELA;
    uint64_t relr_size = image->relr_size < MAX_RELR ? image->relr_size : MAX_RELR;
    add_relocations(image, image->relr, relr_size, sizeof(ElfW(Addr)), true);
    add_relocations(image, tags[DT_RELA], tags[DT_RELASZ], sizeof(ElfW(Rela)), false);
    add_relocations(image, tags[DT_REL], tags[DT_RELSZ], sizeof(ElfW(Rel)), false);
    add_relocations(image, tags[DT_JMPREL], tags[DT_PLTRELSZ],
                    plt_is_rela ? sizeof(ElfW(Rela)) : sizeof(ElfW(Rel)), false);
}

static void add_starts(struct image *image)
{
    add_table(image, image->tags[DT_INIT_ARRAY], image->tags[DT_INIT_ARRAYSZ]);
    add_table(image, image->tags[DT_INIT], FIRST_BYTES);
    for (unsigned i = 0; i < image->elf.segment_count; i++)
        if (image->elf.segments[i].p_type == PT_LOAD)
            add_table(image, image->elf.segments[i].p_vaddr, FIRST_BYTES);
}

int sfs_library_plan(const struct sfs_elf_source *source, struct sfs_ranges *ranges)
{
    AUTO(sfs_free) struct image *image = calloc(1, sizeof *image);
    if (!image)
        return -ENOMEM;
    image->source = source;
    image->ranges = ranges;
    image->budget = SFS_LIBRARY_MAX_RELOCATIONS;
    int r = read_headers(image);
    if (r < 0)
        return r;
    add_starts(image);
    add_tables(image);
    add_all_relocations(image);
    return image->failed ? -ENOMEM : 0;
}
