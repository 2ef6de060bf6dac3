/* Which image of an index fits a machine: OS, architecture, variant, in Go's words. */
#ifndef STAGEFS_PLATFORM_H
#define STAGEFS_PLATFORM_H

#include <stagefs/error.h>

struct json_t;

struct sfs_platform {
    char os[32], arch[32], variant[32]; /* variant "": any that the plain architecture can run */
};

/* Reads "OS/ARCH[/VARIANT]", OS or ARCH; NULL: this machine. Names as uname or Debian have them
 * (x86_64, aarch64, armhf, macos) become Go's, and what means the same becomes the same:
 * linux/arm64/v8 is linux/arm64, linux/arm is linux/arm/v7. EINVAL: not of that form. */
int sfs_platform_parse(const char *text, struct sfs_platform *ret_platform, struct sfs_error *err);

/* How well a descriptor's "platform" object suits: 0 exactly, larger is worse, -1 not at all.
 * NULL (the descriptor does not say) is the worst that still suits. */
int sfs_platform_rank(const struct sfs_platform *wanted, const struct json_t *json);

#define SFS_PLATFORM_TEXT 100
/* Writes "OS/ARCH[/VARIANT]" into `text`, and returns it. */
char *sfs_platform_print(const struct sfs_platform *platform, char text[SFS_PLATFORM_TEXT]);
/* The same of a "platform" object; NULL: it holds none. */
char *sfs_platform_print_json(const struct json_t *json, char text[SFS_PLATFORM_TEXT]);

#endif
