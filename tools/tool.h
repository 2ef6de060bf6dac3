/* What every command shares: options told once (parsed and printed as help from the same table),
 * the session's caches, messages, exit status. tools/ sees only <stagefs/...>. */
#ifndef STAGEFS_TOOL_H
#define STAGEFS_TOOL_H

#include <stagefs/auto.h>
#include <stagefs/cache.h>
#include <stagefs/error.h>
#include <stagefs/progress.h>
#include <stagefs/stage.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum exit_status { EXIT_DONE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2, EXIT_MISMATCH = 3 };

/* ---- options ---- */

struct text_list {
    const char **items; /* pointers into argv; the array is owned */
    size_t count;
};

enum option_kind {
    OPTION_FLAG,   /* bool * */
    OPTION_TEXT,   /* const char ** */
    OPTION_WHEN,   /* const char **; the value may be left out ("--color"), and is "always" then */
    OPTION_LIST,   /* struct text_list *; may be repeated */
    OPTION_NUMBER, /* long *, 0 or more */
    OPTION_SIZE,   /* uint64_t *, bytes, with K, M, G */
};

struct option_spec {
    const char *name; /* without "--"; NULL: the letter alone */
    char letter;      /* 0: none */
    enum option_kind kind;
    void *target;
    const char *value; /* for help: "DIR"; NULL for flags */
    const char *help;  /* one line; NULL: not shown */
};

#define MAX_OPTIONS 96

struct option_set {
    struct option_spec specs[MAX_OPTIONS];
    size_t count;
};
/* A letter belongs to whom adds it first: ls has -h for sizes, and its help is --help. More than
 * MAX_OPTIONS, and two of one name, are mistakes of this program, and asserted. */
void options_add(struct option_set *set, const struct option_spec *specs, size_t count);

/* ---- commands ---- */

struct command {
    const char *name;
    const char *synopsis; /* what follows "stagefs NAME" */
    const char *summary;  /* one line */
    const char *examples; /* lines, each ended by a newline */
    int (*run)(const struct command *command, int argc,
               char **argv); /* argv[0] is the command; exit status */
    bool takes_no_image;     /* options about images are no part of its help */
};

/* The global part of a command line, and what is opened by it. Zero it before use. */
struct tool {
    bool json, quiet, verbose, help;
    const char *platform;
    uint64_t memory; /* bytes; 0: default */
    long threads;    /* 0: all */
    bool strict;
    struct sfs_store *store;
    struct sfs_cache *cache;
    struct sfs_progress progress;
    struct sfs_context context;
};

/* Adds the options that each command has. */
void tool_options(struct tool *tool, struct option_set *set);

/* Parses argv by the set; *ret_rest is what is left (argv is permuted; "--" ends options).
 * Returns 0 to go on, or an exit status + 1 to leave with (help was shown, or an error). */
int tool_parse(const struct command *command, struct tool *tool, struct option_set *set, int argc,
               char **argv, char ***ret_rest, int *ret_rest_count);

/* The same for a command that takes no stage: its own options and those that each command has. */
int tool_arguments(const struct command *command, struct tool *tool, const struct option_spec *own,
                   size_t own_count, int argc, char **argv, char ***ret_rest, int *ret_rest_count);

/* The same for a command that opens no image either: its own options, -q, -v and --help. */
int tool_plain_arguments(const struct command *command, struct tool *tool,
                         const struct option_spec *own, size_t own_count, int argc, char **argv,
                         char ***ret_rest, int *ret_rest_count);

/* Opens the caches: starts threads. read_data false: no memory cache (names and metadata only). */
int tool_open(struct tool *tool, bool read_data, struct sfs_error *err);
void tool_close(struct tool *tool);

/* "stagefs: <text>" on stderr, and the exit status that r (negative errno) stands for. */
int tool_fail(int r, const struct sfs_error *err);
/* "stagefs NAME: <text>; see 'stagefs NAME --help'": EXIT_USAGE. */
int tool_usage(const struct command *command, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* Flushes stdout; EXIT_FAILED with words if it could not be written (a full disk, a closed pipe).
 */
int tool_finish(int status);

void help_print(const struct command *command, const struct option_set *set);
extern const struct command commands[];

/* ---- STAGE on a command line ---- */

struct stage_args {
    const char *dockerfile, *target, *context, *network;
    struct text_list build_args, build_contexts, secrets;
    const char *from, *base, *chown, *chmod;
    struct text_list copies, excludes;
    bool parents;
    bool allow_run; /* set before by commands that do more than look */
    bool no_cache;
    struct sfs_stage_pair *pairs; /* owned: what the lists were split into */
};
void stage_options(struct stage_args *args, struct option_set *set);
bool stage_is_given(
    const struct stage_args *args); /* by options: then no positional IMAGE is taken for it */
/* Opens the stage that the options tell, or `image` if they tell none. */
int stage_open(struct stage_args *args, const char *image, const struct sfs_context *context,
               struct sfs_stage **ret_stage, struct sfs_error *err);
void stage_args_close(struct stage_args *args);

/* ---- what most commands do: parse, open a stage, work, close ---- */

struct session { /* zero it before use */
    struct tool tool;
    struct option_set set;
    struct stage_args stage_args;
    struct sfs_stage *stage;
    const char *image; /* that the stage was opened by; NULL: options tell the stage */
    char **rest;       /* positional arguments that are left */
    int rest_count;
};
/* Parses the shared options, those of a stage, and the command's own. As tool_parse(). */
int session_parse(const struct command *command, struct session *session,
                  const struct option_spec *own, size_t own_count, int argc, char **argv);
/* No stage was named, neither by options nor by an argument. */
bool session_is_empty(const struct session *session);
/* Opens the stage: the one that the options tell, else the IMAGE that stands first in rest (and is
 * taken off). */
int session_open(struct session *session, bool read_data, struct sfs_error *err);
/* Closes all; r: what the work came to, negative errno with err, or an exit status. */
int session_close(struct session *session, int r, const struct sfs_error *err);

/* ---- printing ---- */

#define SIZE_TEXT 16
/* For people, everywhere: powers of 1024 rounded up, "1.5G", "312", to the byte as ls -h and du -h
 * have it. */
char *print_size(uint64_t bytes, char text[SIZE_TEXT]);
/* A name in a directory, which may end with '/'. Fresh memory; NULL: there is none. */
char *path_in(const char *dir, const char *name);
char *print_mode(uint32_t mode, char text[12]);   /* "drwxr-xr-t" */
char *print_time(int64_t seconds, char text[32]); /* local, "2026-11-23 04:12" */
void print_path(const char *path);           /* stdout; control bytes as \ooo, UTF-8 as it is */
unsigned print_path_width(const char *path); /* columns that print_path() fills */
unsigned print_columns(int fd);              /* of the terminal that fd is; 80 where it is none */
struct json_t;
int print_json(struct json_t *json); /* prints and frees it; EXIT_* */
/* A JSON string of bytes: as they are if valid UTF-8, else with each bad byte as U+FFFD. */
struct json_t *json_text(const char *bytes);
struct json_t *json_digest(const struct sfs_digest *digest);
struct json_t *json_attr(const struct sfs_tree *tree, sfs_node node);

/* ---- progress ---- */

/* A bar on stderr for work longer than a second, if stderr is a terminal and quiet is off. */
void progress_open(struct sfs_progress *progress, bool quiet, bool verbose);
void progress_close(void); /* clears the line */

#endif
