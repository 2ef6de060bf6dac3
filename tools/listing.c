/* How ls sorts names, fills columns and aligns details. */
#include "listing.h"

#include "colors.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define BLOCK             512u
#define MAX_HOLES_COUNTED 4096u /* of a file; the rest of one with more counts as data */

void listing_add(struct listing *list, const struct sfs_tree *tree, const char *name, sfs_node node)
{
    struct listing_item *items = list->items;
    if (list->failed)
        return;
    if ((list->count & (list->count - 1)) == 0) /* grown at every power of two */
        items = reallocarray(list->items, list->count ? 2 * list->count : 1, sizeof *items);
    list->failed = !items;
    if (list->failed)
        return;
    list->tree = tree;
    list->items = items;
    struct listing_item *item = &items[list->count++];
    *item = (struct listing_item){ .name = name, .node = node };
    sfs_tree_attr(tree, node, &item->attr);
}

void listing_close(struct listing *list)
{
    free(list->items);
    *list = (struct listing){ 0 };
}

/* ---- order ---- */

static int compare_times(const struct sfs_attr *a, const struct sfs_attr *b)
{
    if (a->mtime_sec != b->mtime_sec)
        return a->mtime_sec > b->mtime_sec ? -1 : 1;
    return (a->mtime_nsec < b->mtime_nsec) - (a->mtime_nsec > b->mtime_nsec);
}

static int compare_items(const void *left, const void *right, void *user)
{
    const struct listing_item *a = left, *b = right;
    const struct listing_options *options = user;
    int order = 0;
    if (options->by_size)
        order = (a->attr.size < b->attr.size) - (a->attr.size > b->attr.size);
    else if (options->by_time)
        order = compare_times(&a->attr, &b->attr);
    if (order == 0)
        order = strcmp(a->name, b->name);
    return options->reverse ? -order : order;
}

void listing_sort(struct listing *list, const struct listing_options *options)
{
    if (list->count > 0)
        qsort_r(list->items, list->count, sizeof *list->items, compare_items,
                (void *)(uintptr_t)options);
}

/* ---- names ---- */

static void print_name(const struct listing_options *options, const struct listing_item *item)
{
    char text[COLOR_TEXT] = "";
    if (options->color)
        colors_find(item->name, &item->attr, text);
    if (*text)
        printf("\033[%sm", text);
    print_path(item->name);
    if (*text)
        printf("\033[0m");
}

static unsigned count_columns(const struct listing *list, const unsigned *widths, size_t rows,
                              unsigned *column_widths)
{
    unsigned total = 0;
    size_t columns = (list->count + rows - 1) / rows;
    for (size_t c = 0; c < columns; c++) {
        column_widths[c] = 0;
        for (size_t i = c * rows; i < list->count && i < (c + 1) * rows; i++)
            if (widths[i] > column_widths[c])
                column_widths[c] = widths[i];
        column_widths[c] += c + 1 < columns ? 2 : 0;
        total += column_widths[c];
    }
    return total;
}

static void print_rows(const struct listing *list, const struct listing_options *options,
                       const unsigned *widths, const unsigned *column_widths, size_t rows)
{
    for (size_t row = 0; row < rows; row++) {
        for (size_t i = row, c = 0; i < list->count; i += rows, c++) {
            print_name(options, &list->items[i]);
            if (i + rows < list->count)
                printf("%*s", (int)(column_widths[c] - widths[i]), "");
        }
        putchar('\n');
    }
}

/* Down, then across, in as few rows as the width allows. */
static int print_columns_of(const struct listing *list, const struct listing_options *options)
{
    AUTO(sfs_free) unsigned *widths = calloc(list->count + 1, sizeof *widths);
    AUTO(sfs_free) unsigned *column_widths = calloc(list->count + 1, sizeof *column_widths);
    if (!widths || !column_widths)
        return -ENOMEM;
    uint64_t sum = 0;
    for (size_t i = 0; i < list->count; i++)
        sum += (widths[i] = print_path_width(list->items[i].name));
    size_t rows = sum / options->width; /* fewer cannot do */
    rows += rows == 0;
    while (rows < list->count && count_columns(list, widths, rows, column_widths) >= options->width)
        rows++;
    count_columns(list, widths, rows, column_widths);
    print_rows(list, options, widths, column_widths, rows);
    return 0;
}

/* ---- details ---- */

struct details_widths {
    int links, user, group, size, major, minor;
};

static void widen(int *width, int size)
{
    if (size > *width)
        *width = size;
}

static bool is_device(const struct sfs_attr *attr)
{
    return S_ISCHR(attr->mode) || S_ISBLK(attr->mode);
}

static char *format_size(const struct listing_options *options, uint64_t size, char text[24])
{
    if (options->human)
        return print_size(size, text);
    snprintf(text, 24, "%llu", (unsigned long long)size);
    return text;
}

static void measure_item(const struct listing_options *options, const struct sfs_attr *attr,
                         struct details_widths *widths)
{
    char text[24], number[12];
    widen(&widths->links, snprintf(NULL, 0, "%u", attr->nlink));
    widen(&widths->user, (int)print_path_width(owners_user(options->owners, attr->uid, number)));
    widen(&widths->group, (int)print_path_width(owners_group(options->owners, attr->gid, number)));
    if (is_device(attr)) {
        widen(&widths->major, snprintf(NULL, 0, "%u", attr->rdev_major));
        widen(&widths->minor, snprintf(NULL, 0, "%u", attr->rdev_minor));
        widen(&widths->size, widths->major + 2 + widths->minor);
    } else {
        widen(&widths->size, (int)strlen(format_size(options, attr->size, text)));
    }
}

/* Names stand at the left of their column, numbers at its right. */
static void print_owner(const char *name, const char *number, int width)
{
    int padding = width - (int)print_path_width(name);
    if (name == number)
        printf("%*s", padding, "");
    print_path(name);
    printf("%*s ", name == number ? 0 : padding, "");
}

static void print_item(const struct listing *list, const struct listing_options *options,
                       const struct listing_item *item, const struct details_widths *widths)
{
    const struct sfs_attr *attr = &item->attr;
    char mode[12], time[32], size[24], user[12], group[12];
    printf("%s %*u ", print_mode(attr->mode, mode), widths->links, attr->nlink);
    print_owner(owners_user(options->owners, attr->uid, user), user, widths->user);
    print_owner(owners_group(options->owners, attr->gid, group), group, widths->group);
    if (is_device(attr))
        printf("%*u, %*u", widths->size - 2 - widths->minor, attr->rdev_major, widths->minor,
               attr->rdev_minor);
    else
        printf("%*s", widths->size, format_size(options, attr->size, size));
    printf(" %s ", print_time(attr->mtime_sec, time));
    print_name(options, item);
    if (S_ISLNK(attr->mode)) {
        printf(" -> ");
        print_path(sfs_tree_target(list->tree, item->node));
    }
    putchar('\n');
}

static void print_details(const struct listing *list, const struct listing_options *options)
{
    struct details_widths widths = { 0 };
    for (size_t i = 0; i < list->count; i++)
        measure_item(options, &list->items[i].attr, &widths);
    for (size_t i = 0; i < list->count; i++)
        print_item(list, options, &list->items[i], &widths);
}

/* As the mount tells it to du: whole blocks of 512 bytes, and nothing for holes. */
uint64_t listing_disk_size(const struct sfs_tree *tree, sfs_node node)
{
    struct sfs_attr attr;
    sfs_tree_attr(tree, node, &attr);
    uint64_t data = 0, start, end;
    if (!S_ISREG(attr.mode))
        return 0;
    for (uint64_t at = 0, holes = 0; at < attr.size; at = end, holes++) {
        if (holes == MAX_HOLES_COUNTED)
            return data + (attr.size - at);
        if (sfs_tree_seek(tree, node, at, false, &start) < 0 || start >= attr.size)
            break;
        if (sfs_tree_seek(tree, node, start, true, &end) < 0 || end <= start)
            end = attr.size;
        data += end - start;
    }
    return (data + BLOCK - 1) / BLOCK * BLOCK;
}

void listing_print_total(const struct listing *list, const struct listing_options *options)
{
    uint64_t bytes = 0;
    char text[24];
    for (size_t i = 0; i < list->count; i++)
        bytes += listing_disk_size(list->tree, list->items[i].node);
    if (options->human)
        printf("total %s\n", print_size(bytes, text));
    else
        printf("total %llu\n", (unsigned long long)((bytes + 1023) / 1024));
}

int listing_print(const struct listing *list, const struct listing_options *options)
{
    if (list->failed)
        return -ENOMEM;
    if (options->details) {
        print_details(list, options);
        return 0;
    }
    if (options->width > 0 && list->count > 0)
        return print_columns_of(list, options);
    for (size_t i = 0; i < list->count; i++) {
        print_name(options, &list->items[i]);
        putchar('\n');
    }
    return 0;
}
