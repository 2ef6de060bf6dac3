/* Parse, open a stage, work, close: the frame of most commands. */
#include "tool.h"

#include <stagefs/artifact.h>
#include <stagefs/format.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

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

static void note(const struct session *session, const char *text)
{
    const struct sfs_progress *progress = &session->tool.progress;
    if (progress->note)
        progress->note(progress->user, text);
}

void session_find_profiles(struct session *session, struct text_list *profiles)
{
    struct sfs_image *image = sfs_stage_image(session->stage);
    struct sfs_error err;
    uint64_t count = 0;
    char text[120];
    if (!image || profiles->count > 0)
        return;
    int fd = memfd_create("stagefs profile", MFD_CLOEXEC);
    int r = fd < 0 ? -1 : sfs_profile_find_beside(image, fd, &count, &err);
    profiles->items = r == 0 && count > 0 ? malloc(sizeof *profiles->items) : NULL;
    if (fd >= 0 && r < 0)
        note(session, err.text);
    if (!profiles->items) {
        if (fd >= 0)
            close(fd);
        return;
    }
    session->profile_fd = fd;
    snprintf(session->profile_path, sizeof session->profile_path, "/proc/self/fd/%d", fd);
    profiles->items[profiles->count++] = session->profile_path;
    snprintf(text, sizeof text, "fetches what %llu start profile%s beside the image tell%s",
             (unsigned long long)count, sfs_plural(count), count == 1 ? "s" : "");
    note(session, text);
}

int session_close(struct session *session, int r, const struct sfs_error *err)
{
    if (session->profile_fd > 0)
        close(session->profile_fd);
    int status = r < 0 ? tool_fail(r, err) : tool_finish(r);
    sfs_stage_close(&session->stage);
    stage_args_close(&session->stage_args);
    tool_close(&session->tool);
    return status;
}
