/* SPDX-License-Identifier: MIT */
/* Native mode, activations in 8 bits: the rounding of one token. Included once per level; written
 * so that every loop vectorises, with the same bits everywhere (docs/modes.md). */
#ifndef QDB_KERNELS_NATIVE_ACTS_H
#define QDB_KERNELS_NATIVE_ACTS_H

#include <string.h>

#include "kernels/codec.h"
#include "kernels/native.h"

#ifdef __F16C__
#include <immintrin.h>
#endif

/* The bits of the largest magnitude; NaN and infinity sort above all numbers. */
static inline int32_t largest(const float *x, int n)
{
    int32_t max = 0;
    for (int i = 0; i < n; i++) {
        const int32_t bits = (int32_t)(bits_of_float(x[i]) & 0x7fffffffu);
        max = bits > max ? bits : max;
    }
    return max;
}

/* The first of n values that has that magnitude, with its sign. To go and find it costs more than
 * all else that is done to them; only where there are two with different signs it must be. */
static inline float first_of(const float *x, int n, int32_t magnitude)
{
    int32_t most = 0;   /* as integers, negative numbers are below all others */
    uint32_t least = 0; /* without a sign, above them */
    for (int i = 0; i < n; i++) {
        const uint32_t bits = bits_of_float(x[i]);
        most = (int32_t)bits > most ? (int32_t)bits : most;
        least = bits > least ? bits : least;
    }
    if (most != magnitude)
        return float_of_bits(least);
    if (least != ((uint32_t)magnitude | 0x80000000u))
        return float_of_bits((uint32_t)most);
    while ((bits_of_float(*x) & 0x7fffffffu) != (uint32_t)magnitude)
        x++;
    return *x;
}

/* Codes of n values, |x * scale| <= 127 + an ulp: to nearest, ties to even, by an addition that
 * leaves the integer in the low bits of the float. */
static inline void round_codes(const float *x, int n, float scale, int8_t *code)
{
    for (int i = 0; i < n; i++)
        code[i] = (int8_t)(bits_of_float(x[i] * scale + 12582912.0f) & 0xff);
}

/* A 254th of a code: half a code is 127 of them. */
#define FINE 254.0f

static inline int sum_codes(const int8_t *code, int n)
{
    int sum = 0;
    for (int i = 0; i < n; i++)
        sum += code[i];
    return sum;
}

static inline float round_half(float v)
{
#ifdef __F16C__
    return _cvtsh_ss(_cvtss_sh(v, 0));
#else
    return half_to_float(f32_to_f16(v));
#endif
}

enum { TINY = 27 << 23 /* the bits of 2^-100 */, INFINITE = 255 << 23 };

/* One block of 32 activations, or of 256; s may be NULL. */
static inline void set_block(bool super, const float *x, int8_t *code, float *d, float *s)
{
    const int n = super ? 256 : 32;
    const int32_t max = largest(x, n);
    if (max >= INFINITE || max < TINY) {
        memset(code, 0, (size_t)n);
        *d = max < INFINITE ? 0.0f : float_of_bits(0x7fc00000u);
        if (s)
            *s = *d;
        return;
    }
    if (super) { /* the value of the largest magnitude becomes -127 */
        const float scale = -127.0f / first_of(x, n, max);
        round_codes(x, n, scale, code);
        *d = 1.0f / scale;
        return;
    }
    const float a = float_of_bits((uint32_t)max), step = a / 127.0f;
    round_codes(x, n, 127.0f / a, code);
    *d = round_half(step);
    if (s)
        *s = round_half(step * (float)sum_codes(code, n));
}

/* Sums of the codes of each unit. */
static inline void sum_units(const struct native_format *f, const int8_t *code, int64_t cols,
                             int16_t *sum)
{
    for (int64_t i = 0; f->unit == 16 && i < cols / 16; i++)
        sum[i] = (int16_t)sum_codes(code + i * 16, 16);
    for (int64_t i = 0; f->unit == 32 && i < cols / 32; i++)
        sum[i] = (int16_t)sum_codes(code + i * 32, 32);
}

static void native_acts_row(const struct native_format *f, const float *x, int64_t cols,
                            int8_t *code, float *d, float *s, int16_t *sum)
{
    const bool super = f->act == NATIVE_Q8_K;
    for (int64_t i = 0; super && i < cols / 256; i++)
        set_block(true, x + i * 256, code + i * 256, d + i, NULL);
    for (int64_t i = 0; !super && i < cols / 32; i++)
        set_block(false, x + i * 32, code + i * 32, d + i, s ? s + i : NULL);
    sum_units(f, code, cols, sum);
}

/* ---------------------------------------------------------------- mode fast */

/* Codes of n values, and of what they leave over: x * scale = code + rest / FINE. */
static inline void round_twice(const float *x, int n, float scale, int8_t *code, int8_t *rest)
{
    for (int i = 0; i < n; i++) {
        const float v = x[i] * scale, whole = v + 12582912.0f;
        code[i] = (int8_t)(bits_of_float(whole) & 0xff);
        rest[i] = (int8_t)(bits_of_float((v - (whole - 12582912.0f)) * FINE + 12582912.0f) & 0xff);
    }
}

/* One block of n activations in codes of two tokens; all arrays have one for each, s may have none.
 */
static inline void set_twice(int n, const float *x, int8_t *const code[2], float *const d[2],
                             float *const s[2])
{
    const int32_t max = largest(x, n);
    const bool none = max >= INFINITE || max < TINY;
    const float a = float_of_bits((uint32_t)max), step = a / 127.0f;
    if (none) {
        memset(code[0], 0, (size_t)n);
        memset(code[1], 0, (size_t)n);
        *d[0] = max < INFINITE ? 0.0f : float_of_bits(0x7fc00000u);
    } else {
        round_twice(x, n, 127.0f / a, code[0], code[1]);
        *d[0] = step;
    }
    *d[1] = *d[0] / FINE;
    for (int k = 0; s[0] && k < 2; k++)
        *s[k] = *d[k] * (float)sum_codes(code[k], n);
}

static void fine_acts_row(const struct native_format *f, const float *x, int64_t cols,
                          int8_t *const code[2], float *const d[2], float *const s[2],
                          int16_t *const sum[2])
{
    const bool super = f->act == NATIVE_Q8_K;
    const int n = super ? 256 : 32;
    for (int64_t c = 0, i = 0; c < cols; c += n, i++) {
        int8_t *const codes[2] = { code[0] + c, code[1] + c };
        float *const ds[2] = { d[0] + i, d[1] + i };
        float *const ss[2] = { s[0] ? s[0] + i : NULL, s[0] ? s[1] + i : NULL };
        if (super)
            set_twice(256, x + c, codes, ds, ss);
        else
            set_twice(32, x + c, codes, ds, ss);
    }
    sum_units(f, code[0], cols, sum[0]);
    sum_units(f, code[1], cols, sum[1]);
}

#endif
