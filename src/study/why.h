/* SPDX-License-Identifier: MIT */
/* Where a value comes from: one element traced back, node by node, to where it was made. */
#ifndef QDB_STUDY_WHY_H
#define QDB_STUDY_WHY_H

#include "base/error.h"
#include "engine/terms.h"

enum why_verdict {
    WHY_ARRIVED,  /* one element of an input accounts for it: the next step */
    WHY_WEIGHT,   /* a NaN or infinity in a weight */
    WHY_OVERFLOW, /* not finite though everything that it is made of is */
    WHY_TABLE,    /* read from a row of a weight, as embeddings are */
    WHY_MADE,     /* made here: no element of an input stands out enough to account for it */
    WHY_UNTRACED, /* the op is not traced any further */
    WHY_SET       /* not computed: a change has put it there */
};
const char *why_verdict_name(enum why_verdict v);

enum { WHY_TOP = 8 };

/* A step: element `at` of a value in a span. */
struct why_step {
    int span, value;
    int64_t at;
    double x;
    enum why_verdict verdict;
    enum term_kind kind;
    struct op_term cause; /* the term that is followed, or at fault; in < 0 and slot < 0 if none */
    int64_t n_terms, n_top;
    struct op_term top[WHY_TOP]; /* the largest by abs(product) */
};

struct why {
    struct why_step *steps;
    size_t n, cap;
};

/* A bad value (NaN, infinity) is followed to the first bad element that it is made of; a finite one
 * to the element of an input that stands out of its row (abs(x) > WHY_STANDS_OUT * rms of the row)
 * and gives at least WHY_SHARE of the value. */
#define WHY_STANDS_OUT 4.0
#define WHY_SHARE      0.3
NODISCARD enum st why_of(struct run *r, int span, int value, int64_t at, struct why *out,
                         struct err *e);
/* Step i, its element, was set by a change: what it was made of before does not matter. */
void why_end_at(struct why *w, size_t i);
void why_free(struct why *w);

#endif
