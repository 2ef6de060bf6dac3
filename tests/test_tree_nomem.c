/* Every allocation of a merge, a search, a walk and a diff fails once: each time there is one clear
 * error, and nothing is lost or half made. */
#include "tree_text.h"
#include "tree/tree_inner.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif

static _Thread_local long failing = -1; /* allocations until one fails; -1: none does */

#ifndef SANITIZED
static bool fails(void)
{
    return failing >= 0 && failing-- == 0;
}

/* In place of the C library's, which has these names for its own. */
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *memory, size_t size);
void *malloc(size_t size);
void *calloc(size_t count, size_t size);
void *realloc(void *memory, size_t size);

void *malloc(size_t size)
{
    return fails() ? NULL : __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
    return fails() ? NULL : __libc_calloc(count, size);
}

void *realloc(void *memory, size_t size)
{
    return fails() ? NULL : __libc_realloc(memory, size);
}
#endif

static struct tree_text merge_usual(void)
{
    return TREE_TEXT_MERGE("d usr; d usr/lib; f usr/lib/a 1; h usr/b usr/lib/a; l lib usr/lib",
                           "f lib/c 2; h d lib/a; w usr/b", "d usr; f usr/e 1; o usr/lib; h g d");
}

static int merge(const struct tree_text *layers, struct sfs_error *err)
{
    AUTO(sfs_tree_close) struct sfs_tree *tree = NULL;
    int r = sfs_tree_merge(layers->layers, layers->count, &tree, err);
    cr_assert_eq(r == 0, tree != NULL);
    return r;
}

static int resolve(const struct tree_text *merged, struct sfs_error *err)
{
    sfs_node node;
    return sfs_tree_resolve(merged->tree, "lib/../../lib/.", 0, &node, err);
}

static int ignore_name(void *user, const char *path, sfs_node node)
{
    (void)user, (void)path, (void)node;
    return 0;
}

static int walk(const struct tree_text *merged, struct sfs_error *err)
{
    return sfs_tree_walk(merged->tree, SFS_ROOT, ignore_name, NULL, err);
}

static int ignore_change(void *user, const struct sfs_change *change)
{
    (void)user, (void)change;
    return 0;
}

static int diff(const struct tree_text *merged, struct sfs_error *err)
{
    return sfs_tree_diff(merged->tree, merged->tree, 0, ignore_change, NULL, err);
}

static void fail_each(int (*act)(const struct tree_text *merged, struct sfs_error *err),
                      int at_least)
{
#ifdef SANITIZED
    cr_skip_test("sanitizers bring their own allocator");
#endif
    AUTO(tree_text_close) struct tree_text merged = merge_usual();
    int failures = 0;
    for (long i = 0;; i++) {
        struct sfs_error err = { "" };
        failing = i;
        int r = act(&merged, &err);
        bool failed = failing < 0;
        failing = -1;
        if (!failed) {
            cr_assert_eq(r, 0, "%s", err.text);
            break;
        }
        /* Giving back memory may fail without harm. */
        if (r == 0)
            continue;
        cr_assert_eq(r, -ENOMEM, "allocation %ld: %d %s", i, r, err.text);
        cr_assert_not_null(strstr(err.text, "out of memory"), "allocation %ld: %s", i, err.text);
        failures++;
    }
    cr_assert_geq(failures, at_least, "%d", failures);
}

Test(tree_nomem, merge_fails_in_words)
{
    fail_each(merge, 20);
}

Test(tree_nomem, resolve_fails_in_words)
{
    fail_each(resolve, 2);
}

Test(tree_nomem, walk_fails_in_words)
{
    fail_each(walk, 2);
}

Test(tree_nomem, diff_fails_in_words)
{
    fail_each(diff, 4);
}
