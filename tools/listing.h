/* A list of names as coreutils' ls shows it: sorted, in columns or with details. */
#ifndef STAGEFS_LISTING_H
#define STAGEFS_LISTING_H

#include "owners.h"

struct listing_options {
    bool details, human, numeric, one, color;
    bool by_size, by_time, reverse; /* the order; by name where neither size nor time is set */
    unsigned width;                 /* how many columns a line has; 0: one name in each line */
    const struct owners *owners;    /* for details */
};

struct listing_item {
    const char *name; /* borrowed */
    sfs_node node;
    struct sfs_attr attr;
};

struct listing { /* all-zero is empty */
    const struct sfs_tree *tree;
    struct listing_item *items;
    size_t count;
    bool failed; /* a name could not be added for lack of memory: none is, from then on */
};

/* Adds a name, which is borrowed; all names of a list are of one tree. What fails is told when the
 * list is printed, or by `failed`. */
void listing_add(struct listing *list, const struct sfs_tree *tree, const char *name,
                 sfs_node node);
/* Frees what is in it. Fine on an all-zero struct. */
void listing_close(struct listing *list);
/* Sorts the names as the options say. */
void listing_sort(struct listing *list, const struct listing_options *options);

/* How many bytes a file fills on the mount, as du adds them up; 0 for what is no regular file. */
uint64_t listing_disk_size(const struct sfs_tree *tree, sfs_node node);

/* Prints "total 12": what the files fill, in units of 1024 bytes. */
void listing_print_total(const struct listing *list, const struct listing_options *options);
/* Prints the names as the options say. 0, or -ENOMEM: also if the list is not whole. */
int listing_print(const struct listing *list, const struct listing_options *options);

#endif
