/* Where the loader finds libraries, in trees without any ELF file: what such a file would say is
 * handed in. */
#include "slim/closure_elf.h"
#include "support.h"

#include <criterion/criterion.h>
#include <stagefs/auto.h>
#include <string.h>

struct loader_case {
    struct sfs_kept kept;
    struct sfs_loader loader;
};

static void case_done(struct loader_case *made)
{
    sfs_loader_done(&made->loader);
    sfs_kept_done(&made->kept);
}

static void open_case(struct loader_case *made, const struct sfs_tree *tree,
                      const char *library_path)
{
    struct sfs_error err = { "" };
    *made = (struct loader_case){ 0 };
    cr_assert_eq(sfs_kept_open(&made->kept, support_tree("."), tree, &err), 0, "%s", err.text);
    cr_assert_eq(sfs_loader_open(&made->loader, &made->kept, library_path, &err), 0);
}

/* Keeps what the file at `path` needs: one library. NULL: no such path. */
static void need(struct loader_case *made, const char *path, const char *soname, const char *rpath,
                 const char *runpath)
{
    struct sfs_look look = { .name = sfs_kept_find(&made->kept, path), .kind = SFS_LOOK_ELF };
    cr_assert_neq(look.name, SFS_NO_NAME);
    look.rpath = rpath ? strdup(rpath) : NULL;
    look.runpath = runpath ? strdup(runpath) : NULL;
    sfs_buf_add(&look.needed, soname, strlen(soname) + 1);
    sfs_loader_need(&made->loader, &look);
    sfs_look_done(&look);
    cr_assert_not(made->kept.failed);
}

static bool is_kept(const struct loader_case *made, const char *path)
{
    sfs_name name = sfs_kept_find(&made->kept, path);
    cr_assert_neq(name, SFS_NO_NAME, "%s", path);
    return made->kept.names[name].reason != SFS_WHY_NOT;
}

/* Whether a need of "libx.so.1" of /app/bin/p leads to /WHERE/libx.so.1. */
static bool leads_to(const struct sfs_tree *tree, const char *rpath, const char *runpath,
                     const char *library_path, const char *where)
{
    AUTO(case_done) struct loader_case made;
    char path[256];
    open_case(&made, tree, library_path);
    need(&made, "/app/bin/p", "libx.so.1", rpath, runpath);
    snprintf(path, sizeof path, "%s/libx.so.1", where);
    return is_kept(&made, path);
}

#define X "/libx.so.1=x"

Test(closure_elf, searches_in_the_order_of_the_loader)
{
    struct sfs_tree *tree =
        support_tree("app/bin/p=1", "app/lib" X, "app/lib64" X, "r" X, "e" X, "usr/lib" X);
    cr_assert(leads_to(tree, "$ORIGIN/../lib", NULL, "/e", "app/lib"));
    cr_assert(!leads_to(tree, "$ORIGIN/../lib", NULL, "/e", "e"));
    cr_assert(leads_to(tree, "/r", "/nowhere", "/e", "e"), "DT_RUNPATH takes DT_RPATH's place");
    cr_assert(leads_to(tree, NULL, "/r", "/e", "e"), "LD_LIBRARY_PATH stands before DT_RUNPATH");
    cr_assert(leads_to(tree, NULL, "/none:/r;", NULL, "r"));
    cr_assert(!leads_to(tree, NULL, "/none:/r", NULL, "usr/lib"));
    cr_assert(leads_to(tree, NULL, "${ORIGIN}/../${LIB}", NULL, "app/lib"));
    cr_assert(leads_to(tree, NULL, "relative:lib", NULL, "usr/lib"));
    cr_assert(leads_to(tree, NULL, "/$NOTHING/$ORI:$", NULL, "usr/lib"));
}

Test(closure_elf, reads_the_directories_of_ld_so_conf)
{
    struct sfs_tree *tree = support_tree("app/bin/p=1", "c" X, "usr/lib" X,
                                         "etc/ld.so.conf=# /c2\ninclude /etc/ld.so.conf.d/*.conf\n",
                                         "etc/ld.so.conf.d/a.conf=/none\n/c # behind\n");
    cr_assert(leads_to(tree, NULL, NULL, NULL, "c"));
    cr_assert(!leads_to(tree, NULL, NULL, NULL, "usr/lib"));
}

Test(closure_elf, keeps_what_newer_processors_take)
{
    struct sfs_tree *tree = support_tree("app/bin/p=1", "usr/lib" X, "lib -> usr/lib",
                                         "usr/lib/glibc-hwcaps/x86-64-v3" X, "usr/lib/tls" X);
    cr_assert(leads_to(tree, NULL, NULL, NULL, "usr/lib/glibc-hwcaps/x86-64-v3"));
    cr_assert(leads_to(tree, NULL, NULL, NULL, "usr/lib"));
    cr_assert(!leads_to(tree, NULL, NULL, NULL, "usr/lib/tls"));
}

Test(closure_elf, takes_any_of_the_name_where_no_path_leads)
{
    struct sfs_tree *tree = support_tree("app/bin/p=1", "a" X, "b" X, "b/libx.so.12=1");
    cr_assert(leads_to(tree, NULL, NULL, NULL, "a"));
    cr_assert(leads_to(tree, NULL, NULL, NULL, "b"));
    AUTO(case_done) struct loader_case made;
    open_case(&made, tree, NULL);
    sfs_kept_add(&made.kept, sfs_kept_find(&made.kept, "b/libx.so.1"), SFS_WHY_USED, 0);
    need(&made, "/app/bin/p", "libx.so.1", NULL, NULL);
    cr_assert(!is_kept(&made, "a/libx.so.1"), "one that is kept is enough");
    cr_assert(!is_kept(&made, "b/libx.so.12"));
}

Test(closure_elf, searches_the_rpath_of_programs_for_libraries_of_libraries)
{
    AUTO(case_done) struct loader_case made;
    open_case(&made, support_tree("app/bin/p=1", "app/lib" X, "usr/lib" X, "m/mod.so=1"), NULL);
    struct sfs_look program = { .name = sfs_kept_find(&made.kept, "app/bin/p"),
                                .interpreter = strdup("/lib/ld.so"),
                                .rpath = strdup("$ORIGIN/../lib") };
    sfs_loader_note_program(&made.loader, &program);
    need(&made, "/m/mod.so", "libx.so.1", NULL, NULL);
    cr_assert(is_kept(&made, "app/lib/libx.so.1"));
    cr_assert(is_kept(&made, "usr/lib/libx.so.1"), "another program may load it, too");
    sfs_look_done(&program);
}

/* ---- ld.so.cache ---- */

static void put32(char *at, uint32_t value)
{
    memcpy(at, &value, sizeof value);
}

/* A cache of two entries: libx.so.1 at /c/libx.so.1, and one that points behind the end. */
static size_t make_cache(char *bytes)
{
    memset(bytes, 0, 256);
    memcpy(bytes, "glibc-ld.so.cache1.1", 20);
    put32(bytes + 20, 2);
    memcpy(bytes + 96, "libx.so.1", 10);
    memcpy(bytes + 110, "/c/../c/libx.so.1", 18);
    put32(bytes + 48 + 4, 96);
    put32(bytes + 48 + 8, 110);
    put32(bytes + 72 + 4, 5000);
    put32(bytes + 72 + 8, 110);
    return 128;
}

static void take_cache(struct loader_case *made, const char *bytes, size_t size)
{
    open_case(made, support_tree("app/bin/p=1", "c" X, "d" X, "usr/lib/x=1"), NULL);
    sfs_buf_add(&made->loader.cache, bytes, size);
    cr_assert_eq(sfs_loader_take_cache(&made->loader), 0);
    need(made, "/app/bin/p", "libx.so.1", NULL, NULL);
}

Test(closure_elf, finds_what_is_in_the_cache)
{
    AUTO(case_done) struct loader_case made;
    char bytes[256];
    take_cache(&made, bytes, make_cache(bytes));
    cr_assert(is_kept(&made, "c/libx.so.1"));
    cr_assert(!is_kept(&made, "d/libx.so.1"));
}

Test(closure_elf, survives_caches_that_are_cut_or_lie)
{
    char bytes[256];
    uint32_t state = 7;
    for (int round = 0; round < 1500; round++) {
        AUTO(case_done) struct loader_case made;
        size_t size = make_cache(bytes);
        for (int i = 0; round >= 128 && i < 4; i++) {
            state = state * 1664525u + 1013904223u;
            bytes[20 + (state >> 8) % 100] = (char)(state >> 3);
        }
        take_cache(&made, bytes, round < 128 ? (size_t)round : size);
    }
}

/* Search paths of any bytes: nothing is read or kept outside, and it ends. */
Test(closure_elf, survives_search_paths_of_any_bytes)
{
    static const char letters[] = "$ORIGIN{}/..:;LIB/app/lib$$PLATFORM";
    AUTO(case_done) struct loader_case made;
    open_case(&made, support_tree("app/bin/p=1", "app/lib" X, "loop -> loop"), NULL);
    uint32_t state = 3;
    for (int round = 0; round < 3000; round++) {
        char path[64] = "";
        for (size_t i = 0; i + 1 < sizeof path; i++) {
            state = state * 1664525u + 1013904223u;
            path[i] = letters[(state >> 8) % (sizeof letters - 1)];
        }
        need(&made, "/app/bin/p", round % 2 ? "libx.so.1" : "../../x", path,
             round % 3 ? path : NULL);
    }
}
