/* Instructions checked: known keywords, their flags, how many arguments they take. Done once for
 * the whole file, also for stages that nobody needs, as BuildKit's frontend/dockerfile/instructions
 * does; afterwards an instruction is trusted. */
#ifndef STAGEFS_INSTRUCTION_H
#define STAGEFS_INSTRUCTION_H

#include "dockerfile/dockerfile.h"
#include <stdint.h>

enum sfs_keyword {
    SFS_KEYWORD_ADD,
    SFS_KEYWORD_ARG,
    SFS_KEYWORD_CMD,
    SFS_KEYWORD_COPY,
    SFS_KEYWORD_ENTRYPOINT,
    SFS_KEYWORD_ENV,
    SFS_KEYWORD_EXPOSE,
    SFS_KEYWORD_FROM,
    SFS_KEYWORD_HEALTHCHECK,
    SFS_KEYWORD_LABEL,
    SFS_KEYWORD_MAINTAINER,
    SFS_KEYWORD_ONBUILD,
    SFS_KEYWORD_RUN,
    SFS_KEYWORD_SHELL,
    SFS_KEYWORD_STOPSIGNAL,
    SFS_KEYWORD_USER,
    SFS_KEYWORD_VOLUME,
    SFS_KEYWORD_WORKDIR,
    SFS_KEYWORD_COUNT,
};

/* Checks one instruction. EINVAL: an unknown instruction or flag (the words suggest one), or wrong
 * arguments. */
int sfs_instruction_check(const struct sfs_instruction *instruction, struct sfs_error *err);
/* Which instruction it is; SFS_KEYWORD_COUNT: an unknown one, which no checked instruction is. */
enum sfs_keyword sfs_instruction_keyword(const struct sfs_instruction *instruction);
#define SFS_KEYWORD_TEXT 40
/* The instruction's name, such as "COPY"; of an unknown one what was written, in capitals. Fills
 * and returns `text`. */
char *sfs_instruction_name(const struct sfs_instruction *instruction, char text[SFS_KEYWORD_TEXT]);

/* The value behind "--name=", borrowed; NULL: not given. */
const char *sfs_flag_text(const struct sfs_instruction *instruction, const char *name);
/* The same of a flag that may be repeated: the next value from *at on, which starts at 0 and is
 * moved on. NULL: no more. */
const char *sfs_flag_next(const struct sfs_instruction *instruction, const char *name, size_t *at);
/* Is the flag given, with any value but "false"? */
bool sfs_flag_is_true(const struct sfs_instruction *instruction, const char *name);

/* The name behind AS of a FROM, in lower case, which the caller frees; NULL: there is none. 0 or
 * -ENOMEM. */
int sfs_from_name(const struct sfs_instruction *from, char **ret_name);

/* Reads a duration of HEALTHCHECK, as Go writes it ("1h2m3.5s"), in nanoseconds. EINVAL:
 * malformed. */
int sfs_duration_parse(const char *text, int64_t *ret_ns, struct sfs_error *err);

#endif
