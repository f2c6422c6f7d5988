/* SPDX-License-Identifier: MIT */
/* A quantized weight against the same weight of a reference: errors by tensor, row, channel and
 * block, errors in steps of the format, and what use it makes of its codes. */
#ifndef QDB_STUDY_QERR_H
#define QDB_STUDY_QERR_H

#include <stdint.h>

#include "base/error.h"
#include "base/progress.h"
#include "file/weights.h"
#include "kernels/pool.h"

/* Sums over some of the elements: those where both values are finite. */
struct qerr_sums {
    int64_t n, nonfinite; /* elements that count; those that are NaN or infinite on either side */
    double ref, error;    /* sums of ref^2 and (x - ref)^2 */
};

double qerr_relerr(const struct qerr_sums *s); /* l2(x - ref) / l2(ref); inf if ref alone is 0 */
double qerr_sqnr(const struct qerr_sums *s);   /* dB; inf without error */

enum { QERR_WORST = 1000 }; /* most blocks that are kept of one weight */

/* A quantization block. */
struct qerr_block {
    int64_t row, blkq; /* rows count over all matrices of the weight */
    struct qerr_sums sums;
    double relerr; /* by which blocks are ranked; inf when a value is not finite */
    double steps;  /* rmse/scale; NaN as below */
    double maxerr;
};

struct qerr {
    struct qerr_sums all;
    double relerr, sqnr, rmse, maxerr;
    int64_t maxerr_at;     /* element, row-major; -1 without error */
    double steps, clipped; /* rmse/scale; share: NaN when the levels are not evenly spaced */
    double code_entropy;   /* bits; NaN for plain numbers, as used */
    double used;           /* share of the codes of the format that occur */
    struct qerr_sums *rows, *cols; /* [rows], [cols] when asked for, else NULL */
    struct qerr_block *worst;      /* [n_worst] the largest relerr first; none for plain numbers */
    size_t n_worst;
};

struct qerr_options {
    bool rows, cols;
    int worst; /* blocks to keep, at most QERR_WORST. Blocks whose squared error is below the mean
                * of their surroundings, some 65536 elements of whole rows, are not among them. */
    struct pool *pool;
    struct progress *progress;
    double done, total; /* elements, over all weights: what the progress shows */
};

/* w against ref. ST_UNSUPPORTED when the shapes differ or either does not decode, ST_CANCELLED
 * (nothing is given back), ST_NOMEM. The result does not depend on the pool. */
NODISCARD enum st qerr_of(const struct weight *ref, const struct weight *w,
                          const struct qerr_options *o, struct qerr *out, struct err *e);
void qerr_free(struct qerr *q);

#endif
