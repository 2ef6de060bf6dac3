/* One walk finds the places that tell of packages; their readers make packages and claims; sorted,
 * the claims of a package are one run. */
#include "slim/packages_maker.h"

#include "base/array.h"
#include "base/limits.h"
#include "base/path.h"
#include "base/warn.h"
#include "tree/tree_inner.h"
#include <errno.h>
#include <stagefs/auto.h>
#include <sys/stat.h>

#define MAX_WARNINGS 10
#define MAX_PLACE    4095u /* bytes of the path of a place: no program opens a longer one */

struct sfs_packages {
    struct sfs_package *items;
    uint32_t count;
    sfs_node *nodes;                     /* what items[].nodes point into */
    uint32_t *owners[SFS_PACKAGE_KINDS]; /* by node: 1 + its package; 0: none */
};

void sfs_packages_close(struct sfs_packages **packages_ptr)
{
    struct sfs_packages *packages = TAKE(*packages_ptr);
    if (!packages)
        return;
    for (uint32_t i = 0; i < packages->count; i++) {
        free(packages->items[i].name);
        free(packages->items[i].version);
        free(packages->items[i].requires);
    }
    for (size_t i = 0; i < SFS_PACKAGE_KINDS; i++)
        free(packages->owners[i]);
    free(packages->items);
    free(packages->nodes);
    free(packages);
}

uint32_t sfs_packages_count(const struct sfs_packages *packages)
{
    return packages->count;
}

const struct sfs_package *sfs_packages_get(const struct sfs_packages *packages, uint32_t i)
{
    return &packages->items[i];
}

uint32_t sfs_packages_owner_of_kind(const struct sfs_packages *packages, sfs_node node,
                                    enum sfs_package_kind kind)
{
    uint32_t owner = packages->owners[kind][node];
    return owner ? owner - 1 : SFS_NO_PACKAGE;
}

uint32_t sfs_packages_owner(const struct sfs_packages *packages, sfs_node node)
{
    uint32_t owner = SFS_NO_PACKAGE;
    for (int kind = 0; kind < SFS_PACKAGE_KINDS && owner == SFS_NO_PACKAGE; kind++)
        owner = sfs_packages_owner_of_kind(packages, node, (enum sfs_package_kind)kind);
    return owner;
}

const char *sfs_package_kind_words(enum sfs_package_kind kind)
{
    static const char *const words[] = { "Debian package", "Alpine package", "conda package",
                                         "Python distribution" };
    return words[kind];
}

/* ---- for the readers ---- */

void sfs_packages_warn(struct packages_maker *maker, const char *path, const char *why)
{
    if (maker->warnings++ < MAX_WARNINGS)
        sfs_fail_or_warn(NULL, maker->progress, false, EBADMSG,
                         "/%s is not used to tell which package files belong to: %s", path, why);
}

static int read_node(struct packages_maker *maker, const char *path, sfs_node node, size_t size,
                     char **ret_text, size_t *ret_size)
{
    AUTO(sfs_free) char *text = malloc(size + 1);
    if (!text)
        return sfs_fail_memory(maker->err);
    size_t at = 0;
    while (at < size) {
        ssize_t n = sfs_tree_read(maker->tree, node, text + at, size - at, at, maker->err);
        if (n < 0)
            return sfs_fail_while(maker->err, (int)n, "reading /%s", path);
        if (n == 0)
            break;
        at += (size_t)n;
    }
    text[at] = 0;
    *ret_size = at;
    *ret_text = TAKE(text);
    return 0;
}

int sfs_packages_read(struct packages_maker *maker, const char *path, char **ret_text,
                      size_t *ret_size)
{
    sfs_node node;
    struct sfs_attr attr;
    *ret_text = NULL;
    *ret_size = 0;
    if (sfs_tree_resolve(maker->tree, path, SFS_RESOLVE_FOLLOW, &node, NULL) < 0)
        return 0;
    sfs_tree_attr(maker->tree, node, &attr);
    if (!S_ISREG(attr.mode))
        return 0;
    if (attr.size > SFS_MAX_PACKAGE_FILE || attr.size + maker->bytes_read > SFS_MAX_PACKAGE_FILES) {
        sfs_packages_warn(maker, path, "it is too large");
        return 0;
    }
    maker->bytes_read += attr.size;
    return read_node(maker, path, node, (size_t)attr.size, ret_text, ret_size);
}

char *sfs_packages_field(const char *text, const char *key)
{
    size_t size = strlen(key);
    while (*text && *text != '\n') {
        size_t line = strcspn(text, "\n");
        if (line > size && strncmp(text, key, size) == 0 && text[size] == ':') {
            const char *value = text + size + 1, *end = text + line;
            value += strspn(value, " \t");
            while (end > value && (end[-1] == ' ' || end[-1] == '\r'))
                end--;
            return strndup(value, end > value ? (size_t)(end - value) : 0);
        }
        text += line + (text[line] == '\n');
    }
    return NULL;
}

int sfs_packages_begin(struct packages_maker *maker, enum sfs_package_kind kind, const char *path,
                       const char *name, const char *version)
{
    struct sfs_packages *packages = maker->packages;
    sfs_node home = SFS_ROOT, place = SFS_ROOT;
    if (packages->count == SFS_MAX_PACKAGES)
        return -E2BIG;
    if (SFS_ARRAY_GROW(packages->items, packages->count, maker->capacity, 256) < 0)
        return sfs_fail_memory(maker->err);
    maker->path.size = 0;
    sfs_buf_add(&maker->path, path, (size_t)(sfs_path_base(path) - path));
    if (sfs_buf_check(&maker->path, maker->err) < 0)
        return -ENOMEM;
    sfs_tree_resolve(maker->tree, maker->path.data, SFS_RESOLVE_FOLLOW, &place, NULL);
    sfs_tree_resolve(maker->tree, path, SFS_RESOLVE_FOLLOW, &home, NULL);
    struct sfs_package *package = &packages->items[packages->count++];
    *package = (struct sfs_package){ .kind = kind,
                                     .name = strndup(name, SFS_MAX_PACKAGE_NAME),
                                     .version = strndup(version, SFS_MAX_PACKAGE_NAME),
                                     .home = home,
                                     .place = place };
    return package->name && package->version ? 0 : sfs_fail_memory(maker->err);
}

int sfs_packages_require(struct packages_maker *maker, struct sfs_buf *lines)
{
    if (sfs_buf_check(lines, maker->err) < 0)
        return -ENOMEM;
    struct sfs_package *package = &maker->packages->items[maker->packages->count - 1];
    free(package->requires);
    package->requires = TAKE(lines->data);
    *lines = (struct sfs_buf){ 0 };
    return 0;
}

/* The first package of a kind that names a file has it. */
static int claim_node(struct packages_maker *maker, uint32_t package, sfs_node node)
{
    struct sfs_attr attr;
    sfs_tree_attr(maker->tree, node, &attr);
    uint32_t *owner = &maker->packages->owners[maker->packages->items[package].kind][node];
    if (!S_ISDIR(attr.mode) && *owner == 0)
        *owner = package + 1;
    if (SFS_ARRAY_GROW(maker->claims, maker->claim_count, maker->claim_capacity, 4096) < 0)
        return sfs_fail_memory(maker->err);
    maker->claims[maker->claim_count++] = (struct package_claim){ package, node };
    return 0;
}

int sfs_packages_claim(struct packages_maker *maker, const char *base, const char *text,
                       size_t size)
{
    sfs_node node;
    if (size == 0 || size > SFS_MAX_PATH || memchr(text, 0, size) ||
        maker->names_read++ >= SFS_MAX_PACKAGE_NAMES)
        return 0;
    maker->path.size = 0;
    if (*text != '/') {
        sfs_buf_add_str(&maker->path, base);
        sfs_buf_add(&maker->path, "/", 1);
    }
    sfs_buf_add(&maker->path, text, size);
    if (sfs_buf_check(&maker->path, maker->err) < 0)
        return -ENOMEM;
    if (sfs_tree_resolve(maker->tree, maker->path.data, 0, &node, NULL) < 0)
        return 0;
    return claim_node(maker, maker->packages->count - 1, node);
}

static int claim_visited(void *user, const char *path, sfs_node node)
{
    (void)path;
    struct packages_maker *maker = user;
    if (maker->names_read++ >= SFS_MAX_PACKAGE_NAMES)
        return 0;
    return claim_node(maker, maker->packages->count - 1, node);
}

int sfs_packages_claim_below(struct packages_maker *maker, const char *path)
{
    sfs_node node;
    if (sfs_tree_resolve(maker->tree, path, 0, &node, NULL) < 0)
        return 0;
    return sfs_tree_walk(maker->tree, node, claim_visited, maker, maker->err);
}

/* ---- the walk ---- */

static int add_place(struct package_places *places, const char *path, sfs_node node)
{
    if (places->count >= SFS_MAX_PACKAGES || strlen(path) > MAX_PLACE)
        return 0;
    if (SFS_ARRAY_GROW(places->items, places->count, places->capacity, 64) < 0)
        return -ENOMEM;
    char *copy = strdup(path);
    if (copy)
        places->items[places->count++] = (struct package_place){ copy, node };
    return copy ? 0 : -ENOMEM;
}

static void places_done(struct package_places *places)
{
    for (size_t i = 0; i < places->count; i++)
        free(places->items[i].path);
    free(places->items);
}

static bool ends_with(const char *text, const char *end)
{
    size_t size = strlen(text), end_size = strlen(end);
    return size > end_size && strcmp(text + size - end_size, end) == 0;
}

static int find_place(void *user, const char *path, sfs_node node)
{
    struct packages_maker *maker = user;
    struct package_places *places = NULL;
    if (ends_with(path, ".egg-info"))
        places = &maker->eggs;
    else if (ends_with(path, ".dist-info"))
        places = &maker->dist_infos;
    else if (ends_with(path, "/__pycache__"))
        places = &maker->pycaches;
    else if (strcmp(path, "conda-meta") == 0 || ends_with(path, "/conda-meta"))
        places = &maker->conda_metas;
    if (!places || add_place(places, places == &maker->pycaches ? "" : path, node) == 0)
        return 0;
    return sfs_fail_memory(maker->err);
}

/* ---- bytecode ----
 *
 * What Python compiled after a package was installed stands in no list: it belongs to whom its
 * source belongs to. */

static int adopt(struct packages_maker *maker, sfs_node bytecode, sfs_node source)
{
    int r = 0;
    for (size_t kind = 0; r == 0 && kind < SFS_PACKAGE_KINDS; kind++) {
        const uint32_t *owners = maker->packages->owners[kind];
        if (owners[bytecode] == 0 && owners[source] != 0)
            r = claim_node(maker, owners[source] - 1, bytecode);
    }
    return r;
}

static int adopt_bytecode(struct packages_maker *maker, sfs_node pycache)
{
    uint32_t count;
    const struct sfs_dirent *entries = sfs_tree_list(maker->tree, pycache, &count);
    int r = 0;
    for (uint32_t i = 0; r == 0 && i < count; i++) {
        char source[SFS_MAX_NAME + 4];
        size_t stem = strcspn(entries[i].name, ".");
        sfs_node node;
        if (stem > SFS_MAX_NAME || !ends_with(entries[i].name, ".pyc"))
            continue;
        int size = snprintf(source, sizeof source, "%.*s.py", (int)stem, entries[i].name);
        if (sfs_tree_find(maker->tree, sfs_tree_parent(maker->tree, pycache), source, (size_t)size,
                          &node) == 0)
            r = adopt(maker, entries[i].node, node);
    }
    return r;
}

/* ---- the whole ---- */

static int compare_claims(const void *left, const void *right)
{
    const struct package_claim *a = left, *b = right;
    if (a->package != b->package)
        return a->package < b->package ? -1 : 1;
    return (a->node > b->node) - (a->node < b->node);
}

/* Gives each package its run of nodes, each once. */
static int sort_claims(struct packages_maker *maker)
{
    struct sfs_packages *packages = maker->packages;
    packages->nodes = calloc(maker->claim_count + 1, sizeof *packages->nodes);
    if (!packages->nodes)
        return sfs_fail_memory(maker->err);
    if (maker->claim_count > 0)
        qsort(maker->claims, maker->claim_count, sizeof *maker->claims, compare_claims);
    size_t count = 0;
    for (size_t i = 0; i < maker->claim_count; i++) {
        const struct package_claim *claim = &maker->claims[i];
        if (i > 0 && compare_claims(claim, claim - 1) == 0)
            continue;
        struct sfs_package *package = &packages->items[claim->package];
        if (package->node_count++ == 0)
            package->nodes = packages->nodes + count;
        packages->nodes[count++] = claim->node;
    }
    return 0;
}

static int read_all(struct packages_maker *maker)
{
    int (*const readers[])(
        struct packages_maker *) = { sfs_packages_read_debian, sfs_packages_read_alpine,
                                     sfs_packages_read_conda, sfs_packages_read_python };
    int r = sfs_tree_walk(maker->tree, SFS_ROOT, find_place, maker, maker->err);
    for (size_t i = 0; r == 0 && i < sizeof readers / sizeof *readers; i++)
        r = readers[i](maker);
    if (r == -E2BIG) {
        sfs_packages_warn(maker, "", "there are too many packages");
        r = 0;
    }
    for (size_t i = 0; r == 0 && i < maker->pycaches.count; i++)
        r = adopt_bytecode(maker, maker->pycaches.items[i].node);
    return r == 0 ? sort_claims(maker) : r;
}

static void maker_done(struct packages_maker *maker)
{
    places_done(&maker->dist_infos);
    places_done(&maker->eggs);
    places_done(&maker->conda_metas);
    places_done(&maker->pycaches);
    sfs_packages_close(&maker->packages);
    free(maker->claims);
    sfs_buf_close(&maker->path);
}

int sfs_packages_open(const struct sfs_tree *tree, const struct sfs_progress *progress,
                      struct sfs_packages **ret_packages, struct sfs_error *err)
{
    AUTO(maker_done)
    struct packages_maker maker = { .tree = tree,
                                    .progress = progress,
                                    .err = err,
                                    .packages = calloc(1, sizeof *maker.packages) };
    if (!maker.packages)
        return sfs_fail_memory(err);
    for (size_t i = 0; i < SFS_PACKAGE_KINDS; i++) {
        maker.packages->owners[i] = calloc(sfs_tree_count(tree), sizeof **maker.packages->owners);
        if (!maker.packages->owners[i])
            return sfs_fail_memory(err);
    }
    int r = read_all(&maker);
    if (r == 0)
        *ret_packages = TAKE(maker.packages);
    return r;
}
