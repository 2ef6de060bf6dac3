/* The JSON of an image that is written: config and manifest. The same input gives the same bytes:
 * keys are sorted, and only what is missing is taken from the machine. */
#ifndef STAGEFS_RECORDS_H
#define STAGEFS_RECORDS_H

#include "base/buf.h"
#include <jansson.h>
#include <stagefs/digest.h>
#include <stagefs/error.h>

struct sfs_layer_record {
    struct sfs_digest digest, diff_id; /* of the blob, and of the tar inside */
    uint64_t size;                     /* bytes of the blob */
    const char *media_type;            /* in OCI's words */
    const char *compression;           /* library, version, level; NULL or "": not known */
    const json_t *annotations; /* of the descriptor that the layer had so far, or NULL; borrowed */
};

/* OCI's media type of a layer for Docker's; the bytes are the same. Any other media type comes back
 * as it is. */
const char *sfs_record_media_type(const char *media_type);

struct sfs_config_record {
    const json_t *stage; /* as sfs_stage_config() has it */
    const struct sfs_layer_record *layers;
    size_t layer_count;
    /* How many layers, from the first on, the stage's history tells of; 0: all that it tells of is
     * in the new layer. */
    size_t base_count;
    bool added;      /* the last layer is new (else the stage changed nothing) */
    int64_t created; /* Unix seconds */
    const char *created_by;
};
/* Makes the config, which the caller json_decref()s. ENOMEM. */
int sfs_config_make(const struct sfs_config_record *record, json_t **ret_config,
                    struct sfs_error *err);

struct sfs_manifest_record {
    const struct sfs_layer_record *layers;
    size_t layer_count;
    struct sfs_digest config;
    size_t config_size;
    const json_t *annotations; /* of the manifest, or NULL; borrowed */
};
/* Makes the manifest. As sfs_config_make(). */
int sfs_manifest_make(const struct sfs_manifest_record *record, json_t **ret_manifest,
                      struct sfs_error *err);

/* Makes a manifest's descriptor for index.json: {mediaType, digest, size, platform}. As
 * sfs_config_make(). */
int sfs_descriptor_make(const struct sfs_digest *manifest, size_t size, const json_t *config,
                        json_t **ret_descriptor, struct sfs_error *err);

/* Adds the text of a document to `buf`. */
int sfs_record_print(const json_t *json, struct sfs_buf *buf, struct sfs_error *err);

#endif
