/* Names as importlib and site make them. */
#include "slim/closure_python.h"

#include "base/banned.h"
#include "base/limits.h"
#include "tree/nodes.h"
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static bool ends_with(const struct sfs_dirent *entry, const char *end)
{
    size_t size = strlen(end);
    return entry->name_size > size && memcmp(entry->name + entry->name_size - size, end, size) == 0;
}

/* Keeps a name of a directory, if it is there. */
static bool need_in(struct sfs_kept *kept, sfs_node dir, const char *text, size_t size,
                    sfs_name cause)
{
    const struct sfs_dirent *entry;
    if (size == 0 || sfs_tree_find_name(kept->tree, dir, text, size, &entry) < 0)
        return false;
    sfs_kept_add(kept, sfs_kept_place(kept, entry), SFS_WHY_PYTHON, cause);
    return true;
}

/* The text of the name of a directory; "" of the root's. */
static const char *dir_text(const struct sfs_kept *kept, sfs_node dir)
{
    sfs_name name = kept->dir_names[dir];
    return name == SFS_NO_NAME ? "" : sfs_kept_entry(kept, name)->name;
}

static bool is_site(const struct sfs_kept *kept, sfs_node dir)
{
    const char *text = dir_text(kept, dir);
    return strcmp(text, "site-packages") == 0 || strcmp(text, "dist-packages") == 0;
}

/* ---- source and bytecode ---- */

/* How much of "a.b.cpython-313.opt-1.pyc" is the module's name: all in front of the tag. */
static size_t stem_size(const struct sfs_dirent *bytecode)
{
    size_t size = bytecode->name_size - 4;
    for (int part = 0; part < 2; part++) {
        const char *dot = memrchr(bytecode->name, '.', size);
        if (!dot)
            return 0;
        size_t length = size - (size_t)(dot + 1 - bytecode->name);
        bool is_level = length > 4 && memcmp(dot + 1, "opt-", 4) == 0;
        size = (size_t)(dot - bytecode->name);
        if (!is_level)
            break;
    }
    return size;
}

/* Python takes bytecode only while its source is there with the same time and size. */
static void need_source(struct sfs_kept *kept, sfs_name name)
{
    const struct sfs_dirent *entry = sfs_kept_entry(kept, name);
    sfs_node dir = kept->names[name].dir;
    char text[SFS_MAX_NAME + 4];
    size_t stem = stem_size(entry);
    if (strcmp(dir_text(kept, dir), "__pycache__") != 0 || stem > SFS_MAX_NAME)
        return;
    memcpy(text, entry->name, stem);
    memcpy(text + stem, ".py", 3);
    if (stem > 0)
        need_in(kept, sfs_tree_parent(kept->tree, dir), text, stem + 3, name);
}

static void need_bytecode(struct sfs_kept *kept, sfs_name name)
{
    const struct sfs_dirent *entry = sfs_kept_entry(kept, name), *cache;
    uint32_t count;
    if (sfs_tree_find_name(kept->tree, kept->names[name].dir, "__pycache__", 11, &cache) < 0)
        return;
    size_t stem = entry->name_size - 3;
    const struct sfs_dirent *entries = sfs_tree_list(kept->tree, cache->node, &count);
    for (uint32_t i = 0; i < count; i++)
        if (ends_with(&entries[i], ".pyc") && stem_size(&entries[i]) == stem &&
            memcmp(entries[i].name, entry->name, stem) == 0)
            sfs_kept_add(kept, sfs_kept_place(kept, &entries[i]), SFS_WHY_PYTHON, name);
}

/* The packages that a module is in are imported before it: those with an __init__ module. */
static void need_package(struct sfs_kept *kept, sfs_name name)
{
    sfs_node dir = kept->names[name].dir;
    if (strcmp(dir_text(kept, dir), "__pycache__") == 0)
        return;
    if (strcmp(sfs_kept_entry(kept, name)->name, "__init__.py") == 0)
        dir = sfs_tree_parent(kept->tree, dir);
    if (!is_site(kept, dir))
        need_in(kept, dir, "__init__.py", 11, name);
}

/* ---- site directories ---- */

/* What `site` runs in each start, whoever it is for. */
static void need_site(struct sfs_kept *kept, sfs_name name)
{
    static const char *const globs[] = { "*.pth", "*.egg-link", "sitecustomize.py",
                                         "usercustomize.py", "__editable__*" };
    sfs_node dir = sfs_kept_entry(kept, name)->node;
    if (sfs_node_is_dir(kept->tree, dir) && is_site(kept, dir))
        for (size_t i = 0; i < sizeof globs / sizeof *globs; i++)
            sfs_kept_add_glob(kept, dir, globs[i], SFS_WHY_PYTHON, name);
}

void sfs_python_need(struct sfs_kept *kept, sfs_name name)
{
    const struct sfs_dirent *entry = sfs_kept_entry(kept, name);
    if (ends_with(entry, ".pyc"))
        need_source(kept, name);
    else if (ends_with(entry, ".py"))
        need_bytecode(kept, name);
    if (ends_with(entry, ".py") || ends_with(entry, ".pyc") || ends_with(entry, ".so"))
        need_package(kept, name);
    else
        need_site(kept, name);
}

/* ---- the standard library ---- */

static void keep_library(struct sfs_kept *kept, sfs_node dir, sfs_name cause)
{
    static const char *const others[] = { "site-packages", "dist-packages", "test", "config-" };
    uint32_t count;
    const struct sfs_dirent *entries = sfs_tree_list(kept->tree, dir, &count);
    for (uint32_t i = 0; i < count; i++) {
        bool is_other = false;
        for (size_t j = 0; j < sizeof others / sizeof *others; j++) {
            size_t size = strlen(others[j]);
            is_other |= strncmp(entries[i].name, others[j], size) == 0 &&
                        (others[j][size - 1] == '-' || entries[i].name[size] == 0);
        }
        if (!is_other && sfs_node_is_dir(kept->tree, entries[i].node))
            sfs_kept_add_below(kept, entries[i].node, SFS_WHY_PACKAGE, cause);
        else if (!is_other)
            sfs_kept_add(kept, sfs_kept_place(kept, &entries[i]), SFS_WHY_PACKAGE, cause);
    }
}

void sfs_python_keep_libraries(struct sfs_kept *kept)
{
    for (sfs_name name = 0; name < kept->count; name++)
        if (strcmp(sfs_kept_entry(kept, name)->name, "os.py") == 0 &&
            sfs_kept_is_used_file(kept, name) &&
            strncmp(dir_text(kept, kept->names[name].dir), "python", 6) == 0)
            keep_library(kept, kept->names[name].dir, name);
}

bool sfs_python_is_path_file(const struct sfs_kept *kept, sfs_name name)
{
    const struct sfs_dirent *entry = sfs_kept_entry(kept, name);
    return (ends_with(entry, ".pth") || ends_with(entry, ".egg-link")) &&
           is_site(kept, kept->names[name].dir);
}

/* Keeps the module or package that a name such as "a.b" begins with. */
static void need_module(struct sfs_kept *kept, sfs_name cause, const char *text, size_t size)
{
    char file[SFS_MAX_NAME + 4];
    sfs_node dir = kept->names[cause].dir;
    const struct sfs_dirent *entry;
    if (size > SFS_MAX_NAME)
        return;
    memcpy(file, text, size);
    memcpy(file + size, ".py", 3);
    if (!need_in(kept, dir, file, size + 3, cause) &&
        sfs_tree_find_name(kept->tree, dir, file, size, &entry) == 0)
        need_in(kept, entry->node, "__init__.py", 11, cause);
}

/* "import a, b.module; more of Python" */
static void need_imports(struct sfs_kept *kept, sfs_name cause, const char *line, size_t size)
{
    static const char word[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_";
    const char *end = memchr(line, ';', size);
    end = end ? end : line + size;
    while (line < end) {
        while (line < end && (*line == ' ' || *line == '\t' || *line == ','))
            line++;
        size_t length = strspn(line, word);
        need_module(kept, cause, line, length);
        const char *comma = memchr(line, ',', (size_t)(end - line));
        line = comma ? comma : end;
    }
}

static void need_line(struct sfs_kept *kept, sfs_name cause, const char *line, size_t size)
{
    while (size > 0 && strchr(" \t\r", line[size - 1]))
        size--;
    if (size == 0 || line[0] == '#' || size > SFS_MAX_PATH)
        return;
    if (size > 7 && memcmp(line, "import", 6) == 0 && (line[6] == ' ' || line[6] == '\t')) {
        need_imports(kept, cause, line + 7, size - 7);
        return;
    }
    AUTO(sfs_free) char *path = strndup(line, size);
    kept->failed |= !path;
    if (path)
        sfs_kept_add_path(kept, kept->names[cause].dir, path, SFS_RESOLVE_FOLLOW, SFS_WHY_PYTHON,
                          cause);
}

void sfs_python_need_paths(struct sfs_kept *kept, const struct sfs_look *look)
{
    const char *at = look->text.data, *end = at + look->text.size;
    while (at && at < end) {
        const char *newline = memchr(at, '\n', (size_t)(end - at));
        const char *stop = newline ? newline : end;
        need_line(kept, look->name, at, (size_t)(stop - at));
        at = stop + 1;
    }
}
