/* SPDX-License-Identifier: MIT */
/* Rows of logits: how far one is from another over the whole vocabulary in one pass, whatever part
 * of it is there at a time, and the largest few of a row. Every level gives the same bits. */
#ifndef QDB_KERNELS_LOGITS_H
#define QDB_KERNELS_LOGITS_H

#include <stdbool.h>
#include <stdint.h>

/* Two rows over one vocabulary: [0] of the reference, [1] of this run. */
struct logits_pair {
    /* KL(reference || run) = sum of p (ln p - ln q), nats: p, q = softmax of the rows. A p below
     * e^-708 of the largest up to the end of its tile counts as 0. Infinite where q = 0 and p is
     * not; NaN when a row has NaN or +inf, or nothing above -inf. */
    double kl;
    double log_sum[2];  /* ln of the sum of e^logit; NaN when the row holds NaN */
    double log_prob[2]; /* of the target, nats; NaN without one */
    int64_t top[2];     /* the largest logit, the first of equals, NaN left out; -1 = none */
};

/* The two rows tile by tile, from the front. Sums are in double, rescaled when a tile has a larger
 * logit, with e^x to 3 units in the last place of a double: the result is good to about
 * 1e-15 * (1 + the sizes of the logits that matter). Its bits depend on the numbers and on where
 * tiles begin, not on the level. */
enum { LOGITS_LANES = 16, LOGITS_TILE = 2048 /* logits of a tile of logits_pair_of */ };
struct logits_stream {
    int64_t n, target; /* logits seen */
    bool nan[2];
    double most[2];                /* the largest so far */
    double sum[3][LOGITS_LANES];   /* e^(logit - most) of each; p * (difference) */
    double target_logit[2];
    int64_t top[2];
};
void logits_begin(struct logits_stream *s, int64_t target); /* -1 = none */
void logits_add(struct logits_stream *s, const float *ref, const float *x, int64_t n);
void logits_end(const struct logits_stream *s, struct logits_pair *out); /* s may go on */
/* All at once: ref, x [n]. */
void logits_pair_of(const float *ref, const float *x, int64_t n, int64_t target,
                    struct logits_pair *out);

/* Does x[a] come before x[b] in rank? Larger first, then the lower index; NaN last. */
bool logits_before(const float *x, int64_t a, int64_t b);
/* The indices of the first k in rank, in order; id [k]. Returns how many: min(k, n). */
int64_t logits_top(const float *x, int64_t n, int64_t k, int32_t *id);

#endif
