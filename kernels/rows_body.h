/* SPDX-License-Identifier: MIT */
/* Row kernels of a level, written once: each level_*.c includes this. Element by element the same
 * operations on any vector; sums in double, in DOUBLES lanes whatever the vectors' size. */
#ifndef QDB_KERNELS_ROWS_BODY_H
#define QDB_KERNELS_ROWS_BODY_H

#include <math.h>

#include "kernels/level_body.h"
#include "kernels/parts_body.h"
#include "kernels/rows.h"

/* Element i of a row is added in lane i % DOUBLES; then lanes k and k + 8, k + 4, k + 2, k + 1. */
enum { DOUBLES = 16, WIDE_DOUBLES = LEVEL_VECTOR / 8, DOUBLE_PARTS = DOUBLES / WIDE_DOUBLES };

typedef float narrow_part __attribute__((vector_size(LEVEL_VECTOR / 2)));
typedef double double_part __attribute__((vector_size(LEVEL_VECTOR)));
struct doubles {
    double_part p[DOUBLE_PARTS];
};

#define EACH_DOUBLE UNROLL for (int k = 0; k < DOUBLE_PARTS; k++)

/* gcc 12 takes the conversion of whole vectors apart. */
INLINE double_part widen(narrow_part v)
{
#if defined __AVX512F__ && LEVEL_VECTOR == 64
    return (double_part)_mm512_cvtps_pd((__m256)v);
#elif defined __AVX2__ && LEVEL_VECTOR == 32
    return (double_part)_mm256_cvtps_pd((__m128)v);
#else
    return __builtin_convertvector(v, double_part);
#endif
}

INLINE narrow_part narrow(double_part v)
{
#if defined __AVX512F__ && LEVEL_VECTOR == 64
    return (narrow_part)_mm512_cvtpd_ps((__m512d)v);
#elif defined __AVX2__ && LEVEL_VECTOR == 32
    return (narrow_part)_mm256_cvtpd_ps((__m256d)v);
#else
    return __builtin_convertvector(v, narrow_part);
#endif
}

INLINE double_part doubles_at(const float *x)
{
    narrow_part v;
    memcpy(&v, x, sizeof v);
    return widen(v);
}

INLINE double doubles_sum(double lane[DOUBLES])
{
    for (int half = DOUBLES / 2; half; half /= 2)
        for (int i = 0; i < half; i++)
            lane[i] += lane[i + half];
    return lane[0];
}

/* Sum of (x - mean)^power, power 1 or 2. */
INLINE double moment(const float *x, int64_t n, double mean, int power)
{
    struct doubles sum = { 0 };
    double lane[DOUBLES];
    int64_t i = 0;
    for (; i + DOUBLES <= n; i += DOUBLES)
        EACH_DOUBLE {
            const double_part v = doubles_at(x + i + k * WIDE_DOUBLES) - mean;
            sum.p[k] += power == 2 ? v * v : v;
        }
    memcpy(lane, &sum, sizeof lane);
    for (int k = 0; i + k < n; k++) {
        const double v = x[i + k] - mean;
        lane[k] += power == 2 ? v * v : v;
    }
    return doubles_sum(lane);
}

/* Apply `with`, an expression of the part v at index `at`, to all elements; the last ones from a
 * vector padded with zeros. */
#define EACH_ELEMENT(n, x, y, with) \
    do { \
        int64_t at = 0; \
        for (; at + WIDE <= (n); at += WIDE) { \
            const part v = part_at((x) + at); \
            part_to((y) + at, with); \
        } \
        if (at < (n)) { \
            const part v = part_first((x) + at, (n) - at); \
            part_first_to((y) + at, (n) - at, with); \
        } \
    } while (0)

/* The vector at i of an array of n that may be missing: all `otherwise` then. */
INLINE part optional_at(const float *p, int64_t i, int64_t n, float otherwise)
{
    if (!p)
        return (part){ 0 } + otherwise;
    return i + WIDE <= n ? part_at(p + i) : part_first(p + i, n - i);
}

static void rms_norm(const float *x, const float *gain, int64_t n, float eps, float *y)
{
    const float scale = (float)(1 / sqrt(moment(x, n, 0, 2) / (double)n + eps));
    EACH_ELEMENT(n, x, y, v * scale * optional_at(gain, at, n, 1));
}

/* The norm of a vector of x, in double. */
INLINE part normed(part x, double mean, double scale)
{
    narrow_part half[2];
    memcpy(half, &x, sizeof half);
    UNROLL for (int k = 0; k < 2; k++)
        half[k] = narrow((widen(half[k]) - mean) * scale);
    memcpy(&x, half, sizeof x);
    return x;
}

static void layer_norm(const float *x, const float *gain, const float *bias, int64_t n, float eps,
                       float *y)
{
    const double mean = moment(x, n, 0, 1) / (double)n;
    const double scale = 1 / sqrt(moment(x, n, mean, 2) / (double)n + eps);
    EACH_ELEMENT(n, x, y, normed(v, mean, scale) * optional_at(gain, at, n, 1)
                              + optional_at(bias, at, n, 0));
}

/* e^x to 1.05 units in the last place, down to the smallest denormal; NaN for NaN. x = k ln 2 + r,
 * a polynomial of e^r for abs(r) < 0.35, and 2^k in two steps: one would leave the range. */
INLINE part exp_part(part x)
{
    /* 1.5 * 2^23: what is added to it is rounded to a whole number */
    const part round = (part){ 0 } + 12582912.0f, zero = { 0 };
    const part c = part_min(part_max(x, zero - 104.0f), zero + 89.0f);
    const part k = (c * 1.44269504f + round) - round;
    const part r = (c - k * 0.693359375f) - k * -2.12194440e-4f;
    part p = zero + 1.0f / 5040;
    p = p * r + 1.0f / 720;
    p = p * r + 1.0f / 120;
    p = p * r + 1.0f / 24;
    p = p * r + 1.0f / 6;
    p = p * r + 0.5f;
    p = (p * r * r + r) + 1.0f;
    const whole_part whole = __builtin_convertvector(k, whole_part), half = whole >> 1;
    p = p * (part)((half + 127) << 23) * (part)((whole - half + 127) << 23);
    return part_choose(x != x, x, p);
}

/* The largest number, -inf without one; *has_nan: there is also a NaN. */
INLINE float largest_of(const float *x, int64_t n, bool *has_nan)
{
    part max = (part){ 0 } - INFINITY;
    whole_part nan = { 0 };
    float lane[WIDE], most = -INFINITY;
    int32_t any[WIDE], bad = 0;
    int64_t i = 0;
    for (; i + WIDE <= n; i += WIDE) {
        const part v = part_at(x + i);
        max = part_max(v, max);
        nan |= v != v;
    }
    memcpy(lane, &max, sizeof lane);
    memcpy(any, &nan, sizeof any);
    for (int k = 0; k < WIDE; k++) {
        most = lane[k] > most ? lane[k] : most;
        bad |= any[k];
    }
    for (; i < n; i++) {
        most = x[i] > most ? x[i] : most;
        bad |= x[i] != x[i];
    }
    *has_nan = bad;
    return most;
}

/* p = e^(x - max); the sum, in double. */
INLINE double exp_row(const float *x, int64_t n, float max, float *p)
{
    struct doubles sum = { 0 };
    double lane[DOUBLES];
    int64_t i = 0;
    for (; i + DOUBLES <= n; i += DOUBLES) {
        UNROLL for (int k = 0; k < DOUBLES / WIDE; k++)
        {
            const part e = exp_part(part_at(x + i + k * WIDE) - max);
            narrow_part half[2];
            memcpy(half, &e, sizeof half);
            part_to(p + i + k * WIDE, e);
            sum.p[2 * k] += widen(half[0]);
            sum.p[2 * k + 1] += widen(half[1]);
        }
    }
    EACH_ELEMENT(n - i, x + i, p + i, exp_part(v - max));
    memcpy(lane, &sum, sizeof lane);
    for (int k = 0; i + k < n; k++)
        lane[k] += p[i + k];
    return doubles_sum(lane);
}

static void softmax(const float *x, int64_t visible, int64_t n, float *p)
{
    bool nan;
    const float max = largest_of(x, visible, &nan);
    if (nan || !(max > -INFINITY)) {
        for (int64_t i = 0; i < n; i++)
            p[i] = i < visible ? NAN : 0.0f;
        return;
    }
    const float scale = (float)(1 / exp_row(x, visible, max, p));
    EACH_ELEMENT(visible, p, p, v * scale);
    if (visible < n)
        memset(p + visible, 0, (size_t)(n - visible) * sizeof *p);
}

/* x / (1 + e^(-u)) */
INLINE part gate(part x, part minus_u) { return x / (1.0f + exp_part(minus_u)); }

/* 0.5 x (1 + tanh(u)) with u = sqrt(2/pi) (x + 0.044715 x^3), which is x / (1 + e^(-2u)). */
INLINE part gelu_tanh(part x)
{
    return gate(x, -1.59576912160573071f * x * (1.0f + 0.044715f * x * x));
}

static void activate(enum activation a, const float *x, int64_t n, float *y)
{
    const part zero = { 0 };
    switch (a) {
    case ACT_SILU: EACH_ELEMENT(n, x, y, gate(v, -v)); break;
    case ACT_GELU_TANH: EACH_ELEMENT(n, x, y, gelu_tanh(v)); break;
    case ACT_GELU_QUICK: EACH_ELEMENT(n, x, y, gate(v, -1.702f * v)); break;
    case ACT_RELU: EACH_ELEMENT(n, x, y, part_choose((v > zero) | (v != v), v, zero)); break;
    case ACT_GELU_ERF:
        for (int64_t i = 0; i < n; i++)
            y[i] = 0.5f * x[i] * (1.0f + erff(x[i] * 0.70710678118654752440f));
        break;
    case ACT_SOFTPLUS: /* log(1 + e^x), which is x to float rounding from 20 on */
        for (int64_t i = 0; i < n; i++)
            y[i] = x[i] > 20 ? x[i] : log1pf(expf(x[i]));
        break;
    case ACT__COUNT: break;
    }
}

/* Pairs i, i + half; or 2i, 2i + 1, whose lanes are sorted apart and zipped together again. */
static void rope_row(const struct rope *r, const float *cosine, const float *sine, const float *x,
                     int64_t n, float *y)
{
    const int64_t half = r->n_rot / 2, step = r->half_split ? 1 : 2;
    const int64_t other = r->half_split ? half : 1;
    int64_t i = 0;
    for (; i + WIDE <= half; i += WIDE) {
        const part c = part_at(cosine + i), s = part_at(sine + i);
        part a = part_at(x + i * step), b = part_at(x + (r->half_split ? i + half : i * 2 + WIDE));
        if (!r->half_split)
            unzip_parts(a, b, &a, &b);
        part to = a * c - b * s, from = a * s + b * c;
        if (!r->half_split)
            zip_parts(to, from, &to, &from);
        part_to(y + i * step, to);
        part_to(y + (r->half_split ? i + half : i * 2 + WIDE), from);
    }
    for (; i < half; i++) {
        const float a = x[i * step], b = x[i * step + other];
        y[i * step] = a * cosine[i] - b * sine[i];
        y[i * step + other] = a * sine[i] + b * cosine[i];
    }
    if (y != x)
        memcpy(y + r->n_rot, x + r->n_rot, (size_t)(n - r->n_rot) * sizeof *y);
}

static void add_rows(const float *a, const float *b, int64_t n, float *y)
{
    EACH_ELEMENT(n, a, y, v + optional_at(b, at, n, 0));
}

static void multiply_rows(const float *a, const float *b, int64_t n, float *y)
{
    EACH_ELEMENT(n, a, y, v * optional_at(b, at, n, 0));
}

#define ROW_KERNELS \
    { \
        .rms_norm = rms_norm, .layer_norm = layer_norm, .softmax = softmax, .activate = activate, \
        .rope = rope_row, .add = add_rows, .multiply = multiply_rows \
    }

#endif
