#include "copy/pattern.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stagefs/auto.h>
#include <time.h>

struct match_case {
    const char *pattern, *text;
    int expected; /* 1, 0 or -EINVAL */
};

static void check_go(const struct match_case *cases, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        int got = sfs_pattern_match_go(cases[i].pattern, cases[i].text);
        cr_expect_eq(got, cases[i].expected, "\"%s\" against \"%s\": %d, not %d", cases[i].pattern,
                     cases[i].text, got, cases[i].expected);
    }
}

#define CHECK_GO(...)                                                                              \
    do {                                                                                           \
        static const struct match_case cases[] = { __VA_ARGS__ };                                  \
        check_go(cases, sizeof cases / sizeof cases[0]);                                           \
    } while (0)

Test(pattern_match_go, compares_plain_text_whole)
{
    CHECK_GO({ "abc", "abc", 1 }, { "abc", "abcd", 0 }, { "abcd", "abc", 0 }, { "", "", 1 },
             { "", "x", 0 }, { "x", "", 0 });
}

Test(pattern_match_go, lets_a_star_take_anything_but_a_slash)
{
    CHECK_GO({ "*", "abc", 1 }, { "*", "", 1 }, { "*c", "abc", 1 }, { "a*", "a", 1 },
             { "a*", "abc", 1 }, { "a*", "ab/c", 0 }, { "a*/b", "abc/b", 1 },
             { "a*/b", "a/c/b", 0 }, { "a*b", "a/b", 0 }, { "**", "a/b", 0 }, { "*x", "xxx", 1 });
}

Test(pattern_match_go, tries_every_place_for_the_last_star)
{
    CHECK_GO({ "a*b*c*d*e*/f", "axbxcxdxe/f", 1 }, { "a*b*c*d*e*/f", "axbxcxdxexxx/f", 1 },
             { "a*b*c*d*e*/f", "axbxcxdxe/xxx/f", 0 }, { "a*b*c*d*e*/f", "axbxcxdxexxx/fff", 0 },
             { "a*b?c*x", "abxbbxdbxebxczzx", 1 }, { "a*b?c*x", "abxbbxdbxebxczzy", 0 });
}

Test(pattern_match_go, lets_a_question_mark_take_one_character_but_a_slash)
{
    CHECK_GO({ "a?b", "a☺b", 1 }, { "a???b", "a☺b", 0 }, { "a?b", "a/b", 0 }, { "?", "", 0 },
             { "?", "\xff", 1 });
}

Test(pattern_match_go, reads_classes_with_ranges_and_negation)
{
    CHECK_GO({ "ab[c]", "abc", 1 }, { "ab[b-d]", "abc", 1 }, { "ab[e-g]", "abc", 0 },
             { "ab[^c]", "abc", 0 }, { "ab[^b-d]", "abc", 0 }, { "ab[^e-g]", "abc", 1 },
             { "a[^a]b", "a☺b", 1 }, { "a[^a][^a][^a]b", "a☺b", 0 }, { "[a-ζ]*", "α", 1 },
             { "*[a-ζ]", "A", 0 }, { "[\\]a]", "]", 1 }, { "[\\-]", "-", 1 }, { "[x\\-]", "x", 1 },
             { "[x\\-]", "-", 1 }, { "[x\\-]", "z", 0 }, { "[\\-x]", "a", 0 },
             { "[a-]b", "a", -EINVAL }, { "[z-a]", "b", 0 });
}

Test(pattern_match_go, takes_a_backslash_as_an_escape)
{
    CHECK_GO({ "a\\*b", "a*b", 1 }, { "a\\*b", "ab", 0 }, { "\\[a]", "[a]", 1 },
             { "a\\\\", "a\\", 1 });
}

Test(pattern_match_go, finds_malformed_patterns_wherever_they_are_malformed)
{
    CHECK_GO({ "[]a]", "]", -EINVAL }, { "[-]", "-", -EINVAL }, { "[x-]", "x", -EINVAL },
             { "[x-]", "z", -EINVAL }, { "[-x]", "a", -EINVAL }, { "\\", "a", -EINVAL },
             { "[a-b-c]", "a", -EINVAL }, { "[", "a", -EINVAL }, { "[^", "a", -EINVAL },
             { "[^bc", "a", -EINVAL }, { "a[", "a", -EINVAL }, { "a[", "ab", -EINVAL },
             { "a[", "x", -EINVAL }, { "a/b[", "x", -EINVAL }, { "[\xff]", "x", -EINVAL });
}

Test(pattern_is_wild, sees_unescaped_wildcards_only)
{
    cr_assert(sfs_pattern_is_wild("a*"));
    cr_assert(sfs_pattern_is_wild("a?b"));
    cr_assert(sfs_pattern_is_wild("a[b]"));
    cr_assert_not(sfs_pattern_is_wild("a\\*b"));
    cr_assert_not(sfs_pattern_is_wild("a]b\\"));
}

/* One list of up to 4 patterns. */
struct list_case {
    const char *lines[4];
    const char *text;
    int expected;
};

static struct sfs_patterns *open_list(const char *const *lines)
{
    size_t count = 0;
    while (count < 4 && lines[count])
        count++;
    struct sfs_patterns *patterns = NULL;
    struct sfs_error err = { "" };
    cr_assert_eq(sfs_patterns_open(lines, count, &patterns, &err), 0, "%s: %s", lines[0], err.text);
    return patterns;
}

/* What a walk from the top would say of it. */
static int match_in_walk(const struct sfs_patterns *patterns, const char *text)
{
    uint8_t bits[2][4];
    char path[256];
    int r = 0;
    unsigned depth = 0;
    snprintf(path, sizeof path, "%s", text);
    size_t size = strlen(path);
    while (size > 1 && path[size - 1] == '/')
        path[--size] = '\0';
    for (size_t i = 1; i <= size; i++) {
        if (path[i] != '/' && path[i] != '\0')
            continue;
        char was = path[i];
        path[i] = '\0';
        r = sfs_patterns_match_below(patterns, path, depth ? bits[depth % 2] : NULL,
                                     bits[(depth + 1) % 2]);
        path[i] = was;
        depth++;
    }
    return r;
}

static void check_lists(const struct list_case *cases, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const struct list_case *c = &cases[i];
        AUTO(sfs_patterns_close) struct sfs_patterns *patterns = open_list(c->lines);
        int got = sfs_patterns_match(patterns, c->text);
        cr_expect_eq(got, c->expected, "\"%s\" against \"%s\": %d, not %d", c->lines[0], c->text,
                     got, c->expected);
        got = match_in_walk(patterns, c->text);
        cr_expect_eq(got, c->expected, "\"%s\" against \"%s\" in a walk: %d, not %d", c->lines[0],
                     c->text, got, c->expected);
    }
}

#define CHECK_LISTS(...)                                                                           \
    do {                                                                                           \
        static const struct list_case cases[] = { __VA_ARGS__ };                                   \
        check_lists(cases, sizeof cases / sizeof cases[0]);                                        \
    } while (0)

Test(patterns, compare_plain_names_and_what_is_below_them)
{
    CHECK_LISTS({ { "docs" }, "docs", 1 }, { { "docs" }, "docs/a/b", 1 },
                { { "docs" }, "docsx", 0 }, { { "a/b" }, "a/b/c", 1 }, { { "a/b" }, "a", 0 },
                { { "a/b" }, "x/a/b", 0 });
}

Test(patterns, take_two_stars_alone_for_everything)
{
    CHECK_LISTS({ { "**" }, "file", 1 }, { { "**" }, "file/", 1 }, { { "**/" }, "file", 1 },
                { { "**" }, "/", 1 }, { { "**" }, "dir/file", 1 }, { { "**/" }, "dir/file/", 1 },
                { { "**/**" }, "dir/file", 1 }, { { "**/**" }, "file", 1 });
}

Test(patterns, take_two_stars_behind_a_directory_for_what_is_below)
{
    CHECK_LISTS({ { "dir/**" }, "dir/file", 1 }, { { "dir/**" }, "dir/dir2/file/", 1 },
                { { "abc/**" }, "abc", 0 }, { { "abc/**" }, "abc/def/ghi", 1 },
                { { "abc/**" }, "abcd/e", 0 }, { { "a**" }, "abc", 1 }, { { "a**" }, "b", 0 });
}

Test(patterns, take_two_stars_in_front_for_any_depth)
{
    CHECK_LISTS({ { "**/dir" }, "dir", 1 }, { { "**/dir" }, "dir/file", 1 },
                { { "**/dir" }, "xdir", 0 }, { { "**/dir2/*" }, "dir/dir2/file", 1 },
                { { "**/dir2/**" }, "dir/dir2/dir3/file", 1 }, { { "**file" }, "file", 1 },
                { { "**file" }, "dir/xfile", 1 }, { { "**/file" }, "dir/dir/file", 1 },
                { { "**/foo/bar" }, "foo/bar", 1 }, { { "**/foo/bar" }, "dir/dir2/foo/bar", 1 },
                { { "**/.foo" }, ".foo", 1 }, { { "**/.foo" }, "bar.foo", 0 });
}

Test(patterns, mix_stars_of_both_kinds)
{
    CHECK_LISTS(
        { { "**/file*" }, "dir/dir/file.txt", 1 }, { { "**/file*txt" }, "dir/file.txt", 1 },
        { { "**/file*.txt*" }, "dir/dir/file.txt", 1 }, { { "**/**/*.txt" }, "file.txt", 1 },
        { { "**/**/*.txt" }, "dir/dir/file.txt", 1 }, { { "**/**/*.txt2" }, "dir/dir/file.txt", 0 },
        { { "**/*.txt" }, "file.txt", 1 }, { { "a**/*.txt" }, "a/file.txt", 1 },
        { { "a**/*.txt" }, "a/dir/dir/file.txt", 1 }, { { "a/*.txt" }, "a/dir/file.txt", 0 },
        { { "a/*.txt" }, "a/file.txt", 1 }, { { "a/*.txt**" }, "a/file.txt", 1 },
        { { "*" }, "a/b", 1 }, { { "a/*/c" }, "a/b/c", 1 }, { { "a/*/c" }, "a/b/x/c", 0 },
        { { "a/**/c" }, "a/c", 1 }, { { "a/**/c" }, "a/b/x/c", 1 }, { { "a/**/c" }, "ac", 0 });
}

Test(patterns, exclude_only_at_the_top_without_two_stars)
{
    CHECK_LISTS({ { "*.txt" }, "a.txt", 1 }, { { "*.txt" }, "d/a.txt", 0 },
                { { "**/*.txt" }, "d/a.txt", 1 });
}

Test(patterns, read_classes_and_escapes)
{
    CHECK_LISTS({ { "a[b-d]e" }, "ae", 0 }, { { "a[b-d]e" }, "ace", 1 },
                { { "a[b-d]e" }, "aae", 0 }, { { "a[^b-d]e" }, "aze", 1 },
                { { "a\\*b" }, "a*b", 1 }, { { "a\\*b" }, "axb", 0 }, { { "a\\\\" }, "a\\", 1 },
                { { "abc?def" }, "abcZdef", 1 }, { { "abc?def" }, "abcdef", 0 },
                { { "*\\?" }, "x?", 1 }, { { "*[x]y" }, "axy", 1 }, { { "a[☺]" }, "a☺", 1 },
                { { "?" }, "☺", 1 });
}

Test(patterns, take_what_regular_expressions_use_as_it_is)
{
    CHECK_LISTS({ { ".*" }, ".foo", 1 }, { { ".*" }, "foo", 0 }, { { "abc.def" }, "abcZdef", 0 },
                { { "a(b)c/def" }, "a(b)c/def", 1 }, { { "a(b)c/def" }, "a(b)c/xyz", 0 },
                { { "a.|)$(}+{bc" }, "a.|)$(}+{bc", 1 },
                { { "d/proxy-2.4+g0-any.whl" }, "d/proxy-2.4+g0-any.whl", 1 },
                { { "d/*.whl" }, "d/proxy-2.4+g0-any.whl", 1 }, { { "a^b" }, "a^b", 1 });
}

Test(patterns, let_the_last_match_decide)
{
    CHECK_LISTS({ { "**", "!util/docker/web" }, "util/docker/web/foo", 0 },
                { { "**", "!util/docker/web", "util/docker/web/foo" }, "util/docker/web/foo", 1 },
                { { "**", "!dist/*.whl" }, "dist/a+b.whl", 0 },
                { { "docs", "!docs/README.md" }, "docs/README.md", 0 },
                { { "docs/", "!docs/README.md" }, "docs/README.md", 0 },
                { { "docs/*", "!docs/README.md" }, "docs/README.md", 0 },
                { { "!x.go", "*.go" }, "x.go", 1 }, { { "*.go", "!x.go" }, "x.go", 0 },
                { { "a", "!a/b", "a/b/c" }, "a/b/c", 1 }, { { "a", "!a/b" }, "a/c", 1 });
}

Test(patterns, are_trimmed_and_cleaned_and_dropped_when_empty)
{
    static const char *const lines[] = { " docs ", "", "  !docs//./x ", "\t" };
    AUTO(sfs_patterns_close) struct sfs_patterns *patterns = NULL;
    cr_assert_eq(sfs_patterns_open(lines, 4, &patterns, NULL), 0);
    cr_assert_eq(sfs_patterns_count(patterns), 2u);
    cr_assert(sfs_patterns_has_exceptions(patterns));
    cr_assert_eq(sfs_patterns_match(patterns, "docs/x"), 0);
    cr_assert_eq(sfs_patterns_match(patterns, "docs/y"), 1);
}

Test(patterns, never_match_the_top_itself)
{
    static const char *const lines[] = { "**" };
    AUTO(sfs_patterns_close) struct sfs_patterns *patterns = NULL;
    cr_assert_eq(sfs_patterns_open(lines, 1, &patterns, NULL), 0);
    cr_assert_eq(sfs_patterns_match(patterns, "."), 0);
}

Test(patterns, refuse_malformed_ones_when_opened)
{
    static const char *const bad[] = { "!", "[", "a[]", "x\\", "[-a]" };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct sfs_patterns *patterns = NULL;
        struct sfs_error err = { "" };
        cr_expect_eq(sfs_patterns_open(&bad[i], 1, &patterns, &err), -EINVAL, "%s", bad[i]);
        cr_expect_neq(err.text[0], '\0', "%s", bad[i]);
    }
}

Test(patterns, fail_at_matching_for_a_range_that_runs_backwards)
{
    static const char *const lines[] = { "[Local-Only]/" };
    AUTO(sfs_patterns_close) struct sfs_patterns *patterns = NULL;
    cr_assert_eq(sfs_patterns_open(lines, 1, &patterns, NULL), 0);
    cr_assert_eq(sfs_patterns_match(patterns, "x"), -EINVAL);
    cr_assert_eq(sfs_patterns_match(patterns, "x"), -EINVAL);
}

Test(patterns, differ_in_a_walk_where_patternmatcher_does)
{
    /* The third was not tried on "a", which the first had matched, so its match of the parent is
     * not known below. */
    static const char *const lines[] = { "a", "!a/b", "a" };
    AUTO(sfs_patterns_close) struct sfs_patterns *patterns = NULL;
    cr_assert_eq(sfs_patterns_open(lines, 3, &patterns, NULL), 0);
    cr_assert_eq(sfs_patterns_match(patterns, "a/b"), 1);
    cr_assert_eq(match_in_walk(patterns, "a/b"), 0);
}

Test(patterns, say_where_a_walk_need_not_go)
{
    static const char *const lines[] = { "usr/lib/*.so", "opt/**", "a/**/b", "plain/x/y" };
    AUTO(sfs_patterns_close) struct sfs_patterns *patterns = NULL;
    cr_assert_eq(sfs_patterns_open(lines, 4, &patterns, NULL), 0);
    cr_assert(sfs_patterns_may_match_below(patterns, "usr"));
    cr_assert(sfs_patterns_may_match_below(patterns, "usr/lib"));
    cr_assert_not(sfs_patterns_may_match_below(patterns, "usr/lib/x"));
    cr_assert_not(sfs_patterns_may_match_below(patterns, "usr/share"));
    cr_assert(sfs_patterns_may_match_below(patterns, "opt"));
    cr_assert(sfs_patterns_may_match_below(patterns, "opt/x"));
    cr_assert(sfs_patterns_may_match_below(patterns, "a/q/r"));
    cr_assert(sfs_patterns_may_match_below(patterns, "plain/x"));
    cr_assert_not(sfs_patterns_may_match_below(patterns, "plain/x/y"));
    cr_assert_not(sfs_patterns_may_match_below(patterns, "plai"));
}

Test(patterns, refuse_one_that_is_too_long_instead_of_cutting_it)
{
    char line[3000];
    memset(line, '?', sizeof line);
    line[sizeof line - 1] = '\0';
    const char *lines[] = { line };
    struct sfs_patterns *patterns = NULL;
    struct sfs_error err = { "" };
    cr_assert_eq(sfs_patterns_open(lines, 1, &patterns, &err), -E2BIG);
}

Test(patterns, take_linear_time_for_hostile_ones)
{
    /* A backtracking matcher would try about 2^60 ways. */
    const char *lines[] = { "**/*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*b" };
    char path[241];
    memset(path, 'a', sizeof path);
    path[240] = '\0';
    path[239] = 'b';
    path[238] = 'c';
    AUTO(sfs_patterns_close) struct sfs_patterns *patterns = NULL;
    cr_assert_eq(sfs_patterns_open(lines, 1, &patterns, NULL), 0);
    cr_assert_eq(sfs_patterns_match(patterns, path), 1);
    path[1] = path[239];
    path[239] = 'a';
    cr_assert_eq(sfs_patterns_match(patterns, path), 0);
}
