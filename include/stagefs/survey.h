/* Where the bytes of a stage are: each file with its kind, its package, its layer and what a
 * profile used of it; files of equal bytes; and what may be left out. For `du --report`.
 *
 * Immutable once open, so any thread may use it without a lock. What it hands out lives until
 * sfs_survey_close(). */
#ifndef STAGEFS_SURVEY_H
#define STAGEFS_SURVEY_H

#include <stagefs/slim.h>

enum sfs_file_kind { /* what a file is, by its path */
                     SFS_KIND_OTHER,
                     SFS_KIND_PROGRAM,
                     SFS_KIND_SHARED_LIBRARY,
                     SFS_KIND_STATIC_LIBRARY,
                     SFS_KIND_DEVICE_CODE,
                     SFS_KIND_SOURCE,
                     SFS_KIND_BYTECODE,
                     SFS_KIND_HEADER,
                     SFS_KIND_BUILD,
                     SFS_KIND_TESTS,
                     SFS_KIND_DOCUMENTATION,
                     SFS_KIND_TRANSLATIONS,
                     SFS_KIND_DATA,
                     SFS_KIND_CERTIFICATES,
                     SFS_KIND_DATABASE,
                     SFS_KIND_CACHE,
                     SFS_KIND_DEBUG,
                     SFS_KINDS,
};
/* What people call a kind: "shared libraries". */
const char *sfs_file_kind_words(enum sfs_file_kind kind);

enum sfs_survey_use { SFS_UNTOUCHED, SFS_LOOKED_UP, SFS_OPENED, SFS_READ, SFS_SURVEY_USES };
/* What people call a use: "looked up only". */
const char *sfs_survey_use_words(enum sfs_survey_use use);

struct sfs_survey_file {
    const char *path; /* no leading '/' */
    sfs_node node;
    uint64_t bytes;   /* of a regular file, without its holes */
    uint64_t touched; /* of those, what the profiles read */
    uint32_t owner;   /* its package, below the count of owners; SFS_NO_OWNER: none */
    uint16_t layer;   /* which of the tree's layers it comes from */
    uint8_t kind;     /* enum sfs_file_kind */
    uint8_t use;      /* enum sfs_survey_use */
    bool is_base;     /* it is the base's: no option can leave it out */
};
#define SFS_NO_OWNER UINT32_MAX

struct sfs_survey_owner {
    const char *kind; /* "Debian package" */
    const char *name, *version;
};

/* Files of equal bytes; each is another inode. */
struct sfs_survey_same {
    uint64_t bytes;        /* of one of them */
    const uint32_t *files; /* places among the files, ascending */
    uint32_t count;        /* 2 or more */
};

/* What the search for equal bytes came to. */
struct sfs_survey_search {
    uint64_t least;  /* bytes: smaller files were not looked at */
    uint64_t read;   /* bytes that were read */
    uint64_t unread; /* bytes of files of one size that were not, as too much was read already */
    uint32_t unread_files;
};

/* A GPU, by its compute capability, and machine code for GPUs that the stage has on its base. */
struct sfs_survey_gpu {
    unsigned capability;   /* 90 of sm_90 */
    uint64_t runs, others; /* bytes that may run on it, and bytes that only others run */
};

enum sfs_risk { SFS_RISK_LOW, SFS_RISK_MEDIUM, SFS_RISK_HIGH };
/* What may be left out. Several may name the same files. */
struct sfs_advice {
    const char *what; /* "static libraries" */
    enum sfs_risk risk;
    const char *why; /* one sentence: what may break */
    char *option;    /* ready for a shell; "": what to do stands in `why` */
    uint64_t bytes;  /* that this saves, unpacked */
    uint32_t files;
};

/* All-zero: no profile, and the default cap. Borrowed during the call. */
struct sfs_survey_spec {
    const char *const *profiles; /* files of traces */
    size_t profile_count;
    uint64_t max_read; /* bytes that are read to find equal files; 0: 2 GiB */
};

struct sfs_survey;
/* Surveys the stage's tree as it is (narrowed or whole). Reads the databases of packages, and files
 * that may be equal; which waits, and progress tells. The caller closes *ret_survey, before the
 * stage. ENOENT, EBADMSG: a profile. EIO: a layer. ENOMEM. */
int sfs_survey_open(const struct sfs_stage *stage, const struct sfs_survey_spec *spec,
                    const struct sfs_progress *progress, struct sfs_survey **ret_survey,
                    struct sfs_error *err);
/* Frees, and sets NULL; NULL is fine. */
void sfs_survey_close(struct sfs_survey **survey);

/* All files that are no directories, each inode once, in the order of a walk. */
const struct sfs_survey_file *sfs_survey_files(const struct sfs_survey *survey,
                                               uint32_t *ret_count);
/* How many directories the tree has. */
uint32_t sfs_survey_directories(const struct sfs_survey *survey);
/* Was a profile given, so that `use` and `touched` say something? */
bool sfs_survey_has_profile(const struct sfs_survey *survey);
/* The packages. */
uint32_t sfs_survey_owner_count(const struct sfs_survey *survey);
/* Package i, below the count. */
struct sfs_survey_owner sfs_survey_owner(const struct sfs_survey *survey, uint32_t i);
/* Groups of equal files, the most bytes to be saved first. */
const struct sfs_survey_same *sfs_survey_same(const struct sfs_survey *survey, uint32_t *ret_count);
/* How they were looked for. */
const struct sfs_survey_search *sfs_survey_search(const struct sfs_survey *survey);
/* Device code in libraries and programs of the stage. */
const struct sfs_device_codes *sfs_survey_device_codes(const struct sfs_survey *survey);
/* A GPU for each architecture that there is machine code for, ascending. */
const struct sfs_survey_gpu *sfs_survey_gpus(const struct sfs_survey *survey, size_t *ret_count);
/* What may be left out, the most bytes first. */
const struct sfs_advice *sfs_survey_advice(const struct sfs_survey *survey, size_t *ret_count);

#endif
