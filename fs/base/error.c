/* How the sentence of a failure is put together: context in front, strerror() behind, no control
 * bytes in it. */
#include <stagefs/error.h>

#include "base/banned.h"
#include <errno.h>
#include <stdarg.h>

/* Names come from hostile images and end on terminals: no escape sequences, no second line. */
static void blank_control_bytes(char *text)
{
    for (; *text; text++)
        if ((unsigned char)*text < 0x20 || *text == 0x7f)
            *text = '?';
}

int sfs_fail(struct sfs_error *err, int code, const char *format, ...)
{
    if (err) {
        va_list args;
        va_start(args, format);
        vsnprintf(err->text, sizeof err->text, format, args);
        va_end(args);
        blank_control_bytes(err->text);
    }
    return -code;
}

int sfs_fail_memory(struct sfs_error *err)
{
    return sfs_fail(err, ENOMEM, "out of memory");
}

int sfs_fail_errno(struct sfs_error *err, int code, const char *format, ...)
{
    if (err) {
        va_list args;
        va_start(args, format);
        vsnprintf(err->text, sizeof err->text, format, args);
        va_end(args);
        size_t used = strlen(err->text);
        char reason[128];
        snprintf(err->text + used, sizeof err->text - used, ": %s",
                 strerror_r(code, reason, sizeof reason));
        blank_control_bytes(err->text);
    }
    return -code;
}

int sfs_fail_while(struct sfs_error *err, int r, const char *format, ...)
{
    if (err) {
        char inner[sizeof err->text];
        memcpy(inner, err->text, sizeof inner);
        inner[sizeof inner - 1] = 0;
        va_list args;
        va_start(args, format);
        vsnprintf(err->text, sizeof err->text, format, args);
        va_end(args);
        size_t used = strlen(err->text);
        /* What went wrong matters more than where: a long context gives way. */
        if (used > sizeof err->text / 2)
            used = sizeof err->text / 2;
        int room = (int)(sizeof err->text - used - sizeof ": ");
        snprintf(err->text + used, sizeof err->text - used, ": %.*s", room, inner);
        blank_control_bytes(err->text);
    }
    return r;
}
