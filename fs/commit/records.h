/* The JSON of an image to be written: config and manifest. The same input gives the same bytes:
 * keys are sorted, nothing is taken from the machine but what is missing. */
#ifndef STAGEFS_RECORDS_H
#define STAGEFS_RECORDS_H

#include "base/buf.h"
#include <jansson.h>
#include <stagefs/digest.h>
#include <stagefs/error.h>

struct sfs_layer_record {
    struct sfs_digest digest, diff_id;
    uint64_t size;
    const char *media_type;    /* an OCI one */
    const char *compression;   /* library, version, level; NULL or "": not known */
    const json_t *annotations; /* of the descriptor that the layer had so far, or NULL; borrowed */
};

/* OCI's media type of a layer in place of Docker's; the bytes are the same. What is no layer's
 * comes back as it is. */
const char *sfs_record_media_type(const char *media_type);

struct sfs_config_record {
    const json_t *stage; /* as sfs_stage_config() has it */
    const struct sfs_layer_record *layers;
    size_t layer_count;
    size_t base_count; /* the first so many layers are those that the stage's history tells of; 0:
                          all that it tells of is in the new layer */
    bool added;        /* the last layer is new (else the stage changed nothing) */
    int64_t created;   /* Unix seconds */
    const char *created_by;
};
/* The caller frees the JSON, as all that is made here. */
int sfs_config_make(const struct sfs_config_record *record, json_t **ret_config,
                    struct sfs_error *err);

struct sfs_manifest_record {
    const struct sfs_layer_record *layers;
    size_t layer_count;
    struct sfs_digest config;
    size_t config_size;
    const json_t *annotations; /* of the manifest, or NULL; borrowed */
};
/* As sfs_config_make(). */
int sfs_manifest_make(const struct sfs_manifest_record *record, json_t **ret_manifest,
                      struct sfs_error *err);

/* {mediaType, digest, size, platform} of a manifest, for index.json. */
int sfs_descriptor_make(const struct sfs_digest *manifest, size_t size, const json_t *config,
                        json_t **ret_descriptor, struct sfs_error *err);

/* Adds the text to `buf`. */
int sfs_record_print(const json_t *json, struct sfs_buf *buf, struct sfs_error *err);

#endif
