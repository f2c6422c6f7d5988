/* SPDX-License-Identifier: MIT */
/* Sampling: the next token from a row of logits. */
#ifndef QDB_STUDY_SAMPLE_H
#define QDB_STUDY_SAMPLE_H

#include <stdint.h>

struct sampler {
    double temperature; /* 0 = greedy */
    int64_t top_k;      /* 0 = all */
    double top_p;       /* 1 = all */
    uint64_t state;     /* of the random numbers: seed, then advanced */
};

/* Temperature first, then top-k, then top-p (the smallest set whose probability reaches p). Greedy
 * and ties take the lowest id. -1 when no logit is finite. */
int32_t sample(struct sampler *s, const float *logits, int64_t n);
/* Uniform in [0, 1), splitmix64 (Steele, Lea and Flood 2014). */
double sample_uniform(uint64_t *state);

#endif
