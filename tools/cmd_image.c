/* inspect, index, verify: an image and what is known of its layers. */
#include "cmd.h"
#include "history.h"

#include <errno.h>
#include <stagefs/artifact.h>
#include <stagefs/format.h>
#include <stagefs/json.h>
#include <stagefs/mount.h>
#include <stagefs/stage.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

struct image_args {
    struct tool tool;
    struct sfs_image *image;
    bool push;                 /* index --push */
    struct text_list profiles; /* index --profile */
    const char *place; /* where the image is at a registry, if it was opened from elsewhere */
};

/* Parses a command line of one IMAGE and opens it. Returns as tool_parse(), having told what went
 * wrong. */
static int open_image(const struct command *command, struct image_args *args,
                      const struct option_spec *own, size_t own_count, int argc, char **argv)
{
    char **rest;
    int count;
    int leave = tool_arguments(command, &args->tool, own, own_count, argc, argv, &rest, &count);
    if (leave)
        return leave;
    if (count != 1 && !(args->push && count == 2))
        return 1 + tool_usage(command, "needs one IMAGE");
    args->place = rest[count - 1];
    struct sfs_error err;
    args->tool.usual_trust = SFS_INDEX_TRUST_NONE; /* an index is what is to be made */
    int r = tool_open(&args->tool, args->profiles.count > 0, &err);
    if (r == 0)
        r = tool_open_image(&args->tool, rest[0], &args->image, &err);
    if (r < 0) {
        int status = tool_fail(r, &err);
        tool_close(&args->tool);
        return 1 + status;
    }
    return 0;
}

static int close_image(struct image_args *args, int r, const struct sfs_error *err)
{
    int status = r < 0 ? tool_fail(r, err) : tool_finish(r);
    sfs_image_close(&args->image);
    tool_close(&args->tool);
    free(args->profiles.items);
    return status;
}

/* ---- inspect ---- */

static json_t *layer_json(const struct image_args *args, size_t i)
{
    const struct sfs_image_layer *layer = sfs_image_layer(args->image, i);
    const char *codec = layer->is_directory ? "directory" : sfs_codec_name(layer->codec);
    json_t *json = json_pack("{s:I, s:s, s:I}", "layer", (json_int_t)i, "codec", codec, "size",
                             (json_int_t)layer->size);
    if (layer->has_digest)
        json_object_set_new(json, "digest", json_digest(&layer->digest));
    if (layer->has_diff_id)
        json_object_set_new(json, "diff_id", json_digest(&layer->diff_id));
    if (layer->media_type)
        json_object_set_new(json, "media_type", json_text(layer->media_type));
    const char *made_by =
        history_created_by(sfs_image_config(args->image), sfs_image_layer_count(args->image), i);
    json_object_set_new(json, "created_by", made_by ? json_text(made_by) : json_null());
    if (layer->annotations)
        json_object_set(json, "annotations", (json_t *)(uintptr_t)layer->annotations);
    struct sfs_layer_state info = { 0 };
    if (layer->key && sfs_layer_get_state(args->tool.store, layer->key, &info, NULL) == 0 &&
        info.indexed)
        json_object_set_new(
            json, "index",
            json_pack("{s:I, s:I, s:I, s:I, s:I, s:b}", "size", (json_int_t)info.index_size,
                      "copy_size", (json_int_t)info.copy_size, "unpacked_size",
                      (json_int_t)info.out_size, "entries", (json_int_t)info.entries, "spans",
                      (json_int_t)info.spans, "from_toc", info.from_toc));
    else
        json_object_set_new(json, "index", json_null());
    return json;
}

static json_int_t sum_of(const json_t *layers, const char *key, const char *of)
{
    json_int_t sum = 0;
    size_t i;
    json_t *layer;
    json_array_foreach(layers, i, layer)
    {
        sum += json_integer_value(json_object_get(of ? json_object_get(layer, of) : layer, key));
    }
    return sum;
}

/* What is known of a layer only by its index has a sum only where all are indexed. */
static bool all_indexed(const json_t *layers)
{
    size_t i;
    json_t *layer;
    json_array_foreach(layers, i, layer)
    {
        if (!json_is_object(json_object_get(layer, "index")))
            return false;
    }
    return true;
}

static json_t *image_json(const struct image_args *args)
{
    json_t *json = json_object();
    json_object_set_new(json, "reference", json_text(sfs_image_ref(args->image)));
    struct sfs_digest digest;
    json_object_set_new(json, "digest",
                        sfs_image_digest(args->image, &digest) ? json_digest(&digest)
                                                               : json_null());
    json_t *layers = json_array();
    for (size_t i = 0; i < sfs_image_layer_count(args->image); i++)
        json_array_append_new(layers, layer_json(args, i));
    json_object_set_new(json, "layers", layers);
    json_object_set_new(json, "size", json_integer(sum_of(layers, "size", NULL)));
    json_object_set_new(json, "unpacked_size",
                        all_indexed(layers) ? json_integer(sum_of(layers, "unpacked_size", "index"))
                                            : json_null());
    const json_t *manifest = sfs_image_manifest(args->image);
    json_object_set_new(json, "manifest",
                        manifest ? json_incref((json_t *)(uintptr_t)manifest) : json_null());
    json_object_set_new(json, "config",
                        json_incref((json_t *)(uintptr_t)sfs_image_config(args->image)));
    return json;
}

static void print_config_line(const json_t *config, const char *key, const char *title)
{
    const json_t *value = json_object_get(config, key);
    if (!value || json_is_null(value))
        return;
    AUTO(sfs_free) char *text = sfs_json_print(value, JSON_ENCODE_ANY | JSON_COMPACT);
    printf("%-12s %s\n", title, text ? text : "");
}

/* What is not known is "-", as ls and df have it. */
static char *size_or_dash(const json_t *size, char text[SIZE_TEXT])
{
    if (json_is_integer(size))
        return print_size((uint64_t)json_integer_value(size), text);
    snprintf(text, SIZE_TEXT, "-");
    return text;
}

static void print_layer(size_t i, const json_t *layer)
{
    char size[SIZE_TEXT], out[SIZE_TEXT], index_size[SIZE_TEXT], entries[24] = "-";
    const json_t *index = json_object_get(layer, "index");
    const json_t *count = json_object_get(index, "entries");
    const char *digest = json_string_value(json_object_get(layer, "digest"));
    const char *created_by = json_string_value(json_object_get(layer, "created_by"));
    AUTO(sfs_free) char *words = created_by ? history_words(created_by) : NULL;
    if (count)
        snprintf(entries, sizeof entries, "%lld", (long long)json_integer_value(count));
    int used = printf("%5zu  %-19.19s  %-9s  %7s  %8s  %7s  %5s  ", i, digest ? digest : "none",
                      json_string_value(json_object_get(layer, "codec")),
                      size_or_dash(json_object_get(layer, "size"), size),
                      size_or_dash(json_object_get(index, "unpacked_size"), out), entries,
                      size_or_dash(json_object_get(index, "size"), index_size));
    history_print(words ? words : "-", (unsigned)used);
}

static void print_layers(const json_t *layers)
{
    char size[SIZE_TEXT], out[SIZE_TEXT] = "-", index_size[SIZE_TEXT] = "-", entries[24] = "-";
    size_t i;
    json_t *layer;
    printf("%5s  %-19s  %-9s  %7s  %8s  %7s  %5s  %s\n", "layer", "digest", "codec", "size",
           "unpacked", "entries", "index", "made by");
    json_array_foreach(layers, i, layer)
    {
        print_layer(i, layer);
    }
    print_size((uint64_t)sum_of(layers, "size", NULL), size);
    if (all_indexed(layers)) {
        print_size((uint64_t)sum_of(layers, "unpacked_size", "index"), out);
        print_size((uint64_t)sum_of(layers, "size", "index"), index_size);
        snprintf(entries, sizeof entries, "%lld", (long long)sum_of(layers, "entries", "index"));
    }
    printf("%5s  %-19s  %-9s  %7s  %8s  %7s  %5s\n", "total", "", "", size, out, entries,
           index_size);
}

static void print_image(const json_t *image)
{
    const json_t *config = json_object_get(image, "config");
    const char *digest = json_string_value(json_object_get(image, "digest"));
    printf("%-12s %s\n%-12s %s\n", "Reference",
           json_string_value(json_object_get(image, "reference")), "Digest",
           digest ? digest : "none");
    const char *os = json_string_value(json_object_get(config, "os"));
    const char *architecture = json_string_value(json_object_get(config, "architecture"));
    printf("%-12s %s/%s\n", "Platform", os ? os : "?", architecture ? architecture : "?");
    print_config_line(config, "created", "Created");
    const json_t *run = json_object_get(config, "config");
    print_config_line(run, "User", "User");
    print_config_line(run, "WorkingDir", "WorkingDir");
    print_config_line(run, "Entrypoint", "Entrypoint");
    print_config_line(run, "Cmd", "Cmd");
    print_config_line(run, "Env", "Env");
    putchar('\n');
    print_layers(json_object_get(image, "layers"));
}

int cmd_inspect(const struct command *command, int argc, char **argv)
{
    struct image_args args = { 0 };
    int leave = open_image(command, &args, NULL, 0, argc, argv);
    if (leave)
        return leave - 1;
    json_t *json = image_json(&args);
    int status = EXIT_DONE;
    if (args.tool.json) {
        status = print_json(json);
    } else {
        print_image(json);
        json_decref(json);
    }
    return close_image(&args, status, NULL);
}

/* ---- index ---- */

static int push_index(const struct image_args *args, json_t *json, struct sfs_error *err)
{
    const struct tool *tool = &args->tool;
    const struct sfs_artifact_place place = { .ref = args->place,
                                              .options = { .platform = tool->platform,
                                                           .store = tool->store,
                                                           .registry = &tool->registry,
                                                           .progress = &tool->progress } };
    struct sfs_index_push_result result;
    char text[SFS_DIGEST_TEXT], size[SIZE_TEXT];
    int r = sfs_index_push(args->image, tool->store, &place, &result, err);
    progress_close();
    if (r < 0)
        return r;
    json_object_set_new(json, "artifact", json_digest(&result.artifact));
    json_object_set_new(json, "artifact_size", json_integer((json_int_t)result.size));
    json_object_set_new(json, "artifact_layers", json_integer((json_int_t)result.layers));
    if (tool->json)
        return 0;
    puts(sfs_digest_print(&result.artifact, text));
    if (!tool->quiet)
        fprintf(stderr, "%llu index%s, %s; %llu layer%s left out\n",
                (unsigned long long)result.layers, result.layers == 1 ? "" : "es",
                print_size(result.size, size), (unsigned long long)result.left_out,
                sfs_plural(result.left_out));
    return 0;
}

/* Makes the pack that a mount of this image with these profiles reads. */
static int make_pack(const struct image_args *args, const char *ref, json_t *json,
                     struct sfs_error *err)
{
    const struct tool *tool = &args->tool;
    const struct sfs_mount_options options = { .profiles = args->profiles.items,
                                               .profile_count = args->profiles.count,
                                               .pack_limit = tool->registry.keep,
                                               .store = tool->store };
    const struct sfs_stage_spec spec = { .image = ref };
    char text[SIZE_TEXT];
    uint64_t size = 0;
    AUTO(sfs_stage_close) struct sfs_stage *stage = NULL;
    int r = sfs_stage_open(&spec, &tool->context, &stage, err);
    if (r == 0)
        r = sfs_mount_pack(sfs_stage_tree(stage), &options, &size, err);
    progress_close();
    if (r < 0)
        return r;
    json_object_set_new(json, "pack_size", json_integer((json_int_t)size));
    if (!tool->json && !tool->quiet)
        fprintf(stderr, "pack of a start, %s\n", print_size(size, text));
    return 0;
}

/* Makes the indexes of all layers that have none. */
static int index_layers(const struct image_args *args, struct sfs_error *err)
{
    const struct tool *tool = &args->tool;
    struct sfs_layer **layers = NULL;
    int r = sfs_image_open_layers(args->image, tool->store, NULL, &tool->progress, &layers, err);
    if (r == 0)
        sfs_image_close_layers(&layers, sfs_image_layer_count(args->image));
    progress_close();
    return r;
}

/* Tells what is there now. Takes over `json`. */
static int tell_index(const struct image_args *args, json_t *json)
{
    if (args->tool.json) {
        json_object_del(json, "manifest");
        json_object_del(json, "config");
        return print_json(json);
    }
    if (!args->tool.quiet && !args->push)
        print_image(json);
    json_decref(json);
    return EXIT_DONE;
}

int cmd_index(const struct command *command, int argc, char **argv)
{
    struct image_args args = { 0 };
    const struct option_spec own[] = {
        { "push", 0, OPTION_FLAG, &args.push, NULL,
          "put the indexes beside the image at its registry, for other machines" },
        { "profile", 0, OPTION_PATHS, &args.profiles, "FILE",
          "keep what such a file tells decoded, for mounts with the same --profile; may be "
          "repeated" },
    };
    int leave = open_image(command, &args, own, sizeof own / sizeof *own, argc, argv);
    if (leave)
        return leave - 1;
    struct sfs_error err;
    int r = index_layers(&args, &err);
    if (r < 0)
        return close_image(&args, r, &err);
    json_t *json = image_json(&args);
    r = args.push ? push_index(&args, json, &err) : 0;
    if (r == 0 && args.profiles.count > 0)
        r = make_pack(&args, sfs_image_ref(args.image), json, &err);
    if (r == 0)
        r = tell_index(&args, json);
    else
        json_decref(json);
    return close_image(&args, r, &err);
}

/* ---- verify ---- */

struct verify_answer {
    json_t *json; /* NULL: print lines */
};

static void found(void *user, const struct sfs_verified *verified)
{
    struct verify_answer *answer = user;
    char expected[SFS_DIGEST_TEXT], actual[SFS_DIGEST_TEXT];
    sfs_digest_print(&verified->expected, expected);
    sfs_digest_print(&verified->actual, actual);
    if (answer->json)
        json_array_append_new(answer->json,
                              json_pack("{s:s, s:s, s:s, s:I, s:b}", "what", verified->what,
                                        "expected", expected, "actual", actual, "size",
                                        (json_int_t)verified->size, "holds", verified->holds));
    else
        printf("%-12s %s %s\n", verified->what, expected,
               verified->holds ? "ok" : "DOES NOT MATCH");
}

int cmd_verify(const struct command *command, int argc, char **argv)
{
    struct image_args args = { 0 };
    int leave = open_image(command, &args, NULL, 0, argc, argv);
    if (leave)
        return leave - 1;
    struct verify_answer answer = { .json = args.tool.json ? json_array() : NULL };
    struct sfs_error err;
    int r = sfs_image_verify(args.image, &args.tool.progress, found, &answer, &err);
    progress_close();
    if (answer.json)
        print_json(json_pack("{s:b, s:o}", "holds", r == 0, "digests", answer.json));
    return close_image(&args, r, &err);
}
