/* One line on a terminal for all work under way: what, a bar, bytes, rate, time left. */
#include "tool.h"

#include <stagefs/lock.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define MAX_TASKS  128
#define SHOW_AFTER 1.0 /* seconds: short work stays silent */
#define SHOW_EVERY 0.1

struct task {
    char what[96];
    uint64_t done, total;
};

static struct {
    pthread_mutex_t lock;
    bool on, verbose, shown;
    double started, drawn;
    struct task tasks[MAX_TASKS];
    size_t count;
} bar = { .lock = PTHREAD_MUTEX_INITIALIZER };

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static struct task *find_task(const char *what)
{
    for (size_t i = 0; i < bar.count; i++)
        if (strncmp(bar.tasks[i].what, what, sizeof bar.tasks[i].what - 1) == 0)
            return &bar.tasks[i];
    if (bar.count == MAX_TASKS)
        return NULL;
    struct task *task = &bar.tasks[bar.count++];
    snprintf(task->what, sizeof task->what, "%s", what);
    return task;
}

static void draw(double time)
{
    uint64_t done = 0, total = 0;
    size_t running = 0;
    const char *what = "";
    for (size_t i = 0; i < bar.count; i++) {
        const struct task *task = &bar.tasks[i];
        done += task->done;
        total += task->total;
        if (task->total == 0 || task->done < task->total) {
            running++;
            what = task->what;
        }
    }
    double elapsed = time - bar.started;
    double rate = elapsed > 0 ? (double)done / elapsed : 0;
    char done_text[SIZE_TEXT], total_text[SIZE_TEXT], rate_text[SIZE_TEXT], left[32] = "";
    if (total > done && rate > 0)
        snprintf(left, sizeof left, ", %.0f s left", (double)(total - done) / rate);
    char tail[128];
    snprintf(tail, sizeof tail, " %s/%s %s/s%s", print_size(done, done_text),
             print_size(total, total_text), print_size((uint64_t)rate, rate_text), left);
    char head[128];
    if (running > 1)
        snprintf(head, sizeof head, "%s and %zu more", what, running - 1);
    else
        snprintf(head, sizeof head, "%s", what);
    unsigned width = print_columns(STDERR_FILENO),
             used = (unsigned)(strlen(head) + strlen(tail)) + 4;
    char gauge[64] = "";
    if (total > 0 && width > used + 10) {
        unsigned room = width - used < 40 ? width - used : 40;
        unsigned full = (unsigned)((double)done / (double)total * room);
        gauge[0] = ' ';
        gauge[1] = '[';
        for (unsigned i = 0; i < room; i++)
            gauge[2 + i] = i < full ? '=' : i == full ? '>' : ' ';
        memcpy(gauge + 2 + room, "]", 2);
    }
    fprintf(stderr, "\r\033[K%s%s%s", head, gauge, tail);
    fflush(stderr);
    bar.shown = true;
    bar.drawn = time;
}

static void clear_line(void)
{
    if (bar.shown)
        fputs("\r\033[K", stderr);
    bar.shown = false;
}

static void report(void *user, const char *what, uint64_t done, uint64_t total)
{
    (void)user;
    LOCK(&bar.lock);
    double time = now();
    if (bar.count == 0)
        bar.started = time;
    struct task *task = find_task(what);
    if (task) {
        task->done = done;
        task->total = total;
    }
    if (bar.on && time - bar.started >= SHOW_AFTER && time - bar.drawn >= SHOW_EVERY)
        draw(time);
    if (bar.verbose && total > 0 && done == total) {
        clear_line();
        char size[SIZE_TEXT];
        fprintf(stderr, "stagefs: %s: %s\n", what, print_size(total, size));
    }
}

static void warn(void *user, const char *text)
{
    (void)user;
    LOCK(&bar.lock);
    clear_line();
    fprintf(stderr, "stagefs: warning: %s\n", text);
}

static void note(void *user, const char *text)
{
    (void)user;
    LOCK(&bar.lock);
    clear_line();
    fprintf(stderr, "stagefs: %s\n", text);
}

static void warn_not(void *user, const char *text)
{
    (void)user;
    (void)text;
}

void progress_open(struct sfs_progress *progress, bool quiet, bool verbose)
{
    bar.on = !quiet && isatty(STDERR_FILENO);
    bar.verbose = verbose && !quiet;
    *progress = (struct sfs_progress){ .report = report,
                                       .warn = quiet ? warn_not : warn,
                                       .note = bar.verbose ? note : NULL };
}

void progress_close(void)
{
    LOCK(&bar.lock);
    clear_line();
    bar.count = 0;
}
