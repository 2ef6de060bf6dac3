/* Where words end: at blanks, but for quotes and escapes. */
#include "dockerfile/dockerfile_words.h"

#include "base/buf.h"
#include "dockerfile/rune.h"
#include <stagefs/utf8.h>
#include <ctype.h>
#include <errno.h>
#include <jansson.h>
#include <stagefs/auto.h>
#include <stagefs/json.h>

int sfs_words_add(struct sfs_vars *words, const char *text, size_t size)
{
    char **items = reallocarray(words->items, words->count + 1, sizeof *items);
    if (!items)
        return -ENOMEM;
    words->items = items;
    items[words->count] = size > 0 ? strndup(text, size) : strdup("");
    if (!items[words->count])
        return -ENOMEM;
    words->count++;
    return 0;
}

static bool is_blank(char c)
{
    return isspace((unsigned char)c);
}

/* End of the word that starts at `at`. Escapes count everywhere but between single quotes. */
static const char *word_end(const char *at, char escape)
{
    char quote = 0;
    for (; *at; at++) {
        if (!quote && sfs_rune_blank(at, strnlen(at, 4)) > 0)
            break;
        if (*at == quote)
            quote = 0;
        else if (!quote && (*at == '\'' || *at == '"'))
            quote = *at;
        if (*at == escape && quote != '\'' && at[1])
            at++;
    }
    return at;
}

int sfs_words_quoted(const char *text, char escape, struct sfs_vars *words)
{
    for (const char *at = text; *at;) {
        size_t blank = sfs_rune_blank(at, strnlen(at, 4));
        if (blank > 0) {
            at += blank;
            continue;
        }
        const char *end = word_end(at, escape);
        size_t size = (size_t)(end - at);
        /* A single escape character at the very end of the line protects nothing and is dropped. */
        bool dangling = !*end && end[-1] == escape && (size < 2 || end[-2] != escape);
        int r = size > dangling ? sfs_words_add(words, at, size - dangling) : 0;
        if (r < 0)
            return r;
        at = end;
    }
    return 0;
}

int sfs_words_plain(const char *text, struct sfs_vars *words)
{
    static const char blanks[] = "\t\v\f\r ";
    for (const char *at = text + strspn(text, blanks); *at;) {
        size_t size = strcspn(at, blanks);
        int r = sfs_words_add(words, at, size);
        if (r < 0)
            return r;
        at += size;
        at += strspn(at, blanks);
    }
    return 0;
}

/* Takes one flag's text at *at, resolved into `word`. */
static int take_flag(const char **at, char escape, struct sfs_buf *word)
{
    char quote = 0;
    const char *p = *at;
    int r = sfs_buf_add_str(word, "");
    for (; r == 0 && *p && (quote || !is_blank(*p)); p++) {
        if (quote ? *p == quote : *p == '\'' || *p == '"') {
            quote = quote ? 0 : *p;
            continue;
        }
        if (*p == escape && !*++p)
            break;
        r = sfs_buf_add(word, p, 1);
    }
    *at = p;
    return r;
}

int sfs_words_flags(const char *text, char escape, struct sfs_vars *flags, const char **ret_rest)
{
    for (;;) {
        while (is_blank(*text))
            text++;
        *ret_rest = text;
        if (text[0] != '-' || text[1] != '-')
            return 0;
        AUTO(sfs_buf_close) struct sfs_buf word = { 0 };
        int r = take_flag(&text, escape, &word);
        if (r < 0)
            return r;
        *ret_rest = text;
        if (strcmp(word.data, "--") == 0)
            return 0;
        r = sfs_words_add(flags, word.data, word.size);
        if (r < 0)
            return r;
    }
}

static int add_item(const json_t *item, struct sfs_vars *words, struct sfs_error *err)
{
    const char *text = json_string_value(item);
    if (!text || sfs_json_is_number(text))
        return sfs_fail(err, EINVAL,
                        "when using JSON array syntax, arrays must be comprised of strings only");
    AUTO(sfs_free) char *filled = sfs_json_fill_pairs(text);
    return !filled || sfs_words_add(words, filled, strlen(filled)) < 0 ? sfs_fail_memory(err) : 0;
}

int sfs_words_json(const char *text, struct sfs_vars *words, struct sfs_error *err)
{
    while (is_blank(*text))
        text++;
    if (*text != '[')
        return 0;
    /* As for Go's decoder, bytes that are no UTF-8 do not keep it from being an array. */
    AUTO(sfs_free) char *clean = sfs_utf8_clean(text);
    json_t *array = NULL;
    if (!clean)
        return sfs_fail_memory(err);
    int r = sfs_json_parse(clean, strlen(clean), 0, &array, err);
    if (r < 0)
        return r == -ENOMEM ? r : 0;
    for (size_t i = 0; r == 0 && i < json_array_size(array); i++)
        r = add_item(json_array_get(array, i), words, err);
    json_decref(array);
    return r < 0 ? r : 1;
}
