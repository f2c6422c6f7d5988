/* SPDX-License-Identifier: MIT */
/* Outliers of one activation: which channels and which tokens stand out, and whether for good or
 * once. */
#ifndef QDB_STUDY_OUTLIERS_H
#define QDB_STUDY_OUTLIERS_H

#include <stdbool.h>
#include <stdint.h>

#include "kernels/statistics.h"

/* One channel over all tokens. An outlier is abs(x) > k * rms, the rms being that of the channels
 * that are not identically zero over the tokens from the second on. */
struct outlier_channel {
    int64_t chan;
    enum outlier_kind kind; /* OUTLIER_FEW_TOKENS = massive: at few tokens, or at the first alone */
    int64_t tok;            /* where it is largest */
    float value;            /* there */
    double ratio;           /* abs(value) / median over non-zero channels of absmax */
    double ratio_rest;      /* the same without the first token; NaN where the channel is zero */
    int64_t hits;           /* tokens from the second on at which it holds an outlier */
    bool first;             /* and whether it holds one at the first token */
};

struct outlier_token {
    int64_t tok;
    double ratio; /* root mean square of its row over the median of the tokens from the second on */
    int64_t chan; /* its largest value */
    float value;
    int64_t hits;    /* outliers among its channels */
    int64_t massive; /* of them in channels that are massive */
};

struct outlier_scan {
    int64_t rows, cols;
    struct outlier_report all, rest;  /* with and without the first token */
    int64_t persistent, massive;      /* channels of either kind */
    struct outlier_channel *channels; /* [cols] */
    struct outlier_token *tokens;     /* [rows] */
};

/* x [rows][cols] = [tok][chan], rows >= 1. What is not finite counts as 0. Free with
 * outlier_scan_free. */
void outlier_scan_of(const float *x, int64_t rows, int64_t cols, double k,
                     struct outlier_scan *out);
void outlier_scan_free(struct outlier_scan *s);
const char *outlier_kind_name(enum outlier_kind kind); /* "persistent" "massive" "" */

#endif
