/* Kinds of files by their paths: the first rule that holds decides. Nothing is read. */
#include "slim/survey_parts.h"

#include <string.h>
#include <sys/stat.h>

const char *sfs_file_kind_words(enum sfs_file_kind kind)
{
    static const char *const words[SFS_KINDS] = {
        [SFS_KIND_OTHER] = "other files",
        [SFS_KIND_PROGRAM] = "programs",
        [SFS_KIND_SHARED_LIBRARY] = "shared libraries",
        [SFS_KIND_STATIC_LIBRARY] = "static libraries",
        [SFS_KIND_DEVICE_CODE] = "device code",
        [SFS_KIND_SOURCE] = "source and scripts",
        [SFS_KIND_BYTECODE] = "bytecode",
        [SFS_KIND_HEADER] = "headers",
        [SFS_KIND_BUILD] = "files for building",
        [SFS_KIND_TESTS] = "tests",
        [SFS_KIND_DOCUMENTATION] = "documentation",
        [SFS_KIND_TRANSLATIONS] = "translations and locales",
        [SFS_KIND_DATA] = "data",
        [SFS_KIND_CERTIFICATES] = "certificates",
        [SFS_KIND_DATABASE] = "databases of packages",
        [SFS_KIND_CACHE] = "caches",
        [SFS_KIND_DEBUG] = "debug information",
    };
    return words[kind];
}

/* Both hold: `in` is a part of the path, `end` is its end. NULL: anything. */
struct kind_rule {
    enum sfs_file_kind kind;
    const char *in, *end;
};

static const struct kind_rule rules[] = {
    { SFS_KIND_CACHE, "/pkgs/", NULL },
    { SFS_KIND_CACHE, "/.cache/", NULL },
    { SFS_KIND_CACHE, "/var/cache/", NULL },
    { SFS_KIND_CACHE, "/var/lib/apt/lists/", NULL },
    { SFS_KIND_CACHE, "/.npm/", NULL },
    { SFS_KIND_DEBUG, "/lib/debug/", NULL },
    { SFS_KIND_DEBUG, NULL, ".debug" },
    { SFS_KIND_DEBUG, NULL, ".dwo" },
    { SFS_KIND_DEBUG, NULL, ".dwp" },
    { SFS_KIND_TESTS, "/tests/", NULL },
    { SFS_KIND_TESTS, "/test/", NULL },
    { SFS_KIND_DEVICE_CODE, NULL, ".cubin" },
    { SFS_KIND_DEVICE_CODE, NULL, ".fatbin" },
    { SFS_KIND_DEVICE_CODE, NULL, ".ptx" },
    { SFS_KIND_DEVICE_CODE, NULL, ".hsaco" },
    { SFS_KIND_DEVICE_CODE, NULL, ".co" },
    { SFS_KIND_DEVICE_CODE, NULL, ".bc" },
    { SFS_KIND_DEVICE_CODE, "/libnvinfer_builder_resource_sm", NULL },
    { SFS_KIND_SHARED_LIBRARY, NULL, ".so" },
    { SFS_KIND_STATIC_LIBRARY, NULL, ".a" },
    { SFS_KIND_STATIC_LIBRARY, NULL, ".lib" },
    { SFS_KIND_BYTECODE, NULL, ".pyc" },
    { SFS_KIND_BYTECODE, NULL, ".pyo" },
    { SFS_KIND_BYTECODE, NULL, ".elc" },
    { SFS_KIND_DATABASE, "/var/lib/dpkg/", NULL },
    { SFS_KIND_DATABASE, "/lib/apk/db/", NULL },
    { SFS_KIND_DATABASE, "/conda-meta/", NULL },
    { SFS_KIND_DATABASE, ".dist-info/", NULL },
    { SFS_KIND_DATABASE, ".egg-info", NULL },
    { SFS_KIND_HEADER, "/include/", NULL },
    { SFS_KIND_HEADER, NULL, ".h" },
    { SFS_KIND_HEADER, NULL, ".hpp" },
    { SFS_KIND_HEADER, NULL, ".cuh" },
    { SFS_KIND_HEADER, NULL, ".hh" },
    { SFS_KIND_BUILD, NULL, ".o" },
    { SFS_KIND_BUILD, NULL, ".la" },
    { SFS_KIND_BUILD, NULL, ".pc" },
    { SFS_KIND_BUILD, NULL, ".cmake" },
    { SFS_KIND_BUILD, "/cmake/", NULL },
    { SFS_KIND_CERTIFICATES, "/ssl/", ".pem" },
    { SFS_KIND_CERTIFICATES, "/certs/", NULL },
    { SFS_KIND_CERTIFICATES, "/ca-certificates/", NULL },
    { SFS_KIND_CERTIFICATES, "/certifi/", ".pem" },
    { SFS_KIND_TRANSLATIONS, "/share/locale/", NULL },
    { SFS_KIND_TRANSLATIONS, "/share/i18n/", NULL },
    { SFS_KIND_TRANSLATIONS, "/lib/locale/", NULL },
    { SFS_KIND_TRANSLATIONS, NULL, ".mo" },
    { SFS_KIND_DOCUMENTATION, "/share/doc/", NULL },
    { SFS_KIND_DOCUMENTATION, "/share/man/", NULL },
    { SFS_KIND_DOCUMENTATION, "/man/man", NULL },
    { SFS_KIND_DOCUMENTATION, "/share/info/", NULL },
    { SFS_KIND_DOCUMENTATION, "/share/gtk-doc/", NULL },
    { SFS_KIND_DOCUMENTATION, NULL, ".md" },
    { SFS_KIND_DOCUMENTATION, NULL, ".rst" },
    { SFS_KIND_SOURCE, NULL, ".py" },
    { SFS_KIND_SOURCE, NULL, ".pyi" },
    { SFS_KIND_SOURCE, NULL, ".pyx" },
    { SFS_KIND_SOURCE, NULL, ".pxd" },
    { SFS_KIND_SOURCE, NULL, ".c" },
    { SFS_KIND_SOURCE, NULL, ".cc" },
    { SFS_KIND_SOURCE, NULL, ".cpp" },
    { SFS_KIND_SOURCE, NULL, ".cu" },
    { SFS_KIND_SOURCE, NULL, ".f90" },
    { SFS_KIND_SOURCE, NULL, ".rs" },
    { SFS_KIND_SOURCE, NULL, ".go" },
    { SFS_KIND_SOURCE, NULL, ".js" },
    { SFS_KIND_SOURCE, NULL, ".mjs" },
    { SFS_KIND_SOURCE, NULL, ".ts" },
    { SFS_KIND_SOURCE, NULL, ".rb" },
    { SFS_KIND_SOURCE, NULL, ".pl" },
    { SFS_KIND_SOURCE, NULL, ".pm" },
    { SFS_KIND_SOURCE, NULL, ".sh" },
    { SFS_KIND_SOURCE, NULL, ".tcl" },
    { SFS_KIND_SOURCE, NULL, ".lua" },
    { SFS_KIND_PROGRAM, "/bin/", NULL },
    { SFS_KIND_PROGRAM, "/sbin/", NULL },
    { SFS_KIND_PROGRAM, "/libexec/", NULL },
    { SFS_KIND_DATA, "/share/", NULL },
    { SFS_KIND_DATA, NULL, ".json" },
    { SFS_KIND_DATA, NULL, ".txt" },
    { SFS_KIND_DATA, NULL, ".csv" },
    { SFS_KIND_DATA, NULL, ".gz" },
    { SFS_KIND_DATA, NULL, ".xz" },
    { SFS_KIND_DATA, NULL, ".bz2" },
    { SFS_KIND_DATA, NULL, ".zip" },
    { SFS_KIND_DATA, NULL, ".npz" },
    { SFS_KIND_DATA, NULL, ".npy" },
    { SFS_KIND_DATA, NULL, ".h5" },
    { SFS_KIND_DATA, NULL, ".pt" },
    { SFS_KIND_DATA, NULL, ".pth" },
    { SFS_KIND_DATA, NULL, ".onnx" },
    { SFS_KIND_DATA, NULL, ".safetensors" },
    { SFS_KIND_DATA, NULL, ".gguf" },
    { SFS_KIND_DATA, NULL, ".bin" },
    { SFS_KIND_DATA, NULL, ".dat" },
    { SFS_KIND_DATA, NULL, ".db" },
    { SFS_KIND_DATA, NULL, ".xml" },
    { SFS_KIND_DATA, NULL, ".yaml" },
    { SFS_KIND_DATA, NULL, ".html" },
    { SFS_KIND_DATA, NULL, ".css" },
    { SFS_KIND_DATA, NULL, ".png" },
    { SFS_KIND_DATA, NULL, ".svg" },
    { SFS_KIND_DATA, NULL, ".ttf" },
};

/* "libz.so.1.2" ends, without its numbers, with ".so". */
static size_t size_without_version(const char *path)
{
    size_t size = strlen(path), at = size;
    while (at > 0 && ((path[at - 1] >= '0' && path[at - 1] <= '9') || path[at - 1] == '.'))
        at--;
    return at < size && path[at] == '.' ? at : size;
}

static bool holds(const struct kind_rule *rule, const char *path, size_t size, size_t unversioned)
{
    if (rule->in && !strstr(path, rule->in))
        return false;
    if (!rule->end)
        return true;
    size_t end = strlen(rule->end);
    if (rule->kind == SFS_KIND_SHARED_LIBRARY)
        size = unversioned;
    return size > end && memcmp(path + size - end, rule->end, end) == 0;
}

enum sfs_file_kind sfs_file_kind_of(const char *path, uint32_t mode)
{
    size_t size = strlen(path), unversioned = size_without_version(path);
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++)
        if (holds(&rules[i], path, size, unversioned))
            return rules[i].kind;
    return S_ISREG(mode) && (mode & 0111) ? SFS_KIND_PROGRAM : SFS_KIND_OTHER;
}
