/* The table of transports that images are read from, and opening and closing an image. */
#include <stagefs/image.h>

#include "image/artifacts.h"
#include "image/parts.h"
#include <errno.h>
#include <inttypes.h>
#include <sys/stat.h>
#include <stagefs/format.h>

/* A directory is an image of one layer and an empty config. */
static int open_dir(struct sfs_image *image, const struct sfs_reference *reference,
                    const struct sfs_platform *platform, struct sfs_error *err)
{
    (void)platform;
    struct stat st;
    if (stat(reference->path, &st) < 0)
        return sfs_fail_errno(err, errno, "%s", reference->path);
    if (!S_ISDIR(st.st_mode))
        return sfs_fail_errno(err, ENOTDIR, "%s", reference->path);
    image->directory = strdup(reference->path);
    image->config = json_object();
    int r = sfs_image_make_parts(image, 1, err);
    if (r < 0)
        return r;
    image->parts[0].key = strdup("");
    if (!image->directory || !image->config || !image->parts[0].key)
        return sfs_fail_memory(err);
    image->parts[0].layer = (struct sfs_image_layer){
        .media_type = "inode/directory",
        .is_directory = true,
        .key = image->parts[0].key,
    };
    return 0;
}

static int refuse_tar(struct sfs_image *image, const struct sfs_reference *reference,
                      const struct sfs_platform *platform, struct sfs_error *err)
{
    (void)image;
    (void)reference;
    (void)platform;
    return sfs_fail(err, EINVAL, "standard input is not read: name an image, as in oci:DIR:TAG");
}

/* How each transport is read. How it is written in a reference stands in reference.c, how an image
 * is written to it in commit/commit.c, by the same enum. */
static const struct reader {
    int (*open)(struct sfs_image *image, const struct sfs_reference *reference,
                const struct sfs_platform *platform, struct sfs_error *err);
    /* Where `open` is NULL: why it is not read, and what to do. The image's name goes between. */
    const char *refusal, *refusal_end;
} readers[] = {
    [SFS_TRANSPORT_OCI] = { .open = sfs_oci_open_dir },
    [SFS_TRANSPORT_OCI_ARCHIVE] = { .open = sfs_oci_open_archive },
    [SFS_TRANSPORT_DOCKER_ARCHIVE] = { .open = sfs_docker_open_archive },
    [SFS_TRANSPORT_DIR] = { .open = open_dir },
    [SFS_TRANSPORT_DOCKER] = { .open = sfs_registry_open_image },
    [SFS_TRANSPORT_STORAGE] = { .open = sfs_storage_open_image },
    [SFS_TRANSPORT_DAEMON] = { .refusal = "docker's daemon is not asked; export the image first: "
                                          "docker save -o FILE ",
                               .refusal_end = ", then docker-archive:FILE" },
    [SFS_TRANSPORT_TAR] = { .open = refuse_tar },
};
_Static_assert(sizeof readers / sizeof *readers == SFS_TRANSPORTS, "a row for each transport");

static int open_reference(struct sfs_image *image, const struct sfs_reference *reference,
                          const struct sfs_platform *platform, struct sfs_error *err)
{
    const struct reader *reader = &readers[reference->transport];
    if (reader->open)
        return reader->open(image, reference, platform, err);
    return sfs_fail(err, ENOTSUP, "%s%.300s%s", reader->refusal, reference->name,
                    reader->refusal_end);
}

static int open_image(const char *ref, const struct sfs_image_options *options, bool only_top,
                      struct sfs_image **ret_image, struct sfs_error *err)
{
    AUTO(sfs_reference_done) struct sfs_reference reference = { 0 };
    struct sfs_platform platform;
    int r = sfs_reference_parse(ref, &reference, err);
    if (r == 0)
        r = sfs_platform_parse(options->platform, &platform, err);
    if (r < 0)
        return r;
    AUTO(sfs_image_close) struct sfs_image *image = calloc(1, sizeof *image);
    if (!image)
        return sfs_fail_memory(err);
    pthread_mutex_init(&image->artifacts_lock, NULL);
    if (!(image->ref = strdup(ref)))
        return sfs_fail_memory(err);
    image->options = *options;
    image->only_top = only_top;
    r = open_reference(image, &reference, &platform, err);
    if (r < 0)
        return sfs_fail_while(err, r, "%.200s", ref);
    *ret_image = TAKE(image);
    return 0;
}

int sfs_image_open(const char *ref, const char *platform, struct sfs_image **ret_image,
                   struct sfs_error *err)
{
    const struct sfs_image_options options = { .platform = platform };
    return open_image(ref, &options, false, ret_image, err);
}

int sfs_image_open_with(const char *ref, const struct sfs_image_options *options,
                        struct sfs_image **ret_image, struct sfs_error *err)
{
    return open_image(ref, options, false, ret_image, err);
}

int sfs_image_open_top(const char *ref, const struct sfs_image_options *options,
                       struct sfs_image **ret_image, struct sfs_error *err)
{
    return open_image(ref, options, true, ret_image, err);
}

static void free_document(struct sfs_image_document *document)
{
    free(document->member);
    free(document->media_type);
}

void sfs_image_close(struct sfs_image **image_ptr)
{
    struct sfs_image *image = TAKE(*image_ptr);
    if (!image)
        return;
    atomic_store(&image->is_closing, true);
    sfs_image_end_asking(image);
    sfs_image_free_profiles(image);
    for (size_t i = 0; i < image->count; i++) {
        free(image->parts[i].member);
        free(image->parts[i].key);
        free(image->parts[i].directory);
    }
    free(image->parts);
    free_document(&image->manifest_document);
    free_document(&image->config_document);
    free_document(&image->top);
    json_decref(image->manifest);
    json_decref(image->config);
    json_decref(image->soci);
    sfs_artifacts_close(&image->artifacts);
    pthread_mutex_destroy(&image->artifacts_lock);
    sfs_members_close(&image->members);
    free(image->directory);
    free(image->ref);
    free(image);
}

const char *sfs_image_ref(const struct sfs_image *image)
{
    return image->ref;
}

size_t sfs_image_layer_count(const struct sfs_image *image)
{
    return image->count;
}

const struct sfs_image_layer *sfs_image_layer(const struct sfs_image *image, size_t i)
{
    return &image->parts[i].layer;
}

const struct json_t *sfs_image_config(const struct sfs_image *image)
{
    return image->config;
}

const struct json_t *sfs_image_manifest(const struct sfs_image *image)
{
    return image->manifest;
}

bool sfs_image_digest(const struct sfs_image *image, struct sfs_digest *ret_digest)
{
    if (image->manifest_document.has_digest)
        *ret_digest = image->manifest_document.digest;
    return image->manifest_document.has_digest;
}

static bool is_foreign(const struct sfs_image_layer *layer)
{
    enum sfs_codec codec;
    enum sfs_layer_type type;
    return sfs_codec_find_type(layer->media_type, &codec, &type) && sfs_layer_type_is_foreign(type);
}

int sfs_image_open_blob(const struct sfs_image *image, size_t i, struct sfs_blob **ret_blob,
                        struct sfs_error *err)
{
    const struct sfs_image_part *part = &image->parts[i];
    AUTO(sfs_blob_close) struct sfs_blob *blob = NULL;
    if (part->layer.is_directory)
        return sfs_fail(err, ENOTSUP, "layer %zu is kept as files alone, not as a tar", i);
    int r = sfs_members_open(image->members, part->member, &blob, err);
    if (r == -ENOENT && is_foreign(&part->layer))
        return sfs_fail_while(err, r, "a layer that is not distributed with its image");
    if (r < 0)
        return r;
    if (blob->size != part->layer.size)
        return sfs_fail(err, EKEYREJECTED,
                        "%s is %s: it has %" PRIu64 " byte%s, its descriptor says %" PRIu64,
                        blob->name, blob->size < part->layer.size ? "truncated" : "too long",
                        blob->size, sfs_plural(blob->size), part->layer.size);
    *ret_blob = TAKE(blob);
    return 0;
}

char *sfs_image_label(const struct sfs_image *image, size_t i, char label[SFS_LAYER_LABEL])
{
    if (image->directory)
        snprintf(label, SFS_LAYER_LABEL, "layer %zu (%.90s)", i, image->directory);
    else
        snprintf(label, SFS_LAYER_LABEL, "layer %zu (%.19s)", i, image->parts[i].key);
    return label;
}
