/* The language of patternmatcher, without the regular expressions that it uses.
 *
 * As there, a pattern without anything special is compared as it is, "x**" is a prefix and "**x" a
 * suffix. Any other becomes a row of tokens, run over the path as the set of positions that are
 * reached ("**" may stay and may go on), so time is at most tokens times characters. */
#include "copy/pattern.h"

#include "base/banned.h"
#include "base/buf.h"
#include "base/path.h"
#include "copy/pattern_class.h"
#include <errno.h>
#include <sys/types.h>
#include <stagefs/auto.h>

#define MAX_TOKENS  1023u
#define STATE_WORDS ((MAX_TOKENS + 1) / 64)

enum token_kind {
    TOKEN_RUNE,
    TOKEN_ANY,   /* ?: one character but '/' */
    TOKEN_STAR,  /* *: any characters but '/' */
    TOKEN_CLASS, /* [...] */
    TOKEN_DEEP,  /* **: nothing, or anything that ends in '/' */
    TOKEN_REST,  /* ** at the end: anything */
    TOKEN_START, /* '^' in such a pattern: matches only at the start */
};

struct token {
    uint32_t kind;
    uint32_t value; /* the character, or where in the text '[' is */
};

enum match_kind { MATCH_EXACT, MATCH_PREFIX, MATCH_SUFFIX, MATCH_TOKENS, MATCH_NEVER };

struct pattern {
    char *text; /* cleaned, without '!' */
    size_t text_size;
    struct token *tokens;
    uint32_t token_count;
    struct sfs_buf tail; /* the bytes that every match ends with: looked at first */
    enum match_kind kind;
    bool exception;
};

struct sfs_patterns {
    struct pattern *items;
    size_t count;
    bool has_exceptions;
};

struct state {
    uint64_t words[STATE_WORDS];
};

static void reach(const struct pattern *pattern, struct state *state, uint32_t i, bool at_start)
{
    for (;; i++) {
        state->words[i / 64] |= 1ull << (i % 64);
        if (i == pattern->token_count)
            return;
        uint32_t kind = pattern->tokens[i].kind;
        bool may_be_nothing = kind == TOKEN_STAR || kind == TOKEN_DEEP || kind == TOKEN_REST ||
                              (kind == TOKEN_START && at_start);
        if (!may_be_nothing)
            return;
    }
}

/* Lets token i take the character; the positions that are then reached go to `next`. */
static void step(const struct pattern *pattern, uint32_t i, uint32_t rune, struct state *next)
{
    const struct token *token = &pattern->tokens[i];
    bool match = false;
    switch (token->kind) {
    case TOKEN_RUNE:
        match = token->value == rune;
        break;
    case TOKEN_ANY:
        match = rune != '/';
        break;
    case TOKEN_STAR:
        if (rune != '/')
            reach(pattern, next, i, false);
        return;
    case TOKEN_CLASS:
        sfs_pattern_class(pattern->text + token->value, rune, &match, NULL);
        break;
    case TOKEN_DEEP: /* '.' of a regular expression is anything but a newline */
        if (rune != '\n')
            next->words[i / 64] |= 1ull << (i % 64);
        match = rune == '/';
        break;
    case TOKEN_REST:
        if (rune != '\n')
            reach(pattern, next, i, false);
        return;
    default:
        return;
    }
    if (match)
        reach(pattern, next, i + 1, false);
}

/* Runs the tokens over `path`; false: no position is reached any more. */
static bool run(const struct pattern *pattern, const char *path, bool slash_behind,
                struct state *state)
{
    uint32_t words = pattern->token_count / 64 + 1;
    memset(state, 0, words * sizeof state->words[0]);
    reach(pattern, state, 0, true);
    for (size_t size; *path || slash_behind; path += size) {
        uint32_t rune = *path ? sfs_pattern_rune(path, &size) : '/';
        if (!*path) {
            slash_behind = false;
            size = 0;
        }
        struct state next;
        memset(&next, 0, words * sizeof next.words[0]);
        for (uint32_t w = 0; w < words; w++) {
            for (uint64_t bits = state->words[w]; bits; bits &= bits - 1) {
                uint32_t i = w * 64 + (uint32_t)__builtin_ctzll(bits);
                if (i < pattern->token_count)
                    step(pattern, i, rune, &next);
            }
        }
        uint64_t any = 0;
        for (uint32_t w = 0; w < words; w++)
            any |= state->words[w] = next.words[w];
        if (!any)
            return false;
    }
    return true;
}

static bool ends_with(const char *path, const char *end, size_t end_size)
{
    size_t size = strlen(path);
    return size >= end_size && memcmp(path + size - end_size, end, end_size) == 0;
}

static bool match_tokens(const struct pattern *pattern, const char *path)
{
    if (pattern->tail.size > 0 && !ends_with(path, pattern->tail.data, pattern->tail.size))
        return false;
    struct state state;
    uint32_t end = pattern->token_count;
    return run(pattern, path, false, &state) && (state.words[end / 64] >> (end % 64) & 1);
}

static int match_one(const struct pattern *pattern, const char *path)
{
    switch (pattern->kind) {
    case MATCH_EXACT:
        return strcmp(path, pattern->text) == 0;
    case MATCH_PREFIX:
        return strncmp(path, pattern->text, pattern->text_size - 2) == 0;
    case MATCH_SUFFIX: /* "**" and "/foo" also match "foo" */
        return ends_with(path, pattern->text + 2, pattern->text_size - 2) ||
               (pattern->text[2] == '/' && strcmp(path, pattern->text + 3) == 0);
    case MATCH_TOKENS:
        return match_tokens(pattern, path);
    default:
        return -EINVAL;
    }
}

static int add_token(struct pattern *pattern, enum token_kind kind, size_t value)
{
    if (pattern->token_count == MAX_TOKENS)
        return -E2BIG;
    pattern->tokens[pattern->token_count++] = (struct token){ kind, (uint32_t)value };
    return 0;
}

/* Takes one element off `text`; *kind is what the pattern seen so far can still be, by
 * patternmatcher's own special cases. Returns its size in bytes, or -E2BIG. */
static ssize_t compile_one(struct pattern *pattern, const char *text, enum match_kind *kind)
{
    size_t size = 1;
    int r = 0;
    bool ignored;
    if (text[0] == '*' && text[1] == '*') {
        size = text[2] == '/' ? 3 : 2; /* "**" and a slash are one thing */
        bool at_end = text[size] == '\0';
        r = add_token(pattern, at_end ? TOKEN_REST : TOKEN_DEEP, 0);
        *kind = text == pattern->text            ? MATCH_SUFFIX
                : at_end && *kind == MATCH_EXACT ? MATCH_PREFIX
                                                 : MATCH_TOKENS;
        return r < 0 ? r : (ssize_t)size;
    }
    if (text[0] == '*' || text[0] == '?') {
        r = add_token(pattern, text[0] == '*' ? TOKEN_STAR : TOKEN_ANY, 0);
    } else if (text[0] == '[') {
        r = add_token(pattern, TOKEN_CLASS, (size_t)(text - pattern->text));
        size = (size_t)(sfs_pattern_class(text, 0, &ignored, NULL) - text);
    } else if (text[0] == '^') {
        r = add_token(pattern, TOKEN_START, 0);
    } else {
        bool escaped = text[0] == '\\';
        r = add_token(pattern, TOKEN_RUNE, sfs_pattern_rune(text + escaped, &size));
        size += escaped;
    }
    if (strchr("*?[]\\", text[0]))
        *kind = MATCH_TOKENS;
    return r < 0 ? r : (ssize_t)size;
}

/* Finds the plain characters that the pattern ends with. */
static int find_tail(struct pattern *pattern)
{
    const char *tail = pattern->text;
    for (const char *p = pattern->text; *p; p++) {
        if (!strchr("*?[]^\\", *p))
            continue;
        if (*p == '\\' || strncmp(p, "*/", 2) == 0) /* the slash may be part of a "**" */
            p++;
        tail = p + 1;
    }
    return sfs_buf_add_str(&pattern->tail, tail);
}

/* Has the pattern a range that runs backwards? patternmatcher takes it, and fails when it is
 * used. */
static bool has_reversed_range(const char *text)
{
    bool ignored, reversed = false;
    while (*text) {
        if (*text == '[')
            text = sfs_pattern_class(text, 0, &ignored, &reversed);
        else
            text += *text == '\\' ? 2 : 1;
    }
    return reversed;
}

static int compile(struct pattern *pattern, struct sfs_error *err)
{
    pattern->text_size = strlen(pattern->text);
    pattern->tokens = calloc(pattern->text_size + 1, sizeof pattern->tokens[0]);
    if (!pattern->tokens || find_tail(pattern) < 0)
        return sfs_fail_memory(err);
    enum match_kind kind = MATCH_EXACT;
    for (const char *p = pattern->text; *p;) {
        ssize_t size = compile_one(pattern, p, &kind);
        if (size < 0)
            return sfs_fail(err, E2BIG, "pattern of more than %u characters", MAX_TOKENS);
        p += size;
    }
    pattern->kind = has_reversed_range(pattern->text) ? MATCH_NEVER : kind;
    return 0;
}

/* Takes the blanks around the line off, and cleans it as a path. *ret_text NULL: nothing is
 * left. */
static int clean_line(const char *line, char **ret_text)
{
    static const char blanks[] = " \t\r\n\v\f";
    line += strspn(line, blanks);
    size_t size = strlen(line);
    while (size > 0 && strchr(blanks, line[size - 1]))
        size--;
    *ret_text = NULL;
    if (size == 0)
        return 0;
    AUTO(sfs_free) char *trimmed = strndup(line, size);
    if (trimmed)
        *ret_text = sfs_path_clean(trimmed);
    return *ret_text ? 0 : -ENOMEM;
}

static int add_line(struct sfs_patterns *patterns, const char *line, struct sfs_error *err)
{
    struct pattern *pattern = &patterns->items[patterns->count];
    if (clean_line(line, &pattern->text) < 0)
        return sfs_fail_memory(err);
    if (!pattern->text)
        return 0;
    patterns->count++;
    if (strcmp(pattern->text, "!") == 0)
        return sfs_fail(err, EINVAL, "illegal exclusion pattern: \"!\"");
    if (pattern->text[0] == '!') {
        pattern->exception = patterns->has_exceptions = true;
        memmove(pattern->text, pattern->text + 1, strlen(pattern->text));
    }
    if (sfs_pattern_match_go(pattern->text, ".") < 0)
        return sfs_fail(err, EINVAL, "syntax error in pattern \"%s\"", line);
    return compile(pattern, err);
}

int sfs_patterns_open(const char *const *lines, size_t count, struct sfs_patterns **ret_patterns,
                      struct sfs_error *err)
{
    AUTO(sfs_patterns_close) struct sfs_patterns *patterns = calloc(1, sizeof *patterns);
    if (patterns)
        patterns->items = calloc(count + 1, sizeof patterns->items[0]);
    if (!patterns || !patterns->items)
        return sfs_fail_memory(err);
    for (size_t i = 0; i < count; i++) {
        int r = add_line(patterns, lines[i], err);
        if (r < 0)
            return r;
    }
    *ret_patterns = TAKE(patterns);
    return 0;
}

void sfs_patterns_close(struct sfs_patterns **patterns)
{
    if (!*patterns)
        return;
    for (size_t i = 0; i < (*patterns)->count; i++) {
        free((*patterns)->items[i].text);
        free((*patterns)->items[i].tokens);
        sfs_buf_close(&(*patterns)->items[i].tail);
    }
    free((*patterns)->items);
    free(*patterns);
    *patterns = NULL;
}

size_t sfs_patterns_count(const struct sfs_patterns *patterns)
{
    return patterns->count;
}

bool sfs_patterns_has_exceptions(const struct sfs_patterns *patterns)
{
    return patterns->has_exceptions;
}

/* Does the pattern match the path, or a directory above it? */
static int match_with_parents(const struct pattern *pattern, char *path)
{
    int r = match_one(pattern, path);
    for (char *slash = strchr(path, '/'); r == 0 && slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        r = match_one(pattern, path);
        *slash = '/';
    }
    return r;
}

int sfs_patterns_match(const struct sfs_patterns *patterns, const char *path)
{
    AUTO(sfs_free) char *clean = sfs_path_clean(path);
    if (!clean)
        return -ENOMEM;
    if (strcmp(clean, ".") == 0)
        return 0;
    bool matched = false;
    for (size_t i = 0; i < patterns->count; i++) {
        const struct pattern *pattern = &patterns->items[i];
        if (pattern->exception != matched)
            continue;
        int r = match_with_parents(pattern, clean);
        if (r < 0)
            return r;
        if (r > 0)
            matched = !pattern->exception;
    }
    return matched;
}

int sfs_patterns_match_below(const struct sfs_patterns *patterns, const char *path,
                             const uint8_t *parent, uint8_t *ret_self)
{
    bool matched = false;
    for (size_t i = 0; i < patterns->count; i++) {
        const struct pattern *pattern = &patterns->items[i];
        int r = parent ? parent[i] : 0;
        ret_self[i] = 0;
        if (r == 0) {
            if (pattern->exception != matched)
                continue;
            r = match_one(pattern, path);
            if (r < 0)
                return r;
        }
        ret_self[i] = (uint8_t)r;
        if (r > 0)
            matched = !pattern->exception;
    }
    return matched;
}

/* Of a pattern "x**": can a name below `path` begin with x? */
static bool may_have_prefix(const struct pattern *pattern, const char *path)
{
    size_t size = strlen(path), prefix = pattern->text_size - 2;
    if (size < prefix && pattern->text[size] != '/')
        return false;
    return memcmp(path, pattern->text, size < prefix ? size : prefix) == 0;
}

bool sfs_patterns_may_match_below(const struct sfs_patterns *patterns, const char *path)
{
    for (size_t i = 0; i < patterns->count; i++) {
        const struct pattern *pattern = &patterns->items[i];
        if (pattern->exception)
            continue;
        struct state state;
        bool may = pattern->kind == MATCH_SUFFIX || pattern->kind == MATCH_NEVER ||
                   (pattern->kind == MATCH_EXACT && sfs_path_is_below(pattern->text, path)) ||
                   (pattern->kind == MATCH_PREFIX && may_have_prefix(pattern, path)) ||
                   (pattern->kind == MATCH_TOKENS && run(pattern, path, true, &state));
        if (may)
            return true;
    }
    return false;
}
