/* SPDX-License-Identifier: MIT */
/* One token in native mode, and two: q6_k, super-blocks of 256 columns in units of 16. Included by
 * native_one.h; the layout of the blocks is told in codec_k.c. */
#ifndef QDB_KERNELS_NATIVE_ONE_K_H
#define QDB_KERNELS_NATIVE_ONE_K_H

#include "kernels/native_one_blocks.h"

#ifdef __AVX512VNNI__

/* sum + the products of 64 columns, pairs of which fit 16 bits, times the words `scale`. */
INLINE ints add_scaled(ints sum, ints code, const int8_t *x, ints scale)
{
    return _mm512_dpwssd_epi32(sum, _mm512_maddubs_epi16(code, ints_load(x)), scale);
}

/* The same 32 bytes twice. */
INLINE ints twice(const uint8_t *p)
{
    return _mm512_broadcast_i64x4(_mm256_loadu_si256((const __m256i *)p));
}

/* Words u, u + 1, u + 2 and u + 3, eight times each. */
INLINE ints four_words(__m256i words, int u)
{
    const int64_t one = 0x0001000100010001;
    const ints unit = _mm512_setr_epi64(0, 0, one, one, 2 * one, 2 * one, 3 * one, 3 * one);
    return _mm512_permutexvar_epi16(_mm512_add_epi16(unit, _mm512_set1_epi16((short)u)),
                                    _mm512_castsi256_si512(words));
}

/* The low four bits of each byte of `low`, bits 4 and 5 of `high`. */
INLINE ints six_bits(ints low, ints high)
{
    enum { THIRD_CHOOSES = 0xe4 };
    const ints four = I(set1_epi8)(0x0f), six = I(set1_epi8)(0x3f);
    return six & _mm512_ternarylogic_epi32(low, high, four, THIRD_CHOOSES);
}

/* isum of a super-block, in lanes yet to be added; sums: of the codes of a unit. */
INLINE void q6_k_isum(const uint8_t *p, int tokens, const int8_t *x, int64_t stride,
                      const int16_t *sums, ints *isum)
{
    const int64_t two = 0x200000002, four = 0x400000004;
    const ints up = _mm512_setr_epi64(four, four, four, four, two, two, two, two);
    const ints down = _mm512_setr_epi64(0, 0, 0, 0, two, two, two, two);
    const __m256i scale = _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(p + 192)));
    ints low_sum[ONE_TOKENS], high_sum[ONE_TOKENS];
    UNROLL for (int t = 0; t < tokens; t++)
    {
        const int16_t *s = sums + t * stride / 16;
        const __m256i zero = _mm256_madd_epi16(scale, _mm256_loadu_si256((const __m256i *)s));
        low_sum[t] = ints_zero();
        high_sum[t] = _mm512_sub_epi32(ints_zero(),
                                       _mm512_zextsi256_si512(_mm256_slli_epi32(zero, 5)));
    }
    UNROLL for (int half = 0; half < 2; half++)
    {
        const ints q = ints_load(p + 64 * half), high = twice(p + 128 + 32 * half);
        const ints low_code = six_bits(q, _mm512_sllv_epi32(high, up));
        const ints high_code = six_bits(_mm512_srli_epi16(q, 4), _mm512_srlv_epi32(high, down));
        const ints low_scale = four_words(scale, 8 * half);
        const ints high_scale = four_words(scale, 8 * half + 4);
        UNROLL for (int t = 0; t < tokens; t++)
        {
            const int8_t *a = x + t * stride + 128 * half;
            low_sum[t] = add_scaled(low_sum[t], low_code, a, low_scale);
            high_sum[t] = add_scaled(high_sum[t], high_code, a + 64, high_scale);
        }
    }
    UNROLL for (int t = 0; t < tokens; t++) isum[t] = _mm512_add_epi32(low_sum[t], high_sum[t]);
}

INLINE void q6_k_row(const uint8_t *p, int tokens, const struct native_acts *x, float *sum)
{
    for (int64_t g = 0; g < x->cols / 256; g++, p += 210) {
        const float d = _cvtsh_ss(load_u16(p + 208));
        ints isum[ONE_TOKENS];
        ask(p, 210);
        q6_k_isum(p, tokens, x->code + 256 * g, x->stride, x->sum + 16 * g, isum);
        UNROLL for (int t = 0; t < tokens; t++)
            sum[t] += (float)_mm512_reduce_add_epi32(isum[t]) * (d * x->d[t * x->stride / 256 + g]);
    }
}

static void one_q6_k(const struct native_weights *w, const struct native_acts *x, float *y,
                     int64_t stride)
{
    for (int r = 0; r < w->rows; r++) {
        const uint8_t *p = w->data + (size_t)r * w->row_bytes;
        float sum[ONE_TOKENS] = { 0 };
        if (x->tokens == 1)
            q6_k_row(p, 1, x, sum);
        else
            q6_k_row(p, 2, x, sum);
        for (int t = 0; t < x->tokens; t++)
            y[t * stride + r] = sum[t];
    }
}

#endif
#endif
