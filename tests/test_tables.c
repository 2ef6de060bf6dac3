#include "base/limits.h"
#include "tables_text.h"

static struct sfs_error err;

static void add(struct sfs_builder *builder, const char *path, uint32_t mode, const char *target)
{
    struct sfs_extent extents[] = { { 0, 100, 4 }, { 6, 104, 4 } };
    struct sfs_builder_xattr xattrs[] = { { "user.a", "1", 1 }, { "user.b", "22", 2 } };
    struct sfs_builder_item item = { .inode = { .mode = mode, .size = S_ISREG(mode) ? 12 : 0 },
                                     .target = target };
    if (S_ISREG(mode)) {
        item.extents = extents;
        item.extent_count = 2;
        item.xattrs = xattrs;
        item.xattr_count = 2;
    }
    cr_assert_eq(sfs_builder_add(builder, path, &item, &err), 0, "%s", err.text);
}

/* 0: root; 1: dir; 2: dir2; 3: gone (whiteout); 4: link => elsewhere; 5: sym; 6: dir/a; 7: dir/b,
 * the same; 8: dir2/c */
struct sample {
    struct sfs_tables tables;
    void *memory;
    struct sfs_entry_rec *entries; /* the arrays again, to be spoilt */
    struct sfs_inode_rec *inodes;
    struct sfs_extent *extents;
    struct sfs_xattr_rec *xattrs;
    char *strings;
};

static struct sample make_sample(void)
{
    AUTO(sfs_builder_close) struct sfs_builder *builder = sfs_builder_open();
    struct sample sample = { 0 };
    add(builder, "dir", S_IFDIR | 0755, NULL);
    add(builder, "dir/a", S_IFREG | 0644, NULL);
    cr_assert_eq(sfs_builder_link(builder, "dir/b", "dir/a", &err), 0);
    cr_assert_eq(sfs_builder_link(builder, "link", "elsewhere", &err), 0);
    add(builder, "sym", S_IFLNK | 0777, "target");
    add(builder, "dir2/c", S_IFREG | 0644, NULL);
    cr_assert_eq(sfs_builder_whiteout(builder, "gone", &err), 0);
    cr_assert_eq(sfs_builder_finish(builder, &sample.tables, &sample.memory, &err), 0);
    /* One block of memory, as the builder lays it out; find the arrays in it without casting const
     * away. */
    char *memory = sample.memory;
    const char *base = memory;
    sample.entries = (void *)(memory + ((const char *)sample.tables.entries - base));
    sample.inodes = (void *)(memory + ((const char *)sample.tables.inodes - base));
    sample.extents = (void *)(memory + ((const char *)sample.tables.extents - base));
    sample.xattrs = (void *)(memory + ((const char *)sample.tables.xattrs - base));
    sample.strings = memory + (sample.tables.strings - base);
    return sample;
}

static void close_sample(struct sample *sample)
{
    sfs_tables_close(&sample->memory);
}

static void expect_fault(const struct sample *sample, const char *words)
{
    cr_assert_eq(sfs_tables_check(&sample->tables, 1000, &err), -EBADMSG, "%s was let pass", words);
    cr_assert_not_null(strstr(err.text, words), "expected \"%s\", got \"%s\"", words, err.text);
}

static void put_name(struct sample *sample, sfs_entry entry, const char *name)
{
    memcpy(sample->strings + sample->entries[entry].name, name, strlen(name));
}

Test(tables_check, accepts_what_the_builder_makes)
{
    AUTO(close_sample) struct sample sample = make_sample();
    cr_assert_eq(sfs_tables_check(&sample.tables, 1000, &err), 0, "%s", err.text);
    cr_assert_eq(sample.tables.entry_count, 9);
}

Test(tables_check, wants_extents_inside_the_decoded_stream)
{
    AUTO(close_sample) struct sample sample = make_sample();
    cr_assert_eq(sfs_tables_check(&sample.tables, 108, &err), 0);
    cr_assert_eq(sfs_tables_check(&sample.tables, 107, &err), -EBADMSG);
}

Test(tables_check, wants_extents_in_order_and_inside_the_file)
{
    AUTO(close_sample) struct sample sample = make_sample();
    sample.extents[1].file_offset = 3;
    expect_fault(&sample, "extents");
    sample.extents[1].file_offset = 9;
    expect_fault(&sample, "extents");
    sample.extents[1].file_offset = UINT64_MAX - 1;
    expect_fault(&sample, "extents");
    sample.extents[1] = (struct sfs_extent){ 6, UINT64_MAX - 1, 4 };
    expect_fault(&sample, "extents");
    sample.extents[1] = (struct sfs_extent){ 6, 104, 0 };
    expect_fault(&sample, "extents");
}

Test(tables_check, wants_runs_of_extents_inside_the_section)
{
    AUTO(close_sample) struct sample sample = make_sample();
    sample.inodes[sample.entries[6].inode].first = sample.tables.extent_count - 1;
    expect_fault(&sample, "extents");
    sample.inodes[sample.entries[6].inode].first = UINT32_MAX;
    expect_fault(&sample, "extents");
}

Test(tables_check, wants_names_sorted_and_unique)
{
    AUTO(close_sample) struct sample sample = make_sample();
    put_name(&sample, 6, "c");
    expect_fault(&sample, "out of order");
    put_name(&sample, 6, "b");
    expect_fault(&sample, "out of order");
}

Test(tables_check, wants_names_that_a_directory_can_hold)
{
    AUTO(close_sample) struct sample sample = make_sample();
    put_name(&sample, 6, "/");
    expect_fault(&sample, "name out of range");
    put_name(&sample, 6, ".");
    expect_fault(&sample, "name out of range");
    memcpy(sample.strings + sample.entries[6].name, "\0", 1);
    expect_fault(&sample, "name out of range");
    put_name(&sample, 6, "a");
    sample.entries[6].name_size = 0;
    expect_fault(&sample, "name out of range");
    sample.entries[6].name_size = SFS_MAX_NAME + 1;
    expect_fault(&sample, "name out of range");
    sample.entries[6].name_size = 1;
    sample.entries[6].name = (uint32_t)sample.tables.strings_size;
    expect_fault(&sample, "name out of range");
    sample.entries[6].name = sample.entries[1].name;
    sample.entries[6].name_size = 2; /* "di", no NUL behind it */
    expect_fault(&sample, "name out of range");
}

Test(tables_check, wants_no_dot_dot)
{
    AUTO(close_sample) struct sample sample = make_sample();
    put_name(&sample, 5, "..");
    memcpy(sample.strings + sample.entries[5].name + 2, "", 1);
    sample.entries[5].name_size = 2;
    expect_fault(&sample, "name out of range");
}

Test(tables_check, wants_children_to_know_their_directory)
{
    AUTO(close_sample) struct sample sample = make_sample();
    sample.entries[6].parent = 2;
    expect_fault(&sample, "child of another directory");
}

Test(tables_check, wants_runs_of_children_without_cycles_or_overlaps)
{
    AUTO(close_sample) struct sample sample = make_sample();
    struct sfs_inode_rec *dir = &sample.inodes[sample.entries[1].inode];
    dir->first = 1;
    expect_fault(&sample, "children out of range");
    dir->first = 7;
    expect_fault(&sample, "children out of range");
    dir->first = 6;
    dir->count = 3;
    expect_fault(&sample, "child of another directory");
    dir->count = UINT32_MAX;
    expect_fault(&sample, "children out of range");
    dir->count = 0;
    expect_fault(&sample, "children out of range");
}

Test(tables_check, wants_every_entry_to_be_in_a_directory)
{
    AUTO(close_sample) struct sample sample = make_sample();
    sample.inodes[sample.entries[2].inode].count = 0;
    expect_fault(&sample, "without a directory");
}

Test(tables_check, wants_a_directory_to_have_one_name)
{
    AUTO(close_sample) struct sample sample = make_sample();
    sample.inodes[sample.entries[1].inode].nlink = 2;
    expect_fault(&sample, "several names");
}

Test(tables_check, wants_link_counts_that_hold)
{
    AUTO(close_sample) struct sample sample = make_sample();
    sample.inodes[sample.entries[6].inode].nlink = 1;
    expect_fault(&sample, "link count");
    sample.inodes[sample.entries[6].inode].nlink = 2;
    sample.entries[8].inode = sample.entries[6].inode;
    expect_fault(&sample, "link count");
}

Test(tables_check, wants_inodes_that_exist)
{
    AUTO(close_sample) struct sample sample = make_sample();
    sample.entries[6].inode = sample.tables.inode_count;
    expect_fault(&sample, "inode out of range");
    sample.entries[6].inode = SFS_NO_INODE;
    expect_fault(&sample, "no inode");
}

Test(tables_check, wants_known_types_flags_and_times)
{
    AUTO(close_sample) struct sample sample = make_sample();
    struct sfs_inode_rec *inode = &sample.inodes[sample.entries[6].inode];
    inode->mode = S_IFSOCK;
    expect_fault(&sample, "unknown file type");
    inode->mode = S_IFREG | 0200000;
    expect_fault(&sample, "unknown file type");
    inode->mode = S_IFREG;
    inode->mtime_nsec = 1000000000;
    expect_fault(&sample, "time");
    inode->mtime_nsec = 0;
    sample.entries[6].flags = 1 << 4;
    expect_fault(&sample, "unknown flag");
    sample.entries[6].flags = SFS_ENTRY_OPAQUE;
    expect_fault(&sample, "directory mark");
    sample.entries[6].flags = SFS_ENTRY_LINK;
    expect_fault(&sample, "hard link mark");
}

Test(tables_check, wants_link_targets_that_end)
{
    AUTO(close_sample) struct sample sample = make_sample();
    struct sfs_inode_rec *link = &sample.inodes[sample.entries[5].inode];
    link->size++;
    expect_fault(&sample, "link target");
    link->size = 0;
    expect_fault(&sample, "link target");
    link->size = UINT64_MAX;
    expect_fault(&sample, "link target");
    link->size = 6;
    link->string = UINT32_MAX;
    expect_fault(&sample, "link target");
}

Test(tables_check, wants_attributes_inside_and_sorted)
{
    AUTO(close_sample) struct sample sample = make_sample();
    struct sfs_xattr_rec good = sample.xattrs[1];
    sample.xattrs[1].value = UINT32_MAX;
    expect_fault(&sample, "attributes");
    sample.xattrs[1] = good;
    sample.xattrs[1].value_size = UINT32_MAX;
    expect_fault(&sample, "attributes");
    sample.xattrs[1] = sample.xattrs[0];
    expect_fault(&sample, "attributes");
    sample.xattrs[1] = good;
    sample.inodes[sample.entries[6].inode].xattrs = sample.tables.xattr_count;
    expect_fault(&sample, "attributes");
}

Test(tables_check, wants_a_root)
{
    AUTO(close_sample) struct sample sample = make_sample();
    sample.inodes[sample.entries[0].inode].mode = S_IFREG;
    expect_fault(&sample, "root");
    sample.tables.entry_count = 0;
    expect_fault(&sample, "number of entries");
}

Test(tables_check, wants_strings_that_end)
{
    AUTO(close_sample) struct sample sample = make_sample();
    sample.tables.strings_size--;
    expect_fault(&sample, "strings");
}

Test(tables_find, finds_each_child_and_nothing_else)
{
    AUTO(close_sample) struct sample sample = make_sample();
    sfs_entry found = 0;
    cr_assert_eq(sfs_tables_find(&sample.tables, 0, "dir", 3, &found), 0);
    cr_assert_eq(found, 1);
    cr_assert_eq(sfs_tables_find(&sample.tables, 0, "dir2", 4, &found), 0);
    cr_assert_eq(found, 2);
    cr_assert_eq(sfs_tables_find(&sample.tables, 1, "b", 1, &found), 0);
    cr_assert_eq(found, 7);
    cr_assert_eq(sfs_tables_find(&sample.tables, 0, "di", 2, &found), -ENOENT);
    cr_assert_eq(sfs_tables_find(&sample.tables, 0, "dir1", 4, &found), -ENOENT);
    cr_assert_eq(sfs_tables_find(&sample.tables, 0, "zzz", 3, &found), -ENOENT);
    cr_assert_eq(sfs_tables_find(&sample.tables, 0, "", 0, &found), -ENOENT);
}

Test(tables_find, finds_nothing_below_what_is_no_directory)
{
    AUTO(close_sample) struct sample sample = make_sample();
    sfs_entry found = 0;
    for (sfs_entry i = 3; i < 9; i++)
        cr_assert_eq(sfs_tables_find(&sample.tables, i, "a", 1, &found), -ENOENT);
}
