/* Narrowing a stage to what is needed: names that profiles keep, and device code of the GPUs that
 * there are. What is below the stage (its base) stays as it is. */
#ifndef STAGEFS_SLIM_H
#define STAGEFS_SLIM_H

#include <stagefs/progress.h>
#include <stagefs/stage.h>

enum sfs_trim_policy {
    SFS_TRIM_EXACT,     /* what was used, and what that needs */
    SFS_TRIM_PACKAGE,   /* and the packages of it, whole: of Python, Debian, Alpine, conda */
    SFS_TRIM_DIRECTORY, /* and the files beside it */
};

/* Which PTX stays in a fat binary of which other device code goes. */
enum sfs_ptx_policy {
    SFS_PTX_NEEDED, /* that of GPUs for which no cubin is there */
    SFS_PTX_NEWEST, /* and that for the newest architecture */
    SFS_PTX_ALL,
};

/* All-zero: the stage stays as it is. Borrowed during a call. */
struct sfs_slim_spec {
    const char *const *profiles; /* files of the form of fs/tree/profile.h; none: all names stay */
    size_t profile_count;
    enum sfs_trim_policy policy;
    const char *const *keeps, *const *drops; /* globs of paths, "**" crosses '/'; they win */
    size_t keep_count, drop_count;
    const char *gpu_archs; /* "sm_90,sm_80": whose device code stays; NULL: all of it */
    enum sfs_ptx_policy ptx;
    bool bare_cubins; /* with gpu_archs: cubins that stand without a fat binary go, too */
    bool strip;       /* symbols and debug information that no loader reads go */
};

struct json_t; /* jansson */
struct sfs_slim;
/* Narrows the stage: sfs_stage_tree() is from now on what the spec leaves. Reads files of the stage
 * that tell what others they need. What cannot be understood is kept, and progress->warn is told.
 * The caller closes *ret_slim, before the stage; closing it leaves the stage narrowed. A stage that
 * is narrowed again is narrowed from what it was at first.
 * EINVAL: a glob, or an architecture. EBADMSG: a profile. ENOENT: a profile's file. EIO: a layer.
 */
int sfs_slim_open(struct sfs_stage *stage, const struct sfs_slim_spec *spec,
                  const struct sfs_progress *progress, struct sfs_slim **ret_slim,
                  struct sfs_error *err);
/* Frees, and sets NULL; NULL is fine. */
void sfs_slim_close(struct sfs_slim **slim);

/* The stage's tree before it was narrowed; the stage owns it. */
const struct sfs_tree *sfs_slim_full_tree(const struct sfs_slim *slim);

/* Why a name is kept, the plainest reason first. */
enum sfs_why {
    SFS_WHY_NOT,       /* it is left out */
    SFS_WHY_BASE,      /* the base has it: nothing is written for it */
    SFS_WHY_ALL,       /* no profile was given: whatever is not dropped is kept */
    SFS_WHY_USED,      /* a profile has it */
    SFS_WHY_PATTERN,   /* --keep */
    SFS_WHY_CHANGED,   /* the base has another there, which would be back */
    SFS_WHY_PARENT,    /* a directory on the way to what is kept */
    SFS_WHY_LINK,      /* what a symlink leads to, or a symlink on the way */
    SFS_WHY_LIBRARY,   /* an ELF file needs it */
    SFS_WHY_LOADED,    /* a program or library loads it by name when it needs it */
    SFS_WHY_PROGRAM,   /* the interpreter of a script or program */
    SFS_WHY_PYTHON,    /* Python needs it: source and bytecode, __init__ modules, .pth files */
    SFS_WHY_METADATA,  /* the metadata of a Python distribution of which something is kept */
    SFS_WHY_SYSTEM,    /* what programs take for granted: users, hosts, certificates, locales */
    SFS_WHY_LICENCE,   /* the licence of what is kept */
    SFS_WHY_PACKAGE,   /* --policy package */
    SFS_WHY_DIRECTORY, /* --policy directory */
    SFS_WHY_COUNT,
};
/* A reason in one word: "used", "library". */
const char *sfs_why_word(enum sfs_why why);

/* Why the whole tree's `path` (a name, symlinks not followed; with or without a '/' in front) is
 * kept or left out. *ret_cause, which may be NULL, is what caused it: a path, a glob or a profile's
 * file; NULL where there is none. The caller frees it. ENOENT: the whole tree has no such path.
 * ENOMEM. */
int sfs_slim_why(const struct sfs_slim *slim, const char *path, enum sfs_why *ret_why,
                 char **ret_cause);

/* ---- device code: what GPUs run, inside libraries ---- */

enum sfs_device_kind {
    SFS_DEVICE_CUBIN, /* machine code of one architecture */
    SFS_DEVICE_PTX,   /* text that the driver compiles */
    SFS_DEVICE_OTHER, /* for linking at run time, and what is not understood so far */
    SFS_DEVICE_BARE,  /* machine code without a fat binary around it */
};

/* All device code of one kind and architecture. */
struct sfs_device_code {
    enum sfs_device_kind kind;
    unsigned arch;                     /* 90 of sm_90 */
    char feature;                      /* 'a' or 'f' of sm_90a, sm_100f; else 0 */
    uint64_t entries, bytes;           /* how many there are, and their bytes in the file */
    uint64_t gone_entries, gone_bytes; /* of these: what a narrowed stage has as zeros */
};

struct sfs_device_codes {          /* all-zero is empty */
    struct sfs_device_code *items; /* by kind, arch and feature */
    size_t count, capacity;
};
/* Frees what is in it. Fine on an all-zero struct. */
void sfs_device_codes_done(struct sfs_device_codes *codes);

/* Adds the device code of a regular file of the tree (opened with a cache) to `codes`; a file that
 * has none adds nothing. Reads ELF headers, and the sections that hold device code. EBADMSG: it has
 * some, which is not understood: the words say why, and nothing was added. EIO. ENOMEM. */
int sfs_device_codes_read(const struct sfs_tree *tree, sfs_node node,
                          struct sfs_device_codes *codes, struct sfs_error *err);

/* What sfs_slim_open() found in the files that gpu_archs was applied to; empty without gpu_archs.
 * Lives until the stage is narrowed again, or closed. */
const struct sfs_device_codes *sfs_slim_device_codes(const struct sfs_slim *slim);

/* What `strip` made zeros of: bytes, and libraries and programs that they were in. 0 without it. */
void sfs_slim_stripped(const struct sfs_slim *slim, uint64_t *ret_bytes, uint64_t *ret_files);

/* ---- the GPUs that an image was narrowed to ---- */

/* "sm_80,sm_90", as the image's label io.stagefs.gpu-arch has it; "none" where its base was
 * narrowed to other GPUs than the rest; borrowed from the config. NULL: the image says nothing, and
 * so was not narrowed by stagefs. */
const char *sfs_gpu_archs_of(const struct json_t *config);
/* Was the device code kept that a GPU of this compute capability (90 of 9.0) runs? True too where
 * the image says nothing. */
bool sfs_gpu_arch_is_kept(const struct json_t *config, unsigned capability);
/* The compute capabilities (90 of 9.0) of this machine's NVIDIA GPUs: the first `max` of them.
 * Returns how many were written; 0 too where there is no driver, or it does not answer. Loads the
 * driver's management library, which may take a second. */
size_t sfs_gpu_capabilities(unsigned *capabilities, size_t max);

#endif
