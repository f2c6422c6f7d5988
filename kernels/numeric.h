/* SPDX-License-Identifier: MIT */
/* Numeric formats: what a weight, an activation or a cached key may be rounded to, as people write
 * it: BASE{:OPT}. A base is a storage format, or a simulated one that is rounded and kept as float.
 */
#ifndef QDB_KERNELS_NUMERIC_H
#define QDB_KERNELS_NUMERIC_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/text.h"
#include "kernels/format.h"
#include "kernels/pool.h"

/* s is the scale of a group, c the clip (1 if not given), RNE rounding to nearest, ties to even. */
enum numeric_base {
    NUMERIC_STORAGE, /* a format of files: q4_k, f16, mxfp4, nvfp4, ... */
    NUMERIC_INT,     /* intB, B 1..8. s = c absmax / n, n = 2^(B-1) - 1; RNE(x/s) in -n..n.
                      * int1: s = mean(abs(x)), the sign. asym: lo = c min(min, 0), hi = c max(max,
                      * 0), s = (hi - lo) / (2^B - 1), z = RNE(-lo / s), RNE(x/s) + z in 0..2^B-1 */
    NUMERIC_FLOAT,   /* eNmM: no infinity, no NaN, subnormals; bias 2^(N-1) - 1, largest L =
                      * (2 - 2^-M) 2^(2^N - 1 - bias); s = c absmax / L. LLM-FP4 (2023) */
    NUMERIC_NF4,     /* 16 levels in -1..1, quantiles of a normal distribution; s = c absmax.
                      * Dettmers et al. 2023 (QLoRA) */
    NUMERIC_MXFP6,   /* E2M3 by 32; s = 2^(floor(log2 absmax) - 2). OCP Microscaling v1.0 */
    NUMERIC_MXFP8,   /* E4M3, largest 448, by 32; s = 2^(floor(log2 absmax) - 8) */
    NUMERIC_SHIFT,   /* shiftB, B 2..6: s times +-2^p, p in 0..2^(B-1) - 1, the nearest; no zero;
                      * s = c absmax / 2^(2^(B-1) - 1). Li et al. 2023 (DenseShift) */
    NUMERIC_BINARY,  /* s = mean(abs(x)), the sign (of 0: +). Rastegari et al. 2016 (BWN) */
    NUMERIC_TERNARY, /* s = 4/3 mean(abs(x)); s RNE(x/s) in -1..1. Liu et al. 2023 (TBT) */
    NUMERIC_TWN,     /* 0 where abs(x) <= 0.7 mean(abs(x)); else the sign times the mean of these
                      * abs(x). Li et al. 2016 */
    NUMERIC_CPX,     /* neighbours in a row are re and im of a complex number: the nearest of
                      * +1, +i, -1, -i by angle, times the mean of abs(re) where it is real, of
                      * abs(im) where it is imaginary. Wang et al. 2025 (iFairy) */
    NUMERIC_DROP,    /* nothing is kept: zero */
    NUMERIC__BASES
};

enum numeric_grain {
    GRAIN_ROW,     /* row, or tok: a scale per row (output of a weight; token of an activation) */
    GRAIN_GROUP,   /* gN: per N neighbours in a row */
    GRAIN_BLOCK,   /* bRxC: per R rows by C columns, smaller at the edges */
    GRAIN_TENSOR,  /* tensor: one for all */
    GRAIN_CHANNEL, /* chan: per column */
};

/* What a scale is rounded to: RNE, but at least the smallest that is not 0; e8m0: the power of two
 * that is not below. ue4m3: E4M3 without sign, times a float32 for the tensor that makes the
 * largest scale 448. */
enum numeric_scale { SCALE_F32, SCALE_F16, SCALE_BF16, SCALE_E8M0, SCALE_UE4M3 };

struct numeric {
    enum numeric_base base;
    enum format storage;    /* NUMERIC_STORAGE, else FORMAT_NONE */
    int bits;               /* INT, SHIFT; else 0 */
    int exponent, mantissa; /* FLOAT; else 0 */
    enum numeric_grain grain;
    int64_t n, m; /* GROUP: n elements; BLOCK: n rows by m columns; else 0 */
    bool asym;    /* INT */
    bool fixed;   /* "static": activations only, ranges measured beforehand */
    double clip;  /* 0 < clip <= 1 */
    enum numeric_scale scale;
};

/* Parse all of `text`, letter case ignored. Options that say what holds anyway are fine. ST_SYNTAX
 * or ST_NOTFOUND with a caret in it. */
NODISCARD enum st numeric_parse(struct str text, struct numeric *out, struct err *e);
/* Append the shortest text that numeric_parse reads as f again. */
void numeric_print(const struct numeric *f, struct buf *out);
bool numeric_equal(const struct numeric *a, const struct numeric *b);
struct numeric numeric_storage(enum format f);
/* nvfp4:tensor, the one format of files with an option: a float32 beside the weight, one for each
 * matrix, that its numbers are times. */
bool numeric_second_scale(const struct numeric *f);
/* Word i that a format can begin with, in the order of the grammar; empty at the end. */
struct str numeric_word(size_t i);

/* ST_RANGE when rows of `cols` elements cannot be cut as the format wants. */
NODISCARD enum st numeric_fits(const struct numeric *f, uint64_t cols, struct err *e);
/* Bytes of a tensor of rows x cols; of a simulated format those that its codes (1.6 bits for three
 * values, 1 for a real number of cpx), scales and zeros would take, packed. The shape fits. */
uint64_t numeric_bytes(const struct numeric *f, uint64_t rows, uint64_t cols);

/* What rounding needs to know of a group. */
struct numeric_fit {
    double scale, second; /* second: of imaginary parts (CPX), the threshold (TWN) */
    double zero;          /* INT with asym */
};
/* From the range of the values alone, which may come from elsewhere (`static`): INT but int1,
 * FLOAT, NF4, MXFP6, MXFP8, SHIFT. */
bool numeric_ranged(const struct numeric *f);
struct numeric_fit numeric_fit_range(const struct numeric *f, double lo, double hi);
/* Round rows x cols values that lie `stride` apart from row to row. */
void numeric_round(const struct numeric *f, const struct numeric_fit *fit, float *x, int64_t rows,
                   int64_t cols, int64_t stride);

/* Round x [rows][cols] in place to a simulated format, a group by itself: the same bits whatever
 * the pool (may be NULL). A group of zeros stays one. ST_RANGE: the shape does not fit, or a value
 * is not finite (the message names row and column; x is as it was); ST_CANCELLED once *cancel (may
 * be NULL) is set: x is of no use then. */
NODISCARD enum st numeric_simulate(const struct numeric *f, float *x, int64_t rows, int64_t cols,
                                   struct pool *pool, const volatile sig_atomic_t *cancel,
                                   struct err *e);

#endif
