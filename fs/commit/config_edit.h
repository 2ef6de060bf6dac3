/* What the options of a commit change in a config and in the annotations of a manifest. */
#ifndef STAGEFS_CONFIG_EDIT_H
#define STAGEFS_CONFIG_EDIT_H

#include <jansson.h>
#include <stagefs/commit.h>

/* Changes an image config, and the manifest's annotations (an object). EINVAL: a value that is none
 * for its key. */
int sfs_config_edit(json_t *config, json_t *annotations, const struct sfs_edit *edits, size_t count,
                    struct sfs_error *err);

/* A command as buildah takes it: a JSON array of strings, or words with the shell's quotes; ""
 * gives an empty array. EINVAL: a quote that does not end. */
int sfs_command_split(const char *text, json_t **ret_words, struct sfs_error *err);

#endif
