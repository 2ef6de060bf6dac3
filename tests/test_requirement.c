/* What packages require, as METADATA, requires.txt and Depends say it, and as nothing should. */
#include "slim/requirement.h"

#include <criterion/criterion.h>
#include <stagefs/auto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* "name" if the line counts for `extra`; "name-" if it does not; "": it names nothing. */
static const char *judge(const char *line, const char *extra)
{
    static char text[SFS_MAX_PACKAGE_NAME + 3];
    struct sfs_requirement it;
    if (!sfs_requirement_parse(line, strlen(line), &it))
        return "";
    snprintf(text, sizeof text, "%s%s", it.name, sfs_requirement_applies(&it, extra) ? "" : "-");
    return text;
}

Test(requirement, has_a_name_that_can_be_compared)
{
    cr_expect_str_eq(judge("filelock", ""), "filelock");
    cr_expect_str_eq(judge(" Typing__Extensions.-x>=4.10.0", ""), "typing-extensions-x");
    cr_expect_str_eq(judge("zope.interface (>=1,<2)", ""), "zope-interface");
    cr_expect_str_eq(judge("pip @ file:///x", ""), "pip");
    cr_expect_str_eq(judge("libstdc++6", ""), "libstdc++6");
    cr_expect_str_eq(judge("", ""), "");
    cr_expect_str_eq(judge("; extra == 'x'", ""), "");
}

Test(requirement, applies_unless_its_marker_is_certainly_false)
{
    static const char *const rows[][3] = {
        { "a; extra == \"x\"", "", "a-" },
        { "a; extra == \"x\"", "x", "a" },
        { "a; extra=='X.y'", "x-y", "a" },
        { "a; 'x' == extra", "", "a-" },
        { "a; extra != 'x'", "", "a" },
        { "a; python_version >= '3.12'", "", "a" },
        { "a; python_version < '3' and extra == 'x'", "", "a-" },
        { "a; (python_version < '3' or os_name == 'nt') and extra == 'x'", "", "a-" },
        { "a; extra == 'x' or extra == 'y'", "y", "a" },
        { "a; extra == 'x' or extra == 'y'", "z", "a-" },
        { "a; extra == 'x' or python_version < '3'", "", "a" },
        { "a; sys_platform == 'win32'", "", "a-" },
        { "a; sys_platform != 'win32'", "", "a" },
        { "a; platform_system == \"Linux\" and platform_machine == \"x86_64\"", "", "a" },
        { "a; platform_system=='Windows'", "", "a-" },
        { "a; python_version not in '2.7' and os_name == \"posix\"", "", "a" },
        { "a;", "", "a" },
        { "a; nonsense", "", "a" },
        { "a; extra == 'x", "", "a" },
        { "a; (extra == 'x'", "", "a" },
        { "a; extra == 'x' extra == 'x'", "", "a" },
        { "a >= 1 ; extra == 'x'", "", "a-" },
        { "a[b]; extra == 'x'", "", "a-" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        cr_expect_str_eq(judge(rows[i][0], rows[i][1]), rows[i][2], "'%s' for '%s' is %s",
                         rows[i][0], rows[i][1], judge(rows[i][0], rows[i][1]));
}

Test(requirement, survives_markers_of_any_depth)
{
    AUTO(sfs_buf_close) struct sfs_buf line = { 0 };
    sfs_buf_add_str(&line, "a; ");
    for (int i = 0; i < 100000; i++)
        sfs_buf_add_str(&line, "(");
    cr_assert_str_eq(judge(line.data, ""), "a");
}

/* Whatever the bytes are, it ends inside of the line; each is a piece of memory of its own. */
Test(requirement, survives_lines_of_any_bytes)
{
    static const char *const pieces[] = { "a",     "[",       "]",  ",", ";",     "(",    ")",
                                          "extra", "==",      "\"", "'", " and ", " or ", "not",
                                          "in",    "os_name", "\\", "",  "\xff",  "<",    "!",
                                          "\n",    ":",       "|",  " " };
    uint32_t state = 7;
    for (int round = 0; round < 3000; round++) {
        AUTO(sfs_buf_close) struct sfs_buf text = { 0 };
        AUTO(sfs_buf_close) struct sfs_buf lines = { 0 };
        for (int i = 0; i < 24; i++) {
            state = state * 1664525u + 1013904223u;
            const char *piece = pieces[(state >> 8) % (sizeof pieces / sizeof *pieces)];
            sfs_buf_add(&text, piece, *piece ? strlen(piece) : 1);
        }
        AUTO(sfs_free) char *line = malloc(text.size);
        struct sfs_requirement it;
        char extra[SFS_MAX_PACKAGE_NAME + 1];
        memcpy(line, text.data, text.size);
        if (sfs_requirement_parse(line, text.size, &it)) {
            sfs_requirement_applies(&it, "a");
            while (sfs_requirement_next_extra(&it, extra))
                cr_assert_neq(extra[0], 0);
        }
        sfs_requirements_of_metadata(text.data, &lines);
        sfs_requirements_of_list(text.data, &lines);
        sfs_requirements_of_depends(text.data, &lines);
        cr_assert_not(lines.failed);
    }
}

Test(requirement, asks_for_extras_by_name)
{
    static const char line[] = "pkg[One, two_2,, ]>=1; python_version > '3'";
    struct sfs_requirement it;
    char extra[SFS_MAX_PACKAGE_NAME + 1];
    cr_assert(sfs_requirement_parse(line, strlen(line), &it));
    cr_assert(sfs_requirement_next_extra(&it, extra));
    cr_assert_str_eq(extra, "one");
    cr_assert(sfs_requirement_next_extra(&it, extra));
    cr_assert_str_eq(extra, "two-2");
    cr_assert_not(sfs_requirement_next_extra(&it, extra));
    cr_assert(sfs_requirement_parse("pkg[never", 9, &it));
    cr_assert_not(sfs_requirement_next_extra(&it, extra));
}

static void expect_lines(void (*read)(const char *text, struct sfs_buf *lines), const char *text,
                         const char *want)
{
    AUTO(sfs_buf_close) struct sfs_buf lines = { 0 };
    read(text, &lines);
    cr_assert_str_eq(lines.data ? lines.data : "", want);
}

Test(requirement, is_read_from_the_files_of_packages)
{
    expect_lines(sfs_requirements_of_metadata,
                 "Name: x\r\nRequires-Dist: a>=1\r\nRequires-Dist: b; extra == 'c'\n\n"
                 "Requires-Dist: in the description\n",
                 " a>=1\n b; extra == 'c'\n");
    expect_lines(sfs_requirements_of_list,
                 "a>=1\n# word\n\n[x]\nb\n[:python_version<\"3\"]\nc\n[y:os_name=='nt']\nd\n[",
                 "a>=1\nb; extra == \"x\"\nc; (python_version<\"3\")\n"
                 "d; extra == \"y\" and (os_name=='nt')\n[; extra == \"y\" and (os_name=='nt')\n");
    expect_lines(sfs_requirements_of_depends,
                 "libc6 (>= 2.34), python3:any, mawk | gawk (<< 5) |, ,libstdc++6",
                 "libc6\npython3\nmawk\ngawk\nlibstdc++6\n");
}
