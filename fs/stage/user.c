/* Finds the user of a command that runs in a tree's etc/passwd and etc/group, and its programs. */
#include <stagefs/run.h>

#include "base/banned.h"
#include "tree/tree_inner.h"
#include <ctype.h>
#include "base/path.h"
#include <errno.h>
#include <sys/stat.h>

#define MAX_DATABASE (10u << 20)
#define MAX_FIELDS   7

/* Reads a file's text, which the caller frees; "" if there is no such regular file. */
static int read_database(const struct sfs_tree *tree, const char *path, char **ret_text,
                         struct sfs_error *err)
{
    int r = sfs_tree_read_text(tree, path, MAX_DATABASE, ret_text, err);
    if (r == 0 && !*ret_text && !(*ret_text = strdup("")))
        return sfs_fail_memory(err);
    return r;
}

/* Cuts the next line of *text into fields, in place. False: there is none. */
static bool next_line(char **text, const char *fields[MAX_FIELDS])
{
    if (!**text)
        return false;
    char *line = *text, *end = line + strcspn(line, "\n");
    *text = *end ? end + 1 : end;
    *end = 0;
    for (size_t i = 0; i < MAX_FIELDS; i++) {
        fields[i] = line;
        line += strcspn(line, ":");
        if (*line)
            *line++ = 0;
    }
    return true;
}

static bool parse_id(const char *text, uint32_t *ret_id)
{
    char *end;
    errno = 0;
    unsigned long id = strtoul(text, &end, 10);
    if (!isdigit((unsigned char)*text) || *end || errno || id > INT32_MAX)
        return false;
    *ret_id = (uint32_t)id;
    return true;
}

static int find_user(const char *wanted, char *passwd, struct sfs_run_user *user, char name[256],
                     struct sfs_error *err)
{
    const char *fields[MAX_FIELDS];
    uint32_t number = 0, id, group;
    bool is_number = parse_id(wanted, &number);
    snprintf(name, 256, "%s", wanted);
    while (next_line(&passwd, fields)) {
        if (!parse_id(fields[2], &id) || !parse_id(fields[3], &group))
            continue;
        if (is_number ? id != number : strcmp(fields[0], wanted) != 0)
            continue;
        user->uid = id;
        user->gid = group;
        snprintf(name, 256, "%s", fields[0]);
        if (*fields[5])
            snprintf(user->home, sizeof user->home, "%s", fields[5]);
        return 0;
    }
    user->uid = number;
    if (!is_number && strcmp(wanted, "root") != 0)
        return sfs_fail(err, EINVAL, "there is no user '%.100s' in the stage's /etc/passwd",
                        wanted);
    return 0;
}

static int find_group(const char *wanted, char *group, uint32_t *ret_gid, struct sfs_error *err)
{
    const char *fields[MAX_FIELDS];
    uint32_t id;
    if (parse_id(wanted, ret_gid))
        return 0;
    while (next_line(&group, fields))
        if (strcmp(fields[0], wanted) == 0 && parse_id(fields[2], &id)) {
            *ret_gid = id;
            return 0;
        }
    *ret_gid = 0;
    if (strcmp(wanted, "root") == 0)
        return 0;
    return sfs_fail(err, EINVAL, "there is no group '%.100s' in the stage's /etc/group", wanted);
}

static bool is_member(const char *list, const char *name)
{
    size_t size = strlen(name);
    while (*list) {
        size_t item = strcspn(list, ",");
        if (item == size && strncmp(list, name, size) == 0)
            return true;
        list += item + (list[item] == ',');
    }
    return false;
}

static void add_group(struct sfs_run_user *user, uint32_t id)
{
    for (size_t i = 0; i < user->group_count; i++)
        if (user->groups[i] == id)
            return;
    if (user->group_count < SFS_MAX_GROUPS)
        user->groups[user->group_count++] = id;
}

static void find_groups(const char *name, char *group, struct sfs_run_user *user)
{
    const char *fields[MAX_FIELDS];
    uint32_t id;
    while (next_line(&group, fields))
        if (is_member(fields[3], name) && parse_id(fields[2], &id))
            add_group(user, id);
}

int sfs_run_user_find(const char *text, const struct sfs_tree *tree, struct sfs_run_user *ret_user,
                      struct sfs_error *err)
{
    struct sfs_run_user user = { .home = "/" };
    const char *colon = strchr(text, ':');
    char name[256];
    AUTO(sfs_free) char *wanted = strndup(text, colon ? (size_t)(colon - text) : strlen(text));
    AUTO(sfs_free) char *passwd = NULL;
    AUTO(sfs_free) char *group = NULL;
    if (!wanted)
        return sfs_fail_memory(err);
    int r = read_database(tree, "etc/passwd", &passwd, err);
    if (r == 0)
        r = read_database(tree, "etc/group", &group, err);
    if (r == 0)
        r = find_user(*wanted ? wanted : "0", passwd, &user, name, err);
    if (r < 0)
        return r;
    bool names_group = colon && colon[1];
    if (names_group)
        r = find_group(colon + 1, group, &user.gid, err);
    /* The primary group is among the others too: a process that gives it up still counts as one of
     * it where a file denies something to its group. */
    add_group(&user, user.gid);
    if (!names_group)
        find_groups(name, group, &user);
    if (r == 0)
        *ret_user = user;
    return r;
}

bool sfs_run_finds(const struct sfs_tree *tree, const char *program, const char *dirs,
                   const char *cwd)
{
    sfs_node node;
    if (strchr(program, '/'))
        dirs = "/";
    while (dirs && *dirs) {
        size_t size = strcspn(dirs, ":");
        AUTO(sfs_free) char *dir = strndup(dirs, size);
        AUTO(sfs_free)
        char *path = dir ? sfs_path_join(strchr(program, '/') ? cwd : dir, program) : NULL;
        /* Out of memory counts as found: what follows will tell. */
        if (!path || sfs_tree_resolve(tree, path, SFS_RESOLVE_FOLLOW, &node, NULL) == 0)
            return true;
        dirs += size + (dirs[size] == ':');
    }
    return false;
}
