/* A store of containers/storage made in code: two images, one on top of the other. */
#include "image_support.h"

#include "image/storage_place.h"
#include <openssl/evp.h>
#include <stagefs/cache.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <zlib.h>

TestSuite(storage, .init = make_scratch, .fini = remove_scratch, .timeout = 60);

static char *root;            /* of the store */
static char *images, *layers; /* the arrays of its JSON, without brackets */

static void make_dirs(const char *path)
{
    for (char *copy = say("%s", path), *slash = copy; (slash = strchr(slash + 1, '/'));) {
        *slash = 0;
        mkdir(copy, 0777);
        *slash = '/';
    }
}

static void put(const char *path, const char *text)
{
    make_dirs(path);
    put_text(path, text);
}

static char *base64(const void *data, size_t size)
{
    char *text = say("%*s", (int)(size / 3 * 4 + 8), "");
    EVP_EncodeBlock((unsigned char *)text, data, (int)size);
    return text;
}

static void put_gzip(const char *path, const char *text)
{
    make_dirs(path);
    gzFile file = gzopen(path, "wb");
    cr_assert_eq(gzwrite(file, text, (unsigned)strlen(text)), (int)strlen(text));
    gzclose(file);
}

/* A layer with one file, as a tar; its two halves are put into the store. Returns its diff_id. */
static char *put_layer(const char *id, const char *parent, const char *name, const char *content)
{
    char *diff_id;
    const size_t size = strlen(content);
    AUTO(bytes_free)
    struct bytes tar = make_layer(name, content, ARCHIVE_FILTER_NONE, &diff_id);
    size_t body = (size_t)((char *)memmem(tar.data, tar.size, content, size) - tar.data);
    put(say("%s/overlay/%s/diff/%s", root, id, name), content);
    /* The first entry in the form that tar-split writes, the others in one that is as good. */
    put_gzip(say("%s/overlay-layers/%s.tar-split.gz", root, id),
             say("{\"type\":2,\"payload\":\"%s\",\"position\":0}\n"
                 "{\"type\":1,\"name\":\"%s\",\"size\":%zu,\"payload\":\"AAAA\",\"position\":1}\n"
                 "{\"position\":2, \"payload\":\"%s\", \"type\":2}\n"
                 "{\"type\":1,\"name\":\"none\",\"payload\":null,\"position\":3}\n"
                 "{\"type\":2,\"payload\":null,\"position\":4}\n",
                 base64(tar.data, body), name, size,
                 base64(tar.data + body + size, tar.size - body - size)));
    layers = say("%s%s{\"id\":\"%s\",%s\"diff-digest\":\"%s\",\"diff-size\":%zu}", layers,
                 *layers ? "," : "", id, parent ? say("\"parent\":\"%s\",", parent) : "", diff_id,
                 tar.size);
    return diff_id;
}

static void finish(void)
{
    put(say("%s/overlay-images/images.json", root), say("[%s]", images));
    put(say("%s/overlay-layers/layers.json", root), say("[%s]", layers));
}

/* An image whose manifest names compressed layers, as one that was pulled. */
static void add_image(const char *id, const char *name, const char *top, const char *ids,
                      size_t count)
{
    char *config =
        say("{\"architecture\":\"amd64\",\"os\":\"linux\",\"config\":{\"Env\":[\"M=%s\"]},"
            "\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[%s]}}",
            name, ids);
    char *digest = digest_text(config, strlen(config)), *list = say("%s", "");
    for (size_t i = 0; i < count; i++)
        list = say("%s%s%s", list, i ? "," : "",
                   descriptor(OCI_TAR "+gzip", digest_text(&i, sizeof i), 100, NULL));
    char *manifest = say("{\"schemaVersion\":2,\"mediaType\":\"" OCI_MANIFEST
                         "\",\"config\":%s,\"layers\":[%s]}",
                         descriptor(OCI_CONFIG, digest, strlen(config), NULL), list);
    put(say("%s/overlay-images/%s/manifest", root, id), manifest);
    put(say("%s/overlay-images/%s/=%s", root, id, base64(digest, strlen(digest))), config);
    images =
        say("%s%s{\"id\":\"%s\",\"digest\":\"%s\",\"names\":[\"%s\"],\"layer\":\"%s\"}", images,
            *images ? "," : "", id, digest_text(manifest, strlen(manifest)), name, top);
}

static void make_store(void)
{
    root = say("%s/store", scratch);
    images = layers = say("%s", "");
    char *a = put_layer("aaa", NULL, "a", "the lower one");
    char *b = put_layer("bbb", "aaa", "b", "the upper one");
    add_image("1230", "docker.io/library/lower:latest", "aaa", say("\"%s\"", a), 1);
    add_image("1240", "localhost/upper:2", "bbb", say("\"%s\",\"%s\"", a, b), 2);
    finish();
}

static char *ref(const char *name)
{
    return say("containers-storage:[%s]%s", root, name);
}

#define assert_mark(name, wanted) cr_assert_str_eq(opened_mark(ref(name), NULL), wanted)

Test(storage, finds_an_image_by_each_of_its_names)
{
    make_store();
    assert_mark("lower", "docker.io/library/lower:latest");
    assert_mark("docker.io/library/lower:latest", "docker.io/library/lower:latest");
    assert_mark("upper:2", "localhost/upper:2");
    assert_mark("localhost/upper:2", "localhost/upper:2");
    assert_mark("@1240", "localhost/upper:2");
    assert_mark("124", "localhost/upper:2");
    assert_mark("any/name@123", "docker.io/library/lower:latest");
    cr_assert_str_eq(
        opened_mark(say("containers-storage:[overlay@%s+%s/run:a=b,c]upper:2", root, scratch),
                    NULL),
        "localhost/upper:2");
    assert_refuses(ref("docker.io/library/upper:2"), NULL, ENOENT,
                   "there are: docker.io/library/lower:latest, localhost/upper:2");
    assert_refuses(ref("@12"), NULL, ENOENT, "no such image");
    add_image("1241", "localhost/third:1", "bbb", "", 0);
    finish();
    assert_refuses(ref("@124"), NULL, EINVAL, "2 images are meant");
    assert_refuses(say("containers-storage:[%s/none]x", scratch), NULL, ENOENT, "keeps no images");
    assert_refuses("containers-storage:[relative]x", NULL, EINVAL, "begins with '/'");
    assert_refuses("containers-storage:[/x", NULL, EINVAL, "']'");
    assert_refuses("containers-storage:@xyz", NULL, EINVAL, "no id");
}

static int read_all(const char *name, struct sfs_error *err)
{
    AUTO(sfs_image_close) struct sfs_image *image = NULL;
    int r = sfs_image_open(ref(name), NULL, &image, err);
    return r == 0 ? sfs_image_verify(image, NULL, NULL, NULL, err) : r;
}

#define assert_wrong(name, code, part)                                                             \
    do {                                                                                           \
        struct sfs_error wrong_error;                                                              \
        int wrong_result = read_all(name, &wrong_error);                                           \
        cr_assert_eq(wrong_result, -(code), "%d: %s", wrong_result, wrong_error.text);             \
        assert_says(wrong_error, part);                                                            \
    } while (0)

Test(storage, layers_are_the_tars_that_they_were)
{
    struct sfs_error err;
    struct sfs_digest digest;
    AUTO(sfs_image_close) struct sfs_image *image = NULL;
    make_store();
    cr_assert_eq(sfs_image_open(ref("upper:2"), NULL, &image, &err), 0, "%s", err.text);
    cr_assert_eq(sfs_image_layer_count(image), 2);
    for (size_t i = 0; i < 2; i++) {
        const struct sfs_image_layer *layer = sfs_image_layer(image, i);
        cr_assert(layer->has_digest && sfs_digest_equal(&layer->digest, &layer->diff_id));
        cr_assert_eq(layer->codec, SFS_CODEC_NONE);
        cr_assert_str_eq(layer->media_type, OCI_TAR);
    }
    /* The manifest names blobs that are not there: its digest is not that of what can be read. */
    cr_assert(sfs_image_manifest(image) && !sfs_image_digest(image, &digest));
    cr_assert_eq(sfs_image_verify(image, NULL, NULL, NULL, &err), 0, "%s", err.text);

    put_text(say("%s/overlay/bbb/diff/b", root), "The upper one");
    assert_wrong("upper:2", EKEYREJECTED, "layer 1");
    put_text(say("%s/overlay/bbb/diff/b", root), "longer than it was");
    assert_wrong("upper:2", EIO, "b has 18 bytes, in the layer it has 13");
    remove(say("%s/overlay/bbb/diff/b", root));
    assert_wrong("upper:2", EIO, "No such file");
    cr_assert_eq(mkfifo(say("%s/overlay/bbb/diff/b", root), 0666), 0);
    assert_wrong("upper:2", EIO, "no regular file");
    remove(say("%s/overlay/bbb/diff/b", root));
    put_text(say("%s/outside", scratch), "the upper one");
    cr_assert_eq(symlink("../../../../outside", say("%s/overlay/bbb/diff/b", root)), 0);
    assert_wrong("upper:2", EIO, "layer 1");
    cr_assert_eq(read_all("lower", &err), 0, "%s", err.text);
}

Test(storage, a_manifest_or_config_that_was_changed_is_refused)
{
    make_store();
    char *path = say("%s/overlay-images/1230/manifest", root);
    AUTO(bytes_free) struct bytes manifest = get_file(path);
    put_text(path, say("%s ", manifest.data));
    assert_wrong("lower", EKEYREJECTED, "manifest");
    put_text(path, "");
    assert_wrong("lower", EKEYREJECTED, "manifest");
    remove(path);
    assert_wrong("lower", ENOENT, "manifest is not there");
}

Test(storage, hostile_files_are_refused_in_words)
{
    make_store();
    char *right_layers = layers, *right_images = images;
    images = say("{\"id\":\"../x\",\"digest\":\"sha256:00\",\"names\":[\"docker.io/library/"
                 "lower:latest\"]}");
    finish();
    assert_wrong("lower", EBADMSG, "impossible id");
    images = say("1,null,{\"names\":{}},{\"id\":7,\"names\":[\"docker.io/library/lower:latest\"]}");
    finish();
    assert_wrong("lower", EBADMSG, "impossible id");
    put_text(say("%s/overlay-images/images.json", root), "{}");
    assert_wrong("lower", EBADMSG, "no array");
    put_text(say("%s/overlay-images/images.json", root), "[");
    assert_wrong("lower", EBADMSG, "not JSON");
    images = right_images;
    layers = say("{\"id\":\"aaa\",\"parent\":\"aaa\",\"diff-digest\":\"\"}");
    finish();
    assert_wrong("lower", E2BIG, "layers");
    layers = say("{\"id\":\"aaa\",\"parent\":\"../../x\"}");
    finish();
    assert_wrong("lower", EBADMSG, "no layer ../../x");
    layers = say("{\"id\":\"aaa\",\"diff-digest\":\"sha256:"
                 "%064d\"}",
                 7);
    finish();
    assert_wrong("lower", EBADMSG, "different diff_ids");
    layers = say("{\"id\":\"aaa\",\"diff-digest\":\"md5:1\"}");
    finish();
    assert_wrong("lower", EBADMSG, "md5");
    layers = right_layers;
    add_image("999", "localhost/none:1", "", "", 1);
    finish();
    assert_wrong("none:1", EBADMSG, "1 layer");
}

Test(storage, a_split_that_is_malformed_is_refused_in_words)
{
    static const char *const bad[][2] = {
        { "", "makes a tar of 0 bytes" },
        { "{}\n", "neither bytes nor a file" },
        { "nonsense", "neither bytes nor a file" },
        { "{\"type\":2}", "an entry of bytes has none" },
        { "{\"type\":2,\"payload\":\"!!!!\",\"position\":0}\n", "not base64" },
        { "{\"type\":2,\"payload\":\"AAA\",\"position\":0}\n", "not base64" },
        { "{\"type\":1,\"name\":\"a\",\"size\":-1}", "impossible size" },
        { "{\"type\":1,\"name\":\"a\",\"size\":1e3}", "impossible size" },
        { "{\"type\":1,\"name\":\"a\",\"size\":9223372036854775807}\n"
          "{\"type\":1,\"name\":\"a\",\"size\":9223372036854775807}",
          "impossible sizes" },
        { "{\"type\":1,\"name\":\"\",\"size\":1}", "without a name" },
        { "{\"type\":1,\"size\":1}", "without a name" },
        { "{\"type\":1,\"name_raw\":\"AAAA\",\"size\":1}", "without a name" },
        { "{\"type\":1,\"name\":\"a\",\"size\":13}", "makes a tar of 13 bytes" },
    };
    make_store();
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        put_gzip(say("%s/overlay-layers/aaa.tar-split.gz", root), bad[i][0]);
        assert_wrong("lower", EIO, bad[i][1]);
    }
    put_text(say("%s/overlay-layers/aaa.tar-split.gz", root), "\x1f\x8b nonsense");
    assert_wrong("lower", EIO, "tar-split.gz");
}

Test(storage, a_layer_without_its_tar_is_its_files)
{
    struct sfs_error err;
    AUTO(sfs_image_close) struct sfs_image *image = NULL;
    make_store();
    remove(say("%s/overlay-layers/bbb.tar-split.gz", root));
    cr_assert_eq(sfs_image_open(ref("upper:2"), NULL, &image, &err), 0, "%s", err.text);
    cr_assert(!sfs_image_layer(image, 0)->is_directory && sfs_image_layer(image, 1)->is_directory);
    assert_wrong("upper:2", ENOTSUP, "no digest to compare");
    remove_tree(say("%s/overlay/bbb/diff", root));
    cr_assert_eq(symlink("/etc", say("%s/overlay/bbb/diff", root)), 0);
    assert_refuses(ref("upper:2"), NULL, EBADMSG, "links are not followed");
}

Test(storage, a_layer_may_lie_in_another_store)
{
    make_store();
    char *second = say("%s/second", scratch), *first = root;
    root = second;
    char *a = say("%.71s", strstr(layers, "sha256:"));
    images = layers = say("%s", "");
    char *c = put_layer("ccc", "aaa", "c", "above");
    add_image("777", "localhost/above:1", "ccc", say("\"%s\",\"%s\"", a, c), 2);
    finish();
    assert_refuses(ref("above:1"), NULL, EBADMSG, "no layer aaa");
    char *both = say("containers-storage:[%s:overlay.imagestore=%s]", second, first);
    cr_assert_str_eq(opened_mark(say("%sabove:1", both), NULL), "localhost/above:1");
    cr_assert_str_eq(opened_mark(say("%slower", both), NULL), "docker.io/library/lower:latest");
}

/* Whoever writes holds a lock of the process; a reader waits for it. */
Test(storage, waits_for_whoever_writes)
{
    struct sfs_error err;
    int ready[2];
    char byte = 0;
    make_store();
    put(say("%s/overlay-images/images.lock", root), "");
    cr_assert_eq(pipe(ready), 0);
    pid_t writer = fork();
    if (writer == 0) {
        struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
        int fd = open(say("%s/overlay-images/images.lock", root), O_RDWR | O_CLOEXEC);
        bool locked = fcntl(fd, F_SETLK, &lock) == 0 && write(ready[1], "x", 1) == 1;
        usleep(300000);
        if (locked)
            remove(say("%s/overlay-images/1230/manifest", root));
        _exit(locked ? 0 : 1);
    }
    cr_assert_eq(read(ready[0], &byte, 1), 1);
    cr_assert_eq(read_all("lower", &err), -ENOENT, "%s", err.text);
    int status = 1;
    waitpid(writer, &status, 0);
    cr_assert_eq(status, 0);
}

static void assert_places(const char *wanted)
{
    AUTO(sfs_storage_places_done) struct sfs_storage_places places = { 0 };
    struct sfs_error err;
    int r = sfs_storage_places_find(NULL, &places, &err);
    cr_assert_eq(r, 0, "%s", err.text);
    char *found = say("%s", places.driver ? places.driver : "-");
    for (size_t i = 0; i < places.count; i++)
        found = say("%s %s", found, places.roots[i]);
    cr_assert_str_eq(found, wanted);
}

Test(storage, settings_say_where_the_stores_are)
{
    char *file = say("%s/containers/storage.conf", scratch);
    setenv("HOME", "/home/user", 1);
    setenv("XDG_CONFIG_HOME", scratch, 1);
    unsetenv("XDG_DATA_HOME");
    unsetenv("STORAGE_DRIVER");
    unsetenv("STORAGE_OPTS");
    unsetenv("CONTAINERS_STORAGE_CONF");
    put(file, "[storage]\ndriver = \"overlay\"\ngraphroot = \"$HOME/x${HOME}/$NONE\"\n"
              "imagestore = \"/images\"\n[storage.options]\n"
              "additionalimagestores = [\"/more\", \"/most\",]\n");
    assert_places("overlay /home/user/x/home/user/ /images /more /most");
    setenv("STORAGE_OPTS", "overlay.ignore_chown_errors=true,additionalimagestore=/last", 1);
    setenv("STORAGE_DRIVER", "vfs", 1);
    assert_places("vfs /home/user/x/home/user/ /images /more /most /last");
    unsetenv("STORAGE_OPTS");
    unsetenv("STORAGE_DRIVER");
    setenv("CONTAINERS_STORAGE_CONF", say("%s/other", scratch), 1);
    put(say("%s/other", scratch), "[storage]\n");
    setenv("_CONTAINERS_USERNS_CONFIGURED", "done", 1); /* podman unshare */
    assert_places("- /home/user/.local/share/containers/storage");
    setenv("XDG_DATA_HOME", "/data", 1);
    assert_places("- /data/containers/storage");
    if (geteuid() == 0) {
        unsetenv("_CONTAINERS_USERNS_CONFIGURED");
        assert_places("- /var/lib/containers/storage");
    }
    put(say("%s/other", scratch), "[storage\n");
    struct sfs_storage_places places;
    struct sfs_error err;
    cr_assert_eq(sfs_storage_places_find(NULL, &places, &err), -EBADMSG);
    assert_says(err, "other");
    sfs_storage_places_done(&places);
}
