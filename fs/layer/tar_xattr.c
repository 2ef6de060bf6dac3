#include "layer/tar_read.h"

#include "base/limits.h"
#include <archive.h>
#include <archive_entry.h>

/* Binary form of a POSIX ACL in an extended attribute (linux/posix_acl_xattr.h). */
struct acl_head {
    uint32_t version;
};
struct acl_item {
    uint16_t tag, permissions;
    uint32_t id;
};
#define ACL_VERSION 2
#define ACL_NO_ID   UINT32_MAX
#define MAX_ACL     ((SFS_MAX_XATTR - sizeof(struct acl_head)) / sizeof(struct acl_item))

bool sfs_tar_xattr_is_shown(const char *name)
{
    static const char *const namespaces[] = { "user.", "trusted.", "security.", "system." };
    for (size_t i = 0; i < sizeof namespaces / sizeof *namespaces; i++) {
        size_t size = strlen(namespaces[i]);
        if (strncmp(name, namespaces[i], size) == 0 && name[size])
            return true;
    }
    return false;
}

static int add(struct sfs_tar_xattrs *xattrs, const char *name, const void *value, size_t size)
{
    if (xattrs->count == xattrs->capacity) {
        uint32_t capacity = xattrs->capacity ? 2 * xattrs->capacity : 8;
        void *list = reallocarray(xattrs->list, capacity, sizeof *xattrs->list);
        if (!list)
            return -ENOMEM;
        xattrs->list = list;
        xattrs->capacity = capacity;
    }
    xattrs->list[xattrs->count++] = (struct sfs_builder_xattr){ name, value, size };
    return 0;
}

/* The kernel's tag of an entry; 0: none. */
static uint16_t kernel_tag(int tag)
{
    switch (tag) {
    case ARCHIVE_ENTRY_ACL_USER_OBJ:
        return 0x01;
    case ARCHIVE_ENTRY_ACL_USER:
        return 0x02;
    case ARCHIVE_ENTRY_ACL_GROUP_OBJ:
        return 0x04;
    case ARCHIVE_ENTRY_ACL_GROUP:
        return 0x08;
    case ARCHIVE_ENTRY_ACL_MASK:
        return 0x10;
    case ARCHIVE_ENTRY_ACL_OTHER:
        return 0x20;
    default:
        return 0;
    }
}

static int compare_items(const void *a, const void *b)
{
    const struct acl_item *left = a, *right = b;
    if (left->tag != right->tag)
        return left->tag < right->tag ? -1 : 1;
    return (left->id > right->id) - (left->id < right->id);
}

/* Fills up to `count` items; returns how many, or 0 if the ACL cannot be expressed. */
static size_t convert_items(struct archive_entry *entry, int kind, struct acl_item *items,
                            size_t count, struct sfs_tar_xattrs *xattrs)
{
    int type, permissions, tag, id;
    const char *name;
    size_t used = 0;
    bool whole = true;
    while (archive_entry_acl_next(entry, kind, &type, &permissions, &tag, &id, &name) ==
           ARCHIVE_OK) {
        bool has_id = tag == ARCHIVE_ENTRY_ACL_USER || tag == ARCHIVE_ENTRY_ACL_GROUP;
        if (kind == ARCHIVE_ENTRY_ACL_TYPE_ACCESS && tag == ARCHIVE_ENTRY_ACL_MASK) {
            xattrs->has_mask = true;
            xattrs->mask = (uint32_t)permissions & 7;
        }
        whole = whole && used < count && kernel_tag(tag) && (!has_id || id >= 0);
        if (whole)
            items[used++] = (struct acl_item){ .tag = kernel_tag(tag),
                                               .permissions = (uint16_t)(permissions & 7),
                                               .id = has_id ? (uint32_t)id : ACL_NO_ID };
    }
    qsort(items, used, sizeof *items, compare_items);
    return whole ? used : 0;
}

static int add_acl(struct archive_entry *entry, int kind, const char *name,
                   struct sfs_tar_xattrs *xattrs, void **ret_memory)
{
    int count = archive_entry_acl_reset(entry, kind);
    if (count <= 0 || (size_t)count > MAX_ACL)
        return 0;
    struct acl_head *head = calloc(1, sizeof *head + (size_t)count * sizeof(struct acl_item));
    *ret_memory = head;
    if (!head)
        return -ENOMEM;
    head->version = ACL_VERSION;
    struct acl_item *items = (void *)(head + 1);
    size_t used = convert_items(entry, kind, items, (size_t)count, xattrs);
    return used ? add(xattrs, name, head, sizeof *head + used * sizeof *items) : 0;
}

int sfs_tar_xattrs_read(struct archive_entry *entry, struct sfs_tar_xattrs *ret_xattrs,
                        struct sfs_error *err)
{
    AUTO(sfs_tar_xattrs_done) struct sfs_tar_xattrs xattrs = { 0 };
    /* First, so that an attribute that brings the ACL in binary form wins. */
    int r = add_acl(entry, ARCHIVE_ENTRY_ACL_TYPE_ACCESS, "system.posix_acl_access", &xattrs,
                    &xattrs.access);
    if (r == 0)
        r = add_acl(entry, ARCHIVE_ENTRY_ACL_TYPE_DEFAULT, "system.posix_acl_default", &xattrs,
                    &xattrs.default_acl);
    const char *name;
    const void *value;
    size_t size;
    archive_entry_xattr_reset(entry);
    while (r == 0 && archive_entry_xattr_next(entry, &name, &value, &size) == ARCHIVE_OK)
        if (name && sfs_tar_xattr_is_shown(name))
            r = add(&xattrs, name, value, size);
    if (r < 0)
        return sfs_fail_memory(err);
    *ret_xattrs = xattrs;
    xattrs = (struct sfs_tar_xattrs){ 0 };
    return 0;
}

void sfs_tar_xattrs_done(struct sfs_tar_xattrs *xattrs)
{
    free(xattrs->list);
    free(xattrs->access);
    free(xattrs->default_acl);
    *xattrs = (struct sfs_tar_xattrs){ 0 };
}
