/* System calls. The list that podman, buildah and docker filter by lies on most machines that have
 * one of them, in a form that says for which capabilities and processors each rule is meant.
 * libseccomp makes a program of it for the kernel, and init.c, the same in every runtime, loads it.
 *
 * Making it takes longer than making the mounts: a thread does it meanwhile, and keeps it in the
 * cache directory for the next time. */
#include "run/run_parts.h"

#include "base/thread.h"
#include "layer/store.h"
#include "run/init_spec.h"
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <stagefs/digest.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>

#define MAX_LIST_SIZE (1u << 20) /* bytes of the file */
#define MAX_ARGS      6          /* so many arguments a system call can have */

/* Where the list is looked for, in podman's order. */
static const char *const list_paths[] = { "/etc/containers/seccomp.json",
                                          "/usr/share/containers/seccomp.json" };

/* This processor's names: libseccomp's, and Go's, which the list uses too. */
static const struct processor {
    uint32_t token;
    const char *name, *go_name;
} processors[] = {
    { SCMP_ARCH_X86_64, "SCMP_ARCH_X86_64", "amd64" },
    { SCMP_ARCH_AARCH64, "SCMP_ARCH_AARCH64", "arm64" },
    { SCMP_ARCH_PPC64LE, "SCMP_ARCH_PPC64LE", "ppc64le" },
    { SCMP_ARCH_S390X, "SCMP_ARCH_S390X", "s390x" },
    { SCMP_ARCH_RISCV64, "SCMP_ARCH_RISCV64", "riscv64" },
};

/* For machines without that file: all is allowed but what a command in a container has no business
 * with. The kernel asks for a capability for most of it, too; this keeps it from being reached. */
static const char *const denied[] = {
    "acct",
    "bpf",
    "clock_adjtime",
    "clock_settime",
    "clock_settime64",
    "delete_module",
    "fanotify_init",
    "finit_module",
    "fsconfig",
    "fsmount",
    "fsopen",
    "fspick",
    "init_module",
    "io_uring_enter",
    "io_uring_register",
    "io_uring_setup",
    "ioperm",
    "iopl",
    "kcmp",
    "kexec_file_load",
    "kexec_load",
    "lookup_dcookie",
    "mount",
    "mount_setattr",
    "move_mount",
    "move_pages",
    "nfsservctl",
    "open_by_handle_at",
    "open_tree",
    "perf_event_open",
    "pivot_root",
    "process_madvise",
    "process_vm_readv",
    "process_vm_writev",
    "ptrace",
    "quotactl",
    "quotactl_fd",
    "reboot",
    "setdomainname",
    "sethostname",
    "setns",
    "settimeofday",
    "stime",
    "swapoff",
    "swapon",
    "syslog",
    "umount",
    "umount2",
    "unshare",
    "userfaultfd",
    "uselib",
    "ustat",
    "vhangup",
    "vm86",
    "vm86old",
};
/* Whatever a list says: the keyring of a user is the host's, as the user namespace is, and the
 * session keyring of one's own does not keep a command from it. Docker leaves them out, too. */
static const char *const never[] = { "add_key", "keyctl", "request_key" };
/* Flags of clone() that are denied: each makes a namespace. */
static const unsigned denied_flags[] = { 0x00020000, 0x02000000, 0x04000000, 0x08000000,
                                         0x10000000, 0x20000000, 0x40000000 };
static const unsigned denied_sockets[] = { 38 /* AF_ALG */, 40 /* AF_VSOCK */ };

static void deny(json_t *rules, json_t *names, int code, json_t *args)
{
    json_array_append_new(rules, json_pack("{so ss si so*}", "names", names, "action",
                                           "SCMP_ACT_ERRNO", "errnoRet", code, "args", args));
}

static json_t *make_built_in(void)
{
    json_t *rules = json_array(), *names = json_array();
    for (size_t i = 0; i < sizeof denied / sizeof *denied; i++)
        json_array_append_new(names, json_string(denied[i]));
    deny(rules, names, EPERM, NULL);
    /* The flags of clone3 lie in memory, where no filter sees them: it is as if it were not there,
     * and C libraries then take clone. */
    deny(rules, json_pack("[s]", "clone3"), ENOSYS, NULL);
    for (size_t i = 0; i < sizeof denied_flags / sizeof *denied_flags; i++)
        deny(rules, json_pack("[s]", "clone"), EPERM,
             json_pack("[{si sI sI ss}]", "index", 0, "value", (json_int_t)denied_flags[i],
                       "valueTwo", (json_int_t)denied_flags[i], "op", "SCMP_CMP_MASKED_EQ"));
    for (size_t i = 0; i < sizeof denied_sockets / sizeof *denied_sockets; i++)
        deny(rules, json_pack("[s]", "socket"), EPERM,
             json_pack("[{si sI ss}]", "index", 0, "value", (json_int_t)denied_sockets[i], "op",
                       "SCMP_CMP_EQ"));
    return json_pack("{ss so}", "defaultAction", "SCMP_ACT_ALLOW", "syscalls", rules);
}

static json_t *compare(int index, int value, const char *op)
{
    return json_pack("{si si ss}", "index", index, "value", value, "op", op);
}

/* For hosts that start a program with the core dumps: what keeps this sandbox's from it is a limit
 * of 1, which its commands could set to 0. They are told that they did, as programs with secrets
 * end where that fails. Who asks for the limit before, too, would get none: refused. */
static json_t *make_core_list(void)
{
    static const char *const old[] = { "SCMP_CMP_EQ", "SCMP_CMP_NE" };
    json_t *rules = json_array();
    deny(rules, json_pack("[s]", "setrlimit"), 0,
         json_pack("[o]", compare(0, RLIMIT_CORE, "SCMP_CMP_EQ")));
    for (int i = 0; i < 2; i++)
        deny(rules, json_pack("[s]", "prlimit64"), i == 0 ? 0 : EPERM,
             json_pack("[ooo]", compare(1, RLIMIT_CORE, "SCMP_CMP_EQ"),
                       compare(2, 0, "SCMP_CMP_NE"), compare(3, 0, old[i])));
    return json_pack("{ss s[{ss s[s]} {ss s[s]} {ss s[s]}] so}", "defaultAction", "SCMP_ACT_ALLOW",
                     "archMap", "architecture", "SCMP_ARCH_X86_64", "subArchitectures",
                     "SCMP_ARCH_X86", "architecture", "SCMP_ARCH_AARCH64", "subArchitectures",
                     "SCMP_ARCH_ARM", "architecture", "SCMP_ARCH_S390X", "subArchitectures",
                     "SCMP_ARCH_S390", "syscalls", rules);
}

/* ---- which rules are meant ---- */

static bool is_capability_given(const char *name)
{
    for (const struct run_capability *own = sfs_run_capabilities; own->name; own++)
        if (strcmp(own->name, name) == 0)
            return true;
    return false;
}

static const struct processor *own_processor(void)
{
    static const struct processor unknown = { 0, "", "" };
    for (size_t i = 0; i < sizeof processors / sizeof *processors; i++)
        if (processors[i].token == seccomp_arch_native())
            return &processors[i];
    return &unknown;
}

static bool is_this_processor(const char *go_name)
{
    return strcmp(own_processor()->go_name, go_name) == 0;
}

/* For how many of the list's texts holds() is true, and how many there are. */
static size_t count_held(json_t *list, bool (*holds)(const char *text), size_t *ret_all)
{
    size_t i, held = 0;
    json_t *item;
    *ret_all = json_array_size(list);
    json_array_foreach(list, i, item)
    {
        const char *text = json_string_value(item);
        held += text && holds(text);
    }
    return held;
}

/* All capabilities that a rule is for have to be there, one of those it is not for is enough. The
 * oldest kernel that a rule may name ("minKernel") is older than any we run on. */
static bool is_meant(json_t *rule)
{
    json_t *only = json_object_get(rule, "includes"), *unmeant = json_object_get(rule, "excludes");
    size_t all;
    size_t held = count_held(json_object_get(only, "arches"), is_this_processor, &all);
    if (all > 0 && held == 0)
        return false;
    held = count_held(json_object_get(only, "caps"), is_capability_given, &all);
    if (held < all)
        return false;
    return count_held(json_object_get(unmeant, "arches"), is_this_processor, &all) == 0 &&
           count_held(json_object_get(unmeant, "caps"), is_capability_given, &all) == 0;
}

/* ---- making a program of it ---- */

static const struct {
    const char *name;
    enum scmp_compare op;
} comparisons[] = {
    { "SCMP_CMP_NE", SCMP_CMP_NE },
    { "SCMP_CMP_LT", SCMP_CMP_LT },
    { "SCMP_CMP_LE", SCMP_CMP_LE },
    { "SCMP_CMP_EQ", SCMP_CMP_EQ },
    { "SCMP_CMP_GE", SCMP_CMP_GE },
    { "SCMP_CMP_GT", SCMP_CMP_GT },
    { "SCMP_CMP_MASKED_EQ", SCMP_CMP_MASKED_EQ },
};

static int read_action(json_t *name, json_t *errno_ret, uint32_t *ret_action)
{
    const char *text = json_string_value(name);
    const uint32_t code =
        json_is_integer(errno_ret) ? (uint32_t)json_integer_value(errno_ret) : EPERM;
    if (text && strcmp(text, "SCMP_ACT_ALLOW") == 0)
        *ret_action = SCMP_ACT_ALLOW;
    else if (text && strcmp(text, "SCMP_ACT_ERRNO") == 0)
        *ret_action = SCMP_ACT_ERRNO(code);
    else if (text &&
             (strcmp(text, "SCMP_ACT_KILL") == 0 || strcmp(text, "SCMP_ACT_KILL_THREAD") == 0))
        *ret_action = SCMP_ACT_KILL_THREAD;
    else if (text && strcmp(text, "SCMP_ACT_KILL_PROCESS") == 0)
        *ret_action = SCMP_ACT_KILL_PROCESS;
    else if (text && strcmp(text, "SCMP_ACT_LOG") == 0)
        *ret_action = SCMP_ACT_LOG;
    else
        return -EBADMSG;
    return 0;
}

/* The number of comparisons, or -EBADMSG. */
static int read_args(json_t *list, struct scmp_arg_cmp args[MAX_ARGS])
{
    size_t i, k;
    json_t *item;
    if (json_array_size(list) > MAX_ARGS)
        return -EBADMSG;
    json_array_foreach(list, i, item)
    {
        const char *op = json_string_value(json_object_get(item, "op"));
        const size_t count = sizeof comparisons / sizeof *comparisons;
        for (k = 0; k < count && op && strcmp(op, comparisons[k].name) != 0; k++)
            continue;
        if (!op || k == count)
            return -EBADMSG;
        args[i] = (struct scmp_arg_cmp){
            .arg = (unsigned)json_integer_value(json_object_get(item, "index")),
            .op = comparisons[k].op,
            .datum_a = (scmp_datum_t)json_integer_value(json_object_get(item, "value")),
            .datum_b = (scmp_datum_t)json_integer_value(json_object_get(item, "valueTwo")),
        };
    }
    return (int)json_array_size(list);
}

static bool is_never(const char *name)
{
    for (size_t i = 0; i < sizeof never / sizeof *never; i++)
        if (strcmp(name, never[i]) == 0)
            return true;
    return false;
}

static int deny_never(scmp_filter_ctx filter)
{
    int r = 0;
    for (size_t i = 0; i < sizeof never / sizeof *never && r == 0; i++) {
        r = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), seccomp_syscall_resolve_name(never[i]),
                             0);
        r = r == -EACCES ? 0 : r;
    }
    return r;
}

/* Names that this libseccomp does not know are of kernels that came after it: the default is
 * theirs. -EACCES: the rule says what the default says. */
static int add_call(scmp_filter_ctx filter, uint32_t action, json_t *name, int count,
                    const struct scmp_arg_cmp *args)
{
    const char *text = json_string_value(name);
    int number = text ? seccomp_syscall_resolve_name(text) : __NR_SCMP_ERROR;
    if (number == __NR_SCMP_ERROR || is_never(text))
        return 0;
    int r = seccomp_rule_add_array(filter, action, number, (unsigned)count, args);
    return r == -EACCES ? 0 : r;
}

static int add_rule(scmp_filter_ctx filter, json_t *rule)
{
    struct scmp_arg_cmp args[MAX_ARGS];
    uint32_t action;
    json_t *name;
    size_t i;
    int r =
        read_action(json_object_get(rule, "action"), json_object_get(rule, "errnoRet"), &action);
    int count = r < 0 ? r : read_args(json_object_get(rule, "args"), args);
    if (count < 0)
        return count;
    /* "name" is how older lists have it. */
    r = add_call(filter, action, json_object_get(rule, "name"), count, args);
    json_array_foreach(json_object_get(rule, "names"), i, name)
    {
        r = r < 0 ? r : add_call(filter, action, name, count, args);
    }
    return r;
}

/* The processor whose programs this one runs besides its own; 0: none. x32, which hardly a kernel
 * has, is left out. */
static uint32_t find_other(json_t *list)
{
    static const struct processor others[] = { { SCMP_ARCH_X86, "SCMP_ARCH_X86", "" },
                                               { SCMP_ARCH_ARM, "SCMP_ARCH_ARM", "" },
                                               { SCMP_ARCH_S390, "SCMP_ARCH_S390", "" } };
    size_t i, k;
    json_t *item, *sub;
    json_array_foreach(json_object_get(list, "archMap"), i, item)
    {
        const char *name = json_string_value(json_object_get(item, "architecture"));
        if (!name || strcmp(name, own_processor()->name) != 0)
            continue;
        json_array_foreach(json_object_get(item, "subArchitectures"), k, sub)
        {
            const char *text = json_string_value(sub);
            for (size_t n = 0; n < sizeof others / sizeof *others; n++)
                if (text && strcmp(text, others[n].name) == 0)
                    return others[n].token;
        }
    }
    return 0;
}

static int add_rules(scmp_filter_ctx filter, json_t *list, uint32_t processor)
{
    json_t *rule;
    size_t i;
    int r = 0;
    if (processor != seccomp_arch_native()) {
        r = seccomp_arch_remove(filter, seccomp_arch_native());
        if (r == 0)
            r = seccomp_arch_add(filter, processor);
    }
    json_array_foreach(json_object_get(list, "syscalls"), i, rule)
    {
        r = r < 0 || !is_meant(rule) ? r : add_rule(filter, rule);
    }
    return r < 0 ? r : deny_never(filter);
}

/* Adds the program for one processor, which ends whatever comes from another one. */
static int compile(json_t *list, uint32_t processor, struct sfs_buf *program)
{
    AUTO(sfs_close_fd) int fd = memfd_create("stagefs-seccomp", MFD_CLOEXEC);
    uint32_t action;
    int r = read_action(json_object_get(list, "defaultAction"),
                        json_object_get(list, "defaultErrnoRet"), &action);
    if (r < 0)
        return r;
    scmp_filter_ctx filter = seccomp_init(action);
    if (!filter)
        return -ENOMEM;
    r = add_rules(filter, list, processor);
    if (r == 0)
        r = seccomp_export_bpf(filter, fd);
    seccomp_release(filter);
    off_t size = r < 0 ? 0 : lseek(fd, 0, SEEK_END);
    void *room = r < 0 ? NULL : sfs_buf_grow(program, (size_t)size);
    if (r < 0 || !room)
        return r < 0 ? r : -ENOMEM;
    if (sfs_io_read_at(fd, room, (size_t)size, 0) != size)
        return -EIO;
    return 0;
}

/* One program for two processors costs libseccomp four times as much as two, so they are made one
 * behind the other, and three steps in front choose. */
int sfs_run_seccomp_make(struct json_t *list, struct sfs_buf *ret_program, struct sfs_error *err)
{
    const uint32_t own = seccomp_arch_native(), other = find_other(list);
    AUTO(sfs_buf_close) struct sfs_buf first = { 0 };
    AUTO(sfs_buf_close) struct sfs_buf second = { 0 };
    int r = compile(list, own, &first);
    if (r == 0 && other != 0)
        r = compile(list, other, &second);
    const struct sock_filter choice[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, own, 1, 0),
        BPF_STMT(BPF_JMP | BPF_JA, (uint32_t)(first.size / sizeof(struct sock_filter))),
    };
    if (r == 0 && other != 0)
        r = sfs_buf_add(ret_program, choice, sizeof choice);
    if (r == 0)
        r = sfs_buf_add(ret_program, first.data, first.size);
    if (r == 0 && other != 0)
        r = sfs_buf_add(ret_program, second.data, second.size);
    if (r == 0 && ret_program->size > SFS_INIT_MAX_FILTER)
        r = -E2BIG;
    return r < 0 ? sfs_fail_errno(err, -r, "compiling a list of system calls") : 0;
}

int sfs_run_seccomp_hold_cores(struct sfs_buf *ret_program, struct sfs_error *err)
{
    json_t *list = make_core_list();
    int r = list ? sfs_run_seccomp_make(list, ret_program, err) : sfs_fail_memory(err);
    json_decref(list);
    return r;
}

/* ---- once for each list ---- */

/* Reads the list, which the caller frees; *ret_text NULL: this machine has none. */
static int read_list(char **ret_text, size_t *ret_size, const char **ret_path,
                     struct sfs_error *err)
{
    for (size_t i = 0; i < sizeof list_paths / sizeof *list_paths; i++) {
        int r = sfs_io_read_file(AT_FDCWD, list_paths[i], MAX_LIST_SIZE, ret_text, ret_size, err);
        *ret_path = list_paths[i];
        if (r != -ENOENT)
            return r;
    }
    *ret_text = NULL;
    *ret_size = 0;
    *ret_path = "the list of system calls of stagefs";
    return 0;
}

static int parse_list(const char *text, size_t size, json_t **ret_list, struct sfs_error *err)
{
    json_t *list = text ? json_loadb(text, size, 0, NULL) : make_built_in();
    if (json_is_string(json_object_get(list, "defaultAction")) &&
        json_is_array(json_object_get(list, "syscalls"))) {
        *ret_list = list;
        return 0;
    }
    json_decref(list);
    return text ? sfs_fail(err, EBADMSG, "not a list of system calls") : sfs_fail_memory(err);
}

/* Makes the key under which the program is kept: a digest of all that it depends on. */
static int make_key(const char *text, size_t size, char key[SFS_DIGEST_TEXT])
{
    AUTO(sfs_buf_close) struct sfs_buf all = { 0 };
    struct sfs_digest digest;
    const struct scmp_version *library = seccomp_version();
    sfs_buf_printf(&all, SFS_VERSION " %u.%u.%u", library->major, library->minor, library->micro);
    for (const struct run_capability *own = sfs_run_capabilities; own->name; own++)
        sfs_buf_printf(&all, " %d", own->number);
    for (size_t i = 0; i < sizeof never / sizeof *never; i++)
        sfs_buf_printf(&all, " %s", never[i]);
    if (text)
        sfs_buf_add(&all, text, size);
    if (sfs_buf_check(&all, NULL) < 0 || sfs_digest_of(all.data, all.size, &digest) < 0)
        return -ENOMEM;
    sfs_digest_print(&digest, key);
    return 0;
}

static bool find_kept(struct run_filter *filter, const char *key)
{
    AUTO(sfs_close_fd) int fd = -1;
    struct stat st;
    if (sfs_store_open_file(filter->store, SFS_STORE_FILTER, key, &fd, NULL) < 0 ||
        fstat(fd, &st) < 0 || st.st_size == 0 || st.st_size > SFS_INIT_MAX_FILTER ||
        st.st_size % (off_t)sizeof(struct sock_filter) != 0)
        return false;
    const size_t size = (size_t)st.st_size;
    void *room = sfs_buf_grow(&filter->program, size);
    if (room && sfs_io_read_at(fd, room, size, 0) == (ssize_t)size)
        return true;
    filter->program.size = 0;
    return false;
}

/* If this fails, the next run makes the program again. */
static void keep(struct run_filter *filter, const char *key)
{
    AUTO(sfs_io_temp_close) struct sfs_io_temp temp = { .fd = -1, .dirfd = -1 };
    if (sfs_store_start_file(filter->store, SFS_STORE_FILTER, &temp, NULL) == 0 &&
        sfs_io_write_all(temp.fd, filter->program.data, filter->program.size) == 0)
        sfs_store_commit_file(filter->store, SFS_STORE_FILTER, key, &temp, NULL);
}

static int make_program(struct run_filter *filter, const char *text, size_t size)
{
    char key[SFS_DIGEST_TEXT];
    json_t *list = NULL;
    bool kept = filter->store && make_key(text, size, key) == 0;
    if (kept && find_kept(filter, key))
        return 0;
    int r = parse_list(text, size, &list, &filter->err);
    if (r < 0)
        return r;
    r = sfs_run_seccomp_make(list, &filter->program, &filter->err);
    json_decref(list);
    if (r == 0 && kept)
        keep(filter, key);
    return r;
}

static void *make_filter(void *arg)
{
    struct run_filter *filter = arg;
    AUTO(sfs_free) char *text = NULL;
    const char *path;
    size_t size;
    filter->r = read_list(&text, &size, &path, &filter->err);
    if (filter->r == 0)
        filter->r = make_program(filter, text, size);
    if (filter->r == 0 && filter->holds_cores)
        filter->r = sfs_run_seccomp_hold_cores(&filter->cores, &filter->err);
    if (filter->r < 0)
        sfs_fail_while(&filter->err, filter->r, "%s", path);
    return NULL;
}

int sfs_run_filter_start(struct run_filter *filter, struct sfs_error *err)
{
    int r = sfs_thread_start(&filter->thread, make_filter, filter, "compiles system calls", err);
    filter->runs = r == 0;
    return r;
}

int sfs_run_filter_wait(struct run_filter *filter)
{
    if (filter->runs)
        pthread_join(filter->thread, NULL);
    filter->runs = false;
    return filter->r;
}

void sfs_run_filter_close(struct run_filter *filter)
{
    sfs_run_filter_wait(filter);
    sfs_buf_close(&filter->program);
    sfs_buf_close(&filter->cores);
}
