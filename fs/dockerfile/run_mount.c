/* Which options each type of RUN --mount has, and what their values may be. */
#include "dockerfile/run_mount.h"

#include "base/buf.h"
#include "dockerfile/dockerfile_words.h"
#include <ctype.h>
#include <errno.h>
#include <stagefs/auto.h>
#include <stagefs/suggest.h>

int sfs_csv_parse(const char *text, struct sfs_vars *fields, struct sfs_error *err)
{
    for (;;) {
        AUTO(sfs_buf_close) struct sfs_buf field = { 0 };
        bool quoted = *text == '"';
        int r = sfs_buf_add_str(&field, "");
        text += quoted;
        while (r == 0 && *text && (quoted ? *text != '"' || text[1] == '"' : *text != ',')) {
            text += quoted && *text == '"';
            r = sfs_buf_add(&field, text++, 1);
        }
        if (quoted && *text != '"')
            return sfs_fail(err, EINVAL, "a quote is not closed");
        text += quoted;
        if (*text && *text != ',')
            return sfs_fail(err, EINVAL, "bytes behind a closing quote");
        if (r < 0 || sfs_words_add(fields, field.data, field.size) < 0)
            return sfs_fail_memory(err);
        if (!*text)
            return 0;
        text++;
    }
}

void sfs_mount_options_close(struct mount_options *options)
{
    free(options->from);
    free(options->source);
    free(options->target);
    free(options->id);
    free(options->env);
    *options = (struct mount_options){ 0 };
}

struct reading {
    struct mount_options *options;
    bool told_access; /* "ro" or "rw" was given */
    struct sfs_error *err;
};

static const char *const type_names[] = { "bind", "cache", "tmpfs", "secret", "ssh", NULL };

static int set_type(struct reading *reading, const char *value)
{
    for (int i = 0; type_names[i]; i++)
        if (strcasecmp(value, type_names[i]) == 0) {
            reading->options->type = (enum mount_type)i;
            return 0;
        }
    const char *near = sfs_suggest(value, type_names);
    return sfs_fail(reading->err, EINVAL, "unsupported mount type \"%.50s\"%s%s%s", value,
                    near ? " (did you mean " : "", near ? near : "", near ? "?)" : "");
}

static int set_sharing(struct reading *reading, const char *value)
{
    static const char *const names[] = { "shared", "private", "locked", NULL };
    for (int i = 0; names[i]; i++)
        if (strcasecmp(value, names[i]) == 0) {
            reading->options->sharing = (enum mount_sharing)(i + 1);
            return 0;
        }
    const char *near = sfs_suggest(value, names);
    return sfs_fail(reading->err, EINVAL, "unsupported sharing value \"%.50s\"%s%s%s", value,
                    near ? " (did you mean " : "", near ? near : "", near ? "?)" : "");
}

static int set_bool(struct reading *reading, const char *key, const char *value, bool *ret_bool)
{
    static const char *const yes[] = { "1", "t", "T", "true", "TRUE", "True" };
    static const char *const no[] = { "0", "f", "F", "false", "FALSE", "False" };
    for (size_t i = 0; i < sizeof yes / sizeof *yes; i++)
        if (strcmp(value, yes[i]) == 0 || strcmp(value, no[i]) == 0) {
            *ret_bool = strcmp(value, yes[i]) == 0;
            return 0;
        }
    return sfs_fail(reading->err, EINVAL, "invalid value for %s: %.50s", key, value);
}

static int set_number(struct reading *reading, const char *key, const char *value, int base,
                      uint32_t *ret_number)
{
    char *end;
    errno = 0;
    unsigned long number = strtoul(value, &end, base);
    if (errno || *end || !isdigit((unsigned char)*value) || number > UINT32_MAX)
        return sfs_fail(reading->err, EINVAL, "invalid value %.50s for %s", value, key);
    *ret_number = (uint32_t)number;
    return 0;
}

/* Reads a number of bytes, with k, m, g or t behind it. */
static int set_size(struct reading *reading, const char *value)
{
    static const char units[] = "kmgt";
    char *end;
    errno = 0;
    double number = strtod(value, &end);
    while (*end == ' ')
        end++;
    const char *unit = *end ? strchr(units, tolower((unsigned char)*end)) : NULL;
    bool has_unit = unit && *unit;
    for (const char *u = units; has_unit && u <= unit; u++)
        number *= 1024;
    end += has_unit;
    end += has_unit && tolower((unsigned char)*end) == 'i';
    end += tolower((unsigned char)*end) == 'b';
    if (reading->options->type != MOUNT_TMPFS)
        return sfs_fail(reading->err, EINVAL, "unexpected key 'size' for mount type '%s'",
                        type_names[reading->options->type]);
    if (errno || *end || !isdigit((unsigned char)*value) || number > 1e18)
        return sfs_fail(reading->err, EINVAL, "invalid value for size: %.50s", value);
    reading->options->size = (uint64_t)number;
    return 0;
}

static int set_text(struct reading *reading, char **text, const char *value)
{
    free(*text);
    *text = strdup(value);
    return *text ? 0 : sfs_fail_memory(reading->err);
}

static int fail_key(struct reading *reading, const char *key, const char *field)
{
    static const char *const keys[] = { "type", "from", "source",    "target", "readonly",
                                        "id",   "size", "sharing",   "mode",   "required",
                                        "uid",  "gid",  "src",       "dst",    "destination",
                                        "ro",   "rw",   "readwrite", "env",    NULL };
    const char *near = sfs_suggest(key, keys);
    return sfs_fail(reading->err, EINVAL, "unexpected key '%.50s' in '%.100s'%s%s%s", key, field,
                    near ? " (did you mean " : "", near ? near : "", near ? "?)" : "");
}

static bool is_one_of(const char *key, const char *a, const char *b, const char *c)
{
    return strcmp(key, a) == 0 || strcmp(key, b) == 0 || (c && strcmp(key, c) == 0);
}

static int set_required(struct reading *reading, const char *key, const char *value)
{
    struct mount_options *options = reading->options;
    if (options->type != MOUNT_SECRET && options->type != MOUNT_SSH)
        return sfs_fail(reading->err, EINVAL, "unexpected key '%s' for mount type '%s'", key,
                        type_names[options->type]);
    return set_bool(reading, key, value, &options->required);
}

static int set_access(struct reading *reading, const char *key, const char *value)
{
    bool is_write = key[1] == 'w' || strcmp(key, "readwrite") == 0, flag;
    int r = set_bool(reading, key, value, &flag);
    reading->told_access = true;
    if (r == 0)
        reading->options->read_only = flag != is_write;
    return r;
}

static int set_field(struct reading *reading, const char *key, const char *value, const char *field)
{
    struct mount_options *options = reading->options;
    if (strcmp(key, "type") == 0)
        return set_type(reading, value);
    if (strcmp(key, "from") == 0)
        return set_text(reading, &options->from, value);
    if (is_one_of(key, "source", "src", NULL))
        return set_text(reading, &options->source, value);
    if (is_one_of(key, "target", "dst", "destination"))
        return set_text(reading, &options->target, value);
    if (is_one_of(key, "readonly", "ro", NULL) || is_one_of(key, "readwrite", "rw", NULL))
        return set_access(reading, key, value);
    if (strcmp(key, "required") == 0)
        return set_required(reading, key, value);
    if (strcmp(key, "size") == 0)
        return set_size(reading, value);
    if (strcmp(key, "id") == 0)
        return set_text(reading, &options->id, value);
    if (strcmp(key, "env") == 0)
        return set_text(reading, &options->env, value);
    if (strcmp(key, "sharing") == 0)
        return set_sharing(reading, value);
    if (strcmp(key, "mode") == 0) {
        options->has_mode = true;
        return set_number(reading, key, value, 8, &options->mode);
    }
    if (strcmp(key, "uid") == 0) {
        options->has_uid = true;
        return set_number(reading, key, value, 10, &options->uid);
    }
    if (strcmp(key, "gid") == 0) {
        options->has_gid = true;
        return set_number(reading, key, value, 10, &options->gid);
    }
    return fail_key(reading, key, field);
}

static int check_from(const char *field, struct sfs_error *err)
{
    const char *dollar = strchr(field, '$');
    if (strncasecmp(field, "from=", 5) != 0 || !dollar || !dollar[1])
        return 0;
    return sfs_fail(err, EINVAL,
                    "'from' doesn't support variable expansion, define alias stage instead");
}

static int read_field(struct reading *reading, const char *field, char escape,
                      const struct sfs_vars *vars)
{
    size_t size = strcspn(field, "=");
    AUTO(sfs_free) char *key = strndup(field, size);
    AUTO(sfs_free) char *value = NULL;
    if (!key)
        return sfs_fail_memory(reading->err);
    for (char *p = key; *p; p++)
        *p = (char)tolower((unsigned char)*p);
    if (!field[size]) {
        if (is_one_of(key, "readonly", "ro", "required") || is_one_of(key, "readwrite", "rw", NULL))
            return set_field(reading, key, "true", field);
        return sfs_fail(reading->err, EINVAL, "invalid field '%.100s' must be a key=value pair",
                        field);
    }
    int r = check_from(field, reading->err);
    if (r == 0)
        r = sfs_expand_word(field + size + 1, escape, vars, 0, &value, reading->err);
    return r < 0 ? r : set_field(reading, key, value, field);
}

static int check(struct reading *reading)
{
    struct mount_options *options = reading->options;
    bool takes_owner =
        options->type == MOUNT_SECRET || options->type == MOUNT_SSH || options->type == MOUNT_CACHE;
    const char *type = type_names[options->type], *wrong = NULL;
    if (!takes_owner)
        wrong = options->has_mode  ? "mode"
                : options->has_uid ? "uid"
                : options->has_gid ? "gid"
                                   : NULL;
    if (wrong)
        return sfs_fail(reading->err, EINVAL, "%s not allowed for \"%s\" type mounts", wrong, type);
    if (!reading->told_access)
        options->read_only = options->type != MOUNT_CACHE && options->type != MOUNT_TMPFS;
    if (options->type == MOUNT_SECRET && options->from)
        return sfs_fail(reading->err, EINVAL, "secret mount should not have a from");
    if (options->sharing != SHARING_NONE && options->type != MOUNT_CACHE)
        return sfs_fail(reading->err, EINVAL, "invalid cache sharing set for %s mount", type);
    if (options->type == MOUNT_SECRET && !options->source && !options->target && !options->id)
        return sfs_fail(reading->err, EINVAL,
                        "invalid secret mount. one of source, target required");
    if (options->type == MOUNT_SECRET && options->source && options->id)
        return sfs_fail(reading->err, EINVAL, "both source and id can't be set");
    return 0;
}

int sfs_mount_options_check(const char *text, struct sfs_error *err)
{
    AUTO(sfs_vars_close) struct sfs_vars fields = { 0 };
    int r = sfs_csv_parse(text, &fields, err);
    for (size_t i = 0; r == 0 && i < fields.count; i++)
        r = check_from(fields.items[i], err);
    return r < 0 ? sfs_fail_while(err, r, "--mount=%.200s", text) : 0;
}

int sfs_mount_options_parse(const char *text, char escape, const struct sfs_vars *vars,
                            struct mount_options *ret_options, struct sfs_error *err)
{
    AUTO(sfs_mount_options_close) struct mount_options options = { 0 };
    AUTO(sfs_vars_close) struct sfs_vars fields = { 0 };
    struct reading reading = { .options = &options, .err = err };
    int r = sfs_csv_parse(text, &fields, err);
    for (size_t i = 0; r == 0 && i < fields.count; i++)
        r = read_field(&reading, fields.items[i], escape, vars);
    if (r == 0)
        r = check(&reading);
    if (r < 0)
        return sfs_fail_while(err, r, "--mount=%.200s", text);
    *ret_options = options;
    options = (struct mount_options){ 0 };
    return 0;
}
