#include "support.h"

#include "base/buf.h"
#include "tree/tree_inner.h"
#include <criterion/criterion.h>
#include <errno.h>

/* Its files' bytes, by the inodes' source numbers. */
struct content {
    char *data;
    size_t size;
};

struct text_layer {
    struct sfs_layer base;
    struct content *contents;
    size_t count;
};

static int pin_text(struct sfs_layer *layer, sfs_inode inode, uint64_t offset, size_t size,
                    struct sfs_slice *ret_slice, struct sfs_error *err)
{
    const struct text_layer *text = (const struct text_layer *)layer;
    const struct content *content = &text->contents[layer->tables.inodes[inode].source];
    (void)err;
    if (size > content->size - offset)
        size = content->size - offset;
    *ret_slice = (struct sfs_slice){ .data = content->data + offset, .size = size };
    return 0;
}

static void close_text(struct sfs_layer *layer)
{
    struct text_layer *text = (struct text_layer *)layer;
    for (size_t i = 0; i < text->count; i++)
        free(text->contents[i].data);
    free(text->contents);
}

static const struct sfs_layer_ops text_ops = { .pin = pin_text, .close = close_text };

/* One word, taken apart. */
struct word {
    char *text; /* owned */
    char *path;
    struct sfs_builder_item item;
    struct sfs_builder_xattr xattrs[8];
    bool has_mode;
    uint32_t mode;
};

static bool take_mtime(struct word *word, const char *token)
{
    long long seconds;
    unsigned nanoseconds = 0;
    if (sscanf(token, "@%lld.%u", &seconds, &nanoseconds) < 1)
        return false;
    word->item.inode.mtime_sec = seconds;
    word->item.inode.mtime_nsec = nanoseconds;
    return true;
}

static bool take_xattr(struct word *word, char *token)
{
    char *equals = strchr(token, '=');
    if (token[0] != '+' || !equals)
        return false;
    *equals = '\0';
    cr_assert_lt(word->item.xattr_count, 8u);
    word->xattrs[word->item.xattr_count++] =
        (struct sfs_builder_xattr){ token + 1, equals + 1, strlen(equals + 1) };
    return true;
}

/* One of the tokens in front of the path? */
static bool take_token(struct word *word, char *token)
{
    struct sfs_inode_rec *inode = &word->item.inode;
    unsigned left, right;
    char kind;
    int end = 0;
    if (sscanf(token, "%u:%u%n", &left, &right, &end) == 2 && token[end] == '\0') {
        inode->uid = left;
        inode->gid = right;
        return true;
    }
    if (strspn(token, "01234567") == strlen(token) && strlen(token) >= 3) {
        word->has_mode = sscanf(token, "%o", &word->mode) == 1;
        return word->has_mode;
    }
    if (strcmp(token, "fifo") == 0) {
        inode->mode = S_IFIFO;
        return true;
    }
    if (sscanf(token, "%c%u,%u%n", &kind, &left, &right, &end) == 3 && token[end] == '\0' &&
        (kind == 'c' || kind == 'b')) {
        inode->rdev_major = left;
        inode->rdev_minor = right;
        inode->mode = kind == 'c' ? S_IFCHR : S_IFBLK;
        return true;
    }
    return take_mtime(word, token) || take_xattr(word, token);
}

static void split(struct word *word, const char *text)
{
    *word = (struct word){ .text = strdup(text) };
    word->item.xattrs = word->xattrs;
    word->path = word->text;
    for (char *blank; (blank = strchr(word->path, ' '));) {
        *blank = '\0';
        if (!take_token(word, word->path)) {
            *blank = ' ';
            return;
        }
        word->path = blank + 1;
    }
}

static uint64_t add_content(struct text_layer *layer, const char *data, size_t size)
{
    layer->contents = realloc(layer->contents, (layer->count + 1) * sizeof *layer->contents);
    struct content *content = &layer->contents[layer->count];
    content->data = calloc(1, size + 1);
    content->size = size;
    if (data)
        memcpy(content->data, data, size);
    else
        content->data[size - 1] = 'x';
    return layer->count++;
}

static void set_type(struct word *word, uint32_t type, uint32_t mode)
{
    struct sfs_inode_rec *inode = &word->item.inode;
    if (inode->mode == 0)
        inode->mode = type;
    inode->mode |= word->has_mode ? word->mode : mode;
}

/* By the form of the path. Returns what the builder says. */
static int add_path(struct text_layer *layer, struct sfs_builder *builder, struct word *word,
                    struct sfs_error *err)
{
    struct sfs_builder_item *item = &word->item;
    struct sfs_extent extent = { 0 };
    char *path = word->path, *mark;
    if ((mark = strstr(path, " == "))) {
        *mark = '\0';
        return sfs_builder_link(builder, path, mark + 4, err);
    }
    if (path[0] == '-')
        return sfs_builder_whiteout(builder, path + 1, err);
    if (path[0] == '!')
        return sfs_builder_opaque(builder, path + 1, err);
    if ((mark = strstr(path, " -> "))) {
        *mark = '\0';
        item->target = mark + 4;
        set_type(word, S_IFLNK, 0777);
    } else if ((mark = strchr(path, '=')) || (mark = strchr(path, '#'))) {
        bool sparse = *mark == '#';
        *mark = '\0';
        size_t size = sparse ? strtoul(mark + 1, NULL, 10) : strlen(mark + 1);
        item->inode.size = size;
        item->inode.source = add_content(layer, sparse ? NULL : mark + 1, size);
        extent = (struct sfs_extent){ sparse ? size - 1 : 0, 0, sparse ? 1 : size };
        item->extents = &extent;
        item->extent_count = size > 0;
        set_type(word, S_IFREG, 0644);
    } else {
        set_type(word, S_IFDIR, item->inode.mode ? 0644 : 0755);
    }
    return sfs_builder_add(builder, path, item, err);
}

struct sfs_layer *support_layer_of(const char *const *words)
{
    struct text_layer *layer = calloc(1, sizeof *layer);
    struct sfs_builder *builder = sfs_builder_open();
    struct sfs_error err = { "" };
    cr_assert(layer && builder);
    layer->base.ops = &text_ops;
    layer->base.label = strdup("test layer");
    for (; *words; words++) {
        struct word word;
        split(&word, *words);
        int r = add_path(layer, builder, &word, &err);
        cr_assert_eq(r, 0, "%s: %s", *words, err.text);
        free(word.text);
    }
    int r = sfs_builder_finish(builder, &layer->base.tables, &layer->base.memory, &err);
    cr_assert_eq(r, 0, "%s", err.text);
    sfs_builder_close(&builder);
    return &layer->base;
}

/* What lives as long as the test: Criterion runs each test in a process of its own. It is reachable
 * from here, so it is no leak. */
static struct kept {
    struct kept *next;
    struct sfs_tree *tree;
    struct sfs_layer **layers;
    size_t count;
} * all_kept;

static struct sfs_tree *keep(struct sfs_layer **layers, size_t count)
{
    struct kept *kept = calloc(1, sizeof *kept);
    struct sfs_error err = { "" };
    cr_assert(kept);
    int r = sfs_tree_merge(layers, count, &kept->tree, &err);
    cr_assert_eq(r, 0, "%s", err.text);
    kept->layers = layers;
    kept->count = count;
    kept->next = all_kept;
    all_kept = kept;
    return kept->tree;
}

struct sfs_tree *support_tree_of(const char *const *words)
{
    struct sfs_layer **layers = calloc(1, sizeof(struct sfs_layer *));
    cr_assert(layers);
    layers[0] = support_layer_of(words);
    return keep(layers, 1);
}

struct sfs_tree *support_stack(const struct sfs_tree *below, struct sfs_layer *layer)
{
    const struct kept *found = all_kept;
    while (found && found->tree != below)
        found = found->next;
    cr_assert(found, "the tree is not one of support's");
    struct sfs_layer **layers = calloc(found->count + 1, sizeof(struct sfs_layer *));
    cr_assert(layers);
    for (size_t i = 0; i < found->count; i++)
        layers[i] = found->layers[i];
    layers[found->count] = layer;
    return keep(layers, found->count + (layer != NULL));
}

struct listing {
    const struct sfs_tree *tree;
    unsigned flags;
    struct sfs_buf text;
    char **first_names; /* by node: the first name of what has several */
};

static void add_details(struct listing *listing, sfs_node node, const struct sfs_attr *attr)
{
    if (listing->flags & SUPPORT_MTIME)
        sfs_buf_printf(&listing->text, " @%lld", (long long)attr->mtime_sec);
    if ((listing->flags & SUPPORT_MTIME) && attr->mtime_nsec)
        sfs_buf_printf(&listing->text, ".%u", attr->mtime_nsec);
    uint32_t count =
        listing->flags & SUPPORT_XATTRS ? sfs_tree_xattr_count(listing->tree, node) : 0;
    for (uint32_t i = 0; i < count; i++) {
        struct sfs_xattr xattr = sfs_tree_xattr(listing->tree, node, i);
        sfs_buf_printf(&listing->text, " +%s=%.*s", xattr.name, (int)xattr.size,
                       (const char *)xattr.value);
    }
}

static void add_content_of(struct listing *listing, sfs_node node, uint64_t size)
{
    struct sfs_error err = { "" };
    char *data = calloc(1, size + 1);
    cr_assert(data);
    ssize_t count = sfs_tree_read(listing->tree, node, data, size, 0, &err);
    cr_assert_eq(count, (ssize_t)size, "%s", err.text);
    for (uint64_t i = 0; i < size; i++)
        data[i] = data[i] ? data[i] : '.';
    sfs_buf_printf(&listing->text, "=%s", data);
    free(data);
}

static int list_name(void *user, const char *path, sfs_node node)
{
    struct listing *listing = user;
    struct sfs_attr attr;
    if (*path == '\0')
        return 0;
    sfs_tree_attr(listing->tree, node, &attr);
    if (!S_ISDIR(attr.mode) && listing->first_names[node]) {
        sfs_buf_printf(&listing->text, "h %s == %s\n", path, listing->first_names[node]);
        return 0;
    }
    if (!S_ISDIR(attr.mode))
        listing->first_names[node] = strdup(path);
    char kind = S_ISDIR(attr.mode)   ? 'd'
                : S_ISREG(attr.mode) ? 'f'
                : S_ISLNK(attr.mode) ? 'l'
                : S_ISCHR(attr.mode) ? 'c'
                : S_ISBLK(attr.mode) ? 'b'
                                     : 'p';
    sfs_buf_printf(&listing->text, "%c %04o %u:%u %s", kind, attr.mode & 07777, attr.uid, attr.gid,
                   path);
    if (kind == 'd')
        sfs_buf_add_str(&listing->text, "/");
    else if (kind == 'f')
        add_content_of(listing, node, attr.size);
    else if (kind == 'l')
        sfs_buf_printf(&listing->text, " -> %s", sfs_tree_target(listing->tree, node));
    else if (kind != 'p')
        sfs_buf_printf(&listing->text, " %u,%u", attr.rdev_major, attr.rdev_minor);
    add_details(listing, node, &attr);
    sfs_buf_add_str(&listing->text, "\n");
    return 0;
}

char *support_list(const struct sfs_tree *tree, unsigned flags)
{
    struct listing listing = { .tree = tree, .flags = flags };
    struct sfs_error err = { "" };
    uint32_t count = sfs_tree_count(tree);
    listing.first_names = calloc(count, sizeof *listing.first_names);
    cr_assert(listing.first_names);
    sfs_buf_add_str(&listing.text, "");
    int r = sfs_tree_walk(tree, SFS_ROOT, list_name, &listing, &err);
    cr_assert_eq(r, 0, "%s", err.text);
    for (uint32_t i = 0; i < count; i++)
        free(listing.first_names[i]);
    free(listing.first_names);
    return listing.text.data;
}

void support_expect_of(const struct sfs_tree *tree, unsigned flags, const char *const *lines)
{
    struct sfs_buf expected = { 0 };
    sfs_buf_add_str(&expected, "");
    for (; *lines; lines++)
        sfs_buf_printf(&expected, "%s\n", *lines);
    char *got = support_list(tree, flags);
    cr_expect_str_eq(got, expected.data, "got:\n%sexpected:\n%s", got, expected.data);
    free(got);
    sfs_buf_close(&expected);
}

void support_vectors(const char *name, char path[4096])
{
    const char *other = getenv("SFS_VECTORS"), *own = getenv("SFS_TEST_DATA");
    const char *folder = other ? other : own ? own : "tests/data";
    int size = snprintf(path, 4096, "%s/%s", folder, name);
    cr_assert(size > 0 && size < 4096, "SFS_VECTORS is too long");
}

static void keep_warning(void *user, const char *text)
{
    struct support_warnings *warnings = user;
    warnings->count++;
    snprintf(warnings->last, sizeof warnings->last, "%s", text);
}

static void ignore_progress(void *user, const char *what, uint64_t done, uint64_t total)
{
    (void)user, (void)what, (void)done, (void)total;
}

void support_warnings_init(struct support_warnings *warnings)
{
    *warnings = (struct support_warnings){
        .progress = { .report = ignore_progress, .warn = keep_warning, .user = warnings },
    };
}

unsigned support_step(void)
{
    const char *asked = getenv("SUPPORT_STEP");
    unsigned step = asked ? (unsigned)strtoul(asked, NULL, 10) : 1;
    return step > 0 ? step : 1;
}
