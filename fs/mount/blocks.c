/* How a reader's direction is recognised, and how many blocks ahead of it are fetched. */
#include "mount/blocks.h"

#include <stagefs/auto.h>
#include <uthash.h>

#define NEAR   4 /* blocks: a reader that leaps further counts as a new one */
#define MOVING 1 /* after so many steps a reader has a direction */
#define MOST   8 /* so many blocks are fetched ahead of a reader at most */

/* What was asked for of one file. */
struct sfs_blocks {
    UT_hash_handle hh;
    sfs_ino ino;
    uint64_t next; /* where the last request ended */
    int64_t last;  /* the block that was asked for last */
    int run;       /* how many steps went in one direction; negative: backwards */
    uint32_t count;
    bool under_way[];
};

void sfs_blocks_close(struct sfs_blocks **blocks)
{
    struct sfs_blocks *file, *next;
    HASH_ITER(hh, *blocks, file, next)
    {
        HASH_DEL(*blocks, file);
        free(file);
    }
}

static struct sfs_blocks *find_file(struct sfs_blocks **blocks, sfs_ino ino, uint64_t file_size)
{
    struct sfs_blocks *file;
    HASH_FIND(hh, *blocks, &ino, sizeof ino, file);
    uint64_t count = (file_size + SFS_BLOCK - 1) / SFS_BLOCK;
    if (file || count > UINT32_MAX)
        return file;
    file = calloc(1, sizeof *file + (size_t)count);
    if (!file)
        return NULL;
    file->ino = ino;
    file->last = -1;
    file->count = (uint32_t)count;
    HASH_ADD(hh, *blocks, ino, sizeof file->ino, file);
    return file;
}

static void note_step(struct sfs_blocks *file, int64_t block)
{
    int64_t step = block - file->last;
    int64_t near = NEAR + (file->run < 0 ? -file->run : file->run);
    bool is_near = file->last >= 0 && step <= near && step >= -near;
    if (step == 0)
        return;
    int run = !is_near ? 0 : step > 0 ? 1 : -1;
    if (run != 0 && (run > 0) == (file->run > 0) && file->run != 0)
        run += file->run;
    file->run = run > MOST ? MOST : run < -MOST ? -MOST : run;
    file->last = block;
}

static unsigned take(struct sfs_blocks *file, int64_t block, uint32_t *ret_blocks, unsigned count)
{
    if (block < 0 || block >= file->count || file->under_way[block] || count == SFS_BLOCKS_AT)
        return count;
    file->under_way[block] = true;
    ret_blocks[count] = (uint32_t)block;
    return count + 1;
}

unsigned sfs_blocks_touch(struct sfs_blocks **blocks, sfs_ino ino, uint64_t file_size,
                          struct sfs_range range, uint32_t ret_blocks[SFS_BLOCKS_AT])
{
    struct sfs_blocks *file = find_file(blocks, ino, file_size);
    if (!file)
        return 0;
    bool in_sequence = range.offset == file->next && range.offset > 0;
    file->next = range.offset + range.size;
    if (in_sequence)
        return 0;
    unsigned count = 0;
    int64_t first = (int64_t)(range.offset / SFS_BLOCK);
    int64_t last = (int64_t)((range.offset + range.size - 1) / SFS_BLOCK);
    for (int64_t block = first; block <= last; block++)
        count = take(file, block, ret_blocks, count);
    note_step(file, file->run < 0 ? first : last);
    int direction = file->run < 0 ? -1 : 1, run = direction * file->run;
    for (int i = 1; run >= MOVING && i <= run; i++)
        count = take(file, file->last + i * direction, ret_blocks, count);
    return count;
}

void sfs_blocks_done(struct sfs_blocks *blocks, sfs_ino ino, uint32_t block)
{
    struct sfs_blocks *file;
    HASH_FIND(hh, blocks, &ino, sizeof ino, file);
    if (file && block < file->count)
        file->under_way[block] = false;
}
