/* Parse, open a stage, work, close: the frame of most commands. */
#include "tool.h"

int session_parse(const struct command *command, struct session *session,
                  const struct option_spec *own, size_t own_count, int argc, char **argv)
{
    options_add(&session->set, own, own_count);
    stage_options(&session->stage_args, &session->set);
    tool_options(&session->tool, &session->set);
    return tool_parse(command, &session->tool, &session->set, argc, argv, &session->rest,
                      &session->rest_count);
}

bool session_is_empty(const struct session *session)
{
    return !stage_is_given(&session->stage_args) && session->rest_count == 0;
}

int session_open(struct session *session, bool read_data, struct sfs_error *err)
{
    const char *image = NULL;
    if (!stage_is_given(&session->stage_args) && session->rest_count > 0) {
        image = session->rest[0];
        session->rest++;
        session->rest_count--;
    }
    /* Evaluating a stage reads etc/passwd, scripts and archives out of images; narrowing one, what
     * libraries need. */
    read_data = read_data || stage_is_given(&session->stage_args) ||
                stage_is_narrowed(&session->stage_args);
    /* What is copied out of an image, or left out of it, is made of its names. */
    if (session->tool.usual_trust == SFS_INDEX_TRUST_REGISTRY &&
        (stage_is_given(&session->stage_args) || stage_is_narrowed(&session->stage_args)))
        session->tool.usual_trust = SFS_INDEX_TRUST_MANIFEST;
    int r = tool_open(&session->tool, read_data, err);
    if (r < 0)
        return r;
    session->image = image;
    return stage_open(&session->stage_args, image, &session->tool.context, &session->stage, err);
}

int session_close(struct session *session, int r, const struct sfs_error *err)
{
    int status = r < 0 ? tool_fail(r, err) : tool_finish(r);
    sfs_stage_close(&session->stage);
    stage_args_close(&session->stage_args);
    tool_close(&session->tool);
    return status;
}
