/* SPDX-License-Identifier: MIT */
/* A file mapped read-only: where untrusted bytes come from. */
#ifndef QDB_FILE_MAP_H
#define QDB_FILE_MAP_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

struct map {
    const uint8_t *p; /* size bytes; NULL when size is 0 */
    size_t size;
    void *base; /* what to unmap; NULL for borrowed memory */
    char *path; /* owned */
};

/* ST_IO with the path and the reason: missing, a directory, not a regular file, unreadable, empty.
 * No file descriptor stays open, so that a model may have thousands of parts. */
NODISCARD enum st map_open(const char *path, struct map *out, struct err *e);
/* View memory that somebody else keeps (embedded models, tests, fuzzing). */
struct map map_borrow(const void *p, size_t size, const char *name);
void map_close(struct map *m); /* leaves *m empty */

/* A mapped file that somebody cuts short must not end the program: what is gone reads as zeros.
 * Returns the path of a file that was found so since the last call (borrowed until it is closed),
 * NULL when there is none. */
const char *map_lost(void);

#endif
