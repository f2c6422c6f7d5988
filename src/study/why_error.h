/* SPDX-License-Identifier: MIT */
/* Where an error comes from: the difference of one element to a reference, a run or a trace, traced
 * back node by node, to the weight that makes it or to where it can be followed no further. */
#ifndef QDB_STUDY_WHY_ERROR_H
#define QDB_STUDY_WHY_ERROR_H

#include "base/error.h"
#include "engine/terms.h"
#include "study/source.h"

/* A term in both runs; w x - w_ref x_ref = (w - w_ref) x_ref + w (x - x_ref). What the factor has
 * of other elements, as that of a norm has, is neither: it is in `scale`. */
struct error_term {
    struct op_term run, ref;
    double weight, inherited, scale;
};

enum error_verdict {
    ERROR_ARRIVED, /* one element of an input accounts for it: the next step */
    ERROR_WEIGHT,  /* most of it is made here, by weights that differ */
    ERROR_SPREAD,  /* it arrived with many elements of the input, none of which accounts for it */
    ERROR_MADE,    /* of a trace: most of it is made here, by this op on the inputs of the trace */
    ERROR_ROUNDED, /* most of it is in no term: activations are rounded on their way */
    ERROR_CHANGED, /* a change sets the element */
    ERROR_NONE,    /* there is no error */
    ERROR_UNTRACED /* the op is not traced any further */
};
const char *error_verdict_name(enum error_verdict v);

enum { ERROR_TOP = 8 };

struct error_step {
    int span, value;
    int64_t at;
    double x, ref;                   /* the element in both runs; the error is x - ref */
    double weight, inherited, scale; /* sums over the terms */
    double rest;                     /* of the error, in no term */
    enum error_verdict verdict;
    struct error_term cause; /* followed, or whose weight is at fault; in and slot < 0 if none */
    int64_t n_terms, n_top;
    struct error_term top[ERROR_TOP]; /* the largest by abs(weight + inherited + scale) */
};

/* A block of a row of a weight, by how well the error that is made here, of this row at the tokens
 * of the span, follows what the block gives: share = (sum e p)^2 / (sum e^2 sum p^2), e: the error,
 * p: the block's part of the product; factor: that the block must be multiplied by for the least
 * squares. A wrong scale has share 1. */
struct error_block {
    int64_t col, cols; /* first column, and how many */
    double share, factor;
};

enum { ERROR_BLOCKS = 5 };

struct error_trace {
    struct error_step *steps;
    size_t n, cap;
    /* When the last step is ERROR_MADE by a product with a weight: its row and best blocks. */
    const struct weight *weight; /* NULL: it is not */
    int64_t row, tokens;         /* tokens: of the span */
    struct error_block blocks[ERROR_BLOCKS];
    int n_blocks;
};

/* Is the element set by a change of the run? May be NULL. */
typedef bool changed_fn(void *data, int span, int value, int64_t at);

/* Follow the error of element `at` back. An inherited one goes on while one element of an input
 * has ERROR_MOST of it, or WHY_SHARE of it when its own error stands out of those of its row
 * (WHY_STANDS_OUT times their rms), or there are but two. Both are at least at the value. A trace
 * has no weights: its terms are those of the ops of r on what it has (compare_input), and what is
 * in none of them is made here. */
#define ERROR_MOST 0.8
NODISCARD enum st why_error_of(struct run *r, struct ref_source *ref, int span, int value,
                               int64_t at, changed_fn *changed, void *data, struct error_trace *out,
                               struct err *e);
void error_trace_free(struct error_trace *t);
/* The element with the largest error of those that are finite in the reference, one that is not
 * finite in the run first; -1: there is no error. */
int64_t largest_error(const float *x, const float *ref, int64_t n);

#endif
