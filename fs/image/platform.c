/* Which names mean the same platform, as containerd has it. Variants are levels: a v7 machine runs
 * v6. An image that leaves the variant out means its architecture's usual level (arm v7, arm64 v8,
 * amd64 v1). */
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

static void set_text(char text[32], const char *value)
{
    snprintf(text, 32, "%s", value);
}

/* Drops a variant that is the architecture's usual level; of arm, where no level goes without
 * saying, a missing variant becomes the usual one. */
static void normalise_variant(struct sfs_platform *platform)
{
    char *variant = platform->variant;
    if (isdigit((unsigned char)variant[0])) {
        memmove(variant + 1, variant, sizeof platform->variant - 1);
        variant[0] = 'v';
        variant[sizeof platform->variant - 1] = 0;
    }
    if (strcmp(platform->arch, "arm") == 0 && !variant[0])
        set_text(variant, "v7");
    if (strcmp(platform->arch, "386") == 0 ||
        (strcmp(platform->arch, "amd64") == 0 && strcmp(variant, "v1") == 0) ||
        (strcmp(platform->arch, "arm64") == 0 && strcmp(variant, "v8") == 0))
        variant[0] = 0;
}

static void normalise(struct sfs_platform *platform)
{
    lower(platform->os);
    lower(platform->arch);
    lower(platform->variant);
    if (strcmp(platform->os, "macos") == 0)
        set_text(platform->os, "darwin");
    for (size_t i = 0; i < sizeof aliases / sizeof aliases[0]; i++) {
        if (strcmp(platform->arch, aliases[i].name) != 0)
            continue;
        set_text(platform->arch, aliases[i].arch);
        if (aliases[i].variant[0])
            set_text(platform->variant, aliases[i].variant);
        break;
    }
    normalise_variant(platform);
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

static int fail_form(const char *text, struct sfs_error *err)
{
    return sfs_fail(err, EINVAL,
                    "platform '%.100s': write OS/ARCH or OS/ARCH/VARIANT, as in linux/arm64", text);
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

static bool is_among(const char *word, const char *const *list)
{
    while (*list && strcmp(word, *list) != 0)
        list++;
    return *list;
}

/* "linux", or "arm64": the other half is this machine's. */
static int parse_word(const char *word, struct sfs_platform *ret_platform, struct sfs_error *err)
{
    static const char *const systems[] = { "aix",     "android", "darwin",  "dragonfly", "freebsd",
                                           "hurd",    "illumos", "ios",     "js",        "linux",
                                           "nacl",    "netbsd",  "openbsd", "plan9",     "solaris",
                                           "windows", "zos",     NULL };
    static const char *const machines[] = {
        "386",     "amd64",   "amd64p32", "arm",     "armbe",    "arm64",     "arm64be",
        "loong64", "mips",    "mipsle",   "mips64",  "mips64le", "mips64p32", "ppc",
        "ppc64",   "ppc64le", "riscv",    "riscv64", "s390",     "s390x",     "mips64p32le",
        "sparc",   "sparc64", "wasm",     NULL
    };
    struct sfs_platform host, platform = { .os = "linux" };
    int r = host_platform(&host, err);
    if (r < 0)
        return r;
    set_text(platform.arch, word);
    normalise(&platform);
    if (is_among(platform.arch, machines)) {
        *ret_platform = platform;
        return 0;
    }
    set_text(host.os, word);
    normalise(&host);
    if (!is_among(host.os, systems))
        return fail_form(word, err);
    *ret_platform = host;
    return 0;
}

int sfs_platform_parse(const char *text, struct sfs_platform *ret_platform, struct sfs_error *err)
{
    if (!text)
        return host_platform(ret_platform, err);
    struct sfs_platform platform = { 0 };
    const char *rest = text;
    if (!strchr(text, '/') && take_word(&rest, platform.os, sizeof platform.os))
        return parse_word(platform.os, ret_platform, err);
    bool ok = take_word(&rest, platform.os, sizeof platform.os) &&
              take_word(&rest, platform.arch, sizeof platform.arch) &&
              (!*rest || take_word(&rest, platform.variant, sizeof platform.variant));
    if (!ok || *rest)
        return fail_form(text, err);
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

/* The level that a variant is; 0: none is known. */
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
