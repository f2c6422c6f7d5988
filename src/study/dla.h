/* SPDX-License-Identifier: MIT */
/* Direct logit attribution: what each part of the residual stream adds to a logit by itself, the
 * final norm's scale held at the value that it has (Elhage et al. 2021). */
#ifndef QDB_STUDY_DLA_H
#define QDB_STUDY_DLA_H

#include <stdint.h>

#include "base/error.h"
#include "base/progress.h"
#include "engine/run.h"

/* With x the stream that the final norm reads, s its scale (RMS norm: sqrt(mean x^2 + eps); layer
 * norm: that of x - mean x), g and b gain and bias, u the row of the output head of a token (of
 * two: the difference):  logit = sum_i u_i (g_i x_i / s + b_i) + head bias,  and x is the sum of
 * what has been added to it. All sums in double. */
struct dla_part {
    int value;    /* of the graph: a term of the residual stream; -1: biases */
    int64_t head; /* -1: all of it; else the part that one head gives through its projection */
    double x;
};

/* What one input of a projection that no head feeds gives: a feed-forward neuron. */
struct dla_neuron {
    int value; /* the term of the stream */
    int64_t neuron;
    double activation, x;
};

struct dla {
    struct dla_part *parts; /* in order of execution; heads follow the whole that they make */
    size_t n, cap;
    struct dla_neuron *neurons; /* the largest, by abs(x) */
    size_t n_neurons;
    int64_t all_neurons; /* that were looked at; those not listed give `others` together */
    double others;
    double sum;   /* of all whole parts */
    double logit; /* the run's own, or the difference of two */
    double rest;  /* logit - sum: rounding, and edits of the stream between two sums */
};

/* At token `tok` of the run, for token a, or a minus b when b >= 0; with the `neurons` neurons that
 * give most. ST_STATE when the logits have
 * not been computed there, ST_UNSUPPORTED when the head does not read one norm. dla_free. */
NODISCARD enum st dla_of(struct run *r, int64_t tok, int32_t a, int32_t b, size_t neurons,
                         struct progress *p, struct dla *out, struct err *e);
void dla_free(struct dla *d);

#endif
