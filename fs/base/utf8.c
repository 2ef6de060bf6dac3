/* Which bytes are UTF-8. */
#include <stagefs/utf8.h>

#include "base/buf.h"
#include <stagefs/auto.h>

size_t sfs_utf8_size(const char *text)
{
    const unsigned char *at = (const unsigned char *)text;
    unsigned char low = 0x80, high = 0xbf; /* what the second byte may be */
    size_t size = at[0] < 0x80   ? 1
                  : at[0] < 0xc2 ? 0
                  : at[0] < 0xe0 ? 2
                  : at[0] < 0xf0 ? 3
                  : at[0] < 0xf5 ? 4
                                 : 0;
    if (at[0] == 0xe0)
        low = 0xa0;
    else if (at[0] == 0xed)
        high = 0x9f;
    else if (at[0] == 0xf0)
        low = 0x90;
    else if (at[0] == 0xf4)
        high = 0x8f;
    for (size_t i = 1; i < size; i++) {
        if (at[i] < low || at[i] > high)
            return 0;
        low = 0x80;
        high = 0xbf;
    }
    return size;
}

bool sfs_utf8_is_valid(const char *text)
{
    while (*text) {
        size_t size = sfs_utf8_size(text);
        if (size == 0)
            return false;
        text += size;
    }
    return true;
}

char *sfs_utf8_clean(const char *text)
{
    AUTO(sfs_buf_close) struct sfs_buf clean = { 0 };
    sfs_buf_add_str(&clean, "");
    while (*text) {
        size_t size = sfs_utf8_size(text);
        if (size > 0)
            sfs_buf_add(&clean, text, size);
        else
            sfs_buf_add_str(&clean, "\xef\xbf\xbd");
        text += size > 0 ? size : 1;
    }
    return clean.failed ? NULL : TAKE(clean.data);
}
