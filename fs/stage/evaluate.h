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

/* A stage of the Dockerfile: one FROM and what follows it. */
struct eval_stage {
    const struct sfs_instruction *from;
    const struct sfs_instruction *instructions; /* what follows it */
    size_t count;                               /* how many those are */
    size_t index;                               /* the stage's number in the file, from 0 */
    char *base;                                 /* FROM's image or stage, expanded */
    char *name;                                 /* lower case; NULL: none */
    char *platform;                             /* of --platform; NULL: the context's */
    struct eval_stage *parent;             /* the earlier stage that it is FROM; NULL: an image */
    const struct sfs_stage_pair *replaced; /* the build context that replaces it; NULL: none */

    enum eval_state state;
    struct stage_stack stack;
    json_t *config;       /* of the image to be; its "config" is always an object */
    struct sfs_vars env;  /* what words are expanded with, and what RUN sees */
    struct sfs_vars args; /* the names of ARGs in order, with their values: RUN's history */
    bool has_cmd;         /* this stage has had a CMD */
    struct sfs_image *base_image;
    const struct sfs_tree *base_tree; /* NULL: there is nothing below */
    struct sfs_buf created_by;        /* of the layers made so far, joined */
    bool unkeyed; /* it holds the result of a RUN that is not kept: no later RUN can be kept */
};

/* What a name stands for: an image, a directory, or nothing (scratch). */
struct eval_source {
    const struct sfs_tree *tree;
    const struct stage_image *image; /* NULL: it is no image */
    struct sfs_layer *layer;         /* the layer of a directory; NULL: it is none */
};

/* A directory used as a context. */
struct eval_directory {
    const char *path;
    struct eval_source source;
};

/* A digest that was computed of a layer which has none of its own. */
struct eval_identity {
    const struct sfs_layer *layer;
    struct sfs_digest digest;
};

struct eval {
    const struct sfs_stage_spec *spec;
    struct sfs_stage *stage;
    const char *file; /* the Dockerfile's path, for messages */
    struct sfs_dockerfile dockerfile;
    struct sfs_vars build_args; /* --build-arg */
    struct sfs_vars unused;     /* the build arguments that no ARG has asked for */
    struct sfs_vars globals;    /* the scope before the first FROM */
    struct eval_stage *stages;
    size_t count;
    struct eval_stage *target; /* the one that is wanted */
    struct eval_directory *directories;
    size_t directory_count;
    struct eval_identity *identities;
    size_t identity_count;
    struct sfs_vars texts; /* strings kept until the end */
    bool located;          /* the words of the failure name their line */
    struct sfs_error *err;
};

/* ---- evaluate.c ---- */

/* Keeps a heap string until the build ends; frees it on failure. A `text` of NULL fails with
 * ENOMEM.
 */
int sfs_eval_keep(struct eval *eval, char *text, const char **ret_text);
/* Puts "FILE:LINE: COPY: " in front of the words of a failure, unless that was done. Returns r. */
int sfs_eval_fail_at(struct eval *eval, int r, const struct sfs_instruction *instruction);
/* Expands one word with the stage's variables; *ret_text is kept until the build ends. */
int sfs_eval_expand(struct eval *eval, const struct eval_stage *stage, const char *word,
                    const char **ret_text);
/* Sets a variable of a scope. E2BIG: it has too many. */
int sfs_eval_set(struct eval *eval, struct sfs_vars *vars, const char *name, const char *value);
/* Tells progress->warn one sentence, and returns 0; with --strict it is a failure instead. `code`
 * as for sfs_fail(). */
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
/* Opens a build context: an image or a directory. platform NULL: the context's. */
int sfs_eval_open_context(struct eval *eval, const struct sfs_stage_pair *pair,
                          const char *platform, struct eval_source *ret_source);
/* Begins a stage: its base, config and environment. */
int sfs_eval_begin(struct eval *eval, struct eval_stage *stage);
/* The last stage of that name or number; NULL: there is none. EINVAL: a number without a stage. */
int sfs_eval_find_stage(const struct eval *eval, const char *name, struct eval_stage **ret_stage);
/* The name of a stage that may have been meant by one that is wrong; NULL: none is near. */
const char *sfs_eval_suggest_stage(const struct eval *eval, const char *name);
/* Opens what --from=NAME or from=NAME leads to in a stage; a stage of that name is evaluated. */
int sfs_eval_open_from(struct eval *eval, const struct eval_stage *stage, const char *name,
                       const struct sfs_tree **ret_tree);
/* The next name that an instruction takes files from: --from of a COPY, each from= of a RUN's
 * mounts. *at starts at 0 and is moved on; *scratch starts as NULL, and the caller frees it at the
 * end. NULL: no more. */
const char *sfs_eval_next_from(const struct sfs_instruction *instruction, size_t *at,
                               char **scratch);

/* ---- evaluate_context.c ---- */

/* Opens a directory as a context: its files are root's, and those that its ignore file leaves out
 * are not there. ignore: a file that, if it exists, is read instead of DIR/.dockerignore; may be
 * NULL. Waits for the disk. */
int sfs_eval_open_directory(struct eval *eval, const char *path, const char *ignore,
                            struct eval_source *ret_source);
/* Opens the build context itself, once a build. */
int sfs_eval_open_main_context(struct eval *eval, const struct sfs_tree **ret_tree);

/* ---- evaluate_config.c ---- */

/* The object "config" of the stage's config; borrowed. */
json_t *sfs_eval_settings(const struct eval_stage *stage);
/* Makes a JSON string of bytes that need not be UTF-8. The caller json_decref()s it. NULL: out of
 * memory. */
json_t *sfs_eval_text(const char *text);
/* Adds an entry to the history, in BuildKit's words. `layer`: the instruction made a layer. */
int sfs_eval_history(struct eval *eval, struct eval_stage *stage, bool layer, const char *format,
                     ...) __attribute__((format(printf, 4, 5)));
/* Does an ENV. */
int sfs_eval_env(struct eval *eval, struct eval_stage *stage,
                 const struct sfs_instruction *instruction);
/* Does an ARG. */
int sfs_eval_arg(struct eval *eval, struct eval_stage *stage,
                 const struct sfs_instruction *instruction);
/* Does one of those that change nothing but the config: CMD, ENTRYPOINT, EXPOSE, HEALTHCHECK,
 * LABEL, MAINTAINER, ONBUILD, SHELL, STOPSIGNAL, USER, VOLUME. */
int sfs_eval_config(struct eval *eval, struct eval_stage *stage,
                    const struct sfs_instruction *instruction, enum sfs_keyword keyword);
/* The arguments of CMD, ENTRYPOINT or RUN as a JSON array, which the caller json_decref()s; those
 * of the shell form have the shell in front. `text` replaces the argument that is written; may be
 * NULL.
 */
int sfs_eval_command(struct eval *eval, const struct eval_stage *stage,
                     const struct sfs_instruction *instruction, const char *text,
                     json_t **ret_args);

/* ---- evaluate_copy.c, evaluate_add.c ---- */

/* Does a COPY or ADD. */
int sfs_eval_copy(struct eval *eval, struct eval_stage *stage,
                  const struct sfs_instruction *instruction);
/* The body of a heredoc, with its tabs taken off and, if `expand`, its variables expanded;
 * *ret_text is kept until the build ends. */
int sfs_eval_heredoc(struct eval *eval, const struct eval_stage *stage,
                     const struct sfs_heredoc *heredoc, bool expand, const char **ret_text);
/* Adds the words of an instruction, and behind them its heredocs as they stand in the file. The
 * caller checks `text`. */
void sfs_eval_add_heredocs(const struct sfs_instruction *instruction, const char *words,
                           struct sfs_buf *text);
/* Does a WORKDIR. */
int sfs_eval_workdir(struct eval *eval, struct eval_stage *stage,
                     const struct sfs_instruction *instruction);
/* An ADD of one file that may be a tar. */
struct eval_unpack {
    const struct sfs_tree *source;
    sfs_node node;               /* the file, in `source` */
    const struct sfs_tree *tree; /* the stage's */
    const char *destination;     /* a path in it */
    const char *label;           /* what messages call the new layer */
    bool has_owner;              /* uid and gid replace the tar's */
    uint32_t uid, gid;
    int64_t epoch;                       /* seconds: the time of directories that are made */
    const struct sfs_progress *progress; /* for warn(); may be NULL */
};
/* Makes a layer of the tar's content, to lie on the stage's tree; the caller closes it. Waits: all
 * is unpacked to a temporary file. 1: done; 0: the file is no tar. */
int sfs_eval_unpack_layer(const struct eval_unpack *unpack, struct sfs_layer **ret_layer,
                          struct sfs_error *err);
/* Finds where `path` leads in a tree, with symlinks followed, also one whose target does not exist
 * yet. *ret_path begins with '/', and the caller frees it. ENOTDIR, ELOOP. */
int sfs_eval_real_path(const struct sfs_tree *tree, const char *path, char **ret_path,
                       struct sfs_error *err);
/* Adds the directories that `path` (as of sfs_eval_real_path()) lacks to a builder, each with that
 * inode. *ret_made: there were any. */
int sfs_eval_make_dirs(const struct sfs_tree *tree, struct sfs_builder *builder, const char *path,
                       const struct sfs_inode_rec *inode, bool *ret_made, struct sfs_error *err);

/* ---- evaluate_run.c ---- */

/* Does a RUN: takes a kept result, or runs the command and waits for it. */
int sfs_eval_run(struct eval *eval, struct eval_stage *stage,
                 const struct sfs_instruction *instruction);

#endif
