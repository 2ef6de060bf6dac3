#include "commit/records.h"

#include "image/document.h"
#include <criterion/criterion.h>
#include <stagefs/auto.h>

static struct sfs_error err;

static struct sfs_layer_record layer_of(uint8_t number)
{
    struct sfs_layer_record layer = { .size = number,
                                      .media_type = "application/vnd.oci.image.layer.v1.tar" };
    memset(&layer.digest, number, sizeof layer.digest);
    memset(&layer.diff_id, number + 16, sizeof layer.diff_id);
    return layer;
}

/* The config of `count` layers, the last of which is new, on a stage's config. The caller frees. */
static char *config_of(const char *stage_text, size_t count, size_t base_count)
{
    AUTO(sfs_json_close) json_t *stage = json_loads(stage_text, 0, NULL);
    AUTO(sfs_json_close) json_t *config = NULL;
    AUTO(sfs_buf_close) struct sfs_buf text = { 0 };
    cr_assert(stage);
    struct sfs_layer_record layers[4] = { layer_of(1), layer_of(2), layer_of(3), layer_of(4) };
    struct sfs_config_record record = { .stage = stage,
                                        .layers = layers,
                                        .layer_count = count,
                                        .base_count = base_count,
                                        .added = count > base_count,
                                        .created = 1700000000,
                                        .created_by = "COPY a b # stagefs" };
    cr_assert_eq(sfs_config_make(&record, &config, &err), 0, "%s", err.text);
    cr_assert_eq(sfs_record_print(config, &text, &err), 0, "%s", err.text);
    return TAKE(text.data);
}

static void expect_history(const char *history, size_t count, size_t base_count,
                           const char *expected)
{
    AUTO(sfs_free) char *stage = NULL;
    cr_assert_gt(asprintf(&stage, "{\"architecture\":\"a\",\"os\":\"o\",\"history\":%s}", history),
                 0);
    AUTO(sfs_free) char *text = config_of(stage, count, base_count);
    AUTO(sfs_json_close) json_t *config = json_loads(text, 0, NULL);
    AUTO(sfs_free)
    char *got = json_dumps(json_object_get(config, "history"), JSON_COMPACT | JSON_SORT_KEYS);
    cr_assert_str_eq(got, expected, "got:\n%s\n", got);
}

#define NEW                                                                                        \
    "{\"comment\":\"stagefs\",\"created\":\"2023-11-14T22:13:20Z\",\"created_by\":\"COPY a b # "   \
    "stagefs\"}"
#define NEW_EMPTY                                                                                  \
    "{\"comment\":\"stagefs\",\"created\":\"2023-11-14T22:13:20Z\",\"created_by\":\"COPY a b # "   \
    "stagefs\",\"empty_layer\":true}"

Test(config, is_this_text)
{
    AUTO(sfs_free)
    char *text = config_of("{\"os\":\"linux\",\"architecture\":\"amd64\",\"config\":{\"Env\":"
                           "[\"A=b\"]},\"docker_version\":\"20\"}",
                           1, 0);
    cr_assert_str_eq(
        text,
        "{\"architecture\":\"amd64\",\"config\":{\"Env\":[\"A=b\"]},\"created\":\"2023-11-14T22:13:"
        "20Z\",\"history\":[" NEW "],\"os\":\"linux\",\"rootfs\":{\"diff_ids\":[\"sha256:"
        "1111111111111111111111111111111111111111111111111111111111111111\"],\"type\":\"layers\"}}",
        "got:\n%s\n", text);
}

Test(config, says_what_machine_it_is_for)
{
    AUTO(sfs_free) char *text = config_of("{}", 1, 0);
    AUTO(sfs_json_close) json_t *config = json_loads(text, 0, NULL);
    cr_assert_str_eq(sfs_document_string(config, "os"), "linux");
    cr_assert_neq(*sfs_document_string(config, "architecture"), 0);
}

Test(config_history, goes_on_the_bases)
{
    expect_history(
        "[{\"created_by\":\"FROM\"},{\"created_by\":\"ENV\",\"empty_layer\":true}]", 2, 1,
        "[{\"created_by\":\"FROM\"},{\"created_by\":\"ENV\",\"empty_layer\":true}," NEW "]");
}

Test(config_history, says_when_no_layer_was_added)
{
    expect_history("[{\"created_by\":\"FROM\"}]", 1, 1,
                   "[{\"created_by\":\"FROM\"}," NEW_EMPTY "]");
}

Test(config_history, tells_of_every_layer_even_if_the_base_did_not)
{
    expect_history("[{\"created_by\":\"one\"}]", 3, 2,
                   "[{\"created_by\":\"(not in the base image's history)\"},"
                   "{\"created_by\":\"one\"}," NEW "]");
}

Test(config_history, tells_of_no_layer_that_is_not_there)
{
    expect_history("[{\"created_by\":\"one\"},{\"created_by\":\"two\"}]", 2, 1,
                   "[{\"created_by\":\"one\",\"empty_layer\":true},{\"created_by\":\"two\"}," NEW
                   "]");
}

Test(config_history, of_a_squashed_image_has_one_layer)
{
    expect_history("[{\"created_by\":\"one\"},{\"created_by\":\"two\"}]", 1, 0,
                   "[{\"created_by\":\"one\",\"empty_layer\":true},"
                   "{\"created_by\":\"two\",\"empty_layer\":true}," NEW "]");
}

Test(manifest, is_this_text)
{
    AUTO(sfs_json_close) json_t *manifest = NULL;
    AUTO(sfs_json_close) json_t *old = json_pack("{ss}", "a.toc", "x");
    AUTO(sfs_buf_close) struct sfs_buf text = { 0 };
    struct sfs_layer_record layers[2] = { layer_of(1), layer_of(2) };
    struct sfs_digest config = { { 0 } };
    layers[0].annotations = old;
    layers[1].compression = "zstd 1";
    const struct sfs_manifest_record record = {
        .layers = layers, .layer_count = 2, .config = config, .config_size = 7
    };
    cr_assert_eq(sfs_manifest_make(&record, &manifest, &err), 0);
    cr_assert_eq(sfs_record_print(manifest, &text, &err), 0);
    cr_assert_str_eq(
        text.data,
        "{\"config\":{\"digest\":\"sha256:"
        "0000000000000000000000000000000000000000000000000000000000000000\",\"mediaType\":"
        "\"application/vnd.oci.image.config.v1+json\",\"size\":7},\"layers\":[{\"annotations\":{"
        "\"a.toc\":\"x\"},\"digest\":\"sha256:"
        "0101010101010101010101010101010101010101010101010101010101010101\",\"mediaType\":"
        "\"application/vnd.oci.image.layer.v1.tar\",\"size\":1},{\"annotations\":{\"io.stagefs."
        "compression\":\"zstd 1\"},\"digest\":\"sha256:"
        "0202020202020202020202020202020202020202020202020202020202020202\",\"mediaType\":"
        "\"application/vnd.oci.image.layer.v1.tar\",\"size\":2}],\"mediaType\":\"application/vnd."
        "oci.image.manifest.v1+json\",\"schemaVersion\":2}",
        "got:\n%s\n", text.data);
}

Test(media_type, of_docker_becomes_that_of_oci)
{
    static const char *const pairs[][2] = {
        { "application/vnd.docker.image.rootfs.diff.tar.gzip",
          "application/vnd.oci.image.layer.v1.tar+gzip" },
        { "application/vnd.docker.image.rootfs.diff.tar",
          "application/vnd.oci.image.layer.v1.tar" },
        { "application/vnd.docker.image.rootfs.diff.tar.zstd",
          "application/vnd.oci.image.layer.v1.tar+zstd" },
        { "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
          "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip" },
        { "application/vnd.oci.image.layer.v1.tar+zstd",
          "application/vnd.oci.image.layer.v1.tar+zstd" },
    };
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++)
        cr_assert_str_eq(sfs_record_media_type(pairs[i][0]), pairs[i][1]);
}

Test(descriptor, names_the_platform)
{
    AUTO(sfs_json_close) json_t *descriptor = NULL;
    AUTO(sfs_json_close)
    json_t *config = json_loads("{\"architecture\":\"arm64\",\"os\":\"linux\",\"variant\":\"v8\","
                                "\"config\":{}}",
                                0, NULL);
    struct sfs_digest digest = { { 0 } };
    cr_assert_eq(sfs_descriptor_make(&digest, 5, config, &descriptor, &err), 0);
    AUTO(sfs_free)
    char *platform =
        json_dumps(json_object_get(descriptor, "platform"), JSON_COMPACT | JSON_SORT_KEYS);
    cr_assert_str_eq(platform, "{\"architecture\":\"arm64\",\"os\":\"linux\",\"variant\":\"v8\"}");
}

Test(config, takes_a_command_line_that_is_no_utf8)
{
    AUTO(sfs_json_close) json_t *stage = json_object();
    AUTO(sfs_json_close) json_t *config = NULL;
    struct sfs_layer_record layer = layer_of(1);
    struct sfs_config_record record = {
        .stage = stage, .layers = &layer, .layer_count = 1, .added = true, .created_by = "COPY \xff"
    };
    cr_assert_eq(sfs_config_make(&record, &config, &err), 0, "%s", err.text);
    const json_t *entry = json_array_get(json_object_get(config, "history"), 0);
    cr_assert_str_eq(sfs_document_string(entry, "created_by"), "COPY ?");
}
