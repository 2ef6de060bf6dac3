/* A slow line between two network namespaces: a TUN device in each, and what enters one leaves the
 * other later, as if the line carried so many bits a second and were so long. Kernels without
 * netem (those of many containers and small machines) have no other way, and TCP sees no
 * difference.
 *
 *     shaper NETNS NETNS ONE_WAY_US MBIT_PER_S [LOG]
 *
 * Prints "ready" when both devices ("tun0") are there, and runs until it is killed, which takes
 * the devices away. LOG gets a line for every 10 ms in which something passed: the milliseconds of
 * the monotonic clock, and the bytes that left each way. Gaps in it are an idle line. Takes root,
 * and uses no code of fs/. */
#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#define PACKETS 16384u    /* a power of two, and more than QUEUE holds of full packets */
#define PACKET  1600u     /* bytes of one, at most: the devices' MTU is 1500 */
#define QUEUE   4000000.0 /* bytes that wait for the line; what comes then is lost */
#define AT_ONCE 64u
#define TICK_NS 10000000l
#define SECOND  1000000000ll
#define USAGE   "Usage: shaper NETNS NETNS ONE_WAY_US MBIT_PER_S [LOG]\n"

struct packet {
    int64_t due; /* when it leaves the line */
    ssize_t size;
    char data[PACKET];
};

/* One direction. Only its thread touches it, but for `passed`. */
struct way {
    int in, out;
    int64_t delay_ns, free_at; /* free_at: when the line has sent all that it was given */
    double ns_per_byte;
    unsigned head, tail; /* packets are at head, ..., tail - 1, each modulo PACKETS */
    struct packet *packets;
    atomic_ullong passed; /* bytes */
};

static int64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * SECOND + now.tv_nsec;
}

static int fail(const char *what)
{
    fprintf(stderr, "shaper: %s: %s\n", what, strerror(errno));
    return -1;
}

/* A device in that namespace, whatever this thread's own is. */
static int open_tun(const char *netns)
{
    char path[4096];
    snprintf(path, sizeof path, "/run/netns/%s", netns);
    int own = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    int other = open(path, O_RDONLY | O_CLOEXEC);
    if (own < 0 || other < 0 || setns(other, CLONE_NEWNET) < 0)
        return fail(path);
    struct ifreq request = { .ifr_name = "tun0", .ifr_flags = IFF_TUN | IFF_NO_PI };
    int tun = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (tun < 0 || ioctl(tun, TUNSETIFF, &request) < 0)
        return fail("/dev/net/tun");
    if (setns(own, CLONE_NEWNET) < 0)
        return fail("going back to the own namespace");
    close(own);
    close(other);
    return tun;
}

/* Takes what enters. Returns whether there was anything. */
static bool take(struct way *way)
{
    bool any = false;
    for (unsigned i = 0; i < AT_ONCE && way->tail - way->head < PACKETS; i++) {
        struct packet *packet = &way->packets[way->tail % PACKETS];
        packet->size = read(way->in, packet->data, sizeof packet->data);
        if (packet->size <= 0)
            break;
        any = true;
        int64_t now = now_ns();
        if (way->free_at < now)
            way->free_at = now;
        if ((double)(way->free_at - now) > QUEUE * way->ns_per_byte)
            continue; /* the queue is full */
        way->free_at += (int64_t)((double)packet->size * way->ns_per_byte);
        packet->due = way->free_at + way->delay_ns;
        way->tail++;
    }
    return any;
}

/* Lets out what is due. A device that takes no more loses it, as a real one does. */
static bool let_out(struct way *way)
{
    bool any = false;
    int64_t now = now_ns();
    while (way->head != way->tail && way->packets[way->head % PACKETS].due <= now) {
        const struct packet *packet = &way->packets[way->head++ % PACKETS];
        ssize_t n = write(way->out, packet->data, (size_t)packet->size);
        if (n > 0)
            atomic_fetch_add(&way->passed, (unsigned long long)n);
        any = true;
    }
    return any;
}

static void *run(void *arg)
{
    struct way *way = arg;
    for (;;) {
        bool any = take(way);
        any |= let_out(way);
        if (any)
            continue;
        int64_t wait = TICK_NS;
        if (way->head != way->tail)
            wait = way->packets[way->head % PACKETS].due - now_ns();
        struct timespec until = { .tv_nsec = wait < 0 ? 0 : wait < TICK_NS ? wait : TICK_NS };
        struct pollfd in = { .fd = way->in, .events = POLLIN };
        ppoll(&in, 1, &until, NULL);
    }
    return NULL;
}

/* Until the log cannot be written any more. */
static int write_log(FILE *log, struct way ways[2])
{
    unsigned long long before[2] = { 0 };
    int written = 0;
    while (written >= 0 && fflush(log) == 0) {
        struct timespec tick = { .tv_nsec = TICK_NS };
        nanosleep(&tick, NULL);
        unsigned long long now[2] = { atomic_load(&ways[0].passed), atomic_load(&ways[1].passed) };
        if (now[0] == before[0] && now[1] == before[1])
            continue;
        written = fprintf(log, "%lld %llu %llu\n", (long long)(now_ns() / 1000000),
                          now[0] - before[0], now[1] - before[1]);
        memcpy(before, now, sizeof before);
    }
    return fail("the log");
}

static int start(struct way *way, double one_way_us, double mbit)
{
    pthread_t thread;
    way->delay_ns = (int64_t)(one_way_us * 1000);
    way->ns_per_byte = 8000 / mbit;
    way->packets = calloc(PACKETS, sizeof *way->packets);
    if (!way->packets || pthread_create(&thread, NULL, run, way) != 0)
        return fail("starting");
    return 0;
}

int main(int count, char **args)
{
    static struct way ways[2];
    double one_way_us = count > 3 ? atof(args[3]) : -1, mbit = count > 4 ? atof(args[4]) : 0;
    if (count < 5 || count > 6 || one_way_us < 0 || mbit <= 0) {
        fputs(USAGE, stderr);
        return 2;
    }
    FILE *log = count > 5 ? fopen(args[5], "we") : NULL;
    int left = open_tun(args[1]), right = open_tun(args[2]);
    if (left < 0 || right < 0 || (count > 5 && !log))
        return 1;
    ways[0].in = ways[1].out = left;
    ways[1].in = ways[0].out = right;
    if (start(&ways[0], one_way_us, mbit) < 0 || start(&ways[1], one_way_us, mbit) < 0)
        return 1;
    puts("ready");
    fflush(stdout);
    if (log)
        return write_log(log, ways) < 0;
    for (;;)
        pause();
}
