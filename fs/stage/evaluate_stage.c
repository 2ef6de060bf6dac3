/* One stage: its base, the triggers that the base brings, then instruction by instruction. */
#include "image/document.h"
#include "stage/evaluate.h"

#include "base/banned.h"
#include <errno.h>

int build_do(struct build *build, struct build_stage *stage,
             const struct sfs_instruction *instruction)
{
    enum sfs_keyword keyword = sfs_instruction_keyword(instruction);
    switch (keyword) {
    case SFS_KEYWORD_ADD:
    case SFS_KEYWORD_COPY:
        return build_copy(build, stage, instruction);
    case SFS_KEYWORD_ARG:
        return build_arg(build, stage, instruction);
    case SFS_KEYWORD_ENV:
        return build_env(build, stage, instruction);
    case SFS_KEYWORD_RUN:
        return build_run(build, stage, instruction);
    case SFS_KEYWORD_WORKDIR:
        return build_workdir(build, stage, instruction);
    default:
        return build_config(build, stage, instruction, keyword);
    }
}

static int do_trigger(struct build *build, struct build_stage *stage, const char *text)
{
    AUTO(sfs_dockerfile_close) struct sfs_dockerfile dockerfile = { 0 };
    int r = sfs_dockerfile_parse(text, strlen(text), "its ONBUILD", &dockerfile, build->err);
    if (r == 0 && dockerfile.count != 1)
        r = sfs_fail(build->err, EINVAL, "onbuild trigger should be a single expression");
    if (r == 0)
        r = sfs_instruction_check(&dockerfile.instructions[0], build->err);
    if (r == 0)
        r = build_do(build, stage, &dockerfile.instructions[0]);
    if (r < 0 && !build->located)
        sfs_fail_while(build->err, r, "ONBUILD %.100s", text);
    return r;
}

/* They are the base's; the stage does not inherit them. */
static int do_triggers(struct build *build, struct build_stage *stage)
{
    AUTO(sfs_json_close) json_t *triggers = json_object_get(build_settings(stage), "OnBuild");
    json_incref(triggers);
    json_object_del(build_settings(stage), "OnBuild");
    size_t i;
    json_t *trigger;
    int r = 0;
    json_array_foreach(triggers, i, trigger)
    {
        const char *text = json_string_value(trigger);
        if (r == 0 && text)
            r = do_trigger(build, stage, text);
    }
    return r < 0 ? build_fail_at(build, r, stage->from) : 0;
}

int build_evaluate(struct build *build, struct build_stage *stage)
{
    if (stage->state == BUILD_DONE)
        return 0;
    if (stage->state == BUILD_GOING)
        return sfs_fail(build->err, EINVAL, "circular dependency detected on stage: %s",
                        stage->name ? stage->name : stage->base);
    stage->state = BUILD_GOING;
    int r = stage->parent ? build_evaluate(build, stage->parent) : 0;
    if (r == 0)
        r = build_begin(build, stage);
    if (r < 0)
        return build_fail_at(build, r, stage->from);
    if (!stage->replaced)
        r = do_triggers(build, stage);
    for (size_t i = 0; r == 0 && i < stage->count && !stage->replaced; i++) {
        r = build_do(build, stage, &stage->instructions[i]);
        if (r < 0)
            build_fail_at(build, r, &stage->instructions[i]);
    }
    stage->state = BUILD_DONE;
    return r;
}
