/* SPDX-License-Identifier: MIT */
/* Feed-forward neurons: how few of them carry the activation of a token (Li et al. 2023, "The lazy
 * neuron phenomenon", arXiv 2210.06313), which never do and which always do. */
#ifndef QDB_STUDY_SPARSITY_H
#define QDB_STUDY_SPARSITY_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/progress.h"
#include "engine/run.h"

#define SPARSITY_ENERGY 0.99

/* Of what the down projection of a block reads. A neuron is active at a token when it is in the
 * smallest set that has SPARSITY_ENERGY of the sum of squares. Means are over the tokens after the
 * first, NaN without any. */
struct layer_sparsity {
    int value, block;
    int64_t neurons, tokens; /* tokens of the means */
    double nonzero;          /* mean share of neurons that are not exactly 0 */
    double active;           /* mean share of active neurons */
    double first;            /* share active at the first token */
    int64_t dead, always;    /* neurons that are active at none, at all of the tokens */
    int64_t zero;            /* neurons that are exactly 0 at all of them */
};

/* All blocks that have been computed so far. *list is for free(); on ST_CANCELLED *n is 0.
 * ST_UNSUPPORTED when no block has such a point, ST_STATE when none has been computed. */
NODISCARD enum st sparsity_of(struct run *r, struct progress *p, struct layer_sparsity **list,
                              size_t *n, struct err *e);

/* The same shares token by token, of one block: all tokens that have been computed, in order. *list
 * is for free(); errors as above. */
struct token_sparsity {
    int64_t tok;
    double nonzero, active;
};
NODISCARD enum st token_sparsity_of(struct run *r, int block, struct progress *p,
                                    struct token_sparsity **list, size_t *n, struct err *e);

#endif
