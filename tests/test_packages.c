/* Who owns a path: databases of Debian, Alpine, conda and Python as images have them, and as no
 * image should. */
#include "slim/packages.h"
#include "support.h"

#include "base/limits.h"
#include <criterion/criterion.h>
#include <stagefs/auto.h>

static struct sfs_packages *open_packages(const struct sfs_tree *tree,
                                          const struct sfs_progress *progress)
{
    struct sfs_error err = { "" };
    struct sfs_packages *packages = NULL;
    cr_assert_eq(sfs_packages_open(tree, progress, &packages, &err), 0, "%s", err.text);
    return packages;
}

/* "kind name version" of the owner of a path; "": it has none. */
static const char *owner_of(const struct sfs_tree *tree, const struct sfs_packages *packages,
                            const char *path)
{
    static char text[600];
    sfs_node node;
    struct sfs_error err;
    cr_assert_eq(sfs_tree_resolve(tree, path, 0, &node, &err), 0, "%s", err.text);
    uint32_t owner = sfs_packages_owner(packages, node);
    if (owner == SFS_NO_PACKAGE)
        return "";
    const struct sfs_package *package = sfs_packages_get(packages, owner);
    snprintf(text, sizeof text, "%c %s %s", "dacp"[package->kind], package -> name,
             package -> version);
    return text;
}

static void expect_owner(const struct sfs_tree *tree, const struct sfs_packages *packages,
                         const char *path, const char *want)
{
    cr_assert_str_eq(owner_of(tree, packages, path), want, "%s belongs to '%s', not '%s'", path,
                     owner_of(tree, packages, path), want);
}

Test(packages, of_debian_have_lists_and_versions)
{
    struct sfs_tree *tree = support_tree(
        "lib -> usr/lib", "usr/lib/libz.so.1=z", "usr/bin/tool=t", "usr/share/doc/x=d",
        "var/lib/dpkg/status=Package: zlib1g\nArchitecture: i386\nVersion: 0.9\n\nPackage: "
        "zlib1g\nArchitecture: amd64\nVersion: 1:1.3-1\n\nPackage: tool\nVersion: 2\n",
        "var/lib/dpkg/info/zlib1g:amd64.list=/.\n/lib\n/lib/libz.so.1\n/not/there\n",
        "var/lib/dpkg/info/zlib1g:amd64.postinst=#!", "var/lib/dpkg/info/tool.list=/usr/bin/tool");
    AUTO(sfs_packages_close) struct sfs_packages *packages = open_packages(tree, NULL);
    cr_assert_eq(sfs_packages_count(packages), 2);
    expect_owner(tree, packages, "/usr/lib/libz.so.1", "d zlib1g 1:1.3-1");
    expect_owner(tree, packages, "/usr/bin/tool", "d tool 2");
    expect_owner(tree, packages, "/var/lib/dpkg/info/zlib1g:amd64.postinst", "d zlib1g 1:1.3-1");
    expect_owner(tree, packages, "/usr/share/doc/x", "");
    expect_owner(tree, packages, "/usr/lib", "");
}

Test(packages, of_distroless_have_a_file_each)
{
    struct sfs_tree *tree = support_tree(
        "etc/x=x", "var/lib/dpkg/status.d/base=Package: base-files\nVersion: 12.4\n",
        "var/lib/dpkg/status.d/base.md5sums=00000000000000000000000000000000  etc/x\nbroken\n");
    AUTO(sfs_packages_close) struct sfs_packages *packages = open_packages(tree, NULL);
    expect_owner(tree, packages, "/etc/x", "d base-files 12.4");
}

Test(packages, of_alpine_are_paragraphs)
{
    struct sfs_tree *tree =
        support_tree("bin/busybox=b", "lib/libc.so=c",
                     "lib/apk/db/installed=C:Q1\nP:musl\nV:1.2-r1\nF:lib\nR:libc.so\nZ:x\n\n"
                     "P:busybox\nV:1.36\nF:bin\nR:busybox\nR:../lib/libc.so\n");
    AUTO(sfs_packages_close) struct sfs_packages *packages = open_packages(tree, NULL);
    expect_owner(tree, packages, "/lib/libc.so", "a musl 1.2-r1");
    expect_owner(tree, packages, "/bin/busybox", "a busybox 1.36");
}

#define SITE "opt/lib/python3.12/site-packages"

Test(packages, of_python_have_records)
{
    struct sfs_tree *tree = support_tree(
        SITE "/a/__init__.py=x", SITE "/a/__pycache__/__init__.cpython-312.pyc=x",
        SITE "/a/comma, and \"quote\".txt=x",
        SITE "/a_b-1.0.dist-info/METADATA=Name: a-b\nVersion: "
             "1.0\n\nName: body\n",
        SITE
        "/a_b-1.0.dist-info/RECORD=a/__init__.py,sha256=x,1\r\n\"a/comma, and \"\"quote\"\""
        ".txt\",,\r\n../../../bin/tool,,\n/abs,,\n../../../../../../../../up,,\n\"never closed",
        "opt/bin/tool=t", "abs=x", "up=x");
    AUTO(sfs_packages_close) struct sfs_packages *packages = open_packages(tree, NULL);
    cr_assert_eq(sfs_packages_count(packages), 1);
    expect_owner(tree, packages, "/" SITE "/a/__init__.py", "p a-b 1.0");
    expect_owner(tree, packages, "/" SITE "/a/__pycache__/__init__.cpython-312.pyc", "p a-b 1.0");
    expect_owner(tree, packages, "/" SITE "/a/comma, and \"quote\".txt", "p a-b 1.0");
    expect_owner(tree, packages, "/" SITE "/a_b-1.0.dist-info/METADATA", "p a-b 1.0");
    expect_owner(tree, packages, "/opt/bin/tool", "p a-b 1.0");
    expect_owner(tree, packages, "/abs", "p a-b 1.0");
    expect_owner(tree, packages, "/up", "p a-b 1.0");
}

Test(packages, of_older_python_have_egg_infos)
{
    struct sfs_tree *tree = support_tree(
        SITE "/old-2.egg-info/PKG-INFO=Name: old\nVersion: 2\n",
        SITE "/old-2.egg-info/installed-files.txt=../old.py\nPKG-INFO\n", SITE "/old.py=x",
        SITE "/top-3.egg-info/top_level.txt=top\n..\n/\n", SITE "/top/deep/x.py=x",
        SITE "/top.cpython-312.so=x", SITE "/topmost.py=x", SITE "/one-1.egg-info=Name: one\n");
    AUTO(sfs_packages_close) struct sfs_packages *packages = open_packages(tree, NULL);
    expect_owner(tree, packages, "/" SITE "/old.py", "p old 2");
    expect_owner(tree, packages, "/" SITE "/top/deep/x.py", "p top ");
    expect_owner(tree, packages, "/" SITE "/top.cpython-312.so", "p top ");
    expect_owner(tree, packages, "/" SITE "/topmost.py", "");
    expect_owner(tree, packages, "/" SITE "/one-1.egg-info", "p one ");
}

Test(packages, of_conda_come_before_python)
{
    struct sfs_tree *tree = support_tree(
        SITE "/n/__init__.py=x", SITE "/n-1.dist-info/RECORD=n/__init__.py,,\nn/p.py,,\n",
        SITE "/n/p.py=x",
        "opt/conda-meta/n-1-0.json={\"name\": \"n\", \"version\": \"1\", \"files\": "
        "[\"lib/python3.12/site-packages/n/__init__.py\", 5, \"../../etc/x\", \"a\\u0000b\"]}",
        "etc/x=x", "opt/conda-meta/bad.json={\"files\": [", "opt/conda-meta/history=");
    struct support_warnings warnings;
    support_warnings_init(&warnings);
    AUTO(sfs_packages_close)
    struct sfs_packages *packages = open_packages(tree, &warnings.progress);
    expect_owner(tree, packages, "/" SITE "/n/__init__.py", "c n 1");
    expect_owner(tree, packages, "/" SITE "/n/p.py", "p n ");
    expect_owner(tree, packages, "/etc/x", "c n 1");
    sfs_node node;
    cr_assert_eq(sfs_tree_resolve(tree, "/" SITE "/n/__init__.py", 0, &node, NULL), 0);
    uint32_t python = sfs_packages_owner_of_kind(packages, node, SFS_PACKAGE_PYTHON);
    cr_assert_eq(sfs_packages_get(packages, python)->node_count, 4,
                 "two modules, the dist-info and its RECORD");
    cr_assert_eq(warnings.count, 1);
    cr_assert_not_null(strstr(warnings.last, "bad.json"), "%s", warnings.last);
}

Test(packages, of_what_others_carry_inside_are_theirs)
{
    struct sfs_tree *tree = support_tree(
        SITE "/carrier/_vendor/in-1.dist-info/RECORD=in.py,,\n", SITE "/carrier/_vendor/in.py=x",
        SITE "/carrier-1.dist-info/RECORD=carrier/_vendor/in.py,,\n");
    AUTO(sfs_packages_close) struct sfs_packages *packages = open_packages(tree, NULL);
    expect_owner(tree, packages, "/" SITE "/carrier/_vendor/in.py", "p carrier ");
}

Test(packages, over_a_cap_are_left_out_with_a_warning)
{
    struct sfs_tree *tree = support_tree(SITE "/big-1.dist-info/RECORD#67108865",
                                         "var/lib/dpkg/info/x.list/=", "lib/apk/db/installed -> x");
    struct support_warnings warnings;
    support_warnings_init(&warnings);
    AUTO(sfs_packages_close)
    struct sfs_packages *packages = open_packages(tree, &warnings.progress);
    cr_assert_eq(warnings.count, 1);
    cr_assert_not_null(strstr(warnings.last, "too large"), "%s", warnings.last);
}

Test(packages, deep_json_is_refused)
{
    AUTO(sfs_free) char *word = calloc(1, 200100);
    snprintf(word, 100, "opt/conda-meta/deep.json=");
    memset(word + strlen(word), '[', 200000);
    struct sfs_tree *tree = support_tree(word);
    struct support_warnings warnings;
    support_warnings_init(&warnings);
    AUTO(sfs_packages_close)
    struct sfs_packages *packages = open_packages(tree, &warnings.progress);
    cr_assert_eq(sfs_packages_count(packages), 0);
    cr_assert_eq(warnings.count, 1);
}
