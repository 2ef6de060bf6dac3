/* The tar is read once more, span by span, beside its tables. */
#include "layer/index_places.h"

#include "blob/span_decoder.h"
#include "layer/member_match.h"

struct finding {
    const struct sfs_index *index;
    struct sfs_blob *blob;
    struct sfs_span_decoder *decoder;
    uint8_t *out; /* the decoded bytes of a span */
    uint32_t next;
    struct sfs_tar_stream *stream;
    uint64_t *places; /* by entry */
    bool *differs;    /* by entry: its last member so far is not what the tables say */
    int failure;      /* of reading; 0: none */
};

static void done_finding(struct finding *finding)
{
    sfs_tar_stream_close(&finding->stream);
    sfs_span_decoder_close(&finding->decoder);
    free(finding->out);
    free(finding->places);
    free(finding->differs);
}

/* The decoded bytes, span by span. */
static int lend(void *user, const void **ret_data, size_t *ret_size, struct sfs_error *err)
{
    struct finding *finding = user;
    const struct sfs_seek_table *seek = &finding->index->seek;
    *ret_size = 0;
    while (finding->next < seek->count && *ret_size == 0) {
        size_t size = (size_t)sfs_seek_size(seek, finding->next);
        int r = size > 0 ? sfs_span_decoder_start(finding->decoder, finding->blob, seek,
                                                  finding->next, err)
                         : 0;
        if (r == 0)
            r = sfs_span_decoder_run(finding->decoder, finding->out, size, err);
        if (r < 0) {
            finding->failure = r;
            return r;
        }
        finding->next++;
        *ret_data = finding->out;
        *ret_size = size;
    }
    return 0;
}

static int fail_use(const struct finding *finding, const char *name, struct sfs_error *err)
{
    return sfs_fail(err, ENOTSUP, "%s: \"%.100s\" cannot be compared with its index",
                    finding->blob->name, name);
}

static int take_member(struct finding *finding, const struct sfs_tar_member *member,
                       struct sfs_error *err)
{
    const struct sfs_tables *tables = &finding->index->tables;
    enum sfs_match_mark mark = sfs_match_mark(tables, member->name);
    struct sfs_error why;
    sfs_entry entry;
    if (mark == SFS_MATCH_MARK_HELD)
        return 0;
    if (mark == SFS_MATCH_MARK_LOST || sfs_match_find(tables, member->name, &entry) < 0)
        return fail_use(finding, member->name, err);
    int r = sfs_match_member(tables, entry, member, &why);
    if (r == -ENOMEM)
        return sfs_fail_memory(err);
    finding->places[entry] = member->start;
    finding->differs[entry] = r < 0;
    return 0;
}

static int read_tar(struct finding *finding, struct sfs_error *err)
{
    int r = 0;
    for (;;) {
        struct sfs_tar_member member;
        int found = sfs_tar_stream_next(finding->stream, &member, err);
        if (found <= 0)
            return found;
        r = take_member(finding, &member, err);
        if (r < 0)
            return r;
    }
}

/* Has each name its header, and each inode one that is its own? */
static int check_places(const struct finding *finding, struct sfs_error *err)
{
    const struct sfs_tables *tables = &finding->index->tables;
    for (sfs_entry i = 0; i < tables->entry_count; i++) {
        const struct sfs_entry_rec *entry = &tables->entries[i];
        bool needs = entry->inode != SFS_NO_INODE && !(entry->flags & SFS_ENTRY_IMPLIED);
        if (i == 0 && finding->places[0] == SFS_NO_PLACE)
            continue; /* a tar may say nothing of the root */
        if (finding->differs[i] || needs != (finding->places[i] != SFS_NO_PLACE))
            return fail_use(finding, tables->strings + entry->name, err);
    }
    return 0;
}

int sfs_index_find_places(const struct sfs_index *index, struct sfs_blob *blob,
                          uint64_t **ret_places, struct sfs_error *err)
{
    const uint32_t count = index->tables.entry_count;
    AUTO(done_finding)
    struct finding finding = { .index = index,
                               .blob = blob,
                               .decoder = sfs_span_decoder_open(),
                               .out = malloc(SFS_SPAN_MAX),
                               .places = malloc(count * sizeof *finding.places),
                               .differs = calloc(count, sizeof *finding.differs) };
    const struct sfs_tar_source source = { .next = lend, .user = &finding };
    finding.stream = sfs_tar_stream_open(&source);
    if (!finding.decoder || !finding.out || !finding.places || !finding.differs || !finding.stream)
        return sfs_fail_memory(err);
    for (uint32_t i = 0; i < count; i++)
        finding.places[i] = SFS_NO_PLACE;
    int r = read_tar(&finding, err);
    if (r == 0)
        r = check_places(&finding, err);
    if (r == 0)
        *ret_places = TAKE(finding.places);
    return r;
}
