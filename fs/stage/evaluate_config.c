/* Instructions that change the image's config, and the history that all write. */
#include "image/document.h"
#include "stage/evaluate.h"

#include "base/banned.h"
#include "dockerfile/config_text.h"
#include "dockerfile/rune.h"
#include <errno.h>
#include <stagefs/utf8.h>
#include <stdarg.h>
#include <time.h>

#define COMMENT "buildkit.dockerfile.v0"

json_t *sfs_eval_settings(const struct eval_stage *stage)
{
    return json_object_get(stage->config, "config");
}

/* JSON is UTF-8, but a Dockerfile need not be: as Go's encoder, this replaces what is not. */
json_t *sfs_eval_text(const char *text)
{
    json_t *string = json_string(text);
    if (string)
        return string;
    AUTO(sfs_free) char *clean = sfs_utf8_clean(text);
    return clean ? json_string(clean) : NULL;
}

static int set(struct eval *eval, json_t *object, const char *name, json_t *value)
{
    return json_object_set_new(object, name, value) < 0 ? sfs_fail_memory(eval->err) : 0;
}

/* The object (or array) of that name, which is made of `empty` if it is not there. */
static json_t *ensure(json_t *settings, const char *name, json_t *empty)
{
    json_t *value = json_object_get(settings, name);
    if (value && empty && json_typeof(value) == json_typeof(empty)) {
        json_decref(empty);
        return value;
    }
    return json_object_set_new(settings, name, empty) < 0 ? NULL : empty;
}

static int add_history(struct eval *eval, struct eval_stage *stage, const char *text)
{
    char created[40] = "";
    time_t epoch = (time_t)eval->stage->context.epoch;
    struct tm tm;
    if (gmtime_r(&epoch, &tm))
        strftime(created, sizeof created, "%Y-%m-%dT%H:%M:%SZ", &tm);
    json_t *entry = json_pack("{so ss ss sb}", "created_by", sfs_eval_text(text), "comment",
                              COMMENT, "created", created, "empty_layer", 1);
    if (json_array_append_new(json_object_get(stage->config, "history"), entry) < 0)
        return sfs_fail_memory(eval->err);
    return 0;
}

int sfs_eval_history(struct eval *eval, struct eval_stage *stage, bool layer, const char *format,
                     ...)
{
    AUTO(sfs_free) char *text = NULL;
    va_list args;
    va_start(args, format);
    int size = vasprintf(&text, format, args);
    va_end(args);
    if (size < 0) {
        text = NULL;
        return sfs_fail_memory(eval->err);
    }
    if (!layer)
        return add_history(eval, stage, text);
    /* All layers of the stage become one, and so do their histories. */
    if (sfs_buf_printf(&stage->created_by, "%s%s", stage->created_by.size ? "; " : "", text) < 0)
        return sfs_fail_memory(eval->err);
    return 0;
}

/* Adds what was put together for the history of an instruction that makes no layer. */
static int end_history(struct eval *eval, struct eval_stage *stage, const struct sfs_buf *text)
{
    int r = sfs_buf_check(text, eval->err);
    return r < 0 ? r : sfs_eval_history(eval, stage, false, "%s", text->data);
}

/* ---- ENV, LABEL, ARG ---- */

static int set_env(struct eval *eval, json_t *env, const char *name, const char *value)
{
    AUTO(sfs_buf_close) struct sfs_buf item = { 0 };
    size_t size = strlen(name), place = SIZE_MAX;
    if (sfs_buf_printf(&item, "%s=%s", name, value) < 0)
        return sfs_fail_memory(eval->err);
    for (size_t i = json_array_size(env); i > 0; i--) {
        const char *text = json_string_value(json_array_get(env, i - 1));
        if (!text || strncmp(text, name, size) != 0 || (text[size] != '=' && text[size]))
            continue;
        if (place != SIZE_MAX)
            json_array_remove(env, place); /* a base may name it twice, and the last would count */
        place = i - 1;
    }
    json_t *text = sfs_eval_text(item.data);
    int r =
        place == SIZE_MAX ? json_array_append_new(env, text) : json_array_set_new(env, place, text);
    return r < 0 ? sfs_fail_memory(eval->err) : 0;
}

/* All words see the variables as they were before the instruction. */
static int expand_pairs(struct eval *eval, const struct eval_stage *stage,
                        const struct sfs_instruction *instruction, const char ***ret_words)
{
    size_t count = instruction->args.count;
    AUTO(sfs_free) const char **words = calloc(count, sizeof *words);
    if (!words)
        return sfs_fail_memory(eval->err);
    for (size_t i = 0; i < count; i++) {
        words[i] = instruction->args.items[i];
        int r = i % 3 == 2 ? 0 : sfs_eval_expand(eval, stage, words[i], &words[i]);
        if (r < 0)
            return r;
    }
    *ret_words = TAKE(words);
    return 0;
}

int sfs_eval_env(struct eval *eval, struct eval_stage *stage,
                 const struct sfs_instruction *instruction)
{
    AUTO(sfs_free) const char **words = NULL;
    AUTO(sfs_buf_close) struct sfs_buf text = { 0 };
    int r = expand_pairs(eval, stage, instruction, &words);
    json_t *env = r < 0 ? NULL : ensure(sfs_eval_settings(stage), "Env", json_array());
    if (r < 0)
        return r;
    if (!env)
        return sfs_fail_memory(eval->err);
    sfs_buf_add_str(&text, "ENV");
    for (size_t i = 0; r == 0 && i < instruction->args.count; i += 3) {
        r = sfs_eval_set(eval, &stage->env, words[i], words[i + 1]);
        if (r == 0 && set_env(eval, env, words[i], words[i + 1]) < 0)
            r = sfs_fail_memory(eval->err);
        sfs_buf_printf(&text, " %s=%s", words[i], words[i + 1]);
    }
    return r < 0 ? r : end_history(eval, stage, &text);
}

static int set_labels(struct eval *eval, struct eval_stage *stage,
                      const struct sfs_instruction *instruction)
{
    AUTO(sfs_free) const char **words = NULL;
    AUTO(sfs_buf_close) struct sfs_buf text = { 0 };
    int r = expand_pairs(eval, stage, instruction, &words);
    json_t *labels = r < 0 ? NULL : ensure(sfs_eval_settings(stage), "Labels", json_object());
    if (r < 0)
        return r;
    sfs_buf_add_str(&text, "LABEL");
    bool is_set = labels;
    for (size_t i = 0; is_set && i < instruction->args.count; i += 3) {
        is_set = set(eval, labels, words[i], sfs_eval_text(words[i + 1])) == 0;
        sfs_buf_printf(&text, " %s=%s", words[i], words[i + 1]);
    }
    return is_set ? end_history(eval, stage, &text) : sfs_fail_memory(eval->err);
}

/* The value of one ARG: of --build-arg, else its default, else the global of that name, else
 * unset. */
static int arg_value(struct eval *eval, const struct eval_stage *stage, const char *word,
                     const char *name, const char **ret_value)
{
    size_t size = strlen(name);
    *ret_value = sfs_vars_get(&eval->build_args, name, size);
    if (*ret_value)
        return 0;
    if (word[size] == '=')
        return sfs_eval_expand(eval, stage, word + size + 1, ret_value);
    *ret_value = sfs_vars_get(&eval->globals, name, size);
    return 0;
}

int sfs_eval_arg(struct eval *eval, struct eval_stage *stage,
                 const struct sfs_instruction *instruction)
{
    AUTO(sfs_buf_close) struct sfs_buf text = { 0 };
    sfs_buf_add_str(&text, "ARG");
    for (size_t i = 0; i < instruction->args.count; i++) {
        const char *word = instruction->args.items[i], *value = NULL;
        AUTO(sfs_free) char *name = strndup(word, strcspn(word, "="));
        if (!name)
            return sfs_fail_memory(eval->err);
        sfs_vars_unset(&eval->unused, name);
        int r = arg_value(eval, stage, word, name, &value);
        if (r < 0)
            return r;
        if (value)
            r = sfs_eval_set(eval, &stage->env, name, value);
        if (r == 0)
            r = sfs_eval_set(eval, &stage->args, name, value ? value : "");
        if (r < 0)
            return r;
        sfs_buf_printf(&text, " %s%s%s", name, value ? "=" : "", value ? value : "");
    }
    return end_history(eval, stage, &text);
}

/* ---- CMD and its kin ---- */

static json_t *texts(const struct sfs_vars *words, size_t first)
{
    json_t *list = json_array();
    for (size_t i = first; i < words->count; i++)
        if (json_array_append_new(list, sfs_eval_text(words->items[i])) < 0) {
            json_decref(list);
            return NULL;
        }
    return list;
}

int sfs_eval_command(struct eval *eval, const struct eval_stage *stage,
                     const struct sfs_instruction *instruction, const char *text, json_t **ret_args)
{
    const struct sfs_vars *words = &instruction->args;
    if (instruction->json) {
        *ret_args = texts(words, 0);
        return *ret_args ? 0 : sfs_fail_memory(eval->err);
    }
    const json_t *shell = json_object_get(sfs_eval_settings(stage), "Shell");
    AUTO(sfs_json_close)
    json_t *args =
        json_array_size(shell) > 0 ? json_deep_copy(shell) : json_pack("[ss]", "/bin/sh", "-c");
    if (!text)
        text = words->count > 0 ? words->items[0] : "";
    if (json_array_append_new(args, sfs_eval_text(text)) < 0)
        return sfs_fail_memory(eval->err);
    *ret_args = TAKE(args);
    return 0;
}

static int set_command(struct eval *eval, struct eval_stage *stage,
                       const struct sfs_instruction *instruction, bool entrypoint)
{
    json_t *settings = sfs_eval_settings(stage), *args;
    AUTO(sfs_buf_close) struct sfs_buf text = { 0 };
    int r = sfs_eval_command(eval, stage, instruction, NULL, &args);
    if (r < 0)
        return r;
    r = sfs_text_quote_list(args, &text) < 0 ? sfs_fail_memory(eval->err) : 0;
    const char *name = entrypoint ? "Entrypoint" : "Cmd";
    bool is_empty = json_array_size(args) == 0;
    if (r == 0)
        r = set(eval, settings, name, args);
    if (is_empty)
        json_object_del(settings, name);
    if (r == 0 && !entrypoint)
        r = set(eval, settings, "ArgsEscaped", json_true());
    if (entrypoint && !stage->has_cmd)
        json_object_del(settings, "Cmd");
    stage->has_cmd = stage->has_cmd || !entrypoint;
    return r < 0 ? r
                 : sfs_eval_history(eval, stage, false, "%s %s", entrypoint ? "ENTRYPOINT" : "CMD",
                                    text.data);
}

static int set_shell(struct eval *eval, struct eval_stage *stage,
                     const struct sfs_instruction *instruction)
{
    AUTO(sfs_buf_close) struct sfs_buf text = { 0 };
    if (sfs_text_list(&instruction->args, &text) < 0)
        return sfs_fail_memory(eval->err);
    int r = set(eval, sfs_eval_settings(stage), "Shell", texts(&instruction->args, 0));
    return r < 0 ? r : sfs_eval_history(eval, stage, false, "SHELL %s", text.data);
}

static int set_health(struct eval *eval, struct eval_stage *stage,
                      const struct sfs_instruction *instruction)
{
    static const char *const flags[] = { "interval", "timeout", "start-period", "start-interval" };
    static const char *const names[] = { "Interval", "Timeout", "StartPeriod", "StartInterval" };
    const char *retries = sfs_flag_text(instruction, "retries");
    bool none = strcasecmp(instruction->args.items[0], "NONE") == 0;
    AUTO(sfs_buf_close) struct sfs_buf text = { 0 };
    AUTO(sfs_json_close) json_t *test = texts(&instruction->args, 1);
    AUTO(sfs_json_close) json_t *health = json_pack("{sO?}", "Test", test);
    const char *type = none ? "NONE" : instruction->json ? "CMD" : "CMD-SHELL";
    if (!health || json_array_insert_new(test, 0, json_string(type)) < 0 ||
        sfs_buf_add_str(&text, "{Test:") < 0 || sfs_text_json_list(test, &text) < 0)
        return sfs_fail_memory(eval->err);
    for (size_t i = 0; i < sizeof flags / sizeof *flags; i++) {
        const char *flag = none ? NULL : sfs_flag_text(instruction, flags[i]);
        int64_t ns = 0;
        if (flag && *flag && sfs_duration_parse(flag, &ns, eval->err) < 0)
            return -EINVAL;
        if (ns != 0 && set(eval, health, names[i], json_integer(ns)) < 0)
            return -ENOMEM;
        sfs_buf_printf(&text, " %s:", names[i]);
        if (sfs_text_duration(ns, &text) < 0)
            return sfs_fail_memory(eval->err);
    }
    long count = !none && retries ? strtol(retries, NULL, 10) : 0;
    if (count > 0 && set(eval, health, "Retries", json_integer(count)) < 0)
        return -ENOMEM;
    int r = set(eval, sfs_eval_settings(stage), "Healthcheck", json_incref(health));
    return r < 0 ? r
                 : sfs_eval_history(eval, stage, false, "HEALTHCHECK %s Retries:%ld}", text.data,
                                    count);
}

/* ---- EXPOSE, VOLUME ---- */

static int compare_texts(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Expands what an EXPOSE names, in order, into ports. */
static int expand_ports(struct eval *eval, const struct eval_stage *stage,
                        const struct sfs_instruction *instruction, struct sfs_vars *ports)
{
    char **sorted = instruction->args.items; /* BuildKit sorts them where they stand */
    qsort(sorted, instruction->args.count, sizeof *sorted, compare_texts);
    int r = 0;
    for (size_t i = 0; r == 0 && i < instruction->args.count; i++) {
        AUTO(sfs_vars_close) struct sfs_vars words = { 0 };
        r = sfs_expand_words(sorted[i], eval->dockerfile.escape, &stage->env, 0, &words, eval->err);
        for (size_t k = 0; r == 0 && k < words.count; k++)
            r = sfs_text_ports(words.items[k], ports, eval->err);
    }
    return r;
}

static int set_ports(struct eval *eval, struct eval_stage *stage,
                     const struct sfs_instruction *instruction)
{
    AUTO(sfs_vars_close) struct sfs_vars ports = { 0 };
    AUTO(sfs_buf_close) struct sfs_buf text = { 0 };
    int r = expand_ports(eval, stage, instruction, &ports);
    if (r < 0)
        return r;
    json_t *exposed = ensure(sfs_eval_settings(stage), "ExposedPorts", json_object());
    if (!exposed || sfs_text_list(&ports, &text) < 0)
        return sfs_fail_memory(eval->err);
    for (size_t i = 0; r == 0 && i < ports.count; i++)
        r = set(eval, exposed, ports.items[i], json_object());
    return r < 0 ? r : sfs_eval_history(eval, stage, false, "EXPOSE %s", text.data);
}

static int set_volume(struct eval *eval, struct eval_stage *stage, const char *word,
                      const char **ret_path)
{
    size_t size = strlen(word);
    sfs_rune_trim(&word, &size);
    AUTO(sfs_free) char *trimmed = strndup(word, size);
    if (!trimmed)
        return sfs_fail_memory(eval->err);
    int r = sfs_eval_expand(eval, stage, trimmed, ret_path);
    if (r < 0)
        return r;
    if (!**ret_path)
        return sfs_fail(eval->err, EINVAL, "VOLUME specified can not be an empty string");
    json_t *volumes = json_object_get(sfs_eval_settings(stage), "Volumes");
    AUTO(sfs_json_close) json_t *name = sfs_eval_text(*ret_path);
    return set(eval, volumes, name ? json_string_value(name) : NULL, json_object());
}

static int set_volumes(struct eval *eval, struct eval_stage *stage,
                       const struct sfs_instruction *instruction)
{
    AUTO(sfs_buf_close) struct sfs_buf text = { 0 };
    if (!ensure(sfs_eval_settings(stage), "Volumes", json_object()))
        return sfs_fail_memory(eval->err);
    sfs_buf_add_str(&text, "VOLUME [");
    for (size_t i = 0; i < instruction->args.count; i++) {
        const char *path;
        int r = set_volume(eval, stage, instruction->args.items[i], &path);
        if (r < 0)
            return r;
        sfs_buf_printf(&text, "%s%s", i ? " " : "", path);
    }
    sfs_buf_add_str(&text, "]");
    return end_history(eval, stage, &text);
}

/* ---- those with one word ---- */

static int add_trigger(struct eval *eval, struct eval_stage *stage,
                       const struct sfs_instruction *instruction)
{
    const char *text = instruction->original;
    AUTO(sfs_buf_close) struct sfs_buf trigger = { 0 };
    text += strspn(text, " \t\r\n\v\f") + strlen("ONBUILD");
    text += strspn(text, " \t\r\n\v\f");
    sfs_eval_add_heredocs(instruction, text, &trigger);
    json_t *list = ensure(sfs_eval_settings(stage), "OnBuild", json_array());
    if (trigger.failed || json_array_append_new(list, sfs_eval_text(trigger.data)) < 0)
        return sfs_fail_memory(eval->err);
    return 0;
}

static int set_maintainer(struct eval *eval, struct eval_stage *stage,
                          const struct sfs_instruction *instruction)
{
    const char *text = instruction->args.items[0];
    int r = set(eval, stage->config, "author", sfs_eval_text(text));
    return r < 0 ? r : sfs_eval_history(eval, stage, false, "MAINTAINER %s", text);
}

static int set_user(struct eval *eval, struct eval_stage *stage,
                    const struct sfs_instruction *instruction)
{
    const char *text;
    int r = sfs_eval_expand(eval, stage, instruction->args.items[0], &text);
    if (r == 0)
        r = set(eval, sfs_eval_settings(stage), "User", sfs_eval_text(text));
    return r < 0 ? r : sfs_eval_history(eval, stage, false, "USER %s", text);
}

static int set_signal(struct eval *eval, struct eval_stage *stage,
                      const struct sfs_instruction *instruction)
{
    const char *text;
    int r = sfs_eval_expand(eval, stage, instruction->args.items[0], &text);
    if (r == 0 && !sfs_text_is_signal(text))
        r = sfs_fail(eval->err, EINVAL, "invalid signal: %.100s", text);
    if (r == 0)
        r = set(eval, sfs_eval_settings(stage), "StopSignal", sfs_eval_text(text));
    return r < 0 ? r : sfs_eval_history(eval, stage, false, "STOPSIGNAL %s", text);
}

int sfs_eval_config(struct eval *eval, struct eval_stage *stage,
                    const struct sfs_instruction *instruction, enum sfs_keyword keyword)
{
    switch (keyword) {
    case SFS_KEYWORD_CMD:
    case SFS_KEYWORD_ENTRYPOINT:
        return set_command(eval, stage, instruction, keyword == SFS_KEYWORD_ENTRYPOINT);
    case SFS_KEYWORD_EXPOSE:
        return set_ports(eval, stage, instruction);
    case SFS_KEYWORD_HEALTHCHECK:
        return set_health(eval, stage, instruction);
    case SFS_KEYWORD_LABEL:
        return set_labels(eval, stage, instruction);
    case SFS_KEYWORD_MAINTAINER:
        return set_maintainer(eval, stage, instruction);
    case SFS_KEYWORD_ONBUILD:
        return add_trigger(eval, stage, instruction);
    case SFS_KEYWORD_SHELL:
        return set_shell(eval, stage, instruction);
    case SFS_KEYWORD_STOPSIGNAL:
        return set_signal(eval, stage, instruction);
    case SFS_KEYWORD_USER:
        return set_user(eval, stage, instruction);
    case SFS_KEYWORD_VOLUME:
        return set_volumes(eval, stage, instruction);
    default:
        return sfs_fail(eval->err, EINVAL, "it cannot stand here");
    }
}
