/* The rules are those of `buildah config`, of which these options are. */
#include "commit/config_edit.h"

#include "base/buf.h"
#include "image/document.h"
#include <errno.h>
#include <stagefs/json.h>

/* Makes a JSON string. JSON is UTF-8: other bytes are refused. */
static int make_string(const char *text, size_t size, const char *what, json_t **ret_string,
                       struct sfs_error *err)
{
    *ret_string = json_stringn(text, size);
    if (!*ret_string)
        return sfs_fail(err, EINVAL, "--%s '%.200s' is not UTF-8", what, text);
    return 0;
}

/* The object or array `key`, made where it is not there. */
static json_t *get_part(json_t *object, const char *key, json_t *empty)
{
    json_t *part = json_object_get(object, key);
    if (part && json_typeof(part) == json_typeof(empty)) {
        json_decref(empty);
        return part;
    }
    return json_object_set_new(object, key, empty) < 0 ? NULL : json_object_get(object, key);
}

static void drop_if_empty(json_t *object, const char *key)
{
    const json_t *part = json_object_get(object, key);
    if (json_object_size(part) == 0 && json_array_size(part) == 0)
        json_object_del(object, key);
}

/* Is it "-", or "NAME-"? */
static bool is_removal(const char *text)
{
    size_t size = strlen(text);
    return !strchr(text, '=') && size > 0 && text[size - 1] == '-';
}

/* Drops NAME from an array of "NAME=VALUE", however often it stands there. */
static void drop_env(json_t *env, const char *name, size_t size)
{
    for (size_t i = json_array_size(env); i > 0; i--) {
        const char *text = json_string_value(json_array_get(env, i - 1));
        if (text && strncmp(text, name, size) == 0 && text[size] == '=')
            json_array_remove(env, i - 1);
    }
}

static int edit_env(json_t *settings, const char *text, struct sfs_error *err)
{
    json_t *env = get_part(settings, "Env", json_array());
    if (!env)
        return sfs_fail_memory(err);
    if (strcmp(text, "-") == 0)
        return json_array_clear(env);
    const char *end = strchr(text, '=');
    bool removes = is_removal(text);
    if (!removes && (!end || end == text))
        return sfs_fail(err, EINVAL, "--env '%.200s' has no %s", text, end ? "name" : "value");
    size_t size = removes ? strlen(text) - 1 : (size_t)(end - text);
    json_t *item = NULL;
    int r = removes ? 0 : make_string(text, strlen(text), "env", &item, err);
    if (r < 0)
        return r;
    drop_env(env, text, size);
    return item && json_array_append_new(env, item) < 0 ? sfs_fail_memory(err) : 0;
}

/* Edits an object by NAME=VALUE, NAME (an empty value), NAME- (removes it) or - (removes all). */
static int edit_map(json_t *map, const char *what, const char *text, struct sfs_error *err)
{
    if (strcmp(text, "-") == 0)
        return json_object_clear(map);
    const char *end = strchr(text, '=');
    size_t size = end ? (size_t)(end - text) : strlen(text) - is_removal(text);
    if (size == 0 || *text == '=')
        return sfs_fail(err, EINVAL, "--%s '%.200s' has no name", what, text);
    AUTO(sfs_free) char *name = strndup(text, size);
    if (!name)
        return sfs_fail_memory(err);
    if (is_removal(text)) {
        json_object_del(map, name);
        return 0;
    }
    json_t *value = NULL;
    int r = make_string(end ? end + 1 : "", end ? strlen(end + 1) : 0, what, &value, err);
    if (r == 0 && json_object_set_new(map, name, value) < 0)
        r = sfs_fail(err, EINVAL, "--%s '%.200s' is not UTF-8", what, text);
    return r;
}

/* ---- commands ---- */

/* A JSON array of strings, or NULL. */
static json_t *parse_array(const char *text)
{
    AUTO(sfs_json_close) json_t *array = NULL;
    size_t i;
    const json_t *item;
    if (sfs_json_parse(text, strlen(text), 0, &array, NULL) < 0 || !json_is_array(array))
        return NULL;
    json_array_foreach(array, i, item)
    {
        if (!json_is_string(item) || sfs_json_is_number(json_string_value(item)))
            return NULL;
    }
    return TAKE(array);
}

/* Adds one word to `word`; *text goes on behind it. -EINVAL: a quote does not end. */
static int take_word(const char **text, struct sfs_buf *word)
{
    const char *at = *text;
    char quote = 0;
    int r = sfs_buf_add(word, "", 0);
    for (; r == 0 && *at && (quote || !strchr(" \t\n", *at)); at++) {
        if (quote ? *at == quote : *at == '\'' || *at == '"') {
            quote = quote ? 0 : *at;
            continue;
        }
        if (*at == '\\' && quote != '\'' && at[1])
            at++;
        r = sfs_buf_add(word, at, 1);
    }
    *text = at;
    return r == 0 && quote ? -EINVAL : r;
}

int sfs_command_split(const char *text, json_t **ret_words, struct sfs_error *err)
{
    AUTO(sfs_json_close) json_t *words = parse_array(text);
    if (words) {
        *ret_words = TAKE(words);
        return 0;
    }
    words = json_array();
    for (const char *at = text + strspn(text, " \t\n"); words && *at; at += strspn(at, " \t\n")) {
        AUTO(sfs_buf_close) struct sfs_buf word = { 0 };
        int r = take_word(&at, &word);
        if (r == -EINVAL)
            return sfs_fail(err, EINVAL, "'%.200s': a quote does not end", text);
        if (r < 0)
            return sfs_fail_memory(err);
        json_t *item = json_stringn(word.data ? word.data : "", word.size);
        if (!item)
            return sfs_fail(err, EINVAL, "'%.200s' is not UTF-8", text);
        if (json_array_append_new(words, item) < 0)
            return sfs_fail_memory(err);
    }
    if (!words)
        return sfs_fail_memory(err);
    *ret_words = TAKE(words);
    return 0;
}

/* Reads an entrypoint: a text that is no array is for a shell to run. */
static int split_entrypoint(const char *text, json_t **ret_words, struct sfs_error *err)
{
    *ret_words = parse_array(text);
    if (*ret_words)
        return 0;
    *ret_words = *text ? json_pack("[sss]", "/bin/sh", "-c", text) : json_array();
    return *ret_words ? 0 : sfs_fail(err, EINVAL, "--entrypoint '%.200s' is not UTF-8", text);
}

static int edit_command(json_t *settings, const struct sfs_edit *edit, struct sfs_error *err)
{
    bool is_cmd = edit->key == SFS_EDIT_CMD;
    const char *key = is_cmd ? "Cmd" : "Entrypoint";
    json_t *words = NULL;
    int r = is_cmd ? sfs_command_split(edit->value, &words, err)
                   : split_entrypoint(edit->value, &words, err);
    if (r < 0)
        return is_cmd ? sfs_fail_while(err, r, "--cmd") : r;
    if (json_object_set_new(settings, key, words) < 0)
        return sfs_fail_memory(err);
    drop_if_empty(settings, key);
    return 0;
}

static int edit_text(json_t *object, const char *key, const char *what, const char *value,
                     struct sfs_error *err)
{
    json_t *string = NULL;
    if (!*value) {
        json_object_del(object, key);
        return 0;
    }
    int r = make_string(value, strlen(value), what, &string, err);
    if (r == 0 && json_object_set_new(object, key, string) < 0)
        r = sfs_fail_memory(err);
    return r;
}

static int edit_labels(json_t *settings, const char *value, struct sfs_error *err)
{
    json_t *labels = get_part(settings, "Labels", json_object());
    int r = labels ? edit_map(labels, "label", value, err) : sfs_fail_memory(err);
    if (r == 0)
        drop_if_empty(settings, "Labels");
    return r;
}

static int apply(json_t *config, json_t *annotations, const struct sfs_edit *edit,
                 struct sfs_error *err)
{
    json_t *settings = get_part(config, "config", json_object());
    if (!settings)
        return sfs_fail_memory(err);
    switch (edit->key) {
    case SFS_EDIT_ENV:
        return edit_env(settings, edit->value, err);
    case SFS_EDIT_LABEL:
        return edit_labels(settings, edit->value, err);
    case SFS_EDIT_ANNOTATION:
        return edit_map(annotations, "annotation", edit->value, err);
    case SFS_EDIT_ENTRYPOINT:
    case SFS_EDIT_CMD:
        return edit_command(settings, edit, err);
    case SFS_EDIT_USER:
        return edit_text(settings, "User", "user", edit->value, err);
    case SFS_EDIT_WORKINGDIR:
        return edit_text(settings, "WorkingDir", "workingdir", edit->value, err);
    case SFS_EDIT_AUTHOR:
        return edit_text(config, "author", "author", edit->value, err);
    }
    return sfs_fail(err, EINVAL, "no such change");
}

int sfs_config_edit(json_t *config, json_t *annotations, const struct sfs_edit *edits, size_t count,
                    struct sfs_error *err)
{
    for (size_t i = 0; i < count; i++) {
        int r = apply(config, annotations, &edits[i], err);
        if (r < 0)
            return r;
    }
    return 0;
}
