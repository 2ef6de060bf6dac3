/* docker-credential-NAME get: the server on its standard input, JSON on its standard output. It is
 * run without a shell, for a minute at most (it may ask a user for a key), and may say 64 KiB. */
#include "registry/credentials.h"

#include "base/buf.h"
#include "base/io.h"
#include "base/limits.h"
#include "base/program.h"
#include <ctype.h>
#include <errno.h>
#include <jansson.h>
#include <poll.h>
#include <signal.h>
#include <stagefs/format.h>
#include <stagefs/json.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>

#define HELPER_MS 60000

struct helper {
    pid_t pid;
    int fd; /* a socket: its standard input and output */
};

static void stop(struct helper *helper)
{
    sfs_close_fd(&helper->fd);
    if (helper->pid <= 0)
        return;
    kill(helper->pid, SIGKILL);
    waitpid(helper->pid, NULL, 0);
}

static int start(const char *program, struct helper *helper, struct sfs_error *err)
{
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
        return sfs_fail_errno(err, EIO, "speaking to %s", program);
    helper->fd = pair[0];
    int r = sfs_program_start((const char *[]){ program, "get", NULL },
                              (int[]){ pair[1], pair[1], -1 }, &helper->pid);
    close(pair[1]);
    if (r == -ENOENT)
        return sfs_fail(err, ENOENT, "%s, which has the login, is not installed", program);
    return r < 0 ? sfs_fail_errno(err, EIO, "%s could not be run (%s)", program, strerror(-r)) : 0;
}

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static int read_answer(const struct helper *helper, const char *program, struct sfs_buf *text,
                       struct sfs_error *err)
{
    for (int64_t end = now_ms() + HELPER_MS;;) {
        int64_t left = end - now_ms();
        struct pollfd poll_fd = { .fd = helper->fd, .events = POLLIN };
        int ready = left > 0 ? poll(&poll_fd, 1, (int)left) : 0;
        if (ready < 0 && errno == EINTR)
            continue;
        if (ready <= 0)
            return sfs_fail(err, EIO, "%s says nothing", program);
        char *room = sfs_buf_grow(text, 4096);
        ssize_t n = room ? read(helper->fd, room, 4096) : -1;
        text->size -= room ? 4096 - (n > 0 ? (size_t)n : 0) : 0;
        if (n <= 0)
            return n < 0 && errno != ECONNRESET ? sfs_fail_errno(err, EIO, "reading %s", program)
                                                : 0;
        if (text->size > SFS_MAX_HTTP_ERROR)
            return sfs_fail(err, EIO, "%s says too much", program);
    }
}

/* Its exit status, or -errno. */
static int end(struct helper *helper)
{
    pid_t pid = helper->pid;
    helper->pid = 0;
    return sfs_program_wait(pid);
}

static int take_json(const struct sfs_buf *text, const char *program, struct sfs_credentials *login,
                     struct sfs_error *err)
{
    json_t *json = NULL;
    if (sfs_json_parse(text->data ? text->data : "", text->size, 0, &json, NULL) < 0)
        return sfs_fail(err, EIO, "%s did not answer with JSON", program);
    const char *user = json_string_value(json_object_get(json, "Username"));
    const char *secret = json_string_value(json_object_get(json, "Secret"));
    int r = 0;
    if (!user || !secret) {
        r = sfs_fail(err, EIO, "%s answered without Username or Secret", program);
    } else if (strcmp(user, "<token>") == 0) {
        login->identity_token = strdup(secret);
        r = login->identity_token ? 0 : sfs_fail_memory(err);
    } else {
        login->user = strdup(user);
        login->password = strdup(secret);
        r = login->user && login->password ? 0 : sfs_fail_memory(err);
    }
    json_decref(json);
    return r;
}

/* Its words are not shown but for what says that there is no login: they might hold a secret. */
static int ask(struct helper *helper, const char *program, const char *server,
               struct sfs_credentials *login, struct sfs_error *err)
{
    int status = 0;
    AUTO(sfs_buf_close) struct sfs_buf text = { 0 };
    /* MSG_NOSIGNAL: one that ends without reading tells by its status. */
    send(helper->fd, server, strlen(server), MSG_NOSIGNAL);
    shutdown(helper->fd, SHUT_WR);
    int r = read_answer(helper, program, &text, err);
    if (r == 0 && (status = end(helper)) < 0)
        r = sfs_fail_errno(err, EIO, "waiting for %s", program);
    if (r == 0 && status != 0)
        r = text.data && strstr(text.data, "credentials not found")
                ? sfs_fail(err, ENOENT, "%s has no login for %s", program, server)
                : sfs_fail(err, EIO, "%s failed: run it by hand, with %s on its standard input",
                           program, server);
    if (r == 0)
        r = take_json(&text, program, login, err);
    if (text.data)
        explicit_bzero(text.data, text.size);
    return r;
}

int sfs_credential_helper_get(const char *name, const char *server,
                              struct sfs_credentials *ret_credentials, struct sfs_error *err)
{
    for (const char *p = name; *p; p++)
        if (!isalnum((unsigned char)*p) && !strchr("._-", *p))
            return sfs_fail(err, EBADMSG, "'%.100s' is no name of a credential helper", name);
    AUTO(sfs_free) char *program = sfs_format("docker-credential-%s", name);
    if (!program)
        return sfs_fail_memory(err);
    AUTO(stop) struct helper helper = { .fd = -1 };
    int r = start(program, &helper, err);
    return r < 0 ? r : ask(&helper, program, server, ret_credentials, err);
}
