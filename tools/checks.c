/* --check and --heal: which words are run, and how a stage is narrowed again. */
#include "checks.h"

#include <errno.h>
#include <jansson.h>
#include <string.h>

void check_options(struct check_args *args, struct option_set *set)
{
    const struct option_spec specs[] = {
        { "check", 0, OPTION_LIST, &args->commands, "CMD",
          "run this in the stage first, and write nothing if it fails (repeatable)" },
        { "heal", 0, OPTION_FLAG, &args->heal, NULL,
          "with --trim and --check: keep what the checks miss, too, and check again" },
        { "heal-profile", 0, OPTION_PATH, &args->heal_profile, "FILE",
          "write down there what --heal added, for a later --trim" },
        { "gpu", 0, OPTION_FLAG, &args->setup.gpu, NULL,
          "checks have the machine's NVIDIA GPUs, and the libraries of their driver" },
        { "runtime", 0, OPTION_TEXT, &args->setup.runtime, "NAME",
          "of checks: runc, crun or bwrap (default: the first of them that is installed)" },
    };
    options_add(set, specs, sizeof specs / sizeof *specs);
}

/* ---- words ---- */

/* Adds the texts of a JSON array. False: it holds something else. */
static bool add_words(const json_t *array, const char **words, size_t *count)
{
    size_t i;
    json_t *item;
    json_array_foreach((json_t *)(uintptr_t)array, i, item)
    {
        if (!json_is_string(item))
            return false;
        words[(*count)++] = json_string_value(item);
    }
    return true;
}

int command_words(const struct sfs_stage *stage, const char *text, const char ***ret_words,
                  struct json_t **ret_json, struct sfs_error *err)
{
    static const char *const usual[] = { "/bin/sh", "-c" };
    json_t *config = (json_t *)(uintptr_t)sfs_stage_config(stage);
    const json_t *shell = json_object_get(json_object_get(config, "config"), "Shell");
    json_t *array = text[strspn(text, " \t")] == '[' ? json_loads(text, 0, NULL) : NULL;
    AUTO(sfs_free)
    const char **words = calloc(json_array_size(array) + json_array_size(shell) + 4, sizeof *words);
    size_t count = 0;
    bool is_good = words != NULL;
    if (is_good && array) {
        is_good = add_words(array, words, &count) && count > 0;
    } else if (is_good) {
        if (json_array_size(shell) == 0 || !add_words(shell, words, &count)) {
            memcpy(words, usual, sizeof usual);
            count = 2;
        }
        words[count] = text;
    }
    if (!is_good) {
        json_decref(array);
        return words ? sfs_fail(err, EINVAL, "'%s' is no JSON array of words", text)
                     : sfs_fail_memory(err);
    }
    *ret_words = TAKE(words);
    *ret_json = array ? array : json_incref(config); /* narrowing the stage replaces it */
    return 0;
}

/* ---- narrowing again ---- */

/* Narrows the session's stage with one more profile. */
static int narrow(void *user, const char *profile, const struct sfs_tree **ret_tree,
                  struct sfs_error *err)
{
    struct session *session = user;
    struct text_list *trims = &session->stage_args.trims, before = *trims;
    AUTO(sfs_free) const char **with = calloc(before.count + 1, sizeof *with);
    if (!with)
        return sfs_fail_memory(err);
    memcpy(with, before.items, before.count * sizeof *with);
    with[before.count] = profile;
    *trims = (struct text_list){ with, before.count + 1 };
    int r = stage_narrow(&session->stage_args, session->stage, session->tool.context.progress, err);
    *trims = before;
    progress_close();
    if (r < 0)
        return r;
    *ret_tree = sfs_stage_tree(session->stage);
    return 0;
}

/* ---- running ---- */

/* Commands with the words and documents that they borrow from. */
struct check_list {
    struct sfs_check_command *items;
    json_t **documents;
    size_t count;
};

static void check_list_done(struct check_list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        free((void *)(uintptr_t)list->items[i].args);
        json_decref(list->documents[i]);
    }
    free(list->items);
    free(list->documents);
}

static int list_commands(const struct check_args *args, const struct sfs_stage *stage,
                         struct check_list *list, struct sfs_error *err)
{
    list->items = calloc(args->commands.count, sizeof *list->items);
    list->documents = calloc(args->commands.count, sizeof(json_t *));
    if (!list->items || !list->documents)
        return sfs_fail_memory(err);
    for (size_t i = 0; i < args->commands.count; i++) {
        const char **words;
        const char *text = args->commands.items[i];
        int r = command_words(stage, text, &words, &list->documents[i], err);
        if (r < 0)
            return r;
        list->items[list->count++] = (struct sfs_check_command){ text, words };
    }
    return 0;
}

static int run_list(struct check_args *args, struct session *session, const struct check_list *list,
                    struct sfs_error *err)
{
    const struct sfs_slim *slim = session->stage_args.slim;
    struct sfs_run_request request;
    int r = run_setup_prepare(&args->setup, session, &request, err);
    if (r < 0)
        return r;
    request.quiet_input = true;
    request.hand_on = false;
    const struct sfs_check_spec check = {
        .commands = list->items,
        .command_count = list->count,
        .runner = &sfs_sandbox,
        .request = &request,
        .whole = slim ? sfs_slim_full_tree(slim) : request.tree,
        .tree = request.tree,
        .narrow = args->heal ? narrow : NULL,
        .user = session,
        .heal_path = args->heal_profile,
        .progress = &session->tool.progress,
    };
    progress_close();
    return sfs_check_run(&check, &args->result, err);
}

static void tell(const struct check_args *args, const struct session *session)
{
    if (!session->tool.quiet && args->result.added > 0)
        fprintf(stderr, "checks pass; what they missed was added (%zu paths, %u rounds)\n",
                args->result.added, args->result.rounds);
}

int checks_run(struct check_args *args, struct session *session, struct sfs_error *err)
{
    AUTO(check_list_done) struct check_list list = { 0 };
    if (args->heal_profile)
        args->heal = true;
    if (args->heal && (args->commands.count == 0 || session->stage_args.trims.count == 0))
        return sfs_fail(err, EINVAL, "--heal goes with --trim PROFILE and --check CMD");
    if (args->commands.count == 0)
        return 0;
    int r = list_commands(args, session->stage, &list, err);
    if (r == 0)
        r = run_list(args, session, &list, err);
    if (r == 0)
        tell(args, session);
    return r;
}

void check_args_done(struct check_args *args)
{
    run_setup_done(&args->setup);
    free(args->commands.items);
}
