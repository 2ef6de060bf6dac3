/* Which annotations vouch for a table of contents, and the index that is made of the table. */
#include "layer/toc.h"

#include "base/limits.h"
#include <inttypes.h>

#define ESTARGZ_DIGEST "containerd.io/snapshot/stargz/toc.digest"
/* Prefixes of annotations: as containers/storage writes them now; then as it did at first, and as
 * stargz-snapshotter does. */
static const char *const prefixes[] = { "io.github.containers.zstd-chunked.",
                                        "io.containers.zstd-chunked." };
#define PREFIXES (sizeof prefixes / sizeof *prefixes)

static const struct sfs_toc_kind kinds[] = {
    { .codec = SFS_CODEC_GZIP, .read = sfs_toc_read_estargz, .has_marks = true },
    { .codec = SFS_CODEC_ZSTD,
      .read = sfs_toc_read_chunked,
      .is_packed = true,
      .lends_digest = true },
};

const struct sfs_toc_kind *sfs_toc_find_kind(enum sfs_codec codec)
{
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (kinds[i].codec == codec)
            return &kinds[i];
    return NULL;
}

bool sfs_toc_is_estargz(const struct sfs_layer_source *source, struct sfs_blob *blob)
{
    const struct sfs_toc_kind *kind = sfs_toc_find_kind(source->codec);
    return kind && kind->has_marks && sfs_toc_ends_estargz(blob);
}

static const char *get_annotation(const struct sfs_layer_source *source, const char *prefix,
                                  const char *key)
{
    char name[96];
    snprintf(name, sizeof name, "%s%s", prefix, key);
    return json_string_value(json_object_get(source->annotations, name));
}

/* Reads a digest out of an annotation. 1: it is there. EBADMSG: it is not a digest, or not the one
 * that another annotation says. */
static int find_digest(const struct sfs_layer_source *source, const char *prefix, const char *key,
                       bool *has, struct sfs_digest *digest, struct sfs_error *err)
{
    struct sfs_digest found;
    const char *text = get_annotation(source, prefix, key);
    if (!text)
        return 0;
    if (sfs_digest_parse(text, &found, NULL) < 0)
        return sfs_fail(err, EBADMSG, "annotation %s%s is not a digest", prefix, key);
    if (*has && !sfs_digest_equal(&found, digest))
        return sfs_fail(err, EBADMSG, "annotations name two tables with different digests");
    *has = true;
    *digest = found;
    return 1;
}

static int find_place(const struct sfs_layer_source *source, const char *prefix,
                      struct sfs_toc_claim *claim, struct sfs_error *err)
{
    const char *text = get_annotation(source, prefix, "manifest-position");
    if (!text)
        return 0;
    uint64_t type;
    int used = 0;
    bool starts_well = text[0] >= '0' && text[0] <= '9' && strlen(text) < 80;
    if (!starts_well ||
        sscanf(text, "%" SCNu64 ":%" SCNu64 ":%" SCNu64 ":%" SCNu64 "%n", &claim->offset,
               &claim->size, &claim->plain_size, &type, &used) != 4 ||
        text[used])
        return sfs_fail(err, EBADMSG, "annotation %smanifest-position is malformed", prefix);
    if (type != 1)
        return sfs_fail(err, ENOTSUP, "a table of type %" PRIu64, type);
    claim->has_place = true;
    return 0;
}

/* 1: the annotations vouch for a table; 0: they do not speak of one. EBADMSG: they contradict each
 * other. */
static int find_claim(const struct sfs_layer_source *source, struct sfs_toc_claim *ret_claim,
                      struct sfs_error *err)
{
    *ret_claim = (struct sfs_toc_claim){ 0 };
    const struct sfs_toc_kind *kind = sfs_toc_find_kind(source->codec);
    if (!json_is_object(source->annotations) || !kind)
        return 0;
    struct sfs_toc_claim claim = { 0 };
    int r = find_digest(source, ESTARGZ_DIGEST, "", &claim.has_plain, &claim.plain, err);
    for (size_t i = 0; r >= 0 && i < PREFIXES; i++) {
        r = find_digest(source, prefixes[i], "manifest-checksum", &claim.has_packed, &claim.packed,
                        err);
        if (r > 0 && !claim.has_place)
            r = find_place(source, prefixes[i], &claim, err);
    }
    if (r < 0)
        return r;
    if (claim.has_packed && !kind->is_packed)
        return sfs_fail(err, EBADMSG, "annotations of zstd:chunked on a %s layer",
                        sfs_codec_name(source->codec));
    *ret_claim = claim;
    return claim.has_plain || claim.has_packed;
}

static const struct sfs_digest *get_digest(const struct sfs_toc_claim *claim)
{
    return claim->has_packed ? &claim->packed : &claim->plain;
}

bool sfs_toc_is_claimed(const struct sfs_layer_source *source)
{
    struct sfs_toc_claim claim;
    return find_claim(source, &claim, NULL) > 0;
}

bool sfs_toc_vouches(const struct sfs_layer_source *source, const struct sfs_index *index)
{
    struct sfs_toc_claim claim;
    return find_claim(source, &claim, NULL) > 0 && index->from_toc &&
           sfs_digest_equal(get_digest(&claim), &index->diff_id);
}

void sfs_toc_text_done(struct sfs_toc_text *text)
{
    free(text->data);
    *text = (struct sfs_toc_text){ 0 };
}

int sfs_toc_read_range(struct sfs_blob *blob, void *data, uint64_t size, uint64_t offset,
                       struct sfs_error *err)
{
    if (offset > blob->size || size > blob->size - offset)
        return sfs_fail(err, EBADMSG, "it lies outside of the blob");
    ssize_t count = sfs_blob_read_at(blob, data, size, offset, err);
    if (count < 0)
        return (int)count;
    return (uint64_t)count == size ? 0 : sfs_fail(err, EIO, "%s is too short", blob->name);
}

int sfs_toc_check_digest(const void *data, size_t size, const struct sfs_digest *expected,
                         const char *what, struct sfs_error *err)
{
    struct sfs_digest actual;
    if (sfs_digest_of(data, size, &actual) < 0)
        return sfs_fail_memory(err);
    if (!sfs_digest_equal(&actual, expected))
        return sfs_fail(err, EKEYREJECTED, "%s does not match the digest in the manifest", what);
    return 0;
}

static int add_entry(void *user, const json_t *json, struct sfs_error *err)
{
    struct sfs_toc_index *index = user;
    AUTO(sfs_toc_entry_done) struct sfs_toc_entry entry = { 0 };
    int r = sfs_toc_entry_parse(json, &entry, err);
    if (r == 0)
        r = sfs_toc_index_add(index, &entry, err);
    const char *name = json_string_value(json_object_get(json, "name"));
    return r < 0 ? sfs_fail_while(err, r, "\"%.100s\"", name ? name : "") : 0;
}

/* The table as names and a seek table. */
static int read_table(struct sfs_blob *blob, const struct sfs_layer_source *source,
                      const struct sfs_toc_claim *claim, struct sfs_toc_index **ret_index,
                      struct sfs_error *err)
{
    AUTO(sfs_toc_text_done) struct sfs_toc_text text = { 0 };
    AUTO(sfs_toc_index_close) struct sfs_toc_index *index = NULL;
    const struct sfs_toc_kind *kind = sfs_toc_find_kind(source->codec);
    int r = kind->read(blob, claim, &text, err);
    if (r < 0)
        return r;
    index = sfs_toc_index_open(text.data_end, kind);
    if (!index)
        return sfs_fail_memory(err);
    r = sfs_toc_json_each(text.data, text.size, add_entry, index, err);
    if (r == 0)
        *ret_index = TAKE(index);
    return r;
}

static void warn(const struct sfs_progress *progress, const struct sfs_layer_source *source,
                 const struct sfs_error *why)
{
    char text[1400];
    if (!progress || !progress->warn)
        return;
    snprintf(text, sizeof text,
             "%s: its table of contents is ignored, the whole layer is read instead: %s",
             source->label, why->text);
    progress->warn(progress->user, text);
}

int sfs_toc_write(struct sfs_blob *blob, const struct sfs_layer_source *source,
                  const struct sfs_progress *progress, int fd, struct sfs_error *err)
{
    AUTO(sfs_toc_index_close) struct sfs_toc_index *made = NULL;
    AUTO(sfs_tables_close) void *memory = NULL;
    struct sfs_toc_claim claim;
    struct sfs_error why = { 0 };
    struct sfs_index index = { .fd = -1,
                               .from_toc = true,
                               .digest = source->digest,
                               .blob_size = blob->size,
                               .codec = source->codec };
    int r = source->has_digest ? find_claim(source, &claim, &why) : 0;
    if (r == 0)
        return 0;
    if (r > 0)
        r = read_table(blob, source, &claim, &made, &why);
    if (r == 0)
        r = sfs_toc_index_finish(made, &index.seek, &index.tables, &memory, &why);
    if (r == -ENOMEM)
        return sfs_fail(err, ENOMEM, "%s: out of memory", source->label);
    if (r < 0) {
        warn(progress, source, &why);
        return 0;
    }
    index.diff_id = *get_digest(&claim);
    r = sfs_index_write(fd, &index, err);
    return r < 0 ? r : 1;
}
