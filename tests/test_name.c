/* Names in registries, challenges, URLs and ranges: what is read from texts. */
#include "image_support.h"

#include "registry/challenge.h"
#include "registry/curl_api.h"
#include "registry/name.h"
#include "registry/repository_parts.h"
#include "registry/url.h"

#define DIGEST "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static void assert_name(const char *text, const char *host, const char *repository, const char *tag)
{
    struct sfs_error err;
    struct sfs_name name;
    int r = sfs_name_parse(text, &name, &err);
    cr_assert_eq(r, 0, "%s: %s", text, err.text);
    cr_assert_str_eq(name.host, host);
    cr_assert_str_eq(name.repository, repository);
    cr_assert(tag ? name.tag && strcmp(name.tag, tag) == 0 : !name.tag && name.has_digest,
              "%s: tag %s", text, name.tag ? name.tag : "(none)");
    sfs_name_done(&name);
}

static void assert_no_name(const char *text, const char *words)
{
    struct sfs_error err;
    struct sfs_name name;
    int r = sfs_name_parse(text, &name, &err);
    cr_assert_eq(r, -EINVAL, "%s: %d", text, r);
    assert_says(err, words);
    sfs_name_done(&name);
}

Test(name, has_a_host_if_its_first_part_looks_like_one)
{
    assert_name("host.example/a", "host.example", "a", "latest");
    assert_name("localhost/a/b:1", "localhost", "a/b", "1");
    assert_name("host:5000/a", "host:5000", "a", "latest");
    assert_name("127.0.0.1:5000/a:b", "127.0.0.1:5000", "a", "b");
    assert_name("[::1]:5000/a/b-c__d.e", "[::1]:5000", "a/b-c__d.e", "latest");
    assert_name("HOST.example/a:V1.0-rc_1", "HOST.example", "a", "V1.0-rc_1");
}

Test(name, is_at_docker_io_else)
{
    assert_name("debian", "docker.io", "library/debian", "latest");
    assert_name("debian:12", "docker.io", "library/debian", "12");
    assert_name("user/a", "docker.io", "user/a", "latest");
    assert_name("docker.io/debian", "docker.io", "library/debian", "latest");
    assert_name("index.docker.io/user/a", "docker.io", "user/a", "latest");
    cr_assert_str_eq(sfs_name_server("docker.io"), "registry-1.docker.io");
    cr_assert_str_eq(sfs_name_server("host:1"), "host:1");
}

Test(name, takes_a_digest_beside_which_a_tag_says_nothing)
{
    assert_name("host.example/a@" DIGEST, "host.example", "a", NULL);
    assert_name("host.example:1/a:tag@" DIGEST, "host.example:1", "a", NULL);
    assert_no_name("host.example/a@sha256:123", "123");
}

Test(name, is_refused_where_it_would_mean_something_else_in_a_url)
{
    assert_no_name("host.example/A", "lower case");
    assert_no_name("host.example/a//b", "no name in a registry");
    assert_no_name("host.example/../b", "no name in a registry");
    assert_no_name("host.example/a?b", "no name in a registry");
    assert_no_name("host.example/a___b", "no name in a registry");
    assert_no_name("host.example/-a", "no name in a registry");
    assert_no_name("host.example/a-", "no name in a registry");
    assert_no_name("host.example/", "no name in a registry");
    assert_no_name("", "no name in a registry");
    assert_no_name("host.example/a:", "no tag");
    assert_no_name("host.example/a:b c", "no tag");
    assert_no_name("host.example:0/a", "no port");
    assert_no_name("host.example:65536/a", "no port");
    assert_no_name("host.example:1a/a", "no port");
    assert_no_name("user:pw@host.example/a", "");
    assert_no_name("[::1/a", "");
}

static void assert_challenge(const char *value, enum sfs_scheme scheme, const char *realm,
                             const char *service, const char *scope)
{
    struct sfs_challenge challenge;
    cr_assert_eq(sfs_challenge_parse(value, &challenge, NULL), 0);
    cr_assert_eq(challenge.scheme, scheme, "%s: %d", value, challenge.scheme);
    const char *found[] = { challenge.realm, challenge.service, challenge.scope };
    const char *wanted[] = { realm, service, scope };
    for (int i = 0; i < 3 && scheme == SFS_SCHEME_BEARER; i++)
        cr_assert(wanted[i] ? found[i] && strcmp(found[i], wanted[i]) == 0 : !found[i],
                  "%s: %d: %s", value, i, found[i] ? found[i] : "(none)");
    sfs_challenge_done(&challenge);
}

Test(challenge, is_the_first_that_we_can_answer)
{
    assert_challenge("Bearer realm=\"https://a/t\",service=\"s\",scope=\"repository:a:pull\"",
                     SFS_SCHEME_BEARER, "https://a/t", "s", "repository:a:pull");
    assert_challenge("bEARER  REALM = \"x\" , Service=plain", SFS_SCHEME_BEARER, "x", "plain",
                     NULL);
    assert_challenge("Basic realm=\"x\"", SFS_SCHEME_BASIC, NULL, NULL, NULL);
    assert_challenge("Negotiate, Basic realm=x", SFS_SCHEME_BASIC, NULL, NULL, NULL);
    assert_challenge("Negotiate YIIab/+c==, Bearer realm=\"x\"", SFS_SCHEME_BEARER, "x", NULL,
                     NULL);
    assert_challenge("NTLM abc=, Digest a=b, c=\"d, e\", Bearer realm=x,scope=y", SFS_SCHEME_BEARER,
                     "x", NULL, "y");
    assert_challenge("Bearer service=x, Basic", SFS_SCHEME_BASIC, NULL, NULL, NULL);
    assert_challenge("Bearer realm=\"a\\\"b\\\\c\",scope=\"\"", SFS_SCHEME_BEARER, "a\"b\\c", NULL,
                     "");
    assert_challenge("Bearer realm=a,realm=b", SFS_SCHEME_BEARER, "a", NULL, NULL);
}

Test(challenge, ends_where_it_is_malformed)
{
    static const char *const bad[] = { "",
                                       ",,,",
                                       "\"",
                                       "=",
                                       "Bearer",
                                       "Bearer realm",
                                       "Bearer realm=",
                                       "Bearer realm=\"x",
                                       "Bearer realm=\"x\\",
                                       "Digest a=\"" };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_challenge(bad[i], SFS_SCHEME_NONE, NULL, NULL, NULL);
}

static void load_curl(void)
{
    struct sfs_error err;
    const struct sfs_curl *curl;
    cr_assert_eq(sfs_curl_load(&curl, &err), 0, "%s", err.text);
}

static void assert_url(const char *text, const char *origin, const char *place)
{
    struct sfs_error err;
    struct sfs_url url;
    int r = sfs_url_parse(text, &url, &err);
    cr_assert_eq(r, origin ? 0 : -EBADMSG, "%s: %d", text, r);
    if (origin) {
        cr_assert_str_eq(url.origin, origin);
        cr_assert_str_eq(url.place, place);
    }
    sfs_url_done(&url);
}

Test(url, has_an_origin, .init = load_curl)
{
    assert_url("https://Host.Example/a?b", "https://host.example:443", "host.example");
    assert_url("http://host:80", "http://host:80", "host");
    assert_url("http://host:5000/x", "http://host:5000", "host:5000");
    assert_url("https://[::1]:5000/x", "https://[::1]:5000", "[::1]:5000");
    assert_url("ftp://host/x", NULL, NULL);
    assert_url("file:///etc/passwd", NULL, NULL);
    assert_url("https://user:secret@host/x", NULL, NULL);
    assert_url("/x", NULL, NULL);
    assert_url("https://ho st/x", NULL, NULL);
}

static void assert_resolves(const char *base, const char *location, const char *wanted)
{
    char *found = sfs_url_resolve(base, location);
    cr_assert(found && strcmp(found, wanted) == 0, "%s: %s", location, found ? found : "nowhere");
    free(found);
}

Test(url, is_resolved_against_another, .init = load_curl)
{
    assert_resolves("https://a/b/c?d", "/x?y=1", "https://a/x?y=1");
    assert_resolves("https://a/b/c", "d", "https://a/b/d");
    assert_resolves("https://a/b/c", "//h/d", "https://h/d");
    assert_resolves("https://a/b/c", "http://h:1/d#e", "http://h:1/d");
}

Test(url, is_shown_without_what_is_secret, .init = load_curl)
{
    char *shown = sfs_url_show("https://user:secret@host:1/path?X-Amz-Signature=secret#secret");
    cr_assert_str_eq(shown, "https://host:1/path");
    free(shown);
}

Test(url, knows_addresses_inside)
{
    static const char *const inside[] = { "localhost",   "a.localhost",     "127.1.2.3",
                                          "10.0.0.1",    "172.16.0.1",      "172.31.0.1",
                                          "192.168.0.1", "169.254.169.254", "100.64.0.1",
                                          "0.0.0.0",     "[::1]",           "[::]",
                                          "[fe80::1]",   "[fd00::1]",       "[::ffff:10.0.0.1]" };
    static const char *const outside[] = { "host.example",  "172.32.0.1",        "8.8.8.8",
                                           "[2001:db8::1]", "localhost.example", "127.example" };
    for (size_t i = 0; i < sizeof inside / sizeof inside[0]; i++)
        cr_assert(sfs_url_is_private(inside[i]), "%s", inside[i]);
    for (size_t i = 0; i < sizeof outside / sizeof outside[0]; i++)
        cr_assert(!sfs_url_is_private(outside[i]), "%s", outside[i]);
    cr_assert(sfs_url_is_loopback("127.0.0.1") && sfs_url_is_loopback("[::1]"));
    cr_assert(!sfs_url_is_loopback("10.0.0.1") && sfs_url_is_link_local("169.254.1.1"));
}

Test(content_range, is_exactly_what_was_asked_for)
{
    cr_assert(sfs_content_range_is("bytes 0-0/1", 0, 0, 1));
    cr_assert(sfs_content_range_is("bytes 5-9/18446744073709551615", 5, 9, UINT64_MAX));
    static const char *const others[] = { "bytes 5-9/*",
                                          "bytes */20",
                                          "bytes 5-9",
                                          "5-9/20",
                                          "bytes 4-9/20",
                                          "bytes 5-8/20",
                                          "bytes 5-9/21",
                                          "bytes 5-9/20 ",
                                          "bytes 5-9/20, 5-9/20",
                                          "bytes +5-9/20",
                                          "bytes 5-9/18446744073709551636",
                                          "bytes  5-9/20",
                                          "" };
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        cr_assert(!sfs_content_range_is(others[i], 5, 9, 20), "%s", others[i]);
}
