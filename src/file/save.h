/* SPDX-License-Identifier: MIT */
/* Write a file whole or not at all: to a temporary beside it, synced, then renamed over it. */
#ifndef QDB_FILE_SAVE_H
#define QDB_FILE_SAVE_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/error.h"
#include "base/progress.h"

struct save {
    FILE *f;         /* write here; errors are kept and reported by save_commit */
    char *path;      /* what the user named, for messages */
    char *target;    /* what is replaced: path with symbolic links followed */
    char *temporary; /* NULL when writing straight into a pipe or device */
    int errnum;      /* why save_write could not, 0 if it could */
};

/* Begin. A target that exists and is no regular file (a pipe, /dev/stdout) is written straight;
 * else nothing changes at PATH before save_commit. ST_IO with path and reason. */
NODISCARD enum st save_open(struct save *s, const char *path, struct err *e);
/* Sync and rename; on failure the temporary is removed and the old file is whole. Ends *s. */
NODISCARD enum st save_commit(struct save *s, struct err *e);
/* Give up: remove the temporary. Ends *s; fine after save_open failed. */
void save_abort(struct save *s);
/* After save_open: has the disk room for that many bytes? If not ST_IO with both figures; it gives
 * up then. */
NODISCARD enum st save_space(struct save *s, uint64_t bytes, struct err *e);
/* Write bytes, looking at the user between pieces of some MiB; progress may be NULL. Only
 * ST_CANCELLED is told here, what cannot be written by save_commit. */
NODISCARD enum st save_write(struct save *s, const void *p, size_t n, struct progress *progress,
                             struct err *e);
/* Commit what was written, or give up when that was not ST_OK. */
NODISCARD enum st save_end(struct save *s, enum st written, struct err *e);
/* All in one. */
NODISCARD enum st save_bytes(const char *path, const void *p, size_t n, struct err *e);

/* For writers that go their own way: is there room for so many bytes more on the disk of an open
 * file (else ST_IO with both figures)? What PATH names, symbolic links followed (the caller frees
 * it); and make a rename in the folder of a file reach the disk. */
NODISCARD enum st save_room(int fd, uint64_t bytes, const char *path, struct err *e);
char *save_target(const char *path);
void save_sync_folder(const char *target);

#endif
