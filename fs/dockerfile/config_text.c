/* Values of an image config as Go prints them, and the checks of EXPOSE's and STOPSIGNAL's. */
#include "dockerfile/config_text.h"

#include "dockerfile/dockerfile_words.h"
#include "dockerfile/rune.h"
#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <stagefs/auto.h>
#include <stagefs/utf8.h>

static void quote_byte(unsigned char c, struct sfs_buf *out)
{
    static const char from[] = "\a\b\f\n\r\t\v\"\\", to[] = "abfnrtv\"\\";
    const char *at = strchr(from, c);
    if (at)
        sfs_buf_printf(out, "\\%c", to[at - from]);
    else if (c < 0x20 || c == 0x7f)
        sfs_buf_printf(out, "\\x%02x", c);
    else
        sfs_buf_add(out, &(char){ (char)c }, 1);
}

static void quote(const char *text, struct sfs_buf *out)
{
    sfs_buf_add_str(out, "\"");
    while (*text) {
        size_t size = sfs_utf8_size(text);
        if (size > 1)
            sfs_buf_add(out, text, size);
        else if (size == 1)
            quote_byte((unsigned char)*text, out);
        else
            sfs_buf_printf(out, "\\x%02x", (unsigned char)*text);
        text += size > 0 ? size : 1;
    }
    sfs_buf_add_str(out, "\"");
}

static int print_list(const json_t *list, bool quoted, struct sfs_buf *out)
{
    sfs_buf_add_str(out, "[");
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *text = json_string_value(json_array_get(list, i));
        sfs_buf_add_str(out, i ? " " : "");
        if (quoted)
            quote(text ? text : "", out);
        else
            sfs_buf_add_str(out, text ? text : "");
    }
    return sfs_buf_add_str(out, "]");
}

int sfs_text_quote_list(const json_t *list, struct sfs_buf *out)
{
    return print_list(list, true, out);
}

int sfs_text_json_list(const json_t *list, struct sfs_buf *out)
{
    return print_list(list, false, out);
}

int sfs_text_list(const struct sfs_vars *list, struct sfs_buf *out)
{
    sfs_buf_add_str(out, "[");
    for (size_t i = 0; i < list->count; i++)
        sfs_buf_printf(out, "%s%s", i ? " " : "", list->items[i]);
    return sfs_buf_add_str(out, "]");
}

/* Prints a number of `unit` with its fraction, without zeros at the end. */
static int print_fraction(int64_t ns, int64_t unit, const char *name, struct sfs_buf *out)
{
    char text[40];
    snprintf(text, sizeof text, "%lld.%09lld", (long long)(ns / unit),
             (long long)(ns % unit * (1000000000 / unit)));
    size_t size = strlen(text);
    while (text[size - 1] == '0')
        size--;
    size -= text[size - 1] == '.';
    return sfs_buf_printf(out, "%.*s%s", (int)size, text, name);
}

int sfs_text_duration(int64_t ns, struct sfs_buf *out)
{
    if (ns == 0)
        return sfs_buf_add_str(out, "0s");
    if (ns < 0)
        return sfs_buf_printf(out, "-%lldns", -(long long)ns);
    if (ns < 1000)
        return sfs_buf_printf(out, "%lldns", (long long)ns);
    if (ns < 1000000)
        return print_fraction(ns, 1000, "\xc2\xb5s", out);
    if (ns < 1000000000)
        return print_fraction(ns, 1000000, "ms", out);
    long long minutes = ns / 60000000000;
    int r = 0;
    if (minutes >= 60)
        r = sfs_buf_printf(out, "%lldh", minutes / 60);
    if (r == 0 && minutes > 0)
        r = sfs_buf_printf(out, "%lldm", minutes % 60);
    return r < 0 ? r : print_fraction(ns % 60000000000, 1000000000, "s", out);
}

/* ---- EXPOSE ---- */

static bool read_port(const char *text, size_t size, long *ret_port)
{
    long port = 0;
    size_t i = size > 0 && *text == '+' ? 1 : 0;
    if (i == size)
        return false;
    for (; i < size; i++) {
        if (!isdigit((unsigned char)text[i]))
            return false;
        port = port * 10 + (text[i] - '0');
        if (port > 65535)
            return false;
    }
    *ret_port = port;
    return true;
}

static bool read_range(const char *text, size_t size, long *ret_first, long *ret_last)
{
    const char *dash = memchr(text, '-', size);
    size_t first = dash ? (size_t)(dash - text) : size;
    if (!read_port(text, first, ret_first))
        return false;
    *ret_last = *ret_first;
    return !dash || (read_port(dash + 1, size - first - 1, ret_last) && *ret_first <= *ret_last);
}

static bool is_address(const char *text, size_t size)
{
    char address[64];
    unsigned char binary[16];
    if (size >= 2 && *text == '[' && text[size - 1] == ']') {
        text++;
        size -= 2;
    }
    if (size >= sizeof address)
        return false;
    snprintf(address, sizeof address, "%.*s", (int)size, text);
    return inet_pton(AF_INET, address, binary) == 1 || inet_pton(AF_INET6, address, binary) == 1;
}

/* Checks what stands before the container's port: it is then dropped. */
static int check_host(const char *text, size_t size, long count, struct sfs_error *err)
{
    const char *port = text + size;
    long first, last;
    while (port > text && port[-1] != ':')
        port--;
    size_t port_size = (size_t)(text + size - port);
    if (port > text + 1 && !is_address(text, (size_t)(port - 1 - text)))
        return sfs_fail(err, EINVAL, "invalid IP address: %.*s", (int)(port - 1 - text), text);
    if (port_size == 0)
        return 0;
    if (!read_range(port, port_size, &first, &last))
        return sfs_fail(err, EINVAL, "invalid hostPort: %.*s", (int)port_size, port);
    if (last - first + 1 != count && count > 1)
        return sfs_fail(err, EINVAL, "invalid ranges specified for container and host Ports: %s",
                        text);
    return 0;
}

int sfs_text_ports(const char *text, struct sfs_vars *ports, struct sfs_error *err)
{
    static const char *const protocols[] = { "tcp", "udp", "sctp" };
    const char *port = strrchr(text, ':'), *protocol = "tcp";
    port = port ? port + 1 : text;
    const char *slash = strchr(port, '/');
    size_t size = slash ? (size_t)(slash - port) : strlen(port);
    if (size == 0)
        return sfs_fail(err, EINVAL, "invalid port: \"%.100s\": no port specified", text);
    for (size_t i = 0; slash && slash[1]; i++) {
        if (i == sizeof protocols / sizeof *protocols)
            return sfs_fail(err, EINVAL, "invalid port: \"%.100s\": invalid proto: %.100s", text,
                            slash + 1);
        if (strcasecmp(slash + 1, protocols[i]) == 0) {
            protocol = protocols[i];
            break;
        }
    }
    long first, last;
    if (!read_range(port, size, &first, &last))
        return sfs_fail(err, EINVAL, "invalid containerPort: %.*s", (int)size, port);
    int r = port > text ? check_host(text, (size_t)(port - 1 - text), last - first + 1, err) : 0;
    for (long i = first; r == 0 && i <= last; i++) {
        char item[32];
        snprintf(item, sizeof item, "%ld/%s", i, protocol);
        if (sfs_words_add(ports, item, strlen(item)) < 0)
            r = sfs_fail_memory(err);
    }
    return r;
}

/* ---- STOPSIGNAL ---- */

bool sfs_text_is_signal(const char *text)
{
    static const char *const names[] = { "ABRT",   "ALRM",   "BUS",  "CHLD", "CLD",   "CONT",
                                         "FPE",    "HUP",    "ILL",  "INT",  "IO",    "IOT",
                                         "KILL",   "PIPE",   "POLL", "PROF", "PWR",   "QUIT",
                                         "SEGV",   "STKFLT", "STOP", "SYS",  "TERM",  "TRAP",
                                         "TSTP",   "TTIN",   "TTOU", "URG",  "USR1",  "USR2",
                                         "VTALRM", "WINCH",  "XCPU", "XFSZ", "RTMIN", "RTMAX" };
    char *end;
    errno = 0;
    long number = strtol(text, &end, 10);
    if (*text && !*end && !isspace((unsigned char)*text))
        return !errno && number != 0;
    if (strncasecmp(text, "SIG", 3) == 0)
        text += 3;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcasecmp(text, names[i]) == 0)
            return true;
    bool is_min = strncasecmp(text, "RTMIN+", 6) == 0, is_max = strncasecmp(text, "RTMAX-", 6) == 0;
    if ((!is_min && !is_max) || !isdigit((unsigned char)text[6]))
        return false;
    number = strtol(text + 6, &end, 10);
    return !*end && number >= 1 && number <= (is_min ? 15 : 14);
}
