/* Look-up in a layer's tables, and the one check of tables that come from outside. */
#include "layer/tables.h"

#include "base/limits.h"
#include "base/path.h"

static bool inside(uint32_t first, uint32_t count, uint32_t limit)
{
    return first <= limit && count <= limit - first;
}

/* Is there a text of `size` bytes at `offset` of the strings, with a NUL behind it and none
 * within? */
static bool is_text(const struct sfs_tables *tables, uint32_t offset, uint64_t size)
{
    return offset < tables->strings_size && size < tables->strings_size - offset &&
           tables->strings[offset + size] == '\0' && !memchr(tables->strings + offset, '\0', size);
}

static bool is_terminated(const struct sfs_tables *tables, uint32_t offset)
{
    return offset < tables->strings_size &&
           memchr(tables->strings + offset, '\0', tables->strings_size - offset);
}

static bool is_name(const struct sfs_tables *tables, const struct sfs_entry_rec *entry)
{
    size_t size = entry->name_size;
    if (size == 0 || size > SFS_MAX_NAME || !is_text(tables, entry->name, size))
        return false;
    const char *name = tables->strings + entry->name;
    if (name[0] == '.' && (size == 1 || (size == 2 && name[1] == '.')))
        return false;
    return !memchr(name, '/', size);
}

static bool is_known_type(uint32_t mode)
{
    switch (mode & S_IFMT) {
    case S_IFREG:
    case S_IFDIR:
    case S_IFLNK:
    case S_IFCHR:
    case S_IFBLK:
    case S_IFIFO:
        return (mode & ~(uint32_t)(S_IFMT | 07777)) == 0;
    default:
        return mode == 0; /* SFS_ENTRY_LINK */
    }
}

static bool are_extents(const struct sfs_tables *tables, const struct sfs_inode_rec *inode,
                        uint64_t data_size)
{
    if (!inside(inode->first, inode->count, tables->extent_count))
        return false;
    uint64_t end = 0;
    for (uint32_t i = 0; i < inode->count; i++) {
        const struct sfs_extent *extent = &tables->extents[inode->first + i];
        if (extent->size == 0 || extent->file_offset < end || extent->file_offset > inode->size ||
            extent->size > inode->size - extent->file_offset)
            return false;
        if (extent->data_offset > data_size || extent->size > data_size - extent->data_offset)
            return false;
        end = extent->file_offset + extent->size;
    }
    return true;
}

static bool are_xattrs(const struct sfs_tables *tables, const struct sfs_inode_rec *inode)
{
    if (!inside(inode->xattrs, inode->xattr_count, tables->xattr_count))
        return false;
    const char *previous = "";
    uint64_t total = 0;
    for (uint32_t i = 0; i < inode->xattr_count; i++) {
        const struct sfs_xattr_rec *xattr = &tables->xattrs[inode->xattrs + i];
        if (!is_terminated(tables, xattr->name) || xattr->value > tables->strings_size ||
            xattr->value_size > tables->strings_size - xattr->value)
            return false;
        const char *name = tables->strings + xattr->name;
        size_t size = strlen(name);
        total += size + xattr->value_size;
        if (size > SFS_MAX_NAME || strcmp(previous, name) >= 0 ||
            xattr->value_size > SFS_MAX_XATTR || total > SFS_MAX_XATTRS)
            return false;
        previous = name;
    }
    return true;
}

/* What is wrong with an inode, its children aside; NULL: nothing. */
static const char *find_inode_fault(const struct sfs_tables *tables,
                                    const struct sfs_inode_rec *inode, uint64_t data_size)
{
    uint32_t type = inode->mode & S_IFMT;
    if (!is_known_type(inode->mode))
        return "unknown file type";
    if (inode->mtime_nsec >= 1000000000)
        return "time out of range";
    if (type == S_IFREG && (inode->size > INT64_MAX || !are_extents(tables, inode, data_size)))
        return "extents out of range";
    if (type == S_IFLNK && (inode->size == 0 || inode->size > SFS_MAX_SYMLINK ||
                            !is_text(tables, inode->string, inode->size)))
        return "link target out of range";
    if (type == 0 && !is_terminated(tables, inode->string))
        return "hard link target out of range";
    if (type != S_IFREG && type != S_IFLNK && inode->size != 0)
        return "size of a special file";
    if (inode->xattr_count && !are_xattrs(tables, inode))
        return "attributes out of range";
    return NULL;
}

static const char *find_section_fault(const struct sfs_tables *tables)
{
    if (tables->entry_count == 0 || tables->entry_count > SFS_MAX_ENTRIES)
        return "number of entries out of range";
    if (tables->inode_count == 0 || tables->inode_count > tables->entry_count)
        return "number of inodes out of range";
    if (tables->strings_size == 0 || tables->strings_size > SFS_MAX_STRINGS ||
        tables->strings[tables->strings_size - 1] != '\0')
        return "strings out of range";
    const struct sfs_entry_rec *root = &tables->entries[0];
    if (root->parent != 0 || root->name_size != 0 || root->name >= tables->strings_size ||
        tables->strings[root->name] != '\0' || root->inode >= tables->inode_count ||
        !S_ISDIR(tables->inodes[root->inode].mode))
        return "root is not a directory";
    return NULL;
}

/* What is wrong with one entry by itself; NULL: nothing. `names` counts the names of each inode. */
static const char *find_entry_fault(const struct sfs_tables *tables, sfs_entry i, uint32_t *names)
{
    const struct sfs_entry_rec *entry = &tables->entries[i];
    const unsigned known =
        SFS_ENTRY_WHITEOUT | SFS_ENTRY_OPAQUE | SFS_ENTRY_IMPLIED | SFS_ENTRY_LINK;
    if (entry->flags & ~known)
        return "unknown flag";
    if (entry->inode == SFS_NO_INODE)
        return entry->flags == SFS_ENTRY_WHITEOUT ? NULL : "no inode";
    if (entry->inode >= tables->inode_count)
        return "inode out of range";
    names[entry->inode]++;
    uint32_t mode = tables->inodes[entry->inode].mode;
    if ((mode == 0) != !!(entry->flags & SFS_ENTRY_LINK))
        return "hard link mark and inode disagree";
    if (!S_ISDIR(mode) && entry->flags & (SFS_ENTRY_OPAQUE | SFS_ENTRY_IMPLIED))
        return "directory mark on something else";
    return NULL;
}

/* The children of directory entry `dir` must be the entries from `first` on. */
static const char *find_run_fault(const struct sfs_tables *tables, sfs_entry dir, sfs_entry first)
{
    const struct sfs_inode_rec *inode = &tables->inodes[tables->entries[dir].inode];
    if (inode->nlink != 1)
        return "directory with several names";
    if (inode->count == 0)
        return NULL;
    if (inode->first != first || first <= dir || !inside(first, inode->count, tables->entry_count))
        return "children out of range";
    const struct sfs_entry_rec *previous = NULL;
    for (sfs_entry i = first; i < first + inode->count; i++) {
        const struct sfs_entry_rec *entry = &tables->entries[i];
        if (entry->parent != dir)
            return "child of another directory";
        if (!is_name(tables, entry))
            return "name out of range";
        if (previous && sfs_name_compare(tables->strings + previous->name, previous->name_size,
                                         tables->strings + entry->name, entry->name_size) >= 0)
            return "names out of order";
        previous = entry;
    }
    return NULL;
}

/* Entries stand breadth first, so the runs of children follow one another without gaps in the order
 * of their directories: that alone makes them disjoint, complete and free of cycles. */
static const char *find_tree_fault(const struct sfs_tables *tables, uint32_t *names,
                                   sfs_entry *ret_entry)
{
    sfs_entry run = 1, level_end = 1;
    unsigned depth = 0;
    for (sfs_entry i = 0; i < run; i++) {
        *ret_entry = i;
        if (i == level_end) {
            level_end = run;
            if (++depth > SFS_MAX_DEPTH)
                return "directories nest too deeply";
        }
        const char *fault = find_entry_fault(tables, i, names);
        if (fault)
            return fault;
        sfs_inode inode = tables->entries[i].inode;
        if (inode == SFS_NO_INODE || !S_ISDIR(tables->inodes[inode].mode))
            continue;
        fault = find_run_fault(tables, i, run);
        if (fault)
            return fault;
        run += tables->inodes[inode].count;
    }
    return run == tables->entry_count ? NULL : "entries without a directory";
}

int sfs_tables_check(const struct sfs_tables *tables, uint64_t data_size, struct sfs_error *err)
{
    const char *fault = find_section_fault(tables);
    if (fault)
        return sfs_fail(err, EBADMSG, "%s", fault);
    for (sfs_inode i = 0; i < tables->inode_count; i++) {
        fault = find_inode_fault(tables, &tables->inodes[i], data_size);
        if (fault)
            return sfs_fail(err, EBADMSG, "inode %u: %s", i, fault);
    }
    AUTO(sfs_free) uint32_t *names = calloc(tables->inode_count, sizeof *names);
    if (!names)
        return sfs_fail_memory(err);
    sfs_entry entry = 0;
    fault = find_tree_fault(tables, names, &entry);
    if (fault)
        return sfs_fail(err, EBADMSG, "entry %u: %s", entry, fault);
    for (sfs_inode i = 0; i < tables->inode_count; i++) {
        if (names[i] == 0 || names[i] != tables->inodes[i].nlink)
            return sfs_fail(err, EBADMSG, "inode %u: wrong link count", i);
    }
    return 0;
}

int sfs_tables_find(const struct sfs_tables *tables, sfs_entry dir, const char *name,
                    size_t name_size, sfs_entry *ret_entry)
{
    sfs_inode inode = tables->entries[dir].inode;
    if (inode == SFS_NO_INODE || !S_ISDIR(tables->inodes[inode].mode))
        return -ENOENT;
    sfs_entry low = tables->inodes[inode].first, high = low + tables->inodes[inode].count;
    while (low < high) {
        sfs_entry middle = low + (high - low) / 2;
        const struct sfs_entry_rec *entry = &tables->entries[middle];
        int order =
            sfs_name_compare(name, name_size, tables->strings + entry->name, entry->name_size);
        if (order == 0) {
            *ret_entry = middle;
            return 0;
        }
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return -ENOENT;
}

void sfs_tables_attr(const struct sfs_inode_rec *inode, struct sfs_attr *ret_attr)
{
    *ret_attr = (struct sfs_attr){
        .size = inode->size,
        .mtime_sec = inode->mtime_sec,
        .mtime_nsec = inode->mtime_nsec,
        .mode = inode->mode,
        .uid = inode->uid,
        .gid = inode->gid,
        .rdev_major = inode->rdev_major,
        .rdev_minor = inode->rdev_minor,
        .nlink = inode->nlink,
    };
}

const char *sfs_tables_target(const struct sfs_tables *tables, const struct sfs_inode_rec *inode)
{
    return S_ISLNK(inode->mode) ? tables->strings + inode->string : "";
}

struct sfs_xattr sfs_tables_xattr(const struct sfs_tables *tables,
                                  const struct sfs_inode_rec *inode, uint32_t i)
{
    const struct sfs_xattr_rec *xattr = &tables->xattrs[inode->xattrs + i];
    return (struct sfs_xattr){ .name = tables->strings + xattr->name,
                               .value = tables->strings + xattr->value,
                               .size = xattr->value_size };
}
