/* Options: one table gives getopt its arrays and people their help. */
#include "tool.h"

#include <errno.h>
#include <getopt.h>
#include <stagefs/suggest.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define FIRST_LONG 256 /* getopt's value of option i, above every letter */

void options_add(struct option_set *set, const struct option_spec *specs, size_t count)
{
    for (size_t i = 0; i < count && set->count < MAX_OPTIONS; i++)
        set->specs[set->count++] = specs[i];
}

static int list_add(struct text_list *list, const char *item)
{
    const char **items = reallocarray(list->items, list->count + 1, sizeof *items);
    if (!items)
        return -ENOMEM;
    list->items = items;
    items[list->count++] = item;
    return 0;
}

static bool parse_size(const char *text, uint64_t *ret_size)
{
    char *end;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (errno || end == text || *text == '-')
        return false;
    unsigned shift = 0;
    switch (*end) {
    case 'k':
    case 'K':
        shift = 10;
        break;
    case 'm':
    case 'M':
        shift = 20;
        break;
    case 'g':
    case 'G':
        shift = 30;
        break;
    case 't':
    case 'T':
        shift = 40;
        break;
    }
    if (shift)
        end++;
    if (shift && *end == 'i')
        end++;
    if (*end == 'B' || *end == 'b')
        end++;
    if (*end || value > UINT64_MAX >> shift)
        return false;
    *ret_size = (uint64_t)value << shift;
    return true;
}

static bool set_option(const struct option_spec *spec, const char *value)
{
    char *end;
    switch (spec->kind) {
    case OPTION_FLAG:
        *(bool *)spec->target = true;
        return true;
    case OPTION_TEXT:
        *(const char **)spec->target = value;
        return true;
    case OPTION_LIST:
        return list_add(spec->target, value) == 0;
    case OPTION_NUMBER:
        errno = 0;
        long number = strtol(value, &end, 10);
        if (errno || end == value || *end || number < 0)
            return false;
        *(long *)spec->target = number;
        return true;
    case OPTION_SIZE:
        return parse_size(value, spec->target);
    }
    return false;
}

static int unknown_option(const struct command *command, const struct option_set *set,
                          const char *word)
{
    const char *known[MAX_OPTIONS + 1];
    for (size_t i = 0; i < set->count; i++)
        known[i] = set->specs[i].name;
    known[set->count] = NULL;
    char name[80];
    snprintf(name, sizeof name, "%.*s", (int)strcspn(word + 2, "="), word + 2);
    const char *near = sfs_suggest(name, known);
    if (near)
        return tool_usage(command, "unknown option '--%s', did you mean '--%s'?", name, near);
    return tool_usage(command, "unknown option '%s'", word);
}

struct getopt_tables {
    struct option longs[MAX_OPTIONS + 1];
    char shorts[2 * MAX_OPTIONS + 2];
};

static void make_tables(const struct option_set *set, struct getopt_tables *tables)
{
    char *letter = tables->shorts;
    *letter++ = ':'; /* a missing value is told from an unknown option */
    for (size_t i = 0; i < set->count; i++) {
        const struct option_spec *spec = &set->specs[i];
        int has_value = spec->kind == OPTION_FLAG ? no_argument : required_argument;
        tables->longs[i] = (struct option){ spec->name, has_value, NULL, FIRST_LONG + (int)i };
        if (spec->letter) {
            *letter++ = spec->letter;
            if (has_value)
                *letter++ = ':';
        }
    }
    *letter = 0;
}

static const struct option_spec *find_spec(const struct option_set *set, int value)
{
    if (value >= FIRST_LONG)
        return &set->specs[value - FIRST_LONG];
    for (size_t i = 0; i < set->count; i++)
        if (set->specs[i].letter == value)
            return &set->specs[i];
    return NULL;
}

int tool_parse(const struct command *command, struct tool *tool, struct option_set *set, int argc,
               char **argv, char ***ret_rest, int *ret_rest_count)
{
    struct getopt_tables tables = { 0 };
    make_tables(set, &tables);
    opterr = 0;
    optind = 0;
    int value;
    while ((value = getopt_long(argc, argv, tables.shorts, tables.longs, NULL)) != -1) {
        const char *word = argv[optind - 1];
        if (value == '?' && (strncmp(word, "--", 2) == 0 && !optopt))
            return 1 + unknown_option(command, set, word);
        if (value == '?')
            return 1 + tool_usage(command,
                                  optopt < FIRST_LONG ? "unknown option '-%c'"
                                                      : "option takes no value",
                                  optopt);
        if (value == ':')
            return 1 + tool_usage(command, "option '%s' needs a value", word);
        const struct option_spec *spec = find_spec(set, value);
        if (!set_option(spec, optarg))
            return 1 + tool_usage(command, "'%s' is not a value for --%s (%s)", optarg, spec->name,
                                  spec->value ? spec->value : "none");
    }
    if (tool->help) {
        help_print(command, set);
        return 1 + tool_finish(EXIT_DONE);
    }
    *ret_rest = argv + optind;
    *ret_rest_count = argc - optind;
    return 0;
}

void help_print(const struct command *command, const struct option_set *set)
{
    printf("Usage: stagefs %s %s\n\n%s\n", command->name, command->synopsis, command->summary);
    if (command->examples)
        printf("\nExamples:\n%s", command->examples);
    printf("\nOptions:\n");
    for (size_t i = 0; i < set->count; i++) {
        const struct option_spec *spec = &set->specs[i];
        if (!spec->help)
            continue;
        char left[64];
        snprintf(left, sizeof left, "%c%c%s --%s %s", spec->letter ? '-' : ' ',
                 spec->letter ? spec->letter : ' ', spec->letter ? "," : " ", spec->name,
                 spec->value ? spec->value : "");
        printf("  %-32s %s\n", left, spec->help);
    }
}
