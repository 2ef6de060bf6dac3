/* From what was found in a library to the bytes of it that go. PTX depends on what stands beside
 * it, so one fat binary is decided on after the other. */
#include "slim/device_plan.h"

#include "base/array.h"
#include "slim/fatbin.h"
#include <errno.h>
#include <stagefs/auto.h>

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

/* ---- pieces ---- */

static bool is_plain(const struct sfs_device_piece *piece, enum sfs_fatbin_kind kind)
{
    return piece->kind == kind && !(piece->flags & (SFS_PIECE_OBFUSCATED | SFS_PIECE_BARE));
}

static struct sfs_gpu_code code_of(const struct sfs_device_piece *piece)
{
    return (struct sfs_gpu_code){ piece->arch, (char)piece->feature };
}

/* Is it nothing that any of the GPUs runs? `choice` is of the piece's container. */
static bool is_unwanted(const struct sfs_device_piece *piece, const struct sfs_gpu_rules *rules,
                        const struct sfs_gpu_choice *choice)
{
    if (piece->flags & SFS_PIECE_BARE)
        return rules->bare && !sfs_gpu_keeps_cubin(rules, code_of(piece));
    if (is_plain(piece, SFS_FATBIN_CUBIN))
        return !sfs_gpu_keeps_cubin(rules, code_of(piece));
    return is_plain(piece, SFS_FATBIN_PTX) && !sfs_gpu_keeps_ptx(choice, rules, code_of(piece));
}

static int settle_piece(struct sfs_device_plan *plan, const struct sfs_device_piece *piece,
                        bool goes)
{
    uint64_t payload = piece->offset + piece->header_size, size = piece->payload_size;
    struct sfs_device_code code = {
        .kind = piece->flags & SFS_PIECE_BARE       ? SFS_DEVICE_BARE
                : is_plain(piece, SFS_FATBIN_CUBIN) ? SFS_DEVICE_CUBIN
                : is_plain(piece, SFS_FATBIN_PTX)   ? SFS_DEVICE_PTX
                                                    : SFS_DEVICE_OTHER,
        .arch = piece->arch,
        .feature = (char)piece->feature,
        .entries = 1,
        .bytes = size,
        .gone_entries = goes,
        .gone_bytes = goes ? size : 0,
    };
    if (goes && piece->header_size > 0 &&
        sfs_ranges_add(&plan->zeros, piece->offset, sizeof(uint16_t)) < 0)
        return -ENOMEM;
    if (goes && size > 0 && sfs_ranges_add(&plan->zeros, payload, size) < 0)
        return -ENOMEM;
    return sfs_device_codes_add(&plan->codes, &code);
}

/* Decides on the pieces of one container. */
static int settle_container(struct sfs_device_plan *plan, const struct sfs_device_piece *pieces,
                            size_t count, const struct sfs_gpu_rules *rules)
{
    struct sfs_gpu_choice choice = { 0 };
    for (size_t i = 0; rules && i < count; i++) {
        if (is_plain(&pieces[i], SFS_FATBIN_CUBIN))
            sfs_gpu_choice_add_cubin(&choice, rules, code_of(&pieces[i]));
        else if (is_plain(&pieces[i], SFS_FATBIN_PTX))
            sfs_gpu_choice_add_ptx(&choice, rules, code_of(&pieces[i]));
    }
    for (size_t i = 0; i < count; i++) {
        bool unwanted = rules && is_unwanted(&pieces[i], rules, &choice);
        bool goes = unwanted && pieces[i].flags & SFS_PIECE_SURE;
        plan->doubtful += unwanted && !goes;
        if (settle_piece(plan, &pieces[i], goes) < 0)
            return -ENOMEM;
    }
    return 0;
}

int sfs_device_plan_make(const struct sfs_findings *findings, const struct sfs_gpu_rules *rules,
                         struct sfs_device_plan *ret_plan, struct sfs_error *err)
{
    AUTO(sfs_device_plan_done) struct sfs_device_plan plan = { 0 };
    for (size_t i = 0, end; i < findings->piece_count; i = end) {
        const struct sfs_device_piece *first = &findings->pieces[i];
        for (end = i + 1; end < findings->piece_count; end++)
            if (findings->pieces[end].container != first->container)
                break;
        if (settle_container(&plan, first, end - i, rules) < 0)
            return sfs_fail_memory(err);
    }
    sfs_ranges_merge(&plan.zeros, 0);
    *ret_plan = plan;
    plan = (struct sfs_device_plan){ 0 };
    return 0;
}
