/* Options: one table gives getopt its arrays and people their help. */
#include "hints.h"
#include "tool.h"

#include <assert.h>
#include <errno.h>
#include <getopt.h>
#include <stagefs/suggest.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define FIRST_LONG 256 /* getopt's value of option i, above every letter */
#define ARGUMENT   1   /* its value of an argument, where those are told in their order */

static bool has_letter(const struct option_set *set, char letter)
{
    for (size_t i = 0; i < set->count; i++)
        if (set->specs[i].letter == letter)
            return true;
    return false;
}

static bool has_name(const struct option_set *set, const char *name)
{
    for (size_t i = 0; i < set->count; i++)
        if (set->specs[i].name && strcmp(set->specs[i].name, name) == 0)
            return true;
    return false;
}

void options_add(struct option_set *set, const struct option_spec *specs, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        assert(set->count < MAX_OPTIONS);
        assert(!specs[i].name || !has_name(set, specs[i].name));
        struct option_spec *spec = &set->specs[set->count];
        *spec = specs[i];
        if (spec->letter && has_letter(set, spec->letter))
            spec->letter = 0;
        set->count++;
    }
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
    case OPTION_PATH:
        *(const char **)spec->target = value;
        return true;
    case OPTION_WHEN:
        *(const char **)spec->target = value ? value : "always";
        return true;
    case OPTION_LIST:
    case OPTION_PATHS:
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
    const char *known[MAX_OPTIONS + 1] = { 0 };
    for (size_t i = 0, count = 0; i < set->count; i++)
        if (set->specs[i].name && set->specs[i].help)
            known[count++] = set->specs[i].name;
    char name[80];
    snprintf(name, sizeof name, "%.*s", (int)strcspn(word + 2, "="), word + 2);
    const char *hint = set->before_command ? hint_for_run_option(name) : NULL;
    const char *near = sfs_suggest(name, known);
    if (hint)
        return tool_usage(command, "there is no --%s: %s", name, hint);
    if (near)
        return tool_usage(command, "unknown option '--%s', did you mean '--%s'?", name, near);
    return tool_usage(command, "unknown option '%s'", word);
}

static int unknown_letter(const struct command *command, const struct option_set *set, char letter)
{
    const char *hint =
        set->before_command ? hint_for_run_option((const char[]){ letter, 0 }) : NULL;
    if (hint)
        return tool_usage(command, "there is no -%c: %s", letter, hint);
    return tool_usage(command, "unknown option '-%c'", letter);
}

struct getopt_tables {
    struct option longs[MAX_OPTIONS + 1];
    char shorts[2 * MAX_OPTIONS + 3];
};

static int takes_value(enum option_kind kind)
{
    return kind == OPTION_FLAG   ? no_argument
           : kind == OPTION_WHEN ? optional_argument
                                 : required_argument;
}

static void make_tables(const struct option_set *set, struct getopt_tables *tables)
{
    struct option *next = tables->longs;
    char *letter = tables->shorts;
    if (set->before_command)
        *letter++ = '-'; /* arguments are told in their order, as ARGUMENT */
    *letter++ = ':';     /* a missing value is told from an unknown option */
    for (size_t i = 0; i < set->count; i++) {
        const struct option_spec *spec = &set->specs[i];
        int has_value = takes_value(spec->kind);
        if (spec->name)
            *next++ = (struct option){ spec->name, has_value, NULL, FIRST_LONG + (int)i };
        if (spec->letter) {
            *letter++ = spec->letter;
            if (has_value == required_argument)
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

/* What getopt did not take: `value` is '?' or ':', and optopt which option that was, if any. */
static int refuse(const struct command *command, const struct option_set *set, int value,
                  const char *word)
{
    if (value == ':')
        return tool_usage(command, "option '%s' needs a value", word);
    if (optopt >= FIRST_LONG)
        return tool_usage(command, "option '--%s' takes no value", find_spec(set, optopt)->name);
    if (optopt)
        return unknown_letter(command, set, (char)optopt);
    return unknown_option(command, set, word);
}

/* As comes of a shell's variable that is not set. */
static int fail_empty(const struct command *command, const struct option_spec *spec)
{
    return tool_usage(command, "the value of --%s is empty (%s)", spec->name, spec->value);
}

static int fail_value(const struct command *command, const struct option_spec *spec,
                      const char *value)
{
    const char *wanted = spec->value ? spec->value : "none";
    if (spec->name)
        return tool_usage(command, "'%s' is not a value for --%s (%s)", value, spec->name, wanted);
    return tool_usage(command, "'%s' is not a value for -%c (%s)", value, spec->letter, wanted);
}

/* Takes one option that getopt has found. 0, or as tool_parse(). */
static int take_option(const struct command *command, const struct option_set *set, int value,
                       const char *word)
{
    if (value == '?' || value == ':')
        return 1 + refuse(command, set, value, word);
    const struct option_spec *spec = find_spec(set, value);
    bool names = spec->kind == OPTION_PATH || spec->kind == OPTION_PATHS;
    if (names && !*optarg)
        return 1 + fail_empty(command, spec);
    return set_option(spec, optarg) ? 0 : 1 + fail_value(command, spec, optarg);
}

/* Takes getopt's options up to the end, or to a command. *ret_image: an argument that stands before
 * that one, and maybe before options; NULL: there is none. 0, or as tool_parse(). */
static int take_options(const struct command *command, const struct option_set *set, int argc,
                        char **argv, char **ret_image)
{
    struct getopt_tables tables = { 0 };
    int value, leave = 0;
    make_tables(set, &tables);
    while (!leave && (value = getopt_long(argc, argv, tables.shorts, tables.longs, NULL)) != -1) {
        if (value != ARGUMENT) {
            leave = take_option(command, set, value, argv[optind - 1]);
        } else if (hint_is_volume(optarg) && strcmp(argv[optind - 2], "-v") == 0) {
            leave = 1 + tool_usage(command, "-v is verbose: a directory of this machine is --rw %s",
                                   optarg);
        } else if (*ret_image || stage_is_given(set->before_command)) {
            optind--; /* the command begins here */
            return 0;
        } else {
            *ret_image = optarg;
        }
    }
    return leave;
}

int tool_parse(const struct command *command, struct tool *tool, struct option_set *set, int argc,
               char **argv, char ***ret_rest, int *ret_rest_count)
{
    char *image = NULL;
    opterr = 0;
    optind = 0;
    int leave = take_options(command, set, argc, argv, &image);
    if (leave)
        return leave;
    if (tool->help) {
        help_print(command, set);
        return 1 + tool_finish(EXIT_DONE);
    }
    if (image && stage_is_given(set->before_command))
        return 1 + tool_usage(command, "two stages given: '%s' and the one that the options tell",
                              image);
    if (image) /* what stands there was parsed */
        argv[--optind] = image;
    *ret_rest = argv + optind;
    *ret_rest_count = argc - optind;
    return 0;
}

/* "-d, --depth N", "    --color[=WHEN]", "-1". */
static void print_option(const struct option_spec *spec)
{
    char left[64], name[56] = "";
    if (spec->name && spec->kind == OPTION_WHEN)
        snprintf(name, sizeof name, "--%s[=%s]", spec->name, spec->value);
    else if (spec->name)
        snprintf(name, sizeof name, "--%s %s", spec->name, spec->value ? spec->value : "");
    if (spec->letter)
        snprintf(left, sizeof left, "-%c%s %s", spec->letter, spec->name ? "," : "", name);
    else
        snprintf(left, sizeof left, "    %s", name);
    printf("  %-32s %s\n", left, spec->help);
}

static void print_options(const struct option_set *set, size_t from, size_t end)
{
    for (size_t i = from; i < end; i++)
        if (set->specs[i].help)
            print_option(&set->specs[i]);
}

void help_print(const struct command *command, const struct option_set *set)
{
    bool has_stage = set->stage_end > set->stage_first;
    printf("Usage: stagefs %s %s\n\n%s\n", command->name, command->synopsis, command->summary);
    if (has_stage)
        printf(
            "STAGE: an image (oci:DIR:TAG, docker://NAME, ...) or options at the end of this text; "
            "see 'stagefs --help'\n");
    if (command->examples)
        printf("\nExamples:\n%s", command->examples);
    printf("\nOptions:\n");
    print_options(set, 0, set->stage_first);
    print_options(set, set->stage_end, set->count);
    if (has_stage)
        printf("\nOptions that tell the STAGE:\n");
    print_options(set, set->stage_first, set->stage_end);
}
