/* The places where a repository is read. */
#include "registry/client.h"

#include "base/banned.h"
#include "registry/url.h"
#include <errno.h>
#include <stagefs/auto.h>
#include <stagefs/format.h>

/* Plain HTTP without being told so: only inside this machine. */
static int fill_own(struct sfs_endpoint *endpoint, const struct sfs_registry_options *options,
                    const struct sfs_name *name, struct sfs_error *err)
{
    AUTO(sfs_url_done) struct sfs_url url = { 0 };
    endpoint->base = sfs_format("https://%s/v2", sfs_name_server(name->host));
    endpoint->host = strdup(name->host);
    endpoint->repository = strdup(name->repository);
    if (!endpoint->base || !endpoint->host || !endpoint->repository)
        return sfs_fail_memory(err);
    int r = sfs_url_parse(endpoint->base, &url, err);
    if (r < 0)
        return sfs_fail_while(err, r, "%s", name->host);
    endpoint->tls.no_verify = options->no_tls_verify;
    endpoint->may_be_plain = options->no_tls_verify || sfs_url_is_loopback(url.host);
    endpoint->for_tags = endpoint->for_digests = true;
    return 0;
}

int sfs_registry_find_endpoints(struct sfs_registry *registry, const struct sfs_name *name,
                                struct sfs_endpoint **ret_endpoints, size_t *ret_count,
                                struct sfs_error *err)
{
    struct sfs_endpoint *endpoint = calloc(1, sizeof *endpoint);
    if (!endpoint)
        return sfs_fail_memory(err);
    *ret_endpoints = endpoint;
    *ret_count = 1;
    return fill_own(endpoint, sfs_registry_options(registry), name, err);
}
