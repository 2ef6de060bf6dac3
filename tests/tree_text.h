/* Layers from text and trees as text, for tests.
 *
 * A layer is a list of records, as a tar has them, separated by ';':
 *   d PATH [MODE [UID [MTIME]]]            directory, 700 unless told
 *   f PATH [CONTENT [MODE [UID [MTIME]]]]  file of at most 8 bytes, 644 unless told
 *   l PATH TARGET                          symlink
 *   h PATH TARGET                          hard link
 *   c PATH MAJOR MINOR                     character device
 *   w PATH, o PATH                         whiteout, opaque directory
 *
 * A tree is one line a name: "dir/ 700", "file content", "link -> target", "dev c1,3"; " #1" is
 * behind all names of one hard-linked file. The root is left out where it is 755. */
#ifndef TREE_TEXT_H
#define TREE_TEXT_H

#include "base/buf.h"
#include "layer/layer.h"
#include "tree/tree_inner.h"
#include <criterion/criterion.h>
#include <stagefs/tree.h>

#define TREE_TEXT_LAYERS 32

/* A file's bytes are those of its inode's `source`; lent three at a time at most. */
static inline int tree_text_pin(struct sfs_layer *layer, sfs_inode inode, uint64_t offset,
                                size_t size, struct sfs_slice *ret_slice, struct sfs_error *err)
{
    const struct sfs_inode_rec *rec = &layer->tables.inodes[inode];
    if (rec->rdev_major == 1)
        return sfs_fail(err, EIO, "%s: broken", layer->label);
    *ret_slice = (struct sfs_slice){ .data = (const char *)&rec->source + offset,
                                     .size = size < 3 ? size : 3 };
    return 0;
}

static const struct sfs_layer_ops tree_text_ops = { .pin = tree_text_pin };

static inline struct sfs_builder_item tree_text_item(char kind, char **words)
{
    const char *mode = kind == 'd' ? words[0] : words[0] ? words[1] : NULL;
    char **rest = words + (kind == 'd' ? 0 : words[0] ? 1 : 0);
    struct sfs_builder_item item = { 0 };
    struct sfs_inode_rec *inode = &item.inode;
    switch (kind) {
    case 'd':
        inode->mode = S_IFDIR | (mode ? (uint32_t)strtoul(mode, NULL, 8) : 0700);
        break;
    case 'f':
        inode->mode = S_IFREG | (mode ? (uint32_t)strtoul(mode, NULL, 8) : 0644);
        inode->size = words[0] ? strlen(words[0]) : 0;
        cr_assert_leq(inode->size, sizeof inode->source);
        memcpy(&inode->source, words[0] ? words[0] : "", inode->size);
        break;
    case 'l':
        inode->mode = S_IFLNK | 0777;
        inode->size = strlen(words[0]);
        item.target = words[0];
        return item;
    case 'c':
        inode->mode = S_IFCHR | 0600;
        inode->rdev_major = (uint32_t)strtoul(words[0], NULL, 10);
        inode->rdev_minor = (uint32_t)strtoul(words[1], NULL, 10);
        return item;
    default:
        cr_assert_fail("unknown record %c", kind);
    }
    if (mode && rest[1]) {
        inode->uid = (uint32_t)strtoul(rest[1], NULL, 10);
        inode->mtime_sec = rest[2] ? strtol(rest[2], NULL, 10) : 0;
    }
    return item;
}

static inline void tree_text_record(struct sfs_builder *builder, char *record)
{
    struct sfs_error err = { "" };
    char *words[9] = { 0 }, *save = NULL;
    size_t count = 0;
    for (char *word = strtok_r(record, " \n", &save); word; word = strtok_r(NULL, " \n", &save)) {
        cr_assert_lt(count, 8);
        words[count++] = word;
    }
    if (count == 0)
        return;
    cr_assert_geq(count, 2, "%s", record);
    int r;
    if (*words[0] == 'w')
        r = sfs_builder_whiteout(builder, words[1], &err);
    else if (*words[0] == 'o')
        r = sfs_builder_opaque(builder, words[1], &err);
    else if (*words[0] == 'h')
        r = sfs_builder_link(builder, words[1], words[2], &err);
    else {
        struct sfs_builder_item item = tree_text_item(*words[0], words + 2);
        r = sfs_builder_add(builder, words[1], &item, &err);
    }
    cr_assert_eq(r, 0, "%s %s: %s", words[0], words[1], err.text);
}

static inline struct sfs_layer *tree_text_layer(const char *text, const char *label)
{
    struct sfs_builder *builder = sfs_builder_open();
    AUTO(sfs_free) char *copy = strdup(text);
    cr_assert(builder && copy);
    char *save = NULL;
    for (char *record = strtok_r(copy, ";", &save); record; record = strtok_r(NULL, ";", &save))
        tree_text_record(builder, record);
    struct sfs_layer *layer = NULL;
    struct sfs_error err;
    cr_assert_eq(sfs_layer_open_built(builder, label, &layer, &err), 0, "%s", err.text);
    sfs_builder_close(&builder);
    layer->ops = &tree_text_ops;
    return layer;
}

/* Some layers and their merge. */
struct tree_text {
    struct sfs_layer *layers[TREE_TEXT_LAYERS];
    size_t count;
    struct sfs_tree *tree;
};

static inline void tree_text_close(struct tree_text *merged)
{
    sfs_tree_close(&merged->tree);
    while (merged->count > 0)
        sfs_layer_close(&merged->layers[--merged->count]);
}

/* Lowest layer first. */
static inline void tree_text_add(struct tree_text *merged, const char *layer)
{
    char label[32];
    snprintf(label, sizeof label, "layer %zu", merged->count);
    cr_assert_lt(merged->count, TREE_TEXT_LAYERS);
    merged->layers[merged->count] = tree_text_layer(layer, label);
    merged->count++;
}

static inline int tree_text_try_merge(struct tree_text *merged, struct sfs_error *err)
{
    sfs_tree_close(&merged->tree);
    return sfs_tree_merge(merged->layers, merged->count, &merged->tree, err);
}

static inline struct tree_text tree_text_merge_list(const char *const *layers)
{
    struct tree_text merged = { 0 };
    struct sfs_error err;
    while (*layers)
        tree_text_add(&merged, *layers++);
    cr_assert_eq(tree_text_try_merge(&merged, &err), 0, "%s", err.text);
    return merged;
}
#define TREE_TEXT_MERGE(...) tree_text_merge_list((const char *const[]){ __VA_ARGS__, NULL })

struct tree_text_printer {
    const struct sfs_tree *tree;
    struct sfs_buf out;
    uint32_t *names;   /* by node: seen so far */
    uint32_t *numbers; /* by node: of its group of hard links */
    uint32_t groups;
};

static inline void tree_text_file(struct tree_text_printer *printer, const char *path,
                                  sfs_node node, const struct sfs_attr *attr)
{
    struct sfs_buf *out = &printer->out;
    char content[9] = "";
    struct sfs_error err;
    if (S_ISREG(attr->mode))
        cr_assert_eq(sfs_tree_read(printer->tree, node, content, 8, 0, &err), (ssize_t)attr->size);
    sfs_buf_add_str(out, path);
    if (S_ISLNK(attr->mode))
        sfs_buf_printf(out, " -> %s", sfs_tree_target(printer->tree, node));
    else if (S_ISCHR(attr->mode))
        sfs_buf_printf(out, " c%u,%u", attr->rdev_major, attr->rdev_minor);
    else
        sfs_buf_printf(out, *content ? " %s" : "", content);
    if (attr->nlink > 1) {
        if (printer->numbers[node] == 0)
            printer->numbers[node] = ++printer->groups;
        sfs_buf_printf(out, " #%u", printer->numbers[node]);
    }
    sfs_buf_add_str(out, "\n");
}

static inline int tree_text_visit(void *user, const char *path, sfs_node node)
{
    struct tree_text_printer *printer = user;
    struct sfs_attr attr;
    sfs_tree_attr(printer->tree, node, &attr);
    printer->names[node]++;
    if (!S_ISDIR(attr.mode))
        tree_text_file(printer, path, node, &attr);
    else if (*path || (attr.mode & 07777) != 0755)
        sfs_buf_printf(&printer->out, "%s/ %o\n", path, attr.mode & 07777);
    return 0;
}

/* Link counts must be what the names say. */
static inline void tree_text_check_links(const struct tree_text_printer *printer)
{
    for (sfs_node i = 0; i < sfs_tree_count(printer->tree); i++) {
        struct sfs_attr attr;
        sfs_tree_attr(printer->tree, i, &attr);
        uint32_t expected = printer->names[i], count;
        const struct sfs_dirent *names = sfs_tree_list(printer->tree, i, &count);
        if (S_ISDIR(attr.mode)) {
            cr_assert_eq(expected, 1);
            expected = 2;
            for (uint32_t k = 0; k < count; k++) {
                struct sfs_attr child;
                sfs_tree_attr(printer->tree, names[k].node, &child);
                expected += S_ISDIR(child.mode) ? 1 : 0;
            }
        }
        cr_assert_eq(attr.nlink, expected, "node %u: %u links, not %u", i, attr.nlink, expected);
    }
}

/* The caller frees. */
static inline char *tree_text(const struct sfs_tree *tree)
{
    struct tree_text_printer printer = { .tree = tree };
    printer.names = calloc(sfs_tree_count(tree), sizeof *printer.names);
    printer.numbers = calloc(sfs_tree_count(tree), sizeof *printer.numbers);
    sfs_buf_add_str(&printer.out, "");
    struct sfs_error err;
    cr_assert_eq(sfs_tree_walk(tree, SFS_ROOT, tree_text_visit, &printer, &err), 0);
    tree_text_check_links(&printer);
    free(printer.names);
    free(printer.numbers);
    return printer.out.data;
}

/* The merge of the layers is this. */
#define EXPECT_MERGE(text, ...)                                                                    \
    do {                                                                                           \
        AUTO(tree_text_close) struct tree_text merged = TREE_TEXT_MERGE(__VA_ARGS__);              \
        AUTO(sfs_free) char *actual = tree_text(merged.tree);                                      \
        cr_assert_str_eq(actual, text, "got:\n%s", actual);                                        \
    } while (0)

#endif
