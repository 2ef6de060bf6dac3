/* One stage: its base, the triggers that the base brings, then instruction by instruction. */
#include "image/document.h"
#include "stage/evaluate.h"

#include "base/banned.h"
#include <errno.h>

int sfs_eval_do(struct eval *eval, struct eval_stage *stage,
                const struct sfs_instruction *instruction)
{
    enum sfs_keyword keyword = sfs_instruction_keyword(instruction);
    switch (keyword) {
    case SFS_KEYWORD_ADD:
    case SFS_KEYWORD_COPY:
        return sfs_eval_copy(eval, stage, instruction);
    case SFS_KEYWORD_ARG:
        return sfs_eval_arg(eval, stage, instruction);
    case SFS_KEYWORD_ENV:
        return sfs_eval_env(eval, stage, instruction);
    case SFS_KEYWORD_RUN:
        return sfs_eval_run(eval, stage, instruction);
    case SFS_KEYWORD_WORKDIR:
        return sfs_eval_workdir(eval, stage, instruction);
    default:
        return sfs_eval_config(eval, stage, instruction, keyword);
    }
}

static int do_trigger(struct eval *eval, struct eval_stage *stage, const char *text)
{
    AUTO(sfs_dockerfile_close) struct sfs_dockerfile dockerfile = { 0 };
    int r = sfs_dockerfile_parse(text, strlen(text), "its ONBUILD", &dockerfile, eval->err);
    if (r == 0 && dockerfile.count != 1)
        r = sfs_fail(eval->err, EINVAL, "onbuild trigger should be a single expression");
    if (r == 0)
        r = sfs_instruction_check(&dockerfile.instructions[0], eval->err);
    if (r == 0)
        r = sfs_eval_do(eval, stage, &dockerfile.instructions[0]);
    if (r < 0 && !eval->located)
        sfs_fail_while(eval->err, r, "ONBUILD %.100s", text);
    return r;
}

/* Does the ONBUILD triggers of the base, which the stage does not inherit. */
static int do_triggers(struct eval *eval, struct eval_stage *stage)
{
    AUTO(sfs_json_close) json_t *triggers = json_object_get(sfs_eval_settings(stage), "OnBuild");
    json_incref(triggers);
    json_object_del(sfs_eval_settings(stage), "OnBuild");
    size_t i;
    json_t *trigger;
    int r = 0;
    json_array_foreach(triggers, i, trigger)
    {
        const char *text = json_string_value(trigger);
        if (r == 0 && text)
            r = do_trigger(eval, stage, text);
    }
    return r < 0 ? sfs_eval_fail_at(eval, r, stage->from) : 0;
}

int sfs_eval_evaluate(struct eval *eval, struct eval_stage *stage)
{
    if (stage->state == EVAL_DONE)
        return 0;
    if (stage->state == EVAL_GOING)
        return sfs_fail(eval->err, EINVAL, "circular dependency detected on stage: %s",
                        stage->name ? stage->name : stage->base);
    stage->state = EVAL_GOING;
    int r = stage->parent ? sfs_eval_evaluate(eval, stage->parent) : 0;
    if (r == 0)
        r = sfs_eval_begin(eval, stage);
    if (r < 0)
        return sfs_eval_fail_at(eval, r, stage->from);
    if (!stage->replaced)
        r = do_triggers(eval, stage);
    for (size_t i = 0; r == 0 && i < stage->count && !stage->replaced; i++) {
        r = sfs_eval_do(eval, stage, &stage->instructions[i]);
        if (r < 0)
            sfs_eval_fail_at(eval, r, &stage->instructions[i]);
    }
    stage->state = EVAL_DONE;
    return r;
}
