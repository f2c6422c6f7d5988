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

/* The first value of that magnitude, with its sign. */
static inline float first_of(const float *x, int32_t magnitude)
{
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

/* One block of n activations; s may be NULL. */
static inline void set_block(bool super, int n, const float *x, int8_t *code, float *d, float *s)
{
    const int32_t max = largest(x, n);
    if (max >= INFINITE || max < TINY) {
        memset(code, 0, (size_t)n);
        *d = max < INFINITE ? 0.0f : float_of_bits(0x7fc00000u);
        if (s)
            *s = *d;
        return;
    }
    if (super) { /* the value of the largest magnitude becomes -127 */
        const float scale = -127.0f / first_of(x, max);
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

static void native_acts_row(const struct native_format *f, const float *x, int64_t cols,
                            int8_t *code, float *d, float *s, int16_t *sum)
{
    const bool super = f->act == NATIVE_Q8_K;
    for (int64_t i = 0; super && i < cols / 256; i++)
        set_block(true, 256, x + i * 256, code + i * 256, d + i, NULL);
    for (int64_t i = 0; !super && i < cols / 32; i++)
        set_block(false, 32, x + i * 32, code + i * 32, d + i, s ? s + i : NULL);
    for (int64_t i = 0; f->unit == 16 && i < cols / 16; i++)
        sum[i] = (int16_t)sum_codes(code + i * 16, 16);
    for (int64_t i = 0; f->unit == 32 && i < cols / 32; i++)
        sum[i] = (int16_t)sum_codes(code + i * 32, 32);
}

#endif
