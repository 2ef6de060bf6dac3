/* Depth first, with a stack on the heap: hostile images nest deeply. */
#include "tree/nodes.h"

#include "base/buf.h"
#include "base/array.h"

struct walk_frame {
    const struct sfs_dirent *at, *end; /* names still to visit */
    size_t path_size;                  /* of the directory they are in */
};

struct tree_walk {
    const struct sfs_tree *tree;
    struct walk_frame *frames;
    size_t depth, capacity;
    struct sfs_buf path;
};

static void walk_done(struct tree_walk *walk)
{
    free(walk->frames);
    sfs_buf_close(&walk->path);
}

static int enter(struct tree_walk *walk, sfs_node dir)
{
    if (SFS_ARRAY_GROW(walk->frames, walk->depth, walk->capacity, 32) < 0)
        return -ENOMEM;
    uint32_t count;
    const struct sfs_dirent *names = sfs_tree_list(walk->tree, dir, &count);
    walk->frames[walk->depth++] =
        (struct walk_frame){ names, count ? names + count : names, walk->path.size };
    return 0;
}

/* Visits what is below the directories that were entered. */
static int visit_below(struct tree_walk *walk,
                       int (*visit)(void *user, const char *path, sfs_node node), void *user,
                       bool *ret_stopped)
{
    while (walk->depth > 0) {
        struct walk_frame *frame = &walk->frames[walk->depth - 1];
        if (frame->at == frame->end) {
            walk->depth--;
            continue;
        }
        const struct sfs_dirent *dirent = frame->at++;
        walk->path.size = frame->path_size;
        if ((frame->path_size > 0 && sfs_buf_add(&walk->path, "/", 1) < 0) ||
            sfs_buf_add(&walk->path, dirent->name, dirent->name_size) < 0)
            return -ENOMEM;
        int r = visit(user, walk->path.data, dirent->node);
        *ret_stopped = r < 0;
        if (r < 0)
            return r;
        if (r == 0 && sfs_node_is_dir(walk->tree, dirent->node) && enter(walk, dirent->node) < 0)
            return -ENOMEM;
    }
    return 0;
}

int sfs_tree_walk(const struct sfs_tree *tree, sfs_node dir,
                  int (*visit)(void *user, const char *path, sfs_node node), void *user,
                  struct sfs_error *err)
{
    AUTO(walk_done) struct tree_walk walk = { .tree = tree };
    int r = visit(user, "", dir);
    if (r != 0)
        return r < 0 ? r : 0;
    bool stopped = false;
    r = enter(&walk, dir);
    if (r == 0)
        r = visit_below(&walk, visit, user, &stopped);
    return r < 0 && !stopped ? sfs_fail_memory(err) : r;
}
