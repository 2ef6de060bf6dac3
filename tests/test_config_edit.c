#include "commit/config_edit.h"

#include "image/document.h"
#include <criterion/criterion.h>
#include <errno.h>
#include <stagefs/auto.h>
#include <stagefs/json.h>

static struct sfs_error err;

/* What a change makes of a config; the caller frees. */
static char *edited(const char *config_text, enum sfs_edit_key key, const char *value)
{
    AUTO(sfs_json_close) json_t *config = json_loads(config_text, 0, NULL);
    AUTO(sfs_json_close) json_t *annotations = json_object();
    const struct sfs_edit edit = { key, value };
    cr_assert(config);
    cr_assert_eq(sfs_config_edit(config, annotations, &edit, 1, &err), 0, "%s", err.text);
    return json_dumps(key == SFS_EDIT_ANNOTATION ? annotations : config,
                      JSON_COMPACT | JSON_SORT_KEYS);
}

static void expect(const char *config, enum sfs_edit_key key, const char *value,
                   const char *expected)
{
    AUTO(sfs_free) char *got = edited(config, key, value);
    cr_assert_str_eq(got, expected, "got %s", got);
}

static void refuse(enum sfs_edit_key key, const char *value)
{
    AUTO(sfs_json_close) json_t *config = json_object();
    AUTO(sfs_json_close) json_t *annotations = json_object();
    const struct sfs_edit edit = { key, value };
    cr_assert_eq(sfs_config_edit(config, annotations, &edit, 1, &err), -EINVAL, "'%s'", value);
}

#define TWO "{\"config\":{\"Env\":[\"A=1\",\"B=2\"]}}"

Test(config_edit, adds_a_variable)
{
    expect("{}", SFS_EDIT_ENV, "A=x=y", "{\"config\":{\"Env\":[\"A=x=y\"]}}");
}

Test(config_edit, sets_a_variable_once_and_last)
{
    expect(TWO, SFS_EDIT_ENV, "A=", "{\"config\":{\"Env\":[\"B=2\",\"A=\"]}}");
    expect("{\"config\":{\"Env\":[\"A=1\",\"AB=1\",\"A=2\"]}}", SFS_EDIT_ENV, "A=3",
           "{\"config\":{\"Env\":[\"AB=1\",\"A=3\"]}}");
}

Test(config_edit, leaves_alone_what_it_does_not_change)
{
    static const char config[] = "{\"config\":{\"Env\":[\"B=\\u0000\"],\"X\":[\"\\ud800\",1e400]}}";
    AUTO(sfs_json_close) json_t *json = NULL;
    cr_assert_eq(sfs_json_parse(config, strlen(config), 0, &json, &err), 0);
    const struct sfs_edit edit = { SFS_EDIT_CMD, "[\"a\\u0000\"]" };
    cr_assert_eq(sfs_config_edit(json, NULL, &edit, 1, &err), 0);
    AUTO(sfs_free) char *printed = sfs_json_print(json, JSON_COMPACT | JSON_SORT_KEYS);
    cr_expect_str_eq(printed, "{\"config\":{\"Cmd\":[\"a\\u0000\"],\"Env\":[\"B=\\u0000\"],"
                              "\"X\":[\"\\ud800\",1e400]}}");
}

Test(config_edit, removes_a_variable)
{
    expect(TWO, SFS_EDIT_ENV, "A-", "{\"config\":{\"Env\":[\"B=2\"]}}");
    expect(TWO, SFS_EDIT_ENV, "C-", TWO);
    expect("{\"config\":{\"Env\":[\"A=1\",\"AB=1\",\"A=2\"]}}", SFS_EDIT_ENV, "A-",
           "{\"config\":{\"Env\":[\"AB=1\"]}}");
    expect(TWO, SFS_EDIT_ENV, "-", "{\"config\":{\"Env\":[]}}");
}

Test(config_edit, keeps_a_minus_at_the_end_of_a_value)
{
    expect("{}", SFS_EDIT_ENV, "A=-", "{\"config\":{\"Env\":[\"A=-\"]}}");
}

Test(config_edit, refuses_a_variable_without_name_or_value)
{
    refuse(SFS_EDIT_ENV, "=x");
    refuse(SFS_EDIT_ENV, "A");
    refuse(SFS_EDIT_ENV, "");
    refuse(SFS_EDIT_ENV, "A=\xff");
}

Test(config_edit, sets_and_removes_labels)
{
    expect("{}", SFS_EDIT_LABEL, "a.b=c=d", "{\"config\":{\"Labels\":{\"a.b\":\"c=d\"}}}");
    expect("{}", SFS_EDIT_LABEL, "a", "{\"config\":{\"Labels\":{\"a\":\"\"}}}");
    expect("{\"config\":{\"Labels\":{\"a\":\"1\",\"b\":\"2\"}}}", SFS_EDIT_LABEL, "a-",
           "{\"config\":{\"Labels\":{\"b\":\"2\"}}}");
    expect("{\"config\":{\"Labels\":{\"a\":\"1\"}}}", SFS_EDIT_LABEL, "-", "{\"config\":{}}");
    refuse(SFS_EDIT_LABEL, "=v");
}

Test(config_edit, takes_null_for_none)
{
    expect("{\"config\":{\"Env\":null,\"Labels\":null}}", SFS_EDIT_LABEL, "a=b",
           "{\"config\":{\"Env\":null,\"Labels\":{\"a\":\"b\"}}}");
}

Test(config_edit, sets_annotations_of_the_manifest)
{
    expect("{}", SFS_EDIT_ANNOTATION, "a=b", "{\"a\":\"b\"}");
}

Test(config_edit, takes_an_entrypoint_as_array_or_for_a_shell)
{
    expect("{}", SFS_EDIT_ENTRYPOINT, "[\"a\", \"b c\"]",
           "{\"config\":{\"Entrypoint\":[\"a\",\"b c\"]}}");
    expect("{}", SFS_EDIT_ENTRYPOINT, "run 'a b'",
           "{\"config\":{\"Entrypoint\":[\"/bin/sh\",\"-c\",\"run 'a b'\"]}}");
    expect("{}", SFS_EDIT_ENTRYPOINT, "[1]",
           "{\"config\":{\"Entrypoint\":[\"/bin/sh\",\"-c\",\"[1]\"]}}");
    expect("{\"config\":{\"Entrypoint\":[\"a\"]}}", SFS_EDIT_ENTRYPOINT, "", "{\"config\":{}}");
}

Test(config_edit, takes_a_cmd_as_array_or_as_words)
{
    expect("{}", SFS_EDIT_CMD, "[\"a\", \"b c\"]", "{\"config\":{\"Cmd\":[\"a\",\"b c\"]}}");
    expect("{}", SFS_EDIT_CMD, " foo \"bar 'baz'\" 'a\\b' $X a\\ b '' ",
           "{\"config\":{\"Cmd\":[\"foo\",\"bar 'baz'\",\"a\\\\b\",\"$X\",\"a b\",\"\"]}}");
    expect("{\"config\":{\"Cmd\":[\"a\"]}}", SFS_EDIT_CMD, "", "{\"config\":{}}");
    refuse(SFS_EDIT_CMD, "a \"b");
}

Test(config_edit, sets_and_clears_user_directory_and_author)
{
    expect("{}", SFS_EDIT_USER, "1000:1000", "{\"config\":{\"User\":\"1000:1000\"}}");
    expect("{\"config\":{\"User\":\"x\"}}", SFS_EDIT_USER, "", "{\"config\":{}}");
    expect("{}", SFS_EDIT_WORKINGDIR, "/w", "{\"config\":{\"WorkingDir\":\"/w\"}}");
    expect("{}", SFS_EDIT_AUTHOR, "me", "{\"author\":\"me\",\"config\":{}}");
    refuse(SFS_EDIT_AUTHOR, "\xff");
}
