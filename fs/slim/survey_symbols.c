/* What --strip would take out of libraries and programs. */
#include "slim/survey_parts.h"

#include "slim/findings.h"
#include <errno.h>
#include <stagefs/auto.h>

struct symbols_source {
    const struct sfs_tree *tree;
    sfs_node node;
};

static int read_source(void *user, void *buf, size_t size, uint64_t offset, struct sfs_error *err)
{
    const struct symbols_source *source = user;
    for (size_t at = 0; at < size;) {
        ssize_t n = sfs_tree_read(source->tree, source->node, (char *)buf + at, size - at,
                                  offset + at, err);
        if (n <= 0)
            return n < 0 ? (int)n : sfs_fail(err, EBADMSG, "the file ends before it should");
        at += (size_t)n;
    }
    return 0;
}

static int look_into(struct sfs_survey *survey, const struct sfs_survey_file *file,
                     struct sfs_error *err)
{
    AUTO(sfs_findings_done) struct sfs_findings findings = { 0 };
    struct sfs_attr attr;
    sfs_tree_attr(survey->tree, file->node, &attr);
    struct symbols_source source = { survey->tree, file->node };
    const struct sfs_device_source from = { read_source, &source, attr.size };
    int r = sfs_symbols_find(&from, &findings, err);
    if (r < 0)
        return r == -EBADMSG ? 0 : r;
    for (size_t i = 0; i < findings.symbols.count; i++)
        survey->symbols.bytes += findings.symbols.items[i].size;
    survey->symbols.files += findings.symbols.count > 0;
    return 0;
}

int sfs_survey_find_symbols(struct sfs_survey *survey, struct sfs_error *err)
{
    int r = 0;
    for (size_t i = 0; i < survey->file_count && r == 0; i++) {
        const struct sfs_survey_file *file = &survey->files[i];
        if (!file->is_base && file->bytes >= SFS_FINDINGS_FILE_MIN &&
            (file->kind == SFS_KIND_SHARED_LIBRARY || file->kind == SFS_KIND_PROGRAM))
            r = look_into(survey, file, err);
    }
    return r;
}
