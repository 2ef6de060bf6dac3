/* Looking into a file for what it says that it needs: the head of a program, library or script, or
 * a short text. Only the ranges that tell are read. */
#ifndef STAGEFS_LOOK_H
#define STAGEFS_LOOK_H

#include "base/elf_file.h"
#include "slim/kept.h"

enum sfs_look_kind {
    SFS_LOOK_OTHER,
    SFS_LOOK_ELF,    /* of this machine's word size and byte order */
    SFS_LOOK_SCRIPT, /* begins with "#!"; `text` is its beginning */
    SFS_LOOK_TEXT,   /* was read whole, as it was asked for */
};

struct sfs_look {
    sfs_name name;
    sfs_node node;
    bool is_text;     /* asks for the whole text */
    const void *blob; /* where the file lies: for reading in that order */
    uint64_t position;
    /* What was found; all that is not of its kind is empty. */
    enum sfs_look_kind kind;
    bool is_odd; /* an ELF file that is cut or lies about itself, or that cannot be read */
    struct sfs_buf needed;               /* DT_NEEDED, each NUL-terminated */
    char *rpath, *runpath, *interpreter; /* NULL: none */
    struct sfs_buf text;
    bool failed; /* memory ran out */
};

/* Fills in what the file says. Waits for its bytes. Any thread, each with a look of its own. */
void sfs_look_into(const struct sfs_tree *tree, struct sfs_look *look);
/* The same of an ELF file that is read by the source's own ways. Any other file, and one for
 * another machine, leaves the look as it is. */
void sfs_look_at_elf(const struct sfs_elf_source *source, struct sfs_look *look);
/* Frees what was found. */
void sfs_look_done(struct sfs_look *look);

/* Appends a whole regular file of at most `max` bytes. ENOENT: it is not one, is larger, or cannot
 * be read. ENOMEM. */
int sfs_look_read(const struct sfs_tree *tree, sfs_node node, size_t max, struct sfs_buf *text);

#endif
