/* Which pax records count, what they say, and which are refused. */
#include "layer/tar_pax.h"

#include <errno.h>
#include <string.h>

#define MAX_DIGITS 18 /* that fit in 63 bits whatever they are */

int sfs_tar_decimal(const char *text, size_t size, bool sign, int64_t *ret_number)
{
    bool negative = sign && size > 0 && text[0] == '-';
    int64_t value = 0;
    size_t i = negative;
    if (size - i == 0)
        return -EBADMSG;
    while (i + 1 < size && text[i] == '0')
        i++;
    if (size - i > MAX_DIGITS)
        return -EBADMSG;
    for (; i < size; i++) {
        if (text[i] < '0' || text[i] > '9')
            return -EBADMSG;
        value = value * 10 + (text[i] - '0');
    }
    *ret_number = negative ? -value : value;
    return 0;
}

/* Cuts off the record at *at, and moves *at behind it. 1: done; 0: there is none. */
static int next_record(char **at, char *end, struct sfs_tar_record *ret_record,
                       struct sfs_error *err)
{
    char *text = *at;
    int64_t length;
    if (text == end)
        return 0;
    char *space = memchr(text, ' ', (size_t)(end - text));
    if (!space || sfs_tar_decimal(text, (size_t)(space - text), false, &length) < 0 ||
        length > end - text || length < space - text + 4 || text[length - 1] != '\n')
        return sfs_fail(err, EBADMSG, "a pax record has no right length");
    char *stop = text + length - 1, *key = space + 1;
    char *equals = memchr(key, '=', (size_t)(stop - key));
    if (!equals || equals == key)
        return sfs_fail(err, EBADMSG, "a pax record has no key");
    if (memchr(key, 0, (size_t)(equals - key)))
        return sfs_fail(err, EBADMSG, "the key of a pax record has a NUL");
    *equals = *stop = 0;
    *ret_record = (struct sfs_tar_record){ key, equals + 1, (size_t)(stop - equals) - 1 };
    *at = stop + 1;
    return 1;
}

static int fail_value(const struct sfs_tar_record *record, struct sfs_error *err)
{
    return sfs_fail(err, EBADMSG, "the pax record \"%.64s\" has no right value", record->key);
}

static int take_text(const struct sfs_tar_record *record, const char **ret_text,
                     struct sfs_error *err)
{
    if (record->value_size == 0 || memchr(record->value, 0, record->value_size))
        return fail_value(record, err);
    *ret_text = record->value;
    return 0;
}

static int take_number(const struct sfs_tar_record *record, bool sign, bool *ret_has,
                       int64_t *ret_number, struct sfs_error *err)
{
    if (sfs_tar_decimal(record->value, record->value_size, sign, ret_number) < 0)
        return fail_value(record, err);
    *ret_has = true;
    return 0;
}

/* Reads a time: seconds, and a fraction of which nine digits count. Before 1970 the fraction counts
 * downwards. */
static int take_time(const struct sfs_tar_record *record, int64_t *ret_sec, uint32_t *ret_nsec,
                     struct sfs_error *err)
{
    const char *dot = memchr(record->value, '.', record->value_size);
    size_t size = dot ? (size_t)(dot - record->value) : record->value_size;
    uint32_t nsec = 0, unit = 100000000;
    if (sfs_tar_decimal(record->value, size, true, ret_sec) < 0)
        return fail_value(record, err);
    for (size_t i = size + 1; i < record->value_size; i++, unit /= 10) {
        if (record->value[i] < '0' || record->value[i] > '9')
            return fail_value(record, err);
        nsec += unit * (uint32_t)(record->value[i] - '0');
    }
    if (record->value[0] == '-' && nsec > 0) {
        --*ret_sec;
        nsec = 1000000000 - nsec;
    }
    *ret_nsec = nsec;
    return 0;
}

/* Takes a record of version 0.0, which repeats two for each run: where it is, and how long it
 * is. */
static int take_pair(const struct sfs_tar_record *record, struct sfs_tar_pax *pax, bool is_size,
                     struct sfs_error *err)
{
    int64_t number;
    struct sfs_buf *pairs = &pax->sparse.pairs;
    bool odd = pairs->size / sizeof(uint64_t) % 2;
    if (odd != is_size || sfs_tar_decimal(record->value, record->value_size, false, &number) < 0)
        return fail_value(record, err);
    uint64_t value = (uint64_t)number;
    return sfs_buf_add(pairs, &value, sizeof value) < 0 ? sfs_fail_memory(err) : 0;
}

/* Takes a sparse file's size. Two records tell it, and not all readers prefer the same one: they
 * must agree. */
static int take_sparse_size(const struct sfs_tar_record *record, struct sfs_tar_pax *pax,
                            struct sfs_error *err)
{
    int64_t before = pax->sparse.size;
    bool again = pax->sparse.has_size;
    int r = take_number(record, false, &pax->sparse.has_size, &pax->sparse.size, err);
    if (r == 0 && again && before != pax->sparse.size)
        return sfs_fail(err, EBADMSG, "a sparse file has two sizes");
    return r;
}

static int take_sparse(const struct sfs_tar_record *record, struct sfs_tar_pax *pax,
                       struct sfs_error *err)
{
    const char *key = record->key + strlen("GNU.sparse.");
    const struct {
        const char *key, **text;
    } texts[] = { { "major", &pax->sparse.major },
                  { "minor", &pax->sparse.minor },
                  { "name", &pax->sparse.name },
                  { "map", &pax->sparse.map } };
    pax->sparse.any = true;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        if (strcmp(key, texts[i].key) == 0)
            return take_text(record, texts[i].text, err);
    if (strcmp(key, "offset") == 0)
        return take_pair(record, pax, false, err);
    if (strcmp(key, "numbytes") == 0)
        return take_pair(record, pax, true, err);
    if (strcmp(key, "numblocks") == 0)
        return take_number(record, false, &pax->sparse.has_count, &pax->sparse.count, err);
    if (strcmp(key, "size") == 0 || strcmp(key, "realsize") == 0)
        return take_sparse_size(record, pax, err);
    return sfs_fail(err, EBADMSG, "the pax record \"%.64s\" is of an unknown sparse form",
                    record->key);
}

static bool starts_with(const char *text, const char *start)
{
    return strncmp(text, start, strlen(start)) == 0;
}

bool sfs_tar_pax_keeps(const struct sfs_tar_record *record)
{
    if (record->value_size == 0 && !starts_with(record->key, "SCHILY.xattr."))
        return false;
    return starts_with(record->key, "SCHILY.") || starts_with(record->key, "LIBARCHIVE.") ||
           starts_with(record->key, "RHT.");
}

/* Takes owner, times and attributes. What is not kept must be well-formed, too: docker refuses it
 * else. */
static int take_metadata(const struct sfs_tar_record *record, struct sfs_tar_pax *pax,
                         struct sfs_error *err)
{
    const char *key = record->key, *ignored;
    int64_t sec;
    uint32_t nsec;
    if (strcmp(key, "uid") == 0)
        return take_number(record, true, &pax->has_uid, &pax->uid, err);
    if (strcmp(key, "gid") == 0)
        return take_number(record, true, &pax->has_gid, &pax->gid, err);
    if (strcmp(key, "atime") == 0 || strcmp(key, "ctime") == 0)
        return take_time(record, &sec, &nsec, err);
    if (strcmp(key, "uname") == 0 || strcmp(key, "gname") == 0)
        return take_text(record, &ignored, err);
    if (strcmp(key, "mtime") == 0) {
        pax->has_mtime = true;
        return take_time(record, &pax->mtime_sec, &pax->mtime_nsec, err);
    }
    if (!sfs_tar_pax_keeps(record))
        return 0;
    return sfs_buf_add(&pax->others, record, sizeof *record) < 0 ? sfs_fail_memory(err) : 0;
}

static int take_record(const struct sfs_tar_record *record, struct sfs_tar_pax *pax,
                       struct sfs_error *err)
{
    const char *key = record->key;
    if (strcmp(key, "path") == 0)
        return take_text(record, &pax->path, err);
    if (strcmp(key, "linkpath") == 0)
        return take_text(record, &pax->link, err);
    if (strcmp(key, "size") == 0)
        return take_number(record, false, &pax->has_size, &pax->size, err);
    if (strcmp(key, "SCHILY.realsize") == 0)
        return sfs_fail(err, EBADMSG, "a sparse file of star, which others read as a plain one");
    if (starts_with(key, "GNU.sparse."))
        return take_sparse(record, pax, err);
    if (record->value_size > 0 || starts_with(key, "SCHILY.xattr."))
        return take_metadata(record, pax, err);
    return 0; /* an empty value takes back what stood in a global header */
}

int sfs_tar_pax_parse(struct sfs_buf *text, struct sfs_tar_pax *pax, struct sfs_error *err)
{
    struct sfs_tar_record record;
    char *at = text->data, *end = text->data + text->size;
    int r;
    while ((r = next_record(&at, end, &record, err)) > 0) {
        r = take_record(&record, pax, err);
        if (r < 0)
            return r;
    }
    return r;
}

int sfs_tar_pax_check_global(const struct sfs_tar_pax *pax, struct sfs_error *err)
{
    if (pax->path || pax->link || pax->has_size || pax->sparse.any)
        return sfs_fail(err, EBADMSG, "a global pax header changes names or sizes");
    return 0;
}

void sfs_tar_pax_done(struct sfs_tar_pax *pax)
{
    sfs_buf_close(&pax->sparse.pairs);
    sfs_buf_close(&pax->others);
    *pax = (struct sfs_tar_pax){ 0 };
}
