/* SPDX-License-Identifier: MIT */
/* Native mode for a few tokens, IQ formats: what the codebook says goes from registers into the
 * products, nothing is written down. Signs are given to the activations, so that magnitudes are
 * codes as they are. Included by native_few.h. */
#ifndef QDB_KERNELS_NATIVE_SUPER_IQ_H
#define QDB_KERNELS_NATIVE_SUPER_IQ_H

#include "kernels/native_super.h"

#ifdef __AVX2__

enum {
    SUPER_TOKENS = 2, /* more are worth laying rows side by side */
    IQ_HEADS = 8,
    IQ_AHEAD = 4096 /* bytes beyond a super-block */
};

/* Of a format that is a constant after inlining. */
#define IQ_CASE_HEAD(name, ...) \
    case NATIVE_##name: return name##_head(p, scale, b);
INLINE float iq_head(enum native_id id, const uint8_t *p, int16_t *scale, struct iq_block *b)
{
    switch (id) {
        IQ_FORMATS(IQ_CASE_HEAD)
    default: return 0;
    }
}

#define IQ_CASE_GRID(name, ...) \
    case NATIVE_##name: name##_grid(p, b, s, out); break;
INLINE void iq_grid(enum native_id id, const uint8_t *p, const struct iq_block *b, int s,
                    bytes32 *out)
{
    switch (id) {
        IQ_FORMATS(IQ_CASE_GRID)
    default: break;
    }
}

/* The codebook's elements of vector k. */
INLINE ints iq_codes(enum native_id id, const uint8_t *p, const struct iq_block *b, int k)
{
    bytes32 low;
#ifdef __AVX512VNNI__
    bytes32 high;
    iq_grid(id, p, b, 2 * k, &low);
    iq_grid(id, p, b, 2 * k + 1, &high);
    return _mm512_inserti64x4(_mm512_castsi256_si512((__m256i)low), (__m256i)high, 1);
#else
    iq_grid(id, p, b, k, &low);
    return (__m256i)low;
#endif
}

/* x with the signs of vector k. */
INLINE ints with_signs(const struct iq_block *b, int k, ints x)
{
#ifdef __AVX512VNNI__
    uint64_t minus;
    memcpy(&minus, b->signs + 2 * k, sizeof minus);
    return _mm512_mask_sub_epi8(x, minus, ints_zero(), x);
#else
    bytes32 minus;
    where(b->signs[k], &minus);
    return (ints)(((bytes32)x ^ minus) - minus);
#endif
}

/* Points as codes around 9; see put_moved. */
INLINE ints moved(const struct iq_block *b, int k, ints point)
{
    const ints up = I(add_epi8)(I(slli_epi16)(point & I(set1_epi8)(0x1f), 3), I(set1_epi8)(10));
#ifdef __AVX512VNNI__
    uint64_t down;
    memcpy(&down, b->signs + 2 * k, sizeof down);
    return _mm512_mask_sub_epi8(up, down, up, _mm512_set1_epi8(2));
#else
    bytes32 down;
    where(b->signs[k], &down);
    return _mm256_sub_epi8(up, (ints)(down & 2));
#endif
}

/* sum + scale * code * x: pairs of products fit 16 bits. */
INLINE ints scaled_pairs(ints sum, ints code, ints x, ints scale)
{
    const ints pairs = I(maddubs_epi16)(code, x);
#ifdef __AVX512VNNI__
    return _mm512_dpwssd_epi32(sum, pairs, scale);
#else
    return _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, scale));
#endif
}

/* What the zero of the moved points takes away from a sum. */
INLINE ints less_zeros(ints sum, int unit, const int16_t *scale, const int16_t *xsum)
{
    const __m256i zeros = unit_products(unit, scale, -9, xsum);
#ifdef __AVX512VNNI__
    return _mm512_add_epi32(sum, _mm512_zextsi256_si512(zeros));
#else
    return _mm256_add_epi32(sum, zeros);
#endif
}

/* The integer sums of the super-block at p with some tokens from column c on; what precedes `b` is
 * constant after inlining. */
INLINE void iq_sums(enum native_id id, int unit, bool points, int tokens,
                    const struct native_acts *x, int64_t c, const uint8_t *p,
                    const struct iq_block *b, const int16_t *scale, ints *sum)
{
    UNROLL for (int t = 0; t < tokens; t++) sum[t] = ints_zero();
    UNROLL for (int k = 0; k < 256 / SUPER_COLS; k++)
    {
        const ints scales = spread_scales(unit, scale + k * (SUPER_COLS / unit));
        ints code = iq_codes(id, p, b, k);
        if (points)
            code = moved(b, k, code);
        UNROLL for (int t = 0; t < tokens; t++)
        {
            const ints v = ints_load(x->code + t * x->stride + c + k * SUPER_COLS);
            sum[t] = scaled_pairs(sum[t], code, points ? v : with_signs(b, k, v), scales);
        }
    }
    UNROLL for (int t = 0; t < tokens && points; t++)
        sum[t] = less_zeros(sum[t], unit, scale, x->sum + (t * x->stride + c) / unit);
}

/* What some super-blocks say, read for all of them first: nothing waits for what it has just
 * written down. */
struct iq_heads {
    struct iq_block block[IQ_HEADS];
    _Alignas(32) int16_t scale[IQ_HEADS][16];
    float d[IQ_HEADS];
};

INLINE void iq_heads(enum native_id id, int bytes, const uint8_t *p, int n, struct iq_heads *h)
{
    for (int i = 0; i < n; i++, p += bytes) {
        for (int k = 0; k < bytes; k += 64)
            __builtin_prefetch((const void *)((uintptr_t)p + IQ_AHEAD + (size_t)k), 0, 2);
        h->d[i] = iq_head(id, p, h->scale[i], &h->block[i]);
    }
}

/* One row times some tokens: y[t * stride]. */
INLINE void iq_row(enum native_id id, int bytes, int unit, bool points, int tokens,
                   const uint8_t *p, const struct native_acts *x, float *y, int64_t stride)
{
    float total[SUPER_TOKENS] = { 0 };
    const int64_t blocks = x->cols / 256;
    struct iq_heads h;
    for (int64_t g = 0; g < blocks; g++, p += bytes) {
        const int i = (int)(g % IQ_HEADS);
        if (i == 0)
            iq_heads(id, bytes, p, blocks - g < IQ_HEADS ? (int)(blocks - g) : IQ_HEADS, &h);
        ints sum[SUPER_TOKENS];
        iq_sums(id, unit, points, tokens, x, 256 * g, p, &h.block[i], h.scale[i], sum);
        UNROLL for (int t = 0; t < tokens; t++)
            total[t] += (float)sum_of_lanes(sum[t]) * (h.d[i] * x->d[t * x->stride / 256 + g]);
    }
    UNROLL for (int t = 0; t < tokens; t++) y[t * stride] = total[t];
}

#define IQ_ROWS(name, bytes, unit, points) \
    static void name##_rows(const struct native_weights *w, const struct native_acts *x, \
                            float *y, int64_t stride) \
    { \
        for (int r = 0; r < w->rows; r++) { \
            const uint8_t *p = w->data + (size_t)r * w->row_bytes; \
            if (x->tokens == 1) \
                iq_row(NATIVE_##name, bytes, unit, points, 1, p, x, y + r, stride); \
            else \
                iq_row(NATIVE_##name, bytes, unit, points, 2, p, x, y + r, stride); \
        } \
    }
IQ_FORMATS(IQ_ROWS)

#define IQ_KERNEL(name, ...) [NATIVE_##name] = name##_rows,
static super_kernel *const iq_kernels[NATIVE__COUNT] = { IQ_FORMATS(IQ_KERNEL) };

#endif
#endif
