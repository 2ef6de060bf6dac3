/* Speaks to a registry as the library does, for tests/e2e/registry.sh. Options:
 *   --creds USER:PASSWORD, --authfile FILE, --tls-verify=false, --fill (nobody waits for it)
 * Commands:
 *   manifest NAME: prints media type, digest, and the bytes
 *   tag NAME: prints the digest that the tag has now
 *   small NAME DIGEST SIZE: writes the blob
 *   cancel NAME DIGEST SIZE: begins to get it, and cancels that after 200 ms
 *   blob NAME DIGEST SIZE OFFSET COUNT [TIMES [THREADS]]: writes the bytes, got TIMES times by each
 *
 * Exit status: 0; the positive errno that the library failed with; 120: usage. */
#include "base/thread.h"
#include "base/limits.h"
#include "registry/repository.h"
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static enum sfs_http_priority priority; /* demand, but with --fill */

static int fail(int r, const struct sfs_error *err)
{
    fprintf(stderr, "registry_probe: %s: %s\n", strerrorname_np(-r), err->text);
    return -r;
}

static int show_manifest(struct sfs_repository *repository, const struct sfs_name *name)
{
    struct sfs_error err;
    struct sfs_manifest manifest;
    char digest[SFS_DIGEST_TEXT];
    int r = sfs_repository_get_manifest(repository, name->tag,
                                        name->has_digest ? &name->digest : NULL, &manifest, &err);
    if (r < 0)
        return fail(r, &err);
    printf("%s %s\n", manifest.media_type, sfs_digest_print(&manifest.digest, digest));
    fwrite(manifest.data, 1, manifest.size, stdout);
    sfs_manifest_done(&manifest);
    return 0;
}

static int show_tag(struct sfs_repository *repository, const struct sfs_name *name)
{
    struct sfs_error err;
    struct sfs_digest found;
    char digest[SFS_DIGEST_TEXT];
    int r = sfs_repository_get_tag(repository, name->tag, &found, &err);
    if (r < 0)
        return fail(r, &err);
    puts(sfs_digest_print(&found, digest));
    return 0;
}

struct work {
    struct sfs_repository *repository;
    struct sfs_digest digest;
    uint64_t size, offset, count;
    unsigned times;
    char *data; /* of the blob */
    int result;
};

static int keep(void *user, uint64_t offset, const void *data, size_t size)
{
    struct work *work = user;
    if (offset + size > work->size)
        return -EOVERFLOW;
    memcpy(work->data + offset, data, size);
    return 0;
}

static void *fetch(void *arg)
{
    struct work *work = arg;
    struct sfs_error err;
    bool whole = false;
    for (unsigned i = 0; i < work->times && work->result == 0; i++) {
        int r = sfs_repository_fetch(work->repository, &work->digest, work->size, priority,
                                     work->offset, work->count, keep, work, &whole, &err);
        if (r < 0)
            work->result = fail(r, &err);
    }
    if (whole)
        fprintf(stderr, "registry_probe: whole\n");
    return NULL;
}

static int show_blob(struct sfs_repository *repository, char **args, int count)
{
    struct sfs_error err;
    struct work work[64] = { 0 };
    pthread_t threads[64];
    unsigned n = count > 5 ? (unsigned)strtoul(args[5], NULL, 10) : 1;
    n = n < 64 ? n : 64;
    struct work first = { .repository = repository,
                          .size = strtoull(args[1], NULL, 10),
                          .offset = strtoull(args[2], NULL, 10),
                          .count = strtoull(args[3], NULL, 10),
                          .times = count > 4 ? (unsigned)strtoul(args[4], NULL, 10) : 1 };
    int r = sfs_digest_parse(args[0], &first.digest, &err);
    if (r < 0)
        return fail(r, &err);
    first.data = calloc(1, first.size < (1u << 30) ? first.size + 1 : 1);
    for (unsigned i = 0; i < n; i++) {
        work[i] = first;
        if (sfs_thread_start(&threads[i], fetch, &work[i], "fetches", &err) < 0)
            return fail(-EAGAIN, &err);
    }
    for (unsigned i = 0; i < n; i++)
        pthread_join(threads[i], NULL);
    if (work[0].result == 0)
        fwrite(first.data + first.offset, 1, first.count, stdout);
    for (unsigned i = 0; i < n && r == 0; i++)
        r = work[i].result;
    free(first.data);
    return r;
}

static int show_small(struct sfs_repository *repository, char **args)
{
    struct sfs_error err;
    struct sfs_digest digest;
    AUTO(sfs_free) char *data = NULL;
    uint64_t size = strtoull(args[1], NULL, 10);
    int r = sfs_digest_parse(args[0], &digest, &err);
    if (r == 0)
        r = sfs_repository_read_blob(repository, &digest, size, SFS_MAX_JSON, &data, &err);
    if (r < 0)
        return fail(r, &err);
    fwrite(data, 1, size, stdout);
    return 0;
}

static int cancel(struct sfs_repository *repository, char **args)
{
    struct sfs_error err;
    pthread_t thread;
    struct work work = { .repository = repository, .times = 1 };
    work.size = work.count = strtoull(args[1], NULL, 10);
    work.data = calloc(1, work.size + 1);
    int r = sfs_digest_parse(args[0], &work.digest, &err);
    if (r == 0)
        r = sfs_thread_start(&thread, fetch, &work, "fetches", &err);
    if (r < 0)
        return fail(r, &err);
    usleep(200000);
    sfs_repository_cancel(repository, &work);
    pthread_join(thread, NULL);
    free(work.data);
    return work.result;
}

static int run(struct sfs_registry *registry, char **args, int count)
{
    struct sfs_error err;
    AUTO(sfs_name_done) struct sfs_name name;
    AUTO(sfs_repository_close) struct sfs_repository *repository = NULL;
    int r = sfs_name_parse(args[1], &name, &err);
    if (r == 0)
        r = sfs_repository_open(registry, &name, &repository, &err);
    if (r < 0)
        return fail(r, &err);
    if (strcmp(args[0], "manifest") == 0)
        return show_manifest(repository, &name);
    if (strcmp(args[0], "tag") == 0)
        return show_tag(repository, &name);
    if (strcmp(args[0], "small") == 0 && count >= 4)
        return show_small(repository, args + 2);
    if (strcmp(args[0], "cancel") == 0 && count >= 4)
        return cancel(repository, args + 2);
    return strcmp(args[0], "blob") == 0 && count >= 6 ? show_blob(repository, args + 2, count - 2)
                                                      : 120;
}

int main(int argc, char **argv)
{
    struct sfs_error err;
    struct sfs_registry_options options = { 0 };
    AUTO(sfs_registry_close) struct sfs_registry *registry = NULL;
    int i = 1;
    for (; i < argc && argv[i][0] == '-'; i++) {
        if (strcmp(argv[i], "--tls-verify=false") == 0)
            options.no_tls_verify = true;
        else if (strcmp(argv[i], "--fill") == 0)
            priority = SFS_HTTP_FILL;
        else if (strcmp(argv[i], "--creds") == 0 && i + 1 < argc)
            options.creds = argv[++i];
        else if (strcmp(argv[i], "--authfile") == 0 && i + 1 < argc)
            options.authfile = argv[++i];
    }
    if (argc - i < 2)
        return 120;
    int r = sfs_registry_open(&options, &registry, &err);
    return r < 0 ? fail(r, &err) : run(registry, argv + i, argc - i);
}
