/* URLs are taken apart by libcurl's own parser. */
#include "registry/url.h"

#include "base/banned.h"
#include "registry/curl_api.h"
#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <stagefs/auto.h>
#include <stagefs/format.h>

static void close_handle(CURLU **handle)
{
    sfs_curl_get()->url_cleanup(*handle);
    *handle = NULL;
}

static void close_part(char **part)
{
    sfs_curl_get()->free(*part);
    *part = NULL;
}

static CURLU *open_url(const char *text, unsigned flags)
{
    const struct sfs_curl *curl = sfs_curl_get();
    CURLU *handle = curl->url();
    if (handle && curl->url_set(handle, CURLUPART_URL, text, flags) == CURLUE_OK)
        return handle;
    curl->url_cleanup(handle);
    return NULL;
}

static void lower(char *text)
{
    for (; text && *text; text++)
        *text = (char)tolower((unsigned char)*text);
}

static int take_parts(CURLU *handle, struct sfs_url *url, struct sfs_error *err)
{
    const struct sfs_curl *curl = sfs_curl_get();
    AUTO(close_part) char *scheme = NULL;
    AUTO(close_part) char *host = NULL;
    AUTO(close_part) char *port = NULL;
    if (curl->url_get(handle, CURLUPART_SCHEME, &scheme, 0) != CURLUE_OK ||
        (strcmp(scheme, "https") != 0 && strcmp(scheme, "http") != 0))
        return sfs_fail(err, EBADMSG, "a URL that is neither http nor https");
    if (curl->url_get(handle, CURLUPART_HOST, &host, 0) != CURLUE_OK ||
        curl->url_get(handle, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT) != CURLUE_OK)
        return sfs_fail(err, EBADMSG, "a URL without a host");
    url->is_https = strcmp(scheme, "https") == 0;
    bool is_usual = strcmp(port, url->is_https ? "443" : "80") == 0;
    lower(host);
    url->host = strdup(host);
    url->origin = sfs_format("%s://%s:%s", scheme, host, port);
    url->place = sfs_format("%s%s%s", host, is_usual ? "" : ":", is_usual ? "" : port);
    return url->host && url->origin && url->place ? 0 : sfs_fail_memory(err);
}

int sfs_url_parse(const char *text, struct sfs_url *ret_url, struct sfs_error *err)
{
    *ret_url = (struct sfs_url){ 0 };
    AUTO(close_handle)
    CURLU *handle = open_url(text, CURLU_DISALLOW_USER | CURLU_NON_SUPPORT_SCHEME);
    if (!handle)
        return sfs_fail(err, EBADMSG, "no http or https URL, or one with a user name in it");
    return take_parts(handle, ret_url, err);
}

void sfs_url_done(struct sfs_url *url)
{
    sfs_free(&url->origin);
    sfs_free(&url->host);
    sfs_free(&url->place);
}

/* A copy that free() frees, since libcurl may have been built with an allocator of its own. */
static char *get_copy(CURLU *handle)
{
    AUTO(close_part) char *text = NULL;
    if (sfs_curl_get()->url_get(handle, CURLUPART_URL, &text, 0) != CURLUE_OK)
        return NULL;
    return strdup(text);
}

char *sfs_url_resolve(const char *base, const char *location)
{
    AUTO(close_handle) CURLU *handle = open_url(base, 0);
    const struct sfs_curl *curl = sfs_curl_get();
    unsigned flags = CURLU_URLENCODE | CURLU_NON_SUPPORT_SCHEME;
    if (!handle || curl->url_set(handle, CURLUPART_URL, location, flags) != CURLUE_OK)
        return NULL;
    curl->url_set(handle, CURLUPART_FRAGMENT, NULL, 0);
    return get_copy(handle);
}

char *sfs_url_show(const char *text)
{
    static const CURLUPart secret[] = { CURLUPART_USER, CURLUPART_PASSWORD, CURLUPART_OPTIONS,
                                        CURLUPART_QUERY, CURLUPART_FRAGMENT };
    AUTO(close_handle) CURLU *handle = open_url(text, CURLU_NON_SUPPORT_SCHEME);
    if (!handle)
        return strdup("(no URL)");
    for (size_t i = 0; i < sizeof secret / sizeof secret[0]; i++)
        sfs_curl_get()->url_set(handle, secret[i], NULL, 0);
    char *shown = get_copy(handle);
    return shown ? shown : strdup("(no URL)");
}

char *sfs_url_escape(const char *text)
{
    const struct sfs_curl *curl = sfs_curl_get();
    AUTO(close_part) char *escaped = curl->easy_escape(NULL, text, 0);
    return escaped ? strdup(escaped) : NULL;
}

/* The address that a host is written as, in IPv6's 16 bytes (IPv4's mapped); false: a name. */
static bool read_address(const char *host, uint8_t bytes[16])
{
    char text[64];
    size_t size = strlen(host);
    if (size >= sizeof text)
        return false;
    static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };
    memcpy(bytes, mapped, sizeof mapped);
    if (inet_pton(AF_INET, host, bytes + 12) == 1)
        return true;
    if (host[0] != '[' || host[size - 1] != ']')
        return false;
    snprintf(text, sizeof text, "%.*s", (int)strcspn(host + 1, "]%"), host + 1);
    return inet_pton(AF_INET6, text, bytes) == 1;
}

static bool is_mapped(const uint8_t bytes[16])
{
    static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };
    return memcmp(bytes, mapped, sizeof mapped) == 0;
}

/* [::] and [::1], and the mapped forms of what IPv4 has for itself, are told by their first bytes
 * being zero. */
static bool is_none_or_self(const uint8_t bytes[16])
{
    static const uint8_t zero[15];
    return memcmp(bytes, zero, sizeof zero) == 0 && bytes[15] <= 1;
}

bool sfs_url_is_loopback(const char *host)
{
    static const char name[] = "localhost";
    size_t size = strlen(host), tail = sizeof name - 1;
    if (size >= tail && strcasecmp(host + size - tail, name) == 0 &&
        (size == tail || host[size - tail - 1] == '.'))
        return true;
    uint8_t bytes[16];
    if (!read_address(host, bytes))
        return false;
    return is_mapped(bytes) ? bytes[12] == 127 : is_none_or_self(bytes) && bytes[15] == 1;
}

bool sfs_url_is_link_local(const char *host)
{
    uint8_t bytes[16];
    if (!read_address(host, bytes))
        return false;
    if (is_mapped(bytes))
        return bytes[12] == 169 && bytes[13] == 254;
    return bytes[0] == 0xfe && (bytes[1] & 0xc0) == 0x80;
}

bool sfs_url_is_private(const char *host)
{
    uint8_t bytes[16];
    if (sfs_url_is_loopback(host) || sfs_url_is_link_local(host))
        return true;
    if (!read_address(host, bytes))
        return false;
    if (!is_mapped(bytes))
        return is_none_or_self(bytes) || (bytes[0] & 0xfe) == 0xfc;
    const uint8_t *v4 = bytes + 12;
    return v4[0] == 0 || v4[0] == 10 || (v4[0] == 172 && (v4[1] & 0xf0) == 16) ||
           (v4[0] == 192 && v4[1] == 168) || (v4[0] == 100 && (v4[1] & 0xc0) == 64);
}
