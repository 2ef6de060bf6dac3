/* What NVIDIA's driver does: a cubin runs on GPUs of the same major capability that are not older;
 * a cubin that runs goes before any PTX; and of PTX the highest that runs is compiled. */
#include "slim/gpu_arch.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define ARCH_MIN 20u
#define ARCH_MAX 999u

const char *sfs_ptx_policy_name(enum sfs_ptx_policy ptx)
{
    static const char *const names[] = {
        [SFS_PTX_NEEDED] = "needed", [SFS_PTX_NEWEST] = "newest", [SFS_PTX_ALL] = "all"
    };
    return names[ptx];
}

/* Reads one name, of `size` bytes. 0: it is none. */
static unsigned parse_name(const char *name, size_t size)
{
    unsigned arch = 0;
    size_t i = size > 3 && memcmp(name, "sm_", 3) == 0 ? 3 : 0, first = i, dot = 0;
    for (; i < size && i - first < 5; i++) {
        bool is_dot = name[i] == '.' && dot == 0 && first == 0 && i > 0;
        if (is_dot)
            dot = i;
        else if (name[i] >= '0' && name[i] <= '9')
            arch = 10 * arch + (unsigned)(name[i] - '0');
        else
            break;
    }
    if (dot > 0 && i != dot + 2)
        return 0;
    if (i < size && dot == 0 && (name[i] == 'a' || name[i] == 'f'))
        i++;
    return i == size && arch >= ARCH_MIN && arch <= ARCH_MAX ? arch : 0;
}

static int compare_numbers(const void *left, const void *right)
{
    unsigned a = *(const unsigned *)left, b = *(const unsigned *)right;
    return (a > b) - (a < b);
}

static void sort_gpus(struct sfs_gpu_rules *rules)
{
    size_t kept = 0;
    qsort(rules->gpus, rules->count, sizeof *rules->gpus, compare_numbers);
    for (size_t i = 0; i < rules->count; i++)
        if (kept == 0 || rules->gpus[kept - 1] != rules->gpus[i])
            rules->gpus[kept++] = rules->gpus[i];
    rules->count = kept;
}

int sfs_gpu_rules_parse(const char *text, enum sfs_ptx_policy ptx, struct sfs_gpu_rules *ret_rules,
                        struct sfs_error *err)
{
    struct sfs_gpu_rules rules = { .ptx = ptx };
    for (const char *at = text;; at++) {
        size_t size = strcspn(at, ",");
        unsigned gpu = parse_name(at, size);
        if (gpu == 0)
            return sfs_fail(err, EINVAL,
                            "'%.*s' is not a GPU's architecture: sm_90 is one of capability 9.0",
                            (int)(size < 64 ? size : 64), at);
        if (rules.count == SFS_GPU_MAX)
            return sfs_fail(err, EINVAL, "more than %u GPU architectures are named", SFS_GPU_MAX);
        rules.gpus[rules.count++] = gpu;
        at += size;
        if (!*at)
            break;
    }
    sort_gpus(&rules);
    *ret_rules = rules;
    return 0;
}

void sfs_gpu_rules_print(const struct sfs_gpu_rules *rules, struct sfs_buf *buf)
{
    for (size_t i = 0; i < rules->count; i++)
        sfs_buf_printf(buf, "%ssm_%u", i > 0 ? "," : "", rules->gpus[i]);
}

bool sfs_gpu_runs_cubin(unsigned gpu, struct sfs_gpu_code code)
{
    if (code.feature == 'a')
        return code.arch == gpu;
    return code.arch / 10 == gpu / 10 && code.arch <= gpu;
}

static bool is_jetson(unsigned arch)
{
    static const unsigned jetsons[] = { 53, 62, 72, 87, 88, 101, 110 };
    for (size_t i = 0; i < sizeof jetsons / sizeof *jetsons; i++)
        if (jetsons[i] == arch)
            return true;
    return false;
}

bool sfs_gpu_trusts_cubin(unsigned gpu, struct sfs_gpu_code code)
{
    return sfs_gpu_runs_cubin(gpu, code) && is_jetson(gpu) == is_jetson(code.arch);
}

bool sfs_gpu_runs_ptx(unsigned gpu, struct sfs_gpu_code code)
{
    return code.feature ? sfs_gpu_runs_cubin(gpu, code) : code.arch <= gpu;
}

bool sfs_gpu_keeps_cubin(const struct sfs_gpu_rules *rules, struct sfs_gpu_code code)
{
    for (size_t i = 0; i < rules->count; i++)
        if (sfs_gpu_runs_cubin(rules->gpus[i], code))
            return true;
    return false;
}

void sfs_gpu_choice_add_cubin(struct sfs_gpu_choice *choice, const struct sfs_gpu_rules *rules,
                              struct sfs_gpu_code code)
{
    for (size_t i = 0; i < rules->count; i++)
        choice->trusted[i] |= sfs_gpu_trusts_cubin(rules->gpus[i], code);
}

void sfs_gpu_choice_add_ptx(struct sfs_gpu_choice *choice, const struct sfs_gpu_rules *rules,
                            struct sfs_gpu_code code)
{
    for (size_t i = 0; i < rules->count; i++)
        if (sfs_gpu_runs_ptx(rules->gpus[i], code) && code.arch > choice->highest[i])
            choice->highest[i] = code.arch;
    if (code.arch > choice->newest)
        choice->newest = code.arch;
}

bool sfs_gpu_keeps_ptx(const struct sfs_gpu_choice *choice, const struct sfs_gpu_rules *rules,
                       struct sfs_gpu_code code)
{
    if (rules->ptx == SFS_PTX_ALL || (rules->ptx == SFS_PTX_NEWEST && code.arch == choice->newest))
        return true;
    for (size_t i = 0; i < rules->count; i++)
        if (!choice->trusted[i] && code.arch == choice->highest[i] &&
            sfs_gpu_runs_ptx(rules->gpus[i], code))
            return true;
    return false;
}
