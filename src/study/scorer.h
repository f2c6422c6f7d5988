/* SPDX-License-Identifier: MIT */
/* Scoring: from what the output heads of a reference and of a model read to how far their
 * predictions lie apart. What the reference says is kept as far as memory is lent for it. */
#ifndef QDB_STUDY_SCORER_H
#define QDB_STUDY_SCORER_H

#include "study/evaluator.h"

struct scorer;

/* For segments of the set, which is borrowed; rows: of logits at a time, at most (0: as many as are
 * worth it; in mode fast results may depend on it); memory: bytes that may be kept of the
 * reference: what its output head reads, and the logits as far as they fit too. ST_NOMEM. Free with
 * scorer_free. */
NODISCARD enum st scorer_new(const struct evaluation_set *set, const struct model *ref,
                             int64_t rows, size_t memory, struct scorer **out, struct err *e);
void scorer_free(struct scorer *sc);
/* Is what the reference says about the segment kept? */
bool scorer_knows(const struct scorer *sc, int64_t segment);

/* Segments that passed together. */
enum { SCORER_BATCH = 4 };
struct scorer_batch {
    int n;
    int64_t segment[SCORER_BATCH]; /* of the set */
    /* Hidden states of the tokens of each: [tokens][width]. NULL of the reference where it is known
     * (all of them, or none). */
    const float *ref[SCORER_BATCH], *x[SCORER_BATCH];
};

/* Keep what the reference says about the batch, where there is room. */
void scorer_keep(struct scorer *sc, const struct scorer_batch *b);
/* Score segments `from` and on, of the batch, until m has all that it wants or the batch ends.
 * runs: of the reference and of the model, for their heads. Bits depend on the batch alone, not on
 * `from` nor on what is kept. ST_CANCELLED leaves those that were done. */
NODISCARD enum st scorer_score(struct scorer *sc, struct run *const runs[2],
                               const struct scorer_batch *b, int from, struct pool *pool,
                               struct measurement *m, struct progress *p, struct err *e);

#endif
