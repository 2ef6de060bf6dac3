#include "image_support.h"

#include "image/members.h"
#include "tar_bytes.h"
#include <sys/wait.h>

TestSuite(archive, .init = make_scratch, .fini = remove_scratch);
TestSuite(docker_archive, .init = make_scratch, .fini = remove_scratch);
TestSuite(archive_others, .init = make_scratch, .fini = remove_scratch, .timeout = 600);

static struct tar_writer tar;

static char *finish_tar(const char *name)
{
    char *path = say("%s/%s", scratch, name);
    AUTO(bytes_free) struct bytes bytes = tar_end(&tar);
    put_file(path, bytes.data, bytes.size);
    return path;
}

static void add_text(const char *name, const char *text)
{
    tar_add(&tar, name, text, strlen(text));
}

/* The files of a layout, each name with `prefix` in front. */
static void add_layout(const char *dir, const char *prefix)
{
    static const char *const documents[] = { "index.json", "oci-layout" };
    FILE *list = popen(say("cd '%s' && find blobs -type f | sort -r", dir), "r");
    char line[256];
    cr_assert(list);
    while (fgets(line, sizeof line, list)) {
        line[strcspn(line, "\n")] = 0;
        AUTO(bytes_free) struct bytes bytes = get_file(say("%s/%s", dir, line));
        tar_add(&tar, say("%s%s", prefix, line), bytes.data, bytes.size);
    }
    pclose(list);
    for (size_t i = 0; i < 2; i++) {
        AUTO(bytes_free) struct bytes bytes = get_file(say("%s/%s", dir, documents[i]));
        tar_add(&tar, say("%s%s", prefix, documents[i]), bytes.data, bytes.size);
    }
}

static char *one_layout(void)
{
    char *dir = begin_layout("layout");
    put_index(dir, say("[%s]", put_image(dir, "one", 2, ARCHIVE_FILTER_GZIP, OCI_TAR "+gzip",
                                         ref_name("v1"))));
    return dir;
}

static char *layout_archive(const char *prefix)
{
    char *dir = one_layout();
    tar_begin(&tar, ARCHIVE_FILTER_NONE);
    add_layout(dir, prefix);
    return finish_tar("layout.tar");
}

static char *docker_archive(void);

/* Each layer's stored bytes must be exactly the member's. */
static void assert_layers_readable(const char *ref)
{
    AUTO(sfs_image_close) struct sfs_image *image = NULL;
    struct sfs_error err;
    cr_assert_eq(sfs_image_open(ref, NULL, &image, &err), 0, "%s", err.text);
    cr_assert_gt(sfs_image_layer_count(image), 0);
    cr_assert_eq(sfs_image_verify(image, NULL, NULL, NULL, &err), 0, "%s", err.text);
}

Test(archive, of_a_layout_opens_as_the_layout)
{
    char *path = layout_archive("");
    cr_assert_str_eq(opened_mark(say("oci-archive:%s", path), NULL), "one");
    cr_assert_str_eq(opened_mark(say("oci-archive:%s:v1", path), NULL), "one");
    assert_layers_readable(say("oci-archive:%s", path));
    assert_refuses(say("oci-archive:%s:v2", path), NULL, ENOENT, "there are: v1");
}

Test(archive, may_have_dot_slash_names)
{
    char *path = layout_archive("./");
    assert_layers_readable(say("oci-archive:%s", path));
}

Test(archive, may_have_long_names_and_headers_of_all_kinds)
{
    char *dir = one_layout();
    char name[400];
    memset(name, 'n', sizeof name - 1);
    name[sizeof name - 1] = 0;
    tar_begin(&tar, ARCHIVE_FILTER_NONE);
    tar_add(&tar, name, "x", 1);
    add_layout(dir, "");
    char *path = finish_tar("long.tar");
    assert_layers_readable(say("oci-archive:%s", path));
    put_text(say("%s/\xff\xfe not UTF-8", dir), "x");
    cr_assert_eq(system(say("cd '%s' && tar --format=gnu -cf ../gnu.tar * && "
                            "tar --format=v7 -cf ../v7.tar * && "
                            "tar --format=posix -cf ../posix.tar .",
                            dir)),
                 0);
    assert_layers_readable(say("oci-archive:%s/gnu.tar", scratch));
    assert_layers_readable(say("oci-archive:%s/v7.tar", scratch));
    assert_layers_readable(say("oci-archive:%s/posix.tar", scratch));
}

Test(archive, compressed_as_a_whole_is_refused_with_the_next_step)
{
    static const int filters[] = { ARCHIVE_FILTER_GZIP, ARCHIVE_FILTER_ZSTD, ARCHIVE_FILTER_XZ,
                                   ARCHIVE_FILTER_BZIP2 };
    static const char *const tools[] = { "gunzip <", "unzstd <", "unxz <", "bunzip2 <" };
    for (size_t i = 0; i < 4; i++) {
        tar_begin(&tar, filters[i]);
        add_text("oci-layout", "{}");
        char *path = finish_tar("whole.tar");
        assert_refuses(say("oci-archive:%s", path), NULL, ENOTSUP, tools[i]);
        assert_refuses(say("docker-archive:%s", path), NULL, ENOTSUP, tools[i]);
    }
}

Test(archive, that_is_no_tar_is_said_to_be_none)
{
    char *path = say("%s/file", scratch);
    put_text(path, "this is no tar");
    assert_refuses(say("oci-archive:%s", path), NULL, EBADMSG, "not a tar");
    put_text(path, "");
    assert_refuses(say("oci-archive:%s", path), NULL, EBADMSG, "empty");
    assert_refuses(say("oci-archive:%s/none", scratch), NULL, ENOENT, "none");
    tar_begin(&tar, ARCHIVE_FILTER_NONE);
    add_text("etc/passwd", "x");
    path = finish_tar("rootfs.tar");
    assert_refuses(say("oci-archive:%s", path), NULL, EBADMSG, "no file oci-layout");
    assert_refuses(say("docker-archive:%s", path), NULL, EBADMSG, "docker save");
}

/* Whatever the length it was cut to, the archive is refused and named, or is still whole. */
Test(archive, cut_off_is_found_at_every_length)
{
    char *path = layout_archive("");
    AUTO(bytes_free) struct bytes bytes = get_file(path);
    char *ref = say("oci-archive:%s", path);
    struct sfs_error err;
    size_t opened = 0;
    for (size_t size = bytes.size; size > 0; size -= size % 512 ? size % 512 : 37) {
        cr_assert_eq(truncate(path, (off_t)size), 0);
        int r = try_open(ref, NULL, &err);
        opened += r == 0;
        cr_assert(r == 0 || r == -EBADMSG, "%zu: %d %s", size, r, err.text);
        if (r < 0)
            assert_says(err, path);
    }
    cr_assert_gt(opened, 0); /* the padding at the end may go */
}

/* Any byte of any header may be anything. */
Test(archive, damaged_anywhere_is_survived)
{
    char *path = docker_archive(), *ref = say("docker-archive:%s:debian:12", path);
    AUTO(bytes_free) struct bytes bytes = get_file(path);
    struct sfs_error err;
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    cr_assert_geq(fd, 0);
    for (size_t i = 0; i < bytes.size; i++) {
        char changed = (char)(bytes.data[i] ^ (i % 2 ? 0x80 : 0x01));
        cr_assert_eq(pwrite(fd, &changed, 1, (off_t)i), 1);
        cr_assert_leq(try_open(ref, NULL, &err), 0);
        cr_assert_eq(pwrite(fd, &bytes.data[i], 1, (off_t)i), 1);
    }
    close(fd);
    assert_opens(ref, NULL);
}

Test(archive, takes_the_last_of_two_members_of_one_name)
{
    AUTO(sfs_members_close) struct sfs_members *members = NULL;
    AUTO(sfs_blob_close) struct sfs_blob *blob = NULL;
    struct sfs_error err;
    char buf[8] = { 0 };
    tar_begin(&tar, ARCHIVE_FILTER_NONE);
    add_text("a", "old");
    add_text("b", "other");
    add_text("./a", "newer");
    cr_assert_eq(sfs_members_open_tar(finish_tar("twice.tar"), &members, &err), 0, "%s", err.text);
    cr_assert_eq(sfs_members_open(members, "a", &blob, &err), 0, "%s", err.text);
    cr_assert_eq(sfs_blob_read_at(blob, buf, sizeof buf, 0, &err), 5);
    cr_assert_str_eq(buf, "newer");
}

Test(archive, follows_links_but_not_out_of_itself)
{
    AUTO(sfs_members_close) struct sfs_members *members = NULL;
    struct sfs_error err;
    put_text(say("%s/secret", scratch), "secret");
    tar_begin(&tar, ARCHIVE_FILTER_NONE);
    add_text("a/file", "x");
    tar_add_link(&tar, "b/up", "../a/file", AE_IFLNK);
    tar_add_link(&tar, "b/again", "up", AE_IFLNK);
    tar_add_link(&tar, "b/root", "/a/file", AE_IFLNK);
    tar_add_link(&tar, "b/hard", "a/file", 0);
    tar_add_link(&tar, "b/out", "../../secret", AE_IFLNK);
    tar_add_link(&tar, "b/abs", say("%s/secret", scratch), AE_IFLNK);
    tar_add_link(&tar, "b/loop", "loop", AE_IFLNK);
    tar_add_link(&tar, "b/dir", "..", AE_IFLNK);
    cr_assert_eq(sfs_members_open_tar(finish_tar("links.tar"), &members, &err), 0, "%s", err.text);
    cr_assert(sfs_members_has(members, "b/up"));
    cr_assert(sfs_members_has(members, "./b//again"));
    cr_assert(sfs_members_has(members, "b/root"));
    cr_assert(sfs_members_has(members, "b/hard"));
    static const char *const bad[] = { "b/out", "b/abs", "b/loop", "b/dir", "../secret",
                                       "a",     "",      "..",     "/",     "a/file/x" };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        cr_assert(!sfs_members_has(members, bad[i]), "%s", bad[i]);
}

Test(archive, sparse_members_are_refused)
{
    char *file = say("%s/sparse", scratch);
    put_text(file, "begin");
    cr_assert_eq(truncate(file, 1 << 20), 0);
    FILE *stream = fopen(file, "r+e");
    cr_assert(stream && fseek(stream, 1 << 19, SEEK_SET) == 0 && fputs("middle", stream) >= 0);
    fclose(stream);
    for (int posix = 0; posix < 2; posix++) {
        AUTO(sfs_members_close) struct sfs_members *members = NULL;
        AUTO(sfs_blob_close) struct sfs_blob *blob = NULL;
        struct sfs_error err;
        cr_assert_eq(system(say("cd '%s' && tar --sparse --format=%s -cf s.tar sparse", scratch,
                                posix ? "posix" : "gnu")),
                     0);
        cr_assert_eq(sfs_members_open_tar(say("%s/s.tar", scratch), &members, &err), 0, "%s",
                     err.text);
        cr_assert_eq(sfs_members_open(members, "sparse", &blob, &err), -ENOTSUP, "%s", err.text);
        assert_says(err, "sparse");
    }
}

/* What one reader of tars shows and another one does not cannot hide in an archive. */
Test(archive, headers_are_judged_as_those_of_layers)
{
    static const char zeros[1024];
    AUTO(sfs_members_close) struct sfs_members *members = NULL;
    AUTO(sfs_buf_close) struct sfs_buf bytes = { 0 };
    struct sfs_error err;
    char *path = say("%s/odd.tar", scratch);
    struct tar_header link = tar_bytes_header("l", '2', 512); /* a link has no bytes */
    tar_bytes_text(link.link, sizeof link.link, "f");
    tar_bytes_put(&bytes, link, "", 0);
    tar_bytes_file(&bytes, "f", "x");
    put_file(path, bytes.data, bytes.size);
    cr_assert_eq(sfs_members_open_tar(path, &members, &err), 0, "%s", err.text);
    cr_expect(sfs_members_has(members, "f") && sfs_members_has(members, "l"));

    size_t size = bytes.size;
    tar_bytes_put(&bytes, tar_bytes_header("ext", 'x', 15), "15 path=longer\n", 15);
    put_file(path, bytes.data, bytes.size);
    assert_refuses(say("oci-archive:%s", path), NULL, EBADMSG, "ends with an extended header");
    bytes.size = size;
    tar_bytes_add(&bytes, zeros, 512);
    tar_bytes_file(&bytes, "hidden", "x");
    put_file(path, bytes.data, bytes.size);
    assert_refuses(say("oci-archive:%s", path), NULL, EBADMSG, "a single block of zeros");
}

/* docker save */

static char *config_of(const char *mark, const char *ids)
{
    return say(
        "{\"config\":{\"Env\":[\"M=%s\"]},\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[%s]}}",
        mark, ids);
}

/* Adds config and layer of an image as podman writes them; returns its manifest.json entry. */
static char *add_docker_image(const char *mark, int filter, const char *tags)
{
    char *id;
    AUTO(bytes_free) struct bytes layer = make_layer(mark, mark, filter, &id);
    char *config = config_of(mark, say("\"%s\"", id));
    char *name = say("%s.json", digest_text(config, strlen(config)) + 7);
    tar_add(&tar, say("%s.tar", id + 7), layer.data, layer.size);
    add_text(name, config);
    return say("{\"Config\":\"%s\",\"RepoTags\":%s,\"Layers\":[\"%s.tar\"]}", name, tags, id + 7);
}

static char *docker_archive(void)
{
    tar_begin(&tar, ARCHIVE_FILTER_NONE);
    char *a = add_docker_image("plain", ARCHIVE_FILTER_NONE, "[\"debian:12\",\"me/deb:x\"]");
    char *b = add_docker_image("packed", ARCHIVE_FILTER_GZIP, "[\"localhost/own:1\"]");
    char *c = add_docker_image("nameless", ARCHIVE_FILTER_ZSTD, "null");
    add_text("manifest.json", say("[%s,%s,%s]", a, b, c));
    return finish_tar("docker.tar");
}

Test(docker_archive, is_opened_by_name)
{
    char *path = docker_archive();
    cr_assert_str_eq(opened_mark(say("docker-archive:%s:debian:12", path), NULL), "plain");
    cr_assert_str_eq(opened_mark(say("docker-archive:%s:docker.io/me/deb:x", path), NULL), "plain");
    cr_assert_str_eq(opened_mark(say("docker-archive:%s:localhost/own:1", path), NULL), "packed");
    assert_refuses(say("docker-archive:%s", path), NULL, ENOENT,
                   "3 images are here, say which one; there are: debian:12, me/deb:x, "
                   "localhost/own:1, @2 (it has no name)");
    assert_refuses(say("docker-archive:%s:debian", path), NULL, ENOENT,
                   "docker.io/library/debian:latest");
}

Test(docker_archive, is_opened_by_its_place)
{
    char *path = docker_archive();
    cr_assert_str_eq(opened_mark(say("docker-archive:%s:@0", path), NULL), "plain");
    cr_assert_str_eq(opened_mark(say("docker-archive:%s:@2", path), NULL), "nameless");
    assert_refuses(say("docker-archive:%s:@3", path), NULL, ENOENT,
                   "3 images are here, none at @3");
    path = layout_archive("");
    cr_assert_str_eq(opened_mark(say("oci-archive:%s:@0", path), NULL), "one");
    assert_refuses(say("oci-archive:%s:@1", path), NULL, ENOENT, "1 image is here, none at @1");
}

Test(docker_archive, names_a_compression_that_it_does_not_read)
{
    static const int filters[] = { ARCHIVE_FILTER_XZ, ARCHIVE_FILTER_BZIP2 };
    static const char *const names[] = { "xz", "bzip2" };
    for (size_t i = 0; i < 2; i++) {
        tar_begin(&tar, ARCHIVE_FILTER_NONE);
        char *entry = add_docker_image("m", filters[i], "null");
        add_text("manifest.json", say("[%s]", entry));
        char *path = finish_tar("foreign.tar");
        assert_refuses(say("docker-archive:%s", path), NULL, ENOTSUP,
                       say("layer 0: its bytes are %s", names[i]));
    }
}

Test(docker_archive, layers_are_plain_or_compressed)
{
    AUTO(sfs_image_close) struct sfs_image *plain = NULL;
    AUTO(sfs_image_close) struct sfs_image *packed = NULL;
    struct sfs_error err;
    char *path = docker_archive(), text[SFS_DIGEST_TEXT];
    cr_assert_eq(sfs_image_open(say("docker-archive:%s:debian:12", path), NULL, &plain, &err), 0);
    cr_assert_eq(
        sfs_image_open(say("docker-archive:%s:localhost/own:1", path), NULL, &packed, &err), 0);
    const struct sfs_image_layer *layer = sfs_image_layer(plain, 0);
    cr_assert_eq(layer->codec, SFS_CODEC_NONE);
    cr_assert(layer->has_digest && sfs_digest_equal(&layer->digest, &layer->diff_id));
    cr_assert_str_eq(layer->key, sfs_digest_print(&layer->diff_id, text));
    layer = sfs_image_layer(packed, 0);
    cr_assert_eq(layer->codec, SFS_CODEC_GZIP);
    cr_assert(!layer->has_digest && layer->has_diff_id);
    cr_assert_str_neq(layer->key, sfs_digest_print(&layer->diff_id, text));
    struct sfs_digest digest;
    cr_assert(!sfs_image_digest(packed, &digest) && !sfs_image_manifest(packed));
    assert_layers_readable(say("docker-archive:%s:debian:12", path));
    assert_layers_readable(say("docker-archive:%s:localhost/own:1", path));
}

Test(docker_archive, links_between_layers_are_followed)
{
    char *id;
    AUTO(bytes_free) struct bytes layer = make_layer("f", "x", ARCHIVE_FILTER_NONE, &id);
    tar_begin(&tar, ARCHIVE_FILTER_NONE);
    tar_add(&tar, "aaa/layer.tar", layer.data, layer.size);
    tar_add_link(&tar, "bbb/layer.tar", "../aaa/layer.tar", AE_IFLNK);
    tar_add_link(&tar, "ccc/layer.tar", "aaa/layer.tar", 0);
    add_text("c.json", config_of("links", say("\"%s\",\"%s\",\"%s\"", id, id, id)));
    add_text("manifest.json",
             "[{\"Config\":\"c.json\",\"RepoTags\":[],\"Layers\":[\"aaa/layer.tar\","
             "\"bbb/layer.tar\",\"ccc/layer.tar\"]}]");
    char *path = finish_tar("links.tar");
    assert_layers_readable(say("docker-archive:%s", path));
}

Test(docker_archive, blob_names_are_digests)
{
    AUTO(sfs_image_close) struct sfs_image *image = NULL;
    struct sfs_error err;
    char *id, text[SFS_DIGEST_TEXT];
    AUTO(bytes_free) struct bytes layer = make_layer("f", "x", ARCHIVE_FILTER_GZIP, &id);
    char *digest = digest_text(layer.data, layer.size);
    char *config = config_of("new", say("\"%s\"", id));
    char *config_digest = digest_text(config, strlen(config));
    tar_begin(&tar, ARCHIVE_FILTER_NONE);
    tar_add(&tar, say("blobs/sha256/%s", digest + 7), layer.data, layer.size);
    add_text(say("blobs/sha256/%s", config_digest + 7), config);
    add_text("manifest.json",
             say("[{\"Config\":\"blobs/sha256/%s\",\"RepoTags\":[\"a:b\"],\"Layers\":[\"blobs/"
                 "sha256/%s\"]}]",
                 config_digest + 7, digest + 7));
    char *ref = say("docker-archive:%s", finish_tar("new.tar"));
    cr_assert_eq(sfs_image_open(ref, NULL, &image, &err), 0, "%s", err.text);
    cr_assert_str_eq(sfs_digest_print(&sfs_image_layer(image, 0)->digest, text), digest);
    cr_assert_str_eq(sfs_image_layer(image, 0)->key, digest);
    assert_layers_readable(ref);
}

Test(docker_archive, without_manifest_json_is_read_as_a_layout)
{
    char *path = layout_archive("");
    cr_assert_str_eq(opened_mark(say("docker-archive:%s", path), NULL), "one");
    assert_layers_readable(say("docker-archive:%s", path));
}

Test(docker_archive, taken_for_a_layout_is_told_apart)
{
    char *path = docker_archive();
    assert_refuses(say("oci-archive:%s", path), NULL, EBADMSG, "docker-archive:");
}

Test(docker_archive, config_that_does_not_match_its_name_is_refused)
{
    char *config = config_of("x", "");
    char *digest = digest_text(config, strlen(config));
    tar_begin(&tar, ARCHIVE_FILTER_NONE);
    add_text(say("%s.json", digest + 7), config_of("y", ""));
    add_text("manifest.json", say("[{\"Config\":\"%s.json\",\"Layers\":null}]", digest + 7));
    assert_refuses(say("docker-archive:%s", finish_tar("bad.tar")), NULL, EKEYREJECTED, digest + 7);
}

Test(docker_archive, config_that_does_not_match_its_digest_is_refused)
{
    const char *config = config_of("x", "");
    char *digest = digest_text(config, strlen(config));
    tar_begin(&tar, ARCHIVE_FILTER_NONE);
    add_text(digest, config_of("y", ""));
    add_text("manifest.json", say("[{\"Config\":\"%s\",\"Layers\":null}]", digest));
    assert_refuses(say("docker-archive:%s", finish_tar("bad.tar")), NULL, EKEYREJECTED, digest);
}

Test(docker_archive, damage_in_manifest_json_is_named)
{
    static const struct {
        const char *manifest;
        int code;
        const char *says;
    } cases[] = {
        { "{}", EBADMSG, "not an array" },
        { "[]", ENOENT, "no image" },
        { "[7]", EBADMSG, "not a JSON object" },
        { "[{}]", EBADMSG, "no Config" },
        { "[{\"Config\":\"none.json\"}]", ENOENT, "none.json" },
        { "[{\"Config\":\"../../etc/passwd\"}]", EBADMSG, "leads nowhere" },
        { "[{\"Config\":\"c.json\",\"Layers\":{}}]", EBADMSG, "not an array" },
        { "[{\"Config\":\"c.json\",\"Layers\":[]}]", EBADMSG, "1 diff_id for 0 layers" },
        { "[{\"Config\":\"c.json\",\"Layers\":[7]}]", EBADMSG, "not a string" },
        { "[{\"Config\":\"c.json\",\"Layers\":[\"gone.tar\"]}]", ENOENT, "layer 0" },
        { "[", EBADMSG, "not JSON" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        tar_begin(&tar, ARCHIVE_FILTER_NONE);
        add_text("c.json", config_of("c", say("\"%s\"", digest_text("", 0))));
        add_text("manifest.json", cases[i].manifest);
        assert_refuses(say("docker-archive:%s", finish_tar("bad.tar")), NULL, cases[i].code,
                       cases[i].says);
    }
}

/* Other people's programs */

static bool is_installed(const char *program)
{
    return system(say("command -v %s >/dev/null 2>&1", program)) == 0;
}

Test(archive_others, skopeo_writes_archives_that_open)
{
    if (!is_installed("skopeo"))
        cr_skip_test("skopeo is not installed");
    char *dir = one_layout();
    char *copy = say("skopeo copy --insecure-policy -q --tmpdir '%s'", scratch);
    cr_assert_eq(system(say("%s oci:'%s':v1 docker-archive:'%s/d.tar':a/b:c", copy, dir, scratch)),
                 0);
    cr_assert_eq(system(say("%s oci:'%s':v1 oci-archive:'%s/o.tar':t", copy, dir, scratch)), 0);
    cr_assert_str_eq(opened_mark(say("docker-archive:%s/d.tar:a/b:c", scratch), NULL), "one");
    cr_assert_str_eq(opened_mark(say("docker-archive:%s/d.tar", scratch), NULL), "one");
    cr_assert_str_eq(opened_mark(say("oci-archive:%s/o.tar:t", scratch), NULL), "one");
    assert_layers_readable(say("docker-archive:%s/d.tar", scratch));
    assert_layers_readable(say("oci-archive:%s/o.tar", scratch));
}

Test(archive_others, umoci_makes_layouts_that_open)
{
    if (!is_installed("umoci"))
        cr_skip_test("umoci is not installed");
    char *dir = say("%s/umoci", scratch);
    struct sfs_error err;
    cr_assert_eq(system(say("umoci init --layout '%s'", dir)), 0);
    cr_assert_eq(try_open(say("oci:%s", dir), NULL, &err), -ENOENT);
    assert_says(err, "holds no image");
    cr_assert_eq(system(say("umoci new --image '%s:t' && umoci config --image '%s:t' "
                            "--config.env M=umoci",
                            dir, dir)),
                 0);
    cr_assert_str_eq(opened_mark(say("oci:%s:t", dir), NULL), "umoci");
}
