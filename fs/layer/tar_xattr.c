/* Extended attributes and ACLs of a tar's members, in the form in which Linux stores them. */
#include "layer/tar_read.h"

#include "base/limits.h"
#include "layer/archive_api.h"
#include <ctype.h>

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
                            size_t count)
{
    const struct sfs_archive_api *api = sfs_archive_api_get();
    int type, permissions, tag, id;
    const char *name;
    size_t used = 0;
    bool whole = true;
    while (api->archive_entry_acl_next(entry, kind, &type, &permissions, &tag, &id, &name) ==
           ARCHIVE_OK) {
        bool has_id = tag == ARCHIVE_ENTRY_ACL_USER || tag == ARCHIVE_ENTRY_ACL_GROUP;
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
    int count = sfs_archive_api_get()->archive_entry_acl_reset(entry, kind);
    if (count <= 0 || (size_t)count > MAX_ACL)
        return 0;
    struct acl_head *head = calloc(1, sizeof *head + (size_t)count * sizeof(struct acl_item));
    *ret_memory = head;
    if (!head)
        return -ENOMEM;
    head->version = ACL_VERSION;
    struct acl_item *items = (void *)(head + 1);
    size_t used = convert_items(entry, kind, items, (size_t)count);
    return used ? add(xattrs, name, head, sizeof *head + used * sizeof *items) : 0;
}

/* ---- as pax has them ---- */

struct sfs_tar_decoded {
    struct sfs_tar_decoded *next;
    char text[]; /* the attribute's name with its NUL, then its value */
};

/* Takes the text of an ACL, which libarchive reads. */
static int take_acl(const char *text, int kind, const char *name, struct sfs_tar_xattrs *xattrs,
                    void **memory, struct sfs_error *err)
{
    const struct sfs_archive_api *api;
    int r = sfs_archive_api_load(&api, err);
    if (r < 0)
        return r;
    struct archive_entry *entry = api->archive_entry_new();
    if (!entry)
        return sfs_fail_memory(err);
    if (api->archive_entry_acl_from_text(entry, text, kind) == ARCHIVE_OK)
        r = add_acl(entry, kind, name, xattrs, memory);
    api->archive_entry_free(entry);
    return r < 0 ? sfs_fail_memory(err) : 0;
}

static int digit_of(char byte, const char *digits)
{
    const char *place = byte ? strchr(digits, byte) : NULL;
    return place ? (int)(place - digits) : -1;
}

/* Decodes "%20" and the like to `out`, with a NUL behind it. Returns the size. */
static size_t decode_name(const char *name, char *out)
{
    static const char digits[] = "0123456789abcdef";
    size_t used = 0;
    while (*name) {
        int high = *name == '%' ? digit_of((char)tolower(name[1]), digits) : -1;
        int low = high >= 0 ? digit_of((char)tolower(name[2]), digits) : -1;
        out[used++] = low >= 0 ? (char)(high << 4 | low) : *name;
        name += low >= 0 ? 3 : 1;
    }
    out[used++] = 0;
    return used;
}

/* Decodes base64, with or without padding (libarchive writes none). Returns the size. */
static size_t decode_value(const char *value, size_t size, char *out)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    size_t used = 0;
    uint32_t bits = 0;
    unsigned have = 0;
    for (size_t i = 0; i < size; i++) {
        int digit = digit_of(value[i], digits);
        if (digit < 0)
            break;
        bits = bits << 6 | (uint32_t)digit;
        have += 6;
        if (have >= 8) {
            have -= 8;
            out[used++] = (char)(bits >> have & 0xff);
        }
    }
    return used;
}

static int take_encoded(const char *name, const struct sfs_tar_record *record,
                        struct sfs_tar_xattrs *xattrs)
{
    struct sfs_tar_decoded *decoded =
        malloc(sizeof *decoded + strlen(name) + 1 + record->value_size);
    if (!decoded)
        return -ENOMEM;
    decoded->next = xattrs->decoded;
    xattrs->decoded = decoded;
    size_t name_size = decode_name(name, decoded->text);
    char *value = decoded->text + name_size;
    size_t size = decode_value(record->value, record->value_size, value);
    return sfs_tar_xattr_is_shown(decoded->text) ? add(xattrs, decoded->text, value, size) : 0;
}

static const char *behind(const char *text, const char *start)
{
    size_t size = strlen(start);
    return strncmp(text, start, size) == 0 ? text + size : NULL;
}

static int take_xattr(const struct sfs_tar_record *record, struct sfs_tar_xattrs *xattrs)
{
    const char *name = behind(record->key, "SCHILY.xattr.");
    if (strcmp(record->key, "RHT.security.selinux") == 0)
        name = "security.selinux";
    if (name)
        return sfs_tar_xattr_is_shown(name) ? add(xattrs, name, record->value, record->value_size)
                                            : 0;
    name = behind(record->key, "LIBARCHIVE.xattr.");
    return name ? take_encoded(name, record, xattrs) : 0;
}

static int take_acls(const struct sfs_tar_record *records, size_t count,
                     struct sfs_tar_xattrs *xattrs, struct sfs_error *err)
{
    const char *access = NULL, *default_acl = NULL;
    int r = 0;
    for (size_t i = 0; i < count; i++) {
        access = strcmp(records[i].key, "SCHILY.acl.access") ? access : records[i].value;
        default_acl = strcmp(records[i].key, "SCHILY.acl.default") ? default_acl : records[i].value;
    }
    if (access)
        r = take_acl(access, ARCHIVE_ENTRY_ACL_TYPE_ACCESS, "system.posix_acl_access", xattrs,
                     &xattrs->access, err);
    if (r == 0 && default_acl)
        r = take_acl(default_acl, ARCHIVE_ENTRY_ACL_TYPE_DEFAULT, "system.posix_acl_default",
                     xattrs, &xattrs->default_acl, err);
    return r;
}

/* ACLs come first, so that an attribute that brings one in binary form replaces it. */
int sfs_tar_xattrs_take(const struct sfs_tar_record *records, size_t count,
                        struct sfs_tar_xattrs *ret_xattrs, struct sfs_error *err)
{
    AUTO(sfs_tar_xattrs_done) struct sfs_tar_xattrs xattrs = { 0 };
    int r = take_acls(records, count, &xattrs, err);
    if (r < 0)
        return r;
    for (size_t i = 0; r == 0 && i < count; i++)
        r = take_xattr(&records[i], &xattrs);
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
    while (xattrs->decoded) {
        struct sfs_tar_decoded *decoded = xattrs->decoded;
        xattrs->decoded = decoded->next;
        free(decoded);
    }
    *xattrs = (struct sfs_tar_xattrs){ 0 };
}
