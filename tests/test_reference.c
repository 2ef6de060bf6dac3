#include "image_support.h"

#include "image/platform.h"
#include "image/reference.h"

static struct sfs_reference parsed;

static int parse(const char *text, struct sfs_error *err)
{
    parsed = (struct sfs_reference){ 0 };
    snprintf(err->text, sizeof err->text, "no words");
    return sfs_reference_parse(text, &parsed, err);
}

static void assert_parses(const char *text, enum sfs_transport transport, const char *path,
                          const char *name)
{
    struct sfs_error err;
    int r = parse(text, &err);
    cr_assert_eq(r, 0, "%s: %s", text, err.text);
    cr_assert_eq(parsed.transport, transport, "%s", text);
    cr_assert((!path && !parsed.path) || (path && parsed.path && strcmp(parsed.path, path) == 0),
              "%s: path '%s'", text, parsed.path ? parsed.path : "(none)");
    cr_assert((!name && !parsed.name) || (name && parsed.name && strcmp(parsed.name, name) == 0),
              "%s: name '%s'", text, parsed.name ? parsed.name : "(none)");
    sfs_reference_done(&parsed);
}

static void assert_wrong(const char *text, int code, const char *part)
{
    struct sfs_error err;
    int r = parse(text, &err);
    cr_assert_eq(r, -code, "%s: %d", text, r);
    assert_says(err, part);
}

#define HEX    "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define DIGEST "sha256:" HEX

Test(reference, splits_a_layout_at_its_first_colon)
{
    assert_parses("oci:/no/dir", SFS_TRANSPORT_OCI, "/no/dir", NULL);
    assert_parses("oci:/no/dir:1.0", SFS_TRANSPORT_OCI, "/no/dir", "1.0");
    assert_parses("oci:no:docker.io/library/a:1", SFS_TRANSPORT_OCI, "no", "docker.io/library/a:1");
    assert_parses("oci-layout:///no/dir:x", SFS_TRANSPORT_OCI, "/no/dir", "x");
    assert_parses("oci-archive:no.tar:x", SFS_TRANSPORT_OCI_ARCHIVE, "no.tar", "x");
}

Test(reference, takes_a_colon_into_the_path_if_that_is_there, .init = make_scratch,
     .fini = remove_scratch)
{
    char *dir = say("%s/a:b:c", scratch);
    cr_assert_eq(mkdir(dir, 0777), 0);
    assert_parses(say("oci:%s", dir), SFS_TRANSPORT_OCI, dir, NULL);
    assert_parses(say("oci:%s:tag", dir), SFS_TRANSPORT_OCI, dir, "tag");
    assert_parses(say("oci:%s:name:tag", dir), SFS_TRANSPORT_OCI, dir, "name:tag");
    assert_parses(say("dir:%s", dir), SFS_TRANSPORT_DIR, dir, NULL);
    cr_assert_eq(mkdir(say("%s/a", scratch), 0777), 0); /* now the first colon ends a path too */
    assert_parses(say("oci:%s", dir), SFS_TRANSPORT_OCI, say("%s/a", scratch), "b:c");
}

Test(reference, reads_a_digest_behind_the_at_sign)
{
    struct sfs_error err;
    char text[SFS_DIGEST_TEXT];
    cr_assert_eq(parse("oci:/no/dir@" DIGEST, &err), 0, "%s", err.text);
    cr_assert_str_eq(parsed.path, "/no/dir");
    cr_assert(parsed.has_digest && !parsed.name);
    cr_assert_str_eq(sfs_digest_print(&parsed.digest, text), DIGEST);
    sfs_reference_done(&parsed);
    assert_parses("oci:/home/me@work/dir:tag", SFS_TRANSPORT_OCI, "/home/me@work/dir", "tag");
    assert_wrong("oci:/no/dir@sha256:12", EINVAL, "64 hex digits");
    assert_wrong("oci:/no/dir@sha512:" HEX HEX, ENOTSUP, "sha256");
    assert_wrong("oci:/no/dir:tag@" DIGEST, EINVAL, "not both");
}

Test(reference, completes_docker_names)
{
    assert_parses("docker-archive:no.tar", SFS_TRANSPORT_DOCKER_ARCHIVE, "no.tar", NULL);
    assert_parses("docker-archive:no.tar:debian", SFS_TRANSPORT_DOCKER_ARCHIVE, "no.tar",
                  "docker.io/library/debian:latest");
    assert_parses("docker-archive:no.tar:me/app:1", SFS_TRANSPORT_DOCKER_ARCHIVE, "no.tar",
                  "docker.io/me/app:1");
    assert_parses("docker-archive:no.tar:localhost/app", SFS_TRANSPORT_DOCKER_ARCHIVE, "no.tar",
                  "localhost/app:latest");
    assert_parses("docker-archive:no.tar:reg.io:5000/a/b:1", SFS_TRANSPORT_DOCKER_ARCHIVE, "no.tar",
                  "reg.io:5000/a/b:1");
    assert_parses("docker://reg.io:5000/b", SFS_TRANSPORT_DOCKER, NULL, "reg.io:5000/b:latest");
    assert_parses("docker-image://index.docker.io/b", SFS_TRANSPORT_DOCKER, NULL,
                  "docker.io/library/b:latest");
    assert_parses("docker://debian@" DIGEST, SFS_TRANSPORT_DOCKER, NULL,
                  "docker.io/library/debian@" DIGEST);
    assert_parses("containers-storage:a:1", SFS_TRANSPORT_STORAGE, NULL, "docker.io/library/a:1");
    assert_parses("containers-storage:[overlay@/a+/b]c", SFS_TRANSPORT_STORAGE, "overlay@/a+/b",
                  "docker.io/library/c:latest");
    assert_parses("containers-storage:[/a]@0123abc", SFS_TRANSPORT_STORAGE, "/a", NULL);
    assert_parses("docker://[fd00::1]:5000/b:1", SFS_TRANSPORT_DOCKER, NULL, "[fd00::1]:5000/b:1");
    assert_parses("docker-archive:no.tar:[::1]/b", SFS_TRANSPORT_DOCKER_ARCHIVE, "no.tar",
                  "[::1]/b:latest");
    assert_wrong("docker://", EINVAL, "no image name");
    assert_wrong("docker://[x]/b", EINVAL, "no image name");
    assert_wrong("docker-archive:no.tar:debian:", EINVAL, "no image name");
    assert_wrong("docker-archive:no.tar:debian@", EINVAL, "no image name");
    assert_wrong("docker://user:pass word@x", EINVAL, "no image name");
    assert_wrong("docker-archive:no.tar:docker.io/", EINVAL, "no image name");
}

Test(reference, asks_for_what_is_missing)
{
    assert_wrong("oci:", EINVAL, "path is missing");
    assert_wrong("oci::tag", EINVAL, "path is missing");
    assert_wrong("dir:", EINVAL, "path is missing");
    assert_wrong("docker-archive:no.tar:", EINVAL, "name may be left out");
    assert_parses("oci:/no/dir:", SFS_TRANSPORT_OCI, "/no/dir", NULL);
}

Test(reference, counts_images_behind_the_at_sign)
{
    struct sfs_error err;
    cr_assert_eq(parse("docker-archive:no.tar:@12", &err), 0, "%s", err.text);
    cr_assert(parsed.has_position && parsed.position == 12 && !parsed.name);
    sfs_reference_done(&parsed);
    cr_assert_eq(parse("oci:/no/dir:@0", &err), 0, "%s", err.text);
    cr_assert(parsed.has_position && parsed.position == 0 && !parsed.name);
    sfs_reference_done(&parsed);
    assert_wrong("docker-archive:no.tar:@", EINVAL, "write a number");
    assert_wrong("docker-archive:no.tar:@-1", EINVAL, "write a number");
    assert_wrong("oci-archive:no.tar:@1x", EINVAL, "write a number");
    assert_wrong("oci:no:@99999999999999999999", EINVAL, "write a number");
}

Test(reference, takes_a_lone_dash_for_a_stream)
{
    assert_parses("-", SFS_TRANSPORT_TAR, NULL, NULL);
    assert_wrong("-x", EINVAL, "does not say what it is");
    assert_wrong("--", EINVAL, "does not say what it is");
    assert_wrong("-:x", EINVAL, "'-:x' does not say what it is");
}

Test(reference, is_told_from_a_name_by_its_transport)
{
    static const char *const with[] = { "oci:a", "oci-layout:a", "dir:", "docker:a", "docker://a" };
    static const char *const without[] = { "-", "oci", "ubuntu:22.04", "ocix:a", "./oci:a", "" };
    for (size_t i = 0; i < sizeof with / sizeof *with; i++)
        cr_assert(sfs_reference_has_transport(with[i]), "%s", with[i]);
    for (size_t i = 0; i < sizeof without / sizeof *without; i++)
        cr_assert_not(sfs_reference_has_transport(without[i]), "%s", without[i]);
}

Test(reference, suggests_the_nearest_transport)
{
    assert_wrong("osi:dir", EINVAL, "did you mean oci:?");
    assert_wrong("oci-archiv:x.tar", EINVAL, "did you mean oci-archive:?");
    assert_wrong("docker:x", EINVAL, "did you mean docker://?");
    assert_wrong("dcoker-archive:x", EINVAL, "did you mean docker-archive:?");
    assert_wrong("ubuntu:22.04", EINVAL, "docker://ubuntu:22.04 in a registry");
    assert_wrong("ghcr.io/me/x:1", EINVAL, "docker save -o image.tar ghcr.io/me/x:1");
    assert_wrong("debian", EINVAL, "docker://debian in a registry");
}

Test(reference, does_not_take_a_bare_directory)
{
    assert_wrong("/some/dir", EINVAL, "'/some/dir' is not there");
    assert_wrong("./dir:tag", EINVAL, "oci:DIR[:TAG]");
    assert_wrong("image.tar", EINVAL, "docker-archive:FILE");
    assert_wrong("stage", EINVAL, "oci:stage");
    assert_wrong("", EINVAL, "does not say what it is");
}

static int rank(const char *wanted, const char *json_text)
{
    struct sfs_platform platform_wanted;
    struct sfs_error err;
    cr_assert_eq(sfs_platform_parse(wanted, &platform_wanted, &err), 0, "%s", err.text);
    json_t *json = json_loads(json_text, JSON_DECODE_ANY, NULL);
    cr_assert(json, "%s", json_text);
    int r = sfs_platform_rank(&platform_wanted, json);
    json_decref(json);
    return r;
}

#define PLATFORM(arch, variant)                                                                    \
    "{\"os\":\"linux\",\"architecture\":\"" arch "\",\"variant\":\"" variant "\"}"
#define PLAIN(arch) "{\"os\":\"linux\",\"architecture\":\"" arch "\"}"

Test(platform, knows_its_variants)
{
    cr_assert_eq(rank("linux/amd64", PLAIN("amd64")), 0);
    cr_assert_eq(rank("linux/x86_64", PLAIN("amd64")), 0);
    cr_assert_lt(rank("linux/amd64", PLATFORM("amd64", "v3")), 0);
    cr_assert_geq(rank("linux/amd64/v3", PLAIN("amd64")), 0);
    cr_assert_lt(rank("linux/amd64/v3", PLATFORM("amd64", "v2")),
                 rank("linux/amd64/v3", PLAIN("amd64")));
    cr_assert_geq(rank("linux/arm64", PLATFORM("arm64", "v8")), 0);
    cr_assert_geq(rank("linux/arm64/v8", PLAIN("arm64")), 0);
    cr_assert_lt(rank("linux/arm64", PLATFORM("arm64", "v9")), 0);
    cr_assert_geq(rank("linux/arm", PLATFORM("arm", "v7")), 0);
    cr_assert_geq(rank("linux/armhf", PLATFORM("arm", "7")), 0);
    cr_assert_lt(rank("linux/arm/v7", PLATFORM("arm", "v7")),
                 rank("linux/arm/v7", PLATFORM("arm", "v6")));
    cr_assert_lt(rank("linux/arm/v6", PLATFORM("arm", "v7")), 0);
}

Test(platform, matches_neither_another_machine_nor_nonsense)
{
    cr_assert_lt(rank("linux/amd64", PLAIN("arm64")), 0);
    cr_assert_lt(rank("windows/amd64", PLAIN("amd64")), 0);
    cr_assert_lt(rank("linux/amd64", "{}"), 0);
    cr_assert_lt(rank("linux/amd64", "[]"), 0);
    cr_assert_lt(rank("linux/amd64", "{\"os\":1,\"architecture\":{}}"), 0);
    cr_assert_gt(rank("linux/amd64", "null"), rank("linux/amd64/v3", PLAIN("amd64")));
}

Test(platform, is_the_hosts_if_not_given)
{
    struct sfs_platform host;
    struct sfs_error err;
    char text[SFS_PLATFORM_TEXT];
    cr_assert_eq(sfs_platform_parse(NULL, &host, &err), 0);
    cr_assert_str_eq(host.os, "linux");
    cr_assert_neq(host.arch[0], 0);
#ifdef __x86_64__
    cr_assert_str_eq(sfs_platform_print(&host, text), "linux/amd64");
#else
    cr_assert_neq(sfs_platform_print(&host, text)[0], 0);
#endif
}

Test(platform, is_one_however_it_is_written)
{
    static const char *const cases[][2] = {
        { "linux/arm", "linux/arm/v7" },
        { "linux/arm/7", "linux/arm/v7" },
        { "linux/arm/v6", "linux/arm/v6" },
        { "linux/armhf", "linux/arm/v7" },
        { "linux/armel/v7", "linux/arm/v6" },
        { "linux/arm64/v8", "linux/arm64" },
        { "linux/arm64/8", "linux/arm64" },
        { "Linux/AArch64", "linux/arm64" },
        { "linux/arm64/v9", "linux/arm64/v9" },
        { "linux/amd64/v1", "linux/amd64" },
        { "linux/amd64/v2", "linux/amd64/v2" },
        { "linux/i386/v1", "linux/386" },
        { "macos/arm64", "darwin/arm64" },
        { "arm64", "linux/arm64" },
        { "armhf", "linux/arm/v7" },
        { "riscv64", "linux/riscv64" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct sfs_platform platform;
        struct sfs_error err;
        char text[SFS_PLATFORM_TEXT];
        cr_assert_eq(sfs_platform_parse(cases[i][0], &platform, &err), 0, "%s", err.text);
        cr_expect_str_eq(sfs_platform_print(&platform, text), cases[i][1], "%s is %s", cases[i][0],
                         text);
    }
    struct sfs_platform host, linux_only, windows;
    cr_assert_eq(sfs_platform_parse(NULL, &host, NULL), 0);
    cr_assert_eq(sfs_platform_parse("linux", &linux_only, NULL), 0);
    cr_assert_eq(sfs_platform_parse("windows", &windows, NULL), 0);
    cr_expect_str_eq(linux_only.arch, host.arch);
    cr_expect_str_eq(windows.os, "windows");
    cr_expect_str_eq(windows.arch, host.arch);
}

Test(platform, refuses_what_is_not_one)
{
    static const char *const wrong[] = {
        "",
        "linucks",
        "linux/",
        "/amd64",
        "linux/amd64/v1/x",
        "a b/c",
        "linux//amd64",
        "linux/amd64/?",
        "linux/0123456789012345678901234567890123456789",
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        struct sfs_platform ignored;
        struct sfs_error err;
        cr_assert_eq(sfs_platform_parse(wrong[i], &ignored, &err), -EINVAL, "%s", wrong[i]);
        assert_says(err, "linux/arm64");
    }
}
