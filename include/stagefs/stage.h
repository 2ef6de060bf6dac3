/* A stage: a tree plus a config. What is mounted, listed, measured or committed (STAGE in
 * the manual page). */
#ifndef STAGEFS_STAGE_H
#define STAGEFS_STAGE_H

#include <stagefs/image.h>
#include <stagefs/tree.h>

struct sfs_registry_options;
struct sfs_runner;

/* What a stage is opened with. Borrowed until the stage is closed. */
struct sfs_context {
    struct sfs_store *store;
    struct sfs_cache *cache;             /* NULL: names and metadata only */
    const struct sfs_progress *progress; /* may be NULL */
    const char *platform;                /* "OS/ARCH[/VARIANT]"; NULL: the host's */
    int64_t epoch;                       /* seconds: SOURCE_DATE_EPOCH, or now */
    bool strict;                         /* what would be a warning fails */
    bool wants_profiles; /* start profiles beside images are fetched while layers are opened */
    const struct sfs_registry_options *registry; /* NULL: all-zero (stagefs/registry.h) */
    const struct sfs_runner *runner; /* what RUN is done with (stagefs/run.h); NULL: not at all */
};

struct sfs_stage_pair {       /* --copy SRC[:DST]; --build-arg K=V; --build-context NAME=VALUE */
    const char *left, *right; /* right NULL: not given */
};

/* Exactly one of image, dockerfile and from is set. */
struct sfs_stage_spec {
    const char *image; /* a reference: the image itself is the stage */

    const char *dockerfile; /* path, or "-" for standard input */
    const char *target;     /* NULL: the last stage */
    const char *context;    /* directory; NULL: none given */
    const struct sfs_stage_pair *build_args;
    size_t build_arg_count;
    const struct sfs_stage_pair *build_contexts;
    size_t build_context_count;
    const char *const *secrets; /* "id=ID,src=FILE" or "id=ID,env=NAME" */
    size_t secret_count;
    const char *network; /* of RUN: "none", or this machine's */
    bool allow_run;      /* RUN may be executed; else only a kept result of it is used */
    bool no_cache;       /* no kept result is used: RUN is executed anew */

    const char *from;                    /* a reference: the image that is copied from */
    const char *base;                    /* a reference; NULL: an empty base */
    const struct sfs_stage_pair *copies; /* what is copied, and where to */
    size_t copy_count;
    const char *chown, *chmod; /* as COPY has them; NULL: as in the source */
    const char *const *excludes;
    size_t exclude_count;
    bool parents; /* as COPY --parents */
};

struct sfs_stage;
/* Opens what the spec names: an image, one COPY, or a Dockerfile's target. Layers without an index
 * are indexed first, which may take minutes (progress tells); RUN is run by context->runner. The
 * spec is only read during the call; the context is borrowed until the stage is closed. The caller
 * closes *ret_stage.
 * EINVAL: the spec, or the Dockerfile (the words name its line). ENOENT: an image, a file, a stage.
 * EKEYREJECTED: a digest does not hold. ENOTSUP: what stagefs does not do. EIO: a source. */
int sfs_stage_open(const struct sfs_stage_spec *spec, const struct sfs_context *context,
                   struct sfs_stage **ret_stage, struct sfs_error *err);
/* Closes the stage and all that it opened: trees, layers, images. Sets NULL; NULL is fine. */
void sfs_stage_close(struct sfs_stage **stage);

/* The tree that is mounted, listed or committed. This and all below is borrowed from the stage. */
const struct sfs_tree *sfs_stage_tree(const struct sfs_stage *stage);
/* What is below the stage's own layer: the base's tree; an empty tree where there is no base (also
 * for a plain image, which commit writes as one layer). Shares its layers with sfs_stage_tree(). */
const struct sfs_tree *sfs_stage_base_tree(const struct sfs_stage *stage);
/* The image whose layers and history go below the new layer; NULL where there is no base. */
struct sfs_image *sfs_stage_base_image(const struct sfs_stage *stage);
/* Of a plain image as the stage: that image; NULL: the stage is made of several things. */
struct sfs_image *sfs_stage_image(const struct sfs_stage *stage);
/* The image config as it will be written, except rootfs.diff_ids and history's entry for the new
 * layer, which commit adds: {"architecture","os","config":{..},"history":[..base and empty_layer
 * entries..]}. */
const struct json_t *sfs_stage_config(const struct sfs_stage *stage);
/* The date, in seconds, that a Dockerfile's SOURCE_DATE_EPOCH gives to what is built: a build
 * argument, the variable, or the default of a global ARG. False: none, and *ret_epoch is left. */
bool sfs_stage_epoch(const struct sfs_stage *stage, int64_t *ret_epoch);
/* What history says of the stage's own layer (created_by). */
const char *sfs_stage_created_by(const struct sfs_stage *stage);

#endif
