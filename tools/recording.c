/* The process that serves recording or learning mounts one after another, and the answers to the
 * harness. */
#include "recording.h"

#include "ending.h"
#include <stagefs/format.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stagefs/mount.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

/* What the server is asked for. */
#define RECORD 'r'
#define LEARN  'l'
#define FORGET 'f'

int recording_open(struct recording *recording, struct session *session, const char *work,
                   struct sfs_error *err)
{
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
        return sfs_fail_errno(err, errno, "a socket");
    *recording = (struct recording){
        .lent = ends[0], .asked = ends[1], .wanted = -1, .told = -1, .session = session
    };
    recording->dir = sfs_format("%s/recorded", work);
    recording->trace = sfs_format("%s/record", work);
    recording->learned = sfs_format("%s/learned", work);
    if (!recording->dir || !recording->trace || !recording->learned)
        return sfs_fail_memory(err);
    if (mkdir(recording->dir, 0755) < 0)
        return sfs_fail_errno(err, errno, "making %s", recording->dir);
    return 0;
}

/* ---- the server's process */

static void tell_byte(void *user)
{
    if (write(*(int *)user, "\n", 1) != 1)
        _exit(EXIT_FAILED);
}

static int serve_one(const struct recording *recording, struct sfs_store *store, bool learns,
                     int told, struct sfs_error *err)
{
    const struct session *session = recording->session;
    const struct sfs_mount_options options = {
        .mountpoint = recording->dir,
        .source = "stagefs-bench",
        .dev = geteuid() == 0,
        .allow_other = geteuid() == 0,
        .cache = session->tool.cache,
        .ready = tell_byte,
        .user = &told,
        .trace_path = learns ? NULL : recording->trace,
        .no_read_ahead = !learns,
        .trace_pages = !learns,
        .learn = learns,
        .store = store,
    };
    if (learns)
        sfs_cache_drop(session->tool.cache);
    return sfs_mount_serve(sfs_stage_tree(session->stage), &options, err);
}

/* A mount for each byte that comes. SIGTERM ends a mount, which takes the signal; between two it
 * ends the process. */
static int serve_all(const struct recording *recording, int wanted, int told)
{
    struct session *session = recording->session;
    struct sfs_error err;
    AUTO(sfs_store_close) struct sfs_store *store = NULL;
    uint64_t freed, items;
    char byte;
    int r = session_open(session, true, &err);
    if (r == 0)
        r = sfs_store_open(recording->learned, &store, &err);
    while (r == 0 && read(wanted, &byte, 1) == 1) {
        r = byte == FORGET ? sfs_store_prune(store, 0, &freed, &items, &err)
                           : serve_one(recording, store, byte == LEARN, told, &err);
        if (r == 0)
            tell_byte(&told);
    }
    return session_close(session, r, &err);
}

static int start_server(struct recording *recording)
{
    int wanted[2], told[2];
    if (pipe2(wanted, O_CLOEXEC) < 0)
        return -1;
    if (pipe2(told, O_CLOEXEC) < 0) {
        close(wanted[0]);
        close(wanted[1]);
        return -1;
    }
    recording->wanted = wanted[1];
    recording->told = told[0];
    recording->server = fork();
    if (recording->server == 0) {
        ending_unwatch();
        close(wanted[1]);
        close(told[0]);
        close(recording->asked);
        _exit(serve_all(recording, wanted[0], told[1]));
    }
    close(wanted[0]);
    close(told[1]);
    return recording->server > 0 ? 0 : -1;
}

/* ---- ours */

/* False: the server is gone. */
static bool hear(const struct recording *recording)
{
    char byte;
    ssize_t n;
    do
        n = read(recording->told, &byte, 1);
    while (n < 0 && errno == EINTR);
    return n == 1;
}

static bool ask_server(struct recording *recording, char what)
{
    if (!recording->server && start_server(recording) < 0)
        return false;
    return write(recording->wanted, &what, 1) == 1 && hear(recording);
}

static bool start_mount(struct recording *recording, char what)
{
    recording->mounted = ask_server(recording, what);
    return recording->mounted;
}

static bool stop_mount(struct recording *recording)
{
    if (!recording->mounted)
        return false;
    recording->mounted = false;
    return kill(recording->server, SIGTERM) == 0 && hear(recording);
}

static void answer(struct recording *recording, const char *question)
{
    char text[4200];
    const char *word = "done", *path = recording->trace;
    bool good;
    if (strncmp(question, "start", 5) == 0 || strncmp(question, "learn", 5) == 0) {
        good = start_mount(recording, *question == 's' ? RECORD : LEARN);
        word = "ready";
        path = recording->dir;
    } else if (strncmp(question, "forget", 6) == 0) {
        good = ask_server(recording, FORGET);
        word = "forgot";
    } else {
        good = stop_mount(recording);
    }
    int n = !good ? snprintf(text, sizeof text, "failed its process has ended\n")
                  : snprintf(text, sizeof text, "%s %s\n", word, path);
    if (n > 0 && send(recording->asked, text, (size_t)n, MSG_NOSIGNAL) < 0)
        return; /* it is gone, which the next receive tells */
}

void recording_answer(struct recording *recording)
{
    char word[16];
    size_t used = 0;
    signal(SIGPIPE, SIG_IGN); /* a server that died is told, and not the end */
    close(recording->lent);
    recording->lent = -1;
    for (;;) {
        ssize_t n = read(recording->asked, word + used, 1);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return;
        used += used + 1 < sizeof word;
        if (word[used - 1] != '\n')
            continue;
        answer(recording, word);
        used = 0;
    }
}

void recording_close(struct recording *recording)
{
    if (!recording->session)
        return;
    struct sfs_error err;
    int *const fds[] = { &recording->lent, &recording->asked, &recording->wanted,
                         &recording->told };
    for (size_t i = 0; i < sizeof fds / sizeof *fds; i++)
        sfs_close_fd(fds[i]);
    if (recording->server > 0) {
        kill(recording->server, SIGTERM);
        waitpid(recording->server, NULL, 0);
        sfs_unmount(recording->dir, &err); /* of one that was killed; else there is nothing */
    }
    free(recording->dir);
    free(recording->trace);
    free(recording->learned);
    *recording = (struct recording){ 0 };
}
