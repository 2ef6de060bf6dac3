/* Variants are levels: a v7 machine runs v6. What an image leaves out is its architecture's usual
 * level (arm v7, arm64 v8, amd64 v1), as in containerd and containers/image. */
#include "image/platform.h"

#include "base/banned.h"
#include <ctype.h>
#include <errno.h>
#include <jansson.h>
#include <stdbool.h>
#include <sys/utsname.h>

enum { RANK_UNNAMED_VARIANT = 100, RANK_OTHER_VARIANT = 200, RANK_NO_PLATFORM = 1000 };

static const struct alias {
    const char *name, *arch, *variant;
} aliases[] = {
    { "x86_64", "amd64", "" },    { "x86-64", "amd64", "" },
    { "aarch64", "arm64", "" },   { "i386", "386", "" },
    { "i486", "386", "" },        { "i586", "386", "" },
    { "i686", "386", "" },        { "armhf", "arm", "v7" },
    { "armel", "arm", "v6" },     { "armv8l", "arm", "v7" },
    { "armv7l", "arm", "v7" },    { "armv6l", "arm", "v6" },
    { "armv5tel", "arm", "v5" },  { "armv5tejl", "arm", "v5" },
    { "ppc64el", "ppc64le", "" }, { "loongarch64", "loong64", "" },
};

static void lower(char *text)
{
    for (; *text; text++)
        *text = (char)tolower((unsigned char)*text);
}

static void normalise(struct sfs_platform *platform)
{
    lower(platform->os);
    lower(platform->arch);
    lower(platform->variant);
    for (size_t i = 0; i < sizeof aliases / sizeof aliases[0]; i++) {
        if (strcmp(platform->arch, aliases[i].name) != 0)
            continue;
        snprintf(platform->arch, sizeof platform->arch, "%s", aliases[i].arch);
        if (!platform->variant[0])
            snprintf(platform->variant, sizeof platform->variant, "%s", aliases[i].variant);
        break;
    }
    if (isdigit((unsigned char)platform->variant[0])) {
        memmove(platform->variant + 1, platform->variant, sizeof platform->variant - 1);
        platform->variant[0] = 'v';
        platform->variant[sizeof platform->variant - 1] = 0;
    }
}

static bool take_word(const char **text, char *word, size_t size)
{
    size_t length = strcspn(*text, "/");
    if (length == 0 || length >= size)
        return false;
    for (size_t i = 0; i < length; i++)
        if (!isalnum((unsigned char)(*text)[i]) && !strchr("._-", (*text)[i]))
            return false;
    memcpy(word, *text, length);
    word[length] = 0;
    *text += length + ((*text)[length] == '/');
    return true;
}

static int host_platform(struct sfs_platform *ret_platform, struct sfs_error *err)
{
    struct utsname host;
    if (uname(&host) < 0)
        return sfs_fail_errno(err, errno, "uname");
    struct sfs_platform platform = { .os = "linux" };
    snprintf(platform.arch, sizeof platform.arch, "%.31s", host.machine);
    normalise(&platform);
    *ret_platform = platform;
    return 0;
}

int sfs_platform_parse(const char *text, struct sfs_platform *ret_platform, struct sfs_error *err)
{
    if (!text)
        return host_platform(ret_platform, err);
    struct sfs_platform platform = { 0 };
    const char *rest = text;
    bool ok = take_word(&rest, platform.os, sizeof platform.os) &&
              take_word(&rest, platform.arch, sizeof platform.arch) &&
              (!*rest || take_word(&rest, platform.variant, sizeof platform.variant));
    if (!ok || *rest)
        return sfs_fail(err, EINVAL,
                        "platform '%.100s': write OS/ARCH or OS/ARCH/VARIANT, as in linux/arm64",
                        text);
    normalise(&platform);
    *ret_platform = platform;
    return 0;
}

static bool from_json(const json_t *json, struct sfs_platform *ret_platform)
{
    const char *os = json_string_value(json_object_get(json, "os"));
    const char *arch = json_string_value(json_object_get(json, "architecture"));
    const char *variant = json_string_value(json_object_get(json, "variant"));
    struct sfs_platform platform = { 0 };
    if (!os || !arch)
        return false;
    snprintf(platform.os, sizeof platform.os, "%s", os);
    snprintf(platform.arch, sizeof platform.arch, "%s", arch);
    snprintf(platform.variant, sizeof platform.variant, "%s", variant ? variant : "");
    normalise(&platform);
    *ret_platform = platform;
    return true;
}

/* 0: not known as a number. */
static int level(const char *arch, const char *variant)
{
    if (!variant[0])
        return strcmp(arch, "arm") == 0     ? 7
               : strcmp(arch, "arm64") == 0 ? 8
               : strcmp(arch, "amd64") == 0 ? 1
                                            : 0;
    bool digit = variant[0] == 'v' && variant[1] > '0' && variant[1] <= '9' && !variant[2];
    return digit ? variant[1] - '0' : 0;
}

int sfs_platform_rank(const struct sfs_platform *wanted, const json_t *json)
{
    if (!json || json_is_null(json))
        return RANK_NO_PLATFORM;
    struct sfs_platform platform;
    if (!from_json(json, &platform) || strcmp(wanted->os, platform.os) != 0 ||
        strcmp(wanted->arch, platform.arch) != 0)
        return -1;
    int have = level(platform.arch, platform.variant), want = level(wanted->arch, wanted->variant);
    if (strcmp(wanted->variant, platform.variant) == 0)
        return 0;
    if (have && want && have <= want)
        return 1 + want - have;
    if (!platform.variant[0])
        return RANK_UNNAMED_VARIANT;
    return !wanted->variant[0] && !want ? RANK_OTHER_VARIANT : -1;
}

char *sfs_platform_print(const struct sfs_platform *platform, char text[SFS_PLATFORM_TEXT])
{
    snprintf(text, SFS_PLATFORM_TEXT, "%s/%s%s%s", platform->os, platform->arch,
             platform->variant[0] ? "/" : "", platform->variant);
    return text;
}

char *sfs_platform_print_json(const json_t *json, char text[SFS_PLATFORM_TEXT])
{
    struct sfs_platform platform;
    return from_json(json, &platform) ? sfs_platform_print(&platform, text) : NULL;
}
