/* SPDX-License-Identifier: MIT */
#include "file/stretch.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/memory.h"

/* A piece stays in a core's cache between the copy and the hash; bytes of a batch are what is moved
 * between two looks at the caller. */
enum { PIECE = 1 << 18, BATCH = 64 /* pieces */ };

void stretch_begin(struct stretch_io *io, struct pool *pool)
{
    *io = (struct stretch_io){ .pool = pool };
    io->scratch = x_scratch((size_t)pool_threads(pool) * PIECE);
}

void stretch_end(struct stretch_io *io) { free(io->scratch); }

int write_all(int fd, const void *p, size_t n)
{
    const char *at = p;
    while (n) {
        const ssize_t got = write(fd, at, n);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return got ? errno : EIO;
        at += got;
        n -= (size_t)got;
    }
    return 0;
}

static int write_at(int fd, const char *p, size_t n, uint64_t at)
{
    while (n) {
        const ssize_t got = pwrite(fd, p, n, (off_t)at);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return got ? errno : EIO;
        p += got;
        at += (uint64_t)got;
        n -= (size_t)got;
    }
    return 0;
}

size_t read_at(int fd, void *p, size_t n, uint64_t at)
{
    size_t done = 0;
    while (done < n) {
        const ssize_t got = pread(fd, (char *)p + done, n - done, (off_t)(at + done));
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            break;
        done += (size_t)got;
    }
    return done;
}

/* A stretch under way: its pieces are those of the bytes, then those of the zeros. */
struct moving {
    const struct stretch *s;
    struct stretch_io *io;
    int fd;
    const char *from;     /* NULL: read back */
    uint64_t first;       /* piece of the batch */
    uint64_t hash[BATCH]; /* of its pieces */
    _Atomic int bad;      /* errno */
    atomic_bool ends;     /* the file, before the stretch does */
};

static uint64_t pieces_of(uint64_t bytes) { return bytes / PIECE + (bytes % PIECE != 0); }

/* Piece k: how many bytes, where in the stretch; are they its zeros? */
static size_t piece_at(const struct stretch *s, uint64_t k, uint64_t *at, bool *zeros)
{
    const uint64_t full = pieces_of(s->n);
    *zeros = k >= full;
    *at = *zeros ? s->n + (k - full) * PIECE : k * PIECE;
    const uint64_t left = (*zeros ? s->n + s->pad : s->n) - *at;
    return left < PIECE ? (size_t)left : PIECE;
}

static void move_piece(void *data, int64_t i, int worker)
{
    struct moving *m = data;
    char *own = m->io->scratch + (size_t)worker * PIECE;
    const char *p = own;
    uint64_t at;
    bool zeros;
    const size_t n = piece_at(m->s, m->first + (uint64_t)i, &at, &zeros);
    if (m->from && zeros)
        memset(own, 0, n);
    else if (m->from)
        p = m->from + at;
    if (m->from) {
        const int bad = write_at(m->fd, p, n, m->s->at + at);
        if (bad) { /* the bytes may not be readable either */
            atomic_store(&m->bad, bad);
            return;
        }
    } else if (read_at(m->fd, own, n, m->s->at + at) < n) {
        atomic_store(&m->ends, true);
        return;
    }
    m->hash[i] = hash_bytes(p, n, 0);
}

/* Bytes of `count` pieces from the first of the batch. */
static uint64_t bytes_of(const struct moving *m, uint64_t count)
{
    uint64_t sum = 0, at;
    bool zeros;
    for (uint64_t i = 0; i < count; i++)
        sum += piece_at(m->s, m->first + i, &at, &zeros);
    return sum;
}

static void move_all(struct moving *m, uint64_t *hash)
{
    const uint64_t pieces = pieces_of(m->s->n) + pieces_of(m->s->pad);
    *hash = 0;
    for (uint64_t count; m->first < pieces; m->first += count) {
        count = pieces - m->first < BATCH ? pieces - m->first : BATCH;
        pool_for(m->io->pool, (int64_t)count, move_piece, m, NULL);
        if (atomic_load(&m->bad) || atomic_load(&m->ends))
            return;
        *hash = hash_bytes(m->hash, count * sizeof *m->hash, *hash);
        if (m->io->moved && !m->io->moved(m->io->data, bytes_of(m, count)))
            return;
    }
}

int stretch_write(struct stretch_io *io, int fd, const struct stretch *s, const void *p,
                  uint64_t *hash)
{
    struct moving m = { .s = s, .io = io, .fd = fd, .from = p ? p : "" };
    move_all(&m, hash);
    return atomic_load(&m.bad);
}

bool stretch_read(struct stretch_io *io, int fd, const struct stretch *s, uint64_t *hash)
{
    struct moving m = { .s = s, .io = io, .fd = fd };
    move_all(&m, hash);
    return !atomic_load(&m.ends);
}
