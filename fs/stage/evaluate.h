/* Evaluating a Dockerfile: what its files share. One build has the file's stages; a stage is
 * evaluated when something needs it (the target, a FROM, a COPY --from, a RUN --mount), so stages
 * that nobody needs cost nothing.
 *
 * Everything lives as long as the call of sfs_stage_open_dockerfile(), but what was given to the
 * sfs_stage: images, layers, trees. */
#ifndef STAGEFS_EVALUATE_H
#define STAGEFS_EVALUATE_H

#include "base/buf.h"
#include "dockerfile/instruction.h"
#include "stage/stage_private.h"

enum eval_state { EVAL_WAITING, EVAL_GOING, EVAL_DONE };

struct eval_stage { /* one FROM and what follows it */
    const struct sfs_instruction *from;
    const struct sfs_instruction *instructions;
    size_t count;
    size_t index;
    char *base;                            /* FROM's image or stage, expanded */
    char *name;                            /* lower case; NULL: none */
    char *platform;                        /* of --platform; NULL: the context's */
    struct eval_stage *parent;             /* the earlier stage that it is FROM; NULL: an image */
    const struct sfs_stage_pair *replaced; /* by this build context */

    enum eval_state state;
    struct stage_stack stack;
    json_t *config;       /* of the image to be; its "config" is always an object */
    struct sfs_vars env;  /* what words are expanded with, and what RUN sees */
    struct sfs_vars args; /* the names of ARGs in order, with their values: RUN's history */
    bool has_cmd;         /* this stage has had a CMD */
    struct sfs_image *base_image;
    const struct sfs_tree *base_tree; /* NULL: nothing */
    struct sfs_buf created_by;        /* of the layers made so far, joined */
    bool unkeyed; /* it holds the result of a RUN that is not kept: nothing on it can be */
};

/* What a name stands for: an image, a directory, or nothing (scratch). */
struct eval_source {
    const struct sfs_tree *tree;
    const struct stage_image *image; /* or NULL */
    struct sfs_layer *layer;         /* of a directory; or NULL */
};

/* A directory used as a context. */
struct eval_directory {
    const char *path;
    struct eval_source source;
};

/* What a layer without a digest of its own is, found by reading it. */
struct eval_identity {
    const struct sfs_layer *layer;
    struct sfs_digest digest;
};

struct eval {
    const struct sfs_stage_spec *spec;
    struct sfs_stage *stage;
    const char *file;
    struct sfs_dockerfile dockerfile;
    struct sfs_vars build_args; /* --build-arg */
    struct sfs_vars unused;     /* those that no ARG has asked for */
    struct sfs_vars globals;    /* the scope before the first FROM */
    struct eval_stage *stages;
    size_t count;
    struct eval_directory *directories;
    size_t directory_count;
    struct eval_identity *identities;
    size_t identity_count;
    struct sfs_vars texts; /* strings kept until the end */
    bool located;          /* the words of the failure name their line */
    struct sfs_error *err;
};

/* ---- evaluate.c ---- */

/* Keeps a heap string until the build ends; NULL is out of memory. */
int sfs_eval_keep(struct eval *eval, char *text, const char **ret_text);
/* "FILE:LINE: COPY: " in front of the words, once. */
int sfs_eval_fail_at(struct eval *eval, int r, const struct sfs_instruction *instruction);
/* One word, with the stage's variables; kept until the build ends. */
int sfs_eval_expand(struct eval *eval, const struct eval_stage *stage, const char *word,
                    const char **ret_text);
/* One sentence for progress->warn; with --strict it is a failure. `code` as for sfs_fail(). */
int sfs_eval_let_pass(const struct eval *eval, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* ---- evaluate_stage.c ---- */

/* Evaluates a stage, and those that it is FROM, unless that was done. */
int sfs_eval_evaluate(struct eval *eval, struct eval_stage *stage);
/* Does one instruction to the stage. */
int sfs_eval_do(struct eval *eval, struct eval_stage *stage,
                const struct sfs_instruction *instruction);

/* ---- evaluate_from.c ---- */

/* The build context of that name, the last one given; NULL: none. */
const struct sfs_stage_pair *sfs_eval_find_context(const struct eval *eval, const char *name);
int sfs_eval_open_context(struct eval *eval, const struct sfs_stage_pair *pair,
                          const char *platform, struct eval_source *ret_source);
/* Begins a stage: its base, config and environment. */
int sfs_eval_begin(struct eval *eval, struct eval_stage *stage);
/* The last stage of that name or number; NULL: there is none. EINVAL: a number without a stage. */
int sfs_eval_find_stage(const struct eval *eval, const char *name, struct eval_stage **ret_stage);
/* What --from=NAME or from=NAME of a stage leads to; evaluates it. */
int sfs_eval_open_from(struct eval *eval, const struct eval_stage *stage, const char *name,
                       const struct sfs_tree **ret_tree);
/* --from of a COPY, and each from= of a RUN's mounts; NULL: no more. */
const char *sfs_eval_next_from(const struct sfs_instruction *instruction, size_t *at,
                               char **scratch);

/* ---- evaluate_context.c ---- */

/* The files of a directory without what its ignore file leaves out, owned by root. ignore: a file
 * to read instead of DIR/.dockerignore if it exists; may be NULL. */
int sfs_eval_open_directory(struct eval *eval, const char *path, const char *ignore,
                            struct eval_source *ret_source);
/* The build context. */
int sfs_eval_open_main_context(struct eval *eval, const struct sfs_tree **ret_tree);

/* ---- evaluate_config.c ---- */

/* The "config" of the stage's config. */
json_t *sfs_eval_settings(const struct eval_stage *stage);
/* A JSON string of bytes that need not be UTF-8. NULL: out of memory. */
json_t *sfs_eval_text(const char *text);
/* Appends to the history: as BuildKit words it. `layer`: it made a layer. */
int sfs_eval_history(struct eval *eval, struct eval_stage *stage, bool layer, const char *format,
                     ...) __attribute__((format(printf, 4, 5)));
int sfs_eval_env(struct eval *eval, struct eval_stage *stage,
                 const struct sfs_instruction *instruction);
int sfs_eval_arg(struct eval *eval, struct eval_stage *stage,
                 const struct sfs_instruction *instruction);
/* CMD, ENTRYPOINT, EXPOSE, HEALTHCHECK, LABEL, MAINTAINER, ONBUILD, SHELL, STOPSIGNAL, USER,
 * VOLUME: those that change nothing but the config. */
int sfs_eval_config(struct eval *eval, struct eval_stage *stage,
                    const struct sfs_instruction *instruction, enum sfs_keyword keyword);
/* The arguments of CMD, ENTRYPOINT or RUN as a JSON array, the shell in front where it is one.
 * `text`: stands for the argument; NULL: what is written. */
int sfs_eval_command(struct eval *eval, const struct eval_stage *stage,
                     const struct sfs_instruction *instruction, const char *text,
                     json_t **ret_args);

/* ---- evaluate_copy.c, evaluate_add.c ---- */

int sfs_eval_copy(struct eval *eval, struct eval_stage *stage,
                  const struct sfs_instruction *instruction);
/* The body of a heredoc, its tabs and variables done; kept until the build ends. */
int sfs_eval_heredoc(struct eval *eval, const struct eval_stage *stage,
                     const struct sfs_heredoc *heredoc, bool expand, const char **ret_text);
int sfs_eval_workdir(struct eval *eval, struct eval_stage *stage,
                     const struct sfs_instruction *instruction);
/* A file of a tree that is a tar of some kind: makes *ret_layer of its content, to lie on
 * `destination` (a path in the stage's tree). 1: done; 0: it is no tar. */
struct eval_unpack {
    const struct sfs_tree *source;
    sfs_node node;
    const struct sfs_tree *tree;
    const char *destination;
    const char *label;
    bool has_owner;
    uint32_t uid, gid;
    int64_t epoch;
};
int sfs_eval_unpack_layer(const struct eval_unpack *unpack, struct sfs_layer **ret_layer,
                          struct sfs_error *err);
/* Where `path` leads in a tree, symlinks followed, also one whose target is still to be made.
 * Begins with '/'. The caller frees. ENOTDIR, ELOOP. */
int sfs_eval_real_path(const struct sfs_tree *tree, const char *path, char **ret_path,
                       struct sfs_error *err);
/* Directories that `path` (real) lacks, into a builder. */
int sfs_eval_make_dirs(const struct sfs_tree *tree, struct sfs_builder *builder, const char *path,
                       const struct sfs_inode_rec *inode, bool *ret_made, struct sfs_error *err);

/* ---- evaluate_run.c ---- */

int sfs_eval_run(struct eval *eval, struct eval_stage *stage,
                 const struct sfs_instruction *instruction);

#endif
