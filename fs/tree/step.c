/* Walks two trees together, with a stack of its own. */
#include "tree/step.h"

#include "base/buf.h"
#include "base/array.h"
#include "base/path.h"

/* The names of one directory that are still to be visited. */
struct names {
    const struct sfs_dirent *at, *end;
};

/* (walk.c keeps such a stack too, for one tree: half of what is here, and asked for every node.) */
struct step_frame {
    struct names a, b;
    size_t path_size; /* bytes of the directory's path */
};

struct stepping {
    const struct sfs_step *step;
    struct step_frame *frames;
    size_t depth, capacity;
    struct sfs_buf path;
};

static void stepping_done(struct stepping *stepping)
{
    free(stepping->frames);
    sfs_buf_close(&stepping->path);
}

static struct names list(const struct sfs_tree *tree, sfs_node dir)
{
    uint32_t count;
    const struct sfs_dirent *names = sfs_tree_list(tree, dir, &count);
    return (struct names){ names, count ? names + count : names };
}

static int enter(struct stepping *stepping, int into, sfs_node a, sfs_node b)
{
    if (SFS_ARRAY_GROW(stepping->frames, stepping->depth, stepping->capacity, 32) < 0)
        return -ENOMEM;
    struct step_frame *frame = &stepping->frames[stepping->depth++];
    *frame = (struct step_frame){ .path_size = stepping->path.size };
    if (into & SFS_STEP_INTO_A)
        frame->a = list(stepping->step->a, a);
    if (into & SFS_STEP_INTO_B)
        frame->b = list(stepping->step->b, b);
    return 0;
}

static int compare_next(const struct step_frame *frame)
{
    if (frame->a.at == frame->a.end || frame->b.at == frame->b.end)
        return frame->a.at == frame->a.end ? 1 : -1;
    const struct sfs_dirent *a = frame->a.at, *b = frame->b.at;
    return sfs_name_compare(a->name, a->name_size, b->name, b->name_size);
}

static int extend_path(struct stepping *stepping, size_t dir_size, const struct sfs_dirent *dirent)
{
    struct sfs_buf *path = &stepping->path;
    if (stepping->step->no_paths)
        return 0;
    path->size = dir_size;
    if (dir_size > 0 && sfs_buf_add(path, "/", 1) < 0)
        return -ENOMEM;
    return sfs_buf_add(path, dirent->name, dirent->name_size);
}

static int visit_next(struct stepping *stepping, struct step_frame *frame)
{
    int order = compare_next(frame);
    const struct sfs_dirent *a = order <= 0 ? frame->a.at++ : NULL;
    const struct sfs_dirent *b = order >= 0 ? frame->b.at++ : NULL;
    if (extend_path(stepping, frame->path_size, a ? a : b) < 0)
        return -ENOMEM;
    const struct sfs_step *step = stepping->step;
    sfs_node node_a = a ? a->node : SFS_NO_NODE, node_b = b ? b->node : SFS_NO_NODE;
    const char *path = step->no_paths ? "" : stepping->path.data;
    int into = step->visit(step->user, path, node_a, node_b);
    if (into <= 0)
        return into;
    return enter(stepping, into, node_a, node_b);
}

int sfs_trees_step(const struct sfs_step *step)
{
    AUTO(stepping_done) struct stepping stepping = { .step = step };
    int r = step->visit(step->user, "", SFS_ROOT, SFS_ROOT);
    if (r > 0)
        r = enter(&stepping, r, SFS_ROOT, SFS_ROOT);
    while (r >= 0 && stepping.depth > 0) {
        struct step_frame *frame = &stepping.frames[stepping.depth - 1];
        if (frame->a.at == frame->a.end && frame->b.at == frame->b.end)
            stepping.depth--;
        else
            r = visit_next(&stepping, frame);
    }
    return r < 0 ? r : 0;
}
