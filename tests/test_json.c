/* Documents go through jansson unchanged, whatever RFC 8259 allows in them. */
#include <criterion/criterion.h>
#include <errno.h>
#include <jansson.h>
#include <stagefs/auto.h>
#include <stagefs/json.h>
#include <string.h>

static char *through(const char *text)
{
    struct sfs_error err;
    json_t *json = NULL;
    int r = sfs_json_parse(text, strlen(text), JSON_DECODE_ANY, &json, &err);
    cr_assert_eq(r, 0, "%s: %s", text, err.text);
    char *printed = sfs_json_print(json, JSON_COMPACT | JSON_ENCODE_ANY);
    cr_assert_not_null(printed, "%s", text);
    json_decref(json);
    return printed;
}

Test(json, passes_what_jansson_cannot_hold)
{
    static const char *const documents[] = {
        "{\"a\":\"b\\u0000c\",\"d\\u0000\":[]}",
        "[\"\\ud800\",\"\\udFfF x\",\"\\ud800\\u0041\",\"\\udc00\\ud800\"]",
        "[0.1,1e400,-0,9223372036854775808,-9223372036854775808,-0.0,1E+2,"
        "123456789012345678901234567890,-9223372036854775809]",
        "{\"n\":1.50,\"s\":\"1.50\",\"i\":-17}",
        "[\"\\u0000\",1.0,\"\\u0000\"]",
        "\"\\ud800\"",
        "1.0",
        "[\"\xf4\x8f\xbf\xbf\",\"\xf4\x8f\xbf\xbf#1.5\",\"\xf4\x8f\xbf\xbfu0000\","
        "\"\xf4\x8f\xbf\xbe\"]",
        "{}",
        "[\"\\\\u0000\",\"\\\\\\u0000\",\"\\\"\"]",
    };
    for (size_t i = 0; i < sizeof documents / sizeof *documents; i++) {
        AUTO(sfs_free) char *printed = through(documents[i]);
        /* jansson writes the escapes that it knows in its own way. */
        const char *expected = strncmp(documents[i], "[\"\\ud800\"", 9) == 0
                                   ? "[\"\\ud800\",\"\\udFfF x\",\"\\ud800A\",\"\\udc00\\ud800\"]"
                                   : documents[i];
        cr_expect_str_eq(printed, expected);
    }
}

Test(json, keeps_pairs_and_plain_numbers_as_they_are)
{
    AUTO(sfs_free)
    char *printed = through("[\"\\ud83d\\ude00\", 12, \"\\udbff\\udfff\", \"a\\/\\n\"]");
    cr_expect_str_eq(printed, "[\"\xf0\x9f\x98\x80\",12,\"\xf4\x8f\xbf\xbf\",\"a/\\n\"]");
}

Test(json, refuses_what_is_none)
{
    static const char *const texts[] = { "",           "[01]",        "[1.]",      "[1e]",
                                         "[-]",        "[.5]",        "{1.5:2}",   "{1:2}",
                                         "[1 2]",      "[\"\\u00\"]", "[\"\\x\"]", "[\"\\",
                                         "[\"a\nb\"]", "[1.5",        "[\"\\ud800" };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct sfs_error err;
        json_t *json = NULL;
        cr_expect_eq(sfs_json_parse(texts[i], strlen(texts[i]), 0, &json, &err), -EBADMSG, "%s",
                     texts[i]);
        cr_expect_null(json);
    }
}

/* Whoever sets a label decides over its text alone. */
Test(json, prints_no_text_as_more_than_a_string)
{
    static const char *const texts[] = {
        "\xf4\x8f\xbf\xbf#1.5,\"x\":2",
        "\xf4\x8f\xbf\xbf#",
        "\xf4\x8f\xbf\xbfu\"x",
        "\xf4\x8f\xbf\xbfu",
        "\xf4\x8f\xbf\xbf",
        "\xf4\x8f\xbf\xbf\xf4\x8f\xbf\xbf#1",
        "\xf4\x8f\xbf\xbf\"",
        "\xf4\x8f\xbf\xbfu0\xf4\x8f\xbf\xbf",
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        json_t *json = json_pack("[s]", texts[i]);
        AUTO(sfs_free) char *printed = sfs_json_print(json, JSON_COMPACT);
        json_t *again = json_loads(printed, 0, NULL);
        cr_expect_str_eq(json_string_value(json_array_get(again, 0)), texts[i], "%s", printed);
        json_decref(json);
        json_decref(again);
    }
}

Test(json, writes_long_documents_whole)
{
    json_t *array = json_array(), *again;
    for (int i = 0; i < 50000; i++)
        json_array_append_new(array, i % 2 ? json_integer(i) : json_sprintf("text \"%d\"", i));
    FILE *file = tmpfile();
    cr_assert_eq(sfs_json_write(array, 0, file), 0);
    rewind(file);
    again = json_loadf(file, 0, NULL);
    cr_assert(json_equal(array, again));
    fclose(file);
    json_decref(array);
    json_decref(again);
}

Test(json, fills_half_pairs)
{
    struct sfs_error err;
    json_t *json = NULL;
    static const char text[] = "[\"a\\ud800b\",\"a\\u0000\",1.5]";
    cr_assert_eq(sfs_json_parse(text, strlen(text), 0, &json, &err), 0);
    AUTO(sfs_free) char *plain = sfs_json_fill_pairs(json_string_value(json_array_get(json, 0)));
    cr_expect_str_eq(plain, "a\xef\xbf\xbd"
                            "b");
    AUTO(sfs_free) char *nul = sfs_json_fill_pairs(json_string_value(json_array_get(json, 1)));
    cr_expect_str_eq(nul, json_string_value(json_array_get(json, 1)));
    cr_expect(sfs_json_is_marked(nul) && !sfs_json_is_marked(plain));
    cr_expect(sfs_json_is_number(json_string_value(json_array_get(json, 2))));
    cr_expect_not(sfs_json_is_number("1.5"));
    json_decref(json);
}
