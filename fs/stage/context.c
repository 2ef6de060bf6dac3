/* Build contexts that are directories. The directory is listed once, as a layer; what the ignore
 * file leaves out, and who owns the files, is what a COPY of it all into an empty root makes of
 * them. */
#include "base/io.h"
#include "stage/evaluate.h"
#include "stage/ignore.h"
#include "stage/pattern.h"

#include <errno.h>
#include <fcntl.h>

#define MAX_IGNORE (4u << 20) /* bytes */

/* 1: read, 0: there is no such file. */
static int read_ignore(struct build *build, const char *path, struct sfs_vars *patterns)
{
    AUTO(sfs_free) char *text = NULL;
    size_t size = 0;
    if (access(path, F_OK) < 0)
        return 0;
    int r = sfs_io_read_file(AT_FDCWD, path, MAX_IGNORE, &text, &size, build->err);
    if (r < 0)
        return r;
    return sfs_ignore_parse(text, size, patterns) < 0 ? build_out_of_memory(build) : 1;
}

static int find_ignore(struct build *build, const char *dir, const char *ignore,
                       struct sfs_vars *patterns)
{
    int r = ignore ? read_ignore(build, ignore, patterns) : 0;
    if (r != 0)
        return r < 0 ? r : 0;
    AUTO(sfs_buf_close) struct sfs_buf path = { 0 };
    if (sfs_buf_printf(&path, "%s/.dockerignore", dir) < 0)
        return build_out_of_memory(build);
    r = read_ignore(build, path.data, patterns);
    return r < 0 ? r : 0;
}

static int filter(struct build *build, const struct sfs_tree *all, const struct sfs_vars *patterns,
                  const char *label, struct build_source *ret_source)
{
    static const char *const root = "/";
    struct sfs_stage *stage = build->stage;
    const struct sfs_tree *nothing;
    int r = sfs_stage_add_tree(stage, NULL, 0, &nothing, build->err);
    if (r < 0)
        return r;
    const struct sfs_copy copy = {
        .sources = &root,
        .source_count = 1,
        .destination = "/",
        .reset_owner = true,
        .excludes = (const char *const *)patterns->items,
        .exclude_count = patterns->count,
        .epoch = stage->context.epoch,
    };
    struct sfs_layer *layer = NULL;
    r = sfs_copy_layer(all, nothing, &copy, label, &layer, build->err);
    ret_source->layer = layer;
    if (r == 0)
        r = sfs_stage_add_layer(stage, &layer, build->err);
    if (r == 0)
        r = sfs_stage_add_tree(stage, &ret_source->layer, 1, &ret_source->tree, build->err);
    return r;
}

static int open_directory(struct build *build, const char *path, const char *ignore,
                          struct build_source *ret_source)
{
    AUTO(sfs_vars_close) struct sfs_vars patterns = { 0 };
    AUTO(sfs_buf_close) struct sfs_buf label = { 0 };
    int r = find_ignore(build, path, ignore, &patterns);
    if (r == 0 && sfs_buf_printf(&label, "context %s", path) < 0)
        r = build_out_of_memory(build);
    struct sfs_layer *layer = NULL;
    if (r == 0)
        r = sfs_layer_open_dir(path, 0, label.data, &layer, build->err);
    struct sfs_layer *listed = layer;
    if (r == 0)
        r = sfs_stage_add_layer(build->stage, &layer, build->err);
    const struct sfs_tree *all = NULL;
    if (r == 0)
        r = sfs_stage_add_tree(build->stage, &listed, 1, &all, build->err);
    return r < 0 ? r : filter(build, all, &patterns, label.data, ret_source);
}

int build_open_directory(struct build *build, const char *path, const char *ignore,
                         struct build_source *ret_source)
{
    for (size_t i = 0; i < build->directory_count; i++)
        if (strcmp(build->directories[i].path, path) == 0) {
            *ret_source = build->directories[i].source;
            return 0;
        }
    struct build_directory *grown =
        reallocarray(build->directories, build->directory_count + 1, sizeof *grown);
    if (!grown)
        return build_out_of_memory(build);
    build->directories = grown;
    *ret_source = (struct build_source){ 0 };
    int r = open_directory(build, path, ignore, ret_source);
    if (r == 0)
        grown[build->directory_count++] = (struct build_directory){ path, *ret_source };
    return r;
}

int build_open_main_context(struct build *build, const struct sfs_tree **ret_tree)
{
    const struct sfs_stage_spec *spec = build->spec;
    AUTO(sfs_buf_close) struct sfs_buf ignore = { 0 };
    bool is_input = strcmp(spec->dockerfile, "-") == 0;
    if (!is_input && sfs_buf_printf(&ignore, "%s.dockerignore", spec->dockerfile) < 0)
        return build_out_of_memory(build);
    struct build_source source;
    /* None given: the current directory, as for podman and buildah. */
    int r = build_open_directory(build, spec->context ? spec->context : ".", ignore.data, &source);
    if (r == 0)
        *ret_tree = source.tree;
    return r < 0 ? sfs_fail_while(build->err, r, "the build context") : 0;
}
