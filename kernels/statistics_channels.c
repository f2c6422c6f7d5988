/* SPDX-License-Identifier: MIT */
/* Statistics of activations [tok][chan]: channels, outliers, and how they differ. */
#include <math.h>
#include <string.h>

#include "kernels/statistics.h"

/* Magnitude of a finite value; others count as 0 here. */
static inline float magnitude(float v)
{
    float a = fabsf(v);
    return a <= 3.402823466e38f ? a : 0;
}

static void channel_extremes(const float *x, int64_t rows, int64_t cols, int64_t apart,
                             struct channel_table *t)
{
    float *restrict absmax = t->absmax;
    double *restrict squares = t->squares;
    for (int64_t c = 0; c < cols; c++) {
        absmax[c] = 0;
        squares[c] = 0;
    }
    for (int64_t r = apart; r < rows; r++) {
        const float *restrict row = x + r * cols;
        for (int64_t c = 0; c < cols; c++) {
            float a = magnitude(row[c]);
            absmax[c] = a > absmax[c] ? a : absmax[c];
            squares[c] += (double)a * (double)a;
        }
    }
}

/* Where each channel's largest value is, and which values are outliers. */
static void channel_hits(const float *x, int64_t rows, int64_t cols, int64_t apart,
                         double threshold, struct channel_table *t, struct outlier_report *out)
{
    for (int64_t c = 0; c < cols; c++) {
        t->hits[c] = 0;
        t->absmax_row[c] = -1;
    }
    for (int64_t r = 0; t->row_hits && r < rows; r++)
        t->row_hits[r] = 0;
    for (int64_t r = apart; r < rows; r++) {
        const float *row = x + r * cols;
        int32_t here = 0;
        for (int64_t c = 0; c < cols; c++) {
            float a = magnitude(row[c]);
            int hit = (double)a > threshold;
            t->hits[c] += hit;
            here += hit;
            if (a == t->absmax[c] && a > 0 && t->absmax_row[c] < 0)
                t->absmax_row[c] = (int32_t)r;
        }
        if (t->row_hits)
            t->row_hits[r] = here;
        out->hits += here;
    }
}

void outliers_of(const float *x, int64_t rows, int64_t cols, int64_t apart, double k,
                 struct channel_table *t, float *scratch, struct outlier_report *out)
{
    double squares = 0;
    int64_t live = 0;
    memset(out, 0, sizeof *out);
    out->rows = rows > apart ? rows - apart : 0;
    out->absmax_row = out->absmax_col = -1;
    out->rms = out->threshold = out->absmax = out->median_absmax = out->ratio = NAN;
    channel_extremes(x, rows, cols, apart, t);
    for (int64_t c = 0; c < cols; c++) {
        if (t->absmax[c] == 0)
            continue;
        scratch[live++] = t->absmax[c];
        squares += t->squares[c];
        if (out->absmax_col < 0 || t->absmax[c] > t->absmax[out->absmax_col])
            out->absmax_col = c;
    }
    out->live = live;
    if (live > 0) {
        out->rms = sqrt(squares / ((double)live * (double)out->rows));
        out->threshold = k * out->rms;
        out->absmax = (double)t->absmax[out->absmax_col];
        out->median_absmax = median(scratch, live);
        out->ratio = out->absmax / out->median_absmax;
    }
    channel_hits(x, rows, cols, apart, live > 0 ? out->threshold : INFINITY, t, out);
    if (live > 0)
        out->absmax_row = t->absmax_row[out->absmax_col];
}

/* Few tokens: fewer than 3, or less than the 6 % of positions of the LLM.int8 census. */
enum outlier_kind outlier_kind(int64_t hits, int64_t rows)
{
    if (hits <= 0)
        return OUTLIER_NONE;
    bool often = hits >= 3 && (double)hits >= 0.06 * (double)rows;
    return often ? OUTLIER_PERSISTENT : OUTLIER_FEW_TOKENS;
}
