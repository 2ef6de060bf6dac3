#include "image_support.h"

#include "layer/layer.h"
#include <pthread.h>

TestSuite(image, .init = make_scratch, .fini = remove_scratch);
TestSuite(image_platform, .init = make_scratch, .fini = remove_scratch);
TestSuite(image_hostile, .init = make_scratch, .fini = remove_scratch);
TestSuite(image_layers, .init = make_scratch, .fini = remove_scratch);
TestSuite(image_verify, .init = make_scratch, .fini = remove_scratch);

static char *dir; /* the layout */

static char *ref(const char *tag)
{
    return say("oci:%s%s%s", dir, tag ? ":" : "", tag ? tag : "");
}

static void one_image(void)
{
    dir = begin_layout("one");
    put_index(dir, say("[%s]", put_image(dir, "one", 2, ARCHIVE_FILTER_GZIP, OCI_TAR "+gzip",
                                         ref_name("latest"))));
}

Test(image, opens_the_only_image_without_its_tag)
{
    one_image();
    cr_assert_str_eq(opened_mark(ref(NULL), NULL), "one");
    cr_assert_str_eq(opened_mark(ref("latest"), NULL), "one");
}

Test(image, tells_of_its_layers)
{
    AUTO(sfs_image_close) struct sfs_image *image = NULL;
    struct sfs_error err;
    struct sfs_digest digest;
    one_image();
    cr_assert_eq(sfs_image_open(ref(NULL), NULL, &image, &err), 0, "%s", err.text);
    cr_assert_eq(sfs_image_layer_count(image), 2);
    cr_assert_str_eq(sfs_image_ref(image), ref(NULL));
    cr_assert(sfs_image_digest(image, &digest));
    cr_assert(json_is_array(json_object_get(sfs_image_manifest(image), "layers")));
    for (size_t i = 0; i < 2; i++) {
        const struct sfs_image_layer *layer = sfs_image_layer(image, i);
        char *id;
        struct bytes bytes =
            make_layer(say("one-%zu", i), say("content of one %zu", i), ARCHIVE_FILTER_GZIP, &id);
        char text[SFS_DIGEST_TEXT];
        cr_assert(layer->has_digest && layer->has_diff_id);
        cr_assert_str_eq(sfs_digest_print(&layer->diff_id, text), id);
        cr_assert_str_eq(layer->key, digest_text(bytes.data, bytes.size));
        cr_assert_eq(layer->size, bytes.size);
        cr_assert_eq(layer->codec, SFS_CODEC_GZIP);
        cr_assert_str_eq(layer->media_type, OCI_TAR "+gzip");
        bytes_free(&bytes);
    }
}

Test(image, is_found_by_its_tag_among_others)
{
    dir = begin_layout("two");
    put_index(dir, say("[%s,%s]",
                       put_image(dir, "a", 1, ARCHIVE_FILTER_NONE, OCI_TAR, ref_name("first")),
                       put_image(dir, "b", 1, ARCHIVE_FILTER_NONE, OCI_TAR, ref_name("x.io/n:2"))));
    cr_assert_str_eq(opened_mark(ref("first"), NULL), "a");
    cr_assert_str_eq(opened_mark(ref("x.io/n:2"), NULL), "b");
    assert_refuses(ref(NULL), NULL, ENOENT, "there are: first, x.io/n:2");
    assert_refuses(ref("third"), NULL, ENOENT, "no image is named 'third'; there are: first,");
}

Test(image, is_found_by_containerds_name)
{
    dir = begin_layout("containerd");
    put_index(dir, say("[%s,%s]",
                       put_image(dir, "a", 0, ARCHIVE_FILTER_NONE, OCI_TAR,
                                 ",\"annotations\":{\"io.containerd.image.name\":\"docker.io/"
                                 "library/a:latest\",\"org.opencontainers.image.ref.name\":"
                                 "\"latest\"}"),
                       put_image(dir, "b", 0, ARCHIVE_FILTER_NONE, OCI_TAR, ref_name("other"))));
    cr_assert_str_eq(opened_mark(ref("a"), NULL), "a");
    cr_assert_str_eq(opened_mark(ref("docker.io/library/a:latest"), NULL), "a");
}

Test(image, is_found_by_its_digest_also_where_the_index_does_not_name_it)
{
    dir = begin_layout("digest");
    char *named = put_image(dir, "a", 1, ARCHIVE_FILTER_NONE, OCI_TAR, ref_name("a"));
    char *hidden = put_image(dir, "b", 1, ARCHIVE_FILTER_NONE, OCI_TAR, NULL);
    put_index(dir, say("[%s]", named));
    char digest[SFS_DIGEST_TEXT];
    snprintf(digest, sizeof digest, "%.71s", strstr(named, "sha256:"));
    cr_assert_str_eq(opened_mark(say("oci:%s@%s", dir, digest), NULL), "a");
    snprintf(digest, sizeof digest, "%.71s", strstr(hidden, "sha256:"));
    cr_assert_str_eq(opened_mark(say("oci:%s@%s", dir, digest), NULL), "b");
    digest[10] = digest[10] == '0' ? '1' : '0';
    assert_refuses(say("oci:%s@%s", dir, digest), NULL, ENOENT, digest + 7);
}

Test(image, needs_no_tag_if_all_tags_are_one_image)
{
    dir = begin_layout("same");
    put_index(dir,
              say("[%s,%s]", put_image(dir, "a", 1, ARCHIVE_FILTER_NONE, OCI_TAR, ref_name("1")),
                  put_image(dir, "a", 1, ARCHIVE_FILTER_NONE, OCI_TAR, ref_name("latest"))));
    cr_assert_str_eq(opened_mark(ref(NULL), NULL), "a");
}

Test(image, may_have_no_layers_and_go_null_lists)
{
    dir = begin_layout("null");
    char *config = put_document(dir, OCI_CONFIG,
                                "{\"config\":{\"Env\":[\"M=null\"]},\"rootfs\":{\"type\":"
                                "\"layers\",\"diff_ids\":null}}",
                                NULL);
    put_index(dir, say("[%s]", put_document(dir, OCI_MANIFEST,
                                            say("{\"schemaVersion\":2,\"config\":%s,\"layers\":"
                                                "null,\"annotations\":null}",
                                                config),
                                            NULL)));
    cr_assert_str_eq(opened_mark(ref(NULL), NULL), "null");
    put_index(dir, "null");
    assert_refuses(ref(NULL), NULL, ENOENT, "holds no image");
}

Test(image, reads_dockers_media_types)
{
    static const char *const types[] = {
        "application/vnd.docker.image.rootfs.diff.tar.gzip",
        "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
        "application/vnd.docker.image.rootfs.diff.tar",
        "application/vnd.docker.image.rootfs.diff.tar.zstd",
        "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd",
    };
    dir = begin_layout("docker");
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        put_index(dir,
                  say("[%s]", put_image(dir, types[i], 1, ARCHIVE_FILTER_GZIP, types[i], NULL)));
        cr_assert_str_eq(opened_mark(ref(NULL), NULL), types[i]);
    }
    char *config = put_document(dir, "application/vnd.docker.container.image.v1+json",
                                "{\"config\":{\"Env\":[\"M=v2s2\"]},\"rootfs\":{\"type\":"
                                "\"layers\",\"diff_ids\":[]}}",
                                NULL);
    put_index(dir, say("[%s]",
                       put_document(dir, "application/vnd.docker.distribution.manifest.v2+json",
                                    say("{\"schemaVersion\":2,\"mediaType\":\"application/"
                                        "vnd.docker.distribution.manifest.v2+json\",\"config\":%s,"
                                        "\"layers\":[]}",
                                        config),
                                    NULL)));
    cr_assert_str_eq(opened_mark(ref(NULL), NULL), "v2s2");
}

Test(image, of_a_directory_is_one_layer)
{
    AUTO(sfs_image_close) struct sfs_image *image = NULL;
    struct sfs_error err;
    struct sfs_digest digest;
    cr_assert_eq(sfs_image_open(say("dir:%s", scratch), NULL, &image, &err), 0, "%s", err.text);
    cr_assert_eq(sfs_image_layer_count(image), 1);
    cr_assert(sfs_image_layer(image, 0)->is_directory);
    cr_assert_eq(json_object_size(sfs_image_config(image)), 0);
    cr_assert(!sfs_image_manifest(image) && !sfs_image_digest(image, &digest));
    assert_refuses(say("dir:%s/none", scratch), NULL, ENOENT, "none");
    put_text(say("%s/file", scratch), "x");
    assert_refuses(say("dir:%s/file", scratch), NULL, ENOTDIR, "file");
}

Test(image, elsewhere_is_refused_with_the_next_step)
{
    assert_refuses("docker://127.0.0.1:1/Upper", NULL, EINVAL, "lower case");
    assert_refuses("docker-daemon:x:1", NULL, ENOTSUP, "docker save");
    assert_refuses("-", NULL, EINVAL, "standard input is not read");
}

Test(image, says_what_a_wrong_place_is)
{
    one_image();
    assert_refuses("oci:/no/such/dir:x", NULL, ENOENT, "/no/such/dir");
    put_text(say("%s/file", scratch), "x");
    assert_refuses(say("oci:%s/file", scratch), NULL, EINVAL, "oci-archive:");
    assert_refuses(say("oci-archive:%s", dir), NULL, EINVAL, "oci:");
    assert_refuses(say("oci:%s", scratch), NULL, EBADMSG, "no file oci-layout");
    put_text(say("%s/oci-layout", dir), "{\"imageLayoutVersion\":\"2.0.0\"}");
    assert_refuses(ref(NULL), NULL, ENOTSUP, "2.0.0");
}

/* Platforms */

static void many_platforms(void)
{
    dir = begin_layout("platforms");
    char *entries = say(
        "%s,%s,%s,%s",
        put_image(dir, "amd64", 1, ARCHIVE_FILTER_NONE, OCI_TAR, platform("linux", "amd64", NULL)),
        put_image(dir, "armv6", 1, ARCHIVE_FILTER_NONE, OCI_TAR, platform("linux", "arm", "v6")),
        put_image(dir, "armv7", 1, ARCHIVE_FILTER_NONE, OCI_TAR, platform("linux", "arm", "v7")),
        put_image(dir, "attestation", 0, ARCHIVE_FILTER_NONE, OCI_TAR,
                  platform("unknown", "unknown", NULL)));
    char *inner =
        say("{\"schemaVersion\":2,\"mediaType\":\"" OCI_INDEX "\",\"manifests\":[%s]}", entries);
    put_index(dir, say("[%s]", put_document(dir, OCI_INDEX, inner, ref_name("multi"))));
}

Test(image_platform, chooses_in_a_nested_index)
{
    many_platforms();
    cr_assert_str_eq(opened_mark(ref("multi"), "linux/amd64"), "amd64");
    cr_assert_str_eq(opened_mark(ref(NULL), "linux/arm/v7"), "armv7");
    cr_assert_str_eq(opened_mark(ref(NULL), "linux/arm/v6"), "armv6");
    cr_assert_str_eq(opened_mark(ref(NULL), "linux/arm"), "armv7");
}

Test(image_platform, that_is_missing_is_answered_with_those_there_are)
{
    many_platforms();
    assert_refuses(ref(NULL), "linux/s390x", ENOENT,
                   "there are: linux/amd64, linux/arm/v6, linux/arm/v7");
    struct sfs_error err;
    try_open(ref(NULL), "linux/s390x", &err);
    cr_assert(!strstr(err.text, "unknown"), "%s", err.text);
    assert_refuses(ref(NULL), "linux-s390x", EINVAL, "OS/ARCH");
}

Test(image_platform, chooses_in_index_json_itself)
{
    dir = begin_layout("flat");
    put_index(dir, say("[%s,%s]",
                       put_image(dir, "amd64", 1, ARCHIVE_FILTER_NONE, OCI_TAR,
                                 platform("linux", "amd64", NULL)),
                       put_image(dir, "arm64", 1, ARCHIVE_FILTER_NONE, OCI_TAR,
                                 platform("linux", "arm64", "v8"))));
    cr_assert_str_eq(opened_mark(ref(NULL), "linux/arm64"), "arm64");
    cr_assert_str_eq(opened_mark(ref(NULL), "linux/amd64"), "amd64");
    assert_refuses(ref(NULL), "linux/386", ENOENT, "linux/amd64, linux/arm64");
}

Test(image_platform, reads_dockers_manifest_list)
{
    static const char list[] = "application/vnd.docker.distribution.manifest.list.v2+json";
    dir = begin_layout("list");
    char *inner = say(
        "{\"schemaVersion\":2,\"mediaType\":\"%s\",\"manifests\":[%s]}", list,
        put_image(dir, "s390x", 1, ARCHIVE_FILTER_NONE, OCI_TAR, platform("linux", "s390x", NULL)));
    put_index(dir, say("[%s]", put_document(dir, list, inner, NULL)));
    cr_assert_str_eq(opened_mark(ref(NULL), "linux/s390x"), "s390x");
}

/* Hostile documents */

#define FAKE "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static void index_with(const char *digest, const char *size, const char *type)
{
    put_index(dir, say("[{\"mediaType\":\"%s\",\"digest\":%s,\"size\":%s}]", type, digest, size));
}

Test(image_hostile, digest_cannot_leave_the_directory)
{
    dir = begin_layout("escape");
    put_text(say("%s/secret", scratch), "{\"schemaVersion\":2}");
    index_with("\"sha256:../../../secret\"", "19", OCI_MANIFEST);
    assert_refuses(ref(NULL), NULL, EBADMSG, "not a digest");
    index_with("\"../../secret\"", "19", OCI_MANIFEST);
    assert_refuses(ref(NULL), NULL, EBADMSG, "not a digest");
    index_with("\"sha256:0123456789ABCDEF0123456789abcdef0123456789abcdef0123456789abcdef\"", "19",
               OCI_MANIFEST);
    assert_refuses(ref(NULL), NULL, EBADMSG, "lower-case");
    index_with("\"sha512:0123\"", "19", OCI_MANIFEST);
    assert_refuses(ref(NULL), NULL, ENOTSUP, "sha256");
}

Test(image_hostile, sizes_are_checked)
{
    dir = begin_layout("sizes");
    index_with("\"" FAKE "\"", "-1", OCI_MANIFEST);
    assert_refuses(ref(NULL), NULL, EBADMSG, "size");
    index_with("\"" FAKE "\"", "1.5", OCI_MANIFEST);
    assert_refuses(ref(NULL), NULL, EBADMSG, "size");
    index_with("\"" FAKE "\"", "\"12\"", OCI_MANIFEST);
    assert_refuses(ref(NULL), NULL, EBADMSG, "size");
    index_with("\"" FAKE "\"", "99999999999999999999", OCI_MANIFEST);
    assert_refuses(ref(NULL), NULL, EBADMSG, "size");
    index_with("\"" FAKE "\"", "9223372036854775807", OCI_MANIFEST);
    assert_refuses(ref(NULL), NULL, E2BIG, FAKE);
}

Test(image_hostile, fields_of_wrong_types_are_named)
{
    static const struct {
        const char *index, *says;
    } cases[] = {
        { "[]", "not a JSON object" },
        { "{\"schemaVersion\":2,\"manifests\":{}}", "not an array" },
        { "{\"schemaVersion\":2,\"manifests\":[7]}", "no descriptor" },
        { "{\"schemaVersion\":2,\"manifests\":[{}]}", "no digest" },
        { "{\"schemaVersion\":2,\"manifests\":[{\"digest\":\"" FAKE "\",\"size\":1}]}",
          "no mediaType" },
        { "{\"schemaVersion\":2,\"manifests\":[{\"digest\":5,\"mediaType\":\"x\",\"size\":1}]}",
          "no digest" },
        { "{\"manifests\":[{\"digest\":\"" FAKE "\",\"mediaType\":\"x\",\"size\":1,"
          "\"annotations\":[]}]}",
          "annotations" },
        { "{\"manifests\":", "not JSON" },
        { "", "not JSON" },
        { "{\"manifests\":[1e9]}", "no descriptor" },
    };
    dir = begin_layout("types");
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        put_text(say("%s/index.json", dir), cases[i].index);
        assert_refuses(ref(NULL), NULL, EBADMSG, cases[i].says);
    }
}

Test(image_hostile, json_is_capped_in_depth_size_and_values)
{
    dir = begin_layout("deep");
    size_t size = 4u << 20;
    char *text = malloc(size + 1);
    cr_assert(text);
    memset(text, '[', 100000);
    text[100000] = 0;
    put_text(say("%s/index.json", dir), text);
    assert_refuses(ref(NULL), NULL, EBADMSG, "not JSON");
    for (size_t i = 0; i + 3 <= size; i += 3)
        memcpy(text + i, "{},", 3);
    text[0] = '[';
    put_file(say("%s/index.json", dir), text, size);
    assert_refuses(ref(NULL), NULL, E2BIG, "values");
    free(text);
    cr_assert_eq(truncate(say("%s/index.json", dir), 65 << 20), 0);
    assert_refuses(ref(NULL), NULL, E2BIG, "bytes");
}

Test(image_hostile, documents_that_do_not_match_their_digest_are_refused)
{
    one_image();
    AUTO(bytes_free) struct bytes index = get_file(say("%s/index.json", dir));
    char *manifest = say("%s/blobs/sha256/%.64s", dir, strstr(index.data, "sha256:") + 7);
    AUTO(bytes_free) struct bytes bytes = get_file(manifest);
    char *config = say("%s/blobs/sha256/%.64s", dir, strstr(bytes.data, "sha256:") + 7);

    put_file(config, "", 0);
    assert_refuses(ref(NULL), NULL, EKEYREJECTED, "truncated");
    cr_assert_eq(unlink(config), 0);
    assert_refuses(ref(NULL), NULL, ENOENT, config);

    bytes.data[bytes.size - 2] = ' ';
    put_file(manifest, bytes.data, bytes.size);
    assert_refuses(ref(NULL), NULL, EKEYREJECTED, "does not match its digest");
    put_file(manifest, bytes.data, bytes.size - 1);
    assert_refuses(ref(NULL), NULL, EKEYREJECTED, "truncated");
    put_file(manifest, say("%s ", bytes.data), bytes.size + 1);
    assert_refuses(ref(NULL), NULL, EKEYREJECTED, "too long");
    cr_assert_eq(unlink(manifest), 0);
    assert_refuses(ref(NULL), NULL, ENOENT, manifest);
    cr_assert_eq(mkfifo(manifest, 0666), 0);
    assert_refuses(ref(NULL), NULL, EBADMSG, "not a regular file");
}

static void manifest_with(const char *config_type, const char *config, const char *layers)
{
    put_index(dir,
              say("[%s]", put_document(dir, OCI_MANIFEST,
                                       say("{\"schemaVersion\":2,\"config\":%s,\"layers\":%s}",
                                           put_document(dir, config_type, config, NULL), layers),
                                       NULL)));
}

#define ROOTFS(ids) "{\"rootfs\":{\"type\":\"layers\",\"diff_ids\":" ids "}}"

Test(image_hostile, diff_ids_must_be_one_a_layer)
{
    dir = begin_layout("ids");
    char *layers = say("[%s]", descriptor(OCI_TAR, FAKE, 5, NULL));
    manifest_with(OCI_CONFIG, ROOTFS("[]"), layers);
    assert_refuses(ref(NULL), NULL, EBADMSG, "0 diff_ids for 1 layer");
    manifest_with(OCI_CONFIG, ROOTFS("[1]"), layers);
    assert_refuses(ref(NULL), NULL, EBADMSG, "not a string");
    manifest_with(OCI_CONFIG, ROOTFS("[\"sha256:x\"]"), layers);
    assert_refuses(ref(NULL), NULL, EBADMSG, "diff_id 0");
    manifest_with(OCI_CONFIG, ROOTFS("7"), layers);
    assert_refuses(ref(NULL), NULL, EBADMSG, "not an array");
    manifest_with(OCI_CONFIG, "{}", layers);
    assert_refuses(ref(NULL), NULL, EBADMSG, "rootfs");
    manifest_with(OCI_CONFIG, "[]", layers);
    assert_refuses(ref(NULL), NULL, EBADMSG, "not a JSON object");
    manifest_with(OCI_CONFIG, ROOTFS("[\"" FAKE "\"]"), layers);
    assert_opens(ref(NULL), NULL);
}

Test(image_hostile, unknown_media_types_are_named)
{
    dir = begin_layout("media");
    manifest_with(OCI_CONFIG, ROOTFS("[\"" FAKE "\"]"),
                  say("[%s]", descriptor(OCI_TAR "+lz4", FAKE, 5, NULL)));
    assert_refuses(ref(NULL), NULL, ENOTSUP, "layer 0: media type " OCI_TAR "+lz4");
    manifest_with(OCI_CONFIG, ROOTFS("[\"" FAKE "\"]"),
                  say("[%s]", descriptor(OCI_TAR "+gzip+encrypted", FAKE, 5, NULL)));
    assert_refuses(ref(NULL), NULL, ENOTSUP, "encrypted");
    manifest_with("application/vnd.cncf.helm.config.v1+json", "{}", "[]");
    assert_refuses(ref(NULL), NULL, ENOTSUP, "helm");
    index_with("\"" FAKE "\"", "5", "application/vnd.docker.distribution.manifest.v1+prettyjws");
    assert_refuses(ref(NULL), NULL, ENOTSUP, "schema 1");
    index_with("\"" FAKE "\"", "5", "text/plain");
    assert_refuses(ref(NULL), NULL, ENOTSUP, "text/plain");
}

Test(image_hostile, document_cannot_be_manifest_and_index_at_once)
{
    dir = begin_layout("both");
    char *config = put_document(dir, OCI_CONFIG, ROOTFS("[]"), NULL);
    char *text = say("{\"schemaVersion\":2,\"config\":%s,\"layers\":[],\"manifests\":[]}", config);
    put_index(dir, say("[%s]", put_document(dir, OCI_MANIFEST, text, NULL)));
    assert_refuses(ref(NULL), NULL, EBADMSG, "index as well");
    put_index(dir, say("[%s]", put_document(dir, OCI_INDEX, text, NULL)));
    assert_refuses(ref(NULL), NULL, EBADMSG, "manifest as well");
    text = say("{\"schemaVersion\":2,\"mediaType\":\"" OCI_INDEX "\",\"config\":%s,\"layers\":[]}",
               config);
    put_index(dir, say("[%s]", put_document(dir, OCI_MANIFEST, text, NULL)));
    assert_refuses(ref(NULL), NULL, EBADMSG, "its descriptor says");
    put_index(dir, say("[%s]", put_document(dir, OCI_MANIFEST, "{\"schemaVersion\":1}", NULL)));
    assert_refuses(ref(NULL), NULL, ENOTSUP, "schema 1");
}

Test(image_hostile, nesting_has_an_end)
{
    dir = begin_layout("nested");
    char *entry = put_image(dir, "deep", 1, ARCHIVE_FILTER_NONE, OCI_TAR, NULL);
    for (int depth = 1; depth <= 8; depth++)
        entry = put_document(dir, OCI_INDEX, say("{\"schemaVersion\":2,\"manifests\":[%s]}", entry),
                             NULL);
    put_index(dir, say("[%s]", entry));
    cr_assert_str_eq(opened_mark(ref(NULL), NULL), "deep");
    entry =
        put_document(dir, OCI_INDEX, say("{\"schemaVersion\":2,\"manifests\":[%s]}", entry), NULL);
    put_index(dir, say("[%s]", entry));
    assert_refuses(ref(NULL), NULL, E2BIG, "nested");
}

Test(image_hostile, layers_are_capped_in_number)
{
    dir = begin_layout("many");
    char *layer = descriptor(OCI_TAR, FAKE, 5, NULL);
    size_t size = strlen(layer) + 1;
    char *layers = malloc(1025 * size + 2);
    cr_assert(layers);
    layers[0] = '[';
    for (size_t i = 0; i < 1025; i++)
        snprintf(layers + 1 + i * size, size + 1, "%s%c", layer, i < 1024 ? ',' : ']');
    manifest_with(OCI_CONFIG, ROOTFS("[]"), layers);
    free(layers);
    assert_refuses(ref(NULL), NULL, E2BIG, "1025 layers");
}

/* Every prefix, and every byte of index.json changed: an error or an image, never a crash. */
Test(image_hostile, damaged_index_is_survived)
{
    one_image();
    AUTO(bytes_free) struct bytes index = get_file(say("%s/index.json", dir));
    char *path = say("%s/index.json", dir), *name = ref(NULL);
    struct sfs_error err;
    for (size_t size = 0; size < index.size; size++) {
        put_file(path, index.data, size);
        cr_assert_lt(try_open(name, NULL, &err), 0);
    }
    for (size_t i = 0; i < index.size; i++) {
        char kept = index.data[i];
        index.data[i] = (char)(kept ^ 1);
        put_file(path, index.data, index.size);
        cr_assert_leq(try_open(name, NULL, &err), 0);
        index.data[i] = kept;
    }
}

/* The same for documents that have the right digest, as anybody can make them. */
Test(image_hostile, nonsense_with_the_right_digest_is_survived)
{
    one_image();
    struct sfs_error err;
    AUTO(bytes_free) struct bytes index = get_file(say("%s/index.json", dir));
    char *path = say("%s/blobs/sha256/%.64s", dir, strstr(index.data, "sha256:") + 7);
    AUTO(bytes_free) struct bytes manifest = get_file(path);
    char *name = ref(NULL);
    size_t opened = 0;
    for (size_t i = 0; i < manifest.size; i++) {
        char kept = manifest.data[i];
        manifest.data[i] = (char)(kept ^ 1);
        put_index(dir, say("[%s]", put_document(dir, OCI_MANIFEST, manifest.data, NULL)));
        int r = try_open(name, NULL, &err);
        cr_assert_leq(r, 0);
        opened += r == 0;
        manifest.data[i] = kept;
    }
    cr_assert_gt(opened, 0); /* a layer's digest may be anything */
}

/* Layers */

static struct sfs_store *store;

static void open_store(void)
{
    struct sfs_error err;
    cr_assert_eq(sfs_store_open(say("%s/cache", scratch), &store, &err), 0, "%s", err.text);
}

static int open_layers(const char *name, struct sfs_error *err)
{
    AUTO(sfs_image_close) struct sfs_image *image = NULL;
    struct sfs_layer **layers = NULL;
    cr_assert_eq(sfs_image_open(name, NULL, &image, err), 0, "%s", err->text);
    size_t count = sfs_image_layer_count(image);
    int r = sfs_image_open_layers(image, store, NULL, NULL, &layers, err);
    if (r == 0) {
        for (size_t i = 0; i < count; i++)
            cr_assert(layers[i] && layers[i]->tables.entry_count > 0);
        sfs_image_close_layers(&layers, count);
    }
    cr_assert_null(layers);
    sfs_store_close(&store);
    return r;
}

Test(image_layers, open_in_order_whatever_their_codec)
{
    static const struct {
        int filter;
        const char *type;
    } cases[] = {
        { ARCHIVE_FILTER_NONE, OCI_TAR },
        { ARCHIVE_FILTER_GZIP, OCI_TAR "+gzip" },
        { ARCHIVE_FILTER_ZSTD, OCI_TAR "+zstd" },
    };
    dir = begin_layout("codecs");
    open_store();
    for (size_t c = 0; c < sizeof cases / sizeof cases[0]; c++) {
        AUTO(sfs_image_close) struct sfs_image *image = NULL;
        struct sfs_layer **layers = NULL;
        struct sfs_error err;
        put_index(dir, say("[%s]", put_image(dir, say("codec%zu", c), 12, cases[c].filter,
                                             cases[c].type, NULL)));
        cr_assert_eq(sfs_image_open(ref(NULL), NULL, &image, &err), 0, "%s", err.text);
        cr_assert_eq(sfs_image_open_layers(image, store, NULL, NULL, &layers, &err), 0, "%s",
                     err.text);
        for (size_t i = 0; i < 12; i++) {
            sfs_entry entry;
            char *name = say("codec%zu-%zu", c, i);
            cr_assert_eq(sfs_tables_find(&layers[i]->tables, 0, name, strlen(name), &entry), 0);
            cr_assert(strncmp(layers[i]->label, say("layer %zu (sha256:", i), 15) == 0, "%s",
                      layers[i]->label);
        }
        sfs_image_close_layers(&layers, 12);
    }
    sfs_store_close(&store);
}

Test(image_layers, may_be_the_same_twice)
{
    struct sfs_error err;
    dir = begin_layout("twice");
    char *id;
    AUTO(bytes_free) struct bytes layer = make_layer("f", "x", ARCHIVE_FILTER_GZIP, &id);
    char *entry =
        descriptor(OCI_TAR "+gzip", put_blob(dir, layer.data, layer.size), layer.size, NULL);
    manifest_with(OCI_CONFIG, say("{\"rootfs\":{\"diff_ids\":[\"%s\",\"%s\",\"%s\"]}}", id, id, id),
                  say("[%s,%s,%s]", entry, entry, entry));
    open_store();
    cr_assert_eq(open_layers(ref(NULL), &err), 0, "%s", err.text);
}

static void warned(void *user, const char *text)
{
    char **kept = user;
    *kept = say("%s", text);
}

Test(image_layers, are_what_their_bytes_say_if_the_media_type_is_wrong)
{
    AUTO(sfs_image_close) struct sfs_image *image = NULL;
    struct sfs_layer **layers = NULL;
    struct sfs_error err;
    char *warning = NULL;
    struct sfs_progress progress = { .warn = warned, .user = &warning };
    dir = begin_layout("wrong");
    put_index(dir, say("[%s]", put_image(dir, "w", 1, ARCHIVE_FILTER_ZSTD, OCI_TAR "+gzip", NULL)));
    open_store();
    cr_assert_eq(sfs_image_open(ref(NULL), NULL, &image, &err), 0, "%s", err.text);
    cr_assert_eq(sfs_image_open_layers(image, store, NULL, &progress, &layers, &err), 0, "%s",
                 err.text);
    cr_assert(warning && strstr(warning, "bytes are zstd"));
    sfs_image_close_layers(&layers, 1);
    sfs_store_close(&store);
}

static char *layer_path(size_t i)
{
    AUTO(sfs_image_close) struct sfs_image *image = NULL;
    struct sfs_error err;
    cr_assert_eq(sfs_image_open(ref(NULL), NULL, &image, &err), 0, "%s", err.text);
    return say("%s/blobs/sha256/%s", dir, sfs_image_layer(image, i)->key + 7);
}

Test(image_layers, that_are_missing_or_cut_off_are_named)
{
    struct sfs_error err;
    one_image();
    char *path = layer_path(1);
    AUTO(bytes_free) struct bytes bytes = get_file(path);
    put_file(path, bytes.data, bytes.size - 1);
    open_store();
    cr_assert_eq(open_layers(ref(NULL), &err), -EKEYREJECTED, "%s", err.text);
    assert_says(err, "layer 1 (sha256:");
    assert_says(err, "truncated");
    cr_assert_eq(unlink(path), 0);
    open_store();
    cr_assert_eq(open_layers(ref(NULL), &err), -ENOENT, "%s", err.text);
    assert_says(err, "layer 1 (sha256:");
    assert_says(err, path);
}

Test(image_layers, that_do_not_match_their_digest_are_refused_and_not_kept)
{
    struct sfs_error err;
    one_image();
    char *path = layer_path(0);
    AUTO(bytes_free) struct bytes bytes = get_file(path);
    bytes.data[bytes.size - 1] ^= 1;
    put_file(path, bytes.data, bytes.size);
    for (int again = 0; again < 2; again++) {
        open_store();
        cr_assert_eq(open_layers(ref(NULL), &err), -EKEYREJECTED, "%s", err.text);
        assert_says(err, "layer 0 (sha256:");
    }
}

Test(image_layers, that_are_no_tar_are_named_once)
{
    struct sfs_error err;
    char rubbish[2048];
    memset(rubbish, 'r', sizeof rubbish);
    dir = begin_layout("rubbish");
    char *digest = put_blob(dir, rubbish, sizeof rubbish);
    manifest_with(OCI_CONFIG, say("{\"rootfs\":{\"diff_ids\":[\"%s\"]}}", digest),
                  say("[%s]", descriptor(OCI_TAR, digest, sizeof rubbish, NULL)));
    open_store();
    cr_assert_eq(open_layers(ref(NULL), &err), -EBADMSG, "%s", err.text);
    const char *label = strstr(err.text, "layer 0 (sha256:");
    cr_assert(label && !strstr(label + 1, "layer 0"), "%s", err.text);
}

Test(image_layers, of_a_directory_open_too)
{
    struct sfs_error err;
    cr_assert_eq(mkdir(say("%s/tree", scratch), 0777), 0);
    put_text(say("%s/tree/file", scratch), "x");
    open_store();
    cr_assert_eq(open_layers(say("dir:%s/tree", scratch), &err), 0, "%s", err.text);
}

/* Verify */

struct seen {
    char *what[16];
    bool holds[16];
    size_t count;
};

static void see(void *user, const struct sfs_verified *verified)
{
    struct seen *seen = user;
    cr_assert_lt(seen->count, 16);
    seen->what[seen->count] = say("%s", verified->what);
    seen->holds[seen->count++] = verified->holds;
}

static int verify(struct seen *seen, struct sfs_error *err)
{
    AUTO(sfs_image_close) struct sfs_image *image = NULL;
    cr_assert_eq(sfs_image_open(ref(NULL), NULL, &image, err), 0, "%s", err->text);
    return sfs_image_verify(image, NULL, see, seen, err);
}

Test(image_verify, reports_every_digest_in_order)
{
    static const char *const order[] = { "manifest",  "config",  "layer 0",
                                         "diff_id 0", "layer 1", "diff_id 1" };
    struct seen seen = { 0 };
    struct sfs_error err;
    one_image();
    cr_assert_eq(verify(&seen, &err), 0, "%s", err.text);
    cr_assert_eq(seen.count, 6);
    for (size_t i = 0; i < 6; i++) {
        cr_assert_str_eq(seen.what[i], order[i]);
        cr_assert(seen.holds[i]);
    }
}

Test(image_verify, finds_a_changed_byte)
{
    struct seen seen = { 0 };
    struct sfs_error err;
    one_image();
    char *path = layer_path(1);
    AUTO(bytes_free) struct bytes bytes = get_file(path);
    bytes.data[bytes.size / 2] ^= 1;
    put_file(path, bytes.data, bytes.size);
    cr_assert_eq(verify(&seen, &err), -EKEYREJECTED, "%s", err.text);
    assert_says(err, "layer 1 does not hold");
    cr_assert_eq(seen.count, 6);
    cr_assert(seen.holds[2] && seen.holds[3]);
    cr_assert(!seen.holds[4] && !seen.holds[5]);
}

Test(image_verify, finds_a_wrong_diff_id)
{
    struct seen seen = { 0 };
    struct sfs_error err;
    dir = begin_layout("ids");
    char *id;
    AUTO(bytes_free) struct bytes layer = make_layer("f", "x", ARCHIVE_FILTER_GZIP, &id);
    manifest_with(OCI_CONFIG, ROOTFS("[\"" FAKE "\"]"),
                  say("[%s]", descriptor(OCI_TAR "+gzip", put_blob(dir, layer.data, layer.size),
                                         layer.size, NULL)));
    cr_assert_eq(verify(&seen, &err), -EKEYREJECTED, "%s", err.text);
    assert_says(err, "diff_id 0 does not hold");
    assert_says(err, id);
    cr_assert(seen.holds[2] && !seen.holds[3]);
}

Test(image_verify, names_a_layer_that_is_not_there)
{
    struct seen seen = { 0 };
    struct sfs_error err;
    one_image();
    char *path = layer_path(0);
    cr_assert_eq(unlink(path), 0);
    cr_assert_eq(verify(&seen, &err), -ENOENT, "%s", err.text);
    assert_says(err, path);
    cr_assert_eq(seen.count, 4); /* the other layer was still looked at */
}
