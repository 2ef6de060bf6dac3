/* The text of profiles: what is written is read as the same, and nothing else is taken for one. */
#include "tree/profile_merge.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

static struct sfs_error err;

static int parse(struct sfs_profile *profile, const char *text)
{
    return sfs_profile_parse(profile, "p", text, strlen(text), &err);
}

/* Reads `text`, writes it again, and compares. */
static void expect_written(const char *text, const char *wanted)
{
    struct sfs_profile profile = { 0 };
    struct sfs_buf buf = { 0 };
    cr_assert_eq(parse(&profile, text), 0, "%s", err.text);
    cr_assert_eq(sfs_buf_add_str(&buf, ""), 0);
    for (size_t i = 0; i < profile.count; i++)
        cr_assert_eq(sfs_use_print(&profile.uses[i], &buf), 0);
    cr_assert_str_eq(buf.data, wanted);
    sfs_buf_close(&buf);
    sfs_profile_done(&profile);
}

static void expect_refused(const char *text, const char *words)
{
    struct sfs_profile profile = { 0 };
    cr_assert_eq(parse(&profile, text), -EBADMSG, "%s", text);
    cr_assert_not_null(strstr(err.text, words), "%s: %s", text, err.text);
    sfs_profile_done(&profile);
}

Test(profile, is_written_as_it_was_read)
{
    const char *text = "read /a/b 0+4096 8192+1\nopen /e\nstat /\nlist /a\nlink /l\nnone /n\n";
    expect_written(text, text);
}

Test(profile, may_hold_comments_blanks_and_empty_lines)
{
    expect_written("# one\n\n  stat\t/a  # why\r\n#two\nstat /#b", "stat /a\nstat /#b\n");
}

Test(profile, has_ranges_sorted_and_joined)
{
    expect_written("read /a 100+50 0+10 10+5 120+100 400+1\n", "read /a 0+15 100+120 400+1\n");
}

Test(profile, keeps_every_byte_of_a_path)
{
    struct sfs_use use = { .kind = SFS_USE_STAT };
    char path[2 * 255 + 2];
    size_t size = 0;
    path[size++] = '/';
    for (int byte = 1; byte < 256; byte++) {
        if (byte == '/')
            continue;
        path[size++] = (char)byte;
        path[size++] = 'x';
    }
    path[size] = 0;
    use.path = path;
    struct sfs_buf buf = { 0 };
    cr_assert_eq(sfs_use_print(&use, &buf), 0);
    for (size_t i = 0; i + 1 < buf.size; i++)
        cr_assert(buf.data[i] >= ' ' && buf.data[i] < 0x7f, "byte %zu", i);
    struct sfs_profile profile = { 0 };
    cr_assert_eq(sfs_profile_parse(&profile, "p", buf.data, buf.size, &err), 0, "%s", err.text);
    cr_assert_eq(profile.count, 1);
    cr_assert_str_eq(profile.uses[0].path, path);
    sfs_profile_done(&profile);
    sfs_buf_close(&buf);
}

Test(profile, leaves_utf8_readable_and_nothing_that_only_looks_like_it)
{
    expect_written("stat /\303\244\342\202\254\360\237\230\200\n",
                   "stat /\303\244\342\202\254\360\237\230\200\n");
    expect_written("stat /\\300\\257\\355\\240\\200\\364\\220\\200\\200\\303\n",
                   "stat /\\300\\257\\355\\240\\200\\364\\220\\200\\200\\303\n");
}

Test(profile, gives_each_path_one_spelling)
{
    expect_written("stat /\\141\\040b\n", "stat /a\\040b\n");
}

Test(profile, names_file_and_line_of_what_it_refuses)
{
    expect_refused("stat /a\n\nfoo /b\n", "p:3: ");
}

Test(profile, refuses_paths_that_lead_elsewhere)
{
    expect_refused("stat a", "path");
    expect_refused("stat", "path");
    expect_refused("stat /a/../b", "path");
    expect_refused("stat /..", "path");
    expect_refused("stat /./a", "path");
    expect_refused("stat //a", "path");
    expect_refused("stat /a/", "path");
    expect_refused("stat /a\\000b", "octal");
    expect_refused("stat /a\\40", "octal");
    expect_refused("stat /a\\777", "octal");
    expect_refused("stat /a b", "follows");
}

Test(profile, refuses_ranges_that_are_none)
{
    expect_refused("read /a 0", "OFFSET+SIZE");
    expect_refused("read /a 0+0", "OFFSET+SIZE");
    expect_refused("read /a +5", "OFFSET+SIZE");
    expect_refused("read /a 5+", "OFFSET+SIZE");
    expect_refused("read /a -5+5", "OFFSET+SIZE");
    expect_refused("read /a 0+5x", "OFFSET+SIZE");
    expect_refused("read /a 9223372036854775807+1", "OFFSET+SIZE");
    expect_refused("read /a 0+9223372036854775808", "OFFSET+SIZE");
    expect_refused("read /a 99999999999999999999+1", "OFFSET+SIZE");
    expect_refused("stat /a 0+5", "follows");
}

Test(profile, takes_the_largest_range_there_is)
{
    expect_written("read /a 0+9223372036854775807 1+9223372036854775806\n",
                   "read /a 0+9223372036854775807\n");
}

Test(profile, of_several_files_holds_all_lines)
{
    struct sfs_profile profile = { 0 };
    cr_assert_eq(parse(&profile, "stat /a\n"), 0);
    cr_assert_eq(parse(&profile, "read /a 0+1\n"), 0);
    cr_assert_eq(profile.count, 2);
    cr_assert_eq(profile.uses[1].kind, SFS_USE_READ);
    sfs_profile_done(&profile);
}

Test(ranges, join_over_a_gap_and_no_further)
{
    struct sfs_ranges ranges = { 0 };
    cr_assert_eq(sfs_ranges_add(&ranges, 30, 10), 0);
    cr_assert_eq(sfs_ranges_add(&ranges, 0, 10), 0);
    cr_assert_eq(sfs_ranges_add(&ranges, 51, 1), 0);
    sfs_ranges_merge(&ranges, 20);
    cr_assert_eq(ranges.count, 1);
    cr_assert_eq(ranges.items[0].size, 52);
    cr_assert_eq(sfs_ranges_add(&ranges, 73, 1), 0);
    sfs_ranges_merge(&ranges, 20);
    cr_assert_eq(ranges.count, 2);
    sfs_ranges_done(&ranges);
}

Test(profile, tells_what_was_executed)
{
    expect_written("exec /bin/sh 0+10 5+20\nexec /x\n", "exec /bin/sh 0+25\nexec /x\n");
}

static void expect_joined(const char *text, const char *more, const char *wanted)
{
    struct sfs_profile profile = { 0 };
    struct sfs_buf buf = { 0 };
    cr_assert_eq(parse(&profile, more), 0, "%s", err.text);
    cr_assert_eq(sfs_profile_join_text("p", text, strlen(text), &profile, &buf, &err), 0, "%s",
                 err.text);
    cr_assert_str_eq(buf.data ? buf.data : "", wanted);
    sfs_buf_close(&buf);
    sfs_profile_done(&profile);
}

Test(profile, joined_keeps_the_order_of_first_use)
{
    expect_joined("# head\nread /b 0+1\nstat /a\n", "stat /c\nread /a\nread /b 4+1 0+2\n",
                  "# head\nread /b 0+2 4+1\nread /a\nstat /c\n");
    expect_joined("none /n\nexec /x 0+5\n", "read /x 0+5\nstat /n\n", "stat /n\nexec /x 0+5\n");
}

Test(profile, joined_keeps_what_a_person_wrote)
{
    expect_joined("  stat\t/a   # why\n\n# all\nstat /b # who\nstat /b#c", "open /b\nopen /b#c\n",
                  "  stat\t/a   # why\n\n# all\nopen /b # who\nopen /b#c\n");
}

Test(profile, joined_with_itself_is_the_same)
{
    expect_joined("read /a 0+4 8+4\nlist /d\nread /a 0+4\n", "read /a 0+4 8+4\nlist /d\n",
                  "read /a 0+4 8+4\nlist /d\nread /a 0+4\n");
}

Test(profile, joined_keeps_for_later_what_the_text_has_later)
{
    expect_joined("read /a 0+4\nstat /b\nread /a 8+4\n", "read /a 0+4\nread /a 8+4 20+1\n",
                  "read /a 0+4 20+1\nstat /b\nread /a 8+4\n");
}

Test(profile, joined_has_a_path_of_several_lines_once)
{
    expect_joined("", "stat /a\nread /a 0+1\nstat /b\nread /a 5+1\n", "read /a 0+1 5+1\nstat /b\n");
}

Test(profile, malformed_is_not_joined)
{
    struct sfs_profile none = { 0 };
    struct sfs_buf buf = { 0 };
    cr_assert_eq(sfs_profile_join_text("p", "stat a\n", 7, &none, &buf, &err), -EBADMSG);
    cr_assert_not_null(strstr(err.text, "p:1"), "%s", err.text);
    sfs_buf_close(&buf);
}

static void expect_merged(const char *const *texts, size_t count, const char *wanted)
{
    struct sfs_profile profiles[4] = { 0 };
    struct sfs_buf buf = { 0 };
    cr_assert_eq(sfs_buf_add_str(&buf, ""), 0);
    for (size_t i = 0; i < count; i++)
        cr_assert_eq(parse(&profiles[i], texts[i]), 0, "%s", err.text);
    cr_assert_eq(sfs_profile_merge(profiles, count, &buf, &err), 0);
    cr_assert_str_eq(buf.data, wanted);
    sfs_buf_close(&buf);
    for (size_t i = 0; i < count; i++)
        sfs_profile_done(&profiles[i]);
}

Test(profile_merge, has_each_path_once_with_all_that_is_said_of_it)
{
    const char *texts[] = { "stat /a\nread /b 0+10\nopen /a\n",
                            "read /a 5+5\nread /b 10+10 30+1\n" };
    expect_merged(texts, 2, "read /a 5+5\nread /b 0+20 30+1\n");
}

Test(profile_merge, leaves_for_later_what_is_used_later)
{
    const char *texts[] = { "read /a 0+10\nread /b 0+1\nread /a 0+20 50+5\nread /c 0+1\n",
                            "read /a 5+10\nread /b 0+1\nread /a 12+8 60+1\nread /c 0+1\n" };
    expect_merged(texts, 1, "read /a 0+10\nread /b 0+1\nread /a 10+10 50+5\nread /c 0+1\n");
    expect_merged(texts, 2, "read /a 0+15\nread /b 0+1\nread /a 15+5 50+5 60+1\nread /c 0+1\n");
}

Test(profile_ranges, are_taken_away_from_others)
{
    struct sfs_ranges ranges = { 0 }, less = { 0 };
    cr_assert_eq(sfs_ranges_add(&ranges, 0, 100), 0);
    cr_assert_eq(sfs_ranges_add(&ranges, 200, 10), 0);
    cr_assert_eq(sfs_ranges_add(&less, 0, 10), 0);
    cr_assert_eq(sfs_ranges_add(&less, 20, 5), 0);
    cr_assert_eq(sfs_ranges_add(&less, 90, 115), 0);
    cr_assert_eq(sfs_ranges_subtract(&ranges, &less), 0);
    cr_assert_eq(ranges.count, 3);
    cr_assert_eq(ranges.items[0].offset, 10);
    cr_assert_eq(ranges.items[0].size, 10);
    cr_assert_eq(ranges.items[1].offset, 25);
    cr_assert_eq(ranges.items[1].size, 65);
    cr_assert_eq(ranges.items[2].offset, 205);
    cr_assert_eq(ranges.items[2].size, 5);
    cr_assert_eq(sfs_ranges_subtract(&ranges, &ranges), 0);
    cr_assert_eq(ranges.count, 0);
    sfs_ranges_done(&ranges);
    sfs_ranges_done(&less);
}

Test(profile_merge, puts_first_what_all_use_early)
{
    const char *texts[] = { "open /mine\nopen /all\nopen /late\n", "open /all\nopen /late\n",
                            "open /all\nopen /late\n" };
    expect_merged(texts, 3, "open /all\nopen /late\nopen /mine\n");
}

Test(profile_merge, of_none_or_empty_ones_is_empty)
{
    const char *texts[] = { "", "# nothing\n" };
    expect_merged(texts, 0, "");
    expect_merged(texts, 2, "");
}
