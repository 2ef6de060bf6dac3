/* What people who know other tools type, and how it is said here. */
#include "hints.h"

#include <stddef.h>
#include <string.h>

struct hint {
    const char *word, *text;
};

static const struct hint commands_of_others[] = {
    { "version", "'stagefs --version' tells it" },
    { "-v", "'stagefs --version' tells the version, and -v stands behind a command" },
    { "-V", "'stagefs --version' tells the version" },
    { "build", "'stagefs commit -f Dockerfile -t oci:DIR:TAG' writes the last stage of one" },
    { "images", "there is no store of images: 'stagefs inspect IMAGE' tells of one, "
                "'stagefs cache ls' what is kept" },
    { "pull", "nothing is pulled first: name docker://HOST/NAME:TAG where an IMAGE is asked for" },
    { "history", "'stagefs du --layers IMAGE' tells what made each layer" },
    { "cp", "'stagefs cat IMAGE PATH' prints a file; to copy more, 'stagefs mount' and cp" },
    { "export", "'stagefs commit IMAGE -t dir:DIR' writes all files" },
    { "save", "'stagefs commit STAGE -t docker-archive:FILE' writes what docker loads" },
    { "exec", "'stagefs run STAGE CMD...' runs a command in a stage" },
    { "shell", "'stagefs run STAGE /bin/sh' starts one" },
    { "ps", "nothing runs on: 'findmnt -t fuse.stagefs' lists mounts" },
    { "login", "logins of podman and docker are used, and --authfile and --creds" },
    { "rmi", "there is no store of images: 'stagefs cache prune' frees what is kept" },
};

#define RW_HINT "a directory of this machine is --rw DIR:PATH"

static const struct hint options_of_docker[] = {
    { "name", "a run has no name: it ends with its command" },
    { "publish", "the command has this machine's network, its ports too" },
    { "p", "the command has this machine's network, its ports too" },
    { "detach", "a run stays in the foreground: let the shell put it behind, with &" },
    { "d", "a run stays in the foreground: let the shell put it behind, with &" },
    { "entrypoint", "the words behind STAGE are the whole command" },
    { "volume", RW_HINT },
    { "mount", RW_HINT },
    { "gpus", "this machine's GPUs are --gpu; --env NVIDIA_VISIBLE_DEVICES=0 chooses" },
    { "net", "it is --network none, or this machine's network" },
    { "privileged", "the sandbox is the same for all; --suid lets setuid programs work" },
    { "cap-add", "the sandbox is the same for all; --suid lets setuid programs work" },
    { "env-file", "each variable is --env KEY=VALUE" },
};

static const char *find(const struct hint *hints, size_t count, const char *word)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(hints[i].word, word) == 0)
            return hints[i].text;
    return NULL;
}

const char *hint_for_command(const char *word)
{
    return find(commands_of_others, sizeof commands_of_others / sizeof(struct hint), word);
}

const char *hint_for_run_option(const char *word)
{
    return find(options_of_docker, sizeof options_of_docker / sizeof(struct hint), word);
}

bool hint_is_volume(const char *word)
{
    return word && *word && strchr("/.~", *word) && strstr(word, ":/");
}
