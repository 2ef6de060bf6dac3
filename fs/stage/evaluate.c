/* From a Dockerfile to a stage: the whole file is read and checked, its FROMs become stages, and
 * the target is evaluated with what it needs. */
#include "stage/evaluate.h"

#include "base/io.h"
#include "base/limits.h"
#include "base/path.h"
#include "base/temp_dir.h"
#include "base/warn.h"
#include "image/platform.h"
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stagefs/suggest.h>
#include <stdarg.h>

#define MAX_DOCKERFILE (16u << 20) /* bytes */
#define EPOCH          "SOURCE_DATE_EPOCH"

int sfs_eval_keep(struct eval *eval, char *text, const char **ret_text)
{
    char **items =
        text ? reallocarray(eval->texts.items, eval->texts.count + 1, sizeof *items) : NULL;
    if (!items) {
        free(text);
        return sfs_fail_memory(eval->err);
    }
    eval->texts.items = items;
    items[eval->texts.count++] = text;
    *ret_text = text;
    return 0;
}

int sfs_eval_fail_at(struct eval *eval, int r, const struct sfs_instruction *instruction)
{
    char name[SFS_KEYWORD_TEXT];
    if (eval->located)
        return r;
    eval->located = true;
    return sfs_fail_while(eval->err, r, "%s:%u: %s", eval->file, instruction->line,
                          sfs_instruction_name(instruction, name));
}

int sfs_eval_expand(struct eval *eval, const struct eval_stage *stage, const char *word,
                    const char **ret_text)
{
    char *text = NULL;
    int r = sfs_expand_word(word, eval->dockerfile.escape, stage ? &stage->env : &eval->globals, 0,
                            &text, eval->err);
    return r < 0 ? r : sfs_eval_keep(eval, text, ret_text);
}

int sfs_eval_set(struct eval *eval, struct sfs_vars *vars, const char *name, const char *value)
{
    if (vars->count >= SFS_MAX_VARIABLES && !sfs_vars_get(vars, name, strlen(name)))
        return sfs_fail(eval->err, E2BIG, "more than %u variables", SFS_MAX_VARIABLES);
    return sfs_vars_set(vars, name, value) < 0 ? sfs_fail_memory(eval->err) : 0;
}

int sfs_eval_let_pass(const struct eval *eval, int code, const char *format, ...)
{
    const struct sfs_context *context = &eval->stage->context;
    va_list args;
    va_start(args, format);
    int r = sfs_fail_or_warn_v(eval->err, context->progress, context->strict, code, format, args);
    va_end(args);
    return r;
}

/* ---- reading ---- */

static int read_input(struct sfs_buf *text, struct sfs_error *err)
{
    for (;;) {
        char *room = sfs_buf_grow(text, 65536);
        if (!room)
            return sfs_fail_memory(err);
        ssize_t n = read(STDIN_FILENO, room, 65536);
        if (n < 0 && errno == EINTR)
            n = 0;
        else if (n <= 0) {
            int code = errno;
            text->size -= 65536;
            return n < 0 ? sfs_fail_errno(err, code, "reading standard input") : 0;
        }
        text->size -= 65536 - (size_t)n;
        if (text->size > MAX_DOCKERFILE)
            return sfs_fail(err, E2BIG, "the Dockerfile is larger than %u bytes", MAX_DOCKERFILE);
    }
}

/* Does the file lie in the build context? */
static bool is_in_context(const struct sfs_stage_spec *spec)
{
    AUTO(sfs_free) char *parent = sfs_parent_of(spec->dockerfile);
    AUTO(sfs_free) char *dir = parent ? realpath(parent, NULL) : NULL;
    AUTO(sfs_free) char *context = realpath(spec->context ? spec->context : ".", NULL);
    return dir && context && (strcmp(dir, context) == 0 || sfs_path_is_below(dir, context));
}

/* A user may give a pipe, as `-f <(...)` does; who made the context may not, since nobody might
 * ever write to it. */
static int read_named(const struct eval *eval, struct sfs_buf *text)
{
    return (is_in_context(eval->spec) ? sfs_io_read_regular : sfs_io_read_file)(
        AT_FDCWD, eval->file, MAX_DOCKERFILE, &text->data, &text->size, eval->err);
}

static int read_dockerfile(struct eval *eval)
{
    AUTO(sfs_buf_close) struct sfs_buf text = { 0 };
    bool is_input = strcmp(eval->spec->dockerfile, "-") == 0;
    eval->file = is_input ? "Dockerfile" : eval->spec->dockerfile;
    int r = is_input ? read_input(&text, eval->err) : read_named(eval, &text);
    if (r < 0)
        return r;
    if (text.size == 0)
        return sfs_fail(eval->err, EINVAL, "%s: the Dockerfile cannot be empty", eval->file);
    return sfs_dockerfile_parse(text.data, text.size, eval->file, &eval->dockerfile, eval->err);
}

static int check_instructions(struct eval *eval)
{
    bool in_stage = false;
    for (size_t i = 0; i < eval->dockerfile.count; i++) {
        const struct sfs_instruction *instruction = &eval->dockerfile.instructions[i];
        int r = sfs_instruction_check(instruction, eval->err);
        enum sfs_keyword keyword = r < 0 ? SFS_KEYWORD_COUNT : sfs_instruction_keyword(instruction);
        in_stage = in_stage || keyword == SFS_KEYWORD_FROM;
        if (r == 0 && !in_stage && keyword != SFS_KEYWORD_ARG)
            r = sfs_fail(eval->err, EINVAL, "no build stage in current context: FROM comes first");
        if (r < 0)
            return sfs_eval_fail_at(eval, r, instruction);
    }
    if (!in_stage)
        return sfs_fail(eval->err, EINVAL, "%s: there is no FROM", eval->file);
    return 0;
}

/* ---- the global scope ---- */

/* As docker and buildx do, the variable counts as a build argument if none of that name is
 * given. */
static int take_epoch_variable(struct eval *eval)
{
    const char *value = getenv(EPOCH);
    if (!value || !*value || sfs_vars_get(&eval->build_args, EPOCH, strlen(EPOCH)))
        return 0;
    return sfs_vars_set(&eval->build_args, EPOCH, value) < 0 ? sfs_fail_memory(eval->err) : 0;
}

static int set_build_args(struct eval *eval)
{
    for (size_t i = 0; i < eval->spec->build_arg_count; i++) {
        const struct sfs_stage_pair *pair = &eval->spec->build_args[i];
        const char *value = pair->right ? pair->right : getenv(pair->left);
        if (!*pair->left)
            return sfs_fail(eval->err, EINVAL, "--build-arg needs a name");
        if (!value)
            continue;
        if (sfs_vars_set(&eval->build_args, pair->left, value) < 0)
            return sfs_fail_memory(eval->err);
    }
    if (sfs_vars_copy(&eval->build_args, &eval->unused) < 0)
        return sfs_fail_memory(eval->err);
    return take_epoch_variable(eval);
}

/* SOURCE_DATE_EPOCH, as an argument or as the default of a global ARG, gives what the build makes
 * its date. If it is empty, or "context" (a directory has no date of its own), it does not
 * count. */
static int set_epoch(struct eval *eval)
{
    const char *text = sfs_vars_get(&eval->build_args, EPOCH, strlen(EPOCH));
    if (!text)
        text = sfs_vars_get(&eval->globals, EPOCH, strlen(EPOCH));
    if (!text)
        return 0;
    if (!*text || strcmp(text, "context") == 0) {
        sfs_vars_unset(&eval->build_args, EPOCH);
        sfs_vars_unset(&eval->globals, EPOCH);
        return 0;
    }
    char *end;
    errno = 0;
    long long seconds = strtoll(text, &end, 10);
    if (errno || *end || seconds < 0 || isspace((unsigned char)*text))
        return sfs_fail(eval->err, EINVAL, "%s: " EPOCH " is '%.100s', not a number of seconds",
                        eval->file, text);
    eval->stage->has_epoch = true;
    eval->stage->context.epoch = seconds;
    return 0;
}

static int set_platform_args(struct eval *eval, const char *prefix, const char *platform)
{
    struct sfs_platform parsed;
    char text[SFS_PLATFORM_TEXT];
    int r = sfs_platform_parse(platform, &parsed, eval->err);
    if (r < 0)
        return r;
    const struct {
        const char *name, *value;
    } args[] = { { "PLATFORM", sfs_platform_print(&parsed, text) },
                 { "OS", parsed.os },
                 { "OSVERSION", "" },
                 { "ARCH", parsed.arch },
                 { "VARIANT", parsed.variant } };
    for (size_t i = 0; i < sizeof args / sizeof *args; i++) {
        char name[32];
        snprintf(name, sizeof name, "%s%s", prefix, args[i].name);
        const char *given = sfs_vars_get(&eval->build_args, name, strlen(name));
        sfs_vars_unset(&eval->unused, name);
        if (sfs_vars_set(&eval->globals, name, given ? given : args[i].value) < 0)
            return sfs_fail_memory(eval->err);
    }
    return 0;
}

/* Takes a variable of an ARG before the first FROM. */
static int set_global(struct eval *eval, const char *word)
{
    size_t size = strcspn(word, "=");
    AUTO(sfs_free) char *name = strndup(word, size);
    AUTO(sfs_free) char *expanded = NULL;
    if (!name)
        return sfs_fail_memory(eval->err);
    const char *value = sfs_vars_get(&eval->build_args, name, size);
    sfs_vars_unset(&eval->unused, name);
    if (!value && word[size]) {
        int r = sfs_expand_word(word + size + 1, eval->dockerfile.escape, &eval->globals, 0,
                                &expanded, eval->err);
        if (r < 0)
            return r;
        value = expanded;
    }
    return value ? sfs_eval_set(eval, &eval->globals, name, value) : 0;
}

static int set_globals(struct eval *eval)
{
    const char *target = eval->spec->target;
    if (!target)
        target = eval->stages[eval->count - 1].name;
    int r = set_platform_args(eval, "BUILD", NULL);
    if (r == 0)
        r = set_platform_args(eval, "TARGET", eval->stage->context.platform);
    if (r < 0)
        return r;
    if (sfs_vars_set(&eval->globals, "TARGETSTAGE", target ? target : "default") < 0)
        return sfs_fail_memory(eval->err);
    for (size_t i = 0; i < eval->dockerfile.count; i++) {
        const struct sfs_instruction *instruction = &eval->dockerfile.instructions[i];
        if (sfs_instruction_keyword(instruction) != SFS_KEYWORD_ARG)
            break;
        for (size_t a = 0; a < instruction->args.count; a++)
            if ((r = set_global(eval, instruction->args.items[a])) < 0)
                return sfs_eval_fail_at(eval, r, instruction);
    }
    return 0;
}

/* ---- stages ---- */

static int split_stages(struct eval *eval)
{
    const struct sfs_dockerfile *dockerfile = &eval->dockerfile;
    eval->stages = calloc(dockerfile->count, sizeof *eval->stages);
    if (!eval->stages)
        return sfs_fail_memory(eval->err);
    for (size_t i = 0; i < dockerfile->count; i++) {
        const struct sfs_instruction *instruction = &dockerfile->instructions[i];
        if (sfs_instruction_keyword(instruction) != SFS_KEYWORD_FROM) {
            if (eval->count > 0)
                eval->stages[eval->count - 1].count++;
            continue;
        }
        if (eval->count == SFS_MAX_STAGES)
            return sfs_fail(eval->err, E2BIG, "%s:%u: more than %u stages", eval->file,
                            instruction->line, SFS_MAX_STAGES);
        struct eval_stage *stage = &eval->stages[eval->count];
        *stage = (struct eval_stage){ .from = instruction,
                                      .instructions = instruction + 1,
                                      .index = eval->count };
        eval->count++;
        if (sfs_from_name(instruction, &stage->name) < 0)
            return sfs_fail_memory(eval->err);
    }
    return 0;
}

static int resolve_platform(struct eval *eval, struct eval_stage *stage)
{
    const char *flag = sfs_flag_text(stage->from, "platform");
    if (!flag)
        return 0;
    struct sfs_platform parsed;
    int r = sfs_expand_word(flag, eval->dockerfile.escape, &eval->globals, 0, &stage->platform,
                            eval->err);
    if (r < 0)
        return r;
    if (!*stage->platform)
        return sfs_fail(eval->err, EINVAL, "empty platform value from expression %.100s", flag);
    return sfs_platform_parse(stage->platform, &parsed, eval->err);
}

/* Finds the earlier stage that a FROM names: the last of that name that stands before it. */
static int resolve_from(struct eval *eval, struct eval_stage *stage)
{
    const char *word = stage->from->args.items[0];
    int r =
        sfs_expand_word(word, eval->dockerfile.escape, &eval->globals, 0, &stage->base, eval->err);
    if (r < 0)
        return r;
    if (!*stage->base)
        return sfs_fail(eval->err, EINVAL, "base name (%.100s) should not be blank", word);
    stage->replaced = stage->name ? sfs_eval_find_context(eval, stage->name) : NULL;
    for (size_t i = 0; i < stage->index && !stage->replaced; i++) {
        const char *name = eval->stages[i].name;
        if (name && strcmp(name, stage->base) == 0)
            stage->parent = &eval->stages[i];
    }
    return resolve_platform(eval, stage);
}

static int find_target(struct eval *eval)
{
    const char *target = eval->spec->target;
    eval->target = &eval->stages[eval->count - 1];
    if (!target)
        return 0;
    for (size_t i = eval->count; i > 0; i--) {
        eval->target = &eval->stages[i - 1];
        if (eval->target->name && strcasecmp(eval->target->name, target) == 0)
            return 0;
    }
    char *end;
    errno = 0;
    unsigned long number = strtoul(target, &end, 10);
    if (*target >= '0' && *target <= '9' && !*end && !errno && number < eval->count) {
        eval->target = &eval->stages[number];
        return 0;
    }
    const char *near = sfs_eval_suggest_stage(eval, target);
    return sfs_fail(eval->err, EINVAL, "%s: target stage \"%s\" could not be found%s%s%s",
                    eval->file, target, near ? " (did you mean " : "", near ? near : "",
                    near ? "?)" : "");
}

/* ---- who needs whom, before anything is done ---- */

static int check_needs(struct eval *eval, struct eval_stage *stage, unsigned char *marks);

static int check_from_of(struct eval *eval, struct eval_stage *stage,
                         const struct sfs_instruction *instruction, const char *name,
                         unsigned char *marks)
{
    struct eval_stage *from = NULL;
    int r = sfs_eval_find_stage(eval, name, &from);
    if (r < 0 || !from)
        return r;
    r = check_needs(eval, from, marks);
    if (r == 0 && from->index >= stage->index)
        r = sfs_fail(eval->err, EINVAL,
                     "cannot copy from stage \"%s\", it needs to be defined before the current "
                     "stage",
                     name);
    return r < 0 ? sfs_eval_fail_at(eval, r, instruction) : 0;
}

/* Fails if stages need one another in a circle. marks, by stage: 1 being looked at, 2 done. */
static int check_needs(struct eval *eval, struct eval_stage *stage, unsigned char *marks)
{
    if (marks[stage->index] == 1)
        return sfs_fail(eval->err, EINVAL, "circular dependency detected on stage: %s",
                        stage->name ? stage->name : stage->base);
    if (marks[stage->index] == 2 || stage->replaced)
        return 0;
    marks[stage->index] = 1;
    int r = stage->parent ? check_needs(eval, stage->parent, marks) : 0;
    for (size_t i = 0; r == 0 && i < stage->count; i++) {
        size_t at = 0;
        AUTO(sfs_free) char *scratch = NULL;
        const char *name;
        while (r == 0 && (name = sfs_eval_next_from(&stage->instructions[i], &at, &scratch)))
            r = check_from_of(eval, stage, &stage->instructions[i], name, marks);
    }
    marks[stage->index] = 2;
    return r;
}

static int check_target(struct eval *eval)
{
    AUTO(sfs_free) unsigned char *marks = calloc(eval->count, 1);
    return marks ? check_needs(eval, eval->target, marks) : sfs_fail_memory(eval->err);
}

/* ---- the end ---- */

static int warn_of_unused(struct eval *eval)
{
    static const char *const ignored[] = { "HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY",
                                           "NO_PROXY",   "ALL_PROXY",   "SOURCE_DATE_EPOCH" };
    for (size_t i = 0; i < eval->unused.count; i++) {
        const char *item = eval->unused.items[i];
        size_t size = strcspn(item, "=");
        bool is_known = strncmp(item, "BUILDKIT_", 9) == 0;
        for (size_t k = 0; k < sizeof ignored / sizeof *ignored; k++)
            is_known = is_known ||
                       (strlen(ignored[k]) == size && strncasecmp(item, ignored[k], size) == 0);
        if (is_known)
            continue;
        int r = sfs_eval_let_pass(eval, EINVAL, "%s: no ARG takes --build-arg %.*s", eval->file,
                                  (int)size, item);
        if (r < 0)
            return r;
    }
    return 0;
}

static int evaluate_target(struct eval *eval)
{
    return sfs_eval_evaluate(eval, eval->target);
}

static int hand_over(struct eval *eval)
{
    struct eval_stage *target = eval->target;
    struct sfs_stage *stage = eval->stage;
    int r = sfs_stage_stack_tree(stage, &target->stack, &stage->tree, eval->err);
    if (r < 0)
        return r;
    stage->base_tree = target->base_tree;
    if (!stage->base_tree)
        r = sfs_stage_add_tree(stage, NULL, 0, &stage->base_tree, eval->err);
    if (r < 0)
        return r;
    stage->base_image = target->base_image;
    stage->config = TAKE(target->config);
    if (target->created_by.size == 0 &&
        sfs_buf_printf(&target->created_by, "FROM %s", target->base) < 0)
        return sfs_fail_memory(eval->err);
    stage->created_by = TAKE(target->created_by.data);
    return 0;
}

static int resolve_all(struct eval *eval)
{
    for (size_t i = 0; i < eval->count; i++) {
        int r = resolve_from(eval, &eval->stages[i]);
        if (r < 0)
            return sfs_eval_fail_at(eval, r, eval->stages[i].from);
    }
    return 0;
}

static int evaluate(struct eval *eval)
{
    static int (*const steps[])(struct eval *) = {
        read_dockerfile, check_instructions, split_stages,   set_build_args,
        set_globals,     set_epoch,          resolve_all,    find_target,
        check_target,    evaluate_target,    warn_of_unused, hand_over,
    };
    int r = 0;
    for (size_t i = 0; r == 0 && i < sizeof steps / sizeof *steps; i++)
        r = steps[i](eval);
    return r;
}

static void sfs_eval_done(struct eval *eval)
{
    for (size_t i = 0; i < eval->count; i++) {
        struct eval_stage *stage = &eval->stages[i];
        free(stage->base);
        free(stage->name);
        free(stage->platform);
        sfs_stage_stack_done(&stage->stack);
        json_decref(stage->config);
        sfs_vars_close(&stage->env);
        sfs_vars_close(&stage->args);
        sfs_buf_close(&stage->created_by);
    }
    free(eval->stages);
    free(eval->directories);
    free(eval->identities);
    sfs_dockerfile_close(&eval->dockerfile);
    sfs_vars_close(&eval->build_args);
    sfs_vars_close(&eval->unused);
    sfs_vars_close(&eval->globals);
    sfs_vars_close(&eval->texts);
}

int sfs_stage_open_dockerfile(const struct sfs_stage_spec *spec, const struct sfs_context *context,
                              struct sfs_stage **ret_stage, struct sfs_error *err)
{
    AUTO(sfs_stage_close) struct sfs_stage *stage = NULL;
    int r = sfs_stage_begin(context, &stage, err);
    if (r < 0)
        return r;
    AUTO(sfs_eval_done) struct eval eval = { .spec = spec, .stage = stage, .err = err };
    r = evaluate(&eval);
    if (r == 0)
        *ret_stage = TAKE(stage);
    return r;
}
