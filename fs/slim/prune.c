/* The libraries are listed first, then looked into by several threads, each taking the next one.
 * What there is to tell is told at the end, in the order of the list, so that two runs say the
 * same. */
#include "slim/prune.h"

#include "base/array.h"
#include "base/banned.h"
#include "base/thread.h"
#include "tree/tree_inner.h"
#include <errno.h>
#include <sys/stat.h>

#define MAX_THREADS 16u

struct library {
    sfs_node node;
    uint64_t size;
    char *path; /* owned */
    struct sfs_device_plan plan;
    char *complaint; /* owned; NULL: it was understood */
    bool is_known;   /* from before: nobody looks into it again, and nothing is told again */
};

struct sfs_prune {
    struct sfs_gpu_rules rules;
    struct library *libraries; /* by node, once all are there */
    size_t count, capacity;
    struct sfs_device_codes codes;
};

/* While it is made. */
struct pruning {
    struct sfs_prune *prune, *before; /* before: of the same rules, or NULL */
    const struct sfs_pick *pick;
    const struct sfs_gpu_rules *rules;
    const struct sfs_progress *progress;
    bool *seen; /* by node */
    uint64_t total;
    pthread_mutex_t lock; /* guards what follows */
    size_t next;
    uint64_t done;
    int result;
    struct sfs_error *err;
};

static void close_prune(struct sfs_prune **prune)
{
    struct sfs_prune *closed = TAKE(*prune);
    if (!closed)
        return;
    for (size_t i = 0; i < closed->count; i++) {
        sfs_device_plan_done(&closed->libraries[i].plan);
        free(closed->libraries[i].path);
        free(closed->libraries[i].complaint);
    }
    free(closed->libraries);
    sfs_device_codes_done(&closed->codes);
    free(closed);
}

/* ---- one file ---- */

struct tree_file {
    const struct sfs_tree *tree;
    sfs_node node;
};

/* Without a hint to the layer that a reader goes on: most files are asked for two pieces only. */
static int read_file(void *user, void *buf, size_t size, uint64_t offset, struct sfs_error *err)
{
    const struct tree_file *file = user;
    for (size_t done = 0; done < size;) {
        AUTO(sfs_slice_release) struct sfs_slice slice = { 0 };
        int r = sfs_tree_pin(file->tree, file->node, offset + done, size - done, &slice, err);
        if (r < 0)
            return r;
        memcpy((char *)buf + done, slice.data, slice.size);
        done += slice.size;
    }
    return 0;
}

static int plan_file(const struct sfs_tree *tree, sfs_node node, const struct sfs_gpu_rules *rules,
                     struct sfs_device_plan *plan, struct sfs_error *err)
{
    struct sfs_attr attr;
    struct tree_file file = { tree, node };
    sfs_tree_attr(tree, node, &attr);
    if (!S_ISREG(attr.mode) || attr.size < SFS_DEVICE_FILE_MIN)
        return 0;
    const struct sfs_device_source source = { read_file, &file, attr.size };
    return sfs_device_plan_make(&source, rules, plan, err);
}

static int add_codes(struct sfs_device_codes *codes, const struct sfs_device_codes *more)
{
    for (size_t i = 0; i < more->count; i++)
        if (sfs_device_codes_add(codes, &more->items[i]) < 0)
            return -ENOMEM;
    return 0;
}

int sfs_device_codes_read(const struct sfs_tree *tree, sfs_node node,
                          struct sfs_device_codes *codes, struct sfs_error *err)
{
    AUTO(sfs_device_plan_done) struct sfs_device_plan plan = { 0 };
    int r = plan_file(tree, node, NULL, &plan, err);
    if (r == 0 && add_codes(codes, &plan.codes) < 0)
        return sfs_fail_memory(err);
    return r;
}

/* ---- all of them ---- */

static int compare_nodes(const void *left, const void *right)
{
    sfs_node a = ((const struct library *)left)->node, b = ((const struct library *)right)->node;
    return (a > b) - (a < b);
}

static struct library *find_library(const struct sfs_prune *prune, sfs_node node)
{
    const struct library key = { .node = node };
    return prune && prune->count > 0
               ? bsearch(&key, prune->libraries, prune->count, sizeof key, compare_nodes)
               : NULL;
}

/* Moves what was found before to the library. */
static void take_known(const struct sfs_prune *before, struct library *library)
{
    struct library *known = find_library(before, library->node);
    if (!known)
        return;
    library->plan = known->plan;
    library->complaint = TAKE(known->complaint);
    library->is_known = true;
    known->plan = (struct sfs_device_plan){ 0 };
}

/* May it be a library, or a program? Looking into every file would decode them all. */
static bool is_likely(const char *path, const struct sfs_attr *attr)
{
    const char *slash = strrchr(path, '/');
    return S_ISREG(attr->mode) && attr->size >= SFS_DEVICE_FILE_MIN &&
           (attr->mode & 0111 || strstr(slash ? slash : path, ".so"));
}

/* Lists what may be a library: each once, whatever names it has. */
static int list_library(void *user, const struct sfs_change *change)
{
    struct pruning *pruning = user;
    const struct sfs_pick *pick = pruning->pick;
    struct sfs_prune *prune = pruning->prune;
    struct sfs_attr attr;
    if (change->kind == SFS_REMOVED || pruning->seen[change->b])
        return 0;
    sfs_tree_attr(pick->tree, change->b, &attr);
    if (!is_likely(change->path, &attr) ||
        (pick->keeps && !pick->keeps(pick->user, change->path, change->b)))
        return 0;
    if (SFS_ARRAY_GROW(prune->libraries, prune->count, prune->capacity, 256) < 0)
        return sfs_fail_memory(pruning->err);
    struct library *library = &prune->libraries[prune->count++];
    *library =
        (struct library){ .node = change->b, .size = attr.size, .path = strdup(change->path) };
    pruning->seen[change->b] = true;
    take_known(pruning->before, library);
    pruning->total += attr.size;
    return library->path ? 0 : sfs_fail_memory(pruning->err);
}

/* Takes the next library off the list; NULL: none is left, or something failed. */
static struct library *take_library(struct pruning *pruning)
{
    LOCK(&pruning->lock);
    if (pruning->result < 0 || pruning->next == pruning->prune->count)
        return NULL;
    return &pruning->prune->libraries[pruning->next++];
}

static void fail(struct pruning *pruning, int r, const struct sfs_error *err)
{
    LOCK(&pruning->lock);
    if (pruning->result == 0 && pruning->err)
        *pruning->err = *err;
    pruning->result = pruning->result < 0 ? pruning->result : r;
}

static void report(struct pruning *pruning, uint64_t size)
{
    const struct sfs_progress *progress = pruning->progress;
    LOCK(&pruning->lock);
    pruning->done += size;
    if (progress && progress->report)
        progress->report(progress->user, "looking for device code", pruning->done, pruning->total);
}

static void *work(void *user)
{
    struct pruning *pruning = user;
    for (struct library *library; (library = take_library(pruning));) {
        struct sfs_error err;
        int r = library->is_known ? 0
                                  : plan_file(pruning->pick->tree, library->node, pruning->rules,
                                              &library->plan, &err);
        if (r == -EBADMSG) {
            library->complaint = sfs_format("%s", err.text);
            r = library->complaint ? 0 : sfs_fail_memory(&err);
        }
        if (r < 0) {
            sfs_fail_while(&err, r, "/%s", library->path);
            fail(pruning, r, &err);
        }
        report(pruning, library->size);
    }
    return NULL;
}

/* The caller's thread works too, so fewer threads than were asked for are enough. */
static void work_together(struct pruning *pruning)
{
    pthread_t threads[MAX_THREADS];
    size_t count = 0, wanted = sfs_cpus() < MAX_THREADS ? sfs_cpus() : MAX_THREADS;
    while (count + 1 < wanted && count + 1 < pruning->prune->count &&
           sfs_thread_start(&threads[count], work, pruning, "looks for device code", NULL) == 0)
        count++;
    work(pruning);
    for (size_t i = 0; i < count; i++)
        pthread_join(threads[i], NULL);
}

static void tell(const struct sfs_progress *progress, const struct library *library)
{
    AUTO(sfs_free) char *text = NULL;
    if (library->complaint)
        text = sfs_format("/%s: its device code stays whole, since it is not understood: %s",
                          library->path, library->complaint);
    else if (library->plan.doubtful > 0)
        text = sfs_format("/%s: device code stays that does not say itself what GPU it is for "
                          "(pieces: %llu)",
                          library->path, (unsigned long long)library->plan.doubtful);
    if (text && progress && progress->warn)
        progress->warn(progress->user, text);
}

/* A name of a GPU that no library knows may be a slip. */
static void tell_unknown(const struct pruning *pruning)
{
    const struct sfs_device_codes *codes = &pruning->prune->codes;
    const struct sfs_progress *progress = pruning->progress;
    for (size_t i = 0; i < pruning->rules->count && codes->count > 0; i++) {
        unsigned gpu = pruning->rules->gpus[i];
        bool runs = false;
        for (size_t j = 0; j < codes->count && !runs; j++) {
            struct sfs_gpu_code code = { codes->items[j].arch, codes->items[j].feature };
            runs = codes->items[j].kind == SFS_DEVICE_CUBIN && sfs_gpu_runs_cubin(gpu, code);
        }
        AUTO(sfs_free)
        char *text =
            runs ? NULL : sfs_format("no library has machine code that runs on sm_%u", gpu);
        if (text && progress && progress->warn)
            progress->warn(progress->user, text);
    }
}

static int look(struct pruning *pruning)
{
    struct sfs_prune *prune = pruning->prune;
    int r = sfs_tree_diff(pruning->pick->base, pruning->pick->tree, 0, list_library, pruning,
                          pruning->err);
    if (r == 0)
        work_together(pruning);
    if (r < 0 || pruning->result < 0)
        return r < 0 ? r : pruning->result;
    for (size_t i = 0; i < prune->count; i++) {
        if (!prune->libraries[i].is_known)
            tell(pruning->progress, &prune->libraries[i]);
        if (add_codes(&prune->codes, &prune->libraries[i].plan.codes) < 0)
            return sfs_fail_memory(pruning->err);
    }
    if (!pruning->before)
        tell_unknown(pruning);
    if (prune->count > 0)
        qsort(prune->libraries, prune->count, sizeof *prune->libraries, compare_nodes);
    return 0;
}

static bool is_same(const struct sfs_gpu_rules *a, const struct sfs_gpu_rules *b)
{
    return a->ptx == b->ptx && a->count == b->count &&
           memcmp(a->gpus, b->gpus, a->count * sizeof *a->gpus) == 0;
}

static void close_findings(void *findings)
{
    struct sfs_prune *prune = findings;
    close_prune(&prune);
}

int sfs_prune_stage(struct sfs_stage *stage, const struct sfs_pick *pick,
                    const struct sfs_gpu_rules *rules, const struct sfs_progress *progress,
                    const struct sfs_prune **ret_prune, struct sfs_error *err)
{
    AUTO(close_prune) struct sfs_prune *before = TAKE(stage->findings);
    AUTO(close_prune) struct sfs_prune *prune = calloc(1, sizeof *prune);
    AUTO(sfs_free) bool *seen = calloc(sfs_tree_count(pick->tree), sizeof *seen);
    if (!prune || !seen)
        return sfs_fail_memory(err);
    prune->rules = *rules;
    struct pruning pruning = {
        .prune = prune, .pick = pick, .rules = rules, .progress = progress, .seen = seen, .err = err
    };
    if (before && is_same(&before->rules, rules))
        pruning.before = before;
    pthread_mutex_init(&pruning.lock, NULL);
    int r = look(&pruning);
    pthread_mutex_destroy(&pruning.lock);
    if (r < 0)
        return r;
    *ret_prune = stage->findings = TAKE(prune);
    stage->close_findings = close_findings;
    return 0;
}

const struct sfs_ranges *sfs_prune_zeros(const struct sfs_prune *prune, sfs_node node)
{
    const struct library *library = find_library(prune, node);
    return library ? &library->plan.zeros : NULL;
}

const struct sfs_device_codes *sfs_prune_codes(const struct sfs_prune *prune)
{
    return &prune->codes;
}
