/* Command lines as arrays, and as text for a shell. */
#include "words.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void words_close(struct words *words)
{
    for (size_t i = 0; i < words->count; i++)
        free(words->items[i]);
    free(words->items);
    *words = (struct words){ 0 };
}

void words_add(struct words *words, const char *format, ...)
{
    va_list args;
    char **items = reallocarray(words->items, words->count + 2, sizeof *items);
    char *text = NULL;
    va_start(args, format);
    if (items && vasprintf(&text, format, args) < 0)
        text = NULL;
    va_end(args);
    words->items = items ? items : words->items;
    words->failed |= !text;
    if (!text)
        return;
    items[words->count++] = text;
    items[words->count] = NULL;
}

void words_add_option(struct words *words, const char *name, const struct text_list *values)
{
    for (size_t i = 0; i < values->count; i++) {
        words_add(words, "%s", name);
        words_add(words, "%s", values->items[i]);
    }
}

static void print_word(FILE *out, const char *word)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                "0123456789-_=+:,./@%";
    if (*word && !word[strspn(word, plain)]) {
        fputs(word, out);
        return;
    }
    fputc('\'', out);
    for (; *word; word++)
        fputs(*word == '\'' ? "'\\''" : (char[]){ *word, 0 }, out);
    fputc('\'', out);
}

char *words_for_shell(int count, char **words)
{
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    if (!out)
        return NULL;
    fputs("stagefs", out);
    for (int i = 0; i < count; i++) {
        fputc(' ', out);
        print_word(out, words[i]);
    }
    if (fclose(out) == 0)
        return text;
    free(text);
    return NULL;
}
