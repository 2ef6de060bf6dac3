/* Which of a draft's names go into the layer, and where the layer reads its bytes: in the
 * source. */
#include "copy/copy_layer.h"

#include "base/banned.h"
#include "base/limits.h"
#include "tree/tree_layer.h"
#include <errno.h>
#include <search.h>
#include <sys/stat.h>

/* What goes into the builder, with the scratch space for it. */
struct output {
    struct draft *draft;
    struct sfs_builder *builder;
    struct sfs_buf path;
    struct sfs_buf extents; /* struct sfs_extent */
    struct sfs_buf xattrs;  /* struct sfs_builder_xattr */
    int result;
    struct sfs_error *err;
};

static void output_done(struct output *output)
{
    sfs_builder_close(&output->builder);
    sfs_buf_close(&output->path);
    sfs_buf_close(&output->extents);
    sfs_buf_close(&output->xattrs);
}

static int collect_xattrs(struct output *output, const struct draft_xattrs *xattrs)
{
    if (!xattrs)
        return 0;
    int r = collect_xattrs(output, xattrs->under);
    return r < 0 ? r : sfs_tree_layer_xattrs(xattrs->tree, xattrs->node, &output->xattrs);
}

static int add_inode(struct output *output, const struct draft_inode *inode)
{
    struct sfs_builder_item item = { .inode = sfs_tree_layer_record(&inode->attr, inode->source) };
    output->xattrs.size = 0;
    int r = collect_xattrs(output, inode->xattrs);
    if (r == 0 && S_ISREG(inode->attr.mode)) {
        output->extents.size = 0;
        r = sfs_tree_layer_extents(output->draft->source, inode->source, NULL, &output->extents);
        item.extents = (const void *)output->extents.data;
        item.extent_count = (uint32_t)(output->extents.size / sizeof(struct sfs_extent));
    }
    if (r < 0)
        return sfs_fail_memory(output->err);
    if (S_ISLNK(inode->attr.mode))
        item.target = sfs_tree_target(output->draft->source, inode->source);
    item.xattrs = (const void *)output->xattrs.data;
    item.xattr_count = (uint32_t)(output->xattrs.size / sizeof(struct sfs_builder_xattr));
    return sfs_builder_add(output->builder, output->path.data, &item, output->err);
}

/* Adds a name of an inode: the first one in the layer's order holds the bytes, the others are hard
 * links to it. */
static int add_file(struct output *output, struct draft_inode *inode)
{
    if (inode->path)
        return sfs_builder_link(output->builder, output->path.data, inode->path, output->err);
    if (inode->shared) {
        char *path = sfs_draft_alloc(output->draft, output->path.size + 1);
        if (!path)
            return sfs_fail_memory(output->err);
        memcpy(path, output->path.data, output->path.size);
        inode->path = path;
    }
    return add_inode(output, inode);
}

static bool has_xattr(const struct sfs_tree *tree, sfs_node node, const struct sfs_xattr *wanted)
{
    uint32_t count = sfs_tree_xattr_count(tree, node);
    for (uint32_t i = 0; i < count; i++) {
        struct sfs_xattr xattr = sfs_tree_xattr(tree, node, i);
        if (strcmp(xattr.name, wanted->name) == 0)
            return xattr.size == wanted->size &&
                   memcmp(xattr.value, wanted->value, xattr.size) == 0;
    }
    return false;
}

/* Is the directory, after all changes, as the destination has it? */
static bool is_unchanged(const struct draft *draft, const struct draft_node *node)
{
    struct sfs_attr lower;
    const struct sfs_attr *attr = &node->inode->attr;
    if (node->lower == DRAFT_NO_NODE)
        return false;
    sfs_tree_attr(draft->lower, node->lower, &lower);
    if (attr->mode != lower.mode || attr->uid != lower.uid || attr->gid != lower.gid ||
        attr->mtime_sec != lower.mtime_sec || attr->mtime_nsec != lower.mtime_nsec)
        return false;
    for (const struct draft_xattrs *from = node->inode->xattrs; from; from = from->under) {
        uint32_t count = sfs_tree_xattr_count(from->tree, from->node);
        for (uint32_t i = 0; i < count; i++) {
            struct sfs_xattr xattr = sfs_tree_xattr(from->tree, from->node, i);
            if (!has_xattr(draft->lower, node->lower, &xattr))
                return false;
        }
    }
    return true;
}

static void visit(const void *place, VISIT visit_kind, void *closure);

static int add_node(struct output *output, struct draft_node *node)
{
    size_t size = output->path.size;
    int r = size > 0 ? sfs_buf_add_str(&output->path, "/") : 0;
    if (r == 0)
        r = sfs_buf_add(&output->path, node->name, node->name_size);
    if (r < 0)
        return sfs_fail_memory(output->err);
    if (output->path.size > SFS_MAX_PATH)
        return sfs_fail(output->err, E2BIG, "a path is longer than %u bytes", SFS_MAX_PATH);
    if (!sfs_draft_is_dir(output->draft, node)) {
        r = node->inode ? add_file(output, node->inode) : 0;
    } else {
        if (node->inode && !is_unchanged(output->draft, node))
            r = add_inode(output, node->inode);
        if (r == 0) {
            twalk_r(node->children, visit, output);
            r = output->result;
        }
    }
    output->path.size = size;
    output->path.data[size] = '\0';
    return r;
}

static void visit(const void *place, VISIT visit_kind, void *closure)
{
    struct output *output = closure;
    if (output->result < 0 || (visit_kind != postorder && visit_kind != leaf))
        return;
    output->result = add_node(output, *(struct draft_node *const *)place);
}

int sfs_copy_layer_open(struct draft *draft, const char *label, struct sfs_layer **ret_layer,
                        struct sfs_error *err)
{
    AUTO(output_done)
    struct output output = { .draft = draft, .builder = sfs_builder_open(), .err = err };
    if (!output.builder)
        return sfs_fail_memory(err);
    twalk_r(draft->root.children, visit, &output);
    if (output.result < 0)
        return output.result;
    return sfs_tree_layer_open(output.builder, draft->source, label, ret_layer, err);
}
