/* What is no image: the layer alone, as a tar, and the whole tree as files. */
#include "commit/commit_parts.h"

#include "base/temp_dir.h"
#include "commit/extract.h"
#include <dirent.h>
#include <errno.h>

int sfs_commit_write_tar(struct commit *commit, struct sfs_error *err)
{
    const struct sfs_commit_options *options = commit->options;
    const struct sfs_tree *tree = sfs_stage_tree(commit->stage);
    const struct sfs_pipe_options to = { .fd = options->dry_run ? -1 : options->fd,
                                         .name = "the layer" };
    AUTO(sfs_changes_done) struct sfs_changes changes = { 0 };
    struct sfs_layer_written written;
    int r = sfs_changes_find(commit->base, tree, &changes, err);
    if (r < 0)
        return r;
    sfs_commit_count(commit, &changes);
    r = sfs_commit_layer(commit, tree, &changes, &to, &written, err);
    if (r < 0)
        return r;
    sfs_json_close(&written.annotations);
    commit->result.layer = written.pipe.out_digest;
    commit->result.diff_id = written.pipe.in_digest;
    commit->result.layer_size = written.pipe.out_size;
    commit->result.tar_size = written.pipe.in_size;
    commit->result.copied = written.copied;
    return 0;
}

static int extract_to(struct commit *commit, const struct sfs_changes *changes,
                      struct sfs_error *err)
{
    const struct sfs_commit_options *options = commit->options;
    const char *path = commit->destination.path;
    AUTO(sfs_temp_dir_close) struct sfs_temp_dir temp = { .fd = -1, .parent = -1 };
    AUTO(sfs_free) char *parent = sfs_parent_of(path);
    if (!parent)
        return sfs_fail_memory(err);
    int r = sfs_io_make_dirs(parent, err);
    if (r == 0)
        r = sfs_temp_dir_open(&temp, parent, err);
    const struct sfs_extract extract = { .tree = sfs_stage_tree(commit->stage),
                                         .changes = changes,
                                         .fd = temp.fd,
                                         .has_epoch = options->has_epoch,
                                         .set_mtimes = options->set_mtimes,
                                         .epoch = options->epoch,
                                         .progress = options->progress };
    if (r == 0)
        r = sfs_extract(&extract, err);
    return r == 0 ? sfs_temp_dir_commit(&temp, path, err) : r;
}

/* Fails if the directory is not empty. */
static int check_is_empty(const char *path, struct sfs_error *err)
{
    DIR *stream = opendir(path);
    if (!stream)
        return errno == ENOENT ? 0 : sfs_fail_errno(err, errno, "%s", path);
    const struct dirent *entry;
    bool empty = true;
    while (empty && (entry = readdir(stream)))
        empty = strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0;
    closedir(stream);
    return empty ? 0 : sfs_fail(err, EEXIST, "%s is not empty", path);
}

int sfs_commit_write_files(struct commit *commit, struct sfs_error *err)
{
    AUTO(sfs_changes_done) struct sfs_changes changes = { 0 };
    int r = check_is_empty(commit->destination.path, err);
    if (r == 0)
        r = sfs_changes_find(commit->nothing, sfs_stage_tree(commit->stage), &changes, err);
    if (r < 0)
        return r;
    sfs_commit_count(commit, &changes);
    return commit->options->dry_run ? 0 : extract_to(commit, &changes, err);
}
