/* Device code by kind and architecture: what there is, and what --gpu-arch takes away. */
#include "device_table.h"

#include <errno.h>
#include <jansson.h>
#include <stagefs/format.h>
#include <stdio.h>
#include <string.h>

struct survey {
    const struct sfs_tree *tree;
    const struct sfs_progress *progress;
    struct sfs_device_codes codes;
    bool *seen; /* by node: hard links are one file */
    struct sfs_error *err;
};

static void survey_done(struct survey *survey)
{
    sfs_device_codes_done(&survey->codes);
    free(survey->seen);
}

/* What is not understood does not keep the others from being told. */
static int visit(void *user, const char *path, sfs_node node)
{
    struct survey *survey = user;
    if (survey->seen[node])
        return 0;
    survey->seen[node] = true;
    int r = sfs_device_codes_read(survey->tree, node, &survey->codes, survey->err);
    if (r != -EBADMSG)
        return r;
    AUTO(sfs_free)
    char *text = sfs_format("/%s: its device code is not understood: %s", path, survey->err->text);
    if (text && survey->progress->warn)
        survey->progress->warn(survey->progress->user, text);
    return 0;
}

bool device_code_sums(const struct stage_args *args, uint64_t *ret_bytes, uint64_t *ret_gone)
{
    *ret_bytes = *ret_gone = 0;
    if (!args->slim || !args->gpu_archs)
        return false;
    const struct sfs_device_codes *codes = sfs_slim_device_codes(args->slim);
    for (size_t i = 0; i < codes->count; i++) {
        *ret_bytes += codes->items[i].bytes;
        *ret_gone += codes->items[i].gone_bytes;
    }
    return true;
}

static const char *kind_name(enum sfs_device_kind kind)
{
    static const char *const names[] = { [SFS_DEVICE_CUBIN] = "cubin",
                                         [SFS_DEVICE_PTX] = "ptx",
                                         [SFS_DEVICE_OTHER] = "other",
                                         [SFS_DEVICE_BARE] = "bare" };
    return names[kind];
}

static void add(struct sfs_device_code *sum, const struct sfs_device_code *code)
{
    sum->entries += code->entries;
    sum->bytes += code->bytes;
    sum->gone_entries += code->gone_entries;
    sum->gone_bytes += code->gone_bytes;
}

static void print_row(const char *kind, const char *arch, const struct sfs_device_code *code,
                      bool with_gone)
{
    char size[SIZE_TEXT], gone[SIZE_TEXT];
    printf("%-6s  %-8s  %8llu  %7s", kind, arch, (unsigned long long)code->entries,
           print_size(code->bytes, size));
    if (with_gone)
        printf("  %7s", print_size(code->gone_bytes, gone));
    putchar('\n');
}

static void print_table(const struct sfs_device_codes *codes, bool with_gone)
{
    struct sfs_device_code sum = { 0 };
    printf("%-6s  %-8s  %8s  %7s%s\n", "kind", "for", "pieces", "size",
           with_gone ? "     goes" : "");
    for (size_t i = 0; i < codes->count; i++) {
        const struct sfs_device_code *code = &codes->items[i];
        char arch[16];
        snprintf(arch, sizeof arch, "sm_%u%.1s", code->arch, &code->feature);
        print_row(kind_name(code->kind), arch, code, with_gone);
        add(&sum, code);
    }
    print_row("total", "", &sum, with_gone);
}

static int print_as_json(const struct sfs_device_codes *codes)
{
    json_t *answer = json_array();
    for (size_t i = 0; i < codes->count; i++) {
        const struct sfs_device_code *code = &codes->items[i];
        char arch[16];
        snprintf(arch, sizeof arch, "sm_%u%.1s", code->arch, &code->feature);
        json_array_append_new(answer,
                              json_pack("{s:s, s:s, s:I, s:I, s:I, s:I}", "kind",
                                        kind_name(code->kind), "arch", arch, "pieces",
                                        (json_int_t)code->entries, "bytes", (json_int_t)code->bytes,
                                        "gone_pieces", (json_int_t)code->gone_entries, "gone_bytes",
                                        (json_int_t)code->gone_bytes));
    }
    return print_json(answer);
}

int device_table_print(const struct session *session, struct sfs_error *err)
{
    AUTO(survey_done)
    struct survey survey = { .tree = sfs_stage_tree(session->stage),
                             .progress = &session->tool.progress,
                             .err = err };
    const struct stage_args *args = &session->stage_args;
    const struct sfs_device_codes *codes = &survey.codes;
    bool is_narrowed = args->slim && args->gpu_archs;
    if (is_narrowed) {
        codes = sfs_slim_device_codes(args->slim);
    } else {
        survey.seen = calloc(sfs_tree_count(survey.tree), sizeof *survey.seen);
        int r = survey.seen ? sfs_tree_walk(survey.tree, SFS_ROOT, visit, &survey, err)
                            : sfs_fail_memory(err);
        if (r < 0)
            return r;
    }
    progress_close();
    if (session->tool.json)
        return print_as_json(codes);
    print_table(codes, is_narrowed);
    return 0;
}
