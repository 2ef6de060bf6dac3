/* The machine's description of its GPUs for containers (CDI), of which three things are taken: the
 * device files, the libraries and the programs. Its hooks are programs that run outside the sandbox
 * on files inside; what they would do is done here without. The YAML form is not read: a machine
 * that has only that is searched, which finds the same files. */
#include "run/nvidia_parts.h"

#include "base/io.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stagefs/auto.h>
#include <stagefs/format.h>
#include <string.h>

#define MAX_DOCUMENT (16u << 20)

static void close_dir(DIR **dir)
{
    if (*dir)
        closedir(*dir);
}

static void close_json(json_t **json)
{
    json_decref(*json);
}

/* One object of "containerEdits". */
static int take_edits(struct sfs_nvidia *nvidia, const char *root, const json_t *edits,
                      struct sfs_error *err)
{
    size_t i;
    json_t *item;
    json_array_foreach(json_object_get(edits, "deviceNodes"), i, item)
    {
        const char *path = json_string_value(json_object_get(item, "path"));
        int r = path ? sfs_nvidia_add_device(nvidia, root, path, err) : 0;
        if (r < 0)
            return r;
    }
    json_array_foreach(json_object_get(edits, "mounts"), i, item)
    {
        const char *path = json_string_value(json_object_get(item, "hostPath"));
        const char *target = json_string_value(json_object_get(item, "containerPath"));
        int r = path && *path == '/' && target && *target == '/'
                    ? sfs_nvidia_add_file(nvidia, root, path, target, err)
                    : 0;
        if (r < 0)
            return r;
    }
    return 0;
}

static const json_t *find_device(const json_t *document, const char *name, size_t size)
{
    size_t i;
    json_t *device;
    json_array_foreach(json_object_get(document, "devices"), i, device)
    {
        const char *own = json_string_value(json_object_get(device, "name"));
        if (own && strlen(own) == size && strncmp(own, name, size) == 0)
            return device;
    }
    return NULL;
}

static bool names_all(const json_t *document, const char *visible)
{
    size_t size;
    if (strcmp(visible, "none") == 0)
        return true;
    for (const char *word; (word = sfs_nvidia_word(&visible, &size));)
        if (!find_device(document, word, size))
            return false;
    return true;
}

static int take_document(struct sfs_nvidia *nvidia, const char *root, const json_t *document,
                         const char *visible, struct sfs_error *err)
{
    size_t size;
    int r = take_edits(nvidia, root, json_object_get(document, "containerEdits"), err);
    if (strcmp(visible, "none") == 0)
        return r;
    for (const char *word; r == 0 && (word = sfs_nvidia_word(&visible, &size));)
        r = take_edits(nvidia, root,
                       json_object_get(find_device(document, word, size), "containerEdits"), err);
    return r;
}

/* Is it a description of NVIDIA's GPUs that names all that are asked for? */
static json_t *read_document(const char *path, const char *visible)
{
    AUTO(sfs_free) char *text = NULL;
    size_t size;
    if (sfs_io_read_file(AT_FDCWD, path, MAX_DOCUMENT, &text, &size, NULL) < 0)
        return NULL;
    json_t *document = json_loadb(text, size, 0, NULL);
    const char *kind = json_string_value(json_object_get(document, "kind"));
    if (kind && strcmp(kind, "nvidia.com/gpu") == 0 && names_all(document, visible))
        return document;
    json_decref(document);
    return NULL;
}

static json_t *find_document(const char *place, const char *visible)
{
    AUTO(close_dir) DIR *dir = opendir(place);
    for (const struct dirent *entry; dir && (entry = readdir(dir));) {
        const char *dot = strrchr(entry->d_name, '.');
        AUTO(sfs_free) char *path = NULL;
        if (!dot || strcmp(dot, ".json") != 0)
            continue;
        path = sfs_format("%s/%s", place, entry->d_name);
        json_t *document = path ? read_document(path, visible) : NULL;
        if (document)
            return document;
    }
    return NULL;
}

int sfs_nvidia_read_cdi(struct sfs_nvidia *nvidia, const char *root, const char *visible,
                        struct sfs_error *err)
{
    static const char *const places[] = { "/etc/cdi", "/var/run/cdi" };
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        AUTO(sfs_free) char *place = sfs_format("%s%s", root, places[i]);
        if (!place)
            return sfs_fail_memory(err);
        AUTO(close_json) json_t *document = find_document(place, visible);
        if (document)
            return take_document(nvidia, root, document, visible, err);
    }
    return 1;
}
