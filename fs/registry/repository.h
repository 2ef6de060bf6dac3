/* A repository at a registry: its manifests, and bytes of its blobs. Any thread may call. All waits
 * can be ended by sfs_repository_cancel(). What is read is tried at each place that the settings
 * name for it (mirrors first), and tried again where that may help.
 *
 * Codes that all of it may fail with: EAGAIN: nobody answers, or wants to be left alone: later, it
 * may go. EACCES: a login lacks or is refused. ENOENT: no such tag, repository or blob. EBADMSG:
 * the answer is not what was asked for. EKEYREJECTED: it does not hold its digest. EIO: what trying
 * again does not mend, as a certificate that is not trusted. ECANCELED. */
#ifndef STAGEFS_REPOSITORY_H
#define STAGEFS_REPOSITORY_H

#include "registry/client.h"
#include "registry/name.h"

struct sfs_repository;
/* Finds out where `name`'s repository is read. The registry is borrowed; the name is only read
 * during the call. No request is made. The caller closes *ret_repository. EACCES: the settings
 * block it. EBADMSG: the settings are malformed. */
int sfs_repository_open(struct sfs_registry *registry, const struct sfs_name *name,
                        struct sfs_repository **ret_repository, struct sfs_error *err);
/* Frees, and sets NULL; NULL is fine. Nothing may be under way. */
void sfs_repository_close(struct sfs_repository **repository);

struct sfs_manifest {
    char *data; /* as it was sent, NUL behind it */
    size_t size;
    char *media_type; /* as the server and the document say, without parameters */
    struct sfs_digest digest;
};
/* Frees what is in it; fine on an all-zero one. */
void sfs_manifest_done(struct sfs_manifest *manifest);

/* Gets a manifest or an index: that of `digest` or, where that is NULL, of `tag`. It is compared
 * with its digest. At most SFS_MAX_MANIFEST bytes. The caller calls sfs_manifest_done(), also after
 * a failure. ENOTSUP: it is of the old form (schema 1). */
int sfs_repository_get_manifest(struct sfs_repository *repository, const char *tag,
                                const struct sfs_digest *digest, struct sfs_manifest *ret_manifest,
                                struct sfs_error *err);
/* What digest `tag` has now, without getting its manifest. ENOTSUP: the registry does not say. */
int sfs_repository_get_tag(struct sfs_repository *repository, const char *tag,
                           struct sfs_digest *ret_digest, struct sfs_error *err);

/* Takes bytes as they come: in order, without gaps, `offset` being their place in the blob. Called
 * by the network thread, so it waits for nobody. A negative errno ends the fetch, which fails with
 * it. */
typedef int (*sfs_blob_sink)(void *user, uint64_t offset, const void *data, size_t size);

/* Has the bytes [offset, offset + size) of a blob of `blob_size` bytes given to `sink`, and waits
 * for the end of that. They are not compared with the digest. A server that sends no ranges sends
 * all: the sink then gets the blob from offset 0 on, whatever it got before, and *ret_whole is
 * true. EALREADY: that is going on in another call's behalf already: the bytes come through its
 * sink. */
int sfs_repository_fetch(struct sfs_repository *repository, const struct sfs_digest *digest,
                         uint64_t blob_size, enum sfs_http_priority priority, uint64_t offset,
                         uint64_t size, sfs_blob_sink sink, void *user, bool *ret_whole,
                         struct sfs_error *err);
/* Has fetches with that `user` go as SFS_HTTP_DEMAND from now on. False: there are none (yet). */
bool sfs_repository_hurry(struct sfs_repository *repository, const void *user);
/* Has fetches with that `user` end with ECANCELED, soon. */
void sfs_repository_cancel(struct sfs_repository *repository, const void *user);

/* Reads a small blob whole, as a config, into fresh memory, NUL-terminated behind its `size` bytes,
 * and compares it with its digest. The caller frees. E2BIG: `size` is above `max`. */
int sfs_repository_read_blob(struct sfs_repository *repository, const struct sfs_digest *digest,
                             uint64_t size, uint64_t max, char **ret_data, struct sfs_error *err);

#endif
