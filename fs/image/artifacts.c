/* The list of what is beside an image, its manifests, and the note that is kept of both. */
#include "image/artifacts.h"

#include "base/limits.h"
#include "base/pool.h"
#include "image/registry_members.h"
#include "image/registry_source.h"
#include "image/soci.h"
#include "layer/index_export.h"
#include "registry/referrers.h"
#include <errno.h>
#include <inttypes.h>
#include <stagefs/format.h>
#include <stagefs/json.h>
#include <time.h>

#define MOST_INDEXES  4u  /* artifacts with indexes that are looked at, the latest ones */
#define MOST_PROFILES 16u /* the same of profiles */
#define MOST_SOCI     4u  /* the same of SOCI's indexes */
#define AT_ONCE       8u  /* manifests that are asked for */
#define MOST_NOTE     (16u << 20)
#define STALE         (24 * 3600) /* seconds */

struct sfs_artifacts {
    struct sfs_members *members;
    struct sfs_digest key; /* of the note in the store */
    /* {"asked": seconds, "indexes": [{"artifact", "layer", "head", "head_size", "windows",
     * "windows_size"}], "profiles": [{"artifact", "profile", "profile_size"}],
     * "soci": [{"artifact", ...}] (soci.h)}; what was put there last comes last. "artifact" is the
     * digest of the manifest that says so. */
    json_t *note;
    bool is_partial; /* something on the list could not be had, so the note is not kept */
};

void sfs_artifacts_close(struct sfs_artifacts **artifacts_ptr)
{
    struct sfs_artifacts *artifacts = TAKE(*artifacts_ptr);
    if (!artifacts)
        return;
    json_decref(artifacts->note);
    free(artifacts);
}

/* ---- manifests */

enum artifact { ARTIFACT_INDEX, ARTIFACT_PROFILE, ARTIFACT_SOCI };

static const struct {
    const char *type;
    const char *key; /* of the note's list */
    size_t most;
} kinds[] = {
    [ARTIFACT_INDEX] = { SFS_INDEX_ARTIFACT, "indexes", MOST_INDEXES },
    [ARTIFACT_PROFILE] = { SFS_PROFILE_ARTIFACT, "profiles", MOST_PROFILES },
    [ARTIFACT_SOCI] = { SFS_SOCI_REFERRER_TYPE, "soci", MOST_SOCI },
};

/* One artifact whose manifest is asked for. */
struct inquiry {
    struct sfs_repository *repository;
    struct sfs_digest digest;
    enum artifact what;
    bool is_known; /* an earlier note has what it says */
    struct sfs_manifest manifest;
    int result;
};

static void run_inquiry(void *arg)
{
    struct inquiry *inquiry = arg;
    if (inquiry->is_known)
        return;
    inquiry->result = sfs_repository_get_manifest(inquiry->repository, NULL, &inquiry->digest,
                                                  &inquiry->manifest, NULL);
}

static int add_digest(json_t *object, const char *key, const struct sfs_descriptor *descriptor)
{
    char text[SFS_DIGEST_TEXT], size_key[32];
    snprintf(size_key, sizeof size_key, "%s_size", key);
    json_object_set_new(object, key, json_string(sfs_digest_print(&descriptor->digest, text)));
    return json_object_set_new(object, size_key, json_integer((json_int_t)descriptor->size));
}

/* The part of the artifact that has that digest. */
static bool find_windows(const json_t *layers, const char *digest,
                         struct sfs_descriptor *ret_windows)
{
    for (size_t i = 0; digest && i < json_array_size(layers); i++) {
        const json_t *part = json_array_get(layers, i);
        const char *found = sfs_document_string(part, "digest");
        if (found && strcmp(found, digest) == 0)
            return sfs_descriptor_parse(part, "windows", ret_windows, NULL) == 0 &&
                   ret_windows->size <= SFS_MAX_SENT_WINDOWS;
    }
    return false;
}

/* A new item of a list, of that artifact. NULL: no memory. */
static json_t *make_item(const struct inquiry *inquiry)
{
    char text[SFS_DIGEST_TEXT];
    return json_pack("{ss}", "artifact", sfs_digest_print(&inquiry->digest, text));
}

/* Notes one layer's index; whatever is not as it should be is passed over. */
static void note_part(json_t *indexes, const struct inquiry *inquiry, const json_t *layers,
                      const json_t *part)
{
    struct sfs_descriptor head, windows;
    const char *layer = sfs_document_annotation(part, SFS_LAYER_NOTE "digest");
    const char *format = sfs_document_annotation(part, SFS_LAYER_NOTE "format");
    const char *windows_digest = sfs_document_annotation(part, SFS_LAYER_NOTE "windows");
    if (!layer || !format || strcmp(format, SFS_SENT_INDEX_FORMAT) != 0 ||
        sfs_descriptor_parse(part, "an index", &head, NULL) < 0 ||
        strcmp(head.media_type, SFS_LAYER_INDEX_TYPE) != 0 || head.size > SFS_MAX_SENT_HEAD)
        return;
    bool has_windows = find_windows(layers, windows_digest, &windows);
    if (windows_digest && !has_windows)
        return;
    json_t *item = make_item(inquiry);
    if (!item)
        return;
    json_object_set_new(item, "layer", json_string(layer));
    add_digest(item, "head", &head);
    if (has_windows)
        add_digest(item, "windows", &windows);
    json_array_append_new(indexes, item);
}

static void note_index(json_t *note, const struct inquiry *inquiry, const json_t *layers)
{
    for (size_t i = 0; i < json_array_size(layers); i++)
        note_part(json_object_get(note, "indexes"), inquiry, layers, json_array_get(layers, i));
}

static void note_profile(json_t *note, const struct inquiry *inquiry, const json_t *layers)
{
    for (size_t i = 0; i < json_array_size(layers); i++) {
        struct sfs_descriptor text;
        json_t *item;
        if (sfs_descriptor_parse(json_array_get(layers, i), "a profile", &text, NULL) < 0 ||
            strcmp(text.media_type, SFS_PROFILE_TEXT_TYPE) != 0 || text.size > SFS_MAX_JSON)
            continue;
        item = make_item(inquiry);
        if (item) {
            add_digest(item, "profile", &text);
            json_array_append_new(json_object_get(note, "profiles"), item);
        }
        return;
    }
}

static void note_soci(json_t *note, const struct inquiry *inquiry, const json_t *manifest)
{
    json_t *tables = json_object_get(note, "soci");
    char text[SFS_DIGEST_TEXT];
    size_t before = json_array_size(tables);
    sfs_soci_list(manifest, tables);
    sfs_digest_print(&inquiry->digest, text);
    for (size_t i = before; i < json_array_size(tables); i++)
        json_object_set_new(json_array_get(tables, i), "artifact", json_string(text));
}

static void note_manifest(json_t *note, const struct inquiry *inquiry)
{
    AUTO(sfs_json_close) json_t *json = NULL;
    if (inquiry->result < 0 || sfs_document_parse(inquiry->manifest.data, inquiry->manifest.size,
                                                  "an artifact", &json, NULL) < 0)
        return;
    const json_t *layers = json_object_get(json, "layers");
    if (inquiry->what == ARTIFACT_INDEX)
        note_index(note, inquiry, layers);
    else if (inquiry->what == ARTIFACT_PROFILE)
        note_profile(note, inquiry, layers);
    else
        note_soci(note, inquiry, json);
}

/* Takes over what an earlier note has of the artifact: a digest always says the same. False: it has
 * nothing of it. A note that is NULL is not written to. */
static bool note_known(json_t *note, const json_t *earlier, const struct inquiry *inquiry)
{
    const char *key = kinds[inquiry->what].key;
    const json_t *items = json_object_get(earlier, key);
    char wanted[SFS_DIGEST_TEXT];
    bool is_known = false;
    sfs_digest_print(&inquiry->digest, wanted);
    for (size_t i = 0; i < json_array_size(items); i++) {
        json_t *item = json_array_get(items, i);
        const char *found = sfs_document_string(item, "artifact");
        if (!found || strcmp(found, wanted) != 0)
            continue;
        is_known = true;
        if (note)
            json_array_append(json_object_get(note, key), item);
    }
    return is_known;
}

/* ---- the list */

/* A list under a tag may leave the type out, if who wrote it took it to be in the manifest alone;
 * ours always say it. */
static bool is_wanted(const json_t *entry, enum artifact what)
{
    const char *found = sfs_document_string(entry, "artifactType");
    const char *format = sfs_document_annotation(entry, SFS_INDEX_FORMAT_NOTE);
    if (!found || strcmp(found, kinds[what].type) != 0)
        return !found && what == ARTIFACT_SOCI;
    return what != ARTIFACT_INDEX || (format && strcmp(format, SFS_SENT_INDEX_FORMAT) == 0);
}

/* Chooses the latest artifacts of a kind, and puts them behind the others in their order. */
static size_t choose(const json_t *list, enum artifact what, struct sfs_repository *repository,
                     struct inquiry *inquiries)
{
    size_t most = kinds[what].most, count = 0, from = json_array_size(list);
    for (; from > 0 && count < most; from--) {
        const json_t *entry = json_array_get(list, from - 1);
        struct inquiry *inquiry = &inquiries[most - 1 - count];
        if (!is_wanted(entry, what) ||
            sfs_digest_parse(sfs_document_string(entry, "digest"), &inquiry->digest, NULL) < 0)
            continue;
        inquiry->repository = repository;
        inquiry->what = what;
        count++;
    }
    memmove(inquiries, inquiries + (most - count), count * sizeof *inquiries);
    return count;
}

/* Asks for all at the same time. What cannot be had is left out: it is a help, and no more. */
static int ask_all(struct inquiry *inquiries, size_t count, struct sfs_error *err)
{
    AUTO(sfs_pool_close) struct sfs_pool *pool = NULL;
    if (count == 1)
        run_inquiry(&inquiries[0]);
    if (count <= 1)
        return 0;
    int r = sfs_pool_open(count < AT_ONCE ? (unsigned)count : AT_ONCE, &pool, err);
    for (size_t i = 0; i < count && r == 0; i++)
        if (sfs_pool_submit(pool, SFS_POOL_DEMAND, run_inquiry, &inquiries[i]) < 0)
            r = sfs_fail_memory(err);
    return r;
}

/* Notes what the artifacts say, in their order. True: of some of them nothing is known. */
static bool note_all(json_t *note, const json_t *earlier, const struct inquiry *inquiries,
                     size_t count)
{
    bool is_partial = false;
    for (size_t i = 0; i < count; i++) {
        if (inquiries[i].is_known)
            note_known(note, earlier, &inquiries[i]);
        else
            note_manifest(note, &inquiries[i]);
        is_partial = is_partial || inquiries[i].result < 0;
    }
    return is_partial;
}

static int make_note(struct sfs_artifacts *artifacts, struct sfs_repository *repository,
                     const json_t *list, struct sfs_error *err)
{
    struct inquiry inquiries[MOST_INDEXES + MOST_PROFILES + MOST_SOCI] = { 0 };
    size_t count = choose(list, ARTIFACT_INDEX, repository, inquiries);
    count += choose(list, ARTIFACT_PROFILE, repository, inquiries + count);
    count += choose(list, ARTIFACT_SOCI, repository, inquiries + count);
    AUTO(sfs_json_close)
    json_t *note = json_pack("{sI s[] s[] s[]}", "asked", (json_int_t)time(NULL), "indexes",
                             "profiles", "soci");
    if (!note)
        return sfs_fail_memory(err);
    for (size_t i = 0; i < count; i++)
        inquiries[i].is_known = note_known(NULL, artifacts->note, &inquiries[i]);
    int r = ask_all(inquiries, count, err);
    artifacts->is_partial = note_all(note, artifacts->note, inquiries, count);
    for (size_t i = 0; i < count; i++)
        sfs_manifest_done(&inquiries[i].manifest);
    if (r < 0)
        return r;
    json_decref(artifacts->note);
    artifacts->note = TAKE(note);
    return 0;
}

static int ask(struct sfs_artifacts *artifacts, const struct sfs_digest *manifest,
               struct sfs_error *err)
{
    AUTO(sfs_json_close) json_t *list = NULL;
    struct sfs_repository *repository;
    int r = sfs_source_connect(sfs_registry_source(artifacts->members), &repository, err);
    if (r == 0)
        r = sfs_referrers_list(repository, manifest, NULL, &list, err);
    if (r == 0)
        r = make_note(artifacts, repository, list, err);
    if (r < 0 || artifacts->is_partial)
        return r;
    AUTO(sfs_free) char *text = sfs_json_print(artifacts->note, JSON_COMPACT);
    if (text)
        sfs_registry_keep(artifacts->members, &artifacts->key, text, strlen(text));
    return 0;
}

/* ---- opening */

static int name_note(struct sfs_artifacts *artifacts, const struct sfs_digest *manifest)
{
    char digest[SFS_DIGEST_TEXT];
    const struct sfs_name *name = sfs_source_name(sfs_registry_source(artifacts->members));
    AUTO(sfs_free)
    char *text = sfs_format("all beside %s/%s@%s", name->host, name->repository,
                            sfs_digest_print(manifest, digest));
    return text ? sfs_digest_of(text, strlen(text), &artifacts->key) : -ENOMEM;
}

static void read_note(struct sfs_artifacts *artifacts)
{
    AUTO(sfs_free) char *data = NULL;
    size_t size;
    if (sfs_registry_read_kept(artifacts->members, &artifacts->key, MOST_NOTE, &data, &size) == 0)
        (void)sfs_document_parse(data, size, "a note", &artifacts->note, NULL);
}

/* A tag is asked about anyhow when an image is opened by it; a digest asks for nothing. */
static bool is_fresh(const struct sfs_artifacts *artifacts)
{
    const struct sfs_name *name = sfs_source_name(sfs_registry_source(artifacts->members));
    int64_t asked = json_integer_value(json_object_get(artifacts->note, "asked"));
    int64_t now = time(NULL);
    return artifacts->note && (name->has_digest || (asked <= now && now - asked < STALE));
}

int sfs_artifacts_open(struct sfs_members *members, const struct sfs_digest *manifest,
                       struct sfs_artifacts **ret_artifacts, struct sfs_error *err)
{
    AUTO(sfs_artifacts_close) struct sfs_artifacts *artifacts = calloc(1, sizeof *artifacts);
    if (!artifacts)
        return sfs_fail_memory(err);
    artifacts->members = members;
    if (name_note(artifacts, manifest) < 0)
        return sfs_fail_memory(err);
    read_note(artifacts);
    int r = is_fresh(artifacts) ? 0 : ask(artifacts, manifest, err);
    if (r < 0 && !artifacts->note)
        return r;
    *ret_artifacts = TAKE(artifacts);
    return 0;
}

/* ---- what is asked */

static bool read_digest(const json_t *item, const char *key, struct sfs_digest *ret_digest,
                        uint64_t *ret_size)
{
    char size_key[32];
    snprintf(size_key, sizeof size_key, "%s_size", key);
    const char *text = sfs_document_string(item, key);
    const json_t *size = json_object_get(item, size_key);
    *ret_size = (uint64_t)json_integer_value(size);
    return text && json_is_integer(size) && json_integer_value(size) >= 0 &&
           sfs_digest_parse(text, ret_digest, NULL) == 0;
}

bool sfs_artifacts_find_index(const struct sfs_artifacts *artifacts, const struct sfs_digest *layer,
                              const struct sfs_digest *head, struct sfs_artifact_index *ret_index)
{
    char wanted[SFS_DIGEST_TEXT];
    const json_t *indexes = json_object_get(artifacts->note, "indexes");
    sfs_digest_print(layer, wanted);
    for (size_t i = json_array_size(indexes); i > 0; i--) {
        const json_t *item = json_array_get(indexes, i - 1);
        const char *found = sfs_document_string(item, "layer");
        struct sfs_artifact_index index = { 0 };
        if (!found || strcmp(found, wanted) != 0 ||
            !read_digest(item, "head", &index.head, &index.head_size) ||
            (head && !sfs_digest_equal(head, &index.head)))
            continue;
        if (!read_digest(item, "windows", &index.windows, &index.windows_size))
            index.windows_size = 0;
        *ret_index = index;
        return true;
    }
    return false;
}

bool sfs_artifacts_find_soci(const struct sfs_artifacts *artifacts, const struct sfs_digest *layer,
                             struct sfs_soci_table *ret_table)
{
    return sfs_soci_find(json_object_get(artifacts->note, "soci"), layer, ret_table);
}

size_t sfs_artifacts_profile_count(const struct sfs_artifacts *artifacts)
{
    return json_array_size(json_object_get(artifacts->note, "profiles"));
}

int sfs_artifacts_read_profile(const struct sfs_artifacts *artifacts, size_t i, char **ret_text,
                               size_t *ret_size, struct sfs_error *err)
{
    const json_t *item = json_array_get(json_object_get(artifacts->note, "profiles"), i);
    struct sfs_digest digest;
    uint64_t size;
    if (!read_digest(item, "profile", &digest, &size))
        return sfs_fail(err, EBADMSG, "the list of profiles is damaged");
    return sfs_registry_read_document(artifacts->members, &digest, size, ret_text, ret_size, err);
}
