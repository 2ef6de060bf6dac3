/* sfs_commit(): reads what is wanted, before anything is written, and has the destination's
 * transport write it. */
#include "commit/commit_parts.h"

#include "commit/config_edit.h"
#include <errno.h>

static void commit_done(struct commit *commit)
{
    free(commit->layers);
    sfs_json_close(&commit->kept);
    sfs_index_parts_done(&commit->indexes);
    sfs_json_close(&commit->config);
    sfs_json_close(&commit->annotations);
    sfs_tree_close(&commit->nothing);
    sfs_target_close(&commit->target);
    sfs_reference_done(&commit->destination);
    sfs_profile_done(&commit->profile);
}

/* Refuses a codec that the destination's readers do not know: docker's archives are read by
 * programs that know gzip at most. */
static int check_codecs(struct commit *commit, struct sfs_error *err)
{
    unsigned known = commit->kind->codecs;
    enum sfs_codec codec = commit->plan.codec;
    if (!(known >> codec & 1))
        return sfs_fail(err, EINVAL, "%s holds no %s: use --compression gzip, or oci-archive:",
                        commit->kind->what, sfs_codec_name(codec));
    for (size_t i = 0; i < commit->base_count; i++) {
        codec = sfs_image_layer(commit->base_image, i)->codec;
        if (!(known >> codec & 1))
            return sfs_fail(err, ENOTSUP,
                            "%s holds no %s, and layer %zu of the base is compressed with it: use "
                            "oci-archive:, or --squash",
                            commit->kind->what, sfs_codec_name(codec), i);
    }
    return 0;
}

/* Chooses what the new layer goes on: nothing for --squash, and where there is no base image. */
static int choose_base(struct commit *commit, struct sfs_error *err)
{
    int r = sfs_tree_merge(NULL, 0, &commit->nothing, err);
    if (r < 0)
        return r;
    commit->base = commit->nothing;
    commit->base_image = NULL;
    if (!commit->options->squash && sfs_stage_base_image(commit->stage)) {
        commit->base_image = sfs_stage_base_image(commit->stage);
        commit->base = sfs_stage_base_tree(commit->stage);
        commit->base_count = sfs_image_layer_count(commit->base_image);
    }
    commit->layers = calloc(commit->base_count + 1, sizeof *commit->layers);
    return commit->layers ? 0 : sfs_fail_memory(err);
}

/* Edits config and annotations. It is done before anything is read, so that a wrong option costs no
 * time. */
static int edit_config(struct commit *commit, struct sfs_error *err)
{
    const struct sfs_commit_options *options = commit->options;
    commit->config = json_deep_copy(sfs_stage_config(commit->stage));
    commit->annotations = json_object();
    commit->kept = json_array();
    if (!commit->kept || !commit->config || !commit->annotations)
        return sfs_fail_memory(err);
    return sfs_config_edit(commit->config, commit->annotations, options->edits, options->edit_count,
                           err);
}

static int read_profiles(struct commit *commit, struct sfs_error *err)
{
    const struct sfs_commit_options *options = commit->options;
    int r = 0;
    for (size_t i = 0; i < options->profile_count && r == 0; i++)
        r = sfs_profile_read(&commit->profile, options->profiles[i], err);
    return r;
}

/* ---- destinations ---- */

#define ALL_CODECS   (~0u)
#define DOCKER_KNOWS (1u << SFS_CODEC_NONE | 1u << SFS_CODEC_GZIP)

/* How each transport is read stands in image/image.c, how it is spelt in image/reference.c. */
static const struct destination destinations[SFS_TRANSPORTS] = {
    [SFS_TRANSPORT_OCI] = { sfs_commit_write_image, sfs_target_open_layout, ALL_CODECS },
    [SFS_TRANSPORT_OCI_ARCHIVE] = { sfs_commit_write_image, sfs_target_open_archive, ALL_CODECS },
    [SFS_TRANSPORT_DOCKER_ARCHIVE] = { sfs_commit_write_image, sfs_target_open_archive,
                                       DOCKER_KNOWS, "a docker-archive" },
    [SFS_TRANSPORT_STORAGE] = { sfs_commit_write_image, sfs_target_open_storage, ALL_CODECS },
    [SFS_TRANSPORT_DOCKER] = { sfs_commit_write_image, sfs_target_open_registry, ALL_CODECS },
    [SFS_TRANSPORT_DIR] = { .write = sfs_commit_write_files, .codecs = ALL_CODECS },
    [SFS_TRANSPORT_TAR] = { .write = sfs_commit_write_tar, .codecs = ALL_CODECS },
};

static int parse_destination(struct commit *commit, struct sfs_error *err)
{
    const char *text = commit->options->destination;
    bool is_told = sfs_reference_has_transport(text) || strcmp(text, "-") == 0;
    if (!is_told && !sfs_reference_meant(text))
        return sfs_fail(
            err, EINVAL,
            "'%.200s' does not say where to write: oci:DIR[:TAG], "
            "oci-archive:FILE[:TAG], docker-archive:FILE[:NAME:TAG], "
            "containers-storage:NAME[:TAG], docker://HOST/NAME[:TAG], dir:DIR, or - for a tar",
            text);
    int r = sfs_reference_parse(text, &commit->destination, err);
    if (r < 0)
        return r;
    commit->kind = &destinations[commit->destination.transport];
    if (!commit->kind->write)
        return sfs_fail(err, EINVAL,
                        "'%.300s' is not written to: commit to oci:DIR:TAG, then skopeo copy "
                        "oci:DIR:TAG %.300s",
                        text, text);
    if (commit->options->index && commit->destination.transport != SFS_TRANSPORT_DOCKER)
        return sfs_fail(err, EINVAL,
                        "--index: only a registry (docker://HOST/NAME:TAG) has a place beside an "
                        "image, not '%.300s'",
                        text);
    if (commit->destination.has_digest)
        return sfs_fail(err, EINVAL,
                        "'%.300s': name a tag, the digest comes out of what is written", text);
    if (commit->destination.has_position)
        return sfs_fail(err, EINVAL, "'%.300s': give a name, @N counts images that are there",
                        text);
    return 0;
}

int sfs_commit(const struct sfs_stage *stage, const struct sfs_commit_options *options,
               struct sfs_commit_result *ret_result, struct sfs_error *err)
{
    static int (*const steps[])(struct commit *, struct sfs_error *) = {
        parse_destination, read_profiles, choose_base, edit_config, check_codecs,
    };
    AUTO(commit_done) struct commit commit = { .stage = stage, .options = options };
    int r = sfs_compress_plan(options->compression, options->level, &commit.plan, err);
    for (size_t i = 0; r == 0 && i < sizeof steps / sizeof *steps; i++)
        r = steps[i](&commit, err);
    if (r == 0)
        r = commit.kind->write(&commit, err);
    if (r < 0)
        return r;
    *ret_result = commit.result;
    return 0;
}
