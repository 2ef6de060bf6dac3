/* What a call's answer leaves behind is copied while its head is there. */
#include "registry/reply.h"

#include "registry/complaint.h"
#include "registry/repository_parts.h"
#include <errno.h>
#include <stagefs/auto.h>

void sfs_reply_done(struct sfs_reply *reply)
{
    sfs_free(&reply->from);
    sfs_free(&reply->location);
    sfs_free(&reply->range);
    sfs_free(&reply->type);
    sfs_free(&reply->etag);
    sfs_free(&reply->link);
    sfs_buf_close(&reply->body);
}

struct sfs_endpoint *sfs_repository_home(struct sfs_repository *repository)
{
    return &repository->endpoints[repository->endpoint_count - 1];
}

/* ---- one try */

struct asking {
    const struct sfs_call *model; /* whose on_read is asked, with its own `user` */
    struct sfs_reply *reply;
};

static int copy_header(const struct sfs_http_answer *answer, const char *name, const char *ends,
                       char **ret, struct sfs_error *err)
{
    const char *value = sfs_http_header(answer, name, 0);
    free(*ret);
    *ret = value ? strndup(value, strcspn(value, ends)) : NULL;
    return value && !*ret ? sfs_fail_memory(err) : 0;
}

static int on_head(void *user, const struct sfs_call *call, const struct sfs_http_answer *answer,
                   struct sfs_error *err)
{
    struct asking *asking = user;
    struct sfs_reply *reply = asking->reply;
    const char *chunk = sfs_http_header(answer, "OCI-Chunk-Min-Length", 0);
    const char *filters = sfs_http_header(answer, "OCI-Filters-Applied", 0);
    (void)call;
    sfs_buf_close(&reply->body);
    reply->has_subject = sfs_http_header(answer, "OCI-Subject", 0) != NULL;
    reply->is_filtered = filters && strstr(filters, "artifactType");
    reply->smallest_chunk = chunk ? strtoull(chunk, NULL, 10) : 0;
    int r = copy_header(answer, "Location", "", &reply->location, err);
    if (r == 0)
        r = copy_header(answer, "Range", " \t", &reply->range, err);
    if (r == 0)
        r = copy_header(answer, "Content-Type", "; \t", &reply->type, err);
    if (r == 0)
        r = copy_header(answer, "ETag", "", &reply->etag, err);
    return r == 0 ? copy_header(answer, "Link", "", &reply->link, err) : r;
}

static int on_data(void *user, const void *data, size_t size, struct sfs_error *err)
{
    struct asking *asking = user;
    return sfs_buf_add(&asking->reply->body, data, size) < 0 ? sfs_fail_memory(err) : 0;
}

static ssize_t on_read(void *user, void *buf, size_t size, uint64_t offset, struct sfs_error *err)
{
    const struct asking *asking = user;
    return asking->model->on_read(asking->model->user, buf, size, offset, err);
}

/* 1: again. */
static int ask_once(struct sfs_repository *repository, struct asking *asking, const char *what,
                    struct sfs_retry *retry, struct sfs_error *err)
{
    AUTO(sfs_http_answer_done) struct sfs_http_answer answer = { 0 };
    AUTO(sfs_call_done) struct sfs_call call = *asking->model;
    struct sfs_reply *reply = asking->reply;
    struct sfs_endpoint *home = sfs_repository_home(repository);
    call.on_head = on_head;
    call.on_data = on_data;
    call.on_read = call.on_read ? on_read : NULL;
    call.user = asking;
    int r = sfs_client_try(repository->registry, home, retry, &call, &answer, err);
    reply->status = answer.status;
    reply->is_elsewhere = call.is_elsewhere;
    reply->may_help = sfs_retry_may_help(&answer);
    free(reply->from);
    reply->from = TAKE(call.final_url);
    if (r == 0 && answer.status >= 200 && answer.status < 300)
        return 0;
    bool is_answer = r == 0 || (r == -EAGAIN && answer.failure != SFS_HTTP_ANSWERED);
    if (!is_answer)
        return r;
    if (sfs_retry_wait(sfs_registry_http(repository->registry), retry, &answer, call.priority,
                       call.cancelled))
        return 1;
    call.final_url = reply->from;
    r = sfs_complain(home, what, &call, &answer, err);
    call.final_url = NULL;
    return r;
}

int sfs_repository_ask(struct sfs_repository *repository, const struct sfs_call *call,
                       const char *what, unsigned tries, struct sfs_reply *ret_reply,
                       struct sfs_error *err)
{
    *ret_reply = (struct sfs_reply){ 0 };
    struct asking asking = { .model = call, .reply = ret_reply };
    struct sfs_retry retry = { .most = tries };
    int r;
    while ((r = ask_once(repository, &asking, what, &retry, err)) == 1)
        ;
    return r;
}
