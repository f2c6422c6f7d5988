/* SPDX-License-Identifier: MIT */
/* A model's answers to questions (file/questions.h), and whether they are right. */
#ifndef QDB_STUDY_ANSWERS_H
#define QDB_STUDY_ANSWERS_H

#include "base/progress.h"
#include "engine/run.h"
#include "file/questions.h"
#include "study/evaluate.h"

/* What a model made of the questions. Where logits are broken no answer is right, and figures of
 * them say nothing. */
struct answers {
    bool *right;                 /* [questions], given */
    size_t done;                 /* the first ones */
    int64_t scored;              /* tokens */
    struct broken_logits broken; /* [1]; a question's line for its segment */
};

/* right[i] for the first `done` questions. Of choices the model's answer is the one with the
 * largest log-probability after the prompt, the sum over its tokens, the first of equals; an
 * exact answer is right when each of its tokens has the largest logit after the right ones before
 * it, which is when greedy decoding gives it. Prompt and choice are encoded together; what the
 * tokens of the prompt alone begin alike belongs to the prompt. ST_UNSUPPORTED without tokenizer
 * or output head, ST_RANGE (with the line) for a choice that adds no token; on ST_CANCELLED
 * `done` are done. */
NODISCARD enum st answers_of(const struct model *m, const struct run_options *o,
                             const struct questions *q, struct progress *p, struct answers *out,
                             struct err *e);

/* McNemar's test, exact: how often, when answers flip in either direction alike, flips are as
 * uneven as these or more so; 1 without flips (McNemar 1947; two-sided binomial). */
double mcnemar_p(int64_t one_way, int64_t other_way);

#endif
