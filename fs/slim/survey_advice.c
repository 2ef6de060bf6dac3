/* What may be left out. The patterns that count are those that the option hands to --drop, so that
 * the figure is what the option saves. What the base has cannot be left out, and is not counted. */
#include "slim/survey_parts.h"

#include "base/array.h"
#include "copy/pattern.h"
#include "slim/gpu_arch.h"
#include <errno.h>
#include <stagefs/auto.h>

#define MAX_GLOBS 5

struct drop_rule {
    const char *what;
    enum sfs_risk risk;
    const char *why;
    const char *globs[MAX_GLOBS];
};

static const struct drop_rule drop_rules[] = {
    { "caches of package managers",
      SFS_RISK_LOW,
      "Nothing but an installer reads them, and it fetches again what it lacks.",
      { "**/pkgs", "**/.cache", "var/cache", "var/lib/apt/lists", "**/.npm" } },
    { "static libraries",
      SFS_RISK_LOW,
      "Only a linker reads them: keep them where code is compiled at run time against them "
      "(libcudadevrt.a, libpython3.a).",
      { "**/*.a", "**/*.lib" } },
    { "headers",
      SFS_RISK_MEDIUM,
      "What compiles at run time needs them: torch.compile, Triton, nvrtc, CuPy, C++ extensions.",
      { "**/include", "**/*.h", "**/*.hpp", "**/*.cuh", "**/*.hh" } },
    { "files for building",
      SFS_RISK_LOW,
      "Only cmake, pkg-config and linkers read them.",
      { "**/*.cmake", "**/*.pc", "**/*.la", "**/*.o", "**/cmake" } },
    { "tests of packages",
      SFS_RISK_MEDIUM,
      "A few packages import their own tests: run the program once without them.",
      { "**/tests", "**/test" } },
    { "bytecode of Python",
      SFS_RISK_MEDIUM,
      "Python compiles each module anew at each start, which costs more time than this saves.",
      { "**/__pycache__", "**/*.pyc" } },
    { "documentation",
      SFS_RISK_LOW,
      "No program reads it, but licences may ask that their texts are passed on: keep "
      "'**/copyright' and '**/LICENSE*'.",
      { "**/share/doc", "**/share/man", "**/share/info", "**/share/gtk-doc", "**/man/man*" } },
    { "translations",
      SFS_RISK_LOW,
      "Programs speak English where they are missing.",
      { "**/share/locale", "**/*.mo" } },
    { "debug information",
      SFS_RISK_LOW,
      "Only debuggers and profilers read it.",
      { "**/lib/debug", "**/*.debug", "**/*.dwo", "**/*.dwp" } },
};

static int add_advice(struct sfs_survey *survey, const struct sfs_advice *advice)
{
    if (SFS_ARRAY_GROW(survey->advice, survey->advice_count, survey->advice_capacity, 16) < 0)
        return -ENOMEM;
    survey->advice[survey->advice_count++] = *advice;
    return 0;
}

static void count_file(struct sfs_advice *advice, const struct sfs_survey_file *file)
{
    advice->bytes += file->bytes;
    advice->files++;
}

/* Takes over `option`, which may be NULL for lack of memory; advice that saves nothing is none. */
static int settle(struct sfs_survey *survey, struct sfs_advice *advice, char *option)
{
    advice->option = option;
    if (option && advice->bytes > 0)
        return add_advice(survey, advice);
    free(option);
    return option ? 0 : -ENOMEM;
}

/* ---- by patterns ---- */

/* Which of the patterns match something. */
struct drop_count {
    struct sfs_advice advice;
    struct sfs_patterns *lists[MAX_GLOBS];
    bool used[MAX_GLOBS];
    size_t count;
};

static void drop_count_done(struct drop_count *drops)
{
    for (size_t i = 0; i < drops->count; i++)
        sfs_patterns_close(&drops->lists[i]);
}

static void count_match(struct drop_count *drops, const struct sfs_survey_file *file)
{
    bool counted = false;
    for (size_t i = 0; i < drops->count; i++)
        if (sfs_patterns_match(drops->lists[i], file->path) == 1) {
            drops->used[i] = true;
            if (!counted)
                count_file(&drops->advice, file);
            counted = true;
        }
}

static char *drop_option(const struct drop_rule *rule, const struct drop_count *drops)
{
    struct sfs_buf text = { 0 };
    for (size_t i = 0; i < drops->count; i++)
        if (drops->used[i])
            sfs_buf_printf(&text, "%s--drop '%s'", text.size ? " " : "", rule->globs[i]);
    if (text.size == 0)
        sfs_buf_add_str(&text, "");
    if (text.failed)
        sfs_buf_close(&text);
    return text.data;
}

static int advise_to_drop(struct sfs_survey *survey, const struct drop_rule *rule,
                          struct sfs_error *err)
{
    AUTO(drop_count_done)
    struct drop_count drops = { .advice = {
                                    .what = rule->what, .risk = rule->risk, .why = rule->why } };
    for (size_t i = 0; i < MAX_GLOBS && rule->globs[i]; i++) {
        int r = sfs_patterns_open(&rule->globs[i], 1, &drops.lists[i], err);
        if (r < 0)
            return r;
        drops.count++;
    }
    for (size_t i = 0; i < survey->file_count; i++)
        if (!survey->files[i].is_base)
            count_match(&drops, &survey->files[i]);
    int r = settle(survey, &drops.advice, drop_option(rule, &drops));
    return r < 0 ? sfs_fail_memory(err) : 0;
}

/* ---- by use ---- */

/* "--trim 'a profile'" for each. */
static char *trim_option(const struct sfs_survey_spec *spec, const char *end)
{
    struct sfs_buf text = { 0 };
    for (size_t i = 0; i < spec->profile_count; i++) {
        sfs_buf_printf(&text, "%s--trim '", text.size ? " " : "");
        for (const char *c = spec->profiles[i]; *c; c++)
            sfs_buf_printf(&text, *c == '\'' ? "'\\''" : "%c", *c);
        sfs_buf_add_str(&text, "'");
    }
    sfs_buf_add_str(&text, end);
    if (text.failed)
        sfs_buf_close(&text);
    return text.data;
}

static bool is_used(const struct sfs_survey_file *file)
{
    return file->use >= SFS_OPENED;
}

static int advise_files(struct sfs_survey *survey, const struct sfs_survey_spec *spec)
{
    struct sfs_advice advice = {
        .what = "files that the profile does not open",
        .risk = SFS_RISK_HIGH,
        .why = "At most this: what used files need stays. Another input may open others: let "
               "--check run all that the image is for.",
    };
    for (size_t i = 0; i < survey->file_count; i++)
        if (!survey->files[i].is_base && !is_used(&survey->files[i]))
            count_file(&advice, &survey->files[i]);
    return settle(survey, &advice, trim_option(spec, ""));
}

static int advise_packages(struct sfs_survey *survey, const struct sfs_survey_spec *spec)
{
    struct sfs_advice advice = {
        .what = "packages of which the profile opens no file",
        .risk = SFS_RISK_MEDIUM,
        .why = "At most this: packages that used ones need stay. What the traced program can do "
               "besides keeps its own packages.",
    };
    AUTO(sfs_free)
    bool *used = calloc(sfs_packages_count(survey->packages) + 1, sizeof *used);
    if (!used)
        return -ENOMEM;
    for (size_t i = 0; i < survey->file_count; i++)
        if (survey->files[i].owner != SFS_NO_OWNER && is_used(&survey->files[i]))
            used[survey->files[i].owner] = true;
    for (size_t i = 0; i < survey->file_count; i++) {
        const struct sfs_survey_file *file = &survey->files[i];
        if (!file->is_base && file->owner != SFS_NO_OWNER && !used[file->owner])
            count_file(&advice, file);
    }
    return settle(survey, &advice, trim_option(spec, " --policy package"));
}

/* ---- duplicates ---- */

static int advise_duplicates(struct sfs_survey *survey)
{
    struct sfs_advice advice = {
        .what = "copies of files that are there already",
        .risk = SFS_RISK_MEDIUM,
        .why = "No option does it: leave out one of the packages that bring them, or make the "
               "copies links in the stage that builds them.",
    };
    for (uint32_t i = 0; i < survey->same_count; i++) {
        const struct sfs_survey_same *same = &survey->same[i];
        uint32_t own = 0;
        for (uint32_t k = 0; k < same->count; k++)
            own += !survey->files[same->files[k]].is_base;
        uint32_t spare = own == same->count ? own - 1 : own;
        advice.bytes += same->bytes * spare;
        advice.files += spare;
    }
    return settle(survey, &advice, strdup(""));
}

static int advise_symbols(struct sfs_survey *survey)
{
    struct sfs_advice advice = {
        .what = "symbols and debug information in libraries",
        .risk = SFS_RISK_LOW,
        .why = "Debuggers and profilers then know no names, and checksums of packages no longer "
               "hold for these files.",
        .bytes = survey->symbols.bytes,
        .files = survey->symbols.files,
    };
    return settle(survey, &advice, strdup("--strip"));
}

/* ---- device code ---- */

/* The GPU of this machine, or else that which most of the code is for. */
static const struct sfs_survey_gpu *choose_gpu(const struct sfs_survey *survey, bool *ret_is_here)
{
    const struct sfs_survey_gpu *best = NULL;
    unsigned here;
    *ret_is_here = survey->gpu_count > 0 && sfs_gpu_capabilities(&here, 1) > 0;
    for (size_t i = 0; i < survey->gpu_count; i++) {
        const struct sfs_survey_gpu *gpu = &survey->gpus[i];
        if (*ret_is_here && gpu->capability == here)
            return gpu;
        if (!best || gpu->runs > best->runs)
            best = gpu;
    }
    *ret_is_here = false;
    return best;
}

static int advise_device_code(struct sfs_survey *survey)
{
    bool is_here;
    const struct sfs_survey_gpu *gpu = choose_gpu(survey, &is_here);
    if (!gpu)
        return 0;
    struct sfs_advice advice = {
        .what = "device code of other GPUs",
        .risk = SFS_RISK_HIGH,
        .why = is_here ? "At least this: PTX that is needed no more comes on top. On other GPUs "
                         "than the one here (and what runs its code) kernels fail."
                       : "Name the GPUs that you have: this is one, of which there is most. At "
                         "least this: PTX that is needed no more comes on top. On others kernels "
                         "fail.",
        .bytes = gpu->others,
    };
    return settle(survey, &advice, sfs_format("--gpu-arch sm_%u", gpu->capability));
}

/* What of it no fat binary holds has an option of its own. */
static int advise_bare_cubins(struct sfs_survey *survey)
{
    bool is_here;
    const struct sfs_survey_gpu *gpu = choose_gpu(survey, &is_here);
    struct sfs_advice advice = {
        .what = "device code of other GPUs without a fat binary around it",
        .risk = SFS_RISK_HIGH,
        .why = "It is found by a library's own table, which nobody documents: run all that the "
               "image is for once without it. On other GPUs kernels fail.",
    };
    for (size_t i = 0; gpu && i < survey->own_codes.count; i++) {
        const struct sfs_device_code *code = &survey->own_codes.items[i];
        if (code->kind == SFS_DEVICE_BARE &&
            !sfs_gpu_runs_cubin(gpu->capability, (struct sfs_gpu_code){ code->arch, 0 }))
            advice.bytes += code->bytes;
    }
    if (advice.bytes == 0)
        return 0;
    return settle(survey, &advice, sfs_format("--gpu-arch sm_%u --bare-cubins", gpu->capability));
}

static int compare_advice(const void *left, const void *right)
{
    const struct sfs_advice *a = left, *b = right;
    if (a->bytes != b->bytes)
        return a->bytes > b->bytes ? -1 : 1;
    return strcmp(a->what, b->what);
}

int sfs_survey_advise(struct sfs_survey *survey, const struct sfs_survey_spec *spec,
                      struct sfs_error *err)
{
    for (size_t i = 0; i < sizeof drop_rules / sizeof *drop_rules; i++) {
        int r = advise_to_drop(survey, &drop_rules[i], err);
        if (r < 0)
            return r;
    }
    if (advise_duplicates(survey) < 0 || advise_device_code(survey) < 0 ||
        advise_bare_cubins(survey) < 0 || advise_symbols(survey) < 0 ||
        (survey->has_profile &&
         (advise_files(survey, spec) < 0 || advise_packages(survey, spec) < 0)))
        return sfs_fail_memory(err);
    if (survey->advice_count > 0)
        qsort(survey->advice, survey->advice_count, sizeof *survey->advice, compare_advice);
    return 0;
}
