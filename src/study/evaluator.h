/* SPDX-License-Identifier: MIT */
/* The evaluator: one model measured against a reference on segments, over and over under changing
 * plans. What the reference says is computed once; runs of the model stay where they are, so that
 * a plan that differs in late blocks alone costs those blocks alone. */
#ifndef QDB_STUDY_EVALUATOR_H
#define QDB_STUDY_EVALUATOR_H

#include "study/evaluate.h"
#include "study/metric.h"

struct evaluator;
struct logits_pair;

/* What is measured against what; everything is borrowed for as long as the evaluator lives. */
struct evaluation {
    const struct model *ref, *model;
    struct run_options options; /* of both: mode and pool; its plan is the reference's */
    const struct evaluation_set *set;
    /* Bytes that may be kept: a half for runs of the model with their checkpoints, a quarter for
     * what the output head of the reference reads and, as far as it fits, gives. What does not fit
     * is computed again, with the same bits. 0: nothing is kept. */
    size_t memory;
    bool once; /* no run of the model is kept: it is measured under one plan */
};

/* ST_UNSUPPORTED when the vocabularies differ or a model has no output head, ST_FORMAT for a token
 * that a model does not know. Free with evaluator_free, after every measurement. */
NODISCARD enum st evaluator_new(const struct evaluation *what, struct evaluator **out,
                                struct err *e);
void evaluator_free(struct evaluator *ev);
/* Another model against the same reference, of which all that is known stays. Errors as above; the
 * model is then the one there was. */
NODISCARD enum st evaluator_set_model(struct evaluator *ev, const struct model *m, struct err *e);
const struct evaluation *evaluator_of(const struct evaluator *ev);
void evaluator_set_pool(struct evaluator *ev, struct pool *pool); /* results do not change */
/* The data of transforms will be gone. What they did is remembered where plan_transform.same says
 * how to know it again, else forgotten. */
void evaluator_settle(struct evaluator *ev);

/* Sums over the scored tokens of a segment. */
struct segment_sums {
    double kl, top1, log_ratio, nll, ref_nll; /* NaN where logits are none */
    double logit_diff; /* of the reference minus that of the model; 0 without `metric` */
};

/* A scored token, while both rows of logits are there: [0] of the reference, [1] of the model. */
struct scored_token {
    int64_t segment, at; /* of the set; position within the segment */
    int32_t next;        /* token that follows, -1 = none */
    int64_t vocab;
    const float *logits[2];
    const struct logits_pair *pair;
};

/* Segments of a part, one after the other. */
struct measurement {
    struct evaluation_part part;
    int64_t segments, segments_of; /* done, to be done */
    int64_t scored;                /* tokens of each */
    struct segment_sums *sums;     /* [segments_of] */
    double *kl;                    /* [segments_of][scored], nats */
    struct broken_logits broken;
    const struct metric *metric;   /* METRIC_LOGITDIFF is taken along; may be NULL */
    void (*token)(void *data, const struct scored_token *t); /* called for each; may be NULL */
    void *data;
};

/* Begin to measure the first `most` segments of the part (0: all). Free with measurement_free. */
void measurement_begin(const struct evaluator *ev, struct evaluation_part part, int64_t most,
                       struct measurement *out);
void measurement_free(struct measurement *m);
/* A few segments more, the model under this plan (NULL: as its file has it). ST_CANCELLED leaves
 * those that were done. */
NODISCARD enum st evaluator_step(struct evaluator *ev, const struct plan *plan,
                                 struct measurement *m, struct progress *p, struct err *e);
/* All of them. */
NODISCARD enum st evaluator_measure(struct evaluator *ev, const struct plan *plan,
                                    struct measurement *m, struct progress *p, struct err *e);
/* The same until enough() is true of what is there, which is asked before every step; of a part
 * whose intervals allow it (anytime). */
NODISCARD enum st evaluator_until(struct evaluator *ev, const struct plan *plan,
                                  struct measurement *m,
                                  bool (*enough)(const void *data, const struct measurement *m),
                                  const void *data, struct progress *p, struct err *e);

/* A run of the model under the plan over the first segments of the part, up to what the output head
 * reads; it is the evaluator's, and holds until that is used again. */
NODISCARD enum st evaluator_run(struct evaluator *ev, struct evaluation_part part,
                                const struct plan *plan, struct progress *p, struct run **out,
                                struct err *e);

/* Figures of what has been done. */
void measurement_divergence(const struct measurement *m, struct divergence *out);
/* How far the model is from the reference by a metric, and the sum that says so, the top-1
 * agreement counted as tokens that disagree. */
struct clustered_mean measurement_damage(const struct measurement *m, const struct metric *metric);
double segment_damage(const struct measurement *m, int64_t i, const struct metric *metric);
/* Mean over tokens of one of the sums, by its offset in struct segment_sums. */
struct clustered_mean measurement_mean(const struct measurement *m, size_t offset);
/* The mean of top1. Where it is 0 or 1, segments that are all the same tell nothing about how often
 * it is otherwise: the bound is then that of a share of so many independent tokens (share_of, or
 * anytime_none_of). */
struct clustered_mean measurement_top1(const struct measurement *m);
/* Mean of a's minus b's, segment by segment, over those that both have. */
struct clustered_mean measurement_difference(const struct measurement *a,
                                             const struct measurement *b, size_t offset);

#endif
