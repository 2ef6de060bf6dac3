/* stagefs: one table of commands; help is printed from it. */
#include "hints.h"
#include "tool.h"

#include <errno.h>
#include <fcntl.h>
#include <stagefs/suggest.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static void talk_options(struct tool *tool, struct option_set *set)
{
    const struct option_spec specs[] = {
        { "quiet", 'q', OPTION_FLAG, &tool->quiet, NULL, "no progress, no warnings" },
        { "verbose", 'v', OPTION_FLAG, &tool->verbose, NULL, "tell what is done" },
        { "help", 'h', OPTION_FLAG, &tool->help, NULL, "this text" },
    };
    options_add(set, specs, sizeof specs / sizeof *specs);
}

void tool_options(struct tool *tool, struct option_set *set)
{
    const struct option_spec specs[] = {
        { "json", 0, OPTION_FLAG, &tool->json, NULL, "print one JSON document on stdout" },
        { "platform", 0, OPTION_TEXT, &tool->platform, "OS/ARCH[/VARIANT]",
          "which image of an index (default: the host's)" },
        { "memory", 0, OPTION_SIZE, &tool->memory, "SIZE",
          "budget of decoded data in memory (default 256M; commit: 8M a thread)" },
        { "threads", 0, OPTION_NUMBER, &tool->threads, "N", "worker threads (default: one a CPU)" },
        { "strict", 0, OPTION_FLAG, &tool->strict, NULL, "fail where BuildKit silently goes on" },
        { "authfile", 0, OPTION_TEXT, &tool->registry.authfile, "FILE",
          "logins to registries (default: those of podman and docker)" },
        { "cache-limit", 0, OPTION_SIZE, &tool->registry.keep, "SIZE",
          "bytes of registries' layers kept in the cache directory, and of packs (default 32G; "
          "packs 4G)" },
        { "index-trust", 0, OPTION_TEXT, &tool->index_trust, "WHOM",
          "whose indexes of layers at a registry are used: registry (default: compared with the "
          "layers), manifest, none" },
        { "creds", 0, OPTION_TEXT, &tool->registry.creds, "USER[:PASSWORD]",
          "the login to registries" },
        { "tls-verify", 0, OPTION_WHEN, &tool->tls_verify, "BOOL",
          "false: take any certificate of a registry, and plain HTTP" },
    };
    options_add(set, specs, sizeof specs / sizeof *specs);
    talk_options(tool, set);
}

/* They would do nothing; they are still let pass, as each command does. */
static void hide_image_options(const struct tool *tool, struct option_set *set)
{
    const void *const targets[] = { &tool->platform,       &tool->memory,
                                    &tool->threads,        &tool->strict,
                                    &tool->registry.creds, &tool->registry.authfile,
                                    &tool->registry.keep,  &tool->tls_verify,
                                    &tool->index_trust };
    for (size_t i = 0; i < set->count; i++)
        for (size_t k = 0; k < sizeof targets / sizeof *targets; k++)
            if (set->specs[i].target == targets[k])
                set->specs[i].help = NULL;
}

int tool_arguments(const struct command *command, struct tool *tool, const struct option_spec *own,
                   size_t own_count, int argc, char **argv, char ***ret_rest, int *ret_rest_count)
{
    struct option_set set = { 0 };
    options_add(&set, own, own_count);
    tool_options(tool, &set);
    if (command->takes_no_image)
        hide_image_options(tool, &set);
    return tool_parse(command, tool, &set, argc, argv, ret_rest, ret_rest_count);
}

int tool_plain_arguments(const struct command *command, struct tool *tool,
                         const struct option_spec *own, size_t own_count, int argc, char **argv,
                         char ***ret_rest, int *ret_rest_count)
{
    struct option_set set = { 0 };
    options_add(&set, own, own_count);
    talk_options(tool, &set);
    return tool_parse(command, tool, &set, argc, argv, ret_rest, ret_rest_count);
}

/* SOURCE_DATE_EPOCH, or now. */
static int read_epoch(int64_t *ret_epoch, struct sfs_error *err)
{
    const char *text = getenv("SOURCE_DATE_EPOCH");
    if (!text || !*text) {
        *ret_epoch = time(NULL);
        return 0;
    }
    char *end;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    if (errno || *end || value < 0)
        return sfs_fail(err, EINVAL, "SOURCE_DATE_EPOCH is '%s', not a number of seconds", text);
    *ret_epoch = value;
    return 0;
}

/* As Go's programs read a boolean option. */
static int read_tls_verify(struct tool *tool, struct sfs_error *err)
{
    const char *text = tool->tls_verify;
    if (text && strcmp(text, "always") != 0 && strcmp(text, "true") != 0 &&
        strcmp(text, "false") != 0)
        return sfs_fail(err, EINVAL, "--tls-verify is true or false, not '%s'", text);
    tool->registry.no_tls_verify = text && strcmp(text, "false") == 0;
    return 0;
}

static int read_index_trust(struct tool *tool, struct sfs_error *err)
{
    static const char *const words[] = { [SFS_INDEX_TRUST_REGISTRY] = "registry",
                                         [SFS_INDEX_TRUST_MANIFEST] = "manifest",
                                         [SFS_INDEX_TRUST_NONE] = "none" };
    tool->registry.index_trust = tool->usual_trust;
    if (!tool->index_trust)
        return 0;
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (strcmp(tool->index_trust, words[i]) == 0) {
            tool->registry.index_trust = (enum sfs_index_trust)i;
            return 0;
        }
    return sfs_fail(err, EINVAL, "--index-trust is registry, manifest or none, not '%s'",
                    tool->index_trust);
}

int tool_open(struct tool *tool, bool read_data, struct sfs_error *err)
{
    progress_open(&tool->progress, tool->quiet, tool->verbose);
    int r = read_epoch(&tool->context.epoch, err);
    if (r == 0)
        r = read_tls_verify(tool, err);
    if (r == 0)
        r = read_index_trust(tool, err);
    if (r == 0)
        r = sfs_store_open(NULL, &tool->store, err);
    if (r == 0 && read_data)
        r = sfs_cache_open(tool->memory, (unsigned)tool->threads, &tool->cache, err);
    if (r < 0)
        return r;
    tool->context.store = tool->store;
    tool->context.cache = tool->cache;
    tool->context.progress = &tool->progress;
    tool->context.platform = tool->platform;
    tool->context.strict = tool->strict;
    tool->context.registry = &tool->registry;
    return 0;
}

int tool_open_image(const struct tool *tool, const char *ref, struct sfs_image **ret_image,
                    struct sfs_error *err)
{
    const struct sfs_image_options options = { .platform = tool->platform,
                                               .store = tool->store,
                                               .registry = &tool->registry,
                                               .progress = &tool->progress };
    return sfs_image_open_with(ref, &options, ret_image, err);
}

void tool_close(struct tool *tool)
{
    progress_close();
    sfs_cache_close(&tool->cache);
    sfs_store_close(&tool->store);
}

int tool_fail(int r, const struct sfs_error *err)
{
    progress_close();
    fprintf(stderr, "stagefs: %s\n", err->text);
    if (r == -EINVAL)
        return EXIT_USAGE;
    return r == -EKEYREJECTED ? EXIT_MISMATCH : EXIT_FAILED;
}

int tool_usage(const struct command *command, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fprintf(stderr, "stagefs %s: ", command->name);
    vfprintf(stderr, format, args);
    fprintf(stderr, "; see 'stagefs %s --help'\n", command->name);
    va_end(args);
    return EXIT_USAGE;
}

int tool_finish(int status)
{
    if (fflush(stdout) == 0 && !ferror(stdout))
        return status;
    fprintf(stderr, "stagefs: writing to stdout: %s\n", strerror(errno));
    return EXIT_FAILED;
}

static int print_overview(FILE *out)
{
    fprintf(out, "stagefs: the last stage of a container image, before it is written.\n\n"
                 "Usage: stagefs COMMAND [OPTION]... [ARGUMENT]...\n\nCommands:\n");
    for (const struct command *command = commands; command->name; command++)
        fprintf(out, "  %-9s %s\n", command->name, command->summary);
    fprintf(
        out,
        "\n"
        "A STAGE is one of\n"
        "  IMAGE                                 oci:DIR[:TAG|@DIGEST], oci-archive:FILE[:TAG],\n"
        "                                        docker-archive:FILE[:NAME:TAG], dir:DIR,\n"
        "                                        docker://[HOST/]NAME[:TAG|@DIGEST],\n"
        "                                        containers-storage:NAME[:TAG|@ID]\n"
        "  [--base IMAGE] --from IMAGE --copy SRC[:DST]...   one COPY\n"
        "  -f DOCKERFILE [--target STAGE]...     the last stage of a Dockerfile\n\n"
        "Examples:\n"
        "  stagefs mount oci:stage:builder /mnt/stage\n"
        "  stagefs ls -l oci:stage:builder /usr/local/cuda/lib64\n"
        "  stagefs commit --base oci:stage:base --from oci:stage:builder --copy /opt/conda -t "
        "oci:out:runtime\n\n"
        "'stagefs COMMAND --help' tells more.\n");
    return out == stdout ? tool_finish(EXIT_DONE) : EXIT_USAGE;
}

static int unknown_command(const char *word)
{
    const char *known[64] = { 0 };
    for (size_t i = 0; commands[i].name && i < 63; i++)
        known[i] = commands[i].name;
    const char *near = sfs_suggest(word, known), *hint = hint_for_command(word);
    if (hint)
        fprintf(stderr, "stagefs: there is no command '%s': %s\n", word, hint);
    else if (near)
        fprintf(stderr, "stagefs: unknown command '%s', did you mean '%s'?\n", word, near);
    else
        fprintf(stderr, "stagefs: unknown command '%s'; see 'stagefs --help'\n", word);
    return EXIT_USAGE;
}

static const struct command *find_command(const char *name)
{
    for (const struct command *command = commands; command->name; command++)
        if (strcmp(command->name, name) == 0)
            return command;
    return NULL;
}

/* Cron and supervisors start programs with some of the first three descriptors closed. The next
 * file, pipe or socket that is opened would then get that number, and be written to as if it were
 * the output, or be replaced when a mount goes to the background. Standard output cannot be written
 * to, so that what was asked for and is lost is told of. */
static void keep_standard_descriptors(void)
{
    static const int modes[] = { O_RDWR, O_RDONLY, O_RDWR };
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", modes[fd]) != fd)
            _exit(EXIT_FAILED);
}

int main(int argc, char **argv)
{
    keep_standard_descriptors();
    if (argc < 2)
        return print_overview(stderr);
    const char *word = argv[1];
    if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0)
        return print_overview(stdout);
    if (strcmp(word, "--version") == 0) {
        printf("stagefs %s\n", SFS_VERSION);
        return tool_finish(EXIT_DONE);
    }
    if (strcmp(word, "help") == 0 && argc == 2)
        return print_overview(stdout);
    if (strcmp(word, "help") == 0) {
        static char help[] = "--help";
        argv[1] = argv[2];
        argv[2] = help;
        word = argv[1];
        argc = 3;
    }
    const struct command *command = find_command(word);
    if (!command)
        return unknown_command(word);
    return command->run(command, argc - 1, argv + 1);
}
