/* What an image says of the GPUs that it was narrowed to: labels, which survive in whatever is
 * built on it, and history. And who asks for that: before a start, on a host with GPUs. */
#include "slim/prune.h"

#include "base/banned.h"
#include <dlfcn.h>
#include <errno.h>

#define LABEL       "io.stagefs.gpu-arch"
#define NO_GPU      "none" /* what base and stage were narrowed to has nothing in common */
#define LABEL_PTX   "io.stagefs.gpu-arch.ptx"
#define LABEL_RULES "io.stagefs.gpu-arch.rules"

const char *sfs_gpu_archs_of(const struct json_t *config)
{
    const json_t *labels = json_object_get(json_object_get(config, "config"), "Labels");
    return json_string_value(json_object_get(labels, LABEL));
}

bool sfs_gpu_arch_is_kept(const struct json_t *config, unsigned capability)
{
    struct sfs_gpu_rules kept;
    const char *text = sfs_gpu_archs_of(config);
    if (text && strcmp(text, NO_GPU) == 0)
        return false;
    if (!text || sfs_gpu_rules_parse(text, SFS_PTX_NEEDED, &kept, NULL) < 0)
        return true;
    for (size_t i = 0; i < kept.count; i++)
        if (kept.gpus[i] == capability)
            return true;
    return false;
}

static int set_label(json_t *labels, const char *name, const char *value)
{
    return json_object_set_new(labels, name, json_string(value));
}

static json_t *labels_of(json_t *config)
{
    json_t *settings = json_object_get(config, "config");
    json_t *labels = json_object_get(settings, "Labels");
    if (json_is_object(labels))
        return labels;
    labels = json_object();
    return json_object_set_new(settings, "Labels", labels) < 0 ? NULL : labels;
}

/* Adds the GPUs that the label will name: those of the rules that the base did not leave out. */
static void print_kept(const struct sfs_gpu_rules *rules, const json_t *config,
                       struct sfs_buf *text)
{
    struct sfs_gpu_rules kept = { 0 };
    for (size_t i = 0; i < rules->count; i++)
        if (sfs_gpu_arch_is_kept(config, rules->gpus[i]))
            kept.gpus[kept.count++] = rules->gpus[i];
    sfs_gpu_rules_print(&kept, text);
    if (kept.count == 0)
        sfs_buf_add_str(text, NO_GPU);
}

static int label_gpus(const struct sfs_gpu_rules *rules, struct sfs_stage *stage)
{
    AUTO(sfs_buf_close) struct sfs_buf kept = { 0 };
    print_kept(rules, stage->config, &kept);
    json_t *labels = labels_of(stage->config);
    return kept.failed || !labels || set_label(labels, LABEL, kept.data) < 0 ||
                   set_label(labels, LABEL_PTX, sfs_ptx_policy_name(rules->ptx)) < 0 ||
                   set_label(labels, LABEL_RULES, SFS_GPU_RULES) < 0
               ? -ENOMEM
               : 0;
}

/* " # stagefs: --gpu-arch sm_90 --ptx needed (rules 1) --strip" behind what made the layer. */
static void print_history(const struct sfs_prune_rules *rules, const struct sfs_stage *stage,
                          struct sfs_buf *text)
{
    sfs_buf_printf(text, "%s # stagefs:", stage->created_by);
    if (rules->has_gpus) {
        sfs_buf_add_str(text, " --gpu-arch ");
        sfs_gpu_rules_print(&rules->gpus, text);
        sfs_buf_printf(text, " --ptx %s%s (rules " SFS_GPU_RULES ")",
                       sfs_ptx_policy_name(rules->gpus.ptx),
                       rules->gpus.bare ? " --bare-cubins" : "");
    }
    if (rules->strip)
        sfs_buf_add_str(text, " --strip");
}

int sfs_prune_record(const struct sfs_prune_rules *rules, struct sfs_stage *stage,
                     struct sfs_error *err)
{
    AUTO(sfs_buf_close) struct sfs_buf text = { 0 };
    print_history(rules, stage, &text);
    if (sfs_buf_check(&text, err) < 0)
        return -ENOMEM;
    if (rules->has_gpus && label_gpus(&rules->gpus, stage) < 0)
        return sfs_fail_memory(err);
    free(stage->created_by);
    stage->created_by = TAKE(text.data);
    return 0;
}

/* ---- the machine's GPUs ---- */

/* NVML, the driver's library for management, unlike libcuda makes no context on any GPU. */
struct nvml {
    int (*init)(void);
    int (*shutdown)(void);
    int (*count)(unsigned *count);
    int (*device)(unsigned index, void **device);
    int (*capability)(void *device, int *major, int *minor);
};

static bool load(void *library, struct nvml *nvml)
{
    *(void **)&nvml->init = dlsym(library, "nvmlInit_v2");
    *(void **)&nvml->shutdown = dlsym(library, "nvmlShutdown");
    *(void **)&nvml->count = dlsym(library, "nvmlDeviceGetCount_v2");
    *(void **)&nvml->device = dlsym(library, "nvmlDeviceGetHandleByIndex_v2");
    *(void **)&nvml->capability = dlsym(library, "nvmlDeviceGetCudaComputeCapability");
    return nvml->init && nvml->shutdown && nvml->count && nvml->device && nvml->capability;
}

static size_t ask(const struct nvml *nvml, unsigned *capabilities, size_t max)
{
    unsigned count = 0;
    size_t known = 0;
    if (nvml->init() != 0)
        return 0;
    if (nvml->count(&count) != 0)
        count = 0;
    for (unsigned i = 0; i < count && known < max; i++) {
        void *device;
        int major, minor;
        if (nvml->device(i, &device) == 0 && nvml->capability(device, &major, &minor) == 0)
            capabilities[known++] = (unsigned)(10 * major + minor);
    }
    nvml->shutdown();
    return known;
}

size_t sfs_gpu_capabilities(unsigned *capabilities, size_t max)
{
    struct nvml nvml;
    void *library = dlopen("libnvidia-ml.so.1", RTLD_NOW | RTLD_LOCAL);
    if (!library)
        return 0;
    size_t count = load(library, &nvml) ? ask(&nvml, capabilities, max) : 0;
    dlclose(library);
    return count;
}
