/* Passing bytes between the caller's terminal and the sandbox's. */
#include "run/run_parts.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <termios.h>

#define END_OF_INPUT 4 /* Ctrl-D, as a terminal's driver takes it */

struct sfs_run_tty {
    int terminal; /* borrowed; does not block */
    bool is_raw, input_ended, output_ended;
    struct termios before;
    char input[4096]; /* bytes that were read, and that the sandbox has not taken yet */
    size_t input_size;
};

int sfs_run_tty_open(int terminal, struct sfs_run_tty **ret_tty, struct sfs_error *err)
{
    struct sfs_run_tty *tty = calloc(1, sizeof *tty);
    if (!tty)
        return sfs_fail_memory(err);
    tty->terminal = terminal;
    fcntl(terminal, F_SETFL, O_RDWR | O_NONBLOCK);
    sfs_run_tty_resize(tty);
    if (tcgetattr(STDIN_FILENO, &tty->before) == 0) {
        struct termios raw = tty->before;
        cfmakeraw(&raw);
        tty->is_raw = tcsetattr(STDIN_FILENO, TCSADRAIN, &raw) == 0;
    }
    *ret_tty = tty;
    return 0;
}

void sfs_run_tty_close(struct sfs_run_tty **tty)
{
    struct sfs_run_tty *closed = TAKE(*tty);
    if (closed && closed->is_raw)
        tcsetattr(STDIN_FILENO, TCSADRAIN, &closed->before);
    free(closed);
}

void sfs_run_tty_resize(struct sfs_run_tty *tty)
{
    struct winsize size;
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 || ioctl(STDIN_FILENO, TIOCGWINSZ, &size) == 0)
        ioctl(tty->terminal, TIOCSWINSZ, &size);
}

void sfs_run_tty_polls(const struct sfs_run_tty *tty, struct pollfd polls[SFS_RUN_TTY_POLLS])
{
    bool reads = !tty->input_ended && tty->input_size == 0;
    short wanted = (short)((tty->output_ended ? 0 : POLLIN) | (tty->input_size > 0 ? POLLOUT : 0));
    polls[0] = (struct pollfd){ .fd = reads ? STDIN_FILENO : -1, .events = POLLIN };
    polls[1] = (struct pollfd){ .fd = tty->output_ended ? -1 : tty->terminal, .events = wanted };
}

static void read_input(struct sfs_run_tty *tty)
{
    ssize_t n = read(STDIN_FILENO, tty->input, sizeof tty->input);
    if (n > 0) {
        tty->input_size = (size_t)n;
    } else if (n == 0 || (errno != EINTR && errno != EAGAIN)) {
        tty->input_ended = true;
        tty->input[0] = END_OF_INPUT;
        tty->input_size = 1;
    }
}

static void write_input(struct sfs_run_tty *tty)
{
    ssize_t n = write(tty->terminal, tty->input, tty->input_size);
    if (n > 0) {
        tty->input_size -= (size_t)n;
        memmove(tty->input, tty->input + n, tty->input_size);
    }
}

/* Passes on some output of the sandbox. False: nothing came. */
static bool pass_output(struct sfs_run_tty *tty)
{
    char data[16384];
    ssize_t n = read(tty->terminal, data, sizeof data);
    if (n > 0)
        return sfs_io_write_all(STDOUT_FILENO, data, (size_t)n) == 0;
    /* EIO: nobody has the other side open. */
    tty->output_ended = n == 0 || (errno != EAGAIN && errno != EINTR);
    return false;
}

void sfs_run_tty_pass(struct sfs_run_tty *tty, const struct pollfd polls[SFS_RUN_TTY_POLLS])
{
    if (polls[0].fd >= 0 && polls[0].revents)
        read_input(tty);
    if (polls[1].fd >= 0 && (polls[1].revents & ~POLLOUT))
        pass_output(tty);
    if (tty->input_size > 0)
        write_input(tty);
}

void sfs_run_tty_drain(struct sfs_run_tty *tty)
{
    while (pass_output(tty))
        continue;
}
