/* SPDX-License-Identifier: MIT */
/* Collecting an importance matrix: sums of squares of what enters each linear, over a text. */
#ifndef QDB_STUDY_COLLECT_H
#define QDB_STUDY_COLLECT_H

#include "base/progress.h"
#include "engine/run.h"
#include "file/imatrix.h"

struct collected_text {
    int64_t chunks, chunks_of, tokens; /* done, to be done; tokens of those done */
};

/* Run ids[0..n), the tokens of a text, in chunks of `context` (what is left over is not used; of
 * each the first token is BOS where the vocabulary adds one), and add to `into` the squares of
 * every input channel of the matrices of the blocks, and of the output head's if `head`; sums in
 * double, stored as float. limit > 0: at most so many chunks. ST_UNSUPPORTED when the model cannot
 * run, ST_RANGE when the text is shorter than a chunk; on ST_CANCELLED what was seen has been
 * added. */
NODISCARD enum st imatrix_collect(const struct model *m, const struct run_options *o,
                                  const int32_t *ids, int64_t n, int64_t context, int64_t limit,
                                  bool head, struct imatrix *into, struct progress *p,
                                  struct collected_text *out, struct err *e);

#endif
