/* What to say of a tag that is not there: which there are. */
#include "registry/repository_parts.h"

#include "base/limits.h"
#include <errno.h>
#include <jansson.h>
#include <stagefs/format.h>
#include <stagefs/json.h>
#include <stagefs/suggest.h>

#define MOST_ASKED 100 /* ECR takes no more than 1000 */
#define MOST_SHOWN 8

static void close_json(json_t **json)
{
    json_decref(*json);
    *json = NULL;
}

static int take(void *user, const void *data, size_t size, struct sfs_error *err)
{
    return sfs_buf_add(user, data, size) < 0 ? sfs_fail_memory(err) : 0;
}

/* The first tags of the repository. *ret_status: of the answer; 0: there was none. */
static json_t *ask_for_tags(struct sfs_repository *repository, struct sfs_endpoint *endpoint,
                            long *ret_status)
{
    static const struct sfs_retry first;
    struct sfs_error ignored;
    json_t *json = NULL;
    AUTO(sfs_buf_close) struct sfs_buf body = { 0 };
    AUTO(sfs_http_answer_done) struct sfs_http_answer answer = { 0 };
    AUTO(sfs_free)
    char *path = sfs_format("tags/list?n=%d", MOST_ASKED);
    AUTO(sfs_call_done)
    struct sfs_call call = { .method = "GET",
                             .path = path ? path : "tags/list",
                             .max_body = SFS_MAX_MANIFEST,
                             .on_data = take,
                             .user = &body };
    int r = sfs_client_try(repository->registry, endpoint, &first, &call, &answer, &ignored);
    *ret_status = r == 0 ? answer.status : 0;
    if (r == 0 && answer.status == 200 && body.size > 0)
        sfs_json_parse(body.data, body.size, 0, &json, NULL);
    return json;
}

/* "a, b, c, ..." of the array. */
static void list(const json_t *tags, struct sfs_buf *text)
{
    size_t count = json_array_size(tags);
    for (size_t i = 0; i < count && i < MOST_SHOWN; i++)
        sfs_buf_printf(text, "%s%.60s", i ? ", " : "", json_string_value(json_array_get(tags, i)));
    if (count > MOST_SHOWN)
        sfs_buf_add_str(text, ", ...");
}

static const char *find_meant(const json_t *tags, const char *tag)
{
    const char *known[MOST_ASKED + 1] = { NULL };
    for (size_t i = 0, count = 0; i < json_array_size(tags) && count < MOST_ASKED; i++) {
        const char *name = json_string_value(json_array_get(tags, i));
        if (name)
            known[count++] = name;
    }
    return sfs_suggest(tag, known);
}

int sfs_repository_explain_tag(struct sfs_repository *repository, struct sfs_endpoint *endpoint,
                               const char *tag, struct sfs_error *err)
{
    long status;
    AUTO(sfs_buf_close) struct sfs_buf names = { 0 };
    AUTO(close_json) json_t *json = ask_for_tags(repository, endpoint, &status);
    const json_t *tags = json_object_get(json, "tags");
    if (status == 404)
        return sfs_fail(err, ENOENT, "%s has no repository '%s': is it spelt right?",
                        endpoint->host, endpoint->repository);
    if (json_array_size(tags) == 0)
        return -ENOENT;
    const char *meant = find_meant(tags, tag);
    list(tags, &names);
    return sfs_fail(err, ENOENT, "%s has no tag '%.128s' in '%s' (there are %.300s)%s%.128s%s",
                    endpoint->host, tag, endpoint->repository, names.data ? names.data : "",
                    meant ? "; did you mean '" : "", meant ? meant : "", meant ? "'?" : "");
}
