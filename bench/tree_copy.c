/* Finding libraries below a root, and reading what each needs. */
#include "tree_copy.h"

#include "match.h"

#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <gelf.h>
#include <libelf.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#define MAX_PLAN   1024u
#define MAX_NEEDED 512u

static int compare_texts(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static int walk(struct bench_tree *tree, struct bench_reason *reason)
{
    char *const roots[] = { tree->root, NULL };
    FTS *fts = fts_open(roots, FTS_PHYSICAL | FTS_NOCHDIR | FTS_XDEV | FTS_NOSTAT, NULL);
    if (!fts)
        return bench_fail(reason, "%s: %s", tree->root, strerror(errno));
    size_t root_size = strlen(tree->root);
    int r = 0;
    for (FTSENT *entry; r == 0 && (entry = fts_read(fts));) {
        bool is_file =
            entry->fts_info == FTS_F || entry->fts_info == FTS_SL || entry->fts_info == FTS_NSOK;
        if (is_file && entry->fts_pathlen > root_size && strstr(entry->fts_name, ".so"))
            r = bench_list_add(&tree->libs, entry->fts_path + root_size + 1);
    }
    fts_close(fts);
    if (r < 0)
        return bench_fail(reason, "out of memory");
    if (tree->libs.count)
        qsort(tree->libs.items, tree->libs.count, sizeof *tree->libs.items, compare_texts);
    return 0;
}

int bench_tree_open(struct bench_tree *tree, const char *path, struct bench_reason *reason)
{
    *tree = (struct bench_tree){ .fd = -1 };
    elf_version(EV_CURRENT);
    tree->root = realpath(path, NULL);
    if (!tree->root)
        return bench_fail(reason, "%s: %s", path, strerror(errno));
    if (strcmp(tree->root, "/") == 0)
        tree->root[0] = 0;
    tree->fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (tree->fd < 0)
        return bench_fail(reason, "%s: %s", path, strerror(errno));
    return walk(tree, reason);
}

void bench_tree_close(struct bench_tree *tree)
{
    sfs_free(&tree->root);
    sfs_close_fd(&tree->fd);
    bench_list_close(&tree->libs);
}

char *bench_tree_resolve(const struct bench_tree *tree, const char *path)
{
    struct open_how how = { .flags = O_PATH | O_CLOEXEC, .resolve = RESOLVE_IN_ROOT };
    AUTO(sfs_close_fd) int fd = (int)syscall(SYS_openat2, tree->fd, path, &how, sizeof how);
    if (fd < 0)
        return NULL;
    char link[64], real[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, real, sizeof real - 1);
    size_t root_size = strlen(tree->root);
    if (n < 0 || (size_t)n <= root_size || memcmp(real, tree->root, root_size) != 0)
        return NULL;
    real[n] = 0;
    return real[root_size] == '/' ? strdup(real + root_size + 1) : NULL;
}

/* ---- ELF */

struct elf_file {
    int fd;
    Elf *elf;
};

static void close_elf(struct elf_file *file)
{
    if (file->elf)
        elf_end(file->elf);
    sfs_close_fd(&file->fd);
}

/* False: not a shared library. */
static bool open_elf(const struct bench_tree *tree, const char *path, struct elf_file *ret_file)
{
    *ret_file = (struct elf_file){ .fd = openat(tree->fd, path,
                                                O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK) };
    struct stat st;
    if (ret_file->fd < 0 || fstat(ret_file->fd, &st) < 0 || !S_ISREG(st.st_mode))
        return false;
    ret_file->elf = elf_begin(ret_file->fd, ELF_C_READ, NULL);
    GElf_Ehdr header;
    return ret_file->elf && elf_kind(ret_file->elf) == ELF_K_ELF &&
           gelf_getehdr(ret_file->elf, &header) && header.e_type == ET_DYN;
}

struct needs {
    struct bench_list names; /* DT_NEEDED */
    struct bench_list runpath;
};

static void close_needs(struct needs *needs)
{
    bench_list_close(&needs->names);
    bench_list_close(&needs->runpath);
}

static int add_paths(struct bench_list *list, const char *colon_separated)
{
    AUTO(sfs_free) char *copy = strdup(colon_separated);
    if (!copy)
        return -1;
    char *rest = copy, *one;
    while ((one = strsep(&rest, ":")))
        if (*one && bench_list_add(list, one) < 0)
            return -1;
    return 0;
}

static int read_dynamic(Elf *elf, Elf_Scn *section, const GElf_Shdr *header, struct needs *needs)
{
    Elf_Data *data = elf_getdata(section, NULL);
    GElf_Dyn dyn;
    for (int i = 0; data && gelf_getdyn(data, i, &dyn) && dyn.d_tag != DT_NULL; i++) {
        if (dyn.d_tag != DT_NEEDED && dyn.d_tag != DT_RUNPATH && dyn.d_tag != DT_RPATH)
            continue;
        const char *text = elf_strptr(elf, header->sh_link, dyn.d_un.d_val);
        if (!text || needs->names.count >= MAX_NEEDED)
            continue;
        int r = dyn.d_tag == DT_NEEDED ? bench_list_add(&needs->names, text)
                                       : add_paths(&needs->runpath, text);
        if (r < 0)
            return r;
    }
    return 0;
}

static int read_needs(const struct bench_tree *tree, const char *path, struct needs *needs,
                      struct bench_reason *reason)
{
    AUTO(close_elf) struct elf_file file;
    if (!open_elf(tree, path, &file))
        return bench_fail(reason, "%s is not a shared library", path);
    Elf_Scn *section = NULL;
    while ((section = elf_nextscn(file.elf, section))) {
        GElf_Shdr header;
        if (gelf_getshdr(section, &header) && header.sh_type == SHT_DYNAMIC &&
            read_dynamic(file.elf, section, &header, needs) < 0)
            return bench_fail(reason, "out of memory");
    }
    return 0;
}

/* ---- what matches */

/* A pattern's plain directories may go through symbolic links (/usr/local/cuda); the walk did
 * not. */
static char *resolve_pattern(const struct bench_tree *tree, const char *glob)
{
    size_t plain = 0;
    for (size_t i = 0; glob[i] && !strchr("*?[\\", glob[i]); i++)
        if (glob[i] == '/')
            plain = i;
    AUTO(sfs_free) char *prefix = plain ? strndup(glob, plain) : NULL;
    AUTO(sfs_free) char *real = prefix ? bench_tree_resolve(tree, prefix) : NULL;
    char *pattern = NULL;
    if (!real)
        return strdup(glob);
    /* (The harness uses nothing of stagefs, so no sfs_format(); also in root.c.) */
    return asprintf(&pattern, "%s%s", real, glob + plain) < 0 ? NULL : pattern;
}

struct copied_link {
    dev_t dev;
    ino_t ino;
};

/* Adds the library that `path` leads to unless one of the `seen_count` files in `seen` is it. */
static int add_once(const struct bench_tree *tree, const char *path, struct bench_list *found,
                    struct copied_link *seen, size_t *seen_count)
{
    AUTO(sfs_free) char *real = bench_tree_resolve(tree, path);
    struct stat st;
    if (!real || fstatat(tree->fd, real, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return 0;
    for (size_t i = 0; i < *seen_count; i++)
        if (seen[i].dev == st.st_dev && seen[i].ino == st.st_ino)
            return 0;
    AUTO(close_elf) struct elf_file file;
    if (!open_elf(tree, real, &file))
        return 0;
    seen[(*seen_count)++] = (struct copied_link){ st.st_dev, st.st_ino };
    return bench_list_add(found, real);
}

int bench_tree_find(const struct bench_tree *tree, const char *glob, struct bench_list *found,
                    struct bench_reason *reason)
{
    AUTO(sfs_free) char *pattern = resolve_pattern(tree, glob);
    AUTO(sfs_free) struct copied_link *seen = calloc(tree->libs.count + 1, sizeof *seen);
    if (!pattern || !seen)
        return bench_fail(reason, "out of memory");
    size_t seen_count = 0;
    for (size_t i = 0; i < tree->libs.count; i++)
        if (bench_path_matches(pattern, tree->libs.items[i]) &&
            add_once(tree, tree->libs.items[i], found, seen, &seen_count) < 0)
            return bench_fail(reason, "out of memory");
    return seen_count ? 0 : bench_fail(reason, "no library matches %s", glob);
}

/* ---- what it needs */

/* These belong to the dynamic loader that the measuring process already runs with. */
static bool is_of_libc(const char *name)
{
    static const char *const names[] = { "libc.so",       "libm.so",        "libdl.so",
                                         "libpthread.so", "librt.so",       "libutil.so",
                                         "libresolv.so",  "libanl.so",      "libmvec.so",
                                         "libnss_",       "ld-linux",       "libthread_db.so",
                                         "libcuda.so",    "libnvidia-ml.so" };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strncmp(name, names[i], strlen(names[i])) == 0)
            return true;
    return false;
}

static char *resolve_in(const struct bench_tree *tree, const char *dir, const char *name)
{
    char path[PATH_MAX];
    int n = snprintf(path, sizeof path, "%s/%s", dir, name);
    return n < 0 || (size_t)n >= sizeof path ? NULL : bench_tree_resolve(tree, path);
}

/* Expands $ORIGIN at the start, which is where everybody has it. */
static char *resolve_runpath(const struct bench_tree *tree, const char *origin, const char *entry,
                             const char *name)
{
    static const char *const words[] = { "$ORIGIN", "${ORIGIN}" };
    for (size_t i = 0; i < 2; i++) {
        size_t size = strlen(words[i]);
        if (strncmp(entry, words[i], size) != 0)
            continue;
        char dir[PATH_MAX];
        int n = snprintf(dir, sizeof dir, "%s%s", origin, entry + size);
        return n < 0 || (size_t)n >= sizeof dir ? NULL : resolve_in(tree, dir, name);
    }
    return resolve_in(tree, entry, name);
}

static char *find_by_name(const struct bench_tree *tree, const char *name)
{
    for (size_t i = 0; i < tree->libs.count; i++) {
        const char *path = tree->libs.items[i], *slash = strrchr(path, '/');
        if (strcmp(slash ? slash + 1 : path, name) == 0)
            return bench_tree_resolve(tree, path);
    }
    return NULL;
}

/* As the loader would look, then anywhere in the tree (where an LD_LIBRARY_PATH would point). */
static char *find_needed(const struct bench_tree *tree, const char *lib, const struct needs *needs,
                         const char *name)
{
    static const char *const standard[] = {
        "lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu", "lib64", "usr/lib64", "lib", "usr/lib",
        "usr/local/lib"
    };
    const char *slash = strrchr(lib, '/');
    AUTO(sfs_free) char *origin = strndup(lib, slash ? (size_t)(slash - lib) : 0);
    char *found = NULL;
    if (!origin || strchr(name, '/'))
        return NULL;
    for (size_t i = 0; !found && i < needs->runpath.count; i++)
        found = resolve_runpath(tree, origin, needs->runpath.items[i], name);
    if (!found)
        found = resolve_in(tree, *origin ? origin : ".", name);
    for (size_t i = 0; !found && i < sizeof standard / sizeof *standard; i++)
        found = resolve_in(tree, standard[i], name);
    return found ? found : find_by_name(tree, name);
}

static bool contains(const struct bench_list *list, const char *text)
{
    for (size_t i = 0; i < list->count; i++)
        if (strcmp(list->items[i], text) == 0)
            return true;
    return false;
}

/* Depth first, needed before needing. `entered` stops circles and repetition. */
static int plan_lib(const struct bench_tree *tree, const char *lib, struct bench_list *entered,
                    struct bench_list *plan, struct bench_reason *reason)
{
    if (contains(entered, lib))
        return 0;
    if (entered->count >= MAX_PLAN)
        return bench_fail(reason, "%s needs more than %u libraries", lib, MAX_PLAN);
    if (bench_list_add(entered, lib) < 0)
        return bench_fail(reason, "out of memory");
    AUTO(close_needs) struct needs needs = { 0 };
    if (read_needs(tree, lib, &needs, reason) < 0)
        return -1;
    for (size_t i = 0; i < needs.names.count; i++) {
        if (is_of_libc(needs.names.items[i]))
            continue;
        AUTO(sfs_free) char *path = find_needed(tree, lib, &needs, needs.names.items[i]);
        if (path && plan_lib(tree, path, entered, plan, reason) < 0)
            return -1;
    }
    return bench_list_add(plan, lib) < 0 ? bench_fail(reason, "out of memory") : 0;
}

int bench_tree_plan(const struct bench_tree *tree, const char *lib, struct bench_list *plan,
                    struct bench_reason *reason)
{
    AUTO(bench_list_close) struct bench_list entered = { 0 };
    return plan_lib(tree, lib, &entered, plan, reason);
}
