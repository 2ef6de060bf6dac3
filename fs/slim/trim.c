/* In this order: what is dropped cannot be kept; profiles and --keep keep; policies add; the
 * closure adds what all of that needs. */
#include "slim/trim.h"

#include "base/banned.h"
#include "base/warn.h"
#include "copy/pattern.h"
#include "slim/closure.h"
#include "slim/closure_python.h"
#include "slim/whole_packages.h"
#include "tree/nodes.h"
#include "tree/profile.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

struct sfs_trim {
    struct sfs_kept kept;
    char **profiles, **keeps; /* what causes are, each list ended by NULL; owned */
};

struct trimming {
    struct sfs_trim *trim;
    const struct sfs_slim_spec *spec;
    const struct sfs_progress *progress;
    struct sfs_packages *packages;
    struct sfs_error *err;
};

static void free_texts(char **texts)
{
    for (size_t i = 0; texts && texts[i]; i++)
        free(texts[i]);
    free(texts);
}

void sfs_trim_close(struct sfs_trim **trim_ptr)
{
    struct sfs_trim *trim = TAKE(*trim_ptr);
    if (!trim)
        return;
    sfs_kept_done(&trim->kept);
    free_texts(trim->profiles);
    free_texts(trim->keeps);
    free(trim);
}

static char **copy_texts(const char *const *texts, size_t count)
{
    char **copies = calloc(count + 1, sizeof *copies);
    for (size_t i = 0; copies && i < count; i++)
        if (!(copies[i] = strdup(texts[i]))) {
            free_texts(copies);
            return NULL;
        }
    return copies;
}

/* ---- globs ---- */

struct globs {
    const char *option; /* "keep" */
    const char *const *items;
    size_t count;
    struct sfs_patterns *patterns;
    uint8_t *rows;  /* by name, one byte a glob: does it match? */
    bool *has_been; /* by glob: did it match anything? */
};

static void globs_done(struct globs *globs)
{
    sfs_patterns_close(&globs->patterns);
    free(globs->rows);
    free(globs->has_been);
}

static int compile_globs(struct globs *globs, const struct sfs_kept *kept, struct sfs_error *err)
{
    AUTO(sfs_free) const char **lines = calloc(globs->count + 1, sizeof *lines);
    globs->rows = calloc(kept->count + 1, globs->count);
    globs->has_been = calloc(globs->count, sizeof *globs->has_been);
    if (!lines || !globs->rows || !globs->has_been)
        return sfs_fail_memory(err);
    for (size_t i = 0; i < globs->count; i++) {
        lines[i] = globs->items[i] + strspn(globs->items[i], "/");
        if (!*lines[i] && globs->items[i][0] == '/')
            lines[i] = "**"; /* the root */
    }
    int r = sfs_patterns_open(lines, globs->count, &globs->patterns, err);
    if (r == 0 && sfs_patterns_count(globs->patterns) != globs->count)
        r = sfs_fail(err, EINVAL, "an empty glob");
    return r < 0 ? sfs_fail_while(err, r, "--%s", globs->option) : 0;
}

/* Finds what the globs match, and calls `take` with the first glob that does. Names of a directory
 * stand behind the directory's, so each finds its directory's row made. */
static int match_globs(struct globs *globs, struct sfs_kept *kept,
                       void (*take)(struct sfs_kept *kept, sfs_name name, uint32_t glob),
                       struct sfs_error *err)
{
    AUTO(sfs_buf_close) struct sfs_buf path = { 0 };
    for (sfs_name name = 0; name < kept->count; name++) {
        sfs_name dir = kept->dir_names[kept->names[name].dir];
        const uint8_t *above = dir == SFS_NO_NAME ? NULL : globs->rows + dir * globs->count;
        uint8_t *row = globs->rows + name * globs->count;
        path.size = 0;
        if (sfs_kept_path(kept, name, &path) < 0)
            return sfs_fail_memory(err);
        int r = sfs_patterns_match_below(globs->patterns, path.data + 1, above, row);
        if (r < 0)
            return sfs_fail(err, EINVAL, "--%s: a range in a glob runs backwards", globs->option);
        size_t first = globs->count;
        for (size_t i = globs->count; i-- > 0;)
            if (row[i]) {
                globs->has_been[i] = true;
                first = i;
            }
        if (r > 0 && first < globs->count)
            take(kept, name, (uint32_t)first);
    }
    return 0;
}

static int apply_globs(struct trimming *trimming, const char *option, const char *const *items,
                       size_t count,
                       void (*take)(struct sfs_kept *kept, sfs_name name, uint32_t glob))
{
    AUTO(globs_done) struct globs globs = { .option = option, .items = items, .count = count };
    if (count == 0)
        return 0;
    int r = compile_globs(&globs, &trimming->trim->kept, trimming->err);
    if (r == 0)
        r = match_globs(&globs, &trimming->trim->kept, take, trimming->err);
    for (size_t i = 0; r == 0 && i < count; i++)
        if (!globs.has_been[i] && items[i][0] != '!')
            sfs_fail_or_warn(NULL, trimming->progress, false, ENOENT,
                             "--%s %s matches nothing in the stage", option, items[i]);
    return r;
}

static void drop_name(struct sfs_kept *kept, sfs_name name, uint32_t glob)
{
    (void)glob;
    kept->names[name].is_dropped = true;
}

static void keep_name(struct sfs_kept *kept, sfs_name name, uint32_t glob)
{
    sfs_kept_add(kept, name, SFS_WHY_PATTERN, glob);
}

/* ---- profiles ---- */

/* A symlink that leads out of the stage (/etc/mtab into /proc) is kept by itself. */
static int add_use(struct sfs_kept *kept, const struct sfs_use *use, uint32_t profile)
{
    int r = -ENOENT;
    if (use->kind != SFS_USE_LINK)
        r = sfs_kept_add_path(kept, SFS_ROOT, use->path, SFS_RESOLVE_FOLLOW, SFS_WHY_USED, profile);
    return r == 0 ? 0 : sfs_kept_add_path(kept, SFS_ROOT, use->path, 0, SFS_WHY_USED, profile);
}

static int add_profile(struct trimming *trimming, uint32_t which)
{
    struct sfs_kept *kept = &trimming->trim->kept;
    const char *file = trimming->spec->profiles[which], *first = NULL;
    AUTO(sfs_profile_done) struct sfs_profile profile = { 0 };
    int r = sfs_profile_read(&profile, file, trimming->err);
    size_t count = 0, lacking = 0, files = 0;
    for (size_t i = 0; r == 0 && i < profile.count; i++) {
        const struct sfs_use *use = &profile.uses[i];
        if (use->kind == SFS_USE_NONE)
            continue;
        count++;
        if (add_use(kept, use, which) < 0) {
            first = lacking++ == 0 ? use->path : first;
        } else if (kept->last != SFS_NO_NAME && !S_ISDIR(sfs_kept_mode(kept, kept->last))) {
            files++;
            kept->names[kept->last].is_opened |= use->kind >= SFS_USE_OPEN;
        }
    }
    if (r < 0)
        return r;
    if (kept->failed)
        return sfs_fail_memory(trimming->err);
    if (files == 0)
        return sfs_fail(trimming->err, ENOENT,
                        "%s: none of the %zu paths that it uses is a file of the stage", file,
                        count);
    if (lacking > 0)
        sfs_fail_or_warn(NULL, trimming->progress, false, ENOENT,
                         "%s: %zu of the %zu paths that it uses %s not in the stage (the first is "
                         "%s)",
                         file, lacking, count, lacking == 1 ? "is" : "are", first);
    return 0;
}

/* ---- policies ---- */

/* Keeps the files beside each file that was used. The work list grows behind what is looked at. */
static void add_directories(struct sfs_kept *kept)
{
    for (uint32_t i = 0, used = kept->kept_count; i < used; i++) {
        sfs_name name = kept->queue[i];
        uint32_t count;
        const struct sfs_dirent *entries;
        if (!sfs_kept_is_used_file(kept, name))
            continue;
        entries = sfs_tree_list(kept->tree, kept->names[name].dir, &count);
        for (uint32_t j = 0; j < count; j++)
            if (!sfs_node_is_dir(kept->tree, entries[j].node))
                sfs_kept_add(kept, sfs_kept_place(kept, &entries[j]), SFS_WHY_DIRECTORY, name);
    }
}

/* ---- the whole ---- */

/* What an upgrade on top of the base replaced must not come back. */
static void keep_changed(struct sfs_kept *kept)
{
    for (sfs_name name = 0; name < kept->count; name++)
        if (kept->names[name].is_changed)
            sfs_kept_add(kept, name, SFS_WHY_CHANGED, SFS_NO_NAME);
}

static void keep_all(struct sfs_kept *kept)
{
    for (sfs_name name = 0; name < kept->count; name++)
        sfs_kept_add(kept, name, SFS_WHY_ALL, SFS_NO_NAME);
}

static int keep_used(struct trimming *trimming, const json_t *config)
{
    const struct sfs_slim_spec *spec = trimming->spec;
    struct sfs_kept *kept = &trimming->trim->kept;
    int r = 0;
    for (size_t i = 0; r == 0 && i < spec->profile_count; i++)
        r = add_profile(trimming, (uint32_t)i);
    if (r == 0)
        r = apply_globs(trimming, "keep", spec->keeps, spec->keep_count, keep_name);
    if (r == 0)
        r = sfs_packages_open(kept->tree, trimming->progress, &trimming->packages, trimming->err);
    if (r == 0 && spec->policy == SFS_TRIM_PACKAGE)
        r = sfs_whole_packages_keep(kept, trimming->packages, spec->gpu_archs != NULL,
                                    trimming->err);
    if (r == 0 && spec->policy == SFS_TRIM_PACKAGE)
        sfs_python_keep_libraries(kept);
    if (r == 0 && spec->policy == SFS_TRIM_DIRECTORY)
        add_directories(kept);
    keep_changed(kept);
    return r < 0 ? r
                 : sfs_closure_run(kept, config, trimming->packages, trimming->progress,
                                   trimming->err);
}

static void trimming_done(struct trimming *trimming)
{
    sfs_packages_close(&trimming->packages);
    sfs_trim_close(&trimming->trim);
}

int sfs_trim_open(const struct sfs_stage *stage, const struct sfs_tree *full,
                  const struct sfs_slim_spec *spec, const struct sfs_progress *progress,
                  struct sfs_trim **ret_trim, struct sfs_error *err)
{
    AUTO(trimming_done)
    struct trimming trimming = {
        .trim = calloc(1, sizeof *trimming.trim), .spec = spec, .progress = progress, .err = err
    };
    struct sfs_trim *trim = trimming.trim;
    if (!trim || !(trim->profiles = copy_texts(spec->profiles, spec->profile_count)) ||
        !(trim->keeps = copy_texts(spec->keeps, spec->keep_count)))
        return sfs_fail_memory(err);
    int r = sfs_kept_open(&trim->kept, stage->base_tree, full, err);
    if (r == 0)
        r = apply_globs(&trimming, "drop", spec->drops, spec->drop_count, drop_name);
    if (r == 0 && spec->profile_count > 0)
        r = keep_used(&trimming, stage->config);
    else if (r == 0)
        keep_all(&trim->kept);
    if (r == 0 && trim->kept.failed)
        r = sfs_fail_memory(err);
    if (r == 0)
        *ret_trim = TAKE(trimming.trim);
    return r;
}

bool sfs_trim_keeps(const struct sfs_trim *trim, const char *path)
{
    sfs_name name = sfs_kept_find(&trim->kept, path);
    return name == SFS_NO_NAME || trim->kept.names[name].reason != SFS_WHY_NOT;
}

/* ---- telling ---- */

static char *cause_text(const struct sfs_trim *trim, const struct sfs_kept_name *at)
{
    AUTO(sfs_buf_close) struct sfs_buf path = { 0 };
    if (at->reason == SFS_WHY_USED)
        return strdup(trim->profiles[at->cause]);
    if (at->reason == SFS_WHY_PATTERN)
        return strdup(trim->keeps[at->cause]);
    return sfs_kept_path(&trim->kept, at->cause, &path) < 0 ? NULL : TAKE(path.data);
}

int sfs_trim_why(const struct sfs_trim *trim, const char *path, enum sfs_why *ret_why,
                 char **ret_cause)
{
    sfs_name name = sfs_kept_find(&trim->kept, path);
    bool is_root = path[strspn(path, "/")] == 0;
    if (name == SFS_NO_NAME && !is_root)
        return -ENOENT;
    const struct sfs_kept_name *at = is_root ? NULL : &trim->kept.names[name];
    *ret_why = !at || !at->is_own ? SFS_WHY_BASE : (enum sfs_why)at->reason;
    if (!ret_cause)
        return 0;
    *ret_cause = NULL;
    bool has_cause = at && at->is_own && at->reason != SFS_WHY_NOT && at->reason != SFS_WHY_ALL &&
                     (at->reason == SFS_WHY_USED || at->cause != SFS_NO_NAME);
    if (has_cause)
        *ret_cause = cause_text(trim, at);
    return has_cause && !*ret_cause ? -ENOMEM : 0;
}

int sfs_trim_words(const struct sfs_trim *trim, struct sfs_buf *words)
{
    const struct sfs_kept *kept = &trim->kept;
    uint32_t files = 0, stay = 0;
    for (sfs_name name = 0; name < kept->count; name++)
        if (kept->names[name].is_own && !S_ISDIR(sfs_kept_mode(kept, name))) {
            files++;
            stay += kept->names[name].reason != SFS_WHY_NOT;
        }
    return sfs_buf_printf(words, " # trimmed to %u of %u files", stay, files);
}
