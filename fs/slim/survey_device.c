/* Device code of all libraries, and what of it each GPU runs. */
#include "slim/survey_parts.h"

#include "base/warn.h"
#include "slim/device_plan.h"
#include <errno.h>
#include <stagefs/auto.h>

#define MAX_WARNINGS 10

struct device_search {
    struct sfs_survey *survey;
    uint64_t done, total; /* bytes of files that are looked into */
    unsigned warnings;
    struct sfs_error *err;
};

/* Names of libraries say what they are; what hides device code elsewhere is not looked for. */
static bool is_candidate(const struct sfs_survey_file *file)
{
    return (file->kind == SFS_KIND_SHARED_LIBRARY || file->kind == SFS_KIND_PROGRAM) &&
           file->bytes >= SFS_FINDINGS_FILE_MIN;
}

static int add_codes(struct device_search *search, const struct sfs_device_codes *codes,
                     bool is_base)
{
    int r = 0;
    for (size_t i = 0; r == 0 && i < codes->count; i++) {
        r = sfs_device_codes_add(&search->survey->codes, &codes->items[i]);
        if (r == 0 && !is_base)
            r = sfs_device_codes_add(&search->survey->own_codes, &codes->items[i]);
    }
    return r < 0 ? sfs_fail_memory(search->err) : 0;
}

static int look_into(struct device_search *search, const struct sfs_survey_file *file)
{
    const struct sfs_progress *progress = search->survey->progress;
    AUTO(sfs_device_codes_done) struct sfs_device_codes codes = { 0 };
    int r = sfs_device_codes_read(search->survey->tree, file->node, &codes, search->err);
    if (r == -EBADMSG && search->warnings++ < MAX_WARNINGS)
        sfs_fail_or_warn(NULL, progress, false, EBADMSG, "device code of /%s: %s", file->path,
                         search->err ? search->err->text : "not understood");
    search->done += file->bytes;
    if (progress && progress->report)
        progress->report(progress->user, "looking for device code", search->done, search->total);
    if (r < 0)
        return r == -EBADMSG ? 0 : r;
    return add_codes(search, &codes, file->is_base);
}

/* ---- what each GPU runs ---- */

/* PTX and code for linking may be needed by any: only machine code is told apart. */
static void count_for(struct sfs_survey_gpu *gpu, const struct sfs_device_codes *codes)
{
    for (size_t i = 0; i < codes->count; i++) {
        const struct sfs_device_code *code = &codes->items[i];
        if (code->kind != SFS_DEVICE_CUBIN)
            continue;
        uint64_t bytes = code->bytes - code->gone_bytes;
        if (sfs_gpu_runs_cubin(gpu->capability, (struct sfs_gpu_code){ code->arch, code->feature }))
            gpu->runs += bytes;
        else
            gpu->others += bytes;
    }
}

/* A GPU for each architecture that there is machine code for. */
static int list_gpus(struct sfs_survey *survey)
{
    survey->gpus = calloc(survey->codes.count + 1, sizeof *survey->gpus);
    if (!survey->gpus)
        return -ENOMEM;
    for (size_t i = 0; i < survey->codes.count; i++) {
        const struct sfs_device_code *code = &survey->codes.items[i];
        const struct sfs_survey_gpu *last =
            survey->gpu_count > 0 ? &survey->gpus[survey->gpu_count - 1] : NULL;
        if (code->kind != SFS_DEVICE_CUBIN || (last && last->capability == code->arch))
            continue;
        struct sfs_survey_gpu *gpu = &survey->gpus[survey->gpu_count++];
        gpu->capability = code->arch;
        count_for(gpu, &survey->own_codes);
    }
    return 0;
}

int sfs_survey_find_device_code(struct sfs_survey *survey, struct sfs_error *err)
{
    struct sfs_error words;
    struct device_search search = { .survey = survey, .err = err ? err : &words };
    for (size_t i = 0; i < survey->file_count; i++)
        search.total += is_candidate(&survey->files[i]) ? survey->files[i].bytes : 0;
    int r = 0;
    for (size_t i = 0; r == 0 && i < survey->file_count; i++)
        if (is_candidate(&survey->files[i]))
            r = look_into(&search, &survey->files[i]);
    if (r == 0 && list_gpus(survey) < 0)
        return sfs_fail_memory(err);
    return r;
}
