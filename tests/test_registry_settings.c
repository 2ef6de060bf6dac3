/* Logins and settings: TOML, registries.conf, hosts.toml, certs.d, auth files and their helpers. */
#include "image_support.h"

#include "registry/certificates.h"
#include "registry/config.h"
#include "registry/credentials.h"
#include "registry/curl_api.h"
#include "registry/toml.h"

/* Nothing of the machine's own settings is seen. */
static void make_home(void)
{
    struct sfs_error err;
    const struct sfs_curl *curl;
    make_scratch();
    cr_assert_eq(sfs_curl_load(&curl, &err), 0, "%s", err.text);
    setenv("HOME", scratch, 1);
    setenv("XDG_RUNTIME_DIR", scratch, 1);
    unsetenv("XDG_CONFIG_HOME");
    unsetenv("DOCKER_CONFIG");
    unsetenv("REGISTRY_AUTH_FILE");
    unsetenv("CONTAINERS_REGISTRIES_CONF");
}

/* Writes a file below the home, and the directories that it is in. */
static void put(const char *name, const char *text)
{
    AUTO(sfs_free) char *path = strdup(say("%s/%s", scratch, name));
    for (char *p = path + strlen(scratch) + 1; (p = strchr(p, '/')); *p++ = '/') {
        *p = 0;
        mkdir(path, 0755);
    }
    FILE *file = fopen(path, "w");
    cr_assert(file, "%s", path);
    fputs(text, file);
    fclose(file);
}

/* ---- TOML */

static void assert_toml(const char *text, const char *json)
{
    struct sfs_error err;
    json_t *found = NULL;
    int r = sfs_toml_parse(text, strlen(text), "it", &found, &err);
    cr_assert_eq(r, 0, "%s: %s", text, err.text);
    char *shown = json_dumps(found, JSON_COMPACT);
    cr_assert_str_eq(shown, json);
    free(shown);
    json_decref(found);
}

static void assert_no_toml(const char *text, int code, const char *words)
{
    struct sfs_error err;
    json_t *found = NULL;
    int r = sfs_toml_parse(text, strlen(text), "it", &found, &err);
    cr_assert_eq(r, -code, "%s: %d", text, r);
    assert_says(err, words);
}

Test(toml, reads_what_settings_are_made_of)
{
    assert_toml("", "{}");
    assert_toml("# nothing\r\n\n", "{}");
    assert_toml("a = \"x\\t\\u00e9\\\\\"\nb='c:\\d'\nc = true # yes\nd=-1_000",
                "{\"a\":\"x\\té\\\\\",\"b\":\"c:\\\\d\",\"c\":true,\"d\":-1000}");
    assert_toml("a = [ \"x\", # one\n 'y',\n]\nb=[]\nc=[[1,2],[3]]",
                "{\"a\":[\"x\",\"y\"],\"b\":[],\"c\":[[1,2],[3]]}");
    assert_toml("[a]\nb.c = 1\n\"d.e\" = 2\n[a.f]\n[g]",
                "{\"a\":{\"b\":{\"c\":1},\"d.e\":2,\"f\":{}},\"g\":{}}");
    assert_toml("[[r]]\na=1\n[[r.m]]\nb=1\n[[r.m]]\nb=2\n[[r]]\na=2\n[r.t]\nx=1",
                "{\"r\":[{\"a\":1,\"m\":[{\"b\":1},{\"b\":2}]},{\"a\":2,\"t\":{\"x\":1}}]}");
    assert_toml(
        "[host.\"https://m:5000\"]\n  capabilities = [\"pull\"]\n  [host.\"https://m:5000\"."
        "header]\n    x = \"1\"",
        "{\"host\":{\"https://m:5000\":{\"capabilities\":[\"pull\"],\"header\":{\"x\":\"1\"}}}}");
    assert_toml("a = { b = 1, c = { d = 'x' } }", "{\"a\":{\"b\":1,\"c\":{\"d\":\"x\"}}}");
}

Test(toml, says_where_it_is_wrong)
{
    assert_no_toml("a = 1\nb", EBADMSG, "it: line 2: no '='");
    assert_no_toml("a = ", EBADMSG, "a value is missing");
    assert_no_toml("a = \"x", EBADMSG, "without its end");
    assert_no_toml("a = \"x\ny\"", EBADMSG, "without its end");
    assert_no_toml("a = \"\\x\"", EBADMSG, "backslash");
    assert_no_toml("a = \"\\ud800\"", EBADMSG, "no character");
    assert_no_toml("a = [1", EBADMSG, "array");
    assert_no_toml("a = {b=1", EBADMSG, "inline table");
    assert_no_toml("a = 1 b = 2", EBADMSG, "behind the end");
    assert_no_toml("a = 1\na = 2", EBADMSG, "set twice");
    assert_no_toml("a = 1\n[a]", EBADMSG, "is none");
    assert_no_toml("a = []\n[a]", EBADMSG, "is none");
    assert_no_toml("[a]\n[[a]]", EBADMSG, "is none");
    assert_no_toml("[a", EBADMSG, "no ']'");
    assert_no_toml("[[a]", EBADMSG, "no ']'");
    assert_no_toml("[]", EBADMSG, "name is missing");
    assert_no_toml("a = \"\xff\"", EBADMSG, "UTF-8");
    assert_no_toml("a = 1.5", ENOTSUP, "no string, whole number");
    assert_no_toml("a = 1979-05-27", ENOTSUP, "no string, whole number");
    assert_no_toml("a = \"\"\"\nx\"\"\"", ENOTSUP, "several lines");
    char deep[256] = "a = ";
    memset(deep + 4, '[', 200);
    assert_no_toml(deep, E2BIG, "too deep");
}

Test(toml, survives_any_cut_and_any_byte)
{
    static const char text[] =
        "[[r]]\nprefix = \"a\\u0041\" # c\nm = [ 'x', {b.c = true} ]\n[r.\"q\"]\n";
    char bytes[sizeof text];
    json_t *json = NULL;
    for (size_t i = 0; i < sizeof text; i++) {
        if (sfs_toml_parse(text, i, "it", &json, NULL) == 0)
            json_decref(json);
        for (int c = 0; c < 256; c++) {
            memcpy(bytes, text, sizeof text);
            bytes[i] = (char)c;
            if (sfs_toml_parse(bytes, sizeof text - 1, "it", &json, NULL) == 0)
                json_decref(json);
        }
    }
}

/* ---- where a repository is read */

static char *list_endpoints(const char *text, bool insecure)
{
    static char lines[4096];
    struct sfs_error err;
    AUTO(sfs_config_close) struct sfs_config *config = NULL;
    AUTO(sfs_endpoint_list_done) struct sfs_endpoint_list list = { 0 };
    AUTO(sfs_name_done) struct sfs_name name = { 0 };
    int r = sfs_config_open(&config, &err);
    if (r == 0)
        r = sfs_name_parse(text, &name, &err);
    if (r == 0)
        r = sfs_config_find_endpoints(config, &name, insecure, &list, &err);
    lines[0] = 0;
    size_t used = 0;
    if (r < 0)
        snprintf(lines, sizeof lines, "%d %s", -r, err.text);
    for (size_t i = 0; r == 0 && i < list.count; i++) {
        const struct sfs_endpoint *it = &list.items[i];
        used += (size_t)snprintf(
            lines + used, sizeof lines - used, "%s %s %s%s%s%s%s%s%s%s\n", it->base, it->host,
            it->repository, it->query ? " " : "", it->query ? it->query : "",
            it->may_be_plain ? " plain" : "", it->tls.no_verify ? " unverified" : "",
            it->for_tags ? "" : " no-tags", it->for_digests ? "" : " no-digests",
            it->headers && it->headers[0] ? it->headers[0] : "");
    }
    return lines;
}

Test(endpoints, are_the_registry_itself_where_nothing_is_set, .init = make_home,
     .fini = remove_scratch)
{
    cr_assert_str_eq(list_endpoints("h.example:1/a", false),
                     "https://h.example:1/v2 h.example:1 a\n");
    cr_assert_str_eq(list_endpoints("debian", false),
                     "https://registry-1.docker.io/v2 docker.io library/debian\n");
    cr_assert_str_eq(list_endpoints("localhost:1/a", false),
                     "https://localhost:1/v2 localhost:1 a plain\n");
    cr_assert_str_eq(list_endpoints("h.example/a", true),
                     "https://h.example/v2 h.example a plain unverified\n");
}

#define CONF ".config/containers/registries.conf"
Test(endpoints, follow_registries_conf, .init = make_home, .fini = remove_scratch)
{
    put(CONF,
        "unqualified-search-registries = [\"x\"]\n"
        "[[registry]]\nprefix='h.example/a'\nlocation='in.example/b/c'\ninsecure=true\n"
        "[[registry.mirror]]\nlocation='m1.example:5/x'\n"
        "[[registry.mirror]]\nlocation='m2.example'\npull-from-mirror='digest-only'\n"
        "[[registry.mirror]]\nlocation='m3.example'\npull-from-mirror='tag-only'\n"
        "[[registry]]\nlocation='h.example/a/blocked'\nblocked=true\n"
        "[[registry]]\nprefix='*.wild.example/n'\nlocation='w.example'\n"
        "[[registry]]\nprefix='*.free.example'\ninsecure=true\n"
        "[[registry]]\nlocation='docker.io'\n[[registry.mirror]]\nlocation='hub.example/h'\n");
    cr_assert_str_eq(list_endpoints("h.example/a/d", false),
                     "https://m1.example:5/v2 m1.example:5 x/d\n"
                     "https://m2.example/v2 m2.example d no-tags\n"
                     "https://m3.example/v2 m3.example d no-digests\n"
                     "https://in.example/v2 in.example b/c/d plain unverified\n");
    cr_assert_str_eq(list_endpoints("h.example/ab", false), "https://h.example/v2 h.example ab\n");
    cr_assert(strstr(list_endpoints("h.example/a/blocked/x", false), "13 h.example/a/blocked is "
                                                                     "blocked"));
    cr_assert_str_eq(list_endpoints("q.wild.example/n/x", false),
                     "https://w.example/v2 w.example x\n");
    cr_assert_str_eq(list_endpoints("wild.example/n/x", false),
                     "https://wild.example/v2 wild.example n/x\n");
    cr_assert_str_eq(list_endpoints("a.b.free.example/x", false),
                     "https://a.b.free.example/v2 a.b.free.example x plain unverified\n");
    cr_assert_str_eq(list_endpoints("debian", false),
                     "https://hub.example/v2 hub.example h/library/debian\n"
                     "https://registry-1.docker.io/v2 docker.io library/debian\n");
}

Test(endpoints, let_drop_ins_change_a_table, .init = make_home, .fini = remove_scratch)
{
    put(CONF, "[[registry]]\nlocation='h.example'\nblocked=true\n");
    put(CONF ".d/10-a.conf", "[[registry]]\nprefix='h.example'\nlocation='one.example'\n");
    put(CONF ".d/20-b.conf", "[[registry]]\nprefix='h.example'\nlocation='two.example'\n");
    put(CONF ".d/30-not", "this is not read");
    cr_assert_str_eq(list_endpoints("h.example/a", false),
                     "https://two.example/v2 two.example a\n");
    put(CONF ".d/40-bad.conf", "[[registry]]\nblocked = maybe\n");
    cr_assert(strstr(list_endpoints("h.example/a", false), "40-bad.conf: line 2"));
}

Test(endpoints, follow_hosts_toml, .init = make_home, .fini = remove_scratch)
{
    put(".config/containerd/certs.d/h.example_5000_/hosts.toml",
        "server = 'https://h.example:5000'\n"
        "[host.'http://p2p:1']\ncapabilities=['pull']\n"
        "[host.'https://m.example/deep']\noverride_path=true\nskip_verify=true\n"
        "[host.'https://m.example/deep'.header]\nX-One='1'\n");
    cr_assert_str_eq(list_endpoints("h.example:5000/a", false),
                     "http://p2p:1/v2 p2p:1 a ns=h.example:5000 no-tags\n"
                     "https://m.example/deep m.example a ns=h.example:5000 unverifiedX-One: 1\n"
                     "https://h.example:5000/v2 h.example:5000 a\n");
    put(".config/containerd/certs.d/docker.io/hosts.toml",
        "server='https://registry-1.docker.io'\n");
    cr_assert_str_eq(list_endpoints("debian", false),
                     "https://registry-1.docker.io/v2 docker.io library/debian\n");
    put(".config/containerd/certs.d/_default/hosts.toml", "server='https://all.example'\n");
    cr_assert_str_eq(list_endpoints("other.example/a", false),
                     "https://all.example/v2 all.example a ns=other.example\n");
    put(".config/containerd/certs.d/docker.io/hosts.toml", "[host.'x'.header]\n'a\\nb'='c'\n");
    cr_assert(strstr(list_endpoints("debian", false), "cannot be sent"));
}

Test(certificates, are_those_of_the_host, .init = make_home, .fini = remove_scratch)
{
    struct sfs_error err;
    struct sfs_http_tls tls = { 0 };
    put(".config/containers/certs.d/h.example:1/a.crt", "one");
    put(".config/containers/certs.d/h.example:1/b.crt", "two");
    put(".config/containers/certs.d/h.example:1/c.cert", "x");
    cr_assert_eq(sfs_certificates_find("h.example:1", &tls, &err), -EBADMSG);
    assert_says(err, "without");
    sfs_http_tls_done(&tls);
    put(".config/containers/certs.d/h.example:1/c.key", "x");
    cr_assert_eq(sfs_certificates_find("h.example:1", &tls, &err), 0, "%s", err.text);
    cr_assert_str_eq(tls.authorities, "one\ntwo\n");
    cr_assert(strstr(tls.certificate, "/c.cert") && strstr(tls.key, "/c.key"));
    sfs_http_tls_done(&tls);
    cr_assert_eq(sfs_certificates_find("h.example", &tls, &err), 0);
    cr_assert(!tls.authorities && !tls.certificate);
}

/* ---- logins */

static const char *login_of(const char *host, const char *repository,
                            const struct sfs_registry_options *options, const char *const *helpers)
{
    static char text[1200];
    static const struct sfs_registry_options none;
    struct sfs_error err;
    AUTO(sfs_credentials_done) struct sfs_credentials login;
    int r =
        sfs_credentials_find(options ? options : &none, helpers, host, repository, &login, &err);
    if (r < 0)
        snprintf(text, sizeof text, "%d %s", -r, err.text);
    else if (login.identity_token || login.registry_token)
        snprintf(text, sizeof text, "%s%s", login.identity_token ? "identity " : "registry ",
                 login.identity_token ? login.identity_token : login.registry_token);
    else
        snprintf(text, sizeof text, "%s %s", login.user, login.password);
    return text;
}

/* "u1:p1" and so on in base64. */
#define U1 "\"dTE6cDE=\""
#define U2 "\"dTI6cDI=\""
#define U3 "\"dTM6cDM6eA==\""

Test(logins, are_those_of_the_longest_key, .init = make_home, .fini = remove_scratch)
{
    put("containers/auth.json", "{\"auths\":{\"h.example\":{\"auth\":" U1 "},\"h.example/a/b\":"
                                "{\"auth\":" U2 "},\"docker.io\":{\"auth\":" U3 "},\"t.example\":{"
                                "\"identitytoken\":\"T\"},\"e.example\":{}}}");
    put(".docker/config.json",
        "{\"auths\":{\"https://index.docker.io/v1/\":{\"auth\":" U1
        "},\"https://old.example/v1/\":{"
        "\"username\":\"u\",\"password\":\"p\"},\"e.example\":{\"auth\":" U2 "}}}");
    put(".dockercfg", "{\"oldest.example\":{\"auth\":" U1 "}}");
    cr_assert_str_eq(login_of("h.example", "a", NULL, NULL), "u1 p1");
    cr_assert_str_eq(login_of("h.example", "a/b/c", NULL, NULL), "u2 p2");
    cr_assert_str_eq(login_of("h.example", "a/bc", NULL, NULL), "u1 p1");
    cr_assert_str_eq(login_of("docker.io", "library/x", NULL, NULL), "u3 p3:x");
    cr_assert_str_eq(login_of("t.example", "x", NULL, NULL), "identity T");
    cr_assert_str_eq(login_of("old.example", "x", NULL, NULL), "u p");
    cr_assert_str_eq(login_of("oldest.example", "x", NULL, NULL), "u1 p1");
    cr_assert_str_eq(login_of("e.example", "x", NULL, NULL), "u2 p2");
    cr_assert(strstr(login_of("h.example:1", "a", NULL, NULL), "2 there is no login"));
}

Test(logins, come_from_where_they_are_said_to, .init = make_home, .fini = remove_scratch)
{
    put("containers/auth.json", "{\"auths\":{\"h.example\":{\"auth\":" U1 "}}}");
    put("named.json", "{\"auths\":{\"h.example\":{\"auth\":" U2 "}}}");
    AUTO(sfs_free) char *named = strdup(say("%s/named.json", scratch));
    AUTO(sfs_free) char *missing = strdup(say("%s/missing.json", scratch));
    struct sfs_registry_options creds = { .creds = "me:a:b", .authfile = named };
    struct sfs_registry_options file = { .authfile = named }, no_file = { .authfile = missing };
    cr_assert_str_eq(login_of("h.example", "a", &creds, NULL), "me a:b");
    setenv("REGISTRY_AUTH_FILE", missing, 1);
    cr_assert_str_eq(login_of("h.example", "a", &file, NULL), "u2 p2");
    cr_assert(strstr(login_of("h.example", "a", &no_file, NULL), "missing.json"));
    cr_assert(strstr(login_of("h.example", "a", NULL, NULL), "missing.json"));
    unsetenv("REGISTRY_AUTH_FILE");
    cr_assert_str_eq(login_of("h.example", "a", NULL, NULL), "u1 p1");
    put("containers/auth.json", "{\"auths\":{\"h.example\":{\"auth\":\"!\"}}}");
    cr_assert(strstr(login_of("h.example", "a", NULL, NULL), "auth.json: an \"auth\" is not"));
    put("containers/auth.json", "{");
    cr_assert(strstr(login_of("h.example", "a", NULL, NULL), "containers/auth.json: "));
}

static void put_helper(const char *name, const char *script)
{
    put(say("bin/docker-credential-%s", name), script);
    chmod(say("%s/bin/docker-credential-%s", scratch, name), 0755);
    setenv("PATH", say("%s/bin:/usr/bin:/bin", scratch), 1);
}

Test(logins, come_from_helpers, .init = make_home, .fini = remove_scratch)
{
    put_helper("good", "#!/bin/sh\nread server\n[ \"$1\" = get ] || exit 1\n"
                       "echo \"{\\\"Username\\\":\\\"u\\\",\\\"Secret\\\":\\\"$server\\\"}\"\n");
    put_helper("token", "#!/bin/sh\necho '{\"Username\":\"<token>\",\"Secret\":\"T\"}'\n");
    put_helper("none", "#!/bin/sh\necho credentials not found in native keychain\nexit 1\n");
    put_helper("bad", "#!/bin/sh\necho secret words\nexit 1\n");
    put_helper("loud", "#!/bin/sh\nyes\n");
    put("containers/auth.json",
        "{\"credHelpers\":{\"h.example\":\"good\",\"t.example\":\"token\",\"n.example\":\"none\","
        "\"b.example\":\"bad\",\"l.example\":\"loud\",\"m.example\":\"missing\",\"e.example\":\"a/"
        "b\"},"
        "\"credsStore\":\"good\",\"auths\":{\"n.example\":{\"auth\":" U1 "}}}");
    cr_assert_str_eq(login_of("h.example", "a", NULL, NULL), "u h.example");
    cr_assert_str_eq(login_of("docker.io", "a", NULL, NULL), "u https://index.docker.io/v1/");
    cr_assert_str_eq(login_of("t.example", "a", NULL, NULL), "identity T");
    cr_assert(strstr(login_of("n.example", "a", NULL, NULL), "2 there is no login"));
    cr_assert(strstr(login_of("b.example", "a", NULL, NULL), "docker-credential-bad failed"));
    cr_assert(!strstr(login_of("b.example", "a", NULL, NULL), "secret"));
    cr_assert(strstr(login_of("l.example", "a", NULL, NULL), "says too much"));
    cr_assert(strstr(login_of("e.example", "a", NULL, NULL), "no name of a credential helper"));
    const char *const helpers[] = { "none", "containers-auth.json", "token", NULL };
    cr_assert_str_eq(login_of("any.example", "a", NULL, helpers), "u any.example");
}
