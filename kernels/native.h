/* SPDX-License-Identifier: MIT */
/* Compute mode native: quantized weights and quantized activations in one common integer form.
 *
 * A weight row is taken apart into unsigned codes, integer scales and minima per unit of columns,
 * and floats per group; the activations of a token into signed codes, a float per block and sums of
 * codes per unit. With dot[u]  = sum of (code - zero) * x over unit u      isum = sum of scale[u] *
 * dot[u] msum    = sum of min[u] * xsum[u]                   (over the units of a group) the
 * product is the sum, in ascending order of groups and in float, of isum * (d * dx)  [- msum * (m *
 * dx) with minima]  [+ m * s with activations in q8_1]. docs/modes.md is the specification. */
#ifndef QDB_KERNELS_NATIVE_H
#define QDB_KERNELS_NATIVE_H

#include <stdbool.h>
#include <stdint.h>

#include "kernels/format.h"

/* What the activations become before they meet a weight. */
enum native_act {
    NATIVE_Q8_0,
    NATIVE_Q8_1,
    NATIVE_Q8_K,
    NATIVE_F16,
    NATIVE_BF16,
    NATIVE_ACT__COUNT
};
const char *native_act_name(enum native_act a);

/* The integer formats; each has a row of the table and an unpacker per level, unpack_NAME. */
#define NATIVE_FORMATS(X) \
    X(q1_0) \
    X(q2_0) X(q4_0) X(q4_1) X(q5_0) X(q5_1) X(q8_0) X(iq4_nl) X(mxfp4) X(nvfp4) X(q2_k) X(q3_k) \
        X(q4_k) X(q5_k) X(q6_k) X(tq1_0) X(tq2_0) X(iq1_s) X(iq1_m) X(iq2_xxs) X(iq2_xs) X(iq2_s) \
            X(iq3_xxs) X(iq3_s) X(iq4_xs)

#define NATIVE_ID(name) NATIVE_##name,
enum native_id { NATIVE_FORMATS(NATIVE_ID) NATIVE__COUNT };

struct native_format {
    const char *name;    /* of the storage format */
    enum native_act act; /* q8_0, q8_1 or q8_k */
    int zero;            /* the code that means 0 */
    int group;           /* columns per float scale d: 16, 32 or 256 */
    int unit;            /* columns per integer scale; = group where there is none */
    bool mins;           /* integer minima per unit, float m per group (q8_k only) */
};

/* NULL: the mode computes this format without integers; see native_rounds and docs/modes.md. */
const struct native_format *native_format(enum format f);
enum native_id native_id(const struct native_format *n);
/* Activations for a format without integers: NATIVE_F16, NATIVE_BF16, or -1 for left as they are.
 */
int native_rounds(enum format f);

/* Columns of weight rows taken apart, row-major: code [rows][cols], scale and min [rows][cols /
 * unit], d and m [rows][cols / group]. Those that the format lacks are NULL. */
struct native_row {
    uint8_t *code;
    int16_t *scale, *min;
    float *d, *m;
};

/* n columns from src (any alignment), n a multiple of the format's block. */
typedef void native_unpack(const uint8_t *src, int64_t n, const struct native_row *out);

enum {
    NATIVE_ROWS = 16 /* rows of a panel */,
    NATIVE_COLS = 1024 /* columns taken apart at a time */
};

/* Activations: code [tokens][cols], d and s [tokens][cols / block], sum [tokens][cols / unit]. */
struct native_acts {
    int64_t tokens, cols;
    int block;    /* columns per d: 32 or 256 */
    int8_t *code; /* -127 .. 127 */
    float *d;     /* q8_0, q8_1: a rounded half */
    float *s;     /* q8_1: d * sum of codes, a rounded half; else NULL */
    int16_t *sum; /* of the codes of a unit */
};

/* Room for the activations of `tokens` x `cols`, empty yet. */
void native_acts_init(struct native_acts *a, const struct native_format *f, int64_t tokens,
                      int64_t cols);
void native_acts_free(struct native_acts *a);
/* Quantize token t from x [cols]. A block with NaN or infinity gets d = NaN and codes 0, so that
 * every result of the token is NaN; one whose largest magnitude is below 2^-100 counts as zero. */
void native_acts_set(struct native_acts *a, const struct native_format *f, int64_t t,
                     const float *x);

/* y = x rounded to half or brain floats, kept as floats. In place is fine. */
void round_to_f16(const float *x, int64_t n, float *y);
void round_to_bf16(const float *x, int64_t n, float *y);

#endif
