/* SPDX-License-Identifier: MIT */
/* Native mode for one token: one row after the other, so that a thread reads memory in one stream.
 * The CPU fetches such a stream by itself, and faster than it can be asked to: every line asked for
 * keeps one of the few places of the first-level cache for lines under way. Codes lie along the
 * row; their integer sums are added across lanes, terms as docs/modes.md says. Included by
 * native_few.h. */
#ifndef QDB_KERNELS_NATIVE_ONE_H
#define QDB_KERNELS_NATIVE_ONE_H

#include "kernels/native_few_rows.h"

#ifdef __AVX2__

/* One row times the token of x; a row is filled up to a multiple of `step` columns. */
struct one_kernel {
    float (*dot)(const uint8_t *row, const struct native_acts *x);
    int step;
};

#ifdef __AVX512VNNI__

/* ---------------------------------------------------------------- blocks of 32 */

enum { ONE_BLOCKS = 16 }; /* taken together */

/* Lanes 0 .. 7 and 8 .. 15 of v[i] added up: lanes 2 i and 2 i + 1. */
INLINE ints sums_of_eight(const ints v[8])
{
    const ints order = _mm512_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7, 8, 12, 9, 13, 10, 14, 11, 15);
    ints two[4], four[2];
    UNROLL for (int i = 0; i < 4; i++)
    {
        const ints a = v[2 * i], b = v[2 * i + 1];
        two[i] = _mm512_add_epi32(_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
    }
    UNROLL for (int i = 0; i < 2; i++)
    {
        const ints a = two[2 * i], b = two[2 * i + 1];
        four[i] = _mm512_add_epi32(_mm512_unpacklo_epi64(a, b), _mm512_unpackhi_epi64(a, b));
    }
    const ints even = _mm512_shuffle_i32x4(four[0], four[1], 0x88);
    const ints odd = _mm512_shuffle_i32x4(four[0], four[1], 0xdd);
    return _mm512_permutexvar_epi32(order, _mm512_add_epi32(even, odd));
}

/* The terms of ONE_BLOCKS blocks from block b on, which begin at p. */
INLINE floats q8_0_terms(const uint8_t *p, const struct native_acts *x, int64_t b)
{
    enum { BYTES = 34 };
    ints dot[8];
    UNROLL for (int i = 0; i < 8; i++)
    {
        const uint8_t *at = p + 2 * i * BYTES + 2;
        const __m256i first = _mm256_loadu_si256((const __m256i *)at);
        const __m256i second = _mm256_loadu_si256((const __m256i *)(at + BYTES));
        const ints code = _mm512_inserti64x4(_mm512_castsi256_si512(first), second, 1);
        dot[i] = _mm512_dpbusd_epi32(ints_zero(), code ^ from_signed(),
                                     ints_load(x->code + 32 * b + 64 * i));
    }
    const ints isum = _mm512_add_epi32(sums_of_eight(dot), ints_load(x->start + b));
    const floats d = _mm512_mul_ps(halves_at(p, BYTES), _mm512_loadu_ps(x->d + b));
    return _mm512_mul_ps(_mm512_cvtepi32_ps(isum), d);
}

static float one_q8_0(const uint8_t *p, const struct native_acts *x)
{
    const int64_t blocks = x->cols / 32, whole = blocks / ONE_BLOCKS * ONE_BLOCKS;
    uint8_t rest[34 * ONE_BLOCKS] = { 0 };
    float sum = 0, term[ONE_BLOCKS];
    for (int64_t b = 0; b < whole; b += ONE_BLOCKS, p += 34 * ONE_BLOCKS) {
        _mm512_storeu_ps(term, q8_0_terms(p, x, b));
        EACH_LANE sum += term[r];
    }
    if (whole == blocks)
        return sum;
    memcpy(rest, p, (size_t)(34 * (blocks - whole)));
    _mm512_storeu_ps(term, q8_0_terms(rest, x, whole));
    for (int i = 0; i < blocks - whole; i++)
        sum += term[i];
    return sum;
}

/* ---------------------------------------------------------------- super-blocks of 256 */

/* sum + the products of 64 columns, pairs of which fit 16 bits, times the words `scale`. */
INLINE ints add_scaled(ints sum, ints code, const int8_t *x, ints scale)
{
    return _mm512_dpwssd_epi32(sum, _mm512_maddubs_epi16(code, ints_load(x)), scale);
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

/* isum of a super-block, in lanes yet to be added; sum: of the codes at x, per unit. */
INLINE ints q6_k_isum(const uint8_t *p, const int8_t *x, const int16_t *sum)
{
    const int64_t two = 0x200000002, four = 0x400000004;
    const ints up = _mm512_setr_epi64(four, four, four, four, two, two, two, two);
    const ints down = _mm512_setr_epi64(0, 0, 0, 0, two, two, two, two);
    const __m256i scale = _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(p + 192)));
    const __m256i zero = _mm256_madd_epi16(scale, _mm256_loadu_si256((const __m256i *)sum));
    ints low_sum = ints_zero();
    ints high_sum = _mm512_zextsi256_si512(_mm256_slli_epi32(zero, 5));
    high_sum = _mm512_sub_epi32(ints_zero(), high_sum);
    UNROLL for (int half = 0; half < 2; half++, x += 128)
    {
        const ints q = ints_load(p + 64 * half);
        const __m256i bits = _mm256_loadu_si256((const __m256i *)(p + 128 + 32 * half));
        const ints high = _mm512_broadcast_i64x4(bits);
        low_sum = add_scaled(low_sum, six_bits(q, _mm512_sllv_epi32(high, up)), x,
                             four_words(scale, 8 * half));
        high_sum = add_scaled(high_sum,
                              six_bits(_mm512_srli_epi16(q, 4), _mm512_srlv_epi32(high, down)),
                              x + 64, four_words(scale, 8 * half + 4));
    }
    return _mm512_add_epi32(low_sum, high_sum);
}

static float one_q6_k(const uint8_t *p, const struct native_acts *x)
{
    float sum = 0;
    for (int64_t g = 0; g < x->cols / 256; g++, p += 210) {
        const ints isum = q6_k_isum(p, x->code + 256 * g, x->sum + 16 * g);
        sum += (float)_mm512_reduce_add_epi32(isum) * (_cvtsh_ss(load_u16(p + 208)) * x->d[g]);
    }
    return sum;
}

static const struct one_kernel one_kernels[NATIVE__COUNT] = {
    [NATIVE_q8_0] = { one_q8_0, 32 * ONE_BLOCKS },
    [NATIVE_q6_k] = { one_q6_k, 256 },
};
#else
static const struct one_kernel one_kernels[NATIVE__COUNT] = { { NULL, 1 } };
#endif

/* Is there a kernel for the format, and do rows of so many columns fill its steps by eight ninths?
 */
static inline bool one_pays(const struct native_format *f, int64_t cols)
{
    const struct one_kernel *k = &one_kernels[native_id(f)];
    return k->dot && (cols + k->step - 1) / k->step * k->step * 8 <= cols * 9;
}

static void panel_of_one(const struct native_weights *w, const struct native_acts *x, float *y)
{
    const struct one_kernel *k = &one_kernels[native_id(w->format)];
    for (int r = 0; r < w->rows; r++)
        y[r] = k->dot(w->data + (size_t)r * w->row_bytes, x);
}

#endif
#endif
