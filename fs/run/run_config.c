/* config.json of the OCI runtime specification: what run_confine.c says, for init.c as the
 * program. */
#include "run/run_parts.h"

#include "base/buf.h"
#include "run/init_spec.h"
#include <errno.h>
#include <jansson.h>

static json_t *texts(const char *const *list)
{
    json_t *array = json_array();
    for (; *list; list++)
        if (json_array_append_new(array, json_stringn_nocheck(*list, strlen(*list))) < 0) {
            json_decref(array);
            return NULL;
        }
    return array;
}

static json_t *make_capabilities(void)
{
    json_t *all = json_array();
    for (const struct run_capability *own = sfs_run_capabilities; own->name; own++)
        json_array_append_new(all, json_string(own->name));
    json_array_append_new(all, json_string(SFS_RUN_INIT_CAPABILITY));
    json_t *json = json_pack("{sO* sO* sO*}", "bounding", all, "effective", all, "permitted", all);
    json_decref(all);
    return json;
}

/* The process as config.json has it; init.c does the rest. */
static json_t *make_process(const struct run *run)
{
    char program[32];
    snprintf(program, sizeof program, "/proc/self/fd/%d", SFS_INIT_PROGRAM);
    return json_pack("{sb s{si si} s[s] s[] ss so sb}", "terminal", 0, "user", "uid", 0, "gid", 0,
                     "args", program, "env", "cwd", "/", "capabilities", make_capabilities(),
                     "noNewPrivileges", !sfs_run_wants_suid(run));
}

static int add_mount(json_t *mounts, const char *target, const char *type, const char *source,
                     const char *const *options)
{
    return json_array_append_new(mounts,
                                 json_pack("{ss ss ss so}", "destination", target, "type", type,
                                           "source", source, "options", texts(options)));
}

#define OPTIONS(...) ((const char *const[]){ __VA_ARGS__, NULL })

/* That /dev is a bind mount tells a runtime that it is finished. */
static json_t *make_mounts(const struct run *run)
{
    AUTO(sfs_free) char *dev = sfs_format("%s/merged/dev", run->space->path);
    json_t *mounts = json_array();
    int r = dev ? 0 : -1;
    r |= add_mount(mounts, "/proc", "proc", "proc", OPTIONS("nosuid", "noexec", "nodev"));
    r |= add_mount(mounts, "/dev", "bind", dev ? dev : "", OPTIONS("rbind", "nosuid", "noexec"));
    r |= add_mount(mounts, "/dev/mqueue", "mqueue", "mqueue", OPTIONS("nosuid", "noexec", "nodev"));
    r |= add_mount(mounts, "/sys", "sysfs", "sysfs", OPTIONS("nosuid", "noexec", "nodev", "ro"));
    if (r == 0)
        return mounts;
    json_decref(mounts);
    return NULL;
}

/* What runc does for a host's control groups; crun and bubblewrap are put into one by us, and so is
 * runc where it cannot limit processes. */
static json_t *make_resources(const struct run *run)
{
    const struct sfs_nvidia *nvidia = run->request->nvidia;
    json_t *devices = json_pack("[{sb ss}]", "allow", 0, "access", "rwm");
    for (size_t i = 0; nvidia && i < nvidia->device_count; i++)
        json_array_append_new(devices, json_pack("{sb ss si si ss}", "allow", 1, "type", "c",
                                                 "major", (int)nvidia->devices[i].major, "minor",
                                                 (int)nvidia->devices[i].minor, "access", "rw"));
    json_t *pids = run->sets_limit ? json_pack("{si}", "limit", SFS_RUN_MAX_PROCESSES) : NULL;
    return json_pack("{so so*}", "devices", devices, "pids", pids);
}

static json_t *make_linux(const struct run *run)
{
    json_t *namespaces = json_pack("[{ss} {ss} {ss} {ss}]", "type", "pid", "type", "ipc", "type",
                                   "uts", "type", "mount");
    if (run->request->no_network)
        json_array_append_new(namespaces, json_pack("{ss}", "type", "network"));
    if (sfs_run_has_unified_cgroups())
        json_array_append_new(namespaces, json_pack("{ss}", "type", "cgroup"));
    json_t *resources = run->runtime->has_cgroups ? make_resources(run) : NULL;
    return json_pack("{so so so so*}", "namespaces", namespaces, "maskedPaths",
                     texts(sfs_run_masked_paths), "readonlyPaths", texts(sfs_run_read_only_paths),
                     "resources", resources);
}

int sfs_run_write_config(struct run *run)
{
    AUTO(sfs_free) char *root = sfs_format("%s/merged", run->space->path);
    AUTO(sfs_free) char *dir = sfs_format("%s/bundle", run->space->path);
    if (!root || !dir)
        return sfs_fail_memory(run->err);
    json_t *config = json_pack("{ss so s{ss sb} ss so so}", "ociVersion", "1.0.2", "process",
                               make_process(run), "root", "path", root, "readonly", 0, "hostname",
                               "stagefs", "mounts", make_mounts(run), "linux", make_linux(run));
    AUTO(sfs_free) char *text = config ? json_dumps(config, JSON_COMPACT) : NULL;
    json_decref(config);
    if (!text)
        return sfs_fail(run->err, EINVAL, "a mount's name is not UTF-8");
    return sfs_io_replace_file(dir, "config.json", text, strlen(text), 0600, run->err);
}
