/* What a survey found, as one JSON document, and as one page of HTML. */
#ifndef STAGEFS_SURVEY_OUT_H
#define STAGEFS_SURVEY_OUT_H

#include "tool.h"

#include <stagefs/survey.h>

/* Borrowed during the calls. */
struct survey_view {
    const struct sfs_survey *survey;
    const char *stage;           /* what people call it */
    const struct json_t *layers; /* an array, as `du --layers --json` prints it */
};

/* The document. The caller json_decref()s it; NULL: out of memory. */
struct json_t *survey_json(const struct survey_view *view);
/* The same, but for the files. */
struct json_t *survey_json_summary(const struct survey_view *view);

/* Makes the page: *ret_text, which the caller frees, of *ret_size bytes. 0 or -ENOMEM. */
int survey_page(const struct survey_view *view, char **ret_text, size_t *ret_size);

#endif
