/* du --why: why each path of a trimmed stage is kept. */
#ifndef STAGEFS_DU_WHY_H
#define STAGEFS_DU_WHY_H

#include "tool.h"

/* Prints, of the session's narrowed stage, a line for each name that is kept at or below the PATHs
 * in session->rest; without any, a summary by reason. human: sizes as 1.5K, not in bytes. Returns
 * the exit status or -errno. */
int du_why(struct session *session, bool human, struct sfs_error *err);

#endif
