/* Finding one image in an OCI layout: oci-layout, index.json, then down through nested indexes.
 *
 * index.json is trusted for names only. Everything below it is read by digest and compared. */
#include "image/parts.h"
#include "image/registry_members.h"

#include "base/buf.h"
#include <errno.h>
#include <inttypes.h>

#define REF_NAME        "org.opencontainers.image.ref.name"
#define CONTAINERD_NAME "io.containerd.image.name"

enum { MAX_NESTING = 8, MAX_LISTED = 30 };

static int check_layout_file(struct sfs_members *members, struct sfs_error *err)
{
    AUTO(sfs_json_close) json_t *json = NULL;
    int r = sfs_document_read(members, "oci-layout", &json, NULL, err);
    if (r == -ENOENT && sfs_members_has(members, "manifest.json"))
        return sfs_fail(err, EBADMSG,
                        "%s is no OCI layout (no file oci-layout), but it has a "
                        "manifest.json: if docker or podman saved it, write "
                        "docker-archive:%s",
                        members->label, members->label);
    if (r == -ENOENT)
        return sfs_fail(err, EBADMSG, "%s is no OCI layout: it has no file oci-layout",
                        members->label);
    if (r < 0)
        return r;
    const char *version = sfs_document_string(json, "imageLayoutVersion");
    if (!version)
        return sfs_fail(err, EBADMSG, "%s/oci-layout has no imageLayoutVersion", members->label);
    if (strcmp(version, "1.0.0") != 0)
        return sfs_fail(err, ENOTSUP, "%s: OCI layout version %.40s is not supported (1.0.0 is)",
                        members->label, version);
    return 0;
}

/* The name of an entry of index.json; NULL: it has none. */
static const char *name_of(const json_t *entry)
{
    const char *name = sfs_document_annotation(entry, REF_NAME);
    return name ? name : sfs_document_annotation(entry, CONTAINERD_NAME);
}

static bool same_text(const char *a, const char *b)
{
    return a && b ? strcmp(a, b) == 0 : a == b;
}

/* Has the entry this name in full? `docker save` keeps it apart, and puts the tag alone in
 * ref.name. */
static bool has_full_name(const json_t *entry, const char *name)
{
    const char *found = sfs_document_annotation(entry, CONTAINERD_NAME);
    AUTO(sfs_free) char *a = NULL;
    AUTO(sfs_free) char *b = NULL;
    return found && sfs_reference_full_name(found, &a, NULL) == 0 &&
           sfs_reference_full_name(name, &b, NULL) == 0 && strcmp(a, b) == 0;
}

/* Adds "a, b, c" for a message: the names, or the platforms, of the entries. */
static void list_names(struct sfs_buf *names, const json_t *manifests, bool platforms)
{
    for (size_t i = 0; i < json_array_size(manifests); i++) {
        const json_t *entry = json_array_get(manifests, i);
        char text[SFS_PLATFORM_TEXT];
        const char *name = platforms
                               ? sfs_platform_print_json(json_object_get(entry, "platform"), text)
                               : name_of(entry);
        const char *digest = sfs_document_string(entry, "digest");
        if (platforms && (!name || strcmp(name, "unknown/unknown") == 0))
            continue;
        if (i == MAX_LISTED) {
            sfs_buf_add_str(names, ", ...");
            break;
        }
        sfs_buf_printf(names, "%s%s%.80s", names->size ? ", " : "", name ? "" : "@",
                       name     ? name
                       : digest ? digest
                                : "?");
    }
    if (!names->size)
        sfs_buf_add_str(names, "none");
}

static int fail_with_list(const json_t *manifests, bool platforms, const char *text,
                          struct sfs_error *err)
{
    AUTO(sfs_buf_close) struct sfs_buf names = { 0 };
    list_names(&names, manifests, platforms);
    return sfs_fail(err, ENOENT, "%s; there are: %s", text, names.data ? names.data : "?");
}

/* The number of the entry that suits the platform best; -1: none suits. */
static ptrdiff_t pick_best(const json_t *manifests, const struct sfs_platform *platform,
                           bool (*wants)(const json_t *entry, const char *name), const char *name)
{
    ptrdiff_t best = -1;
    int best_rank = 0;
    for (size_t i = 0; i < json_array_size(manifests); i++) {
        const json_t *entry = json_array_get(manifests, i);
        if (!wants(entry, name))
            continue;
        int rank = sfs_platform_rank(platform, json_object_get(entry, "platform"));
        if (rank >= 0 && (best < 0 || rank < best_rank)) {
            best = (ptrdiff_t)i;
            best_rank = rank;
        }
    }
    return best;
}

static bool wants_all(const json_t *entry, const char *name)
{
    (void)entry;
    (void)name;
    return true;
}

/* Leaves out what lies beside an image, as SOCI's index does, which names its image's platform,
 * too. */
static bool wants_image(const json_t *entry, const char *name)
{
    const char *type = sfs_document_string(entry, "artifactType");
    (void)name;
    return !type || !*type || sfs_manifest_is_config(type);
}

static bool wants_tag(const json_t *entry, const char *name)
{
    return same_text(sfs_document_annotation(entry, REF_NAME), name);
}

static size_t count_wanted(const json_t *manifests,
                           bool (*wants)(const json_t *entry, const char *name), const char *name,
                           size_t *ret_first)
{
    size_t count = 0;
    for (size_t i = json_array_size(manifests); i > 0; i--) {
        if (wants(json_array_get(manifests, i - 1), name)) {
            count++;
            *ret_first = i - 1;
        }
    }
    return count;
}

/* May the choice be left to the platform (or to nobody)? If all entries are one image: the same
 * digest, or the same name for several platforms. */
static bool is_one_image(const json_t *manifests)
{
    const json_t *first = json_array_get(manifests, 0);
    bool same_digest = true, same_name = true;
    for (size_t i = 1; i < json_array_size(manifests); i++) {
        const json_t *entry = json_array_get(manifests, i);
        same_digest = same_digest && same_text(sfs_document_string(first, "digest"),
                                               sfs_document_string(entry, "digest"));
        same_name = same_name && same_text(name_of(first), name_of(entry)) &&
                    json_is_object(json_object_get(first, "platform")) &&
                    json_is_object(json_object_get(entry, "platform"));
    }
    return same_digest || same_name;
}

/* Chooses the entry by its place among all, whatever its name. */
static int choose_position(const json_t *manifests, size_t position, const json_t **ret_entry,
                           struct sfs_error *err)
{
    char text[120];
    size_t count = json_array_size(manifests);
    *ret_entry = json_array_get(manifests, position);
    if (*ret_entry)
        return 0;
    snprintf(text, sizeof text, "%zu image%s here, none at @%zu (the first is @0)", count,
             count == 1 ? " is" : "s are", position);
    return fail_with_list(manifests, false, text, err);
}

/* Chooses the entry by its tag, or the only one there is. */
static int choose_entry(const json_t *manifests, const struct sfs_reference *reference,
                        const struct sfs_platform *platform, const json_t **ret_entry,
                        struct sfs_error *err)
{
    char text[600], wanted[SFS_PLATFORM_TEXT];
    bool (*wants)(const json_t *, const char *) = reference->name ? wants_tag : wants_image;
    size_t first = 0, count = count_wanted(manifests, wants, reference->name, &first);
    if (count == 0) {
        wants = reference->name ? has_full_name : wants_all;
        count = count_wanted(manifests, wants, reference->name, &first);
    }
    if (count == 0 && json_array_size(manifests) == 0)
        return sfs_fail(err, ENOENT, "%s holds no image", reference->path);
    if (count == 0) {
        snprintf(text, sizeof text, "no image is named '%.400s'", reference->name);
        return fail_with_list(manifests, false, text, err);
    }
    if (!reference->name && count > 1 && !is_one_image(manifests)) {
        snprintf(text, sizeof text, "%zu images are here, say which one", count);
        return fail_with_list(manifests, false, text, err);
    }
    ptrdiff_t best = (ptrdiff_t)first;
    if (count > 1)
        best = pick_best(manifests, platform, wants, reference->name);
    if (best < 0) {
        snprintf(text, sizeof text, "no image for %s", sfs_platform_print(platform, wanted));
        return fail_with_list(manifests, true, text, err);
    }
    *ret_entry = json_array_get(manifests, (size_t)best);
    return 0;
}

/* Makes the descriptor of a document that was asked for by digest and that index.json does not
 * name: its own mediaType must say what it is. */
static int describe_blob(struct sfs_members *members, const struct sfs_digest *digest,
                         struct sfs_descriptor *ret_descriptor, json_t **ret_json,
                         struct sfs_error *err)
{
    AUTO(sfs_blob_close) struct sfs_blob *blob = NULL;
    AUTO(sfs_json_close) json_t *json = NULL;
    int r = sfs_members_open_blob(members, digest, UINT64_MAX, &blob, err);
    if (r < 0)
        return r;
    struct sfs_descriptor descriptor = { .digest = *digest, .size = blob->size };
    r = sfs_document_read_blob(members, &descriptor, &json, err);
    if (r < 0)
        return r;
    descriptor.media_type = sfs_document_string(json, "mediaType");
    if (!descriptor.media_type)
        descriptor.media_type = json_object_get(json, "manifests")
                                    ? "application/vnd.oci.image.index.v1+json"
                                    : "application/vnd.oci.image.manifest.v1+json";
    *ret_descriptor = descriptor;
    *ret_json = TAKE(json); /* keeps media_type alive */
    return 0;
}

static int find_digest(const struct sfs_image *image, const json_t *manifests,
                       const struct sfs_digest *digest, struct sfs_descriptor *ret_descriptor,
                       json_t **ret_keep, struct sfs_error *err)
{
    char text[SFS_DIGEST_TEXT];
    sfs_digest_print(digest, text);
    for (size_t i = 0; i < json_array_size(manifests); i++) {
        const json_t *entry = json_array_get(manifests, i);
        if (same_text(sfs_document_string(entry, "digest"), text))
            return sfs_descriptor_parse(entry, text, ret_descriptor, err);
    }
    return describe_blob(image->members, digest, ret_descriptor, ret_keep, err);
}

/* One step from an index to the entry for the platform. */
static int descend(const json_t *index, const struct sfs_platform *platform,
                   struct sfs_descriptor *ret_descriptor, struct sfs_error *err)
{
    const json_t *manifests;
    int r = sfs_document_check_schema(index, "the image index", err);
    if (r == 0)
        r = sfs_document_array(index, "manifests", "the image index", &manifests, err);
    if (r < 0)
        return r;
    if (json_object_get(index, "layers") || json_object_get(index, "config"))
        return sfs_fail(err, EBADMSG, "the image index is a manifest as well (it has layers)");
    ptrdiff_t best = pick_best(manifests, platform, wants_image, NULL);
    if (best < 0)
        best = pick_best(manifests, platform, wants_all, NULL);
    if (best < 0) {
        char text[200], wanted[SFS_PLATFORM_TEXT];
        snprintf(text, sizeof text, "the image index has none for %s (--platform chooses)",
                 sfs_platform_print(platform, wanted));
        return fail_with_list(manifests, true, text, err);
    }
    return sfs_descriptor_parse(json_array_get(manifests, (size_t)best), "image index",
                                ret_descriptor, err);
}

static int read_document(struct sfs_members *members, const struct sfs_descriptor *descriptor,
                         json_t **ret_json, struct sfs_error *err)
{
    if (!sfs_manifest_is_index(descriptor->media_type) &&
        !sfs_manifest_is_image(descriptor->media_type))
        return sfs_manifest_fail_type(descriptor->media_type, err);
    AUTO(sfs_json_close) json_t *json = NULL;
    int r = sfs_document_read_blob(members, descriptor, &json, err);
    if (r < 0)
        return sfs_fail_while(err, r, "manifest");
    const char *said = sfs_document_string(json, "mediaType");
    if (said && strcmp(said, descriptor->media_type) != 0)
        return sfs_fail(err, EBADMSG, "the manifest says it is %.100s, its descriptor says %.100s",
                        said, descriptor->media_type);
    *ret_json = TAKE(json);
    return 0;
}

static int note_document(const struct sfs_descriptor *descriptor,
                         struct sfs_image_document *document, struct sfs_error *err)
{
    char path[SFS_BLOB_PATH];
    *document = (struct sfs_image_document){
        .has_digest = true,
        .digest = descriptor->digest,
        .member = strdup(sfs_blob_path(&descriptor->digest, path)),
        .media_type = strdup(descriptor->media_type),
        .size = descriptor->size,
    };
    return document->member && document->media_type ? 0 : sfs_fail_memory(err);
}

/* From a descriptor down to an image's manifest. Digests cannot make a circle; the cap is against
 * long chains. */
static int resolve(struct sfs_image *image, struct sfs_descriptor descriptor,
                   const struct sfs_platform *platform, struct sfs_error *err)
{
    AUTO(sfs_json_close) json_t *held = NULL; /* what `descriptor` points into */
    for (int depth = 0; depth <= MAX_NESTING; depth++) {
        AUTO(sfs_json_close) json_t *json = NULL;
        int r = read_document(image->members, &descriptor, &json, err);
        if (r < 0)
            return r;
        if (depth == 0)
            r = note_document(&descriptor, &image->top, err);
        if (r < 0 || image->only_top)
            return r;
        if (sfs_manifest_is_image(descriptor.media_type)) {
            r = note_document(&descriptor, &image->manifest_document, err);
            return r < 0 ? r : sfs_manifest_take(image, &json, err);
        }
        r = descend(json, platform, &descriptor, err);
        if (r < 0)
            return r;
        sfs_json_close(&held);
        held = TAKE(json);
    }
    return sfs_fail(err, E2BIG, "image indexes are nested more than %d deep", MAX_NESTING);
}

int sfs_oci_open(struct sfs_image *image, const struct sfs_reference *reference,
                 const struct sfs_platform *platform, struct sfs_error *err)
{
    AUTO(sfs_json_close) json_t *index = NULL;
    AUTO(sfs_json_close) json_t *keep = NULL;
    const json_t *manifests, *entry = NULL;
    struct sfs_descriptor descriptor;
    int r = check_layout_file(image->members, err);
    if (r == 0)
        r = sfs_document_read(image->members, "index.json", &index, NULL, err);
    if (r == 0)
        r = sfs_document_array(index, "manifests", "index.json", &manifests, err);
    if (r < 0)
        return r;
    if (reference->has_digest) {
        r = find_digest(image, manifests, &reference->digest, &descriptor, &keep, err);
    } else {
        r = reference->has_position ? choose_position(manifests, reference->position, &entry, err)
                                    : choose_entry(manifests, reference, platform, &entry, err);
        if (r == 0)
            r = sfs_descriptor_parse(entry, "index.json", &descriptor, err);
    }
    return r < 0 ? r : resolve(image, descriptor, platform, err);
}

int sfs_oci_open_digest(struct sfs_image *image, const struct sfs_digest *digest,
                        const struct sfs_platform *platform, struct sfs_error *err)
{
    AUTO(sfs_json_close) json_t *keep = NULL;
    struct sfs_descriptor descriptor;
    int r = describe_blob(image->members, digest, &descriptor, &keep, err);
    return r < 0 ? r : resolve(image, descriptor, platform, err);
}

int sfs_registry_open_image(struct sfs_image *image, const struct sfs_reference *reference,
                            const struct sfs_platform *platform, struct sfs_error *err)
{
    struct sfs_digest digest = reference->digest;
    int r = sfs_members_open_registry(reference->name, &image->options, &image->members, err);
    if (r == 0 && !reference->has_digest)
        r = sfs_registry_find_tag(image->members, &digest, err);
    return r < 0 ? r : sfs_oci_open_digest(image, &digest, platform, err);
}

int sfs_oci_open_dir(struct sfs_image *image, const struct sfs_reference *reference,
                     const struct sfs_platform *platform, struct sfs_error *err)
{
    int r = sfs_members_open_dir(reference->path, &image->members, err);
    return r < 0 ? r : sfs_oci_open(image, reference, platform, err);
}

int sfs_oci_open_archive(struct sfs_image *image, const struct sfs_reference *reference,
                         const struct sfs_platform *platform, struct sfs_error *err)
{
    int r = sfs_members_open_tar(reference->path, &image->members, err);
    return r < 0 ? r : sfs_oci_open(image, reference, platform, err);
}
