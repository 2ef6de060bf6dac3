/* How the text of a reference is taken apart, and what is told about one that is wrong. */
#include "image/reference.h"

#include "image/guess.h"

#include <stagefs/format.h>
#include <ctype.h>
#include <errno.h>
#include <stagefs/suggest.h>
#include <sys/stat.h>

enum form {
    FORM_PATH_TAG,
    FORM_PATH_NAME,
    FORM_PATH,
    FORM_NAME,
    FORM_STORE_NAME,
    FORM_ALONE /* no rest */
};

static const struct transport {
    const char *prefix; /* what a reference begins with, its ':' included */
    enum sfs_transport transport;
    enum form form;
} transports[] = {
    { "oci-layout://", SFS_TRANSPORT_OCI, FORM_PATH_TAG },
    { "oci-archive:", SFS_TRANSPORT_OCI_ARCHIVE, FORM_PATH_TAG },
    { "oci:", SFS_TRANSPORT_OCI, FORM_PATH_TAG },
    { "docker-archive:", SFS_TRANSPORT_DOCKER_ARCHIVE, FORM_PATH_NAME },
    { "dir:", SFS_TRANSPORT_DIR, FORM_PATH },
    { "docker://", SFS_TRANSPORT_DOCKER, FORM_NAME },
    { "docker-image://", SFS_TRANSPORT_DOCKER, FORM_NAME },
    { "containers-storage:", SFS_TRANSPORT_STORAGE, FORM_STORE_NAME },
    { "docker-daemon:", SFS_TRANSPORT_DAEMON, FORM_NAME },
    { "-", SFS_TRANSPORT_TAR, FORM_ALONE },
};
#define TRANSPORTS (sizeof transports / sizeof transports[0])

void sfs_reference_done(struct sfs_reference *reference)
{
    sfs_free(&reference->path);
    sfs_free(&reference->name);
    sfs_free(&reference->id);
}

/* Bytes of "[fd00::1]" at the start; 0: there is no such host. */
static size_t address_size(const char *text)
{
    size_t size = *text == '[' ? 1 + strspn(text + 1, "0123456789abcdefABCDEF:.") : 0;
    bool ends = size > 1 && text[size] == ']' && (text[size + 1] == ':' || text[size + 1] == '/');
    return ends ? size + 1 : 0;
}

/* Is the text a name whose parts hold nothing that means something to a shell, a URL or a
 * terminal? */
static bool is_name(const char *text)
{
    const char *p = text + address_size(text);
    if (p == text && !isalnum((unsigned char)*text))
        return false;
    for (; *p; p++)
        if (!isalnum((unsigned char)*p) && !strchr("._-/:@", *p))
            return false;
    return !strstr(text, "//") && !strchr(":/@", p[-1]);
}

bool sfs_reference_names_host(const char *name)
{
    size_t first = strcspn(name, "/");
    return name[first] && (memchr(name, '.', first) || memchr(name, ':', first) ||
                           (first == 9 && memcmp(name, "localhost", 9) == 0));
}

int sfs_reference_full_name(const char *name, char **ret_full, struct sfs_error *err)
{
    if (!is_name(name) || strlen(name) > 1024)
        return sfs_fail(err, EINVAL, "'%.200s' is no image name", name);
    size_t first = strcspn(name, "/");
    bool names_host = sfs_reference_names_host(name);
    if (names_host && first == 15 && memcmp(name, "index.docker.io", 15) == 0)
        name += 6;
    const char *rest = names_host ? strchr(name, '/') + 1 : name;
    bool is_hub = !names_host || strncmp(name, "docker.io/", 10) == 0;
    size_t host = names_host ? (size_t)(rest - name) : 0;
    const char *digest = strchr(rest, '@');
    const char *colon = strrchr(rest, ':');
    bool has_tag = digest || (colon && !strchr(colon, '/'));
    if (!*rest)
        return sfs_fail(err, EINVAL, "'%.200s' is no image name", name);
    char *full = NULL;
    full = sfs_format("%.*s%s%s%s", (int)host, name, names_host ? "" : "docker.io/",
                      is_hub && !strchr(rest, '/') ? "library/" : "", rest);
    if (!full)
        return sfs_fail_memory(err);
    if (!has_tag) {
        char *tagged = sfs_format("%s:latest", full);
        free(full);
        if (!tagged)
            return sfs_fail_memory(err);
        full = tagged;
    }
    *ret_full = full;
    return 0;
}

static int copy_part(const char *text, size_t size, char **ret_copy, struct sfs_error *err)
{
    *ret_copy = strndup(text, size);
    return *ret_copy ? 0 : sfs_fail_memory(err);
}

/* How many bytes of `text` are the path, see the top of the header. */
static int find_path_end(const char *text, size_t *ret_end, struct sfs_error *err)
{
    size_t first = strcspn(text, ":");
    for (size_t end = first;; end += 1 + strcspn(text + end + 1, ":")) {
        AUTO(sfs_free) char *path = strndup(text, end);
        struct stat st;
        if (!path)
            return sfs_fail_memory(err);
        if (stat(path, &st) == 0) {
            *ret_end = end;
            return 0;
        }
        if (!text[end])
            break;
    }
    *ret_end = first;
    return 0;
}

/* "...@sha256:HEX" at the end: cuts it off. Other uses of '@' are part of path or tag. */
static int take_digest(char *text, struct sfs_reference *reference, struct sfs_error *err)
{
    char *at = strrchr(text, '@');
    if (!at || strncmp(at + 1, "sha", 3) != 0 || !strchr(at, ':'))
        return 0;
    int r = sfs_digest_parse(at + 1, &reference->digest, err);
    if (r < 0)
        return r;
    reference->has_digest = true;
    *at = 0;
    return 0;
}

/* The N of ":@N". */
static int take_position(const char *text, struct sfs_reference *reference, struct sfs_error *err)
{
    char *end;
    errno = 0;
    unsigned long long position = strtoull(text, &end, 10);
    if (!isdigit((unsigned char)*text) || *end || errno)
        return sfs_fail(err, EINVAL,
                        "'@%.100s' is no place: write a number behind the '@', from @0 on", text);
    reference->has_position = true;
    reference->position = (size_t)position;
    return 0;
}

static int parse_path_tag(char *text, struct sfs_reference *reference, struct sfs_error *err)
{
    int r = take_digest(text, reference, err);
    if (r < 0)
        return r;
    size_t end = 0;
    r = find_path_end(text, &end, err);
    if (r == 0)
        r = copy_part(text, end, &reference->path, err);
    if (r < 0 || !text[end])
        return r;
    if (reference->has_digest)
        return sfs_fail(err, EINVAL, "give a tag or a digest, not both");
    if (!text[end + 1] && reference->transport != SFS_TRANSPORT_DOCKER_ARCHIVE)
        return 0; /* skopeo itself prints a layout without a tag so */
    if (!text[end + 1])
        return sfs_fail(err, EINVAL,
                        "nothing behind the last ':' (the name may be left out, with its ':')");
    if (text[end + 1] == '@')
        return take_position(text + end + 2, reference, err);
    return copy_part(text + end + 1, strlen(text + end + 1), &reference->name, err);
}

static int parse_path_name(char *text, struct sfs_reference *reference, struct sfs_error *err)
{
    int r = parse_path_tag(text, reference, err);
    if (r < 0)
        return r;
    if (reference->has_digest)
        return sfs_fail(err, EINVAL, "a docker-archive's images have names, not digests");
    if (!reference->name)
        return 0;
    AUTO(sfs_free) char *name = TAKE(reference->name);
    return sfs_reference_full_name(name, &reference->name, err);
}

static int parse_name(char *text, struct sfs_reference *reference, struct sfs_error *err)
{
    int r = sfs_reference_full_name(text, &reference->name, err);
    reference->is_short = !sfs_reference_names_host(text);
    return r < 0 ? r : take_digest(text, reference, err);
}

/* "@ID" at the end: cuts it off. */
static int take_id(char *text, struct sfs_reference *reference, struct sfs_error *err)
{
    char *at = strrchr(text, '@');
    if (!at || strchr(at, ':'))
        return 0;
    *at = 0;
    if (!at[1] || at[1 + strspn(at + 1, "0123456789abcdef")])
        return sfs_fail(err, EINVAL, "'%.100s' is no id of an image", at + 1);
    return copy_part(at + 1, strlen(at + 1), &reference->id, err);
}

/* "[STORE]NAME", "NAME@ID", "@ID", as skopeo writes them. */
static int parse_store_name(char *text, struct sfs_reference *reference, struct sfs_error *err)
{
    int r = 0;
    if (*text == '[') {
        size_t size = strcspn(text, "]");
        if (!text[size])
            return sfs_fail(err, EINVAL, "the ']' behind the store is missing");
        r = copy_part(text + 1, size - 1, &reference->path, err);
        text += size + 1;
    }
    if (r == 0)
        r = take_id(text, reference, err);
    if (r < 0 || (reference->id && !*text))
        return r;
    return parse_name(text, reference, err);
}

static int parse_rest(enum form form, char *rest, struct sfs_reference *reference,
                      struct sfs_error *err)
{
    int r;
    switch (form) {
    case FORM_PATH_TAG:
        r = parse_path_tag(rest, reference, err);
        break;
    case FORM_PATH_NAME:
        r = parse_path_name(rest, reference, err);
        break;
    case FORM_PATH:
        r = copy_part(rest, strlen(rest), &reference->path, err);
        break;
    case FORM_ALONE:
        return 0;
    case FORM_STORE_NAME:
        return parse_store_name(rest, reference, err);
    default:
        return parse_name(rest, reference, err);
    }
    if (r == 0 && !reference->path[0])
        return sfs_fail(err, EINVAL, "the path is missing");
    return r;
}

/* A path that is there, alone or with a tag behind it, says itself what it is. 0: nothing is
 * there. */
static int fail_by_looking(const char *text, struct sfs_error *err)
{
    AUTO(sfs_free) char *path = strdup(text);
    if (!path)
        return sfs_fail_memory(err);
    const char *guess = sfs_guess_transport(path);
    char *colon = guess ? NULL : strchr(path, ':');
    if (colon) {
        *colon = 0;
        guess = sfs_guess_transport(path);
    }
    if (!guess)
        return 0;
    if (*guess)
        return sfs_fail(err, EINVAL, "'%.200s' does not say what it is, but it looks like %s%.200s",
                        text, guess, text);
    return sfs_fail(err, EINVAL,
                    "'%.200s' is a file, but no archive of an image: it has neither a "
                    "manifest.json, as docker-archive: has, nor an index.json, as oci-archive:",
                    path);
}

const char *sfs_reference_meant(const char *text)
{
    const char *known[TRANSPORTS + 1] = { NULL };
    char names[TRANSPORTS][32], word[64];
    size_t count = 0, size = strcspn(text, ":");
    for (size_t i = 0; i < TRANSPORTS; i++) {
        snprintf(names[i], sizeof names[i], "%.*s", (int)strcspn(transports[i].prefix, ":"),
                 transports[i].prefix);
        if (transports[i].form != FORM_ALONE)
            known[count++] = names[i];
    }
    snprintf(word, sizeof word, "%.*s", (int)(size < 63 ? size : 63), text);
    const char *meant = text[size] && !strchr("/.~", text[0]) ? sfs_suggest(word, known) : NULL;
    for (size_t i = 0; meant && i < TRANSPORTS; i++)
        if (strcmp(meant, names[i]) == 0)
            return transports[i].prefix;
    return NULL;
}

/* What begins so, or ends so, is meant as a file. */
static bool is_path(const char *text)
{
    const char *dot = strrchr(text, '.');
    return (*text && strchr("/.~", *text)) || (dot && strcmp(dot, ".tar") == 0);
}

/* Tells of a transport that is not known, and what the user may have meant. */
static int fail_unknown(const char *text, struct sfs_error *err)
{
    int r = fail_by_looking(text, err);
    const char *meant = sfs_reference_meant(text);
    int size = (int)strcspn(text, ":");
    if (r < 0)
        return r;
    if (meant)
        return sfs_fail(err, EINVAL, "%.200s: no transport '%.*s'; did you mean %s?", text,
                        size < 63 ? size : 63, text, meant);
    if (is_path(text))
        return sfs_fail(err, EINVAL,
                        "'%.200s' is not there, and does not say what it is: write oci:DIR[:TAG] "
                        "for an OCI layout, dir:DIR for a directory tree, docker-archive:FILE or "
                        "oci-archive:FILE for an archive",
                        text);
    if (is_name(text))
        return sfs_fail(
            err, EINVAL,
            "'%.100s' does not say where it is: docker://%.100s in a registry, "
            "oci:%.100s in an OCI layout; where docker has it, 'docker save -o image.tar "
            "%.100s', then docker-archive:image.tar",
            text, text, text, text);
    return sfs_fail(err, EINVAL,
                    "'%.200s' does not say what it is: there are oci:, oci-archive:, "
                    "docker-archive:, dir: and docker://",
                    text);
}

static bool is_spelt(const char *text, const struct transport *transport)
{
    return transport->form == FORM_ALONE
               ? strcmp(text, transport->prefix) == 0
               : strncmp(text, transport->prefix, strlen(transport->prefix)) == 0;
}

/* A prefix counts without its "//" too: the parser then says what is wrong. */
bool sfs_reference_has_transport(const char *text)
{
    for (size_t i = 0; i < TRANSPORTS; i++) {
        const char *prefix = transports[i].prefix, *colon = strchr(prefix, ':');
        if (colon && strncmp(text, prefix, (size_t)(colon - prefix) + 1) == 0)
            return true;
    }
    return false;
}

int sfs_reference_parse(const char *text, struct sfs_reference *ret_reference,
                        struct sfs_error *err)
{
    for (size_t i = 0; i < TRANSPORTS; i++) {
        if (!is_spelt(text, &transports[i]))
            continue;
        AUTO(sfs_reference_done)
        struct sfs_reference reference = { .transport = transports[i].transport };
        AUTO(sfs_free) char *rest = strdup(text + strlen(transports[i].prefix));
        if (!rest)
            return sfs_fail_memory(err);
        int r = parse_rest(transports[i].form, rest, &reference, err);
        if (r < 0)
            return sfs_fail_while(err, r, "%.200s", text);
        *ret_reference = reference;
        reference = (struct sfs_reference){ 0 };
        return 0;
    }
    return fail_unknown(text, err);
}
