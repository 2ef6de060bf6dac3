/* Which entry of an image's history belongs to which layer, and how it is told to people. */
#include "history.h"

#include <stagefs/format.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static bool makes_layer(const json_t *entry)
{
    return !json_is_true(json_object_get(entry, "empty_layer"));
}

const char *history_created_by(const json_t *config, size_t count, size_t i)
{
    const json_t *history = json_object_get(config, "history"), *entry, *found = NULL;
    size_t at, layers = 0;
    json_array_foreach(history, at, entry)
    {
        if (!makes_layer(entry))
            continue;
        if (layers == i)
            found = entry;
        layers++;
    }
    const char *text = json_string_value(json_object_get(found, "created_by"));
    return layers == count && text && *text ? text : NULL;
}

/* Removes `start` from the beginning; false: it does not stand there. */
static bool pass_over(const char **text, const char *start)
{
    size_t size = strlen(start);
    if (strncmp(*text, start, size) != 0)
        return false;
    *text += size;
    return true;
}

/* Runs of white space become one space, so that continued lines are one. */
static void squeeze(char *text)
{
    char *to = text;
    for (const char *from = text; *from; from++) {
        char c = strchr(" \t\n\r", *from) ? ' ' : *from;
        if (c != ' ' || (to > text && to[-1] != ' '))
            *to++ = c;
    }
    while (to > text && to[-1] == ' ')
        to--;
    *to = 0;
}

static void cut_end(char *text, const char *end)
{
    size_t size = strlen(text), end_size = strlen(end);
    if (size >= end_size && strcmp(text + size - end_size, end) == 0)
        text[size - end_size] = 0;
}

char *history_words(const char *created_by)
{
    const char *text = created_by;
    bool is_run = false;
    if (!pass_over(&text, "/bin/sh -c #(nop) "))
        is_run = pass_over(&text, "/bin/sh -c ") || pass_over(&text, "RUN /bin/sh -c ");
    char *words = NULL;
    words = sfs_format("%s%s", is_run ? "RUN " : "", text);
    if (!words)
        return NULL;
    squeeze(words);
    cut_end(words, " # buildkit");
    return words;
}

void history_print(const char *words, unsigned used)
{
    AUTO(sfs_free) char *line = strdup(words);
    if (line && isatty(STDOUT_FILENO)) {
        unsigned width = print_columns(STDOUT_FILENO);
        size_t size = strlen(line);
        while (size > 0 && used + print_path_width(line) > width) {
            do
                size--;
            while (size > 0 && ((unsigned char)line[size] & 0xc0) == 0x80);
            line[size] = 0;
        }
    }
    print_path(line ? line : words);
    putchar('\n');
}
