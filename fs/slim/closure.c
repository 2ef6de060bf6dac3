/* Rounds: rules that need only names are asked until they add nothing; then the files that may tell
 * more are looked into, in the order of their bytes and by several threads, and what they say is
 * added by one. */
#include "slim/closure.h"

#include "base/array.h"
#include "base/banned.h"
#include "base/thread.h"
#include "base/warn.h"
#include "slim/closure_elf.h"
#include "slim/closure_python.h"
#include "slim/closure_system.h"
#include "tree/nodes.h"
#include <errno.h>
#include <stagefs/cache.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define MAX_THREADS 16u

struct closure {
    struct sfs_kept *kept;
    const struct sfs_packages *packages;
    bool *packages_done; /* by package: its metadata and licence are kept */
    struct sfs_loader loader;
    const char *library_path, *path; /* of the config's environment; borrowed */
    struct sfs_look *looks;          /* of this round */
    size_t look_count, look_capacity;
    atomic_size_t next_look;
    uint32_t odd_count;
    sfs_name first_odd;
};

static void free_looks(struct closure *closure)
{
    for (size_t i = 0; i < closure->look_count; i++)
        sfs_look_done(&closure->looks[i]);
    closure->look_count = 0;
}

static void closure_done(struct closure *closure)
{
    free_looks(closure);
    free(closure->looks);
    free(closure->packages_done);
    sfs_loader_done(&closure->loader);
}

/* ---- by name ---- */

/* Programs, libraries and scripts: files that can be executed, and *.so*. The ends of names that
 * say otherwise save much reading where all files of an image may be executed. */
static bool may_need_more(const struct sfs_kept *kept, sfs_name name)
{
    static const char *const plain[] = { ".pyc", ".pyi", ".h",   ".hpp",  ".cuh", ".json",
                                         ".txt", ".a",   ".o",   ".html", ".js",  ".css",
                                         ".png", ".md",  ".rst", ".yaml", ".pem", ".mo" };
    const struct sfs_dirent *entry = sfs_kept_entry(kept, name);
    const char *end = strrchr(entry->name, '.');
    for (size_t i = 0; end && i < sizeof plain / sizeof *plain; i++)
        if (strcmp(end, plain[i]) == 0)
            return false;
    return sfs_kept_mode(kept, name) & 0111 || strstr(entry->name, ".so");
}

static void plan_look(struct closure *closure, sfs_name name)
{
    struct sfs_kept *kept = closure->kept;
    const struct sfs_kept_name *at = &kept->names[name];
    bool is_text = sfs_python_is_path_file(kept, name);
    /* What a base brings without being used was whole before, and stays so. */
    if ((!at->is_own && at->reason != SFS_WHY_USED) || (!is_text && !may_need_more(kept, name)))
        return;
    if (SFS_ARRAY_GROW(closure->looks, closure->look_count, closure->look_capacity, 256) < 0) {
        kept->failed = true;
        return;
    }
    struct sfs_look *look = &closure->looks[closure->look_count++];
    *look = (struct sfs_look){ .name = name,
                               .node = sfs_kept_entry(kept, name)->node,
                               .is_text = is_text };
    sfs_tree_locate(kept->tree, look->node, 0, &look->blob, &look->position);
}

/* Keeps the metadata of a Python distribution, the licence of a Debian package, of which something
 * is kept. */
static void need_of_package(struct closure *closure, sfs_name name)
{
    struct sfs_kept *kept = closure->kept;
    static const enum sfs_package_kind kinds[] = { SFS_PACKAGE_PYTHON, SFS_PACKAGE_DEBIAN };
    for (size_t i = 0; closure->packages && i < sizeof kinds / sizeof *kinds; i++) {
        uint32_t owner = sfs_packages_owner_of_kind(closure->packages,
                                                    sfs_kept_entry(kept, name)->node, kinds[i]);
        if (owner == SFS_NO_PACKAGE || closure->packages_done[owner])
            continue;
        closure->packages_done[owner] = true;
        const struct sfs_package *package = sfs_packages_get(closure->packages, owner);
        if (kinds[i] == SFS_PACKAGE_PYTHON && sfs_node_is_dir(kept->tree, package->home)) {
            sfs_kept_add_below(kept, package->home, SFS_WHY_METADATA, name);
            continue;
        }
        AUTO(sfs_free) char *path = sfs_format("usr/share/doc/%s/copyright", package->name);
        kept->failed |= !path;
        if (path && kinds[i] == SFS_PACKAGE_DEBIAN)
            sfs_kept_add_path(kept, SFS_ROOT, path, SFS_RESOLVE_FOLLOW, SFS_WHY_LICENCE, name);
    }
}

static void need_by_name(struct closure *closure, sfs_name name)
{
    struct sfs_kept *kept = closure->kept;
    const struct sfs_dirent *entry = sfs_kept_entry(kept, name);
    uint32_t mode = sfs_kept_mode(kept, name);
    if (S_ISLNK(mode)) {
        sfs_kept_add_path(kept, kept->names[name].dir, sfs_tree_target(kept->tree, entry->node),
                          SFS_RESOLVE_FOLLOW, SFS_WHY_LINK, name);
        return;
    }
    sfs_python_need(kept, name);
    sfs_system_need_companions(&closure->loader, name);
    if (S_ISREG(mode))
        plan_look(closure, name);
    if (!S_ISDIR(mode) && kept->names[name].is_own)
        need_of_package(closure, name);
}

/* ---- by what is in files ---- */

static int compare_looks(const void *left, const void *right)
{
    const struct sfs_look *a = left, *b = right;
    if (a->blob != b->blob)
        return (uintptr_t)a->blob < (uintptr_t)b->blob ? -1 : 1;
    return (a->position > b->position) - (a->position < b->position);
}

static void *look_into_files(void *arg)
{
    struct closure *closure = arg;
    for (size_t i; (i = atomic_fetch_add(&closure->next_look, 1)) < closure->look_count;)
        sfs_look_into(closure->kept->tree, &closure->looks[i]);
    return NULL;
}

/* Threads that cannot be started leave their work to the others. */
static void look_into_all(struct closure *closure)
{
    pthread_t threads[MAX_THREADS];
    unsigned count = 0, wanted = sfs_cpus() < MAX_THREADS ? sfs_cpus() : MAX_THREADS;
    if (closure->look_count > 0)
        qsort(closure->looks, closure->look_count, sizeof *closure->looks, compare_looks);
    atomic_store(&closure->next_look, 0);
    while (count + 1 < wanted && count + 1 < closure->look_count &&
           sfs_thread_start(&threads[count], look_into_files, closure, "looks into files", NULL) ==
               0)
        count++;
    look_into_files(closure);
    while (count > 0)
        pthread_join(threads[--count], NULL);
}

static void need_by_look(struct closure *closure, const struct sfs_look *look)
{
    struct sfs_kept *kept = closure->kept;
    kept->failed |= look->failed;
    if (look->is_odd && closure->odd_count++ == 0)
        closure->first_odd = look->name;
    if (look->kind == SFS_LOOK_ELF)
        sfs_loader_need(&closure->loader, look);
    else if (look->kind == SFS_LOOK_SCRIPT)
        sfs_system_need_interpreter(kept, look, closure->path);
    else if (look->kind == SFS_LOOK_TEXT)
        sfs_python_need_paths(kept, look);
}

static void run_rounds(struct closure *closure)
{
    struct sfs_kept *kept = closure->kept;
    while (kept->done_count < kept->kept_count && !kept->failed) {
        while (kept->done_count < kept->kept_count)
            need_by_name(closure, kept->queue[kept->done_count++]);
        look_into_all(closure);
        for (size_t i = 0; i < closure->look_count; i++)
            sfs_loader_note_program(&closure->loader, &closure->looks[i]);
        for (size_t i = 0; i < closure->look_count; i++)
            need_by_look(closure, &closure->looks[i]);
        free_looks(closure);
    }
}

/* ---- the image's config ---- */

static const char *find_variable(const json_t *config, const char *name)
{
    size_t i, size = strlen(name);
    const json_t *item;
    json_array_foreach(json_object_get(json_object_get(config, "config"), "Env"), i, item)
    {
        const char *text = json_string_value(item);
        if (text && strncmp(text, name, size) == 0 && text[size] == '=')
            return text + size + 1;
    }
    return NULL;
}

/* The directory that a container starts in, and the program that it starts with. */
static void need_config(struct sfs_kept *kept, const json_t *config)
{
    const json_t *inner = json_object_get(config, "config");
    const char *directory = json_string_value(json_object_get(inner, "WorkingDir"));
    const char *program =
        json_string_value(json_array_get(json_object_get(inner, "Entrypoint"), 0));
    if (directory && directory[0] == '/')
        sfs_kept_add_path(kept, SFS_ROOT, directory, SFS_RESOLVE_FOLLOW, SFS_WHY_SYSTEM,
                          SFS_NO_NAME);
    if (program && program[0] == '/')
        sfs_kept_add_path(kept, SFS_ROOT, program, SFS_RESOLVE_FOLLOW, SFS_WHY_PROGRAM,
                          SFS_NO_NAME);
}

static int warn_of_odd(const struct closure *closure, const struct sfs_progress *progress)
{
    AUTO(sfs_buf_close) struct sfs_buf path = { 0 };
    if (closure->odd_count == 0)
        return 0;
    if (sfs_kept_path(closure->kept, closure->first_odd, &path) < 0)
        return -ENOMEM;
    const char *words = closure->odd_count == 1
                            ? "%u file is kept without what it may need, as it is cut or damaged: "
                              "%s"
                            : "%u files are kept without what they may need, as they are cut or "
                              "damaged; the first is %s";
    return sfs_fail_or_warn(NULL, progress, false, EBADMSG, words, closure->odd_count, path.data);
}

int sfs_closure_run(struct sfs_kept *kept, const json_t *config,
                    const struct sfs_packages *packages, const struct sfs_progress *progress,
                    struct sfs_error *err)
{
    static const char default_path[] =
        "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    AUTO(closure_done) struct closure closure = { .kept = kept, .packages = packages };
    closure.library_path = find_variable(config, "LD_LIBRARY_PATH");
    closure.path = find_variable(config, "PATH");
    closure.path = closure.path ? closure.path : default_path;
    uint32_t count = packages ? sfs_packages_count(packages) : 0;
    closure.packages_done = calloc(count + 1, sizeof *closure.packages_done);
    if (!closure.packages_done)
        return sfs_fail_memory(err);
    int r = sfs_loader_open(&closure.loader, kept, closure.library_path, err);
    if (r < 0)
        return r;
    sfs_system_need(kept);
    need_config(kept, config);
    run_rounds(&closure);
    if (kept->failed || warn_of_odd(&closure, progress) < 0)
        return sfs_fail_memory(err);
    return 0;
}
