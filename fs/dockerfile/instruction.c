/* The table of instructions with their flags, and the checks that each instruction must pass. */
#include "dockerfile/instruction.h"

#include "base/banned.h"
#include "dockerfile/run_mount.h"
#include "dockerfile/rune.h"
#include <ctype.h>
#include <errno.h>
#include <stagefs/auto.h>
#include <stagefs/json.h>
#include <stagefs/suggest.h>
#include <stdint.h>

enum flag_kind { FLAG_TEXT, FLAG_BOOL, FLAG_LIST };

struct flag_spec {
    const char *name;
    enum flag_kind kind;
};

#define MAX_FLAGS 10

struct keyword {
    const char *name;
    struct flag_spec flags[MAX_FLAGS]; /* ended by a NULL name */
    int (*check)(const struct sfs_instruction *instruction, const char *name,
                 struct sfs_error *err);
};

static int check_some(const struct sfs_instruction *instruction, const char *name,
                      struct sfs_error *err)
{
    if (instruction->args.count == 0)
        return sfs_fail(err, EINVAL, "%s requires at least one argument", name);
    return 0;
}

static int check_one(const struct sfs_instruction *instruction, const char *name,
                     struct sfs_error *err)
{
    if (instruction->args.count != 1)
        return sfs_fail(err, EINVAL, "%s requires exactly one argument", name);
    return 0;
}

static int check_pairs(const struct sfs_instruction *instruction, const char *name,
                       struct sfs_error *err)
{
    for (size_t i = 0; i < instruction->args.count; i += 3)
        if (!*instruction->args.items[i])
            return sfs_fail(err, EINVAL, "%s names can not be blank", name);
    return check_some(instruction, name, err);
}

static int check_arg(const struct sfs_instruction *instruction, const char *name,
                     struct sfs_error *err)
{
    for (size_t i = 0; i < instruction->args.count; i++)
        if (*instruction->args.items[i] == '=')
            return sfs_fail(err, EINVAL, "%s names can not be blank", name);
    return check_some(instruction, name, err);
}

static int check_sources(const struct sfs_instruction *instruction, const char *name,
                         struct sfs_error *err)
{
    const struct sfs_vars *args = &instruction->args;
    if (args->count < 2)
        return sfs_fail(err, EINVAL,
                        "%s requires at least two arguments, but only %s was provided. Destination "
                        "could not be determined",
                        name, args->count ? "one" : "none");
    for (size_t i = 0; i < args->count; i++)
        if (sfs_json_is_marked(args->items[i]))
            return sfs_fail(err, EINVAL, "%s: a path holds a NUL", name);
    struct sfs_heredoc heredoc;
    int r = sfs_heredoc_parse(args->items[args->count - 1], &heredoc, err);
    if (r <= 0)
        return r;
    sfs_heredoc_close(&heredoc);
    return sfs_fail(err, EINVAL, "%s cannot accept a heredoc as a destination", name);
}

static int check_copy(const struct sfs_instruction *instruction, const char *name,
                      struct sfs_error *err)
{
    static const struct sfs_vars no_vars;
    int r = check_sources(instruction, name, err);
    const char *from = sfs_flag_text(instruction, "from");
    if (r < 0 || !from)
        return r;
    AUTO(sfs_free) char *expanded = NULL;
    r = sfs_expand_word(from, '\\', &no_vars, 0, &expanded, err);
    if (r == 0 && strcmp(expanded, from) != 0)
        r = sfs_fail(err, EINVAL,
                     "variable expansion is not supported for --from, define a new stage with FROM "
                     "using ARG from global scope as a workaround");
    return r;
}

static bool is_stage_name(const char *text)
{
    if (!isalpha((unsigned char)*text))
        return false;
    for (; *text; text++)
        if (!isalnum((unsigned char)*text) && !strchr("-_.", *text))
            return false;
    return true;
}

static int check_from(const struct sfs_instruction *instruction, const char *name,
                      struct sfs_error *err)
{
    const struct sfs_vars *args = &instruction->args;
    (void)name;
    if (args->count == 3 && strcasecmp(args->items[1], "as") == 0) {
        if (is_stage_name(args->items[2]))
            return 0;
        return sfs_fail(err, EINVAL,
                        "invalid name for build stage: \"%.100s\", name can't start with a number "
                        "or contain symbols",
                        args->items[2]);
    }
    if (args->count != 1)
        return sfs_fail(err, EINVAL, "FROM requires either one or three arguments");
    return 0;
}

static int check_interval(const struct sfs_instruction *instruction, const char *flag,
                          struct sfs_error *err)
{
    const char *text = sfs_flag_text(instruction, flag);
    int64_t ns = 0;
    if (!text || !*text)
        return 0;
    int r = sfs_duration_parse(text, &ns, err);
    if (r == 0 && ns != 0 && ns < 1000000)
        r = sfs_fail(err, EINVAL, "Interval \"%s\" cannot be less than 1ms", flag);
    return r;
}

static int check_retries(const struct sfs_instruction *instruction, struct sfs_error *err)
{
    const char *text = sfs_flag_text(instruction, "retries");
    char *end;
    if (!text || !*text)
        return 0;
    errno = 0;
    long long retries = strtoll(text, &end, 10);
    if (errno || *end || isspace((unsigned char)*text) || retries > INT32_MAX ||
        retries < INT32_MIN)
        return sfs_fail(err, EINVAL, "--retries=%.50s is not a number", text);
    if (retries < 0)
        return sfs_fail(err, EINVAL, "--retries cannot be negative (%lld)", retries);
    return 0;
}

static int check_health(const struct sfs_instruction *instruction, const char *name,
                        struct sfs_error *err)
{
    static const char *const intervals[] = { "interval", "timeout", "start-period",
                                             "start-interval" };
    int r = check_some(instruction, name, err);
    if (r < 0)
        return r;
    const char *type = instruction->args.items[0];
    if (strcasecmp(type, "NONE") == 0)
        return instruction->args.count == 1
                   ? 0
                   : sfs_fail(err, EINVAL, "HEALTHCHECK NONE takes no arguments");
    if (strcasecmp(type, "CMD") != 0)
        return sfs_fail(err, EINVAL, "Unknown type \"%.50s\" in HEALTHCHECK (try CMD)", type);
    if (instruction->args.count < 2)
        return sfs_fail(err, EINVAL, "Missing command after HEALTHCHECK CMD");
    for (size_t i = 0; r == 0 && i < sizeof intervals / sizeof *intervals; i++)
        r = check_interval(instruction, intervals[i], err);
    return r < 0 ? r : check_retries(instruction, err);
}

static int check_onbuild(const struct sfs_instruction *instruction, const char *name,
                         struct sfs_error *err)
{
    const struct sfs_instruction *child = instruction->child;
    if (!child)
        return sfs_fail(err, EINVAL, "%s requires at least one argument", name);
    if (strcmp(child->keyword, "onbuild") == 0)
        return sfs_fail(err, EINVAL, "Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed");
    char text[SFS_KEYWORD_TEXT];
    if (strcmp(child->keyword, "maintainer") == 0 || strcmp(child->keyword, "from") == 0)
        return sfs_fail(err, EINVAL, "%s isn't allowed as an ONBUILD trigger",
                        sfs_instruction_name(child, text));
    return 0;
}

static int check_run(const struct sfs_instruction *instruction, const char *name,
                     struct sfs_error *err)
{
    const char *network = sfs_flag_text(instruction, "network");
    if (instruction->args.count == 0)
        return sfs_fail(err, EINVAL, "%s requires at least one argument", name);
    if (network && strcmp(network, "none") != 0 && strcmp(network, "host") != 0 &&
        strcmp(network, "default") != 0)
        return sfs_fail(err, EINVAL, "invalid network mode \"%.50s\"", network);
    int r = 0;
    const char *mount;
    for (size_t at = 0; r == 0 && (mount = sfs_flag_next(instruction, "mount", &at));)
        r = sfs_mount_options_check(mount, err);
    return r;
}

static int check_shell(const struct sfs_instruction *instruction, const char *name,
                       struct sfs_error *err)
{
    int r = check_some(instruction, name, err);
    if (r < 0 || instruction->json)
        return r;
    return sfs_fail(err, EINVAL, "SHELL requires the arguments to be in JSON form");
}

static int check_volume(const struct sfs_instruction *instruction, const char *name,
                        struct sfs_error *err)
{
    int r = check_some(instruction, name, err);
    for (size_t i = 0; r == 0 && i < instruction->args.count; i++) {
        const char *text = instruction->args.items[i];
        size_t size = strlen(text);
        sfs_rune_trim(&text, &size);
        if (size == 0)
            r = sfs_fail(err, EINVAL, "VOLUME specified can not be an empty string");
    }
    return r;
}

/* clang-format off */
static const struct keyword keywords[SFS_KEYWORD_COUNT] = {
    [SFS_KEYWORD_ADD] = { "ADD", { { "chown", FLAG_TEXT }, { "chmod", FLAG_TEXT },
        { "link", FLAG_BOOL }, { "keep-git-dir", FLAG_BOOL }, { "checksum", FLAG_TEXT },
        { "unpack", FLAG_BOOL }, { "exclude", FLAG_LIST } }, check_sources },
    [SFS_KEYWORD_ARG] = { "ARG", { { 0 } }, check_arg },
    [SFS_KEYWORD_CMD] = { "CMD", { { 0 } }, NULL },
    [SFS_KEYWORD_COPY] = { "COPY", { { "chown", FLAG_TEXT }, { "from", FLAG_TEXT },
        { "chmod", FLAG_TEXT }, { "link", FLAG_BOOL }, { "exclude", FLAG_LIST },
        { "parents", FLAG_BOOL } }, check_copy },
    [SFS_KEYWORD_ENTRYPOINT] = { "ENTRYPOINT", { { 0 } }, NULL },
    [SFS_KEYWORD_ENV] = { "ENV", { { 0 } }, check_pairs },
    [SFS_KEYWORD_EXPOSE] = { "EXPOSE", { { 0 } }, check_some },
    [SFS_KEYWORD_FROM] = { "FROM", { { "platform", FLAG_TEXT } }, check_from },
    [SFS_KEYWORD_HEALTHCHECK] = { "HEALTHCHECK", { { "interval", FLAG_TEXT },
        { "timeout", FLAG_TEXT }, { "start-period", FLAG_TEXT }, { "start-interval", FLAG_TEXT },
        { "retries", FLAG_TEXT } }, check_health },
    [SFS_KEYWORD_LABEL] = { "LABEL", { { 0 } }, check_pairs },
    [SFS_KEYWORD_MAINTAINER] = { "MAINTAINER", { { 0 } }, check_one },
    [SFS_KEYWORD_ONBUILD] = { "ONBUILD", { { 0 } }, check_onbuild },
    [SFS_KEYWORD_RUN] = { "RUN", { { "mount", FLAG_LIST }, { "network", FLAG_TEXT },
        { "security", FLAG_TEXT }, { "device", FLAG_LIST } }, check_run },
    [SFS_KEYWORD_SHELL] = { "SHELL", { { 0 } }, check_shell },
    [SFS_KEYWORD_STOPSIGNAL] = { "STOPSIGNAL", { { 0 } }, check_one },
    [SFS_KEYWORD_USER] = { "USER", { { 0 } }, check_one },
    [SFS_KEYWORD_VOLUME] = { "VOLUME", { { 0 } }, check_volume },
    [SFS_KEYWORD_WORKDIR] = { "WORKDIR", { { 0 } }, check_one },
};
/* clang-format on */

char *sfs_instruction_name(const struct sfs_instruction *instruction, char text[SFS_KEYWORD_TEXT])
{
    snprintf(text, SFS_KEYWORD_TEXT, "%s", instruction->keyword);
    for (char *p = text; *p; p++)
        *p = (char)toupper((unsigned char)*p);
    return text;
}

enum sfs_keyword sfs_instruction_keyword(const struct sfs_instruction *instruction)
{
    for (int i = 0; i < SFS_KEYWORD_COUNT; i++)
        if (strcasecmp(instruction->keyword, keywords[i].name) == 0)
            return (enum sfs_keyword)i;
    return SFS_KEYWORD_COUNT;
}

static int fail_unknown(const struct sfs_instruction *instruction, struct sfs_error *err)
{
    const char *known[SFS_KEYWORD_COUNT + 1] = { 0 };
    for (size_t i = 0; i < SFS_KEYWORD_COUNT; i++)
        known[i] = keywords[i].name;
    char text[SFS_KEYWORD_TEXT];
    sfs_instruction_name(instruction, text);
    const char *near = sfs_suggest(text, known);
    if (near)
        return sfs_fail(err, EINVAL, "unknown instruction: %s (did you mean %s?)", text, near);
    return sfs_fail(err, EINVAL, "unknown instruction: %s", text);
}

/* ---- flags ---- */

static int fail_flag(const struct keyword *keyword, const char *name, struct sfs_error *err)
{
    const char *known[MAX_FLAGS + 1] = { 0 };
    for (size_t i = 0; i < MAX_FLAGS && keyword->flags[i].name; i++)
        known[i] = keyword->flags[i].name;
    const char *near = known[0] ? sfs_suggest(name, known) : NULL;
    if (near)
        return sfs_fail(err, EINVAL, "unknown flag: --%.100s (did you mean %s?)", name, near);
    return sfs_fail(err, EINVAL, "unknown flag: --%.100s", name);
}

static int check_flag_value(const struct flag_spec *spec, const char *equals, struct sfs_error *err)
{
    bool is_bool = spec->kind == FLAG_BOOL;
    if (is_bool ? equals && !equals[1] : !equals)
        return sfs_fail(err, EINVAL, "missing a value on flag: --%s", spec->name);
    if (is_bool && equals && strcasecmp(equals + 1, "true") != 0 &&
        strcasecmp(equals + 1, "false") != 0)
        return sfs_fail(err, EINVAL, "expecting boolean value for flag --%s, not: %.100s",
                        spec->name, equals + 1);
    return 0;
}

static int check_flags(const struct sfs_instruction *instruction, const struct keyword *keyword,
                       struct sfs_error *err)
{
    bool used[MAX_FLAGS] = { false };
    for (size_t i = 0; i < instruction->flags.count; i++) {
        const char *text = instruction->flags.items[i] + 2;
        if (!*text)
            return 0; /* "--" ends the flags */
        const char *equals = strchr(text, '=');
        AUTO(sfs_free) char *name = equals ? strndup(text, (size_t)(equals - text)) : strdup(text);
        if (!name)
            return sfs_fail_memory(err);
        size_t f = 0;
        while (f < MAX_FLAGS && keyword->flags[f].name && strcmp(keyword->flags[f].name, name) != 0)
            f++;
        if (f == MAX_FLAGS || !keyword->flags[f].name)
            return fail_flag(keyword, name, err);
        if (used[f] && keyword->flags[f].kind != FLAG_LIST)
            return sfs_fail(err, EINVAL, "duplicate flag specified: --%s", name);
        used[f] = true;
        int r = check_flag_value(&keyword->flags[f], equals, err);
        if (r < 0)
            return r;
    }
    return 0;
}

const char *sfs_flag_next(const struct sfs_instruction *instruction, const char *name, size_t *at)
{
    size_t size = strlen(name);
    while (*at < instruction->flags.count) {
        const char *text = instruction->flags.items[(*at)++] + 2;
        if (!*text)
            break;
        if (strncmp(text, name, size) == 0 && (text[size] == '=' || !text[size]))
            return text[size] ? text + size + 1 : "";
    }
    return NULL;
}

const char *sfs_flag_text(const struct sfs_instruction *instruction, const char *name)
{
    size_t at = 0;
    return sfs_flag_next(instruction, name, &at);
}

bool sfs_flag_is_true(const struct sfs_instruction *instruction, const char *name)
{
    const char *text = sfs_flag_text(instruction, name);
    return text && strcasecmp(text, "false") != 0;
}

int sfs_instruction_check(const struct sfs_instruction *instruction, struct sfs_error *err)
{
    enum sfs_keyword i = sfs_instruction_keyword(instruction);
    if (i == SFS_KEYWORD_COUNT)
        return fail_unknown(instruction, err);
    const struct keyword *keyword = &keywords[i];
    /* As in BuildKit, these two do not look at flags. */
    bool ignores = i == SFS_KEYWORD_ARG || i == SFS_KEYWORD_STOPSIGNAL;
    int r = ignores ? 0 : check_flags(instruction, keyword, err);
    if (r == 0 && keyword->check)
        r = keyword->check(instruction, keyword->name, err);
    if (r == 0 && instruction->child)
        r = sfs_instruction_check(instruction->child, err);
    return r;
}

int sfs_from_name(const struct sfs_instruction *from, char **ret_name)
{
    *ret_name = NULL;
    if (from->args.count != 3)
        return 0;
    *ret_name = strdup(from->args.items[2]);
    if (!*ret_name)
        return -ENOMEM;
    for (char *p = *ret_name; *p; p++)
        *p = (char)tolower((unsigned char)*p);
    return 0;
}

/* ---- durations ---- */

static int64_t read_unit(const char **text)
{
    static const struct {
        const char *name;
        int64_t ns;
    } units[] = { { "ns", 1 },           { "us", 1000 },        { "\xc2\xb5s", 1000 },
                  { "\xce\xbcs", 1000 }, { "ms", 1000000 },     { "s", 1000000000 },
                  { "m", 60000000000 },  { "h", 3600000000000 } };
    for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
        size_t size = strlen(units[i].name);
        if (strncmp(*text, units[i].name, size) == 0) {
            *text += size;
            return units[i].ns;
        }
    }
    return 0;
}

/* Adds one term, such as "1.5h". False: malformed, or too long for 64 bits. */
static bool read_term(const char **text, int64_t *sum)
{
    uint64_t whole = 0, fraction = 0, scale = 1;
    bool any = false;
    for (; isdigit((unsigned char)**text); (*text)++, any = true)
        if (__builtin_mul_overflow(whole, 10u, &whole) ||
            __builtin_add_overflow(whole, (uint64_t)(**text - '0'), &whole))
            return false;
    if (**text == '.') {
        (*text)++;
        for (; isdigit((unsigned char)**text); (*text)++, any = true)
            if (scale < 1000000000) {
                fraction = fraction * 10 + (uint64_t)(**text - '0');
                scale *= 10;
            }
    }
    int64_t unit = any ? read_unit(text) : 0, term;
    if (unit == 0 || whole > INT64_MAX || __builtin_mul_overflow((int64_t)whole, unit, &term))
        return false;
    int64_t part = (int64_t)((double)fraction * ((double)unit / (double)scale));
    return !__builtin_add_overflow(*sum, term, sum) && !__builtin_add_overflow(*sum, part, sum);
}

int sfs_duration_parse(const char *text, int64_t *ret_ns, struct sfs_error *err)
{
    const char *at = text;
    bool negative = *at == '-';
    if (*at == '-' || *at == '+')
        at++;
    int64_t sum = 0;
    if (strcmp(at, "0") == 0) {
        *ret_ns = 0;
        return 0;
    }
    bool good = *at;
    while (good && *at)
        good = read_term(&at, &sum);
    if (!good)
        return sfs_fail(err, EINVAL, "\"%.100s\" is not a duration like 1m30s", text);
    *ret_ns = negative ? -sum : sum;
    return 0;
}
