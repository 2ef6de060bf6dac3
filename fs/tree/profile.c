/* The profile's text: how a line is written, and how it is read and judged. */
#include "tree/profile.h"

#include <stagefs/utf8.h>

#include "base/io.h"
#include "base/limits.h"
#include "base/array.h"
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>

static const char *const words[] = {
    [SFS_USE_NONE] = "none", [SFS_USE_STAT] = "stat", [SFS_USE_LIST] = "list",
    [SFS_USE_LINK] = "link", [SFS_USE_OPEN] = "open", [SFS_USE_READ] = "read",
    [SFS_USE_EXEC] = "exec",
};
#define WORDS (sizeof words / sizeof *words)

void sfs_profile_done(struct sfs_profile *profile)
{
    for (size_t i = 0; i < profile->count; i++) {
        free(profile->uses[i].path);
        sfs_ranges_done(&profile->uses[i].ranges);
    }
    free(profile->uses);
    *profile = (struct sfs_profile){ 0 };
}

/* --- writing ---------------------------------------------------------------------------------- */

static void print_path(const char *path, struct sfs_buf *buf)
{
    for (const char *at = path; *at;) {
        unsigned char c = (unsigned char)*at;
        bool is_special = c <= ' ' || c == 0x7f || c == '\\';
        size_t size = is_special ? 0 : sfs_utf8_size(at);
        if (size > 0)
            sfs_buf_add(buf, at, size);
        else
            sfs_buf_printf(buf, "\\%03o", c);
        at += size ? size : 1;
    }
}

int sfs_use_print(const struct sfs_use *use, struct sfs_buf *buf)
{
    sfs_buf_printf(buf, "%s ", words[use->kind]);
    print_path(use->path, buf);
    for (size_t i = 0; i < use->ranges.count; i++)
        sfs_buf_printf(buf, " %" PRIu64 "+%" PRIu64, use->ranges.items[i].offset,
                       use->ranges.items[i].size);
    return sfs_buf_add_str(buf, "\n");
}

/* --- reading ---------------------------------------------------------------------------------- */

struct profile_line {
    const char *name; /* what messages call the text */
    unsigned number;  /* of the line, from 1 */
    const char *at, *end;
};

static int fail_line(const struct profile_line *line, struct sfs_error *err, const char *what)
{
    return sfs_fail(err, EBADMSG, "%s:%u: %s", line->name, line->number, what);
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

/* The next field; its size is 0 at the line's end or where a comment starts. */
static size_t next_field(struct profile_line *line, const char **ret_field)
{
    while (line->at < line->end && is_blank(*line->at))
        line->at++;
    const char *start = line->at;
    *ret_field = start;
    if (start < line->end && *start == '#')
        line->at = start = line->end;
    while (line->at < line->end && !is_blank(*line->at))
        line->at++;
    return (size_t)(line->at - start);
}

static int octal(const char *at, const char *end)
{
    int value = 0;
    if (end - at < 3)
        return -1;
    for (int i = 0; i < 3; i++) {
        if (at[i] < '0' || at[i] > '7')
            return -1;
        value = value * 8 + (at[i] - '0');
    }
    return value > 0 && value < 256 ? value : -1;
}

/* Is it a path such as "/a/b", without empty components, "." and ".."? */
static bool is_path(const char *path)
{
    if (path[0] != '/')
        return false;
    for (const char *at = path; *at && path[1];) {
        size_t size = strcspn(++at, "/");
        if (size == 0 || (size <= 2 && strspn(at, ".") >= size))
            return false;
        at += size;
    }
    return true;
}

static int read_path(struct profile_line *line, char **ret_path, struct sfs_error *err)
{
    const char *field;
    size_t size = next_field(line, &field);
    if (size == 0)
        return fail_line(line, err, "a path is missing");
    if (size > 4ull * SFS_MAX_PATH)
        return fail_line(line, err, "the path is too long");
    AUTO(sfs_free) char *path = malloc(size + 1);
    if (!path)
        return sfs_fail_memory(err);
    size_t used = 0;
    for (size_t i = 0; i < size; i++) {
        path[used] = field[i];
        if (field[i] == '\\') {
            int byte = octal(field + i + 1, field + size);
            if (byte < 0)
                return fail_line(line, err, "a backslash needs three octal digits behind it");
            path[used] = (char)byte;
            i += 3;
        }
        used++;
    }
    path[used] = 0;
    if (strlen(path) != used || used > SFS_MAX_PATH || !is_path(path))
        return fail_line(line, err, "not a path from the root, without \".\" and \"..\"");
    *ret_path = TAKE(path);
    return 0;
}

/* Decimal digits, all of them, up to INT64_MAX. */
static bool read_number(const char **at, const char *end, uint64_t *ret_number)
{
    uint64_t number = 0;
    const char *start = *at;
    while (*at < end && **at >= '0' && **at <= '9') {
        unsigned digit = (unsigned)(*(*at)++ - '0');
        if (number > ((uint64_t)INT64_MAX - digit) / 10)
            return false;
        number = number * 10 + digit;
    }
    *ret_number = number;
    return *at > start;
}

static int read_ranges(struct profile_line *line, struct sfs_ranges *ranges, struct sfs_error *err)
{
    const char *at;
    for (size_t size; (size = next_field(line, &at)) > 0;) {
        const char *end = at + size;
        uint64_t offset, length;
        if (!read_number(&at, end, &offset) || at == end || *at++ != '+' ||
            !read_number(&at, end, &length) || at != end || length == 0 ||
            length > (uint64_t)INT64_MAX - offset)
            return fail_line(line, err, "a range is OFFSET+SIZE, in bytes");
        if (ranges->count == SFS_MAX_PROFILE_RANGES)
            return fail_line(line, err, "too many ranges");
        if (sfs_ranges_add(ranges, offset, length) < 0)
            return sfs_fail_memory(err);
    }
    sfs_ranges_merge(ranges, 0);
    return 0;
}

static struct sfs_use *add_use(struct sfs_profile *profile)
{
    if (SFS_ARRAY_GROW(profile->uses, profile->count, profile->capacity, 64) < 0)
        return NULL;
    struct sfs_use *use = &profile->uses[profile->count++];
    *use = (struct sfs_use){ 0 };
    return use;
}

static int read_line(struct profile_line *line, struct sfs_profile *profile, struct sfs_error *err)
{
    const char *field;
    size_t size = next_field(line, &field), kind = 0;
    if (size == 0)
        return 0;
    while (kind < WORDS && (strlen(words[kind]) != size || memcmp(words[kind], field, size) != 0))
        kind++;
    if (kind == WORDS)
        return fail_line(line, err,
                         "a line starts with exec, read, open, stat, list, link or none");
    struct sfs_use *use = add_use(profile);
    if (!use)
        return sfs_fail_memory(err);
    use->kind = (enum sfs_use_kind)kind;
    int r = read_path(line, &use->path, err);
    if (r == 0 && sfs_use_has_ranges(use->kind))
        r = read_ranges(line, &use->ranges, err);
    if (r == 0 && next_field(line, &field) > 0)
        r = fail_line(line, err, "something follows the path (a blank in it is written \\040)");
    return r;
}

int sfs_profile_parse(struct sfs_profile *profile, const char *name, const char *text, size_t size,
                      struct sfs_error *err)
{
    struct profile_line line = { .name = name };
    for (const char *at = text, *end = text + size; at < end; at = line.end + 1) {
        const char *newline = memchr(at, '\n', (size_t)(end - at));
        line.at = at;
        line.end = newline ? newline : end;
        line.number++;
        int r = read_line(&line, profile, err);
        if (r < 0)
            return r;
    }
    return 0;
}

int sfs_profile_read(struct sfs_profile *profile, const char *path, struct sfs_error *err)
{
    AUTO(sfs_free) char *text = NULL;
    size_t size;
    int r = sfs_io_read_file(AT_FDCWD, path, SFS_MAX_PROFILE, &text, &size, err);
    return r < 0 ? r : sfs_profile_parse(profile, path, text, size, err);
}
