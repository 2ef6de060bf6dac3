/* Loads a shared library by its soname and looks its functions up by name. */
#include "base/late_library.h"

#include "base/banned.h"
#include "base/thread.h"
#include <dlfcn.h>
#include <errno.h>
#include <string.h>

static void *open_first(const char *const *sonames)
{
    void *handle = NULL;
    for (; !handle && *sonames; sonames++)
        handle = dlopen(*sonames, RTLD_NOW | RTLD_LOCAL);
    return handle;
}

static int find_functions(const struct sfs_late_library *library, void *handle,
                          struct sfs_error *err)
{
    for (size_t i = 0; i < library->count; i++) {
        void *function = dlsym(handle, library->table[i].name);
        if (!function)
            return sfs_fail(err, ENOTSUP, "%s is too old: it has no %s()", library->name,
                            library->table[i].name);
        memcpy((char *)library->functions + library->table[i].place, &function, sizeof function);
    }
    return library->set_up ? library->set_up(err) : 0;
}

int sfs_late_library_load(struct sfs_late_library *library, struct sfs_error *err)
{
    LOCK(&library->loading);
    if (library->is_loaded)
        return 0;
    void *handle = open_first(library->sonames);
    if (!handle)
        return sfs_fail(err, ENOTSUP, "%s %s, which is not installed (Debian has it in %s): %s",
                        library->needed_for, library->name, library->package, dlerror());
    int r = find_functions(library, handle, err);
    if (r < 0)
        dlclose(handle);
    library->is_loaded = r == 0;
    return r;
}
