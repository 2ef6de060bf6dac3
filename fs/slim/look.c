/* Heads, dynamic sections and texts. Whatever is not as it should be makes the look odd, and what
 * was found until then stands. */
#include "slim/look.h"

#include "base/banned.h"
#include "base/elf_file.h"
#include "base/limits.h"
#include "blob/blob.h"
#include "tree/nodes.h"
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define SCRIPT_HEAD 1024u /* bytes of a script that are looked at */

struct looking {
    struct sfs_look *look;
    uint64_t strings, strings_size; /* DT_STRTAB (an address), DT_STRSZ */
    uint64_t rpath, runpath;        /* offsets in the strings; UINT64_MAX: none */
    uint64_t needed[SFS_MAX_NEEDED];
    unsigned needed_count;
    struct sfs_elf elf;
};

/* Reads exactly that, without the hint that a reader will go on. */
static bool read_exactly(const struct sfs_tree *tree, sfs_node node, void *buf, size_t size,
                         uint64_t offset)
{
    for (size_t done = 0; done < size;) {
        AUTO(sfs_slice_release) struct sfs_slice slice = { 0 };
        if (sfs_tree_pin(tree, node, offset + done, size - done, &slice, NULL) < 0)
            return false;
        memcpy((char *)buf + done, slice.data, slice.size);
        done += slice.size;
    }
    return true;
}

int sfs_look_read(const struct sfs_tree *tree, sfs_node node, size_t max, struct sfs_buf *text)
{
    const struct sfs_inode_rec *inode = sfs_node_inode(tree, node);
    if (!S_ISREG(inode->mode) || inode->size > max)
        return -ENOENT;
    size_t before = text->size;
    char *at = sfs_buf_grow(text, inode->size);
    if (!at)
        return -ENOMEM;
    if (read_exactly(tree, node, at, inode->size, 0))
        return 0;
    text->size = before;
    return -ENOENT;
}

/* ---- ELF ---- */

static void note_entry(void *user, const ElfW(Dyn) * entry)
{
    struct looking *looking = user;
    uint64_t value = entry->d_un.d_val;
    if (entry->d_tag == DT_STRTAB)
        looking->strings = value;
    else if (entry->d_tag == DT_STRSZ)
        looking->strings_size = value;
    else if (entry->d_tag == DT_RPATH)
        looking->rpath = value;
    else if (entry->d_tag == DT_RUNPATH)
        looking->runpath = value;
    else if (entry->d_tag == DT_NEEDED && looking->needed_count < SFS_MAX_NEEDED)
        looking->needed[looking->needed_count++] = value;
    else if (entry->d_tag == DT_NEEDED)
        looking->look->is_odd = true;
}

/* Reads a NUL-terminated string of at most `max` bytes that lies in [offset, offset + size) of the
 * file; the caller frees. NULL: there is none. */
static char *read_string(struct looking *looking, uint64_t offset, uint64_t size, size_t max)
{
    uint64_t end = looking->elf.source->size;
    char *text = NULL;
    if (offset < end) {
        size = size < end - offset ? size : end - offset;
        size = size < max ? size : max;
        text = malloc(size + 1);
        looking->look->failed |= !text;
    }
    const struct sfs_elf_source *source = looking->elf.source;
    if (text && source->read(source->user, text, (size_t)size, offset) &&
        memchr(text, 0, (size_t)size))
        return text;
    free(text);
    looking->look->is_odd = true;
    return NULL;
}

/* The address of each string is looked up by itself, and where its segment ends does not end it: a
 * table may go on in the next one, as patchelf leaves it. */
static char *read_dynamic_string(struct looking *looking, uint64_t at, size_t max)
{
    uint64_t address, offset, left;
    if (at < looking->strings_size && !__builtin_add_overflow(looking->strings, at, &address) &&
        sfs_elf_offset(&looking->elf, address, &offset, &left)) {
        return read_string(looking, offset, looking->strings_size - at, max);
    }
    looking->look->is_odd = true;
    return NULL;
}

static void look_at_dynamic(struct looking *looking)
{
    struct sfs_look *look = looking->look;
    const ElfW(Phdr) *program = sfs_elf_segment(&looking->elf, PT_INTERP);
    if (program)
        look->interpreter = read_string(looking, program->p_offset, program->p_filesz, PATH_MAX);
    if (!sfs_elf_segment(&looking->elf, PT_DYNAMIC))
        return;
    if (sfs_elf_dynamic(&looking->elf, note_entry, looking) < 0) {
        look->is_odd = true;
        return;
    }
    for (unsigned i = 0; i < looking->needed_count; i++) {
        AUTO(sfs_free)
        char *needed = read_dynamic_string(looking, looking->needed[i], SFS_MAX_NAME + 1);
        if (needed)
            sfs_buf_add(&look->needed, needed, strlen(needed) + 1);
    }
    if (looking->rpath != UINT64_MAX)
        look->rpath = read_dynamic_string(looking, looking->rpath, SFS_MAX_PATH);
    if (looking->runpath != UINT64_MAX)
        look->runpath = read_dynamic_string(looking, looking->runpath, SFS_MAX_PATH);
}

/* Does the head say that it is a program or library for this machine? Then it must be whole. */
static bool claims_to_load(const ElfW(Ehdr) * header)
{
    return memcmp(header->e_ident, ELFMAG, SELFMAG) == 0 &&
           header->e_ident[EI_CLASS] == (sizeof(void *) == 8 ? ELFCLASS64 : ELFCLASS32) &&
           header->e_ident[EI_DATA] == ELFDATA2LSB &&
           (header->e_type == ET_EXEC || header->e_type == ET_DYN);
}

void sfs_look_at_elf(const struct sfs_elf_source *source, struct sfs_look *look)
{
    ElfW(Ehdr) header;
    if (source->size < sizeof header || !source->read(source->user, &header, sizeof header, 0)) {
        look->is_odd = true;
        return;
    }
    if (!claims_to_load(&header))
        return;
    AUTO(sfs_free) struct looking *looking = calloc(1, sizeof *looking);
    look->failed = !looking;
    if (!looking)
        return;
    looking->look = look;
    looking->rpath = looking->runpath = UINT64_MAX;
    look->kind = SFS_LOOK_ELF;
    if (sfs_elf_open(source, &looking->elf) < 0)
        look->is_odd = true;
    else
        look_at_dynamic(looking);
    look->failed |= look->needed.failed;
}

/* ---- any file ---- */

struct place {
    const struct sfs_tree *tree;
    sfs_node node;
};

static bool read_place(void *user, void *buf, size_t size, uint64_t offset)
{
    const struct place *place = user;
    return read_exactly(place->tree, place->node, buf, size, offset);
}

static void look_at_head(const struct sfs_tree *tree, struct sfs_look *look)
{
    struct place place = { tree, look->node };
    const struct sfs_elf_source source = { read_place, &place,
                                           sfs_node_inode(tree, look->node)->size };
    char magic[SELFMAG];
    if (source.size < sizeof magic)
        return;
    if (!read_place(&place, magic, sizeof magic, 0)) {
        look->is_odd = true;
    } else if (memcmp(magic, ELFMAG, SELFMAG) == 0) {
        sfs_look_at_elf(&source, look);
    } else if (memcmp(magic, "#!", 2) == 0) {
        size_t size = source.size < SCRIPT_HEAD ? (size_t)source.size : SCRIPT_HEAD;
        char *text = sfs_buf_grow(&look->text, size);
        bool is_read = text && read_place(&place, text, size, 0);
        look->kind = is_read ? SFS_LOOK_SCRIPT : SFS_LOOK_OTHER;
        look->is_odd = !is_read;
    }
}

void sfs_look_into(const struct sfs_tree *tree, struct sfs_look *look)
{
    if (look->is_text) {
        int r = sfs_look_read(tree, look->node, SFS_MAX_PTH, &look->text);
        look->kind = r == 0 ? SFS_LOOK_TEXT : SFS_LOOK_OTHER;
        look->is_odd = r == -ENOENT;
    } else {
        look_at_head(tree, look);
    }
    look->failed |= look->text.failed;
}

void sfs_look_done(struct sfs_look *look)
{
    sfs_buf_close(&look->needed);
    sfs_buf_close(&look->text);
    free(look->rpath);
    free(look->runpath);
    free(look->interpreter);
}
