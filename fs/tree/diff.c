/* What differs between two trees. Nodes of one origin (layer and inode) are equal without looking;
 * all else is compared. Hard links are compared in a pass of their own, and only if there are
 * any. */
#include "tree/nodes.h"
#include "tree/step.h"
#include "tree/tree_inner.h"

/* For the nodes of one tree that have several names: which node those names are in the other tree.
 * Other values are that node + 2. */
#define PEER_UNSEEN  0u
#define PEER_NONE    1u
#define PEER_SEVERAL UINT32_MAX

struct diff {
    const struct sfs_tree *a, *b;
    unsigned flags;
    int (*change)(void *user, const struct sfs_change *change);
    void *user;
    struct sfs_error *err;
    uint32_t *peers_a, *peers_b; /* by node; NULL: no hard links in either tree */
    int stopped;                 /* what change() returned, if not 0 */
};

static void diff_done(struct diff *diff)
{
    free(diff->peers_a);
    free(diff->peers_b);
}

static bool has_hard_links(const struct sfs_tree *tree)
{
    for (uint32_t i = 0; i < tree->node_count; i++) {
        if (!(tree->nodes[i].flags & SFS_NODE_DIR) && tree->nodes[i].extra > 1)
            return true;
    }
    return false;
}

static bool has_several_names(const struct sfs_tree *tree, sfs_node node)
{
    return !sfs_node_is_dir(tree, node) && tree->nodes[node].extra > 1;
}

static void note_peer(uint32_t *peer, uint32_t other)
{
    if (*peer == PEER_UNSEEN)
        *peer = other;
    else if (*peer != other)
        *peer = PEER_SEVERAL;
}

static int note_links(void *user, const char *path, sfs_node a, sfs_node b)
{
    (void)path;
    struct diff *diff = user;
    if (b == SFS_NO_NODE)
        return 0;
    bool is_file_a = a != SFS_NO_NODE && !sfs_node_is_dir(diff->a, a);
    bool is_file_b = !sfs_node_is_dir(diff->b, b);
    if (is_file_b && has_several_names(diff->b, b))
        note_peer(&diff->peers_b[b], is_file_a ? a + 2 : PEER_NONE);
    if (is_file_a && is_file_b && has_several_names(diff->a, a))
        note_peer(&diff->peers_a[a], b + 2);
    if (is_file_b)
        return 0;
    return a == SFS_NO_NODE || is_file_a ? SFS_STEP_INTO_B : SFS_STEP_INTO_A | SFS_STEP_INTO_B;
}

static int compare_links(struct diff *diff)
{
    if (!has_hard_links(diff->a) && !has_hard_links(diff->b))
        return 0;
    diff->peers_a = calloc(diff->a->node_count, sizeof *diff->peers_a);
    diff->peers_b = calloc(diff->b->node_count, sizeof *diff->peers_b);
    if (!diff->peers_a || !diff->peers_b)
        return -ENOMEM;
    const struct sfs_step step = {
        .a = diff->a, .b = diff->b, .no_paths = true, .visit = note_links, .user = diff
    };
    return sfs_trees_step(&step);
}

static bool have_same_origin(const struct diff *diff, sfs_node a, sfs_node b)
{
    size_t layer;
    uint32_t inode_a, inode_b;
    return sfs_tree_origin(diff->a, a, &layer, &inode_a) ==
               sfs_tree_origin(diff->b, b, &layer, &inode_b) &&
           inode_a == inode_b;
}

/* Is a name linked to others than before? Names that are gone do not count. */
static bool is_linked_anew(const struct diff *diff, sfs_node a, sfs_node b)
{
    if (!diff->peers_a || sfs_node_is_dir(diff->a, a) || sfs_node_is_dir(diff->b, b))
        return false;
    return diff->peers_b[b] == PEER_SEVERAL ||
           (diff->peers_a[a] == PEER_SEVERAL && !have_same_origin(diff, a, b));
}

static bool has_same_xattrs(const struct diff *diff, sfs_node a, sfs_node b)
{
    uint32_t count = sfs_tree_xattr_count(diff->a, a);
    if (count != sfs_tree_xattr_count(diff->b, b))
        return false;
    for (uint32_t i = 0; i < count; i++) {
        struct sfs_xattr left = sfs_tree_xattr(diff->a, a, i);
        struct sfs_xattr right = sfs_tree_xattr(diff->b, b, i);
        if (strcmp(left.name, right.name) != 0 || left.size != right.size ||
            (left.size > 0 && memcmp(left.value, right.value, left.size) != 0))
            return false;
    }
    return true;
}

/* Have two files the same bytes? 1, 0, or negative: they could not be read. */
static int has_same_bytes(const struct diff *diff, sfs_node a, sfs_node b, uint64_t size)
{
    for (uint64_t offset = 0; offset < size;) {
        AUTO(sfs_slice_release) struct sfs_slice left = { 0 };
        AUTO(sfs_slice_release) struct sfs_slice right = { 0 };
        size_t wanted = size - offset > SFS_SPAN_MAX ? SFS_SPAN_MAX : (size_t)(size - offset);
        int r = sfs_tree_pin(diff->a, a, offset, wanted, &left, diff->err);
        if (r == 0)
            r = sfs_tree_pin(diff->b, b, offset, left.size, &right, diff->err);
        if (r < 0)
            return r;
        if (memcmp(left.data, right.data, right.size) != 0)
            return 0;
        sfs_tree_follow(diff->a, a, offset, left.size);
        sfs_tree_follow(diff->b, b, offset, right.size);
        offset += right.size;
    }
    return 1;
}

/* Adds to *what for two nodes of the same type, neither of one origin nor directories. */
static int compare_content(const struct diff *diff, sfs_node a, sfs_node b, unsigned *what)
{
    const struct sfs_inode_rec *left = sfs_node_inode(diff->a, a);
    const struct sfs_inode_rec *right = sfs_node_inode(diff->b, b);
    bool changed = false;
    switch (left->mode & S_IFMT) {
    case S_IFREG:
        changed = left->size != right->size || !(diff->flags & SFS_DIFF_CONTENT);
        if (!changed) {
            int r = has_same_bytes(diff, a, b, left->size);
            if (r < 0)
                return r;
            changed = r == 0;
        }
        break;
    case S_IFLNK:
        if (strcmp(sfs_tree_target(diff->a, a), sfs_tree_target(diff->b, b)) != 0)
            *what |= SFS_CHANGE_LINK;
        break;
    case S_IFCHR:
    case S_IFBLK:
        changed = left->rdev_major != right->rdev_major || left->rdev_minor != right->rdev_minor;
        break;
    default:
        break;
    }
    if (changed)
        *what |= SFS_CHANGE_CONTENT;
    return 0;
}

static int compare_nodes(const struct diff *diff, sfs_node a, sfs_node b, unsigned *ret_what)
{
    unsigned what = is_linked_anew(diff, a, b) ? SFS_CHANGE_LINK : 0;
    const struct sfs_inode_rec *left = sfs_node_inode(diff->a, a);
    const struct sfs_inode_rec *right = sfs_node_inode(diff->b, b);
    *ret_what = what;
    if (left == right)
        return 0;
    if ((left->mode ^ right->mode) & S_IFMT)
        what |= SFS_CHANGE_TYPE;
    if ((left->mode ^ right->mode) & 07777)
        what |= SFS_CHANGE_MODE;
    if (left->uid != right->uid || left->gid != right->gid)
        what |= SFS_CHANGE_OWNER;
    if (left->mtime_sec != right->mtime_sec || left->mtime_nsec != right->mtime_nsec)
        what |= SFS_CHANGE_MTIME;
    if (!has_same_xattrs(diff, a, b))
        what |= SFS_CHANGE_XATTRS;
    int r = what & SFS_CHANGE_TYPE ? 0 : compare_content(diff, a, b, &what);
    if (r == 0)
        *ret_what = what;
    return r;
}

static int report(struct diff *diff, const struct sfs_change *change)
{
    diff->stopped = diff->change(diff->user, change);
    return diff->stopped ? -ECANCELED : 0;
}

static int visit_pair(void *user, const char *path, sfs_node a, sfs_node b)
{
    struct diff *diff = user;
    struct sfs_change change = { .path = path, .a = a, .b = b };
    bool is_dir_a = a != SFS_NO_NODE && sfs_node_is_dir(diff->a, a);
    bool is_dir_b = b != SFS_NO_NODE && sfs_node_is_dir(diff->b, b);
    int into = is_dir_b ? SFS_STEP_INTO_B : 0;
    if (is_dir_a && (is_dir_b || diff->flags & SFS_DIFF_REMOVED_BELOW))
        into |= SFS_STEP_INTO_A;
    int r = 0;
    if (a == SFS_NO_NODE) {
        change.kind = SFS_ADDED;
    } else if (b == SFS_NO_NODE) {
        change.kind = SFS_REMOVED;
    } else {
        change.kind = SFS_CHANGED;
        change.replaces = is_dir_a != is_dir_b;
        r = compare_nodes(diff, a, b, &change.what);
        if (r == 0 && change.what == 0)
            return into;
    }
    if (r == 0)
        r = report(diff, &change);
    return r < 0 ? r : into;
}

int sfs_tree_diff(const struct sfs_tree *a, const struct sfs_tree *b, unsigned flags,
                  int (*change)(void *user, const struct sfs_change *change), void *user,
                  struct sfs_error *err)
{
    AUTO(diff_done)
    struct diff diff = {
        .a = a, .b = b, .flags = flags, .change = change, .user = user, .err = err
    };
    int r = compare_links(&diff);
    if (r == 0) {
        const struct sfs_step step = { .a = a, .b = b, .visit = visit_pair, .user = &diff };
        r = sfs_trees_step(&step);
    }
    if (diff.stopped)
        return diff.stopped;
    return r == -ENOMEM ? sfs_fail_memory(err) : r;
}
