/* Few variables, many look-ups by name: a plain list does. */
#include "dockerfile/expand.h"

#include "base/banned.h"
#include <stagefs/format.h>
#include <errno.h>
#include <stagefs/auto.h>
#include <stdint.h>

static size_t find(const struct sfs_vars *vars, const char *name, size_t size)
{
    for (size_t i = 0; i < vars->count; i++)
        if (strncmp(vars->items[i], name, size) == 0 && vars->items[i][size] == '=')
            return i;
    return SIZE_MAX;
}

int sfs_vars_set(struct sfs_vars *vars, const char *name, const char *value)
{
    char *item;
    item = sfs_format("%s=%s", name, value);
    if (!item)
        return -ENOMEM;
    size_t i = find(vars, name, strlen(name));
    if (i != SIZE_MAX) {
        free(vars->items[i]);
        vars->items[i] = item;
        return 0;
    }
    char **items = reallocarray(vars->items, vars->count + 1, sizeof *items);
    if (!items) {
        free(item);
        return -ENOMEM;
    }
    vars->items = items;
    items[vars->count++] = item;
    return 0;
}

const char *sfs_vars_get(const struct sfs_vars *vars, const char *name, size_t name_size)
{
    size_t i = name_size > 0 ? find(vars, name, name_size) : SIZE_MAX;
    return i == SIZE_MAX ? NULL : vars->items[i] + name_size + 1;
}

void sfs_vars_unset(struct sfs_vars *vars, const char *name)
{
    size_t i = find(vars, name, strlen(name));
    if (i == SIZE_MAX)
        return;
    free(vars->items[i]);
    memmove(vars->items + i, vars->items + i + 1, (vars->count - i - 1) * sizeof *vars->items);
    vars->count--;
}

int sfs_vars_copy(const struct sfs_vars *from, struct sfs_vars *ret_vars)
{
    AUTO(sfs_vars_close) struct sfs_vars copy = { 0 };
    copy.items = calloc(from->count + 1, sizeof *copy.items);
    if (!copy.items)
        return -ENOMEM;
    for (; copy.count < from->count; copy.count++) {
        copy.items[copy.count] = strdup(from->items[copy.count]);
        if (!copy.items[copy.count])
            return -ENOMEM;
    }
    *ret_vars = copy;
    copy = (struct sfs_vars){ 0 };
    return 0;
}

int sfs_vars_ended(struct sfs_vars *vars)
{
    char **items = reallocarray(vars->items, vars->count + 1, sizeof *items);
    if (!items)
        return -ENOMEM;
    vars->items = items;
    items[vars->count] = NULL;
    return 0;
}

void sfs_vars_close(struct sfs_vars *vars)
{
    for (size_t i = 0; i < vars->count; i++)
        free(vars->items[i]);
    free(vars->items);
    *vars = (struct sfs_vars){ 0 };
}
