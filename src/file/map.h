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
 * So whoever is about to read asks first, and asks again when it is done. A file that was cut or
 * written to since it was opened is ST_IO with its path, for as long as it stays open. */
NODISCARD enum st map_use(const struct map *m, struct err *e);
/* The same of all files that map_use let pass, or that lost a page, since the last call. */
NODISCARD enum st map_used(struct err *e);

#endif
