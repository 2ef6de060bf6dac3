/* Values of an image config as text: the way Go prints them, which is what histories hold, and the
 * checks that go with them. */
#ifndef STAGEFS_CONFIG_TEXT_H
#define STAGEFS_CONFIG_TEXT_H

#include "base/buf.h"
#include "dockerfile/expand.h"
#include <jansson.h>
#include <stdint.h>

/* The functions with `out` append to it, and return 0 or -ENOMEM. */

/* ["a" "b"], quoted as Go's %q does. */
int sfs_text_quote_list(const json_t *list, struct sfs_buf *out);
/* [a b] */
int sfs_text_list(const struct sfs_vars *list, struct sfs_buf *out);
/* The same of a JSON array of strings. */
int sfs_text_json_list(const json_t *list, struct sfs_buf *out);
/* 1m30s, 500ms, 0s */
int sfs_text_duration(int64_t ns, struct sfs_buf *out);

/* EXPOSE's "[ip:][host:]port[-port][/proto]": sets "port/proto" in `ports` for each port. EINVAL:
 * malformed. */
int sfs_text_ports(const char *text, struct sfs_vars *ports, struct sfs_error *err);
/* Is it a signal: a number, or a name with or without SIG? */
bool sfs_text_is_signal(const char *text);

#endif
