/* SPDX-License-Identifier: MIT */
/* Native mode: the table of formats, and activations in 8 bits. */
#include "kernels/native.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "kernels/codec.h"

#define NATIVE_ROW(name, ...) [NATIVE_##name] = { #name, __VA_ARGS__ },
static const struct native_format table[NATIVE__COUNT] = { NATIVE_FORMATS(NATIVE_ROW) };

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

static void *zeros(size_t bytes) { return memset(x_alloc(bytes), 0, bytes); }

void native_acts_init(struct native_acts *a, const struct native_format *f, int64_t tokens,
                      int64_t cols)
{
    const int block = f->act == NATIVE_Q8_K ? 256 : 32;
    /* Rows a power of two apart would share cache sets: one block more. */
    *a = (struct native_acts){
        .tokens = tokens, .cols = cols, .stride = cols + block, .block = block
    };
    const size_t n = (size_t)(tokens * a->stride + NATIVE_SLACK);
    a->code = zeros(n);
    a->d = zeros(n / (size_t)block * sizeof *a->d);
    a->sum = zeros(n / (size_t)f->unit * sizeof *a->sum);
    a->start = zeros(n / (size_t)f->unit * sizeof *a->start);
    a->s = f->act == NATIVE_Q8_1 ? zeros(n / (size_t)block * sizeof *a->s) : NULL;
}

void native_acts_free(struct native_acts *a)
{
    free(a->code);
    free(a->d);
    free(a->sum);
    free(a->start);
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
    int8_t *code = a->code + t * a->stride;
    const int64_t first = t * (a->stride / a->block);
    for (int64_t i = 0; i < a->cols / a->block; i++)
        set_block(f->act, x + i * a->block, code + i * a->block, a->d + first + i,
                  a->s ? a->s + first + i : NULL);
    int16_t *sum = a->sum + t * (a->stride / f->unit);
    for (int64_t i = 0; i < a->cols / f->unit; i++)
        sum[i] = (int16_t)sum_codes(code + i * f->unit, f->unit);
    int32_t *start = a->start + t * (a->stride / f->unit);
    for (int64_t i = 0; i < a->cols / f->unit; i++)
        start[i] = -f->zero * sum[i];
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
