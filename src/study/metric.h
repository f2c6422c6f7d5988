/* SPDX-License-Identifier: MIT */
/* Metrics: the one figure by which patches, splices and changes are judged. */
#ifndef QDB_STUDY_METRIC_H
#define QDB_STUDY_METRIC_H

#include <stdint.h>

enum metric_kind {
    METRIC_KL,       /* KL(reference || model), nats per token */
    METRIC_TOP1,     /* share of tokens with the same largest logit */
    METRIC_LOGRATIO, /* ln p(next) of the reference minus that of the model, nats per token */
    METRIC_LOGITDIFF /* logit of token a minus logit of token b */
};
/* All zero: KL. */
struct metric {
    enum metric_kind kind;
    int32_t a, b; /* METRIC_LOGITDIFF */
};

#endif
