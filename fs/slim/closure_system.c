/* Two tables, and the first line of scripts. A row of the tables is knowledge about one program: it
 * costs a line here to add another. */
#include "slim/closure_system.h"

#include "base/banned.h"
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* ---- what is always kept ---- */

void sfs_system_need(struct sfs_kept *kept)
{
    static const char *const globs[] = {
        /* merged-usr, and directories that programs expect */
        "bin", "sbin", "lib", "lib32", "lib64", "libx32", "dev", "proc", "sys", "run", "tmp",
        "root", "var/run", "var/lock", "var/tmp",
        /* users, hosts, names */
        "etc/passwd", "etc/group", "etc/shadow", "etc/nsswitch.conf", "etc/hosts", "etc/hostname",
        "etc/host.conf", "etc/resolv.conf", "etc/gai.conf", "etc/protocols", "etc/services",
        "etc/networks", "etc/os-release", "usr/lib/os-release", "etc/mime.types",
        /* the loader */
        "etc/ld.so.cache", "etc/ld.so.conf", "etc/ld.so.preload", "etc/ld.so.conf.d/**",
        /* time and language */
        "etc/localtime", "etc/timezone", "etc/locale.conf", "etc/default/locale",
        "usr/share/zoneinfo/UTC", "usr/share/zoneinfo/GMT", "usr/share/zoneinfo/Etc/UTC",
        /* certificates: of OpenSSL, Debian, Red Hat, Alpine */
        "etc/ssl/openssl.cnf", "etc/ssl/cert.pem", "etc/ssl/certs/**", "usr/lib/ssl/*",
        "etc/pki/tls/cert.pem", "etc/pki/tls/certs/**", "etc/pki/ca-trust/extracted/**"
    };
    for (size_t i = 0; i < sizeof globs / sizeof *globs; i++)
        sfs_kept_add_glob(kept, SFS_ROOT, globs[i], SFS_WHY_SYSTEM, SFS_NO_NAME);
}

/* ---- what is kept beside what ---- */

/* `who` is what a name begins with, or NAME/WHAT, where the directory's name is the whole one.
 * `what` is a glob from the directory that the name is in, or "=PREFIX": libraries whose names
 * begin so, wherever they are. */
struct companion {
    const char *who, *what;
    enum sfs_why why;
};

static const struct companion companions[] = {
    /* CUDA. A program that is linked with cuDNN does not load its parts before it calls it; when it
     * does, which of them depends on shapes and GPUs, so one part brings the others. */
    { "libcudnn_", "libcudnn*.so*", SFS_WHY_LOADED },
    { "libcudnn_engines_runtime_compiled.so", "=libnvrtc.so", SFS_WHY_LOADED },
    { "libcublas.so", "=libcublasLt.so", SFS_WHY_LOADED },
    { "libcufft.so", "=libnvJitLink.so", SFS_WHY_LOADED },
    { "libcusolver.so", "=libnvJitLink.so", SFS_WHY_LOADED },
    { "libcusparse.so", "=libnvJitLink.so", SFS_WHY_LOADED },
    { "libnvrtc.so", "=libnvrtc-builtins.so", SFS_WHY_LOADED },
    { "libnvvm.so", "../libdevice/*.bc", SFS_WHY_LOADED },
    { "libnvinfer.so", "=libnvinfer_builder_resource", SFS_WHY_LOADED },
    { "libnvinfer.so", "=libnvinfer_plugin.so", SFS_WHY_LOADED },
    /* PyTorch, Triton, JAX, CuPy, ONNX Runtime */
    { "libtorch_cuda.so", "libtorch_cuda_linalg.so", SFS_WHY_LOADED },
    { "libtorch_cuda.so", "libcaffe2_nvrtc.so", SFS_WHY_LOADED },
    { "libshm.so", "../bin/torch_shm_manager", SFS_WHY_LOADED },
    { "nvidia/compiler.py", "bin/ptxas*", SFS_WHY_LOADED },
    { "nvidia/compiler.py", "lib/*.bc", SFS_WHY_LOADED },
    { "nvidia/driver.py", "driver.c", SFS_WHY_LOADED },
    { "nvidia/driver.py", "include/**", SFS_WHY_LOADED },
    { "xla_cuda_plugin.so", "../../nvidia/cuda_nvcc/bin/*", SFS_WHY_LOADED },
    { "xla_cuda_plugin.so", "../../nvidia/cuda_nvcc/nvvm/libdevice/*", SFS_WHY_LOADED },
    { "xla_cuda_plugin.so", "../../nvidia/cu[0-9]*/bin/*", SFS_WHY_LOADED },
    { "xla_cuda_plugin.so", "../../nvidia/cu[0-9]*/nvvm/libdevice/*", SFS_WHY_LOADED },
    { "cupy/__init__.py", "_core/include/**", SFS_WHY_LOADED },
    { "libonnxruntime_providers_shared.so", "libonnxruntime_providers_*.so", SFS_WHY_LOADED },
    /* MKL takes the kernels of the processor that it finds itself on. */
    { "libmkl_core.so", "libmkl_def.so*", SFS_WHY_LOADED },
    { "libmkl_core.so", "libmkl_mc*.so*", SFS_WHY_LOADED },
    { "libmkl_core.so", "libmkl_avx*.so*", SFS_WHY_LOADED },
    { "libmkl_core.so", "libmkl_vml_*.so*", SFS_WHY_LOADED },
    /* OpenSSL, also that of an environment with its own etc */
    { "libcrypto.so", "ossl-modules/*.so", SFS_WHY_LOADED },
    { "libcrypto.so", "engines-*/*.so", SFS_WHY_LOADED },
    { "libcrypto.so", "../ssl/openssl.cnf", SFS_WHY_SYSTEM },
    { "libcrypto.so", "../ssl/cacert.pem", SFS_WHY_SYSTEM },
    { "libcrypto.so", "../ssl/cert.pem", SFS_WHY_SYSTEM },
    { "certifi/core.py", "cacert.pem", SFS_WHY_SYSTEM },
    /* glibc: names of users and hosts, threads that are cancelled, character sets, locales */
    { "libc.so.6", "libnss_*.so*", SFS_WHY_LOADED },
    { "libc.so.6", "libgcc_s.so.1", SFS_WHY_LOADED },
    { "libc.so.6", "gconv/**", SFS_WHY_SYSTEM },
    { "libc.so.6", "../locale/C.*/**", SFS_WHY_SYSTEM },
    { "libc.so.6", "../locale/locale-archive", SFS_WHY_SYSTEM },
    /* terminals: those that the distribution puts into its base, and the usual ones of the rest */
    { "libtinfo", "../terminfo/**", SFS_WHY_SYSTEM },
    { "libtinfo", "../../terminfo/**", SFS_WHY_SYSTEM },
    { "libtinfo", "../share/terminfo/?/xterm*", SFS_WHY_SYSTEM },
    { "libtinfo", "../share/terminfo/?/screen*", SFS_WHY_SYSTEM },
    { "libtinfo", "../share/terminfo/?/tmux*", SFS_WHY_SYSTEM },
    { "libtinfo", "../share/terminfo/?/linux", SFS_WHY_SYSTEM },
    { "libtinfo", "../share/terminfo/?/dumb", SFS_WHY_SYSTEM },
    { "libtinfo", "../share/terminfo/?/ansi", SFS_WHY_SYSTEM },
    { "libtinfo", "../share/terminfo/?/vt[12]*", SFS_WHY_SYSTEM },
    { "libncurses", "libtinfo*.so*", SFS_WHY_LOADED },
    /* Python */
    { "bin/python", "../pyvenv.cfg", SFS_WHY_PYTHON },
    { "encodings/__init__.py", "*.py", SFS_WHY_PYTHON },
};

static bool is_who(const struct sfs_kept *kept, sfs_name name, const char *who)
{
    const char *slash = strchr(who, '/');
    const char *prefix = slash ? slash + 1 : who;
    if (strncmp(sfs_kept_entry(kept, name)->name, prefix, strlen(prefix)) != 0)
        return false;
    sfs_name dir = slash ? kept->dir_names[kept->names[name].dir] : SFS_NO_NAME;
    if (!slash || dir == SFS_NO_NAME)
        return !slash;
    const struct sfs_dirent *entry = sfs_kept_entry(kept, dir);
    return entry->name_size == (size_t)(slash - who) &&
           memcmp(entry->name, who, entry->name_size) == 0;
}

void sfs_system_need_companions(struct sfs_loader *loader, sfs_name name)
{
    struct sfs_kept *kept = loader->kept;
    if (S_ISDIR(sfs_kept_mode(kept, name)))
        return;
    for (size_t i = 0; i < sizeof companions / sizeof *companions; i++) {
        const struct companion *companion = &companions[i];
        if (!is_who(kept, name, companion->who))
            continue;
        if (companion->what[0] == '=')
            sfs_loader_need_prefix(loader, companion->what + 1, name);
        else
            sfs_kept_add_glob(kept, kept->names[name].dir, companion->what, companion->why, name);
    }
}

/* ---- scripts ---- */

/* Takes the next word off a line that ends at `end`; NULL: there is none. The caller frees. */
static char *next_word(struct sfs_kept *kept, const char **at, const char *end)
{
    while (*at < end && (**at == ' ' || **at == '\t' || **at == '"' || **at == '\''))
        (*at)++;
    const char *start = *at;
    while (*at < end && !strchr(" \t\r\"'", **at))
        (*at)++;
    if (*at == start)
        return NULL;
    char *word = strndup(start, (size_t)(*at - start));
    kept->failed |= !word;
    return word;
}

/* Looks for a program in the directories of PATH. */
static void need_program(struct sfs_kept *kept, const char *name, const char *path, sfs_name cause)
{
    if (strchr(name, '/')) {
        sfs_kept_add_path(kept, SFS_ROOT, name, SFS_RESOLVE_FOLLOW, SFS_WHY_PROGRAM, cause);
        return;
    }
    for (; *path; path += *path == ':') {
        size_t size = strcspn(path, ":");
        AUTO(sfs_free) char *file = sfs_format("%.*s/%s", (int)size, path, name);
        kept->failed |= !file;
        if (!file || (size > 0 && sfs_kept_add_path(kept, SFS_ROOT, file, SFS_RESOLVE_FOLLOW,
                                                    SFS_WHY_PROGRAM, cause) == 0))
            return;
        path += size;
    }
}

/* "env [-S] [NAME=VALUE] PROGRAM": the first word that is neither an option nor a variable. */
static void need_env_program(struct sfs_kept *kept, const char *at, const char *end,
                             const char *path, sfs_name cause)
{
    char *word;
    for (; (word = next_word(kept, &at, end)); free(word)) {
        bool is_program = word[0] != '-' && !strchr(word, '=');
        if (is_program)
            need_program(kept, word, path, cause);
        if (is_program)
            at = end;
    }
}

void sfs_system_need_interpreter(struct sfs_kept *kept, const struct sfs_look *look,
                                 const char *path)
{
    static const char by_shell[] = "'''exec'"; /* pip, where the first line would be too long */
    const char *end = look->text.data + look->text.size;
    const char *at = look->text.data + 2, *newline = memchr(at, '\n', (size_t)(end - at));
    const char *stop = newline ? newline : end;
    AUTO(sfs_free) char *program = next_word(kept, &at, stop);
    if (!program || strlen(program) == 0)
        return;
    sfs_kept_add_path(kept, SFS_ROOT, program, SFS_RESOLVE_FOLLOW, SFS_WHY_PROGRAM, look->name);
    size_t size = strlen(program);
    if (size >= 4 && strcmp(program + size - 4, "/env") == 0)
        need_env_program(kept, at, stop, path, look->name);
    at = stop + 1;
    if (!newline || (size_t)(end - at) < sizeof by_shell ||
        memcmp(at, by_shell, strlen(by_shell)) != 0)
        return;
    at += strlen(by_shell);
    newline = memchr(at, '\n', (size_t)(end - at));
    AUTO(sfs_free) char *other = next_word(kept, &at, newline ? newline : end);
    if (other && other[0] == '/')
        need_program(kept, other, path, look->name);
}
