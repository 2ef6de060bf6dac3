/* What both pattern languages share: characters and [classes]. */
#ifndef STAGEFS_PATTERN_CLASS_H
#define STAGEFS_PATTERN_CLASS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SFS_BAD_RUNE 0xfffdu

/* The UTF-8 character at `text`, and its size in bytes. A byte that is not UTF-8 is SFS_BAD_RUNE of
 * size 1, as in Go. */
uint32_t sfs_pattern_rune(const char *text, size_t *ret_size);

/* Tests `rune` against the class that `text` begins with ('['). Returns what follows it, or NULL:
 * malformed. *ret_reversed (may be NULL) is set if a range runs backwards, which matches nothing in
 * one language and is an error in the other; it is never cleared. */
const char *sfs_pattern_class(const char *text, uint32_t rune, bool *ret_match, bool *ret_reversed);

#endif
