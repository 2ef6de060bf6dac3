/* Listing a directory. Offsets are positions: 0 is ".", 1 "..", 2 the first name, so a listing may
 * be taken up anywhere at any time, and rewinding costs nothing. */
#include "mount/server.h"

#include <errno.h>

#define DOTS 2u

/* A listing as far as it fits into one answer. */
struct page {
    fuse_req_t req;
    char *data;
    size_t size, used;
    bool plus;
};

/* Adds a name to the answer. False: it does not fit any more. */
static bool add_name(struct page *page, const char *name, const struct fuse_entry_param *entry,
                     uint64_t next)
{
    char *at = page->data + page->used;
    size_t left = page->size - page->used;
    size_t need = page->plus
                      ? fuse_add_direntry_plus(page->req, at, left, name, entry, (off_t)next)
                      : fuse_add_direntry(page->req, at, left, name, &entry->attr, (off_t)next);
    if (need > left)
        return false;
    page->used += need;
    return true;
}

/* Describes an inode: `whole` with all attributes; else with type and number, which are all that a
 * plain listing gives, and all that "." and ".." have in any. */
static int describe(struct sfs_server *server, sfs_ino ino, bool whole,
                    struct fuse_entry_param *ret_entry)
{
    int r = sfs_server_entry(server, ino, ret_entry);
    if (r == 0 && !whole)
        ret_entry->ino = 0;
    return r;
}

static int add_dots(struct sfs_server *server, struct page *page, sfs_ino dir, uint64_t offset)
{
    sfs_ino parent;
    int r = sfs_forest_parent(&server->forest, dir, &parent);
    for (uint64_t i = offset; r == 0 && i < DOTS; i++) {
        struct fuse_entry_param entry;
        r = describe(server, i == 0 ? dir : parent, false, &entry);
        if (r == 0)
            add_name(page, i == 0 ? "." : "..", &entry, i + 1);
    }
    return r;
}

static int add_names(struct sfs_server *server, struct page *page, sfs_ino dir, uint64_t offset)
{
    struct sfs_listing listing;
    int r = sfs_forest_list(&server->forest, dir, &listing);
    if (r < 0)
        return r;
    for (uint64_t i = offset < DOTS ? 0 : offset - DOTS; i < listing.count; i++) {
        struct fuse_entry_param entry;
        r = describe(server, sfs_listing_ino(&listing, (uint32_t)i), page->plus, &entry);
        if (r < 0)
            return r;
        if (!add_name(page, listing.entries[i].name, &entry, i + DOTS + 1))
            break;
    }
    return 0;
}

static void answer(fuse_req_t req, sfs_ino dir, size_t size, off_t offset, bool plus)
{
    struct sfs_server *server = sfs_server_of(req);
    SFS_TIMED(&server->stats, plus ? SFS_REQUEST_READDIRPLUS : SFS_REQUEST_READDIR);
    sfs_server_note(req, dir, SFS_USE_LIST);
    AUTO(sfs_free) char *data = malloc(size);
    if (!data) {
        fuse_reply_err(req, ENOMEM);
        return;
    }
    struct page page = { .req = req, .data = data, .size = size, .plus = plus };
    int r = add_dots(server, &page, dir, (uint64_t)offset);
    if (r == 0)
        r = add_names(server, &page, dir, (uint64_t)offset);
    if (r < 0)
        fuse_reply_err(req, -r);
    else
        fuse_reply_buf(req, page.data, page.used);
}

void sfs_op_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset,
                    struct fuse_file_info *info)
{
    (void)info;
    answer(req, ino, size, offset, false);
}

void sfs_op_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset,
                        struct fuse_file_info *info)
{
    (void)info;
    answer(req, ino, size, offset, true);
}
