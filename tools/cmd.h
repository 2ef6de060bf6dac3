/* The commands' entry points, for the table in commands.c: argv[0] is the command's name, and each
 * returns an exit status (tool.h). */
#ifndef STAGEFS_CMD_H
#define STAGEFS_CMD_H

#include "tool.h"

/* Mounts a stage, and serves it until it is unmounted. */
int cmd_mount(const struct command *command, int argc, char **argv);
/* Unmounts a mount, a dead one too. */
int cmd_umount(const struct command *command, int argc, char **argv);
/* Prints the statistics of a mount. */
int cmd_stats(const struct command *command, int argc, char **argv);
/* Lists names of a stage. */
int cmd_ls(const struct command *command, int argc, char **argv);
/* Prints files of a stage. */
int cmd_cat(const struct command *command, int argc, char **argv);
/* Prints attributes of files of a stage. */
int cmd_stat(const struct command *command, int argc, char **argv);
/* Prints sizes by directory, or by layer. */
int cmd_du(const struct command *command, int argc, char **argv);
/* Prints what differs between two stages. */
int cmd_diff(const struct command *command, int argc, char **argv);
/* Prints an image's manifest and config, and what is known of its layers. */
int cmd_inspect(const struct command *command, int argc, char **argv);
/* Makes the indexes of an image's layers. */
int cmd_index(const struct command *command, int argc, char **argv);
/* Reads an image whole, and compares every digest. */
int cmd_verify(const struct command *command, int argc, char **argv);
/* Writes a stage as one layer on its base. */
int cmd_commit(const struct command *command, int argc, char **argv);
/* Traces commands in a stage, and writes of it what they need. */
int cmd_slim(const struct command *command, int argc, char **argv);
/* Runs a command in a stage, and writes a profile of it. */
int cmd_trace(const struct command *command, int argc, char **argv);
/* Copies an image into a registry. */
int cmd_push(const struct command *command, int argc, char **argv);
/* Puts profiles beside images at registries, lists those there, and merges profiles. */
int cmd_profile(const struct command *command, int argc, char **argv);
/* Runs a command in a stage. */
int cmd_run(const struct command *command, int argc, char **argv);
/* Measures how a stage starts, here and on other back ends. */
int cmd_bench(const struct command *command, int argc, char **argv);
/* Lists the cache directory, or removes from it. */
int cmd_cache(const struct command *command, int argc, char **argv);

#endif
