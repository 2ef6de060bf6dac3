/* JSON from outside: read whole, capped in bytes and in values, compared with its descriptor; and
 * its fields, with their types checked. */
#ifndef STAGEFS_DOCUMENT_H
#define STAGEFS_DOCUMENT_H

#include "image/members.h"
#include <jansson.h>

/* jansson takes up to 250 bytes for what "{}," says in three: a cap on values caps the memory. */
#define SFS_MAX_JSON_VALUES (1u << 20)

/* AUTO(sfs_json_close) json_t *json = ...; gives the reference back, and sets NULL; NULL is
 * fine. */
void sfs_json_close(json_t **json);

/* Reads a document from memory; `what` names it in messages. The caller closes *ret_json. EBADMSG:
 * not JSON, or no object or array. E2BIG: too many values. */
int sfs_document_parse(const char *data, size_t size, const char *what, json_t **ret_json,
                       struct sfs_error *err);

/* Reads a file that nothing vouches for (index.json). ret_digest may be NULL; it gets the digest of
 * the file's bytes. The caller closes *ret_json. Waits for the disk. ENOENT, EBADMSG, E2BIG. */
int sfs_document_read(struct sfs_members *members, const char *name, json_t **ret_json,
                      struct sfs_digest *ret_digest, struct sfs_error *err);

/* A descriptor, borrowed from the JSON that it was read from. */
struct sfs_descriptor {
    const char *media_type;
    struct sfs_digest digest;
    uint64_t size;      /* bytes */
    const json_t *json; /* the whole object */
};
/* Reads a descriptor; `what` names it in messages. EBADMSG: a field is missing or of a wrong type.
 * ENOTSUP: another digest algorithm. */
int sfs_descriptor_parse(const json_t *json, const char *what,
                         struct sfs_descriptor *ret_descriptor, struct sfs_error *err);
/* Reads the document that a descriptor names, and compares size and digest. The caller closes
 * *ret_json. Waits for the disk. EKEYREJECTED: they differ. Else as sfs_document_read(). */
int sfs_document_read_blob(struct sfs_members *members, const struct sfs_descriptor *descriptor,
                           json_t **ret_json, struct sfs_error *err);

/* The array `key` of an object, borrowed; NULL if it is not there, or is null, as Go writes empty
 * arrays. EBADMSG: not an array. */
int sfs_document_array(const json_t *object, const char *key, const char *what,
                       const json_t **ret_array, struct sfs_error *err);
/* The string `key` of an object, borrowed; NULL: there is none. */
const char *sfs_document_string(const json_t *object, const char *key);
/* The annotation `key` of a descriptor, borrowed; NULL: there is none. */
const char *sfs_document_annotation(const json_t *descriptor, const char *key);
/* Is schemaVersion 2? ENOTSUP: it is 1. EBADMSG: it is anything else. */
int sfs_document_check_schema(const json_t *object, const char *what, struct sfs_error *err);

#endif
