/* By recursive descent. Every loop eats at least one byte or ends. */
#include "registry/toml.h"

#include "base/buf.h"
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stagefs/auto.h>

#define MOST_DEPTH 32

struct toml {
    const char *p, *end;
    unsigned line, depth;
    struct sfs_error *err;
};

static int fail(struct toml *toml, int code, const char *words)
{
    return sfs_fail(toml->err, code, "line %u: %s", toml->line, words);
}

static char peek(const struct toml *toml)
{
    return toml->p < toml->end ? *toml->p : 0;
}

static bool take(struct toml *toml, char c)
{
    if (toml->p >= toml->end || *toml->p != c)
        return false;
    toml->p++;
    return true;
}

static void skip_blanks(struct toml *toml)
{
    while (toml->p < toml->end && (*toml->p == ' ' || *toml->p == '\t'))
        toml->p++;
}

static void skip_comment(struct toml *toml)
{
    if (peek(toml) == '#')
        while (toml->p < toml->end && *toml->p != '\n')
            toml->p++;
}

/* Blanks, comments and line ends. */
static void skip_lines(struct toml *toml)
{
    for (;;) {
        skip_blanks(toml);
        skip_comment(toml);
        take(toml, '\r');
        if (!take(toml, '\n'))
            return;
        toml->line++;
    }
}

static int end_line(struct toml *toml)
{
    skip_blanks(toml);
    skip_comment(toml);
    take(toml, '\r');
    if (toml->p < toml->end && *toml->p != '\n')
        return fail(toml, EBADMSG, "something stands behind the end of what is set there");
    return 0;
}

/* ---- strings and keys */

static void add_utf8(struct sfs_buf *text, uint32_t c)
{
    char bytes[4];
    size_t size = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    static const uint8_t first[] = { 0, 0, 0xc0, 0xe0, 0xf0 };
    for (size_t i = size; i-- > 1; c >>= 6)
        bytes[i] = (char)(0x80 | (c & 0x3f));
    bytes[0] = (char)(first[size] | c);
    sfs_buf_add(text, bytes, size);
}

/* \uXXXX, \UXXXXXXXX */
static int read_code_point(struct toml *toml, unsigned digits, struct sfs_buf *text)
{
    uint32_t c = 0;
    for (unsigned i = 0; i < digits; i++, toml->p++) {
        if (!isxdigit((unsigned char)peek(toml)))
            return fail(toml, EBADMSG, "\\u without its hex digits");
        unsigned char digit = (unsigned char)tolower((unsigned char)*toml->p);
        c = c * 16 + (isdigit(digit) ? digit - 0x30u : digit - 0x61u + 10);
    }
    if (c == 0 || c > 0x10ffff || (c >= 0xd800 && c < 0xe000))
        return fail(toml, EBADMSG, "\\u names no character");
    add_utf8(text, c);
    return 0;
}

static int read_escape(struct toml *toml, struct sfs_buf *text)
{
    static const char names[] = "btnfre\"\\", values[] = "\b\t\n\f\r\x1b\"\\";
    char c = peek(toml);
    toml->p += toml->p < toml->end;
    if (c == 'u' || c == 'U')
        return read_code_point(toml, c == 'u' ? 4 : 8, text);
    const char *at = c ? strchr(names, c) : NULL;
    if (!at)
        return fail(toml, EBADMSG, "a backslash in front of what it means nothing for");
    sfs_buf_add(text, &values[at - names], 1);
    return 0;
}

static int read_string(struct toml *toml, struct sfs_buf *text)
{
    char quote = *toml->p++;
    if (toml->end - toml->p >= 2 && toml->p[0] == quote && toml->p[1] == quote)
        return fail(toml, ENOTSUP, "a string of several lines");
    sfs_buf_add(text, "", 0);
    while (!take(toml, quote)) {
        char c = peek(toml);
        if (c == 0 || c == '\n')
            return fail(toml, EBADMSG, "a string without its end");
        toml->p++;
        if (quote == '"' && c == '\\') {
            int r = read_escape(toml, text);
            if (r < 0)
                return r;
        } else {
            sfs_buf_add(text, &c, 1);
        }
    }
    return sfs_buf_check(text, toml->err);
}

static bool is_bare(char c)
{
    return isalnum((unsigned char)c) || c == '_' || c == '-';
}

/* One part of a dotted key, with the blanks around it. */
static int read_key(struct toml *toml, struct sfs_buf *key)
{
    skip_blanks(toml);
    int r = 0;
    if (peek(toml) == '"' || peek(toml) == '\'') {
        r = read_string(toml, key);
    } else {
        const char *start = toml->p;
        while (toml->p < toml->end && is_bare(*toml->p))
            toml->p++;
        if (toml->p == start)
            return fail(toml, EBADMSG, "a name is missing");
        sfs_buf_add(key, start, (size_t)(toml->p - start));
        r = sfs_buf_check(key, toml->err);
    }
    skip_blanks(toml);
    return r;
}

/* ---- values */

static int read_value(struct toml *toml, json_t **ret);
static int read_pair(struct toml *toml, json_t *table);

static int set_new(struct toml *toml, json_t *object, const char *key, json_t *value)
{
    if (!value)
        return sfs_fail_memory(toml->err);
    if (json_object_set_new(object, key, value) < 0)
        return fail(toml, EBADMSG, "a name that is not UTF-8");
    return 0;
}

static int read_array(struct toml *toml, json_t **ret)
{
    toml->p++;
    json_t *array = *ret = json_array();
    if (!array)
        return sfs_fail_memory(toml->err);
    for (;;) {
        skip_lines(toml);
        if (take(toml, ']'))
            return 0;
        json_t *item = NULL;
        int r = read_value(toml, &item);
        if (r < 0) {
            json_decref(item);
            return r;
        }
        if (json_array_append_new(array, item) < 0)
            return sfs_fail_memory(toml->err);
        skip_lines(toml);
        if (take(toml, ']'))
            return 0;
        if (!take(toml, ','))
            return fail(toml, EBADMSG, "an array without its end");
    }
}

static int read_inline_table(struct toml *toml, json_t **ret)
{
    toml->p++;
    json_t *table = *ret = json_object();
    if (!table)
        return sfs_fail_memory(toml->err);
    for (skip_blanks(toml); !take(toml, '}');) {
        int r = read_pair(toml, table);
        if (r < 0)
            return r;
        skip_blanks(toml);
        if (peek(toml) != '}' && !take(toml, ','))
            return fail(toml, EBADMSG, "an inline table without its end");
        skip_blanks(toml);
    }
    return 0;
}

static int read_number(struct toml *toml, json_t **ret)
{
    char digits[32];
    size_t size = 0;
    while (toml->p < toml->end && *toml->p && (is_bare(*toml->p) || strchr("+.:", *toml->p))) {
        if (*toml->p != '_' && size < sizeof digits - 1)
            digits[size++] = *toml->p;
        toml->p++;
    }
    digits[size] = 0;
    char *end;
    errno = 0;
    intmax_t value = strtoimax(digits, &end, 10);
    if (size == 0)
        return fail(toml, EBADMSG, "a value is missing");
    if (*end || errno)
        return fail(toml, ENOTSUP, "a value that is no string, whole number, boolean or array");
    *ret = json_integer(value);
    return *ret ? 0 : sfs_fail_memory(toml->err);
}

static bool take_word(struct toml *toml, const char *word)
{
    size_t size = strlen(word);
    bool is_there = (size_t)(toml->end - toml->p) >= size && memcmp(toml->p, word, size) == 0 &&
                    ((size_t)(toml->end - toml->p) == size || !is_bare(toml->p[size]));
    toml->p += is_there ? size : 0;
    return is_there;
}

static int read_text(struct toml *toml, json_t **ret)
{
    AUTO(sfs_buf_close) struct sfs_buf text = { 0 };
    int r = read_string(toml, &text);
    if (r < 0)
        return r;
    *ret = json_stringn(text.data ? text.data : "", text.size);
    return *ret ? 0 : fail(toml, EBADMSG, "a string that is not UTF-8");
}

static int read_value(struct toml *toml, json_t **ret)
{
    int r;
    if (toml->depth >= MOST_DEPTH)
        return fail(toml, E2BIG, "nested too deep");
    toml->depth++;
    skip_blanks(toml);
    switch (peek(toml)) {
    case '"':
    case '\'':
        r = read_text(toml, ret);
        break;
    case '[':
        r = read_array(toml, ret);
        break;
    case '{':
        r = read_inline_table(toml, ret);
        break;
    default:
        if (take_word(toml, "true"))
            *ret = json_true();
        else if (take_word(toml, "false"))
            *ret = json_false();
        r = *ret ? 0 : read_number(toml, ret);
    }
    toml->depth--;
    return r;
}

/* ---- tables */

/* The table `key` of `parent`, made if it is not there; of an array of tables, its last. */
static int enter(struct toml *toml, json_t *parent, const char *key, json_t **ret_table)
{
    json_t *child = json_object_get(parent, key);
    if (!child) {
        int r = set_new(toml, parent, key, json_object());
        if (r < 0)
            return r;
        child = json_object_get(parent, key);
    }
    if (json_is_array(child))
        child = json_array_get(child, json_array_size(child) - 1);
    if (!json_is_object(child))
        return fail(toml, EBADMSG, "a name is used as a table that is none");
    *ret_table = child;
    return 0;
}

/* NAME.NAME = VALUE */
static int read_pair(struct toml *toml, json_t *table)
{
    for (unsigned parts = 0; parts < MOST_DEPTH; parts++) {
        AUTO(sfs_buf_close) struct sfs_buf key = { 0 };
        int r = read_key(toml, &key);
        if (r < 0)
            return r;
        const char *name = key.data ? key.data : "";
        if (take(toml, '.')) {
            r = enter(toml, table, name, &table);
            if (r < 0)
                return r;
            continue;
        }
        if (!take(toml, '='))
            return fail(toml, EBADMSG, "no '=' behind a name");
        if (json_object_get(table, name))
            return fail(toml, EBADMSG, "a name is set twice");
        json_t *value = NULL;
        r = read_value(toml, &value);
        if (r == 0)
            return set_new(toml, table, name, value);
        json_decref(value);
        return r;
    }
    return fail(toml, E2BIG, "nested too deep");
}

static int append_table(struct toml *toml, json_t *parent, const char *name, json_t **ret_table)
{
    if (!json_object_get(parent, name)) {
        int r = set_new(toml, parent, name, json_array());
        if (r < 0)
            return r;
    }
    json_t *array = json_object_get(parent, name), *table = json_object();
    if (!json_is_array(array)) {
        json_decref(table);
        return fail(toml, EBADMSG, "a name is used as an array of tables that is none");
    }
    if (!table || json_array_append_new(array, table) < 0)
        return sfs_fail_memory(toml->err);
    *ret_table = table;
    return 0;
}

/* [NAME.NAME] or [[NAME.NAME]]: says which table the lines below belong to. */
static int read_header(struct toml *toml, json_t *root, json_t **ret_table)
{
    toml->p++;
    bool is_array = take(toml, '[');
    json_t *table = root;
    for (unsigned parts = 0; parts < MOST_DEPTH; parts++) {
        AUTO(sfs_buf_close) struct sfs_buf key = { 0 };
        int r = read_key(toml, &key);
        if (r < 0)
            return r;
        const char *name = key.data ? key.data : "";
        bool is_last = !take(toml, '.');
        r = is_last && is_array ? append_table(toml, table, name, &table)
                                : enter(toml, table, name, &table);
        if (r < 0)
            return r;
        if (!is_last)
            continue;
        *ret_table = table;
        bool ends = take(toml, ']') && (!is_array || take(toml, ']'));
        return ends ? end_line(toml) : fail(toml, EBADMSG, "no ']' behind the name of a table");
    }
    return fail(toml, E2BIG, "nested too deep");
}

int sfs_toml_parse(const char *text, size_t size, const char *what, struct json_t **ret_json,
                   struct sfs_error *err)
{
    struct toml toml = { .p = text, .end = text + size, .line = 1, .err = err };
    json_t *root = json_object(), *table = root;
    int r = root ? 0 : sfs_fail_memory(err);
    for (skip_lines(&toml); r == 0 && toml.p < toml.end; skip_lines(&toml)) {
        if (peek(&toml) == '[')
            r = read_header(&toml, root, &table);
        else if ((r = read_pair(&toml, table)) == 0)
            r = end_line(&toml);
    }
    if (r == 0)
        *ret_json = root;
    else
        json_decref(root);
    return r < 0 ? sfs_fail_while(err, r, "%s", what) : 0;
}
