/* File bytes through a mount. */
#include "mount_support.h"

#include <pthread.h>
#include <sys/mman.h>

TestSuite(mount_read, .init = mount_init, .fini = mount_fini, .timeout = 120);

static char *read_whole(const char *name, size_t *ret_size)
{
    int fd = open(mount_path(name), O_RDONLY);
    cr_assert_geq(fd, 0, "%s: %s", name, strerror(errno));
    struct stat st;
    cr_assert_eq(fstat(fd, &st), 0);
    char *data = malloc((size_t)st.st_size + 1);
    size_t size = 0;
    for (;;) {
        ssize_t got = read(fd, data + size, (size_t)st.st_size + 1 - size);
        cr_assert_geq(got, 0, "%s at %zu: %s", name, size, strerror(errno));
        if (got == 0)
            break;
        size += (size_t)got;
    }
    close(fd);
    *ret_size = size;
    return data;
}

static void expect_bytes(const char *name, const char *data, size_t size)
{
    size_t got;
    AUTO(sfs_free) char *read = read_whole(name, &got);
    cr_assert_eq(got, size);
    cr_assert_eq(memcmp(read, data, size), 0, "%s: other bytes", name);
}

/* Mounts one file "file" of these bytes, lent in pieces of `step`. */
static void mount_bytes(const char *data, size_t size, size_t step)
{
    struct sfs_builder *builder = mount_builder();
    mount_add_content(builder, "file", 0644,
                      (struct mount_content){ .data = data, .size = size, .step = step });
    mount_up(mount_tree(builder), (struct sfs_mount_options){ 0 });
}

Test(mount_read, gives_the_bytes_of_large_files)
{
    enum { SIZE = 20000003 };
    char *data = mount_pattern(SIZE);
    mount_bytes(data, SIZE, 0);
    expect_bytes("file", data, SIZE);
}

Test(mount_read, puts_slices_together)
{
    enum { SIZE = 5000001 };
    char *data = mount_pattern(SIZE);
    mount_bytes(data, SIZE, 100003);
    expect_bytes("file", data, SIZE);
}

Test(mount_read, copies_when_there_are_too_many_slices)
{
    enum { SIZE = 1000001 };
    char *data = mount_pattern(SIZE);
    mount_bytes(data, SIZE, 37);
    expect_bytes("file", data, SIZE);
}

Test(mount_read, gives_nothing_of_empty_files)
{
    mount_bytes("", 0, 0);
    expect_bytes("file", "", 0);
}

Test(mount_read, starts_anywhere_and_stops_at_the_end)
{
    enum { SIZE = 300000 };
    char *data = mount_pattern(SIZE);
    mount_bytes(data, SIZE, 0);
    int fd = open(mount_path("file"), O_RDONLY);
    char part[4096];
    cr_assert_eq(pread(fd, part, sizeof part, 123457), sizeof part);
    cr_assert_arr_eq(part, data + 123457, sizeof part);
    cr_assert_eq(pread(fd, part, sizeof part, SIZE - 10), 10);
    cr_assert_arr_eq(part, data + SIZE - 10, 10);
    cr_assert_eq(pread(fd, part, sizeof part, SIZE), 0);
    cr_assert_eq(pread(fd, part, sizeof part, 1 << 30), 0);
    close(fd);
}

Test(mount_read, works_past_the_page_cache)
{
    enum { SIZE = 1 << 20 };
    char *data = mount_pattern(SIZE);
    mount_bytes(data, SIZE, 4096);
    int fd = open(mount_path("file"), O_RDONLY | O_DIRECT);
    cr_assert_geq(fd, 0);
    AUTO(sfs_free) char *part = aligned_alloc(4096, 65536);
    cr_assert_eq(pread(fd, part, 65536, 131072), 65536);
    cr_assert_arr_eq(part, data + 131072, 65536);
    close(fd);
}

Test(mount_read, maps_files)
{
    enum { SIZE = 3000000 };
    char *data = mount_pattern(SIZE);
    mount_bytes(data, SIZE, 0);
    int fd = open(mount_path("file"), O_RDONLY);
    char *map = mmap(NULL, SIZE, PROT_READ, MAP_PRIVATE, fd, 0);
    cr_assert_neq(map, MAP_FAILED);
    for (size_t i = SIZE; i > 4096; i -= 4096) /* backwards: against read-ahead */
        cr_assert_eq(map[i - 1], data[i - 1], "at %zu", i - 1);
    munmap(map, SIZE);
    close(fd);
}

Test(mount_read, asks_once_for_what_the_kernel_keeps)
{
    enum { SIZE = 1000000 };
    char *data = mount_pattern(SIZE);
    mount_bytes(data, SIZE, 0);
    expect_bytes("file", data, SIZE);
    unsigned long reads = mount_count("read"), opens = mount_count("open");
    for (int i = 0; i < 5; i++)
        expect_bytes("file", data, SIZE);
    cr_assert_eq(mount_count("read"), reads);
    cr_assert_eq(mount_count("open"), opens);
}

Test(mount_read, runs_programs)
{
    int fd = open("/bin/sh", O_RDONLY);
    struct stat st;
    cr_assert_eq(fstat(fd, &st), 0);
    char *program = mount_pattern((size_t)st.st_size);
    cr_assert_eq(read(fd, program, (size_t)st.st_size), st.st_size);
    close(fd);
    struct sfs_builder *builder = mount_builder();
    mount_add_content(builder, "shell", 0755,
                      (struct mount_content){ .data = program, .size = (size_t)st.st_size });
    mount_up(mount_tree(builder), (struct sfs_mount_options){ 0 });
    pid_t pid = fork();
    if (pid == 0) {
        execl(mount_path("shell"), "sh", "-c", "exit 42", NULL);
        _exit(1);
    }
    int status;
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    cr_assert(WIFEXITED(status));
    cr_assert_eq(WEXITSTATUS(status), 42);
}

struct reader {
    pthread_t thread;
    const char *path, *data;
    size_t size, seed;
    bool good;
};

static void *read_randomly(void *arg)
{
    struct reader *reader = arg;
    int fd = open(reader->path, O_RDONLY);
    char part[9000];
    reader->good = fd >= 0;
    for (size_t i = 0, at = reader->seed; reader->good && i < 400; i++) {
        at = (at * 1103515245u + 12345u) % (reader->size - sizeof part);
        ssize_t got = pread(fd, part, sizeof part, (off_t)at);
        reader->good =
            got == (ssize_t)sizeof part && memcmp(part, reader->data + at, sizeof part) == 0;
    }
    close(fd);
    return NULL;
}

Test(mount_read, serves_many_readers_at_once)
{
    enum { SIZE = 8000000, READERS = 16 };
    char *data = mount_pattern(SIZE);
    mount_bytes(data, SIZE, 50000);
    char path[128];
    snprintf(path, sizeof path, "%s", mount_path("file"));
    struct reader readers[READERS];
    for (size_t i = 0; i < READERS; i++) {
        readers[i] = (struct reader){ .path = path, .data = data, .size = SIZE, .seed = i * 7919 };
        cr_assert_eq(pthread_create(&readers[i].thread, NULL, read_randomly, &readers[i]), 0);
    }
    for (size_t i = 0; i < READERS; i++) {
        pthread_join(readers[i].thread, NULL);
        cr_assert(readers[i].good, "reader %zu", i);
    }
}

/* Data at 0..8191 and 1 MiB..1 MiB+4095 of 2 MiB. */
static void mount_sparse(void)
{
    static char zeros[2 << 20];
    const struct sfs_extent extents[] = { { .size = 8192 },
                                          { .file_offset = 1 << 20, .size = 4096 } };
    mount_contents[mount_content_count] =
        (struct mount_content){ .data = zeros, .size = sizeof zeros };
    struct sfs_builder *builder = mount_builder();
    mount_add(builder, "file",
              &(struct sfs_builder_item){ .inode = { .mode = S_IFREG | 0644,
                                                     .size = sizeof zeros,
                                                     .source = mount_content_count++ },
                                          .extents = extents,
                                          .extent_count = 2 });
    mount_up(mount_tree(builder), (struct sfs_mount_options){ 0 });
}

Test(mount_read, tells_where_holes_are)
{
    mount_sparse();
    int fd = open(mount_path("file"), O_RDONLY);
    cr_assert_eq(lseek(fd, 0, SEEK_DATA), 0);
    cr_assert_eq(lseek(fd, 100, SEEK_HOLE), 8192);
    cr_assert_eq(lseek(fd, 8192, SEEK_HOLE), 8192);
    cr_assert_eq(lseek(fd, 8192, SEEK_DATA), 1 << 20);
    cr_assert_eq(lseek(fd, 1 << 20, SEEK_HOLE), (1 << 20) + 4096);
    cr_assert_eq(lseek(fd, (1 << 20) + 4096, SEEK_DATA), -1);
    cr_assert_eq(errno, ENXIO);
    cr_assert_eq(lseek(fd, 2 << 20, SEEK_HOLE), -1);
    cr_assert_eq(errno, ENXIO);
    close(fd);
}

Test(mount_read, a_file_that_is_one_hole_has_no_data_and_no_blocks)
{
    struct sfs_builder *builder = mount_builder();
    mount_add(builder, "hole",
              &(struct sfs_builder_item){ .inode = { .mode = S_IFREG | 0644, .size = 64 << 20 } });
    mount_up(mount_tree(builder), (struct sfs_mount_options){ 0 });
    struct stat st;
    int fd = open(mount_path("hole"), O_RDONLY);
    cr_assert_eq(fstat(fd, &st), 0);
    cr_assert_eq(st.st_size, 64 << 20);
    cr_assert_eq(st.st_blocks, 0);
    cr_assert_eq(lseek(fd, 0, SEEK_HOLE), 0);
    cr_assert_eq(lseek(fd, 0, SEEK_DATA), -1);
    cr_assert_eq(errno, ENXIO);
    close(fd);
}

Test(mount_read, counts_blocks_without_holes)
{
    mount_sparse();
    struct stat st;
    cr_assert_eq(stat(mount_path("file"), &st), 0);
    cr_assert_eq(st.st_size, 2 << 20);
    cr_assert_eq(st.st_blocks, (8192 + 4096) / 512);
}

static void expect_eio(const char *name)
{
    char byte;
    int fd = open(mount_path(name), O_RDONLY);
    cr_assert_geq(fd, 0);
    cr_assert_eq(read(fd, &byte, 1), -1, "%s", name);
    cr_assert_eq(errno, EIO, "%s", name);
    close(fd);
}

Test(mount_read, fails_with_eio_and_says_why_once_a_layer)
{
    struct sfs_layer *layers[2];
    for (int i = 0; i < 2; i++) {
        struct sfs_builder *builder = mount_builder();
        const struct mount_content broken = { .size = 100 };
        mount_add_content(builder, i ? "top1" : "low1", 0644, broken);
        mount_add_content(builder, i ? "top2" : "low2", 0644, broken);
        mount_add_text(builder, i ? "good" : "fine", "good");
        layers[i] = mount_layer(builder, i ? "layer 1" : "layer 0");
    }
    mount_up(mount_tree_of(layers, 2), (struct sfs_mount_options){ 0 });
    expect_eio("low1");
    expect_eio("low2");
    expect_eio("low1");
    expect_eio("top1");
    expect_eio("top2");
    expect_bytes("good", "good", 4);
    cr_assert_eq(mount_end_by(SIGTERM), 0);
    cr_assert_str_eq(mount_hear(), "layer 0: bytes are damaged");
    cr_assert_str_eq(mount_hear(), "layer 1: bytes are damaged");
    cr_assert_str_eq(mount_hear(), "");
}

static void say_touch(void *user, size_t tree, sfs_node node, uint64_t offset, size_t size)
{
    (void)size;
    dprintf(*(int *)user, "touch %zu %u %llu\n", tree, node, (unsigned long long)offset);
}

Test(mount_read, tells_of_first_touches)
{
    struct sfs_builder *builder = mount_builder();
    mount_add_text(builder, "file", "hello");
    struct sfs_tree *tree = mount_tree(builder);
    sfs_node node;
    cr_assert_eq(sfs_tree_find(tree, SFS_ROOT, "file", 4, &node), 0);
    mount_up(tree, (struct sfs_mount_options){ .touch = say_touch });
    expect_bytes("file", "hello", 5);
    char expected[64];
    snprintf(expected, sizeof expected, "touch 0 %u 0", node);
    cr_assert_str_eq(mount_hear(), expected);
    expect_bytes("file", "hello", 5);
    cr_assert_eq(mount_end_by(SIGTERM), 0);
    cr_assert_str_eq(mount_hear(), "");
}
