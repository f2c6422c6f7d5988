/* SPDX-License-Identifier: MIT */
/* Terms of a run: what an element of a point that has been computed is made of. */
#ifndef QDB_ENGINE_TERMS_H
#define QDB_ENGINE_TERMS_H

#include "engine/run.h"
#include "graph/op_terms.h"

/* Terms of element `at` of the value in the span. *out is the caller's (free). ST_STATE when the
 * point lies ahead, ST_UNSUPPORTED when its op is not traced. */
NODISCARD enum st run_terms(struct run *r, int span, int value, int64_t at, enum term_kind *kind,
                            struct op_term **out, int64_t *n, struct err *e);
/* A point of a span, whole: borrowed until the next call. */
typedef enum st read_point_fn(void *data, int span, int value, struct tensor *out, struct err *e);
/* The terms of what the op, with the weights of r, gives on other inputs. */
NODISCARD enum st run_terms_on(struct run *r, int span, int value, int64_t at, read_point_fn *read,
                               void *data, enum term_kind *kind, struct op_term **out, int64_t *n,
                               struct err *e);
/* Where the x of a term lies: the value, its span and the element there. */
void run_term_place(const struct run *r, int span, int value, const struct op_term *t, int *of_span,
                    int *of_value, int64_t *at);

#endif
