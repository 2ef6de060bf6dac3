/* What stagefs keeps beside an image at its registry: start profiles, and the indexes of its
 * layers, as referrers of the manifest. All of it waits for the network. Errors as
 * sfs_image_open_with(), and as sfs_push() where something is written. */
#ifndef STAGEFS_ARTIFACT_H
#define STAGEFS_ARTIFACT_H

#include <stagefs/image.h>

/* "docker://HOST/NAME[:TAG|@DIGEST]"; of an index the options' platform. The options may name a
 * store: those of this machine who add to one list then take turns. */
struct sfs_artifact_place {
    const char *ref;
    struct sfs_image_options options;
};

struct sfs_profile_note {
    const char *workload; /* what was run; NULL: not told */
    uint64_t runs;        /* how many runs it was merged from; 0: not told */
};
/* Puts a profile beside an image; the text is read from a file, and checked. *ret_digest: of the
 * artifact's manifest. The same twice changes nothing. EBADMSG: the file is no profile. */
int sfs_profile_push(const char *file, const struct sfs_artifact_place *place,
                     const struct sfs_profile_note *note, struct sfs_digest *ret_digest,
                     struct sfs_error *err);

/* A profile that is beside an image; `note` is borrowed for the call. */
struct sfs_profile_item {
    struct sfs_digest digest; /* of the artifact's manifest */
    struct sfs_profile_note note;
};
/* Calls `item` for each profile beside the image. Stops where it returns non-zero, and returns
 * that. */
int sfs_profile_list(const struct sfs_artifact_place *place,
                     int (*item)(void *user, const struct sfs_profile_item *item), void *user,
                     struct sfs_error *err);

/* Merges profiles: files, and for "docker://..." all that are beside that image. What they say
 * together is appended to the file behind `fd`. `options`: of the images. *ret_runs: how many
 * profiles there were. ENOENT: there was none. */
int sfs_profile_merge_all(const char *const *names, size_t count,
                          const struct sfs_image_options *options, int fd, uint64_t *ret_runs,
                          struct sfs_error *err);

/* Reads the start profiles beside an image that was opened at a registry, the latest ones if there
 * are many, and appends what they say together to the file behind `fd`. What is no profile is left
 * out. *ret_count: how many there were; of an image from elsewhere 0. Asks for nothing that is kept
 * since the last time. */
int sfs_profile_find_beside(struct sfs_image *image, int fd, uint64_t *ret_count,
                            struct sfs_error *err);

struct sfs_index_push_result {
    struct sfs_digest artifact; /* its manifest's */
    uint64_t layers;            /* how many indexes were put there */
    /* How many layers have none there: those that bring a table of contents themselves, and those
     * that cannot be entered in the middle. */
    uint64_t left_out;
    uint64_t size; /* bytes of the indexes as they are sent */
};
/* Puts the indexes of the image's layers, which have been opened before (so the store has them),
 * beside the image at the place, which has to be the same. Reads every layer once. EINVAL: another
 * image is there. EKEYREJECTED: a layer does not hold its digest. ENOENT: there is nothing to put
 * there. */
int sfs_index_push(struct sfs_image *image, struct sfs_store *store,
                   const struct sfs_artifact_place *place, struct sfs_index_push_result *ret_result,
                   struct sfs_error *err);

#endif
