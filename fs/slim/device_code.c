/* A library's sections, containers and entries. Two kinds of section are told apart. Those that
 * the compiler fills with containers alone must be understood to the last byte. In other sections
 * of such a library containers lie between something else: what begins like one, and is none, is
 * passed over. A container's entries are listed first, and count only once all of it was read. */
#include "slim/findings.h"

#include "base/array.h"
#include "base/limits.h"
#include "slim/bare_cubin.h"
#include "slim/device_elf.h"
#include "slim/fatbin.h"
#include <errno.h>

#define MAX_FALSE 1024u /* things that begin like a container, a header that holds included */

struct found { /* an entry of the container that is being read */
    uint64_t offset;
    struct sfs_fatbin_entry entry;
    bool is_sure;
};

struct scan {
    struct sfs_findings findings;
    struct sfs_window window;
    struct sfs_fatbin_decoder *decoder;
    struct sfs_device_elf elf;
    struct found *found;
    size_t found_count, found_capacity;
    uint64_t *starts; /* addresses of containers, ascending but for sections out of order */
    size_t start_count, start_capacity;
    uint64_t entries;    /* that were looked at, in vain or not */
    uint32_t containers; /* and bare pieces, that count */
    unsigned false_starts;
    bool has_false; /* the section that is being read has one */
    struct sfs_error *err;
};

static void scan_done(struct scan *scan)
{
    sfs_findings_done(&scan->findings);
    sfs_window_done(&scan->window);
    sfs_fatbin_decoder_close(&scan->decoder);
    sfs_device_elf_done(&scan->elf);
    free(scan->found);
    free(scan->starts);
}

/* ---- entries ---- */

static int expect_zeros(struct scan *scan, uint64_t offset, uint64_t size)
{
    while (size > 0) {
        size_t part = size < SFS_WINDOW_STEP ? (size_t)size : SFS_WINDOW_STEP;
        const char *bytes;
        int r = sfs_window_get(&scan->window, offset, part, &bytes, scan->err);
        for (size_t i = 0; i < part && r == 0; i++)
            if (bytes[i] != 0)
                return sfs_fail(scan->err, EBADMSG, "bytes that must be zeros are not");
        if (r < 0)
            return r;
        offset += part;
        size -= part;
    }
    return 0;
}

static bool is_plain(const struct sfs_fatbin_entry *entry, enum sfs_fatbin_kind kind)
{
    return entry->kind == kind && !entry->is_obfuscated;
}

/* Does the code say itself that it is for the architecture that its entry tells? */
static int confirm(struct scan *scan, struct found *found)
{
    const char *payload;
    size_t need = sfs_fatbin_need(&found->entry);
    int r = sfs_window_get(&scan->window, found->offset + found->entry.header_size, need, &payload,
                           scan->err);
    if (r < 0)
        return r;
    found->is_sure =
        sfs_fatbin_own_arch(scan->decoder, &found->entry, payload, need) == found->entry.code.arch;
    return 0;
}

static int check_payload(struct scan *scan, struct found *found)
{
    const struct sfs_fatbin_entry *entry = &found->entry;
    uint64_t payload = found->offset + entry->header_size, size = entry->payload_size;
    size_t start = size < SFS_FATBIN_START ? (size_t)size : SFS_FATBIN_START;
    const char *bytes;
    int r = sfs_window_get(&scan->window, payload, start, &bytes, scan->err);
    if (r == 0)
        r = sfs_fatbin_check_payload(entry, bytes, start, scan->err);
    if (r < 0)
        return r;
    if (is_plain(entry, SFS_FATBIN_PTX) || is_plain(entry, SFS_FATBIN_CUBIN))
        r = confirm(scan, found);
    if (r == 0 && entry->kind == SFS_FATBIN_NOTHING)
        return expect_zeros(scan, payload, size);
    return r < 0 ? r : expect_zeros(scan, payload + size - entry->padding, entry->padding);
}

static int read_entry(struct scan *scan, uint64_t offset, uint64_t room, uint64_t *ret_size)
{
    const char *bytes;
    struct found found = { .offset = offset };
    if (++scan->entries > SFS_MAX_FATBINS)
        return sfs_fail(scan->err, E2BIG, "its fat binaries have more than %u entries",
                        SFS_MAX_FATBINS);
    if (room < SFS_FATBIN_ENTRY)
        return sfs_fail(scan->err, EBADMSG, "a fat binary ends within an entry");
    int r = sfs_window_get(&scan->window, offset, SFS_FATBIN_ENTRY, &bytes, scan->err);
    if (r == 0)
        r = sfs_fatbin_read_entry(bytes, room, &found.entry, scan->err);
    if (r == 0)
        r = check_payload(scan, &found);
    if (r < 0)
        return r;
    if (SFS_ARRAY_GROW(scan->found, scan->found_count, scan->found_capacity, 64) < 0)
        return sfs_fail_memory(scan->err);
    scan->found[scan->found_count++] = found;
    *ret_size = found.entry.header_size + found.entry.payload_size;
    return 0;
}

/* ---- containers ---- */

static int add_piece(struct scan *scan, const struct sfs_device_piece *piece)
{
    struct sfs_findings *findings = &scan->findings;
    if (SFS_ARRAY_GROW(findings->pieces, findings->piece_count, findings->piece_capacity, 64) < 0)
        return sfs_fail_memory(scan->err);
    findings->pieces[findings->piece_count++] = *piece;
    return 0;
}

/* The container that was read counts from now on. */
static int settle(struct scan *scan, uint64_t address)
{
    int r = 0;
    for (size_t i = 0; i < scan->found_count && r == 0; i++) {
        const struct found *found = &scan->found[i];
        const struct sfs_fatbin_entry *entry = &found->entry;
        const struct sfs_device_piece piece = {
            .offset = found->offset,
            .payload_size = entry->payload_size,
            .container = scan->containers,
            .header_size = (uint16_t)entry->header_size,
            .kind = (uint16_t)entry->kind,
            .arch = (uint16_t)entry->code.arch,
            .feature = (uint8_t)entry->code.feature,
            .flags = (found->is_sure ? SFS_PIECE_SURE : 0) |
                     (entry->is_obfuscated ? SFS_PIECE_OBFUSCATED : 0),
        };
        if (entry->kind != SFS_FATBIN_NOTHING)
            r = add_piece(scan, &piece);
    }
    scan->containers++;
    if (r == 0 && SFS_ARRAY_GROW(scan->starts, scan->start_count, scan->start_capacity, 64) < 0)
        return sfs_fail_memory(scan->err);
    if (r == 0)
        scan->starts[scan->start_count++] = address;
    return r;
}

static int read_container(struct scan *scan, const struct sfs_device_section *section,
                          uint64_t offset, uint64_t *ret_end)
{
    uint64_t end = section->offset + section->size, size;
    const char *bytes;
    scan->found_count = 0;
    if (end - offset < SFS_FATBIN_CONTAINER)
        return sfs_fail(scan->err, EBADMSG, "a section ends within a fat binary");
    int r = sfs_window_get(&scan->window, offset, SFS_FATBIN_CONTAINER, &bytes, scan->err);
    if (r == 0)
        r = sfs_fatbin_read_container(bytes, end - offset - SFS_FATBIN_CONTAINER, &size, scan->err);
    if (r < 0)
        return r;
    uint64_t at = offset + SFS_FATBIN_CONTAINER;
    end = at + size;
    while (at < end && r == 0) {
        uint64_t step = 0;
        r = read_entry(scan, at, end - at, &step);
        at += step;
    }
    *ret_end = end;
    return r == 0 ? settle(scan, section->address + (offset - section->offset)) : r;
}

/* ---- sections ---- */

/* A section of containers alone; zeros may stand between them. */
static int read_tiled(struct scan *scan, const struct sfs_device_section *section)
{
    uint64_t at = section->offset, end = at + section->size;
    while (at < end) {
        const char *bytes;
        size_t part = end - at < 8 ? (size_t)(end - at) : 8;
        int r = sfs_window_get(&scan->window, at, part, &bytes, scan->err);
        if (r < 0)
            return r;
        uint64_t next = at + part;
        if (part == 8 && sfs_fatbin_is_magic(bytes))
            r = read_container(scan, section, at, &next);
        else
            r = expect_zeros(scan, at, part);
        if (r < 0)
            return r;
        at = next;
    }
    return 0;
}

static bool is_start(const char *bytes, uint64_t address)
{
    return sfs_fatbin_is_magic(bytes) ||
           (address % SFS_BARE_ALIGN == 0 && sfs_bare_cubin_may_start(bytes));
}

/* How far the next thing that begins like a container, or like a cubin without one, is: at a
 * multiple of 8. `to_address` is what an offset lacks to the address. */
static int find_start(struct scan *scan, uint64_t at, uint64_t end, uint64_t to_address,
                      uint64_t *ret_at)
{
    while (end - at >= SFS_FATBIN_CONTAINER) {
        const char *bytes;
        size_t part;
        int r = sfs_window_get_more(&scan->window, at, 8, &bytes, &part, scan->err);
        if (r < 0)
            return r;
        part = part < end - at ? part / 8 * 8 : (size_t)(end - at) / 8 * 8;
        for (size_t i = 0; i < part; i += 8)
            if (is_start(bytes + i, at + i + to_address)) {
                *ret_at = at + i;
                return 0;
            }
        at += part;
    }
    *ret_at = end;
    return 0;
}

/* Reads what begins like a cubin without a container, and adds it if it is one. */
static int read_bare(struct scan *scan, uint64_t at, uint64_t end, uint64_t *ret_next)
{
    uint64_t size = 8;
    unsigned arch;
    int r = sfs_bare_cubin_read(&scan->window, scan->decoder, at, end, &size, &arch, scan->err);
    *ret_next = at + (r > 0 ? size : 8);
    if (r <= 0)
        return r;
    if (++scan->entries > SFS_MAX_FATBINS)
        return sfs_fail(scan->err, E2BIG, "it has more than %u pieces of device code",
                        SFS_MAX_FATBINS);
    const struct sfs_device_piece piece = { .offset = at,
                                            .payload_size = size,
                                            .container = scan->containers++,
                                            .kind = SFS_FATBIN_CUBIN,
                                            .arch = (uint16_t)arch,
                                            .flags = SFS_PIECE_SURE | SFS_PIECE_BARE };
    return add_piece(scan, &piece);
}

/* Passes over what begins like a container, and is none. */
static int pass_over(struct scan *scan, uint64_t entries)
{
    scan->has_false = true;
    if (scan->entries > entries + 1 && ++scan->false_starts > MAX_FALSE)
        return sfs_fail(scan->err, EBADMSG,
                        "more than %u things in it begin like fat binaries, and are none",
                        MAX_FALSE);
    return 0;
}

/* What looks like a bare cubin may be in a container that was not understood: whoever has one that
 * is none in a section says nothing of that section's bare cubins. */
static void drop_bare(struct scan *scan, size_t first)
{
    struct sfs_findings *findings = &scan->findings;
    size_t left = first;
    for (size_t i = first; i < findings->piece_count; i++)
        if (!(findings->pieces[i].flags & SFS_PIECE_BARE))
            findings->pieces[left++] = findings->pieces[i];
    findings->piece_count = left;
}

/* Reads what begins at `at`; *ret_next is where to look on. */
static int read_start(struct scan *scan, const struct sfs_device_section *section, uint64_t at,
                      uint64_t *ret_next)
{
    const char *bytes;
    int r = sfs_window_get(&scan->window, at, 8, &bytes, scan->err);
    if (r < 0)
        return r;
    if (!sfs_fatbin_is_magic(bytes))
        return read_bare(scan, at, section->offset + section->size, ret_next);
    uint64_t entries = scan->entries;
    r = read_container(scan, section, at, ret_next);
    if (r != -EBADMSG)
        return r;
    *ret_next = at + 8;
    return pass_over(scan, entries);
}

static int read_mixed(struct scan *scan, const struct sfs_device_section *section)
{
    uint64_t end = section->offset + section->size, at = section->offset;
    size_t first = scan->findings.piece_count;
    int r = 0;
    at += -section->address % 8; /* containers are aligned in memory */
    scan->has_false = false;
    while (at < end && r == 0) {
        r = find_start(scan, at, end, section->address - section->offset, &at);
        if (r == 0 && at < end)
            r = read_start(scan, section, at, &at);
        at += -(at - section->offset + section->address) % 8;
    }
    if (scan->has_false)
        drop_bare(scan, first);
    return r;
}

/* ---- wrappers ---- */

static int compare_addresses(const void *left, const void *right)
{
    uint64_t a = *(const uint64_t *)left, b = *(const uint64_t *)right;
    return (a > b) - (a < b);
}

/* What the program hands to the driver must be what was found here. */
static int check_wrappers(struct scan *scan)
{
    struct sfs_device_elf *elf = &scan->elf;
    int r = sfs_device_elf_read_wrappers(elf, &scan->window, scan->err);
    if (r < 0)
        return r;
    if (scan->start_count > 0)
        qsort(scan->starts, scan->start_count, sizeof *scan->starts, compare_addresses);
    for (size_t i = 0; i < elf->wrapper_count; i++)
        if (scan->start_count == 0 || !bsearch(&elf->wrappers[i], scan->starts, scan->start_count,
                                               sizeof *scan->starts, compare_addresses))
            return sfs_fail(scan->err, EBADMSG,
                            "it points to device code at address %#llx, where none was found",
                            (unsigned long long)elf->wrappers[i]);
    return 0;
}

static int read_sections(struct scan *scan)
{
    int r = 0;
    for (size_t i = 0; i < scan->elf.section_count && r == 0; i++) {
        const struct sfs_device_section *section = &scan->elf.sections[i];
        if (section->kind == SFS_DEVICE_TILED)
            r = read_tiled(scan, section);
        else if (section->kind == SFS_DEVICE_MIXED)
            r = read_mixed(scan, section);
        if (r == -EBADMSG)
            return sfs_fail_while(scan->err, r, "section %s", section->name);
    }
    return r;
}

int sfs_device_code_find(const struct sfs_device_source *source, struct sfs_findings *findings,
                         struct sfs_error *err)
{
    AUTO(scan_done) struct scan scan = { .window = { .source = source }, .err = err };
    int r = sfs_device_elf_read(&scan.elf, &scan.window, err);
    if (r == 0 && scan.elf.section_count > 0) {
        scan.decoder = sfs_fatbin_decoder_open();
        r = scan.decoder ? read_sections(&scan) : sfs_fail_memory(err);
        if (r == 0)
            r = check_wrappers(&scan);
    }
    if (r < 0)
        return r == -E2BIG ? -EBADMSG : r;
    findings->pieces = TAKE(scan.findings.pieces);
    findings->piece_count = scan.findings.piece_count;
    findings->piece_capacity = scan.findings.piece_capacity;
    return 0;
}
