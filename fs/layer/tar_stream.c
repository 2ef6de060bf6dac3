/* Puts a member together out of its extended headers and its own. */
#include "layer/tar_stream.h"

#include "base/limits.h"
#include "layer/tar_sparse.h"

/* The extended headers that came before a member's own header. */
struct extended {
    struct sfs_buf pax_text, name, link;
    struct sfs_tar_pax pax;
    bool has_pax, has_name, has_link;
};

struct sfs_tar_stream {
    struct sfs_tar_blocks blocks;
    struct extended extended;
    struct sfs_tar_header header;
    struct sfs_tar_map map;
    /* Bytes behind the header of the member at hand: all (size), and those not passed yet
     * (left). */
    uint64_t data_size, data_left;
    uint64_t start; /* of the member at hand: where its first header stands */
    char last[128]; /* that member's name, for messages */
};

static void forget_extended(struct extended *extended)
{
    sfs_tar_pax_done(&extended->pax);
    extended->pax_text.size = extended->name.size = extended->link.size = 0;
    extended->has_pax = extended->has_name = extended->has_link = false;
}

struct sfs_tar_stream *sfs_tar_stream_open(const struct sfs_tar_source *source)
{
    struct sfs_tar_stream *stream = calloc(1, sizeof *stream);
    if (stream)
        stream->blocks.source = *source;
    return stream;
}

struct sfs_tar_stream *sfs_tar_stream_open_at(const struct sfs_tar_source *source, uint64_t offset)
{
    struct sfs_tar_stream *stream = sfs_tar_stream_open(source);
    if (stream)
        stream->blocks.offset = offset;
    return stream;
}

void sfs_tar_stream_close(struct sfs_tar_stream **stream_ptr)
{
    struct sfs_tar_stream *stream = *stream_ptr;
    if (!stream)
        return;
    *stream_ptr = NULL;
    forget_extended(&stream->extended);
    sfs_buf_close(&stream->extended.pax_text);
    sfs_buf_close(&stream->extended.name);
    sfs_buf_close(&stream->extended.link);
    sfs_tar_map_done(&stream->map);
    free(stream);
}

/* ---- extended headers ---- */

static int read_text(struct sfs_tar_stream *stream, struct sfs_buf *text, struct sfs_error *err)
{
    if (stream->header.size > SFS_MAX_TAR_TEXT)
        return sfs_fail(err, E2BIG, "an extended header is larger than %u bytes", SFS_MAX_TAR_TEXT);
    text->size = 0;
    int r = sfs_tar_blocks_read(&stream->blocks, (size_t)stream->header.size, text, err);
    if (r == 0 && sfs_buf_add(text, "", 0) < 0)
        return sfs_fail_memory(err);
    return r;
}

static int take_pax(struct sfs_tar_stream *stream, struct sfs_error *err)
{
    struct extended *extended = &stream->extended;
    sfs_tar_pax_done(&extended->pax); /* of two in a row the last counts, for all readers */
    extended->has_pax = true;
    int r = read_text(stream, &extended->pax_text, err);
    return r < 0 ? r : sfs_tar_pax_parse(&extended->pax_text, &extended->pax, err);
}

static int take_global(struct sfs_tar_stream *stream, struct sfs_error *err)
{
    AUTO(sfs_buf_close) struct sfs_buf text = { 0 };
    AUTO(sfs_tar_pax_done) struct sfs_tar_pax pax = { 0 };
    const struct extended *extended = &stream->extended;
    if (extended->has_pax || extended->has_name || extended->has_link)
        return sfs_fail(err, EBADMSG, "a global pax header stands before a member's own header");
    int r = read_text(stream, &text, err);
    if (r == 0)
        r = sfs_tar_pax_parse(&text, &pax, err);
    return r < 0 ? r : sfs_tar_pax_check_global(&pax, err);
}

static int take_long(struct sfs_tar_stream *stream, struct sfs_buf *text, bool *has,
                     struct sfs_error *err)
{
    *has = true;
    int r = read_text(stream, text, err);
    return r == 0 && !text->data[0] ? sfs_fail(err, EBADMSG, "a long name is empty") : r;
}

/* Takes an extended header. 1: it was one; 0: it is a member's own header. */
static int take_extended(struct sfs_tar_stream *stream, struct sfs_error *err)
{
    struct extended *extended = &stream->extended;
    int r;
    switch (stream->header.type) {
    case 'x':
        r = take_pax(stream, err);
        break;
    case 'g':
        r = take_global(stream, err);
        break;
    case 'L':
        r = take_long(stream, &extended->name, &extended->has_name, err);
        break;
    case 'K':
        r = take_long(stream, &extended->link, &extended->has_link, err);
        break;
    default:
        return 0;
    }
    return r < 0 ? r : 1;
}

/* ---- members ---- */

/* Chooses among GNU's long name, pax's and the header's own, in the order in which Go heeds them;
 * GNU tar heeds pax first. */
static int choose_text(bool has_long, const struct sfs_buf *text, const char *pax, const char *own,
                       const char **ret_text, struct sfs_error *err)
{
    if (has_long && pax && strcmp(text->data, pax) != 0)
        return sfs_fail(err, EBADMSG, "a member has two long names");
    *ret_text = has_long ? text->data : pax ? pax : own;
    return 0;
}

static int choose_texts(struct sfs_tar_stream *stream, struct sfs_tar_member *member,
                        struct sfs_error *err)
{
    const struct extended *extended = &stream->extended;
    int r = choose_text(extended->has_name, &extended->name, extended->pax.path,
                        stream->header.name, &member->name, err);
    if (r == 0)
        r = choose_text(extended->has_link, &extended->link, extended->pax.link,
                        stream->header.link, &member->link, err);
    if (r < 0)
        return r;
    if (extended->pax.sparse.any && extended->pax.sparse.name)
        member->name = extended->pax.sparse.name;
    if (!member->name[0])
        return sfs_fail(err, EBADMSG, "an entry of the tar has no name (the one before is \"%s\")",
                        stream->last);
    return 0;
}

static bool ends_with_slash(const char *name)
{
    return name[strlen(name) - 1] == '/';
}

/* The file type (S_IFMT) of a type flag; 0: it is no kind of file. For a hard link any will do, as
 * its target's counts. */
static uint32_t type_of(char type)
{
    static const struct {
        char type;
        uint32_t mode;
    } types[] = { { '0', S_IFREG }, { 0, S_IFREG },   { '7', S_IFREG }, { 'S', S_IFREG },
                  { '1', S_IFREG }, { '2', S_IFLNK }, { '3', S_IFCHR }, { '4', S_IFBLK },
                  { '5', S_IFDIR }, { '6', S_IFIFO } };
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (types[i].type == type)
            return types[i].mode;
    return 0;
}

static int fill_inode(const struct sfs_tar_stream *stream, uint32_t type,
                      struct sfs_inode_rec *inode, struct sfs_error *err)
{
    const struct sfs_tar_header *header = &stream->header;
    const struct sfs_tar_pax *pax = &stream->extended.pax;
    int64_t uid = pax->has_uid ? pax->uid : header->uid;
    int64_t gid = pax->has_gid ? pax->gid : header->gid;
    bool device = type == S_IFCHR || type == S_IFBLK;
    if (uid < 0 || uid >= UINT32_MAX || gid < 0 || gid >= UINT32_MAX)
        return sfs_fail(err, EBADMSG, "owner %lld:%lld is out of range", (long long)uid,
                        (long long)gid);
    if (device && (header->major < 0 || header->major >= 1 << 12 || header->minor < 0 ||
                   header->minor >= 1 << 20))
        return sfs_fail(err, EBADMSG, "device %lld:%lld is out of range", (long long)header->major,
                        (long long)header->minor);
    *inode = (struct sfs_inode_rec){
        .mtime_sec = pax->has_mtime ? pax->mtime_sec : header->mtime,
        .mtime_nsec = pax->has_mtime ? pax->mtime_nsec : 0,
        .mode = type | ((uint32_t)header->mode & 07777),
        .uid = (uint32_t)uid,
        .gid = (uint32_t)gid,
        .rdev_major = device ? (uint32_t)header->major : 0,
        .rdev_minor = device ? (uint32_t)header->minor : 0,
    };
    return 0;
}

/* Where the bytes of a regular file are: one run, or what a sparse map says. */
static int find_bytes(struct sfs_tar_stream *stream, const void *block, uint64_t *ret_size,
                      struct sfs_error *err)
{
    struct sfs_tar_map *map = &stream->map;
    uint64_t map_size = 0;
    bool is_old = stream->header.type == 'S';
    int r = sfs_tar_sparse_pax(&stream->extended.pax, &stream->blocks, stream->data_size, map,
                               &map_size, err);
    if (r > 0 && is_old)
        return sfs_fail(err, EBADMSG, "a sparse file has two maps");
    if (r == 0 && is_old && stream->header.format != SFS_TAR_GNU)
        return sfs_fail(err, EBADMSG, "a sparse file of an unknown form");
    bool is_sparse = r > 0 || is_old;
    if (r == 0 && is_old)
        r = sfs_tar_sparse_old(block, &stream->blocks, map, ret_size, err);
    else if (r == 0)
        r = sfs_tar_map_add(map, 0, stream->data_size, stream->data_size, err);
    if (r < 0)
        return r;
    if (!is_old)
        *ret_size = is_sparse ? (uint64_t)stream->extended.pax.sparse.size : stream->data_size;
    stream->data_left = stream->data_size - map_size;
    if (map->stored != stream->data_left)
        return sfs_fail(err, EBADMSG,
                        "the map of a sparse file is of %llu bytes, and %llu stand there",
                        (unsigned long long)map->stored, (unsigned long long)stream->data_left);
    struct sfs_extent *extents = (void *)map->extents.data;
    for (size_t i = 0; i < map->extents.size / sizeof *extents; i++)
        extents[i].data_offset += stream->blocks.offset;
    return 0;
}

static int take_file(struct sfs_tar_stream *stream, const void *block,
                     struct sfs_tar_member *member, struct sfs_error *err)
{
    const struct sfs_tar_pax *pax = &stream->extended.pax;
    stream->data_size = (uint64_t)(pax->has_size ? pax->size : stream->header.size);
    int r = find_bytes(stream, block, &member->inode.size, err);
    if (r < 0)
        return r;
    member->extents = (const void *)stream->map.extents.data;
    member->extent_count = stream->map.extents.size / sizeof *member->extents;
    if (!ends_with_slash(member->name))
        return 0;
    if (stream->data_size > 0 || member->inode.size > 0)
        return sfs_fail(err, EBADMSG, "the name of a file with bytes ends with a slash");
    member->inode.mode = S_IFDIR | (member->inode.mode & 07777);
    return 0;
}

static int take_member(struct sfs_tar_stream *stream, const void *block,
                       struct sfs_tar_member *member, struct sfs_error *err)
{
    const struct sfs_tar_pax *pax = &stream->extended.pax;
    uint32_t type = type_of(stream->header.type);
    *member = (struct sfs_tar_member){ .start = stream->start,
                                       .data_offset = stream->blocks.offset,
                                       .hard_link = stream->header.type == '1',
                                       .records = (const void *)pax->others.data };
    member->record_count = pax->others.size / sizeof *member->records;
    int r = choose_texts(stream, member, err);
    if (r < 0)
        return r;
    snprintf(stream->last, sizeof stream->last, "%s", member->name);
    if (!type)
        return sfs_fail(err, EBADMSG, "\"%s\" is of type '%c', which is no file", stream->last,
                        stream->header.type);
    r = fill_inode(stream, type, &member->inode, err);
    if (r < 0)
        return r;
    if (type == S_IFREG && !member->hard_link)
        r = take_file(stream, block, member, err);
    else if (pax->sparse.any)
        r = sfs_fail(err, EBADMSG, "something that is no file has a sparse map");
    if (!member->hard_link && type != S_IFLNK)
        member->link = NULL;
    if (r == 0 && member->link && !member->link[0])
        return sfs_fail(err, EBADMSG, "the link \"%s\" has no target", stream->last);
    return r;
}

/* ---- the stream ---- */

static int pass_data(struct sfs_tar_stream *stream, struct sfs_error *err)
{
    int r = sfs_tar_blocks_skip(&stream->blocks, stream->data_left, err);
    if (r == 0)
        r = sfs_tar_blocks_skip_padding(&stream->blocks, stream->data_size, err);
    stream->data_left = stream->data_size = 0;
    stream->map.extents.size = 0;
    stream->map.file_end = stream->map.stored = 0;
    forget_extended(&stream->extended);
    return r;
}

/* Reads the next header block. 1: done; 0: the end. */
static int next_header(struct sfs_tar_stream *stream, const void **ret_block, struct sfs_error *err)
{
    int r = sfs_tar_blocks_next(&stream->blocks, ret_block, err);
    if (r <= 0 || !sfs_tar_is_zero_block(*ret_block))
        return r;
    r = sfs_tar_blocks_next(&stream->blocks, ret_block, err);
    if (r > 0 && !sfs_tar_is_zero_block(*ret_block))
        return sfs_fail(err, EBADMSG, "something follows a single block of zeros");
    return r < 0 ? r : 0;
}

/* Reads on to a member's own header. 1: it is at *ret_block; 0: the end. */
static int find_member(struct sfs_tar_stream *stream, const void **ret_block, struct sfs_error *err)
{
    const struct extended *extended = &stream->extended;
    for (;;) {
        int r = next_header(stream, ret_block, err);
        if (r == 0 && (extended->has_pax || extended->has_name || extended->has_link))
            return sfs_fail(err, EBADMSG, "it ends with an extended header");
        if (r <= 0)
            return r;
        r = sfs_tar_header_parse(*ret_block, &stream->header, err);
        if (r == 0)
            r = take_extended(stream, err);
        if (r <= 0)
            return r < 0 ? r : 1;
    }
}

static int read_member(struct sfs_tar_stream *stream, struct sfs_tar_member *member,
                       struct sfs_error *err)
{
    const void *block;
    int r = pass_data(stream, err);
    stream->start = stream->blocks.offset;
    if (r == 0)
        r = find_member(stream, &block, err);
    if (r <= 0)
        return r;
    r = take_member(stream, block, member, err);
    return r < 0 ? r : 1;
}

int sfs_tar_stream_next(struct sfs_tar_stream *stream, struct sfs_tar_member *ret_member,
                        struct sfs_error *err)
{
    int r = read_member(stream, ret_member, err);
    if (r >= 0 || stream->blocks.source_failed || r == -ENOMEM)
        return r;
    if (stream->last[0])
        return sfs_fail_while(err, r, "the tar is malformed behind \"%s\"", stream->last);
    return sfs_fail_while(err, r, "the tar is malformed");
}

int sfs_tar_stream_look_behind(struct sfs_tar_stream *stream, struct sfs_error *err)
{
    const void *block;
    int r, found = 0;
    while ((r = sfs_tar_blocks_next(&stream->blocks, &block, err)) > 0)
        if (!found && !sfs_tar_is_zero_block(block))
            found = sfs_tar_is_header(block);
    return r < 0 && stream->blocks.source_failed ? r : found;
}
