#include "copy/chmod.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <sys/stat.h>

struct chmod_case {
    uint32_t before, after;
    const char *text;
};

static void check(const struct chmod_case *cases, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        AUTO(sfs_chmod_close) struct sfs_chmod *chmod = NULL;
        struct sfs_error err = { "" };
        cr_assert_eq(sfs_chmod_open(cases[i].text, &chmod, &err), 0, "%s: %s", cases[i].text,
                     err.text);
        uint32_t mode = cases[i].before & S_IFMT ? cases[i].before : cases[i].before | S_IFREG;
        uint32_t got = sfs_chmod_apply(chmod, mode);
        cr_expect_eq(got, cases[i].after, "\"%s\" of %o: %o, not %o", cases[i].text,
                     cases[i].before, got, cases[i].after);
    }
}

#define CHECK(...)                                                                                 \
    do {                                                                                           \
        static const struct chmod_case cases[] = { __VA_ARGS__ };                                  \
        check(cases, sizeof cases / sizeof cases[0]);                                              \
    } while (0)

Test(chmod, sets_an_octal_mode_with_special_bits_on_everything)
{
    CHECK({ 0777, 0644, "644" }, { 0, 0421, "0421" }, { 0, 07421, "07421" },
          { S_IFDIR | 0755, 0644, "0644" }, { 04755, 0, "0" }, { 0, 0755, "000000755" });
}

Test(chmod, adds_takes_and_sets_for_each_class)
{
    CHECK({ 0, 0400, "u+r" }, { 0, 0020, "g+w" }, { 0, 0001, "o+x" }, { 0777, 0377, "u-r" },
          { 0777, 0677, "u=rw" }, { 0777, 0077, "u=" }, { 0, 0444, "+r" }, { 0777, 0555, "-w" },
          { 0777, 0755, "go-w" }, { 0777, 0, "=" }, { 0421, 0421, "+" }, { 0421, 0421, "-" },
          { 0777, 0666, "=rw" }, { 0777, 0700, "go=" }, { 0, 0666, "a=rw" });
}

Test(chmod, makes_executable_what_somebody_may_execute)
{
    CHECK({ 0, 0, "u+X" }, { 0001, 0101, "u+X" }, { S_IFDIR, 0100, "u+X" }, { 0100, 0110, "g+X" },
          { 0010, 0111, "+X" }, { S_IFDIR, 0111, "+X" }, { 0777, 0777, "-X" },
          { S_IFDIR | 0777, 0777, "u-X" }, { 0644, 0644, "u=rwX" }, { 0700, 0755, "u=rwX,go=rX" },
          { 0644, 0644, "u=rwX,go=rX" }, { 0755, 0544, "u=rX,go=r" },
          { S_IFDIR | 0750, 0544, "u=rX,go=r" }, { S_IFDIR | 0700, 0711, "a+X" },
          { 0700, 0755, "u+rwX,go+rX" }, { 0600, 0644, "u+rwX,go+rX" },
          { S_IFDIR | 0600, 0755, "u+rwX,go+rX" });
}

Test(chmod, looks_at_the_mode_before_all_clauses_for_X)
{
    CHECK({ 0766, 0777, "=rw,+X" }, { 0666, 0666, "=rw,+X" }, { 0644, 0744, "u+x,g+X" });
}

Test(chmod, handles_setuid_setgid_and_sticky)
{
    CHECK({ 0, 04000, "u+s" }, { 0, 02000, "g+s" }, { 0, 0, "o+s" }, { 0, 06000, "+s" },
          { 06777, 0777, "-s" }, { 04777, 0777, "u-s" }, { 0421, 01421, "+t" },
          { 01421, 0421, "-t" }, { 0, 0, "o+t" }, { 0777, 01777, "=t" });
}

Test(chmod, clears_setuid_but_not_sticky_with_equals)
{
    CHECK({ 07777, 01000, "=" }, { 04755, 0755, "u=rwx" });
}

Test(chmod, copies_bits_of_another_class)
{
    CHECK({ 0042, 0442, "u=g" }, { 0742, 0442, "u=g" }, { 0722, 0022, "u=g-w" },
          { 0762, 0462, "u=g-w" }, { 0021, 0121, "u+o" }, { 0021, 0321, "u+go" },
          { 0, 0755, "u=rwx,go=u-w" }, { 0770, 0755, "go=u-w" }, { 0370, 0311, "go=u-w" },
          { 0750, 0050, "u-u" }, { 0640, 0664, "go=u,o-w" });
}

Test(chmod, sets_again_what_an_equals_copied_if_letters_follow)
{
    CHECK({ 0070, 0470, "u=gr" });
}

Test(chmod, does_clauses_in_order)
{
    CHECK({ 0777, 0764, "a=r,ug=rw,u+x" }, { 0, 01624, "o+r,g+w,a+t,g-s,u+og" },
          { 02100, 01724, "o+r,g+w,a+t,g-s,u+og" },
          { S_IFDIR | 06000, 05624, "o+r,g+w,a+t,g-s,u+og" });
}

Test(chmod, drops_letters_that_follow_a_t_without_a_class)
{
    /* Of setmode(3): from 't' on the clause is about the sticky bit. */
    CHECK({ 0, 01000, "+tr" }, { 0, 01444, "a+tr" });
}

Test(chmod, leaves_symlinks_alone)
{
    AUTO(sfs_chmod_close) struct sfs_chmod *chmod = NULL;
    cr_assert_eq(sfs_chmod_open("0600", &chmod, NULL), 0);
    cr_assert_eq(sfs_chmod_apply(chmod, S_IFLNK | 0777), 0777u);
}

Test(chmod, tells_octal_from_symbolic)
{
    AUTO(sfs_chmod_close) struct sfs_chmod *octal = NULL, *symbolic = NULL;
    cr_assert_eq(sfs_chmod_open("755", &octal, NULL), 0);
    cr_assert_eq(sfs_chmod_open("+x", &symbolic, NULL), 0);
    cr_assert(sfs_chmod_is_octal(octal));
    cr_assert_not(sfs_chmod_is_octal(symbolic));
}

Test(chmod, refuses_what_is_neither)
{
    static const char *const bad[] = { "",   "64a",   "10000", "9",     "01000000000000000007777",
                                       ",",  "q+r",   "z",     "u",     "go",
                                       "u+", "u=rw,", "+x,q",  "u+r q", "-0755" };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct sfs_chmod *chmod = NULL;
        struct sfs_error err = { "" };
        int r = sfs_chmod_open(bad[i], &chmod, &err);
        if (strcmp(bad[i], "u+") == 0) { /* adds nothing, and is fine */
            cr_expect_eq(r, 0);
            sfs_chmod_close(&chmod);
            continue;
        }
        cr_expect_eq(r, -EINVAL, "%s", bad[i]);
        cr_expect_not_null(strstr(err.text, "invalid chmod parameter"), "%s: %s", bad[i], err.text);
    }
}

Test(chmod, says_of_numbers_what_they_have_to_be)
{
    struct sfs_chmod *chmod = NULL;
    struct sfs_error err = { "" };
    cr_assert_eq(sfs_chmod_open("64a", &chmod, &err), -EINVAL);
    cr_assert_str_eq(err.text, "invalid chmod parameter: '64a'. it should be octal string and "
                               "between 0 and 07777");
}
