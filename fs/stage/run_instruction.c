#include "stage/evaluate.h"

#include <errno.h>

int build_run(struct build *build, struct build_stage *stage,
              const struct sfs_instruction *instruction)
{
    (void)stage;
    (void)instruction;
    return sfs_fail(build->err, ENOTSUP, "commands are not run here");
}
