/* Which lines of a .dockerignore are patterns, and how they are cleaned. */
#include "dockerfile/ignore.h"

#include "base/banned.h"
#include "dockerfile/dockerfile_words.h"
#include "dockerfile/rune.h"
#include "base/path.h"
#include <stagefs/format.h>
#include <errno.h>
#include <stagefs/auto.h>

static int add_pattern(const char *text, size_t size, bool invert, struct sfs_vars *patterns)
{
    AUTO(sfs_free) char *pattern = strndup(text, size);
    AUTO(sfs_free) char *line = NULL;
    if (!pattern)
        return -ENOMEM;
    AUTO(sfs_free) char *clean = *pattern ? sfs_path_clean(pattern) : strdup("");
    if (!clean)
        return -ENOMEM;
    const char *relative = clean[0] == '/' && clean[1] ? clean + 1 : clean;
    line = sfs_format("%s%s", invert ? "!" : "", relative);
    if (!line)
        return -ENOMEM;
    return sfs_words_add(patterns, line, strlen(line));
}

int sfs_ignore_parse(const char *text, size_t size, struct sfs_vars *patterns)
{
    const char *end = text + size;
    if (size >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0)
        text += 3;
    int r = 0;
    while (r == 0 && text < end) {
        const char *newline = memchr(text, '\n', (size_t)(end - text));
        const char *line = text;
        size_t line_size = (size_t)((newline ? newline : end) - text);
        text = newline ? newline + 1 : end;
        bool is_comment = line_size > 0 && *line == '#';
        sfs_rune_trim(&line, &line_size);
        if (is_comment || line_size == 0)
            continue;
        bool invert = *line == '!';
        line += invert;
        line_size -= invert;
        sfs_rune_trim(&line, &line_size);
        r = add_pattern(line, line_size, invert, patterns);
    }
    return r;
}
