/* The C library's own parser reads the files, from memory. */
#include "owners.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define MAX_TEXT (4u << 20) /* bytes of a passwd or group; what follows is not looked at */

/* A file that is not there is an empty one, as it is for ls in a chroot. */
static int read_text(const struct sfs_tree *tree, const char *path, char **ret_text,
                     size_t *ret_size, struct sfs_error *err)
{
    sfs_node node;
    struct sfs_attr attr;
    if (sfs_tree_resolve(tree, path, SFS_RESOLVE_FOLLOW, &node, NULL) < 0)
        return 0;
    sfs_tree_attr(tree, node, &attr);
    if (!S_ISREG(attr.mode))
        return 0;
    size_t room = attr.size < MAX_TEXT ? (size_t)attr.size : MAX_TEXT;
    AUTO(sfs_free) char *text = malloc(room + 1);
    if (!text)
        return sfs_fail_memory(err);
    for (size_t size = 0; size < room;) {
        ssize_t n = sfs_tree_read(tree, node, text + size, room - size, size, err);
        if (n < 0)
            return sfs_fail_while(err, (int)n, "%s", path);
        if (n == 0)
            room = size;
        size += (size_t)n;
    }
    *ret_size = room;
    *ret_text = TAKE(text);
    return 0;
}

static int add_owner(struct owner **owners, size_t *count, uint32_t id, const char *name)
{
    struct owner *more = *owners;
    if ((*count & (*count - 1)) == 0) /* grown at every power of two */
        more = reallocarray(*owners, *count ? 2 * *count : 1, sizeof *more);
    if (!more)
        return -ENOMEM;
    *owners = more;
    more[*count] = (struct owner){ id, strdup(name) };
    return more[(*count)++].name ? 0 : -ENOMEM;
}

static int read_users(struct owners *owners, FILE *file)
{
    int r = 0;
    for (const struct passwd *user; r == 0 && (user = fgetpwent(file));)
        r = add_owner(&owners->users, &owners->user_count, user->pw_uid, user->pw_name);
    return r;
}

static int read_groups(struct owners *owners, FILE *file)
{
    int r = 0;
    for (const struct group *group; r == 0 && (group = fgetgrent(file));)
        r = add_owner(&owners->groups, &owners->group_count, group->gr_gid, group->gr_name);
    return r;
}

static int read_file(struct owners *owners, const struct sfs_tree *tree, const char *path,
                     int (*read)(struct owners *owners, FILE *file), struct sfs_error *err)
{
    AUTO(sfs_free) char *text = NULL;
    size_t size = 0;
    int r = read_text(tree, path, &text, &size, err);
    if (r < 0 || size == 0)
        return r;
    AUTO(sfs_close_file) FILE *file = fmemopen(text, size, "r");
    return !file || read(owners, file) < 0 ? sfs_fail_memory(err) : 0;
}

int owners_read(struct owners *owners, const struct sfs_tree *tree, struct sfs_error *err)
{
    int r = read_file(owners, tree, "etc/passwd", read_users, err);
    return r == 0 ? read_file(owners, tree, "etc/group", read_groups, err) : r;
}

static void close_all(struct owner *owners, size_t count)
{
    for (size_t i = 0; i < count; i++)
        free(owners[i].name);
    free(owners);
}

void owners_close(struct owners *owners)
{
    close_all(owners->users, owners->user_count);
    close_all(owners->groups, owners->group_count);
    *owners = (struct owners){ 0 };
}

static const char *find(const struct owner *owners, size_t count, uint32_t id, char number[12])
{
    for (size_t i = 0; i < count; i++)
        if (owners[i].id == id && *owners[i].name)
            return owners[i].name;
    snprintf(number, 12, "%u", id);
    return number;
}

const char *owners_user(const struct owners *owners, uint32_t uid, char number[12])
{
    return find(owners->users, owners->user_count, uid, number);
}

const char *owners_group(const struct owners *owners, uint32_t gid, char number[12])
{
    return find(owners->groups, owners->group_count, gid, number);
}
