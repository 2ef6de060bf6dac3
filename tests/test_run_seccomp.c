/* A list of system calls, as container tools have it, becomes a program: what it does is seen by
 * letting a child ask for calls under it. */
#include "run/run_parts.h"
#include "support.h"
#include <criterion/criterion.h>
#include <errno.h>
#include <jansson.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

static struct sfs_error error;

static int make(const char *text, struct sfs_buf *program)
{
    json_t *list = json_loads(text, 0, NULL);
    cr_assert(list, "%s", text);
    int r = sfs_run_seccomp_make(list, program, &error);
    json_decref(list);
    return r;
}

/* What uname, a call that cannot fail, fails with under the list; 0: it does not. */
static int ask(const char *text)
{
    struct sfs_buf program = { 0 };
    cr_assert_eq(make(text, &program), 0, "%s", error.text);
    pid_t pid = fork();
    if (pid == 0) {
        char name[6 * 65];
        struct sock_fprog filter = { .len = (unsigned short)(program.size / 8),
                                     .filter = (struct sock_filter *)(void *)program.data };
        prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) < 0)
            _exit(255);
        _exit(syscall(SYS_uname, name) < 0 ? errno : 0);
    }
    int status;
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    cr_assert(WIFEXITED(status));
    sfs_buf_close(&program);
    return WEXITSTATUS(status);
}

#define LIST(rules) "{\"defaultAction\": \"SCMP_ACT_ALLOW\", \"syscalls\": [" rules "]}"
#define DENY(more)                                                                                 \
    "{\"names\": [\"uname\", \"no_such_call\"], \"action\": \"SCMP_ACT_ERRNO\", \"errnoRet\": "    \
    "17" more "}"

Test(run_seccomp, denies_with_the_code_of_the_rule)
{
    cr_assert_eq(ask(LIST(DENY(""))), 17);
    cr_assert_eq(ask(LIST("")), 0);
    cr_assert_eq(ask(LIST("{\"name\": \"uname\", \"action\": \"SCMP_ACT_ERRNO\"}")), EPERM);
}

Test(run_seccomp, takes_rules_that_are_for_capabilities_of_the_sandbox)
{
    cr_assert_eq(ask(LIST(DENY(", \"includes\": {\"caps\": [\"CAP_SYS_ADMIN\"]}"))), 0);
    cr_assert_eq(ask(LIST(DENY(", \"includes\": {\"caps\": [\"CAP_CHOWN\"]}"))), 17);
    cr_assert_eq(ask(LIST(DENY(", \"includes\": {\"caps\": [\"CAP_CHOWN\", \"CAP_BPF\"]}"))), 0);
    cr_assert_eq(ask(LIST(DENY(", \"excludes\": {\"caps\": [\"CAP_CHOWN\"]}"))), 0);
    cr_assert_eq(ask(LIST(DENY(", \"excludes\": {\"caps\": [\"CAP_SYS_ADMIN\"]}"))), 17);
}

Test(run_seccomp, takes_rules_that_are_for_this_processor)
{
    cr_assert_eq(ask(LIST(DENY(", \"includes\": {\"arches\": [\"mips\"]}"))), 0);
    cr_assert_eq(ask(LIST(DENY(", \"includes\": {\"arches\": [\"amd64\", \"arm64\", \"ppc64le\", "
                               "\"s390x\", \"riscv64\"]}"))),
                 17);
}

Test(run_seccomp, compares_arguments)
{
    cr_assert_eq(
        ask(LIST(DENY(", \"args\": [{\"index\": 0, \"value\": 0, \"op\": \"SCMP_CMP_EQ\"}]"))), 0);
    cr_assert_eq(
        ask(LIST(DENY(", \"args\": [{\"index\": 0, \"value\": 0, \"op\": \"SCMP_CMP_NE\"}]"))), 17);
}

Test(run_seccomp, filters_for_a_second_processor_behind_the_first)
{
    cr_assert_eq(ask("{\"defaultAction\": \"SCMP_ACT_ALLOW\", \"archMap\": [{\"architecture\":"
                     "\"SCMP_ARCH_X86_64\", \"subArchitectures\": [\"SCMP_ARCH_X86\"]}],"
                     "\"syscalls\": [" DENY("") "]}"),
                 17);
}

/* 0: setting the limit of core dumps is said to be done, and was not. */
static int try_cores(const struct sfs_buf *program)
{
    const struct rlimit none = { 0, 0 };
    struct rlimit is;
    struct sock_fprog filter = { .len = (unsigned short)(program->size / 8),
                                 .filter = (struct sock_filter *)(void *)program->data };
    if (setrlimit(RLIMIT_CORE, &(struct rlimit){ 1, 1 }) < 0 ||
        prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) < 0)
        return 1;
    if (setrlimit(RLIMIT_CORE, &none) < 0 || prlimit(0, RLIMIT_CORE, &none, NULL) < 0)
        return 2;
#ifdef SYS_setrlimit
    if (syscall(SYS_setrlimit, RLIMIT_CORE, &none) < 0)
        return 3;
#endif
    if (prlimit(0, RLIMIT_CORE, &none, &is) == 0 || errno != EPERM)
        return 4;
    if (getrlimit(RLIMIT_CORE, &is) < 0 || is.rlim_cur != 1 || is.rlim_max != 1)
        return 5;
    return getrlimit(RLIMIT_NOFILE, &is) < 0 || setrlimit(RLIMIT_NOFILE, &is) < 0 ? 6 : 0;
}

Test(run_seccomp, holds_the_limit_of_core_dumps)
{
    struct sfs_buf program = { 0 };
    int status;
    cr_assert_eq(sfs_run_seccomp_hold_cores(&program, &error), 0, "%s", error.text);
    pid_t pid = fork();
    if (pid == 0)
        _exit(try_cores(&program));
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    cr_assert_eq(status, 0, "step %d, signal %d", WEXITSTATUS(status), WTERMSIG(status));
    sfs_buf_close(&program);
}

Test(run_seccomp, refuses_what_it_does_not_understand)
{
    struct sfs_buf program = { 0 };
    static const char *const bad[] = {
        "{\"defaultAction\": \"SCMP_ACT_NOTHING\", \"syscalls\": []}",
        "{\"syscalls\": []}",
        LIST("{\"names\": [\"uname\"], \"action\": \"SCMP_ACT_TRACE\"}"),
        LIST("{\"names\": [\"uname\"]}"),
        LIST(DENY(", \"args\": [{\"index\": 0, \"value\": 0, \"op\": \"SCMP_CMP_LIKE\"}]")),
        LIST(DENY(", \"args\": [{}, {}, {}, {}, {}, {}, {}]")),
        LIST(DENY(", \"args\": [{\"index\": 6, \"value\": 0, \"op\": \"SCMP_CMP_EQ\"}]")),
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        cr_assert_lt(make(bad[i], &program), 0, "%s", bad[i]);
    sfs_buf_close(&program);
}
