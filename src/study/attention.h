/* SPDX-License-Identifier: MIT */
/* Attention heads: where they look, how widely, and how much of it falls on the first token. */
#ifndef QDB_STUDY_ATTENTION_H
#define QDB_STUDY_ATTENTION_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/progress.h"
#include "engine/run.h"

/* Means over the queries from the second token on (the first can only see itself), a being one
 * query's attention over the keys it can see. NaN where there is no such query. */
struct head_figures {
    int block, head;
    int64_t queries;
    double entropy;    /* -sum a ln a, nats */
    double normalised; /* that of each query over ln(number of keys it can see) */
    double floor;      /* the least entropy that logits of this size can give: entropy_floor */
    double sink;       /* a[0]: mass on the first key */
    double max;        /* the largest entry of a */
    double distance;   /* sum of a[j] * abs(i - j) at query i, in tokens */
    double value; /* norm of the first key's value over the median norm of the other keys' values */
};

/* All heads of one block, or of all blocks (block -1), that the run has computed up to its
 * position, for runs of one sequence. *list has *n entries in order of block and head; the caller
 * frees it; on ST_CANCELLED it holds what is done. ST_STATE when nothing has been computed there
 * yet, ST_UNSUPPORTED when there is no attention. */
NODISCARD enum st attention_heads(struct run *r, int block, struct progress *p,
                                  struct head_figures **list, size_t *n, struct err *e);
/* The same with choices. */
struct attention_options {
    const bool *queries; /* tokens of the run, [tokens]: means over those that are set, of the first
                          * token none; NULL: all */
    bool floor;          /* work out `floor`, for which the logits are looked at; else it is NaN */
    struct progress *progress;
};
NODISCARD enum st attention_heads_with(struct run *r, int block, const struct attention_options *o,
                                       struct head_figures **list, size_t *n, struct err *e);

#endif
