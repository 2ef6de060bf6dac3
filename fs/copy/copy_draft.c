/* How a draft grows: nodes are made where something is touched, and symlinks are resolved in it. */
#include "copy/copy_draft.h"

#include "base/banned.h"
#include "base/limits.h"
#include "base/path.h"
#include "tree/tree_inner.h"
#include <errno.h>
#include <search.h>
#include <stddef.h>
#include <sys/stat.h>

#define CHUNK     (256u << 10)
#define MAX_LINKS 255 /* as BuildKit's RootPath follows */

struct draft_chunk {
    struct draft_chunk *next;
    size_t used, size;
    max_align_t data[];
};

void *sfs_draft_alloc(struct draft *draft, size_t size)
{
    struct draft_chunk *chunk = draft->chunks;
    size = (size + 15) & ~(size_t)15;
    if (!chunk || chunk->size - chunk->used < size) {
        size_t room = size > CHUNK ? size : CHUNK;
        chunk = calloc(1, sizeof *chunk + room);
        if (!chunk)
            return NULL;
        chunk->next = draft->chunks;
        chunk->size = room;
        draft->chunks = chunk;
    }
    void *place = (char *)chunk->data + chunk->used;
    chunk->used += size;
    return place;
}

void sfs_draft_init(struct draft *draft, const struct sfs_tree *source,
                    const struct sfs_tree *lower)
{
    *draft = (struct draft){ .source = source, .lower = lower };
    draft->root.name = "";
    draft->root.lower = lower ? SFS_ROOT : DRAFT_NO_NODE;
}

static void keep(void *node)
{
    (void)node;
}

void sfs_draft_done(struct draft *draft)
{
    for (struct draft_node *dir = draft->dirs; dir; dir = dir->next_dir)
        tdestroy(dir->children, keep);
    while (draft->chunks) {
        struct draft_chunk *chunk = draft->chunks;
        draft->chunks = chunk->next;
        free(chunk);
    }
}

void sfs_draft_attr(const struct draft *draft, const struct draft_node *node,
                    struct sfs_attr *ret_attr)
{
    if (node->inode)
        *ret_attr = node->inode->attr;
    else if (node->lower != DRAFT_NO_NODE)
        sfs_tree_attr(draft->lower, node->lower, ret_attr);
    else
        *ret_attr = (struct sfs_attr){ .mode = S_IFDIR | 0755 }; /* the root of nothing */
}

bool sfs_draft_is_dir(const struct draft *draft, const struct draft_node *node)
{
    struct sfs_attr attr;
    sfs_draft_attr(draft, node, &attr);
    return S_ISDIR(attr.mode);
}

const char *sfs_draft_target(const struct draft *draft, const struct draft_node *node)
{
    struct sfs_attr attr;
    sfs_draft_attr(draft, node, &attr);
    if (!S_ISLNK(attr.mode))
        return NULL;
    return node->inode ? sfs_tree_target(draft->source, node->inode->source)
                       : sfs_tree_target(draft->lower, node->lower);
}

static int compare_names(const void *a, const void *b)
{
    const struct draft_node *left = a, *right = b;
    return sfs_name_compare(left->name, left->name_size, right->name, right->name_size);
}

static struct draft_node *find_touched(struct draft_node *dir, const char *name, size_t name_size)
{
    struct draft_node key = { .name = name, .name_size = (uint32_t)name_size };
    struct draft_node **found = tfind(&key, &dir->children, compare_names);
    return found ? *found : NULL;
}

static int add_child(struct draft *draft, struct draft_node *dir, const char *name,
                     size_t name_size, struct draft_node **ret_node)
{
    struct draft_node *node = sfs_draft_alloc(draft, sizeof *node);
    char *copy = sfs_draft_alloc(draft, name_size + 1);
    if (!node || !copy)
        return -ENOMEM;
    memcpy(copy, name, name_size);
    node->parent = dir;
    node->name = copy;
    node->name_size = (uint32_t)name_size;
    node->lower = DRAFT_NO_NODE;
    bool first = !dir->children;
    if (!tsearch(node, &dir->children, compare_names))
        return -ENOMEM;
    if (first) {
        dir->next_dir = draft->dirs;
        draft->dirs = dir;
    }
    *ret_node = node;
    return 0;
}

int sfs_draft_find(struct draft *draft, struct draft_node *dir, const char *name, size_t name_size,
                   struct draft_node **ret_node)
{
    sfs_node lower;
    *ret_node = find_touched(dir, name, name_size);
    if (*ret_node || dir->lower == DRAFT_NO_NODE)
        return 0;
    if (sfs_tree_find(draft->lower, dir->lower, name, name_size, &lower) < 0)
        return 0;
    int r = add_child(draft, dir, name, name_size, ret_node);
    if (r == 0)
        (*ret_node)->lower = lower;
    return r;
}

int sfs_draft_claim(struct draft *draft, struct draft_node *dir, const char *name, size_t name_size,
                    struct draft_node **ret_node)
{
    int r = sfs_draft_find(draft, dir, name, name_size, ret_node);
    return r < 0 || *ret_node ? r : add_child(draft, dir, name, name_size, ret_node);
}

struct draft_inode *sfs_draft_change(struct draft *draft, struct draft_node *node)
{
    struct draft_inode *inode = sfs_draft_alloc(draft, sizeof *inode);
    if (!inode)
        return NULL;
    inode->source = DRAFT_NO_NODE;
    if (node->inode) {
        *inode = *node->inode;
    } else if (node->lower != DRAFT_NO_NODE) {
        struct draft_xattrs *xattrs = sfs_draft_alloc(draft, sizeof *xattrs);
        if (!xattrs)
            return NULL;
        *xattrs = (struct draft_xattrs){ .tree = draft->lower, .node = node->lower };
        inode->xattrs = xattrs;
        sfs_tree_attr(draft->lower, node->lower, &inode->attr);
    }
    node->inode = inode;
    return inode;
}

int sfs_draft_add_xattrs(struct draft *draft, struct draft_inode *inode, sfs_node source)
{
    if (sfs_tree_xattr_count(draft->source, source) == 0)
        return 0;
    struct draft_xattrs *xattrs = sfs_draft_alloc(draft, sizeof *xattrs);
    if (!xattrs)
        return -ENOMEM;
    *xattrs =
        (struct draft_xattrs){ .under = inode->xattrs, .tree = draft->source, .node = source };
    inode->xattrs = xattrs;
    return 0;
}

/* What is left of a path to be resolved: the targets of symlinks are put in front of it. */
struct route {
    char *text; /* owned */
    const char *at;
    unsigned links;
};

static int follow(struct route *route, const char *target)
{
    struct sfs_buf text = { 0 };
    if (++route->links > MAX_LINKS)
        return -ELOOP;
    int r = sfs_buf_printf(&text, "%s/%s", target, route->at);
    if (r == 0 && text.size > SFS_MAX_PATH)
        r = -ELOOP;
    if (r < 0) {
        sfs_buf_close(&text);
        return r;
    }
    free(route->text);
    route->text = text.data;
    route->at = text.data;
    return 0;
}

static void go_up(struct draft_place *place)
{
    if (place->rest.size == 0) {
        if (place->node->parent)
            place->node = place->node->parent;
        return;
    }
    const char *slash = memrchr(place->rest.data, '/', place->rest.size);
    place->rest.size = slash ? (size_t)(slash - place->rest.data) : 0;
    place->rest.data[place->rest.size] = '\0';
}

static int go_down(struct draft *draft, struct draft_place *place, struct route *route,
                   const char *name, size_t size)
{
    struct draft_node *child = NULL;
    if (place->rest.size == 0) {
        if (!sfs_draft_is_dir(draft, place->node))
            return -ENOTDIR;
        int r = sfs_draft_find(draft, place->node, name, size, &child);
        if (r < 0)
            return r;
    }
    if (!child) {
        int r = place->rest.size > 0 ? sfs_buf_add_str(&place->rest, "/") : 0;
        return r < 0 ? r : sfs_buf_add(&place->rest, name, size);
    }
    const char *target = sfs_draft_target(draft, child);
    if (!target) {
        place->node = child;
        return 0;
    }
    if (target[0] == '/')
        place->node = &draft->root;
    return follow(route, target);
}

int sfs_draft_resolve(struct draft *draft, const char *path, struct draft_place *ret_place,
                      struct sfs_error *err)
{
    struct draft_place place = { .node = &draft->root };
    struct route route = { .text = strdup(path) };
    route.at = route.text;
    int r = route.text ? 0 : -ENOMEM;
    while (r == 0 && *(route.at += strspn(route.at, "/"))) {
        const char *name = route.at;
        size_t size = strcspn(name, "/");
        route.at += size;
        if (size == 2 && memcmp(name, "..", 2) == 0)
            go_up(&place);
        else if (size > 1 || name[0] != '.')
            r = go_down(draft, &place, &route, name, size);
    }
    free(route.text);
    if (r == 0) {
        *ret_place = place;
        return 0;
    }
    sfs_draft_place_done(&place);
    return r == -ENOMEM ? sfs_fail_memory(err) : sfs_fail_errno(err, -r, "destination %s", path);
}

void sfs_draft_place_done(struct draft_place *place)
{
    sfs_buf_close(&place->rest);
}

int sfs_draft_path(const struct draft_node *node, struct sfs_buf *path)
{
    if (!node->parent)
        return path->size == 0 ? sfs_buf_add_str(path, "/") : 0;
    int r = node->parent->parent ? sfs_draft_path(node->parent, path) : 0;
    if (r == 0)
        r = sfs_buf_add_str(path, "/");
    return r < 0 ? r : sfs_buf_add(path, node->name, node->name_size);
}
