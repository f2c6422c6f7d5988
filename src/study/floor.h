/* SPDX-License-Identifier: MIT */
/* The floor of mode fast: how far its rounding alone moves what a model says. */
#ifndef QDB_STUDY_FLOOR_H
#define QDB_STUDY_FLOOR_H

#include <stdint.h>

#include "base/error.h"
#include "base/progress.h"
#include "engine/run.h"

enum { FLOOR_TOKENS = 256 }; /* of a text at most */

struct fast_floor {
    double kl;      /* mean KL(exact || fast) per scored token, nats; a smaller KL says nothing */
    int64_t scored; /* tokens; 0: not measured */
};

/* The first tokens of a text in both modes, the second half scored, as perplexity_of does with a
 * chunk of so many. o: threads; its mode and spans do not matter. ST_RANGE below four tokens. */
NODISCARD enum st fast_floor_of(const struct model *m, const struct run_options *o,
                                const int32_t *ids, int64_t n, struct progress *p,
                                struct fast_floor *out, struct err *e);

#endif
