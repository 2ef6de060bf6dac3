/* A heap of runs, each keyed by its next name. Names are mostly told apart by 8 bytes that lie in
 * the heap itself: those behind the prefix that all names here share. */
#include "tree/union.h"

static uint64_t read_key(const char *name, size_t size, size_t skip)
{
    uint64_t key = 0;
    size_t rest = size - skip;
    if (rest >= sizeof key)
        memcpy(&key, name + skip, sizeof key);
    else
        memcpy(&key, name + skip, rest);
    return __builtin_bswap64(key);
}

/* Compares the next names of two runs whose keys are equal. */
static int compare_rest(const struct sfs_union *set, const struct sfs_union_run *a,
                        const struct sfs_union_run *b)
{
    size_t common = a->name_size < b->name_size ? a->name_size : b->name_size;
    size_t known = set->skip + sizeof(uint64_t);
    int order = common > known ? memcmp(a->name + known, b->name + known, common - known) : 0;
    return order ? order : (a->name_size > b->name_size) - (a->name_size < b->name_size);
}

static bool is_before(const struct sfs_union *set, struct sfs_union_key a, struct sfs_union_key b)
{
    if (a.key != b.key)
        return a.key < b.key;
    int order = compare_rest(set, &set->runs[a.run], &set->runs[b.run]);
    return order ? order < 0 : a.run < b.run;
}

static void sink(struct sfs_union *set, size_t at)
{
    struct sfs_union_key moving = set->heap[at];
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= set->left)
            break;
        if (child + 1 < set->left && is_before(set, set->heap[child + 1], set->heap[child]))
            child++;
        if (!is_before(set, set->heap[child], moving))
            break;
        set->heap[at] = set->heap[child];
        at = child;
    }
    set->heap[at] = moving;
}

static void load_name(struct sfs_union_run *run)
{
    const struct sfs_entry_rec *entry = &run->tables->entries[run->at];
    run->name = run->tables->strings + entry->name;
    run->name_size = entry->name_size;
}

/* Moves the run in heap[0] on to its next name, and to its new place in the heap; takes it out at
 * its end. */
static void advance(struct sfs_union *set)
{
    struct sfs_union_run *run = &set->runs[set->heap[0].run];
    if (++run->at < run->end) {
        load_name(run);
        set->heap[0].key = read_key(run->name, run->name_size, set->skip);
    } else {
        set->heap[0] = set->heap[--set->left];
    }
    if (set->left > 1)
        sink(set, 0);
}

static size_t common_size(const char *a, size_t a_size, const char *b, size_t b_size)
{
    size_t size = 0;
    while (size < a_size && size < b_size && a[size] == b[size])
        size++;
    return size;
}

/* How many bytes all names have in common at their start: as runs are sorted, it is enough to look
 * at the first and the last name of each. */
static size_t find_common_start(const struct sfs_union *set)
{
    const struct sfs_union_run *first = &set->runs[0];
    size_t skip = first->name_size;
    for (size_t i = 0; i < set->left; i++) {
        const struct sfs_union_run *run = &set->runs[i];
        const struct sfs_entry_rec *last = &run->tables->entries[run->end - 1];
        skip = common_size(first->name, skip, run->name, run->name_size);
        skip = common_size(first->name, skip, run->tables->strings + last->name, last->name_size);
    }
    return skip;
}

static int reserve_runs(struct sfs_union *set, size_t count)
{
    if (count <= set->capacity)
        return 0;
    sfs_union_done(set);
    set->runs = calloc(count, sizeof *set->runs);
    set->heap = calloc(count, sizeof *set->heap);
    set->group = calloc(count, sizeof *set->group);
    if (!set->runs || !set->heap || !set->group) {
        sfs_union_done(set);
        return -ENOMEM;
    }
    set->capacity = count;
    return 0;
}

int sfs_union_start(struct sfs_union *set, const struct sfs_stack *stack,
                    const struct sfs_part *dirs, size_t count)
{
    set->left = 0;
    int r = reserve_runs(set, count);
    if (r < 0)
        return r;
    for (size_t i = 0; i < count; i++) {
        const struct sfs_tables *tables = sfs_stack_tables(stack, dirs[i]);
        const struct sfs_inode_rec *inode = &tables->inodes[tables->entries[dirs[i].entry].inode];
        if (inode->count == 0)
            continue;
        struct sfs_union_run *run = &set->runs[set->left++];
        *run = (struct sfs_union_run){ .tables = tables,
                                       .layer = dirs[i].layer,
                                       .at = inode->first,
                                       .end = inode->first + inode->count };
        load_name(run);
    }
    set->skip = set->left ? find_common_start(set) : 0;
    for (uint32_t i = 0; i < set->left; i++)
        set->heap[i] =
            (struct sfs_union_key){ read_key(set->runs[i].name, set->runs[i].name_size, set->skip),
                                    i };
    for (size_t i = set->left / 2; i-- > 0;)
        sink(set, i);
    return 0;
}

size_t sfs_union_next(struct sfs_union *set)
{
    if (set->left == 0)
        return 0;
    /* The name itself stays where it is: in its layer's strings. */
    struct sfs_union_run first = set->runs[set->heap[0].run];
    uint64_t key = set->heap[0].key;
    size_t count = 0;
    do {
        const struct sfs_union_run *run = &set->runs[set->heap[0].run];
        set->group[count++] = (struct sfs_part){ run->layer, run->at };
        advance(set);
    } while (set->left && set->heap[0].key == key &&
             compare_rest(set, &set->runs[set->heap[0].run], &first) == 0);
    return count;
}

void sfs_union_done(struct sfs_union *set)
{
    free(set->runs);
    free(set->heap);
    free(set->group);
    *set = (struct sfs_union){ 0 };
}
