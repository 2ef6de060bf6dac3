/* What a survey says of files: kinds by their paths, copies, and what may be left out. */
#include "fatbin_bytes.h"
#include "slim/survey_parts.h"
#include "support.h"

#include "tree/tree_inner.h"
#include <criterion/criterion.h>
#include <stagefs/auto.h>
#include <sys/stat.h>

Test(file_kind, is_told_by_the_path)
{
    static const struct {
        const char *path;
        enum sfs_file_kind kind;
    } cases[] = {
        { "/usr/lib/libz.so", SFS_KIND_SHARED_LIBRARY },
        { "/usr/lib/libz.so.1.2.13", SFS_KIND_SHARED_LIBRARY },
        { "/opt/x.cpython-312-x86_64-linux-gnu.so", SFS_KIND_SHARED_LIBRARY },
        { "/usr/lib/libz.so.txt", SFS_KIND_DATA },
        { "/usr/lib/libz.a", SFS_KIND_STATIC_LIBRARY },
        { "/opt/m/__pycache__/m.cpython-312.pyc", SFS_KIND_BYTECODE },
        { "/opt/m/tests/m.py", SFS_KIND_TESTS },
        { "/opt/m/contests/m.py", SFS_KIND_SOURCE },
        { "/tests", SFS_KIND_OTHER },
        { "/opt/conda/pkgs/x/lib/libz.so", SFS_KIND_CACHE },
        { "/usr/include/c++/12/vector", SFS_KIND_HEADER },
        { "/etc/ssl/certs/x.pem", SFS_KIND_CERTIFICATES },
        { "/usr/share/doc/x/copyright", SFS_KIND_DOCUMENTATION },
        { "/usr/share/locale/de/LC_MESSAGES/x.mo", SFS_KIND_TRANSLATIONS },
        { "/opt/k.sm_90.cubin", SFS_KIND_DEVICE_CODE },
        { "/usr/lib/debug/x", SFS_KIND_DEBUG },
        { "/var/lib/dpkg/status", SFS_KIND_DATABASE },
        { "/usr/bin/ls", SFS_KIND_PROGRAM },
        { "/.so", SFS_KIND_SHARED_LIBRARY },
        { "/1.2.3", SFS_KIND_OTHER },
        { "/", SFS_KIND_OTHER },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        cr_assert_eq(sfs_file_kind_of(cases[i].path, S_IFREG | 0644), cases[i].kind, "%s is %s",
                     cases[i].path,
                     sfs_file_kind_words(sfs_file_kind_of(cases[i].path, S_IFREG | 0644)));
    cr_assert_eq(sfs_file_kind_of("/opt/tool", S_IFREG | 0755), SFS_KIND_PROGRAM);
    cr_assert_eq(sfs_file_kind_of("/opt/tool", S_IFLNK | 0777), SFS_KIND_OTHER);
}

static struct sfs_survey *survey_of(const struct sfs_tree *tree, uint64_t max_read)
{
    struct sfs_error err = { "" };
    struct sfs_survey *survey = NULL;
    const struct sfs_survey_spec spec = { .max_read = max_read };
    cr_assert_eq(sfs_survey_tree(tree, 0, &spec, NULL, &survey, &err), 0, "%s", err.text);
    return survey;
}

/* "a b, c d": the paths of each group. */
static void expect_same(const struct sfs_survey *survey, const char *want)
{
    AUTO(sfs_buf_close) struct sfs_buf text = { 0 };
    uint32_t count, files_count;
    const struct sfs_survey_same *same = sfs_survey_same(survey, &count);
    const struct sfs_survey_file *files = sfs_survey_files(survey, &files_count);
    sfs_buf_add_str(&text, "");
    for (uint32_t i = 0; i < count; i++)
        for (uint32_t k = 0; k < same[i].count; k++)
            sfs_buf_printf(&text, "%s%s", k ? " " : i ? ", " : "", files[same[i].files[k]].path);
    cr_assert_str_eq(text.data, want);
}

/* Files that end with one byte, behind so many zeros. */
Test(same, are_files_of_equal_bytes)
{
    struct sfs_tree *tree =
        support_tree("a#5000", "b#5000", "c#70000", "d#70001", "e=x", "f=x", "g == a", "h -> a");
    AUTO(sfs_survey_close) struct sfs_survey *survey = survey_of(tree, 0);
    expect_same(survey, ""); /* holes are no bytes: one byte each */
}

static char *word_of(const char *path, size_t size, char fill, char end)
{
    size_t head = strlen(path) + 1;
    char *word = malloc(head + size + 1);
    cr_assert_not_null(word);
    memcpy(word, path, head - 1);
    word[head - 1] = '=';
    memset(word + head, fill, size);
    word[head + size - 1] = end;
    word[head + size] = 0;
    return word;
}

#define LARGE 200000

static struct sfs_tree *tree_of_copies(void)
{
    AUTO(sfs_free) char *a = word_of("a", LARGE, 'x', 'y');
    AUTO(sfs_free) char *b = word_of("b", LARGE, 'x', 'z'); /* differs where it ends */
    AUTO(sfs_free) char *c = word_of("c", LARGE, 'x', 'y');
    AUTO(sfs_free) char *d = word_of("d", 9000, 'd', 'd');
    AUTO(sfs_free) char *e = word_of("e", 9000, 'd', 'd');
    AUTO(sfs_free) char *f = word_of("f", 9000, 'f', 'd');
    AUTO(sfs_free) char *g = word_of("g", 4095, 'g', 'g'); /* too small to be looked at */
    AUTO(sfs_free) char *h = word_of("h", 4095, 'g', 'g');
    return support_tree(a, b, c, d, e, f, g, h);
}

Test(same, are_compared_to_their_end)
{
    AUTO(sfs_survey_close) struct sfs_survey *survey = survey_of(tree_of_copies(), 0);
    expect_same(survey, "a c, d e");
    cr_assert_eq(sfs_survey_search(survey)->read, 3 * (64 << 10) + 3 * 9000 + 3 * LARGE);
    cr_assert_eq(sfs_survey_search(survey)->unread_files, 0);
}

Test(same, are_not_looked_for_beyond_the_cap)
{
    AUTO(sfs_survey_close)
    struct sfs_survey *survey = survey_of(tree_of_copies(), 3 * (64 << 10) + 3 * 9000);
    expect_same(survey, "d e");
    cr_assert_eq(sfs_survey_search(survey)->unread_files, 3);
    cr_assert_eq(sfs_survey_search(survey)->unread, 3 * LARGE);
}

Test(advice, counts_what_its_patterns_match)
{
    struct sfs_tree *tree = support_tree("opt/x.a=12345", "opt/a.b=1", "include/x=123",
                                         "opt/include/y.h=1234", "opt/x.h=12");
    AUTO(sfs_survey_close) struct sfs_survey *survey = survey_of(tree, 0);
    size_t count;
    const struct sfs_advice *advice = sfs_survey_advice(survey, &count);
    cr_assert_eq(count, 2);
    cr_assert_str_eq(advice[0].what, "headers");
    cr_assert_eq(advice[0].bytes, 9);
    cr_assert_eq(advice[0].files, 3);
    cr_assert_str_eq(advice[0].option, "--drop '**/include' --drop '**/*.h'");
    cr_assert_str_eq(advice[1].option, "--drop '**/*.a'");
}

Test(symbols, are_what_strip_takes)
{
    AUTO(library_close) struct library library = { 0 };
    library_with_symbols(&library, 100000);
    struct sfs_error err = { "" };
    AUTO(sfs_layer_close) struct sfs_layer *layer = NULL;
    AUTO(sfs_tree_close) struct sfs_tree *tree = NULL;
    AUTO(sfs_free) char *dir = strdup("/tmp/stagefs-test-XXXXXX");
    cr_assert(dir && mkdtemp(dir));
    AUTO(sfs_free) char *name = sfs_format("%s/x.so", dir);
    FILE *out = fopen(name, "w");
    cr_assert(out && fwrite(library.bytes.data, library.bytes.size, 1, out) == 1 &&
              fclose(out) == 0);
    cr_assert_eq(sfs_layer_open_dir(dir, 0, "dir", &layer, &err), 0, "%s", err.text);
    cr_assert_eq(sfs_tree_merge(&layer, 1, &tree, &err), 0, "%s", err.text);
    AUTO(sfs_survey_close) struct sfs_survey *survey = survey_of(tree, 0);
    unlink(name);
    rmdir(dir);
    cr_assert_eq(survey->symbols.files, 1);
    cr_assert_eq(survey->symbols.bytes, SYMBOL_BYTES);
    size_t count;
    const struct sfs_advice *advice = sfs_survey_advice(survey, &count);
    cr_assert_eq(count, 1);
    cr_assert_str_eq(advice[0].option, "--strip");
}

Test(advice, leaves_the_base_alone)
{
    struct sfs_error err = { "" };
    AUTO(sfs_survey_close) struct sfs_survey *survey = NULL;
    struct sfs_tree *tree =
        support_stack(support_tree("base.a=12345", "base.h=1"), support_layer("own.a=123"));
    const struct sfs_survey_spec spec = { 0 };
    cr_assert_eq(sfs_survey_tree(tree, 1, &spec, NULL, &survey, &err), 0, "%s", err.text);
    size_t count;
    const struct sfs_advice *advice = sfs_survey_advice(survey, &count);
    cr_assert_eq(count, 1);
    cr_assert_eq(advice[0].bytes, 3);
}
