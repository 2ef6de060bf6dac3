/* Failures in words. A function returns 0 (or a count), or a negative errno; the caller's
 * struct sfs_error, which needs no initial state, then holds one sentence. NULL is allowed.
 *
 * Codes of fs/, one meaning each; branch on codes, show texts:
 *   ENOENT        no such thing              EINVAL   wrong argument
 *   EBADMSG       bytes are malformed        E2BIG    over a limit of base/limits.h
 *   EKEYREJECTED  content does not match its digest (exit status 3)
 *   EIO           the source failed          ENOMEM   out of memory
 *   ENOTSUP       valid, but not supported
 *   EEXIST, EBUSY, EROFS, ENOSPC, EACCES: as the system has them */
#ifndef STAGEFS_ERROR_H
#define STAGEFS_ERROR_H

struct sfs_error {
    char text[1024]; /* one sentence; no newline, no "failed to", no control characters */
};

/* Sets the words and returns -code, so that a failure is one line:
 *   return sfs_fail(err, EBADMSG, "entry %u: name is empty", i);
 * Bytes below 0x20 and 0x7f in the text (hostile names) are shown as '?'. */
int sfs_fail(struct sfs_error *err, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* sfs_fail() for ENOMEM: "out of memory". Returns -ENOMEM. */
int sfs_fail_memory(struct sfs_error *err);

/* As sfs_fail(), with strerror(code) behind the words: "opening /x: Permission denied". */
int sfs_fail_errno(struct sfs_error *err, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Puts context in front of the words there are, and returns r (negative):
 *   return sfs_fail_while(err, r, "layer %s", digest);   ->   "layer sha256:ab..: entry 17: ..." */
int sfs_fail_while(struct sfs_error *err, int r, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
