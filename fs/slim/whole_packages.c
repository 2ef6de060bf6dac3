/* What was used comes first; then a list of packages, each with the extra for the sake of which it
 * is required, grows behind the one that is looked at. */
#include "slim/whole_packages.h"

#include "base/array.h"
#include "base/banned.h"
#include "slim/requirement.h"
#include "tree/nodes.h"
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

struct named_package { /* a package by its name as requirements have it */
    char *name;
    uint32_t package;
};

struct wanted_package {
    uint32_t package;
    char *extra; /* ""; or it is there for more than itself: NAME[extra]; owned */
};

struct whole {
    struct sfs_kept *kept;
    const struct sfs_packages *packages;
    bool nvidia_only;
    uint32_t *users;             /* by package: 1 + the name that uses it; 0: none does */
    bool *is_required;           /* by package: nothing of it was used */
    struct named_package *names; /* of Python and Debian, sorted */
    uint32_t name_count;
    struct wanted_package *wanted;
    size_t wanted_count, wanted_capacity;
    uint32_t extras_read, candidates_read; /* each has a cap */
    uint64_t bytes_read;                   /* of requirements; so has this */
    /* By node: 1 + the name because of which it is kept; and because of which it is, unless it is a
     * library. */
    uint32_t *causes, *rest_causes;
};

static void whole_done(struct whole *whole)
{
    for (uint32_t i = 0; i < whole->name_count; i++)
        free(whole->names[i].name);
    for (size_t i = 0; i < whole->wanted_count; i++)
        free(whole->wanted[i].extra);
    free(whole->names);
    free(whole->wanted);
    free(whole->users);
    free(whole->is_required);
    free(whole->causes);
    free(whole->rest_causes);
}

/* ---- what was used ---- */

static bool is_library(const char *name)
{
    return strncmp(name, "lib", 3) == 0 && strstr(name, ".so");
}

/* Did a program use its package with this file? A Python distribution is not used by a look whether
 * a module of it is there, the loader's taking of a library, or a look at the metadata of all
 * distributions that there are. */
static bool uses_package(const struct sfs_kept *kept, sfs_name name,
                         const struct sfs_package *package)
{
    return package->kind != SFS_PACKAGE_PYTHON ||
           (kept->names[name].is_opened && !is_library(sfs_kept_entry(kept, name)->name) &&
            kept->names[name].dir != package->home);
}

static void find_used(struct whole *whole)
{
    static const enum sfs_package_kind kinds[] = { SFS_PACKAGE_PYTHON, SFS_PACKAGE_DEBIAN,
                                                   SFS_PACKAGE_ALPINE, SFS_PACKAGE_CONDA };
    const struct sfs_kept *kept = whole->kept;
    for (uint32_t i = 0; i < kept->kept_count; i++) {
        sfs_name name = kept->queue[i];
        for (size_t k = 0; k < sizeof kinds / sizeof *kinds && sfs_kept_is_used_file(kept, name);
             k++) {
            uint32_t owner = sfs_packages_owner_of_kind(whole->packages,
                                                        sfs_kept_entry(kept, name)->node, kinds[k]);
            if (owner != SFS_NO_PACKAGE && whole->users[owner] == 0 &&
                uses_package(kept, name, sfs_packages_get(whole->packages, owner)))
                whole->users[owner] = name + 1;
        }
    }
}

/* ---- what is required ---- */

static int compare_names(const void *left, const void *right)
{
    const struct named_package *a = left, *b = right;
    int order = strcmp(a->name, b->name);
    return order ? order : (a->package > b->package) - (a->package < b->package);
}

static int note_names(struct whole *whole)
{
    uint32_t count = sfs_packages_count(whole->packages);
    whole->names = calloc(count + 1, sizeof *whole->names);
    if (!whole->names)
        return -ENOMEM;
    for (uint32_t i = 0; i < count; i++) {
        const struct sfs_package *package = sfs_packages_get(whole->packages, i);
        char name[SFS_MAX_PACKAGE_NAME + 1];
        sfs_requirement_name(package->name, strlen(package->name), name);
        struct named_package *named = &whole->names[whole->name_count];
        *named = (struct named_package){ strdup(name), i };
        if (!named->name)
            return -ENOMEM;
        whole->name_count++;
    }
    if (whole->name_count > 0)
        qsort(whole->names, whole->name_count, sizeof *whole->names, compare_names);
    return 0;
}

static bool is_wanted(const struct whole *whole, uint32_t package, const char *extra)
{
    if (!*extra)
        return whole->users[package] != 0;
    for (size_t i = 0; i < whole->wanted_count; i++)
        if (whole->wanted[i].package == package && strcmp(whole->wanted[i].extra, extra) == 0)
            return true;
    return false;
}

static int want(struct whole *whole, uint32_t package, const char *extra)
{
    if (SFS_ARRAY_GROW(whole->wanted, whole->wanted_count, whole->wanted_capacity, 64) < 0)
        return -ENOMEM;
    char *copy = strdup(extra);
    if (!copy)
        return -ENOMEM;
    whole->wanted[whole->wanted_count++] = (struct wanted_package){ package, copy };
    return 0;
}

/* Wants a package that another requires, with the extras that it asks for. */
static int require(struct whole *whole, uint32_t by, uint32_t package,
                   const struct sfs_requirement *requirement)
{
    struct sfs_requirement rest = *requirement;
    char extra[SFS_MAX_PACKAGE_NAME + 1] = "";
    int r = 0;
    if (!is_wanted(whole, package, "")) {
        whole->users[package] = whole->users[by];
        whole->is_required[package] = true;
        r = want(whole, package, "");
    }
    while (r == 0 && sfs_requirement_next_extra(&rest, extra))
        if (whole->extras_read++ < SFS_MAX_EXTRAS && !is_wanted(whole, package, extra))
            r = want(whole, package, extra);
    return r;
}

/* The first package whose name is not less. */
static uint32_t find_name(const struct whole *whole, const char *name)
{
    uint32_t low = 0, high = whole->name_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (strcmp(whole->names[middle].name, name) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* Wants each package of that name that the other may mean: those beside it, or all. Returns how
 * many there are, or -ENOMEM. */
static int require_those(struct whole *whole, uint32_t by,
                         const struct sfs_requirement *requirement, bool beside)
{
    const struct sfs_package *user = sfs_packages_get(whole->packages, by);
    int found = 0, r = 0;
    for (uint32_t i = find_name(whole, requirement->name);
         r == 0 && i < whole->name_count && strcmp(whole->names[i].name, requirement->name) == 0 &&
         whole->candidates_read++ < SFS_MAX_REQUIRED;
         i++) {
        const struct sfs_package *other =
            sfs_packages_get(whole->packages, whole->names[i].package);
        if (other->kind != user->kind || (beside && other->place != user->place))
            continue;
        found++;
        r = require(whole, by, whole->names[i].package, requirement);
    }
    return r < 0 ? r : found;
}

/* A Python looks beside what requires it first; only if that is not there, elsewhere: there may be
 * several Pythons, and distributions that carry others inside. */
static int follow(struct whole *whole, uint32_t package, const char *extra)
{
    const char *line = sfs_packages_get(whole->packages, package)->requires;
    int r = 0;
    while (r >= 0 && line && *line) {
        size_t size = strcspn(line, "\n");
        struct sfs_requirement requirement;
        whole->bytes_read += size + 1;
        if (whole->bytes_read > SFS_MAX_REQUIREMENTS)
            break;
        if (sfs_requirement_parse(line, size, &requirement) &&
            sfs_requirement_applies(&requirement, extra) &&
            (r = require_those(whole, package, &requirement, true)) == 0)
            r = require_those(whole, package, &requirement, false);
        line += size + (line[size] == '\n');
    }
    return r < 0 ? r : 0;
}

static int find_required(struct whole *whole)
{
    int r = note_names(whole);
    for (uint32_t i = 0; r == 0 && i < sfs_packages_count(whole->packages); i++)
        if (whole->users[i])
            r = want(whole, i, "");
    for (size_t i = 0; r == 0 && i < whole->wanted_count; i++)
        r = follow(whole, whole->wanted[i].package, whole->wanted[i].extra);
    return r;
}

/* ---- keeping ---- */

static bool ends_with(const struct sfs_dirent *entry, const char *end)
{
    size_t size = strlen(end);
    return entry->name_size > size && memcmp(entry->name + entry->name_size - size, end, size) == 0;
}

/* Which distributions have Python code? Files without a byte only make packages of directories. */
static void find_code(struct whole *whole, bool *has_code)
{
    static const enum sfs_package_kind kinds[] = { SFS_PACKAGE_PYTHON, SFS_PACKAGE_CONDA };
    const struct sfs_kept *kept = whole->kept;
    for (sfs_name name = 0; name < kept->count; name++) {
        const struct sfs_dirent *entry = sfs_kept_entry(kept, name);
        if (!ends_with(entry, ".py") || sfs_node_inode(kept->tree, entry->node)->size == 0)
            continue;
        for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
            uint32_t owner = sfs_packages_owner_of_kind(whole->packages, entry->node, kinds[i]);
            if (owner != SFS_NO_PACKAGE)
                has_code[owner] = true;
        }
    }
}

/* Of conda's Python itself the standard library is kept (closure_python.c), and programs that are
 * used: not its own tests, nor the library that one links to embed it. */
static bool is_kept_otherwise(const struct sfs_package *package)
{
    return package->kind == SFS_PACKAGE_CONDA && strcmp(package->name, "python") == 0;
}

/* What is only required, and has no Python code that might load a library by its path, is there for
 * its libraries: those that something links or loads are kept for that, and no other is needed. */
static void note_causes(struct whole *whole, const bool *has_code)
{
    for (uint32_t i = 0; i < sfs_packages_count(whole->packages); i++) {
        const struct sfs_package *package = sfs_packages_get(whole->packages, i);
        if (is_kept_otherwise(package))
            continue;
        uint32_t *causes =
            whole->is_required[i] && !has_code[i] ? whole->rest_causes : whole->causes;
        for (uint32_t j = 0; whole->users[i] && j < package->node_count; j++)
            if (causes[package->nodes[j]] == 0)
                causes[package->nodes[j]] = whole->users[i];
    }
}

/* Is it a library that linkers and compilers put into something: of objects, or of LLVM's code? */
static bool is_linked_in(const struct sfs_dirent *entry)
{
    return strncmp(entry->name, "lib", 3) == 0 &&
           (ends_with(entry, ".a") || ends_with(entry, ".bc"));
}

/* Is it a static library, libX.a or libX_static.a, beside the shared one? Wheels bring what a build
 * left behind; a program that runs takes the shared one. */
static bool is_static_twin(const struct sfs_kept *kept, sfs_name name)
{
    static const char mark[] = "_static";
    const struct sfs_dirent *entry = sfs_kept_entry(kept, name);
    if (strncmp(entry->name, "lib", 3) != 0 || !ends_with(entry, ".a"))
        return false;
    size_t stem = entry->name_size - 2, size = strlen(mark);
    if (stem > size && memcmp(entry->name + stem - size, mark, size) == 0)
        stem -= size;
    uint32_t count;
    const struct sfs_dirent *entries = sfs_tree_list(kept->tree, kept->names[name].dir, &count);
    for (uint32_t i = 0; i < count; i++)
        if (strncmp(entries[i].name, entry->name, stem) == 0 &&
            strncmp(entries[i].name + stem, ".so", 3) == 0)
            return true;
    return false;
}

/* Is it what a package has for GPUs of another maker, and opens only where there is one? */
static bool is_for_other_gpus(struct sfs_kept *kept, sfs_name name)
{
    static const char *const places[] = { "/triton/backends/amd/lib/" };
    AUTO(sfs_buf_close) struct sfs_buf path = { 0 };
    if (sfs_kept_path(kept, name, &path) < 0) {
        kept->failed = true;
        return false;
    }
    for (size_t i = 0; i < sizeof places / sizeof *places; i++)
        if (strstr(path.data, places[i]))
            return true;
    return false;
}

static bool is_owned(const struct whole *whole, sfs_node node, enum sfs_package_kind kind)
{
    return sfs_packages_owner_of_kind(whole->packages, node, kind) != SFS_NO_PACKAGE;
}

/* Of a Python distribution, or a conda package, what the policy does without. */
static bool is_left_out(const struct whole *whole, sfs_name name)
{
    const struct sfs_dirent *entry = sfs_kept_entry(whole->kept, name);
    return (is_owned(whole, entry->node, SFS_PACKAGE_PYTHON) ||
            is_owned(whole, entry->node, SFS_PACKAGE_CONDA)) &&
           (is_static_twin(whole->kept, name) ||
            (whole->nvidia_only && is_for_other_gpus(whole->kept, name)));
}

static void keep_names(const struct whole *whole)
{
    struct sfs_kept *kept = whole->kept;
    for (sfs_name name = 0; name < kept->count; name++) {
        const struct sfs_dirent *entry = sfs_kept_entry(kept, name);
        uint32_t cause = whole->causes[entry->node];
        if (cause == 0 && !is_library(entry->name) && !is_linked_in(entry))
            cause = whole->rest_causes[entry->node];
        if (cause && !is_left_out(whole, name))
            sfs_kept_add(kept, name, SFS_WHY_PACKAGE, cause - 1);
        else if (strcmp(entry->name, "conda-meta") == 0)
            sfs_kept_add_glob(kept, entry->node, "history", SFS_WHY_PACKAGE, name);
    }
}

int sfs_whole_packages_keep(struct sfs_kept *kept, const struct sfs_packages *packages,
                            bool nvidia_only, struct sfs_error *err)
{
    uint32_t count = sfs_packages_count(packages), nodes = sfs_tree_count(kept->tree);
    AUTO(sfs_free) bool *has_code = calloc(count + 1, sizeof *has_code);
    AUTO(whole_done)
    struct whole whole = { .kept = kept,
                           .packages = packages,
                           .nvidia_only = nvidia_only,
                           .users = calloc(count + 1, sizeof *whole.users),
                           .is_required = calloc(count + 1, sizeof *whole.is_required),
                           .causes = calloc(nodes, sizeof *whole.causes),
                           .rest_causes = calloc(nodes, sizeof *whole.rest_causes) };
    if (!has_code || !whole.users || !whole.is_required || !whole.causes || !whole.rest_causes)
        return sfs_fail_memory(err);
    find_used(&whole);
    if (find_required(&whole) < 0)
        return sfs_fail_memory(err);
    find_code(&whole, has_code);
    note_causes(&whole, has_code);
    keep_names(&whole);
    return 0;
}
