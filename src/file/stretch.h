/* SPDX-License-Identifier: MIT */
/* Stretches of a file, written or read back in pieces that threads share, and their hash. */
#ifndef QDB_FILE_STRETCH_H
#define QDB_FILE_STRETCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/pool.h"

/* n bytes at `at`, and `pad` zeros behind them. */
struct stretch {
    uint64_t at, n, pad;
};

struct stretch_io {
    struct pool *pool; /* may be NULL */
    char *scratch;     /* a piece for each thread */
    /* Called now and then on the caller's thread, with the bytes moved since the last call; false:
     * stop, which is no failure (may be NULL). */
    bool (*moved)(void *data, uint64_t bytes);
    void *data;
};

void stretch_begin(struct stretch_io *io, struct pool *pool);
void stretch_end(struct stretch_io *io);

/* Write the bytes p, and the zeros; *hash becomes that of both, whatever the threads. 0, or errno:
 * why it failed. */
int stretch_write(struct stretch_io *io, int fd, const struct stretch *s, const void *p,
                  uint64_t *hash);
/* The hash of what the file has there, by the same rule; false: the file ends before. */
bool stretch_read(struct stretch_io *io, int fd, const struct stretch *s, uint64_t *hash);

/* All of n bytes at the file's position; 0 or errno. */
int write_all(int fd, const void *p, size_t n);
/* Fewer than n bytes come back: the file ends there, or cannot be read. */
size_t read_at(int fd, void *p, size_t n, uint64_t at);

#endif
