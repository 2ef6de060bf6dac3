/* A profile as an artifact is its text as one blob, and what is told of it stands in annotations,
 * so that a list of all needs one request. */
#include "commit/beside.h"

#include "base/array.h"
#include "base/buf.h"
#include "base/io.h"
#include "base/limits.h"
#include "image/document.h"
#include "tree/profile_merge.h"
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>

#define WORKLOAD_NOTE "dev.stagefs.profile.workload"
#define RUNS_NOTE     "dev.stagefs.profile.runs"
#define MOST_PROFILES 1000u

static int make_notes(const struct sfs_profile_note *note, json_t **ret_json, struct sfs_error *err)
{
    char runs[24];
    AUTO(sfs_json_close) json_t *json = json_object();
    snprintf(runs, sizeof runs, "%" PRIu64, note->runs);
    if (!json || (note->runs && json_object_set_new(json, RUNS_NOTE, json_string(runs)) < 0))
        return sfs_fail_memory(err);
    if (note->workload && json_object_set_new(json, WORKLOAD_NOTE, json_string(note->workload)) < 0)
        return sfs_fail(err, EINVAL, "the name of the workload is not UTF-8");
    *ret_json = TAKE(json);
    return 0;
}

static int put_text(struct sfs_beside *beside, const char *text, size_t size,
                    const struct sfs_profile_note *note, struct sfs_digest *ret_digest,
                    struct sfs_error *err)
{
    AUTO(sfs_json_close) json_t *notes = NULL;
    AUTO(sfs_json_close) json_t *title = json_pack("{ss}", SFS_TITLE_NOTE, "start.profile");
    struct sfs_artifact_part part = { .media_type = SFS_PROFILE_TEXT_TYPE,
                                      .size = size,
                                      .annotations = title };
    int r = title ? make_notes(note, &notes, err) : sfs_fail_memory(err);
    if (r == 0)
        r = sfs_repository_put_bytes(beside->repository, text, size, &part.digest, err);
    struct sfs_artifact artifact = {
        .type = SFS_PROFILE_ARTIFACT, .parts = &part, .part_count = 1, .annotations = notes
    };
    return r < 0 ? r : sfs_beside_add(beside, &artifact, ret_digest, err);
}

int sfs_profile_push(const char *file, const struct sfs_artifact_place *place,
                     const struct sfs_profile_note *note, struct sfs_digest *ret_digest,
                     struct sfs_error *err)
{
    AUTO(sfs_free) char *text = NULL;
    AUTO(sfs_profile_done) struct sfs_profile profile = { 0 };
    AUTO(sfs_beside_done) struct sfs_beside beside = { 0 };
    size_t size = 0;
    int r = sfs_io_read_file(AT_FDCWD, file, SFS_MAX_PROFILE, &text, &size, err);
    if (r == 0)
        r = sfs_profile_parse(&profile, file, text, size, err);
    if (r == 0 && profile.count == 0)
        r = sfs_fail(err, EBADMSG, "%s names no path", file);
    if (r == 0)
        r = sfs_beside_open(&beside, place, err);
    return r < 0 ? r : put_text(&beside, text, size, note, ret_digest, err);
}

/* ---- reading */

static const char *find_note(const json_t *entry, const char *name)
{
    return json_string_value(json_object_get(json_object_get(entry, "annotations"), name));
}

int sfs_profile_list(const struct sfs_artifact_place *place,
                     int (*item)(void *user, const struct sfs_profile_item *item), void *user,
                     struct sfs_error *err)
{
    AUTO(sfs_beside_done) struct sfs_beside beside = { 0 };
    AUTO(sfs_json_close) json_t *list = NULL;
    struct sfs_digest subject;
    int r = sfs_beside_open(&beside, place, err);
    if (r < 0)
        return r;
    sfs_image_digest(beside.image, &subject);
    r = sfs_referrers_list(beside.repository, &subject, SFS_PROFILE_ARTIFACT, &list, err);
    for (size_t i = 0; r == 0 && i < json_array_size(list); i++) {
        const json_t *entry = json_array_get(list, i);
        const char *runs = find_note(entry, RUNS_NOTE);
        struct sfs_profile_item found = { .note = { .workload = find_note(entry, WORKLOAD_NOTE),
                                                    .runs = runs ? strtoull(runs, NULL, 10) : 0 } };
        if (sfs_digest_parse(json_string_value(json_object_get(entry, "digest")), &found.digest,
                             NULL) == 0)
            r = item(user, &found);
    }
    return r;
}

struct merging {
    const struct sfs_image_options *options;
    struct sfs_profile *profiles;
    size_t count, capacity;
};

static void done_merging(struct merging *merging)
{
    for (size_t i = 0; i < merging->count; i++)
        sfs_profile_done(&merging->profiles[i]);
    free(merging->profiles);
}

static int next_profile(struct merging *merging, struct sfs_profile **ret_profile,
                        struct sfs_error *err)
{
    if (merging->count >= MOST_PROFILES)
        return sfs_fail(err, E2BIG, "more than %u profiles", MOST_PROFILES);
    if (SFS_ARRAY_GROW(merging->profiles, merging->count, merging->capacity, 8) < 0)
        return sfs_fail_memory(err);
    *ret_profile = &merging->profiles[merging->count++];
    **ret_profile = (struct sfs_profile){ 0 };
    return 0;
}

/* The first part of the artifact that is a profile's text. */
static int find_text(const struct sfs_manifest *manifest, struct sfs_descriptor *ret_text,
                     json_t **ret_json, struct sfs_error *err)
{
    int r =
        sfs_document_parse(manifest->data, manifest->size, "a profile's manifest", ret_json, err);
    const json_t *layers = json_object_get(*ret_json, "layers");
    for (size_t i = 0; r == 0 && i < json_array_size(layers); i++) {
        r = sfs_descriptor_parse(json_array_get(layers, i), "a part of a profile", ret_text, err);
        if (r == 0 && strcmp(ret_text->media_type, SFS_PROFILE_TEXT_TYPE) == 0)
            return ret_text->size <= SFS_MAX_PROFILE
                       ? 0
                       : sfs_fail(err, E2BIG, "a profile of more than %u bytes", SFS_MAX_PROFILE);
    }
    return r < 0 ? r
                 : sfs_fail(err, EBADMSG,
                            "a profile without a part of the type " SFS_PROFILE_TEXT_TYPE);
}

static int read_beside(struct merging *merging, struct sfs_beside *beside, const json_t *entry,
                       struct sfs_error *err)
{
    AUTO(sfs_manifest_done) struct sfs_manifest manifest = { 0 };
    AUTO(sfs_json_close) json_t *json = NULL;
    AUTO(sfs_free) char *data = NULL;
    struct sfs_profile *profile;
    struct sfs_descriptor text;
    struct sfs_digest digest;
    const char *name = json_string_value(json_object_get(entry, "digest"));
    int r = sfs_digest_parse(name, &digest, err);
    if (r == 0)
        r = sfs_repository_get_manifest(beside->repository, NULL, &digest, &manifest, err);
    if (r == 0)
        r = find_text(&manifest, &text, &json, err);
    if (r == 0)
        r = sfs_repository_read_blob(beside->repository, &text.digest, text.size, SFS_MAX_JSON,
                                     &data, err);
    if (r == 0)
        r = next_profile(merging, &profile, err);
    return r < 0 ? r : sfs_profile_parse(profile, name, data, text.size, err);
}

static int read_all_beside(struct merging *merging, const char *ref, struct sfs_error *err)
{
    const struct sfs_artifact_place place = { .ref = ref, .options = *merging->options };
    AUTO(sfs_beside_done) struct sfs_beside beside = { 0 };
    AUTO(sfs_json_close) json_t *list = NULL;
    struct sfs_digest subject;
    int r = sfs_beside_open(&beside, &place, err);
    if (r < 0)
        return r;
    sfs_image_digest(beside.image, &subject);
    r = sfs_referrers_list(beside.repository, &subject, SFS_PROFILE_ARTIFACT, &list, err);
    for (size_t i = 0; r == 0 && i < json_array_size(list); i++)
        r = read_beside(merging, &beside, json_array_get(list, i), err);
    return r;
}

static int read_one(struct merging *merging, const char *name, struct sfs_error *err)
{
    struct sfs_profile *profile;
    if (strncmp(name, "docker://", 9) == 0)
        return read_all_beside(merging, name, err);
    int r = next_profile(merging, &profile, err);
    return r < 0 ? r : sfs_profile_read(profile, name, err);
}

int sfs_profile_merge_all(const char *const *names, size_t count,
                          const struct sfs_image_options *options, int fd, uint64_t *ret_runs,
                          struct sfs_error *err)
{
    AUTO(done_merging) struct merging merging = { .options = options };
    AUTO(sfs_buf_close) struct sfs_buf text = { 0 };
    int r = 0;
    for (size_t i = 0; i < count && r == 0; i++)
        r = read_one(&merging, names[i], err);
    if (r == 0 && merging.count == 0)
        r = sfs_fail(err, ENOENT,
                     "there is no profile beside %.300s: stagefs profile push puts one there",
                     names[0]);
    if (r < 0)
        return r;
    sfs_buf_printf(&text, "# %zu profile%s\n", merging.count, sfs_plural(merging.count));
    r = sfs_profile_merge(merging.profiles, merging.count, &text, err);
    if (r == 0)
        r = sfs_buf_check(&text, err);
    if (r < 0)
        return r;
    *ret_runs = merging.count;
    r = sfs_io_write_all(fd, text.data, text.size);
    return r < 0 ? sfs_fail_errno(err, -r, "writing the profile") : 0;
}
