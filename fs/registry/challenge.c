/* One value may hold several challenges, whose parameters are parted by commas as they are
 * themselves: a word without '=' behind it begins the next one. */
#include "registry/challenge.h"

#include "base/buf.h"
#include <ctype.h>
#include <errno.h>
#include <stagefs/auto.h>

static const char *skip_blanks(const char *p)
{
    return p + strspn(p, " \t");
}

static size_t word_size(const char *p)
{
    size_t size = 0;
    while (isalnum((unsigned char)p[size]) || (p[size] && strchr("!#$%&'*+-.^_`|~", p[size])))
        size++;
    return size;
}

/* The credentials that Negotiate and the like put in place of parameters: letters, "-._~+/", and
 * '=' at the end. 0: there are none here. */
static size_t token68_size(const char *p)
{
    size_t size = 0;
    while (isalnum((unsigned char)p[size]) || (p[size] && strchr("-._~+/", p[size])))
        size++;
    if (size == 0)
        return 0;
    size += strspn(p + size, "=");
    const char *end = skip_blanks(p + size);
    return *end == 0 || *end == ',' ? size : 0;
}

/* A word, or text in quotes, in which a backslash takes away the meaning of what follows. NULL:
 * malformed, or no memory (value->failed). */
static const char *read_value(const char *p, struct sfs_buf *value)
{
    sfs_buf_add(value, "", 0);
    if (*p != '"') {
        size_t size = word_size(p);
        sfs_buf_add(value, p, size);
        return size ? p + size : NULL;
    }
    for (p++; *p != '"'; p++) {
        if (*p == '\\')
            p++;
        if (!*p)
            return NULL;
        sfs_buf_add(value, p, 1);
    }
    return p + 1;
}

static char **find_place(struct sfs_challenge *challenge, const char *name, size_t size)
{
    const struct {
        const char *name;
        char **place;
    } places[] = { { "realm", &challenge->realm },
                   { "service", &challenge->service },
                   { "scope", &challenge->scope },
                   { "error", &challenge->error } };
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++)
        if (strlen(places[i].name) == size && strncasecmp(places[i].name, name, size) == 0)
            return *places[i].place ? NULL : places[i].place;
    return NULL;
}

/* NAME=VALUE at *at, which moves behind it. 1: it was read. 0: there is none here. */
static int read_parameter(const char **at, struct sfs_challenge *challenge)
{
    const char *name = *at;
    size_t size = word_size(name);
    const char *p = skip_blanks(name + size);
    if (size == 0 || *p != '=')
        return 0;
    AUTO(sfs_buf_close) struct sfs_buf value = { 0 };
    p = read_value(skip_blanks(p + 1), &value);
    if (value.failed)
        return -ENOMEM;
    if (!p)
        return 0;
    char **place = find_place(challenge, name, size);
    if (place && !(*place = strdup(value.data ? value.data : "")))
        return -ENOMEM;
    *at = p;
    return 1;
}

static int read_parameters(const char **at, struct sfs_challenge *challenge)
{
    for (;;) {
        const char *p = *at + strspn(*at, " \t,");
        int r = read_parameter(&p, challenge);
        if (r <= 0)
            return r;
        *at = p;
    }
}

static enum sfs_scheme name_scheme(const char *word, size_t size)
{
    if (size == 5 && strncasecmp(word, "basic", size) == 0)
        return SFS_SCHEME_BASIC;
    if (size == 6 && strncasecmp(word, "bearer", size) == 0)
        return SFS_SCHEME_BEARER;
    return SFS_SCHEME_NONE;
}

void sfs_challenge_done(struct sfs_challenge *challenge)
{
    sfs_free(&challenge->realm);
    sfs_free(&challenge->service);
    sfs_free(&challenge->scope);
    sfs_free(&challenge->error);
}

static int read_challenge(const char **at, struct sfs_challenge *challenge)
{
    size_t size = word_size(*at);
    challenge->scheme = name_scheme(*at, size);
    *at = skip_blanks(*at + size);
    *at += token68_size(*at);
    return read_parameters(at, challenge);
}

/* Bearer is of no use without a realm, so another challenge may still be. */
static bool is_usable(const struct sfs_challenge *challenge)
{
    return challenge->scheme == SFS_SCHEME_BASIC ||
           (challenge->scheme == SFS_SCHEME_BEARER && challenge->realm);
}

int sfs_challenge_parse(const char *value, struct sfs_challenge *ret_challenge,
                        struct sfs_error *err)
{
    *ret_challenge = (struct sfs_challenge){ 0 };
    for (const char *p = value;;) {
        p += strspn(p, " \t,");
        if (word_size(p) == 0)
            return 0;
        int r = read_challenge(&p, ret_challenge);
        if (r < 0)
            return sfs_fail_memory(err);
        if (is_usable(ret_challenge))
            return 0;
        sfs_challenge_done(ret_challenge);
        *ret_challenge = (struct sfs_challenge){ 0 };
    }
}
