/* Python's distributions: NAME-VERSION.dist-info/ with RECORD, a table whose first column has the
 * paths, relative to the directory that the dist-info is in; the older NAME-VERSION.egg-info, with
 * installed-files.txt, relative to itself. Without either, top_level.txt names the modules. */
#include "slim/packages_maker.h"

#include "base/path.h"
#include "slim/requirement.h"
#include <stagefs/auto.h>

/* ---- the lists ---- */

/* Claims the first column of each row. A field in quotes may hold commas, ends of lines and, twice,
 * quotes. */
static int claim_record(struct packages_maker *maker, const char *base, const char *text,
                        size_t size)
{
    AUTO(sfs_buf_close) struct sfs_buf field = { 0 };
    const char *at = text, *end = text + size;
    int r = 0;
    while (r == 0 && at < end) {
        bool quoted = *at == '"';
        field.size = 0;
        for (at += quoted; at < end; at++) {
            if (quoted && *at == '"') {
                if (at + 1 == end || at[1] != '"')
                    break;
                at++; /* of two quotes, the second */
            } else if (!quoted && (*at == ',' || *at == '\n' || *at == '\r')) {
                break;
            }
            sfs_buf_add(&field, at, 1);
        }
        r = sfs_buf_check(&field, maker->err);
        if (r == 0 && field.size > 0)
            r = sfs_packages_claim(maker, base, field.data, field.size);
        const char *newline = at < end ? memchr(at, '\n', (size_t)(end - at)) : NULL;
        at = newline ? newline + 1 : end;
    }
    return r;
}

typedef int (*line_visitor)(struct packages_maker *maker, const char *base, const char *line,
                            size_t size);

static int visit_lines(struct packages_maker *maker, const char *base, const char *text,
                       size_t size, line_visitor visit)
{
    const char *end = text + size;
    int r = 0;
    while (r == 0 && text < end) {
        const char *newline = memchr(text, '\n', (size_t)(end - text));
        size_t line = newline ? (size_t)(newline - text) : (size_t)(end - text);
        size_t used = line > 0 && text[line - 1] == '\r' ? line - 1 : line;
        if (used > 0)
            r = visit(maker, base, text, used);
        text += line + 1;
    }
    return r;
}

/* Claims a module of that name: a directory with all in it, NAME.py, NAME.cpython-312-....so. */
static int claim_module(struct packages_maker *maker, const char *base, const char *name,
                        size_t size)
{
    sfs_node dir;
    uint32_t count;
    if (memchr(name, '/', size) || memchr(name, 0, size) || name[0] == '.' ||
        sfs_tree_resolve(maker->tree, base, SFS_RESOLVE_FOLLOW, &dir, NULL) < 0)
        return 0;
    const struct sfs_dirent *entries = sfs_tree_list(maker->tree, dir, &count);
    int r = 0;
    for (uint32_t i = 0; r == 0 && i < count; i++) {
        const char *entry = entries[i].name;
        if (strncmp(entry, name, size) != 0 || (entry[size] && entry[size] != '.'))
            continue;
        AUTO(sfs_free) char *path = sfs_format("%s/%s", base, entry);
        r = path ? sfs_packages_claim_below(maker, path) : sfs_fail_memory(maker->err);
    }
    return r;
}

/* ---- a distribution ---- */

/* Reads a file of the distribution's directory. */
static int read_in(struct packages_maker *maker, const char *path, const char *name,
                   char **ret_text, size_t *ret_size)
{
    AUTO(sfs_free) char *file = sfs_format("%s/%s", path, name);
    return file ? sfs_packages_read(maker, file, ret_text, ret_size) : sfs_fail_memory(maker->err);
}

/* Claims what the lists of the distribution at `path` name; `base` is where it is. */
static int claim_listed(struct packages_maker *maker, const char *path, const char *base)
{
    AUTO(sfs_free) char *text = NULL;
    size_t size;
    int r = read_in(maker, path, "RECORD", &text, &size);
    if (r < 0 || text)
        return r < 0 ? r : claim_record(maker, base, text, size);
    r = read_in(maker, path, "installed-files.txt", &text, &size);
    if (r < 0 || text)
        return r < 0 ? r : visit_lines(maker, path, text, size, sfs_packages_claim);
    r = read_in(maker, path, "top_level.txt", &text, &size);
    return r < 0 || !text ? r : visit_lines(maker, base, text, size, claim_module);
}

/* An egg-info has what it requires in a file of its own, if its PKG-INFO does not say. */
static int note_requirements(struct packages_maker *maker, const char *path, const char *metadata)
{
    AUTO(sfs_buf_close) struct sfs_buf lines = { 0 };
    AUTO(sfs_free) char *list = NULL;
    size_t size;
    sfs_requirements_of_metadata(metadata ? metadata : "", &lines);
    int r = lines.size > 0 ? 0 : read_in(maker, path, "requires.txt", &list, &size);
    if (r < 0)
        return r;
    if (list)
        sfs_requirements_of_list(list, &lines);
    return sfs_packages_require(maker, &lines);
}

/* What METADATA or PKG-INFO say, else what the name of the directory says:
 * "NAME-VERSION.dist-info", "NAME-VERSION-py3.12.egg-info". */
static int begin_distribution(struct packages_maker *maker, const char *path)
{
    static const char *const files[] = { "METADATA", "PKG-INFO", NULL };
    AUTO(sfs_free) char *text = NULL;
    size_t size = 0;
    int r = 0;
    for (size_t i = 0; r == 0 && !text && files[i]; i++)
        r = read_in(maker, path, files[i], &text, &size);
    if (r == 0 && !text)
        r = sfs_packages_read(maker, path, &text, &size); /* an egg-info may be a file itself */
    if (r < 0)
        return r;
    const char *stem = sfs_path_base(path), *dash = strchr(stem, '-');
    AUTO(sfs_free) char *name = text ? sfs_packages_field(text, "Name") : NULL;
    AUTO(sfs_free) char *version = text ? sfs_packages_field(text, "Version") : NULL;
    if (!name)
        name = strndup(stem, (size_t)((dash ? dash : strrchr(stem, '.')) - stem));
    if (!name)
        return sfs_fail_memory(maker->err);
    r = sfs_packages_begin(maker, SFS_PACKAGE_PYTHON, path, name, version ? version : "");
    return r == 0 ? note_requirements(maker, path, text) : r;
}

static int read_distribution(struct packages_maker *maker, const char *path)
{
    const char *last = sfs_path_base(path);
    AUTO(sfs_free) char *base = strndup(path, last > path ? (size_t)(last - path) - 1 : 0);
    if (!base)
        return sfs_fail_memory(maker->err);
    int r = begin_distribution(maker, path);
    if (r == 0)
        r = sfs_packages_claim_below(maker, path);
    return r == 0 ? claim_listed(maker, path, base) : r;
}

/* Is it where a Python looks by itself? What others carry inside (setuptools/_vendor/) comes after,
 * so that it stays theirs. */
static bool is_installed(const char *path)
{
    const char *last = sfs_path_base(path);
    size_t base = (size_t)(last - path);
    return (base >= 14 && strncmp(path + base - 14, "site-packages/", 14) == 0) ||
           (base >= 14 && strncmp(path + base - 14, "dist-packages/", 14) == 0);
}

static int read_places(struct packages_maker *maker, const struct package_places *places,
                       bool installed)
{
    int r = 0;
    for (size_t i = 0; r == 0 && i < places->count; i++)
        if (is_installed(places->items[i].path) == installed)
            r = read_distribution(maker, places->items[i].path);
    return r;
}

int sfs_packages_read_python(struct packages_maker *maker)
{
    int r = read_places(maker, &maker->dist_infos, true);
    if (r == 0)
        r = read_places(maker, &maker->eggs, true);
    if (r == 0)
        r = read_places(maker, &maker->dist_infos, false);
    return r == 0 ? read_places(maker, &maker->eggs, false) : r;
}
