/* The socket has an abstract name, so it is gone with its process. Each connection is one question,
 * the ioctl's number, and one answer, an error number and then the text. */
#include "mount/control.h"
#include "base/thread.h"

#include "mount/server.h"
#include <errno.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>

/* A connection on which nothing is asked is closed after this time, since others wait behind it. */
#define PATIENCE_MS     100
#define ASK_PATIENCE_MS 5000 /* several such connections may be before ours */

struct sfs_control {
    struct sfs_server *server;
    int fd;
    atomic_bool closing;
    pthread_t thread;
};

struct answer {
    int32_t code;
    struct sfs_control_text text;
};

/* The socket's name has the process's number in it, and not the mount's device number, which the
 * next mount may have before this process has ended. */
static socklen_t name_socket(pid_t server, struct sockaddr_un *address)
{
    *address = (struct sockaddr_un){ .sun_family = AF_UNIX };
    /* The first byte stays 0. */
    int size =
        snprintf(address->sun_path + 1, sizeof address->sun_path - 1, "stagefs/%ld", (long)server);
    return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)size);
}

static int set_patience(int fd, unsigned ms)
{
    struct timeval patience = { .tv_sec = ms / 1000, .tv_usec = (suseconds_t)(ms % 1000) * 1000 };
    bool set = setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) == 0 &&
               setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience) == 0;
    return set ? 0 : -errno;
}

/* The user at the other end; of a listening socket, the one who made it listen. */
static int peer_user(int fd, uid_t *ret_user)
{
    struct ucred peer;
    socklen_t size = sizeof peer;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0)
        return -errno;
    *ret_user = peer.uid;
    return 0;
}

static int print_stats(struct sfs_server *server, struct sfs_control_text *text)
{
    struct sfs_buf buf = { 0 };
    int r = sfs_stats_print(&server->stats, server->options->cache, server->pack, &buf);
    if (r == 0 && buf.size >= sizeof text->text)
        r = -EOVERFLOW;
    if (r == 0)
        memcpy(text->text, buf.data, buf.size + 1);
    sfs_buf_close(&buf);
    return r;
}

static int drop(struct sfs_server *server)
{
    if (server->options->cache)
        sfs_cache_drop(server->options->cache);
    return 0;
}

unsigned long sfs_control_pid_namespace(void)
{
    struct stat st;
    return stat("/proc/self/ns/pid", &st) == 0 ? st.st_ino : 0;
}

static int print_server(struct sfs_control_text *text)
{
    snprintf(text->text, sizeof text->text, "%ld-%lu", (long)getpid(), sfs_control_pid_namespace());
    return 0;
}

int sfs_control_answer(struct sfs_server *server, uid_t user, unsigned long command,
                       struct sfs_control_text *text)
{
    if (command == SFS_IOCTL_STATS)
        return print_stats(server, text);
    if (command != SFS_IOCTL_DROP && command != SFS_IOCTL_SERVER)
        return -ENOTTY;
    if (user != 0 && user != geteuid())
        return -EPERM;
    return command == SFS_IOCTL_DROP ? drop(server) : print_server(text);
}

static void answer(struct sfs_server *server, int fd)
{
    uint64_t command;
    uid_t user = (uid_t)-1;
    if (set_patience(fd, PATIENCE_MS) < 0 || peer_user(fd, &user) < 0 ||
        recv(fd, &command, sizeof command, 0) != (ssize_t)sizeof command)
        return;
    struct answer words = { 0 };
    words.code = sfs_control_answer(server, user, command, &words.text);
    send(fd, &words, sizeof words, MSG_NOSIGNAL);
}

/* What the thread runs. shutdown() does not drop connections that wait to be accepted, so `closing`
 * is looked at before each answer. */
static void *serve(void *arg)
{
    struct sfs_control *control = arg;
    struct timespec pause = { .tv_nsec = 10000000 };
    while (!atomic_load(&control->closing)) {
        AUTO(sfs_close_fd) int fd = accept4(control->fd, NULL, NULL, SOCK_CLOEXEC);
        if (fd >= 0 && !atomic_load(&control->closing))
            answer(control->server, fd);
        else if (fd < 0 && errno == EINVAL)
            break; /* shut down */
        else if (fd < 0)
            nanosleep(&pause, NULL); /* perhaps too many files are open */
    }
    return NULL;
}

int sfs_control_open(struct sfs_server *server, struct sfs_control **ret_control,
                     struct sfs_error *err)
{
    AUTO(sfs_free) struct sfs_control *control = calloc(1, sizeof *control);
    AUTO(sfs_close_fd) int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    struct sockaddr_un address;
    socklen_t size = name_socket(getpid(), &address);
    int r = !control ? -ENOMEM : fd < 0 ? -errno : 0;
    if (r == 0 && (bind(fd, (struct sockaddr *)&address, size) < 0 || listen(fd, SOMAXCONN) < 0))
        r = -errno;
    if (r < 0)
        return sfs_fail_errno(err, -r, "the socket for stagefs stats");
    control->server = server;
    control->fd = fd;
    r = sfs_thread_start(&control->thread, serve, control, "answers stagefs stats", err);
    if (r < 0)
        return r;
    (void)TAKE_FD(fd);
    *ret_control = TAKE(control);
    return 0;
}

void sfs_control_close(struct sfs_control **control)
{
    if (!*control)
        return;
    atomic_store(&(*control)->closing, true);
    shutdown((*control)->fd, SHUT_RDWR);
    pthread_join((*control)->thread, NULL);
    close((*control)->fd);
    free(*control);
    *control = NULL;
}

int sfs_control_ask(pid_t server, unsigned long command, struct sfs_control_text *text)
{
    AUTO(sfs_close_fd) int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    AUTO(sfs_free) struct answer *words = calloc(1, sizeof *words);
    struct sockaddr_un address;
    socklen_t size = name_socket(server, &address);
    uint64_t question = command;
    uid_t user = (uid_t)-1;
    if (!words)
        return -ENOMEM;
    if (fd < 0 || set_patience(fd, ASK_PATIENCE_MS) < 0 ||
        connect(fd, (struct sockaddr *)&address, size) < 0)
        return -errno;
    if (peer_user(fd, &user) < 0 || (user != 0 && user != geteuid()))
        return -ECONNREFUSED; /* somebody else took the name */
    if (send(fd, &question, sizeof question, MSG_NOSIGNAL) < 0)
        return -errno;
    if (recv(fd, words, sizeof *words, 0) != (ssize_t)sizeof *words)
        return -ECONNREFUSED;
    if (words->code == 0 && text)
        *text = words->text;
    return words->code;
}
