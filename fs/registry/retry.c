/* Jitter keeps the nodes of a fleet, which lost the same registry at the same time, from coming
 * back at the same time. */
#include "registry/retry.h"

#include "base/banned.h"
#include <sys/random.h>

#define FIRST_MS     100u
#define LONGEST_MS   30000u
#define MOST_AT_ONCE 2u

bool sfs_retry_may_help(const struct sfs_http_answer *answer)
{
    switch (answer->failure) {
    case SFS_HTTP_NO_NAME:
    case SFS_HTTP_NO_CONNECTION:
    case SFS_HTTP_TIMEOUT:
    case SFS_HTTP_PROXY:
    case SFS_HTTP_BROKEN:
    case SFS_HTTP_BROKEN_HTTP2:
        return true;
    case SFS_HTTP_ANSWERED:
        break;
    default:
        return false;
    }
    switch (answer->status) {
    case 408:
    case 429:
    case 499:
    case 500:
    case 502:
    case 503:
    case 504:
    case 522:
        return true;
    default:
        return false;
    }
}

static unsigned random_below(unsigned limit)
{
    unsigned value = 0;
    if (getrandom(&value, sizeof value, GRND_NONBLOCK) != sizeof value)
        return limit / 2;
    return value % limit;
}

/* A connection that had been kept died when it was used again, or was shared and ended by another
 * request, which is no sign of trouble: the next try is made at once, on a new one. Where that
 * breaks too, HTTP/2 is given up for this request. */
static bool try_at_once(struct sfs_retry *retry, const struct sfs_http_answer *answer)
{
    bool is_broken = answer->failure == SFS_HTTP_BROKEN_HTTP2 || answer->failure == SFS_HTTP_BROKEN;
    if (!is_broken)
        return false;
    retry->fresh = true;
    retry->no_http2 = retry->broken > 0;
    bool is_old = answer->failure == SFS_HTTP_BROKEN_HTTP2 || answer->was_reused;
    return retry->broken++ < MOST_AT_ONCE && is_old;
}

bool sfs_retry_wait(struct sfs_http *http, struct sfs_retry *retry,
                    const struct sfs_http_answer *answer, enum sfs_http_priority priority,
                    const atomic_bool *cancelled)
{
    if (!sfs_retry_may_help(answer))
        return false;
    if (try_at_once(retry, answer))
        return true;
    unsigned most = retry->most ? retry->most : SFS_RETRY_TRIES;
    bool is_unwelcome = priority == SFS_HTTP_FILL && answer->status == 429;
    /* Silence has cost its time already. */
    retry->tries += answer->failure == SFS_HTTP_TIMEOUT ? 2 : 1;
    if (retry->tries >= most || is_unwelcome)
        return false;
    unsigned limit = FIRST_MS;
    for (unsigned i = 1; i < retry->tries && limit < LONGEST_MS; i++)
        limit *= 2;
    unsigned wait = answer->retry_after_ms;
    wait += random_below(limit < LONGEST_MS ? limit : LONGEST_MS);
    return sfs_http_sleep(http, wait, cancelled) == 0;
}
