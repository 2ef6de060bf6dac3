/* A library's sections, containers and entries. Two kinds of section are told apart. Those that
 * the compiler fills with containers alone must be understood to the last byte. In other sections
 * of such a library containers lie between something else: what begins like one, and is none, is
 * passed over. A container's entries are listed first, and count only once all of it was read. */
#include "slim/device_code.h"

#include "base/array.h"
#include "base/limits.h"
#include "slim/device_elf.h"
#include "slim/fatbin.h"
#include <errno.h>

#define MAX_FALSE 1024u /* things that begin like a container, a header that holds included */

struct found { /* an entry of the container that is being read */
    uint64_t offset;
    struct sfs_fatbin_entry entry;
    bool is_sure, goes;
};

struct scan {
    const struct sfs_gpu_rules *rules;
    struct sfs_device_plan plan;
    struct sfs_window window;
    struct sfs_fatbin_decoder *decoder;
    struct sfs_device_elf elf;
    struct found *found;
    size_t found_count, found_capacity;
    uint64_t *starts; /* addresses of containers, ascending but for sections out of order */
    size_t start_count, start_capacity;
    uint64_t entries; /* that were looked at, in vain or not */
    unsigned false_starts;
    struct sfs_error *err;
};

static void scan_done(struct scan *scan)
{
    sfs_device_plan_done(&scan->plan);
    sfs_window_done(&scan->window);
    sfs_fatbin_decoder_close(&scan->decoder);
    sfs_device_elf_done(&scan->elf);
    free(scan->found);
    free(scan->starts);
}

void sfs_device_plan_done(struct sfs_device_plan *plan)
{
    sfs_device_codes_done(&plan->codes);
    sfs_ranges_done(&plan->zeros);
}

void sfs_device_codes_done(struct sfs_device_codes *codes)
{
    free(codes->items);
    *codes = (struct sfs_device_codes){ 0 };
}

static int compare_codes(const struct sfs_device_code *a, const struct sfs_device_code *b)
{
    if (a->kind != b->kind)
        return a->kind < b->kind ? -1 : 1;
    if (a->arch != b->arch)
        return a->arch < b->arch ? -1 : 1;
    return a->feature - b->feature;
}

int sfs_device_codes_add(struct sfs_device_codes *codes, const struct sfs_device_code *code)
{
    size_t at = codes->count;
    while (at > 0 && compare_codes(&codes->items[at - 1], code) >= 0)
        at--;
    if (at == codes->count || compare_codes(&codes->items[at], code) != 0) {
        if (SFS_ARRAY_GROW(codes->items, codes->count, codes->capacity, 16) < 0)
            return -ENOMEM;
        memmove(&codes->items[at + 1], &codes->items[at],
                (codes->count++ - at) * sizeof *codes->items);
        codes->items[at] =
            (struct sfs_device_code){ code->kind, code->arch, code->feature, 0, 0, 0, 0 };
    }
    struct sfs_device_code *sum = &codes->items[at];
    sum->entries += code->entries;
    sum->bytes += code->bytes;
    sum->gone_entries += code->gone_entries;
    sum->gone_bytes += code->gone_bytes;
    return 0;
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

/* May it go, if the rules say so? Only what says itself that it is for the architecture that its
 * entry tells. */
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
    bool may_go = is_plain(entry, SFS_FATBIN_PTX)
                      ? scan->rules && scan->rules->ptx != SFS_PTX_ALL
                      : is_plain(entry, SFS_FATBIN_CUBIN) && scan->rules &&
                            !sfs_gpu_keeps_cubin(scan->rules, entry->code);
    if (may_go)
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

/* Decides what goes. PTX depends on what stands beside it. */
static void choose(struct scan *scan)
{
    struct sfs_gpu_choice choice = { 0 };
    for (size_t i = 0; i < scan->found_count; i++) {
        const struct sfs_fatbin_entry *entry = &scan->found[i].entry;
        if (is_plain(entry, SFS_FATBIN_CUBIN))
            sfs_gpu_choice_add_cubin(&choice, scan->rules, entry->code);
        else if (is_plain(entry, SFS_FATBIN_PTX))
            sfs_gpu_choice_add_ptx(&choice, scan->rules, entry->code);
    }
    for (size_t i = 0; i < scan->found_count; i++) {
        struct found *found = &scan->found[i];
        const struct sfs_fatbin_entry *entry = &found->entry;
        bool unwanted = is_plain(entry, SFS_FATBIN_CUBIN)
                            ? !sfs_gpu_keeps_cubin(scan->rules, entry->code)
                            : is_plain(entry, SFS_FATBIN_PTX) &&
                                  !sfs_gpu_keeps_ptx(&choice, scan->rules, entry->code);
        found->goes = unwanted && found->is_sure;
        scan->plan.doubtful += unwanted && !found->is_sure;
    }
}

static int settle_entry(struct sfs_device_plan *plan, const struct found *found)
{
    const struct sfs_fatbin_entry *entry = &found->entry;
    uint64_t payload = found->offset + entry->header_size, size = entry->payload_size;
    struct sfs_device_code code = {
        .kind = is_plain(entry, SFS_FATBIN_CUBIN) ? SFS_DEVICE_CUBIN
                : is_plain(entry, SFS_FATBIN_PTX) ? SFS_DEVICE_PTX
                                                  : SFS_DEVICE_OTHER,
        .arch = entry->code.arch,
        .feature = entry->code.feature,
        .entries = 1,
        .bytes = size,
        .gone_entries = found->goes,
        .gone_bytes = found->goes ? size : 0,
    };
    if (entry->kind == SFS_FATBIN_NOTHING)
        return 0;
    if (found->goes && (sfs_ranges_add(&plan->zeros, found->offset, sizeof(uint16_t)) < 0 ||
                        (size > 0 && sfs_ranges_add(&plan->zeros, payload, size) < 0)))
        return -ENOMEM;
    return sfs_device_codes_add(&plan->codes, &code);
}

/* What the container that was read comes to. */
static int settle(struct scan *scan, uint64_t address)
{
    if (scan->rules)
        choose(scan);
    for (size_t i = 0; i < scan->found_count; i++)
        if (settle_entry(&scan->plan, &scan->found[i]) < 0)
            return sfs_fail_memory(scan->err);
    if (SFS_ARRAY_GROW(scan->starts, scan->start_count, scan->start_capacity, 64) < 0)
        return sfs_fail_memory(scan->err);
    scan->starts[scan->start_count++] = address;
    return 0;
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

/* How far the next thing that begins like a container is, at a multiple of 8. */
static int find_start(struct scan *scan, uint64_t at, uint64_t end, uint64_t *ret_at)
{
    while (end - at >= SFS_FATBIN_CONTAINER) {
        const char *bytes;
        size_t part;
        int r = sfs_window_get_more(&scan->window, at, 8, &bytes, &part, scan->err);
        if (r < 0)
            return r;
        part = part < end - at ? part / 8 * 8 : (size_t)(end - at) / 8 * 8;
        for (size_t i = 0; i < part; i += 8)
            if (sfs_fatbin_is_magic(bytes + i)) {
                *ret_at = at + i;
                return 0;
            }
        at += part;
    }
    *ret_at = end;
    return 0;
}

static int read_mixed(struct scan *scan, const struct sfs_device_section *section)
{
    uint64_t end = section->offset + section->size, at = section->offset;
    at += -section->address % 8; /* containers are aligned in memory */
    while (at < end) {
        int r = find_start(scan, at, end, &at);
        if (r < 0 || at >= end)
            return r;
        uint64_t next;
        size_t before = scan->entries;
        r = read_container(scan, section, at, &next);
        if (r == -EBADMSG && scan->entries > before + 1 && ++scan->false_starts > MAX_FALSE)
            return sfs_fail(scan->err, EBADMSG,
                            "more than %u things in it begin like fat binaries, and are none",
                            MAX_FALSE);
        if (r < 0 && r != -EBADMSG)
            return r;
        at = r == 0 ? next : at + 8;
    }
    return 0;
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

int sfs_device_plan_make(const struct sfs_device_source *source, const struct sfs_gpu_rules *rules,
                         struct sfs_device_plan *ret_plan, struct sfs_error *err)
{
    AUTO(scan_done)
    struct scan scan = { .rules = rules, .window = { .source = source }, .err = err };
    int r = sfs_device_elf_read(&scan.elf, &scan.window, err);
    if (r == 0 && scan.elf.section_count > 0) {
        scan.decoder = sfs_fatbin_decoder_open();
        r = scan.decoder ? read_sections(&scan) : sfs_fail_memory(err);
        if (r == 0)
            r = check_wrappers(&scan);
    }
    if (r < 0)
        return r == -E2BIG ? -EBADMSG : r;
    sfs_ranges_merge(&scan.plan.zeros, 0);
    *ret_plan = scan.plan;
    scan.plan = (struct sfs_device_plan){ 0 };
    return 0;
}
