/* The grammar is that of the distribution project, which docker, podman and skopeo share. */
#include "registry/name.h"

#include "base/banned.h"
#include <ctype.h>
#include <errno.h>
#include <stagefs/auto.h>
#include <stagefs/format.h>

#define MAX_NAME 255u
#define MAX_TAG  128u

static bool is_lower(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

/* Letters and digits, parted by one of ". _ __" or any number of '-'. */
static bool is_component(const char *text, size_t size)
{
    size_t i = 0;
    while (i < size) {
        if (!is_lower(text[i]))
            return false;
        while (i < size && is_lower(text[i]))
            i++;
        if (i == size)
            return true;
        char mark = text[i];
        size_t run = 0;
        while (i < size && text[i] == mark) {
            i++;
            run++;
        }
        bool is_mark = mark == '-' || (mark == '.' && run == 1) || (mark == '_' && run <= 2);
        if (!is_mark)
            return false;
    }
    return false;
}

static int check_repository(const char *name, struct sfs_error *err)
{
    if (strlen(name) > MAX_NAME)
        return sfs_fail(err, EINVAL, "the name has more than %u letters", MAX_NAME);
    for (const char *p = name;; p++) {
        size_t size = strcspn(p, "/");
        if (!is_component(p, size)) {
            for (size_t i = 0; i < size; i++)
                if (isupper((unsigned char)p[i]))
                    return sfs_fail(err, EINVAL, "'%s': names in a registry are in lower case",
                                    name);
            return sfs_fail(err, EINVAL,
                            "'%s' is no name in a registry: letters and digits, parted by one of "
                            "'.', '-', '_' or '/'",
                            name);
        }
        p += size;
        if (!*p)
            return 0;
    }
}

static int check_tag(const char *tag, struct sfs_error *err)
{
    size_t size = strlen(tag);
    bool is_tag = size > 0 && size <= MAX_TAG && tag[0] != '.' && tag[0] != '-';
    for (size_t i = 0; i < size; i++)
        is_tag &= isalnum((unsigned char)tag[i]) || strchr("._-", tag[i]);
    return is_tag ? 0 : sfs_fail(err, EINVAL, "'%.200s' is no tag", tag);
}

static int check_port(const char *port, struct sfs_error *err)
{
    char *end;
    unsigned long value = strtoul(port, &end, 10);
    if (!isdigit((unsigned char)*port) || *end || value == 0 || value > 65535)
        return sfs_fail(err, EINVAL, "'%.100s' is no port", port);
    return 0;
}

static int check_host(const char *host, struct sfs_error *err)
{
    const char *rest = host;
    if (*host == '[') {
        size_t size = 1 + strspn(host + 1, "0123456789abcdefABCDEF:.");
        if (host[size] != ']' || size < 3)
            return sfs_fail(err, EINVAL, "'%.200s' is no host", host);
        rest = host + size + 1;
    } else {
        while (isalnum((unsigned char)*rest) || *rest == '-' || *rest == '.' || *rest == '_')
            rest++;
        if (rest == host || !isalnum((unsigned char)*host))
            return sfs_fail(err, EINVAL, "'%.200s' is no host", host);
    }
    if (*rest == ':')
        return check_port(rest + 1, err);
    return *rest ? sfs_fail(err, EINVAL, "'%.200s' is no host", host) : 0;
}

/* "@sha256:HEX" and ":TAG" at the end are cut off. */
static int take_ends(char *text, struct sfs_name *name, struct sfs_error *err)
{
    char *at = strchr(text, '@');
    if (at) {
        *at = 0;
        int r = sfs_digest_parse(at + 1, &name->digest, err);
        if (r < 0)
            return r;
        name->has_digest = true;
    }
    char *colon = strrchr(text, ':');
    bool has_tag = colon && !strchr(colon, '/');
    if (has_tag) {
        *colon = 0;
        int r = check_tag(colon + 1, err);
        if (r < 0)
            return r;
    }
    if (name->has_digest)
        return 0;
    name->tag = strdup(has_tag ? colon + 1 : "latest");
    return name->tag ? 0 : sfs_fail_memory(err);
}

static bool begins_with_host(const char *text, size_t first)
{
    return text[first] && (memchr(text, '.', first) || memchr(text, ':', first) ||
                           (first == strlen("localhost") && memcmp(text, "localhost", first) == 0));
}

static int split(char *text, struct sfs_name *name, struct sfs_error *err)
{
    size_t first = strcspn(text, "/");
    bool has_host = begins_with_host(text, first);
    name->host = has_host ? strndup(text, first) : strdup("docker.io");
    /* Only behind the host: its port is no tag. */
    char *rest = has_host ? text + first + 1 : text;
    int r = take_ends(rest, name, err);
    if (r < 0)
        return r;
    if (name->host && strcmp(name->host, "index.docker.io") == 0)
        memmove(name->host, name->host + strlen("index."), strlen("docker.io") + 1);
    bool is_hub = name->host && strcmp(name->host, "docker.io") == 0;
    name->repository = sfs_format("%s%s", is_hub && !strchr(rest, '/') ? "library/" : "", rest);
    if (!name->host || !name->repository)
        return sfs_fail_memory(err);
    r = check_host(name->host, err);
    return r < 0 ? r : check_repository(name->repository, err);
}

int sfs_name_parse(const char *text, struct sfs_name *ret_name, struct sfs_error *err)
{
    *ret_name = (struct sfs_name){ 0 };
    AUTO(sfs_free) char *copy = strdup(text);
    if (!copy)
        return sfs_fail_memory(err);
    return split(copy, ret_name, err);
}

void sfs_name_done(struct sfs_name *name)
{
    sfs_free(&name->host);
    sfs_free(&name->repository);
    sfs_free(&name->tag);
}

const char *sfs_name_server(const char *host)
{
    return strcmp(host, "docker.io") == 0 ? "registry-1.docker.io" : host;
}
