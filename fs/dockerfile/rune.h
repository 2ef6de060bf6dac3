/* Characters of UTF-8 text by their classes, as Go's package unicode has them: what ends a name or
 * a word of a Dockerfile is not for ASCII alone to say. */
#ifndef STAGEFS_RUNE_H
#define STAGEFS_RUNE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bytes of the UTF-8 sequence at `text`, of which `size` bytes are there; 0: it is none, or `size`
 * is 0. ret_rune may be NULL. */
size_t sfs_rune_read(const char *text, size_t size, uint32_t *ret_rune);

/* Of category L, as Go's unicode.IsLetter() has it. */
bool sfs_rune_is_letter(uint32_t rune);
/* Of category Nd, as unicode.IsDigit(). */
bool sfs_rune_is_digit(uint32_t rune);

/* Bytes of the blank (also U+00A0, U+3000, ...) that `text` begins, or ends, with; 0: none. */
size_t sfs_rune_blank(const char *text, size_t size);
size_t sfs_rune_blank_before(const char *text, size_t size);

/* Takes the blanks off both ends. */
void sfs_rune_trim(const char **text, size_t *size);

#endif
