/* libfuse's low-level interface, the newest that is there: from libfuse 3.10 (Ubuntu 22.04) on. */
#ifndef STAGEFS_FUSE_H
#define STAGEFS_FUSE_H

/* Its version is known only behind the header that asks which one is wanted. This file came a
 * little after the interface of 3.12. */
#if __has_include(<libfuse_config.h>)
#define FUSE_USE_VERSION 312
#else
#define FUSE_USE_VERSION 35
#endif
#include <fuse_lowlevel.h>

#endif
