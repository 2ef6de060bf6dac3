/* "Did you mean ...?" for misspelt commands, options, transports and instructions. */
#ifndef STAGEFS_SUGGEST_H
#define STAGEFS_SUGGEST_H

/* The member of `known` (ended by NULL) that is nearest to `word` by edit distance, letter case
 * aside, else the only one that begins with it; NULL if none is near enough to be what was meant.
 */
const char *sfs_suggest(const char *word, const char *const *known);

#endif
