/* What a RUN's result depends on, as one digest. What is below it comes in by the digests of its
 * layers' tars; a layer that has none (a directory, COPY, ADD) by its names, attributes and
 * contents, each file by where its bytes lie in a blob of known digest or, if it is in none, by the
 * bytes themselves. A time that equals the build's own counts as just that, whatever it is. */
#include "tree/tree_inner.h"
#include "base/hash.h"
#include "stage/run_kept.h"

#include "base/limits.h"
#include "image/document.h"
#include "layer/layer.h"
#include <errno.h>
#include <sys/stat.h>

#define KEY_FORM "stagefs run 1" /* whoever changes what goes into the key changes this too */
#define PIN      (1u << 20)

struct run_key {
    struct sfs_hash *hash;
    struct eval *eval;
    const struct sfs_tree *tree; /* the tree that is being added */
    uint64_t *budget;            /* bytes that may still be read for keys */
    int result;                  /* the first failure; -E2BIG, -EIO: then there is no key */
};

static void close_key(struct run_key *key)
{
    sfs_hash_close(&key->hash);
}

static void add_bytes(struct run_key *key, const void *data, size_t size)
{
    uint64_t length = size;
    if (key->result == 0 && (sfs_hash_add(key->hash, &length, sizeof length) < 0 ||
                             sfs_hash_add(key->hash, data, size) < 0))
        key->result = -ENOMEM;
}

static void add_text(struct run_key *key, const char *text)
{
    add_bytes(key, text ? text : "", text ? strlen(text) + 1 : 0);
}

static void add_number(struct run_key *key, uint64_t number)
{
    add_bytes(key, &number, sizeof number);
}

/* ---- trees ---- */

static void add_content(struct run_key *key, sfs_node node, uint64_t size)
{
    char name[SFS_CONTENT_NAME];
    struct sfs_error err;
    if (size == 0 || sfs_tree_content_name(key->tree, node, name) == 0) {
        add_text(key, size ? name : "");
        return;
    }
    if (size > *key->budget) {
        key->result = -E2BIG;
        return;
    }
    *key->budget -= size;
    for (uint64_t offset = 0; offset < size && key->result == 0;) {
        AUTO(sfs_slice_release) struct sfs_slice slice = { 0 };
        if (sfs_tree_pin(key->tree, node, offset, PIN, &slice, &err) < 0)
            key->result = -EIO;
        else if (sfs_hash_add(key->hash, slice.data, slice.size) < 0)
            key->result = -ENOMEM;
        offset += slice.size;
    }
}

static void add_attributes(struct run_key *key, sfs_node node, const struct sfs_attr *attr)
{
    const int64_t epoch = key->eval->stage->context.epoch;
    bool is_now = attr->mtime_sec == epoch && attr->mtime_nsec == 0;
    const uint64_t numbers[] = { S_ISDIR(attr->mode) ? 0 : attr->size, is_now ? 1 : 0,
                                 is_now ? 0 : (uint64_t)attr->mtime_sec,
                                 is_now ? 0 : attr->mtime_nsec, attr->mode, attr->uid, attr->gid,
                                 attr->rdev_major, attr->rdev_minor,
                                 /* which names are one file */
                                 !S_ISDIR(attr->mode) && attr->nlink > 1 ? node : 0 };
    add_bytes(key, numbers, sizeof numbers);
    add_text(key, sfs_tree_target(key->tree, node));
    uint32_t count = sfs_tree_xattr_count(key->tree, node);
    add_number(key, count);
    for (uint32_t i = 0; i < count; i++) {
        struct sfs_xattr xattr = sfs_tree_xattr(key->tree, node, i);
        add_text(key, xattr.name);
        add_bytes(key, xattr.value, xattr.size);
    }
}

static int visit(void *user, const char *path, sfs_node node)
{
    struct run_key *key = user;
    struct sfs_attr attr;
    sfs_tree_attr(key->tree, node, &attr);
    add_text(key, path);
    add_attributes(key, node, &attr);
    if (S_ISREG(attr.mode))
        add_content(key, node, attr.size);
    return key->result;
}

static void add_tree(struct run_key *key, const struct sfs_tree *tree, sfs_node node)
{
    struct sfs_error err;
    key->tree = tree;
    int r = sfs_tree_walk(tree, node, visit, key, &err);
    if (key->result == 0)
        key->result = r;
}

/* ---- layers ---- */

static bool hides_names(const struct sfs_layer *layer)
{
    for (uint32_t i = 0; i < layer->tables.entry_count; i++)
        if (layer->tables.entries[i].flags & (SFS_ENTRY_WHITEOUT | SFS_ENTRY_OPAQUE))
            return true;
    return false;
}

/* Digests a layer that has no digest of its own, by what it shows alone. */
static int digest_layer(struct eval *eval, struct sfs_layer *layer, uint64_t *budget,
                        struct sfs_digest *ret_digest)
{
    AUTO(close_key)
    struct run_key key = { .hash = sfs_hash_open(), .eval = eval, .budget = budget };
    AUTO(sfs_tree_close) struct sfs_tree *tree = NULL;
    struct sfs_error err;
    if (!key.hash)
        return -ENOMEM;
    if (hides_names(layer))
        return -EIO;
    int r = sfs_tree_merge(&layer, 1, &tree, &err);
    if (r < 0)
        return r == -ENOMEM ? r : -EIO; /* a hard link leads to a lower layer */
    add_tree(&key, tree, SFS_ROOT);
    return key.result < 0 ? key.result : sfs_hash_finish(key.hash, ret_digest);
}

/* Finds a layer's digest. It is computed once a build, since every RUN on top of the layer asks. */
static int identify_layer(struct eval *eval, struct sfs_layer *layer, uint64_t *budget,
                          struct sfs_digest *ret_digest)
{
    if (sfs_layer_identify(layer, ret_digest))
        return 0;
    for (size_t i = 0; i < eval->identity_count; i++)
        if (eval->identities[i].layer == layer) {
            *ret_digest = eval->identities[i].digest;
            return 0;
        }
    struct eval_identity *more =
        reallocarray(eval->identities, eval->identity_count + 1, sizeof *more);
    if (!more)
        return -ENOMEM;
    eval->identities = more;
    int r = digest_layer(eval, layer, budget, ret_digest);
    if (r == 0)
        more[eval->identity_count++] = (struct eval_identity){ layer, *ret_digest };
    return r;
}

static void add_layers(struct run_key *key, const struct stage_stack *stack)
{
    add_number(key, stack->count);
    for (size_t i = 0; i < stack->count && key->result == 0; i++) {
        struct sfs_digest digest;
        key->result = identify_layer(key->eval, stack->layers[i], key->budget, &digest);
        if (key->result == 0)
            add_bytes(key, &digest, sizeof digest);
    }
}

/* ---- the command ---- */

/* Adds the command. Proxies and secrets are not in the stage's variables, and so not in the key. */
static void add_command(struct run_key *key, const struct run_job *job)
{
    const struct sfs_vars *env = &job->stage->env;
    for (size_t i = 0; job->argv[i]; i++)
        add_text(key, job->argv[i]);
    add_text(key, NULL);
    for (size_t i = 0; i < env->count; i++)
        add_text(key, env->items[i]);
    add_text(key, NULL);
    add_text(key, sfs_config_workdir(job->stage->config));
    add_text(key, job->user.home);
    add_number(key, job->user.uid);
    add_number(key, job->user.gid);
    for (size_t i = 0; i < job->user.group_count; i++)
        add_number(key, job->user.groups[i]);
    add_text(key, job->script.target);
    add_bytes(key, job->script.data, job->script.target ? job->script.size : 0);
    add_number(key, sfs_eval_run_has_network(job));
    const json_t *config = job->stage->config;
    static const char *const parts[] = { "os", "architecture", "variant" };
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        add_text(key, sfs_document_string(config, parts[i]));
    add_number(key, SFS_RUN_CONFINEMENT);
    add_text(key, getenv("STAGEFS_RUNTIME"));
}

/* Adds a mount: of a secret only its name and target, never the content; of a cache only where it
 * is. */
static int add_mount(struct run_key *key, struct run_job *job, const struct mount_options *options)
{
    const uint64_t numbers[] = { options->type,     options->read_only,
                                 options->required, options->has_mode ? options->mode : UINT64_MAX,
                                 options->uid,      options->gid,
                                 options->size };
    const struct sfs_tree *tree = NULL;
    const char *path = NULL;
    add_bytes(key, numbers, sizeof numbers);
    add_text(key, options->target);
    if (options->type == MOUNT_SECRET) {
        add_text(key, options->source ? options->source : options->id);
        add_text(key, options->env);
    }
    if (options->type != MOUNT_BIND)
        return 0;
    sfs_node node = SFS_ROOT;
    int r = sfs_eval_run_bind(job, options, &tree, &path, &node);
    if (r == 0)
        add_tree(key, tree, node);
    return r;
}

int sfs_eval_run_key(struct run_job *job, struct sfs_digest *ret_key)
{
    struct eval *eval = job->eval;
    uint64_t budget = SFS_MAX_RUN_KEY;
    AUTO(close_key)
    struct run_key key = { .hash = sfs_hash_open(), .eval = eval, .budget = &budget };
    if (!key.hash)
        return sfs_fail_memory(eval->err);
    add_text(&key, KEY_FORM);
    add_command(&key, job);
    for (size_t i = 0; i < job->option_count; i++) {
        int r = add_mount(&key, job, &job->options[i]);
        if (r < 0)
            return r;
    }
    if (job->stage->unkeyed)
        return 0;
    add_layers(&key, &job->stage->stack);
    if (key.result == 0)
        key.result = sfs_hash_finish(key.hash, ret_key);
    if (key.result == -ENOMEM)
        return sfs_fail_memory(eval->err);
    return key.result == 0;
}
