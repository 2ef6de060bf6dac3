/* Build contexts that are directories. The directory is listed once, as a layer; what the ignore
 * file leaves out, and who owns the files, is what a COPY of it all into an empty root makes of
 * them. */
#include "base/io.h"
#include "stage/evaluate.h"
#include "dockerfile/ignore.h"
#include "copy/pattern.h"

#include <errno.h>
#include <fcntl.h>

#define MAX_IGNORE (4u << 20) /* bytes */

/* Reads an ignore file. 1: done; 0: there is no such file. */
static int read_ignore(struct eval *eval, const char *path, struct sfs_vars *patterns)
{
    AUTO(sfs_free) char *text = NULL;
    size_t size = 0;
    /* Only a file that does not exist leaves nothing out; one that cannot be read is a failure,
     * since it may name what is secret. */
    if (access(path, F_OK) < 0)
        return errno == ENOENT || errno == ENOTDIR ? 0
                                                   : sfs_fail_errno(eval->err, errno, "%s", path);
    int r = sfs_io_read_regular(AT_FDCWD, path, MAX_IGNORE, &text, &size, eval->err);
    if (r < 0)
        return r;
    if (memchr(text, 0, size))
        return sfs_fail(eval->err, EINVAL, "%s: there is a NUL byte", path);
    if (sfs_ignore_parse(text, size, patterns) < 0)
        return sfs_fail_memory(eval->err);
    /* Compiled once here, so that messages about a wrong pattern name this file. */
    AUTO(sfs_patterns_close) struct sfs_patterns *compiled = NULL;
    r = sfs_patterns_open((const char *const *)patterns->items, patterns->count, &compiled,
                          eval->err);
    return r < 0 ? sfs_fail_while(eval->err, r, "%s", path) : 1;
}

static int find_ignore(struct eval *eval, const char *dir, const char *ignore,
                       struct sfs_vars *patterns)
{
    int r = ignore ? read_ignore(eval, ignore, patterns) : 0;
    if (r != 0)
        return r < 0 ? r : 0;
    AUTO(sfs_buf_close) struct sfs_buf path = { 0 };
    if (sfs_buf_printf(&path, "%s/.dockerignore", dir) < 0)
        return sfs_fail_memory(eval->err);
    r = read_ignore(eval, path.data, patterns);
    return r < 0 ? r : 0;
}

static int filter(struct eval *eval, const struct sfs_tree *all, const struct sfs_vars *patterns,
                  const char *label, struct eval_source *ret_source)
{
    static const char *const root = "/";
    struct sfs_stage *stage = eval->stage;
    const struct sfs_tree *nothing;
    int r = sfs_stage_add_tree(stage, NULL, 0, &nothing, eval->err);
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
    r = sfs_copy_layer(all, nothing, &copy, label, &layer, eval->err);
    ret_source->layer = layer;
    return r < 0 ? r : sfs_stage_add_layer_tree(stage, &layer, &ret_source->tree, eval->err);
}

/* Opens all that is in the directory. */
static int open_all(struct eval *eval, const char *path, const char *label,
                    const struct sfs_tree **ret_tree)
{
    AUTO(sfs_layer_close) struct sfs_layer *layer = NULL;
    int r = sfs_layer_open_dir(path, SFS_LAYER_DIR_STUBS, label, &layer, eval->err);
    if (r < 0)
        return r;
    const char *left_out = sfs_layer_dir_left_out(layer);
    if (left_out)
        r = sfs_eval_let_pass(eval, EINVAL, "%s: left out: %s", path, left_out);
    return r < 0 ? r : sfs_stage_add_layer_tree(eval->stage, &layer, ret_tree, eval->err);
}

static int open_directory(struct eval *eval, const char *path, const char *ignore,
                          struct eval_source *ret_source)
{
    AUTO(sfs_vars_close) struct sfs_vars patterns = { 0 };
    AUTO(sfs_buf_close) struct sfs_buf label = { 0 };
    const struct sfs_tree *all = NULL;
    int r = find_ignore(eval, path, ignore, &patterns);
    if (r < 0)
        return r;
    sfs_buf_printf(&label, "context %s", path);
    if (sfs_buf_check(&label, eval->err) < 0)
        return -ENOMEM;
    r = open_all(eval, path, label.data, &all);
    return r < 0 ? r : filter(eval, all, &patterns, label.data, ret_source);
}

int sfs_eval_open_directory(struct eval *eval, const char *path, const char *ignore,
                            struct eval_source *ret_source)
{
    for (size_t i = 0; i < eval->directory_count; i++)
        if (strcmp(eval->directories[i].path, path) == 0) {
            *ret_source = eval->directories[i].source;
            return 0;
        }
    struct eval_directory *grown =
        reallocarray(eval->directories, eval->directory_count + 1, sizeof *grown);
    if (!grown)
        return sfs_fail_memory(eval->err);
    eval->directories = grown;
    *ret_source = (struct eval_source){ 0 };
    int r = open_directory(eval, path, ignore, ret_source);
    if (r == 0)
        grown[eval->directory_count++] = (struct eval_directory){ path, *ret_source };
    return r;
}

int sfs_eval_open_main_context(struct eval *eval, const struct sfs_tree **ret_tree)
{
    const struct sfs_stage_spec *spec = eval->spec;
    AUTO(sfs_buf_close) struct sfs_buf ignore = { 0 };
    bool is_input = strcmp(spec->dockerfile, "-") == 0;
    if (!is_input && sfs_buf_printf(&ignore, "%s.dockerignore", spec->dockerfile) < 0)
        return sfs_fail_memory(eval->err);
    struct eval_source source;
    /* None given: the current directory, as for podman and buildah. */
    int r =
        sfs_eval_open_directory(eval, spec->context ? spec->context : ".", ignore.data, &source);
    if (r == 0)
        *ret_tree = source.tree;
    return r < 0 ? sfs_fail_while(eval->err, r, "the build context") : 0;
}
