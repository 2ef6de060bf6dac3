/* The merge against a model that does what an extraction does: it applies record after record to a
 * map of paths. Records whose meaning in a layer depends on their order, which tables do not keep,
 * are left out; so are those that an extraction refuses. */
#include "tree_text.h"

#define MAX_FILES  400
#define MAX_LAYERS 6
#define MAX_PATH   128

struct file {
    char path[MAX_PATH]; /* without symlinks */
    int inode;
};

struct inode {
    char kind;           /* 'd', 'f', 'l' */
    char text[MAX_PATH]; /* mode, content or target */
    int layer;
};

struct world {
    struct file files[MAX_FILES];
    int count;
};

struct model {
    struct world now, before; /* before: when the current layer began */
    struct inode inodes[MAX_FILES];
    int inode_count;
    int layer;
    /* What this layer has named, and the symlinks it went through: both may not change again. */
    char fixed[MAX_FILES][MAX_PATH];
    int fixed_count;
    /* What this layer's paths lead through, as written: directories in its tables. */
    char passed[MAX_FILES][MAX_PATH];
    char named[MAX_FILES][MAX_PATH]; /* its names, as written */
    int named_count;
    int passed_count;
    /* Its hard links, and symlinks that it wrote through symlinks: what they are, or where, is not
     * in its tables, so it does not go through them. */
    char linked[MAX_FILES][MAX_PATH];
    int linked_count;
    uint64_t random;
};

static unsigned roll(struct model *model, unsigned sides)
{
    model->random = model->random * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)(model->random >> 33) % sides;
}

static struct file *find(struct world *world, const char *path)
{
    for (int i = 0; i < world->count; i++)
        if (strcmp(world->files[i].path, path) == 0)
            return &world->files[i];
    return NULL;
}

static bool is_below(const char *path, const char *dir)
{
    size_t size = strlen(dir);
    return size == 0 ? *path != '\0' : strncmp(path, dir, size) == 0 && path[size] == '/';
}

static void remove_below(struct world *world, const char *dir, bool itself)
{
    int kept = 0;
    for (int i = 0; i < world->count; i++) {
        const char *path = world->files[i].path;
        if (!is_below(path, dir) && !(itself && strcmp(path, dir) == 0))
            world->files[kept++] = world->files[i];
    }
    world->count = kept;
}

static void put(struct model *model, const char *path, int inode)
{
    struct file *file = find(&model->now, path);
    if (!file) {
        cr_assert_lt(model->now.count, MAX_FILES);
        file = &model->now.files[model->now.count++];
        snprintf(file->path, sizeof file->path, "%s", path);
    }
    file->inode = inode;
}

static int new_inode(struct model *model, char kind, const char *text)
{
    cr_assert_lt(model->inode_count, MAX_FILES);
    struct inode *inode = &model->inodes[model->inode_count];
    *inode = (struct inode){ .kind = kind, .layer = model->layer };
    snprintf(inode->text, sizeof inode->text, "%s", text);
    return model->inode_count++;
}

static void fix(struct model *model, const char *path)
{
    cr_assert_lt(model->fixed_count, MAX_FILES);
    snprintf(model->fixed[model->fixed_count++], MAX_PATH, "%s", path);
}

static bool is_fixed(const struct model *model, const char *path)
{
    for (int i = 0; i < model->fixed_count; i++)
        if (strcmp(model->fixed[i], path) == 0)
            return true;
    return false;
}

static bool holds_fixed(const struct model *model, const char *path)
{
    for (int i = 0; i < model->fixed_count; i++)
        if (is_below(model->fixed[i], path))
            return true;
    return false;
}

static void pass(struct model *model, const char *path, bool itself)
{
    for (size_t size = 1;; size++) {
        if (path[size] != '/' && path[size] != '\0')
            continue;
        if (path[size] == '\0' && !itself)
            return;
        cr_assert_lt(model->passed_count, MAX_FILES);
        snprintf(model->passed[model->passed_count++], MAX_PATH, "%.*s", (int)size, path);
        if (path[size] == '\0')
            return;
    }
}

static bool is_passed(const struct model *model, const char *path)
{
    for (int i = 0; i < model->passed_count; i++)
        if (strcmp(model->passed[i], path) == 0)
            return true;
    return false;
}

static bool is_linked(const struct model *model, const char *path)
{
    for (int i = 0; i < model->linked_count; i++)
        if (strcmp(model->linked[i], path) == 0)
            return true;
    return false;
}

/* Where `path` really is: its parents' symlinks followed, missing parents taken as they are. False:
 * something on the way is a file, leads nowhere, or loops. The symlinks met are added to `links`.
 */
static bool resolve(struct model *model, struct world *world, const char *path, char *ret_path,
                    char (*links)[MAX_PATH], int *link_count)
{
    char rest[4 * MAX_PATH], real[MAX_PATH] = "";
    snprintf(rest, sizeof rest, "%s", path);
    for (int hops = 0;;) {
        char *name = rest + strspn(rest, "/");
        size_t size = strcspn(name, "/");
        const char *behind = name + size + strspn(name + size, "/");
        char next[2 * MAX_PATH];
        snprintf(next, sizeof next, "%s%s%.*s", real, *real ? "/" : "", (int)size, name);
        if (strlen(next) >= MAX_PATH)
            return false;
        snprintf(real, sizeof real, "%s", next);
        if (!*behind) {
            snprintf(ret_path, MAX_PATH, "%s", real);
            return true;
        }
        const struct file *file = find(world, real);
        const struct inode *inode = file ? &model->inodes[file->inode] : NULL;
        if (inode && inode->kind == 'f')
            return false;
        if (inode && inode->kind == 'l') {
            if (++hops > 8 || is_linked(model, real))
                return false;
            snprintf(links[(*link_count)++], MAX_PATH, "%s", real);
            char joined[8 * MAX_PATH];
            snprintf(joined, sizeof joined, "%s/%s", inode->text, behind);
            if (strlen(joined) >= sizeof rest)
                return false;
            char *slash = strrchr(real, '/');
            *(slash && inode->text[0] != '/' ? slash : real) = '\0';
            snprintf(rest, sizeof rest, "%s", joined);
            continue;
        }
        if (!inode && hops > 0)
            return false;
        memmove(rest, behind, strlen(behind) + 1);
    }
}

static void make_parents(struct model *model, const char *path)
{
    for (const char *slash = strchr(path, '/'); slash; slash = strchr(slash + 1, '/')) {
        char dir[MAX_PATH];
        snprintf(dir, sizeof dir, "%.*s", (int)(slash - path), path);
        if (!find(&model->now, dir))
            put(model, dir, new_inode(model, 'd', "755"));
    }
}

static bool holds_symlink(const struct model *model, const char *path)
{
    for (int i = 0; i < model->now.count; i++) {
        const struct file *file = &model->now.files[i];
        if (model->inodes[file->inode].kind == 'l' &&
            (is_below(file->path, path) || strcmp(file->path, path) == 0))
            return true;
    }
    return false;
}

static bool apply_whiteout(struct model *model, const char *path, bool opaque)
{
    char real[MAX_PATH], links[16][MAX_PATH], inside[MAX_PATH + 2];
    int link_count = 0;
    /* The directory of an opaque mark is resolved whole. */
    snprintf(inside, sizeof inside, "%s%s", path, opaque ? "/x" : "");
    if (!resolve(model, &model->now, inside, real, links, &link_count))
        return link_count == 0; /* below a file: does nothing */
    if (opaque)
        real[strlen(real) - 2] = '\0';
    for (int i = 0; i < link_count; i++)
        fix(model, links[i]);
    if (holds_fixed(model, real) || is_fixed(model, real) ||
        (link_count > 0 && holds_symlink(model, real)))
        return false;
    if (link_count > 0)
        fix(model, real);
    pass(model, real, opaque);
    remove_below(&model->now, real, !opaque);
    return true;
}

/* The inode that a hard link to `path` gets, or -1. */
static int find_target(struct model *model, const char *path, const char *name)
{
    char real[MAX_PATH], old[MAX_PATH], links[16][MAX_PATH];
    int link_count = 0;
    if (!resolve(model, &model->now, path, real, links, &link_count) || strcmp(real, name) == 0)
        return -1;
    const struct file *file = find(&model->now, real);
    if (!file || model->inodes[file->inode].kind == 'd')
        return -1;
    if (is_passed(model, path) || is_passed(model, real))
        return -1;
    for (int i = 0; i < model->named_count; i++)
        if (strcmp(model->named[i], path) == 0 && strcmp(path, real) == 0)
            return file->inode;
    if (is_fixed(model, real))
        return -1;
    /* Tables do not tell what was named first: it must be the same before this layer and now. */
    if (is_fixed(model, path) || !resolve(model, &model->before, path, old, links, &link_count))
        return -1;
    const struct file *before = find(&model->before, old);
    return before && before->inode == file->inode ? file->inode : -1;
}

static bool apply(struct model *model, char kind, const char *path, const char *text)
{
    char real[MAX_PATH], links[16][MAX_PATH];
    int link_count = 0;
    if (!resolve(model, &model->now, path, real, links, &link_count))
        return false;
    struct file *there = find(&model->now, real);
    bool stays = kind == 'd' && there && model->inodes[there->inode].kind == 'd';
    if (is_fixed(model, real) || is_fixed(model, path) || (kind != 'd' && holds_fixed(model, real)))
        return false;
    if (kind != 'd' && is_passed(model, real))
        return false;
    for (int i = 0; i < link_count; i++)
        if (strcmp(links[i], real) == 0 || is_below(links[i], real))
            return false;
    int inode = -1;
    if (kind == 'h') {
        inode = find_target(model, text, real);
        if (inode < 0)
            return false;
    }
    if (!stays)
        remove_below(&model->now, real, true);
    make_parents(model, real);
    put(model, real, kind == 'h' ? inode : new_inode(model, kind, text));
    fix(model, real);
    if (kind == 'h' || (kind == 'l' && strcmp(path, real) != 0))
        snprintf(model->linked[model->linked_count++], MAX_PATH, "%s", real);
    snprintf(model->named[model->named_count++], MAX_PATH, "%s", path);
    pass(model, real, false);
    for (int i = 0; i < link_count; i++)
        fix(model, links[i]);
    return true;
}

static void random_path(struct model *model, char *path, size_t size)
{
    unsigned depth = 1 + roll(model, 3);
    *path = '\0';
    for (unsigned i = 0; i < depth; i++) {
        size_t used = strlen(path);
        snprintf(path + used, size - used, "%s%c", i ? "/" : "", 'a' + (int)roll(model, 4));
    }
}

static void random_text(struct model *model, char kind, char *text, size_t size)
{
    char path[MAX_PATH / 2];
    random_path(model, path, sizeof path);
    switch (kind) {
    case 'd':
        snprintf(text, size, "7%u%u", roll(model, 8), roll(model, 8));
        break;
    case 'f':
        snprintf(text, size, "%d.%d", model->layer, model->inode_count);
        break;
    case 'l':
        snprintf(text, size, "%s%s", roll(model, 3) ? "/" : "", path);
        break;
    default:
        snprintf(text, size, "%s", path);
    }
}

/* One layer's records, as the model took them. */
static void random_layer(struct model *model, struct sfs_buf *records)
{
    model->before = model->now;
    model->fixed_count = model->passed_count = model->named_count = model->linked_count = 0;
    unsigned hidden = model->layer ? roll(model, 4) : 0, named = 1 + roll(model, 10);
    for (unsigned i = 0; i < hidden + named; i++) {
        char path[MAX_PATH / 2], text[MAX_PATH] = "";
        random_path(model, path, sizeof path);
        char kind = i < hidden ? "wwwo"[roll(model, 4)] : "dddffffflllhhh"[roll(model, 14)];
        if (i < hidden) {
            if (!apply_whiteout(model, path, kind == 'o'))
                continue;
        } else {
            random_text(model, kind, text, sizeof text);
            if (!apply(model, kind, path, text))
                continue;
        }
        pass(model, path, kind == 'o');
        sfs_buf_printf(records, "%c %s %s;", kind, path, text);
    }
    model->layer++;
}

static int compare_files(const void *a, const void *b)
{
    /* By components: '/' sorts before everything. */
    const char *left = ((const struct file *)a)->path, *right = ((const struct file *)b)->path;
    while (*left && *left == *right)
        left++, right++;
    int l = *left == '/' ? 1 : (unsigned char)*left, r = *right == '/' ? 1 : (unsigned char)*right;
    return l - r;
}

static char *model_text(struct model *model)
{
    struct sfs_buf out = { 0 };
    sfs_buf_add_str(&out, "");
    int names[MAX_FILES] = { 0 }, groups[MAX_FILES] = { 0 }, group_count = 0;
    qsort(model->now.files, (size_t)model->now.count, sizeof model->now.files[0], compare_files);
    for (int i = 0; i < model->now.count; i++)
        names[model->now.files[i].inode]++;
    for (int i = 0; i < model->now.count; i++) {
        const struct file *file = &model->now.files[i];
        const struct inode *inode = &model->inodes[file->inode];
        const char *between = inode->kind == 'd' ? "/ " : inode->kind == 'l' ? " -> " : " ";
        sfs_buf_printf(&out, "%s%s%s", file->path, between, inode->text);
        if (names[file->inode] > 1) {
            if (groups[file->inode] == 0)
                groups[file->inode] = ++group_count;
            sfs_buf_printf(&out, " #%d", groups[file->inode]);
        }
        sfs_buf_add_str(&out, "\n");
    }
    return out.data;
}

static void compare_with_model(uint64_t seed)
{
    AUTO(sfs_free) struct model *model = calloc(1, sizeof *model);
    AUTO(tree_text_close) struct tree_text merged = { 0 };
    struct sfs_buf all = { 0 };
    model->random = seed * 2654435761u + 1;
    unsigned layers = 1 + roll(model, MAX_LAYERS);
    for (unsigned i = 0; i < layers; i++) {
        struct sfs_buf records = { 0 };
        sfs_buf_add_str(&records, "");
        random_layer(model, &records);
        tree_text_add(&merged, records.data);
        sfs_buf_printf(&all, "  layer %u: %s\n", i, records.data);
        sfs_buf_close(&records);
    }
    struct sfs_error err;
    cr_assert_eq(tree_text_try_merge(&merged, &err), 0, "seed %llu: %s\n%s",
                 (unsigned long long)seed, err.text, all.data);
    AUTO(sfs_free) char *actual = tree_text(merged.tree);
    AUTO(sfs_free) char *expected = model_text(model);
    cr_assert_str_eq(actual, expected, "seed %llu\n%sgot:\n%sexpected:\n%s",
                     (unsigned long long)seed, all.data, actual, expected);
    sfs_buf_close(&all);
}

Test(tree_random, gives_what_extraction_gives)
{
    const char *count = getenv("TREE_RANDOM_SEEDS");
    for (uint64_t seed = 0; seed < (count ? strtoull(count, NULL, 10) : 20000); seed++)
        compare_with_model(seed);
}
