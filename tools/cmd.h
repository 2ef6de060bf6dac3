/* The commands' entry points, for the table in commands.c. */
#ifndef STAGEFS_CMD_H
#define STAGEFS_CMD_H

#include "tool.h"

int cmd_mount(const struct command *command, int argc, char **argv);
int cmd_umount(const struct command *command, int argc, char **argv);
int cmd_stats(const struct command *command, int argc, char **argv);
int cmd_ls(const struct command *command, int argc, char **argv);
int cmd_cat(const struct command *command, int argc, char **argv);
int cmd_stat(const struct command *command, int argc, char **argv);
int cmd_du(const struct command *command, int argc, char **argv);
int cmd_diff(const struct command *command, int argc, char **argv);
int cmd_inspect(const struct command *command, int argc, char **argv);
int cmd_index(const struct command *command, int argc, char **argv);
int cmd_verify(const struct command *command, int argc, char **argv);
int cmd_commit(const struct command *command, int argc, char **argv);
int cmd_trace(const struct command *command, int argc, char **argv);
int cmd_run(const struct command *command, int argc, char **argv);
int cmd_bench(const struct command *command, int argc, char **argv);
int cmd_cache(const struct command *command, int argc, char **argv);

#endif
