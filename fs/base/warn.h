/* What BuildKit lets pass in silence: a failure where somebody asked for --strict, else a warning.
 */
#ifndef STAGEFS_WARN_H
#define STAGEFS_WARN_H

#include <stagefs/error.h>
#include <stagefs/progress.h>
#include <stdarg.h>
#include <stdbool.h>

/* One sentence. strict: as sfs_fail(), -code. Else 0, and progress->warn is told of it, without
 * control characters; `progress`, and its warn, may be NULL. */
int sfs_fail_or_warn(struct sfs_error *err, const struct sfs_progress *progress, bool strict,
                     int code, const char *format, ...) __attribute__((format(printf, 5, 6)));
/* The same of a list of arguments. */
int sfs_fail_or_warn_v(struct sfs_error *err, const struct sfs_progress *progress, bool strict,
                       int code, const char *format, va_list args);

#endif
