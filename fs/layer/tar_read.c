/* Takes the members of a layer's tar into a builder. */
#include "layer/tar_read.h"

#include "layer/tar_stream.h"
#include "layer/whiteout.h"

struct tar_reader {
    struct sfs_builder *builder;
    const struct sfs_tar_read_options *options;
    struct sfs_tar_stream *stream;
};

static void close_reader(struct tar_reader *reader)
{
    sfs_tar_stream_close(&reader->stream);
}

static int lend_block(void *user, const void **ret_data, size_t *ret_size, struct sfs_error *err)
{
    return sfs_unpack_next(user, ret_data, ret_size, err);
}

static int add_file(struct sfs_builder *builder, const struct sfs_tar_member *member,
                    struct sfs_error *err)
{
    AUTO(sfs_tar_xattrs_done) struct sfs_tar_xattrs xattrs = { 0 };
    int r = sfs_tar_xattrs_take(member->records, member->record_count, &xattrs, err);
    if (r < 0)
        return r;
    const struct sfs_builder_item item = { .inode = member->inode,
                                           .target = member->link,
                                           .extents = member->extents,
                                           .extent_count = (uint32_t)member->extent_count,
                                           .xattrs = xattrs.list,
                                           .xattr_count = xattrs.count };
    return sfs_builder_add(builder, member->name, &item, err);
}

static int add_link(struct sfs_builder *builder, const struct sfs_tar_member *member,
                    struct sfs_error *err)
{
    if (sfs_aufs_is_body(member->link) && !sfs_builder_has(builder, member->link))
        return sfs_fail(err, EBADMSG, "a hard link to \"%.100s\" of aufs, which is not there",
                        member->link);
    return sfs_builder_link(builder, member->name, member->link, err);
}

int sfs_tar_add_member(struct sfs_builder *builder, const struct sfs_tar_member *member,
                       struct sfs_error *err)
{
    if (sfs_aufs_is_body(member->name))
        return S_ISREG(member->inode.mode) && !member->hard_link ? add_file(builder, member, err)
                                                                 : 0;
    int r = sfs_whiteout_take(builder, member->name, err);
    if (r != 0)
        return r < 0 ? r : 0;
    return member->hard_link ? add_link(builder, member, err) : add_file(builder, member, err);
}

static int take_member(struct tar_reader *reader, const struct sfs_tar_member *member,
                       struct sfs_error *err)
{
    if (reader->options->is_estargz && sfs_estargz_is_mark(member->name))
        return 0;
    return sfs_tar_add_member(reader->builder, member, err);
}

static int take_all(struct tar_reader *reader, struct sfs_error *err)
{
    for (;;) {
        struct sfs_tar_member member;
        int r = sfs_tar_stream_next(reader->stream, &member, err);
        if (r <= 0)
            return r;
        r = take_member(reader, &member, err);
        if (r < 0)
            return sfs_fail_while(err, r, "\"%.100s\"", member.name);
    }
}

int sfs_tar_warn_behind(struct sfs_tar_stream *stream, const char *label,
                        const struct sfs_progress *progress, struct sfs_error *err)
{
    char text[256];
    int r = sfs_tar_stream_look_behind(stream, err);
    if (r <= 0 || !progress || !progress->warn)
        return r < 0 ? r : 0;
    snprintf(text, sizeof text,
             "%.160s: behind the end of its tar stands another one, which is not shown", label);
    progress->warn(progress->user, text);
    return 0;
}

int sfs_tar_read(struct sfs_unpack *unpack, struct sfs_builder *builder,
                 const struct sfs_tar_read_options *options, struct sfs_error *err)
{
    const struct sfs_tar_source source = { .next = lend_block, .user = unpack };
    AUTO(close_reader)
    struct tar_reader reader = { builder, options, sfs_tar_stream_open(&source) };
    if (!reader.stream)
        return sfs_fail_memory(err);
    int r = take_all(&reader, err);
    if (r == 0)
        r = sfs_tar_warn_behind(reader.stream, options->label, options->progress, err);
    if (r == 0)
        r = sfs_aufs_hide(builder, err);
    return r;
}
