#include "mount/server.h"

#include <errno.h>

/* Layers of all trees in one row, so that one array says which have been told of. */
static int count_layers(struct sfs_server *server, struct sfs_error *err)
{
    const struct sfs_forest *forest = &server->forest;
    server->first_layer = calloc(forest->count + 1, sizeof *server->first_layer);
    if (!server->first_layer)
        return sfs_fail(err, ENOMEM, "out of memory");
    for (size_t i = 0; i < forest->count; i++)
        server->first_layer[i + 1] = server->first_layer[i] + sfs_tree_layers(forest->trees[i]);
    server->warned = calloc(server->first_layer[forest->count] + 1, sizeof *server->warned);
    if (!server->warned)
        return sfs_fail(err, ENOMEM, "out of memory");
    return 0;
}

int sfs_server_open(const struct sfs_tree *const *trees, size_t count, bool numbered,
                    const struct sfs_mount_options *options, struct sfs_server **ret_server,
                    struct sfs_error *err)
{
    AUTO(sfs_server_close)
    struct sfs_server *server = aligned_alloc(_Alignof(struct sfs_server), sizeof *server);
    if (!server)
        return sfs_fail(err, ENOMEM, "out of memory");
    memset(server, 0, sizeof *server);
    server->options = options;
    sfs_stats_init(&server->stats);
    int r = sfs_forest_open(&server->forest, trees, count, numbered, err);
    if (r < 0)
        return r;
    r = count_layers(server, err);
    if (r < 0)
        return r;
    sfs_forest_scan_xattrs(&server->forest, &server->xattrs, &server->acls);
    *ret_server = TAKE(server);
    return 0;
}

void sfs_server_close(struct sfs_server **server)
{
    if (!*server)
        return;
    sfs_forest_done(&(*server)->forest);
    free((*server)->first_layer);
    free((*server)->warned);
    free(*server);
    *server = NULL;
}

void sfs_server_warn(struct sfs_server *server, const struct sfs_place *place,
                     const struct sfs_error *err)
{
    size_t layer;
    uint32_t inode;
    sfs_tree_origin(place->tree, place->node, &layer, &inode);
    atomic_fetch_add(&server->stats.read_errors, 1);
    if (atomic_exchange(&server->warned[server->first_layer[place->index] + layer], true))
        return;
    if (server->options->warn)
        server->options->warn(server->options->user, err->text);
}

int sfs_server_entry(const struct sfs_server *server, sfs_ino ino,
                     struct fuse_entry_param *ret_entry)
{
    memset(ret_entry, 0, sizeof *ret_entry);
    int r = sfs_forest_stat(&server->forest, ino, &ret_entry->attr);
    if (r < 0)
        return r;
    ret_entry->ino = ino;
    ret_entry->attr_timeout = ret_entry->entry_timeout = SFS_FOREVER;
    return 0;
}
