/* config.json of the OCI runtime specification: what docker and buildah give a build step, without
 * a cgroup or network of its own. */
#include "run/run_parts.h"

#include <errno.h>
#include <jansson.h>

/* As docker has them; root gets them, others only may get them (by setuid programs). */
static const char *const capabilities[] = {
    "CAP_AUDIT_WRITE", "CAP_CHOWN",   "CAP_DAC_OVERRIDE",     "CAP_FOWNER",     "CAP_FSETID",
    "CAP_KILL",        "CAP_MKNOD",   "CAP_NET_BIND_SERVICE", "CAP_NET_RAW",    "CAP_SETFCAP",
    "CAP_SETGID",      "CAP_SETPCAP", "CAP_SETUID",           "CAP_SYS_CHROOT",
};

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

static json_t *make_capabilities(const struct sfs_run_request *request)
{
    json_t *all = json_array(), *none = json_array();
    for (size_t i = 0; i < sizeof capabilities / sizeof *capabilities; i++)
        json_array_append_new(all, json_string(capabilities[i]));
    json_t *own = request->uid == 0 ? all : none;
    json_t *json = json_pack("{sO sO sO}", "bounding", all, "effective", own, "permitted", own);
    json_decref(all);
    json_decref(none);
    return json;
}

static json_t *make_process(const struct sfs_run_request *request)
{
    json_t *groups = json_array();
    for (size_t i = 0; i < request->group_count; i++)
        json_array_append_new(groups, json_integer(request->groups[i]));
    return json_pack("{sb s{sI sI so} so so ss so sb}", "terminal", 0, "user", "uid",
                     (json_int_t)request->uid, "gid", (json_int_t)request->gid, "additionalGids",
                     groups, "args", texts(request->args), "env", texts(request->env), "cwd",
                     request->cwd, "capabilities", make_capabilities(request), "noNewPrivileges",
                     0);
}

static int add_mount(json_t *mounts, const char *target, const char *type, const char *source,
                     const char *const *options)
{
    return json_array_append_new(mounts,
                                 json_pack("{ss ss ss so}", "destination", target, "type", type,
                                           "source", source, "options", texts(options)));
}

#define OPTIONS(...) ((const char *const[]){ __VA_ARGS__, NULL })

static int add_system_mounts(json_t *mounts)
{
    int r = add_mount(mounts, "/proc", "proc", "proc", OPTIONS("nosuid", "noexec", "nodev"));
    r |= add_mount(mounts, "/dev", "tmpfs", "tmpfs",
                   OPTIONS("nosuid", "strictatime", "mode=755", "size=65536k"));
    r |= add_mount(
        mounts, "/dev/pts", "devpts", "devpts",
        OPTIONS("nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"));
    r |= add_mount(mounts, "/dev/shm", "tmpfs", "shm",
                   OPTIONS("nosuid", "noexec", "nodev", "mode=1777", "size=65536k"));
    r |= add_mount(mounts, "/dev/mqueue", "mqueue", "mqueue", OPTIONS("nosuid", "noexec", "nodev"));
    r |= add_mount(mounts, "/sys", "sysfs", "sysfs", OPTIONS("nosuid", "noexec", "nodev", "ro"));
    return r;
}

static int add_own_mount(json_t *mounts, const struct run_mount *mount)
{
    char size[40] = "mode=1777";
    if (mount->source)
        return add_mount(mounts, mount->target, "bind", mount->source,
                         OPTIONS("rbind", mount->read_only ? "ro" : "rw"));
    if (mount->limit > 0)
        snprintf(size, sizeof size, "size=%llu", (unsigned long long)mount->limit);
    return add_mount(mounts, mount->target, "tmpfs", "tmpfs",
                     OPTIONS("nosuid", "nodev", mount->read_only ? "ro" : "rw", size));
}

static json_t *make_mounts(const struct run *run)
{
    json_t *mounts = json_array();
    int r = add_system_mounts(mounts);
    for (size_t i = 0; i < run->mount_count; i++)
        r |= add_own_mount(mounts, &run->mounts[i]);
    if (r == 0)
        return mounts;
    json_decref(mounts);
    return NULL;
}

static json_t *make_linux(const struct sfs_run_request *request)
{
    json_t *namespaces = json_pack("[{ss} {ss} {ss} {ss}]", "type", "pid", "type", "ipc", "type",
                                   "uts", "type", "mount");
    if (request->no_network)
        json_array_append_new(namespaces, json_pack("{ss}", "type", "network"));
    return json_pack("{so s[s s s s s s s s] s[s s s s s]}", "namespaces", namespaces,
                     "maskedPaths", "/proc/asound", "/proc/acpi", "/proc/kcore", "/proc/keys",
                     "/proc/latency_stats", "/proc/timer_list", "/proc/sched_debug",
                     "/sys/firmware", "readonlyPaths", "/proc/bus", "/proc/fs", "/proc/irq",
                     "/proc/sys", "/proc/sysrq-trigger");
}

int sfs_run_write_config(struct run *run)
{
    AUTO(sfs_free) char *root = NULL;
    AUTO(sfs_free) char *dir = NULL;
    if (asprintf(&root, "%s/merged", run->space->path) < 0) {
        root = NULL;
        return sfs_fail_memory(run->err);
    }
    if (asprintf(&dir, "%s/bundle", run->space->path) < 0) {
        dir = NULL;
        return sfs_fail_memory(run->err);
    }
    json_t *config =
        json_pack("{ss so s{ss sb} ss so so}", "ociVersion", "1.0.2", "process",
                  make_process(run->request), "root", "path", root, "readonly", 0, "hostname",
                  "stagefs", "mounts", make_mounts(run), "linux", make_linux(run->request));
    AUTO(sfs_free) char *text = config ? json_dumps(config, JSON_INDENT(1)) : NULL;
    json_decref(config);
    if (!text)
        return sfs_fail(run->err, EINVAL, "the command or its environment is not UTF-8");
    return sfs_io_replace_file(dir, "config.json", text, strlen(text), 0600, run->err);
}
