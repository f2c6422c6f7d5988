/* SPDX-License-Identifier: MIT */
/* Evaluation: how far a model's predictions lie from a reference's, on a text of which segments
 * from different places are kept, with intervals that take a segment as one observation. */
#ifndef QDB_STUDY_EVALUATE_H
#define QDB_STUDY_EVALUATE_H

#include "base/error.h"
#include "base/progress.h"
#include "engine/run.h"
#include "study/interval.h"

/* Segments of one text, none overlapping. */
struct evaluation_set {
    int64_t segments, tokens; /* of each segment */
    int64_t first;            /* positions first .. tokens - 2 predict their next token */
    int32_t *ids;             /* [segments][tokens] */
    bool open;                /* the last position is scored too, without a next token */
};
enum { EVALUATION_SEGMENTS = 64, EVALUATION_TOKENS = 80, EVALUATION_FIRST = 16 };

/* Cut ids[0..n), the tokens of a whole text, into `segments` of `tokens` at equal distances, or
 * into as many as it has. bos >= 0 replaces the first token of each. ST_RANGE when not one fits, or
 * nothing would be scored. Free with evaluation_free. */
NODISCARD enum st evaluation_cut(const int32_t *ids, int64_t n, int64_t segments, int64_t tokens,
                                 int64_t first, int32_t bos, struct evaluation_set *out,
                                 struct err *e);
void evaluation_free(struct evaluation_set *set);
int64_t evaluation_scored(const struct evaluation_set *set); /* tokens of a segment */

/* Segments from, from + step, ...: of the default set the even ones are `tune`, to be looked at as
 * often as one likes, and the odd ones `check`, for verdicts. */
struct evaluation_part {
    int64_t from, step;
    bool anytime; /* in random order, with intervals for those who stop early (study/anytime.h) */
};
int64_t part_segments(const struct evaluation_set *set, struct evaluation_part part);
int64_t part_segment(const struct evaluation_set *set, struct evaluation_part part, int64_t i);

/* Scored tokens whose logits are no numbers: NaN or +inf among them, or nothing above -inf. [0] of
 * the reference, [1] of the model. */
struct broken_logits {
    int64_t tokens[2];
    int64_t segment[2], at[2]; /* the first: segment, position within it */
};
/* A row of logits with this logarithm of the sum of e^logit. */
void broken_count(struct broken_logits *b, int which, double log_sum, int64_t segment, int64_t at);

struct divergence {
    struct broken_logits broken;
    int64_t segments, segments_of, scored; /* done, to be done; tokens */
    struct clustered_mean kl;              /* KL(reference || model), nats per token */
    struct clustered_mean top1;            /* share of tokens with the same largest logit */
    struct clustered_mean log_ratio;       /* ln(PPL / PPL of the reference), token by token */
    /* NaN with fewer than 10 scores beyond */
    double kl_median, kl_p90, kl_p99, kl_p999;
    double kl_max;
    double nll, ref_nll; /* mean, nats per token */
};

/* Both models over the same segments, once (study/evaluator.h measures over and over). Of a segment
 * only what the output heads read is kept, and logits are made for a few tokens at a time. oref:
 * how the reference runs, and the mode of both. ST_UNSUPPORTED when the vocabularies differ or a
 * model has no output head. On ST_CANCELLED *out holds the segments that are done. */
NODISCARD enum st divergence_of(const struct model *ref, const struct run_options *oref,
                                const struct model *m, const struct run_options *o,
                                const struct evaluation_set *set, struct evaluation_part part,
                                struct progress *p, struct divergence *out, struct err *e);

#endif
