/* SPDX-License-Identifier: MIT */
/* Native mode: the table of formats, and activations in 8 bits. */
#include "kernels/native.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "kernels/codec.h"

#define Q0(name, zero)             [NATIVE_##name] = { #name, NATIVE_Q8_0, zero, 32, 32, false }
#define Q1(name)                   [NATIVE_##name] = { #name, NATIVE_Q8_1, 0, 32, 32, false }
#define QK(name, zero, unit, mins) [NATIVE_##name] = { #name, NATIVE_Q8_K, zero, 256, unit, mins }

static const struct native_format table[NATIVE__COUNT] = {
    Q0(q1_0, 1),
    Q0(q2_0, 1),
    Q0(q4_0, 8),
    Q1(q4_1),
    Q0(q5_0, 16),
    Q1(q5_1),
    Q0(q8_0, 128),
    Q0(iq4_nl, 128),
    Q0(mxfp4, 12),
    [NATIVE_nvfp4] = { "nvfp4", NATIVE_Q8_0, 12, 16, 16, false },
    QK(q2_k, 0, 16, true),
    QK(q3_k, 4, 16, false),
    QK(q4_k, 0, 32, true),
    QK(q5_k, 0, 32, true),
    QK(q6_k, 32, 16, false),
    QK(tq1_0, 1, 32, false),
    QK(tq2_0, 1, 32, false),
    QK(iq1_s, 9, 32, false),
    QK(iq1_m, 9, 16, false),
    QK(iq2_xxs, 64, 32, false),
    QK(iq2_xs, 64, 16, false),
    QK(iq2_s, 64, 16, false),
    QK(iq3_xxs, 64, 32, false),
    QK(iq3_s, 64, 32, false),
    QK(iq4_xs, 128, 32, false),
};

const char *native_act_name(enum native_act a)
{
    static const char *const names[NATIVE_ACT__COUNT] = { "q8_0", "q8_1", "q8_k", "f16", "bf16" };
    return (unsigned)a < NATIVE_ACT__COUNT ? names[a] : "?";
}

const struct native_format *native_format(enum format f)
{
    const struct format_info *info = format_info(f);
    for (int i = 0; info && i < NATIVE__COUNT; i++)
        if (!strcmp(table[i].name, info->name))
            return &table[i];
    return NULL;
}

enum native_id native_id(const struct native_format *n) { return (enum native_id)(n - table); }

int native_rounds(enum format f)
{
    const struct format_info *info = format_info(f);
    if (info && !strcmp(info->name, "f16"))
        return NATIVE_F16;
    return info && !strcmp(info->name, "bf16") ? NATIVE_BF16 : -1;
}

void native_acts_init(struct native_acts *a, const struct native_format *f, int64_t tokens,
                      int64_t cols)
{
    const int block = f->act == NATIVE_Q8_K ? 256 : 32;
    const size_t n = (size_t)(tokens * cols);
    *a = (struct native_acts){ .tokens = tokens, .cols = cols, .block = block };
    a->code = x_alloc(n);
    a->d = x_alloc(n / (size_t)block * sizeof *a->d);
    a->sum = x_alloc(n / (size_t)f->unit * sizeof *a->sum);
    a->s = f->act == NATIVE_Q8_1 ? x_alloc(n / (size_t)block * sizeof *a->s) : NULL;
}

void native_acts_free(struct native_acts *a)
{
    free(a->code);
    free(a->d);
    free(a->sum);
    free(a->s);
    *a = (struct native_acts){ 0 };
}

/* The bits of the largest magnitude; NaN and infinity sort above all numbers. */
static uint32_t largest(const float *x, int n)
{
    uint32_t max = 0;
    for (int i = 0; i < n; i++) {
        uint32_t bits = bits_of_float(x[i]) & 0x7fffffffu;
        max = bits > max ? bits : max;
    }
    return max;
}

/* The first value of that magnitude, with its sign. */
static float first_of(const float *x, uint32_t magnitude)
{
    while ((bits_of_float(*x) & 0x7fffffffu) != magnitude)
        x++;
    return *x;
}

/* Codes of n values, |x * scale| <= 127 + an ulp: to nearest, ties to even, by an addition that
 * leaves the integer in the low bits of the float. */
static void round_codes(const float *x, int n, float scale, int8_t *code)
{
    for (int i = 0; i < n; i++)
        code[i] = (int8_t)(bits_of_float(x[i] * scale + 12582912.0f) & 0xff);
}

static int sum_codes(const int8_t *code, int n)
{
    int sum = 0;
    for (int i = 0; i < n; i++)
        sum += code[i];
    return sum;
}

static float half(float v) { return half_to_float(f32_to_f16(v)); }

enum { TINY = 27 << 23 /* the bits of 2^-100 */, INFINITE = 255 << 23 };

/* One block of activations; s may be NULL. */
static void set_block(enum native_act act, const float *x, int8_t *code, float *d, float *s)
{
    const int n = act == NATIVE_Q8_K ? 256 : 32;
    const uint32_t max = largest(x, n);
    const bool finite = max < INFINITE;
    if (!finite || max < TINY) {
        memset(code, 0, act == NATIVE_Q8_K ? 256 : 32);
        *d = finite ? 0.0f : float_of_bits(0x7fc00000u);
        if (s)
            *s = *d;
        return;
    }
    if (act == NATIVE_Q8_K) { /* the value of the largest magnitude becomes -127 */
        const float scale = -127.0f / first_of(x, max);
        round_codes(x, n, scale, code);
        *d = 1.0f / scale;
        return;
    }
    const float a = float_of_bits(max), step = a / 127.0f;
    round_codes(x, n, 127.0f / a, code);
    *d = half(step);
    if (s)
        *s = half(step * (float)sum_codes(code, n));
}

void native_acts_set(struct native_acts *a, const struct native_format *f, int64_t t,
                     const float *x)
{
    int8_t *code = a->code + t * a->cols;
    const int64_t first = t * (a->cols / a->block);
    for (int64_t i = 0; i < a->cols / a->block; i++)
        set_block(f->act, x + i * a->block, code + i * a->block, a->d + first + i,
                  a->s ? a->s + first + i : NULL);
    int16_t *sum = a->sum + t * (a->cols / f->unit);
    for (int64_t i = 0; i < a->cols / f->unit; i++)
        sum[i] = (int16_t)sum_codes(code + i * f->unit, f->unit);
}

void round_to_f16(const float *x, int64_t n, float *y)
{
    for (int64_t i = 0; i < n; i++)
        y[i] = half(x[i]);
}

void round_to_bf16(const float *x, int64_t n, float *y)
{
    for (int64_t i = 0; i < n; i++)
        y[i] = bf16_to_f32(f32_to_bf16(x[i]));
}
