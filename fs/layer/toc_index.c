/* Decoded bytes, as the seek table counts them, are the chunks one behind another: each is a span,
 * and what lies between (headers, padding, zeros that are holes) is in none. A file is held back
 * until its last chunk has come, because only then is it known where its bytes are. */
#include "layer/toc.h"

#include "base/buf.h"
#include "base/limits.h"
#include "layer/whiteout.h"

/* Up to so many bytes of input that nobody needs are read along with the span before them; where
 * there are more, the span is made to end before them. */
#define GAP_MAX (64u << 10)

/* A regular file whose chunks are coming. */
struct toc_file {
    bool is_open; /* there is one */
    struct sfs_buf path;
    struct sfs_inode_rec inode;
    struct sfs_builder_xattr *xattrs;
    uint32_t xattr_count;
    void *values; /* the attributes' values; owned */
    char *names;  /* the attributes' names; owned */
    struct sfs_buf extents;
    uint64_t known;      /* bytes of the file whose place is known */
    uint64_t end_offset; /* where its input ends in the blob; 0: not said */
};

struct sfs_toc_index {
    struct sfs_builder *builder;
    struct sfs_buf points, tags;
    const struct sfs_toc_kind *kind;
    uint64_t data_end;  /* offset in the blob of the end of the layer's data */
    uint64_t out;       /* decoded bytes of all chunks so far */
    uint64_t in;        /* where the frame of the last chunk starts in the blob */
    uint64_t inner_end; /* where the last chunk ends in its decoded frame */
    uint64_t gap;       /* from this offset of the blob on nothing was needed; 0: not known */
    uint64_t named;     /* how many names the tables must have at the end */
    struct toc_file file;
};

static void close_file(struct toc_file *file)
{
    sfs_buf_close(&file->path);
    sfs_buf_close(&file->extents);
    free(file->xattrs);
    free(file->values);
    free(file->names);
    *file = (struct toc_file){ 0 };
}

struct sfs_toc_index *sfs_toc_index_open(uint64_t data_end, const struct sfs_toc_kind *kind)
{
    AUTO(sfs_toc_index_close) struct sfs_toc_index *index = calloc(1, sizeof *index);
    if (!index)
        return NULL;
    index->builder = sfs_builder_open();
    index->data_end = data_end;
    index->kind = kind;
    return index->builder ? TAKE(index) : NULL;
}

void sfs_toc_index_close(struct sfs_toc_index **index_ptr)
{
    struct sfs_toc_index *index = *index_ptr;
    if (!index)
        return;
    *index_ptr = NULL;
    sfs_builder_close(&index->builder);
    sfs_buf_close(&index->points);
    sfs_buf_close(&index->tags);
    close_file(&index->file);
    free(index);
}

/* ---- spans ---- */

static int add_point(struct sfs_toc_index *index, const struct sfs_point *point,
                     const struct sfs_digest *digest, struct sfs_error *err)
{
    if (index->points.size / sizeof *point >= UINT32_MAX)
        return sfs_fail(err, E2BIG, "too many chunks");
    if (sfs_buf_add(&index->points, point, sizeof *point) < 0 ||
        sfs_buf_add(&index->tags, digest->bytes, sizeof digest->bytes) < 0)
        return sfs_fail_memory(err);
    return 0;
}

/* Makes the last span end where its input does, if much input follows that nobody needs. */
static int end_span(struct sfs_toc_index *index, uint64_t next, struct sfs_error *err)
{
    static const struct sfs_digest none;
    struct sfs_point point = { .out = index->out, .in = index->gap };
    return index->gap && next - index->gap > GAP_MAX ? add_point(index, &point, &none, err) : 0;
}

static int check_place(const struct sfs_toc_index *index, uint64_t in, uint64_t inner,
                       struct sfs_error *err)
{
    if (in == 0 && inner == 0)
        return sfs_fail(err, EBADMSG, "a chunk has no offset");
    if (in >= index->data_end)
        return sfs_fail(err, EBADMSG, "a chunk lies outside of the layer's data");
    if (in < index->gap || in < index->in || (in == index->in && inner < index->inner_end))
        return sfs_fail(err, EBADMSG, "chunks are out of order or overlap");
    return 0;
}

/* A chunk of zeros needs no bytes: those that it has are passed over. */
static int add_zeros(struct sfs_toc_index *index, const struct sfs_toc_entry *entry, uint64_t size,
                     struct sfs_error *err)
{
    int r = check_place(index, entry->offset, entry->inner_offset, err);
    if (r == 0 && !index->gap && entry->inner_offset == 0)
        index->gap = entry->offset;
    if (r == 0)
        index->file.known += size;
    return r;
}

static int add_extent(struct sfs_toc_index *index, uint64_t size, struct sfs_error *err)
{
    struct toc_file *file = &index->file;
    struct sfs_extent extent = { file->known, index->out, size };
    struct sfs_extent *last =
        file->extents.size == 0 ? NULL
                                : (void *)(file->extents.data + file->extents.size - sizeof *last);
    if (last && last->file_offset + last->size == extent.file_offset &&
        last->data_offset + last->size == extent.data_offset)
        last->size += size;
    else if (sfs_buf_add(&file->extents, &extent, sizeof extent) < 0)
        return sfs_fail_memory(err);
    return 0;
}

static int add_data(struct sfs_toc_index *index, const struct sfs_toc_entry *entry, uint64_t size,
                    const struct sfs_digest *digest, struct sfs_error *err)
{
    int r = check_place(index, entry->offset, entry->inner_offset, err);
    if (r < 0)
        return r;
    if (size > SFS_SPAN_MAX || entry->inner_offset > SFS_SPAN_MAX)
        return sfs_fail(err, ENOTSUP, "a chunk is larger than %u bytes", SFS_SPAN_MAX);
    struct sfs_point point = { .out = index->out,
                               .in = entry->offset,
                               .skip = (uint32_t)entry->inner_offset };
    r = end_span(index, entry->offset, err);
    if (r == 0)
        r = add_point(index, &point, digest, err);
    if (r == 0)
        r = add_extent(index, size, err);
    if (r < 0)
        return r;
    index->in = entry->offset;
    index->inner_end = entry->inner_offset + size;
    index->gap = 0;
    index->out += size; /* in steps of 16 MiB, 2^32 times: it cannot overflow */
    index->file.known += size;
    return 0;
}

/* The digest of a chunk. Where a file has only one, the table may give it as the file's; eStargz
 * always gives the chunk's. */
static const struct sfs_digest *find_digest(const struct sfs_toc_index *index,
                                            const struct sfs_toc_entry *entry, uint64_t size)
{
    if (entry->has_chunk_digest)
        return &entry->chunk_digest;
    bool is_whole =
        index->kind->lends_digest && entry->has_digest && size == index->file.inode.size;
    return is_whole ? &entry->digest : NULL;
}

static int add_chunk(struct sfs_toc_index *index, const struct sfs_toc_entry *entry,
                     struct sfs_error *err)
{
    struct toc_file *file = &index->file;
    uint64_t left = file->inode.size - file->known;
    uint64_t size = entry->chunk_size ? entry->chunk_size : left;
    if (entry->chunk_offset != file->known || left == 0 || size > left)
        return sfs_fail(err, EBADMSG, "its chunks do not make up the file");
    if (entry->is_zeros)
        return add_zeros(index, entry, size, err);
    const struct sfs_digest *digest = find_digest(index, entry, size);
    if (!digest)
        return sfs_fail(err, EBADMSG, "a chunk has no digest");
    return add_data(index, entry, size, digest, err);
}

/* ---- names ---- */

/* Refuses names of aufs, whose links only the reader of the tar resolves. */
static int refuse_aufs(const char *path, struct sfs_error *err)
{
    return sfs_aufs_is_body(path)
               ? sfs_fail(err, ENOTSUP, "\"%.100s\" is aufs's body of hard links", path)
               : 0;
}

static int add_name(struct sfs_toc_index *index, const char *path,
                    const struct sfs_builder_item *item, struct sfs_error *err)
{
    if (index->kind->has_marks && sfs_estargz_is_mark(path))
        return 0;
    int r = refuse_aufs(path, err);
    if (r == 0)
        r = sfs_whiteout_take(index->builder, path, err);
    if (r != 0)
        return r < 0 ? r : 0;
    index->named++;
    return sfs_builder_add(index->builder, path, item, err);
}

static int add_link(struct sfs_toc_index *index, const struct sfs_toc_entry *entry,
                    struct sfs_error *err)
{
    int r = refuse_aufs(entry->link, err);
    if (r == 0)
        r = sfs_whiteout_take(index->builder, entry->name, err);
    if (r != 0)
        return r < 0 ? r : 0;
    if (!*entry->link)
        return sfs_fail(err, EBADMSG, "a hard link has no target");
    index->named++;
    return sfs_builder_link(index->builder, entry->name, entry->link, err);
}

static int finish_file(struct sfs_toc_index *index, struct sfs_error *err)
{
    struct toc_file *file = &index->file;
    if (!file->is_open)
        return 0;
    if (file->known != file->inode.size)
        return sfs_fail(err, EBADMSG, "\"%.100s\": its chunks do not make up the file",
                        file->path.data);
    if (file->end_offset) {
        if (file->end_offset <= index->in || file->end_offset < index->gap ||
            file->end_offset > index->data_end)
            return sfs_fail(err, EBADMSG, "\"%.100s\": its end is out of order", file->path.data);
        index->gap = index->gap ? index->gap : file->end_offset;
    }
    struct sfs_builder_item item = { .inode = file->inode,
                                     .extents = (const void *)file->extents.data,
                                     .extent_count =
                                         (uint32_t)(file->extents.size / sizeof(struct sfs_extent)),
                                     .xattrs = file->xattrs,
                                     .xattr_count = file->xattr_count };
    int r = add_name(index, file->path.data, &item, err);
    close_file(file);
    return r;
}

static int keep_xattrs(struct toc_file *file, const struct sfs_toc_entry *entry)
{
    size_t names = 1, values = 1;
    for (uint32_t i = 0; i < entry->xattr_count; i++) {
        names += strlen(entry->xattrs[i].name) + 1;
        values += entry->xattrs[i].size;
    }
    file->xattrs = calloc(entry->xattr_count + 1u, sizeof *file->xattrs);
    char *name = file->names = malloc(names);
    uint8_t *value = file->values = malloc(values);
    if (!file->xattrs || !name || !value)
        return -ENOMEM;
    for (uint32_t i = 0; i < entry->xattr_count; i++) {
        const struct sfs_builder_xattr *from = &entry->xattrs[i];
        file->xattrs[file->xattr_count++] = (struct sfs_builder_xattr){ name, value, from->size };
        size_t size = strlen(from->name) + 1;
        memcpy(name, from->name, size);
        memcpy(value, from->value, from->size);
        name += size;
        value += from->size;
    }
    return 0;
}

static int start_file(struct sfs_toc_index *index, const struct sfs_toc_entry *entry,
                      struct sfs_error *err)
{
    struct toc_file *file = &index->file;
    file->is_open = true;
    file->inode = entry->inode;
    file->inode.mode |= S_IFREG;
    file->end_offset = entry->inode.size ? entry->end_offset : 0;
    if (sfs_buf_add_str(&file->path, entry->name) < 0 ||
        (entry->xattr_count && keep_xattrs(file, entry) < 0))
        return sfs_fail_memory(err);
    return entry->inode.size ? add_chunk(index, entry, err) : 0;
}

static int go_on(struct sfs_toc_index *index, const struct sfs_toc_entry *entry,
                 struct sfs_error *err)
{
    const struct toc_file *file = &index->file;
    if (!file->is_open || (*entry->name && strcmp(entry->name, file->path.data) != 0))
        return sfs_fail(err, EBADMSG, "a chunk of no file");
    return add_chunk(index, entry, err);
}

static int add_special(struct sfs_toc_index *index, const struct sfs_toc_entry *entry,
                       struct sfs_error *err)
{
    static const struct {
        const char *name;
        uint32_t mode;
    } types[] = { { "dir", S_IFDIR },
                  { "symlink", S_IFLNK },
                  { "char", S_IFCHR },
                  { "block", S_IFBLK },
                  { "fifo", S_IFIFO } };
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        if (strcmp(entry->type, types[i].name) != 0)
            continue;
        struct sfs_builder_item item = { .inode = entry->inode,
                                         .target = entry->link,
                                         .xattrs = entry->xattrs,
                                         .xattr_count = entry->xattr_count };
        item.inode.mode |= types[i].mode;
        return add_name(index, entry->name, &item, err);
    }
    return sfs_fail(err, EBADMSG, "its type is unknown");
}

int sfs_toc_index_add(struct sfs_toc_index *index, const struct sfs_toc_entry *entry,
                      struct sfs_error *err)
{
    if (strcmp(entry->type, "chunk") == 0)
        return go_on(index, entry, err);
    int r = finish_file(index, err);
    if (r < 0)
        return r;
    if (!*entry->name)
        return sfs_fail(err, EBADMSG, "an entry has no name");
    if (strcmp(entry->type, "reg") == 0)
        return start_file(index, entry, err);
    if (strcmp(entry->type, "hardlink") == 0)
        return add_link(index, entry, err);
    return add_special(index, entry, err);
}

/* Are there as many names as entries? A name that came twice, or replaced others, makes fewer. */
static int check_names(const struct sfs_toc_index *index, const struct sfs_tables *tables,
                       struct sfs_error *err)
{
    uint64_t named = 0;
    for (sfs_entry i = 0; i < tables->entry_count; i++) {
        const struct sfs_entry_rec *entry = &tables->entries[i];
        if (entry->flags & SFS_ENTRY_LINK)
            return sfs_fail(err, EBADMSG, "\"%.100s\" is a hard link to what is not there",
                            tables->strings + entry->name);
        named += entry->inode != SFS_NO_INODE && !(entry->flags & SFS_ENTRY_IMPLIED);
    }
    return named == index->named ? 0 : sfs_fail(err, EBADMSG, "it has a name more than once");
}

int sfs_toc_index_finish(struct sfs_toc_index *index, struct sfs_seek_table *ret_seek,
                         struct sfs_tables *ret_tables, void **ret_memory, struct sfs_error *err)
{
    AUTO(sfs_tables_close) void *memory = NULL;
    struct sfs_tables tables;
    int r = finish_file(index, err);
    if (r == 0)
        r = end_span(index, index->data_end, err);
    if (r == 0)
        r = sfs_builder_finish(index->builder, &tables, &memory, err);
    if (r == 0)
        r = check_names(index, &tables, err);
    if (r < 0)
        return r;
    struct sfs_seek_table seek = { .codec = index->kind->codec,
                                   .check = SFS_CHECK_SHA256,
                                   .is_framed = true,
                                   .in_size = index->data_end,
                                   .out_size = index->out,
                                   .count =
                                       (uint32_t)(index->points.size / sizeof(struct sfs_point)),
                                   .points = (const void *)index->points.data,
                                   .tags = (const void *)index->tags.data };
    r = sfs_seek_check(&seek, index->data_end, err);
    if (r < 0)
        return r;
    *ret_seek = seek;
    *ret_tables = tables;
    *ret_memory = TAKE(memory);
    return 0;
}
