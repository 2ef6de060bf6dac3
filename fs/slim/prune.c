/* The libraries are listed first. Those of which nobody knows anything yet are looked into by
 * several threads, each taking the next one. What goes is decided, and what there is to tell is
 * told, at the end, in the order of the list, so that two runs say the same. */
#include "slim/prune.h"

#include "base/array.h"
#include "base/banned.h"
#include "base/thread.h"
#include "slim/device_plan.h"
#include "slim/findings_store.h"
#include "tree/tree_inner.h"
#include <errno.h>
#include <sys/stat.h>

#define MAX_THREADS 16u

struct library {
    sfs_node node;
    uint64_t size;
    char *path;                  /* owned */
    char name[SFS_CONTENT_NAME]; /* of its bytes; empty: they have none that lasts */
    struct sfs_findings findings;
    struct sfs_device_plan plan;
    struct sfs_ranges zeros; /* all that goes */
    bool is_known;           /* nobody has to look into it */
    bool is_told;            /* what there is to say of it was said before */
};

struct sfs_prune {
    struct sfs_prune_rules rules;
    struct library *libraries; /* by node, once all are there */
    size_t count, capacity;
    struct sfs_device_codes codes;
    uint64_t stripped_bytes, stripped_files;
};

/* While it is made. */
struct pruning {
    struct sfs_prune *prune, *before; /* before: what was found last time, or NULL */
    const struct sfs_pick *pick;
    const struct sfs_progress *progress;
    struct sfs_findings_store *kept;
    bool *seen;     /* by node */
    size_t *unread; /* libraries that are to be looked into, the largest first */
    size_t unread_count;
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
        sfs_findings_done(&closed->libraries[i].findings);
        sfs_ranges_done(&closed->libraries[i].zeros);
        free(closed->libraries[i].path);
    }
    free(closed->libraries);
    sfs_device_codes_done(&closed->codes);
    free(closed);
}

/* ---- one file ---- */

#define FEW_READS 8u /* of a file that has no device code: headers, for either search */

struct tree_file {
    const struct sfs_tree *tree;
    sfs_node node;
    unsigned reads;
};

/* The layer is told that the reader goes on only once it is sure: most files are asked for two
 * pieces. From then on other threads decode what comes next. */
static int read_file(void *user, void *buf, size_t size, uint64_t offset, struct sfs_error *err)
{
    struct tree_file *file = user;
    for (size_t done = 0; done < size;) {
        AUTO(sfs_slice_release) struct sfs_slice slice = { 0 };
        int r = sfs_tree_pin(file->tree, file->node, offset + done, size - done, &slice, err);
        if (r < 0)
            return r;
        memcpy((char *)buf + done, slice.data, slice.size);
        done += slice.size;
    }
    if (++file->reads > FEW_READS)
        sfs_tree_follow(file->tree, file->node, offset, size);
    return 0;
}

static int look_into(const struct sfs_tree *tree, sfs_node node, struct sfs_findings *findings,
                     struct sfs_error *err)
{
    struct sfs_attr attr;
    struct tree_file file = { .tree = tree, .node = node };
    sfs_tree_attr(tree, node, &attr);
    if (!S_ISREG(attr.mode) || attr.size < SFS_FINDINGS_FILE_MIN)
        return 0;
    const struct sfs_device_source source = { read_file, &file, attr.size };
    return sfs_findings_make(&source, findings, err);
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
    AUTO(sfs_findings_done) struct sfs_findings findings = { 0 };
    AUTO(sfs_device_plan_done) struct sfs_device_plan plan = { 0 };
    int r = look_into(tree, node, &findings, err);
    if (r == 0 && findings.complaint)
        return sfs_fail(err, EBADMSG, "%s", findings.complaint);
    if (r == 0)
        r = sfs_device_plan_make(&findings, NULL, &plan, err);
    if (r == 0 && add_codes(codes, &plan.codes) < 0)
        return sfs_fail_memory(err);
    return r;
}

/* ---- all of them ---- */

static bool is_same(const struct sfs_prune_rules *a, const struct sfs_prune_rules *b)
{
    const struct sfs_gpu_rules *x = &a->gpus, *y = &b->gpus;
    return a->strip == b->strip && a->has_gpus == b->has_gpus && x->ptx == y->ptx &&
           x->bare == y->bare && x->count == y->count &&
           memcmp(x->gpus, y->gpus, x->count * sizeof *x->gpus) == 0;
}

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

/* Takes what was found before: in this process, or by another command. */
static void take_known(struct pruning *pruning, struct library *library)
{
    struct library *known = find_library(pruning->before, library->node);
    if (known && known->is_known) {
        library->findings = known->findings;
        known->findings = (struct sfs_findings){ 0 };
        known->is_known = false;
        library->is_known = true;
        library->is_told = is_same(&pruning->before->rules, &pruning->prune->rules);
    } else if (library->name[0]) {
        library->is_known = sfs_findings_store_find(pruning->kept, library->name, library->size,
                                                    &library->findings);
    }
}

/* May it be a library, or a program? Looking into every file would decode them all. */
static bool is_likely(const char *path, const struct sfs_attr *attr)
{
    const char *slash = strrchr(path, '/');
    return S_ISREG(attr->mode) && attr->size >= SFS_FINDINGS_FILE_MIN &&
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
    if (sfs_tree_content_name(pick->tree, change->b, library->name) < 0)
        library->name[0] = 0;
    take_known(pruning, library);
    return library->path ? 0 : sfs_fail_memory(pruning->err);
}

/* Takes the next library off the list; NULL: none is left, or something failed. */
static struct library *take_library(struct pruning *pruning)
{
    LOCK(&pruning->lock);
    if (pruning->result < 0 || pruning->next == pruning->unread_count)
        return NULL;
    return &pruning->prune->libraries[pruning->unread[pruning->next++]];
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
        int r = look_into(pruning->pick->tree, library->node, &library->findings, &err);
        if (r < 0) {
            sfs_fail_while(&err, r, "/%s", library->path);
            fail(pruning, r, &err);
        }
        library->is_known = r == 0;
        report(pruning, library->size);
    }
    return NULL;
}

/* The caller's thread works too, so fewer threads than were asked for are enough. */
static void work_together(struct pruning *pruning)
{
    pthread_t threads[MAX_THREADS];
    size_t count = 0, wanted = sfs_cpus() < MAX_THREADS ? sfs_cpus() : MAX_THREADS;
    while (count + 1 < wanted && count + 1 < pruning->unread_count &&
           sfs_thread_start(&threads[count], work, pruning, "looks for device code", NULL) == 0)
        count++;
    work(pruning);
    for (size_t i = 0; i < count; i++)
        pthread_join(threads[i], NULL);
}

static int compare_sizes(const void *left, const void *right, void *user)
{
    const struct library *libraries = user;
    size_t a = *(const size_t *)left, b = *(const size_t *)right;
    if (libraries[a].size != libraries[b].size)
        return libraries[a].size > libraries[b].size ? -1 : 1;
    return (a > b) - (a < b);
}

/* The largest first, or all would wait in the end for the one that began it last. */
static int look_into_all(struct pruning *pruning)
{
    struct sfs_prune *prune = pruning->prune;
    AUTO(sfs_free) size_t *unread = calloc(prune->count + 1, sizeof *unread);
    if (!unread)
        return sfs_fail_memory(pruning->err);
    pruning->unread = unread;
    for (size_t i = 0; i < prune->count; i++)
        if (!prune->libraries[i].is_known) {
            unread[pruning->unread_count++] = i;
            pruning->total += prune->libraries[i].size;
        }
    if (pruning->unread_count == 0)
        return 0;
    qsort_r(unread, pruning->unread_count, sizeof *unread, compare_sizes, prune->libraries);
    work_together(pruning);
    for (size_t i = 0; i < pruning->unread_count && pruning->result == 0; i++) {
        const struct library *library = &prune->libraries[unread[i]];
        if (library->name[0])
            sfs_findings_store_add(pruning->kept, library->name, library->size, &library->findings);
    }
    if (pruning->result == 0)
        sfs_findings_store_save(pruning->kept);
    return pruning->result;
}

/* ---- what goes ---- */

static bool has_beside(const struct sfs_tree *tree, const char *path, const char *before,
                       const char *after)
{
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    AUTO(sfs_free)
    char *other = sfs_format("%.*s%s%s%s", (int)(name - path), path, before, name, after);
    sfs_node node;
    return other && sfs_tree_resolve(tree, other, 0, &node, NULL) == 0;
}

/* Is there something that would notice if a byte of the file changed, and refuse it? Modules of
 * cryptography digest themselves when they are loaded, and kernels may ask for signatures. */
static bool is_sealed(const struct sfs_tree *tree, const struct library *library)
{
    static const char *const endings[] = { ".hmac", ".sig", ".sha256", ".asc" };
    const char *slash = strrchr(library->path, '/');
    const char *name = slash ? slash + 1 : library->path;
    if (strcmp(name, "fips.so") == 0 || strncmp(name, "libgcrypt.so", 12) == 0)
        return true;
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++)
        if (has_beside(tree, library->path, "", endings[i]) ||
            has_beside(tree, library->path, ".", endings[i]))
            return true;
    for (uint32_t i = 0; i < sfs_tree_xattr_count(tree, library->node); i++)
        if (strcmp(sfs_tree_xattr(tree, library->node, i).name, "security.ima") == 0)
            return true;
    return false;
}

static int strip_library(struct sfs_prune *prune, const struct sfs_tree *tree,
                         struct library *library)
{
    const struct sfs_ranges *symbols = &library->findings.symbols;
    if (symbols->count == 0 || is_sealed(tree, library))
        return 0;
    prune->stripped_files++;
    for (size_t i = 0; i < symbols->count; i++) {
        prune->stripped_bytes += symbols->items[i].size;
        if (sfs_ranges_add(&library->zeros, symbols->items[i].offset, symbols->items[i].size) < 0)
            return -ENOMEM;
    }
    return 0;
}

/* Decides what of the library goes. */
static int settle_library(struct pruning *pruning, struct library *library)
{
    struct sfs_prune *prune = pruning->prune;
    int r = 0;
    if (prune->rules.has_gpus)
        r = sfs_device_plan_make(&library->findings, &prune->rules.gpus, &library->plan,
                                 pruning->err);
    for (size_t i = 0; r == 0 && i < library->plan.zeros.count; i++)
        if (sfs_ranges_add(&library->zeros, library->plan.zeros.items[i].offset,
                           library->plan.zeros.items[i].size) < 0)
            r = sfs_fail_memory(pruning->err);
    if (r == 0 && prune->rules.strip && strip_library(prune, pruning->pick->tree, library) < 0)
        r = sfs_fail_memory(pruning->err);
    if (r == 0 && add_codes(&prune->codes, &library->plan.codes) < 0)
        r = sfs_fail_memory(pruning->err);
    sfs_ranges_merge(&library->zeros, 0);
    return r;
}

/* ---- what there is to tell ---- */

static void warn(const struct sfs_progress *progress, char *text)
{
    if (text && progress && progress->warn)
        progress->warn(progress->user, text);
    free(text);
}

static void tell(const struct pruning *pruning, const struct library *library)
{
    const struct sfs_prune_rules *rules = &pruning->prune->rules;
    const struct sfs_findings *findings = &library->findings;
    if (rules->has_gpus && findings->complaint)
        warn(pruning->progress,
             sfs_format("/%s: its device code stays whole, since it is not understood: %s",
                        library->path, findings->complaint));
    else if (library->plan.doubtful > 0)
        warn(pruning->progress,
             sfs_format("/%s: device code stays that does not say itself what GPU it is for "
                        "(pieces: %llu)",
                        library->path, (unsigned long long)library->plan.doubtful));
    if (rules->strip && findings->symbols_complaint)
        warn(pruning->progress, sfs_format("/%s: its symbols stay, since it is not understood: %s",
                                           library->path, findings->symbols_complaint));
}

/* A name of a GPU that no library knows may be a slip. */
static void tell_unknown(const struct pruning *pruning)
{
    const struct sfs_device_codes *codes = &pruning->prune->codes;
    const struct sfs_gpu_rules *rules = &pruning->prune->rules.gpus;
    for (size_t i = 0; i < rules->count && codes->count > 0; i++) {
        unsigned gpu = rules->gpus[i];
        bool runs = false;
        for (size_t j = 0; j < codes->count && !runs; j++) {
            struct sfs_gpu_code code = { codes->items[j].arch, codes->items[j].feature };
            runs = codes->items[j].kind == SFS_DEVICE_CUBIN && sfs_gpu_runs_cubin(gpu, code);
        }
        if (!runs)
            warn(pruning->progress,
                 sfs_format("no library has machine code that runs on sm_%u", gpu));
    }
}

static int look(struct pruning *pruning)
{
    struct sfs_prune *prune = pruning->prune;
    int r = sfs_tree_diff(pruning->pick->base, pruning->pick->tree, 0, list_library, pruning,
                          pruning->err);
    if (r == 0)
        r = look_into_all(pruning);
    for (size_t i = 0; i < prune->count && r == 0; i++) {
        r = settle_library(pruning, &prune->libraries[i]);
        if (r == 0 && !prune->libraries[i].is_told)
            tell(pruning, &prune->libraries[i]);
    }
    if (r < 0)
        return r;
    if (!pruning->before || !is_same(&pruning->before->rules, &prune->rules))
        tell_unknown(pruning);
    if (prune->count > 0)
        qsort(prune->libraries, prune->count, sizeof *prune->libraries, compare_nodes);
    return 0;
}

static void close_findings(void *findings)
{
    struct sfs_prune *prune = findings;
    close_prune(&prune);
}

int sfs_prune_stage(struct sfs_stage *stage, const struct sfs_pick *pick,
                    const struct sfs_prune_rules *rules, const struct sfs_progress *progress,
                    const struct sfs_prune **ret_prune, struct sfs_error *err)
{
    AUTO(close_prune) struct sfs_prune *before = TAKE(stage->findings);
    AUTO(close_prune) struct sfs_prune *prune = calloc(1, sizeof *prune);
    AUTO(sfs_findings_store_close)
    struct sfs_findings_store *kept = sfs_findings_store_open(stage->context.store);
    AUTO(sfs_free) bool *seen = calloc(sfs_tree_count(pick->tree), sizeof *seen);
    if (!prune || !kept || !seen)
        return sfs_fail_memory(err);
    prune->rules = *rules;
    struct pruning pruning = { .prune = prune,
                               .before = before,
                               .pick = pick,
                               .progress = progress,
                               .kept = kept,
                               .seen = seen,
                               .err = err };
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
    return library ? &library->zeros : NULL;
}

const struct sfs_device_codes *sfs_prune_codes(const struct sfs_prune *prune)
{
    return &prune->codes;
}

void sfs_prune_stripped(const struct sfs_prune *prune, uint64_t *ret_bytes, uint64_t *ret_files)
{
    *ret_bytes = prune->stripped_bytes;
    *ret_files = prune->stripped_files;
}
