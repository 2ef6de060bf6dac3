/* What every command shares: options told once (parsed and printed as help from the same table),
 * the session's caches, messages, exit status. tools/ sees only <stagefs/...>. */
#ifndef STAGEFS_TOOL_H
#define STAGEFS_TOOL_H

#include <stagefs/auto.h>
#include <stagefs/cache.h>
#include <stagefs/error.h>
#include <stagefs/progress.h>
#include <stagefs/slim.h>
#include <stagefs/registry.h>
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
    OPTION_PATH,   /* as TEXT: it names something, and so is not empty */
    OPTION_PATHS,  /* as LIST, likewise */
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

struct stage_args;
struct option_set {
    struct option_spec specs[MAX_OPTIONS];
    size_t count;
    size_t stage_first, stage_end; /* those of stage_options() */
    /* Not NULL: the arguments end with a command, whose own options begin behind its first word.
     * That is the first argument where these tell the stage, else the second; "--" may stand in
     * front of it. */
    const struct stage_args *before_command;
};
/* Adds options. A letter that is there already stays what it is: ls has -h for sizes, and its help
 * is only --help. More than MAX_OPTIONS, and two of one name, are mistakes of this program, and
 * asserted.
 */
void options_add(struct option_set *set, const struct option_spec *specs, size_t count);

/* ---- commands ---- */

struct command {
    const char *name;
    const char *synopsis; /* what follows "stagefs NAME" */
    const char *summary;  /* one line */
    const char *examples; /* lines, each ended by a newline */
    /* Does the command; argv[0] is its name. Returns the exit status. */
    int (*run)(const struct command *command, int argc, char **argv);
    bool takes_no_image; /* options about images are no part of its help */
};

/* The global part of a command line, and what is opened by it. Zero it before use. */
struct tool {
    bool json, quiet, verbose, help;
    const char *platform;
    uint64_t memory; /* bytes of the memory cache; 0: the default */
    long threads;    /* 0: one for each CPU */
    bool strict;
    struct sfs_registry_options registry;
    const char *tls_verify;  /* "true", "false"; NULL: not given */
    const char *index_trust; /* "registry", "manifest", "none"; NULL: not given */
    /* What that is where it is not given: what is written, or has rights, is not made of an index
     * that only the registry vouches for. Set by commands before tool_open(). */
    enum sfs_index_trust usual_trust;
    struct sfs_store *store;
    struct sfs_cache *cache;
    struct sfs_progress progress;
    struct sfs_context context;
};

/* Adds the options that each command has. */
void tool_options(struct tool *tool, struct option_set *set);

/* Parses argv by the set; *ret_rest is what is left (argv is changed; "--" ends options).
 * Returns 0 to go on, or an exit status + 1 to leave with (help was shown, or an error). */
int tool_parse(const struct command *command, struct tool *tool, struct option_set *set, int argc,
               char **argv, char ***ret_rest, int *ret_rest_count);

/* The same for a command that takes no stage: its own options and those that each command has. */
int tool_arguments(const struct command *command, struct tool *tool, const struct option_spec *own,
                   size_t own_count, int argc, char **argv, char ***ret_rest, int *ret_rest_count);

/* The same for a command that opens no image either: its own options, -q, -v and --help. (Commands
 * begin alike on purpose: a table of options, a parse, a word on what is missing.) */
int tool_plain_arguments(const struct command *command, struct tool *tool,
                         const struct option_spec *own, size_t own_count, int argc, char **argv,
                         char ***ret_rest, int *ret_rest_count);

/* Opens the caches: starts threads. read_data false: no memory cache (names and metadata only). */
int tool_open(struct tool *tool, bool read_data, struct sfs_error *err);
/* Opens an image with what the options say. The tool is open until the image is closed. */
int tool_open_image(const struct tool *tool, const char *ref, struct sfs_image **ret_image,
                    struct sfs_error *err);
/* Closes what is open, and clears the progress. */
void tool_close(struct tool *tool);

/* Prints "stagefs: <text>" on stderr, and returns the exit status that r (negative errno) stands
 * for. */
int tool_fail(int r, const struct sfs_error *err);
/* Prints "stagefs NAME: <text>; see 'stagefs NAME --help'" on stderr, and returns EXIT_USAGE. */
int tool_usage(const struct command *command, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* Flushes stdout, and returns `status`; EXIT_FAILED, with words, if it could not be written (a full
 * disk, a closed pipe). */
int tool_finish(int status);

/* Prints a command's help, made of its table row and its options, on stdout. */
void help_print(const struct command *command, const struct option_set *set);
/* All commands, ended by one without a name. */
extern const struct command commands[];

/* ---- STAGE on a command line ---- */

struct stage_args {
    const char *dockerfile, *target, *context, *network;
    struct text_list build_args, build_contexts, secrets;
    const char *from, *base, *chown, *chmod;
    struct text_list copies, excludes;
    bool parents;
    bool allow_run; /* set by commands that do more than look, before they parse */
    bool no_cache;
    struct sfs_stage_pair *pairs; /* what the lists were split into; owned */
    struct text_list trims, keeps, drops;
    const char *policy, *gpu_archs, *ptx;
    /* What those come to, once the stage is open, but for profiles: those are trims. */
    struct sfs_slim_spec slim_spec;
    struct sfs_slim *slim; /* NULL: the stage is not narrowed; owned */
    bool held;             /* set by a command that narrows the stage itself, before it is opened */
};
/* Adds the options that tell a stage. */
void stage_options(struct stage_args *args, struct option_set *set);
/* Do options tell the stage? Then no positional argument is taken for it. */
bool stage_is_given(const struct stage_args *args);
/* Do options narrow the stage? Then opening it reads files. */
bool stage_is_narrowed(const struct stage_args *args);
/* Opens the stage that the options tell, or `image` if they tell none. */
int stage_open(struct stage_args *args, const char *image, const struct sfs_context *context,
               struct sfs_stage **ret_stage, struct sfs_error *err);
/* Narrows the stage by the options that stage_open() has read, and the profiles of `trims` now;
 * once more if it was narrowed before. Fails as sfs_slim_open(). */
int stage_narrow(struct stage_args *args, struct sfs_stage *stage,
                 const struct sfs_progress *progress, struct sfs_error *err);
/* Frees what is in it. The stage may live on, narrowed if it was. */
void stage_args_close(struct stage_args *args);

/* ---- what most commands do: parse, open a stage, work, close ---- */

struct session { /* zero it before use */
    struct tool tool;
    struct option_set set;
    struct stage_args stage_args;
    struct sfs_stage *stage;
    const char
        *image;  /* the reference that the stage was opened by; NULL: options tell the stage */
    char **rest; /* positional arguments that are left */
    int rest_count;
    int profile_fd; /* what session_find_profiles() found; 0: nothing */
    char profile_path[32];
};
/* Parses the shared options, those of a stage, and the command's own. As tool_parse(). */
int session_parse(const struct command *command, struct session *session,
                  const struct option_spec *own, size_t own_count, int argc, char **argv);
/* Was no stage named, neither by options nor by an argument? */
bool session_is_empty(const struct session *session);
/* Opens the stage: the one that the options tell, else the IMAGE that stands first in rest (and is
 * taken off). */
int session_open(struct session *session, bool read_data, struct sfs_error *err);
/* Where no profiles are given, takes those beside the image at its registry, as one file that lasts
 * as long as the session. The list's array is owned by its owner, as ever. What cannot be had is
 * done without: a profile only makes things faster. */
void session_find_profiles(struct session *session, struct text_list *profiles);
/* Closes all, tells of a failure, and returns the exit status. r: what the work came to, a negative
 * errno with err, or an exit status. */
int session_close(struct session *session, int r, const struct sfs_error *err);

/* ---- printing ---- */

#define SIZE_TEXT 16
/* A size for people, as all commands show it: powers of 1024 rounded up, "1.5G", "312", exactly as
 * ls -h and du -h have it. Fills and returns `text`, as do the next two. */
char *print_size(uint64_t bytes, char text[SIZE_TEXT]);
/* A mode with its type: "drwxr-xr-t". */
char *print_mode(uint32_t mode, char text[12]);
/* A local time: "2026-11-23 04:12". */
char *print_time(int64_t seconds, char text[32]);
/* A name in a directory, which may end with '/'. The caller frees; NULL: out of memory. */
char *path_in(const char *dir, const char *name);
/* Prints a path on stdout: control bytes as \ooo, UTF-8 as it is. */
void print_path(const char *path);
/* How many columns print_path() fills. */
unsigned print_path_width(const char *path);
/* How many columns the terminal has that fd is; 80 if it is none. */
unsigned print_columns(int fd);
struct json_t;
/* Prints a document on stdout, and frees it. Returns the exit status. */
int print_json(struct json_t *json);
/* Makes a JSON string of bytes: as they are if they are UTF-8, else with each bad byte as U+FFFD.
 * The caller json_decref()s it, as those below; NULL: out of memory. */
struct json_t *json_text(const char *bytes);
/* A digest as a JSON string. */
struct json_t *json_digest(const struct sfs_digest *digest);
/* Attributes of a node as a JSON object. */
struct json_t *json_attr(const struct sfs_tree *tree, sfs_node node);

/* ---- progress ---- */

/* A bar on stderr for work longer than a second, if stderr is a terminal and quiet is off. */
void progress_open(struct sfs_progress *progress, bool quiet, bool verbose);
/* Clears the bar. */
void progress_close(void);

#endif
