/* TOML, as far as registries.conf and containerd's hosts.toml use it: tables, arrays of tables,
 * dotted and quoted keys, strings on one line, whole numbers, booleans, arrays, inline tables.
 * (Debian 12 has no C library for it.) What it is of TOML but not of that, as dates and floats, is
 * refused in words. */
#ifndef STAGEFS_TOML_H
#define STAGEFS_TOML_H

#include <stagefs/error.h>
#include <stddef.h>

struct json_t;

/* Reads a document into a JSON object; `what` names it in messages, which say the line. The caller
 * gives *ret_json back to jansson. EBADMSG: malformed. ENOTSUP: see above. E2BIG: nested too deep.
 */
int sfs_toml_parse(const char *text, size_t size, const char *what, struct json_t **ret_json,
                   struct sfs_error *err);

#endif
