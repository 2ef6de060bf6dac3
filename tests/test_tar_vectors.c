/* Odd tars of other people: each is shown as libarchive reads it, or refused with one sentence. */
#include "layer_fixture.h"
#include "support.h"

#include <archive.h>
#include <archive_entry.h>
#include <dirent.h>

static char folder[4096];

static void open_vectors(void)
{
    support_vectors("tar", folder);
    fixture_open();
}

TestSuite(tar_vectors, .init = open_vectors, .fini = fixture_close, .timeout = 600);

struct listed { /* one entry as libarchive has it */
    char path[512];
    unsigned type;
    uint64_t size;
    char *data;
    char target[512];
    bool hard;
};

struct listing {
    struct listed entries[64];
    size_t count;
    bool whole; /* libarchive read to the end */
};

/* Without "./", "//" and trailing slashes, as the tables have it. */
static void normalise(const char *path, char out[512])
{
    size_t used = 0;
    while (*path) {
        size_t size = strcspn(path, "/");
        if (size > 0 && !(size == 1 && *path == '.')) {
            used += (size_t)snprintf(out + used, 512 - used, "%s%.*s", used ? "/" : "", (int)size,
                                     path);
            cr_assert_lt(used, 512);
        }
        path += size;
        path += strspn(path, "/");
    }
    out[used] = 0;
}

static bool read_data(struct archive *archive, struct listed *listed)
{
    if (listed->type != S_IFREG || listed->size > 64 << 20)
        return true;
    listed->data = calloc(1, listed->size + 1);
    for (uint64_t at = 0; at < listed->size;) {
        la_ssize_t n = archive_read_data(archive, listed->data + at, listed->size - at);
        if (n < 0)
            return false;
        if (n == 0)
            break;
        at += (uint64_t)n;
    }
    return true;
}

static void list(const char *data, size_t size, struct listing *listing)
{
    struct archive *archive = archive_read_new();
    struct archive_entry *entry;
    archive_read_support_format_tar(archive);
    archive_read_support_format_empty(archive);
    int status = archive_read_open_memory(archive, data, size);
    while (status == ARCHIVE_OK) {
        int found = archive_read_next_header(archive, &entry);
        if (found == ARCHIVE_EOF) {
            listing->whole = true;
            break;
        }
        const char *path = archive_entry_pathname(entry);
        if ((found != ARCHIVE_OK && found != ARCHIVE_WARN) || !path || listing->count == 64)
            break;
        struct listed *listed = &listing->entries[listing->count++];
        normalise(path, listed->path);
        listed->type = archive_entry_filetype(entry);
        listed->size = (uint64_t)archive_entry_size(entry);
        const char *link = archive_entry_hardlink(entry);
        listed->hard = link;
        if (link)
            normalise(link, listed->target);
        else if (archive_entry_symlink(entry))
            snprintf(listed->target, sizeof listed->target, "%s", archive_entry_symlink(entry));
        if (!read_data(archive, listed))
            break;
    }
    archive_read_free(archive);
}

static bool is_replaced(const struct listing *listing, size_t i)
{
    const char *path = listing->entries[i].path;
    size_t size = strlen(path);
    for (size_t j = i + 1; j < listing->count; j++) {
        const struct listed *later = &listing->entries[j];
        size_t later_size = strlen(later->path);
        if (strcmp(later->path, path) == 0 ||
            (later->type != S_IFDIR && later_size < size && path[later_size] == '/' &&
             memcmp(later->path, path, later_size) == 0))
            return true;
    }
    return false;
}

static const struct listed *find_target(const struct listing *listing, size_t i)
{
    const struct listed *entry = &listing->entries[i];
    for (size_t j = i; entry->hard && j-- > 0;)
        if (strcmp(listing->entries[j].path, entry->target) == 0)
            return find_target(listing, j);
    return entry;
}

static void compare(const char *name, struct sfs_layer *layer, const struct listing *listing)
{
    size_t shown = 0;
    for (size_t i = 0; i < listing->count; i++) {
        const struct listed *entry = find_target(listing, i);
        const char *path = listing->entries[i].path;
        if (is_replaced(listing, i))
            continue;
        shown++;
        const struct sfs_inode_rec *inode = fixture_inode(layer, path);
        if (entry->hard) { /* its target is not in the archive */
            cr_assert_str_eq(layer->tables.strings + inode->string, entry->target);
            continue;
        }
        cr_assert_eq(inode->mode & S_IFMT, entry->type, "%s: %s has another type", name, path);
        if (S_ISREG(inode->mode))
            cr_assert_eq(inode->size, entry->size, "%s: %s has another size", name, path);
        if (S_ISLNK(inode->mode))
            cr_assert_str_eq(layer->tables.strings + inode->string, entry->target);
        if (entry->data)
            fixture_expect_bytes(layer, path, entry->data, entry->size);
    }
    for (sfs_entry i = 1; i < layer->tables.entry_count; i++)
        shown -= !(layer->tables.entries[i].flags & SFS_ENTRY_IMPLIED);
    shown -= !(layer->tables.entries[0].flags & SFS_ENTRY_IMPLIED);
    cr_assert_eq(shown, 0, "%s: more or fewer names than libarchive lists", name);
}

/* 1: shown; 0: refused. */
static int try_vector(const char *name)
{
    char path[4400];
    AUTO(sfs_free) char *data = NULL;
    size_t size = 0;
    static struct listing listing;
    memset(&listing, 0, sizeof listing);
    snprintf(path, sizeof path, "%s/%s", folder, name);
    cr_assert_eq(sfs_io_read_file(AT_FDCWD, path, 64 << 20, &data, &size, &err), 0, "%s", err.text);
    AUTO(sfs_layer_close) struct sfs_layer *layer = NULL;
    err.text[0] = 0;
    int r = fixture_try(data, size, &layer);
    list(data, size, &listing);
    if (r == 0) {
        cr_assert(listing.whole, "%s: shown, but libarchive does not read it", name);
        compare(name, layer, &listing);
    } else {
        cr_assert_eq(r, -EBADMSG, "%s: %d", name, r);
        cr_assert_neq(err.text[0], 0, "%s: refused without words", name);
        if (getenv("SFS_VERBOSE"))
            printf("%s: %s%s\n", name, err.text, listing.whole ? " (libarchive reads it)" : "");
    }
    for (size_t i = 0; i < listing.count; i++)
        free(listing.entries[i].data);
    return r == 0;
}

Test(tar_vectors, are_shown_as_libarchive_reads_them_or_refused)
{
    DIR *dir = opendir(folder);
    if (!dir)
        cr_assert_fail("%s is not there", folder);
    unsigned shown = 0, refused = 0;
    const struct dirent *entry;
    while ((entry = readdir(dir))) {
        size_t size = strlen(entry->d_name);
        if (size < 4 || strcmp(entry->d_name + size - 4, ".tar") != 0)
            continue;
        if (try_vector(entry->d_name))
            shown++;
        else
            refused++;
    }
    closedir(dir);
    cr_assert_gt(shown, refused, "%u shown, %u refused", shown, refused);
}
