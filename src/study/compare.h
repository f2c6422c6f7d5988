/* SPDX-License-Identifier: MIT */
/* A point of a run against the same point of a reference. */
#ifndef QDB_STUDY_COMPARE_H
#define QDB_STUDY_COMPARE_H

#include "base/error.h"
#include "engine/run.h"
#include "study/source.h"

/* Medians over tokens of the error of each token, the first token of the run apart when there are
 * others. Massive channels, those with an outlier(20) in the reference, are apart as well: their
 * size would hide the error of all others. */
struct point_error {
    int64_t tokens; /* that the medians are over */
    double relerr, sqnr, cos;
    double first;          /* relerr of the first token; NaN if it is not there */
    int64_t massive;       /* channels */
    double massive_relerr; /* over those channels, NaN without */
    double maxerr;         /* over everything */
    int64_t maxerr_at;     /* element of the span, -1 if there is no error */
    int64_t nonfinite;     /* elements of either that are NaN or infinite, left out; not counted
                            * where both are the same infinity */
};

/* Arrays of one shape. first_token: number in the run of the first token. */
void point_error_of(const struct shape *s, const float *ref, const float *x, int64_t first_token,
                    struct point_error *out);

/* The point `value` of a span of the run and of the reference: errors as run_read(), source_read().
 */
NODISCARD enum st compare_point(struct run *r, struct ref_source *ref, int span, int value,
                                struct point_error *out, struct err *e);

/* The point as the reference has it; what a trace lacks is made from its own inputs, as below.
 * out->data is the caller's (mem_free). */
NODISCARD enum st compare_input(struct run *r, struct ref_source *ref, int span, int value,
                                struct tensor *out, struct err *e);

/* What of it is made at this point: the op with the weights of r on the inputs of ref, against the
 * point of ref; block >= 0: everything of that block up to the point, on what enters the block in
 * ref. Of a fused attention, all of it; of a trace that lacks inputs, everything since the points
 * before that it has. ST_UNSUPPORTED where an op cannot be evaluated alone on the tokens of the
 * span: one that sees tokens of spans before. pool may be NULL. */
NODISCARD enum st compare_made_here(struct run *r, struct ref_source *ref, int span, int value,
                                    int block, struct pool *pool, struct point_error *out,
                                    struct err *e);

#endif
