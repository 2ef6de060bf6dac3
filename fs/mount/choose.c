/* The reasons for the plain mount, in the words that statistics show. */
#include "mount/choose.h"

#include "mount/asker.h"
#include "tree/tree_inner.h"
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

/* Making the image of names takes a millisecond for some 7,000 files: more of them would make
 * mounting slow for who wants to see one file. */
#define MOST_FILES 150000u
/* A page of holes is what somebody may see: EROFS shows it as data (server.c). */
#define HOLES 4096u

static bool has_file_mounts(void)
{
    struct utsname name;
    unsigned major = 0, minor = 0;
    if (uname(&name) < 0 || sscanf(name.release, "%u.%u", &major, &minor) != 2)
        return false;
    return major > 6 || (major == 6 && minor >= 12);
}

static const char *look_at_process(void)
{
    if (geteuid() != 0 || !sfs_asker_is_of_machine(getpid()))
        return "only root may mount EROFS";
    return has_file_mounts() ? NULL : "EROFS takes Linux 6.12";
}

const char *sfs_choose_by_options(const struct sfs_mount_options *options, bool private,
                                  bool numbered)
{
    if (options->trace_path || options->missing)
        return "what is used is recorded";
    if (options->passthrough)
        return "passthrough is FUSE's";
    if (options->upper)
        return "it is written to";
    if (numbered && !options->only_overlay)
        return "layers are shown one by one";
    if (options->no_read_ahead)
        return "the kernel asks for single pages";
    const char *why = look_at_process();
    if (!why && !options->allow_other && !options->only_overlay && !private)
        return "EROFS would let other users in (--allow-other lets them)";
    return why;
}

const char *sfs_choose_by_files(const struct sfs_forest *forest, bool xattrs)
{
    struct sfs_forest_holes holes;
    if (forest->first[forest->count] > MOST_FILES)
        return "there are more than 150,000 files";
    for (size_t i = 0; i < forest->count; i++)
        if (sfs_tree_is_unconfirmed(forest->trees[i]))
            return "the names are a registry's word until they are read";
    sfs_forest_count_holes(forest, HOLES, &holes);
    if (holes.files > 0)
        return "there are sparse files";
    if (xattrs && !sfs_erofs_knows_xattrs(forest))
        return "there are extended attributes that EROFS does not know";
    return NULL;
}
