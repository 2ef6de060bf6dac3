/* Finding the driver's files by their names, as NVIDIA's container toolkit does where the machine
 * has no description of itself. */
#include "run/nvidia_parts.h"

#include "base/array.h"
#include "base/io.h"
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stagefs/auto.h>
#include <stagefs/format.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#define MAX_GPUS     256
#define MAX_LD_CACHE (64u << 20)

/* What programs load that compute; not what draws or shows. */
static const char *const libraries[] = {
    "libcuda",
    "libcudadebugger",
    "libnvidia-ml",
    "libnvidia-ptxjitcompiler",
    "libnvidia-nvvm",
    "libnvidia-nvvm70",
    "libnvidia-gpucomp",
    "libnvidia-cfg",
    "libnvidia-opencl",
    "libnvidia-compiler",
    "libnvidia-allocator",
    "libnvidia-pkcs11",
    "libnvidia-nscq",
    "libnvidia-fatbinaryloader",
    "libnvidia-pkcs11-openssl3",
};

/* ---- the lists ---- */

static void close_dir(DIR **dir)
{
    if (*dir)
        closedir(*dir);
}

void sfs_nvidia_close(struct sfs_nvidia **nvidia_ptr)
{
    struct sfs_nvidia *nvidia = TAKE(*nvidia_ptr);
    if (!nvidia)
        return;
    for (size_t i = 0; i < nvidia->device_count; i++) {
        free(nvidia->devices[i].source);
        free(nvidia->devices[i].name);
    }
    for (size_t i = 0; i < nvidia->library_count; i++) {
        free(nvidia->libraries[i].name);
        free(nvidia->libraries[i].source);
        free(nvidia->libraries[i].target);
    }
    for (size_t i = 0; i < nvidia->program_count; i++) {
        free(nvidia->programs[i].source);
        free(nvidia->programs[i].target);
    }
    free(nvidia->devices);
    free(nvidia->libraries);
    free(nvidia->programs);
    free(nvidia);
}

static char *join(const char *root, const char *path)
{
    return sfs_format("%s%s", strcmp(root, "/") == 0 ? "" : root, path);
}

int sfs_nvidia_add_device(struct sfs_nvidia *nvidia, const char *root, const char *path,
                          struct sfs_error *err)
{
    AUTO(sfs_free) char *source = join(root, path);
    struct stat st;
    if (!source)
        return sfs_fail_memory(err);
    if (strncmp(path, "/dev/nvidia", 11) != 0 || strstr(path, "/..") || stat(source, &st) < 0 ||
        !S_ISCHR(st.st_mode))
        return 1;
    for (size_t i = 0; i < nvidia->device_count; i++)
        if (strcmp(nvidia->devices[i].source, source) == 0)
            return 0;
    AUTO(sfs_free) char *name = strdup(path + 5);
    if (!name || SFS_ARRAY_GROW(nvidia->devices, nvidia->device_count, nvidia->device_room, 8) < 0)
        return sfs_fail_memory(err);
    nvidia->devices[nvidia->device_count++] =
        (struct sfs_nvidia_device){ .source = TAKE(source),
                                    .name = TAKE(name),
                                    .major = major(st.st_rdev),
                                    .minor = minor(st.st_rdev) };
    return 0;
}

static bool has_library(const struct sfs_nvidia *nvidia, const char *name)
{
    for (size_t i = 0; i < nvidia->library_count; i++)
        if (strcmp(nvidia->libraries[i].name, name) == 0)
            return true;
    return false;
}

/* Takes over none of the texts. */
static int add_library(struct sfs_nvidia *nvidia, const char *name, const char *source,
                       const char *target, struct sfs_error *err)
{
    struct sfs_nvidia_library library = { .name = strdup(name),
                                          .source = source ? strdup(source) : NULL,
                                          .target = target ? strdup(target) : NULL };
    if (library.name && (library.source || library.target) &&
        SFS_ARRAY_GROW(nvidia->libraries, nvidia->library_count, nvidia->library_room, 16) == 0) {
        nvidia->libraries[nvidia->library_count++] = library;
        return 0;
    }
    free(library.name);
    free(library.source);
    free(library.target);
    return sfs_fail_memory(err);
}

static int add_program(struct sfs_nvidia *nvidia, const char *source, const char *target,
                       struct sfs_error *err)
{
    for (size_t i = 0; i < nvidia->program_count; i++)
        if (strcmp(nvidia->programs[i].target, target) == 0)
            return 0;
    struct sfs_nvidia_program program = { strdup(source), strdup(target) };
    if (program.source && program.target &&
        SFS_ARRAY_GROW(nvidia->programs, nvidia->program_count, nvidia->program_room, 4) == 0) {
        nvidia->programs[nvidia->program_count++] = program;
        return 0;
    }
    free(program.source);
    free(program.target);
    return sfs_fail_memory(err);
}

/* "libcuda.so.1", and not "libcuda.so.conf.d/x". */
static bool is_library(const char *name)
{
    const char *so = strstr(name, ".so");
    return strncmp(name, "lib", 3) == 0 && so && (!so[3] || so[3] == '.');
}

int sfs_nvidia_add_file(struct sfs_nvidia *nvidia, const char *root, const char *path,
                        const char *target, struct sfs_error *err)
{
    AUTO(sfs_free) char *source = join(root, path);
    struct stat st;
    if (!source)
        return sfs_fail_memory(err);
    const char *name = strrchr(source, '/') + 1;
    if (stat(source, &st) < 0 || !S_ISREG(st.st_mode))
        return 0;
    if (!is_library(name))
        return add_program(nvidia, source, target, err);
    return has_library(nvidia, name) ? 0 : add_library(nvidia, name, source, NULL, err);
}

/* ---- symlinks of libraries ---- */

/* Adds the symlinks of one directory that lead to what is there. */
static int add_links_of(struct sfs_nvidia *nvidia, const char *path, struct sfs_error *err)
{
    AUTO(close_dir) DIR *dir = opendir(path);
    for (const struct dirent *entry; dir && (entry = readdir(dir));) {
        char target[256];
        if (!is_library(entry->d_name) || has_library(nvidia, entry->d_name))
            continue;
        ssize_t size = readlinkat(dirfd(dir), entry->d_name, target, sizeof target - 1);
        if (size <= 0)
            continue;
        target[size] = 0;
        const char *slash = strrchr(target, '/'), *name = slash ? slash + 1 : target;
        int r = has_library(nvidia, name) ? add_library(nvidia, entry->d_name, NULL, name, err) : 0;
        if (r < 0)
            return r;
    }
    return 0;
}

int sfs_nvidia_add_links(struct sfs_nvidia *nvidia, struct sfs_error *err)
{
    size_t before;
    do { /* a symlink may lead to a symlink */
        before = nvidia->library_count;
        for (size_t i = 0; i < before; i++) {
            const char *source = nvidia->libraries[i].source;
            if (!source || strncmp(nvidia->libraries[i].name, "libcuda.so", 10) != 0)
                continue;
            AUTO(sfs_free) char *dir = strndup(source, (size_t)(strrchr(source, '/') - source));
            int r = dir ? add_links_of(nvidia, dir, err) : sfs_fail_memory(err);
            if (r < 0)
                return r;
        }
    } while (nvidia->library_count > before);
    if (has_library(nvidia, "libcuda.so") || !has_library(nvidia, "libcuda.so.1"))
        return 0;
    return add_library(nvidia, "libcuda.so", NULL, "libcuda.so.1", err); /* compilers link to it */
}

/* ---- GPUs ---- */

const char *sfs_nvidia_word(const char **list, size_t *ret_size)
{
    *list += strspn(*list, ", ");
    const char *word = *list;
    *ret_size = strcspn(word, ", ");
    *list += *ret_size;
    return *ret_size > 0 ? word : NULL;
}

struct gpu_info {
    char bus[64], uuid[96];
    unsigned minor;
};

static void read_info(const char *dir, struct gpu_info *info)
{
    AUTO(sfs_free) char *path = sfs_format("%s/%s/information", dir, info->bus);
    AUTO(sfs_close_file) FILE *file = path ? fopen(path, "re") : NULL;
    char line[256];
    while (file && fgets(line, sizeof line, file))
        if (sscanf(line, "GPU UUID : %95s", info->uuid) != 1)
            sscanf(line, "Device Minor : %u", &info->minor);
}

static int compare_buses(const void *left, const void *right)
{
    const struct gpu_info *a = left, *b = right;
    return strcmp(a->bus, b->bus);
}

/* The GPUs by their number, which goes by their place on the bus; none where the driver does not
 * tell. */
static size_t list_gpus(const char *root, struct gpu_info infos[MAX_GPUS])
{
    size_t count = 0;
    AUTO(sfs_free) char *path = join(root, "/proc/driver/nvidia/gpus");
    AUTO(close_dir) DIR *dir = path ? opendir(path) : NULL;
    for (const struct dirent *entry; dir && count < MAX_GPUS && (entry = readdir(dir));) {
        if (entry->d_name[0] == '.' || strlen(entry->d_name) >= sizeof infos->bus)
            continue;
        struct gpu_info *info = &infos[count++];
        *info = (struct gpu_info){ .minor = MAX_GPUS };
        snprintf(info->bus, sizeof info->bus, "%.63s", entry->d_name);
        read_info(path, info);
    }
    qsort(infos, count, sizeof *infos, compare_buses);
    return count;
}

static int add_gpu(struct sfs_nvidia *nvidia, const char *root, unsigned minor,
                   struct sfs_error *err)
{
    char path[40];
    snprintf(path, sizeof path, "/dev/nvidia%u", minor);
    return sfs_nvidia_add_device(nvidia, root, path, err);
}

/* The minor number of the GPU that a word names; -1: there is none. */
static int find_gpu(const char *word, size_t size, const struct gpu_info *infos, size_t count)
{
    bool is_number = strspn(word, "0123456789") >= size && size <= 3;
    int number = -1;
    for (size_t i = 0; is_number && i < size; i++)
        number = (i ? number * 10 : 0) + (word[i] - '0');
    if (is_number && count == 0)
        return number;
    if (is_number)
        return number < (int)count ? (int)infos[number].minor : -1;
    for (size_t i = 0; i < count; i++)
        if (size >= 8 && strncmp(infos[i].uuid, word, size) == 0)
            return (int)infos[i].minor;
    return -1;
}

static int add_named_gpus(struct sfs_nvidia *nvidia, const char *root, const char *visible,
                          struct sfs_error *err)
{
    static const char no_such[] = "NVIDIA_VISIBLE_DEVICES: there is no GPU '%.*s'";
    AUTO(sfs_free) struct gpu_info *infos = calloc(MAX_GPUS, sizeof *infos);
    if (!infos)
        return sfs_fail_memory(err);
    size_t count = list_gpus(root, infos), size;
    for (const char *word; (word = sfs_nvidia_word(&visible, &size));) {
        if (strncmp(word, "MIG-", 4) == 0)
            return sfs_fail(err, ENOTSUP,
                            "NVIDIA_VISIBLE_DEVICES: %.*s is a part of a GPU (MIG), "
                            "which takes a description of it in /etc/cdi",
                            (int)size, word);
        int minor = find_gpu(word, size, infos, count);
        int r = minor < 0 ? 1 : add_gpu(nvidia, root, (unsigned)minor, err);
        if (r != 0)
            return r < 0 ? r : sfs_fail(err, EINVAL, no_such, (int)size, word);
    }
    return 0;
}

static int add_all_gpus(struct sfs_nvidia *nvidia, const char *root, struct sfs_error *err)
{
    int r = 0;
    for (unsigned minor = 0; r >= 0 && minor < MAX_GPUS; minor++)
        r = add_gpu(nvidia, root, minor, err);
    return r < 0 ? r : 0;
}

/* ---- searching ---- */

static int add_devices(struct sfs_nvidia *nvidia, const char *root, const char *visible,
                       struct sfs_error *err)
{
    static const char *const shared[] = { "/dev/nvidiactl", "/dev/nvidia-uvm",
                                          "/dev/nvidia-uvm-tools", "/dev/nvidia-modeset" };
    int r = 0;
    for (size_t i = 0; r >= 0 && i < sizeof shared / sizeof *shared; i++) {
        r = sfs_nvidia_add_device(nvidia, root, shared[i], err);
        if (r == 1 && i == 0)
            return sfs_fail(err, ENODEV,
                            "--gpu: this machine has no NVIDIA GPU that can be used "
                            "(there is no /dev/nvidiactl)");
    }
    if (r < 0 || strcmp(visible, "none") == 0)
        return r < 0 ? r : 0;
    return strcmp(visible, "all") == 0 ? add_all_gpus(nvidia, root, err)
                                       : add_named_gpus(nvidia, root, visible, err);
}

/* Finds libcuda.so.1 by the loader's cache, whose texts end with a NUL each. The directory that it
 * is in; the caller frees. NULL: not there. */
static char *find_in_cache(const char *root)
{
    static const char name[] = "/libcuda.so.1";
    AUTO(sfs_free) char *path = join(root, "/etc/ld.so.cache");
    AUTO(sfs_free) char *data = NULL;
    size_t size = 0;
    if (!path || sfs_io_read_file(AT_FDCWD, path, MAX_LD_CACHE, &data, &size, NULL) < 0)
        return NULL;
    for (const char *at = data; (at = memmem(at, (size_t)(data + size - at), name, sizeof name));
         at++) {
        const char *start = at;
        while (start > data && start[-1])
            start--;
        AUTO(sfs_free) char *dir = strndup(start, (size_t)(at - start));
        AUTO(sfs_free) char *file = dir ? sfs_format("%s%s%s", root, dir, name) : NULL;
        if (file && *start == '/' && !strstr(dir, "i386") && !strstr(dir, "lib32") &&
            access(file, R_OK) == 0)
            return TAKE(dir);
    }
    return NULL;
}

/* The driver's own directory, where libcuda.so.1 in `dir` is a symlink into it, as in /usr/lib of
 * some hosts. Only of this machine's root: elsewhere an absolute symlink leads out. Takes over dir,
 * and the caller frees what it returns. */
static char *follow_directory(const char *root, char *dir)
{
    AUTO(sfs_free) char *found = dir;
    AUTO(sfs_free) char *path = dir ? sfs_format("%s/libcuda.so.1", dir) : NULL;
    AUTO(sfs_free) char *real = path && !*root ? realpath(path, NULL) : NULL;
    return real ? strndup(real, (size_t)(strrchr(real, '/') - real)) : TAKE(found);
}

static char *find_directory(const char *root)
{
    static const char *const usual[] = {
        "/usr/local/nvidia/lib64",
        "/usr/lib/x86_64-linux-gnu",
        "/usr/lib/aarch64-linux-gnu",
        "/usr/lib64",
        "/usr/lib",
        "/usr/lib/wsl/lib",
        "/run/opengl-driver/lib",
        "/usr/lib/x86_64-linux-gnu/nvidia/current",
    };
    char *found = find_in_cache(root);
    for (size_t i = 0; !found && i < sizeof usual / sizeof *usual; i++) {
        AUTO(sfs_free) char *path = sfs_format("%s%s/libcuda.so.1", root, usual[i]);
        if (path && access(path, R_OK) == 0)
            found = strdup(usual[i]);
    }
    return follow_directory(root, found);
}

/* Is it one of the libraries, by its own name and not by a symlink? */
static bool is_wanted(const char *name)
{
    for (size_t i = 0; i < sizeof libraries / sizeof *libraries; i++) {
        size_t size = strlen(libraries[i]);
        if (strncmp(name, libraries[i], size) == 0 && strncmp(name + size, ".so", 3) == 0)
            return true;
    }
    return false;
}

static int add_libraries(struct sfs_nvidia *nvidia, const char *root, const char *place,
                         struct sfs_error *err)
{
    AUTO(sfs_free) char *path = join(root, place);
    AUTO(close_dir) DIR *dir = path ? opendir(path) : NULL;
    int r = 0;
    for (const struct dirent *entry; r == 0 && dir && (entry = readdir(dir));) {
        struct stat st;
        if (!is_wanted(entry->d_name) ||
            fstatat(dirfd(dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
            !S_ISREG(st.st_mode))
            continue;
        AUTO(sfs_free) char *file = sfs_format("%s/%s", place, entry->d_name);
        r = file ? sfs_nvidia_add_file(nvidia, root, file, NULL, err) : sfs_fail_memory(err);
    }
    return r;
}

static int search(struct sfs_nvidia *nvidia, const char *root, const char *visible,
                  struct sfs_error *err)
{
    static const char smi[] = "/usr/bin/nvidia-smi",
                      other_smi[] = "/usr/local/nvidia/bin/nvidia-smi";
    int r = add_devices(nvidia, root, visible, err);
    if (r < 0)
        return r;
    AUTO(sfs_free) char *place = find_directory(strcmp(root, "/") == 0 ? "" : root);
    if (!place)
        return sfs_fail(err, ENODEV,
                        "--gpu: the driver's libcuda.so.1 is not found on this machine");
    r = add_libraries(nvidia, root, place, err);
    if (r == 0)
        r = sfs_nvidia_add_file(nvidia, root, smi, smi, err);
    return r < 0 ? r : sfs_nvidia_add_file(nvidia, root, other_smi, smi, err);
}

int sfs_nvidia_open(const char *root, const char *visible, struct sfs_nvidia **ret_nvidia,
                    struct sfs_error *err)
{
    AUTO(sfs_nvidia_close) struct sfs_nvidia *nvidia = calloc(1, sizeof *nvidia);
    if (!nvidia)
        return sfs_fail_memory(err);
    if (!visible || !*visible || strcmp(visible, "void") == 0)
        visible = "all";
    int r = sfs_nvidia_read_cdi(nvidia, root, visible, err);
    if (r == 1)
        r = search(nvidia, root, visible, err);
    if (r == 0 && nvidia->device_count == 0)
        r = sfs_fail(err, ENODEV, "--gpu: what /etc/cdi tells of this machine's GPUs is not there");
    if (r == 0)
        r = sfs_nvidia_add_links(nvidia, err);
    if (r < 0)
        return r;
    *ret_nvidia = TAKE(nvidia);
    return 0;
}
