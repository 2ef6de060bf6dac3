/* What is left of guesses, and how much of that counts as used. */
#include "mount/guesses.h"

#include <criterion/criterion.h>
#include <string.h>

static struct sfs_guesses *guesses;

static void set_up(void)
{
    guesses = sfs_guesses_open();
    cr_assert(guesses);
}

static void tear_down(void)
{
    sfs_guesses_close(&guesses);
}

TestSuite(guesses, .init = set_up, .fini = tear_down);

static void expect(const char *text)
{
    struct sfs_buf buf = { 0 };
    sfs_guesses_print(guesses, NULL, &buf);
    cr_assert_eq(sfs_buf_add_str(&buf, ""), 0);
    cr_assert(strstr(buf.data, text), "%s is not in %s", text, buf.data);
    sfs_buf_close(&buf);
}

Test(guesses, leave_one_of_sixteen)
{
    unsigned left = 0;
    for (unsigned i = 0; i < 160; i++)
        left += sfs_guesses_leave(guesses, SFS_GUESS_BLOCK, 7, (struct sfs_range){ i * 10, 10 });
    cr_assert_eq(left, 10);
    expect("\"block\":{\"bytes\":1600,\"checked_bytes\":100,\"used_bytes\":0}");
    expect("\"library\":{\"bytes\":0,\"checked_bytes\":0,\"used_bytes\":0}");
}

Test(guesses, count_what_is_asked_for_of_the_file_that_they_are_of)
{
    cr_assert(sfs_guesses_leave(guesses, SFS_GUESS_LIBRARY, 7, (struct sfs_range){ 1000, 100 }));
    sfs_guesses_touch(guesses, 8, (struct sfs_range){ 1000, 100 });
    sfs_guesses_touch(guesses, 7, (struct sfs_range){ 0, 1000 });
    sfs_guesses_touch(guesses, 7, (struct sfs_range){ 1100, 10 });
    expect("\"library\":{\"bytes\":100,\"checked_bytes\":100,\"used_bytes\":0}");
    sfs_guesses_touch(guesses, 7, (struct sfs_range){ 990, 30 });
    sfs_guesses_touch(guesses, 7, (struct sfs_range){ 1090, 1000 });
    expect("\"library\":{\"bytes\":100,\"checked_bytes\":100,\"used_bytes\":30}");
    for (int i = 0; i < 3; i++)
        sfs_guesses_touch(guesses, 7, (struct sfs_range){ 0, 5000 });
    expect("\"used_bytes\":100}");
}

Test(guesses, of_spans_near_others_are_counted_where_they_are_decoded)
{
    const struct sfs_cache_stats spans = { .guessed = 300, .guessed_used = 200 };
    struct sfs_buf buf = { 0 };
    sfs_guesses_print(NULL, &spans, &buf);
    cr_assert_eq(sfs_buf_add_str(&buf, ""), 0);
    cr_assert_str_eq(buf.data,
                     ",\"guesses\":{\"library\":{\"bytes\":0,\"checked_bytes\":0,\"used_bytes\":0},"
                     "\"block\":{\"bytes\":0,\"checked_bytes\":0,\"used_bytes\":0},"
                     "\"near\":{\"bytes\":300,\"checked_bytes\":300,\"used_bytes\":200}}");
    sfs_buf_close(&buf);
}

Test(guesses, that_overlap_leave_the_same_bytes)
{
    struct sfs_range part, rest = { 50, 200 };
    cr_assert(sfs_guesses_leave(guesses, SFS_GUESS_LIBRARY, 7, (struct sfs_range){ 100, 20 }));
    for (int i = 1; i < 16; i++)
        cr_assert_not(sfs_guesses_leave(guesses, SFS_GUESS_BLOCK, 7, rest));
    cr_assert(sfs_guesses_leave(guesses, SFS_GUESS_BLOCK, 7, (struct sfs_range){ 110, 20 }));
    cr_assert(sfs_guesses_next(guesses, 7, &rest, &part));
    cr_assert(part.offset == 50 && part.size == 50);
    cr_assert(sfs_guesses_next(guesses, 7, &rest, &part));
    cr_assert(part.offset == 130 && part.size == 120);
    cr_assert_not(sfs_guesses_next(guesses, 7, &rest, &part));
    rest = (struct sfs_range){ 105, 10 };
    cr_assert_not(sfs_guesses_next(guesses, 7, &rest, &part));
    rest = (struct sfs_range){ 50, 200 };
    cr_assert(sfs_guesses_next(guesses, 8, &rest, &part));
    cr_assert(part.offset == 50 && part.size == 200 && rest.size == 0);
}

Test(guesses, are_bounded)
{
    for (unsigned i = 0; i < 100000; i++)
        sfs_guesses_leave(guesses, SFS_GUESS_LIBRARY, i, (struct sfs_range){ 0, 1 });
    expect("\"library\":{\"bytes\":100000,\"checked_bytes\":1024,\"used_bytes\":0}");
}

Test(guesses, of_nobody_are_none)
{
    sfs_guesses_close(&guesses);
    expect("{\"library\":{\"bytes\":0,");
}
