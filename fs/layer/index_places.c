/* The tar is read once more, span by span, beside its tables. */
#include "layer/index_places.h"

#include "blob/span_decoder.h"
#include "layer/member_match.h"

/* ---- collecting */

int sfs_places_start(struct sfs_places *places, const struct sfs_tables *tables, const char *label,
                     struct sfs_error *err)
{
    const uint32_t count = tables->entry_count;
    *places = (struct sfs_places){ .tables = tables,
                                   .label = label,
                                   .at = malloc(count * sizeof *places->at),
                                   .differs = calloc(count, sizeof *places->differs) };
    if (!places->at || !places->differs)
        return sfs_fail_memory(err);
    for (uint32_t i = 0; i < count; i++)
        places->at[i] = SFS_NO_PLACE;
    return 0;
}

void sfs_places_done(struct sfs_places *places)
{
    free(places->at);
    free(places->differs);
    *places = (struct sfs_places){ 0 };
}

static int fail_use(const struct sfs_places *places, const char *name, struct sfs_error *err)
{
    return sfs_fail(err, ENOTSUP, "%s%s\"%.100s\" cannot be compared with its index",
                    places->label ? places->label : "", places->label ? ": " : "", name);
}

int sfs_places_add(struct sfs_places *places, const struct sfs_tar_member *member,
                   struct sfs_error *err)
{
    enum sfs_match_mark mark = sfs_match_mark(places->tables, member->name);
    struct sfs_error why;
    sfs_entry entry;
    if (mark == SFS_MATCH_MARK_HELD)
        return 0;
    if (mark == SFS_MATCH_MARK_LOST || sfs_match_find(places->tables, member->name, &entry) < 0)
        return fail_use(places, member->name, err);
    int r = sfs_match_member(places->tables, entry, member, &why);
    if (r == -ENOMEM)
        return sfs_fail_memory(err);
    places->at[entry] = member->start;
    places->differs[entry] = r < 0;
    return 0;
}

int sfs_places_finish(struct sfs_places *places, uint64_t **ret_places, struct sfs_error *err)
{
    const struct sfs_tables *tables = places->tables;
    for (sfs_entry i = 0; i < tables->entry_count; i++) {
        const struct sfs_entry_rec *entry = &tables->entries[i];
        bool needs = entry->inode != SFS_NO_INODE && !(entry->flags & SFS_ENTRY_IMPLIED);
        if (i == 0 && places->at[0] == SFS_NO_PLACE)
            continue; /* a tar may say nothing of the root */
        if (places->differs[i] || needs != (places->at[i] != SFS_NO_PLACE))
            return fail_use(places, tables->strings + entry->name, err);
    }
    *ret_places = TAKE(places->at);
    return 0;
}

/* ---- out of the layer itself */

struct finding {
    const struct sfs_index *index;
    struct sfs_blob *blob;
    struct sfs_span_decoder *decoder;
    uint8_t *out; /* the decoded bytes of a span */
    uint32_t next;
    struct sfs_tar_stream *stream;
    struct sfs_places places;
    int failure; /* of reading; 0: none */
};

static void done_finding(struct finding *finding)
{
    sfs_tar_stream_close(&finding->stream);
    sfs_span_decoder_close(&finding->decoder);
    free(finding->out);
    sfs_places_done(&finding->places);
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

static int read_tar(struct finding *finding, struct sfs_error *err)
{
    for (;;) {
        struct sfs_tar_member member;
        int found = sfs_tar_stream_next(finding->stream, &member, err);
        int r = found > 0 ? sfs_places_add(&finding->places, &member, err) : 0;
        if (found <= 0 || r < 0)
            return found <= 0 ? found : r;
    }
}

int sfs_index_find_places(const struct sfs_index *index, struct sfs_blob *blob,
                          uint64_t **ret_places, struct sfs_error *err)
{
    AUTO(done_finding)
    struct finding finding = { .index = index,
                               .blob = blob,
                               .decoder = sfs_span_decoder_open(),
                               .out = malloc(SFS_SPAN_MAX) };
    const struct sfs_tar_source source = { .next = lend, .user = &finding };
    finding.stream = sfs_tar_stream_open(&source);
    int r = sfs_places_start(&finding.places, &index->tables, blob->name, err);
    if (r < 0 || !finding.decoder || !finding.out || !finding.stream)
        return sfs_fail_memory(err);
    r = read_tar(&finding, err);
    return r < 0 ? r : sfs_places_finish(&finding.places, ret_places, err);
}
