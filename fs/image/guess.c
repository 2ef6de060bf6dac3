/* What lies at a path, told by its first bytes, its members or its files. */
#include "image/guess.h"

#include "image/members.h"
#include <sys/stat.h>

/* The transport of a tar file. What docker saves since version 25 is both an OCI layout and an
 * archive of docker's; the latter is preferred, since its manifest.json has the names that docker
 * knows. */
static const char *guess_file(const char *path)
{
    AUTO(sfs_members_close) struct sfs_members *members = NULL;
    if (sfs_members_open_tar(path, &members, NULL) < 0)
        return "";
    if (sfs_members_has(members, "manifest.json") || sfs_members_has(members, "repositories"))
        return "docker-archive:";
    return sfs_members_has(members, "index.json") ? "oci-archive:" : "";
}

static const char *guess_directory(const char *path)
{
    AUTO(sfs_members_close) struct sfs_members *members = NULL;
    if (sfs_members_open_dir(path, &members, NULL) < 0)
        return "dir:";
    return sfs_members_has(members, "oci-layout") ? "oci:" : "dir:";
}

const char *sfs_guess_transport(const char *path)
{
    struct stat st;
    if (stat(path, &st) < 0)
        return NULL;
    if (S_ISDIR(st.st_mode))
        return guess_directory(path);
    return S_ISREG(st.st_mode) ? guess_file(path) : "";
}
