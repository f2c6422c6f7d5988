/* SPDX-License-Identifier: MIT */
/* The tokens that suffer most: where the model lies farthest from the reference. */
#ifndef QDB_STUDY_WORST_H
#define QDB_STUDY_WORST_H

#include "study/evaluator.h"

enum { WORST_TOP = 3 };

struct worst_token {
    int64_t segment, at;     /* of the set; the position whose next token is predicted */
    int32_t next;            /* -1 = none */
    double kl, prob_next[2]; /* [0] reference, [1] model; NaN where logits are not finite */
    int32_t top[2][WORST_TOP];
    double prob[2][WORST_TOP];
};

/* The `most` worst, the worst first: give worst_collect and this to a measurement. */
struct worst {
    struct worst_token *list; /* [most] */
    int64_t n, most;
};
void worst_collect(void *worst, const struct scored_token *t);

/* Where the two runs part at a token: the first block whose output there differs by a relative
 * error above 0.25 (*block, -1: none), and the relative error behind the last block. */
NODISCARD enum st worst_parts(const struct evaluation *what, const struct plan *plan,
                              const struct worst_token *t, struct progress *p, int *block,
                              double *last, struct err *e);

#endif
