/* SPDX-License-Identifier: MIT */
/* One token in native mode, and two: super-blocks of 256 columns in units of 32. Two super-blocks
 * are taken together: of the 16 pieces of 16 bytes of their nibbles each is a lane. Included by
 * native_one.h; the layouts of the blocks are told in codec_k.c and codec_iq.c. */
#ifndef QDB_KERNELS_NATIVE_ONE_PAIRS_H
#define QDB_KERNELS_NATIVE_ONE_PAIRS_H

#include "kernels/native_one_blocks.h"

#ifdef __AVX512VNNI__

enum {
    PAIRS = 4, /* whose terms are made together */
    SUPERS = 2 * PAIRS,
    PAIRS_COLS = 32768 /* wider rows are not read so */
};

/* The integer sums of super-blocks g and g + 1, which begin at p, in lanes yet to be added: isum[t]
 * has the first super-block in even lanes, the second in odd ones; msum those of both tokens (or
 * twice of one) one after the other, in quarters. */
typedef void one_pair(const uint8_t *p, int tokens, const struct native_acts *x, int64_t g,
                      ints *isum, ints *msum);

/* The same 256 bits of two tokens, or twice of one; `apart` bytes lie between tokens. */
INLINE ints of_both(const void *p, int tokens, int64_t apart)
{
    const char *second = (const char *)p + (tokens - 1) * apart;
    return _mm512_inserti64x4(_mm512_castsi256_si512(_mm256_loadu_si256((const __m256i *)p)),
                              _mm256_loadu_si256((const __m256i *)second), 1);
}

/* Lanes of super-blocks added up: of one token, then of the other. */
INLINE ints sums_of_pairs(const ints *first, const ints *second)
{
    const ints *const of[2] = { first, second };
    ints half[2];
    UNROLL for (int t = 0; t < 2; t++)
    {
        const ints a = add_dwords(of[t][0], of[t][1]), b = add_dwords(of[t][2], of[t][3]);
        half[t] = add_quarters(a, b);
    }
    return _mm512_shuffle_epi32(add_quarters(half[0], half[1]), (_MM_PERM_ENUM)0xd8); /* 0 2 1 3 */
}

INLINE ints sums_of_minima(const ints m[PAIRS])
{
    const ints order = _mm512_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7, 8, 12, 9, 13, 10, 14, 11, 15);
    const ints all = add_qwords(add_dwords(m[0], m[1]), add_dwords(m[2], m[3]));
    return _mm512_permutexvar_epi32(order, all);
}

/* n halves `bytes` apart, twice. */
INLINE floats halves_of_supers(const uint8_t *p, int bytes, int n)
{
    __m128i v = _mm_setzero_si128();
#define HALF(k) v = _mm_insert_epi16(v, load_u16(p + (k < n ? k : n - 1) * bytes), k)
    HALF(0), HALF(1), HALF(2), HALF(3), HALF(4), HALF(5), HALF(6), HALF(7);
#undef HALF
    return _mm512_cvtph_ps(_mm256_inserti128_si256(_mm256_castsi128_si256(v), v, 1));
}

/* d of n blocks of activations, of both tokens or twice of one. */
INLINE floats scales_of_supers(const struct native_acts *x, int tokens, int64_t g, int n)
{
    const float *first = x->d + g, *second = first + (tokens - 1) * (x->stride / 256);
    const __mmask8 some = (__mmask8)((1 << n) - 1);
    const ints a = _mm512_castsi256_si512(_mm256_maskz_loadu_epi32(some, first));
    return (floats)_mm512_inserti64x4(a, _mm256_maskz_loadu_epi32(some, second), 1);
}

/* The terms of n super-blocks from g on, which begin at p, and zeros: SUPERS of the first token,
 * then of the second, or again of the first. */
INLINE void pairs_terms(one_pair *pair, int bytes, bool mins, const uint8_t *p, int n, int tokens,
                        const struct native_acts *x, int64_t g, float *term)
{
    const __mmask16 some = (__mmask16)(((1u << n) - 1) * 0x101);
    ints isum[ONE_TOKENS][PAIRS], msum[PAIRS];
    UNROLL for (int k = 0; k < PAIRS; k++)
    {
        const uint8_t *at = p + 2 * k * bytes;
        uint8_t last[2 * 176];
        ints of[ONE_TOKENS] = { ints_zero(), ints_zero() };
        msum[k] = ints_zero();
        ask(at, 2 * bytes);
        __asm__ volatile("" ::: "memory"); /* asked for a pair at a time, not all at first */
        if (2 * k + 1 == n) /* nothing beyond the row is read */
            at = memcpy(memset(last, 0, sizeof last), at, (size_t)bytes);
        if (2 * k < n)
            pair(at, tokens, x, g + 2 * k, of, &msum[k]);
        UNROLL for (int t = 0; t < tokens; t++) isum[t][k] = of[t];
    }
    const floats dx = scales_of_supers(x, tokens, g, n);
    floats all = _mm512_mul_ps(_mm512_cvtepi32_ps(sums_of_pairs(isum[0], isum[tokens - 1])),
                               _mm512_mul_ps(halves_of_supers(p, bytes, n), dx));
    if (mins)
        all = _mm512_sub_ps(all,
                            _mm512_mul_ps(_mm512_cvtepi32_ps(sums_of_minima(msum)),
                                          _mm512_mul_ps(halves_of_supers(p + 2, bytes, n), dx)));
    _mm512_storeu_ps(term, _mm512_maskz_mov_ps(some, all));
}

INLINE void pairs_row(one_pair *pair, int bytes, bool mins, const uint8_t *p, int tokens,
                      const struct native_acts *x, float *term)
{
    const int64_t groups = x->cols / 256, whole = groups / SUPERS * SUPERS;
    for (int64_t g = 0; g < whole; g += SUPERS, p += SUPERS * bytes, term += WIDTH)
        pairs_terms(pair, bytes, mins, p, SUPERS, tokens, x, g, term);
    if (whole < groups)
        pairs_terms(pair, bytes, mins, p, (int)(groups - whole), tokens, x, whole, term);
}

INLINE void pairs_rows(one_pair *pair, int bytes, bool mins, int tokens,
                       const struct native_weights *w, const struct native_acts *x, float *y,
                       int64_t stride)
{
    float term[WIDTH * (2 * PAIRS_COLS / 256 + WIDTH)], sum[2 * WIDTH];
    const int64_t apart = pool_chunks(x->cols, 256 * SUPERS) * WIDTH;
    for (int r = 0; r < w->rows; r++)
        pairs_row(pair, bytes, mins, w->data + (size_t)r * w->row_bytes, tokens, x,
                  term + r * apart);
    add_terms(term, apart, apart, 2, sum);
    for (int t = 0; t < tokens; t++)
        memcpy(y + t * stride, sum + t * WIDTH, (size_t)w->rows * sizeof *y);
}

/* ---------------------------------------------------------------- q4_k, q5_k */

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

/* 16 more where a fifth bit is set; those of both super-blocks are in `high`. */
INLINE void add_fifths(ints high, ints code[8])
{
    const ints first = four_lanes(0, 8, 0, 8);
    const ints next = _mm512_setr_epi32(0, 0, 0, 0, 4, 4, 4, 4, 0, 0, 0, 0, 4, 4, 4, 4);
    enum { A = 0x01010101, B = A << 4 };
    const ints low_bit = _mm512_setr_epi32(A, A, B, B, A, A, B, B, A << 2, A << 2, B << 2, B << 2,
                                           A << 2, A << 2, B << 2, B << 2);
    UNROLL for (int k = 0; k < 4; k++)
    {
        const ints at = _mm512_add_epi32(_mm512_add_epi32(first, next), ints_of(k));
        const ints bits = _mm512_permutexvar_epi32(at, high), more = _mm512_set1_epi8(16);
        const __mmask64 low = _mm512_test_epi8_mask(bits, low_bit);
        const __mmask64 top = _mm512_test_epi8_mask(bits, _mm512_slli_epi32(low_bit, 1));
        code[k] = _mm512_mask_add_epi8(code[k], low, code[k], more);
        code[4 + k] = _mm512_mask_add_epi8(code[4 + k], top, code[4 + k], more);
    }
}

/* Lane 4 j + i has 16 bytes of super-block i % 2: piece j of its first half, or (i > 1) of its
 * second; their low nibbles are of one unit, their high ones of the next. */
INLINE void k4_pair(int bytes, const uint8_t *p, int tokens, const struct native_acts *x, int64_t g,
                    ints *isum, ints *msum)
{
    const bool fifth = bytes > 144;
    const uint8_t *q = p + (fifth ? 48 : 16);
    const ints mins = _mm512_setr_epi64(2, 3, 6, 7, 2, 3, 6, 7);
    const ints units = _mm512_setr_epi32(0, 8, 2, 10, 0, 8, 2, 10, 1, 9, 3, 11, 1, 9, 3, 11);
    const ints words = k4_words(_mm256_inserti128_si256(
        _mm256_castsi128_si256(_mm_loadu_si128((const __m128i *)p)),
        _mm_loadu_si128((const __m128i *)(p + bytes)), 1));
    const ints scale = _mm512_permutexvar_epi32(units, words);
    ints v[4] = { ints_load(q), ints_load(q + bytes), ints_load(q + 64),
                  ints_load(q + bytes + 64) };
    ints code[8];
    turn_dwords(v);
    nibbles_of(v, code);
    if (fifth)
        add_fifths(of_both(p + 16, 2, bytes), code);
    UNROLL for (int t = 0; t < tokens; t++)
    {
        const int8_t *a = x->code + t * x->stride + 256 * g;
        ints low = ints_zero(), high = ints_zero();
        UNROLL for (int k = 0; k < 4; k++)
        {
            low = _mm512_dpbusd_epi32(low, code[k], ints_load(a + 64 * k));
            high = _mm512_dpbusd_epi32(high, code[4 + k], ints_load(a + 256 + 64 * k));
        }
        isum[t] = _mm512_add_epi32(_mm512_mullo_epi32(low, scale & ints_of(0xffff)),
                                   _mm512_mullo_epi32(high, _mm512_srli_epi32(scale, 16)));
    }
    *msum = _mm512_madd_epi16(_mm512_permutexvar_epi64(mins, words),
                              of_both(x->sum + 8 * g, tokens, x->stride / 16));
}

INLINE void q4_k_pair(const uint8_t *p, int tokens, const struct native_acts *x, int64_t g,
                      ints *isum, ints *msum)
{
    k4_pair(144, p, tokens, x, g, isum, msum);
}

INLINE void q5_k_pair(const uint8_t *p, int tokens, const struct native_acts *x, int64_t g,
                      ints *isum, ints *msum)
{
    k4_pair(176, p, tokens, x, g, isum, msum);
}

static void order_pieces(int8_t *code, int64_t cols)
{
    static const int16_t first[ONE_BLOCKS] = { 0,  256, 128, 384, 16, 272, 144, 400,
                                               64, 320, 192, 448, 80, 336, 208, 464 };
    order_lanes(code, cols, first, 16);
}

/* ---------------------------------------------------------------- iq4_xs */

/* The scales of two super-blocks that begin with the dwords of `head`, (d, high bits), low bits of
 * each. */
INLINE ints iq4_xs_scales(__m128i head)
{
    const ints unit = _mm512_setr_epi32(0, 0, 4, 4, 1, 1, 5, 5, 2, 2, 6, 6, 3, 3, 7, 7);
    const ints at = _mm512_add_epi32(_mm512_slli_epi32(unit, 1), ints_of(12));
    const ints low = _mm512_broadcast_i32x4(_mm_shuffle_epi32(head, 0xdd)); /* 1 3 1 3 */
    const ints high = _mm512_srlv_epi32(
        _mm512_broadcast_i32x4(_mm_shuffle_epi32(head, 0x88)), at); /* 0 2 0 2 */
    const ints six = (_mm512_srlv_epi32(low, _mm512_slli_epi32(unit, 2)) & ints_of(15))
                     | (high & ints_of(48));
    return _mm512_sub_epi32(six, ints_of(32));
}

/* Lane 4 j + i has a unit of super-block i % 2: unit j, or (i > 1) unit j + 4. */
INLINE void iq4_xs_pair(const uint8_t *p, int tokens, const struct native_acts *x, int64_t g,
                        ints *isum, ints *msum)
{
    const uint8_t *q = p + 136;
    const ints turn = _mm512_setr_epi32(0, 8, 4, 12, 1, 9, 5, 13, 2, 10, 6, 14, 3, 11, 7, 15);
    const ints scale = iq4_xs_scales(_mm_unpacklo_epi64(_mm_loadl_epi64((const __m128i *)p),
                                                        _mm_loadl_epi64((const __m128i *)q)));
    ints v[4] = { ints_load(p + 8), ints_load(q + 8), ints_load(p + 72), ints_load(q + 72) };
    ints code[8];
    (void)msum;
    turn_dwords(v);
    nibbles_of(v, code);
    look_up(code, 8);
    UNROLL for (int t = 0; t < tokens; t++) isum[t] = _mm512_permutexvar_epi32(
        turn, ints_load(x->start + t * x->stride / 32 + 8 * g));
    add_lanes(code, tokens, x->code + 256 * g, x->stride, isum);
    UNROLL for (int t = 0; t < tokens; t++) isum[t] = _mm512_mullo_epi32(isum[t], scale);
}

static void order_units(int8_t *code, int64_t cols)
{
    static const int16_t first[ONE_BLOCKS] = { 0,  256, 128, 384, 32, 288, 160, 416,
                                               64, 320, 192, 448, 96, 352, 224, 480 };
    order_lanes(code, cols, first, 0);
}

#define ONE_PAIRS_KERNEL(name, bytes, mins) \
    static void one_##name(const struct native_weights *w, const struct native_acts *x, float *y, \
                           int64_t stride) \
    { \
        if (x->tokens == 1) \
            pairs_rows(name##_pair, bytes, mins, 1, w, x, y, stride); \
        else \
            pairs_rows(name##_pair, bytes, mins, 2, w, x, y, stride); \
    }
ONE_PAIRS_KERNEL(q4_k, 144, true)
ONE_PAIRS_KERNEL(q5_k, 176, true)
ONE_PAIRS_KERNEL(iq4_xs, 136, false)

#endif
#endif
