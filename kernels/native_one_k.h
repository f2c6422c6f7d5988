/* SPDX-License-Identifier: MIT */
/* One token in native mode: formats with super-blocks of 256 columns. Included by native_one.h; the
 * layouts of the blocks are told in codec_k.c. */
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

INLINE __m256i two_halves_added(ints v)
{
    return _mm256_add_epi32(_mm512_castsi512_si256(v), _mm512_extracti64x4_epi64(v, 1));
}

/* ---------------------------------------------------------------- q4_k, q5_k: two super-blocks */

/* Scales and minima of two super-blocks, whose first 16 bytes are the halves of `head`: the words
 * s0 .. s7, m0 .. m7 of each. */
INLINE ints k4_words(__m256i head)
{
    enum { LOW6 = 0x3f3f3f3f, HIGH2 = 0x30303030, LOW4 = 0x0f0f0f0f };
    const __m256i ab = _mm256_srlv_epi32(_mm256_shuffle_epi32(head, 0xa5), /* 1 1 2 2 */
                                         _mm256_setr_epi32(0, 2, 0, 2, 0, 2, 0, 2));
    const __m256i c = _mm256_srlv_epi32(_mm256_shuffle_epi32(head, 0xff),
                                        _mm256_setr_epi32(0, 0, 0, 4, 0, 0, 0, 4));
    const __m256i ab_bits = _mm256_setr_epi32(LOW6, HIGH2, LOW6, HIGH2, LOW6, HIGH2, LOW6, HIGH2);
    const __m256i c_bits = _mm256_setr_epi32(0, LOW4, 0, LOW4, 0, LOW4, 0, LOW4);
    return _mm512_cvtepu8_epi16((ab & ab_bits) | (c & c_bits));
}

/* Word u in the lower half of a vector, word u + 2 in the upper. */
INLINE ints words_of_units(ints words, int u)
{
    const int64_t one = 0x0001000100010001, a = u * one, b = (u + 2) * one;
    return _mm512_permutexvar_epi16(_mm512_setr_epi64(a, a, a, a, b, b, b, b), words);
}

/* 16 in the bytes of v whose bit of `high` is set: bit i in the lower half, i + 2 in the upper. */
INLINE ints add_fifth(ints v, ints high, int i)
{
    const ints bit = _mm512_inserti64x4(_mm512_set1_epi8((char)(1 << i)),
                                        _mm256_set1_epi8((char)(4 << i)), 1);
    return _mm512_mask_add_epi8(v, _mm512_test_epi8_mask(high, bit), v, _mm512_set1_epi8(16));
}

/* isum of a super-block with codes at q, fifth bits at h (or NULL) and scales in words from word
 * `first` on, in eight lanes yet to be added; x in the order of order_nibbles_of_pairs. */
INLINE __m256i k4_isum(const uint8_t *q, const uint8_t *h, ints words, int first, const int8_t *x)
{
    const ints high = h ? twice(h) : ints_zero();
    ints sum[2] = { ints_zero(), ints_zero() };
    UNROLL for (int u = 0; u < 8; u += 4, x += 128)
    {
        const ints two = ints_load(q + 16 * u);
        ints code[2] = { low_nibbles(two), high_nibbles(two) };
        UNROLL for (int k = 0; k < 2; k++)
        {
            if (h)
                code[k] = add_fifth(code[k], high, u + k);
            sum[k] = add_scaled(sum[k], code[k], x + 64 * k, words_of_units(words, first + u + k));
        }
    }
    return two_halves_added(_mm512_add_epi32(sum[0], sum[1]));
}

/* Two floats, each in all of a half. */
INLINE __m256 two_floats(const float *p)
{
    int64_t both;
    memcpy(&both, p, sizeof both);
    return _mm256_permutevar_ps((__m256)_mm256_set1_epi64x(both),
                                _mm256_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1));
}

/* The terms of super-blocks g and g + 1, which begin at p: the first elements of both halves. */
INLINE __m256 k4_terms(int bytes, const uint8_t *p, const struct native_acts *x, int64_t g)
{
    const bool fifth = bytes > 144;
    const uint8_t *q = p + (fifth ? 48 : 16), *h = fifth ? p + 16 : NULL;
    const int8_t *code = x->code + 256 * g;
    const __m256i head = _mm256_inserti128_si256(
        _mm256_castsi128_si256(_mm_loadu_si128((const __m128i *)p)),
        _mm_loadu_si128((const __m128i *)(p + bytes)), 1);
    const ints words = k4_words(head), mins = _mm512_setr_epi64(2, 3, 6, 7, 0, 0, 0, 0);
    const __m256i min = _mm512_castsi512_si256(_mm512_permutexvar_epi64(mins, words));
    const __m256i m = _mm256_madd_epi16(min, _mm256_loadu_si256((const __m256i *)(x->sum + 8 * g)));
    const __m256i a = k4_isum(q, h, words, 0, code);
    const __m256i b = k4_isum(q + bytes, h ? h + bytes : NULL, words, 16, code + 256);
    __m256i v = _mm256_add_epi32(_mm256_inserti128_si256(a, _mm256_castsi256_si128(b), 1),
                                 _mm256_permute2x128_si256(a, b, 0x31));
    v = _mm256_add_epi32(_mm256_unpacklo_epi32(v, m), _mm256_unpackhi_epi32(v, m));
    v = _mm256_add_epi32(v, _mm256_unpackhi_epi64(v, v)); /* each half begins with isum, msum */
    const __m256 d = _mm256_cvtph_ps(_mm256_castsi256_si128(_mm256_permute4x64_epi64(head, 8)));
    const __m256 both = _mm256_mul_ps(_mm256_cvtepi32_ps(v),
                                      _mm256_mul_ps(d, two_floats(x->d + g)));
    return _mm256_sub_ps(both, _mm256_movehdup_ps(both));
}

INLINE float k4_row(int bytes, const uint8_t *p, const struct native_acts *x)
{
    const int64_t groups = x->cols / 256;
    uint8_t last[2 * 176] = { 0 };
    float sum = 0;
    for (int64_t g = 0; g + 1 < groups; g += 2, p += 2 * bytes) {
        ask(p, 2 * bytes);
        const __m256 term = k4_terms(bytes, p, x, g);
        sum += _mm256_cvtss_f32(term);
        sum += _mm_cvtss_f32(_mm256_extractf128_ps(term, 1));
    }
    if (groups % 2) {
        memcpy(last, p, (size_t)bytes);
        sum += _mm256_cvtss_f32(k4_terms(bytes, last, x, groups - 1));
    }
    return sum;
}

#define ONE_K4_KERNEL(name, bytes) \
    static void one_##name(const struct native_weights *w, const struct native_acts *x, float *y, \
                           int64_t stride) \
    { \
        (void)stride; /* of tokens: there is one */ \
        for (int r = 0; r < w->rows; r++) \
            y[r] = k4_row(bytes, w->data + (size_t)r * w->row_bytes, x); \
    }
ONE_K4_KERNEL(q4_k, 144)
ONE_K4_KERNEL(q5_k, 176)

/* Units 0, 2, 1, 3: as two times 32 bytes of nibbles have them. */
static void order_nibbles_of_pairs(int8_t *code, int64_t cols)
{
    for (int8_t *c = code; c < code + cols; c += 128) {
        const ints a = ints_load(c), b = ints_load(c + 64);
        ints_store(c, _mm512_shuffle_i64x2(a, b, 0x44));
        ints_store(c + 64, _mm512_shuffle_i64x2(a, b, 0xee));
    }
}

/* ---------------------------------------------------------------- q6_k */

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
