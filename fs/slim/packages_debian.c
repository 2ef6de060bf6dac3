/* dpkg's database: info/NAME[:ARCH].list has the paths, status the versions and what is required.
 * Distroless images have a file of status.d/ for each package, and its paths in NAME.md5sums. */
#include "slim/packages_maker.h"
#include "slim/requirement.h"

#include <errno.h>
#include <stagefs/auto.h>

#define DPKG "var/lib/dpkg"

/* ---- what status says ---- */

struct stanza {
    char *name, *arch, *version;
    char *requires; /* lines of requirement.h; NULL: nothing */
};
struct stanzas { /* sorted by name */
    struct stanza *items;
    size_t count;
};

static void stanzas_done(struct stanzas *stanzas)
{
    for (size_t i = 0; i < stanzas->count; i++) {
        free(stanzas->items[i].name);
        free(stanzas->items[i].arch);
        free(stanzas->items[i].version);
        free(stanzas->items[i].requires);
    }
    free(stanzas->items);
}

static int compare_stanzas(const void *left, const void *right)
{
    return strcmp(((const struct stanza *)left)->name, ((const struct stanza *)right)->name);
}

static size_t count_stanzas(const char *text)
{
    size_t count = 1;
    for (; (text = strstr(text, "\n\n")); text++)
        count++;
    return count;
}

static void find_requirements(const char *text, struct sfs_buf *lines)
{
    static const char *const keys[] = { "Pre-Depends", "Depends" };
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        AUTO(sfs_free) char *value = sfs_packages_field(text, keys[i]);
        if (value)
            sfs_requirements_of_depends(value, lines);
    }
}

/* Reads the paragraphs of a text, each up to an empty line. */
static int parse_stanzas(struct stanzas *stanzas, const char *text)
{
    stanzas->items = calloc(count_stanzas(text), sizeof *stanzas->items);
    if (!stanzas->items)
        return -ENOMEM;
    for (const char *at = text; at; at = strstr(at, "\n\n")) {
        at += strspn(at, "\n");
        struct stanza stanza = { .name = sfs_packages_field(at, "Package") };
        if (!stanza.name)
            continue;
        stanza.arch = sfs_packages_field(at, "Architecture");
        stanza.version = sfs_packages_field(at, "Version");
        AUTO(sfs_buf_close) struct sfs_buf lines = { 0 };
        find_requirements(at, &lines);
        stanza.requires = TAKE(lines.data);
        stanzas->items[stanzas->count++] = stanza;
    }
    if (stanzas->count > 0)
        qsort(stanzas->items, stanzas->count, sizeof *stanzas->items, compare_stanzas);
    return 0;
}

/* What is said of NAME, of that architecture if one is given; NULL: nothing. */
static const struct stanza *find_stanza(const struct stanzas *stanzas, const char *name,
                                        const char *arch)
{
    const struct stanza *end = stanzas->items + stanzas->count;
    char *key_name = strdup(name);
    const struct stanza key = { .name = key_name };
    const struct stanza *found =
        key_name && stanzas->count > 0
            ? bsearch(&key, stanzas->items, stanzas->count, sizeof key, compare_stanzas)
            : NULL;
    free(key_name);
    if (!found)
        return NULL;
    while (found > stanzas->items && strcmp(found[-1].name, name) == 0)
        found--;
    for (const struct stanza *at = found; at < end && strcmp(at->name, name) == 0; at++)
        if (arch && at->arch && strcmp(at->arch, arch) == 0)
            found = at;
    return found;
}

/* ---- lists ---- */

/* Claims a path from each line, behind what stands in front of it. */
static int claim_lines(struct packages_maker *maker, const char *text, size_t size,
                       size_t (*skip)(const char *line, size_t size))
{
    const char *end = text + size;
    int r = 0;
    while (r == 0 && text < end) {
        const char *newline = memchr(text, '\n', (size_t)(end - text));
        size_t line = newline ? (size_t)(newline - text) : (size_t)(end - text);
        size_t front = skip ? skip(text, line) : 0;
        r = sfs_packages_claim(maker, "", text + front, line - front);
        text += line + 1;
    }
    return r;
}

/* "d41d8cd98f00b204e9800998ecf8427e  usr/bin/x" */
static size_t skip_digest(const char *line, size_t size)
{
    const char *blank = memchr(line, ' ', size);
    size_t at = blank ? (size_t)(blank - line) : size;
    while (at < size && line[at] == ' ')
        at++;
    return at;
}

/* What dpkg keeps of a package goes with it. */
static int claim_info(struct packages_maker *maker, const char *stem)
{
    static const char *const kinds[] = { "list",     "md5sums", "conffiles", "preinst",
                                         "postinst", "prerm",   "postrm",    "shlibs",
                                         "symbols",  "config",  "triggers",  "templates" };
    int r = 0;
    for (size_t i = 0; r == 0 && i < sizeof kinds / sizeof *kinds; i++) {
        AUTO(sfs_free) char *path = sfs_format(DPKG "/info/%s.%s", stem, kinds[i]);
        r = path ? sfs_packages_claim(maker, "", path, strlen(path)) : sfs_fail_memory(maker->err);
    }
    return r;
}

static int read_list(struct packages_maker *maker, const struct stanzas *stanzas, const char *file)
{
    AUTO(sfs_free) char *path = sfs_format(DPKG "/info/%s", file);
    AUTO(sfs_free) char *stem = strndup(file, strlen(file) - strlen(".list"));
    AUTO(sfs_free) char *text = NULL;
    AUTO(sfs_free) char *name = stem ? strndup(stem, strcspn(stem, ":")) : NULL;
    size_t size;
    if (!path || !name)
        return sfs_fail_memory(maker->err);
    int r = sfs_packages_read(maker, path, &text, &size);
    if (r < 0 || !text)
        return r;
    const char *arch = strchr(stem, ':');
    const struct stanza *stanza = find_stanza(stanzas, name, arch ? arch + 1 : NULL);
    AUTO(sfs_buf_close) struct sfs_buf lines = { 0 };
    if (stanza && stanza->requires)
        sfs_buf_add_str(&lines, stanza->requires);
    r = sfs_packages_begin(maker, SFS_PACKAGE_DEBIAN, path, name,
                           stanza && stanza->version ? stanza->version : "");
    if (r == 0)
        r = sfs_packages_require(maker, &lines);
    if (r == 0)
        r = claim_lines(maker, text, size, NULL);
    return r == 0 ? claim_info(maker, stem) : r;
}

static bool ends_with(const char *text, const char *end)
{
    size_t size = strlen(text), end_size = strlen(end);
    return size > end_size && strcmp(text + size - end_size, end) == 0;
}

/* The names in a directory; none where there is no such directory. */
static const struct sfs_dirent *list_path(const struct packages_maker *maker, const char *path,
                                          uint32_t *ret_count)
{
    sfs_node node;
    *ret_count = 0;
    if (sfs_tree_resolve(maker->tree, path, SFS_RESOLVE_FOLLOW, &node, NULL) < 0)
        return NULL;
    return sfs_tree_list(maker->tree, node, ret_count);
}

static int read_lists(struct packages_maker *maker)
{
    AUTO(stanzas_done) struct stanzas stanzas = { 0 };
    AUTO(sfs_free) char *status = NULL;
    size_t size;
    uint32_t count;
    const struct sfs_dirent *entries = list_path(maker, DPKG "/info", &count);
    int r = count > 0 ? sfs_packages_read(maker, DPKG "/status", &status, &size) : 0;
    if (r == 0 && status && parse_stanzas(&stanzas, status) < 0)
        r = sfs_fail_memory(maker->err);
    for (uint32_t i = 0; r == 0 && i < count; i++)
        if (ends_with(entries[i].name, ".list"))
            r = read_list(maker, &stanzas, entries[i].name);
    return r;
}

/* ---- distroless ---- */

static int claim_sums(struct packages_maker *maker, const char *path)
{
    AUTO(sfs_free) char *sums = sfs_format("%s.md5sums", path);
    AUTO(sfs_free) char *text = NULL;
    size_t size;
    if (!sums)
        return sfs_fail_memory(maker->err);
    int r = sfs_packages_read(maker, sums, &text, &size);
    if (r < 0 || !text)
        return r;
    r = sfs_packages_claim(maker, "", sums, strlen(sums));
    return r == 0 ? claim_lines(maker, text, size, skip_digest) : r;
}

static int read_control(struct packages_maker *maker, const char *file)
{
    AUTO(sfs_free) char *path = sfs_format(DPKG "/status.d/%s", file);
    AUTO(sfs_free) char *text = NULL;
    size_t size;
    if (!path)
        return sfs_fail_memory(maker->err);
    int r = sfs_packages_read(maker, path, &text, &size);
    if (r < 0 || !text)
        return r;
    AUTO(sfs_free) char *name = sfs_packages_field(text, "Package");
    AUTO(sfs_free) char *version = sfs_packages_field(text, "Version");
    AUTO(sfs_buf_close) struct sfs_buf lines = { 0 };
    find_requirements(text, &lines);
    r = sfs_packages_begin(maker, SFS_PACKAGE_DEBIAN, path, name ? name : file,
                           version ? version : "");
    if (r == 0)
        r = sfs_packages_require(maker, &lines);
    if (r == 0)
        r = sfs_packages_claim(maker, "", path, strlen(path));
    return r == 0 ? claim_sums(maker, path) : r;
}

int sfs_packages_read_debian(struct packages_maker *maker)
{
    uint32_t count;
    int r = read_lists(maker);
    const struct sfs_dirent *entries = list_path(maker, DPKG "/status.d", &count);
    for (uint32_t i = 0; r == 0 && i < count; i++)
        if (!ends_with(entries[i].name, ".md5sums"))
            r = read_control(maker, entries[i].name);
    return r;
}
