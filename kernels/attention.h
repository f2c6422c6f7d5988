/* SPDX-License-Identifier: MIT */
/* Attention: scores of queries with keys, and values mixed by probabilities, in one pass that never
 * holds all scores, or apart with the same bits. */
#ifndef QDB_KERNELS_ATTENTION_H
#define QDB_KERNELS_ATTENTION_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

#include "kernels/pool.h"

/* The tokens of a span with the keys and values of a layer. Query head h meets key head
 * h / (heads / kv). Neighbours with the same `keys` are computed together. What is computed for a
 * token depends on nothing but its query and the keys and values it sees (docs/modes.md). */
struct attention {
    int64_t tokens, heads, kv, n; /* n: channels of a head */
    float scale;
    bool half;            /* k and v are halves; q and p are rounded to 13 bits on their way in */
    const float *q;       /* [tok][heads][n] */
    const void *k, *v;    /* [row][kv][n], float or half */
    /* Token t sees rows keys[t][0 .. visible[t]), at most max_keys of them. */
    const int32_t *const *keys;
    const int32_t *visible;
    int64_t max_keys;
};

/* Tokens [first, first + count) with the same keys, as seen by the heads of key head `group`. The
 * scores or probabilities of head h and token t of the part begin at
 * score + h * head_stride + t * token_stride, h and t counted from the part's first. */
struct attention_part {
    int64_t group, first, count;
    float *score;
    int64_t head_stride, token_stride;
};

/* Once *cancel (may be NULL) is set, what the three below write is left unfinished: some of it is
 * done, the rest as it was; all of it, if it was set before.
 * out [heads][tok][max_keys]: scale * (q . k), -inf beyond what the token sees. */
void attention_scores(const struct attention *a, float *out, struct pool *pool,
                      const volatile sig_atomic_t *cancel);
/* z [tok][heads][n] = sum over the visible keys of p * v, p as above. */
void attention_mix(const struct attention *a, const float *p, float *z, struct pool *pool,
                   const volatile sig_atomic_t *cancel);
/* Scores, softmax and mix: the bits of the three in turn. */
void attention_fused(const struct attention *a, float *z, struct pool *pool,
                     const volatile sig_atomic_t *cancel);

/* --- for levels --- */

enum {
    ATTENTION_PANEL = 32, /* keys that are unpacked together; values that make a leaf of the sum */
    ATTENTION_ROW_FLOATS = 4, /* of scratch memory for what is known of a query */
    ATTENTION_ROWS = 128  /* most queries of a part, except that one token is always taken whole */
};

/* A number of floats with room to a whole number of vectors. */
static inline int64_t attention_width(int64_t n) { return (n + 15) / 16 * 16; }
/* Floats of scratch memory, aligned to 64 bytes, that a part of `count` tokens takes. */
int64_t attention_scratch(const struct attention *a, int64_t count);

#endif
