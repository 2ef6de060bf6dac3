/* The index that is made of SOCI's table: its members are given to the builder as those of a tar
 * are, and then once more to find the place of each name's header. */
#include "layer/ztoc.h"

#include "layer/index.h"
#include "layer/index_places.h"
#include "layer/tar_read.h"

static int add_member(void *user, const struct sfs_tar_member *member, struct sfs_error *err)
{
    return sfs_tar_add_member(user, member, err);
}

static int add_place(void *user, const struct sfs_tar_member *member, struct sfs_error *err)
{
    return sfs_places_add(user, member, err);
}

static int build_names(const struct sfs_ztoc *ztoc, struct sfs_tables *ret_tables,
                       void **ret_memory, struct sfs_error *err)
{
    AUTO(sfs_builder_close) struct sfs_builder *builder = sfs_builder_open();
    if (!builder)
        return sfs_fail_memory(err);
    int r = sfs_ztoc_each(ztoc, add_member, builder, err);
    return r < 0 ? r : sfs_builder_finish(builder, ret_tables, ret_memory, err);
}

static int find_places(const struct sfs_ztoc *ztoc, const struct sfs_tables *tables,
                       uint64_t **ret_places, struct sfs_error *err)
{
    AUTO(sfs_places_done) struct sfs_places places = { 0 };
    int r = sfs_places_start(&places, tables, NULL, err);
    if (r == 0)
        r = sfs_ztoc_each(ztoc, add_place, &places, err);
    return r < 0 ? r : sfs_places_finish(&places, ret_places, err);
}

static int keep(struct sfs_store *store, const char *key, const struct sfs_index *index,
                struct sfs_error *err)
{
    AUTO(sfs_io_temp_close) struct sfs_io_temp temp = { .fd = -1, .dirfd = -1 };
    int r = sfs_store_start_file(store, SFS_STORE_INDEX, &temp, err);
    if (r < 0)
        return r;
    r = sfs_index_write(temp.fd, index, err);
    if (r < 0)
        return sfs_fail_while(err, r, "cache directory %s", sfs_store_dir(store));
    r = sfs_io_write_all(temp.fd, index->places, index->tables.entry_count * sizeof *index->places);
    if (r < 0)
        return sfs_fail_errno(err, -r, "cache directory %s", sfs_store_dir(store));
    return sfs_store_commit_file(store, SFS_STORE_INDEX, key, &temp, err);
}

int sfs_ztoc_keep(struct sfs_store *store, const char *key, const void *data, size_t size,
                  const struct sfs_layer_source *source, struct sfs_error *err)
{
    AUTO(sfs_ztoc_points_done) struct sfs_ztoc_points points = { 0 };
    AUTO(sfs_tables_close) void *memory = NULL;
    AUTO(sfs_free) uint64_t *places = NULL;
    struct sfs_ztoc ztoc;
    struct sfs_index index = {
        .fd = -1, .digest = source->digest, .blob_size = source->size, .codec = source->codec
    };
    int r = sfs_ztoc_open(data, size, &ztoc, err);
    if (r == 0)
        r = sfs_ztoc_points_read(&ztoc, source->codec, source->size, &points, err);
    if (r == 0)
        r = build_names(&ztoc, &index.tables, &memory, err);
    if (r == 0)
        r = find_places(&ztoc, &index.tables, &places, err);
    if (r < 0)
        return r;
    if (source->has_diff_id)
        index.diff_id = source->diff_id;
    index.seek = points.seek;
    index.places = places;
    return keep(store, key, &index, err);
}
