/* One layer of a commit: its changes in order, through the pipe. */
#include "commit/commit_parts.h"

#include "commit/order.h"

static int order_changes(const struct commit *commit, const struct sfs_tree *tree,
                         struct sfs_changes *changes, struct sfs_error *err)
{
    const struct sfs_order order = { .tree = tree,
                                     .profile = &commit->profile,
                                     .is_estargz = commit->plan.contents == SFS_CONTENTS_ESTARGZ };
    return sfs_changes_order(changes, &order, err);
}

int sfs_commit_layer(struct commit *commit, const struct sfs_tree *tree,
                     struct sfs_changes *changes, const struct sfs_pipe_options *to,
                     struct sfs_layer_written *ret_written, struct sfs_error *err)
{
    const struct sfs_commit_options *options = commit->options;
    struct sfs_layer_write write = {
        .tree = tree,
        .changes = changes,
        .pipe = *to,
        .has_epoch = options->has_epoch,
        .epoch = options->epoch,
        .set_mtimes = options->set_mtimes,
        .progress = options->progress,
    };
    write.pipe.plan = commit->plan;
    write.pipe.threads = options->threads;
    int r = order_changes(commit, tree, changes, err);
    return r == 0 ? sfs_layer_write(&write, ret_written, err) : r;
}

void sfs_commit_count(struct commit *commit, const struct sfs_changes *changes)
{
    commit->result.entries = changes->count;
    commit->result.files = changes->files;
    commit->result.whiteouts = changes->whiteouts;
    commit->result.file_bytes = changes->file_bytes;
}
