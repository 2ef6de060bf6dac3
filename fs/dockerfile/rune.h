/* Classes of characters in UTF-8 text, as Go's package unicode has them: they decide where a name
 * or a word of a Dockerfile ends, beyond ASCII too. */
#ifndef STAGEFS_RUNE_H
#define STAGEFS_RUNE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Reads the character at `text`, of which `size` bytes are there. Returns its bytes; 0: they are
 * not UTF-8, or `size` is 0. ret_rune may be NULL. */
size_t sfs_rune_read(const char *text, size_t size, uint32_t *ret_rune);

/* Is the character a letter (Unicode's category L)? */
bool sfs_rune_is_letter(uint32_t rune);
/* Is the character a decimal digit (Unicode's category Nd)? */
bool sfs_rune_is_digit(uint32_t rune);

/* Bytes of the blank (also U+00A0, U+3000, ...) that `text` begins with; 0: there is none. */
size_t sfs_rune_blank(const char *text, size_t size);
/* The same of the blank that the first `size` bytes of `text` end with. */
size_t sfs_rune_blank_before(const char *text, size_t size);

/* Takes the blanks off both ends. */
void sfs_rune_trim(const char **text, size_t *size);

#endif
