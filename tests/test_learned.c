/* What is learned of starts: how one more start changes it, and its text, damaged or not. */
#include "tree/learned.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stagefs/digest.h>
#include <string.h>

static struct sfs_error err;
static struct sfs_learned learned;
static struct sfs_learned_sums sums;

static void forget(void)
{
    sfs_learned_done(&learned);
}

TestSuite(learned, .fini = forget);

static const char *turn;    /* of those whose path starts with this; NULL: of none */
static uint64_t turn_block; /* and of those only this block; UINT64_MAX: all */

static bool is_turn(void *user, const struct sfs_use *use, uint64_t block)
{
    (void)user;
    return turn && strncmp(use->path, turn, strlen(turn)) == 0 &&
           (turn_block == UINT64_MAX || turn_block == block);
}

/* One start, in which `text` was seen, and in which it was the turn of `whose` block. */
static int start_of_block(const char *text, const char *whose, uint64_t block)
{
    turn = whose;
    turn_block = block;
    struct sfs_profile seen = { 0 };
    cr_assert_eq(sfs_profile_parse(&seen, "p", text, strlen(text), &err), 0, "%s", err.text);
    int r = sfs_learned_merge(&learned, &seen, is_turn, NULL, &sums);
    cr_assert_geq(r, 0);
    sfs_profile_done(&seen);
    return r;
}

static int start(const char *text, const char *whose)
{
    return start_of_block(text, whose, UINT64_MAX);
}

static void expect(const char *wanted)
{
    struct sfs_buf buf = { 0 };
    cr_assert_eq(sfs_buf_add_str(&buf, ""), 0);
    for (size_t i = 0; i < learned.uses.count; i++)
        cr_assert_eq(sfs_use_print(&learned.uses.uses[i], &buf), 0);
    cr_assert_str_eq(buf.data, wanted);
    sfs_buf_close(&buf);
}

/* --- one more start --------------------------------------------------------------------------- */

Test(learned, is_of_the_first_start_what_was_seen)
{
    cr_assert_eq(start("read /b 0+10\nstat /a\nnone /c\n", NULL), 1);
    expect("read /b 0+10\nstat /a\nnone /c\n");
    cr_assert_eq(learned.starts, 1);
}

Test(learned, has_new_uses_behind_what_they_were_seen_behind)
{
    start("read /a 0+1\nread /b 0+1\nread /c 0+1\n", NULL);
    start("stat /first\nread /b 0+1\nread /new 5+1\nstat /newer\n", NULL);
    expect("stat /first\nread /a 0+1\nread /b 0+1\nread /new 5+1\nstat /newer\nread /c 0+1\n");
}

Test(learned, gains_ranges_of_what_is_fetched_ahead)
{
    start("read /a 0+10\n", NULL);
    start("exec /a 100+10\n", NULL);
    expect("exec /a 0+10 100+10\n");
}

Test(learned, has_exact_ranges_of_what_was_asked_for)
{
    start("read /a 0+1000\nread /b 0+1000\n", NULL);
    start("read /a 500+10\n", "/a");
    expect("read /a 500+10\nread /b 0+1000\n");
    cr_assert_eq(sums.checked, 1);
    cr_assert_eq(sums.used, 1);
    cr_assert_eq(sums.used_bytes, 1000);
}

Test(learned, has_exact_ranges_of_the_block_that_was_asked_for)
{
    start("read /a 0+1000000\n", NULL);
    start_of_block("read /a 262144+4096 500000+10\n", "/a", 1);
    expect("read /a 0+266240 500000+10 524288+475712\n");
    cr_assert_eq(sums.checked, 1);
    cr_assert_eq(sums.checked_bytes, 262144);
    cr_assert_eq(sums.used_bytes, 262144);
}

Test(learned, drops_a_block_that_was_not_used_in_its_turn)
{
    start("read /a 0+1000000\n", NULL);
    start_of_block("read /b 0+1\n", "/a", 3);
    expect("read /b 0+1\nread /a 0+786432\n");
    cr_assert_eq(sums.used, 0);
    for (uint64_t block = 0; block < 3; block++)
        start_of_block("read /b 0+1\n", "/a", block);
    start_of_block("read /b 0+1\n", "/a", 2); /* its last one counts as a file of one block */
    expect("read /b 0+1\n");
}

Test(learned, looks_at_no_block_of_ranges_without_end)
{
    start("read /a 0+9223372036854775807\nread /b 0+1\n", NULL);
    start("read /b 0+1\n", "/a");
    expect("read /a 0+9223372036854775807\nread /b 0+1\n");
    cr_assert_eq(sums.checked, 0);
}

Test(learned, looks_at_more_while_much_is_not_used)
{
    const unsigned seldom = sfs_learned_turns(&learned);
    start("read /1 0+1\nread /2 0+1\nread /3 0+1\nread /4 0+1\n", NULL);
    cr_assert_eq(sfs_learned_turns(&learned), seldom);
    start("read /1 0+1\nread /2 0+1\n", "/");
    cr_assert_lt(sfs_learned_turns(&learned), seldom);
    for (int i = 0; i < 3; i++)
        start("read /1 0+1\nread /2 0+1\n", "/");
    cr_assert_eq(sfs_learned_turns(&learned), seldom);
}

Test(learned, forgets_what_was_not_used_in_two_turns)
{
    start("read /a 0+1\nread /b 0+1\n", NULL);
    start("read /b 0+1\n", "/a");
    expect("read /a 0+1\nread /b 0+1\n");
    start("read /b 0+1\n", "/nobody");
    start("read /b 0+1\n", "/a");
    expect("read /b 0+1\n");
    cr_assert_eq(sums.checked - sums.used, 1);
}

Test(learned, keeps_what_is_used_again_in_between)
{
    start("read /a 0+1\nread /b 0+1\n", NULL);
    start("read /b 0+1\n", "/a");
    start("read /a 0+1\n", "/a");
    start("read /b 0+1\n", "/a");
    expect("read /a 0+1\nread /b 0+1\n");
}

static const char rich[] = "read /1 0+1\nread /2 0+1\nread /3 0+1\nread /4 0+1\nread /5 0+1\n"
                           "read /6 0+1\nread /7 0+1\nread /8 0+1\n";

Test(learned, loses_nothing_by_those_who_look_around)
{
    start(rich, NULL);
    for (int i = 0; i < 3; i++)
        start("read /1 0+1\n", "/");
    expect(rich);
    cr_assert_eq(learned.starts, 1);
    cr_assert_eq(learned.poor, 3);
    start(rich, "/");
    cr_assert_eq(learned.poor, 0);
}

Test(learned, follows_an_image_that_is_used_otherwise_now)
{
    start(rich, NULL);
    for (int i = 0; i < 16; i++)
        start("read /other 0+1\n", "/");
    expect("read /other 0+1\n");
}

Test(learned, is_the_same_after_a_start_that_told_nothing)
{
    start(rich, NULL);
    cr_assert_eq(start("", "/"), 0);
    expect(rich);
}

/* --- the text --------------------------------------------------------------------------------- */

static const char body[] = "# stagefs learned 2, starts 2, poor 1, used 3 of 4\n"
                           "# misses 010\n"
                           "read /a 0+10 100+10\n"
                           "stat /b\\040c\n"
                           "none /d\n";

/* The text with the digest that belongs to it. The caller frees. */
static char *sign(const char *text, size_t size, size_t *ret_size)
{
    struct sfs_digest digest;
    char hex[SFS_DIGEST_TEXT];
    cr_assert_eq(sfs_digest_of(text, size, &digest), 0);
    *ret_size = size + 2 + strlen(sfs_digest_print(&digest, hex)) + 1;
    char *all = malloc(*ret_size + 1);
    cr_assert_not_null(all);
    memcpy(all, text, size);
    snprintf(all + size, *ret_size + 1 - size, "# %s\n", hex);
    return all;
}

static int parse(const char *text, size_t size)
{
    sfs_learned_done(&learned);
    return sfs_learned_parse(text, size, &learned, &err);
}

Test(learned, is_read_as_it_was_written)
{
    struct sfs_buf buf = { 0 };
    size_t size;
    char *text = sign(body, strlen(body), &size);
    cr_assert_eq(parse(text, size), 0, "%s", err.text);
    cr_assert_eq(learned.starts, 2);
    cr_assert_eq(learned.poor, 1);
    cr_assert_eq(learned.used, 3);
    cr_assert_eq(learned.looked_at, 4);
    cr_assert_eq(learned.uses.count, 3);
    cr_assert_eq(learned.misses[1], 1);
    cr_assert_eq(sfs_learned_print(&learned, &buf, &err), 0);
    cr_assert_str_eq(buf.data, text);
    sfs_buf_close(&buf);
    free(text);
}

Test(learned, is_a_profile)
{
    struct sfs_profile profile = { 0 };
    size_t size;
    char *text = sign(body, strlen(body), &size);
    cr_assert_eq(sfs_profile_parse(&profile, "p", text, size, &err), 0, "%s", err.text);
    cr_assert_eq(profile.count, 3);
    sfs_profile_done(&profile);
    free(text);
}

Test(learned, is_refused_when_any_byte_is_gone_or_another)
{
    size_t size;
    char *text = sign(body, strlen(body), &size);
    for (size_t i = 0; i < size; i++)
        cr_assert_eq(parse(text, i), -EBADMSG, "of %zu bytes", i);
    for (size_t i = 0; i < size; i++) {
        text[i] ^= 1;
        cr_assert_eq(parse(text, size), -EBADMSG, "byte %zu", i);
        text[i] ^= 1;
    }
    free(text);
}

static void expect_refused(const char *text)
{
    size_t size;
    char *all = sign(text, strlen(text), &size);
    cr_assert_eq(parse(all, size), -EBADMSG, "%s", text);
    free(all);
}

Test(learned, is_refused_when_its_head_does_not_fit)
{
    expect_refused("");
    expect_refused("read /a 0+1\n");
    expect_refused("# stagefs learned 1, starts 0, poor 0\n# misses \n");
    expect_refused("# stagefs learned 2, starts 00, poor 0, used 0 of 0\n# misses \n");
    expect_refused("# stagefs learned 2, starts -1, poor 0, used 0 of 0\n# misses \n");
    expect_refused("# stagefs learned 2, starts 0, poor 0, used 0 of 0\n# misses 0\n");
    expect_refused("# stagefs learned 2, starts 0, poor 0, used 0 of 0\n# misses 2\nstat /a\n");
    expect_refused("# stagefs learned 2, starts 0, poor 0, used 0 of 0\n# misses\nstat /a\n");
    expect_refused("# stagefs learned 2, starts 0, poor 0, used 0 of 0\n");
    expect_refused("# stagefs learned 2, starts 0, poor 0, used 0 of 0\n# misses 0\nstat a\n");
}

static uint32_t next_random(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return *state >> 8;
}

/* Whoever can compute a digest can write such a file: what is read must still be harmless. */
Test(learned, is_harmless_whatever_it_says)
{
    uint32_t random = 20261128;
    for (int round = 0; round < 20000; round++) {
        char text[sizeof body + 8];
        size_t length = strlen(body), size;
        memcpy(text, body, sizeof body);
        for (uint32_t i = next_random(&random) % 4 + 1; i > 0; i--)
            text[next_random(&random) % length] = (char)next_random(&random);
        if (round % 4 == 0)
            length = next_random(&random) % length;
        char *all = sign(text, length, &size);
        int r = parse(all, size);
        cr_assert(r == 0 || r == -EBADMSG);
        if (r == 0)
            start("read /a 0+1\nread /new 7+7\n", "/");
        free(all);
    }
}
