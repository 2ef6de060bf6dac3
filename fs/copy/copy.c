/* COPY: prepares what the options say, then does to a draft of the destination, source by source,
 * what BuildKit does to a directory. */
#include "copy/copy.h"

#include "base/warn.h"
#include "base/banned.h"
#include "copy/copy_layer.h"
#include "copy/copy_source.h"
#include "copy/copy_walk.h"
#include "base/path.h"
#include <errno.h>
#include <stdarg.h>
#include <sys/stat.h>

struct copy_request {
    const struct sfs_copy *copy;
    const struct sfs_tree *source, *destination; /* destination NULL: --link */
    struct draft draft;
    struct copy_rules rules;
    struct sfs_chmod *chmod;
    struct sfs_patterns *excludes;
    char *target;                 /* absolute and clean */
    bool target_is_dir;           /* it was written with a slash behind it */
    struct draft_node *last_file; /* the last file that was put under exactly the target's name */
    uint64_t copied;              /* how many names were put */
    struct sfs_error *err;
};

static void job_done(struct copy_request *job)
{
    sfs_draft_done(&job->draft);
    sfs_chmod_close(&job->chmod);
    sfs_patterns_close(&job->excludes);
    free(job->target);
}

static int prepare_owner(struct copy_request *job)
{
    struct sfs_owner owner = { 0 };
    job->rules.has_owner = job->copy->chown || job->copy->reset_owner;
    if (!job->copy->chown)
        return 0;
    int r = sfs_owner_parse(job->copy->chown, job->destination, &owner, job->err);
    if (r < 0)
        return sfs_fail_while(job->err, r, "--chown=%s", job->copy->chown);
    job->rules.uid = owner.uid;
    job->rules.gid = owner.gid;
    if (owner.missing)
        return sfs_fail_or_warn(job->err, job->copy->progress, job->copy->strict, EINVAL,
                                "--chown=%s: the destination does not know '%s'; using %u:%u",
                                job->copy->chown, owner.missing_name, owner.uid, owner.gid);
    return 0;
}

static int prepare_patterns(struct copy_request *job)
{
    const struct sfs_copy *copy = job->copy;
    if (copy->exclude_count == 0)
        return 0;
    int r = sfs_patterns_open(copy->excludes, copy->exclude_count, &job->excludes, job->err);
    job->rules.excludes = job->excludes;
    return r < 0 ? sfs_fail_while(job->err, r, "--exclude") : 0;
}

/* Finds the target. "" and "." are the working directory itself; a slash, or "/.", behind the path
 * says that it is a directory. */
static int prepare_target(struct copy_request *job)
{
    const char *text = job->copy->destination;
    if (strcmp(text, "") == 0 || strcmp(text, ".") == 0)
        text = "./";
    size_t size = strlen(text);
    job->target_is_dir = text[size - 1] == '/' || (size > 1 && strcmp(text + size - 2, "/.") == 0);
    job->target = sfs_path_join(job->copy->workdir ? job->copy->workdir : "/", text);
    return job->target ? 0 : sfs_fail_memory(job->err);
}

static int prepare(struct copy_request *job)
{
    const struct sfs_copy *copy = job->copy;
    sfs_draft_init(&job->draft, job->source, job->destination);
    job->rules = (struct copy_rules){
        .draft = &job->draft,
        .source = job->source,
        .epoch = copy->epoch,
        .copied = &job->copied,
    };
    if (copy->chmod) {
        int r = sfs_chmod_open(copy->chmod, &job->chmod, job->err);
        if (r < 0)
            return r;
        job->rules.chmod = job->chmod;
    }
    int r = prepare_owner(job);
    if (r == 0)
        r = prepare_patterns(job);
    return r < 0 ? r : prepare_target(job);
}

/* Makes the directory that has to be there whatever is copied. */
static int make_way(struct copy_request *job)
{
    const char *slash = strrchr(job->target, '/');
    AUTO(sfs_free)
    char *path = job->target_is_dir ? strdup(job->target)
                                    : strndup(job->target, (size_t)(slash - job->target));
    if (!path)
        return sfs_fail_memory(job->err);
    AUTO(sfs_draft_place_done) struct draft_place place = { 0 };
    int r = sfs_draft_resolve(&job->draft, path, &place, job->err);
    return r < 0 ? r : sfs_copy_make_dirs(&job->rules, &place, 0, job->err);
}

static int place_directory(struct copy_request *job, const struct copy_hit *hit,
                           struct draft_place *place)
{
    if (place->rest.size == 0 && !sfs_draft_is_dir(&job->draft, place->node))
        return sfs_fail(job->err, ENOTDIR, "cannot copy to non-directory: %s", job->target);
    int r = sfs_copy_make_dirs(&job->rules, place, 0, job->err);
    return r < 0 ? r : sfs_copy_directory(&job->rules, hit->node, place->node, job->err);
}

static int note_overwritten(struct copy_request *job, struct draft_node *dir, const char *name)
{
    struct draft_node *node;
    if (sfs_draft_find(&job->draft, dir, name, strlen(name), &node) < 0)
        return sfs_fail_memory(job->err);
    if (node == job->last_file)
        return sfs_fail_or_warn(
            job->err, job->copy->progress, job->copy->strict, EINVAL,
            "several sources become the one file %s, and the last one stays; end the "
            "destination with a slash to copy into a directory",
            job->target);
    job->last_file = node;
    return 0;
}

static int place_file(struct copy_request *job, const struct copy_hit *hit,
                      struct draft_place *place)
{
    if (job->excludes && sfs_patterns_match(job->excludes, hit->base) > 0) {
        int r =
            sfs_fail_or_warn(job->err, job->copy->progress, job->copy->strict, EINVAL,
                             "--exclude does not apply to \"%s\": it is no directory", hit->path);
        if (r < 0)
            return r;
    }
    if (place->rest.size == 0 && sfs_draft_is_dir(&job->draft, place->node))
        return sfs_copy_file(&job->rules, hit->node, place->node, hit->base, job->err);
    struct draft_node *dir = place->node->parent;
    const char *name = place->node->name;
    int r = 0;
    if (place->rest.size > 0) {
        r = sfs_copy_make_dirs(&job->rules, place, 1, job->err);
        dir = place->node;
        name = place->rest.data;
    }
    if (r == 0)
        r = sfs_copy_file(&job->rules, hit->node, dir, name, job->err);
    return r < 0 ? r : note_overwritten(job, dir, name);
}

static int copy_hit(struct copy_request *job, const struct copy_hit *hit)
{
    int r = make_way(job);
    if (r < 0)
        return r;
    AUTO(sfs_draft_place_done) struct draft_place place = { 0 };
    r = sfs_draft_resolve(&job->draft, job->target, &place, job->err);
    if (r < 0)
        return r;
    struct sfs_attr attr;
    sfs_tree_attr(job->source, hit->node, &attr);
    return S_ISDIR(attr.mode) ? place_directory(job, hit, &place) : place_file(job, hit, &place);
}

static int copy_hits(struct copy_request *job, const char *path)
{
    AUTO(sfs_copy_hits_done) struct copy_hits hits = { 0 };
    int r = sfs_copy_hits_find(job->source, path, &hits, job->err);
    if (r == 0 && hits.is_malformed)
        r = sfs_fail_or_warn(job->err, job->copy->progress, job->copy->strict, EINVAL,
                             "\"%s\" is malformed and matches nothing", path);
    else if (r == 0 && hits.count == 0)
        r = sfs_fail_or_warn(job->err, job->copy->progress, job->copy->strict, ENOENT,
                             "\"%s\" matches nothing", path);
    for (size_t i = 0; r == 0 && i < hits.count; i++)
        r = copy_hit(job, &hits.items[i]);
    return r;
}

/* Fails if what --parents names without a wildcard does not exist. */
static int require_path(struct copy_request *job, const char *root, const char *pattern)
{
    sfs_node node;
    if (sfs_pattern_is_wild(root) || sfs_pattern_is_wild(pattern))
        return 0;
    AUTO(sfs_free) char *path = sfs_path_join(root, *pattern == '/' ? pattern + 1 : pattern);
    if (!path)
        return sfs_fail_memory(job->err);
    int r = sfs_tree_resolve(job->source, path, 0, &node, NULL);
    return r < 0 ? sfs_fail(job->err, -r, "\"%s\": not found", path) : 0;
}

/* --parents: left of the first "/./" is where the walk begins, right of it what is taken. */
static int copy_with_parents(struct copy_request *job, const char *text)
{
    const char *pivot = strstr(text, "/./");
    AUTO(sfs_free) char *left = pivot ? strndup(text, (size_t)(pivot - text)) : strdup("/");
    AUTO(sfs_free) char *root = left ? sfs_path_join("/", left) : NULL;
    AUTO(sfs_free) char *pattern = sfs_path_join("/", pivot ? pivot + 3 : text);
    if (!root || !pattern)
        return sfs_fail_memory(job->err);
    int r = require_path(job, root, pattern);
    if (r < 0)
        return r;
    const char *line = pattern + 1;
    AUTO(sfs_patterns_close) struct sfs_patterns *includes = NULL;
    r = sfs_patterns_open(&line, 1, &includes, job->err);
    if (r < 0)
        return sfs_fail_while(job->err, r, "--parents");
    job->rules.includes = includes;
    uint64_t before = job->copied;
    r = copy_hits(job, root);
    job->rules.includes = NULL;
    if (r == 0 && job->copied == before)
        r = sfs_fail_or_warn(job->err, job->copy->progress, job->copy->strict, ENOENT,
                             "\"%s\" matches nothing", text);
    return r;
}

static int copy_source(struct copy_request *job, const char *text)
{
    if (job->copy->parents)
        return copy_with_parents(job, text);
    AUTO(sfs_free) char *path = sfs_path_join("/", text);
    return path ? copy_hits(job, path) : sfs_fail_memory(job->err);
}

int sfs_copy_layer(const struct sfs_tree *source, const struct sfs_tree *destination,
                   const struct sfs_copy *copy, const char *label, struct sfs_layer **ret_layer,
                   struct sfs_error *err)
{
    /* As in BuildKit, --chmod turns --link off. */
    bool link = copy->link && !copy->chmod;
    AUTO(job_done)
    struct copy_request job = {
        .copy = copy, .source = source, .destination = link ? NULL : destination, .err = err
    };
    int r = prepare(&job);
    for (size_t i = 0; r == 0 && i < copy->source_count; i++)
        r = copy_source(&job, copy->sources[i]);
    return r < 0 ? r : sfs_copy_layer_open(&job.draft, label, ret_layer, err);
}
