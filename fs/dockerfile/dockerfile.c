/* How physical lines become logical ones: directives, comments, continuation, heredocs. */
#include "dockerfile/dockerfile.h"

#include "base/buf.h"
#include "dockerfile/dockerfile_words.h"
#include "dockerfile/rune.h"
#include <ctype.h>
#include <errno.h>
#include <stagefs/auto.h>

#define MAX_LINE         65535u /* bytes, as BuildKit's scanner has it */
#define MAX_INSTRUCTIONS 100000u
#define MAX_ONBUILD      8 /* ONBUILD ONBUILD ... is refused later; the parser must survive it */

struct line_reader {
    const char *at, *end;
    unsigned line; /* number of the line that was read last, from 1 */
    char escape;
    bool directives_done, seen_syntax, seen_escape, seen_check;
};

/* The next physical line, its end included; false at the end. */
static bool read_line(struct line_reader *reader, const char **ret_line, size_t *ret_size)
{
    if (reader->at == reader->end)
        return false;
    const char *newline = memchr(reader->at, '\n', (size_t)(reader->end - reader->at));
    const char *next = newline ? newline + 1 : reader->end;
    *ret_line = reader->at;
    *ret_size = (size_t)(next - reader->at);
    reader->at = next;
    reader->line++;
    return true;
}

static size_t without_newline(const char *line, size_t size)
{
    while (size > 0 && (line[size - 1] == '\n' || line[size - 1] == '\r'))
        size--;
    return size;
}

static size_t leading_blanks(const char *line, size_t size)
{
    size_t n = 0;
    for (size_t blank; (blank = sfs_rune_blank(line + n, size - n)) > 0;)
        n += blank;
    return n;
}

static bool is_comment(const char *line, size_t size)
{
    size_t blanks = leading_blanks(line, size);
    return blanks < size && line[blanks] == '#';
}

static int set_directive(struct line_reader *reader, const char *key, const char *value,
                         struct sfs_error *err)
{
    bool *seen = strcasecmp(key, "syntax") == 0   ? &reader->seen_syntax
                 : strcasecmp(key, "escape") == 0 ? &reader->seen_escape
                 : strcasecmp(key, "check") == 0  ? &reader->seen_check
                                                  : NULL;
    if (!seen) {
        reader->directives_done = true;
        return 0;
    }
    if (*seen)
        return sfs_fail(err, EINVAL, "only one %s parser directive can be used", key);
    *seen = true;
    if (seen != &reader->seen_escape)
        return 0;
    if (strcmp(value, "\\") != 0 && strcmp(value, "`") != 0)
        return sfs_fail(err, EINVAL, "invalid escape token '%.20s' does not match ` or \\", value);
    reader->escape = *value;
    return 0;
}

/* Takes a directive: "# key = value", before anything else. The first line that is none ends
 * them. */
static int take_directive(struct line_reader *reader, const char *line, size_t size,
                          struct sfs_error *err)
{
    if (reader->directives_done)
        return 0;
    AUTO(sfs_free) char *text = strndup(line, size);
    if (!text)
        return -ENOMEM;
    char *key = text + 1, *equals = strchr(text, '=');
    reader->directives_done = *text != '#' || !equals;
    if (reader->directives_done)
        return 0;
    while (isspace((unsigned char)*key))
        key++;
    size_t key_size = 0;
    while (isalnum((unsigned char)key[key_size]))
        key_size++;
    char *behind = key + key_size;
    while (isspace((unsigned char)*behind))
        behind++;
    char *value = equals + 1, *end = text + size;
    while (isspace((unsigned char)*value))
        value++;
    while (end > value && isspace((unsigned char)end[-1]))
        end--;
    if (key_size == 0 || isdigit((unsigned char)*key) || behind != equals || end == value) {
        reader->directives_done = true;
        return 0;
    }
    key[key_size] = 0;
    *end = 0;
    return set_directive(reader, key, value, err);
}

/* Does the line go on? A single escape character before trailing blanks says so and is taken
 * off. */
static bool take_continuation(const struct line_reader *reader, const char *line, size_t *size)
{
    size_t n = *size;
    while (n > 0 && (line[n - 1] == ' ' || line[n - 1] == '\t'))
        n--;
    if (n == 0 || line[n - 1] != reader->escape || (n > 1 && line[n - 2] == reader->escape))
        return false;
    *size = n - 1;
    return true;
}

static int too_long(struct sfs_error *err)
{
    return sfs_fail(err, EINVAL, "dockerfile line greater than max allowed size of %u", MAX_LINE);
}

/* The next logical line in `buf`: 1, 0 at the end, negative errno. *ret_line: where it started. */
static int read_logical_line(struct line_reader *reader, struct sfs_buf *buf, unsigned *ret_line,
                             struct sfs_error *err)
{
    const char *line;
    size_t size;
    buf->size = 0;
    while (read_line(reader, &line, &size)) {
        if (size > MAX_LINE)
            return too_long(err);
        size = without_newline(line, size);
        size_t blanks = leading_blanks(line, size);
        line += blanks;
        size -= blanks;
        int r = take_directive(reader, line, size, err);
        if (r < 0)
            return r;
        if (size == 0 || line[0] == '#')
            continue;
        *ret_line = reader->line;
        bool goes_on = take_continuation(reader, line, &size);
        r = sfs_buf_add(buf, line, size);
        while (r == 0 && goes_on && read_line(reader, &line, &size)) {
            if (size > MAX_LINE)
                return too_long(err);
            if (is_comment(line, size))
                continue;
            size = without_newline(line, size);
            if (leading_blanks(line, size) == size)
                continue;
            goes_on = take_continuation(reader, line, &size);
            r = sfs_buf_add(buf, line, size);
        }
        return r < 0 ? r : 1;
    }
    return 0;
}

/* ---- heredocs ---- */

static size_t count_quotes(const char *text)
{
    size_t n = 0;
    for (; *text; text++)
        n += *text == '\'' || *text == '"';
    return n;
}

/* The delimiter's words with and without quotes: if both hold as many, nothing was quoted, and the
 * body is expanded. */
static int parse_delimiter(const char *text, struct sfs_heredoc *heredoc, struct sfs_error *err)
{
    static const struct sfs_vars no_vars;
    AUTO(sfs_vars_close) struct sfs_vars words = { 0 };
    AUTO(sfs_vars_close) struct sfs_vars raw = { 0 };
    int r = sfs_expand_words(text, '\\', &no_vars, SFS_EXPAND_SKIP_UNSET, &words, err);
    if (r < 0 || words.count != 1)
        return r;
    r = sfs_expand_words(text, '\\', &no_vars, SFS_EXPAND_SKIP_UNSET | SFS_EXPAND_RAW_QUOTES, &raw,
                         err);
    if (r < 0 || raw.count != 1)
        return r;
    heredoc->expand = count_quotes(words.items[0]) == count_quotes(raw.items[0]);
    heredoc->name = TAKE(words.items[0]);
    words.count = 0;
    return 1;
}

int sfs_heredoc_parse(const char *word, struct sfs_heredoc *ret_heredoc, struct sfs_error *err)
{
    struct sfs_heredoc heredoc = { 0 };
    const char *at = word;
    while (isdigit((unsigned char)*at))
        heredoc.fd = (heredoc.fd * 10 + (unsigned)(*at++ - '0')) % 1000000;
    if (at[0] != '<' || at[1] != '<')
        return 0;
    at += 2;
    heredoc.chomp = *at == '-';
    at += heredoc.chomp;
    while (isspace((unsigned char)*at))
        at++;
    if (!*at || strchr(at, '<'))
        return 0;
    int r = parse_delimiter(at, &heredoc, err);
    if (r == 1)
        *ret_heredoc = heredoc;
    return r;
}

static int read_body(struct line_reader *reader, struct sfs_heredoc *heredoc, struct sfs_error *err)
{
    AUTO(sfs_buf_close) struct sfs_buf body = { 0 };
    int r = sfs_buf_add_str(&body, "");
    const char *line;
    size_t size;
    while (r == 0 && read_line(reader, &line, &size)) {
        if (size > MAX_LINE)
            return too_long(err);
        const char *word = line;
        size_t word_size = without_newline(line, size);
        while (heredoc->chomp && word_size > 0 && *word == '\t') {
            word++;
            word_size--;
        }
        if (word_size == strlen(heredoc->name) && memcmp(word, heredoc->name, word_size) == 0) {
            heredoc->content = TAKE(body.data);
            return 0;
        }
        r = sfs_buf_add(&body, line, size);
    }
    return r < 0 ? r
                 : sfs_fail(err, EINVAL, "unterminated heredoc (no line '%.100s')", heredoc->name);
}

static bool may_have_heredocs(const struct sfs_instruction *instruction)
{
    const struct sfs_instruction *inner = instruction;
    while (inner->child)
        inner = inner->child;
    return !inner->json &&
           (strcmp(inner->keyword, "add") == 0 || strcmp(inner->keyword, "copy") == 0 ||
            strcmp(inner->keyword, "run") == 0);
}

static int read_heredocs(struct line_reader *reader, struct sfs_instruction *instruction,
                         struct sfs_error *err)
{
    static const struct sfs_vars no_vars;
    if (!may_have_heredocs(instruction) || !strstr(instruction->original, "<<"))
        return 0;
    AUTO(sfs_vars_close) struct sfs_vars words = { 0 };
    unsigned flags = SFS_EXPAND_RAW_QUOTES | SFS_EXPAND_RAW_ESCAPES | SFS_EXPAND_SKIP_UNSET;
    /* A line that cannot be cut into a shell's words (RUN echo "it's <<x) has no heredocs. */
    if (sfs_expand_words(instruction->original, '\\', &no_vars, flags, &words, NULL) < 0)
        return 0;
    for (size_t i = 0; i < words.count; i++) {
        AUTO(sfs_heredoc_close) struct sfs_heredoc heredoc = { 0 };
        int r = sfs_heredoc_parse(words.items[i], &heredoc, err);
        if (r == 0)
            continue;
        if (r == 1)
            r = read_body(reader, &heredoc, err);
        if (r < 0)
            return r;
        struct sfs_heredoc *more =
            reallocarray(instruction->heredocs, instruction->heredoc_count + 1, sizeof *more);
        if (!more)
            return -ENOMEM;
        instruction->heredocs = more;
        more[instruction->heredoc_count++] = heredoc;
        heredoc = (struct sfs_heredoc){ 0 };
    }
    return 0;
}

/* ---- the file ---- */

static int add_instruction(struct sfs_dockerfile *dockerfile, struct sfs_instruction *instruction)
{
    struct sfs_instruction *more =
        reallocarray(dockerfile->instructions, dockerfile->count + 1, sizeof *more);
    if (!more) {
        sfs_instruction_close(instruction);
        return -ENOMEM;
    }
    dockerfile->instructions = more;
    more[dockerfile->count++] = *instruction;
    return 0;
}

/* Does ONBUILD stand in ONBUILD too often? Asked before anything recurses. */
static bool nests_too_deeply(const char *line)
{
    unsigned depth = 0;
    while (strncasecmp(line, "onbuild", 7) == 0 && isspace((unsigned char)line[7])) {
        line += 7;
        while (isspace((unsigned char)*line))
            line++;
        depth++;
    }
    return depth > MAX_ONBUILD;
}

static int parse_all(struct line_reader *reader, struct sfs_dockerfile *dockerfile, unsigned *line,
                     struct sfs_error *err)
{
    AUTO(sfs_buf_close) struct sfs_buf buf = { 0 };
    int r;
    while ((r = read_logical_line(reader, &buf, line, err)) == 1) {
        if (!buf.data || buf.size == 0)
            continue;
        if (dockerfile->count == MAX_INSTRUCTIONS || nests_too_deeply(buf.data))
            return sfs_fail(err, EINVAL, "too many instructions");
        struct sfs_instruction instruction;
        r = sfs_instruction_parse(buf.data, reader->escape, &instruction, err);
        if (r < 0)
            return r;
        r = read_heredocs(reader, &instruction, err);
        instruction.line = *line;
        instruction.last_line = reader->line;
        int added = add_instruction(dockerfile, &instruction);
        if (r < 0 || added < 0)
            return r < 0 ? r : added;
    }
    if (r < 0)
        *line = reader->line;
    return r;
}

/* Refuses bytes that no Dockerfile may hold, comments and heredocs included. All that follows takes
 * pieces of the text for strings, which a NUL would end early. */
static int check_bytes(const char *text, size_t size, const char *name, struct sfs_error *err)
{
    const char *nul = memchr(text, 0, size);
    unsigned line = 1;
    if (!nul)
        return 0;
    for (const char *p = text; p < nul; p++)
        line += *p == '\n';
    return sfs_fail(err, EINVAL, "%s:%u: there is a NUL byte", name, line);
}

int sfs_dockerfile_parse(const char *text, size_t size, const char *name,
                         struct sfs_dockerfile *ret_dockerfile, struct sfs_error *err)
{
    AUTO(sfs_dockerfile_close) struct sfs_dockerfile dockerfile = { 0 };
    struct line_reader reader = { .at = text, .end = text + size, .escape = '\\' };
    if (size >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0)
        reader.at += 3;
    unsigned line = 1;
    int r = check_bytes(text, size, name, err);
    if (r < 0)
        return r;
    r = parse_all(&reader, &dockerfile, &line, err);
    if (r == -ENOMEM)
        return sfs_fail(err, ENOMEM, "%s: out of memory", name);
    if (r < 0)
        return sfs_fail_while(err, r, "%s:%u", name, line);
    if (dockerfile.count == 0)
        return sfs_fail(err, EINVAL, "%s: file with no instructions", name);
    dockerfile.escape = reader.escape;
    *ret_dockerfile = dockerfile;
    dockerfile = (struct sfs_dockerfile){ 0 };
    return 0;
}

void sfs_dockerfile_close(struct sfs_dockerfile *dockerfile)
{
    for (size_t i = 0; i < dockerfile->count; i++)
        sfs_instruction_close(&dockerfile->instructions[i]);
    free(dockerfile->instructions);
    *dockerfile = (struct sfs_dockerfile){ 0 };
}
