#include "image_support.h"

#include "image/layout.h"
#include <dirent.h>
#include <signal.h>
#include <sys/wait.h>

TestSuite(layout, .init = make_scratch, .fini = remove_scratch);
TestSuite(layout_tag, .init = make_scratch, .fini = remove_scratch);
TestSuite(layout_layer, .init = make_scratch, .fini = remove_scratch);
TestSuite(layout_close, .init = make_scratch, .fini = remove_scratch);

static struct sfs_error err;

static struct sfs_layout *open_layout(const char *dir)
{
    struct sfs_layout *layout = NULL;
    cr_assert_eq(sfs_layout_open(dir, &layout, &err), 0, "%s", err.text);
    return layout;
}

static int try_layout(const char *dir)
{
    AUTO(sfs_layout_close) struct sfs_layout *layout = NULL;
    return sfs_layout_open(dir, &layout, &err);
}

/* Adds an image without layers, and tags it. */
static int add_image(struct sfs_layout *layout, const char *mark, const char *tag)
{
    struct sfs_digest digest;
    char text[SFS_DIGEST_TEXT];
    char *config = say("{\"config\":{\"Env\":[\"M=%s\"]},\"rootfs\":{\"type\":\"layers\","
                       "\"diff_ids\":[]}}",
                       mark);
    int r = sfs_layout_add_bytes(layout, config, strlen(config), &digest, &err);
    if (r < 0)
        return r;
    char *manifest =
        say("{\"schemaVersion\":2,\"config\":%s,\"layers\":[]}",
            descriptor(OCI_CONFIG, sfs_digest_print(&digest, text), strlen(config), NULL));
    r = sfs_layout_add_bytes(layout, manifest, strlen(manifest), &digest, &err);
    if (r < 0)
        return r;
    json_t *entry = json_loads(
        descriptor(OCI_MANIFEST, sfs_digest_print(&digest, text), strlen(manifest), NULL), 0, NULL);
    r = sfs_layout_tag(layout, tag, entry, &err);
    json_decref(entry);
    return r;
}

static size_t count_files(const char *dir)
{
    DIR *stream = opendir(dir);
    size_t count = 0;
    const struct dirent *entry;
    cr_assert(stream, "%s", dir);
    while ((entry = readdir(stream)))
        count += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
    closedir(stream);
    return count;
}

static bool is_there(const char *path)
{
    return access(path, F_OK) == 0;
}

Test(layout, is_created_where_nothing_is)
{
    char *dir = say("%s/new/deep", scratch);
    AUTO(sfs_layout_close) struct sfs_layout *layout = open_layout(dir);
    cr_assert_eq(add_image(layout, "made", "v1"), 0, "%s", err.text);
    sfs_layout_close(&layout);
    cr_assert_str_eq(opened_mark(say("oci:%s:v1", dir), NULL), "made");
    cr_assert_eq(count_files(dir), 3);
    cr_assert_eq(count_files(say("%s/blobs/sha256", dir)), 2);
    AUTO(bytes_free) struct bytes bytes = get_file(say("%s/oci-layout", dir));
    cr_assert_str_eq(bytes.data, "{\"imageLayoutVersion\":\"1.0.0\"}");
}

Test(layout, is_created_in_an_empty_directory)
{
    AUTO(sfs_layout_close) struct sfs_layout *layout = open_layout(scratch);
    cr_assert_eq(add_image(layout, "made", NULL), 0, "%s", err.text);
    cr_assert_str_eq(opened_mark(say("oci:%s", scratch), NULL), "made");
}

Test(layout, is_not_made_of_something_else)
{
    put_text(say("%s/precious", scratch), "x");
    cr_assert_eq(try_layout(scratch), -EINVAL, "%s", err.text);
    assert_says(err, "nothing was written");
    cr_assert_eq(count_files(scratch), 1);
    cr_assert_lt(try_layout(say("%s/precious", scratch)), 0);
    cr_assert_lt(try_layout(say("%s/precious/sub", scratch)), 0);
    assert_says(err, "precious");
    cr_assert_eq(count_files(scratch), 1);
}

Test(layout, of_another_version_is_left_alone)
{
    char *dir = begin_layout("future");
    put_text(say("%s/oci-layout", dir), "{\"imageLayoutVersion\":\"9\"}");
    cr_assert_eq(try_layout(dir), -ENOTSUP, "%s", err.text);
    cr_assert(!is_there(say("%s/index.json", dir)));
}

Test(layout, that_a_killed_writer_began_is_completed_and_swept)
{
    char *dir = say("%s/half", scratch);
    cr_assert_eq(mkdir(dir, 0777), 0);
    put_text(say("%s/.stagefs-tmp-abcdef", dir), "left");
    AUTO(sfs_layout_close) struct sfs_layout *layout = open_layout(dir);
    cr_assert_eq(add_image(layout, "a", "a"), 0, "%s", err.text);
    sfs_layout_close(&layout);
    cr_assert_eq(count_files(dir), 3);

    cr_assert_eq(unlink(say("%s/index.json", dir)), 0);
    put_text(say("%s/blobs/sha256/.stagefs-tmp-abcdef", dir), "left");
    layout = open_layout(dir);
    cr_assert_eq(add_image(layout, "b", "b"), 0, "%s", err.text);
    cr_assert_eq(count_files(say("%s/blobs/sha256", dir)), 4);
}

Test(layout, keeps_a_blob_of_which_the_digest_is_known_last)
{
    AUTO(sfs_layout_close) struct sfs_layout *layout = open_layout(say("%s/l", scratch));
    AUTO(sfs_io_temp_close) struct sfs_io_temp temp = { .fd = -1, .dirfd = -1 };
    struct sfs_digest digest;
    cr_assert_eq(sfs_digest_of("hello", 5, &digest), 0);
    cr_assert(!sfs_layout_has(layout, &digest, 5));
    cr_assert_eq(sfs_layout_temp(layout, &temp, &err), 0, "%s", err.text);
    cr_assert_eq(sfs_io_write_all(temp.fd, "hello", 5), 0);
    cr_assert_eq(sfs_layout_commit(layout, &temp, &digest, &err), 0, "%s", err.text);
    cr_assert(sfs_layout_has(layout, &digest, 5));
    cr_assert(!sfs_layout_has(layout, &digest, 6));
}

Test(layout, blob_of_a_wrong_size_is_replaced)
{
    AUTO(sfs_layout_close) struct sfs_layout *layout = open_layout(say("%s/l", scratch));
    struct sfs_digest digest;
    char *path = say("%s/l/blobs/sha256/%s", scratch, digest_text("hello", 5) + 7);
    put_text(path, "hel");
    cr_assert_eq(sfs_layout_add_bytes(layout, "hello", 5, &digest, &err), 0, "%s", err.text);
    AUTO(bytes_free) struct bytes bytes = get_file(path);
    cr_assert_str_eq(bytes.data, "hello");
}

/* Tags */

static json_t *read_index(const char *dir)
{
    json_t *index = json_load_file(say("%s/index.json", dir), 0, NULL);
    cr_assert(index);
    return index;
}

Test(layout_tag, replaces_the_entry_of_the_same_name_only)
{
    char *dir = say("%s/l", scratch);
    AUTO(sfs_layout_close) struct sfs_layout *layout = open_layout(dir);
    cr_assert_eq(add_image(layout, "a", "x"), 0);
    cr_assert_eq(add_image(layout, "b", "y"), 0);
    cr_assert_eq(add_image(layout, "c", "x"), 0);
    cr_assert_str_eq(opened_mark(say("oci:%s:x", dir), NULL), "c");
    cr_assert_str_eq(opened_mark(say("oci:%s:y", dir), NULL), "b");
    json_t *index = read_index(dir);
    cr_assert_eq(json_array_size(json_object_get(index, "manifests")), 2);
    json_decref(index);
}

Test(layout_tag, without_a_name_is_entered_once)
{
    char *dir = say("%s/l", scratch);
    AUTO(sfs_layout_close) struct sfs_layout *layout = open_layout(dir);
    for (int i = 0; i < 3; i++)
        cr_assert_eq(add_image(layout, "a", NULL), 0);
    cr_assert_eq(add_image(layout, "b", NULL), 0);
    json_t *index = read_index(dir);
    cr_assert_eq(json_array_size(json_object_get(index, "manifests")), 2);
    json_decref(index);
}

Test(layout_tag, keeps_what_it_does_not_know)
{
    char *dir = begin_layout("l");
    put_text(say("%s/index.json", dir),
             "{\"schemaVersion\":2,\"x-mine\":{\"a\":[1,2.5,null]},\"manifests\":[{\"mediaType\":"
             "\"text/x\",\"odd\":true},{\"digest\":\"?\",\"annotations\":{\"k\":\"v\"}}],"
             "\"annotations\":{\"n\":\"\xc3\xa4\"}}");
    AUTO(sfs_layout_close) struct sfs_layout *layout = open_layout(dir);
    json_t *before = read_index(dir);
    cr_assert_eq(add_image(layout, "a", "t"), 0, "%s", err.text);
    json_t *after = read_index(dir);
    json_t *manifests = json_object_get(after, "manifests");
    cr_assert_eq(json_array_size(manifests), 3);
    json_array_remove(manifests, 2);
    cr_assert(json_equal(before, after));
    json_decref(before);
    json_decref(after);
}

Test(layout_tag, works_on_what_go_programs_call_an_empty_index)
{
    char *dir = begin_layout("l");
    put_index(dir, "null");
    AUTO(sfs_layout_close) struct sfs_layout *layout = open_layout(dir);
    cr_assert_eq(add_image(layout, "a", "t"), 0, "%s", err.text);
    cr_assert_str_eq(opened_mark(say("oci:%s:t", dir), NULL), "a");
}

Test(layout_tag, refuses_a_damaged_index_and_leaves_it)
{
    char *dir = begin_layout("l");
    put_text(say("%s/index.json", dir), "{\"manifests\":7}");
    AUTO(sfs_layout_close) struct sfs_layout *layout = open_layout(dir);
    cr_assert_eq(add_image(layout, "a", "t"), -EBADMSG);
    AUTO(bytes_free) struct bytes bytes = get_file(say("%s/index.json", dir));
    cr_assert_str_eq(bytes.data, "{\"manifests\":7}");
}

Test(layout_tag, must_be_one)
{
    AUTO(sfs_layout_close) struct sfs_layout *layout = open_layout(say("%s/l", scratch));
    cr_assert_eq(add_image(layout, "a", ""), -EINVAL);
    cr_assert_eq(add_image(layout, "a", "a b"), -EINVAL);
    cr_assert_eq(add_image(layout, "a", "a\n"), -EINVAL);
    json_t *nothing = json_object();
    cr_assert_eq(sfs_layout_tag(layout, "a", nothing, &err), -EINVAL);
    json_decref(nothing);
}

Test(layout_tag, of_many_writers_at_once_are_all_kept)
{
    enum { WRITERS = 6, TAGS = 10 };
    char *dir = say("%s/l", scratch); /* not there yet: they also race to create it */
    pid_t pids[WRITERS];
    for (int w = 0; w < WRITERS; w++) {
        pids[w] = fork();
        cr_assert_geq(pids[w], 0);
        if (pids[w] > 0)
            continue;
        struct sfs_layout *layout = NULL;
        int r = sfs_layout_open(dir, &layout, &err);
        for (int t = 0; r == 0 && t < TAGS; t++)
            r = add_image(layout, say("%d-%d", w, t), say("tag-%d-%d", w, t));
        sfs_layout_close(&layout);
        _exit(r == 0 ? 0 : 1);
    }
    for (int w = 0; w < WRITERS; w++) {
        int status;
        cr_assert_eq(waitpid(pids[w], &status, 0), pids[w]);
        cr_assert_eq(status, 0);
    }
    for (int w = 0; w < WRITERS; w++)
        for (int t = 0; t < TAGS; t++)
            cr_assert_str_eq(opened_mark(say("oci:%s:tag-%d-%d", dir, w, t), NULL),
                             say("%d-%d", w, t));
    cr_assert_eq(count_files(dir), 3);
}

/* Killed at whatever instant, a writer leaves what it had tagged, and nothing that disturbs. */
Test(layout_tag, survives_writers_that_are_killed)
{
    char *dir = say("%s/l", scratch);
    for (unsigned round = 0; round < 40; round++) {
        pid_t pid = fork();
        cr_assert_geq(pid, 0);
        if (pid == 0) {
            struct sfs_layout *layout = NULL;
            int r = sfs_layout_open(dir, &layout, &err);
            for (unsigned t = 0; r == 0; t++)
                r = add_image(layout, say("%u-%u", round, t), say("tag-%u", t % 7));
            _exit(1);
        }
        usleep(round * 997 % 20000);
        int status;
        cr_assert_eq(kill(pid, SIGKILL), 0);
        cr_assert_eq(waitpid(pid, &status, 0), pid);
        cr_assert(WIFSIGNALED(status), "the writer failed by itself");
        AUTO(sfs_layout_close) struct sfs_layout *layout = open_layout(dir);
        cr_assert_eq(add_image(layout, say("mine-%u", round), "mine"), 0, "%s", err.text);
        sfs_layout_close(&layout);
        cr_assert_eq(count_files(dir), 3);
        json_t *index = read_index(dir);
        json_t *manifests = json_object_get(index, "manifests");
        for (size_t i = 0; i < json_array_size(manifests); i++) {
            const char *tag = json_string_value(
                json_object_get(json_object_get(json_array_get(manifests, i), "annotations"),
                                "org.opencontainers.image.ref.name"));
            assert_opens(say("oci:%s:%s", dir, tag), NULL);
        }
        json_decref(index);
    }
}

/* Layers from other images */

static struct sfs_image *open_image(const char *ref)
{
    struct sfs_image *image = NULL;
    cr_assert_eq(sfs_image_open(ref, NULL, &image, &err), 0, "%s", err.text);
    return image;
}

static char *source_layout(void)
{
    char *dir = begin_layout("source");
    put_index(dir, say("[%s]", put_image(dir, "s", 1, ARCHIVE_FILTER_GZIP, OCI_TAR "+gzip", NULL)));
    return dir;
}

static void assert_same_file(const char *a, const char *b)
{
    AUTO(bytes_free) struct bytes x = get_file(a);
    AUTO(bytes_free) struct bytes y = get_file(b);
    cr_assert_eq(x.size, y.size);
    cr_assert_eq(memcmp(x.data, y.data, x.size), 0);
}

Test(layout_layer, of_a_layout_is_linked_or_copied_whole)
{
    char *source = source_layout(), *dir = say("%s/l", scratch);
    AUTO(sfs_image_close) struct sfs_image *image = open_image(say("oci:%s", source));
    AUTO(sfs_layout_close) struct sfs_layout *layout = open_layout(dir);
    const struct sfs_image_layer *layer = sfs_image_layer(image, 0);
    for (int again = 0; again < 2; again++)
        cr_assert_eq(sfs_layout_add_layer(layout, image, 0, &err), 0, "%s", err.text);
    cr_assert(sfs_layout_has(layout, &layer->digest, layer->size));
    assert_same_file(say("%s/blobs/sha256/%s", dir, layer->key + 7),
                     say("%s/blobs/sha256/%s", source, layer->key + 7));
    cr_assert_eq(count_files(say("%s/blobs/sha256", dir)), 1);
}

static char *archive_of(const char *dir)
{
    char *path = say("%s/archive.tar", scratch);
    cr_assert_eq(system(say("tar -C '%s' -cf '%s' oci-layout index.json blobs", dir, path)), 0);
    return path;
}

Test(layout_layer, of_an_archive_is_copied_and_verified)
{
    char *path = archive_of(source_layout()), *dir = say("%s/l", scratch);
    AUTO(sfs_image_close) struct sfs_image *image = open_image(say("oci-archive:%s", path));
    AUTO(sfs_layout_close) struct sfs_layout *layout = open_layout(dir);
    const struct sfs_image_layer *layer = sfs_image_layer(image, 0);
    cr_assert_eq(sfs_layout_add_layer(layout, image, 0, &err), 0, "%s", err.text);
    assert_same_file(say("%s/blobs/sha256/%s", dir, layer->key + 7),
                     say("%s/source/blobs/sha256/%s", scratch, layer->key + 7));
}

Test(layout_layer, that_does_not_match_its_digest_is_not_kept)
{
    char *source = source_layout(), *dir = say("%s/l", scratch);
    AUTO(sfs_image_close) struct sfs_image *image = open_image(say("oci:%s", source));
    const struct sfs_image_layer *layer = sfs_image_layer(image, 0);
    char *path = say("%s/blobs/sha256/%s", source, layer->key + 7);
    AUTO(bytes_free) struct bytes bytes = get_file(path);
    bytes.data[bytes.size / 2] ^= 1;
    put_file(path, bytes.data, bytes.size);
    AUTO(sfs_image_close)
    struct sfs_image *archive = open_image(say("oci-archive:%s", archive_of(source)));
    AUTO(sfs_layout_close) struct sfs_layout *layout = open_layout(dir);
    cr_assert_eq(sfs_layout_add_layer(layout, archive, 0, &err), -EKEYREJECTED, "%s", err.text);
    assert_says(err, layer->key + 7);
    cr_assert_eq(count_files(say("%s/blobs/sha256", dir)), 0);
    cr_assert_eq(sfs_layout_add_layer(layout, image, 0, &err), -EKEYREJECTED, "%s", err.text);
    assert_says(err, layer->key + 7);
    cr_assert_eq(count_files(say("%s/blobs/sha256", dir)), 0, "a changed blob was linked");
    put_file(path, bytes.data, bytes.size - 1);
    cr_assert_eq(sfs_layout_add_layer(layout, image, 0, &err), -EKEYREJECTED, "%s", err.text);
    assert_says(err, "truncated");
    cr_assert_eq(unlink(path), 0);
    cr_assert_eq(sfs_layout_add_layer(layout, image, 0, &err), -ENOENT, "%s", err.text);
    cr_assert_eq(count_files(say("%s/blobs/sha256", dir)), 0);
}

Test(layout_layer, that_is_there_and_wrong_is_brought_again)
{
    char *source = source_layout(), *dir = say("%s/l", scratch);
    AUTO(sfs_image_close) struct sfs_image *image = open_image(say("oci:%s", source));
    AUTO(sfs_layout_close) struct sfs_layout *layout = open_layout(dir);
    char *from = say("%s/blobs/sha256/%s", source, sfs_image_layer(image, 0)->key + 7);
    char *to = say("%s/blobs/sha256/%s", dir, sfs_image_layer(image, 0)->key + 7);
    AUTO(bytes_free) struct bytes bytes = get_file(from);
    bytes.data[bytes.size / 2] ^= 1;
    put_file(to, bytes.data, bytes.size);
    cr_assert_eq(sfs_layout_add_layer(layout, image, 0, &err), 0, "%s", err.text);
    assert_same_file(from, to);
}

Test(layout_layer, of_a_directory_has_no_digest)
{
    cr_assert_eq(mkdir(say("%s/tree", scratch), 0777), 0);
    AUTO(sfs_image_close) struct sfs_image *image = open_image(say("dir:%s/tree", scratch));
    AUTO(sfs_layout_close) struct sfs_layout *layout = open_layout(say("%s/l", scratch));
    cr_assert_eq(sfs_layout_add_layer(layout, image, 0, &err), -ENOTSUP, "%s", err.text);
}

/* Closing without a tag */

Test(layout_close, takes_away_what_it_made_for_nothing)
{
    char *dir = say("%s/l", scratch);
    struct sfs_digest digest;
    AUTO(sfs_layout_close) struct sfs_layout *layout = open_layout(dir);
    cr_assert_eq(sfs_layout_add_bytes(layout, "x", 1, &digest, &err), 0, "%s", err.text);
    sfs_layout_close(&layout);
    cr_assert(!is_there(dir));
    cr_assert_eq(mkdir(dir, 0777), 0);
    layout = open_layout(dir);
    sfs_layout_close(&layout);
    cr_assert_eq(count_files(dir), 0); /* the directory was there before */
}

Test(layout_close, leaves_a_layout_that_was_there)
{
    char *dir = begin_layout("l");
    put_index(dir, "[]");
    struct sfs_digest digest;
    AUTO(sfs_layout_close) struct sfs_layout *layout = open_layout(dir);
    cr_assert_eq(sfs_layout_add_bytes(layout, "x", 1, &digest, &err), 0, "%s", err.text);
    sfs_layout_close(&layout);
    cr_assert_eq(count_files(dir), 3);
}

Test(layout_close, leaves_what_another_writer_works_on_or_has_tagged)
{
    char *dir = say("%s/l", scratch);
    AUTO(sfs_layout_close) struct sfs_layout *first = open_layout(dir);
    AUTO(sfs_layout_close) struct sfs_layout *second = open_layout(dir);
    sfs_layout_close(&first); /* made it, but the second is at work */
    cr_assert_eq(add_image(second, "b", "b"), 0, "%s", err.text);
    sfs_layout_close(&second);
    cr_assert_str_eq(opened_mark(say("oci:%s:b", dir), NULL), "b");

    remove_tree(dir);
    first = open_layout(dir);
    second = open_layout(dir);
    cr_assert_eq(add_image(second, "b", "b"), 0, "%s", err.text);
    sfs_layout_close(&second);
    sfs_layout_close(&first);
    cr_assert_str_eq(opened_mark(say("oci:%s:b", dir), NULL), "b");
}

Test(layout, made_here_is_read_by_others)
{
    char *dir = say("%s/l", scratch);
    AUTO(sfs_layout_close) struct sfs_layout *layout = open_layout(dir);
    cr_assert_eq(add_image(layout, "a", "t"), 0, "%s", err.text);
    sfs_layout_close(&layout);
    bool skopeo = system("command -v skopeo >/dev/null 2>&1") == 0;
    bool umoci = system("command -v umoci >/dev/null 2>&1") == 0;
    if (!skopeo && !umoci)
        cr_skip_test("neither skopeo nor umoci is installed");
    if (skopeo)
        cr_assert_eq(system(say("skopeo inspect --raw oci:'%s':t >/dev/null", dir)), 0);
    if (umoci)
        cr_assert_eq(system(say("umoci list --layout '%s' | grep -qx t", dir)), 0);
}
