/* SPDX-License-Identifier: MIT */
/* Perplexity of a text under the field's protocol: the text is cut into chunks of `context` tokens,
 * the first token of each is replaced by BOS where the vocabulary adds one, the incomplete tail is
 * dropped, and positions context/2 .. context-2 of each chunk predict their next token. */
#ifndef QDB_STUDY_PERPLEXITY_H
#define QDB_STUDY_PERPLEXITY_H

#include <stdint.h>

#include "base/error.h"
#include "base/progress.h"
#include "engine/run.h"
#include "file/logits.h"
#include "study/evaluate.h"

struct perplexity {
    int64_t chunks, chunks_of; /* done, and how many the text has (after the limit) */
    int64_t scored;            /* tokens */
    struct broken_logits broken; /* a segment: a chunk of the text */
    double nll;                /* mean negative log-likelihood per scored token, nats */
    double value;              /* exp(nll) */
    /* One standard error of `value` as the peers print it, tokens taken as independent:
     * value * sd(nll) / sqrt(scored - 1). NaN below two scored tokens. */
    double error;
    struct clustered_mean anytime; /* of `value`, a chunk a cluster; with `enough` alone */
    int64_t tokens;                /* of the whole text */
    double seconds;                /* wall time of the evaluation */
};

struct perplexity_options {
    int64_t context, limit;     /* tokens of a chunk; chunks at most, 0 = all */
    struct logits_writer *save; /* every scored row of logits goes to it: made for chunks of this
                                   context, and ended by the caller; NULL = none */
    /* Not NULL: chunks in random order, until this is true of the perplexity and its interval,
     * which hold at every look (study/anytime.h). */
    bool (*enough)(const void *data, const struct clustered_mean *value);
    const void *data;
};

/* ids: the tokens of the whole text, BOS of the text included where the vocabulary adds one, as
 * encode gives them. On ST_CANCELLED *out holds what is done. */
NODISCARD enum st perplexity_of(const struct model *m, const struct run_options *o,
                                const int32_t *ids, int64_t n, const struct perplexity_options *how,
                                struct progress *p, struct perplexity *out, struct err *e);

#endif
