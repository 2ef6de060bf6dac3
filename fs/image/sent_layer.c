/* Opening a layer by the index that is beside its image, or by SOCI's table of it, so that nobody
 * has to read the layer first. How far those are believed is what --index-trust says
 * (stagefs/registry.h). */
#include "image/artifacts.h"
#include "base/limits.h"
#include "image/parts.h"
#include "image/registry_members.h"
#include "image/registry_source.h"
#include "image/soci.h"
#include "layer/sent_index.h"
#include "layer/toc.h"
#include "layer/ztoc.h"

#include <errno.h>
#include <stagefs/format.h>
#include <stagefs/registry.h>

struct sfs_artifacts *sfs_image_artifacts(struct sfs_image *image)
{
    LOCK(&image->artifacts_lock);
    if (image->has_asked || !image->members || !image->members->is_remote ||
        !image->manifest_document.has_digest)
        return image->artifacts;
    struct sfs_error why;
    const struct sfs_progress *progress = image->options.progress;
    image->has_asked = true;
    int r = sfs_artifacts_open(image->members, &image->manifest_document.digest, &image->artifacts,
                               &why);
    if (r < 0 && progress && progress->note) {
        char text[sizeof why.text + 100];
        snprintf(text, sizeof text, "what is beside the image cannot be found out: %s", why.text);
        progress->note(progress->user, text);
    }
    return image->artifacts;
}

/* How one layer's index is to be had. */
struct sent {
    struct sfs_image *image;
    struct sfs_store *store;
    const struct sfs_layer_source *source;
    bool is_soci; /* it is to be made of SOCI's table */
    struct sfs_artifact_index index;
    struct sfs_soci_table table;
    bool is_vouched;
    char key[SFS_DIGEST_TEXT]; /* of it in the store */
};

static enum sfs_index_trust trust_of(const struct sfs_image *image)
{
    return image->options.registry ? image->options.registry->index_trust
                                   : SFS_INDEX_TRUST_REGISTRY;
}

/* What a manifest vouches for goes by the digest that it names; SOCI's table does not say of which
 * layer it is. */
static char *name_vouched(const struct sent *sent, const char *head, const char *layer)
{
    return sent->is_soci ? sfs_format("vouched soci %s %s", head, layer)
                         : sfs_format("vouched %s", head);
}

/* What one repository says of a layer is believed for images of that repository alone: whoever
 * can write to another one must not decide what is seen of this one. */
static char *name_unvouched(const struct sent *sent, const char *head, const char *layer)
{
    const struct sfs_name *name = sfs_source_name(sfs_registry_source(sent->image->members));
    return sfs_format("%s %s %s/%s@%s", sent->is_soci ? "soci" : "index", head, name->host,
                      name->repository, layer);
}

static int name_key(struct sent *sent, struct sfs_error *err)
{
    char layer[SFS_DIGEST_TEXT], head[SFS_DIGEST_TEXT];
    sfs_digest_print(&sent->source->digest, layer);
    sfs_digest_print(sent->is_soci ? &sent->table.digest : &sent->index.head, head);
    AUTO(sfs_free)
    char *text =
        sent->is_vouched ? name_vouched(sent, head, layer) : name_unvouched(sent, head, layer);
    struct sfs_digest key;
    if (!text || sfs_digest_of(text, strlen(text), &key) < 0)
        return sfs_fail_memory(err);
    sfs_digest_print(&key, sent->key);
    return 0;
}

/* Does the manifest vouch for the index of any layer? */
static bool is_any_vouched(const struct sfs_image *image)
{
    const json_t *layers = json_object_get(image->manifest, "layers");
    for (size_t i = 0; i < json_array_size(layers); i++)
        if (sfs_document_annotation(json_array_get(layers, i), SFS_LAYER_VOUCHED_NOTE))
            return true;
    return false;
}

/* Profiles are wanted when the layers have been opened, by indexes that come meanwhile. */
static void *ask_ahead(void *arg)
{
    struct sfs_image *image = arg;
    const struct sfs_sent_profile *profiles;
    size_t count;
    if (image->options.wants_profiles)
        (void)sfs_image_read_profiles(image, &profiles, &count, NULL);
    else
        (void)sfs_image_artifacts(image);
    return NULL;
}

void sfs_image_ask_ahead(struct sfs_image *image)
{
    enum sfs_index_trust trust = trust_of(image);
    bool may_use = trust == SFS_INDEX_TRUST_REGISTRY ||
                   (trust == SFS_INDEX_TRUST_MANIFEST && is_any_vouched(image));
    if (may_use && image->options.will_open_layers && image->options.store && !image->has_asker)
        image->has_asker =
            sfs_thread_start(&image->asker, ask_ahead, image, "asks what is beside", NULL) == 0;
}

void sfs_image_end_asking(struct sfs_image *image)
{
    if (image->has_asker)
        pthread_join(image->asker, NULL);
    image->has_asker = false;
}

/* False: there is no index that may be used. */
static bool find(struct sent *sent)
{
    const json_t *annotations = sent->source->annotations;
    const char *vouched = json_string_value(json_object_get(annotations, SFS_LAYER_VOUCHED_NOTE));
    const struct sfs_artifacts *artifacts;
    struct sfs_digest head;
    enum sfs_index_trust trust = trust_of(sent->image);
    if (trust == SFS_INDEX_TRUST_NONE || !sent->store)
        return false;
    sent->is_vouched = vouched && sfs_digest_parse(vouched, &head, NULL) == 0;
    if (!sent->is_vouched && trust != SFS_INDEX_TRUST_REGISTRY)
        return false;
    artifacts = sfs_image_artifacts(sent->image);
    return artifacts && sfs_artifacts_find_index(artifacts, &sent->source->digest,
                                                 sent->is_vouched ? &head : NULL, &sent->index);
}

/* The same of SOCI's table. A table that the layer itself brings, and the manifest vouches for,
 * goes first. */
static bool find_soci(struct sent *sent)
{
    const struct sfs_layer_source *source = sent->source;
    enum sfs_index_trust trust = trust_of(sent->image);
    sent->is_soci = true;
    if (trust == SFS_INDEX_TRUST_NONE || !sent->store || !source->has_digest ||
        sfs_toc_is_claimed(source))
        return false;
    sent->is_vouched = sfs_image_find_soci(sent->image, &source->digest, &sent->table);
    if (sent->is_vouched || trust != SFS_INDEX_TRUST_REGISTRY)
        return sent->is_vouched;
    const struct sfs_artifacts *artifacts = sfs_image_artifacts(sent->image);
    return artifacts && sfs_artifacts_find_soci(artifacts, &source->digest, &sent->table);
}

static int fetch_index(struct sent *sent, struct sfs_error *err)
{
    AUTO(sfs_free) char *head = NULL;
    struct sfs_repository *repository;
    int r = sfs_source_connect(sfs_registry_source(sent->image->members), &repository, err);
    if (r == 0)
        r = sfs_repository_read_blob(repository, &sent->index.head, sent->index.head_size,
                                     SFS_MAX_SENT_HEAD, &head, err);
    if (r < 0)
        return r;
    return sfs_sent_index_keep(sent->store, sent->key, head, (size_t)sent->index.head_size, err);
}

static int fetch_table(struct sent *sent, struct sfs_error *err)
{
    AUTO(sfs_free) char *data = NULL;
    int r = sfs_image_read_soci(sent->image, &sent->table, &data, err);
    if (r < 0)
        return r;
    return sfs_ztoc_keep(sent->store, sent->key, data, (size_t)sent->table.size, sent->source, err);
}

static int open_kept(struct sent *sent, struct sfs_cache *cache, struct sfs_blob **blob,
                     struct sfs_layer **ret_layer, struct sfs_error *err)
{
    AUTO(sfs_blob_close) struct sfs_blob *windows = NULL;
    const struct sfs_artifact_index *index = &sent->index;
    int r = 0;
    if (index->windows_size > 0)
        r = sfs_source_open_layer(sfs_registry_source(sent->image->members), &index->windows,
                                  index->windows_size, &windows, err);
    if (r < 0)
        return r;
    struct sfs_layer_sent layer = { .key = sent->key,
                                    .is_vouched = sent->is_vouched,
                                    .windows = windows };
    r = sfs_layer_open_sent(sent->store, cache, blob, sent->source, &layer, ret_layer, err);
    windows = layer.windows;
    return r;
}

static void tell(const struct sent *sent, const struct sfs_error *why)
{
    const struct sfs_progress *progress = sent->image->options.progress;
    char text[sizeof why->text + 300];
    if (!progress || !progress->warn)
        return;
    snprintf(text, sizeof text, "%.200s: %s is of no use, so the layer is read whole: %s",
             sent->source->label, sent->is_soci ? "SOCI's table" : "the index beside the image",
             why->text);
    progress->warn(progress->user, text);
}

static int open_found(struct sent *sent, struct sfs_cache *cache, struct sfs_blob **blob,
                      struct sfs_layer **ret_layer, struct sfs_error *err)
{
    int r = name_key(sent, err);
    if (r == 0)
        r = open_kept(sent, cache, blob, ret_layer, err);
    if (r != -ENOENT && r != -EBADMSG)
        return r;
    r = sent->is_soci ? fetch_table(sent, err) : fetch_index(sent, err);
    return r < 0 ? r : open_kept(sent, cache, blob, ret_layer, err);
}

/* Whose word is taken first. */
static bool (*const finders[])(struct sent *) = { find, find_soci };

int sfs_image_open_sent(struct sfs_image *image, struct sfs_cache *cache, struct sfs_blob **blob,
                        const struct sfs_layer_source *source, struct sfs_layer **ret_layer,
                        struct sfs_error *err)
{
    for (size_t i = 0; i < sizeof finders / sizeof *finders; i++) {
        struct sent sent = { .image = image, .store = image->store, .source = source };
        struct sfs_error why;
        if (!finders[i](&sent))
            continue;
        int r = open_found(&sent, cache, blob, ret_layer, &why);
        if (r == -ENOMEM)
            return sfs_fail_memory(err);
        if (r == 0)
            return 0;
        tell(&sent, &why);
    }
    return -ENOENT;
}

/* ---- compared with one that was made here */

static bool same_xattrs(const struct sfs_tables *a, const struct sfs_inode_rec *x,
                        const struct sfs_tables *b, const struct sfs_inode_rec *y)
{
    for (uint32_t i = 0; i < x->xattr_count; i++) {
        struct sfs_xattr left = sfs_tables_xattr(a, x, i), right = sfs_tables_xattr(b, y, i);
        if (strcmp(left.name, right.name) != 0 || left.size != right.size ||
            memcmp(left.value, right.value, left.size) != 0)
            return false;
    }
    return true;
}

/* Where a text stands among the others may differ: SOCI sorts the attributes of a file. */
static bool same_inode(const struct sfs_tables *a, const struct sfs_inode_rec *x,
                       const struct sfs_tables *b, const struct sfs_inode_rec *y)
{
    struct sfs_inode_rec left = *x, right = *y;
    left.string = left.xattrs = right.string = right.xattrs = 0;
    if (memcmp(&left, &right, sizeof left) != 0)
        return false;
    bool has_text = S_ISLNK(x->mode) || x->mode == 0; /* a target, or a link out of the layer */
    return (!has_text || strcmp(a->strings + x->string, b->strings + y->string) == 0) &&
           same_xattrs(a, x, b, y);
}

static bool same_entry(const struct sfs_tables *a, const struct sfs_entry_rec *x,
                       const struct sfs_tables *b, const struct sfs_entry_rec *y)
{
    return x->name_size == y->name_size && x->flags == y->flags && x->inode == y->inode &&
           x->parent == y->parent &&
           memcmp(a->strings + x->name, b->strings + y->name, x->name_size) == 0;
}

static bool same_tables(const struct sfs_tables *a, const struct sfs_tables *b)
{
    if (a->entry_count != b->entry_count || a->inode_count != b->inode_count ||
        a->extent_count != b->extent_count ||
        memcmp(a->extents, b->extents, a->extent_count * sizeof *a->extents) != 0)
        return false;
    for (uint32_t i = 0; i < a->entry_count; i++)
        if (!same_entry(a, &a->entries[i], b, &b->entries[i]))
            return false;
    for (uint32_t i = 0; i < a->inode_count; i++)
        if (!same_inode(a, &a->inodes[i], b, &b->inodes[i]))
            return false;
    return true;
}

bool sfs_image_sent_is_same(struct sfs_image *image, const struct sfs_layer_source *source,
                            const struct sfs_index *made)
{
    for (size_t i = 0; i < sizeof finders / sizeof *finders; i++) {
        struct sent sent = { .image = image, .store = image->store, .source = source };
        AUTO(sfs_index_close) struct sfs_index index = { .fd = -1 };
        if (finders[i](&sent) && name_key(&sent, NULL) == 0 &&
            sfs_sent_index_open(sent.store, sent.key, source, &index, NULL) == 0)
            return same_tables(&index.tables, &made->tables);
    }
    return true;
}
