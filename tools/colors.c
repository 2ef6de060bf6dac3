/* Which colour a name gets, by its type, its mode and its ending. */
#include "colors.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int colors_choose(const char *when, bool *ret_on, struct sfs_error *err)
{
    static const struct {
        const char *name;
        char means;
    } names[] = { { "always", 'y' }, { "yes", 'y' }, { "force", 'y' },
                  { "never", 'n' },  { "no", 'n' },  { "none", 'n' },
                  { "auto", 'a' },   { "tty", 'a' }, { "if-tty", 'a' } };
    const char *no_color = getenv("NO_COLOR");
    char means = when ? 0 : 'a';
    for (size_t i = 0; when && i < sizeof names / sizeof *names; i++)
        if (strcmp(when, names[i].name) == 0)
            means = names[i].means;
    if (!means)
        return sfs_fail(err, EINVAL, "--color is always, auto or never, not '%s'", when);
    *ret_on = means == 'y' || (means == 'a' && !(no_color && *no_color) && isatty(STDOUT_FILENO));
    return 0;
}

/* The value of "KEY=" in a list whose items have colons between them. */
static bool find_key(const char *list, const char *key, size_t key_size, char text[COLOR_TEXT])
{
    for (const char *item = list; item && *item;) {
        size_t size = strcspn(item, ":");
        if (size > key_size && item[key_size] == '=' && memcmp(item, key, key_size) == 0) {
            snprintf(text, COLOR_TEXT, "%.*s", (int)(size - key_size - 1), item + key_size + 1);
            return text[strspn(text, "0123456789;")] == 0; /* it goes to the terminal as it is */
        }
        item += size + (item[size] == ':');
    }
    return false;
}

static const char *type_key(const struct sfs_attr *attr)
{
    uint32_t mode = attr->mode;
    switch (mode & S_IFMT) {
    case S_IFDIR:
        return mode & S_ISVTX && mode & S_IWOTH ? "tw"
               : mode & S_IWOTH                 ? "ow"
               : mode & S_ISVTX                 ? "st"
                                                : "di";
    case S_IFLNK:
        return "ln";
    case S_IFCHR:
        return "cd";
    case S_IFBLK:
        return "bd";
    case S_IFIFO:
        return "pi";
    }
    return mode & S_ISUID ? "su" : mode & S_ISGID ? "sg" : mode & 0111 ? "ex" : NULL;
}

/* "*.tar=01;31": by the end of the name. */
static bool find_ending(const char *list, const char *name, char text[COLOR_TEXT])
{
    char key[64];
    for (const char *dot = name; (dot = strchr(dot, '.')); dot++) {
        int size = snprintf(key, sizeof key, "*%s", dot);
        if (size < (int)sizeof key && find_key(list, key, (size_t)size, text))
            return true;
    }
    return false;
}

const char *colors_find(const char *name, const struct sfs_attr *attr, char text[COLOR_TEXT])
{
    static const char defaults[] = "di=01;34:ln=01;36:pi=33:bd=01;33:cd=01;33:su=37;41:"
                                   "sg=30;43:tw=30;42:ow=34;42:st=37;44:ex=01;32";
    const char *list = getenv("LS_COLORS"), *key = type_key(attr);
    text[0] = 0;
    if (!list || !*list)
        list = defaults;
    bool found = key ? find_key(list, key, 2, text) : find_ending(list, name, text);
    if (!found)
        text[0] = 0;
    return text;
}
