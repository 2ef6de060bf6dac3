/* --chown. Names are looked up as BuildKit does: a file or a name that is not there is root, and
 * numbers that are not well-formed count as names. */
#include "copy/chmod.h"

#include "base/banned.h"
#include "tree/tree_inner.h"
#include <errno.h>
#include <sys/stat.h>

#define MAX_DATABASE (10u << 20)

/* Reads a decimal number as Go's ParseInt(text, 10, 32) does. -EINVAL: it is none, and so a
 * name. */
static int parse_id(const char *text, int64_t *ret_id)
{
    if (strcmp(text, "root") == 0) {
        *ret_id = 0;
        return 0;
    }
    bool negative = *text == '-';
    if (*text == '-' || *text == '+')
        text++;
    int64_t id = 0;
    if (*text == '\0')
        return -EINVAL;
    for (; *text; text++) {
        if (*text < '0' || *text > '9')
            return -EINVAL;
        id = id * 10 + (*text - '0');
        if (id > INT32_MAX)
            return -EINVAL;
    }
    *ret_id = negative ? -id : id;
    return 0;
}

/* Field i (from 0) of a line "a:b:c", as a number; what is no number is 0, as in BuildKit. */
static uint32_t read_field(const char *line, size_t line_size, unsigned i)
{
    const char *end = line + line_size;
    for (; i > 0; i--) {
        line = memchr(line, ':', (size_t)(end - line));
        if (!line)
            return 0;
        line++;
    }
    uint64_t id = 0;
    const char *start = line;
    for (; line < end && *line >= '0' && *line <= '9' && id <= UINT32_MAX; line++)
        id = id * 10 + (uint64_t)(*line - '0');
    bool whole = line > start && (line == end || *line == ':');
    return whole && id <= INT32_MAX ? (uint32_t)id : 0;
}

/* The line whose first field is `name`, without the blanks around it; NULL: none. */
static const char *find_line(const char *text, const char *name, size_t *ret_size)
{
    size_t name_size = strlen(name);
    while (*text) {
        size_t size = strcspn(text, "\n");
        const char *line = text;
        size_t line_size = size;
        while (line_size > 0 && strchr(" \t\r", *line)) {
            line++;
            line_size--;
        }
        while (line_size > 0 && strchr(" \t\r", line[line_size - 1]))
            line_size--;
        bool found = line_size >= name_size && memcmp(line, name, name_size) == 0 &&
                     (line_size == name_size || line[name_size] == ':');
        if (found && line_size > 0) {
            *ret_size = line_size;
            return line;
        }
        text += size + (text[size] == '\n');
    }
    return NULL;
}

static void note_missing(struct sfs_owner *owner, const char *name)
{
    if (!owner->missing)
        snprintf(owner->missing_name, sizeof owner->missing_name, "%s", name);
    owner->missing = true;
}

/* Finds an entry of passwd or group, and its fields 2 and 3. 1; 0: it is not there. */
static int look_up(const struct sfs_tree *tree, const char *path, const char *name,
                   uint32_t ret_ids[2], struct sfs_error *err)
{
    if (!tree)
        return sfs_fail(err, EINVAL, "there is no %s to look up '%s' in: use a number", path, name);
    AUTO(sfs_free) char *text = NULL;
    int r = sfs_tree_read_text(tree, path, MAX_DATABASE, &text, err);
    if (r < 0)
        return r;
    size_t size = 0;
    const char *line = text ? find_line(text, name, &size) : NULL;
    if (!line)
        return 0;
    ret_ids[0] = read_field(line, size, 2);
    ret_ids[1] = read_field(line, size, 3);
    return 1;
}

static int set_user(struct sfs_owner *owner, const char *text, const struct sfs_tree *tree,
                    struct sfs_error *err)
{
    int64_t id = 0;
    if (*text == '\0' || parse_id(text, &id) == 0) {
        owner->uid = owner->gid = (uint32_t)id;
        return id < 0 ? sfs_fail(err, EINVAL, "negative user id %s", text) : 0;
    }
    uint32_t ids[2] = { 0 };
    int r = look_up(tree, "etc/passwd", text, ids, err);
    if (r == 0)
        note_missing(owner, text);
    owner->uid = ids[0];
    owner->gid = ids[1];
    return r < 0 ? r : 0;
}

/* Finds the group. If it is not there, the user's group stays, as in BuildKit. */
static int set_group(struct sfs_owner *owner, const char *text, const struct sfs_tree *tree,
                     struct sfs_error *err)
{
    int64_t id = 0;
    if (*text == '\0' || parse_id(text, &id) == 0) {
        owner->gid = (uint32_t)id;
        return id < 0 ? sfs_fail(err, EINVAL, "negative group id %s", text) : 0;
    }
    uint32_t ids[2];
    int r = look_up(tree, "etc/group", text, ids, err);
    if (r == 0)
        note_missing(owner, text);
    if (r > 0)
        owner->gid = ids[0];
    return r < 0 ? r : 0;
}

int sfs_owner_parse(const char *text, const struct sfs_tree *tree, struct sfs_owner *ret_owner,
                    struct sfs_error *err)
{
    struct sfs_owner owner = { 0 };
    const char *colon = strchr(text, ':');
    AUTO(sfs_free) char *user = colon ? strndup(text, (size_t)(colon - text)) : strdup(text);
    if (!user)
        return sfs_fail_memory(err);
    int r = set_user(&owner, user, tree, err);
    if (r == 0 && colon)
        r = set_group(&owner, colon + 1, tree, err);
    if (r == 0)
        *ret_owner = owner;
    return r;
}
