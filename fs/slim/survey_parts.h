/* The inside of a survey: each part fills what it is named for. */
#ifndef STAGEFS_SURVEY_PARTS_H
#define STAGEFS_SURVEY_PARTS_H

#include "base/buf.h"
#include "slim/packages.h"
#include <stagefs/survey.h>

struct sfs_survey {
    const struct sfs_tree *tree;
    const struct sfs_progress *progress;
    struct sfs_packages *packages;
    struct sfs_buf paths; /* of the files, NUL-terminated, in their order */
    struct sfs_survey_file *files;
    size_t file_count, file_capacity;
    uint32_t directories;
    size_t base_layers; /* layers below this number are the base's */
    bool has_profile;
    struct sfs_survey_same *same; /* same[].files point into same_files */
    uint32_t *same_files;
    uint32_t same_count;
    struct sfs_survey_search search;
    struct sfs_device_codes codes, own_codes; /* of all files, and without the base's */
    struct sfs_survey_gpu *gpus;
    size_t gpu_count;
    struct {
        uint64_t bytes;
        uint32_t files;
    } symbols; /* and debug information that strip would take; not of the base */
    struct sfs_advice *advice;
    size_t advice_count, advice_capacity;
};

/* sfs_survey_open() for a tree, whose first base_layers layers are the base's. */
int sfs_survey_tree(const struct sfs_tree *tree, size_t base_layers,
                    const struct sfs_survey_spec *spec, const struct sfs_progress *progress,
                    struct sfs_survey **ret_survey, struct sfs_error *err);

/* What the file of that path (beginning with '/') and mode is. */
enum sfs_file_kind sfs_file_kind_of(const char *path, uint32_t mode);

/* Marks what the profiles used. ENOENT, EBADMSG: a profile. ENOMEM. */
int sfs_survey_mark_uses(struct sfs_survey *survey, const struct sfs_survey_spec *spec,
                         struct sfs_error *err);

/* Finds files of equal bytes, reading at most `max_read` bytes. EIO. ENOMEM. */
int sfs_survey_find_same(struct sfs_survey *survey, uint64_t max_read, struct sfs_error *err);

/* Looks into libraries for device code. What is not understood is warned of. EIO. ENOMEM. */
int sfs_survey_find_device_code(struct sfs_survey *survey, struct sfs_error *err);

/* Adds up what strip would take. A file that is broken counts as stripped. EIO. ENOMEM. */
int sfs_survey_find_symbols(struct sfs_survey *survey, struct sfs_error *err);

/* Makes the advice of all the rest. ENOMEM. */
int sfs_survey_advise(struct sfs_survey *survey, const struct sfs_survey_spec *spec,
                      struct sfs_error *err);

#endif
