/* Which package a file of a tree belongs to: of Debian (dpkg's lists, and those of distroless
 * images), Alpine (apk), conda (conda-meta/) and Python (dist-info, egg-info). Databases of rpm are
 * not read.
 *
 * Immutable once open, so any thread may use it without a lock. What it hands out lives until
 * sfs_packages_close(). */
#ifndef STAGEFS_PACKAGES_H
#define STAGEFS_PACKAGES_H

#include <stagefs/progress.h>
#include <stagefs/tree.h>

enum sfs_package_kind { /* who installed it; where a file has owners of several, the first counts */
                        SFS_PACKAGE_DEBIAN,
                        SFS_PACKAGE_ALPINE,
                        SFS_PACKAGE_CONDA,
                        SFS_PACKAGE_PYTHON,
                        SFS_PACKAGE_KINDS,
};

struct sfs_package {
    enum sfs_package_kind kind;
    char *name, *version;  /* bytes as the database has them; "": it does not say */
    char *requires;        /* but of Alpine, a line each (requirement.h); NULL: nothing */
    sfs_node home;         /* the file or directory that tells of it: its list, its dist-info */
    sfs_node place;        /* the directory that home is in: packages of one Python share it */
    const sfs_node *nodes; /* all that it names and the tree has, ascending; with directories */
    uint32_t node_count;
};

struct sfs_packages;
/* Reads the databases that the tree has: of a large image some megabytes, which may wait. The
 * caller closes *ret_packages; the tree is borrowed until then. What cannot be understood, or is
 * over a cap, is left out, and progress->warn is told (progress may be NULL). EIO: the tree cannot
 * be read. ENOMEM. */
int sfs_packages_open(const struct sfs_tree *tree, const struct sfs_progress *progress,
                      struct sfs_packages **ret_packages, struct sfs_error *err);
/* Frees, and sets NULL; NULL is fine. */
void sfs_packages_close(struct sfs_packages **packages);

/* How many packages there are: they are 0 .. count - 1. */
uint32_t sfs_packages_count(const struct sfs_packages *packages);
/* Package i, below the count. */
const struct sfs_package *sfs_packages_get(const struct sfs_packages *packages, uint32_t i);

#define SFS_NO_PACKAGE UINT32_MAX
/* The package that a node belongs to, of the first kind that has one; SFS_NO_PACKAGE: to none.
 * Directories belong to none, as many packages share them. Of several packages of a kind that name
 * a file, it is the first one's; all of them have it among their nodes. */
uint32_t sfs_packages_owner(const struct sfs_packages *packages, sfs_node node);
/* The same among packages of one kind. */
uint32_t sfs_packages_owner_of_kind(const struct sfs_packages *packages, sfs_node node,
                                    enum sfs_package_kind kind);
/* What people call a kind: "Debian package". */
const char *sfs_package_kind_words(enum sfs_package_kind kind);

#endif
