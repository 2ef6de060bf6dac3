/* Checks of a narrowed stage: rounds of running, and of adding what was missed. */
#include <stagefs/check.h>

#include "base/array.h"
#include "base/temp_dir.h"
#include "tree/profile.h"
#include <errno.h>
#include <fcntl.h>
#include <stagefs/format.h>
#include <string.h>
#include <sys/stat.h>
#define HASH_NONFATAL_OOM 1
#include <uthash.h>

/* A path that is to be kept, as it is found out. */
struct wanted {
    struct sfs_use use; /* its path is owned */
    char *who;          /* owned; "": not known */
    bool is_in_file;    /* the profile that it is written to has the path already */
    UT_hash_handle hh;
};

struct checking {
    const struct sfs_check_spec *check;
    const struct sfs_tree *tree;    /* as it is narrowed now */
    struct wanted *wanted;          /* uthash by path, in the order in which they were found */
    size_t known;                   /* how many of them the stage was narrowed with */
    size_t missing;                 /* in this round */
    struct sfs_error first_missing; /* words */
    struct sfs_error not_started;   /* why the last command could not be started; or "" */
    uint64_t bytes;                 /* that were read in this round */
    /* Of each command, how often what it uses of the whole tree was added: the second time with the
     * names in the directories that it lists. */
    unsigned char *compared;
    bool out_of_memory;
    struct sfs_temp_dir temp; /* where profiles are */
    struct sfs_error *err;
};

static void free_wanted(struct wanted *one)
{
    free(one->use.path);
    free(one->who);
    free(one);
}

static void checking_done(struct checking *checking)
{
    struct wanted *one = checking->wanted;
    HASH_CLEAR(hh, checking->wanted);
    while (one) {
        struct wanted *next = one->hh.next;
        free_wanted(one);
        one = next;
    }
    free(checking->compared);
    sfs_temp_dir_close(&checking->temp);
}

static bool is_there(const struct sfs_tree *tree, const char *path, uint32_t *ret_mode)
{
    sfs_node node;
    struct sfs_attr attr;
    if (sfs_tree_resolve(tree, path, 0, &node, NULL) < 0)
        return false;
    sfs_tree_attr(tree, node, &attr);
    *ret_mode = attr.mode;
    return true;
}

/* Is it something that was lost by narrowing? */
static bool is_lost(const struct checking *checking, const char *path, uint32_t *ret_mode)
{
    uint32_t mode;
    return is_there(checking->check->whole, path, ret_mode) &&
           !is_there(checking->tree, path, &mode);
}

/* ---- what is wanted ---- */

static struct wanted *make_wanted(const char *path, const char *who, enum sfs_use_kind kind)
{
    struct wanted *one = calloc(1, sizeof *one);
    if (!one)
        return NULL;
    one->use.kind = kind;
    one->use.path = strdup(path);
    one->who = strdup(who);
    if (one->use.path && one->who)
        return one;
    free_wanted(one);
    return NULL;
}

static void want(struct checking *checking, const char *path, const char *who,
                 enum sfs_use_kind kind)
{
    struct wanted *one;
    HASH_FIND_STR(checking->wanted, path, one);
    if (one)
        return;
    one = make_wanted(path, who, kind);
    if (one)
        HASH_ADD_KEYPTR(hh, checking->wanted, one->use.path, strlen(one->use.path), one);
    if (one && one->hh.tbl)
        return;
    if (one)
        free_wanted(one);
    checking->out_of_memory = true;
}

static enum sfs_use_kind kind_of(uint32_t mode)
{
    if (S_ISLNK(mode))
        return SFS_USE_LINK;
    return S_ISDIR(mode) ? SFS_USE_STAT : SFS_USE_OPEN;
}

/* What a command looked for in vain in the narrowed tree. Of a directory the name comes back, and
 * what of it is used shows in the next round. */
static void take_missing(void *user, const char *path, const char *who)
{
    struct checking *checking = user;
    uint32_t mode;
    if (!is_lost(checking, path, &mode))
        return;
    if (checking->missing++ == 0)
        sfs_fail(&checking->first_missing, ENOENT, "%s%s%s", path, *who ? ", wanted by " : "", who);
    want(checking, path, who, kind_of(mode));
}

/* ---- running ---- */

/* The command's status, or -errno. */
static int run_in(struct checking *checking, const struct sfs_check_command *command,
                  const struct sfs_tree *tree, const char *trace)
{
    struct sfs_run_request request = *checking->check->request;
    struct sfs_run_result result;
    request.tree = tree;
    request.args = command->args;
    request.trace_path = trace;
    request.trace_append = request.trace_pages = false;
    request.missing = trace ? NULL : take_missing;
    request.user = checking;
    int r = checking->check->runner->run(&request, &result, checking->err);
    if (r < 0)
        return r;
    checking->check->runner->discard(&result.space);
    checking->not_started = result.not_started;
    checking->bytes += result.bytes;
    return result.status;
}

/* Adds all names in a directory of the whole tree. */
static void want_names(struct checking *checking, const char *path)
{
    const struct sfs_tree *whole = checking->check->whole;
    sfs_node dir;
    uint32_t count = 0, mode;
    if (sfs_tree_resolve(whole, path, SFS_RESOLVE_FOLLOW, &dir, NULL) < 0)
        return;
    const struct sfs_dirent *names = sfs_tree_list(whole, dir, &count);
    for (uint32_t i = 0; i < count; i++) {
        AUTO(sfs_free) char *name = sfs_format("%s/%s", path[1] ? path : "", names[i].name);
        if (!name)
            checking->out_of_memory = true;
        else if (is_lost(checking, name, &mode))
            want(checking, name, "", kind_of(mode));
    }
}

static void want_all(struct checking *checking, const struct sfs_profile *profile, bool with_names)
{
    for (size_t i = 0; i < profile->count; i++) {
        uint32_t mode;
        const struct sfs_use *use = &profile->uses[i];
        if (use->kind != SFS_USE_NONE && is_lost(checking, use->path, &mode))
            want(checking, use->path, "", use->kind);
        if (use->kind == SFS_USE_LIST && with_names)
            want_names(checking, use->path);
    }
}

/* Adds what a command that failed uses of the whole tree. */
static int compare(struct checking *checking, size_t index)
{
    const struct sfs_check_command *command = &checking->check->commands[index];
    AUTO(sfs_profile_done) struct sfs_profile profile = { 0 };
    AUTO(sfs_free) char *path = sfs_format("%s/trace", checking->temp.path);
    if (!path)
        return sfs_fail_memory(checking->err);
    int status = run_in(checking, command, checking->check->whole, path);
    if (status < 0)
        return status;
    if (status > 0)
        return sfs_fail(checking->err, ECANCELED,
                        "the check '%s' ends with %d in the whole stage, too: nothing can be said "
                        "of what it needs",
                        command->text, status);
    int r = sfs_profile_read(&profile, path, checking->err);
    if (r == 0)
        want_all(checking, &profile, checking->compared[index]++ > 0);
    return r;
}

static int fail_check(const struct checking *checking, size_t index, int status)
{
    const struct sfs_check_spec *check = checking->check;
    const char *reason = checking->not_started.text;
    char rest[80] = "";
    if (checking->missing > 1)
        snprintf(rest, sizeof rest, " (and for %zu more)", checking->missing - 1);
    return sfs_fail(
        checking->err, ECANCELED, "the check '%s' ended with %d in the %sstage%s%s%s%s%s",
        check->commands[index].text, status, check->tree == check->whole ? "" : "trimmed ",
        *reason ? ": " : "", reason, checking->missing > 0 ? ", where it looked in vain for " : "",
        checking->first_missing.text, rest);
}

/* Runs all commands, up to the first that fails: *ret_failed is its number, or the count. */
static int run_round(struct checking *checking, size_t *ret_failed, int *ret_status)
{
    checking->missing = 0;
    checking->bytes = 0;
    *checking->first_missing.text = 0;
    size_t i;
    for (i = 0; i < checking->check->command_count; i++) {
        *ret_status = run_in(checking, &checking->check->commands[i], checking->tree, NULL);
        if (*ret_status != 0)
            break;
    }
    *ret_failed = i;
    if (checking->out_of_memory)
        return sfs_fail_memory(checking->err);
    return *ret_status < 0 ? *ret_status : 0;
}

/* ---- adding ---- */

static const char head[] = "# What checks of a trimmed stage missed (stagefs commit --heal).\n";

/* Prints those that the file has already, or the others. */
static void print_wanted(const struct checking *checking, bool is_in_file, struct sfs_buf *buf)
{
    for (const struct wanted *one = checking->wanted; one; one = one->hh.next) {
        if (one->is_in_file != is_in_file)
            continue;
        sfs_use_print(&one->use, buf);
        if (*one->who && buf->size > 0) {
            buf->size--; /* the newline */
            sfs_buf_printf(buf, " # wanted by %s\n", one->who);
        }
    }
}

static int narrow(struct checking *checking)
{
    AUTO(sfs_buf_close) struct sfs_buf buf = { 0 };
    AUTO(sfs_free) char *path = sfs_format("%s/wanted", checking->temp.path);
    if (!path)
        return sfs_fail_memory(checking->err);
    print_wanted(checking, false, &buf);
    int r = sfs_buf_check(&buf, checking->err);
    if (r == 0)
        r = sfs_io_write_output(path, buf.data, buf.size, 0600, checking->err);
    checking->known = HASH_COUNT(checking->wanted);
    return r < 0 ? r
                 : checking->check->narrow(checking->check->user, path, &checking->tree,
                                           checking->err);
}

/* Reads the profile that the file has, and joins it with what is wanted of its own paths. */
static int join_file(struct checking *checking, const char *path, struct sfs_buf *buf)
{
    AUTO(sfs_buf_close) struct sfs_buf known = { 0 };
    AUTO(sfs_profile_done) struct sfs_profile before = { 0 };
    AUTO(sfs_profile_done) struct sfs_profile more = { 0 };
    AUTO(sfs_free) char *text = NULL;
    size_t size;
    int r = sfs_io_read_file(AT_FDCWD, path, SFS_MAX_PROFILE, &text, &size, checking->err);
    if (r == 0)
        r = sfs_profile_parse(&before, path, text, size, checking->err);
    for (size_t i = 0; r == 0 && i < before.count; i++) {
        struct wanted *one;
        HASH_FIND_STR(checking->wanted, before.uses[i].path, one);
        if (one)
            one->is_in_file = true;
    }
    print_wanted(checking, true, &known);
    if (r == 0)
        r = sfs_buf_check(&known, checking->err);
    if (r == 0)
        r = sfs_profile_parse(&more, path, known.data, known.size, checking->err);
    return r < 0 ? r : sfs_profile_join_text(path, text, size, &more, buf, checking->err);
}

/* Writes what was added where the caller wants to have it, behind what is there. */
static int keep_wanted(struct checking *checking)
{
    const char *path = checking->check->heal_path;
    AUTO(sfs_buf_close) struct sfs_buf buf = { 0 };
    struct stat st;
    int r = stat(path, &st) == 0 && S_ISREG(st.st_mode) ? join_file(checking, path, &buf) : 0;
    if (r < 0)
        return r;
    sfs_buf_add_str(&buf, head);
    print_wanted(checking, false, &buf);
    r = sfs_buf_check(&buf, checking->err);
    return r < 0 ? r : sfs_io_write_output(path, buf.data, buf.size, 0644, checking->err);
}

static void warn_of_missing(const struct checking *checking)
{
    const struct sfs_progress *progress = checking->check->progress;
    struct sfs_error words;
    if (checking->missing == 0 || !progress || !progress->warn)
        return;
    sfs_fail(&words, ENOENT,
             "the checks passed, but paths that the whole stage has were looked for in vain (%zu), "
             "such as %s%s",
             checking->missing, checking->first_missing.text,
             checking->check->narrow ? ", which --drop leaves out" : ": --heal keeps them");
    progress->warn(progress->user, words.text);
}

/* ---- the rounds ---- */

/* Adds what a failed command uses of the whole tree; if there is nothing new in that, also what is
 * in directories that it lists. */
static int learn_from_whole(struct checking *checking, size_t failed)
{
    int r = 0;
    while (r == 0 && checking->compared[failed] < 2) {
        r = compare(checking, failed);
        if (HASH_COUNT(checking->wanted) > checking->known)
            break;
    }
    return r;
}

/* One round. 1: something was added, and there has to be another; 0: all is well. */
static int check_once(struct checking *checking)
{
    const struct sfs_check_spec *check = checking->check;
    size_t failed;
    int status;
    int r = run_round(checking, &failed, &status);
    bool has_failed = failed < check->command_count;
    const size_t missing = checking->missing;
    const uint64_t bytes = checking->bytes;
    const struct sfs_error not_started = checking->not_started;
    if (r == 0 && has_failed && check->narrow)
        r = learn_from_whole(checking, failed);
    if (r < 0)
        return r;
    if (checking->out_of_memory)
        return sfs_fail_memory(checking->err);
    checking->missing = missing; /* of the round, and not of what ran in the whole tree */
    checking->bytes = bytes;
    checking->not_started = not_started;
    if (!check->narrow || HASH_COUNT(checking->wanted) == checking->known) {
        if (has_failed)
            return fail_check(checking, failed, status);
        warn_of_missing(checking);
        return 0;
    }
    r = narrow(checking);
    return r < 0 ? r : 1;
}

int sfs_check_run(const struct sfs_check_spec *check, struct sfs_check_result *ret_result,
                  struct sfs_error *err)
{
    AUTO(checking_done)
    struct checking checking = { .check = check,
                                 .tree = check->tree,
                                 .compared = calloc(check->command_count + 1, 1),
                                 .temp = { .fd = -1, .parent = -1 },
                                 .err = err };
    if (!checking.compared)
        return sfs_fail_memory(err);
    *ret_result = (struct sfs_check_result){ 0 };
    int r = sfs_temp_dir_open(&checking.temp, check->request->work_dir, err);
    if (r < 0)
        return r;
    for (r = 1; r == 1;) {
        if (ret_result->rounds++ == SFS_CHECK_ROUNDS)
            return sfs_fail(err, ECANCELED,
                            "the checks still miss something after %d rounds, such as %s",
                            SFS_CHECK_ROUNDS, checking.first_missing.text);
        r = check_once(&checking);
    }
    if (r < 0)
        return r;
    ret_result->added = HASH_COUNT(checking.wanted);
    ret_result->missing = checking.missing;
    ret_result->bytes = checking.bytes;
    if (!check->narrow)
        ret_result->added = 0;
    return check->heal_path && ret_result->added > 0 ? keep_wanted(&checking) : 0;
}
