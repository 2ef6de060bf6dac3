/* JSON as RFC 8259 has it, held by jansson, which knows fewer strings and numbers: what it cannot
 * hold is kept as marked text and printed as it was written. So documents go through unchanged, but
 * for the parts that somebody changes.
 *
 * A mark is U+10FFFF, which no text holds: with "u" and four hex digits behind it it is a NUL or
 * half a surrogate pair; a string that begins with one and "#" is a number with a fraction, an
 * exponent or more than 64 bits; one with "!" is the character itself. Any thread. */
#ifndef STAGEFS_JSON_H
#define STAGEFS_JSON_H

#include <stagefs/error.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

struct json_t;

/* Reads a document; `flags` as for json_loadb(). The words say line and column. EBADMSG: it is not
 * JSON. */
int sfs_json_parse(const char *data, size_t size, size_t flags, struct json_t **ret_json,
                   struct sfs_error *err);
/* `flags` as for json_dumps(). The caller frees; NULL: out of memory, or a string is not UTF-8. */
char *sfs_json_print(const struct json_t *json, size_t flags);
/* The same into a stream. 0, or -1: as above, or the stream failed. */
int sfs_json_write(const struct json_t *json, size_t flags, FILE *out);

/* Is this the text of a number that jansson cannot hold? */
bool sfs_json_is_number(const char *text);
/* The text of a string with each half of a pair as U+FFFD, as Go reads it; other marks stay. The
 * caller frees; NULL: out of memory. */
char *sfs_json_fill_pairs(const char *text);
/* Is any character of the text marked? */
bool sfs_json_is_marked(const char *text);

#endif
