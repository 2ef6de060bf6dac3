/* A Dockerfile as instructions: the lexical layer, as BuildKit's frontend/dockerfile/parser has it.
 * Nothing is expanded here, and nothing judged but what BuildKit's parser judges.
 *
 * Owned by struct sfs_dockerfile; immutable once parsed. */
#ifndef STAGEFS_DOCKERFILE_H
#define STAGEFS_DOCKERFILE_H

#include "dockerfile/expand.h"

struct sfs_heredoc {
    char *name;    /* the delimiter, unquoted; COPY's file name */
    char *content; /* as written, line ends included; with `chomp`, leading tabs are still there */
    unsigned fd;   /* digits before "<<"; 0 if none */
    bool expand;   /* the delimiter was not quoted */
    bool chomp;    /* "<<-" */
};

struct sfs_instruction {
    char *keyword;            /* lower case */
    char *original;           /* the logical line, continuation joined */
    unsigned line, last_line; /* physical, from 1 */
    struct sfs_vars flags;    /* "--chown=x", quotes resolved */
    /* The arguments, by the instruction's own shape; those of ENV and LABEL are threes: key, value,
     * and "=", or "" for the old form. */
    struct sfs_vars args;
    bool json; /* args came as a JSON array */
    struct sfs_heredoc *heredocs;
    size_t heredoc_count;
    struct sfs_instruction *child; /* of ONBUILD: the instruction behind it; else NULL */
};

struct sfs_dockerfile {
    struct sfs_instruction *instructions;
    size_t count;
    char escape; /* '\\' or '`' */
};

/* Parses `size` bytes of text. `name` (the file's path) stands in messages: "NAME:LINE: ...". The
 * caller closes *ret_dockerfile. EINVAL: malformed. */
int sfs_dockerfile_parse(const char *text, size_t size, const char *name,
                         struct sfs_dockerfile *ret_dockerfile, struct sfs_error *err);
/* Frees what is in it. Fine on an all-zero struct. */
void sfs_dockerfile_close(struct sfs_dockerfile *dockerfile);

/* Parses one logical line, as in the ONBUILD triggers that an image brings. The caller closes
 * *ret_instruction. EINVAL: malformed. */
int sfs_instruction_parse(const char *line, char escape, struct sfs_instruction *ret_instruction,
                          struct sfs_error *err);
/* Frees what is in it. Fine on an all-zero struct. */
void sfs_instruction_close(struct sfs_instruction *instruction);

/* Reads a heredoc's start, such as "<<EOF" or "3<<-'EOF'". 1: done, and the caller closes
 * *ret_heredoc; 0: it is none; else a negative errno. */
int sfs_heredoc_parse(const char *word, struct sfs_heredoc *ret_heredoc, struct sfs_error *err);
/* Frees what is in it. Fine on an all-zero struct. */
void sfs_heredoc_close(struct sfs_heredoc *heredoc);

#endif
