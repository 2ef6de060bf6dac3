/* What profiles keep, and why: trees of a few names, and profiles of a few lines. */
#include "slim/closure_python.h"
#include "slim/trim.h"
#include "support.h"

#include <criterion/criterion.h>
#include <stagefs/auto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A profile in a file of its own, which the caller unlinks. */
static void write_profile(const char *text, char path[32])
{
    snprintf(path, 32, "/tmp/stagefs-trim-XXXXXX");
    int fd = mkstemp(path);
    cr_assert_geq(fd, 0);
    cr_assert_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
}

struct trim_case {
    struct sfs_tree *base, *tree; /* base NULL: an empty one */
    const char *profile;          /* NULL: none */
    enum sfs_trim_policy policy;
    const char *keep, *drop; /* one glob each, or NULL */
    const char *gpu_archs;
    struct support_warnings warnings;
    struct sfs_error err;
};

static int open_trim(struct trim_case *what, struct sfs_trim **ret_trim)
{
    char path[32] = "";
    const char *profile = path;
    struct sfs_stage stage = { .base_tree = what->base ? what->base : support_tree("."),
                               .config = json_object() };
    if (what->profile)
        write_profile(what->profile, path);
    const struct sfs_slim_spec spec = { .profiles = &profile,
                                        .profile_count = what->profile != NULL,
                                        .policy = what->policy,
                                        .gpu_archs = what->gpu_archs,
                                        .keeps = &what->keep,
                                        .keep_count = what->keep != NULL,
                                        .drops = &what->drop,
                                        .drop_count = what->drop != NULL };
    support_warnings_init(&what->warnings);
    int r =
        sfs_trim_open(&stage, what->tree, &spec, &what->warnings.progress, ret_trim, &what->err);
    json_decref(stage.config);
    if (*path)
        unlink(path);
    return r;
}

/* Compares reason and cause ("used", "python < /a.py") of each path; the list ends with NULL. Of
 * what was used the cause is a file of the test's, and not looked at. */
static void expect_why_of(struct trim_case *what, const char *const *pairs)
{
    AUTO(sfs_trim_close) struct sfs_trim *trim = NULL;
    cr_assert_eq(open_trim(what, &trim), 0, "%s", what->err.text);
    for (; *pairs; pairs += 2) {
        enum sfs_why why;
        char text[512];
        AUTO(sfs_free) char *cause = NULL;
        cr_assert_eq(sfs_trim_why(trim, pairs[0], &why, &cause), 0, "%s", pairs[0]);
        bool has_cause = cause && why != SFS_WHY_USED;
        snprintf(text, sizeof text, "%s%s%s", sfs_why_word(why), has_cause ? " < " : "",
                 has_cause ? cause : "");
        cr_assert_str_eq(text, pairs[1], "%s is '%s', not '%s'", pairs[0], text, pairs[1]);
        bool stays = why != SFS_WHY_NOT && why != SFS_WHY_BASE;
        cr_assert(why == SFS_WHY_BASE || sfs_trim_keeps(trim, pairs[0]) == stays);
    }
}
#define expect_why(what, ...) expect_why_of((what), (const char *const[]){ __VA_ARGS__, NULL })

Test(trim, keeps_what_was_used_and_the_directories_above)
{
    struct trim_case what = { .tree = support_tree("a/b/c=1", "a/b/d=2", "a/e=3", "f/g=4"),
                              .profile = "read /a/b/c 0+1\nnone /f/g\n" };
    expect_why(&what, "/a/b/c", "used", "a/b", "parent < /a/b/c", "/a", "parent < /a/b/c", "/a/b/d",
               "left out", "/f", "left out", "/f/g", "left out");
    cr_assert_eq(what.warnings.count, 0);
}

Test(trim, keeps_a_directory_that_was_listed_without_what_is_in_it)
{
    struct trim_case what = { .tree = support_tree("a/b=1", "c=2"),
                              .profile = "list /a\nopen /c\n" };
    expect_why(&what, "/a", "used", "/a/b", "left out", "/c", "used");
}

Test(trim, follows_symlinks_and_keeps_those_on_the_way)
{
    struct trim_case what = {
        .tree = support_tree("real/x=1", "dir -> real", "l1 -> l2", "l2 -> dir/x", "other=2"),
        .profile = "link /l1\n",
        .warnings = { .count = 0 },
    };
    what.profile = "read /l1 0+1\n";
    expect_why(&what, "/real/x", "used", "/l1", "link < /real/x", "/l2", "link < /real/x", "/dir",
               "link < /real/x", "/other", "left out");
}

Test(trim, ends_at_symlinks_in_circles_and_out_of_the_tree)
{
    struct trim_case what = { .tree = support_tree("a -> b", "b -> a", "up -> ../../../x", "x=1",
                                                   "none -> nowhere/y", "file=1"),
                              .profile = "link /a\nlink /up\nlink /none\nopen /file\n" };
    expect_why(&what, "/a", "used", "/b", "link < /a", "/up", "used", "/x", "link < /up", "/none",
               "used");
    what.profile = "stat /none\nopen /file\n";
    expect_why(&what, "/none", "used");
    cr_assert_eq(what.warnings.count, 0, "%s", what.warnings.last);
}

Test(trim, leaves_to_the_base_what_the_base_has)
{
    struct sfs_tree *base = support_tree("lib/a=1", "etc/passwd=root");
    struct trim_case what = { .base = base,
                              .tree = support_stack(base, support_layer("lib/b=2", "lib/c=3")),
                              .profile = "open /lib/a\nopen /lib/b\n" };
    expect_why(&what, "/lib/a", "base", "/lib/b", "used", "/lib/c", "left out", "/etc/passwd",
               "base", "/", "base");
}

/* An upgrade on top of the base is not taken back, used or not. */
Test(trim, keeps_what_the_stage_changed_of_its_base)
{
    struct sfs_tree *base = support_tree("lib/ssl=old", "lib/same=1", "bin/sh -> dash", "d/x=1",
                                         "etc/conf=1", "bin/gone=1", "opt/a=1");
    struct trim_case what = { .base = base,
                              .tree = support_stack(
                                  base, support_layer("lib/ssl=newer", "bin/sh -> bash", "d=a file",
                                                      "0600 etc/conf=1", "app=1", "lib/new=1",
                                                      "-bin/gone", "opt/b == opt/a")),
                              .profile = "open /app\n" };
    expect_why(&what, "/lib/ssl", "changed", "/bin/sh", "changed", "/d", "changed", "/etc/conf",
               "changed", "/lib/same", "base", "/lib/new", "left out", "/opt/b", "left out");
    what.drop = "lib/ssl";
    expect_why(&what, "/lib/ssl", "left out", "/bin/sh", "changed");
}

Test(trim, keeps_what_changed_files_need)
{
    struct sfs_tree *base = support_tree("bin/run=#!", "bin/old=1");
    struct trim_case what = { .base = base,
                              .tree = support_stack(base, support_layer("0755 bin/run=#!/bin/new\n",
                                                                        "bin/new=1", "app=1")),
                              .profile = "open /app\n" };
    expect_why(&what, "/bin/run", "changed", "/bin/new", "interpreter < /bin/run");
}

Test(trim, keeps_of_a_file_with_two_names_the_one_that_is_needed)
{
    struct trim_case what = { .tree = support_tree("env/lib=1", "pkgs/lib == env/lib"),
                              .profile = "open /env/lib\n" };
    expect_why(&what, "/env/lib", "used", "/pkgs/lib", "left out", "/pkgs", "left out");
}

Test(trim, lets_drop_win_over_keep_and_keep_over_the_profile)
{
    struct trim_case what = { .tree = support_tree("a/x=1", "a/y=2", "b/z=3", "c=4"),
                              .profile = "open /c\nopen /b/z\n",
                              .keep = "/a",
                              .drop = "**/[yz]" };
    expect_why(&what, "/a/x", "keep < /a", "/a/y", "left out", "/b/z", "left out", "/b", "left out",
               "/c", "used");
}

Test(trim, without_a_profile_leaves_out_what_is_dropped)
{
    struct trim_case what = { .tree = support_tree("a/x.a=1", "a/y=2"), .drop = "**/*.a" };
    expect_why(&what, "/a/x.a", "left out", "/a/y", "all");
}

Test(trim, tells_of_globs_that_match_nothing)
{
    struct trim_case what = { .tree = support_tree("a=1"), .drop = "b*" };
    expect_why(&what, "/a", "all");
    cr_assert_eq(what.warnings.count, 1);
    cr_assert_str_eq(what.warnings.last, "--drop b* matches nothing in the stage");
}

Test(trim, tells_how_much_of_a_profile_the_stage_lacks)
{
    struct trim_case what = { .tree = support_tree("a=1"),
                              .profile = "open /a\nstat /gone/b\nopen /gone/c\nnone /d\n" };
    expect_why(&what, "/a", "used");
    cr_assert_eq(what.warnings.count, 1);
    cr_assert(strstr(what.warnings.last, "2 of the 3 paths that it uses are not in the stage (the "
                                         "first is /gone/b)"),
              "%s", what.warnings.last);
}

Test(trim, refuses_a_profile_of_another_stage)
{
    struct sfs_trim *trim = NULL;
    struct trim_case what = { .tree = support_tree("usr/a=1"),
                              .profile = "stat /usr\nopen /usr/b\n" };
    cr_assert_eq(open_trim(&what, &trim), -ENOENT);
    cr_assert(strstr(what.err.text, "none of the 2 paths that it uses is a file of the stage"));
    what.profile = "nonsense\n";
    cr_assert_eq(open_trim(&what, &trim), -EBADMSG);
    what.profile = "";
    cr_assert_eq(open_trim(&what, &trim), -ENOENT);
}

Test(trim, refuses_a_glob_that_is_none)
{
    struct sfs_trim *trim = NULL;
    struct trim_case what = { .tree = support_tree("a=1"), .drop = "[" };
    cr_assert_eq(open_trim(&what, &trim), -EINVAL);
    cr_assert(strstr(what.err.text, "--drop"), "%s", what.err.text);
    what.drop = "";
    cr_assert_eq(open_trim(&what, &trim), -EINVAL);
}

Test(trim, by_directory_keeps_the_files_beside)
{
    struct trim_case what = { .tree = support_tree("a/x=1", "a/y=2", "a/l -> x", "a/sub/z=3"),
                              .profile = "open /a/x\nstat /a\n",
                              .policy = SFS_TRIM_DIRECTORY };
    expect_why(&what, "/a/y", "directory < /a/x", "/a/l", "directory < /a/x", "/a/sub", "left out");
}

/* ---- Python ---- */

#define SITE "lib/python3.12/site-packages/"

Test(trim, keeps_source_and_bytecode_of_python_together)
{
    struct trim_case what = { .tree = support_tree(
                                  "p/__init__.py=", "p/m.py=1", "p/__pycache__/m.cpython-312.pyc=x",
                                  "p/__pycache__/m.cpython-312.opt-1.pyc=x",
                                  "p/__pycache__/mm.cpython-312.pyc=x", "p/mm.py=", "p/n.py=1"),
                              .profile = "read /p/__pycache__/m.cpython-312.pyc 0+1\n" };
    expect_why(&what, "/p/m.py", "python < /p/__pycache__/m.cpython-312.pyc",
               "/p/__pycache__/m.cpython-312.opt-1.pyc", "python < /p/m.py", "/p/__init__.py",
               "python < /p/m.py", "/p/mm.py", "left out", "/p/n.py", "left out",
               "/p/__pycache__/mm.cpython-312.pyc", "left out");
}

Test(trim, keeps_path_files_and_what_they_name)
{
    struct trim_case what = { .tree = support_tree(
                                  SITE "a.py=1", SITE "b.py=2",
                                  SITE "x.pth=# word\nsub\n/opt/dev\nimport hook, ns.mod; x = 1\n"
                                       "../../../../../../../etc/secret\nlost\n",
                                  SITE "sub/s.py=1", SITE "hook.py=1", SITE "ns/__init__.py=1",
                                  "opt/dev/d.py=1", "etc/secret=1"),
                              .profile = "open /" SITE "a.py\n" };
    expect_why(&what, "/" SITE "x.pth", "python < /lib/python3.12/site-packages", "/" SITE "sub",
               "python < /" SITE "x.pth", "/" SITE "sub/s.py", "left out", "/opt/dev",
               "python < /" SITE "x.pth", "/opt/dev/d.py", "left out", "/" SITE "hook.py",
               "python < /" SITE "x.pth", "/" SITE "ns/__init__.py", "python < /" SITE "x.pth",
               "/" SITE "b.py", "left out");
}

Test(trim, keeps_the_metadata_of_distributions_that_were_used)
{
    struct trim_case what = {
        .tree =
            support_tree("conda-meta/history=1", SITE "yaml/__init__.py=1", SITE "yaml/data.txt=1",
                         SITE "six.py=1", SITE "PyYAML-6.dist-info/METADATA=Name: PyYAML\n",
                         SITE "PyYAML-6.dist-info/licenses/L=1",
                         SITE "PyYAML-6.dist-info/RECORD=yaml/__init__.py,,\nyaml/data.txt,,\n"
                              "PyYAML-6.dist-info/METADATA,,\n../../../../../etc/passwd,,\n",
                         SITE "six-1.dist-info/RECORD=six.py,,\n"),
        .profile = "read /" SITE "yaml/__init__.py 0+1\n"
    };
    expect_why(&what, "/" SITE "PyYAML-6.dist-info/METADATA",
               "metadata < /" SITE "yaml/__init__.py", "/" SITE "PyYAML-6.dist-info/licenses/L",
               "metadata < /" SITE "yaml/__init__.py", "/" SITE "yaml/data.txt", "left out",
               "/" SITE "six-1.dist-info", "left out");
    what.policy = SFS_TRIM_PACKAGE;
    expect_why(&what, "/conda-meta/history", "package < /conda-meta", "/" SITE "yaml/data.txt",
               "package < /" SITE "yaml/__init__.py", "/" SITE "six-1.dist-info", "left out");
}

/* A look whether a module is there, a library that the loader took and a look at metadata do not
 * make a distribution one that was used. */
Test(trim, by_package_leaves_out_distributions_that_were_only_looked_at)
{
    struct trim_case what = {
        .tree = support_tree(SITE "a/__init__.py=1", SITE "a/more=1", SITE "nv/lib/libx.so.1=1",
                             SITE "nv/lib/liby.so.1=1", SITE "b/__init__.py=1", SITE "b/more=1",
                             SITE "a-1.dist-info/RECORD=a/__init__.py,,\na/more,,\n",
                             SITE "b-1.dist-info/RECORD=b/__init__.py,,\nb/more,,\n",
                             SITE "nv-1.dist-info/RECORD=nv/lib/libx.so.1,,\nnv/lib/liby.so.1,,\n"),
        .profile = "stat /" SITE "a/__init__.py\nread /" SITE "nv/lib/libx.so.1 0+1\nread /" SITE
                   "b-1.dist-info/RECORD 0+1\n",
        .policy = SFS_TRIM_PACKAGE
    };
    expect_why(&what, "/" SITE "a/__init__.py", "used", "/" SITE "a/more", "left out",
               "/" SITE "nv/lib/liby.so.1", "left out", "/" SITE "b/more", "left out");
}

#define DIST(name, metadata, record)                                                               \
    SITE name "-1.dist-info/METADATA=Name: " name "\n" metadata,                                   \
        SITE name "-1.dist-info/RECORD=" record

/* What an import of a used distribution may ask for is there, directly required or not; what others
 * ask for is not. */
Test(trim, by_package_keeps_what_used_distributions_require)
{
    struct trim_case what = {
        .tree = support_tree(
            DIST("app",
                 "Requires-Dist: File_Lock>=3\nRequires-Dist: cuda[lib]; os_name=='posix'\n"
                 "Requires-Dist: tests; extra=='dev'\nRequires-Dist: not.there\n",
                 "app.py,,\n"),
            SITE "app.py=1", DIST("file.lock", "Requires-Dist: deep\n", "filelock/__init__.py,,\n"),
            SITE "filelock/__init__.py=1",
            DIST("deep", "Requires-Dist: app\nRequires-Dist: file-lock\n", "deep.py,,\n"),
            SITE "deep.py=1", DIST("tests", "", "tests.py,,\n"), SITE "tests.py=1",
            DIST("cuda", "Requires-Dist: blas; extra=='lib'\nRequires-Dist: fft; extra=='f'\n", ""),
            SITE "blas.py=1", DIST("blas", "", "blas.py,,\n"), DIST("fft", "", "fft.py,,\n"),
            SITE "fft.py=1", SITE "old.egg-info/PKG-INFO=Name: old\n"),
        .profile = "read /" SITE "app.py 0+1\n",
        .policy = SFS_TRIM_PACKAGE
    };
    expect_why(&what, "/" SITE "filelock/__init__.py", "package < /" SITE "app.py",
               "/" SITE "file.lock-1.dist-info/METADATA", "package < /" SITE "app.py",
               "/" SITE "deep.py", "package < /" SITE "app.py", "/" SITE "blas.py",
               "package < /" SITE "app.py", "/" SITE "tests.py", "left out", "/" SITE "fft.py",
               "left out");
    what.policy = SFS_TRIM_EXACT;
    expect_why(&what, "/" SITE "filelock", "left out");
}

Test(trim, by_package_reads_the_requirements_of_older_distributions)
{
    struct trim_case what = { .tree = support_tree(
                                  SITE "old-1.egg-info/PKG-INFO=Name: old\n",
                                  SITE "old-1.egg-info/requires.txt=six\n\n[more]\nmuch\n",
                                  SITE "old-1.egg-info/top_level.txt=old\n", SITE "old.py=1",
                                  SITE "six.py=1", SITE "much.py=1", DIST("six", "", "six.py,,\n"),
                                  DIST("much", "", "much.py,,\n")),
                              .profile = "read /" SITE "old.py 0+1\n",
                              .policy = SFS_TRIM_PACKAGE };
    expect_why(&what, "/" SITE "six.py", "package < /" SITE "old.py", "/" SITE "much.py",
               "left out");
}

/* Of what is there for its libraries alone only those come that something needs. */
Test(trim, by_package_leaves_out_libraries_that_are_only_required)
{
    struct trim_case what = {
        .tree = support_tree(
            DIST("app", "Requires-Dist: blas\nRequires-Dist: binding\n", "app.py,,\n"),
            SITE "app.py=1",
            DIST("blas", "",
                 "nv/__init__.py,,\nnv/lib/libblas.so.12,,\nnv/lib/libblas.a,,\n"
                 "nv/lib/libdevice.bc,,\nnv/bin/tool,,\n"),
            SITE "nv/__init__.py=", SITE "nv/lib/libblas.so.12=1", SITE "nv/lib/libblas.a=1",
            SITE "nv/lib/libdevice.bc=1", SITE "nv/bin/tool=1",
            DIST("binding", "", "binding/__init__.py,,\nbinding/libllvm.so,,\n"),
            SITE "binding/__init__.py=1", SITE "binding/libllvm.so=1"),
        .profile = "read /" SITE "app.py 0+1\n",
        .policy = SFS_TRIM_PACKAGE
    };
    expect_why(&what, "/" SITE "nv/lib/libblas.so.12", "left out", "/" SITE "nv/lib/libblas.a",
               "left out", "/" SITE "nv/lib/libdevice.bc", "left out", "/" SITE "nv/bin/tool",
               "package < /" SITE "app.py", "/" SITE "binding/libllvm.so",
               "package < /" SITE "app.py");
}

Test(trim, by_package_leaves_out_what_only_linkers_and_other_gpus_read)
{
    struct trim_case what = {
        .tree = support_tree(SITE "triton/__init__.py=1", SITE "triton/lib/libcupti.so.13=1",
                             SITE "triton/lib/libcupti_static.a=1", SITE "triton/lib/libcupti.a=1",
                             SITE "triton/lib/libcup.a=1", SITE "triton/backends/amd/driver.py=1",
                             SITE "triton/backends/amd/lib/libcodegen.so=1",
                             SITE "triton-3.dist-info/METADATA=Name: triton\n",
                             SITE "triton-3.dist-info/RECORD=triton/__init__.py,,\n"
                                  "triton/lib/libcupti.so.13,,\ntriton/lib/libcupti_static.a,,\n"
                                  "triton/lib/libcupti.a,,\ntriton/lib/libcup.a,,\n"
                                  "triton/backends/amd/driver.py,,\n"
                                  "triton/backends/amd/lib/libcodegen.so,,\n"),
        .profile = "read /" SITE "triton/__init__.py 0+1\n",
        .policy = SFS_TRIM_PACKAGE
    };
    expect_why(
        &what, "/" SITE "triton/lib/libcupti.so.13", "package < /" SITE "triton/__init__.py",
        "/" SITE "triton/lib/libcupti_static.a", "left out", "/" SITE "triton/lib/libcupti.a",
        "left out", "/" SITE "triton/lib/libcup.a", "package < /" SITE "triton/__init__.py",
        "/" SITE "triton/backends/amd/lib/libcodegen.so", "package < /" SITE "triton/__init__.py");
    what.gpu_archs = "sm_90";
    expect_why(&what, "/" SITE "triton/backends/amd/lib/libcodegen.so", "left out",
               "/" SITE "triton/backends/amd/driver.py", "package < /" SITE "triton/__init__.py");
    what.profile = "read /" SITE "triton/__init__.py 0+1\n"
                   "read /" SITE "triton/backends/amd/lib/libcodegen.so 0+1\n";
    expect_why(&what, "/" SITE "triton/backends/amd/lib/libcodegen.so", "used");
}

Test(trim, by_package_keeps_the_standard_library_of_a_python_that_was_used)
{
    struct trim_case what = { .tree = support_tree(
                                  "lib/python3.12/os.py=1", "lib/python3.12/json/tool.py=1",
                                  "lib/python3.12/this.py=1", "lib/python3.12/test/test_os.py=1",
                                  "lib/python3.12/config-3.12-x86/libpython.a=1", SITE "m.py=1",
                                  "lib/python3.11/os.py=1", "lib/python3.11/this.py=1",
                                  "app/os.py=1", "app/other.py=1"),
                              .profile = "stat /lib/python3.12/os.py\nopen /app/os.py\n",
                              .policy = SFS_TRIM_PACKAGE };
    expect_why(&what, "/lib/python3.12/json/tool.py", "package < /lib/python3.12/os.py",
               "/lib/python3.12/this.py", "package < /lib/python3.12/os.py",
               "/lib/python3.12/test/test_os.py", "left out", "/lib/python3.12/config-3.12-x86",
               "left out", "/" SITE "m.py", "left out", "/lib/python3.11/this.py", "left out",
               "/app/other.py", "left out");
    what.policy = SFS_TRIM_EXACT;
    expect_why(&what, "/lib/python3.12/this.py", "left out");
}

/* Each Python has its own distributions, and takes those of another only where it has none. */
Test(trim, by_package_takes_what_stands_beside)
{
#define OTHER "usr/lib/python3/dist-packages/"
    struct trim_case what = {
        .tree = support_tree(DIST("app", "Requires-Dist: six\nRequires-Dist: far\n", "app.py,,\n"),
                             SITE "app.py=1", DIST("six", "", "six.py,,\n"), SITE "six.py=1",
                             OTHER "six-1.dist-info/RECORD=six.py,,\n", OTHER "six.py=1",
                             OTHER "far-1.dist-info/RECORD=far.py,,\n", OTHER "far.py=1"),
        .profile = "read /" SITE "app.py 0+1\n",
        .policy = SFS_TRIM_PACKAGE
    };
    expect_why(&what, "/" SITE "six.py", "package < /" SITE "app.py", "/" OTHER "six.py",
               "left out", "/" OTHER "far.py", "package < /" SITE "app.py");
}

/* Whatever a path file holds, nothing is kept that is not there, and it ends. */
Test(trim, survives_path_files_of_any_bytes)
{
    static const char *const pieces[] = {
        "import ", "a",  ",", ";",   "\n",     "/", "..", " ",
        "\t",      "\r", "#", "sub", "import", ".", "\0", "\xff"
    };
    struct sfs_kept kept = { 0 };
    struct sfs_error err;
    cr_assert_eq(sfs_kept_open(&kept, support_tree("."),
                               support_tree(SITE "x.pth=1", SITE "a.py=1", SITE "sub/a=1"), &err),
                 0);
    struct sfs_look look = { .name = sfs_kept_find(&kept, SITE "x.pth") };
    uint32_t state = 5;
    for (int round = 0; round < 3000; round++) {
        look.text.size = 0;
        for (int i = 0; i < 20; i++) {
            state = state * 1664525u + 1013904223u;
            const char *piece = pieces[(state >> 8) % (sizeof pieces / sizeof *pieces)];
            sfs_buf_add(&look.text, piece, *piece ? strlen(piece) : 1);
        }
        sfs_python_need_paths(&kept, &look);
    }
    cr_assert_not(kept.failed);
    sfs_look_done(&look);
    sfs_kept_done(&kept);
}

/* ---- the system ---- */

/* What is required comes without the libraries that nothing loads; Python itself is not kept whole
 * for the sake of a file of it. */
Test(trim, by_package_keeps_conda_packages_and_what_they_depend_on)
{
    struct trim_case what = {
        .tree = support_tree(
            "opt/lib/libmkl.so=1", "opt/share/mkl/data=1", "opt/lib/libmkl.a=1",
            "opt/conda-meta/mkl-1-0.json={\"name\": \"mkl\", \"depends\": [\"omp >=2,<3\", "
            "\"python 3.11.*\", \"__glibc\"], \"files\": [\"lib/libmkl.so\", "
            "\"lib/libmkl.a\", \"share/mkl/data\"]}",
            "opt/lib/libomp.so=1", "opt/etc/omp=1",
            "opt/conda-meta/omp-2-0.json={\"name\": \"omp\", \"files\": [\"lib/libomp.so\", "
            "\"etc/omp\"]}",
            "opt/bin/python3.11=1", "opt/lib/libpython3.11.a=1",
            "opt/conda-meta/python-3.11-0.json={\"name\": \"python\", \"files\": "
            "[\"bin/python3.11\", \"lib/libpython3.11.a\"]}",
            "opt/other=1",
            "opt/conda-meta/other-1-0.json={\"name\": \"other\", \"files\": [\"other\"]}"),
        .profile = "read /opt/lib/libmkl.so 0+1\nread /opt/bin/python3.11 0+1\n",
        .policy = SFS_TRIM_PACKAGE
    };
    expect_why(&what, "/opt/share/mkl/data", "package < /opt/lib/libmkl.so", "/opt/etc/omp",
               "package < /opt/lib/libmkl.so", "/opt/conda-meta/omp-2-0.json",
               "package < /opt/lib/libmkl.so", "/opt/lib/libomp.so", "left out",
               "/opt/lib/libmkl.a", "left out", "/opt/lib/libpython3.11.a", "left out",
               "/opt/other", "left out");
}

Test(trim, by_package_keeps_debian_packages_and_always_their_licence)
{
    struct trim_case what = {
        .tree = support_tree(
            "usr/bin/tool=1", "usr/share/tool/data=1", "usr/share/doc/tool/copyright=free",
            "usr/share/doc/tool/changelog=long", "var/lib/dpkg/status=Package: tool\nVersion: 1\n",
            "var/lib/dpkg/info/tool.list=/usr/bin/tool\n/usr/share/tool/data\n"),
        .profile = "read /usr/bin/tool 0+1\n"
    };
    expect_why(&what, "/usr/share/doc/tool/copyright", "licence < /usr/bin/tool",
               "/usr/share/doc/tool/changelog", "left out", "/usr/share/tool/data", "left out");
    what.policy = SFS_TRIM_PACKAGE;
    expect_why(&what, "/usr/share/tool/data", "package < /usr/bin/tool");
}

Test(trim, by_package_keeps_what_debian_packages_depend_on)
{
    struct trim_case what = {
        .tree = support_tree(
            "usr/bin/tool=1", "usr/bin/helper=1", "usr/bin/gawk=1", "usr/lib/libx.so.1=1",
            "usr/share/other=1",
            "var/lib/dpkg/status=Package: tool\nVersion: 1\nPre-Depends: helper:any (>= 1)\n"
            "Depends: mawk | gawk, libx1\nRecommends: other\n\nPackage: helper\n\n"
            "Package: gawk\n\nPackage: libx1\nDepends: tool\n\nPackage: other\n",
            "var/lib/dpkg/info/tool.list=/usr/bin/tool\n",
            "var/lib/dpkg/info/helper.list=/usr/bin/helper\n",
            "var/lib/dpkg/info/gawk.list=/usr/bin/gawk\n",
            "var/lib/dpkg/info/libx1.list=/usr/lib/libx.so.1\n",
            "var/lib/dpkg/info/other.list=/usr/share/other\n"),
        .profile = "read /usr/bin/tool 0+1\n",
        .policy = SFS_TRIM_PACKAGE
    };
    expect_why(&what, "/usr/bin/helper", "package < /usr/bin/tool", "/usr/bin/gawk",
               "package < /usr/bin/tool", "/usr/lib/libx.so.1", "left out", "/usr/share/other",
               "left out");
}

Test(trim, keeps_the_interpreters_of_scripts)
{
    struct trim_case what = {
        .tree = support_tree("0755 run=#!/usr/bin/env -S A=1 py -x\n",
                             "0755 pip=#!/bin/sh\n'''exec' \"/opt/py\" \"$0\"\n", "usr/bin/env=1",
                             "usr/local/bin/py -> /opt/py", "opt/py=1", "bin/sh=1", "bin/ls=1",
                             "0755 odd=#!", "0755 none=#!/not/there\n"),
        .profile = "open /run\nopen /pip\nopen /odd\nopen /none\n"
    };
    expect_why(&what, "/usr/bin/env", "interpreter < /run", "/opt/py", "interpreter < /run",
               "/usr/local/bin/py", "link < /opt/py", "/bin/sh", "interpreter < /pip", "/bin/ls",
               "left out");
}

Test(trim, keeps_what_programs_take_for_granted)
{
    struct trim_case what = { .tree = support_tree(
                                  "app=1", "etc/passwd=root", "etc/ssl/certs/ca.crt=1",
                                  "etc/other=1", "etc/localtime -> /usr/share/zoneinfo/Etc/GMT",
                                  "usr/share/zoneinfo/Etc/GMT=1", "usr/share/zoneinfo/Asia/X=1"),
                              .profile = "open /app\n" };
    expect_why(&what, "/etc/passwd", "system", "/etc/ssl/certs/ca.crt", "system",
               "/usr/share/zoneinfo/Etc/GMT", "link < /etc/localtime", "/usr/share/zoneinfo/Asia/X",
               "left out", "/etc/other", "left out");
}

Test(trim, keeps_the_parts_of_cudnn_when_one_was_loaded)
{
    struct sfs_tree *tree =
        support_tree("l/libcudnn.so.9=1", "l/libcudnn_ops.so.9=1", "l/libcudnn_cnn.so.9=1");
    struct trim_case what = { .tree = tree, .profile = "read /l/libcudnn.so.9 0+1\n" };
    expect_why(&what, "/l/libcudnn_ops.so.9", "left out");
    what.profile = "read /l/libcudnn_ops.so.9 0+1\n";
    expect_why(&what, "/l/libcudnn_cnn.so.9", "loaded < /l/libcudnn_ops.so.9");
}
