/* The document of SOCI's table, and what it says of each member of the tar. */
#include "layer/ztoc.h"

#include "base/limits.h"
#include "layer/toc.h"
#include "layer/whiteout.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* The fields of the tables, in the order of SOCI's schema. */
enum { ZTOC_VERSION, ZTOC_TOOL, ZTOC_IN_SIZE, ZTOC_OUT_SIZE, ZTOC_TOC, ZTOC_POINTS };
enum { TOC_MEMBERS };
enum {
    MEMBER_NAME,
    MEMBER_TYPE,
    MEMBER_OFFSET,
    MEMBER_SIZE,
    MEMBER_LINK,
    MEMBER_MODE,
    MEMBER_UID,
    MEMBER_GID,
    MEMBER_UNAME,
    MEMBER_GNAME,
    MEMBER_TIME,
    MEMBER_MAJOR,
    MEMBER_MINOR,
    MEMBER_RECORDS
};
enum { RECORD_KEY, RECORD_VALUE };

#define BLOCK      512u
#define RECORD_MAX (64u << 10) /* pax records of one member */

static int get_size(const struct sfs_flatbuffer_table *table, unsigned field, uint64_t *ret_size,
                    struct sfs_error *err)
{
    int64_t number;
    int r = sfs_flatbuffer_number(table, field, 8, 0, &number, err);
    if (r == 0 && number < 0)
        return sfs_fail(err, EBADMSG, "a size is below zero");
    if (r == 0)
        *ret_size = (uint64_t)number;
    return r;
}

int sfs_ztoc_open(const void *data, size_t size, struct sfs_ztoc *ret_ztoc, struct sfs_error *err)
{
    struct sfs_flatbuffer_table root, toc;
    struct sfs_flatbuffer_text version;
    *ret_ztoc = (struct sfs_ztoc){ .buffer = { data, size } };
    int r = size > SFS_MAX_ZTOC ? sfs_fail(err, E2BIG, "it is larger than %u bytes", SFS_MAX_ZTOC)
                                : sfs_flatbuffer_root(&ret_ztoc->buffer, &root, err);
    if (r == 0)
        r = sfs_flatbuffer_text(&root, ZTOC_VERSION, &version, err);
    if (r == 0 && strcmp(version.data, "0.9") != 0)
        r = sfs_fail(err, ENOTSUP, "it is of version \"%.20s\"", version.data);
    if (r == 0)
        r = get_size(&root, ZTOC_IN_SIZE, &ret_ztoc->in_size, err);
    if (r == 0)
        r = get_size(&root, ZTOC_OUT_SIZE, &ret_ztoc->out_size, err);
    if (r == 0)
        r = sfs_flatbuffer_table(&root, ZTOC_TOC, &toc, err);
    if (r == 0)
        r = sfs_flatbuffer_vector(&toc, TOC_MEMBERS, sizeof(uint32_t), &ret_ztoc->members, err);
    if (r == 0)
        r = sfs_flatbuffer_table(&root, ZTOC_POINTS, &ret_ztoc->points, err);
    if (r == 0 && ret_ztoc->members.count > SFS_MAX_ZTOC_MEMBERS)
        return sfs_fail(err, E2BIG, "it has more than %u files", SFS_MAX_ZTOC_MEMBERS);
    return r;
}

/* ---- one member */

/* Reads members one after the other. The first failure stays in `r`, and what is read after it is
 * empty, so that a list of fields is a list of calls. */
struct member_reader {
    const struct sfs_ztoc *ztoc;
    struct sfs_flatbuffer_table table; /* of the present member */
    struct sfs_error *err;
    int r;
    uint64_t next;     /* where in the tar the next header stands */
    size_t text_bytes; /* of all texts so far */
    struct sfs_extent extent;
    struct sfs_buf records; /* struct sfs_tar_record */
};

static void done_reader(struct member_reader *reader)
{
    sfs_buf_close(&reader->records);
}

static void fail(struct member_reader *reader, int code, const char *why)
{
    if (reader->r == 0)
        reader->r = sfs_fail(reader->err, code, "%s", why);
}

/* Counts what is read: texts that are named again and again would cost more than the document has
 * bytes, and no honest one has such. */
static void count_text(struct member_reader *reader, const struct sfs_flatbuffer_text *text)
{
    reader->text_bytes += text->size + 1;
    if (reader->text_bytes > reader->ztoc->buffer.size)
        fail(reader, EBADMSG, "its texts are longer than it is itself");
}

/* A text without a NUL inside. */
static const char *get_text(struct member_reader *reader, unsigned field)
{
    struct sfs_flatbuffer_text text = { "", 0 };
    if (reader->r == 0)
        reader->r = sfs_flatbuffer_text(&reader->table, field, &text, reader->err);
    if (reader->r == 0)
        count_text(reader, &text);
    if (reader->r == 0 && strlen(text.data) != text.size)
        fail(reader, EBADMSG, "a text has a NUL");
    return reader->r == 0 ? text.data : "";
}

/* A number of 0..max. */
static uint64_t get_number(struct member_reader *reader, unsigned field, unsigned size,
                           uint64_t max)
{
    int64_t number = 0;
    if (reader->r == 0)
        reader->r = sfs_flatbuffer_number(&reader->table, field, size, 0, &number, reader->err);
    if (reader->r == 0 && (number < 0 || (uint64_t)number > max))
        fail(reader, EBADMSG, "a number is out of range");
    return reader->r == 0 ? (uint64_t)number : 0;
}

/* The file type that a word stands for; 0: none. A hard link's is its target's. */
static uint32_t type_of(const char *word)
{
    static const struct {
        const char *word;
        uint32_t mode;
    } types[] = { { "reg", S_IFREG },     { "hardlink", S_IFREG }, { "dir", S_IFDIR },
                  { "symlink", S_IFLNK }, { "char", S_IFCHR },     { "block", S_IFBLK },
                  { "fifo", S_IFIFO } };
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (strcmp(word, types[i].word) == 0)
            return types[i].mode;
    return 0;
}

static void get_names(struct member_reader *reader, struct sfs_tar_member *member)
{
    const char *type = get_text(reader, MEMBER_TYPE), *link = get_text(reader, MEMBER_LINK);
    member->name = get_text(reader, MEMBER_NAME);
    member->inode.mode = type_of(type);
    member->hard_link = strcmp(type, "hardlink") == 0;
    bool has_target = member->hard_link || S_ISLNK(member->inode.mode);
    member->link = has_target ? link : NULL;
    if (!member->inode.mode)
        fail(reader, EBADMSG, "its type is unknown");
    if (!*member->name || (has_target && !*link))
        fail(reader, EBADMSG, "a name is empty");
    if (sfs_estargz_is_mark(member->name))
        fail(reader, ENOTSUP, "it may be a mark of eStargz, which no file is");
}

/* Go prints the zone of the machine that made the table, without its seconds, which zones have had
 * before our time: then the text is another time. */
static void get_time(struct member_reader *reader, struct sfs_inode_rec *inode)
{
    const char *text = get_text(reader, MEMBER_TIME);
    if (sfs_toc_time_parse(text, inode) < 0 ||
        (inode->mtime_sec < 0 && text[strlen(text) - 1] != 'Z'))
        fail(reader, ENOTSUP, "its time is none that the table can say");
}

static void get_inode(struct member_reader *reader, struct sfs_inode_rec *inode)
{
    bool device = S_ISCHR(inode->mode) || S_ISBLK(inode->mode);
    uint64_t major = get_number(reader, MEMBER_MAJOR, 8, INT64_MAX);
    uint64_t minor = get_number(reader, MEMBER_MINOR, 8, INT64_MAX);
    inode->mode |= get_number(reader, MEMBER_MODE, 8, INT64_MAX) & 07777;
    inode->uid = (uint32_t)get_number(reader, MEMBER_UID, 4, UINT32_MAX - 1);
    inode->gid = (uint32_t)get_number(reader, MEMBER_GID, 4, UINT32_MAX - 1);
    inode->rdev_major = device ? (uint32_t)major : 0;
    inode->rdev_minor = device ? (uint32_t)minor : 0;
    if (device && (major >= 1u << 12 || minor >= 1u << 20))
        fail(reader, EBADMSG, "its device number is out of range");
    get_time(reader, inode);
}

/* Finds the header, which the table does not name: it stands where the bytes before it end. */
static void get_place(struct member_reader *reader, struct sfs_tar_member *member)
{
    uint64_t end = reader->ztoc->out_size, at = get_number(reader, MEMBER_OFFSET, 8, INT64_MAX);
    uint64_t size = get_number(reader, MEMBER_SIZE, 8, INT64_MAX);
    bool is_file = S_ISREG(member->inode.mode) && !member->hard_link;
    member->start = reader->next;
    member->data_offset = at;
    member->inode.size = is_file ? size : 0;
    if (at % BLOCK != 0 || at > end || at < reader->next || at - reader->next < BLOCK ||
        member->inode.size > end - at)
        fail(reader, EBADMSG, "its place is out of order, or outside of the tar");
    if (is_file && member->name[0] && member->name[strlen(member->name) - 1] == '/')
        fail(reader, ENOTSUP, "the name of a file ends with a slash");
    reader->next = at + (member->inode.size + BLOCK - 1) / BLOCK * BLOCK;
    reader->extent = (struct sfs_extent){ 0, at, member->inode.size };
    member->extents = &reader->extent;
    member->extent_count = is_file && size > 0;
}

static void get_record(struct member_reader *reader, const struct sfs_flatbuffer_table *table)
{
    struct sfs_flatbuffer_text key = { "", 0 }, value = { "", 0 };
    reader->r = sfs_flatbuffer_text(table, RECORD_KEY, &key, reader->err);
    if (reader->r == 0)
        reader->r = sfs_flatbuffer_text(table, RECORD_VALUE, &value, reader->err);
    if (reader->r == 0)
        count_text(reader, &key);
    if (reader->r == 0)
        count_text(reader, &value);
    if (strlen(key.data) != key.size)
        fail(reader, EBADMSG, "a text has a NUL");
    if (strncmp(key.data, "GNU.sparse.", strlen("GNU.sparse.")) == 0 ||
        strcmp(key.data, "SCHILY.realsize") == 0)
        fail(reader, ENOTSUP, "it is a sparse file, whose map the table lacks");
    const struct sfs_tar_record record = { key.data, value.data, value.size };
    if (reader->r == 0 && sfs_tar_pax_keeps(&record) &&
        sfs_buf_add(&reader->records, &record, sizeof record) < 0)
        reader->r = sfs_fail_memory(reader->err);
}

static void get_records(struct member_reader *reader, struct sfs_tar_member *member)
{
    struct sfs_flatbuffer_vector vector = { 0 };
    reader->records.size = 0;
    if (reader->r == 0)
        reader->r = sfs_flatbuffer_vector(&reader->table, MEMBER_RECORDS, sizeof(uint32_t), &vector,
                                          reader->err);
    if (vector.count > RECORD_MAX)
        fail(reader, E2BIG, "it has too many pax records");
    for (uint32_t i = 0; i < vector.count && reader->r == 0; i++) {
        struct sfs_flatbuffer_table table;
        reader->r = sfs_flatbuffer_table_at(&vector, i, &table, reader->err);
        if (reader->r == 0)
            get_record(reader, &table);
    }
    member->records = (const void *)reader->records.data;
    member->record_count = reader->records.size / sizeof *member->records;
}

static int read_member(struct member_reader *reader, uint32_t i, struct sfs_tar_member *member)
{
    *member = (struct sfs_tar_member){ 0 };
    reader->r = sfs_flatbuffer_table_at(&reader->ztoc->members, i, &reader->table, reader->err);
    get_names(reader, member);
    get_inode(reader, &member->inode);
    get_place(reader, member);
    get_records(reader, member);
    return reader->r;
}

int sfs_ztoc_each(const struct sfs_ztoc *ztoc,
                  int (*take)(void *user, const struct sfs_tar_member *member,
                              struct sfs_error *err),
                  void *user, struct sfs_error *err)
{
    AUTO(done_reader) struct member_reader reader = { .ztoc = ztoc, .err = err };
    for (uint32_t i = 0; i < ztoc->members.count; i++) {
        struct sfs_tar_member member;
        int r = read_member(&reader, i, &member);
        if (r == 0)
            r = take(user, &member, err);
        if (r < 0)
            return sfs_fail_while(err, r, "\"%.100s\"", member.name ? member.name : "");
    }
    return 0;
}
