/* The notes in the store that say which file was found to have which digest. */
#include "base/hash.h"
#include "layer/verified.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>

#define BLOCK     (1u << 20)
#define SETTLED_S 2 /* seconds: some file systems count time no finer than that */
#define MAGIC     "SFSSEEN1"

/* The content of such a note. */
struct record {
    char magic[8];
    struct sfs_file_id id;
};
_Static_assert(sizeof(struct record) == 48, "on-disk struct");

int sfs_file_identify(int fd, struct sfs_file_id *ret_id)
{
    struct stat st;
    if (fstat(fd, &st) < 0)
        return -errno;
    *ret_id = (struct sfs_file_id){ .dev = st.st_dev,
                                    .ino = st.st_ino,
                                    .size = (uint64_t)st.st_size,
                                    .mtime_sec = st.st_mtim.tv_sec,
                                    .mtime_nsec = st.st_mtim.tv_nsec };
    return 0;
}

static bool is_known(struct sfs_store *store, const struct sfs_file_id *id,
                     const struct sfs_digest *digest)
{
    char key[SFS_DIGEST_TEXT];
    struct record record;
    AUTO(sfs_close_fd) int fd = -1;
    return sfs_store_open_file(store, SFS_STORE_SEEN, sfs_digest_print(digest, key), &fd, NULL) ==
               0 &&
           sfs_io_read_at(fd, &record, sizeof record, 0) == (ssize_t)sizeof record &&
           memcmp(record.magic, MAGIC, sizeof record.magic) == 0 &&
           memcmp(&record.id, id, sizeof *id) == 0;
}

void sfs_verified_note(struct sfs_store *store, int fd, const struct sfs_file_id *id,
                       const struct sfs_digest *digest)
{
    char key[SFS_DIGEST_TEXT];
    struct sfs_file_id now;
    struct record record = { .magic = MAGIC, .id = *id };
    AUTO(sfs_io_temp_close) struct sfs_io_temp temp = { .fd = -1, .dirfd = -1 };
    if (sfs_file_identify(fd, &now) < 0 || memcmp(&now, id, sizeof now) != 0 ||
        id->mtime_sec + SETTLED_S >= time(NULL))
        return;
    if (sfs_store_start_file(store, SFS_STORE_SEEN, &temp, NULL) == 0 &&
        sfs_io_write_all(temp.fd, &record, sizeof record) == 0)
        sfs_store_commit_file(store, SFS_STORE_SEEN, sfs_digest_print(digest, key), &temp, NULL);
}

static int digest_file(int fd, uint64_t size, struct sfs_digest *ret_digest, struct sfs_error *err)
{
    AUTO(sfs_hash_close) struct sfs_hash *hash = sfs_hash_open();
    AUTO(sfs_free) char *buf = malloc(BLOCK);
    if (!hash || !buf)
        return sfs_fail_memory(err);
    posix_fadvise(fd, 0, (off_t)size, POSIX_FADV_SEQUENTIAL);
    for (uint64_t offset = 0; offset < size;) {
        size_t wanted = size - offset < BLOCK ? (size_t)(size - offset) : BLOCK;
        ssize_t n = sfs_io_read_at(fd, buf, wanted, offset);
        if (n <= 0)
            return n < 0 ? sfs_fail(err, EIO, "reading it: %s", strerrordesc_np((int)-n))
                         : sfs_fail(err, EIO, "it became shorter while it was read");
        if (sfs_hash_add(hash, buf, (size_t)n) < 0)
            return sfs_fail_memory(err);
        offset += (uint64_t)n;
    }
    return sfs_hash_finish(hash, ret_digest) < 0 ? sfs_fail_memory(err) : 0;
}

int sfs_verified_check(struct sfs_store *store, int fd, uint64_t size,
                       const struct sfs_digest *digest, struct sfs_error *err)
{
    struct sfs_file_id id;
    struct sfs_digest found;
    char text[SFS_DIGEST_TEXT];
    int r = sfs_file_identify(fd, &id);
    if (r < 0)
        return sfs_fail_errno(err, -r, "looking at a file");
    if (store && is_known(store, &id, digest))
        return 0;
    r = digest_file(fd, size, &found, err);
    if (r < 0)
        return r;
    if (!sfs_digest_equal(&found, digest))
        return sfs_fail(err, EKEYREJECTED, "it does not match its digest: its bytes have %s",
                        sfs_digest_print(&found, text));
    if (store)
        sfs_verified_note(store, fd, &id, digest);
    return 0;
}
