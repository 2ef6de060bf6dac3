/* Calls of a blob's vtable. */
#include "blob/blob.h"

#include <limits.h>

/* Cuts a read at the blob's end. False: nothing is left of it. */
static bool cut(const struct sfs_blob *blob, uint64_t offset, size_t *size)
{
    if (offset >= blob->size)
        return false;
    if (*size > blob->size - offset)
        *size = (size_t)(blob->size - offset);
    if (*size > SSIZE_MAX)
        *size = SSIZE_MAX;
    return true;
}

/* The same of a range that is not read into memory. */
static bool cut_range(const struct sfs_blob *blob, uint64_t offset, uint64_t *size)
{
    if (offset >= blob->size)
        return false;
    if (*size > blob->size - offset)
        *size = blob->size - offset;
    return *size > 0;
}

ssize_t sfs_blob_read_at(struct sfs_blob *blob, void *buf, size_t size, uint64_t offset,
                         struct sfs_error *err)
{
    return cut(blob, offset, &size) ? blob->ops->read_at(blob, buf, size, offset, err) : 0;
}

ssize_t sfs_blob_pick_at(struct sfs_blob *blob, void *buf, size_t size, uint64_t offset,
                         struct sfs_error *err)
{
    if (!blob->ops->pick_at)
        return sfs_blob_read_at(blob, buf, size, offset, err);
    return cut(blob, offset, &size) ? blob->ops->pick_at(blob, buf, size, offset, err) : 0;
}

uint64_t sfs_blob_ahead(struct sfs_blob *blob)
{
    return blob->ops->ahead ? blob->ops->ahead(blob) : 0;
}

void sfs_blob_will_read(struct sfs_blob *blob, uint64_t offset, uint64_t size)
{
    if (blob->ops->will_read && cut_range(blob, offset, &size))
        blob->ops->will_read(blob, offset, size);
}

void sfs_blob_fetch(struct sfs_blob *blob, uint64_t offset, uint64_t size,
                    enum sfs_pool_priority priority)
{
    if (blob->ops->fetch && cut_range(blob, offset, &size))
        blob->ops->fetch(blob, offset, size, priority);
}

void sfs_blob_plan(struct sfs_blob *blob, uint64_t offset, uint64_t size)
{
    if (blob->ops->plan && cut_range(blob, offset, &size))
        blob->ops->plan(blob, offset, size);
}

int sfs_blob_fill(struct sfs_blob *blob, uint64_t offset, uint64_t size, struct sfs_error *err)
{
    bool is_any = blob->ops->fill && cut_range(blob, offset, &size);
    return is_any ? blob->ops->fill(blob, offset, size, err) : 0;
}

bool sfs_blob_is_remote(const struct sfs_blob *blob)
{
    return blob->ops->fill && sfs_blob_file(blob) < 0;
}

void sfs_blob_stop(struct sfs_blob *blob)
{
    if (blob->ops->stop)
        blob->ops->stop(blob);
}

bool sfs_blob_distrust(struct sfs_blob *blob, uint64_t offset, uint64_t size)
{
    return blob->ops->distrust && size > 0 && offset < blob->size && size <= blob->size - offset &&
           blob->ops->distrust(blob, offset, size);
}

bool sfs_blob_judge(struct sfs_blob *blob, enum sfs_verdict verdict)
{
    return blob->ops->judge && blob->ops->judge(blob, verdict);
}

void sfs_blob_close(struct sfs_blob **blob_ptr)
{
    struct sfs_blob *blob = *blob_ptr;
    if (!blob)
        return;
    *blob_ptr = NULL;
    sfs_free(&blob->name);
    blob->ops->close(blob);
}

int sfs_blob_file(const struct sfs_blob *blob)
{
    return blob->ops->file ? blob->ops->file(blob) : -1;
}
