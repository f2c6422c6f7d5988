/* SPDX-License-Identifier: MIT */
/* Heads that do nothing: the test of "Quantizable Transformers" (Bondarenko, Nagel, Blankevoort
 * 2023, arXiv 2306.12929), and which outlier channels of the residual stream a head feeds. */
#ifndef QDB_STUDY_HEADS_H
#define QDB_STUDY_HEADS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/progress.h"
#include "engine/run.h"

/* A head is a no-op when it rests on the first key, finds next to nothing there, and adds next to
 * nothing to the residual stream. */
#define NOOP_SINK 0.8
#define NOOP_VALUE 0.2
#define NOOP_UPDATE 0.05

struct head_work {
    int block, head;
    double sink;   /* mean over queries of the attention on the first key */
    double value;  /* norm of the first key's value over the median norm of the others */
    double update; /* mean over queries of l2(what the head adds) / l2(stream before); NaN where
                    * its output does not go straight into one projection and an addition */
    bool noop;     /* sink > NOOP_SINK, value < NOOP_VALUE, update < NOOP_UPDATE */
};

/* What a head adds to an outlier channel of the stream, at the token where that is largest. */
struct head_feed {
    int block, head;
    int64_t chan, tok;
    double adds, x; /* x: value of the stream after the addition */
};
#define FEED_SHARE 0.01 /* feeds are listed from abs(adds / x) on */

struct head_works {
    struct head_work *heads; /* [n] */
    size_t n, cap;
    struct head_feed *feeds; /* [n_feeds], in order of block, channel, head */
    size_t n_feeds, cap_feeds;
};

/* All heads of one block, or of all that have been computed (block -1). queries [tokens of the
 * run] chooses the tokens of the means, NULL: all but the first. Errors as of attention_heads; on
 * ST_CANCELLED *out holds what is done. Free with head_works_free. */
NODISCARD enum st head_works_of(struct run *r, int block, const bool *queries, struct pool *pool,
                                struct progress *p, struct head_works *out, struct err *e);
void head_works_free(struct head_works *w);

#endif
