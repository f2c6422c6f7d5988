/* SPDX-License-Identifier: MIT */
/* Terms: what one element of a node's output is made of, for tracing a value back to where it comes
 * from. */
#ifndef QDB_GRAPH_OP_TERMS_H
#define QDB_GRAPH_OP_TERMS_H

#include <stdint.h>

#include "graph/graph.h"

/* One term: x * factor. */
struct op_term {
    int in;        /* input that x belongs to; -1: x is 1, the factor comes from a weight alone */
    int64_t token; /* of the run, that x belongs to; -1: the element is counted in its span */
    int64_t at;    /* element of that token, or of the span */
    double x, factor, product;
    int slot; /* weight that the factor is an element of; -1 if it is computed */
    int64_t row, col;
};

enum term_kind {
    TERMS_NONE,    /* the op is not traced */
    TERMS_SUM,     /* the output is the sum of the products */
    TERMS_PRODUCT, /* the output is the product of all x */
    TERMS_OTHER    /* the first term has the element, the others have a part in its factor */
};

struct term_call {
    const struct node *node;
    const struct batch *batch;
    const struct rope *rope;
    struct matrix w[NODE_MAX_WEIGHTS];
    const float *v[NODE_MAX_WEIGHTS];  /* as op_call */
    struct shape in[NODE_MAX_IN], out; /* resolved for the span */
    /* Row of an input: all its elements for a token of the run, or, of an input that does not begin
     * with the tokens, all its elements of the span. Valid until the next call; NULL = cannot be
     * had. */
    const float *(*row)(void *data, int input, int64_t token);
    void *data;
};

/* The terms of element `at` of the span's output. *out is allocated with x_alloc (the caller frees
 * it), NULL for TERMS_NONE. */
enum term_kind op_terms(const struct term_call *c, int64_t at, struct op_term **out, int64_t *n);

#endif
