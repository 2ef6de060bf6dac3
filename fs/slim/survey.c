/* One walk makes the list of files; the parts add what they know. */
#include "slim/survey_parts.h"

#include "base/array.h"
#include "tree/profile.h"
#include "tree/tree_inner.h"
#include <errno.h>
#include <stagefs/auto.h>
#include <sys/stat.h>

#define MAX_READ_DEFAULT  (2ull << 30)
#define MAX_HOLES_COUNTED 100000u /* of one file; behind them its bytes count as data */

void sfs_survey_close(struct sfs_survey **survey_ptr)
{
    struct sfs_survey *survey = TAKE(*survey_ptr);
    if (!survey)
        return;
    for (size_t i = 0; i < survey->advice_count; i++)
        free(survey->advice[i].option);
    free(survey->advice);
    sfs_device_codes_done(&survey->codes);
    sfs_device_codes_done(&survey->own_codes);
    free(survey->gpus);
    free(survey->same);
    free(survey->same_files);
    free(survey->files);
    sfs_buf_close(&survey->paths);
    sfs_packages_close(&survey->packages);
    free(survey);
}

/* ---- the list of files ---- */

struct survey_walk {
    struct sfs_survey *survey;
    uint32_t *places;      /* by node: 1 + its place among the files */
    struct sfs_buf prefix; /* "/" and the path, as rules about kinds want it */
    struct sfs_error *err;
};

static void survey_walk_done(struct survey_walk *walk)
{
    free(walk->places);
    sfs_buf_close(&walk->prefix);
}

static uint64_t data_bytes(const struct sfs_tree *tree, sfs_node node, uint64_t size)
{
    uint64_t data = 0, start, end;
    unsigned holes = 0;
    for (uint64_t at = 0; at < size; at = end) {
        if (holes++ == MAX_HOLES_COUNTED)
            return data + (size - at);
        if (sfs_tree_seek(tree, node, at, false, &start) < 0 || start >= size)
            break;
        if (sfs_tree_seek(tree, node, start, true, &end) < 0 || end <= start)
            end = size;
        data += end - start;
    }
    return data;
}

static int add_file(struct survey_walk *walk, const char *path, sfs_node node,
                    const struct sfs_attr *attr, enum sfs_file_kind kind)
{
    struct sfs_survey *survey = walk->survey;
    size_t layer = 0;
    uint32_t inode;
    if (survey->file_count == UINT32_MAX - 1 ||
        SFS_ARRAY_GROW(survey->files, survey->file_count, survey->file_capacity, 4096) < 0 ||
        sfs_buf_add(&survey->paths, path, strlen(path) + 1) < 0)
        return sfs_fail_memory(walk->err);
    sfs_tree_origin(survey->tree, node, &layer, &inode);
    survey->files[survey->file_count++] = (struct sfs_survey_file){
        .node = node,
        .bytes = S_ISREG(attr->mode) ? data_bytes(survey->tree, node, attr->size) : 0,
        .owner = sfs_packages_owner(survey->packages, node),
        .layer = (uint16_t)layer,
        .kind = (uint8_t)kind,
        .is_base = layer < survey->base_layers,
    };
    walk->places[node] = (uint32_t)survey->file_count;
    return 0;
}

/* A hard link counts where it is met first; but what conda linked out of its cache is no cache. */
static int visit_file(void *user, const char *path, sfs_node node)
{
    struct survey_walk *walk = user;
    struct sfs_survey *survey = walk->survey;
    struct sfs_attr attr;
    sfs_tree_attr(survey->tree, node, &attr);
    if (S_ISDIR(attr.mode)) {
        survey->directories++;
        return 0;
    }
    walk->prefix.size = 0;
    sfs_buf_add(&walk->prefix, "/", 1);
    if (sfs_buf_add_str(&walk->prefix, path) < 0)
        return sfs_fail_memory(walk->err);
    enum sfs_file_kind kind = sfs_file_kind_of(walk->prefix.data, attr.mode);
    if (walk->places[node] > 0) {
        struct sfs_survey_file *before = &survey->files[walk->places[node] - 1];
        if (before->kind != SFS_KIND_CACHE || kind == SFS_KIND_CACHE)
            return 0;
        before->node = UINT32_MAX;
    }
    return add_file(walk, path, node, &attr, kind);
}

/* Takes out the files that were met again elsewhere, and gives each its path. */
static void settle_files(struct sfs_survey *survey)
{
    const char *path = survey->paths.data;
    size_t count = 0;
    for (size_t i = 0; i < survey->file_count; i++) {
        survey->files[i].path = path;
        path += strlen(path) + 1;
        if (survey->files[i].node != UINT32_MAX)
            survey->files[count++] = survey->files[i];
    }
    survey->file_count = count;
}

static int list_files(struct sfs_survey *survey, struct sfs_error *err)
{
    AUTO(survey_walk_done)
    struct survey_walk walk = {
        .survey = survey,
        .places = calloc(sfs_tree_count(survey->tree), sizeof *walk.places),
        .err = err,
    };
    if (!walk.places)
        return sfs_fail_memory(err);
    int r = sfs_tree_walk(survey->tree, SFS_ROOT, visit_file, &walk, err);
    if (r == 0)
        settle_files(survey);
    return r;
}

/* ---- what profiles used ---- */

struct survey_uses { /* by node */
    uint8_t *kinds;  /* enum sfs_survey_use */
    struct sfs_ranges *ranges;
    uint32_t count;
};

static void survey_uses_done(struct survey_uses *uses)
{
    for (uint32_t i = 0; uses->ranges && i < uses->count; i++)
        sfs_ranges_done(&uses->ranges[i]);
    free(uses->ranges);
    free(uses->kinds);
}

const char *sfs_survey_use_words(enum sfs_survey_use use)
{
    static const char *const words[] = { "not touched", "looked up only", "opened", "read" };
    return words[use];
}

static enum sfs_survey_use use_of(enum sfs_use_kind kind)
{
    if (kind == SFS_USE_READ)
        return SFS_READ;
    if (kind == SFS_USE_OPEN)
        return SFS_OPENED;
    return kind == SFS_USE_NONE ? SFS_UNTOUCHED : SFS_LOOKED_UP;
}

static int mark_use(const struct sfs_tree *tree, struct survey_uses *uses,
                    const struct sfs_use *use)
{
    sfs_node node;
    if (sfs_tree_resolve(tree, use->path, 0, &node, NULL) < 0)
        return 0; /* it is of another tree, or was left out */
    enum sfs_survey_use kind = use_of(use->kind);
    if (kind > uses->kinds[node])
        uses->kinds[node] = (uint8_t)kind;
    int r = 0;
    for (size_t i = 0; r == 0 && i < use->ranges.count; i++)
        r = sfs_ranges_add(&uses->ranges[node], use->ranges.items[i].offset,
                           use->ranges.items[i].size);
    return r;
}

static uint64_t count_touched(struct sfs_ranges *ranges, uint64_t size)
{
    uint64_t sum = 0;
    sfs_ranges_merge(ranges, 0);
    for (size_t i = 0; i < ranges->count; i++)
        if (ranges->items[i].offset < size) {
            uint64_t left = size - ranges->items[i].offset;
            sum += ranges->items[i].size < left ? ranges->items[i].size : left;
        }
    return sum;
}

int sfs_survey_mark_uses(struct sfs_survey *survey, const struct sfs_survey_spec *spec,
                         struct sfs_error *err)
{
    AUTO(sfs_profile_done) struct sfs_profile profile = { 0 };
    uint32_t count = sfs_tree_count(survey->tree);
    AUTO(survey_uses_done)
    struct survey_uses uses = {
        .kinds = calloc(count, sizeof *uses.kinds),
        .ranges = calloc(count, sizeof *uses.ranges),
        .count = count,
    };
    if (!uses.kinds || !uses.ranges)
        return sfs_fail_memory(err);
    for (size_t i = 0; i < spec->profile_count; i++) {
        int r = sfs_profile_read(&profile, spec->profiles[i], err);
        if (r < 0)
            return r;
    }
    for (size_t i = 0; i < profile.count; i++)
        if (mark_use(survey->tree, &uses, &profile.uses[i]) < 0)
            return sfs_fail_memory(err);
    for (size_t i = 0; i < survey->file_count; i++) {
        struct sfs_survey_file *file = &survey->files[i];
        file->use = uses.kinds[file->node];
        file->touched = count_touched(&uses.ranges[file->node], file->bytes);
    }
    return 0;
}

/* ---- the whole ---- */

static int survey_all(struct sfs_survey *survey, const struct sfs_survey_spec *spec,
                      struct sfs_error *err)
{
    int r = sfs_packages_open(survey->tree, survey->progress, &survey->packages, err);
    if (r == 0)
        r = list_files(survey, err);
    if (r == 0 && survey->has_profile)
        r = sfs_survey_mark_uses(survey, spec, err);
    if (r == 0)
        r = sfs_survey_find_same(survey, spec->max_read ? spec->max_read : MAX_READ_DEFAULT, err);
    if (r == 0)
        r = sfs_survey_find_device_code(survey, err);
    if (r == 0)
        r = sfs_survey_find_symbols(survey, err);
    return r == 0 ? sfs_survey_advise(survey, spec, err) : r;
}

int sfs_survey_tree(const struct sfs_tree *tree, size_t base_layers,
                    const struct sfs_survey_spec *spec, const struct sfs_progress *progress,
                    struct sfs_survey **ret_survey, struct sfs_error *err)
{
    AUTO(sfs_survey_close) struct sfs_survey *survey = calloc(1, sizeof *survey);
    if (!survey)
        return sfs_fail_memory(err);
    survey->tree = tree;
    survey->base_layers = base_layers;
    survey->progress = progress;
    survey->has_profile = spec->profile_count > 0;
    int r = survey_all(survey, spec, err);
    if (r == 0)
        *ret_survey = TAKE(survey);
    return r;
}

int sfs_survey_open(const struct sfs_stage *stage, const struct sfs_survey_spec *spec,
                    const struct sfs_progress *progress, struct sfs_survey **ret_survey,
                    struct sfs_error *err)
{
    return sfs_survey_tree(sfs_stage_tree(stage), sfs_tree_layers(sfs_stage_base_tree(stage)), spec,
                           progress, ret_survey, err);
}

/* ---- what it found ---- */

const struct sfs_survey_file *sfs_survey_files(const struct sfs_survey *survey, uint32_t *ret_count)
{
    *ret_count = (uint32_t)survey->file_count;
    return survey->files;
}

uint32_t sfs_survey_directories(const struct sfs_survey *survey)
{
    return survey->directories;
}

bool sfs_survey_has_profile(const struct sfs_survey *survey)
{
    return survey->has_profile;
}

uint32_t sfs_survey_owner_count(const struct sfs_survey *survey)
{
    return sfs_packages_count(survey->packages);
}

struct sfs_survey_owner sfs_survey_owner(const struct sfs_survey *survey, uint32_t i)
{
    const struct sfs_package *package = sfs_packages_get(survey->packages, i);
    return (struct sfs_survey_owner){ sfs_package_kind_words(package->kind), package->name,
                                      package->version };
}

const struct sfs_survey_same *sfs_survey_same(const struct sfs_survey *survey, uint32_t *ret_count)
{
    *ret_count = survey->same_count;
    return survey->same;
}

const struct sfs_survey_search *sfs_survey_search(const struct sfs_survey *survey)
{
    return &survey->search;
}

const struct sfs_device_codes *sfs_survey_device_codes(const struct sfs_survey *survey)
{
    return &survey->codes;
}

const struct sfs_survey_gpu *sfs_survey_gpus(const struct sfs_survey *survey, size_t *ret_count)
{
    *ret_count = survey->gpu_count;
    return survey->gpus;
}

const struct sfs_advice *sfs_survey_advice(const struct sfs_survey *survey, size_t *ret_count)
{
    *ret_count = survey->advice_count;
    return survey->advice;
}
