/* Collecting packages and what they claim, for those who read their databases. */
#ifndef STAGEFS_PACKAGES_MAKER_H
#define STAGEFS_PACKAGES_MAKER_H

#include "base/buf.h"
#include "slim/packages.h"

struct package_claim {
    uint32_t package;
    sfs_node node;
};

/* A directory that may tell of packages, as one walk over the tree finds it. */
struct package_place {
    char *path; /* no leading '/'; owned */
    sfs_node node;
};
struct package_places { /* all-zero is empty */
    struct package_place *items;
    size_t count, capacity;
};

struct packages_maker {
    const struct sfs_tree *tree;
    const struct sfs_progress *progress;
    struct sfs_error *err;
    struct sfs_packages *packages; /* owned until it is done */
    size_t capacity;               /* of packages->items */
    struct package_claim *claims;
    size_t claim_count, claim_capacity;
    uint64_t bytes_read, names_read;
    unsigned warnings;
    struct sfs_buf path; /* of the claim at hand */
    /* As the walk found them; those of bytecode have no path. */
    struct package_places dist_infos, eggs, conda_metas, pycaches;
};

/* Reads a regular file of the tree, NUL-terminated; the caller frees *ret_text. NULL: `path` is no
 * regular file, or over a cap, which is warned of. Follows symlinks. */
int sfs_packages_read(struct packages_maker *maker, const char *path, char **ret_text,
                      size_t *ret_size);
/* Warns of a database that is left out; after some of them, no more. */
void sfs_packages_warn(struct packages_maker *maker, const char *path, const char *why);

/* Begins a package; what is claimed next is its. Name and version are copied. -E2BIG: there are too
 * many, and no more are taken (err says nothing). */
int sfs_packages_begin(struct packages_maker *maker, enum sfs_package_kind kind, const char *path,
                       const char *name, const char *version);
/* Says what the package begun last requires, in lines as requirement.h has them; takes what `lines`
 * holds. */
int sfs_packages_require(struct packages_maker *maker, struct sfs_buf *lines);
/* Claims the path `text` (absolute, or beneath `base`) for the package begun last. What the tree
 * does not have, and what is no path, is passed over. */
int sfs_packages_claim(struct packages_maker *maker, const char *base, const char *text,
                       size_t size);
/* Claims a path and all below it. */
int sfs_packages_claim_below(struct packages_maker *maker, const char *path);

/* The value of "KEY: value" in the head of a text like an e-mail's (up to an empty line), which
 * the caller frees. NULL: it is not there, or memory lacks. */
char *sfs_packages_field(const char *text, const char *key);

/* Read what the tree has of each kind. As sfs_packages_open(). */
int sfs_packages_read_debian(struct packages_maker *maker);
int sfs_packages_read_alpine(struct packages_maker *maker);
int sfs_packages_read_conda(struct packages_maker *maker);
int sfs_packages_read_python(struct packages_maker *maker);

#endif
