/* SPDX-License-Identifier: MIT */
/* Predictions: what a row of logits says about single tokens. */
#ifndef QDB_STUDY_PREDICT_H
#define QDB_STUDY_PREDICT_H

#include <stdint.h>

/* One token of the vocabulary within a row of logits. */
struct prediction {
    int32_t id;
    double logit;
    double log_prob; /* logit - log_sum_exp(logits), nats */
    double prob;     /* exp(log_prob) */
    int64_t rank;    /* 1 = most probable; among equal logits the lower id first, NaN last */
};

void prediction_of(const float *logits, int64_t n, int32_t id, struct prediction *out);
/* The k tokens of the lowest ranks in order; out [k]. Returns how many there are: min(k, n). */
int64_t prediction_top(const float *logits, int64_t n, int64_t k, struct prediction *out);

#endif
