/* Narrowing a stage: what is kept of its names, what of its bytes, and the layer that is left. */
#include "slim/pick.h"
#include "slim/prune.h"
#include "slim/trim.h"
#include "stage/stage_private.h"

#include "base/banned.h"
#include <errno.h>
#include <stagefs/slim.h>

struct sfs_slim {
    const struct sfs_tree *full;   /* the stage's */
    struct sfs_trim *trim;         /* NULL: all names stay */
    const struct sfs_prune *prune; /* the stage's; NULL: libraries stay as they are */
};

void sfs_slim_close(struct sfs_slim **slim_ptr)
{
    struct sfs_slim *slim = TAKE(*slim_ptr);
    if (!slim)
        return;
    sfs_trim_close(&slim->trim);
    free(slim);
}

const struct sfs_tree *sfs_slim_full_tree(const struct sfs_slim *slim)
{
    return slim->full;
}

const struct sfs_device_codes *sfs_slim_device_codes(const struct sfs_slim *slim)
{
    static const struct sfs_device_codes none;
    return slim->prune ? sfs_prune_codes(slim->prune) : &none;
}

void sfs_slim_stripped(const struct sfs_slim *slim, uint64_t *ret_bytes, uint64_t *ret_files)
{
    *ret_bytes = *ret_files = 0;
    if (slim->prune)
        sfs_prune_stripped(slim->prune, ret_bytes, ret_files);
}

static const struct sfs_ranges *find_zeros(void *user, sfs_node node)
{
    const struct sfs_slim *slim = user;
    return slim->prune ? sfs_prune_zeros(slim->prune, node) : NULL;
}

const char *sfs_why_word(enum sfs_why why)
{
    static const char *const words[] = {
        [SFS_WHY_NOT] = "left out",    [SFS_WHY_BASE] = "base",
        [SFS_WHY_ALL] = "all",         [SFS_WHY_USED] = "used",
        [SFS_WHY_PATTERN] = "keep",    [SFS_WHY_PARENT] = "parent",
        [SFS_WHY_LINK] = "link",       [SFS_WHY_LIBRARY] = "library",
        [SFS_WHY_LOADED] = "loaded",   [SFS_WHY_PROGRAM] = "interpreter",
        [SFS_WHY_PYTHON] = "python",   [SFS_WHY_METADATA] = "metadata",
        [SFS_WHY_SYSTEM] = "system",   [SFS_WHY_LICENCE] = "licence",
        [SFS_WHY_PACKAGE] = "package", [SFS_WHY_DIRECTORY] = "directory",
        [SFS_WHY_CHANGED] = "changed",
    };
    _Static_assert(sizeof words / sizeof *words == SFS_WHY_COUNT, "each reason has a word");
    return words[why];
}

int sfs_slim_why(const struct sfs_slim *slim, const char *path, enum sfs_why *ret_why,
                 char **ret_cause)
{
    if (slim->trim)
        return sfs_trim_why(slim->trim, path, ret_why, ret_cause);
    sfs_node node;
    *ret_why = SFS_WHY_ALL;
    if (ret_cause)
        *ret_cause = NULL;
    return sfs_tree_resolve(slim->full, path, 0, &node, NULL) < 0 ? -ENOENT : 0;
}

static bool keeps(void *user, const char *path, sfs_node node)
{
    (void)node;
    const struct sfs_slim *slim = user;
    return !slim->trim || sfs_trim_keeps(slim->trim, path);
}

/* Says in the history what was left out, in the place of what an earlier narrowing said. */
static int note_trim(struct sfs_stage *stage, const struct sfs_slim *slim, struct sfs_error *err)
{
    AUTO(sfs_buf_close) struct sfs_buf text = { 0 };
    const char *old = stage->created_by ? stage->created_by : "";
    const char *end = strstr(old, " # trimmed to ");
    sfs_buf_add(&text, old, end ? (size_t)(end - old) : strlen(old));
    if (slim->trim)
        sfs_trim_words(slim->trim, &text);
    if (sfs_buf_check(&text, err) < 0)
        return -ENOMEM;
    free(stage->created_by);
    stage->created_by = TAKE(text.data);
    return 0;
}

/* What of the spec is about what is inside of libraries. */
static int read_rules(const struct sfs_slim_spec *spec, struct sfs_prune_rules *ret_rules,
                      struct sfs_error *err)
{
    *ret_rules = (struct sfs_prune_rules){ .has_gpus = spec->gpu_archs, .strip = spec->strip };
    int r = spec->gpu_archs ? sfs_gpu_rules_parse(spec->gpu_archs, spec->ptx, &ret_rules->gpus, err)
                            : 0;
    ret_rules->gpus.bare = spec->gpu_archs && spec->bare_cubins;
    return r;
}

int sfs_slim_open(struct sfs_stage *stage, const struct sfs_slim_spec *spec,
                  const struct sfs_progress *progress, struct sfs_slim **ret_slim,
                  struct sfs_error *err)
{
    AUTO(sfs_slim_close) struct sfs_slim *slim = calloc(1, sizeof *slim);
    if (!slim)
        return sfs_fail_memory(err);
    slim->full = stage->whole_tree ? stage->whole_tree : stage->tree;
    const struct sfs_pick pick = { .base = stage->base_tree,
                                   .tree = slim->full,
                                   .keeps = keeps,
                                   .zeros = find_zeros,
                                   .user = slim };
    AUTO(sfs_layer_close) struct sfs_layer *layer = NULL;
    struct sfs_prune_rules rules;
    int r = read_rules(spec, &rules, err);
    if (r == 0 && (spec->profile_count > 0 || spec->drop_count > 0))
        r = sfs_trim_open(stage, slim->full, spec, progress, &slim->trim, err);
    if (r == 0 && (rules.has_gpus || rules.strip))
        r = sfs_prune_stage(stage, &pick, &rules, progress, &slim->prune, err);
    if (r == 0)
        r = sfs_pick_layer(&pick, "the narrowed stage", &layer, err);
    if (r == 0)
        r = sfs_stage_narrow(stage, &layer, err);
    if (r == 0)
        r = note_trim(stage, slim, err);
    if (r == 0 && (rules.has_gpus || rules.strip))
        r = sfs_prune_record(&rules, stage, err);
    if (r == 0)
        *ret_slim = TAKE(slim);
    return r;
}
