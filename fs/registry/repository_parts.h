/* What the files of a repository share: repository.c (manifests) and repository_blob.c (blobs). */
#ifndef STAGEFS_REPOSITORY_PARTS_H
#define STAGEFS_REPOSITORY_PARTS_H

#include "base/thread.h"
#include "registry/repository.h"

struct blob_route;
struct blob_fetch;
struct sfs_repository {
    struct sfs_registry *registry;
    struct sfs_endpoint *endpoints; /* in the order in which they are asked */
    size_t endpoint_count;
    pthread_mutex_t lock;
    pthread_cond_t changed;     /* a route was found, or somebody cancelled */
    size_t preferred;           /* the endpoint that gave something last; guarded by lock */
    struct blob_route *routes;  /* guarded by lock; entries stay until the end */
    struct blob_fetch *fetches; /* under way; guarded by lock */
    char *spare_upload;         /* a URL for a blob that is yet to come; guarded by lock */
};

/* Frees the routes. */
void sfs_repository_forget_routes(struct sfs_repository *repository);

/* Says more of a tag that `endpoint` does not have: which there are, or that there is no such
 * repository. The words in `err` stay where it does not tell. Asks the registry once. Returns
 * -ENOENT. */
int sfs_repository_explain_tag(struct sfs_repository *repository, struct sfs_endpoint *endpoint,
                               const char *tag, struct sfs_error *err);

/* "bytes A-B/TOTAL": is it exactly the range from `first` to `last` of a blob of `total` bytes? */
bool sfs_content_range_is(const char *value, uint64_t first, uint64_t last, uint64_t total);

#endif
