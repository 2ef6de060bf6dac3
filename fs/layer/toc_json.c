/* {"version": 1, "entries": [...]}: the outer part is read here, where values start and end, and
 * each entry by jansson. Whole, a table of some hundred thousand entries would take gigabytes as
 * values. */
#include "layer/toc.h"

#include <stagefs/json.h>

/* Bytes of one entry: the longest path and the largest extended attributes fit. */
#define ENTRY_MAX  (4u << 20)
#define VALUES_MAX (64u << 10) /* JSON values in one entry */

struct json_scan {
    const char *data;
    size_t size, at;
};

static char peek(struct json_scan *scan)
{
    while (scan->at < scan->size && memchr(" \t\r\n", scan->data[scan->at], 4))
        scan->at++;
    return scan->at < scan->size ? scan->data[scan->at] : '\0';
}

static bool take(struct json_scan *scan, char wanted)
{
    if (peek(scan) != wanted)
        return false;
    scan->at++;
    return true;
}

static bool skip_string(struct json_scan *scan)
{
    for (scan->at++; scan->at < scan->size; scan->at++) {
        if (scan->data[scan->at] == '"') {
            scan->at++;
            return true;
        }
        if (scan->data[scan->at] == '\\')
            scan->at++;
    }
    return false;
}

struct value {
    const char *data;
    size_t size, count; /* bytes of text, and values inside (or a few more) */
};

/* Finds where a value ends; jansson will say what it is. */
static bool take_value(struct json_scan *scan, struct value *ret_value)
{
    struct value value = { 0 };
    size_t depth = 0, start = (peek(scan), scan->at);
    while (scan->at < scan->size) {
        char c = scan->data[scan->at];
        if (c == '"') {
            if (!skip_string(scan))
                return false;
            continue;
        }
        bool closes = c == '}' || c == ']';
        if (depth == 0 && (closes || c == ','))
            break;
        depth += c == '{' || c == '[';
        depth -= closes;
        value.count += c == ',' || c == ':' || c == '{' || c == '[';
        scan->at++;
    }
    value.data = scan->data + start;
    value.size = scan->at - start;
    *ret_value = value;
    return depth == 0 && value.size > 0;
}

static int load(const struct value *value, json_t **ret_json, struct sfs_error *err)
{
    if (value->size > ENTRY_MAX || value->count > VALUES_MAX)
        return sfs_fail(err, E2BIG, "one of its entries is too large");
    int r = sfs_json_parse(value->data, value->size, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY,
                           ret_json, err);
    return r == -EBADMSG ? sfs_fail(err, EBADMSG, "it is not JSON") : r;
}

static void close_json(json_t **json)
{
    json_decref(*json);
}

static bool is(const struct value *value, const char *text)
{
    return value->size == strlen(text) && memcmp(value->data, text, value->size) == 0;
}

struct each {
    struct json_scan scan;
    int (*entry)(void *user, const json_t *json, struct sfs_error *err);
    void *user;
    bool has_version, has_entries;
};

static int read_entries(struct each *each, struct sfs_error *err)
{
    struct json_scan *scan = &each->scan;
    if (!take(scan, '['))
        return sfs_fail(err, EBADMSG, "its entries are not a list");
    if (take(scan, ']'))
        return 0;
    do {
        AUTO(close_json) json_t *json = NULL;
        struct value value;
        if (!take_value(scan, &value))
            return sfs_fail(err, EBADMSG, "it is not JSON");
        int r = load(&value, &json, err);
        if (r == 0)
            r = json_is_object(json) ? each->entry(each->user, json, err)
                                     : sfs_fail(err, EBADMSG, "an entry is not an object");
        if (r < 0)
            return r;
    } while (take(scan, ','));
    return take(scan, ']') ? 0 : sfs_fail(err, EBADMSG, "it is not JSON");
}

static int check_version(struct each *each, struct sfs_error *err)
{
    AUTO(close_json) json_t *json = NULL;
    struct value value;
    if (!take_value(&each->scan, &value))
        return sfs_fail(err, EBADMSG, "it is not JSON");
    int r = load(&value, &json, err);
    if (r == 0 && (!json_is_integer(json) || json_integer_value(json) != 1))
        return sfs_fail(err, ENOTSUP, "it is of an unknown version");
    return r;
}

/* Reads one key with its value. A key that is written with escapes is not recognised; where it is
 * one of the two that must be there, that one is missing. */
static int read_member(struct each *each, struct sfs_error *err)
{
    struct json_scan *scan = &each->scan;
    struct value value = { 0 };
    if (peek(scan) != '"')
        return sfs_fail(err, EBADMSG, "it is not JSON");
    size_t start = scan->at;
    if (!skip_string(scan))
        return sfs_fail(err, EBADMSG, "it is not JSON");
    struct value key = { scan->data + start, scan->at - start, 0 };
    bool is_version = is(&key, "\"version\""), is_entries = is(&key, "\"entries\"");
    if (!take(scan, ':') || (is_version && each->has_version) || (is_entries && each->has_entries))
        return sfs_fail(err, EBADMSG, "it is not JSON");
    each->has_version = each->has_version || is_version;
    each->has_entries = each->has_entries || is_entries;
    if (is_version)
        return check_version(each, err);
    if (is_entries)
        return read_entries(each, err);
    return take_value(scan, &value) ? 0 : sfs_fail(err, EBADMSG, "it is not JSON");
}

int sfs_toc_json_each(const char *data, size_t size,
                      int (*entry)(void *user, const json_t *json, struct sfs_error *err),
                      void *user, struct sfs_error *err)
{
    struct each each = { .scan = { data, size, 0 }, .entry = entry, .user = user };
    if (!take(&each.scan, '{'))
        return sfs_fail(err, EBADMSG, "it is not a JSON object");
    do {
        int r = read_member(&each, err);
        if (r < 0)
            return r;
    } while (take(&each.scan, ','));
    if (!take(&each.scan, '}') || peek(&each.scan) != '\0' || each.scan.at < size)
        return sfs_fail(err, EBADMSG, "it is not JSON");
    if (!each.has_version || !each.has_entries)
        return sfs_fail(err, EBADMSG, "it has no version or no entries");
    return 0;
}
