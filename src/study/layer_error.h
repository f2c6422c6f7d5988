/* SPDX-License-Identifier: MIT */
/* The error that a weight in another form makes in the output of its own layer, on inputs that a
 * run has seen. */
#ifndef QDB_STUDY_LAYER_ERROR_H
#define QDB_STUDY_LAYER_ERROR_H

#include "engine/run.h"

/* Outputs of the layers that read a weight: sums of squares of the right ones and of the errors. */
struct layer_error {
    double signal, noise;
    int64_t layers, tokens; /* 0 layers: none of its inputs is there */
};

/* Layers that read the weight and whose inputs the run has not come to. */
int64_t layers_waiting(const struct run *r, const struct weight *w);

/* Layers are computed in mode exact, once with the weight `from`, once with `form` (NULL: w itself)
 * in the place of weight w, on what the run has as their inputs: of the span that it ended last, at
 * most `most` tokens. Only layers whose inputs the run has produced. */
NODISCARD enum st layer_error_of(struct run *r, const struct weight *w, const struct weight *from,
                                 struct form *form, int64_t most, struct pool *pool,
                                 struct layer_error *out, struct err *e);

#endif
