/* Walks the tree that the stage was before it was trimmed, and asks of each name. */
#include "du_why.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stagefs/format.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

struct reason_sum {
    uint64_t names, bytes;
};

struct why_walk {
    const struct sfs_slim *slim;
    const struct sfs_tree *tree;
    const char *start; /* the PATH that is walked, without '/' at its end */
    bool human;
    json_t *answer; /* NULL: text */
    bool *seen;     /* of the summary, by node: a file of several names has its bytes once */
    struct reason_sum sums[SFS_WHY_COUNT];
};

static uint64_t file_size(const struct sfs_tree *tree, sfs_node node)
{
    struct sfs_attr attr;
    sfs_tree_attr(tree, node, &attr);
    return S_ISREG(attr.mode) ? attr.size : 0;
}

static void print_bytes(bool human, uint64_t bytes, int width)
{
    char text[SIZE_TEXT];
    if (human)
        printf("%*s", width, print_size(bytes, text));
    else
        printf("%*" PRIu64, width, bytes);
}

/* ---- each name ---- */

static int tell(struct why_walk *walk, const char *path, sfs_node node, enum sfs_why why,
                const char *cause)
{
    uint64_t size = file_size(walk->tree, node);
    if (walk->answer) {
        json_t *row = json_pack("{s:o, s:I, s:s, s:o}", "path", json_text(path), "bytes",
                                (json_int_t)size, "reason", sfs_why_word(why), "because",
                                cause ? json_text(cause) : json_null());
        return json_array_append_new(walk->answer, row) < 0 ? -ENOMEM : 0;
    }
    print_bytes(walk->human, size, walk->human ? 7 : 11);
    printf("  %-11s  ", sfs_why_word(why));
    print_path(path);
    if (cause) {
        printf("  < ");
        print_path(cause);
    }
    putchar('\n');
    return 0;
}

static int visit_name(void *user, const char *path, sfs_node node)
{
    struct why_walk *walk = user;
    bool is_start = *path == 0;
    AUTO(sfs_free)
    char *whole = sfs_format("%s%s%s", walk->start, is_start && *walk->start ? "" : "/", path);
    if (!whole)
        return -ENOMEM;
    enum sfs_why why;
    AUTO(sfs_free) char *cause = NULL;
    int r = sfs_slim_why(walk->slim, whole, &why, &cause);
    if (r < 0)
        return r;
    if (why == SFS_WHY_NOT && !is_start)
        return SFS_WALK_SKIP; /* what is in it is left out, too */
    if (why == SFS_WHY_BASE && !is_start)
        return 0;
    return tell(walk, whole, node, why, cause);
}

static int walk_path(struct why_walk *walk, const char *path, struct sfs_error *err)
{
    sfs_node node;
    AUTO(sfs_free) char *start = sfs_format("%s%s", *path == '/' ? "" : "/", path);
    if (!start)
        return sfs_fail_memory(err);
    for (size_t size = strlen(start); size > 0 && start[size - 1] == '/'; size--)
        start[size - 1] = 0;
    int r = sfs_tree_resolve(walk->tree, start, 0, &node, err);
    if (r < 0)
        return r;
    enum sfs_why why;
    if (sfs_slim_why(walk->slim, start, &why, NULL) == -ENOENT)
        return sfs_fail(err, ENOENT, "%s: a path without symlinks on its way is asked for", path);
    walk->start = start;
    r = sfs_tree_walk(walk->tree, node, visit_name, walk, err);
    return r == -ENOMEM ? sfs_fail_memory(err) : r;
}

/* ---- the summary ---- */

static int visit_sum(void *user, const char *path, sfs_node node)
{
    struct why_walk *walk = user;
    enum sfs_why why;
    int r = sfs_slim_why(walk->slim, path, &why, NULL);
    struct sfs_attr attr;
    sfs_tree_attr(walk->tree, node, &attr);
    if (r < 0 || S_ISDIR(attr.mode))
        return r;
    walk->sums[why].names++;
    walk->sums[why].bytes += walk->seen[node] ? 0 : file_size(walk->tree, node);
    /* Its bytes go with a name that is kept, wherever that stands. */
    walk->seen[node] |= why != SFS_WHY_NOT;
    return 0;
}

static int print_summary(struct why_walk *walk)
{
    if (!walk->answer)
        printf("%*s  %8s  %s\n", walk->human ? 7 : 11, "size", "files", "reason");
    for (int why = 0; why < SFS_WHY_COUNT; why++) {
        const struct reason_sum *sum = &walk->sums[why];
        const char *word = sfs_why_word((enum sfs_why)why);
        if (sum->names == 0)
            continue;
        if (walk->answer) {
            json_t *row = json_pack("{s:s, s:I, s:I}", "reason", word, "files",
                                    (json_int_t)sum->names, "bytes", (json_int_t)sum->bytes);
            if (json_array_append_new(walk->answer, row) < 0)
                return -ENOMEM;
            continue;
        }
        print_bytes(walk->human, sum->bytes, walk->human ? 7 : 11);
        printf("  %8" PRIu64 "  %s\n", sum->names, word);
    }
    return 0;
}

static int summarize(struct why_walk *walk, struct sfs_error *err)
{
    walk->seen = calloc(sfs_tree_count(walk->tree), sizeof *walk->seen);
    int r = walk->seen ? sfs_tree_walk(walk->tree, SFS_ROOT, visit_sum, walk, err) : -ENOMEM;
    if (r == 0)
        r = print_summary(walk);
    free(walk->seen);
    return r == -ENOMEM ? sfs_fail_memory(err) : r;
}

int du_why(struct session *session, bool human, struct sfs_error *err)
{
    AUTO(json_decrefp) json_t *answer = session->tool.json ? json_array() : NULL;
    const struct sfs_slim *slim = session->stage_args.slim;
    if (!slim)
        return sfs_fail(err, EINVAL, "--why goes with --trim PROFILE or --drop GLOB");
    struct why_walk walk = {
        .slim = slim, .tree = sfs_slim_full_tree(slim), .human = human, .answer = answer
    };
    int r = session->rest_count == 0 ? summarize(&walk, err) : 0;
    for (int i = 0; r == 0 && i < session->rest_count; i++)
        r = walk_path(&walk, session->rest[i], err);
    return r == 0 && answer ? print_json(json_incref(answer)) : r;
}
