/* Layers made by toc_bytes.h, opened with and without their table of contents. */
#ifndef TOC_FIXTURE_H
#define TOC_FIXTURE_H

#include "toc_bytes.h"

#include "layer/toc.h"
#include "layer_fixture.h"
#include "support.h"

static struct support_warnings warnings;

/* The layer of a writer's blob. `annotations` NULL: as if it were an ordinary one. */
static inline int try_layer(const struct toc_writer *w, const json_t *annotations,
                            struct sfs_layer **ret_layer)
{
    char text[SFS_DIGEST_TEXT];
    struct sfs_layer_source source = fixture_source(w->blob.data, w->blob.size, text);
    source.codec = toc_is_zstd(w) ? SFS_CODEC_ZSTD : SFS_CODEC_GZIP;
    source.annotations = annotations;
    AUTO(sfs_blob_close) struct sfs_blob *blob = fixture_blob(w->blob.data, w->blob.size);
    support_warnings_init(&warnings);
    return sfs_layer_open_tar(store, cache, &blob, &source, &warnings.progress, ret_layer, &err);
}

static inline struct sfs_layer *open_layer(const struct toc_writer *w, const json_t *annotations)
{
    struct sfs_layer *layer = NULL;
    cr_assert_eq(try_layer(w, annotations, &layer), 0, "%s", err.text);
    return layer;
}

static inline bool is_from_toc(const struct toc_writer *w)
{
    char text[SFS_DIGEST_TEXT];
    struct sfs_layer_state state;
    struct sfs_layer_source source = fixture_source(w->blob.data, w->blob.size, text);
    cr_assert_eq(sfs_layer_get_state(store, source.key, &state, &err), 0);
    cr_assert(state.indexed);
    return state.from_toc;
}

static inline void dump_bytes(struct sfs_layer *layer, sfs_inode inode, struct sfs_buf *out)
{
    struct sfs_digest digest;
    char text[SFS_DIGEST_TEXT];
    AUTO(sfs_free) char *data = fixture_read(layer, inode);
    sfs_digest_of(data, layer->tables.inodes[inode].size, &digest);
    sfs_buf_printf(out, " %s", sfs_digest_print(&digest, text));
}

/* Everything that a reader can see. */
static inline char *dump(struct sfs_layer *layer)
{
    const struct sfs_tables *tables = &layer->tables;
    struct sfs_buf out = { 0 };
    for (sfs_entry i = 0; i < tables->entry_count; i++) {
        const struct sfs_entry_rec *entry = &tables->entries[i];
        tables_text_entry(tables, i, &out);
        if (entry->inode == SFS_NO_INODE)
            continue;
        const struct sfs_inode_rec *inode = &tables->inodes[entry->inode];
        sfs_buf_printf(&out, "  %u:%u %u:%u %lld.%u", inode->uid, inode->gid, inode->rdev_major,
                       inode->rdev_minor, (long long)inode->mtime_sec, inode->mtime_nsec);
        for (uint32_t x = inode->xattrs; x < inode->xattrs + inode->xattr_count; x++)
            sfs_buf_printf(&out, " %s=%.*s", tables->strings + tables->xattrs[x].name,
                           (int)tables->xattrs[x].value_size,
                           tables->strings + tables->xattrs[x].value);
        if (S_ISREG(inode->mode))
            dump_bytes(layer, entry->inode, &out);
        sfs_buf_add_str(&out, "\n");
    }
    return out.data;
}

static inline char *dump_of(const struct toc_writer *w, const json_t *annotations)
{
    AUTO(sfs_layer_close) struct sfs_layer *layer = open_layer(w, annotations);
    return dump(layer);
}

/* Layers of equal bytes would find each other's index. */
static inline void forget_indexes(void)
{
    uint64_t freed, items;
    cr_assert_eq(sfs_store_prune(store, 0, &freed, &items, &err), 0, "%s", err.text);
}

/* The table shows the same as the tar that it is in. */
static inline void expect_same(const struct toc_writer *w)
{
    forget_indexes();
    AUTO(sfs_free) char *lazy = dump_of(w, w->annotations);
    cr_assert_eq(warnings.count, 0, "kind %d: %s", w->kind, warnings.last);
    cr_assert(is_from_toc(w), "kind %d", w->kind);
    AUTO(sfs_free) char *whole = dump_of(w, NULL);
    cr_assert_not(is_from_toc(w));
    cr_assert_str_eq(lazy, whole, "kind %d", w->kind);
}

/* The table is ignored with a warning that says why, and the tar is shown. */
static inline void expect_ignored(const struct toc_writer *w, const char *why)
{
    forget_indexes();
    AUTO(sfs_free) char *shown = dump_of(w, w->annotations);
    cr_assert_eq(warnings.count, 1, "no warning \"%s\"", why);
    cr_assert_not_null(strstr(warnings.last, why), "\"%s\", not \"%s\"", warnings.last, why);
    cr_assert_eq(strncmp(warnings.last, "sha256:", 7), 0, "it does not name the layer");
    cr_assert_not(is_from_toc(w));
    AUTO(sfs_free) char *whole = dump_of(w, NULL);
    cr_assert_str_eq(shown, whole);
}

static inline void put_tree(struct toc_writer *w)
{
    AUTO(sfs_buf_close) struct sfs_buf content = make_content(300000, 1);
    memset(content.data + 100000, 0, 100000);
    toc_entry(w, '5', "./", "");
    toc_entry(w, '5', "bin/", "");
    toc_file_note(w, "bin/tool", content.data, 123456, "one");
    toc_text(w, "bin/empty", "");
    toc_entry(w, '1', "bin/again", "bin/tool");
    toc_entry(w, '2', "sbin", "bin");
    toc_file(w, "opt/deep/er/data", content.data, content.size);
    toc_text(w, "./a", "alpha");
    toc_text(w, "b", "beta");
    toc_entry(w, '3', "dev/console", "");
    toc_entry(w, '6', "dev/pipe", "");
    toc_text(w, "etc/.wh.gone", "");
    toc_text(w, "var/.wh..wh..opq", "");
    toc_text(w, "var/new", "new\n");
    toc_entry(w, '1', "var/link", "./b");
    toc_file(w, "zeros", content.data + 100000, 100000);
    toc_text(w, "z", "the last");
}

static inline void put_small_tree(struct toc_writer *w)
{
    toc_entry(w, '5', "dir/", "");
    toc_text(w, "dir/first", "what the first file holds");
    toc_text(w, "dir/second", "what the second file holds");
    toc_entry(w, '1', "dir/third", "dir/first");
    toc_entry(w, '2', "dir/link", "first");
}

#endif
