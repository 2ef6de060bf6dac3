/* Comparing a tar's members with tables that may have been made up. */
#include "layer/member_match.h"

#include "base/limits.h"
#include "base/path.h"
#include "layer/tar_read.h"

/* Splits the first component that means something off the path; size 0 at the end. */
static const char *next_part(const char *path, size_t *ret_size)
{
    for (;;) {
        path += strspn(path, "/");
        *ret_size = strcspn(path, "/");
        if (*ret_size != 1 || path[0] != '.')
            return path;
        path++;
    }
}

static bool is_dir(const struct sfs_tables *tables, sfs_entry entry)
{
    sfs_inode inode = tables->entries[entry].inode;
    return inode != SFS_NO_INODE && S_ISDIR(tables->inodes[inode].mode);
}

static int find(const struct sfs_tables *tables, const char *path, size_t size,
                sfs_entry *ret_entry)
{
    const char *end = path + size;
    sfs_entry entry = 0;
    for (;;) {
        size_t part_size;
        path = next_part(path, &part_size);
        if (path >= end || part_size == 0) {
            *ret_entry = entry;
            return 0;
        }
        if (part_size > (size_t)(end - path))
            part_size = (size_t)(end - path);
        if (!is_dir(tables, entry) || sfs_tables_find(tables, entry, path, part_size, &entry) < 0)
            return -ENOENT;
        path += part_size;
    }
}

int sfs_match_find(const struct sfs_tables *tables, const char *path, sfs_entry *ret_entry)
{
    return find(tables, path, strlen(path), ret_entry);
}

/* ---- one member */

static int differ(const char *what, struct sfs_error *err)
{
    return sfs_fail(err, ESTALE, "its %s is another one", what);
}

/* Runs without bytes are left out of tables. */
static bool same_extents(const struct sfs_tables *tables, const struct sfs_inode_rec *inode,
                         const struct sfs_tar_member *member)
{
    const struct sfs_extent *extents = tables->extents + inode->first;
    uint32_t next = 0;
    for (size_t i = 0; i < member->extent_count; i++) {
        const struct sfs_extent *extent = &member->extents[i];
        if (extent->size == 0)
            continue;
        if (next == inode->count || memcmp(extent, &extents[next], sizeof *extent) != 0)
            return false;
        next++;
    }
    return next == inode->count;
}

/* The last attribute of that name, which is the one that counts. */
static const struct sfs_builder_xattr *find_xattr(const struct sfs_tar_xattrs *xattrs,
                                                  const char *name)
{
    for (uint32_t i = xattrs->count; i > 0; i--)
        if (strcmp(xattrs->list[i - 1].name, name) == 0)
            return &xattrs->list[i - 1];
    return NULL;
}

static bool same_xattrs(const struct sfs_tables *tables, const struct sfs_inode_rec *inode,
                        const struct sfs_tar_xattrs *xattrs)
{
    uint32_t names = 0;
    for (uint32_t i = 0; i < xattrs->count; i++)
        names += find_xattr(xattrs, xattrs->list[i].name) == &xattrs->list[i];
    if (names != inode->xattr_count)
        return false;
    for (uint32_t i = 0; i < inode->xattr_count; i++) {
        struct sfs_xattr has = sfs_tables_xattr(tables, inode, i);
        const struct sfs_builder_xattr *said = find_xattr(xattrs, has.name);
        if (!said || said->size != has.size || memcmp(said->value, has.value, has.size) != 0)
            return false;
    }
    return true;
}

static int match_xattrs(const struct sfs_tables *tables, const struct sfs_inode_rec *inode,
                        const struct sfs_tar_member *member, struct sfs_error *err)
{
    AUTO(sfs_tar_xattrs_done) struct sfs_tar_xattrs xattrs = { 0 };
    int r = sfs_tar_xattrs_take(member->records, member->record_count, &xattrs, err);
    if (r < 0)
        return r;
    return same_xattrs(tables, inode, &xattrs) ? 0 : differ("set of attributes", err);
}

static int match_file(const struct sfs_tables *tables, sfs_entry entry,
                      const struct sfs_tar_member *member, struct sfs_error *err)
{
    const struct sfs_inode_rec *inode = &tables->inodes[tables->entries[entry].inode];
    const struct sfs_inode_rec *said = &member->inode;
    bool is_link = S_ISLNK(said->mode);
    uint32_t mode = is_link ? S_IFLNK | 0777 : said->mode;
    if (inode->mode != mode)
        return differ("type or mode", err);
    if (inode->uid != said->uid || inode->gid != said->gid)
        return differ("owner", err);
    if (inode->mtime_sec != said->mtime_sec || inode->mtime_nsec != said->mtime_nsec)
        return differ("time", err);
    if (inode->rdev_major != said->rdev_major || inode->rdev_minor != said->rdev_minor)
        return differ("device number", err);
    if (is_link && strcmp(sfs_tables_target(tables, inode), member->link) != 0)
        return differ("target", err);
    if (S_ISREG(mode) && inode->size != said->size)
        return differ("size", err);
    if (S_ISREG(mode) && !same_extents(tables, inode, member))
        return differ("place", err);
    return match_xattrs(tables, inode, member, err);
}

/* A link out of the layer has the path, normalised, as its string. */
static bool is_outside_link(const struct sfs_tables *tables, const struct sfs_entry_rec *entry,
                            const char *target)
{
    if (!(entry->flags & SFS_ENTRY_LINK))
        return false;
    const char *has = tables->strings + tables->inodes[entry->inode].string;
    for (;;) {
        size_t size;
        target = next_part(target, &size);
        if (size == 0)
            return !*has;
        if (strncmp(has, target, size) != 0 || (has[size] && has[size] != '/'))
            return false;
        has += size + (has[size] == '/');
        target += size;
    }
}

static int match_link(const struct sfs_tables *tables, sfs_entry entry, const char *target,
                      struct sfs_error *err)
{
    const struct sfs_entry_rec *link = &tables->entries[entry];
    sfs_entry to;
    if (is_outside_link(tables, link, target))
        return 0;
    if (sfs_match_find(tables, target, &to) < 0 || to == entry ||
        tables->entries[to].inode != link->inode)
        return differ("hard link", err);
    return 0;
}

int sfs_match_member(const struct sfs_tables *tables, sfs_entry entry,
                     const struct sfs_tar_member *member, struct sfs_error *err)
{
    const struct sfs_entry_rec *rec = &tables->entries[entry];
    sfs_entry named;
    if (sfs_match_find(tables, member->name, &named) < 0 || named != entry)
        return differ("name", err);
    if (rec->inode == SFS_NO_INODE || rec->flags & SFS_ENTRY_IMPLIED)
        return sfs_fail(err, ESTALE, "it is missing");
    return member->hard_link ? match_link(tables, entry, member->link, err)
                             : match_file(tables, entry, member, err);
}

/* ---- marks */

static bool is_whiteout(const struct sfs_tables *tables, sfs_entry dir, const char *name,
                        size_t size)
{
    sfs_entry entry;
    return is_dir(tables, dir) && sfs_tables_find(tables, dir, name, size, &entry) == 0 &&
           tables->entries[entry].flags & SFS_ENTRY_WHITEOUT;
}

enum sfs_match_mark sfs_match_mark(const struct sfs_tables *tables, const char *path)
{
    static const char mark[] = ".wh.", own[] = ".wh..wh.", opaque[] = ".wh..wh..opq";
    size_t size, start = sfs_path_last(path, &size);
    const char *name = path + start;
    bool is_mark = size >= sizeof mark - 1 && memcmp(name, mark, sizeof mark - 1) == 0;
    sfs_entry dir;
    if (!is_mark)
        return strstr(path, own) ? SFS_MATCH_MARK_LOST : SFS_MATCH_NO_MARK;
    if (find(tables, path, start, &dir) < 0)
        return SFS_MATCH_MARK_LOST;
    bool holds;
    if (size == sizeof opaque - 1 && memcmp(name, opaque, size) == 0)
        holds = tables->entries[dir].flags & SFS_ENTRY_OPAQUE;
    else
        holds = memcmp(name, own, size < sizeof own - 1 ? size : sizeof own - 1) != 0 &&
                is_whiteout(tables, dir, name + sizeof mark - 1, size - (sizeof mark - 1));
    return holds ? SFS_MATCH_MARK_HELD : SFS_MATCH_MARK_LOST;
}
