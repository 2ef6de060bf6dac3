/* The rules of COPY, as BuildKit has them. */
#include "copy/copy.h"

#include "base/buf.h"
#include "copy/chmod.h"
#include "support.h"
#include "tree/tree_inner.h"
#include <criterion/criterion.h>
#include <errno.h>
#include <time.h>

static struct sfs_error error;

static int try_copy(const struct sfs_tree *source, const struct sfs_tree *destination,
                    struct sfs_copy copy, struct sfs_layer **ret_layer)
{
    while (copy.sources && copy.sources[copy.source_count])
        copy.source_count++;
    while (copy.excludes && copy.excludes[copy.exclude_count])
        copy.exclude_count++;
    error.text[0] = '\0';
    return sfs_copy_layer(source, destination, &copy, "copy", ret_layer, &error);
}

static struct sfs_layer *copy_layer(const struct sfs_tree *source,
                                    const struct sfs_tree *destination, struct sfs_copy copy)
{
    struct sfs_layer *layer = NULL;
    int r = try_copy(source, destination, copy, &layer);
    cr_assert_eq(r, 0, "%d: %s", r, error.text);
    return layer;
}

/* The destination with the copy on top. */
static struct sfs_tree *copy_tree(const struct sfs_tree *source, const struct sfs_tree *destination,
                                  struct sfs_copy copy)
{
    return support_stack(destination, copy_layer(source, destination, copy));
}

#define LIST(...) ((const char *const[]){ __VA_ARGS__, NULL })
#define COPY(...) ((struct sfs_copy){ __VA_ARGS__ })

static void expect_failure(const struct sfs_tree *source, const struct sfs_tree *destination,
                           struct sfs_copy copy, int code, const char *words)
{
    struct sfs_layer *layer = NULL;
    int r = try_copy(source, destination, copy, &layer);
    cr_expect_eq(r, -code, "%d, not %d: %s", r, -code, error.text);
    cr_expect_not_null(strstr(error.text, words), "\"%s\" lacks \"%s\"", error.text, words);
    cr_expect_null(layer);
    sfs_layer_close(&layer);
}

static void add_path(const struct sfs_tables *tables, sfs_entry entry, struct sfs_buf *text)
{
    const struct sfs_entry_rec *rec = &tables->entries[entry];
    if (entry == 0)
        return;
    add_path(tables, rec->parent, text);
    if (rec->parent != 0)
        sfs_buf_add_str(text, "/");
    sfs_buf_add(text, tables->strings + rec->name, rec->name_size);
}

/* The names that a layer really gives, without the directories that it only passes through. */
static void expect_names(struct sfs_layer *layer, const char *expected)
{
    struct sfs_buf text = { 0 };
    sfs_buf_add_str(&text, "");
    for (sfs_entry i = 0; i < layer->tables.entry_count; i++) {
        if (layer->tables.entries[i].flags & SFS_ENTRY_IMPLIED)
            continue;
        if (text.size > 0)
            sfs_buf_add_str(&text, " ");
        if (i == 0)
            sfs_buf_add_str(&text, ".");
        add_path(&layer->tables, i, &text);
    }
    cr_expect_str_eq(text.data, expected);
    sfs_buf_close(&text);
}

static struct sfs_tree *nothing(void)
{
    static const char *const none[] = { NULL };
    return support_tree_of(none);
}

/* Rule 1: sources */

Test(copy_source, is_the_same_with_a_slash_or_a_dot_behind)
{
    const struct sfs_tree *source = support_tree("opt/", "opt/conda/", "opt/conda/a=1");
    static const char *const forms[] = { "/opt/conda", "/opt/conda/",  "/opt/conda/.",
                                         "opt/conda",  "./opt//conda", "../../opt/x/../conda" };
    for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++)
        support_expect(
            copy_tree(source, nothing(), COPY(.sources = LIST(forms[i]), .destination = "/d")), 0,
            "d 0755 0:0 d/", "f 0644 0:0 d/a=1");
}

Test(copy_source, does_not_depend_on_the_working_directory)
{
    const struct sfs_tree *source = support_tree("a=1", "work/", "work/a=2");
    support_expect(copy_tree(source, nothing(),
                             COPY(.sources = LIST("a"), .destination = "b", .workdir = "/work")),
                   0, "d 0755 0:0 work/", "f 0644 0:0 work/b=1");
}

Test(copy_source, has_to_exist)
{
    expect_failure(support_tree("a=1"), nothing(),
                   COPY(.sources = LIST("/opt/conda"), .destination = "/"), ENOENT,
                   "\"/opt/conda\": not found");
}

/* Rule 2: wildcards */

Test(copy_wildcard, takes_what_matches_in_one_directory)
{
    const struct sfs_tree *source =
        support_tree("l/", "l/a.so=1", "l/b.so=2", "l/c.a=3", "l/d/", "l/d/e.so=4");
    support_expect(
        copy_tree(source, nothing(), COPY(.sources = LIST("/l/*.so"), .destination = "/x/")), 0,
        "d 0755 0:0 x/", "f 0644 0:0 x/a.so=1", "f 0644 0:0 x/b.so=2");
}

Test(copy_wildcard, flattens_each_directory_that_matches)
{
    const struct sfs_tree *source = support_tree("s/", "s/one/", "s/one/a=1", "s/two/", "s/two/b=2",
                                                 "s/two/sub/", "s/two/sub/c=3", "s/file=4");
    support_expect(copy_tree(source, nothing(), COPY(.sources = LIST("s/*"), .destination = "/d/")),
                   0, "d 0755 0:0 d/", "f 0644 0:0 d/a=1", "f 0644 0:0 d/b=2",
                   "f 0644 0:0 d/file=4", "d 0755 0:0 d/sub/", "f 0644 0:0 d/sub/c=3");
}

Test(copy_wildcard, may_stand_in_the_middle)
{
    const struct sfs_tree *source =
        support_tree("a/", "a/1/", "a/1/bin/", "a/1/bin/x=1", "a/2/", "a/2/bin/", "a/2/bin/y=2");
    support_expect(
        copy_tree(source, nothing(), COPY(.sources = LIST("/a/*/bin"), .destination = "/d")), 0,
        "d 0755 0:0 d/", "f 0644 0:0 d/x=1", "f 0644 0:0 d/y=2");
}

Test(copy_wildcard, follows_symlinks_in_front_of_it)
{
    const struct sfs_tree *source = support_tree("real/", "real/a=1", "link -> real");
    support_expect(
        copy_tree(source, nothing(), COPY(.sources = LIST("/link/*"), .destination = "/d/")), 0,
        "d 0755 0:0 d/", "f 0644 0:0 d/a=1");
}

Test(copy_wildcard, may_match_nothing_unless_strict)
{
    struct support_warnings warnings;
    support_warnings_init(&warnings);
    const struct sfs_tree *source = support_tree("a=1");
    struct sfs_layer *layer =
        copy_layer(source, nothing(),
                   COPY(.sources = LIST("b*"), .destination = "/", .progress = &warnings.progress));
    expect_names(layer, "");
    sfs_layer_close(&layer);
    cr_assert_eq(warnings.count, 1u);
    cr_assert_str_eq(warnings.last, "\"/b*\" matches nothing");
    expect_failure(source, nothing(),
                   COPY(.sources = LIST("b*"), .destination = "/", .strict = true), ENOENT,
                   "matches nothing");
}

Test(copy_wildcard, that_is_malformed_matches_nothing_unless_strict)
{
    const struct sfs_tree *source = support_tree("a[=1");
    struct sfs_layer *layer =
        copy_layer(source, nothing(), COPY(.sources = LIST("a["), .destination = "/"));
    expect_names(layer, "");
    sfs_layer_close(&layer);
    expect_failure(source, nothing(),
                   COPY(.sources = LIST("a["), .destination = "/", .strict = true), EINVAL,
                   "malformed");
}

Test(copy_wildcard, needs_the_directory_in_front_of_it)
{
    expect_failure(support_tree("a=1"), nothing(),
                   COPY(.sources = LIST("/no/*"), .destination = "/"), ENOENT, "not found");
}

Test(copy_wildcard, reads_two_stars_as_one)
{
    const struct sfs_tree *source = support_tree("a/", "a/x=1", "a/b/", "a/b/y=2");
    support_expect(
        copy_tree(source, nothing(), COPY(.sources = LIST("/**/y"), .destination = "/d/")), 0,
        NULL);
    support_expect(
        copy_tree(source, nothing(), COPY(.sources = LIST("/**/x"), .destination = "/d/")), 0,
        "d 0755 0:0 d/", "f 0644 0:0 d/x=1");
}

/* Rule 3: symlinks among the sources */

Test(copy_symlink, is_followed_as_a_source)
{
    const struct sfs_tree *source =
        support_tree("l0 -> l1", "l1 -> /real", "real/", "real/a=1", "f -> real/a");
    support_expect(
        copy_tree(source, nothing(), COPY(.sources = LIST("/l0", "/f"), .destination = "/d/")), 0,
        "d 0755 0:0 d/", "f 0644 0:0 d/a=1", "f 0644 0:0 d/f=1");
}

Test(copy_symlink, is_followed_as_a_wildcard_hit_and_keeps_the_links_name)
{
    const struct sfs_tree *source = support_tree("lib/", "lib/x.so -> x.so.1", "lib/x.so.1=1");
    support_expect(
        copy_tree(source, nothing(), COPY(.sources = LIST("/lib/x*"), .destination = "/d/")), 0,
        "d 0755 0:0 d/", "f 0644 0:0 d/x.so=1", "f 0644 0:0 d/x.so.1=1");
}

Test(copy_symlink, below_a_source_is_copied_as_it_is)
{
    const struct sfs_tree *source =
        support_tree("s/", "s/rel -> ../x", "s/abs -> /nowhere", "s/d/", "s/d/up -> ..");
    support_expect(copy_tree(source, nothing(), COPY(.sources = LIST("/s"), .destination = "/t")),
                   0, "d 0755 0:0 t/", "l 0777 0:0 t/abs -> /nowhere", "d 0755 0:0 t/d/",
                   "l 0777 0:0 t/d/up -> ..", "l 0777 0:0 t/rel -> ../x");
}

Test(copy_symlink, never_leads_out_of_the_source)
{
    const struct sfs_tree *source = support_tree("l -> ../../../etc", "etc/", "etc/a=1");
    support_expect(copy_tree(source, nothing(), COPY(.sources = LIST("/l"), .destination = "/d")),
                   0, "d 0755 0:0 d/", "f 0644 0:0 d/a=1");
}

/* Rules 4 to 6: destinations */

Test(copy_destination, gets_the_contents_of_a_directory)
{
    const struct sfs_tree *source = support_tree("s/", "s/a=1", "s/b/", "s/b/c=2");
    support_expect(copy_tree(source, nothing(), COPY(.sources = LIST("s"), .destination = "/x/y")),
                   0, "d 0755 0:0 x/", "d 0755 0:0 x/y/", "f 0644 0:0 x/y/a=1", "d 0755 0:0 x/y/b/",
                   "f 0644 0:0 x/y/b/c=2");
}

Test(copy_destination, of_a_file_is_a_name_or_a_directory_by_the_slash)
{
    const struct sfs_tree *source = support_tree("a=1");
    support_expect(copy_tree(source, nothing(), COPY(.sources = LIST("a"), .destination = "/x/y")),
                   0, "d 0755 0:0 x/", "f 0644 0:0 x/y=1");
    support_expect(copy_tree(source, nothing(), COPY(.sources = LIST("a"), .destination = "/x/y/")),
                   0, "d 0755 0:0 x/", "d 0755 0:0 x/y/", "f 0644 0:0 x/y/a=1");
    support_expect(
        copy_tree(source, nothing(), COPY(.sources = LIST("a"), .destination = "/x/y/.")), 0,
        "d 0755 0:0 x/", "d 0755 0:0 x/y/", "f 0644 0:0 x/y/a=1");
}

Test(copy_destination, of_a_file_that_is_a_directory_takes_it_inside)
{
    support_expect(copy_tree(support_tree("a=1"), support_tree("x/"),
                             COPY(.sources = LIST("a"), .destination = "/x")),
                   0, "d 0755 0:0 x/", "f 0644 0:0 x/a=1");
}

Test(copy_destination, is_relative_to_the_working_directory)
{
    const struct sfs_tree *source = support_tree("a=1");
    static const char *const forms[] = { "", ".", "./", "/w", "../w/", "a" };
    for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++)
        support_expect(
            copy_tree(source, support_tree("w/"),
                      COPY(.sources = LIST("a"), .destination = forms[i], .workdir = "/w")),
            0, "d 0755 0:0 w/", "f 0644 0:0 w/a=1");
}

Test(copy_destination, that_is_the_working_directory_is_made_if_missing)
{
    support_expect(copy_tree(support_tree("a=1"), nothing(),
                             COPY(.sources = LIST("a"), .destination = ".", .workdir = "/w")),
                   0, "d 0755 0:0 w/", "f 0644 0:0 w/a=1");
}

Test(copy_destination, follows_symlinks_inside_the_destination)
{
    const struct sfs_tree *base = support_tree("usr/", "usr/lib/", "lib -> usr/lib");
    struct sfs_layer *layer = copy_layer(support_tree("s/", "s/a=1"), base,
                                         COPY(.sources = LIST("/s"), .destination = "/lib"));
    expect_names(layer, "usr/lib/a");
    support_expect(support_stack(base, layer), 0, "l 0777 0:0 lib -> usr/lib", "d 0755 0:0 usr/",
                   "d 0755 0:0 usr/lib/", "f 0644 0:0 usr/lib/a=1");
}

Test(copy_destination, follows_a_symlink_for_a_file_too)
{
    const struct sfs_tree *source = support_tree("foo=1");
    support_expect(copy_tree(source, support_tree("t/", "symlink -> /t"),
                             COPY(.sources = LIST("foo"), .destination = "/symlink/")),
                   0, "l 0777 0:0 symlink -> /t", "d 0755 0:0 t/", "f 0644 0:0 t/foo=1");
    support_expect(copy_tree(source, support_tree("f=2", "symlink -> f"),
                             COPY(.sources = LIST("foo"), .destination = "/symlink")),
                   0, "f 0644 0:0 f=1", "l 0777 0:0 symlink -> f");
}

Test(copy_destination, is_made_where_a_dangling_symlink_leads)
{
    support_expect(copy_tree(support_tree("a=1"), support_tree("l -> ../../x/../y/z"),
                             COPY(.sources = LIST("a"), .destination = "/l/")),
                   0, "l 0777 0:0 l -> ../../x/../y/z", "d 0755 0:0 y/", "d 0755 0:0 y/z/",
                   "f 0644 0:0 y/z/a=1");
}

Test(copy_destination, whose_symlinks_go_in_circles_is_refused)
{
    expect_failure(support_tree("a=1"), support_tree("l -> m", "m -> l"),
                   COPY(.sources = LIST("a"), .destination = "/l/x"), ELOOP, "/l");
}

Test(copy_destination, below_a_file_is_refused)
{
    expect_failure(support_tree("a=1"), support_tree("f=2"),
                   COPY(.sources = LIST("a"), .destination = "/f/x"), ENOTDIR, "/f");
    expect_failure(support_tree("a=1"), support_tree("f=2"),
                   COPY(.sources = LIST("a"), .destination = "/f/"), ENOTDIR, "/f");
}

Test(copy_destination, shared_by_several_files_keeps_the_last_unless_strict)
{
    struct support_warnings warnings;
    support_warnings_init(&warnings);
    const struct sfs_tree *source = support_tree("a=1", "b=2");
    struct sfs_copy copy = { .sources = LIST("a", "b"),
                             .destination = "/d",
                             .progress = &warnings.progress };
    support_expect(copy_tree(source, nothing(), copy), 0, "f 0644 0:0 d=2");
    cr_assert_eq(warnings.count, 1u);
    copy.strict = true;
    expect_failure(source, nothing(), copy, EINVAL, "slash");
}

Test(copy_destination, sees_what_earlier_sources_of_the_same_copy_made)
{
    const struct sfs_tree *source =
        support_tree("a/", "a/x/", "a/x/1=1", "b/", "0700 5:6 b/x/", "b/x/2=2", "b/x/1=3");
    support_expect(
        copy_tree(source, nothing(), COPY(.sources = LIST("a", "b"), .destination = "/d/")), 0,
        "d 0755 0:0 d/", "d 0700 5:6 d/x/", "f 0644 0:0 d/x/1=3", "f 0644 0:0 d/x/2=2");
}

/* Rule 7: conflicts */

Test(copy_conflict, refuses_a_file_over_a_directory)
{
    const struct sfs_tree *base = support_tree("d/", "d/x/");
    expect_failure(support_tree("s/", "s/x=1"), base,
                   COPY(.sources = LIST("s"), .destination = "/d"), EISDIR,
                   "cannot replace to directory /d/x with file");
    expect_failure(support_tree("x=1"), base, COPY(.sources = LIST("x"), .destination = "/d"),
                   EISDIR, "cannot replace to directory /d/x with file");
}

Test(copy_conflict, refuses_a_directory_over_a_file)
{
    expect_failure(support_tree("s/", "s/x/"), support_tree("d/", "d/x=1"),
                   COPY(.sources = LIST("s"), .destination = "/d"), ENOTDIR,
                   "cannot copy to non-directory: /d/x");
    expect_failure(support_tree("s/"), support_tree("d=1"),
                   COPY(.sources = LIST("s"), .destination = "/d"), ENOTDIR,
                   "cannot copy to non-directory: /d");
}

Test(copy_conflict, refuses_a_directory_over_a_symlink_to_one_and_says_where_it_leads)
{
    expect_failure(support_tree("s/", "s/lib/"), support_tree("usr/", "usr/lib/", "lib -> usr/lib"),
                   COPY(.sources = LIST("s"), .destination = "/"), ENOTDIR,
                   "cannot copy to non-directory: /lib is a symlink to usr/lib");
}

Test(copy_conflict, refuses_what_two_sources_make_of_one_name)
{
    expect_failure(support_tree("a/", "a/x/", "b/", "b/x=1"), nothing(),
                   COPY(.sources = LIST("a", "b"), .destination = "/d/"), EISDIR, "/d/x");
}

Test(copy_conflict, replaces_files_and_symlinks_and_never_writes_through)
{
    const struct sfs_tree *base = support_tree("d/", "d/f=old", "d/l -> ../keep", "keep=kept");
    support_expect(copy_tree(support_tree("s/", "s/f=1", "s/l=2"), base,
                             COPY(.sources = LIST("s"), .destination = "/d")),
                   0, "d 0755 0:0 d/", "f 0644 0:0 d/f=1", "f 0644 0:0 d/l=2",
                   "f 0644 0:0 keep=kept");
}

Test(copy_conflict, replaces_a_file_by_a_symlink)
{
    support_expect(copy_tree(support_tree("s/", "s/f -> x"), support_tree("d/", "d/f=1"),
                             COPY(.sources = LIST("s"), .destination = "/d")),
                   0, "d 0755 0:0 d/", "l 0777 0:0 d/f -> x");
}

Test(copy_conflict, merges_directories)
{
    const struct sfs_tree *base = support_tree("d/", "d/sub/", "d/sub/old=1");
    struct sfs_layer *layer = copy_layer(support_tree("s/", "s/sub/", "s/sub/new=2"), base,
                                         COPY(.sources = LIST("s"), .destination = "/d"));
    expect_names(layer, "d/sub/new");
    support_expect(support_stack(base, layer), 0, "d 0755 0:0 d/", "d 0755 0:0 d/sub/",
                   "f 0644 0:0 d/sub/new=2", "f 0644 0:0 d/sub/old=1");
}

Test(copy_conflict, breaks_a_hard_link_of_the_destination)
{
    const struct sfs_tree *base = support_tree("d/", "d/a=old", "d/b == d/a");
    support_expect(
        copy_tree(support_tree("a=new"), base, COPY(.sources = LIST("a"), .destination = "/d/a")),
        0, "d 0755 0:0 d/", "f 0644 0:0 d/a=new", "f 0644 0:0 d/b=old");
}

/* Rule 8: whose metadata */

Test(copy_metadata, keeps_the_sources_owners_below_the_target)
{
    const struct sfs_tree *source =
        support_tree("0700 100:200 s/", "4755 1:2 @5.6 s/f=1", "1777 3:4 @7 s/d/", "8:9 s/l -> x");
    support_expect(copy_tree(source, nothing(), COPY(.sources = LIST("s"), .destination = "/t")),
                   SUPPORT_MTIME, "d 0755 0:0 t/ @0", "d 1777 3:4 t/d/ @7", "f 4755 1:2 t/f=1 @5.6",
                   "l 0777 8:9 t/l -> x @0");
}

Test(copy_metadata, of_directories_made_is_root_and_the_epoch_but_the_targets_mtime_the_sources)
{
    const struct sfs_tree *source = support_tree("0700 100:200 @50 s/", "s/f=1");
    support_expect(copy_tree(source, nothing(),
                             COPY(.sources = LIST("s"), .destination = "/x/y", .epoch = 77)),
                   SUPPORT_MTIME, "d 0755 0:0 x/ @77", "d 0755 0:0 x/y/ @50",
                   "f 0644 0:0 x/y/f=1 @0");
}

Test(copy_metadata, of_directories_made_for_a_file_is_the_epoch)
{
    support_expect(copy_tree(support_tree("@5 7:7 f=1"), nothing(),
                             COPY(.sources = LIST("f"), .destination = "/x/", .epoch = 77)),
                   SUPPORT_MTIME, "d 0755 0:0 x/ @77", "f 0644 7:7 x/f=1 @5");
}

Test(copy_metadata, of_a_target_that_exists_stays_but_for_its_mtime)
{
    const struct sfs_tree *base = support_tree("0711 5:6 @1 +user.k=v t/");
    struct sfs_layer *layer = copy_layer(support_tree("0700 100:200 @50 +user.s=1 s/", "s/f=1"),
                                         base, COPY(.sources = LIST("s"), .destination = "/t"));
    expect_names(layer, "t t/f");
    support_expect(support_stack(base, layer), SUPPORT_MTIME | SUPPORT_XATTRS,
                   "d 0711 5:6 t/ @50 +user.k=v", "f 0644 0:0 t/f=1 @0");
}

Test(copy_metadata, of_directories_below_that_exist_becomes_the_sources)
{
    const struct sfs_tree *base = support_tree("t/", "0755 0:0 @1 +user.a=1 +user.b=1 t/d/");
    const struct sfs_tree *source = support_tree("s/", "2750 7:8 @9 +user.b=2 +user.c=3 s/d/");
    support_expect(copy_tree(source, base, COPY(.sources = LIST("s"), .destination = "/t")),
                   SUPPORT_MTIME | SUPPORT_XATTRS, "d 0755 0:0 t/ @0",
                   "d 2750 7:8 t/d/ @9 +user.a=1 +user.b=2 +user.c=3");
}

Test(copy_metadata, of_an_unchanged_directory_is_not_in_the_layer)
{
    const struct sfs_tree *base =
        support_tree("@3 opt/", "0750 1:2 @4 +user.a=1 opt/d/", "opt/d/old=1");
    const struct sfs_tree *source =
        support_tree("@3 opt/", "0750 1:2 @4 +user.a=1 opt/d/", "opt/d/new=2");
    struct sfs_layer *layer =
        copy_layer(source, base, COPY(.sources = LIST("/opt"), .destination = "/opt"));
    expect_names(layer, "opt/d/new");
    support_expect(support_stack(base, layer), SUPPORT_MTIME | SUPPORT_XATTRS, "d 0755 0:0 opt/ @3",
                   "d 0750 1:2 opt/d/ @4 +user.a=1", "f 0644 0:0 opt/d/new=2 @0",
                   "f 0644 0:0 opt/d/old=1 @0");
}

Test(copy_metadata, of_the_root_is_never_in_the_layer)
{
    struct sfs_layer *layer = copy_layer(support_tree("@9 s/", "s/a=1"), nothing(),
                                         COPY(.sources = LIST("s"), .destination = "/"));
    expect_names(layer, "a");
    sfs_layer_close(&layer);
}

Test(copy_metadata, of_a_build_contexts_files_is_root)
{
    support_expect(copy_tree(support_tree("s/", "3:4 s/a=1", "5:6 s/d/"), nothing(),
                             COPY(.sources = LIST("s"), .destination = "/t", .reset_owner = true)),
                   0, "d 0755 0:0 t/", "f 0644 0:0 t/a=1", "d 0755 0:0 t/d/");
}

Test(copy_metadata, includes_xattrs_of_files_and_directories)
{
    const struct sfs_tree *source = support_tree("s/", "+security.capability=cap +user.x=1 s/f=1",
                                                 "+system.acl=2 s/d/", "+trusted.t=3 s/l -> x");
    support_expect(copy_tree(source, nothing(), COPY(.sources = LIST("s"), .destination = "/t")),
                   SUPPORT_XATTRS, "d 0755 0:0 t/", "d 0755 0:0 t/d/ +system.acl=2",
                   "f 0644 0:0 t/f=1 +security.capability=cap +user.x=1",
                   "l 0777 0:0 t/l -> x +trusted.t=3");
}

/* Rule 9: --chown */

static const struct sfs_tree *with_users(void)
{
    return support_tree("etc/", "etc/passwd=root:x:0:0::/:/bin/sh\napp:x:1000:1001::/:\nodd:x:z:7",
                        "etc/group=root:x:0:\nstaff:x:50:app\n");
}

struct owner_case {
    const char *text;
    uint32_t uid, gid;
    const char *missing;
};

Test(copy_chown, reads_names_and_numbers_as_buildkit_does)
{
    static const struct owner_case cases[] = {
        { "root", 0, 0, NULL },
        { "1000", 1000, 1000, NULL },
        { "1000:5", 1000, 5, NULL },
        { "1000:", 1000, 0, NULL },
        { ":5", 0, 5, NULL },
        { "app", 1000, 1001, NULL },
        { "app:", 1000, 0, NULL },
        { "app:staff", 1000, 50, NULL },
        { "7:staff", 7, 50, NULL },
        { "app:root", 1000, 0, NULL },
        { "nobody", 0, 0, "nobody" },
        { "app:none", 1000, 1001, "none" },
        { "x:y", 0, 0, "x" },
        { "+5", 5, 5, NULL },
        { "2147483648", 0, 0, "2147483648" },
        { "odd", 0, 7, NULL },
        { "ap", 0, 0, "ap" },
        { "5:nope", 5, 5, "nope" },
    };
    const struct sfs_tree *tree = with_users();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct sfs_owner owner;
        struct sfs_error err = { "" };
        cr_assert_eq(sfs_owner_parse(cases[i].text, tree, &owner, &err), 0, "%s", err.text);
        cr_expect_eq(owner.uid, cases[i].uid, "%s: uid %u", cases[i].text, owner.uid);
        cr_expect_eq(owner.gid, cases[i].gid, "%s: gid %u", cases[i].text, owner.gid);
        cr_expect_eq(owner.missing, cases[i].missing != NULL, "%s", cases[i].text);
        if (cases[i].missing)
            cr_expect_str_eq(owner.missing_name, cases[i].missing);
    }
}

Test(copy_chown, finds_passwd_through_a_symlink_inside_the_tree)
{
    const struct sfs_tree *tree =
        support_tree("etc/", "etc/passwd -> ../../../data/p", "data/", "data/p=app:x:5:6::/:");
    struct sfs_owner owner;
    cr_assert_eq(sfs_owner_parse("app", tree, &owner, NULL), 0);
    cr_assert_eq(owner.uid, 5u);
    cr_assert_eq(owner.gid, 6u);
}

Test(copy_chown, counts_a_passwd_that_is_no_file_as_missing)
{
    struct sfs_owner owner;
    cr_assert_eq(sfs_owner_parse("app", support_tree("etc/", "fifo etc/passwd"), &owner, NULL), 0);
    cr_assert(owner.missing);
}

Test(copy_chown, refuses_negative_numbers_and_names_without_a_tree)
{
    struct sfs_owner owner;
    cr_assert_eq(sfs_owner_parse("-1", with_users(), &owner, NULL), -EINVAL);
    cr_assert_eq(sfs_owner_parse("app", NULL, &owner, NULL), -EINVAL);
    cr_assert_eq(sfs_owner_parse("root:5", NULL, &owner, NULL), 0);
    cr_assert_eq(owner.gid, 5u);
}

Test(copy_chown, is_for_all_that_is_copied_or_made_but_not_for_a_target_that_exists)
{
    const struct sfs_tree *source = support_tree("1:1 s/", "2:2 s/f=1", "3:3 s/d/", "4:4 s/l -> x");
    support_expect(
        copy_tree(source, with_users(),
                  COPY(.sources = LIST("s"), .destination = "/x/y", .chown = "app:staff")),
        0, "d 0755 0:0 etc/", "f 0644 0:0 etc/group=root:x:0:\nstaff:x:50:app\n",
        "f 0644 0:0 etc/passwd=root:x:0:0::/:/bin/sh\napp:x:1000:1001::/:\nodd:x:z:7",
        "d 0755 1000:50 x/", "d 0755 1000:50 x/y/", "d 0755 1000:50 x/y/d/",
        "f 0644 1000:50 x/y/f=1", "l 0777 1000:50 x/y/l -> x");
    support_expect(copy_tree(source, support_tree("0700 9:9 t/"),
                             COPY(.sources = LIST("s"), .destination = "/t", .chown = "5")),
                   0, "d 0700 9:9 t/", "d 0755 5:5 t/d/", "f 0644 5:5 t/f=1",
                   "l 0777 5:5 t/l -> x");
}

Test(copy_chown, of_an_unknown_name_is_root_with_a_warning_unless_strict)
{
    struct support_warnings warnings;
    support_warnings_init(&warnings);
    const struct sfs_tree *source = support_tree("3:3 a=1");
    struct sfs_copy copy = {
        .sources = LIST("a"), .destination = "/", .chown = "ghost", .progress = &warnings.progress
    };
    support_expect(copy_tree(source, nothing(), copy), 0, "f 0644 0:0 a=1");
    cr_assert_str_eq(warnings.last,
                     "--chown=ghost: the destination does not know 'ghost'; using 0:0");
    copy.strict = true;
    expect_failure(source, nothing(), copy, EINVAL, "ghost");
}

/* Rules 10 and 11: --chmod */

Test(copy_chmod, octal_is_for_files_directories_and_parents_made_alike)
{
    const struct sfs_tree *source = support_tree("s/", "s/f=1", "s/d/", "s/l -> x");
    support_expect(copy_tree(source, nothing(),
                             COPY(.sources = LIST("s"), .destination = "/x/y", .chmod = "4644")),
                   0, "d 0644 0:0 x/", "d 0644 0:0 x/y/", "d 4644 0:0 x/y/d/", "f 4644 0:0 x/y/f=1",
                   "l 0777 0:0 x/y/l -> x");
}

Test(copy_chmod, symbolic_is_not_for_parents_made)
{
    const struct sfs_tree *source =
        support_tree("s/", "0600 s/f=1", "0700 s/x=2", "0700 s/d/", "s/l -> x");
    support_expect(copy_tree(source, nothing(),
                             COPY(.sources = LIST("s"), .destination = "/p/q", .chmod = "go=rX")),
                   0, "d 0755 0:0 p/", "d 0755 0:0 p/q/", "d 0755 0:0 p/q/d/", "f 0644 0:0 p/q/f=1",
                   "l 0777 0:0 p/q/l -> x", "f 0755 0:0 p/q/x=2");
}

Test(copy_chmod, keeps_setuid_of_a_file_that_gets_another_owner)
{
    support_expect(copy_tree(support_tree("4755 0:0 su=1"), nothing(),
                             COPY(.sources = LIST("su"), .destination = "/", .chown = "5")),
                   0, "f 4755 5:5 su=1");
}

Test(copy_chmod, that_is_no_mode_is_refused)
{
    expect_failure(support_tree("a=1"), nothing(),
                   COPY(.sources = LIST("a"), .destination = "/", .chmod = "10000"), EINVAL,
                   "invalid chmod parameter: '10000'");
}

/* Rule 13: hard links */

Test(copy_links, stay_links_within_one_source)
{
    const struct sfs_tree *source =
        support_tree("s/", "s/d/", "3:4 @5 +user.a=1 s/d/a=1", "s/b == s/d/a", "s/z == s/d/a");
    support_expect(
        copy_tree(source, nothing(), COPY(.sources = LIST("s"), .destination = "/t", .chown = "9")),
        SUPPORT_XATTRS, "d 0755 9:9 t/", "f 0644 9:9 t/b=1 +user.a=1", "d 0755 9:9 t/d/",
        "h t/d/a == t/b", "h t/z == t/b");
}

Test(copy_links, are_lost_between_sources_and_between_wildcard_hits)
{
    const struct sfs_tree *source = support_tree("s/", "s/a=1", "s/b == s/a");
    support_expect(
        copy_tree(source, nothing(), COPY(.sources = LIST("s/a", "s/b"), .destination = "/t/")), 0,
        "d 0755 0:0 t/", "f 0644 0:0 t/a=1", "f 0644 0:0 t/b=1");
    support_expect(copy_tree(source, nothing(), COPY(.sources = LIST("s/*"), .destination = "/t/")),
                   0, "d 0755 0:0 t/", "f 0644 0:0 t/a=1", "f 0644 0:0 t/b=1");
}

Test(copy_links, to_names_that_are_not_copied_are_forgotten)
{
    const struct sfs_tree *source =
        support_tree("pkgs/", "pkgs/a=1", "lib/", "lib/a == pkgs/a", "lib/b == pkgs/a");
    struct sfs_tree *tree =
        copy_tree(source, nothing(), COPY(.sources = LIST("lib"), .destination = "/lib"));
    support_expect(tree, 0, "d 0755 0:0 lib/", "f 0644 0:0 lib/a=1", "h lib/b == lib/a");
    sfs_node node;
    struct sfs_attr attr;
    cr_assert_eq(sfs_tree_resolve(tree, "lib/b", 0, &node, NULL), 0);
    sfs_tree_attr(tree, node, &attr);
    cr_assert_eq(attr.nlink, 2u);
}

Test(copy_links, excluded_do_not_take_the_bytes_with_them)
{
    const struct sfs_tree *source = support_tree("c/", "c/a/", "c/a/f=1", "c/b/", "c/b/f == c/a/f");
    support_expect(
        copy_tree(source, nothing(),
                  COPY(.sources = LIST("c"), .destination = "/c", .excludes = LIST("a"))),
        0, "d 0755 0:0 c/", "d 0755 0:0 c/b/", "f 0644 0:0 c/b/f=1");
}

Test(copy_links, replaced_by_a_later_source_leave_the_others)
{
    const struct sfs_tree *source =
        support_tree("s/", "s/a=1", "s/b == s/a", "s/c == s/a", "t/", "t/a=2");
    support_expect(
        copy_tree(source, nothing(), COPY(.sources = LIST("s", "t"), .destination = "/d/")), 0,
        "d 0755 0:0 d/", "f 0644 0:0 d/a=2", "f 0644 0:0 d/b=1", "h d/c == d/b");
}

/* Rule 14: other files */

Test(copy_special, keeps_fifos_and_devices)
{
    const struct sfs_tree *source =
        support_tree("s/", "0620 fifo s/p", "c5,1 0666 s/tty", "b8,3 1:6 0660 s/disk");
    support_expect(copy_tree(source, nothing(), COPY(.sources = LIST("s"), .destination = "/d")), 0,
                   "d 0755 0:0 d/", "b 0660 1:6 d/disk 8,3", "p 0620 0:0 d/p",
                   "c 0666 0:0 d/tty 5,1");
}

Test(copy_special, keeps_holes)
{
    struct sfs_tree *tree =
        copy_tree(support_tree("a#8"), nothing(), COPY(.sources = LIST("a"), .destination = "/b"));
    sfs_node node;
    uint64_t data = 0;
    support_expect(tree, 0, "f 0644 0:0 b=.......x");
    cr_assert_eq(sfs_tree_resolve(tree, "b", 0, &node, NULL), 0);
    cr_assert_eq(sfs_tree_seek(tree, node, 0, false, &data), 0);
    cr_assert_eq(data, 7u);
}

Test(copy_special, reads_bytes_through_a_copy_of_a_copy)
{
    struct sfs_tree *first = copy_tree(support_tree("a=hello"), nothing(),
                                       COPY(.sources = LIST("a"), .destination = "/b"));
    support_expect(copy_tree(first, nothing(), COPY(.sources = LIST("b"), .destination = "/c/")), 0,
                   "d 0755 0:0 c/", "f 0644 0:0 c/b=hello");
}

/* Rule 15: --link */

Test(copy_link, makes_all_parents_afresh_and_follows_no_symlinks)
{
    const struct sfs_tree *base = support_tree("0700 5:6 opt/", "opt/x=1", "usr/", "l -> usr");
    struct sfs_layer *layer =
        copy_layer(support_tree("a=1"), base,
                   COPY(.sources = LIST("a"), .destination = "/opt/l/", .link = true, .epoch = 9));
    expect_names(layer, "opt opt/l opt/l/a");
    support_expect(support_stack(base, layer), SUPPORT_MTIME, "l 0777 0:0 l -> usr @0",
                   "d 0755 0:0 opt/ @9", "d 0755 0:0 opt/l/ @9", "f 0644 0:0 opt/l/a=1 @0",
                   "f 0644 0:0 opt/x=1 @0", "d 0755 0:0 usr/ @0");
}

Test(copy_link, puts_a_directory_in_place_of_a_symlink)
{
    support_expect(copy_tree(support_tree("a=1"), support_tree("usr/", "l -> usr"),
                             COPY(.sources = LIST("a"), .destination = "/l/", .link = true)),
                   0, "d 0755 0:0 l/", "f 0644 0:0 l/a=1", "d 0755 0:0 usr/");
}

Test(copy_link, knows_no_names_of_users)
{
    expect_failure(support_tree("a=1"), with_users(),
                   COPY(.sources = LIST("a"), .destination = "/", .link = true, .chown = "app"),
                   EINVAL, "app");
}

Test(copy_link, is_ignored_with_chmod)
{
    support_expect(
        copy_tree(support_tree("a=1"), support_tree("usr/", "l -> usr"),
                  COPY(.sources = LIST("a"), .destination = "/l/", .link = true, .chmod = "0600")),
        0, "l 0777 0:0 l -> usr", "d 0755 0:0 usr/", "f 0600 0:0 usr/a=1");
}

/* Rule 16: --parents */

static const struct sfs_tree *deep_tree(void)
{
    return support_tree("test/", "0700 1:2 @3 test/a/", "0750 test/a/b/", "test/a/b/c/",
                        "test/a/b/c/d/", "test/a/b/c/d/foo=1", "test/a/b/c/d/e/",
                        "test/a/b/c/d/e/bay=2", "test/a/b2/", "test/a/b2/c/", "test/a/b2/c/d/",
                        "test/a/b2/c/d/e/", "test/a/b2/c/d/e/bar=3");
}

Test(copy_parents, keeps_the_way_to_the_source_with_its_metadata)
{
    support_expect(copy_tree(deep_tree(), nothing(),
                             COPY(.sources = LIST("./test/a/b/c/d/foo"), .destination = "/out/",
                                  .parents = true, .chmod = "u+r")),
                   SUPPORT_MTIME, "d 0755 0:0 out/ @0", "d 0755 0:0 out/test/ @0",
                   "d 0700 1:2 out/test/a/ @3", "d 0750 0:0 out/test/a/b/ @0",
                   "d 0755 0:0 out/test/a/b/c/ @0", "d 0755 0:0 out/test/a/b/c/d/ @0",
                   "f 0644 0:0 out/test/a/b/c/d/foo=1 @0");
}

Test(copy_parents, begins_at_the_first_pivot)
{
    static const char *const forms[] = { "/test/a/b/./c/d", "/test/a/b/./c/d/.",
                                         "/test/a/b/./c/./d" };
    for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++)
        support_expect(
            copy_tree(deep_tree(), nothing(),
                      COPY(.sources = LIST(forms[i]), .destination = "/out/", .parents = true)),
            0, "d 0755 0:0 out/", "d 0755 0:0 out/c/", "d 0755 0:0 out/c/d/",
            "d 0755 0:0 out/c/d/e/", "f 0644 0:0 out/c/d/e/bay=2", "f 0644 0:0 out/c/d/foo=1");
}

Test(copy_parents, takes_wildcards_on_both_sides_of_the_pivot)
{
    support_expect(copy_tree(deep_tree(), nothing(),
                             COPY(.sources = LIST("/test/a/b*/./c/**/e"), .destination = "/out/",
                                  .parents = true)),
                   0, "d 0755 0:0 out/", "d 0755 0:0 out/c/", "d 0755 0:0 out/c/d/",
                   "d 0755 0:0 out/c/d/e/", "f 0644 0:0 out/c/d/e/bar=3",
                   "f 0644 0:0 out/c/d/e/bay=2");
}

Test(copy_parents, finds_names_at_any_depth)
{
    support_expect(
        copy_tree(deep_tree(), nothing(),
                  COPY(.sources = LIST("/test/./**/bar"), .destination = "/", .parents = true)),
        0, "d 0700 1:2 a/", "d 0755 0:0 a/b2/", "d 0755 0:0 a/b2/c/", "d 0755 0:0 a/b2/c/d/",
        "d 0755 0:0 a/b2/c/d/e/", "f 0644 0:0 a/b2/c/d/e/bar=3");
}

Test(copy_parents, needs_a_path_without_wildcards_to_exist)
{
    expect_failure(deep_tree(), nothing(),
                   COPY(.sources = LIST("/test/./no"), .destination = "/", .parents = true), ENOENT,
                   "\"/test/no\": not found");
}

Test(copy_parents, that_matches_nothing_is_let_pass_unless_strict)
{
    struct support_warnings warnings;
    support_warnings_init(&warnings);
    struct sfs_copy copy = { .sources = LIST("/test/*.x"),
                             .destination = "/out/",
                             .parents = true,
                             .progress = &warnings.progress };
    support_expect(copy_tree(deep_tree(), nothing(), copy), 0, "d 0755 0:0 out/");
    cr_assert_eq(warnings.count, 1u);
    copy.strict = true;
    expect_failure(deep_tree(), nothing(), copy, ENOENT, "matches nothing");
}

Test(copy_parents, gives_directories_that_exist_nothing_but_the_mode)
{
    support_expect(
        copy_tree(deep_tree(), support_tree("test/", "0777 7:7 @8 test/a/"),
                  COPY(.sources = LIST("/test/a/b/c/d/foo"), .destination = "/", .parents = true)),
        SUPPORT_MTIME, "d 0755 0:0 test/ @0", "d 0700 7:7 test/a/ @8", "d 0750 0:0 test/a/b/ @0",
        "d 0755 0:0 test/a/b/c/ @0", "d 0755 0:0 test/a/b/c/d/ @0",
        "f 0644 0:0 test/a/b/c/d/foo=1 @0");
}

/* Rule 17: --exclude */

static const struct sfs_tree *bars(void)
{
    return support_tree("bar/", "0700 3:4 @5 bar/baz/", "bar/baz/foo3=3", "bar/foo=1", "foo2=2");
}

struct exclude_case {
    const char *excludes[4];
    const char *lines[8];
};

Test(copy_exclude, leaves_out_what_the_patterns_select)
{
    static const struct exclude_case cases[] = {
        { { "bar/baz" }, { "d 0755 0:0 bar/", "f 0644 0:0 bar/foo=1", "f 0644 0:0 foo2=2" } },
        { { "**/foo*" }, { "d 0755 0:0 bar/", "d 0700 3:4 bar/baz/" } },
        { { "foo*" },
          { "d 0755 0:0 bar/", "d 0700 3:4 bar/baz/", "f 0644 0:0 bar/baz/foo3=3",
            "f 0644 0:0 bar/foo=1" } },
        { { "bar*", "!bar/baz" },
          { "d 0755 0:0 bar/", "d 0700 3:4 bar/baz/", "f 0644 0:0 bar/baz/foo3=3",
            "f 0644 0:0 foo2=2" } },
        { { "**", "!bar/baz" },
          { "d 0755 0:0 bar/", "d 0700 3:4 bar/baz/", "f 0644 0:0 bar/baz/foo3=3" } },
        { { "**", "!bar/baz", "bar/baz/foo3" }, { "d 0755 0:0 bar/", "d 0700 3:4 bar/baz/" } },
        { { "**", "!nothing" }, { NULL } },
        { { "/bar" }, /* a leading slash is not taken away */
          { "d 0755 0:0 bar/", "d 0700 3:4 bar/baz/", "f 0644 0:0 bar/baz/foo3=3",
            "f 0644 0:0 bar/foo=1", "f 0644 0:0 foo2=2" } },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        support_expect_of(copy_tree(bars(), nothing(),
                                    COPY(.sources = LIST("/"), .destination = "/",
                                         .excludes = cases[i].excludes)),
                          0, cases[i].lines);
}

Test(copy_exclude, counts_from_each_source_directory)
{
    const struct sfs_tree *source =
        support_tree("a/", "a/x.txt=1", "a/d/", "a/d/x.txt=2", "b/", "b/y.txt=3", "b/z=4");
    support_expect(
        copy_tree(source, nothing(),
                  COPY(.sources = LIST("a", "b"), .destination = "/t/", .excludes = LIST("*.txt"))),
        0, "d 0755 0:0 t/", "d 0755 0:0 t/d/", "f 0644 0:0 t/d/x.txt=2", "f 0644 0:0 t/z=4");
}

Test(copy_exclude, is_not_for_sources_that_are_files_unless_strict)
{
    struct support_warnings warnings;
    support_warnings_init(&warnings);
    const struct sfs_tree *source = support_tree("a=1", "b=2");
    struct sfs_copy copy = { .sources = LIST("*"),
                             .destination = "/",
                             .excludes = LIST("a"),
                             .progress = &warnings.progress };
    support_expect(copy_tree(source, nothing(), copy), 0, "f 0644 0:0 a=1", "f 0644 0:0 b=2");
    cr_assert_eq(warnings.count, 1u);
    copy.strict = true;
    expect_failure(source, nothing(), copy, EINVAL, "--exclude");
}

Test(copy_exclude, that_is_malformed_is_refused)
{
    expect_failure(bars(), nothing(),
                   COPY(.sources = LIST("/"), .destination = "/", .excludes = LIST("[")), EINVAL,
                   "--exclude");
    expect_failure(bars(), nothing(),
                   COPY(.sources = LIST("/"), .destination = "/", .excludes = LIST("[z-a]")),
                   EINVAL, "--exclude");
}

Test(copy_exclude, makes_a_directory_with_exceptions_late_with_the_sources_metadata)
{
    support_expect(copy_tree(bars(), nothing(),
                             COPY(.sources = LIST("/"), .destination = "/",
                                  .excludes = LIST("**", "!bar/baz/foo3"), .chown = "9")),
                   SUPPORT_MTIME, "d 0755 9:9 bar/ @0", "d 0700 9:9 bar/baz/ @5",
                   "f 0644 9:9 bar/baz/foo3=3 @0");
}

/* Rule 19, and size */

Test(copy_layer, holds_nothing_that_the_destination_has_already)
{
    const struct sfs_tree *base = support_tree("usr/", "usr/local/", "usr/local/x=1");
    struct sfs_layer *layer = copy_layer(support_tree("a=1"), base,
                                         COPY(.sources = LIST("a"), .destination = "/usr/local/"));
    expect_names(layer, "usr/local/a");
    sfs_layer_close(&layer);
}

Test(copy_layer, gives_the_same_layer_for_the_same_copy)
{
    const struct sfs_tree *source = support_tree("s/", "s/b=1", "s/a == s/b", "s/d/", "s/d/x=2");
    struct sfs_copy copy = { .sources = LIST("s"), .destination = "/t" };
    struct sfs_layer *one = copy_layer(source, nothing(), copy);
    struct sfs_layer *two = copy_layer(source, nothing(), copy);
    cr_assert_eq(one->tables.entry_count, two->tables.entry_count);
    cr_assert_eq(memcmp(one->tables.entries, two->tables.entries,
                        one->tables.entry_count * sizeof one->tables.entries[0]),
                 0);
    sfs_layer_close(&one);
    sfs_layer_close(&two);
}

Test(copy_layer, copies_a_hundred_thousand_files_without_reading_one)
{
    struct sfs_builder *builder = sfs_builder_open();
    struct sfs_builder_item item = { .inode = { .mode = S_IFREG | 0644 } };
    char path[64];
    cr_assert(builder);
    for (unsigned i = 0; i < 100000; i++) {
        snprintf(path, sizeof path, "opt/d%03u/e%02u/file%u", i / 1000, i / 10 % 100, i);
        cr_assert_eq(sfs_builder_add(builder, path, &item, NULL), 0);
    }
    struct sfs_layer *layer = NULL;
    struct sfs_tree *source = NULL;
    cr_assert_eq(sfs_layer_open_built(builder, "many", &layer, NULL), 0);
    sfs_builder_close(&builder);
    cr_assert_eq(sfs_tree_merge(&layer, 1, &source, NULL), 0);
    struct timespec begin, end;
    clock_gettime(CLOCK_MONOTONIC, &begin);
    struct sfs_layer *copied = copy_layer(
        source, nothing(),
        COPY(.sources = LIST("/opt"), .destination = "/opt", .chown = "1000",
             .excludes = LIST("**/*.a", "**/__pycache__", "**/file*7", "d0*/x", "!**/keep")));
    clock_gettime(CLOCK_MONOTONIC, &end);
    cr_log_info("copied in %.0f ms", (double)(end.tv_sec - begin.tv_sec) * 1e3 +
                                         (double)(end.tv_nsec - begin.tv_nsec) / 1e6);
    cr_assert_eq(copied->tables.inode_count, 90000u + 10000u + 100u + 1u + 1u);
    sfs_layer_close(&copied);
    sfs_tree_close(&source);
    sfs_layer_close(&layer);
}
