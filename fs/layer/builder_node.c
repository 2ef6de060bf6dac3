/* Memory of the builder, and the hash table in which names are found by (parent, name). */
#include "layer/builder_node.h"

#include "base/limits.h"
#include <sys/mman.h>
#include <sys/random.h>

#define CHUNK_MIN (64u << 10)
#define CHUNK_MAX (32u << 20)
#define HUGE_PAGE (2u << 20)

struct builder_chunk {
    struct builder_chunk *next;
    size_t used, size;
    max_align_t data[];
};

/* Chunks double. Nodes are visited at random, so huge pages spare most of the address lookups. */
static struct builder_chunk *add_chunk(struct sfs_builder *builder, size_t size)
{
    size_t room = builder->chunks ? 2 * builder->chunks->size : CHUNK_MIN;
    room = room > CHUNK_MAX ? CHUNK_MAX : room;
    room = size > room ? size : room;
    size_t total = (sizeof(struct builder_chunk) + room + HUGE_PAGE - 1) & ~(size_t)(HUGE_PAGE - 1);
    struct builder_chunk *chunk;
    if (room < HUGE_PAGE) {
        chunk = malloc(sizeof *chunk + room);
    } else {
        chunk = aligned_alloc(HUGE_PAGE, total);
        if (chunk)
            madvise(chunk, total, MADV_HUGEPAGE);
    }
    if (!chunk)
        return NULL;
    *chunk = (struct builder_chunk){ .next = builder->chunks, .size = room };
    builder->chunks = chunk;
    return chunk;
}

void *sfs_builder_alloc(struct sfs_builder *builder, size_t size)
{
    struct builder_chunk *chunk = builder->chunks;
    size = (size + 7) & ~(size_t)7;
    if (!chunk || chunk->size - chunk->used < size)
        chunk = add_chunk(builder, size);
    if (!chunk)
        return NULL;
    void *place = (char *)chunk->data + chunk->used;
    chunk->used += size;
    return place;
}

char *sfs_builder_copy_text(struct sfs_builder *builder, const char *text, size_t size)
{
    char *copy = sfs_builder_alloc(builder, size + 1);
    if (!copy)
        return NULL;
    if (size > 0)
        memcpy(copy, text, size);
    copy[size] = '\0';
    return copy;
}

int sfs_builder_node_init(struct sfs_builder *builder)
{
    if (getrandom(&builder->seed, sizeof builder->seed, 0) != sizeof builder->seed)
        return -EIO;
    struct builder_inode *inode = NULL;
    int r = sfs_builder_inode_make(builder, S_IFDIR | 0755, &inode, NULL);
    if (r == 0)
        r = sfs_builder_node_make(builder, NULL, "", 0, &builder->root, NULL);
    if (r < 0)
        return r;
    sfs_builder_node_set_inode(builder->root, inode);
    builder->root->flags = SFS_ENTRY_IMPLIED;
    return 0;
}

void sfs_builder_node_done(struct sfs_builder *builder)
{
    HASH_CLEAR(hh, builder->table);
    while (builder->chunks) {
        struct builder_chunk *chunk = builder->chunks;
        builder->chunks = chunk->next;
        free(chunk);
    }
    sfs_buf_close(&builder->last_path);
}

/* Folded 64x64 multiplications over 8 bytes at a time, keyed. */
static unsigned hash_name(uint64_t seed, uint32_t parent, const char *name, size_t size)
{
    uint64_t hash = seed ^ ((uint64_t)parent << 32 | (uint32_t)size);
    for (size_t i = 0; i <= size; i += 8) {
        uint64_t word = 0;
        memcpy(&word, name + i, size - i < 8 ? size - i : 8);
        __extension__ unsigned __int128 product =
            (unsigned __int128)(hash ^ 0x9e3779b97f4a7c15ull) *
            (word ^ seed ^ 0xe7037ed1a0b428dbull);
        hash = (uint64_t)product ^ (uint64_t)(product >> 64);
    }
    return (unsigned)(hash ^ hash >> 32);
}

struct key {
    char bytes[sizeof(uint32_t) + SFS_MAX_NAME];
};

struct builder_node *sfs_builder_node_find(struct sfs_builder *builder,
                                           const struct builder_node *parent, const char *name,
                                           size_t size)
{
    struct key key;
    struct builder_node *node = NULL;
    if (size > SFS_MAX_NAME)
        return NULL;
    memcpy(key.bytes, &parent->id, sizeof parent->id);
    memcpy(key.bytes + sizeof parent->id, name, size);
    unsigned hash = hash_name(builder->seed, parent->id, name, size);
    HASH_FIND_BYHASHVALUE(hh, builder->table, key.bytes, sizeof parent->id + size, hash, node);
    return node;
}

static int add_to_table(struct sfs_builder *builder, struct builder_node *node)
{
    unsigned hash =
        hash_name(builder->seed, node->parent->id, builder_node_name(node), node->name_size);
    HASH_ADD_KEYPTR_BYHASHVALUE(hh, builder->table, node->key,
                                sizeof node->parent->id + node->name_size, hash, node);
    return node->hh.tbl ? 0 : -ENOMEM;
}

int sfs_builder_node_make(struct sfs_builder *builder, struct builder_node *parent,
                          const char *name, size_t size, struct builder_node **ret_node,
                          struct sfs_error *err)
{
    if (size > SFS_MAX_NAME)
        return sfs_fail(err, EBADMSG, "a name is longer than %u bytes", SFS_MAX_NAME);
    if (parent && parent->depth >= SFS_MAX_DEPTH)
        return sfs_fail(err, E2BIG, "directories nest deeper than %u", SFS_MAX_DEPTH);
    if (builder->next_id >= SFS_MAX_ENTRIES)
        return sfs_fail(err, E2BIG, "more than %u names", SFS_MAX_ENTRIES);

    struct builder_node *node = sfs_builder_alloc(builder, sizeof *node);
    char *key = sfs_builder_alloc(builder, sizeof parent->id + size + 1);
    if (!node || !key)
        return sfs_fail_memory(err);
    memset(key, 0, sizeof parent->id);
    if (parent)
        memcpy(key, &parent->id, sizeof parent->id);
    memcpy(key + sizeof parent->id, name, size);
    key[sizeof parent->id + size] = '\0';
    *node = (struct builder_node){ .parent = parent,
                                   .key = key,
                                   .name_size = (uint16_t)size,
                                   .id = builder->next_id,
                                   .depth = parent ? (uint16_t)(parent->depth + 1) : 0 };
    if (parent) {
        if (add_to_table(builder, node) < 0)
            return sfs_fail_memory(err);
        node->next = parent->first_child;
        if (node->next)
            node->next->previous = node;
        parent->first_child = node;
    }
    builder->next_id++;
    builder->live++;
    *ret_node = node;
    return 0;
}

void sfs_builder_node_set_inode(struct builder_node *node, struct builder_inode *inode)
{
    if (inode)
        inode->rec.nlink++;
    if (node->inode)
        node->inode->rec.nlink--;
    node->inode = inode;
}

static void drop_node(struct sfs_builder *builder, struct builder_node *node)
{
    HASH_DELETE(hh, builder->table, node);
    sfs_builder_node_set_inode(node, NULL);
    node->dead = true;
    builder->live--;
}

void sfs_builder_node_prune(struct sfs_builder *builder, struct builder_node *node)
{
    struct builder_node *list = TAKE(node->first_child);
    while (list) {
        struct builder_node *child = list;
        /* The child's own children go in front of the list: no recursion however deep. */
        if (child->first_child) {
            list = TAKE(child->first_child);
            struct builder_node *last = list;
            while (last->next)
                last = last->next;
            last->next = child;
            continue;
        }
        list = child->next;
        drop_node(builder, child);
    }
}

void sfs_builder_node_remove(struct sfs_builder *builder, struct builder_node *node)
{
    sfs_builder_node_prune(builder, node);
    if (node->previous)
        node->previous->next = node->next;
    else
        node->parent->first_child = node->next;
    if (node->next)
        node->next->previous = node->previous;
    drop_node(builder, node);
}

int sfs_builder_inode_make(struct sfs_builder *builder, uint32_t mode,
                           struct builder_inode **ret_inode, struct sfs_error *err)
{
    if (builder->inodes >= SFS_MAX_ENTRIES)
        return sfs_fail(err, E2BIG, "more than %u files", SFS_MAX_ENTRIES);
    struct builder_inode *inode = sfs_builder_alloc(builder, sizeof *inode);
    if (!inode)
        return sfs_fail_memory(err);
    *inode = (struct builder_inode){ .rec.mode = mode, .number = SFS_NO_INODE };
    builder->inodes++;
    *ret_inode = inode;
    return 0;
}
