#include "base/warn.h"

#include "base/banned.h"

int sfs_fail_or_warn_v(struct sfs_error *err, const struct sfs_progress *progress, bool strict,
                       int code, const char *format, va_list args)
{
    char text[900];
    struct sfs_error clean;
    vsnprintf(text, sizeof text, format, args);
    int r = sfs_fail(strict ? err : &clean, code, "%s", text);
    if (strict)
        return r;
    if (progress && progress->warn)
        progress->warn(progress->user, clean.text);
    return 0;
}

int sfs_fail_or_warn(struct sfs_error *err, const struct sfs_progress *progress, bool strict,
                     int code, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int r = sfs_fail_or_warn_v(err, progress, strict, code, format, args);
    va_end(args);
    return r;
}
