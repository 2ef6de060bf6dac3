/* Caps on what an image may ask for. Every count from outside is compared with one of these. */
#ifndef STAGEFS_LIMITS_H
#define STAGEFS_LIMITS_H

#define SFS_MAX_JSON      (64u << 20)  /* bytes of a manifest, index or config */
#define SFS_MAX_LAYERS    1024u        /* layers of one image, or of one stage with its base's */
#define SFS_MAX_ENTRIES   (64u << 20)  /* names in one layer */
#define SFS_MAX_STRINGS   (3u << 30)   /* bytes of names and link targets of one layer */
#define SFS_MAX_NAME      255u         /* bytes of one path component, as the kernel has it */
#define SFS_MAX_PATH      (64u << 10)  /* bytes of a path inside an image */
#define SFS_MAX_SYMLINK   4095u        /* bytes of a link target that the kernel will follow */
#define SFS_MAX_LINK_HOPS 40           /* symlinks followed in one resolution */
#define SFS_MAX_DEPTH     2048u        /* nesting of directories */
#define SFS_MAX_XATTR     (64u << 10)  /* bytes of one value, as the kernel has it */
#define SFS_MAX_XATTRS    (1u << 20)   /* bytes of all extended attributes of one file */
#define SFS_MAX_TAR_TEXT  (1u << 20)   /* bytes of a pax header or long name, as Go has it */
#define SFS_MAX_EXTENTS   (1u << 20)   /* runs of bytes in a sparse file of a tar */
#define SFS_MAX_TOC       (150u << 20) /* bytes of a table of contents that an image brings */
#define SFS_MAX_TAR_SPLIT (4ull << 30) /* bytes of what is beside a store's layer, decoded */
#define SFS_MAX_EXPANDED  (1u << 20)   /* bytes of a Dockerfile's word with its variables put in */
#define SFS_MAX_FATBINS   (1u << 20)   /* pieces of device code in one library */

/* What is kept of them in the cache directory. */
#define SFS_MAX_FINDINGS     (64u << 20)    /* bytes for the libraries of one blob */
#define SFS_MAX_ALL_FINDINGS (256ull << 20) /* bytes of all of them */
/* The index of a layer that another machine sent. */
#define SFS_MAX_SENT_HEAD    (64u << 20)    /* bytes without its windows, compressed */
#define SFS_MAX_SENT_INDEX   (512ull << 20) /* the same, unpacked */
#define SFS_MAX_SENT_WINDOWS (2ull << 30)   /* bytes of the windows */
/* SOCI's table of a layer: 8 MiB for each GiB of the tar, and some hundred bytes a file. */
#define SFS_MAX_ZTOC         (256u << 20) /* bytes */
#define SFS_MAX_ZTOC_MEMBERS (4u << 20)   /* members of the tar that it tells of */
/* A pack of a start (mount/pack.h). */
#define SFS_MAX_PACK        (2ull << 30) /* bytes */
#define SFS_MAX_PACK_PIECES (256u << 10) /* pieces, and files */

/* What is read to learn which package a file belongs to; what is above is not looked at. */
#define SFS_MAX_PACKAGES      (64u << 10)    /* packages of one tree */
#define SFS_MAX_PACKAGE_FILE  (64u << 20)    /* bytes of one list of files */
#define SFS_MAX_PACKAGE_FILES (512ull << 20) /* bytes of all of them */
#define SFS_MAX_PACKAGE_NAMES (16u << 20)    /* paths that they name, together */
#define SFS_MAX_REQUIRED      (256u << 10)   /* packages that may be what another requires */
#define SFS_MAX_REQUIREMENTS  (256ull << 20) /* bytes of what they require, read again or not */
#define SFS_MAX_EXTRAS        4096u          /* extras of packages that are asked for, together */
#define SFS_MAX_PACKAGE_NAME  255u /* bytes of a package's name or version; the rest is cut */

/* What files may say that they need, where a stage is trimmed. */
#define SFS_MAX_NEEDED   1024u       /* libraries that one ELF file names */
#define SFS_MAX_PTH      (1u << 20)  /* bytes of a .pth file of Python, or of an ld.so.conf */
#define SFS_MAX_LD_CACHE (16u << 20) /* bytes of an ld.so.cache */
#define SFS_MAX_LIB_DIRS                                                                           \
    (4u << 20) /* directories searched for libraries, by all files together                        \
                */

/* What a mount remembers of starts of one image. */
#define SFS_MAX_LEARNED      (16u << 20)  /* bytes of text */
#define SFS_MAX_LEARNED_USES (256u << 10) /* paths */

/* Each is compared with all others of its kind, so these bound squares. A chain of stages is walked
 * by recursion. */
#define SFS_MAX_STAGES    4096u /* FROMs of a Dockerfile */
#define SFS_MAX_VARIABLES 8192u /* ENV and ARG of a stage, those of its base included */

/* What a registry may send. */
#define SFS_MAX_MANIFEST    (4u << 20) /* bytes of a manifest or an index, as registries have it */
#define SFS_MAX_HTTP_HEAD   (128u << 10) /* bytes of an answer's headers */
#define SFS_MAX_HTTP_ERROR  (64u << 10)  /* bytes of an answer that says what is wrong */
#define SFS_MAX_TOKEN       (1u << 20)   /* bytes of what a token service answers */
#define SFS_MAX_REDIRECTS   10           /* followed in one request */
#define SFS_MAX_RETRY_AFTER 60           /* seconds that a server may have us wait */
#define SFS_MAX_SETTINGS    (1u << 20)   /* bytes of a file with settings or certificates */

/* What a RUN may cost that nobody asked for. */
#define SFS_MAX_RUN_KEY     (4ull << 30)  /* bytes read to learn what a result depends on */
#define SFS_MAX_RUN_RESULT  (8ull << 30)  /* bytes of one result that is kept */
#define SFS_MAX_RUN_RESULTS (16ull << 30) /* bytes of all of them */

#endif
