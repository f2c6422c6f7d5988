/* SPDX-License-Identifier: MIT */
/* Activation patching on a grid: how much of what one prompt says over another comes back when one
 * place of the second run is given what it has in the first. */
#ifndef QDB_STUDY_PATCH_GRID_H
#define QDB_STUDY_PATCH_GRID_H

#include "engine/run.h"
#include "study/metric.h"

enum patch_by {
    PATCH_BLOCK, /* blk.N.out of one token */
    PATCH_HEAD   /* one head of blk.N.attn.z, at every token */
};

struct patch_grid {
    int64_t rows, cols; /* blocks; tokens or heads */
    double *restored;   /* [rows][cols]: 0 = as without the patch, 1 = as the other prompt; NaN =
                           not done */
    double to, from;    /* the metric after the prompt that is patched from, and to */
};

/* The metric after the last token: METRIC_LOGITDIFF the difference of the two logits;
 * METRIC_LOGRATIO ln p of the token that `from` puts first; METRIC_KL KL(from || run); METRIC_TOP1
 * whether the largest logit is that of `from`. restored = (patched - to) / (from - to). Both
 * prompts have n tokens. ST_STATE when the metric does not tell the prompts apart; ST_NOTFOUND when
 * the model has no such point. ST_CANCELLED leaves what was done. Free out->restored, always. */
NODISCARD enum st patch_grid_of(const struct model *m, const struct run_options *o,
                                const int32_t *from, const int32_t *to, int64_t n, enum patch_by by,
                                const struct metric *metric, struct progress *p,
                                struct patch_grid *out, struct err *e);

#endif
