/* Markers are a small language of comparisons, "and", "or" and parentheses: a parser by descent,
 * whose depth has a cap. */
#include "slim/requirement.h"

#include "base/banned.h"
#include <ctype.h>
#include <string.h>

#define MAX_MARKER_DEPTH 32u

/* ---- names ---- */

static bool is_name_byte(char byte)
{
    return isalnum((unsigned char)byte) || (byte && strchr("-_.+", byte));
}

size_t sfs_requirement_name(const char *text, size_t size, char name[SFS_MAX_PACKAGE_NAME + 1])
{
    size_t used = 0, at = 0;
    for (; at < size && used < SFS_MAX_PACKAGE_NAME && is_name_byte(text[at]); at++) {
        bool is_dash = strchr("-_.", text[at]) != NULL;
        if (is_dash && used > 0 && name[used - 1] == '-')
            continue;
        name[used++] = is_dash ? '-' : (char)tolower((unsigned char)text[at]);
    }
    name[used] = 0;
    return at;
}

static size_t skip_blanks(const char *text, size_t at, size_t size)
{
    while (at < size && (text[at] == ' ' || text[at] == '\t'))
        at++;
    return at;
}

bool sfs_requirement_parse(const char *line, size_t size, struct sfs_requirement *ret_requirement)
{
    struct sfs_requirement *it = ret_requirement;
    *it = (struct sfs_requirement){ .extras = line, .marker = line };
    size_t at = skip_blanks(line, 0, size);
    at += sfs_requirement_name(line + at, size - at, it->name);
    at = skip_blanks(line, at, size);
    const char *end = at < size && line[at] == '[' ? memchr(line + at, ']', size - at) : NULL;
    if (end) {
        it->extras = line + at + 1;
        it->extras_size = (size_t)(end - it->extras);
        at = (size_t)(end - line) + 1;
    }
    const char *semicolon = at < size ? memchr(line + at, ';', size - at) : NULL;
    if (semicolon) {
        it->marker = semicolon + 1;
        it->marker_size = size - (size_t)(it->marker - line);
    }
    return it->name[0] != 0;
}

bool sfs_requirement_next_extra(struct sfs_requirement *requirement,
                                char extra[SFS_MAX_PACKAGE_NAME + 1])
{
    const char *text = requirement->extras;
    size_t size = requirement->extras_size, at = 0;
    while (at < size && !is_name_byte(text[at]))
        at++;
    at += sfs_requirement_name(text + at, size - at, extra);
    requirement->extras += at;
    requirement->extras_size -= at;
    return extra[0] != 0;
}

/* ---- markers ---- */

struct marker {
    const char *at, *end;
    const char *extra;
    unsigned depth;
    bool is_odd; /* it is not understood: nothing is certain */
};

struct marker_token { /* a word, a text in quotes without them, an operator; size 0: the end */
    const char *text;
    size_t size;
    bool is_quoted;
};

static struct marker_token next_token(struct marker *marker)
{
    struct marker_token token = { 0 };
    while (marker->at < marker->end && isspace((unsigned char)*marker->at))
        marker->at++;
    token.text = marker->at;
    if (marker->at == marker->end)
        return token;
    char first = *marker->at++;
    if (first == '"' || first == '\'') {
        const char *quote = memchr(marker->at, first, (size_t)(marker->end - marker->at));
        token = (struct marker_token){ marker->at, 0, true };
        marker->is_odd |= !quote;
        token.size = (size_t)((quote ? quote : marker->end) - token.text);
        marker->at = quote ? quote + 1 : marker->end;
        return token;
    }
    bool is_word = is_name_byte(first), is_operator = strchr("=!<>~", first) != NULL;
    while (marker->at < marker->end &&
           ((is_word && is_name_byte(*marker->at)) ||
            (is_operator && *marker->at && strchr("=!<>~", *marker->at))))
        marker->at++;
    token.size = (size_t)(marker->at - token.text);
    return token;
}

static bool is_token(const struct marker_token *token, const char *text)
{
    return !token->is_quoted && token->size == strlen(text) &&
           memcmp(token->text, text, token->size) == 0;
}

/* Takes the next word, if it is this one. */
static bool take_token(struct marker *marker, const char *text)
{
    struct marker before = *marker;
    struct marker_token token = next_token(marker);
    if (is_token(&token, text))
        return true;
    *marker = before;
    return false;
}

/* What a variable has in each image, where that is known; NULL: it is not. */
static const char *find_value(const struct marker *marker, const struct marker_token *variable)
{
    static const struct {
        const char *name, *value;
    } values[] = { { "sys_platform", "linux" }, { "platform_system", "Linux" },
                   { "os_name", "posix" },      { "sys.platform", "linux" },
                   { "os.name", "posix" },      { "platform.system", "Linux" } };
    if (is_token(variable, "extra"))
        return marker->extra;
    for (size_t i = 0; i < sizeof values / sizeof *values; i++)
        if (is_token(variable, values[i].name))
            return values[i].value;
    return NULL;
}

/* VARIABLE == "text", in either order. What is not known is true. */
static bool judge_comparison(struct marker *marker)
{
    struct marker_token left = next_token(marker), operator= next_token(marker);
    if (is_token(&operator, "not"))
        operator= next_token(marker);
    struct marker_token right = next_token(marker);
    marker->is_odd |= right.size == 0 && !right.is_quoted;
    const struct marker_token *variable = left.is_quoted ? &right : &left;
    const struct marker_token *text = left.is_quoted ? &left : &right;
    const char *value = find_value(marker, variable);
    bool is_equal = is_token(&operator, "==") || is_token(&operator, "===");
    if (!value || !text->is_quoted || (!is_equal && !is_token(&operator, "!=")))
        return true;
    char plain[SFS_MAX_PACKAGE_NAME + 1];
    bool is_extra = is_token(variable, "extra");
    if (is_extra)
        sfs_requirement_name(text->text, text->size, plain);
    bool is_same = is_extra ? strcmp(plain, value) == 0
                            : text->size == strlen(value) && !memcmp(text->text, value, text->size);
    return is_same == is_equal;
}

static bool judge_any(struct marker *marker);

static bool judge_one(struct marker *marker)
{
    if (!take_token(marker, "("))
        return judge_comparison(marker);
    if (++marker->depth > MAX_MARKER_DEPTH) {
        marker->is_odd = true;
        return true;
    }
    bool applies = judge_any(marker);
    marker->is_odd |= !take_token(marker, ")");
    marker->depth--;
    return applies;
}

static bool judge_all(struct marker *marker)
{
    bool applies = judge_one(marker);
    while (!marker->is_odd && take_token(marker, "and"))
        applies &= judge_one(marker);
    return applies;
}

static bool judge_any(struct marker *marker)
{
    bool applies = judge_all(marker);
    while (!marker->is_odd && take_token(marker, "or"))
        applies |= judge_all(marker);
    return applies;
}

bool sfs_requirement_applies(const struct sfs_requirement *requirement, const char *extra)
{
    struct marker marker = { .at = requirement->marker,
                             .end = requirement->marker + requirement->marker_size,
                             .extra = extra };
    struct marker rest = marker;
    if (next_token(&rest).size == 0)
        return true;
    bool applies = judge_any(&marker);
    return applies || marker.is_odd || next_token(&marker).size > 0;
}

/* ---- files ---- */

static void add_line(struct sfs_buf *lines, const char *text, size_t size)
{
    sfs_buf_add(lines, text, size);
    sfs_buf_add(lines, "\n", 1);
}

static size_t line_size(const char *text)
{
    size_t size = strcspn(text, "\n");
    return size > 0 && text[size - 1] == '\r' ? size - 1 : size;
}

static const char *next_line(const char *text)
{
    text += strcspn(text, "\n");
    return text + (*text == '\n');
}

void sfs_requirements_of_metadata(const char *text, struct sfs_buf *lines)
{
    static const char key[] = "Requires-Dist:";
    for (; *text && line_size(text) > 0; text = next_line(text))
        if (strncmp(text, key, strlen(key)) == 0)
            add_line(lines, text + strlen(key), line_size(text) - strlen(key));
}

/* "[extra:marker]" stands above requirements that only count with it; either part may lack. */
static void add_section_marker(struct sfs_buf *lines, const char *section, size_t size)
{
    const char *colon = memchr(section, ':', size);
    size_t extra = colon ? (size_t)(colon - section) : size;
    sfs_buf_add_str(lines, "; ");
    if (extra > 0)
        sfs_buf_printf(lines, "extra == \"%.*s\"", (int)extra, section);
    if (!colon)
        return;
    sfs_buf_add_str(lines, extra > 0 ? " and (" : "(");
    sfs_buf_add(lines, colon + 1, size - extra - 1);
    sfs_buf_add_str(lines, ")");
}

void sfs_requirements_of_list(const char *text, struct sfs_buf *lines)
{
    const char *section = NULL;
    size_t section_size = 0;
    for (; *text; text = next_line(text)) {
        size_t size = line_size(text);
        if (size > 1 && text[0] == '[' && text[size - 1] == ']') {
            section = text + 1;
            section_size = size - 2;
        } else if (size > 0 && text[0] != '#') {
            sfs_buf_add(lines, text, size);
            if (section && section_size <= SFS_MAX_PATH)
                add_section_marker(lines, section, section_size);
            sfs_buf_add(lines, "\n", 1);
        }
    }
}

void sfs_requirements_of_depends(const char *text, struct sfs_buf *lines)
{
    while (*text) {
        text += strspn(text, ",| \t\n\r");
        char name[SFS_MAX_PACKAGE_NAME + 1];
        size_t size = strcspn(text, ",|");
        sfs_requirement_name(text, size, name);
        if (name[0])
            add_line(lines, name, strlen(name));
        text += size;
    }
}
