/* SPDX-License-Identifier: MIT */
/* How far a model lies from the log-probabilities of a base file (file/logits.h), in the figures
 * and by the protocol of llama-perplexity --kl-divergence. */
#ifndef QDB_STUDY_BASE_KL_H
#define QDB_STUDY_BASE_KL_H

#include "base/error.h"
#include "base/progress.h"
#include "engine/run.h"
#include "file/logits.h"

/* Terms with ln p > -16 alone count. Errors are one standard error with tokens taken as
 * independent, as the peers print them: sqrt((mean of squares - square of mean) / (n - 1)). */
struct base_figure {
    double value, error;
};

enum { BASE_QUANTILES = 13 };
extern const double base_quantiles[BASE_QUANTILES]; /* 0 .. 1, linear between neighbours */

struct base_divergence {
    int64_t chunks, chunks_of, scored; /* done, of the file; tokens */
    struct base_figure nll, base_nll;  /* nats per token */
    struct base_figure ppl, base_ppl;  /* exp of the same */
    struct base_figure log_ratio;      /* nll - base_nll, with their covariance */
    struct base_figure ratio, difference; /* of the perplexities */
    double correlation;                /* of the two, token by token */
    struct base_figure kl;             /* KL(base || model), nats per token */
    double kl_at[BASE_QUANTILES];
    struct base_figure dp, rms_dp; /* p(next) of the model less that of the base; its rms */
    double dp_at[BASE_QUANTILES];
    struct base_figure same_top; /* share of tokens with the same most probable token */
};

/* Scored tokens, and what each says. Begins as zero. */
struct base_tokens {
    struct base_token {
        double nll, base_nll, kl, dp;
        bool same_top;
    } *list;
    size_t n, cap;
};
/* Logits of the model and log-probabilities of the base, both [n]; `next` follows in the text. */
void base_tokens_add(struct base_tokens *t, const float *logits, const float *base, int64_t n,
                     int32_t next);
void base_tokens_free(struct base_tokens *t);
/* All figures but the chunks. */
void base_figures_of(const struct base_tokens *t, struct base_divergence *out);

/* The model over the chunks of the file. ST_UNSUPPORTED when the vocabularies differ or the model
 * cannot run; on ST_CANCELLED *out holds the chunks that are done. */
NODISCARD enum st base_divergence_of(const struct model *m, const struct run_options *o,
                                     const struct logits_base *base, struct progress *p,
                                     struct base_divergence *out, struct err *e);

#endif
