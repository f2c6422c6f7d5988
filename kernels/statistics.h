/* SPDX-License-Identifier: MIT */
/* Statistics: every statistic and error metric of qdb, defined once: formula, unit, edge cases,
 * source.
 *
 * The table (statistic_find) holds the definitions in words; the functions below compute them.
 * Everything is accumulated in double over fixed chunks, so that a result depends on the values and
 * their order alone: not on threads, and not on how the array was handed over. Only finite values
 * count; the others are counted apart. A result that is undefined is NaN. */
#ifndef QDB_KERNELS_STATISTICS_H
#define QDB_KERNELS_STATISTICS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/pool.h"

/* ---- the table ---- */

enum statistic_kind {
    STATISTIC_ARRAY,      /* of any array of numbers: statistic_of */
    STATISTIC_QUANTILE,   /* of any array, by selection: quantiles */
    STATISTIC_PAIR,       /* of an array against its reference: statistic_between */
    STATISTIC_ROW,        /* of one row of probabilities */
    STATISTIC_CODES,      /* of a quantized weight, with its reference or alone */
    STATISTIC_CHANNELS,   /* of activations [tok][chan] */
    STATISTIC_PREDICTION, /* of next-token predictions against a text or a reference */
    STATISTIC_PREDICATE,  /* true or false */
};

struct statistic {
    const char *name;  /* as commands and conditions write it */
    const char *alias; /* a second spelling, or NULL */
    const char *unit;  /* "" = that of the data, or none */
    enum statistic_kind kind;
    const char *brief;    /* what it is, one line */
    const char *lines[3]; /* in plain words; the formula; how to read it, and the source */
    const char *edge;     /* edge cases, one line */
};

size_t statistic_count(void);
const struct statistic *statistic_at(size_t i);
const struct statistic *statistic_find(const char *name); /* or alias; NULL if none */

/* Value of a STATISTIC_ARRAY by name, or of a STATISTIC_ROW; false: no such of an array. */
bool statistic_of(const char *name, struct pool *pool, const float *x, int64_t n, double *out);
struct summary;
bool statistic_of_summary(const char *name, const struct summary *sum, double *out);
/* Value of a STATISTIC_PAIR by name that pair_error_of knows; false: no such. */
struct pair_error;
bool statistic_of_pair(const char *name, const struct pair_error *e, double *out);
/* Value of a STATISTIC_PAIR by name, but not rmse/scale; `kl` takes both arrays as logits. */
bool statistic_between(const char *name, const float *ref, const float *x, int64_t n, double *out);

/* ---- one array ---- */

enum { STATISTICS_CHUNK = 4096 };

struct summary {
    int64_t n, nan, inf, zero; /* n counts all values, zero both signs of it */
    int64_t absmax_at;         /* index of the first value of that size, -1 if none */
    double min, max, absmax;   /* NaN when there is no finite value, as all that follow */
    double mean, sd;           /* sd divides by the number of values, not by one less */
    double rms, l2;
    double kurt; /* excess: 0 for a normal distribution; NaN when sd = 0 */
};

/* n >= 0 values. pool may be NULL. */
void summary_of(struct pool *pool, const float *x, int64_t n, struct summary *out);

/* What every point of a run can be asked for at the speed of memory. */
struct scan {
    bool finite;    /* neither NaN nor infinity; else the rest means nothing */
    float absmax;   /* 0 for n = 0 */
    double squares; /* sum of x^2, in float over runs of 1024: good to about 6 digits */
};
/* n >= 0 values. pool may be NULL; the same bits whatever it is. */
void scan_of(struct pool *pool, const float *x, int64_t n, struct scan *out);
/* The scan, and how many values have the largest magnitude, of which `first` is the first one; 0
 * and -1 when not all are finite, and for n = 0. */
struct ties {
    struct scan scan;
    int64_t count, first;
};
void ties_of(struct pool *pool, const float *x, int64_t n, struct ties *out);

/* Moments of some values; private to the stream. */
struct summary_part {
    int64_t n, nan, inf, zero; /* n counts finite values here */
    float min, max;
    double sum, squares, m2, m3, m4; /* powers of deviations from the mean */
};

/* The same for values that come piece by piece: same bits as summary_of on all of them in a row. */
struct summary_stream {
    struct summary_part total;
    int64_t seen, absmax_at; /* values merged into total */
    int n_rest;
    float rest[STATISTICS_CHUNK]; /* values that do not fill a chunk yet */
};

void summary_begin(struct summary_stream *s);
void summary_add(struct summary_stream *s, struct pool *pool, const float *x, int64_t n);
void summary_end(struct summary_stream *s, struct summary *out); /* s may go on */

/* Quantiles p[0..k) (0 <= p <= 1) by linear interpolation between order statistics at p (n - 1).
 * scratch holds the values and is left in another order; n >= 0. Returns how many were finite;
 * out[] is NaN when none. */
int64_t quantiles(float *scratch, int64_t n, const double *p, int k, double *out);
int64_t quantiles_f64(double *scratch, int64_t n, const double *p, int k, double *out);
double median(float *scratch, int64_t n);
double median_f64(double *scratch, int64_t n);
/* Quantiles of values that stay as they are, k <= QUANTILES_MAX, each p in 0..1: no copy of many.
 * -0 counts as 0. False once *cancel (may be NULL) is set: out[] is left as it was. */
enum { QUANTILES_MAX = 8 };
bool quantiles_of(const float *x, int64_t n, const double *p, int k, double *out,
                  const volatile sig_atomic_t *cancel);
/* The same of values that come in pieces, all of them twice: begin, add..., again, add..., end. The
 * order of the pieces does not matter. out NULL: given up. */
struct quantile_stream;
struct quantile_stream *quantiles_begin(const double *p, int k);
void quantiles_add(struct quantile_stream *q, const float *x, int64_t n);
void quantiles_again(struct quantile_stream *q);
void quantiles_end(struct quantile_stream *q, double *out);

/* Equal bins between lo and hi, on a linear scale or on a logarithmic one (of abs(x), lo > 0). A
 * bin holds its lower edge, the last one both. count[bins] is set, `rest` counts what is in no bin.
 * False: the range is empty, infinite or not positive where it must be, or bins < 1. */
enum histogram_scale { HISTOGRAM_LINEAR, HISTOGRAM_LOG };
struct histogram_rest {
    int64_t below, above, zero, nonfinite; /* zero: on the logarithmic scale only */
};
bool histogram_of(const float *x, int64_t n, enum histogram_scale scale, double lo, double hi,
                  int bins, int64_t *count, struct histogram_rest *rest);
/* Edge i of 0..bins. */
double histogram_edge(enum histogram_scale scale, double lo, double hi, int bins, int i);

/* ---- an array against its reference ---- */

struct pair_error {
    int64_t n, nonfinite; /* pairs; pairs left out because either is not finite */
    int64_t maxerr_at;    /* -1 if none */
    double relerr;        /* l2(x - ref) / l2(ref); 0 if both are zero, inf if only ref is */
    double rmse, maxerr;
    double cos;           /* NaN if either is all zero */
    double gain;          /* l2(x) / l2(ref); NaN if ref is all zero */
    double sqnr;          /* dB; inf if there is no error */
};

void pair_error_of(const float *ref, const float *x, int64_t n, struct pair_error *out);

/* Sums over pairs: squares of reference, array and difference, and the product. */
struct pair_sums {
    double ref, x, product, error;
};
/* Those of n <= STATISTICS_CHUNK pairs in which both are finite; returns how many these are. */
int pair_sums_of(const float *ref, const float *x, int n, struct pair_sums *out);

/* The same bits for pairs that come in pieces, each but the last of a multiple of STATISTICS_CHUNK.
 */
struct pair_stream {
    struct pair_sums all;
    struct pair_error e; /* what is not of sums */
};
void pair_error_begin(struct pair_stream *s);
void pair_error_add(struct pair_stream *s, const float *ref, const float *x, int64_t n);
void pair_error_end(const struct pair_stream *s, struct pair_error *out);

/* Errors in steps of a format whose levels are evenly spaced: those of elements whose sub-block has
 * a scale other than 0, and whose error is finite. */
struct step_error {
    int64_t n, clipped; /* clipped: off by more than CLIPPED_STEPS */
    double squares;     /* sum of ((x - ref) / scale)^2 */
};
#define CLIPPED_STEPS 0.51 /* rounding to the nearest level is off by half a step at most */
/* Zero *out first; sums may be added up. scale[i / sub_size] belongs to element i. */
void step_error_add(const float *ref, const float *x, int64_t n, const float *scale, int sub_size,
                    struct step_error *out);
double step_error_rms(const struct step_error *s); /* rmse/scale; NaN when nothing was added */

/* Bits that codes carry by how often each occurs, count[n]: -sum p log2 p; NaN if none occurs. */
double code_entropy(const int64_t *count, int64_t n);

/* ---- distributions ---- */

double log_sum_exp(const float *logits, int64_t n); /* -inf for n = 0 */
/* Sum of p (log p - log q), natural logarithm, over terms with log p > cut (-INFINITY: all). */
double kl_of_logits(const float *ref, const float *x, int64_t n, double cut);
#define KL_COMPAT_CUT (-16.0) /* terms that llama.cpp sums */

double entropy_nats(const float *p, int64_t n);
/* The first n entries are the keys the row can see; NaN for n < 2. */
double entropy_normalised(const float *p, int64_t n);
double sink_mass(const float *p, int64_t n); /* p[0] */
/* The least entropy, in nats, that softmax can give to n logits of this size: with s the length of
 * the logits less their mean, b = sqrt(n / (n - 1)) and w = (n - 1) exp(-s b):
 * ln(1 + w) + s b w / (1 + w). Zhai et al. 2023 (arXiv 2303.06296, theorem 3.1), for the row. NaN
 * for n < 2. */
double entropy_floor(const float *logits, int64_t n);

/* ---- activations [rows][cols] = [tok][chan] ---- */

/* One entry per channel; the caller gives the memory. Rows count from 0, rows set apart too. */
struct channel_table {
    float *absmax;       /* [cols] */
    int32_t *absmax_row; /* [cols]; -1 where the channel is zero */
    int32_t *hits;       /* [cols] tokens at which the channel holds an outlier */
    double *squares;     /* [cols] sum of x^2 */
    int32_t *row_hits;   /* [rows], may be NULL: outliers at the token; 0 if it is apart */
};

struct outlier_report {
    int64_t rows, live;    /* tokens counted; channels that are not identically zero there */
    int64_t hits;          /* values with abs(x) > threshold */
    double rms, threshold; /* over live channels; k * rms */
    double absmax, median_absmax, ratio; /* channels' absmax: largest, median, ratio */
    int64_t absmax_row, absmax_col;      /* -1 if none */
};

/* Outliers by abs(x) > k * rms; the first `apart` rows (usually 1, the first token) are left out of
 * everything. scratch [cols]. */
void outliers_of(const float *x, int64_t rows, int64_t cols, int64_t apart, double k,
                 struct channel_table *t, float *scratch, struct outlier_report *out);

/* ---- what narrower formats can hold ---- */

#define F16_LARGEST 65504.0
#define BF16_LARGEST 3.3895313892515355e38
/* Blocks of 32 signed bytes with a half as scale, absmax / 127 (q8_0). */
#define Q8_LARGEST (127 * F16_LARGEST)
enum { RANGE_BLOCK = 32 };

/* Bits by which values may grow: log2(largest / absmax); inf for 0, below 0 what has overflowed. */
double headroom_bits(double largest, double absmax);

/* How many of the finite values that are not 0 a format brings to 0, or holds with fewer digits. */
struct range_use {
    int64_t n, nonfinite;        /* values that are finite and not 0; those that are not finite */
    int64_t f16_small, f16_zero; /* below 2^-14: subnormal; at most 2^-25: rounded to 0 */
    int64_t bf16_small, bf16_zero; /* below 2^-126; at most 2^-134 */
    int64_t q8_zero; /* less than half a step of their block along the row, or its scale is 0 */
};
/* Add the values of x [rows][cols]; zero *out first. */
void range_use_add(const float *x, int64_t rows, int64_t cols, struct range_use *out);

/* ---- few values that carry much ---- */

/* The smallest number of values whose squares add up to `share` of the sum of all; 0 when that is
 * 0. Values are taken by size, of equals the first; in_set [n] (may be NULL) says which. What is
 * not finite counts as 0. scratch [n]. */
int64_t energy_count(const float *x, int64_t n, double share, int32_t *scratch, bool *in_set);

/* A channel with outliers at `hits` of `rows` tokens. */
enum outlier_kind { OUTLIER_NONE, OUTLIER_FEW_TOKENS, OUTLIER_PERSISTENT };
enum outlier_kind outlier_kind(int64_t hits, int64_t rows);

#endif
