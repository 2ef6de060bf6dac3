/* A recursive scanner over bytes. What is special is ASCII, but names and words end where Unicode's
 * letters end and its blanks are; bytes that are no UTF-8 pass unchanged. */
#include "dockerfile/expand.h"

#include "base/buf.h"
#include "dockerfile/expand_pattern.h"
#include "dockerfile/rune.h"
#include <ctype.h>
#include "base/limits.h"
#include <errno.h>
#include <stagefs/auto.h>

#define MAX_NESTING 64
#define END         (-1)

struct scanner {
    const char *at;
    char escape;
    unsigned flags;
    unsigned depth;
    const struct sfs_vars *vars;
    struct sfs_error *err;
    size_t taken; /* bytes of values that were put in */
};

/* The words of a text, collected beside the text itself. */
struct expand_words {
    struct sfs_buf word;
    bool in_word;
    struct sfs_vars *list; /* NULL: no words are wanted */
};

static int peek(const struct scanner *scanner)
{
    return *scanner->at ? (unsigned char)*scanner->at : END;
}

static int next(struct scanner *scanner)
{
    return *scanner->at ? (unsigned char)*scanner->at++ : END;
}

static int put(struct sfs_buf *buf, int c)
{
    char byte = (char)c;
    return sfs_buf_add(buf, &byte, 1);
}

static int fail(const struct scanner *scanner, const char *text)
{
    return sfs_fail(scanner->err, EINVAL, "%s", text);
}

static int end_word(struct expand_words *words)
{
    char **items = reallocarray(words->list->items, words->list->count + 1, sizeof *items);
    if (!items)
        return -ENOMEM;
    words->list->items = items;
    items[words->list->count] = strndup(words->word.data, words->word.size);
    if (!items[words->list->count])
        return -ENOMEM;
    words->list->count++;
    words->word.size = 0;
    words->in_word = false;
    return 0;
}

/* Adds bytes that were quoted or escaped, and so never end a word. */
static int add_protected(struct expand_words *words, const char *data, size_t size)
{
    if (!words->list)
        return 0;
    words->in_word = true;
    return sfs_buf_add(&words->word, data, size);
}

static int add_splitting(struct expand_words *words, const char *data, size_t size)
{
    int r = 0;
    for (size_t i = 0; words->list && r == 0 && i < size;) {
        size_t blank = sfs_rune_blank(data + i, size - i);
        if (blank == 0)
            r = add_protected(words, data + i, 1);
        else if (words->in_word && words->word.size > 0)
            r = end_word(words);
        i += blank > 0 ? blank : 1;
    }
    return r;
}

static int expand_until(struct scanner *scanner, int stop, bool raw_escapes, struct sfs_buf *out,
                        struct expand_words *words);

/* Takes letters, digits and '_', or digits alone. */
static void skip_name(struct scanner *scanner, bool digits_only)
{
    uint32_t rune;
    size_t size;
    while ((size = sfs_rune_read(scanner->at, strnlen(scanner->at, 4), &rune)) > 0) {
        bool is_digit = sfs_rune_is_digit(rune);
        if (!is_digit && (digits_only || (rune != '_' && !sfs_rune_is_letter(rune))))
            break;
        scanner->at += size;
    }
}

/* The name at the scanner: letters, or all digits, or one of the shell's special parameters. */
static size_t take_name(struct scanner *scanner, const char **ret_name)
{
    const char *start = scanner->at;
    skip_name(scanner, true);
    if (scanner->at == start && peek(scanner) != END && strchr("@*#?-$!", peek(scanner)))
        next(scanner);
    else if (scanner->at == start)
        skip_name(scanner, false);
    *ret_name = start;
    return (size_t)(scanner->at - start);
}

/* Each variable may hold the one before it twice: without a cap, a few lines fill all memory. */
static int take_size(struct scanner *scanner, size_t size)
{
    scanner->taken += size;
    return scanner->taken <= SFS_MAX_EXPANDED
               ? 0
               : sfs_fail(scanner->err, E2BIG,
                          "the variables that are put in are longer than %u "
                          "bytes",
                          SFS_MAX_EXPANDED);
}

static int add_value(struct scanner *scanner, struct sfs_buf *out, const char *value)
{
    int r = value ? take_size(scanner, strlen(value)) : 0;
    return r < 0 || !value ? r : sfs_buf_add_str(out, value);
}

/* ${name?word}, ${name:?word}: fails with the word if the variable is unset (or empty). */
static int require(const struct scanner *scanner, const char *name, size_t size, const char *value,
                   bool null_is_unset, const char *word)
{
    if (!value)
        return sfs_fail(scanner->err, EINVAL, "%.*s: %s", (int)size, name,
                        *word ? word : "is not allowed to be unset");
    if (null_is_unset && !*value)
        return sfs_fail(scanner->err, EINVAL, "%.*s: %s", (int)size, name,
                        *word ? word : "is not allowed to be empty");
    return 0;
}

static int unsupported(const struct scanner *scanner, bool colon, int c)
{
    char modifier[3] = { ':', (char)(c == END ? 0 : c), 0 };
    return sfs_fail(scanner->err, EINVAL, "unsupported modifier (%s) in substitution",
                    colon ? modifier : modifier + 1);
}

static int check_pattern(const struct scanner *scanner, const char *pattern)
{
    const char *bad = sfs_expand_bad_escape(pattern);
    if (!bad)
        return 0;
    return sfs_fail(
        scanner->err, EINVAL,
        "invalid pattern (%.200s) in substitution: a backslash stands before * ? \\ } / "
        "alone, not before '%.*s'",
        pattern, (int)sfs_rune_read(bad, strnlen(bad, 4), NULL), bad);
}

/* Expands a part of ${...} on its own, up to `stop`. */
static int expand_part(struct scanner *scanner, int stop, bool raw_escapes, struct sfs_buf *part)
{
    int r = sfs_buf_add_str(part, ""); /* a text, even if it is empty */
    return r < 0 ? r : expand_until(scanner, stop, raw_escapes, part, NULL);
}

/* ${name-word} and its kin; the scanner stands behind the modifier. */
static int expand_modifier(struct scanner *scanner, const char *name, size_t size, int modifier,
                           bool null_is_unset, struct sfs_buf *out)
{
    bool is_trim = modifier == '#' || modifier == '%';
    if (modifier == END || !strchr("-+?#%", modifier) || (null_is_unset && is_trim))
        return unsupported(scanner, null_is_unset, modifier);
    AUTO(sfs_buf_close) struct sfs_buf word = { 0 };
    int r = expand_part(scanner, '}', is_trim, &word);
    if (r < 0)
        return r;
    const char *value = sfs_vars_get(scanner->vars, name, size);
    bool missing = !value || (null_is_unset && !*value);
    switch (modifier) {
    case '-':
        return add_value(scanner, out, missing ? word.data : value);
    case '+':
        return add_value(scanner, out, missing ? NULL : word.data);
    case '?':
        r = require(scanner, name, size, value, null_is_unset, word.data);
        return r < 0 ? r : add_value(scanner, out, value);
    }
    bool longest = word.data[0] == modifier;
    const char *pattern = word.data + longest;
    r = check_pattern(scanner, pattern);
    r = r < 0 || !value ? r : take_size(scanner, strlen(value));
    return r < 0 ? r : sfs_expand_trim(pattern, value ? value : "", modifier == '%', longest, out);
}

/* ${name/pattern/replacement}, ${name//pattern/replacement}; the scanner stands behind the first
 * '/'. */
static int expand_replace(struct scanner *scanner, const char *name, size_t size,
                          struct sfs_buf *out)
{
    bool all = peek(scanner) == '/';
    if (all)
        next(scanner);
    AUTO(sfs_buf_close) struct sfs_buf pattern = { 0 };
    AUTO(sfs_buf_close) struct sfs_buf replacement = { 0 };
    int r = expand_part(scanner, '/', true, &pattern);
    if (r == 0)
        r = expand_part(scanner, '}', true, &replacement);
    if (r < 0)
        return r;
    r = check_pattern(scanner, pattern.data);
    if (r < 0)
        return r;
    const char *value = sfs_vars_get(scanner->vars, name, size);
    const size_t before = out->size;
    r = sfs_expand_replace(pattern.data, value ? value : "", replacement.data, all, out);
    return r < 0 && r != -E2BIG ? r : take_size(scanner, out->size - before);
}

/* Expands what stands behind "${". */
static int expand_braces(struct scanner *scanner, struct sfs_buf *out)
{
    if (peek(scanner) == END)
        return fail(scanner, "syntax error: missing '}'");
    if (strchr("{}:", peek(scanner)))
        return fail(scanner, "syntax error: bad substitution");
    const char *name;
    size_t size = take_name(scanner, &name);
    int c = next(scanner);
    if (c == '}')
        return add_value(scanner, out, sfs_vars_get(scanner->vars, name, size));
    if (c == END)
        return fail(scanner, "syntax error: missing '}'");
    if (c == '/')
        return expand_replace(scanner, name, size, out);
    bool null_is_unset = c == ':';
    return expand_modifier(scanner, name, size, null_is_unset ? next(scanner) : c, null_is_unset,
                           out);
}

static int expand_name(struct scanner *scanner, struct sfs_buf *out)
{
    const char *name;
    size_t size = take_name(scanner, &name);
    if (size == 0)
        return put(out, '$');
    return add_value(scanner, out, sfs_vars_get(scanner->vars, name, size));
}

/* Is what stands at `at`, behind a dollar, the name of an unset variable? */
static bool is_unset(const struct scanner *scanner, const char *at)
{
    struct scanner probe = *scanner;
    probe.at = *at == '{' ? at + 1 : at;
    const char *name;
    size_t size = take_name(&probe, &name);
    return size > 0 && !sfs_vars_get(scanner->vars, name, size);
}

static int expand_dollar(struct scanner *scanner, struct sfs_buf *out)
{
    const char *start = scanner->at;
    size_t before = out->size;
    int r;
    next(scanner);
    if (peek(scanner) == '{') {
        next(scanner);
        if (++scanner->depth > MAX_NESTING)
            return fail(scanner, "substitutions are nested too deeply");
        r = expand_braces(scanner, out);
        scanner->depth--;
    } else {
        r = expand_name(scanner, out);
    }
    if (r == 0 && (scanner->flags & SFS_EXPAND_SKIP_UNSET) && is_unset(scanner, start + 1)) {
        out->size = before;
        r = sfs_buf_add(out, start, (size_t)(scanner->at - start));
    }
    return r;
}

static int expand_single_quotes(struct scanner *scanner, struct sfs_buf *out)
{
    const char *start = scanner->at;
    next(scanner);
    const char *end = strchr(scanner->at, '\'');
    if (!end)
        return fail(scanner, "unexpected end of statement while looking for matching single-quote");
    bool raw = scanner->flags & SFS_EXPAND_RAW_QUOTES;
    scanner->at = end + 1;
    return raw ? sfs_buf_add(out, start, (size_t)(end + 1 - start))
               : sfs_buf_add(out, start + 1, (size_t)(end - start - 1));
}

/* Expands what stands behind an escape character between double quotes, which protects a quote, a
 * dollar and itself, and stands for itself before anything else. */
static int expand_quoted_escape(struct scanner *scanner, bool raw_escapes, struct sfs_buf *out)
{
    int r = raw_escapes ? put(out, scanner->escape) : 0;
    int c = peek(scanner);
    if (r < 0 || c == END)
        return r;
    if (c == '"' || c == '$' || c == (unsigned char)scanner->escape)
        return put(out, next(scanner));
    return put(out, scanner->escape);
}

static int expand_double_quotes(struct scanner *scanner, bool raw_escapes, struct sfs_buf *out)
{
    bool raw = scanner->flags & SFS_EXPAND_RAW_QUOTES;
    next(scanner);
    int r = raw ? put(out, '"') : 0;
    while (r == 0) {
        int c = peek(scanner);
        if (c == END)
            return fail(scanner,
                        "unexpected end of statement while looking for matching double-quote");
        if (c == '$') {
            r = expand_dollar(scanner, out);
            continue;
        }
        next(scanner);
        if (c == '"')
            return raw ? put(out, '"') : 0;
        r = c == (unsigned char)scanner->escape ? expand_quoted_escape(scanner, raw_escapes, out)
                                                : put(out, c);
    }
    return r;
}

/* Expands one quoted part or substitution: it goes to the text whole, and to the words by its own
 * rule. */
static int expand_special(struct scanner *scanner, bool raw_escapes, struct sfs_buf *out,
                          struct expand_words *words)
{
    int c = peek(scanner);
    size_t before = out->size;
    int r = c == '$'    ? expand_dollar(scanner, out)
            : c == '\'' ? expand_single_quotes(scanner, out)
                        : expand_double_quotes(scanner, raw_escapes, out);
    if (r < 0 || !words)
        return r;
    const char *added = out->data ? out->data + before : "";
    return c == '$' ? add_splitting(words, added, out->size - before)
                    : add_protected(words, added, out->size - before);
}

static int expand_plain(struct scanner *scanner, bool raw_escapes, struct sfs_buf *out,
                        struct expand_words *words)
{
    const char *at = scanner->at;
    bool escaped = *at == scanner->escape;
    int r = 0;
    if (escaped) {
        next(scanner);
        if (raw_escapes) {
            r = put(out, *at);
            if (r == 0 && words)
                r = add_protected(words, at, 1);
        }
        at = scanner->at;
        if (peek(scanner) == END)
            return r; /* an escape at the end is dropped */
    }
    size_t size = sfs_rune_read(at, strnlen(at, 4), NULL);
    size = size > 0 ? size : 1;
    scanner->at += size;
    if (r == 0 && words)
        r = escaped ? add_protected(words, at, size) : add_splitting(words, at, size);
    return r < 0 ? r : sfs_buf_add(out, at, size);
}

/* Expands "<<": blanks between it and the delimiter of a heredoc do not end the word. */
static int expand_arrow(struct scanner *scanner, struct sfs_buf *out, struct expand_words *words)
{
    const char *start = scanner->at;
    next(scanner);
    if (peek(scanner) == '<') {
        next(scanner);
        scanner->at += strspn(scanner->at, " \t\r");
    }
    size_t size = (size_t)(scanner->at - start);
    int r = words ? add_protected(words, start, size) : 0;
    return r < 0 ? r : sfs_buf_add(out, start, size);
}

/* Expands up to the byte `stop` (taken, not kept) or the end of the text. */
static int expand_until(struct scanner *scanner, int stop, bool raw_escapes, struct sfs_buf *out,
                        struct expand_words *words)
{
    bool quotes = !(scanner->flags & SFS_EXPAND_KEEP_QUOTES);
    int r = 0;
    while (r == 0 && peek(scanner) != END) {
        int c = peek(scanner);
        if (c == stop) {
            next(scanner);
            return 0;
        }
        if (c == '$' || (quotes && (c == '\'' || c == '"')))
            r = expand_special(scanner, raw_escapes, out, words);
        else if (c == '<')
            r = expand_arrow(scanner, out, words);
        else
            r = expand_plain(scanner, raw_escapes, out, words);
    }
    if (r < 0 || stop == END)
        return r;
    return sfs_fail(scanner->err, EINVAL, "syntax error: missing '%c' in substitution", stop);
}

static int told(int r, struct sfs_error *err)
{
    return r == -ENOMEM ? sfs_fail_memory(err) : r;
}

int sfs_expand_word(const char *word, char escape, const struct sfs_vars *vars, unsigned flags,
                    char **ret_text, struct sfs_error *err)
{
    struct scanner scanner = {
        .at = word, .escape = escape, .flags = flags, .vars = vars, .err = err
    };
    AUTO(sfs_buf_close) struct sfs_buf out = { 0 };
    int r = sfs_buf_add_str(&out, "");
    if (r == 0)
        r = expand_until(&scanner, END, flags & SFS_EXPAND_RAW_ESCAPES, &out, NULL);
    if (r < 0)
        return told(r, err);
    *ret_text = TAKE(out.data);
    return 0;
}

int sfs_expand_words(const char *text, char escape, const struct sfs_vars *vars, unsigned flags,
                     struct sfs_vars *ret_words, struct sfs_error *err)
{
    AUTO(sfs_vars_close) struct sfs_vars list = { 0 };
    struct scanner scanner = {
        .at = text, .escape = escape, .flags = flags, .vars = vars, .err = err
    };
    struct expand_words words = { .list = &list };
    AUTO(sfs_buf_close) struct sfs_buf out = { 0 };
    int r = expand_until(&scanner, END, flags & SFS_EXPAND_RAW_ESCAPES, &out, &words);
    if (r == 0 && words.word.size > 0)
        r = end_word(&words);
    sfs_buf_close(&words.word);
    if (r < 0)
        return told(r, err);
    *ret_words = list;
    list = (struct sfs_vars){ 0 };
    return 0;
}
