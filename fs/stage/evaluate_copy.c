/* COPY, ADD and WORKDIR: those that make layers without running anything. */
#include "stage/evaluate.h"

#include "copy/chmod.h"
#include "copy/copy_source.h"
#include "dockerfile/dockerfile_words.h"
#include "base/path.h"
#include "copy/pattern.h"
#include "layer/layer_text.h"
#include <errno.h>

struct copy_job {
    struct eval *eval;
    struct eval_stage *stage;
    const struct sfs_instruction *instruction;
    bool is_add, from_context;
    const struct sfs_tree *source;
    const char **sources; /* expanded; without the heredocs */
    size_t source_count;
    struct sfs_text_file *texts; /* heredocs, expanded */
    size_t text_count;
    struct sfs_vars excludes;
    struct sfs_copy copy; /* without sources */
    struct sfs_buf label;
};

static void copy_job_done(struct copy_job *job)
{
    free(job->sources);
    free(job->texts);
    sfs_vars_close(&job->excludes);
    sfs_buf_close(&job->label);
}

/* ---- reading the instruction ---- */

static const struct sfs_heredoc *find_heredoc(const struct sfs_instruction *instruction,
                                              const char *name)
{
    const struct sfs_heredoc *found = NULL;
    for (size_t i = 0; i < instruction->heredoc_count; i++)
        if (strcmp(instruction->heredocs[i].name, name) == 0)
            found = &instruction->heredocs[i];
    return found;
}

int sfs_eval_heredoc(struct eval *eval, const struct eval_stage *stage,
                     const struct sfs_heredoc *heredoc, bool expand, const char **ret_text)
{
    char *text = strdup(heredoc->content);
    if (!text)
        return sfs_fail_memory(eval->err);
    if (heredoc->chomp) {
        char *to = text;
        bool at_start = true;
        for (const char *from = text; *from; from++) {
            if (at_start && *from == '\t')
                continue;
            at_start = *from == '\n';
            *to++ = *from;
        }
        *to = 0;
    }
    int r = sfs_eval_keep(eval, text, ret_text);
    if (r < 0 || !expand || !heredoc->expand)
        return r;
    char *expanded = NULL;
    r = sfs_expand_word(text, '\\', &stage->env, SFS_EXPAND_KEEP_QUOTES, &expanded, eval->err);
    return r < 0 ? r : sfs_eval_keep(eval, expanded, ret_text);
}

void sfs_eval_add_heredocs(const struct sfs_instruction *instruction, const char *words,
                           struct sfs_buf *text)
{
    sfs_buf_add_str(text, words);
    for (size_t i = 0; i < instruction->heredoc_count; i++)
        sfs_buf_printf(text, "\n%s%s", instruction->heredocs[i].content,
                       instruction->heredocs[i].name);
}

static int read_source(struct copy_job *job, const char *word)
{
    struct eval *eval = job->eval;
    struct sfs_heredoc heredoc;
    int r = sfs_heredoc_parse(word, &heredoc, eval->err);
    if (r < 0)
        return r;
    if (r == 0)
        return sfs_eval_expand(eval, job->stage, word, &job->sources[job->source_count++]);
    const struct sfs_heredoc *body = find_heredoc(job->instruction, heredoc.name);
    sfs_heredoc_close(&heredoc);
    if (!body) /* of a JSON form, where "<<x" opens none */
        return sfs_eval_expand(eval, job->stage, word, &job->sources[job->source_count++]);
    struct sfs_text_file *file = &job->texts[job->text_count++];
    *file = (struct sfs_text_file){ .name = body->name, .mode = 0644 };
    return sfs_eval_heredoc(eval, job->stage, body, true, &file->text);
}

static int read_words(struct copy_job *job)
{
    const struct sfs_vars *args = &job->instruction->args;
    job->sources = calloc(args->count, sizeof *job->sources);
    job->texts = calloc(args->count, sizeof *job->texts);
    if (!job->sources || !job->texts)
        return sfs_fail_memory(job->eval->err);
    int r = 0;
    for (size_t i = 0; r == 0 && i + 1 < args->count; i++)
        r = read_source(job, args->items[i]);
    if (r == 0)
        r = sfs_eval_expand(job->eval, job->stage, args->items[args->count - 1],
                            &job->copy.destination);
    return r;
}

static int read_flag(struct copy_job *job, const char *name, const char **ret_text)
{
    const char *text = sfs_flag_text(job->instruction, name);
    *ret_text = NULL;
    if (!text)
        return 0;
    int r = sfs_eval_expand(job->eval, job->stage, text, ret_text);
    if (r == 0 && !**ret_text)
        *ret_text = NULL; /* as if the flag were not there */
    return r;
}

static int read_flags(struct copy_job *job)
{
    const struct sfs_instruction *instruction = job->instruction;
    int r = read_flag(job, "chown", &job->copy.chown);
    if (r == 0)
        r = read_flag(job, "chmod", &job->copy.chmod);
    const char *exclude;
    for (size_t at = 0; r == 0 && (exclude = sfs_flag_next(instruction, "exclude", &at));)
        if (sfs_words_add(&job->excludes, exclude, strlen(exclude)) < 0)
            r = sfs_fail_memory(job->eval->err);
    job->copy.excludes = (const char *const *)job->excludes.items;
    job->copy.exclude_count = job->excludes.count;
    job->copy.parents = sfs_flag_is_true(instruction, "parents");
    job->copy.link = sfs_flag_is_true(instruction, "link");
    job->copy.workdir = sfs_config_workdir(job->stage->config);
    return r;
}

/* Makes the text of the history, as BuildKit has it: "COPY --chown=1000 /a /b". */
static int print_label(struct copy_job *job)
{
    const struct sfs_copy *copy = &job->copy;
    struct sfs_buf *label = &job->label;
    sfs_buf_printf(label, "%s%s", job->is_add ? "ADD" : "COPY", copy->parents ? " --parents" : "");
    if (copy->chown)
        sfs_buf_printf(label, " --chown=%s", copy->chown);
    if (copy->chmod)
        sfs_buf_printf(label, " --chmod=%s", copy->chmod);
    for (size_t i = 0; i < job->source_count; i++)
        sfs_buf_printf(label, " %s", job->sources[i]);
    for (size_t i = 0; i < job->text_count; i++)
        sfs_buf_printf(label, " <<%s", job->texts[i].name);
    sfs_buf_printf(label, " %s", copy->destination);
    return sfs_buf_check(label, job->eval->err);
}

/* ---- doing it ---- */

static int copy_from(struct copy_job *job, const struct sfs_tree *source,
                     const char *const *sources, size_t count)
{
    struct sfs_copy copy = job->copy;
    copy.sources = sources;
    copy.source_count = count;
    return sfs_stage_stack_copy(job->eval->stage, &job->stage->stack, source, &copy,
                                job->label.data, job->eval->err);
}

/* Makes a tree that holds the text alone; it lives as long as the stage. */
static int open_text(struct copy_job *job, const struct sfs_text_file *text,
                     const struct sfs_tree **ret_tree)
{
    struct sfs_stage *stage = job->eval->stage;
    struct sfs_layer *layer = NULL;
    int r =
        sfs_text_layer_open(text, 1, stage->context.epoch, job->label.data, &layer, job->eval->err);
    return r < 0 ? r : sfs_stage_add_layer_tree(stage, &layer, ret_tree, job->eval->err);
}

static int copy_texts(struct copy_job *job)
{
    for (size_t i = 0; i < job->text_count; i++) {
        const struct sfs_tree *tree = NULL;
        int r = open_text(job, &job->texts[i], &tree);
        if (r == 0)
            r = copy_from(job, tree, &job->texts[i].name, 1);
        if (r < 0)
            return r;
    }
    return 0;
}

/* Unpacks one file of an ADD, if it is a tar. 1: it was one. */
static int try_unpack(struct copy_job *job, const struct copy_hit *hit)
{
    struct eval *eval = job->eval;
    AUTO(sfs_free) char *destination = sfs_path_join(job->copy.workdir, job->copy.destination);
    struct eval_unpack unpack = {
        .source = job->source,
        .node = hit->node,
        .destination = destination,
        .label = job->label.data,
        .epoch = eval->stage->context.epoch,
        .progress = eval->stage->context.progress,
    };
    if (!destination)
        return sfs_fail_memory(eval->err);
    int r = sfs_stage_stack_tree(eval->stage, &job->stage->stack, &unpack.tree, eval->err);
    if (r == 0 && job->copy.chown) {
        struct sfs_owner owner = { 0 };
        r = sfs_owner_parse(job->copy.chown, unpack.tree, &owner, eval->err);
        unpack.has_owner = true;
        unpack.uid = owner.uid;
        unpack.gid = owner.gid;
    }
    struct sfs_layer *layer = NULL;
    if (r == 0)
        r = sfs_eval_unpack_layer(&unpack, &layer, eval->err);
    if (r <= 0)
        return r < 0 ? sfs_fail_while(eval->err, r, "unpacking %s", hit->path) : 0;
    r = sfs_stage_stack_push(eval->stage, &job->stage->stack, &layer, eval->err);
    return r < 0 ? r : 1;
}

/* Makes a pattern that matches this path alone, with special characters in brackets. A backslash
 * would not do: where no wildcard is, a path is not taken for a pattern. */
static char *escape_pattern(const char *path)
{
    char *escaped = calloc(4, strlen(path) + 1), *to = escaped;
    for (; escaped && *path; path++) {
        bool is_special = strchr("*?[\\", *path);
        if (is_special)
            *to++ = '[';
        if (*path == '\\')
            *to++ = '\\';
        *to++ = *path;
        if (is_special)
            *to++ = ']';
    }
    return escaped;
}

/* Adds what one source of an ADD stands for, one by one, since tars and other files may be
 * mixed. */
static int add_source(struct copy_job *job, const char *source)
{
    AUTO(sfs_copy_hits_done) struct copy_hits hits = { 0 };
    AUTO(sfs_free) char *path = sfs_path_join("/", source);
    if (!path)
        return sfs_fail_memory(job->eval->err);
    int r = sfs_copy_hits_find(job->source, path, &hits, job->eval->err);
    if (r == 0 && (hits.count == 0 || hits.is_malformed))
        return copy_from(job, job->source, &source, 1); /* fails, or warns, as COPY does */
    for (size_t i = 0; r == 0 && i < hits.count; i++) {
        r = try_unpack(job, &hits.items[i]);
        if (r != 0) {
            r = r < 0 ? r : 0;
            continue;
        }
        AUTO(sfs_free) char *literal = hits.is_wild ? escape_pattern(hits.items[i].path) : NULL;
        const char *one = hits.is_wild ? literal : source;
        r = one ? copy_from(job, job->source, &one, 1) : sfs_fail_memory(job->eval->err);
    }
    return r;
}

static bool is_remote(const char *source)
{
    return strncmp(source, "http://", 7) == 0 || strncmp(source, "https://", 8) == 0 ||
           strncmp(source, "git://", 6) == 0 || strncmp(source, "git@", 4) == 0 ||
           strncmp(source, "ssh://", 6) == 0;
}

static int check_sources(struct copy_job *job)
{
    struct eval *eval = job->eval;
    bool has_checksum = sfs_flag_text(job->instruction, "checksum");
    if (has_checksum && job->source_count != 1)
        return sfs_fail(eval->err, EINVAL, "checksum can't be specified for multiple sources");
    for (size_t i = 0; i < job->source_count; i++) {
        bool remote = is_remote(job->sources[i]);
        if (remote && !job->is_add)
            return sfs_fail(eval->err, EINVAL, "source can't be a URL for COPY: %.300s",
                            job->sources[i]);
        if (remote)
            return sfs_fail(eval->err, ENOTSUP,
                            "%.300s: sources of the network are not fetched; download it into the "
                            "build context first",
                            job->sources[i]);
        if (has_checksum)
            return sfs_fail(eval->err, EINVAL, "checksum requires HTTP(S) or Git sources");
    }
    return 0;
}

static int open_source(struct copy_job *job)
{
    const char *from = job->is_add ? NULL : sfs_flag_text(job->instruction, "from");
    if (from && *from)
        return sfs_eval_open_from(job->eval, job->stage, from, &job->source);
    job->from_context = true;
    return job->source_count > 0 ? sfs_eval_open_main_context(job->eval, &job->source) : 0;
}

static int copy_paths(struct copy_job *job)
{
    const char *flag = sfs_flag_text(job->instruction, "unpack");
    bool unpack = job->is_add && (!flag || sfs_flag_is_true(job->instruction, "unpack"));
    if (!unpack)
        return job->source_count > 0 ? copy_from(job, job->source, job->sources, job->source_count)
                                     : 0;
    int r = 0;
    for (size_t i = 0; r == 0 && i < job->source_count; i++)
        r = add_source(job, job->sources[i]);
    return r;
}

int sfs_eval_copy(struct eval *eval, struct eval_stage *stage,
                  const struct sfs_instruction *instruction)
{
    static int (*const steps[])(struct copy_job *) = {
        read_words, read_flags, print_label, check_sources, open_source, copy_paths, copy_texts,
    };
    AUTO(copy_job_done)
    struct copy_job job = { .eval = eval, .stage = stage, .instruction = instruction };
    job.is_add = sfs_instruction_keyword(instruction) == SFS_KEYWORD_ADD;
    int r = 0;
    for (size_t i = 0; r == 0 && i < sizeof steps / sizeof *steps; i++)
        r = steps[i](&job);
    return r < 0 ? r : sfs_eval_history(eval, stage, true, "%s # buildkit", job.label.data);
}

/* ---- WORKDIR ---- */

/* Makes the directory if it is not there, with those above it; it belongs to the USER. */
static int make_workdir(struct eval *eval, struct eval_stage *stage, const char *path)
{
    const struct sfs_tree *tree = NULL;
    const char *user = json_string_value(json_object_get(sfs_eval_settings(stage), "User"));
    struct sfs_owner owner = { 0 };
    int r = sfs_stage_stack_tree(eval->stage, &stage->stack, &tree, eval->err);
    if (r == 0 && user && *user)
        r = sfs_owner_parse(user, tree, &owner, eval->err);
    if (r == 0 && owner.missing)
        r = sfs_eval_let_pass(eval, EINVAL, "WORKDIR %s: the stage does not know '%s'; using %u:%u",
                              path, owner.missing_name, owner.uid, owner.gid);
    AUTO(sfs_free) char *real = NULL;
    if (r == 0)
        r = sfs_eval_real_path(tree, path, &real, eval->err);
    if (r < 0)
        return r;
    struct sfs_inode_rec inode = { .mode = S_IFDIR | 0755,
                                   .uid = owner.uid,
                                   .gid = owner.gid,
                                   .mtime_sec = eval->stage->context.epoch };
    AUTO(sfs_builder_close) struct sfs_builder *builder = sfs_builder_open();
    if (!builder)
        return sfs_fail_memory(eval->err);
    bool made = false;
    r = sfs_eval_make_dirs(tree, builder, real, &inode, &made, eval->err);
    if (r < 0 || !made)
        return r;
    AUTO(sfs_buf_close) struct sfs_buf label = { 0 };
    struct sfs_layer *layer = NULL;
    if (sfs_buf_printf(&label, "WORKDIR %s", path) < 0)
        return sfs_fail_memory(eval->err);
    r = sfs_layer_open_built(builder, label.data, &layer, eval->err);
    return r < 0 ? r : sfs_stage_stack_push(eval->stage, &stage->stack, &layer, eval->err);
}

int sfs_eval_workdir(struct eval *eval, struct eval_stage *stage,
                     const struct sfs_instruction *instruction)
{
    const char *text, *path;
    int r = sfs_eval_expand(eval, stage, instruction->args.items[0], &text);
    path = text; /* an absolute one is named as it is written, a slash behind it included */
    if (r == 0 && *text != '/')
        r = sfs_eval_keep(eval, sfs_path_join(sfs_config_workdir(stage->config), text), &path);
    if (r == 0 &&
        json_object_set_new(sfs_eval_settings(stage), "WorkingDir", sfs_eval_text(path)) < 0)
        r = sfs_fail_memory(eval->err);
    bool makes_layer = r == 0 && strcmp(path, "/") != 0;
    if (makes_layer)
        r = make_workdir(eval, stage, path);
    return r < 0 ? r : sfs_eval_history(eval, stage, makes_layer, "WORKDIR %s", path);
}
