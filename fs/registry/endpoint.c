/* What an endpoint is made of where nothing else is set. */
#include "registry/endpoint.h"

#include "base/array.h"
#include "registry/certificates.h"
#include "registry/name.h"
#include "registry/url.h"
#include <errno.h>
#include <stagefs/auto.h>
#include <stagefs/format.h>

void sfs_endpoint_done(struct sfs_endpoint *endpoint)
{
    sfs_free(&endpoint->base);
    sfs_free(&endpoint->host);
    sfs_free(&endpoint->repository);
    sfs_free(&endpoint->query);
    for (char **header = endpoint->headers; header && *header; header++)
        free(*header);
    sfs_free(&endpoint->headers);
    sfs_http_tls_done(&endpoint->tls);
}

void sfs_endpoint_list_done(struct sfs_endpoint_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        sfs_endpoint_done(&list->items[i]);
    free(list->items);
    *list = (struct sfs_endpoint_list){ 0 };
}

/* Plain HTTP without being told so: only inside this machine. */
static int fill(struct sfs_endpoint *endpoint, const char *location, bool insecure,
                struct sfs_error *err)
{
    AUTO(sfs_name_done) struct sfs_name name;
    AUTO(sfs_url_done) struct sfs_url url = { 0 };
    int r = sfs_name_parse(location, &name, err);
    if (r < 0)
        return r;
    endpoint->base = sfs_format("https://%s/v2", sfs_name_server(name.host));
    endpoint->host = TAKE(name.host);
    endpoint->repository = TAKE(name.repository);
    if (!endpoint->base)
        return sfs_fail_memory(err);
    r = sfs_url_parse(endpoint->base, &url, err);
    if (r < 0)
        return sfs_fail_while(err, r, "%s", endpoint->host);
    endpoint->tls.no_verify = insecure;
    endpoint->may_be_plain = insecure || sfs_url_is_loopback(url.host);
    endpoint->for_tags = endpoint->for_digests = true;
    return sfs_certificates_find(endpoint->host, &endpoint->tls, err);
}

int sfs_endpoint_list_add(struct sfs_endpoint_list *list, const char *location, bool insecure,
                          struct sfs_endpoint **ret_endpoint, struct sfs_error *err)
{
    if (SFS_ARRAY_GROW(list->items, list->count, list->capacity, 4) < 0)
        return sfs_fail_memory(err);
    struct sfs_endpoint *endpoint = &list->items[list->count++];
    *endpoint = (struct sfs_endpoint){ 0 };
    if (ret_endpoint)
        *ret_endpoint = endpoint;
    return fill(endpoint, location, insecure, err);
}
