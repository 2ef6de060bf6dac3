/* Word expansion, by BuildKit's own vectors and by cases of our own. */
#include "support.h"

#include "dockerfile/expand.h"
#include <criterion/criterion.h>
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct sfs_vars shell_vars(void)
{
    struct sfs_vars vars = { 0 };
    sfs_vars_set(&vars, "PWD", "/home");
    sfs_vars_set(&vars, "SHELL", "bash");
    sfs_vars_set(&vars, "KOREAN", "한국어");
    sfs_vars_set(&vars, "NULL", "");
    sfs_vars_set(&vars, "LINES", "a*\nb");
    return vars;
}

static void check(const char *input, const char *expected)
{
    struct sfs_vars vars = shell_vars();
    struct sfs_error err;
    char *text = NULL;
    int r = sfs_expand_word(input, '\\', &vars, 0, &text, &err);
    if (strcmp(expected, "error") == 0)
        cr_assert_eq(r, -EINVAL, "'%s' must fail, gives '%s'", input, text ? text : "");
    else if (r < 0)
        cr_assert_fail("'%s': %s", input, err.text);
    else
        cr_assert_str_eq(text, expected, "'%s' gives '%s', not '%s'", input, text, expected);
    free(text);
    sfs_vars_close(&vars);
}

static char *trim(char *text)
{
    while (isspace((unsigned char)*text))
        text++;
    char *end = text + strlen(text);
    while (end > text && isspace((unsigned char)end[-1]))
        *--end = 0;
    return text;
}

static FILE *open_vectors(const char *name)
{
    char path[4096];
    support_vectors(name, path);
    FILE *file = fopen(path, "r");
    cr_assert_not_null(file, "%s is not there", path);
    return file;
}

Test(expand, agrees_with_the_word_vectors)
{
    FILE *file = open_vectors("dockerfile/expand.txt");
    char line[4096];
    int checked = 0;
    while (fgets(line, sizeof line, file)) {
        char *text = trim(line), *tag = strsep(&text, "|"), *input = strsep(&text, "|");
        if (!*tag || *tag == '#' || !input || !text)
            continue;
        tag = trim(tag);
        if (strcmp(tag, "A") != 0 && strcmp(tag, "U") != 0)
            continue;
        check(trim(input), trim(text));
        checked++;
    }
    fclose(file);
    cr_assert_gt(checked, 20);
}

Test(expand, knows_every_modifier)
{
    static const char *const cases[][2] = {
        { "${SHELL-x}", "bash" },
        { "${NONE-x}", "x" },
        { "${NULL-x}", "" },
        { "${NULL:-x}", "x" },
        { "${SHELL+x}", "x" },
        { "${NONE+x}", "" },
        { "${NULL:+x}", "" },
        { "${SHELL?m}", "bash" },
        { "${NONE?m}", "error" },
        { "${NULL:?m}", "error" },
        { "${PWD#/}", "home" },
        { "${PWD##*o}", "me" },
        { "${PWD%m*}", "/ho" },
        { "${PWD%%o*}", "/h" },
        { "${PWD/o/0}", "/h0me" },
        { "${SHELL//?/x}", "xxxx" },
        { "${SHELL:#b}", "error" },
        { "${SHELL=x}", "error" },
        { "${SHELL:=x}", "error" },
        { "${}", "error" },
        { "${:}", "error" },
        { "${{x}", "error" },
        { "$", "$" },
        { "$.", "$." },
        { "$1x", "x" },
        { "${NONE:-${SHELL}}", "bash" },
        { "${NONE:-a b}", "a b" },
        { "'$SHELL'", "$SHELL" },
        { "\"$SHELL\"", "bash" },
        { "\\$SHELL", "$SHELL" },
        { "\"\\a\\\"\"", "\\a\"" },
        { "x\\", "x" },
        { "'x", "error" },
        { "\"x", "error" },
        { "${SHELL", "error" },
        { "${SHELL:-x", "error" },
        { "${KOREAN%?}", "한국" },
        { "${PWD/\\/h/x}", "xome" },
        { "a$SHELL$", "abash$" },
        { "${SHELL#\\b}", "error" },
        { "${SHELL%\\h}", "error" },
        { "${SHELL/\\a/x}", "error" },
        { "${LINES#*}", "a*\nb" },
        { "${LINES#a\\*?}", "a*\nb" },
        { "${LINES%%*}", "a*\n" },
        { "${LINES#a\\*}", "\nb" },
        { "$SHELL·x", "bash·x" },
        { "$SHELL’s", "bash’s" },
        { "$SHELL가", "" },
        { "$١x", "x" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        check(cases[i][0], cases[i][1]);
}

Test(expand, parts_words_at_every_blank_but_behind_an_arrow)
{
    static const struct sfs_vars none;
    struct sfs_vars words = { 0 };
    struct sfs_error err;
    cr_assert_eq(sfs_expand_words("a　b << \tE <c <d", '\\', &none, 0, &words, &err), 0);
    static const char *const expected[] = { "a", "b", "<< \tE", "<c", "<d" };
    cr_assert_eq(words.count, 5);
    for (size_t i = 0; i < 5; i++)
        cr_expect_str_eq(words.items[i], expected[i]);
    sfs_vars_close(&words);
}

Test(expand, agrees_with_the_words_vectors)
{
    FILE *file = open_vectors("dockerfile/words.txt");
    struct sfs_vars vars = { 0 };
    char line[4096];
    int checked = 0;
    while (fgets(line, sizeof line, file)) {
        line[strcspn(line, "\n")] = 0;
        if (strspn(line, " \t") == strlen(line) || line[0] == '#')
            continue;
        if (strncmp(line, "ENV ", 4) == 0) {
            char *value = strchr(line + 4, '=');
            *value++ = 0;
            sfs_vars_set(&vars, trim(line + 4), value);
            continue;
        }
        char *bar = strchr(line, '|');
        cr_assert(bar);
        *bar = 0;
        char *input = trim(line), *expected = bar + 1;
        while (isspace((unsigned char)*expected))
            expected++;
        struct sfs_vars words = { 0 };
        int r = sfs_expand_words(input, '\\', &vars, 0, &words, NULL);
        if (strcmp(expected, "error") == 0) {
            cr_assert_lt(r, 0, "'%s' must fail", input);
            continue;
        }
        cr_assert_eq(r, 0, "'%s' fails", input);
        char joined[4096] = "";
        for (size_t i = 0; i < words.count; i++) {
            strncat(joined, i > 0 ? "," : "", sizeof joined - strlen(joined) - 1);
            strncat(joined, words.items[i], sizeof joined - strlen(joined) - 1);
        }
        cr_assert_str_eq(joined, expected, "'%s' gives '%s', not '%s'", input, joined, expected);
        sfs_vars_close(&words);
        checked++;
    }
    fclose(file);
    sfs_vars_close(&vars);
    cr_assert_gt(checked, 5);
}

Test(expand, leaves_quotes_of_a_heredoc_alone)
{
    struct sfs_vars vars = shell_vars();
    char *text;
    cr_assert_eq(
        sfs_expand_word("say \"$SHELL\" 'it'", '\\', &vars, SFS_EXPAND_KEEP_QUOTES, &text, NULL),
        0);
    cr_assert_str_eq(text, "say \"bash\" 'it'");
    free(text);
    sfs_vars_close(&vars);
}

Test(expand, refuses_endless_nesting)
{
    char word[4096] = "";
    for (int i = 0; i < 500; i++)
        snprintf(word + 5 * i, sizeof word - 5 * (size_t)i, "${a:-");
    check(word, "error");
}

/* Forty lines of ENV, each holding the one before twice, would be a terabyte. */
Test(expand, variables_that_grow_without_end_are_refused)
{
    static const char *const words[] = { "$a$a", "\"$a$a\"", "${a#x}${a%x}", "${b//x/$b}",
                                         "${c:-$a$a}" };
    struct sfs_vars vars = { 0 };
    struct sfs_error err;
    AUTO(sfs_free) char *large = calloc(1, 600001);
    AUTO(sfs_free) char *small = calloc(1, 5001);
    memset(large, 'x', 600000);
    memset(small, 'x', 5000);
    sfs_vars_set(&vars, "a", large);
    sfs_vars_set(&vars, "b", small);
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        AUTO(sfs_vars_close) struct sfs_vars list = { 0 };
        char *text = NULL;
        cr_assert_eq(sfs_expand_word(words[i], '\\', &vars, 0, &text, &err), -E2BIG, "%s",
                     words[i]);
        cr_assert_eq(sfs_expand_words(words[i], '\\', &vars, 0, &list, &err), -E2BIG, "%s",
                     words[i]);
        cr_assert_not_null(strstr(err.text, "longer than 1048576 bytes"), "%s", err.text);
    }
    sfs_vars_close(&vars);
}
