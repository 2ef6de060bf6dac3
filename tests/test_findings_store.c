/* Findings that one command leaves to the next, and files of them that are not what they were. */
#include "slim/findings_store.h"
#include "image_support.h"
#include "support.h"
#include <criterion/criterion.h>
#include <fcntl.h>
#include <sys/stat.h>

#define BLOB  "sha256:00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
#define FIRST BLOB ".0123456789abcdef0123456789abcdef"
#define OTHER BLOB ".fedcba9876543210fedcba9876543210"

static struct sfs_store *store;
static struct sfs_error error;

static void set_up(void)
{
    make_scratch();
    cr_assert_eq(sfs_store_open(say("%s/store", scratch), &store, &error), 0, "%s", error.text);
}

static void tear_down(void)
{
    sfs_store_close(&store);
    remove_scratch();
}

TestSuite(findings, .init = set_up, .fini = tear_down);

static struct sfs_device_piece pieces[] = {
    { .offset = 100, .payload_size = 200, .header_size = 64, .kind = 2, .arch = 90 },
    { .offset = 400, .payload_size = 600, .container = 1, .flags = SFS_PIECE_BARE },
};
static struct sfs_range symbols[] = { { 7, 8 } };
static char complaint[] = "section .x is odd", other_complaint[] = "it is loaded";

static void keep(const char *name, uint64_t size, const struct sfs_findings *findings)
{
    AUTO(sfs_findings_store_close)
    struct sfs_findings_store *kept = sfs_findings_store_open(store);
    sfs_findings_store_add(kept, name, size, findings);
    sfs_findings_store_save(kept);
}

static void keep_both(void)
{
    const struct sfs_findings first = { .pieces = pieces,
                                        .piece_count = 2,
                                        .symbols = { symbols, 1, 1 } };
    const struct sfs_findings other = { .complaint = complaint,
                                        .symbols_complaint = other_complaint };
    keep(FIRST, 1000, &first);
    keep(OTHER, 2000, &other);
}

static bool find(const char *name, uint64_t size, struct sfs_findings *findings)
{
    AUTO(sfs_findings_store_close)
    struct sfs_findings_store *kept = sfs_findings_store_open(store);
    *findings = (struct sfs_findings){ 0 };
    return sfs_findings_store_find(kept, name, size, findings);
}

static void expect_none(const char *name, uint64_t size)
{
    AUTO(sfs_findings_done) struct sfs_findings found;
    cr_assert_not(find(name, size, &found));
    cr_assert(!found.pieces && !found.complaint && !found.symbols.items);
}

Test(findings, are_found_again)
{
    AUTO(sfs_findings_done) struct sfs_findings found;
    AUTO(sfs_findings_done) struct sfs_findings other;
    keep_both();
    cr_assert(find(FIRST, 1000, &found));
    cr_assert_eq(found.piece_count, 2);
    cr_assert_eq(memcmp(found.pieces, pieces, sizeof pieces), 0);
    cr_assert(found.symbols.count == 1 && found.symbols.items[0].offset == 7);
    cr_assert(!found.complaint && !found.symbols_complaint);
    cr_assert(find(OTHER, 2000, &other));
    cr_assert_eq(other.piece_count, 0);
    cr_assert_str_eq(other.complaint, complaint);
    cr_assert_str_eq(other.symbols_complaint, other_complaint);
}

Test(findings, of_something_else_are_not)
{
    keep_both();
    expect_none(BLOB ".00000000000000000000000000000000", 1000);
    expect_none(FIRST, 1001);
    expect_none("sha256:11.0123456789abcdef0123456789abcdef", 1000);
    expect_none(BLOB, 1000);
}

/* Zeros that are not in the library would be none of it. */
Test(findings, that_do_not_fit_are_not)
{
    struct sfs_device_piece far = { .offset = 900, .payload_size = 37, .header_size = 64 };
    struct sfs_range behind = { 1000, 1 };
    const struct sfs_findings first = { .pieces = &far, .piece_count = 1 };
    const struct sfs_findings other = { .symbols = { &behind, 1, 1 } };
    keep(FIRST, 1000, &first);
    keep(OTHER, 1000, &other);
    expect_none(FIRST, 1000);
    expect_none(OTHER, 1000);
}

static int list(void *user, const struct sfs_store_item *item)
{
    if (item->kind == SFS_STORE_FINDINGS && strcmp(item->key, BLOB) == 0)
        *(uint64_t *)user = item->size;
    return 0;
}

Test(findings, that_are_damaged_are_not)
{
    uint64_t size = 0;
    keep_both();
    cr_assert_eq(sfs_store_list(store, list, &size, &error), 0, "%s", error.text);
    cr_assert_gt(size, 0, "it is listed");
    char *path = say("%s/store/findings/sha256-%s.find", scratch, BLOB + strlen("sha256:"));
    for (uint64_t at = 0; at < size; at++) {
        char byte;
        int fd = open(path, O_RDWR | O_CLOEXEC);
        cr_assert(fd >= 0 && pread(fd, &byte, 1, (off_t)at) == 1);
        char wrong = (char)(byte ^ 1);
        cr_assert_eq(pwrite(fd, &wrong, 1, (off_t)at), 1);
        expect_none(FIRST, 1000);
        cr_assert_eq(pwrite(fd, &byte, 1, (off_t)at), 1);
        close(fd);
    }
    for (uint64_t left = size; left-- > 0;) {
        cr_assert_eq(truncate(path, (off_t)left), 0);
        expect_none(OTHER, 2000);
    }
    keep_both();
    AUTO(sfs_findings_done) struct sfs_findings found;
    cr_assert(find(FIRST, 1000, &found), "it is written anew");
}

Test(findings, without_a_store_are_not)
{
    AUTO(sfs_findings_store_close)
    struct sfs_findings_store *kept = sfs_findings_store_open(NULL);
    const struct sfs_findings none = { 0 };
    struct sfs_findings found;
    sfs_findings_store_add(kept, FIRST, 1000, &none);
    sfs_findings_store_save(kept);
    cr_assert_not(sfs_findings_store_find(kept, FIRST, 1000, &found));
}
