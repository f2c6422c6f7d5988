/* SPDX-License-Identifier: MIT */
/* Which sequences of tokens a text has, in little room: whether two texts overlap can then be told
 * without the one of them. */
#ifndef QDB_FILE_SHINGLES_H
#define QDB_FILE_SHINGLES_H

#include "file/gguf.h"
#include "file/gguf_write.h"

enum {
    SHINGLE_TOKENS = 13, /* long enough that two texts share one by copying alone */
    SHINGLES_MOST = 8192 /* that are kept: all of a short text, a sample of a long one */
};

/* The smallest hashes of all sequences of SHINGLE_TOKENS tokens (Broder 1997, "On the resemblance
 * and containment of documents"). Begins as { 0 } with `most` UINT32_MAX: shingles_new. */
struct shingles {
    int uses;
    uint32_t vocabulary; /* what the tokens mean: tokenizer_identity() */
    uint32_t *list;      /* ascending, each once */
    size_t n, cap;
    uint32_t most; /* every sequence whose hash is at most this is in the list */
};

struct shingles *shingles_new(uint32_t vocabulary); /* one use */
struct shingles *shingles_keep(struct shingles *x); /* one use more; NULL gives NULL */
void shingles_drop(struct shingles *x);             /* NULL allowed */
void shingles_add(struct shingles *x, const int32_t *ids, int64_t n);
void shingles_merge(struct shingles *x, const struct shingles *from);

/* How many sequences of ids[0..n) the list can tell of, and how many of those are in it. */
struct shingle_share {
    int64_t asked, found;
};
void shingles_count(const struct shingles *x, const int32_t *ids, int64_t n,
                    struct shingle_share *sum);

/* As metadata, qdb.calibration.*: arrays and numbers that other programs pass over. */
void shingles_put(const struct shingles *x, struct gguf_meta *meta);
void shingles_unput(struct gguf_meta *meta); /* none of them any more */
/* *out NULL where the file has none. ST_FORMAT when they are not as they were written. */
NODISCARD enum st shingles_get(const struct gguf *g, struct shingles **out, struct err *e);

#endif
