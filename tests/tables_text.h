/* Tables as text, one line an entry, for tests: "a/b f 0644" and what else there is to tell. */
#ifndef TABLES_TEXT_H
#define TABLES_TEXT_H

#include "base/buf.h"
#include "layer/tables.h"
#include <criterion/criterion.h>

static inline void tables_text_path(const struct sfs_tables *tables, sfs_entry i,
                                    struct sfs_buf *out)
{
    const struct sfs_entry_rec *entry = &tables->entries[i];
    if (i == 0)
        return;
    if (entry->parent != 0) {
        tables_text_path(tables, entry->parent, out);
        sfs_buf_add_str(out, "/");
    }
    sfs_buf_add(out, tables->strings + entry->name, entry->name_size);
}

static inline void tables_text_entry(const struct sfs_tables *tables, sfs_entry i,
                                     struct sfs_buf *out)
{
    static const char types[] = "?pc?d?b?f?l?????";
    const struct sfs_entry_rec *entry = &tables->entries[i];
    tables_text_path(tables, i, out);
    sfs_buf_add_str(out, entry->flags & SFS_ENTRY_WHITEOUT ? " -" : "");
    sfs_buf_add_str(out, entry->flags & SFS_ENTRY_OPAQUE ? " opaque" : "");
    sfs_buf_add_str(out, entry->flags & SFS_ENTRY_IMPLIED ? " implied" : "");
    if (entry->inode != SFS_NO_INODE) {
        const struct sfs_inode_rec *inode = &tables->inodes[entry->inode];
        const char *target = tables->strings + inode->string;
        if (entry->flags & SFS_ENTRY_LINK)
            sfs_buf_printf(out, " => %s", target);
        else if (!(entry->flags & SFS_ENTRY_IMPLIED))
            sfs_buf_printf(out, " %c%o", types[inode->mode >> 12], inode->mode & 07777);
        if (S_ISLNK(inode->mode))
            sfs_buf_printf(out, " -> %s", target);
        if (S_ISREG(inode->mode))
            sfs_buf_printf(out, " %llu", (unsigned long long)inode->size);
        if (inode->nlink > 1)
            sfs_buf_printf(out, " x%u", inode->nlink);
    }
    sfs_buf_add_str(out, "\n");
}

/* All entries but an implied root, in table order. The caller frees. */
static inline char *tables_text(const struct sfs_tables *tables)
{
    struct sfs_buf out = { 0 };
    sfs_buf_add_str(&out, "");
    for (sfs_entry i = 0; i < tables->entry_count; i++)
        if (i > 0 || !(tables->entries[0].flags == SFS_ENTRY_IMPLIED))
            tables_text_entry(tables, i, &out);
    return out.data;
}

#endif
