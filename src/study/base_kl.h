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

enum { BASE_QUANTILES = 11 };
extern const double base_quantiles[BASE_QUANTILES]; /* 0 .. 1, linear between neighbours */

struct base_divergence {
    int64_t chunks, chunks_of, scored; /* done, of the file; tokens */
    struct base_figure nll, base_nll;  /* nats per token */
    struct base_figure log_ratio;      /* nll - base_nll, with their covariance */
    double correlation;                /* of the two, token by token */
    struct base_figure kl;             /* KL(base || model), nats per token */
    double kl_at[BASE_QUANTILES];
    struct base_figure dp, rms_dp; /* p(next) of the model less that of the base; its rms */
    double dp_at[BASE_QUANTILES];
    struct base_figure same_top; /* share of tokens with the same most probable token */
};

/* The model over the chunks of the file. ST_UNSUPPORTED when the vocabularies differ or the model
 * cannot run; on ST_CANCELLED *out holds the chunks that are done. */
NODISCARD enum st base_divergence_of(const struct model *m, const struct run_options *o,
                                     const struct logits_base *base, struct progress *p,
                                     struct base_divergence *out, struct err *e);

#endif
