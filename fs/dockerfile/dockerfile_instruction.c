/* One logical line: keyword, flags, and arguments by the instruction's own shape. */
#include "dockerfile/dockerfile.h"
#include "dockerfile/dockerfile_words.h"
#include "dockerfile/rune.h"

#include "base/banned.h"
#include <ctype.h>
#include <errno.h>
#include <stagefs/auto.h>

enum shape {
    SHAPE_JSON_OR_LIST,   /* JSON array, or words parted by blanks */
    SHAPE_JSON_OR_STRING, /* JSON array, or the rest of the line */
    SHAPE_LIST,
    SHAPE_STRING,
    SHAPE_WORDS,      /* quotes kept */
    SHAPE_NAME_VALUE, /* name=value..., or the old "NAME the rest" */
    SHAPE_HEALTH,
    SHAPE_CHILD,
};

static const struct {
    const char *keyword;
    enum shape shape;
} shapes[] = {
    { "add", SHAPE_JSON_OR_LIST },
    { "arg", SHAPE_WORDS },
    { "cmd", SHAPE_JSON_OR_STRING },
    { "copy", SHAPE_JSON_OR_LIST },
    { "entrypoint", SHAPE_JSON_OR_STRING },
    { "env", SHAPE_NAME_VALUE },
    { "expose", SHAPE_LIST },
    { "from", SHAPE_LIST },
    { "healthcheck", SHAPE_HEALTH },
    { "label", SHAPE_NAME_VALUE },
    { "maintainer", SHAPE_STRING },
    { "onbuild", SHAPE_CHILD },
    { "run", SHAPE_JSON_OR_STRING },
    { "shell", SHAPE_JSON_OR_STRING },
    { "stopsignal", SHAPE_STRING },
    { "user", SHAPE_STRING },
    { "volume", SHAPE_JSON_OR_LIST },
    { "workdir", SHAPE_STRING },
};

static int add_string(struct sfs_instruction *instruction, const char *text)
{
    return *text ? sfs_words_add(&instruction->args, text, strlen(text)) : 0;
}

static int parse_maybe_json(struct sfs_instruction *instruction, const char *rest, bool list,
                            struct sfs_error *err)
{
    int r = sfs_words_json(rest, &instruction->args, err);
    instruction->json = r == 1;
    if (r != 0)
        return r < 0 ? r : 0;
    return list ? sfs_words_plain(rest, &instruction->args) : add_string(instruction, rest);
}

static int add_pair(struct sfs_instruction *instruction, const char *key, size_t key_size,
                    const char *value, const char *separator)
{
    int r = sfs_words_add(&instruction->args, key, key_size);
    if (r == 0)
        r = sfs_words_add(&instruction->args, value, strlen(value));
    return r < 0 ? r : sfs_words_add(&instruction->args, separator, strlen(separator));
}

static int parse_name_value(struct sfs_instruction *instruction, const char *rest, char escape,
                            struct sfs_error *err)
{
    AUTO(sfs_vars_close) struct sfs_vars words = { 0 };
    int r = sfs_words_quoted(rest, escape, &words);
    if (r < 0 || words.count == 0)
        return r;
    if (!strchr(words.items[0], '=')) {
        static const char blanks[] = "\t\v\f\r ";
        size_t size = strcspn(rest, blanks);
        if (!rest[size])
            return sfs_fail(err, EINVAL, "%s must have two arguments", instruction->keyword);
        return add_pair(instruction, rest, size, rest + size + strspn(rest + size, blanks), "");
    }
    for (size_t i = 0; r == 0 && i < words.count; i++) {
        const char *equals = strchr(words.items[i], '=');
        if (!equals)
            return sfs_fail(err, EINVAL,
                            "can't find = in \"%.200s\": must be of the form name=value",
                            words.items[i]);
        r = add_pair(instruction, words.items[i], (size_t)(equals - words.items[i]), equals + 1,
                     "=");
    }
    return r;
}

static int parse_health(struct sfs_instruction *instruction, const char *rest,
                        struct sfs_error *err)
{
    size_t size = 0;
    while (rest[size] && !isspace((unsigned char)rest[size]))
        size++;
    if (size == 0)
        return 0;
    int r = sfs_words_add(&instruction->args, rest, size);
    while (isspace((unsigned char)rest[size]))
        size++;
    return r < 0 ? r : parse_maybe_json(instruction, rest + size, false, err);
}

static int parse_child(struct sfs_instruction *instruction, const char *rest, char escape,
                       struct sfs_error *err)
{
    if (!*rest)
        return 0;
    instruction->child = calloc(1, sizeof *instruction->child);
    return instruction->child ? sfs_instruction_parse(rest, escape, instruction->child, err)
                              : -ENOMEM;
}

static int parse_args(struct sfs_instruction *instruction, const char *rest, char escape,
                      struct sfs_error *err)
{
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        if (strcmp(instruction->keyword, shapes[i].keyword) != 0)
            continue;
        switch (shapes[i].shape) {
        case SHAPE_JSON_OR_LIST:
        case SHAPE_JSON_OR_STRING:
            return parse_maybe_json(instruction, rest, shapes[i].shape == SHAPE_JSON_OR_LIST, err);
        case SHAPE_LIST:
            return sfs_words_plain(rest, &instruction->args);
        case SHAPE_STRING:
            return add_string(instruction, rest);
        case SHAPE_WORDS:
            return sfs_words_quoted(rest, escape, &instruction->args);
        case SHAPE_NAME_VALUE:
            return parse_name_value(instruction, rest, escape, err);
        case SHAPE_HEALTH:
            return parse_health(instruction, rest, err);
        case SHAPE_CHILD:
            return parse_child(instruction, rest, escape, err);
        }
    }
    return 0; /* sfs_instruction_check() refuses an unknown instruction */
}

/* A copy without blanks at either end. */
static char *trimmed(const char *text)
{
    size_t size = strlen(text);
    sfs_rune_trim(&text, &size);
    return strndup(text, size);
}

static int parse_line(const char *line, char escape, struct sfs_instruction *instruction,
                      struct sfs_error *err)
{
    AUTO(sfs_free) char *text = trimmed(line);
    instruction->original = strdup(line);
    if (!text || !instruction->original)
        return -ENOMEM;
    size_t size = strcspn(text, "\t\v\f\r ");
    instruction->keyword = strndup(text, size);
    if (!instruction->keyword)
        return -ENOMEM;
    for (char *p = instruction->keyword; *p; p++)
        *p = (char)tolower((unsigned char)*p);
    const char *rest;
    int r = sfs_words_flags(text + size, escape, &instruction->flags, &rest);
    AUTO(sfs_free) char *args = r < 0 ? NULL : trimmed(rest);
    if (!args)
        return -ENOMEM;
    return parse_args(instruction, args, escape, err);
}

int sfs_instruction_parse(const char *line, char escape, struct sfs_instruction *ret_instruction,
                          struct sfs_error *err)
{
    struct sfs_instruction instruction = { 0 };
    int r = parse_line(line, escape, &instruction, err);
    if (r < 0) {
        sfs_instruction_close(&instruction);
        return r == -ENOMEM ? sfs_fail_memory(err) : r;
    }
    *ret_instruction = instruction;
    return 0;
}

void sfs_heredoc_close(struct sfs_heredoc *heredoc)
{
    free(heredoc->name);
    free(heredoc->content);
    *heredoc = (struct sfs_heredoc){ 0 };
}

void sfs_instruction_close(struct sfs_instruction *instruction)
{
    free(instruction->keyword);
    free(instruction->original);
    sfs_vars_close(&instruction->flags);
    sfs_vars_close(&instruction->args);
    for (size_t i = 0; i < instruction->heredoc_count; i++)
        sfs_heredoc_close(&instruction->heredocs[i]);
    free(instruction->heredocs);
    if (instruction->child)
        sfs_instruction_close(instruction->child);
    free(instruction->child);
    *instruction = (struct sfs_instruction){ 0 };
}
