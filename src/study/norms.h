/* SPDX-License-Identifier: MIT */
/* The residual stream: how it grows, what each sub-layer adds to it, and how heavy the tails of
 * activations are. */
#ifndef QDB_STUDY_NORMS_H
#define QDB_STUDY_NORMS_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "engine/run.h"

/* One addition to the residual stream: sum = before + update, values of the graph. */
struct addition {
    int before, update, sum;
};

/* All of them in order of execution, those of post-norm models included (there the next addition
 * reads the norm of the sum). *out has *n entries, for free(). */
void stream_additions(const struct graph *g, struct addition **out, size_t *n);

/* One point over all spans in which it has been produced; `first` is the first token of the run,
 * `rest` all others. NaN where there are none. */
struct point_norms {
    int64_t tokens;
    double first, l2;   /* norm of the first token's row; median of that of the rest */
    double rms;         /* over the rest */
    double kurt;        /* excess kurtosis over all values of the rest */
    double absmax_rest; /* of the rest */
    double absmax;      /* of all, with its place */
    int64_t tok, chan;
    int64_t nonfinite;  /* left out everywhere */
};

/* A value of shape [tok]...; chan counts over all of a token's row. ST_STATE when it has not been
 * computed yet, ST_UNSUPPORTED for another shape. */
NODISCARD enum st norms_of_point(struct run *r, int value, struct point_norms *out, struct err *e);

/* An addition: medians over the tokens after the first, the first apart. */
struct update_norms {
    double gain, first_gain; /* l2(update) / l2(stream before) */
    double cos, first_cos;   /* between them */
};
NODISCARD enum st norms_of_addition(struct run *r, const struct addition *a,
                                    struct update_norms *out, struct err *e);

#endif
