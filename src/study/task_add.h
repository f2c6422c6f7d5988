/* SPDX-License-Identifier: MIT */
/* The task `add`: how well a model adds integers, measured on sums made on the spot. A model is of
 * this task when its metadata says so (qdb.task = "add"); the prompt is qdb.task.prompt, such as
 * "{a}+{b}=", the answer the digits of a + b, least significant first, and a newline. */
#ifndef QDB_STUDY_TASK_ADD_H
#define QDB_STUDY_TASK_ADD_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/progress.h"
#include "engine/run.h"
#include "study/evaluate.h"
#include "study/interval.h"

enum { ADD_MAX_DIGITS = 8, ADD_ANSWER = ADD_MAX_DIGITS + 2 /* tokens: digits and the newline */ };

struct add_task {
    const struct model *model;
    struct str prompt;
    int digits;    /* of the operands */
    bool held_out; /* only pairs that training left out, by the rule in the metadata */
};

struct add_sum {
    int64_t a, b;
};

/* What the model makes of one sum, each token of the answer after the right ones before it. */
struct add_score {
    int digits;              /* of the sum; tokens 0 .. digits - 1, the newline is token `digits` */
    bool right[ADD_ANSWER];  /* the right token has the largest logit (of equals, the lowest id) */
    double logp[ADD_ANSWER]; /* its log-probability, nats; NaN where the logits are broken */
    int wrong; /* first token that is not right, -1 if none: greedy decoding agrees up to there */
    int32_t said; /* what greedy decoding says there, -1 if none */
};

/* ST_UNSUPPORTED when the model is not of this task, or not in a way that is known. */
NODISCARD enum st add_task_of(const struct model *m, struct add_task *out, struct err *e);

/* Places that the longest-travelling carry goes through: a place whose digits add up to ten or more
 * sends one out, each further place whose digits add up to nine passes it on. 0 without a carry. */
int add_carry_length(struct add_sum s, int digits);
/* Was the pair left out of training? */
bool add_held_out(struct add_sum s);

/* n sums of operands with exactly `digits` digits, from a seed: sum i has carry length
 * i % (digits + 1), and is uniform among all such pairs (that were held out). *sums: mem_free. */
NODISCARD enum st add_draw(const struct add_task *t, uint64_t seed, int64_t n, struct progress *p,
                           struct add_sum **sums, struct err *e);

/* An evaluation set of n sums, a segment each: the prompt and digits + 1 tokens of the right
 * answer, which are scored. ST_UNSUPPORTED when prompts differ in length. Free with
 * evaluation_free. */
NODISCARD enum st add_segments(const struct add_task *t, const struct add_sum *sums, int64_t n,
                               struct evaluation_set *out, struct err *e);

/* Score n sums; out [n]. On ST_CANCELLED the first *done are scored. */
NODISCARD enum st add_score(const struct add_task *t, const struct run_options *o,
                            const struct add_sum *sums, int64_t n, struct progress *p,
                            struct add_score *out, int64_t *done, struct err *e);

struct add_report {
    struct broken_logits broken; /* [1]; a sum for its segment, tokens of its answer */
    int64_t scored;              /* tokens */
    struct share exact; /* sums whose whole answer is right: exact match of greedy decoding */
    struct share
        token[ADD_ANSWER]; /* digits 10^0 .. 10^digits, then the newline, where there is one */
    double token_logp[ADD_ANSWER];          /* mean of its log-probability, nats; NaN without any */
    struct share carry[ADD_MAX_DIGITS + 1]; /* exact, by carry length */
    struct clustered_mean logp; /* log-probability of the digits, nats; a sum is one cluster */
};
void add_report_of(const struct add_task *t, const struct add_sum *sums, const struct add_score *s,
                   int64_t n, struct add_report *out);

#endif
