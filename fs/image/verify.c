/* Every digest of an image, from the stored bytes. Layers are read in parallel; what was found is
 * told in order, on the caller's thread. */
#include "image/parts.h"

#include "base/pool.h"
#include "blob/unpack.h"
#include "base/thread.h"
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stagefs/format.h>

struct verifying {
    struct sfs_image *image;
    const struct sfs_progress *progress;
    pthread_mutex_t lock;
    pthread_cond_t done;
};

/* What became of one layer. */
struct check {
    struct verifying *verifying;
    size_t layer;
    uint64_t size, out_size;
    struct sfs_digest digest, diff_id;
    bool has_digest, has_diff_id; /* whether each could be computed */
    int result;                   /* if not both: negative errno */
    struct sfs_error error;
    bool done; /* guarded by lock; the rest belongs to the job until then */
};

/* The caller's `found`, and the first failure. */
struct report {
    void (*found)(void *user, const struct sfs_verified *verified);
    void *user;
    int result;
    struct sfs_error error;
};

static void tell(struct report *report, const char *what, const struct sfs_digest *expected,
                 const struct sfs_digest *actual, uint64_t size)
{
    struct sfs_verified verified = {
        .what = what,
        .expected = *expected,
        .actual = *actual,
        .size = size,
        .holds = sfs_digest_equal(expected, actual),
    };
    char a[SFS_DIGEST_TEXT], b[SFS_DIGEST_TEXT];
    if (report->found)
        report->found(report->user, &verified);
    if (!verified.holds && report->result == 0)
        report->result =
            sfs_fail(&report->error, EKEYREJECTED, "%s does not hold: expected %s, found %s", what,
                     sfs_digest_print(expected, a), sfs_digest_print(actual, b));
}

static void note(struct report *report, int r, const char *what, const struct sfs_error *error)
{
    if (report->result == 0)
        report->result = sfs_fail(&report->error, -r, "%s: %s", what, error->text);
}

static void verify_document(struct report *report, struct sfs_image *image, const char *what,
                            const struct sfs_image_document *document)
{
    AUTO(sfs_blob_close) struct sfs_blob *blob = NULL;
    struct sfs_digest actual;
    struct sfs_error error;
    if (!document->has_digest)
        return;
    int r = sfs_members_open(image->members, document->member, &blob, &error);
    if (r == 0)
        r = sfs_blob_digest(blob, -1, &actual, &error);
    if (r < 0)
        note(report, r, what, &error);
    else
        tell(report, what, &document->digest, &actual, blob->size);
}

static int unpack(struct check *check, struct sfs_blob *blob, struct sfs_error *err)
{
    char what[48];
    struct sfs_image *image = check->verifying->image;
    struct sfs_unpack_options options = {
        .copy_fd = -1,
        .progress = check->verifying->progress,
        .what = what,
    };
    AUTO(sfs_unpack_close) struct sfs_unpack *unpack = NULL;
    AUTO(sfs_unpacked_close) struct sfs_unpacked unpacked = { 0 };
    snprintf(what, sizeof what, "verifying %.19s", image->parts[check->layer].key);
    int r =
        sfs_image_settle_codec(image, check->layer, blob, options.progress, &options.codec, err);
    if (r == 0)
        r = sfs_unpack_open(blob, &options, &unpack, err);
    if (r == 0)
        r = sfs_unpack_finish(unpack, &unpacked, err);
    if (r < 0 && r != -EBADMSG)
        return r;
    check->digest = unpacked.in_digest;
    check->has_digest = true;
    check->diff_id = unpacked.out_digest;
    check->out_size = unpacked.table.out_size;
    check->has_diff_id = r == 0;
    return r;
}

static void run_check(void *arg)
{
    struct check *check = arg;
    struct verifying *verifying = check->verifying;
    AUTO(sfs_blob_close) struct sfs_blob *blob = NULL;
    if (verifying->image->parts[check->layer].layer.is_directory)
        check->result = sfs_fail(&check->error, ENOTSUP,
                                 "it is kept as files alone, which have no "
                                 "digest to compare");
    else
        check->result =
            sfs_members_open(verifying->image->members,
                             verifying->image->parts[check->layer].member, &blob, &check->error);
    if (check->result == 0) {
        check->size = blob->size;
        check->result = unpack(check, blob, &check->error);
    }
    LOCK(&verifying->lock);
    check->done = true;
    pthread_cond_broadcast(&verifying->done);
}

static void tell_check(struct report *report, struct check *check)
{
    const struct sfs_image_layer *layer = &check->verifying->image->parts[check->layer].layer;
    char what[48];
    struct sfs_digest unknown = { 0 };
    snprintf(what, sizeof what, "layer %zu", check->layer);
    if (!check->has_digest) {
        note(report, check->result, what, &check->error);
        return;
    }
    if (layer->has_digest)
        tell(report, what, &layer->digest, &check->digest, check->size);
    if (check->size != layer->size && report->result == 0)
        report->result = sfs_fail(&report->error, EKEYREJECTED,
                                  "%s has %" PRIu64 " byte%s, its descriptor says %" PRIu64, what,
                                  check->size, sfs_plural(check->size), layer->size);
    snprintf(what, sizeof what, "diff_id %zu", check->layer);
    /* What cannot be decoded does not hold: the words say why. */
    if (!check->has_diff_id)
        note(report, -EKEYREJECTED, what, &check->error);
    if (layer->has_diff_id)
        tell(report, what, &layer->diff_id, check->has_diff_id ? &check->diff_id : &unknown,
             check->has_diff_id ? check->out_size : 0);
}

static void wait_for(struct verifying *verifying, const struct check *check)
{
    LOCK(&verifying->lock);
    while (!check->done)
        pthread_cond_wait(&verifying->done, &verifying->lock);
}

static int verify_layers(struct verifying *verifying, struct check *checks, const size_t *order,
                         struct report *report, struct sfs_error *err)
{
    AUTO(sfs_pool_close) struct sfs_pool *pool = NULL;
    size_t count = verifying->image->count;
    int r = sfs_image_open_pool(verifying->image, &pool, err);
    for (size_t i = 0; r == 0 && i < count; i++) {
        checks[order[i]] = (struct check){ .verifying = verifying, .layer = order[i] };
        if (sfs_pool_submit(pool, SFS_POOL_DEMAND, run_check, &checks[order[i]]) < 0)
            r = sfs_fail_memory(err);
    }
    for (size_t i = 0; r == 0 && i < count; i++) {
        wait_for(verifying, &checks[i]);
        tell_check(report, &checks[i]);
    }
    return r;
}

int sfs_image_verify(struct sfs_image *image, const struct sfs_progress *progress,
                     void (*found)(void *user, const struct sfs_verified *verified), void *user,
                     struct sfs_error *err)
{
    struct report report = { .found = found, .user = user };
    if (image->directory) /* has no digests */
        return 0;
    AUTO(sfs_free) struct check *checks = calloc(image->count + 1, sizeof *checks);
    AUTO(sfs_free) size_t *order = NULL;
    if (!checks)
        return sfs_fail_memory(err);
    int r = sfs_image_order(image, &order, err);
    if (r < 0)
        return r;
    verify_document(&report, image, "manifest", &image->manifest_document);
    verify_document(&report, image, "config", &image->config_document);
    if (image->count > 0) {
        struct verifying verifying = { .image = image, .progress = progress };
        pthread_mutex_init(&verifying.lock, NULL);
        pthread_cond_init(&verifying.done, NULL);
        r = verify_layers(&verifying, checks, order, &report, err);
        pthread_cond_destroy(&verifying.done);
        pthread_mutex_destroy(&verifying.lock);
    }
    if (r == 0 && report.result < 0)
        r = sfs_fail(err, -report.result, "%s", report.error.text);
    return r < 0 ? sfs_fail_while(err, r, "%.200s", image->ref) : 0;
}
