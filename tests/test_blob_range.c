/* fs/blob: a blob on another machine. The machine is played here: it answers late, in bits, with
 * damaged bytes, with all of the blob, or not at all. */
#include "blob/blob_range.h"

#include "base/hash.h"
#include "base/thread.h"
#include "blob/range_parts.h"
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

/* 16 of them are what a miss brings that wants little. */
#define CHUNK (SFS_RANGE_LEAST / 16 * SFS_RANGE_BLOCK)
#define SIZE  (9u * CHUNK * 16 + 12345) /* a last block that is not whole */
#define PIECE 3000u                     /* bytes that come at once */

static struct sfs_error err;
static char dir[] = "/tmp/stagefs-test-range-XXXXXX";

/* What the machine does, and how often it was asked; shared with children. */
static struct machine {
    atomic_int failures;   /* so many requests get no answer */
    atomic_int cuts;       /* so many end in the middle */
    atomic_llong bad;      /* the byte at this place is wrong, ... */
    atomic_int bad_times;  /* ... so often */
    atomic_bool sends_all; /* it knows no ranges */
    atomic_int delay_us;   /* before each piece */
    atomic_int refusal;    /* each request fails with this errno */
    atomic_bool is_silent; /* it sends nothing */
    atomic_bool is_busy;   /* nor to those for whom nobody waits */
    atomic_int busy;       /* requests under way */
    atomic_uint requests;
    atomic_ullong bytes;
} * machine;
static uint8_t *content;
static struct sfs_pool *pool;
static struct sfs_digest digest;

struct fake_remote {
    struct sfs_remote base;
    atomic_bool cancelled, is_hurried;
};

static bool keeps_waiting(const struct fake_remote *remote, enum sfs_remote_priority priority)
{
    return atomic_load(&machine->is_silent) ||
           (atomic_load(&machine->is_busy) && priority != SFS_REMOTE_DEMAND &&
            !atomic_load(&remote->is_hurried));
}

static int send_bytes(struct fake_remote *remote, uint64_t offset, uint64_t end,
                      sfs_remote_sink sink, void *user)
{
    while (offset < end) {
        uint8_t piece[PIECE];
        size_t size = end - offset < PIECE ? (size_t)(end - offset) : PIECE;
        memcpy(piece, content + offset, size);
        uint64_t bad = (uint64_t)atomic_load(&machine->bad);
        if (bad >= offset && bad - offset < size && atomic_fetch_sub(&machine->bad_times, 1) > 0)
            piece[bad - offset] ^= 1;
        if (atomic_load(&machine->delay_us))
            usleep((unsigned)atomic_load(&machine->delay_us));
        if (atomic_load(&remote->cancelled))
            return -ECANCELED;
        int r = sink(user, offset, piece, size);
        if (r < 0)
            return r;
        atomic_fetch_add(&machine->bytes, size);
        offset += size;
    }
    return 0;
}

static int answer(struct sfs_remote *base, enum sfs_remote_priority priority, uint64_t offset,
                  uint64_t size, sfs_remote_sink sink, void *user, bool *ret_whole,
                  struct sfs_error *error)
{
    struct fake_remote *remote = (struct fake_remote *)base;
    atomic_fetch_add(&machine->requests, 1);
    while (keeps_waiting(remote, priority) && !atomic_load(&remote->cancelled))
        usleep(1000);
    if (atomic_load(&machine->refusal))
        return sfs_fail(error, atomic_load(&machine->refusal), "refused");
    if (atomic_load(&machine->failures) > 0 && atomic_fetch_sub(&machine->failures, 1) > 0)
        return sfs_fail(error, EAGAIN, "it is not there");
    if (atomic_load(&machine->sends_all)) {
        static atomic_bool is_sending;
        if (size < SIZE && atomic_exchange(&is_sending, true))
            return sfs_fail(error, EALREADY, "on its way");
        *ret_whole = true;
        int r = send_bytes(remote, 0, SIZE, sink, user);
        atomic_store(&is_sending, false);
        return r < 0 ? sfs_fail(error, -r, "ended") : 0;
    }
    bool is_cut = atomic_load(&machine->cuts) > 0 && atomic_fetch_sub(&machine->cuts, 1) > 0;
    int r = send_bytes(remote, offset, offset + (is_cut ? size / 2 : size), sink, user);
    if (r == 0 && is_cut)
        r = -EAGAIN;
    return r < 0 ? sfs_fail(error, -r, "ended") : 0;
}

static int fake_fetch(struct sfs_remote *base, enum sfs_remote_priority priority, uint64_t offset,
                      uint64_t size, sfs_remote_sink sink, void *user, bool *ret_whole,
                      struct sfs_error *error)
{
    atomic_fetch_add(&machine->busy, 1);
    int r = answer(base, priority, offset, size, sink, user, ret_whole, error);
    atomic_fetch_sub(&machine->busy, 1);
    return r;
}

/* Waits until all requests have ended. */
static void settle(void)
{
    do
        usleep(20000);
    while (machine->busy > 0);
    usleep(20000);
}

static void fake_cancel(struct sfs_remote *base, void *user)
{
    (void)user;
    atomic_store(&((struct fake_remote *)base)->cancelled, true);
}

static void fake_close(struct sfs_remote *base)
{
    free(base);
}

static bool fake_hurry(struct sfs_remote *base, void *user)
{
    (void)user;
    atomic_store(&((struct fake_remote *)base)->is_hurried, true);
    return true;
}

static const struct sfs_remote_ops fake_ops = { fake_fetch, fake_cancel, fake_close, fake_hurry };

/* Has room for so many bytes; -1: for all. Counts how often the blob became whole. */
struct fake_keeper {
    struct sfs_range_keeper base;
};
static int64_t room;
static atomic_int wholes;
static atomic_bool keeps_long;

static int fake_make_room(struct sfs_range_keeper *keeper, uint64_t size)
{
    (void)keeper;
    if (room >= 0 && (int64_t)size > room)
        return -ENOSPC;
    room -= room < 0 ? 0 : (int64_t)size;
    return 0;
}

static char *path_of(const char *name)
{
    static char path[200];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    return path;
}

static int fake_keep_whole(struct sfs_range_keeper *keeper)
{
    (void)keeper;
    atomic_fetch_add(&wholes, 1);
    while (atomic_load(&keeps_long))
        usleep(1000);
    return unlink(path_of("map"));
}

static void fake_keeper_close(struct sfs_range_keeper *keeper)
{
    free(keeper);
}

static const struct sfs_range_keeper_ops keeper_ops = { fake_make_room, fake_keep_whole,
                                                        fake_keeper_close };

static atomic_uint warnings;

static void warn(void *user, const char *text)
{
    (void)user;
    (void)text;
    warnings++;
}

static const struct sfs_progress progress = { .warn = warn };
static atomic_bool is_stalled;
static unsigned patience_ms = 2500;

static struct sfs_blob *open_blob_with(bool is_kept)
{
    struct sfs_range_file *file = NULL;
    struct sfs_range_keeper *keeper = NULL;
    struct sfs_blob *blob;
    if (is_kept) {
        int data = open(path_of("data"), O_RDWR | O_CREAT, 0600);
        int map = open(path_of("map"), O_RDWR | O_CREAT, 0600);
        cr_assert_eq(sfs_range_file_open(&data, &map, SIZE, &file, &err), 0, "%s", err.text);
        struct fake_keeper *fake = calloc(1, sizeof *fake);
        fake->base.ops = &keeper_ops;
        keeper = &fake->base;
    }
    struct fake_remote *remote = calloc(1, sizeof *remote);
    remote->base.ops = &fake_ops;
    const struct sfs_range_options options = { .size = SIZE,
                                               .digest = digest,
                                               .name = "layer sha256:1234 at far.away",
                                               .where = "far.away",
                                               .pool = pool,
                                               .demand_pool = pool,
                                               .progress = &progress,
                                               .is_stalled = &is_stalled,
                                               .patience_ms = patience_ms };
    cr_assert_eq(sfs_blob_open_range(&remote->base, file, keeper, &options, &blob, &err), 0, "%s",
                 err.text);
    return blob;
}

static struct sfs_blob *open_blob(void)
{
    return open_blob_with(true);
}

/* A manifest may tell any size. */
Test(blob_range, too_large)
{
    struct fake_remote *remote = calloc(1, sizeof *remote);
    struct sfs_blob *blob = NULL;
    remote->base.ops = &fake_ops;
    const struct sfs_range_options options = { .size = (1ull << 44) + 4096,
                                               .name = "layer sha256:1234 at far.away",
                                               .where = "far.away",
                                               .patience_ms = patience_ms };
    cr_assert_eq(sfs_blob_open_range(&remote->base, NULL, NULL, &options, &blob, &err), -E2BIG);
    cr_assert_str_eq(err.text, "layer sha256:1234 at far.away: a blob of 17592186048512 bytes, "
                               "more than one can have (8796093018112)");
    cr_assert_null(blob);
}

static void setup(void)
{
    cr_assert(mkdtemp(dir));
    machine =
        mmap(NULL, sizeof *machine, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    atomic_store(&machine->bad, -1);
    content = malloc(SIZE);
    uint64_t state = 12345;
    for (size_t i = 0; i < SIZE; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        content[i] = (uint8_t)(state >> 56);
    }
    sfs_digest_of(content, SIZE, &digest);
    cr_assert_eq(sfs_pool_open(4, &pool, &err), 0);
    room = -1;
}

static void teardown(void)
{
    sfs_pool_close(&pool);
    unlink(path_of("data"));
    unlink(path_of("map"));
    rmdir(dir);
    free(content);
    munmap(machine, sizeof *machine);
}

TestSuite(blob_range, .init = setup, .fini = teardown, .timeout = 120);

static void assert_reads(struct sfs_blob *blob, uint64_t offset, size_t size)
{
    uint8_t *buf = malloc(size);
    ssize_t n = sfs_blob_read_at(blob, buf, size, offset, &err);
    cr_assert_eq(n, (ssize_t)size, "%zd: %s", n, err.text);
    cr_assert_eq(memcmp(buf, content + offset, size), 0, "other bytes at %lu",
                 (unsigned long)offset);
    free(buf);
}

static void assert_all(struct sfs_blob *blob)
{
    for (uint64_t at = 0; at < SIZE; at += 300000)
        assert_reads(blob, at, SIZE - at < 300000 ? (size_t)(SIZE - at) : 300000);
}

Test(blob_range, a_miss_is_widened_and_kept)
{
    struct sfs_blob *blob = open_blob();
    assert_reads(blob, 5 * CHUNK + 17, 100);
    cr_assert_eq(machine->requests, 1);
    assert_reads(blob, 20 * CHUNK, CHUNK);
    settle();
    cr_assert_eq(machine->bytes, 16 * CHUNK);
    cr_assert_eq(machine->requests, 1);
    assert_reads(blob, SIZE - 5, 5);
    cr_assert_eq(machine->requests, 2);
    sfs_blob_close(&blob);

    blob = open_blob(); /* as a later process */
    assert_reads(blob, 6 * CHUNK, 10 * CHUNK);
    cr_assert_eq(machine->requests, 2);
    sfs_blob_close(&blob);
}

Test(blob_range, what_another_version_fetched_is_fetched_anew)
{
    struct sfs_blob *blob = open_blob();
    assert_all(blob);
    sfs_blob_close(&blob);
    int map = open(path_of("map"), O_RDWR);
    cr_assert_eq(pwrite(map, "SFSPART0", 8, 0), 8);
    close(map);
    unsigned before = machine->requests;
    blob = open_blob();
    assert_all(blob);
    cr_assert_gt(machine->requests, before);
    sfs_blob_close(&blob);
    before = machine->requests;
    blob = open_blob(); /* and kept */
    assert_all(blob);
    cr_assert_eq(machine->requests, before);
    sfs_blob_close(&blob);
}

Test(blob_range, near_misses_are_joined)
{
    struct sfs_blob *blob = open_blob();
    assert_reads(blob, 40 * CHUNK, 1); /* brings 40 to 55 */
    settle();
    unsigned before = machine->requests;
    assert_reads(blob, 23 * CHUNK, 35 * CHUNK);
    cr_assert_eq(machine->requests, before + 2, "%u", machine->requests - before);
    atomic_store(&machine->cuts, 1);
    assert_reads(blob, 140 * CHUNK, 1); /* brings 140 and 141 */
    settle();
    before = machine->requests;
    assert_reads(blob, 137 * CHUNK, 7 * CHUNK);
    cr_assert_eq(machine->requests, before + 1, "%u", machine->requests - before);
    sfs_blob_close(&blob);
}

/* What is planned is fetched in its turn. A reader that comes before that waits for no more than
 * what is planned where it reads; when all that is planned is here, misses are widened again. */
Test(blob_range, a_miss_brings_what_is_planned_and_no_more)
{
    struct sfs_blob *blob = open_blob();
    sfs_blob_plan(blob, 10 * CHUNK, 3 * CHUNK);
    sfs_blob_plan(blob, 100 * CHUNK, CHUNK);
    sfs_blob_plan(blob, SIZE + 1, 1);
    assert_reads(blob, 50 * CHUNK, 1);
    settle();
    cr_assert_eq(machine->bytes, SFS_RANGE_BLOCK, "%llu", machine->bytes);
    assert_reads(blob, 10 * CHUNK, 1);
    settle();
    cr_assert_eq(machine->bytes, SFS_RANGE_BLOCK + 3 * CHUNK, "%llu", machine->bytes);
    sfs_blob_fetch(blob, 100 * CHUNK, CHUNK, SFS_POOL_AHEAD);
    settle();
    unsigned long long before = machine->bytes;
    cr_assert_eq(before, SFS_RANGE_BLOCK + 4 * CHUNK, "%llu", before);
    assert_reads(blob, 120 * CHUNK, 1);
    settle();
    cr_assert_eq(machine->bytes, before + 16 * CHUNK, "%llu", machine->bytes);
    sfs_blob_close(&blob);
}

Test(blob_range, what_could_not_be_fetched_is_planned_no_more)
{
    struct sfs_blob *blob = open_blob();
    sfs_blob_plan(blob, 100 * CHUNK, 4 * CHUNK);
    atomic_store(&machine->refusal, EACCES);
    sfs_blob_fetch(blob, 100 * CHUNK, 4 * CHUNK, SFS_POOL_AHEAD);
    settle();
    atomic_store(&machine->refusal, 0);
    unsigned long long before = machine->bytes;
    assert_reads(blob, 50 * CHUNK, 1);
    settle();
    cr_assert_eq(machine->bytes, before + 16 * CHUNK, "%llu", machine->bytes);
    sfs_blob_close(&blob);
}

Test(blob_range, who_picks_gets_what_it_picks_and_no_more)
{
    struct sfs_blob *blob = open_blob();
    char *buf = malloc(10 * CHUNK);
    for (unsigned i = 0; i < 10; i++)
        cr_assert_eq(sfs_blob_pick_at(blob, buf, 10 * CHUNK, 10ull * i * CHUNK, &err), 10 * CHUNK);
    settle();
    cr_assert_eq(machine->bytes, 100ull * CHUNK, "%llu", machine->bytes);
    cr_assert_gt(sfs_blob_ahead(blob), 0);
    free(buf);
    sfs_blob_close(&blob);
}

Test(blob_range, a_reader_that_goes_on_is_fetched_ahead)
{
    struct sfs_blob *blob = open_blob();
    atomic_store(&machine->delay_us, 200);
    assert_all(blob);
    cr_assert_lt(machine->bytes, SIZE + SIZE / 10, "%llu", machine->bytes);
    sfs_blob_close(&blob);
}

Test(blob_range, all_of_it_becomes_a_whole_blob)
{
    struct sfs_blob *blob = open_blob();
    assert_all(blob);
    assert_reads(blob, 0, 10);
    for (int i = 0; i < 500 && sfs_blob_file(blob) < 0; i++)
        usleep(10000);
    cr_assert_geq(sfs_blob_file(blob), 0);
    cr_assert_eq(wholes, 1);
    cr_assert_eq(access(path_of("map"), F_OK), -1);
    assert_all(blob);
    sfs_blob_close(&blob);
}

static void *read_beginning(void *arg)
{
    uint8_t byte;
    return sfs_blob_read_at(arg, &byte, 1, 0, NULL) == 1 ? arg : NULL;
}

/* Who makes it whole may have to wait for another process. */
Test(blob_range, readers_go_on_while_it_becomes_a_whole_blob)
{
    struct sfs_blob *blob = open_blob();
    pthread_t reader;
    void *has_read = NULL;
    atomic_store(&keeps_long, true);
    assert_all(blob);
    while (wholes == 0)
        usleep(1000);
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 5;
    pthread_create(&reader, NULL, read_beginning, blob);
    cr_assert_eq(pthread_timedjoin_np(reader, &has_read, &until), 0);
    cr_assert(has_read);
    atomic_store(&keeps_long, false);
    sfs_blob_close(&blob);
}

/* Of a pass, the verdict is waited for, and nothing is digested twice. */
Test(blob_range, a_verdict_makes_it_whole_or_drops_it)
{
    struct sfs_blob *blob = open_blob();
    cr_assert(!sfs_blob_judge(blob, SFS_VERDICT_BEGINS));
    assert_all(blob);
    cr_assert_lt(sfs_blob_file(blob), 0);
    cr_assert(!sfs_blob_judge(blob, SFS_VERDICT_WRONG)); /* all of it was fetched just now */
    unsigned long long before = machine->bytes;
    assert_reads(blob, 0, 10);
    assert_all(blob);
    cr_assert_gt(machine->bytes, before + SIZE - 40 * CHUNK);
    cr_assert(!sfs_blob_judge(blob, SFS_VERDICT_HOLDS));
    cr_assert_geq(sfs_blob_file(blob), 0);
    sfs_blob_close(&blob);
}

/* What was kept by an earlier process may be damaged: then another pass helps. */
Test(blob_range, a_wrong_verdict_on_kept_bytes_asks_for_another_pass)
{
    struct sfs_blob *blob = open_blob();
    assert_reads(blob, 0, 10);
    settle();
    sfs_blob_close(&blob);
    blob = open_blob();
    sfs_blob_judge(blob, SFS_VERDICT_BEGINS);
    assert_all(blob);
    cr_assert(sfs_blob_judge(blob, SFS_VERDICT_WRONG));
    cr_assert(!sfs_blob_judge(blob, SFS_VERDICT_WRONG));
    sfs_blob_close(&blob);
}

Test(blob_range, damage_on_the_disk_is_fetched_again)
{
    struct sfs_blob *blob = open_blob();
    assert_reads(blob, 0, 16 * CHUNK);
    sfs_blob_close(&blob);
    int fd = open(path_of("data"), O_WRONLY);
    cr_assert_eq(pwrite(fd, "damage", 6, 3 * CHUNK + 9), 6);
    close(fd);
    blob = open_blob();
    assert_reads(blob, 0, 16 * CHUNK);
    cr_assert_eq(machine->requests, 2);
    cr_assert_leq(machine->bytes, 32 * CHUNK);
    sfs_blob_close(&blob);
}

Test(blob_range, distrusted_bytes_are_fetched_again_once)
{
    struct sfs_blob *blob = open_blob();
    uint8_t byte;
    atomic_store(&machine->bad, 1000);
    atomic_store(&machine->bad_times, 1);
    cr_assert_eq(sfs_blob_read_at(blob, &byte, 1, 1000, &err), 1);
    cr_assert_neq(byte, content[1000]);
    cr_assert(sfs_blob_distrust(blob, 900, 200));
    assert_reads(blob, 900, 200);
    cr_assert(!sfs_blob_distrust(blob, 900, 200));
    sfs_blob_close(&blob);
}

/* Both copies are in memory then, and the wrong one must not be found first. */
Test(blob_range, distrusted_bytes_that_are_not_kept_are_forgotten)
{
    struct sfs_blob *blob = open_blob_with(false);
    uint8_t byte;
    atomic_store(&machine->bad, 1000);
    atomic_store(&machine->bad_times, 1);
    cr_assert_eq(sfs_blob_read_at(blob, &byte, 1, 1000, &err), 1);
    cr_assert_neq(byte, content[1000]);
    cr_assert(sfs_blob_distrust(blob, 1000, 1));
    assert_reads(blob, 900, 200);
    sfs_blob_close(&blob);
}

/* The registry sent wrong bytes, and nobody looked at them. */
Test(blob_range, what_does_not_hold_its_digest_is_dropped)
{
    struct sfs_blob *blob = open_blob();
    uint8_t *buf = malloc(SIZE);
    atomic_store(&machine->bad, 1000);
    atomic_store(&machine->bad_times, 1);
    cr_assert_eq(sfs_blob_read_at(blob, buf, SIZE, 0, &err), (ssize_t)SIZE);
    for (int i = 0; i < 500 && warnings == 0; i++)
        usleep(10000);
    cr_assert_eq(warnings, 1);
    cr_assert_lt(sfs_blob_file(blob), 0);
    usleep(50000);
    assert_all(blob);
    free(buf);
    sfs_blob_close(&blob);
}

Test(blob_range, answers_that_end_early_are_taken_up_again)
{
    struct sfs_blob *blob = open_blob();
    atomic_store(&machine->cuts, 2);
    assert_reads(blob, 0, 16 * CHUNK);
    cr_assert_eq(machine->requests, 3, "%u", machine->requests); /* each goes on from there */
    cr_assert_lt(machine->bytes, 20 * CHUNK);
    sfs_blob_close(&blob);
}

Test(blob_range, readers_wait_while_nobody_answers)
{
    struct sfs_blob *blob = open_blob();
    atomic_store(&machine->failures, 2);
    assert_reads(blob, 0, 10);
    for (int i = 0; i < 100 && warnings < 2; i++)
        usleep(10000);
    cr_assert_eq(warnings, 2); /* once that it does not answer, and once that it does */
    sfs_blob_close(&blob);
}

Test(blob_range, and_fail_after_a_while_and_do_not_remember)
{
    struct sfs_blob *blob = open_blob();
    char byte;
    assert_reads(blob, 0, 10);
    atomic_store(&machine->failures, 1000000);
    cr_assert_eq(sfs_blob_read_at(blob, &byte, 1, SIZE / 2, &err), -EIO);
    cr_assert(strstr(err.text, "layer sha256:1234 at far.away: it is not there"), "%s", err.text);
    assert_reads(blob, 100, 10); /* what is here is read all the same */
    atomic_store(&machine->failures, 0);
    assert_reads(blob, SIZE / 2, 10);
    sfs_blob_close(&blob);
}

Test(blob_range, what_time_does_not_mend_fails_at_once)
{
    struct sfs_blob *blob = open_blob();
    char byte;
    atomic_store(&machine->refusal, EACCES);
    cr_assert_eq(sfs_blob_read_at(blob, &byte, 1, 0, &err), -EIO);
    cr_assert_eq(machine->requests, 1);
    atomic_store(&machine->refusal, EBADMSG);
    cr_assert_eq(sfs_blob_read_at(blob, &byte, 1, 0, &err), -EIO);
    atomic_store(&machine->refusal, 0);
    assert_reads(blob, 0, 10);
    sfs_blob_close(&blob);
}

/* Has one request be on its way for which nobody waits. */
static void fetch_ahead(struct sfs_blob *blob, enum sfs_pool_priority priority)
{
    sfs_blob_fetch(blob, 0, (uint64_t)SFS_RANGE_MOST * SFS_RANGE_BLOCK, priority);
    while (machine->busy == 0)
        usleep(1000);
}

/* The last block of a request comes long after the reader would have given up a silent machine. */
Test(blob_range, a_machine_that_sends_slowly_is_waited_for)
{
    struct sfs_blob *blob = open_blob();
    atomic_store(&machine->delay_us, 10000);
    fetch_ahead(blob, SFS_POOL_AHEAD);
    assert_reads(blob, 16 * CHUNK, 10);
    cr_assert_eq(machine->requests, 1);
    cr_assert_eq(warnings, 0);
    atomic_store(&machine->delay_us, 0);
    sfs_blob_close(&blob);
}

Test(blob_range, a_reader_hurries_what_is_on_its_way)
{
    struct sfs_blob *blob = open_blob();
    atomic_store(&machine->is_busy, true);
    fetch_ahead(blob, SFS_POOL_BACKGROUND);
    usleep(50000);
    cr_assert_eq(machine->bytes, 0);
    assert_reads(blob, 16 * CHUNK, 10);
    cr_assert_eq(machine->requests, 1);
    sfs_blob_close(&blob);
}

/* Another process has begun to fetch, and stands still: what it has locked is fetched twice. */
Test(blob_range, a_process_that_stands_still_keeps_no_reader_for_long)
{
    patience_ms = 20000;
    struct sfs_blob *blob = open_blob();
    struct sfs_range_file *other;
    int data = open(path_of("data"), O_RDWR), map = open(path_of("map"), O_RDWR);
    cr_assert_eq(sfs_range_file_open(&data, &map, SIZE, &other, &err), 0);
    cr_assert_eq(sfs_range_file_lock(other, 0, 2 * SFS_RANGE_LEAST), 0);
    cr_assert_eq(sfs_range_file_lock_start(other, 3 * SFS_RANGE_LEAST), UINT32_MAX);
    int64_t begin = time(NULL);
    assert_reads(blob, 16 * CHUNK, 10);
    cr_assert_lt(time(NULL) - begin, 10);
    sfs_range_file_close(&other);
    sfs_blob_close(&blob);
}

/* A child of this process while the pool has no threads: it would inherit the locks that they hold,
 * the allocator's too. It ends with its parent, also if that is killed. 0: this is the child. */
static pid_t fork_alone(void)
{
    sfs_pool_close(&pool);
    pid_t child = fork();
    if (child == 0)
        prctl(PR_SET_PDEATHSIG, SIGKILL);
    return child;
}

static void read_first_in_child(void)
{
    struct sfs_error why;
    char byte;
    if (sfs_pool_open(4, &pool, &why) < 0)
        _exit(1);
    struct sfs_blob *blob = open_blob();
    _exit(sfs_blob_read_at(blob, &byte, 1, 0, &why) == 1 ? 0 : 2);
}

/* Whoever was stopped, with its reader, has not waited meanwhile. */
Test(blob_range, a_process_that_was_stopped_has_not_waited)
{
    atomic_store(&machine->is_silent, true);
    atomic_store(&machine->delay_us, 10000);
    pid_t child = fork_alone();
    if (child == 0)
        read_first_in_child();
    while (machine->busy == 0)
        usleep(1000);
    kill(child, SIGSTOP);
    usleep((patience_ms + 500) * 1000);
    kill(child, SIGCONT);
    usleep(300000);
    atomic_store(&machine->is_silent, false);
    int status;
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_assert_eq(status, 0, "status %x", (unsigned)status);
}

static void *read_randomly(void *arg)
{
    struct sfs_blob *blob = arg;
    uint64_t state = (uint64_t)(uintptr_t)&state;
    for (int i = 0; i < 60; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        uint64_t offset = (state >> 20) % SIZE;
        size_t size = 1 + (size_t)((state >> 8) % 500000);
        assert_reads(blob, offset, SIZE - offset < size ? (size_t)(SIZE - offset) : size);
    }
    return NULL;
}

static void read_by_many(struct sfs_blob *blob, unsigned count)
{
    pthread_t threads[16];
    for (unsigned i = 0; i < count; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, read_randomly, blob), 0);
    for (unsigned i = 0; i < count; i++)
        pthread_join(threads[i], NULL);
}

Test(blob_range, many_readers_fetch_each_byte_once)
{
    struct sfs_blob *blob = open_blob();
    atomic_store(&machine->delay_us, 50);
    read_by_many(blob, 8);
    cr_assert_lt(machine->bytes, SIZE + SIZE / 10, "%llu", machine->bytes);
    sfs_blob_close(&blob);
}

Test(blob_range, a_machine_that_knows_no_ranges_is_read_once)
{
    struct sfs_blob *blob = open_blob();
    atomic_store(&machine->sends_all, true);
    atomic_store(&machine->delay_us, 20);
    assert_reads(blob, SIZE - 1000, 1000);
    read_by_many(blob, 8);
    cr_assert_lt(machine->bytes, SIZE + SIZE / 10, "%llu", machine->bytes);
    sfs_blob_close(&blob);
}

Test(blob_range, a_full_disk_fails_nobody)
{
    room = 4 << 20;
    struct sfs_blob *blob = open_blob();
    read_by_many(blob, 4);
    assert_all(blob);
    struct stat st;
    cr_assert_eq(stat(path_of("data"), &st), 0);
    cr_assert_leq((uint64_t)st.st_blocks * 512, (4u << 20) + CHUNK);
    sfs_blob_close(&blob);
}

Test(blob_range, nothing_need_be_kept)
{
    struct sfs_blob *blob = open_blob_with(false);
    read_by_many(blob, 4);
    assert_all(blob);
    sfs_blob_close(&blob);
}

/* A machine that sends all, in order, sends more than stays in memory: what a reader waits for is
 * not pushed out while it wakes up, however late it does. */
Test(blob_range, what_is_waited_for_stays_in_memory)
{
    enum { MANY = 3 * SFS_RANGE_LOOSE };
    char *data = calloc(1, SFS_RANGE_BLOCK);
    static struct sfs_range_blob range;
    range.blocks = MANY;
    range.blob.size = (uint64_t)MANY * SFS_RANGE_BLOCK;
    struct sfs_range_waiter waiter = { .block = 7 };
    range.states = calloc(MANY, 1);
    range.waiters = &waiter;
    for (uint32_t block = 0; block < MANY; block++)
        cr_assert_eq(sfs_range_keep_loose(&range, block, data), 0);
    for (uint32_t block = 0; block < MANY; block++) {
        bool is_late = block >= MANY - (SFS_RANGE_LOOSE - 1);
        cr_assert_eq(sfs_range_has(&range, block), block == 7 || is_late, "block %u", block);
    }
    for (uint32_t block = 0; block < MANY; block++)
        sfs_range_drop_loose(&range, block);
    free(range.states);
    free(data);
}

Test(blob_range, closing_ends_what_is_under_way)
{
    struct sfs_blob *blob = open_blob();
    atomic_store(&machine->delay_us, 100000);
    sfs_blob_fetch(blob, 0, SIZE, SFS_POOL_BACKGROUND);
    usleep(50000);
    sfs_blob_close(&blob);
    cr_assert_lt(machine->bytes, SIZE / 4);
}

/* In a child: all of it, by a pool of its own. */
static void read_in_child(void)
{
    if (sfs_pool_open(4, &pool, &err) < 0)
        _exit(1);
    struct sfs_blob *blob = open_blob();
    uint8_t *buf = malloc(SIZE);
    for (uint64_t at = 0; at < SIZE; at += 100000) {
        size_t size = SIZE - at < 100000 ? (size_t)(SIZE - at) : 100000;
        if (sfs_blob_read_at(blob, buf, size, at, &err) != (ssize_t)size ||
            memcmp(buf, content + at, size) != 0)
            _exit(2);
    }
    sfs_blob_close(&blob);
    _exit(0);
}

Test(blob_range, eight_processes_fetch_each_byte_once)
{
    pid_t children[8];
    atomic_store(&machine->delay_us, 100);
    for (int i = 0; i < 8; i++) {
        children[i] = fork_alone();
        if (children[i] == 0)
            read_in_child();
    }
    for (int i = 0; i < 8; i++) {
        int status;
        cr_assert_eq(waitpid(children[i], &status, 0), children[i]);
        cr_assert_eq(status, 0, "status %x", (unsigned)status);
    }
    cr_assert_lt(machine->bytes, SIZE + SIZE / 10, "%llu of %u", machine->bytes, SIZE);
}

Test(blob_range, a_process_killed_while_it_writes_leaves_what_can_be_used)
{
    atomic_store(&machine->delay_us, 300);
    for (int i = 0; i < 5; i++) {
        pid_t child = fork_alone();
        if (child == 0)
            read_in_child();
        usleep(30000u + 20000u * (unsigned)i);
        kill(child, SIGKILL);
        waitpid(child, NULL, 0);
    }
    unsigned long long before = machine->bytes;
    cr_assert_gt(before, 0);
    atomic_store(&machine->delay_us, 0);
    cr_assert_eq(sfs_pool_open(4, &pool, &err), 0);
    struct sfs_blob *blob = open_blob();
    assert_all(blob);
    cr_assert_lt(machine->bytes - before, SIZE, "nothing was used of what was fetched");
    sfs_blob_close(&blob);
}

Test(blob_range, files_of_another_size_are_refused)
{
    struct sfs_blob *blob = open_blob();
    sfs_blob_close(&blob);
    struct sfs_range_file *file;
    int data = open(path_of("data"), O_RDWR), map = open(path_of("map"), O_RDWR);
    cr_assert_eq(sfs_range_file_open(&data, &map, SIZE + 1, &file, &err), -EBADMSG);
    cr_assert_eq(data, -1);
    data = open(path_of("data"), O_RDWR), map = open(path_of("map"), O_RDWR);
    cr_assert_eq(sfs_range_file_open(&data, &map, 1ull << 62, &file, &err), -EBADMSG);
}
