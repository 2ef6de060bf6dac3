/* Opening a pack, finding pieces in it, and checking each before it is lent. */
#include "mount/pack.h"

#include "base/hash.h"
#include "base/limits.h"
#include "base/thread.h"
#include "layer/layer.h"
#include "mount/pack_format.h"
#include "tree/tree_inner.h"
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <sys/stat.h>

/* After so many bytes that the kernel has in its cache as pages of files, their second copy there,
 * as pages of the pack, is given up. */
#define DROP (8u << 20)

/* A pack still fits if it lacks less than this part of what is wanted, and has at most twice that
 * and this many bytes: what it lacks is decoded at each start, while another is mostly a copy of
 * it. */
#define FIT_PART  32
#define FIT_SLACK (16u << 20)

/* While all pieces are checked, so many bytes are asked of the disk at a time, ahead of that. */
#define CHECK_AHEAD (8u << 20)

struct sfs_pack {
    struct sfs_store *store;
    char key[SFS_DIGEST_TEXT];
    int fd; /* keeps the store's lock on the file */
    struct pack_header header;
    struct pack_file *files;
    struct pack_piece *pieces;
    uint32_t *file_of; /* by node of the tree: 1 + the number of its file; 0: none that counts */
    sfs_node nodes;    /* how many there are */
    sfs_ino first;     /* the inode of node 0 */
    atomic_bool is_bad;
    atomic_uint_least64_t lent, checked_bytes, failed, spent;
    pthread_mutex_t lock;   /* guards `checked`, `ended` and `has_thread` */
    pthread_cond_t changed; /* one of the first two */
    uint32_t checked;       /* pieces, from the first on, that were checked and are whole */
    bool ended;             /* no more of them are checked */
    atomic_bool stop;
    pthread_t thread;
    bool has_thread;
};

/* Adds what the layer goes by, and the name of the first bytes in it that have one: that tells
 * which blobs they are in. Layers of the same tar, once in gzip and once in zstd, have packs of
 * their own, since neither's gives anything to the other; and so have layers without a digest, as
 * COPY makes them. */
static int add_layer(struct sfs_hash *hash, struct sfs_layer *layer)
{
    struct sfs_digest digest = { 0 };
    char name[SFS_CONTENT_NAME] = { 0 };
    sfs_layer_identify(layer, &digest);
    for (sfs_inode i = 0; i < layer->tables.inode_count; i++)
        if (S_ISREG(layer->tables.inodes[i].mode) && layer->tables.inodes[i].size > 0 &&
            sfs_layer_content_name(layer, i, name) == 0)
            break;
    int r = sfs_hash_add(hash, &digest, sizeof digest);
    return r < 0 ? r : sfs_hash_add(hash, name, sizeof name);
}

int sfs_pack_key(const struct sfs_tree *tree, const struct sfs_digest *profile,
                 char ret_key[SFS_DIGEST_TEXT])
{
    struct sfs_layer *const *layers = sfs_tree_layer_array(tree);
    struct sfs_digest digest;
    AUTO(sfs_hash_close) struct sfs_hash *hash = sfs_hash_open();
    int r = hash ? sfs_hash_add(hash, profile, sizeof *profile) : -ENOMEM;
    for (uint32_t i = 0; r == 0 && i < sfs_tree_layers(tree); i++)
        r = add_layer(hash, layers[i]);
    if (r < 0 || sfs_hash_finish(hash, &digest) < 0)
        return -ENOMEM;
    sfs_digest_print(&digest, ret_key);
    return 0;
}

/* --- opening ---------------------------------------------------------------------------------- */

static int read_tables(struct sfs_pack *pack, struct sfs_error *err)
{
    const struct pack_header *header = &pack->header;
    size_t files = header->files * sizeof *pack->files;
    size_t pieces = header->pieces * sizeof *pack->pieces;
    if (header->data_at < sizeof *header + files + pieces || header->data_at > header->size)
        return sfs_fail(err, EBADMSG, "the pack's tables do not fit into it");
    pack->files = malloc(files + 1);
    pack->pieces = malloc(pieces + 1);
    if (!pack->files || !pack->pieces)
        return sfs_fail_memory(err);
    ssize_t got = sfs_io_read_at(pack->fd, pack->files, files, sizeof *header);
    ssize_t more = sfs_io_read_at(pack->fd, pack->pieces, pieces, sizeof *header + files);
    if (got != (ssize_t)files || more != (ssize_t)pieces)
        return sfs_fail(err, EBADMSG, "the pack is cut");
    return 0;
}

static int check_tag(const struct sfs_pack *pack, struct sfs_error *err)
{
    struct pack_header header = pack->header;
    uint8_t tag[SFS_GMAC_SIZE];
    memset(header.tag, 0, sizeof header.tag);
    AUTO(sfs_gmac_close) struct sfs_gmac *gmac = sfs_gmac_open();
    if (!gmac || sfs_gmac_start(gmac, header.key, 0) < 0 ||
        sfs_gmac_add(gmac, &header, sizeof header) < 0 ||
        sfs_gmac_add(gmac, pack->files, header.files * sizeof *pack->files) < 0 ||
        sfs_gmac_add(gmac, pack->pieces, header.pieces * sizeof *pack->pieces) < 0 ||
        sfs_gmac_finish(gmac, tag) < 0)
        return sfs_fail_memory(err);
    return memcmp(tag, pack->header.tag, sizeof tag) == 0
               ? 0
               : sfs_fail(err, EBADMSG, "the pack's tables are damaged");
}

static int read_head(struct sfs_pack *pack, struct sfs_error *err)
{
    struct stat st;
    struct pack_header *header = &pack->header;
    if (fstat(pack->fd, &st) < 0)
        return sfs_fail_errno(err, errno, "the pack");
    ssize_t got = sfs_io_read_at(pack->fd, header, sizeof *header, 0);
    if (got != (ssize_t)sizeof *header || memcmp(header->magic, PACK_MAGIC, 8) != 0 ||
        header->version != PACK_VERSION)
        return sfs_fail(err, EBADMSG, "not a pack of this version");
    if (header->size != (uint64_t)st.st_size || header->size > SFS_MAX_PACK ||
        header->files > SFS_MAX_PACK_PIECES || header->pieces > SFS_MAX_PACK_PIECES)
        return sfs_fail(err, EBADMSG, "the pack is cut, or larger than one can be");
    int r = read_tables(pack, err);
    return r < 0 ? r : check_tag(pack, err);
}

/* The tag vouches that the tables are as they were written; this, that a mistake in them leads
 * nowhere. */
static bool is_sound(const struct sfs_pack *pack, const struct pack_file *file)
{
    const struct pack_header *header = &pack->header;
    if (file->first > header->pieces || file->count > header->pieces - file->first)
        return false;
    uint64_t before = 0;
    for (uint32_t i = 0; i < file->count; i++) {
        const struct pack_piece *piece = &pack->pieces[file->first + i];
        if (piece->size == 0 || piece->size > PACK_PIECE || piece->offset < before ||
            piece->offset > file->size || piece->size > file->size - piece->offset ||
            piece->at < header->data_at || piece->at > header->size ||
            piece->size > header->size - piece->at)
            return false;
        before = piece->offset + piece->size;
    }
    return true;
}

/* Has the tree the same bytes of the same blob there? */
static bool is_of_tree(const struct sfs_tree *tree, const struct pack_file *file)
{
    struct sfs_attr attr;
    char name[SFS_CONTENT_NAME] = { 0 };
    if (file->node >= sfs_tree_count(tree))
        return false;
    sfs_tree_attr(tree, (sfs_node)file->node, &attr);
    return S_ISREG(attr.mode) && attr.size == file->size &&
           sfs_tree_content_name(tree, (sfs_node)file->node, name) == 0 &&
           memcmp(name, file->name, sizeof name) == 0;
}

static int find_files(struct sfs_pack *pack, const struct sfs_tree *tree, struct sfs_error *err)
{
    bool has_some = false;
    pack->nodes = sfs_tree_count(tree);
    pack->file_of = calloc(pack->nodes + 1ull, sizeof *pack->file_of);
    if (!pack->file_of)
        return sfs_fail_memory(err);
    for (uint32_t i = 0; i < pack->header.files; i++)
        if (is_sound(pack, &pack->files[i]) && is_of_tree(tree, &pack->files[i])) {
            pack->file_of[pack->files[i].node] = i + 1;
            has_some = true;
        }
    return has_some ? 0 : sfs_fail(err, ESTALE, "the pack is of other files");
}

int sfs_pack_open(struct sfs_store *store, const char *key, const struct sfs_forest *forest,
                  struct sfs_pack **ret_pack, struct sfs_error *err)
{
    AUTO(sfs_pack_close) struct sfs_pack *pack = calloc(1, sizeof *pack);
    if (!pack)
        return sfs_fail_memory(err);
    pack->fd = -1;
    pthread_mutex_init(&pack->lock, NULL);
    pthread_cond_init(&pack->changed, NULL);
    pack->store = store;
    snprintf(pack->key, sizeof pack->key, "%s", key);
    pack->first = forest->first[0];
    int r = sfs_store_open_file(store, SFS_STORE_PACK, key, &pack->fd, err);
    if (r == 0)
        r = read_head(pack, err);
    if (r == 0)
        r = find_files(pack, forest->trees[0], err);
    if (r == 0)
        *ret_pack = TAKE(pack);
    return r;
}

void sfs_pack_close(struct sfs_pack **pack)
{
    if (!*pack)
        return;
    sfs_pack_stop(*pack);
    if ((*pack)->has_thread)
        pthread_join((*pack)->thread, NULL);
    pthread_cond_destroy(&(*pack)->changed);
    pthread_mutex_destroy(&(*pack)->lock);
    sfs_close_fd(&(*pack)->fd);
    free((*pack)->files);
    free((*pack)->pieces);
    free((*pack)->file_of);
    free(*pack);
    *pack = NULL;
}

/* --- finding ---------------------------------------------------------------------------------- */

static const struct pack_file *find_file(const struct sfs_pack *pack, sfs_ino ino)
{
    if (!pack || ino < pack->first || ino - pack->first >= pack->nodes ||
        atomic_load(&pack->is_bad))
        return NULL;
    uint32_t number = pack->file_of[ino - pack->first];
    return number > 0 ? &pack->files[number - 1] : NULL;
}

/* The number of the first piece that ends behind `offset`, among all; of the file's pieces there
 * may be none, and it is that of the next file's first. */
static uint32_t find_end(const struct sfs_pack *pack, const struct pack_file *file, uint64_t offset)
{
    uint32_t low = file->first, high = file->first + file->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (pack->pieces[middle].offset + pack->pieces[middle].size > offset)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

/* The number of the piece that holds the byte at `offset`; UINT32_MAX: none does. */
static uint32_t find_piece(const struct sfs_pack *pack, const struct pack_file *file,
                           uint64_t offset)
{
    uint32_t i = find_end(pack, file, offset);
    return i < file->first + file->count && pack->pieces[i].offset <= offset ? i : UINT32_MAX;
}

bool sfs_pack_has_some(const struct sfs_pack *pack, sfs_ino ino, struct sfs_range range)
{
    const struct pack_file *file = find_file(pack, ino);
    uint32_t i = file ? find_end(pack, file, range.offset) : 0;
    return file && i < file->first + file->count &&
           pack->pieces[i].offset < range.offset + range.size;
}

bool sfs_pack_has(const struct sfs_pack *pack, sfs_ino ino, struct sfs_range range)
{
    const struct pack_file *file = find_file(pack, ino);
    uint64_t at = range.offset, end = range.offset + range.size;
    while (file && at < end) {
        uint32_t i = find_piece(pack, file, at);
        if (i == UINT32_MAX)
            return false;
        at = pack->pieces[i].offset + pack->pieces[i].size;
    }
    return file != NULL;
}

/* How many bytes of the range it does not have. */
static uint64_t count_lacking(const struct sfs_pack *pack, sfs_ino ino, struct sfs_range range)
{
    const struct pack_file *file = find_file(pack, ino);
    uint64_t at = range.offset, end = range.offset + range.size, lacking = 0;
    uint32_t i = file ? find_end(pack, file, at) : 0;
    for (; file && i < file->first + file->count && pack->pieces[i].offset < end; i++) {
        const struct pack_piece *piece = &pack->pieces[i];
        lacking += piece->offset > at ? piece->offset - at : 0;
        at = piece->offset + piece->size;
    }
    return at < end ? lacking + (end - at) : lacking;
}

/* Adds how many bytes a use is of, and how many of them the pack lacks. */
static void compare_use(const struct sfs_pack *pack, const struct sfs_tree *tree,
                        const struct sfs_use *use, uint64_t *all, uint64_t *lacking)
{
    sfs_node node;
    struct sfs_attr attr;
    if (use->ranges.count == 0 ||
        sfs_tree_resolve(tree, use->path, SFS_RESOLVE_FOLLOW | SFS_RESOLVE_UNCONFIRMED, &node,
                         NULL) < 0)
        return;
    sfs_tree_attr(tree, node, &attr);
    for (size_t i = 0; i < use->ranges.count; i++) {
        struct sfs_range range = use->ranges.items[i];
        if (range.offset >= attr.size)
            continue;
        if (range.size > attr.size - range.offset)
            range.size = attr.size - range.offset;
        *all += range.size;
        *lacking += count_lacking(pack, pack->first + node, range);
    }
}

bool sfs_pack_fits(struct sfs_pack *pack, const struct sfs_tree *tree,
                   const struct sfs_profile *profile)
{
    uint64_t all = 0, lacking = 0;
    struct sfs_pack_stats stats;
    for (size_t i = 0; i < profile->count; i++)
        compare_use(pack, tree, &profile->uses[i], &all, &lacking);
    sfs_pack_get_stats(pack, &stats);
    return lacking <= all / FIT_PART && stats.size <= 2 * all + FIT_SLACK;
}

void sfs_pack_will_read(const struct sfs_pack *pack, sfs_ino ino, struct sfs_range range)
{
    const struct pack_file *file = find_file(pack, ino);
    uint32_t i = file ? find_piece(pack, file, range.offset) : UINT32_MAX;
    if (i != UINT32_MAX)
        posix_fadvise(pack->fd, (off_t)pack->pieces[i].at, (off_t)range.size, POSIX_FADV_WILLNEED);
}

size_t sfs_pack_files(const struct sfs_pack *pack)
{
    return pack ? pack->header.files : 0;
}

sfs_ino sfs_pack_ino(const struct sfs_pack *pack, size_t i)
{
    sfs_ino ino = pack->first + pack->files[i].node;
    return find_file(pack, ino) == &pack->files[i] ? ino : 0;
}

uint32_t sfs_pack_number(const struct sfs_pack *pack, sfs_ino ino, size_t i)
{
    return find_file(pack, ino)->first + (uint32_t)i;
}

size_t sfs_pack_count(const struct sfs_pack *pack, sfs_ino ino)
{
    const struct pack_file *file = find_file(pack, ino);
    return file ? file->count : 0;
}

struct sfs_range sfs_pack_piece(const struct sfs_pack *pack, sfs_ino ino, size_t i,
                                uint64_t *ret_at)
{
    const struct pack_file *file = find_file(pack, ino);
    if (!file || i >= file->count)
        return (struct sfs_range){ 0 };
    const struct pack_piece *piece = &pack->pieces[file->first + i];
    *ret_at = piece->at;
    return (struct sfs_range){ piece->offset, piece->size };
}

/* --- lending ---------------------------------------------------------------------------------- */

/* A piece in memory, checked. */
struct lent_piece {
    struct sfs_pack *pack;
    const struct pack_piece *piece;
    uint8_t data[];
};

/* The kernel has these bytes as a file's: their pages in the pack's own cache are of no use. */
static void spend_piece(void *owner)
{
    const struct lent_piece *lent = owner;
    uint64_t end = lent->piece->at + lent->piece->size;
    uint64_t before = atomic_fetch_add(&lent->pack->spent, lent->piece->size);
    if (before / DROP != (before + lent->piece->size) / DROP)
        posix_fadvise(lent->pack->fd, 0, (off_t)end, POSIX_FADV_DONTNEED);
}

/* The pack is damaged: it gives nothing from now on, and another is made for the next start. */
static void give_up(struct sfs_pack *pack)
{
    atomic_fetch_add(&pack->failed, 1);
    if (!atomic_exchange(&pack->is_bad, true))
        sfs_store_drop_file(pack->store, SFS_STORE_PACK, pack->key, pack->fd);
}

/* 0, -EBADMSG, -EIO or -ENOMEM. */
static int read_piece(struct sfs_pack *pack, uint32_t i, struct lent_piece **ret_lent)
{
    const struct pack_piece *piece = &pack->pieces[i];
    AUTO(sfs_gmac_close) struct sfs_gmac *gmac = sfs_gmac_open();
    AUTO(sfs_free) struct lent_piece *lent = malloc(sizeof *lent + piece->size);
    if (!gmac || !lent)
        return -ENOMEM;
    lent->pack = pack;
    lent->piece = piece;
    ssize_t got = sfs_io_read_at(pack->fd, lent->data, piece->size, piece->at);
    if (got != (ssize_t)piece->size)
        return got < 0 ? -EIO : -EBADMSG;
    int r = sfs_gmac_check(gmac, pack->header.key, 1ull + i, lent->data, piece->size, piece->tag);
    if (r <= 0)
        return r < 0 ? r : -EBADMSG;
    *ret_lent = TAKE(lent);
    return 0;
}

int sfs_pack_pin(struct sfs_pack *pack, sfs_ino ino, uint64_t offset, size_t size,
                 struct sfs_slice *ret_slice)
{
    struct lent_piece *lent = NULL;
    const struct pack_file *file = find_file(pack, ino);
    uint32_t i = file ? find_piece(pack, file, offset) : UINT32_MAX;
    if (i == UINT32_MAX || size == 0)
        return -ENOENT;
    int r = read_piece(pack, i, &lent);
    if (r == -EBADMSG || r == -EIO)
        give_up(pack);
    if (r < 0)
        return r;
    size_t from = (size_t)(offset - lent->piece->offset), room = lent->piece->size - from;
    *ret_slice = (struct sfs_slice){ .data = lent->data + from,
                                     .size = size < room ? size : room,
                                     .release = free,
                                     .spend = spend_piece,
                                     .owner = lent };
    atomic_fetch_add_explicit(&pack->lent, ret_slice->size, memory_order_relaxed);
    return 0;
}

/* --- checking all ----------------------------------------------------------------------------- */

/* The rest of a piece's last page is seen by who maps the page. */
static bool is_zero(const uint8_t *data, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (data[i] != 0)
            return false;
    return true;
}

/* 0, -EBADMSG, -EIO or -ENOMEM. `room` has PACK_PIECE bytes. */
static int check_piece(const struct sfs_pack *pack, uint32_t i, struct sfs_gmac *gmac,
                       uint8_t *room)
{
    const struct pack_piece *piece = &pack->pieces[i];
    const struct pack_header *header = &pack->header;
    if (piece->size > PACK_PIECE || piece->at > header->size)
        return -EBADMSG;
    size_t whole = (piece->size + PACK_PAGE - 1) / PACK_PAGE * PACK_PAGE;
    ssize_t got = sfs_io_read_at(pack->fd, room, whole, piece->at);
    if (got != (ssize_t)whole)
        return got < 0 ? -EIO : -EBADMSG;
    int r = sfs_gmac_check(gmac, header->key, 1ull + i, room, piece->size, piece->tag);
    if (r < 0)
        return r;
    return r > 0 && is_zero(room + piece->size, whole - piece->size) ? 0 : -EBADMSG;
}

static void tell_checked(struct sfs_pack *pack, uint32_t checked, bool is_last)
{
    LOCK(&pack->lock);
    pack->checked = checked;
    pack->ended = is_last;
    pthread_cond_broadcast(&pack->changed);
}

/* Has the disk read what is checked next. Returns up to where that was asked for. */
static uint64_t ask_ahead(const struct sfs_pack *pack, uint64_t at, uint64_t asked)
{
    if (at + CHECK_AHEAD < asked)
        return asked;
    posix_fadvise(pack->fd, (off_t)asked, CHECK_AHEAD, POSIX_FADV_WILLNEED);
    return asked + CHECK_AHEAD;
}

static void *check_all(void *arg)
{
    struct sfs_pack *pack = arg;
    AUTO(sfs_gmac_close) struct sfs_gmac *gmac = sfs_gmac_open();
    AUTO(sfs_free) uint8_t *room = malloc(PACK_PIECE);
    uint64_t asked = pack->header.data_at;
    uint32_t checked = 0;
    int r = gmac && room ? 0 : -ENOMEM;
    while (r == 0 && checked < pack->header.pieces && !atomic_load(&pack->stop)) {
        asked = ask_ahead(pack, pack->pieces[checked].at, asked);
        r = check_piece(pack, checked, gmac, room);
        if (r == 0) {
            atomic_fetch_add(&pack->checked_bytes, pack->pieces[checked].size);
            tell_checked(pack, ++checked, false);
        }
    }
    if (r == -EBADMSG || r == -EIO)
        give_up(pack);
    tell_checked(pack, checked, true);
    return NULL;
}

int sfs_pack_check_all(struct sfs_pack *pack, struct sfs_error *err)
{
    LOCK(&pack->lock);
    int r = sfs_thread_start(&pack->thread, check_all, pack, "checks a pack", err);
    pack->has_thread = r == 0;
    return r;
}

bool sfs_pack_wait(struct sfs_pack *pack, uint32_t number)
{
    if (!pack)
        return false;
    LOCK(&pack->lock);
    while (pack->has_thread && pack->checked <= number && !pack->ended)
        pthread_cond_wait(&pack->changed, &pack->lock);
    return pack->checked > number && !atomic_load(&pack->is_bad);
}

void sfs_pack_stop(struct sfs_pack *pack)
{
    if (pack)
        atomic_store(&pack->stop, true);
}

int sfs_pack_file(const struct sfs_pack *pack)
{
    return pack->fd;
}

void sfs_pack_leave(struct sfs_pack *pack)
{
    (void)sfs_pack_wait(pack, UINT32_MAX); /* what was checked must be there until it is read */
    posix_fadvise(pack->fd, 0, 0, POSIX_FADV_DONTNEED);
}

void sfs_pack_get_stats(struct sfs_pack *pack, struct sfs_pack_stats *ret_stats)
{
    *ret_stats = (struct sfs_pack_stats){ 0 };
    if (pack)
        *ret_stats = (struct sfs_pack_stats){ .size = pack->header.size,
                                              .lent = atomic_load(&pack->lent),
                                              .checked = atomic_load(&pack->checked_bytes),
                                              .failed = atomic_load(&pack->failed) };
}
