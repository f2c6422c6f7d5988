/* SPDX-License-Identifier: MIT */
/* What a run computes as a whole, for tests that it does not depend on what it should not. */
#ifndef QDB_TESTS_HARNESS_OUTCOME_H
#define QDB_TESTS_HARNESS_OUTCOME_H

#include "tests/harness/models.h"

/* Models with a fused and a split attention, rotary and learned positions, plain and quantized. */
enum { TOKENS = 40, VOCAB = 320, FILES = 3 };
struct model *open_file(int i); /* i < FILES */
void make_ids(uint64_t seed, int32_t ids[TOKENS]);

/* What must not change: logits and hidden states of all tokens. */
struct outcome {
    float *logits, *hidden;
};
/* Finishes r. */
struct outcome outcome_of(struct run *r);
struct outcome plain_outcome(const struct model *m, const int32_t *ids, int64_t n);
void outcome_free(struct outcome o);
/* Every bit of n numbers; what and item are for the message. */
void assert_same(const float *a, const float *b, int64_t n, const char *what, int64_t item);
/* Finishes and frees r; compares with want. */
void assert_outcome(struct run *r, struct outcome want, const char *what, int64_t item);

/* Goes on until the run is done, or `most` times, while another thread interrupts it all the
 * time. */
void run_under_alarm(struct run *r, int most);

/* Up to `last`. */
struct position random_position(const struct run *r, struct position last, uint64_t *seed);

#endif
