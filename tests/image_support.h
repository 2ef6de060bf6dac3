/* Layouts and archives made in code, for the tests of fs/image. */
#ifndef IMAGE_SUPPORT_H
#define IMAGE_SUPPORT_H

#include <archive.h>
#include <archive_entry.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <jansson.h>
#include <stagefs/auto.h>
#include <stagefs/digest.h>
#include <stagefs/error.h>
#include <stagefs/image.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define OCI_MANIFEST "application/vnd.oci.image.manifest.v1+json"
#define OCI_INDEX    "application/vnd.oci.image.index.v1+json"
#define OCI_CONFIG   "application/vnd.oci.image.config.v1+json"
#define OCI_TAR      "application/vnd.oci.image.layer.v1.tar"

struct bytes {
    char *data;
    size_t size;
};

__attribute__((unused)) static void bytes_free(struct bytes *bytes)
{
    free(bytes->data);
    bytes->data = NULL;
}

/* Formatted text that lives until the test's process ends, as everything below (one test, one
 * process). Kept reachable, so that the leak checker sees only leaks of the code under test. */
__attribute__((unused, format(printf, 1, 2))) static char *say(const char *format, ...)
{
    static char *kept[100000];
    static size_t count;
    va_list args;
    va_start(args, format);
    cr_assert(count < sizeof kept / sizeof kept[0]);
    cr_assert(vasprintf(&kept[count], format, args) >= 0);
    va_end(args);
    return kept[count++];
}

static char scratch[256]; /* the test's own directory */

__attribute__((unused)) static void make_scratch(void)
{
    const char *tmp = getenv("TMPDIR");
    snprintf(scratch, sizeof scratch, "%s/stagefs-test-XXXXXX", tmp ? tmp : "/tmp");
    cr_assert(mkdtemp(scratch));
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

__attribute__((unused)) static void remove_tree(const char *path)
{
    nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

__attribute__((unused)) static void remove_scratch(void)
{
    remove_tree(scratch);
}

__attribute__((unused)) static void put_file(const char *path, const void *data, size_t size)
{
    FILE *file = fopen(path, "we");
    cr_assert(file, "%s", path);
    cr_assert_eq(fwrite(data, 1, size, file), size);
    cr_assert_eq(fclose(file), 0);
}

__attribute__((unused)) static void put_text(const char *path, const char *text)
{
    put_file(path, text, strlen(text));
}

__attribute__((unused)) static struct bytes get_file(const char *path)
{
    struct bytes bytes = { 0 };
    struct stat st;
    FILE *file = fopen(path, "re");
    cr_assert(file, "%s", path);
    cr_assert_eq(fstat(fileno(file), &st), 0);
    bytes.size = (size_t)st.st_size;
    bytes.data = malloc(bytes.size + 1);
    cr_assert(bytes.data);
    cr_assert_eq(fread(bytes.data, 1, bytes.size, file), bytes.size);
    bytes.data[bytes.size] = 0;
    fclose(file);
    return bytes;
}

__attribute__((unused)) static char *digest_text(const void *data, size_t size)
{
    struct sfs_digest digest;
    char text[SFS_DIGEST_TEXT];
    cr_assert_eq(sfs_digest_of(data, size, &digest), 0);
    return say("%s", sfs_digest_print(&digest, text));
}

/* A tar of regular files with fixed metadata. */
struct tar_writer {
    struct archive *archive;
    struct bytes out;
    size_t capacity;
};

static ssize_t take_bytes(struct archive *archive, void *user, const void *data, size_t size)
{
    struct tar_writer *writer = user;
    (void)archive;
    if (writer->out.size + size + 1 > writer->capacity) {
        writer->capacity = 2 * (writer->out.size + size + 1);
        writer->out.data = realloc(writer->out.data, writer->capacity);
        cr_assert(writer->out.data);
    }
    memcpy(writer->out.data + writer->out.size, data, size);
    writer->out.size += size;
    return (ssize_t)size;
}

/* filter: ARCHIVE_FILTER_NONE, _GZIP, _ZSTD, ... */
__attribute__((unused)) static void tar_begin(struct tar_writer *writer, int filter)
{
    *writer = (struct tar_writer){ .archive = archive_write_new() };
    cr_assert_eq(archive_write_set_format_pax_restricted(writer->archive), ARCHIVE_OK);
    cr_assert_eq(archive_write_add_filter(writer->archive, filter), ARCHIVE_OK);
    archive_write_set_bytes_in_last_block(writer->archive, 1); /* no zeros behind compressed data */
    cr_assert_eq(archive_write_open(writer->archive, writer, NULL, take_bytes, NULL), ARCHIVE_OK);
}

__attribute__((unused)) static void tar_add(struct tar_writer *writer, const char *name,
                                            const void *data, size_t size)
{
    struct archive_entry *entry = archive_entry_new();
    archive_entry_set_pathname(entry, name);
    archive_entry_set_filetype(entry, AE_IFREG);
    archive_entry_set_perm(entry, 0644);
    archive_entry_set_size(entry, (int64_t)size);
    archive_entry_set_mtime(entry, 1700000000, 0);
    cr_assert_eq(archive_write_header(writer->archive, entry), ARCHIVE_OK);
    cr_assert_eq(archive_write_data(writer->archive, data, size), (ssize_t)size);
    archive_entry_free(entry);
}

/* A link: AE_IFLNK, or 0 for a hard link. */
__attribute__((unused)) static void tar_add_link(struct tar_writer *writer, const char *name,
                                                 const char *target, unsigned type)
{
    struct archive_entry *entry = archive_entry_new();
    archive_entry_set_pathname(entry, name);
    archive_entry_set_filetype(entry, type ? type : AE_IFREG);
    archive_entry_set_perm(entry, 0777);
    archive_entry_set_size(entry, 0);
    if (type)
        archive_entry_set_symlink(entry, target);
    else
        archive_entry_set_hardlink(entry, target);
    cr_assert_eq(archive_write_header(writer->archive, entry), ARCHIVE_OK);
    archive_entry_free(entry);
}

__attribute__((unused)) static struct bytes tar_end(struct tar_writer *writer)
{
    cr_assert_eq(archive_write_close(writer->archive), ARCHIVE_OK);
    archive_write_free(writer->archive);
    return writer->out;
}

/* A layer: a tar with one file, whole, compressed by `filter`. *diff_id: of the plain tar. */
__attribute__((unused)) static struct bytes make_layer(const char *name, const char *content,
                                                       int filter, char **diff_id)
{
    struct tar_writer writer;
    struct bytes plain, packed;
    tar_begin(&writer, ARCHIVE_FILTER_NONE);
    tar_add(&writer, name, content, strlen(content));
    plain = tar_end(&writer);
    *diff_id = digest_text(plain.data, plain.size);
    if (filter == ARCHIVE_FILTER_NONE)
        return plain;
    tar_begin(&writer, filter);
    tar_add(&writer, name, content, strlen(content));
    packed = tar_end(&writer);
    bytes_free(&plain);
    return packed;
}

/* Puts a blob into a layout; returns its digest. */
__attribute__((unused)) static char *put_blob(const char *layout, const void *data, size_t size)
{
    char *digest = digest_text(data, size);
    put_file(say("%s/blobs/sha256/%s", layout, digest + 7), data, size);
    return digest;
}

__attribute__((unused)) static char *descriptor(const char *media_type, const char *digest,
                                                size_t size, const char *more)
{
    return say("{\"mediaType\":\"%s\",\"digest\":\"%s\",\"size\":%zu%s}", media_type, digest, size,
               more ? more : "");
}

/* The same of a text put as a blob. */
__attribute__((unused)) static char *put_document(const char *layout, const char *media_type,
                                                  const char *text, const char *more)
{
    return descriptor(media_type, put_blob(layout, text, strlen(text)), strlen(text), more);
}

__attribute__((unused)) static char *ref_name(const char *tag)
{
    return say(",\"annotations\":{\"org.opencontainers.image.ref.name\":\"%s\"}", tag);
}

__attribute__((unused)) static char *platform(const char *os, const char *arch, const char *variant)
{
    return say(",\"platform\":{\"os\":\"%s\",\"architecture\":\"%s\"%s%s%s}", os, arch,
               variant ? ",\"variant\":\"" : "", variant ? variant : "", variant ? "\"" : "");
}

/* Directories, oci-layout, and an index.json with these descriptors. */
__attribute__((unused)) static char *begin_layout(const char *name)
{
    char *dir = say("%s/%s", scratch, name);
    cr_assert_eq(mkdir(dir, 0777), 0);
    cr_assert_eq(mkdir(say("%s/blobs", dir), 0777), 0);
    cr_assert_eq(mkdir(say("%s/blobs/sha256", dir), 0777), 0);
    put_text(say("%s/oci-layout", dir), "{\"imageLayoutVersion\":\"1.0.0\"}");
    return dir;
}

__attribute__((unused)) static void put_index(const char *dir, const char *manifests)
{
    put_text(say("%s/index.json", dir), say("{\"schemaVersion\":2,\"manifests\":%s}", manifests));
}

/* An image of `count` layers; returns its descriptor. `mark` makes the images differ. */
__attribute__((unused)) static char *put_image(const char *dir, const char *mark, size_t count,
                                               int filter, const char *layer_type, const char *more)
{
    char *layers = say("%s", ""), *ids = layers;
    for (size_t i = 0; i < count; i++) {
        char *id;
        struct bytes layer =
            make_layer(say("%s-%zu", mark, i), say("content of %s %zu", mark, i), filter, &id);
        char *digest = put_blob(dir, layer.data, layer.size);
        layers =
            say("%s%s%s", layers, i ? "," : "", descriptor(layer_type, digest, layer.size, NULL));
        ids = say("%s%s\"%s\"", ids, i ? "," : "", id);
        bytes_free(&layer);
    }
    char *config = put_document(
        dir, OCI_CONFIG,
        say("{\"architecture\":\"amd64\",\"os\":\"linux\",\"config\":{\"Env\":[\"M=%s\"]},"
            "\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[%s]}}",
            mark, ids),
        NULL);
    return put_document(dir, OCI_MANIFEST,
                        say("{\"schemaVersion\":2,\"mediaType\":\"" OCI_MANIFEST
                            "\",\"config\":%s,\"layers\":[%s]}",
                            config, layers),
                        more);
}

/* Opens and returns the result; the words are in *err. */
__attribute__((unused)) static int try_open(const char *ref, const char *wanted_platform,
                                            struct sfs_error *err)
{
    AUTO(sfs_image_close) struct sfs_image *image = NULL;
    snprintf(err->text, sizeof err->text, "no words");
    int r = sfs_image_open(ref, wanted_platform, &image, err);
    cr_assert(r == 0 || !image);
    return r;
}

#define assert_says(error, part)                                                                   \
    cr_assert(strstr((error).text, part), "'%s' does not say '%s'", (error).text, part)

#define assert_opens(ref, wanted_platform)                                                         \
    do {                                                                                           \
        struct sfs_error opens_error;                                                              \
        int opens_result = try_open(ref, wanted_platform, &opens_error);                           \
        cr_assert_eq(opens_result, 0, "%s", opens_error.text);                                     \
    } while (0)

#define assert_refuses(ref, wanted_platform, code, part)                                           \
    do {                                                                                           \
        struct sfs_error refuses_error;                                                            \
        int refuses_result = try_open(ref, wanted_platform, &refuses_error);                       \
        cr_assert_eq(refuses_result, -(code), "%d: %s", refuses_result, refuses_error.text);       \
        assert_says(refuses_error, part);                                                          \
    } while (0)

/* "M=mark" of the image that was opened. */
__attribute__((unused)) static char *opened_mark(const char *ref, const char *wanted_platform)
{
    AUTO(sfs_image_close) struct sfs_image *image = NULL;
    struct sfs_error err;
    int r = sfs_image_open(ref, wanted_platform, &image, &err);
    cr_assert_eq(r, 0, "%s", err.text);
    const json_t *env = json_object_get(json_object_get(sfs_image_config(image), "config"), "Env");
    const char *text = json_string_value(json_array_get(env, 0));
    cr_assert(text);
    return say("%s", text + 2);
}

#endif
