/* The loader's search: RPATH, LD_LIBRARY_PATH, RUNPATH, ld.so.cache, ld.so.conf, its own
 * directories. The first directory that has the library is taken, with all that glibc-hwcaps/
 * beside it has for newer processors. */
#include "slim/closure_elf.h"

#include "base/array.h"
#include "base/banned.h"
#include "base/limits.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* ---- the table of libraries ---- */

static int compare_libraries(const void *left, const void *right, void *user)
{
    const struct sfs_kept *kept = user;
    const sfs_name *a = left, *b = right;
    int order = strcmp(sfs_kept_entry(kept, *a)->name, sfs_kept_entry(kept, *b)->name);
    return order ? order : (*a > *b) - (*a < *b);
}

static int note_libraries(struct sfs_loader *loader)
{
    size_t capacity = 0;
    for (sfs_name name = 0; name < loader->kept->count; name++) {
        if (!strstr(sfs_kept_entry(loader->kept, name)->name, ".so"))
            continue;
        if (SFS_ARRAY_GROW(loader->libraries, loader->library_count, capacity, 1024) < 0)
            return -ENOMEM;
        loader->libraries[loader->library_count++] = name;
    }
    if (loader->library_count > 0)
        qsort_r(loader->libraries, loader->library_count, sizeof *loader->libraries,
                compare_libraries, loader->kept);
    return 0;
}

static const char *library_text(const struct sfs_loader *loader, uint32_t i)
{
    return sfs_kept_entry(loader->kept, loader->libraries[i])->name;
}

/* The first library whose name is not less than `text`. */
static uint32_t find_library(const struct sfs_loader *loader, const char *text)
{
    uint32_t low = 0, high = loader->library_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (strcmp(library_text(loader, middle), text) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

void sfs_loader_need_prefix(struct sfs_loader *loader, const char *prefix, sfs_name beside)
{
    struct sfs_kept *kept = loader->kept;
    sfs_node dir = kept->names[beside].dir;
    bool is_found = false;
    for (int pass = 0; pass < 2 && !is_found; pass++)
        for (uint32_t i = find_library(loader, prefix);
             i < loader->library_count &&
             strncmp(library_text(loader, i), prefix, strlen(prefix)) == 0;
             i++) {
            sfs_name name = loader->libraries[i];
            if (pass == 0 && kept->names[name].dir != dir)
                continue;
            sfs_kept_add(kept, name, SFS_WHY_LOADED, beside);
            is_found = true;
        }
}

/* A library that no path leads to: if one of its name is kept, that may be it. */
static void need_anywhere(struct sfs_loader *loader, const char *soname, sfs_name cause)
{
    struct sfs_kept *kept = loader->kept;
    uint32_t first = find_library(loader, soname), end = first;
    while (end < loader->library_count && strcmp(library_text(loader, end), soname) == 0)
        if (kept->names[loader->libraries[end++]].reason != SFS_WHY_NOT)
            return;
    for (uint32_t i = first; i < end; i++)
        sfs_kept_add(kept, loader->libraries[i], SFS_WHY_LIBRARY, cause);
}

/* ---- ld.so.cache ----
 *
 *   0 magic "glibc-ld.so.cache" "1.1"   20 entries u32   24 bytes of strings u32   28 ..
 *  48 entries of 24 bytes: flags u32, soname u32, path u32 (from the magic on), ..
 *
 * An older table may stand in front of it. */

#define CACHE_MAGIC "glibc-ld.so.cache1.1"
#define CACHE_HEAD  48u
#define CACHE_ENTRY 24u

static uint32_t number_at(const char *at)
{
    uint32_t number;
    memcpy(&number, at, sizeof number);
    return number;
}

static int compare_entries(const void *left, const void *right)
{
    const struct sfs_loader_entry *a = left, *b = right;
    return strcmp(a->soname, b->soname);
}

int sfs_loader_take_cache(struct sfs_loader *loader)
{
    const struct sfs_buf *cache = &loader->cache;
    if (cache->size == 0)
        return 0;
    const char *table = memmem(cache->data, cache->size, CACHE_MAGIC, strlen(CACHE_MAGIC));
    size_t size = table ? cache->size - (size_t)(table - cache->data) : 0;
    if (size < CACHE_HEAD)
        return 0;
    uint32_t count = number_at(table + 20);
    count = count < (size - CACHE_HEAD) / CACHE_ENTRY
                ? count
                : (uint32_t)((size - CACHE_HEAD) / CACHE_ENTRY);
    loader->entries = calloc(count + 1, sizeof *loader->entries);
    if (!loader->entries)
        return -ENOMEM;
    for (uint32_t i = 0; i < count; i++) {
        const char *entry = table + CACHE_HEAD + (size_t)i * CACHE_ENTRY;
        uint32_t soname = number_at(entry + 4), path = number_at(entry + 8);
        /* A NUL stands behind the buffer, so that every string in it ends. */
        if (soname < size && path < size)
            loader->entries[loader->entry_count++] =
                (struct sfs_loader_entry){ table + soname, table + path };
    }
    qsort(loader->entries, loader->entry_count, sizeof *loader->entries, compare_entries);
    return 0;
}

static bool need_cached(struct sfs_loader *loader, const char *soname, sfs_name cause)
{
    const struct sfs_loader_entry key = { .soname = soname };
    const struct sfs_loader_entry *end = loader->entries + loader->entry_count, *at;
    at = loader->entry_count == 0
             ? NULL
             : bsearch(&key, loader->entries, loader->entry_count, sizeof key, compare_entries);
    if (!at)
        return false;
    while (at > loader->entries && strcmp(at[-1].soname, soname) == 0)
        at--;
    bool is_found = false; /* all of that name: they differ by machine and processor */
    for (; at < end && strcmp(at->soname, soname) == 0; at++)
        is_found |= at->path[0] == '/' && strlen(at->path) <= SFS_MAX_PATH &&
                    sfs_kept_add_path(loader->kept, SFS_ROOT, at->path, SFS_RESOLVE_FOLLOW,
                                      SFS_WHY_LIBRARY, cause) == 0;
    return is_found;
}

/* ---- ld.so.conf ---- */

/* Takes the directories out of a text; "include" is not followed, as ld.so.conf.d/ is read whole.
 */
static void note_conf(struct sfs_loader *loader, const char *text)
{
    static const char blanks[] = " \t\r\n:,";
    while (*text) {
        text += strspn(text, blanks);
        if (*text == '#') {
            text += strcspn(text, "\n");
            continue;
        }
        size_t size = strcspn(text, " \t\r\n:,=#");
        if (text[0] == '/' && size <= SFS_MAX_PATH) {
            sfs_buf_add(&loader->dirs, text, size);
            sfs_buf_add(&loader->dirs, "", 1);
        }
        text += size;
        if (*text == '=')
            text += strcspn(text, blanks);
    }
}

static int read_conf(struct sfs_loader *loader, sfs_node node)
{
    AUTO(sfs_buf_close) struct sfs_buf text = { 0 };
    int r = sfs_look_read(loader->kept->tree, node, SFS_MAX_PTH, &text);
    if (r == 0 && text.data)
        note_conf(loader, text.data);
    return r == -ENOMEM ? r : 0;
}

static int read_confs(struct sfs_loader *loader)
{
    static const char *const own[] = {
        "/lib",
        "/usr/lib",
        "/lib64",
        "/usr/lib64",
        "/lib/x86_64-linux-gnu",
        "/usr/lib/x86_64-linux-gnu",
        "/lib/aarch64-linux-gnu",
        "/usr/lib/aarch64-linux-gnu",
    };
    const struct sfs_tree *tree = loader->kept->tree;
    sfs_node node;
    uint32_t count;
    int r = 0;
    if (sfs_tree_resolve(tree, "etc/ld.so.conf", SFS_RESOLVE_FOLLOW, &node, NULL) == 0)
        r = read_conf(loader, node);
    if (r == 0 &&
        sfs_tree_resolve(tree, "etc/ld.so.conf.d", SFS_RESOLVE_FOLLOW, &node, NULL) == 0) {
        const struct sfs_dirent *entries = sfs_tree_list(tree, node, &count);
        for (uint32_t i = 0; r == 0 && i < count; i++)
            r = read_conf(loader, entries[i].node);
    }
    for (size_t i = 0; i < sizeof own / sizeof *own; i++)
        sfs_buf_add(&loader->dirs, own[i], strlen(own[i]) + 1);
    return r < 0 || loader->dirs.failed ? -ENOMEM : 0;
}

int sfs_loader_open(struct sfs_loader *loader, struct sfs_kept *kept, const char *library_path,
                    struct sfs_error *err)
{
    sfs_node node;
    loader->kept = kept;
    loader->library_path = library_path;
    int r = note_libraries(loader);
    if (r == 0 &&
        sfs_tree_resolve(kept->tree, "etc/ld.so.cache", SFS_RESOLVE_FOLLOW, &node, NULL) == 0 &&
        sfs_look_read(kept->tree, node, SFS_MAX_LD_CACHE, &loader->cache) == -ENOMEM)
        r = -ENOMEM;
    if (r == 0)
        r = sfs_loader_take_cache(loader);
    if (r == 0)
        r = read_confs(loader);
    return r < 0 ? sfs_fail_memory(err) : 0;
}

void sfs_loader_done(struct sfs_loader *loader)
{
    free(loader->libraries);
    free(loader->entries);
    sfs_buf_close(&loader->dirs);
    sfs_buf_close(&loader->program_dirs);
    sfs_buf_close(&loader->cache);
    *loader = (struct sfs_loader){ 0 };
}

/* ---- searching ---- */

struct library_search {
    struct sfs_loader *loader;
    const char *soname;
    sfs_name cause; /* the file that names it */
};

/* Keeps what glibc-hwcaps/ has of the library for newer processors; is it in `dir` itself? */
static bool need_in_dir(const struct library_search *search, const char *dir)
{
    struct sfs_kept *kept = search->loader->kept;
    sfs_node node, hwcaps;
    if (search->loader->lookups++ >= SFS_MAX_LIB_DIRS || strlen(dir) > SFS_MAX_PATH ||
        sfs_tree_resolve(kept->tree, dir, SFS_RESOLVE_FOLLOW, &node, NULL) < 0)
        return false;
    if (sfs_tree_resolve_from(kept->tree, node, "glibc-hwcaps", 0, NULL, NULL, &hwcaps, NULL) ==
        0) {
        uint32_t count;
        const struct sfs_dirent *entries = sfs_tree_list(kept->tree, hwcaps, &count);
        for (uint32_t i = 0; i < count; i++)
            sfs_kept_add_path(kept, entries[i].node, search->soname, SFS_RESOLVE_FOLLOW,
                              SFS_WHY_LIBRARY, search->cause);
    }
    AUTO(sfs_free) char *path = sfs_format("%s/%s", dir, search->soname);
    kept->failed |= !path;
    /* Kept by the whole path, so that symlinks on the way to the directory are kept with it. */
    return path && sfs_kept_add_path(kept, SFS_ROOT, path, SFS_RESOLVE_FOLLOW, SFS_WHY_LIBRARY,
                                     search->cause) == 0;
}

/* Appends one directory of a search path with its variables put in: $ORIGIN is where the name
 * `origin` is, and $LIB stands for `lib`. */
static void expand(const struct sfs_kept *kept, sfs_name origin, const char *dir, size_t size,
                   const char *lib, struct sfs_buf *path)
{
    static const char *const names[] = { "ORIGIN", "LIB", "PLATFORM" };
    size_t most = path->size + SFS_MAX_PATH;
    for (const char *at = dir, *end = dir + size; at < end && path->size < most;) {
        size_t word = 0, which = 0;
        bool braces = *at == '$' && at + 1 < end && at[1] == '{';
        for (; *at == '$' && which < 3 && word == 0; which++) {
            size_t length = strlen(names[which]);
            const char *start = at + 1 + braces;
            if ((size_t)(end - start) >= length + braces &&
                memcmp(start, names[which], length) == 0 && (!braces || start[length] == '}'))
                word = 1 + length + 2 * braces;
        }
        if (word == 0)
            sfs_buf_add(path, at, 1);
        else if (which == 1)
            sfs_tree_dir_path(kept->tree, kept->names[origin].dir, path);
        else
            sfs_buf_add_str(path, which == 2 ? lib : "x86_64");
        at += word ? word : 1;
    }
}

/* Appends the directories of a path such as "$ORIGIN/../lib:/opt/lib", each NUL-terminated. Those
 * that do not begin with '/' would be wherever the program is started, and are passed over. */
static void expand_path(struct sfs_loader *loader, sfs_name origin, const char *path,
                        struct sfs_buf *dirs)
{
    static const char *const libs[] = { "lib", "lib64", "lib/x86_64-linux-gnu" };
    for (; path && *path && dirs->size <= SFS_MAX_PTH; path += *path == ':' || *path == ';') {
        size_t size = strcspn(path, ":;");
        size_t ways = memmem(path, size, "LIB", 3) ? sizeof libs / sizeof *libs : 1;
        for (size_t i = 0; i < ways; i++) {
            size_t start = dirs->size;
            expand(loader->kept, origin, path, size, libs[i], dirs);
            sfs_buf_add(dirs, "", 1);
            if (!dirs->failed && dirs->data[start] != '/')
                dirs->size = start;
        }
        path += size;
    }
    loader->kept->failed |= dirs->failed;
}

static bool need_in_dirs(const struct library_search *search, const struct sfs_buf *dirs)
{
    for (const char *dir = dirs->data; dir && dir < dirs->data + dirs->size; dir += strlen(dir) + 1)
        if (need_in_dir(search, dir))
            return true;
    return false;
}

static bool need_in_path(const struct library_search *search, const char *path)
{
    AUTO(sfs_buf_close) struct sfs_buf dirs = { 0 };
    expand_path(search->loader, search->cause, path, &dirs);
    return need_in_dirs(search, &dirs);
}

void sfs_loader_note_program(struct sfs_loader *loader, const struct sfs_look *look)
{
    if (look->interpreter && !look->runpath && loader->program_dirs.size <= SFS_MAX_PTH)
        expand_path(loader, look->name, look->rpath, &loader->program_dirs);
}

static void need_library(struct sfs_loader *loader, const struct sfs_look *look, const char *soname)
{
    const struct library_search search = { loader, soname, look->name };
    if (strchr(soname, '/')) {
        if (soname[0] == '/')
            sfs_kept_add_path(loader->kept, SFS_ROOT, soname, SFS_RESOLVE_FOLLOW, SFS_WHY_LIBRARY,
                              look->name);
        return;
    }
    if (!look->runpath && need_in_path(&search, look->rpath))
        return;
    /* The paths of whatever program loads it come first, but another may load it, too. */
    bool is_found = !look->runpath && need_in_dirs(&search, &loader->program_dirs);
    if (need_in_path(&search, loader->library_path) || need_in_path(&search, look->runpath))
        return;
    is_found |= need_cached(loader, soname, look->name);
    is_found |= need_in_dirs(&search, &loader->dirs);
    if (!is_found)
        need_anywhere(loader, soname, look->name);
}

void sfs_loader_need(struct sfs_loader *loader, const struct sfs_look *look)
{
    if (look->interpreter && look->interpreter[0] == '/')
        sfs_kept_add_path(loader->kept, SFS_ROOT, look->interpreter, SFS_RESOLVE_FOLLOW,
                          SFS_WHY_PROGRAM, look->name);
    const struct sfs_buf *needed = &look->needed;
    for (const char *at = needed->data; at && at < needed->data + needed->size;
         at += strlen(at) + 1)
        if (*at)
            need_library(loader, look, at);
}
