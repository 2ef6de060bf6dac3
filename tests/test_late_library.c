/* Libraries that are loaded when they are needed: what is found, and what is said where it is not.
 */
#include "base/late_library.h"
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

struct functions {
    size_t (*strlen)(const char *text);
    int (*nosuch)(void);
};
static struct functions functions;
static int set_ups, set_up_result;

static int count_set_ups(struct sfs_error *err)
{
    set_ups++;
    return set_up_result < 0 ? sfs_fail(err, -set_up_result, "not today") : 0;
}

static struct sfs_late_library library_of(const char *const *sonames, size_t count)
{
    static const struct sfs_late_function table[] = {
        { "strlen", offsetof(struct functions, strlen) },
        { "sfs_no_such_function", offsetof(struct functions, nosuch) },
    };
    return (struct sfs_late_library){ .name = "libmuse",
                                      .needed_for = "songs are sung by",
                                      .package = "libmuse9",
                                      .sonames = sonames,
                                      .table = table,
                                      .count = count,
                                      .functions = &functions,
                                      .set_up = count_set_ups,
                                      .loading = PTHREAD_MUTEX_INITIALIZER };
}

static const char *const second_is_there[] = { "libmuse.so.9", "libc.so.6", NULL };
static const char *const none_is_there[] = { "libmuse.so.8", "libmuse.so.9", NULL };

Test(late_library, is_loaded_once_by_the_first_name_that_is_there)
{
    struct sfs_late_library library = library_of(second_is_there, 1);
    struct sfs_error err;
    cr_assert_eq(sfs_late_library_load(&library, &err), 0, "%s", err.text);
    cr_assert_eq(functions.strlen("four"), 4);
    cr_assert_eq(sfs_late_library_load(&library, &err), 0);
    cr_assert_eq(set_ups, 1);
}

Test(late_library, that_is_missing_is_named_with_what_it_is_for_and_its_package)
{
    struct sfs_late_library library = library_of(none_is_there, 1);
    struct sfs_error err;
    cr_assert_eq(sfs_late_library_load(&library, &err), -ENOTSUP);
    const char *said = "songs are sung by libmuse, which is not installed (Debian has it in "
                       "libmuse9): libmuse.so.9: ";
    cr_assert_eq(strncmp(err.text, said, strlen(said)), 0, "%s", err.text);
    cr_assert_eq(set_ups, 0);
}

Test(late_library, without_a_function_is_too_old)
{
    struct sfs_late_library library = library_of(second_is_there, 2);
    struct sfs_error err;
    cr_assert_eq(sfs_late_library_load(&library, &err), -ENOTSUP);
    cr_assert_str_eq(err.text, "libmuse is too old: it has no sfs_no_such_function()");
    cr_assert_eq(set_ups, 0);
}

Test(late_library, that_cannot_be_set_up_is_tried_again)
{
    struct sfs_late_library library = library_of(second_is_there, 1);
    struct sfs_error err;
    set_up_result = -EIO;
    cr_assert_eq(sfs_late_library_load(&library, &err), -EIO);
    cr_assert_str_eq(err.text, "not today");
    set_up_result = 0;
    cr_assert_eq(sfs_late_library_load(&library, &err), 0);
    cr_assert_eq(set_ups, 2);
}
