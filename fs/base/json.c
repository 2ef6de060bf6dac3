/* Two filters, one before jansson's parser and one behind its printer. Both leave alone what they
 * do not know, so jansson still judges the document. */
#include <stagefs/json.h>

#include "base/buf.h"
#include <ctype.h>
#include <errno.h>
#include <jansson.h>
#include <stagefs/auto.h>

#define MARK      "\xf4\x8f\xbf\xbf"
#define MARK_SIZE 4

/* ---- marking ---- */

struct marking {
    const char *at, *end;
    struct sfs_buf out;
};

static void marking_done(struct marking *marking)
{
    sfs_buf_close(&marking->out);
}

static void copy(struct marking *marking, size_t size)
{
    sfs_buf_add(&marking->out, marking->at, size);
    marking->at += size;
}

static void skip_digits(const char **at, const char *end)
{
    while (*at < end && isdigit((unsigned char)**at))
        (*at)++;
}

/* Does the number without fraction and exponent fit into 64 bits (and is it not -0)? */
static bool is_plain(const char *start, const char *digits, size_t count)
{
    const char *most = digits > start ? "9223372036854775808" : "9223372036854775807";
    if (*digits == '0' && digits > start)
        return false;
    return count < 19 || (count == 19 && memcmp(digits, most, 19) <= 0);
}

/* Where the number at `at` ends, or NULL: it is none. *ret_plain: jansson can hold it. */
static const char *number_end(const char *at, const char *end, bool *ret_plain)
{
    const char *start = at;
    at += at < end && *at == '-';
    const char *digits = at;
    skip_digits(&at, end);
    if (at == digits || (*digits == '0' && at > digits + 1))
        return NULL;
    *ret_plain = is_plain(start, digits, (size_t)(at - digits));
    if (at < end && *at == '.') {
        const char *fraction = ++at;
        skip_digits(&at, end);
        if (at == fraction)
            return NULL;
        *ret_plain = false;
    }
    if (at < end && (*at == 'e' || *at == 'E')) {
        at++;
        at += at < end && (*at == '+' || *at == '-');
        const char *exponent = at;
        skip_digits(&at, end);
        if (at == exponent)
            return NULL;
        *ret_plain = false;
    }
    return at;
}

/* Does a ':' follow at `at`? Then the number before it stands in the place of a key: it is left as
 * it is, and jansson refuses it. */
static bool is_key(const char *at, const char *end)
{
    while (at < end && *at && strchr(" \t\r\n", *at))
        at++;
    return at < end && *at == ':';
}

static void mark_number(struct marking *marking)
{
    bool plain = true;
    const char *end = number_end(marking->at, marking->end, &plain);
    if (!end || plain || is_key(end, marking->end)) {
        copy(marking, end ? (size_t)(end - marking->at) : 1);
        return;
    }
    sfs_buf_add_str(&marking->out, "\"" MARK "#");
    copy(marking, (size_t)(end - marking->at));
    sfs_buf_add_str(&marking->out, "\"");
}

/* The code of "\uXXXX" at `at`; -1: that is not what stands there. */
static long escape_code(const char *at, const char *end)
{
    char digits[5] = "";
    if (end - at < 6 || at[0] != '\\' || at[1] != 'u')
        return -1;
    for (size_t i = 0; i < 4; i++) {
        if (!isxdigit((unsigned char)at[2 + i]))
            return -1;
        digits[i] = at[2 + i];
    }
    return strtol(digits, NULL, 16);
}

static void mark_escape(struct marking *marking)
{
    long code = escape_code(marking->at, marking->end);
    long next = code >= 0 ? escape_code(marking->at + 6, marking->end) : -1;
    bool is_pair = code >= 0xd800 && code < 0xdc00 && next >= 0xdc00 && next < 0xe000;
    if (is_pair && code == 0xdbff && next == 0xdfff) {
        sfs_buf_add_str(&marking->out, MARK "!");
        marking->at += 12;
    } else if (code == 0 || (code >= 0xd800 && code < 0xe000 && !is_pair)) {
        sfs_buf_add_str(&marking->out, MARK);
        marking->at++;
        copy(marking, 5);
    } else {
        size_t size = is_pair ? 12 : code >= 0 ? 6 : 2, left = (size_t)(marking->end - marking->at);
        copy(marking, size < left ? size : left);
    }
}

/* Marks the string at the reader's place, from its quote to the quote that ends it. */
static void mark_string(struct marking *marking)
{
    copy(marking, 1);
    while (marking->at < marking->end && *marking->at != '"') {
        size_t left = (size_t)(marking->end - marking->at);
        if (*marking->at == '\\') {
            mark_escape(marking);
            continue;
        }
        bool is_mark = left >= MARK_SIZE && memcmp(marking->at, MARK, MARK_SIZE) == 0;
        copy(marking, is_mark ? MARK_SIZE : 1);
        if (is_mark)
            sfs_buf_add_str(&marking->out, "!");
    }
    if (marking->at < marking->end)
        copy(marking, 1);
}

int sfs_json_parse(const char *data, size_t size, size_t flags, struct json_t **ret_json,
                   struct sfs_error *err)
{
    AUTO(marking_done) struct marking marking = { .at = data, .end = data + size };
    while (marking.at < marking.end) {
        if (*marking.at == '"')
            mark_string(&marking);
        else if (*marking.at == '-' || isdigit((unsigned char)*marking.at))
            mark_number(&marking);
        else
            copy(&marking, 1);
    }
    const struct sfs_buf *out = &marking.out;
    if (sfs_buf_check(out, err) < 0)
        return -ENOMEM;
    /* Its text quotes the document, which may hold secrets: it is not shown. */
    json_error_t error;
    json_t *json = json_loadb(out->data ? out->data : "", out->size, flags, &error);
    if (!json && json_error_code(&error) == json_error_out_of_memory)
        return sfs_fail_memory(err);
    if (!json)
        return sfs_fail(err, EBADMSG, "it is not JSON (line %d, column %d)", error.line,
                        error.column);
    *ret_json = json;
    return 0;
}

/* ---- taking the marks off ---- */

#define FLUSH_SIZE (64u << 10)

struct unmarking {
    FILE *stream; /* NULL: all stays in out */
    struct sfs_buf out;
    size_t matched;      /* bytes of a mark that were read so far */
    bool quote;          /* a quote is held back: a mark may follow it */
    char kind;           /* behind a mark, 'u' or '#': its text is being collected; else 0 */
    struct sfs_buf held; /* the text behind the mark, as far as it was collected */
};

static void unmarking_done(struct unmarking *unmarking)
{
    sfs_buf_close(&unmarking->out);
    sfs_buf_close(&unmarking->held);
}

/* Prints what was held back because a marked part might have begun there. */
static void put_held(struct unmarking *unmarking)
{
    if (unmarking->quote)
        sfs_buf_add_str(&unmarking->out, "\"");
    sfs_buf_add(&unmarking->out, MARK, unmarking->matched);
    unmarking->quote = false;
    unmarking->matched = 0;
}

static bool is_number(const char *text, size_t size)
{
    bool plain = true;
    return size > 0 && number_end(text, text + size, &plain) == text + size && !plain;
}

/* Takes the byte behind a mark, which says what kind of mark it is. */
static void take_kind(struct unmarking *unmarking, char kind)
{
    if (kind == 'u' || (kind == '#' && unmarking->quote)) {
        unmarking->kind = kind;
        return;
    }
    put_held(unmarking);
    if (kind != '!')
        sfs_buf_add(&unmarking->out, &kind, 1);
}

/* What only looks like a marked part (somebody's own text may) is printed as it is, so that no text
 * can write more than a string. */
static void end_text(struct unmarking *unmarking, bool good)
{
    struct sfs_buf *held = &unmarking->held;
    if (good && unmarking->kind == 'u') {
        unmarking->matched = 0;
        put_held(unmarking);
        sfs_buf_add_str(&unmarking->out, "\\u");
    } else if (good) {
        unmarking->matched = 0;
        unmarking->quote = false;
    } else {
        put_held(unmarking);
        sfs_buf_add(&unmarking->out, &unmarking->kind, 1);
    }
    sfs_buf_add(&unmarking->out, held->data ? held->data : "", held->size);
    unmarking->out.failed |= held->failed;
    unmarking->kind = 0;
    held->size = 0;
}

/* Collects the text behind a mark. True: `c` is not part of it, and still has to be looked at. */
static bool collect(struct unmarking *unmarking, char c)
{
    struct sfs_buf *held = &unmarking->held;
    if (unmarking->kind == '#' && c == '"') {
        bool good = is_number(held->data, held->size);
        end_text(unmarking, good);
        return !good;
    }
    if (unmarking->kind == 'u' && !isxdigit((unsigned char)c)) {
        end_text(unmarking, false);
        return true;
    }
    sfs_buf_add(held, &c, 1);
    if (unmarking->kind == 'u' && held->size == 4) {
        long code = strtol(held->data, NULL, 16);
        end_text(unmarking, code == 0 || (code >= 0xd800 && code < 0xe000));
    }
    return false;
}

static void take_byte(struct unmarking *unmarking, char c)
{
    if (unmarking->kind && !collect(unmarking, c))
        return;
    if (unmarking->matched == MARK_SIZE) {
        take_kind(unmarking, c);
    } else if (c == MARK[unmarking->matched]) {
        unmarking->matched++;
    } else {
        put_held(unmarking);
        unmarking->quote = c == '"';
        if (c != '"')
            sfs_buf_add(&unmarking->out, &c, 1);
    }
}

/* How many bytes at the start of `data` neither are nor may begin something marked. */
static size_t plain_size(const char *data, size_t size)
{
    size_t plain = 0;
    while (plain < size && data[plain] != '"' && data[plain] != MARK[0])
        plain++;
    return plain;
}

static int take_chunk(const char *data, size_t size, void *user)
{
    struct unmarking *unmarking = user;
    for (const char *end = data + size; data < end;) {
        bool idle = !unmarking->matched && !unmarking->kind;
        size_t plain = !idle ? 0 : plain_size(data, (size_t)(end - data));
        if (plain == 0) {
            take_byte(unmarking, *data++);
            continue;
        }
        put_held(unmarking);
        sfs_buf_add(&unmarking->out, data, plain);
        data += plain;
    }
    if (!unmarking->stream || unmarking->out.size < FLUSH_SIZE)
        return unmarking->out.failed ? -1 : 0;
    size_t written = fwrite(unmarking->out.data, 1, unmarking->out.size, unmarking->stream);
    bool good = written == unmarking->out.size && !unmarking->out.failed;
    unmarking->out.size = 0;
    return good ? 0 : -1;
}

static int print(const struct json_t *json, size_t flags, struct unmarking *unmarking)
{
    int r = json ? json_dump_callback(json, take_chunk, unmarking, flags) : -1;
    if (unmarking->kind)
        end_text(unmarking, false);
    put_held(unmarking);
    sfs_buf_add_str(&unmarking->out, "");
    return unmarking->out.failed ? -1 : r;
}

char *sfs_json_print(const struct json_t *json, size_t flags)
{
    AUTO(unmarking_done) struct unmarking unmarking = { 0 };
    return print(json, flags, &unmarking) < 0 ? NULL : TAKE(unmarking.out.data);
}

int sfs_json_write(const struct json_t *json, size_t flags, FILE *out)
{
    AUTO(unmarking_done) struct unmarking unmarking = { .stream = out };
    if (print(json, flags, &unmarking) < 0)
        return -1;
    const struct sfs_buf *rest = &unmarking.out;
    return fwrite(rest->data, 1, rest->size, out) == rest->size ? 0 : -1;
}

/* ---- single texts ---- */

bool sfs_json_is_number(const char *text)
{
    const char *number = text + MARK_SIZE + 1;
    return strncmp(text, MARK "#", MARK_SIZE + 1) == 0 && is_number(number, strlen(number));
}

bool sfs_json_is_marked(const char *text)
{
    return strstr(text, MARK);
}

char *sfs_json_fill_pairs(const char *text)
{
    struct sfs_buf filled = { 0 };
    sfs_buf_add_str(&filled, "");
    for (const char *mark; (mark = strstr(text, MARK "u"));) {
        const char *code = mark + MARK_SIZE + 1;
        bool is_half = tolower((unsigned char)*code) == 'd' && strnlen(code, 4) == 4;
        size_t size = (size_t)(code - text);
        sfs_buf_add(&filled, text, is_half ? size - MARK_SIZE - 1 : size);
        if (is_half)
            sfs_buf_add_str(&filled, "\xef\xbf\xbd");
        text = is_half ? code + 4 : code;
    }
    sfs_buf_add_str(&filled, text);
    if (filled.failed)
        sfs_buf_close(&filled);
    return filled.data;
}
