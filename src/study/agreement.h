/* SPDX-License-Identifier: MIT */
/* How two models agree token by token, beyond KL: probabilities of what came, the most probable
 * tokens, what speculative decoding would accept. */
#ifndef QDB_STUDY_AGREEMENT_H
#define QDB_STUDY_AGREEMENT_H

#include "study/evaluator.h"

enum { AGREE_TOP = 5, AGREE_BINS = 5 };

/* A scored token with a next one. */
struct token_figures {
    double kl;
    double log_prob[2]; /* of the next token: reference, model */
    double accepted;    /* sum over the vocabulary of min(p, q) */
    double confidence;  /* largest p of the reference */
    bool same_top;
    unsigned char top[AGREE_TOP]; /* how many of the reference's k+1 most probable are among the
                                     model's k+1 */
};

struct agreement {
    int64_t n;
    double delta_p_mean, delta_p_rms; /* of q(next) - p(next), in % */
    double correlation;               /* of ln p(next) and ln q(next) (Pearson) */
    double accepted;
    double top[AGREE_TOP]; /* shares of the k + 1 */
    struct agreement_bin {
        double from; /* confidence of the reference from here to the next bin's */
        int64_t n;
        double kl, top1; /* means; NaN without a token */
    } bins[AGREE_BINS];
};

/* Tokens as they are scored: give token_collect and a collector to a measurement. */
struct collector {
    struct token_figures *list;
    size_t n, cap;
    int32_t *scratch; /* ids */
};
void token_collect(void *collector, const struct scored_token *t);
void collector_free(struct collector *c);

void agreement_of(const struct token_figures *list, size_t n, struct agreement *out);

#endif
