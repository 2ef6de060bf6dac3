/* Mutates odd tars and asks readers what they make of each: ours, Go's (tar_lister.go over a pipe),
 * libarchive, and on every Nth GNU tar. Whoever is let in by us has to look the same to the others;
 * what we refuse and Go does not is counted by our words.
 *
 *   tar_mutations DIRECTORY LISTER COUNT SEED EVERY EXAMPLES [SAMPLES EACH]
 *
 * EXAMPLES: a directory for one tar of each class of differences. SAMPLES: one for each EACH-th tar
 * that we list, and for half of that share of those that we refuse and Go lists: tar_judges.py has
 * programs unpack them. Run by tar_mutations.sh. */
#include "base/buf.h"
#include "base/io.h"
#include "layer/tar_stream.h"

#include <archive.h>
#include <archive_entry.h>
#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define HASHED      (256u << 10)
#define MAX_VECTORS 128
#define MAX_CLASSES 256
#define BLOCK       512u

struct bytes {
    unsigned char *data;
    size_t size;
};

static struct bytes vectors[MAX_VECTORS];
static bool is_good[MAX_VECTORS]; /* listed by us as it is */
static size_t vector_count;
static uint64_t state;
static const char *examples, *samples;
static uint64_t each, sampled_from[2]; /* how many tars were refused, and listed */

static uint64_t next_random(void)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state * 0x2545f4914f6cdd1dull >> 11;
}

static size_t below(size_t limit)
{
    return limit ? (size_t)(next_random() % limit) : 0;
}

static void die(const char *what)
{
    fprintf(stderr, "tar_mutations: %s\n", what);
    exit(2);
}

/* ---- mutations ---- */

static void seal(unsigned char *header)
{
    unsigned sum = 0;
    memset(header + 148, ' ', 8);
    for (size_t i = 0; i < BLOCK; i++)
        sum += header[i];
    char text[8];
    snprintf(text, sizeof text, "%06o", sum & 0777777);
    memcpy(header + 148, text, 7);
}

static unsigned char *pick_block(struct bytes *tar)
{
    size_t blocks = tar->size / BLOCK;
    return blocks ? tar->data + below(blocks) * BLOCK : NULL;
}

static bool looks_like_header(const unsigned char *block)
{
    struct sfs_tar_header header;
    return sfs_tar_header_parse(block, &header, NULL) == 0;
}

/* Of a header, if one is found soon. */
static unsigned char *pick_header(struct bytes *tar)
{
    for (int i = 0; i < 16; i++) {
        unsigned char *block = pick_block(tar);
        if (block && looks_like_header(block))
            return block;
    }
    return pick_block(tar);
}

static void put_octal(unsigned char *field, size_t size, uint64_t value)
{
    for (size_t i = size - 1; i-- > 0; value >>= 3)
        field[i] = (unsigned char)('0' + (value & 7));
    field[size - 1] = 0;
}

static void mutate_type(struct bytes *tar)
{
    static const char types[] = "0123456789LKxgSVMDNAX7\0";
    unsigned char *header = pick_header(tar);
    if (header) {
        header[156] = (unsigned char)types[below(sizeof types - 1)];
        seal(header);
    }
}

static void mutate_size(struct bytes *tar)
{
    static const uint64_t sizes[] = { 0, 1, 5, 511, 512, 513, 1024, 1u << 20, 8589934591u };
    unsigned char *header = pick_header(tar);
    if (!header)
        return;
    size_t kind = below(8);
    if (kind == 0)
        header[124] = (unsigned char)(below(2) ? 0x80 : 0xff);
    else
        put_octal(header + 124, 12, sizes[below(sizeof sizes / sizeof *sizes)]);
    seal(header);
}

/* A byte of the header becomes one that means something there. */
static void mutate_header(struct bytes *tar)
{
    static const unsigned char bytes[] = { 0,   ' ', '0', '7', '8', '9',  '/',  '.',  'a',
                                           '-', '+', '=', ',', 1,   0x80, 0xff, '\n', '\t' };
    static const size_t places[] = { 0,   1,   99,  100, 124, 135, 136, 156, 157, 257, 262,
                                     263, 264, 329, 345, 346, 357, 475, 482, 483, 495, 508 };
    unsigned char *header = pick_header(tar);
    if (!header)
        return;
    size_t at = below(2) ? places[below(sizeof places / sizeof *places)] : below(BLOCK);
    header[at] = below(3) ? bytes[below(sizeof bytes)] : (unsigned char)next_random();
    if (below(16))
        seal(header);
}

static void mutate_bytes(struct bytes *tar)
{
    for (size_t i = below(4) + 1; i > 0 && tar->size; i--)
        tar->data[below(tar->size)] = (unsigned char)(below(2) ? '0' + below(10) : next_random());
}

static void insert(struct bytes *tar, size_t at, const void *data, size_t size)
{
    unsigned char *room = realloc(tar->data, tar->size + size);
    if (!room)
        die("out of memory");
    memmove(room + at + size, room + at, tar->size - at);
    memcpy(room + at, data, size);
    *tar = (struct bytes){ room, tar->size + size };
}

static size_t pick_boundary(const struct bytes *tar)
{
    return below(tar->size / BLOCK + 1) * BLOCK;
}

/* A block, or a few, of this or another tar, or of zeros. */
static void mutate_splice(struct bytes *tar)
{
    static const unsigned char zeros[2 * BLOCK];
    const struct bytes *from = &vectors[below(vector_count)];
    size_t blocks = from->size / BLOCK, at = pick_boundary(tar);
    if (blocks == 0 || below(4) == 0) {
        insert(tar, at, zeros, (below(2) + 1) * BLOCK);
        return;
    }
    size_t first = below(blocks), count = below(3) + 1;
    count = count < blocks - first ? count : blocks - first;
    insert(tar, at, from->data + first * BLOCK, count * BLOCK);
}

static void mutate_cut(struct bytes *tar)
{
    if (below(2) || tar->size < 2 * BLOCK) {
        tar->size = below(tar->size + 1);
        return;
    }
    size_t at = below(tar->size / BLOCK) * BLOCK;
    memmove(tar->data + at, tar->data + at + BLOCK, tar->size - at - BLOCK);
    tar->size -= BLOCK;
}

static size_t put_record(char *text, size_t room, const char *key, const char *value)
{
    size_t rest = strlen(key) + strlen(value) + 3, length = rest;
    for (int i = 0; i < 3; i++)
        length = rest + (size_t)snprintf(NULL, 0, "%zu", length);
    return (size_t)snprintf(text, room, "%zu %s=%s\n", length, key, value);
}

/* A pax header or a long name of the kinds that readers quarrel about. */
static void mutate_extended(struct bytes *tar)
{
    static const char *const keys[] = { "path",
                                        "linkpath",
                                        "size",
                                        "mtime",
                                        "uid",
                                        "comment",
                                        "GNU.sparse.map",
                                        "GNU.sparse.size",
                                        "GNU.sparse.name",
                                        "GNU.sparse.major",
                                        "GNU.sparse.minor",
                                        "GNU.sparse.numblocks",
                                        "GNU.sparse.realsize",
                                        "hdrcharset",
                                        "SCHILY.xattr.user.a",
                                        "SCHILY.realsize",
                                        "GNU.sparse.offset",
                                        "GNU.sparse.numbytes",
                                        "charset",
                                        "SCHILY.devmajor" };
    static const char *const values[] = { "0",   "1",    "5",   "512",   "a",   "dir/",
                                          "a/b", "",     "-1",  "0,1,4", "0,4", "1.5",
                                          "+5",  "0x5",  " 5",  "x\n",   "é",   "BINARY",
                                          "0,0", "-1.5", "200", "15" };
    unsigned char block[2 * BLOCK] = "ext";
    bool is_long = below(4) == 0;
    char *text = (char *)block + BLOCK;
    size_t size = 0, count = below(3) + 1;
    for (size_t i = 0; !is_long && i < count; i++)
        size += put_record(text + size, BLOCK - size, keys[below(sizeof keys / sizeof *keys)],
                           values[below(sizeof values / sizeof *values)]);
    if (is_long)
        size = (size_t)snprintf(text, BLOCK, "%s", values[below(sizeof values / sizeof *values)]) +
               below(2);
    put_octal(block + 100, 8, 0644);
    put_octal(block + 108, 8, 0);
    put_octal(block + 116, 8, 0);
    put_octal(block + 124, 12, size);
    put_octal(block + 136, 12, 0);
    memcpy(block + 257, is_long ? "ustar  " : "ustar\00000", 8);
    block[156] = (unsigned char)(is_long ? "LK"[below(2)] : below(8) ? 'x' : 'g');
    seal(block);
    insert(tar, pick_boundary(tar), block, (size > 0 ? 2 : 1) * BLOCK);
}

/* Nearly always one that is listed as it is: of the others nothing is left to compare. */
static const struct bytes *pick_vector(void)
{
    size_t i = below(vector_count);
    for (size_t tries = below(8) ? vector_count : 0; tries > 0 && !is_good[i]; tries--)
        i = (i + 1) % vector_count;
    return &vectors[i];
}

/* Whole blocks without the zeros at the end, so that another tar can follow. */
static size_t end_of_members(const struct bytes *tar)
{
    size_t end = tar->size / BLOCK * BLOCK;
    while (end > 0 && sfs_tar_is_zero_block(tar->data + end - BLOCK))
        end -= BLOCK;
    return end;
}

static void mutate(struct bytes *tar)
{
    static void (*const kinds[])(struct bytes *) = {
        mutate_type,  mutate_size,   mutate_header, mutate_header,   mutate_header,
        mutate_bytes, mutate_splice, mutate_cut,    mutate_extended, mutate_extended,
    };
    *tar = (struct bytes){ malloc(1), 0 };
    for (size_t i = below(3) + 1; i > 0; i--) {
        const struct bytes *from = pick_vector();
        size_t size = i == 1 ? from->size : end_of_members(from);
        insert(tar, tar->size, from->data, size);
    }
    for (size_t i = below(2) + 1; i > 0; i--)
        kinds[below(sizeof kinds / sizeof *kinds)](tar);
}

/* ---- listings ---- */

static void add_escaped(struct sfs_buf *out, const char *text)
{
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        if (c > ' ' && c < 0x7f && c != '%')
            sfs_buf_add(out, text, 1);
        else
            sfs_buf_printf(out, "%%%02x", c);
    }
}

static uint64_t hash_bytes(uint64_t hash, const unsigned char *data, size_t size)
{
    for (size_t i = 0; i < size; i++)
        hash = (hash ^ data[i]) * 0x100000001b3ull;
    return hash;
}

static void add_line(struct sfs_buf *out, char kind, uint64_t size, const unsigned char *data,
                     const char *name, const char *link)
{
    uint64_t hash = hash_bytes(0xcbf29ce484222325ull, data, size < HASHED ? (size_t)size : HASHED);
    sfs_buf_printf(out, "%c %" PRIu64 " %016" PRIx64 " ", kind, size, hash);
    add_escaped(out, name);
    sfs_buf_add_str(out, " ");
    add_escaped(out, link);
    sfs_buf_add_str(out, "\n");
}

static char kind_of(uint32_t mode)
{
    switch (mode & S_IFMT) {
    case S_IFREG:
        return 'f';
    case S_IFLNK:
        return 'l';
    case S_IFCHR:
        return 'c';
    case S_IFBLK:
        return 'b';
    case S_IFDIR:
        return 'd';
    case S_IFIFO:
        return 'p';
    default:
        return '?';
    }
}

struct lent { /* a tar, in pieces of odd sizes, so that blocks are cut */
    const struct bytes *tar;
    size_t at, step;
};

static int lend(void *user, const void **ret_data, size_t *ret_size, struct sfs_error *err)
{
    struct lent *lent = user;
    (void)err;
    size_t left = lent->tar->size - lent->at;
    *ret_size = left < lent->step ? left : lent->step;
    *ret_data = lent->tar->data + lent->at;
    lent->at += *ret_size;
    return 0;
}

static void add_member(struct sfs_buf *out, const struct bytes *tar,
                       const struct sfs_tar_member *member)
{
    static unsigned char data[HASHED];
    bool is_file = S_ISREG(member->inode.mode) && !member->hard_link;
    memset(data, 0, is_file && member->inode.size < HASHED ? member->inode.size : HASHED);
    for (size_t i = 0; i < member->extent_count; i++) {
        const struct sfs_extent *extent = &member->extents[i];
        if (extent->file_offset >= HASHED)
            break;
        size_t room = HASHED - (size_t)extent->file_offset;
        /* A file that is cut off is refused by the next call. */
        if (extent->data_offset + extent->size <= tar->size)
            memcpy(data + extent->file_offset, tar->data + extent->data_offset,
                   extent->size < room ? (size_t)extent->size : room);
    }
    add_line(out, member->hard_link ? 'h' : kind_of(member->inode.mode),
             is_file ? member->inode.size : 0, data, member->name,
             member->link ? member->link : "");
}

static bool list_ours(const struct bytes *tar, struct sfs_buf *out, struct sfs_error *err)
{
    struct lent lent = { tar, 0, below(3) ? 65536 : 100 + below(1000) };
    const struct sfs_tar_source source = { .next = lend, .user = &lent };
    struct sfs_tar_stream *stream = sfs_tar_stream_open(&source);
    struct sfs_tar_member member;
    int r;
    if (!stream)
        die("out of memory");
    while ((r = sfs_tar_stream_next(stream, &member, err)) > 0)
        add_member(out, tar, &member);
    sfs_tar_stream_close(&stream);
    return r == 0;
}

static bool add_archive_entry(struct archive *archive, struct archive_entry *entry,
                              struct sfs_buf *out)
{
    static unsigned char data[HASHED];
    const char *name = archive_entry_pathname(entry), *hard = archive_entry_hardlink(entry);
    const char *link = hard ? hard : archive_entry_symlink(entry);
    char kind = hard ? 'h' : kind_of(archive_entry_filetype(entry));
    uint64_t size = kind == 'f' ? (uint64_t)archive_entry_size(entry) : 0, at = 0;
    if (!name)
        return false;
    while (at < size && at < HASHED) {
        size_t part = size - at < HASHED - at ? (size_t)(size - at) : (size_t)(HASHED - at);
        la_ssize_t n = archive_read_data(archive, data + at, part);
        if (n < 0)
            return false;
        if (n == 0)
            memset(data + at, 0, part);
        at += n > 0 ? (uint64_t)n : part;
    }
    add_line(out, kind, size, data, name, link ? link : "");
    return true;
}

static bool list_archive(const struct bytes *tar, struct sfs_buf *out)
{
    struct archive *archive = archive_read_new();
    struct archive_entry *entry;
    archive_read_support_format_tar(archive);
    archive_read_support_format_empty(archive);
    int r = archive_read_open_memory(archive, tar->data, tar->size);
    bool good = r == ARCHIVE_OK;
    while (good && (r = archive_read_next_header(archive, &entry)) != ARCHIVE_EOF)
        good = (r == ARCHIVE_OK || r == ARCHIVE_WARN) && add_archive_entry(archive, entry, out);
    archive_read_free(archive);
    return good;
}

/* What GNU tar prints: a letter, a size and a name, which stands behind the time. */
static bool list_gnu(const struct bytes *tar, struct sfs_buf *out, bool *ret_good)
{
    char path[256], command[640], line[8192];
    snprintf(path, sizeof path, "%s/gnu.tar", examples);
    FILE *file = fopen(path, "we");
    if (!file || fwrite(tar->data, 1, tar->size, file) != tar->size || fclose(file) != 0)
        return false;
    snprintf(command, sizeof command,
             "LC_ALL=C TZ=UTC timeout 10 tar -tvf %s --numeric-owner --quoting-style=literal "
             "2>/dev/null",
             path);
    FILE *pipe = popen(command, "re");
    while (pipe && fgets(line, sizeof line, pipe)) {
        char kind, size[64];
        int at = 0;
        if (sscanf(line, "%c%*s %*s %63s %*s %*s%n", &kind, size, &at) != 2 || !at)
            continue;
        line[strcspn(line, "\n")] = 0;
        kind = kind == '-' || kind == 'C' ? 'f' : kind;
        sfs_buf_printf(out, "%c %s ", kind, kind == 'f' ? size : "0");
        add_escaped(out, line + at + (line[at] == ' '));
        sfs_buf_add_str(out, "\n");
    }
    *ret_good = pipe && pclose(pipe) == 0;
    return true;
}

/* ---- Go's reader ---- */

static FILE *to_go, *from_go;

static void start_go(const char *lister)
{
    int in[2], out[2];
    if (pipe2(in, O_CLOEXEC) < 0 || pipe2(out, O_CLOEXEC) < 0)
        die("no pipe");
    if (fork() == 0) {
        dup2(in[0], 0);
        dup2(out[1], 1);
        execl(lister, lister, (char *)NULL);
        _exit(127);
    }
    close(in[0]);
    close(out[1]);
    to_go = fdopen(in[1], "w");
    from_go = fdopen(out[0], "r");
}

static bool list_go(const struct bytes *tar, struct sfs_buf *out)
{
    uint32_t size = (uint32_t)tar->size;
    if (fwrite(&size, sizeof size, 1, to_go) != 1 ||
        fwrite(tar->data, 1, tar->size, to_go) != tar->size || fflush(to_go) != 0 ||
        fread(&size, sizeof size, 1, from_go) != 1)
        die("the lister of Go is gone");
    char *place = sfs_buf_grow(out, size);
    if (!place || fread(place, 1, size, from_go) != size)
        die("the lister of Go is gone");
    bool good = out->size >= 3 && memcmp(out->data + out->size - 3, "ok\n", 3) == 0;
    out->size -= good ? strlen("ok\n") : strlen("refused\n");
    out->data[out->size] = 0;
    return good;
}

/* ---- comparing ---- */

struct class
{
    char name[160];
    uint64_t count;
};
static struct class classes[MAX_CLASSES];
static size_t class_count;

static void write_tar(const struct bytes *tar, const char *dir, const char *kind, uint64_t number)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s%03" PRIu64 ".tar", dir, kind, number);
    FILE *file = fopen(path, "we");
    if (!file || fwrite(tar->data, 1, tar->size, file) != tar->size || fclose(file) != 0)
        die("cannot write a tar");
}

static void sample(const struct bytes *tar, bool is_listed)
{
    uint64_t step = is_listed ? each : 2 * each;
    uint64_t number = sampled_from[is_listed]++;
    if (samples && number % step == 0)
        write_tar(tar, samples, is_listed ? "listed-" : "refused-", number / step);
}

static void count(const char *who, const char *what, const struct bytes *tar)
{
    char name[160];
    snprintf(name, sizeof name, "%s: %s", who, what);
    for (size_t i = 0; i < class_count; i++) {
        if (strcmp(classes[i].name, name) == 0) {
            classes[i].count++;
            return;
        }
    }
    if (class_count == MAX_CLASSES)
        die("too many classes");
    snprintf(classes[class_count].name, sizeof classes->name, "%s", name);
    classes[class_count].count = 1;
    write_tar(tar, examples, "", class_count++);
}

/* Our words without what differs from tar to tar: names in quotes (but for keys), and numbers. */
static void strip_words(const char *text, char out[120])
{
    size_t used = 0;
    bool quoted = false;
    const char *start =
        strstr(text, "the tar is malformed behind ") ? strstr(text, "\": ") : strstr(text, ": ");
    text = start ? start + strcspn(start, " ") + 1 : text;
    if (strncmp(text, "the pax record", 14) == 0) {
        snprintf(out, 120, "%.100s", text);
        return;
    }
    for (; *text && used + 2 < 120; text++) {
        if (*text == '"' || *text == '\'')
            quoted = !quoted;
        if (quoted)
            continue;
        bool digit = *text >= '0' && *text <= '9';
        if (!digit || used == 0 || out[used - 1] != 'N')
            out[used++] = digit ? 'N' : *text;
    }
    out[used] = 0;
}

/* Lines with names as an extraction would take them: no "./", no double or trailing slash. */
static void normalise(struct sfs_buf *lines)
{
    size_t to = 0;
    for (size_t i = 0; i < lines->size; i++) {
        char c = lines->data[i], last = to ? lines->data[to - 1] : '\n';
        bool starts = last == ' ' || last == '\n' || last == '/';
        if (c == '/' && (last == '/' || last == ' '))
            continue;
        if (starts && c == '.' && lines->data[i + 1] == '/')
            continue;
        if ((c == ' ' || c == '\n') && last == '/')
            to--;
        lines->data[to++] = c;
    }
    lines->size = to;
    if (lines->data)
        lines->data[to] = 0;
}

/* Of our lines what GNU tar's tell as well. */
static void shorten(const struct sfs_buf *lines, struct sfs_buf *out)
{
    const char *at = lines->data;
    while (at && *at) {
        char kind, size[32], name[4096] = "", link[4096] = "";
        const char *end = strchr(at, '\n');
        sscanf(at, "%c %31s %*s %4095[^ \n] %4095[^\n]", &kind, size, name, link);
        sfs_buf_printf(out, "%c %s %s", kind, size, name);
        if (kind == 'h' || kind == 'l')
            sfs_buf_printf(out, "%%20%s%%20%s", kind == 'h' ? "link%20to" : "->", link);
        sfs_buf_add_str(out, "\n");
        at = end + 1;
    }
}

static const char *how_they_differ(const char *ours, const char *theirs)
{
    for (; *ours && *theirs; ours = strchr(ours, '\n') + 1, theirs = strchr(theirs, '\n') + 1) {
        size_t size = strcspn(ours, "\n"), other = strcspn(theirs, "\n");
        if (size == other && memcmp(ours, theirs, size) == 0)
            continue;
        if (*ours == 'd' && *theirs == 'f')
            return "an empty file whose name ends with a slash is a directory to us";
        if (*ours != *theirs)
            return "another type";
        const char *a = strchr(ours + 2, ' '), *b = strchr(theirs + 2, ' ');
        if (a - ours != b - theirs || memcmp(ours, theirs, (size_t)(a - ours)) != 0)
            return "another size";
        if (*ours == 'f' && a[17] == ' ' && memcmp(a, b, 17) != 0)
            return "other contents";
        return "another name or link";
    }
    return *ours ? "we list more members" : "we list fewer members";
}

static void compare_with(const char *who, const struct bytes *tar, struct sfs_buf *ours,
                         struct sfs_buf *theirs, bool good)
{
    char what[64];
    snprintf(what, sizeof what, "we list, %s", who);
    if (!good)
        count(what, "refuses", tar);
    else if (strcmp(ours->size ? ours->data : "", theirs->size ? theirs->data : "") != 0)
        count(what, how_they_differ(ours->size ? ours->data : "", theirs->size ? theirs->data : ""),
              tar);
}

static void compare_gnu(const struct bytes *tar, const struct sfs_buf *ours)
{
    AUTO(sfs_buf_close) struct sfs_buf gnu = { 0 }, brief = { 0 };
    bool good;
    if (!list_gnu(tar, &gnu, &good))
        die("cannot write a tar for GNU tar");
    shorten(ours, &brief);
    normalise(&brief);
    normalise(&gnu);
    compare_with("GNU tar", tar, &brief, &gnu, good);
}

static uint64_t both_list, both_refuse;

static void try_one(const struct bytes *tar, bool ask_gnu)
{
    AUTO(sfs_buf_close) struct sfs_buf ours = { 0 }, go = { 0 }, other = { 0 };
    struct sfs_error err;
    bool good = list_ours(tar, &ours, &err), go_good = list_go(tar, &go);
    if (good || go_good)
        sample(tar, good);
    if (!good) {
        char words[120];
        strip_words(err.text, words);
        both_refuse += !go_good;
        if (go_good)
            count("we refuse, Go lists", words, tar);
        return;
    }
    both_list += go_good;
    compare_with("Go", tar, &ours, &go, go_good);
    if (!go_good)
        return;
    if (ask_gnu)
        compare_gnu(tar, &ours);
    good = list_archive(tar, &other);
    normalise(&ours);
    normalise(&other);
    compare_with("libarchive", tar, &ours, &other, good);
}

static bool is_listed(const struct bytes *tar)
{
    AUTO(sfs_buf_close) struct sfs_buf lines = { 0 };
    return list_ours(tar, &lines, NULL);
}

static void read_vectors(const char *path)
{
    DIR *dir = opendir(path);
    const struct dirent *entry;
    char name[1024];
    while (dir && (entry = readdir(dir)) && vector_count < MAX_VECTORS) {
        struct bytes *vector = &vectors[vector_count];
        if (!strstr(entry->d_name, ".tar"))
            continue;
        snprintf(name, sizeof name, "%s/%s", path, entry->d_name);
        if (sfs_io_read_file(AT_FDCWD, name, 1 << 20, (char **)&vector->data, &vector->size, NULL))
            die("cannot read a vector");
        is_good[vector_count] = is_listed(vector);
        vector_count++;
    }
    if (vector_count == 0)
        die("no vectors there");
    closedir(dir);
}

static int compare_counts(const void *a, const void *b)
{
    const struct class *left = a, *right = b;
    return strcmp(left->name, right->name);
}

int main(int argc, char **argv)
{
    if (argc != 7 && argc != 9)
        die("DIRECTORY LISTER COUNT SEED EVERY EXAMPLES [SAMPLES EACH]");
    start_go(argv[2]);
    uint64_t wanted = strtoull(argv[3], NULL, 10), every = strtoull(argv[5], NULL, 10), listed = 0;
    state = strtoull(argv[4], NULL, 10) * 0x9e3779b97f4a7c15ull + 1;
    examples = argv[6];
    samples = argc == 9 ? argv[7] : NULL;
    each = samples ? strtoull(argv[8], NULL, 10) : 1;
    if (each == 0)
        die("EACH is a number from 1 on");
    read_vectors(argv[1]);
    for (uint64_t i = 0; i < wanted; i++) {
        struct bytes tar;
        uint64_t before = both_list;
        mutate(&tar);
        try_one(&tar, every && listed % every == 0);
        listed += both_list > before;
        free(tar.data);
    }
    printf("%" PRIu64 " mutations: both list %" PRIu64 ", both refuse %" PRIu64 "\n", wanted,
           both_list, both_refuse);
    for (size_t i = 0; i < class_count; i++) /* with the number of its example */
        snprintf(classes[i].name + strlen(classes[i].name),
                 sizeof classes->name - strlen(classes[i].name), " (%03zu.tar)", i);
    qsort(classes, class_count, sizeof *classes, compare_counts);
    for (size_t i = 0; i < class_count; i++)
        printf("%8" PRIu64 "  %s\n", classes[i].count, classes[i].name);
    fclose(to_go);
    wait(NULL);
    return 0;
}
