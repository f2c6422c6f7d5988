/* SPDX-License-Identifier: MIT */
/* The logit lens: what the model would answer if it stopped after a block. The final norm is
 * computed anew on the residual stream of each stage, then the output head reads it (nostalgebraist
 * 2020). */
#ifndef QDB_STUDY_LENS_H
#define QDB_STUDY_LENS_H

#include <stdint.h>

#include "base/error.h"
#include "base/progress.h"
#include "engine/run.h"

struct lens {
    int n;       /* stages: the embeddings, then the output of every block that has been executed */
    int *values; /* [n] of the graph */
    int64_t vocab;
    float *logits; /* [n][vocab] */
    float
        *final; /* [vocab] the run's own logits at the token; NULL when it has not come that far */
    double *kl; /* [n] KL(final || stage) over the whole vocabulary, nats; NaN without final */
};

/* At token `token` of the run, 0-based. The last stage gives the run's own logits, same bits.
 * ST_STATE when not even the embeddings have been computed there; ST_UNSUPPORTED when the model has
 * no output head, or more than norms of one input before it. Free with lens_free. */
NODISCARD enum st lens_of(struct run *r, int64_t token, struct progress *p, struct lens *out,
                          struct err *e);
void lens_free(struct lens *l);

#endif
