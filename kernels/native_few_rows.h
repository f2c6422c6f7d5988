/* SPDX-License-Identifier: MIT */
/* Native mode for a few tokens: what all formats share. WIDTH rows lie side by side, one per lane.
 */
#ifndef QDB_KERNELS_NATIVE_FEW_ROWS_H
#define QDB_KERNELS_NATIVE_FEW_ROWS_H

#include "kernels/level_native.h"
#include "kernels/native_transpose.h"

#ifdef __AVX2__

enum {
    FEW_TOKENS = 64,
    ABREAST = WIDTH == 16 ? 4 : 2 /* tokens that are multiplied side by side */
};

/* WIDTH rows in memory: row r at p + r * stride. Bytes from `ahead` on are asked for early. */
struct few_rows {
    const uint8_t *p;
    size_t stride;
    const uint8_t *ahead;
};

/* Ask for as much as has been used: `bytes` of each row. The rows lie one after the other, so this
 * walks through memory in one stream although the rows are read side by side. */
INLINE void ask_ahead(struct few_rows *w, size_t bytes)
{
    const uint8_t *const end = w->ahead + WIDTH * bytes;
    for (; w->ahead < end; w->ahead += 64)
        __builtin_prefetch(w->ahead, 0, 2);
}

/* 16 bytes each of rows 0, 4, 8, 12 (0, 4). */
INLINE ints every_fourth(const uint8_t *p, size_t stride)
{
    const __m128i a = _mm_loadu_si128((const __m128i *)p);
    const __m128i b = _mm_loadu_si128((const __m128i *)(p + 4 * stride));
    const __m256i low = _mm256_inserti128_si256(_mm256_castsi128_si256(a), b, 1);
#ifdef __AVX512VNNI__
    const __m128i c = _mm_loadu_si128((const __m128i *)(p + 8 * stride));
    const __m128i d = _mm_loadu_si128((const __m128i *)(p + 12 * stride));
    const __m256i high = _mm256_inserti128_si256(_mm256_castsi128_si256(c), d, 1);
    return _mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1);
#else
    return low;
#endif
}

/* The same four dwords in every 16 bytes. */
INLINE ints four_lanes(int a, int b, int c, int d)
{
#ifdef __AVX512VNNI__
    return _mm512_setr4_epi32(a, b, c, d);
#else
    return _mm256_setr_epi32(a, b, c, d, a, b, c, d);
#endif
}

/* In every 16 bytes: dword i of v[k] and dword k of v[i] change places. */
INLINE void turn_dwords(ints v[4])
{
    ints t[4];
    t[0] = I(unpacklo_epi32)(v[0], v[1]);
    t[1] = I(unpackhi_epi32)(v[0], v[1]);
    t[2] = I(unpacklo_epi32)(v[2], v[3]);
    t[3] = I(unpackhi_epi32)(v[2], v[3]);
    v[0] = I(unpacklo_epi64)(t[0], t[2]);
    v[1] = I(unpackhi_epi64)(t[0], t[2]);
    v[2] = I(unpacklo_epi64)(t[1], t[3]);
    v[3] = I(unpackhi_epi64)(t[1], t[3]);
}

/* 16 bytes of WIDTH rows: dword k of row r becomes lane r of v[k]. */
INLINE void turn_rows(const uint8_t *p, size_t stride, ints v[4])
{
    UNROLL for (int i = 0; i < 4; i++) v[i] = every_fourth(p + (size_t)i * stride, stride);
    turn_dwords(v);
}

/* Halves in the low words of lanes. */
INLINE floats low_halves(ints v)
{
#ifdef __AVX512VNNI__
    return _mm512_cvtph_ps(_mm512_cvtepi32_epi16(v));
#else
    const __m256i low = _mm256_and_si256(v, _mm256_set1_epi32(0xffff));
    const __m256i words = _mm256_permute4x64_epi64(_mm256_packus_epi32(low, low), 0x08);
    return _mm256_cvtph_ps(_mm256_castsi256_si128(words));
#endif
}

INLINE floats high_halves(ints v) { return low_halves(I(srli_epi32)(v, 16)); }

/* A half of each row. */
INLINE floats halves_at(const uint8_t *p, size_t stride)
{
#ifdef __AVX512VNNI__
    return _mm512_cvtph_ps(_mm256_inserti128_si256(_mm256_castsi128_si256(eight_words(p, stride)),
                                                   eight_words(p + 8 * stride, stride), 1));
#else
    return _mm256_cvtph_ps(eight_words(p, stride));
#endif
}

INLINE __m128i four_dwords(const uint8_t *p, size_t stride)
{
    __m128i v = _mm_cvtsi32_si128((int)load_u32(p));
    v = _mm_insert_epi32(v, (int)load_u32(p + stride), 1);
    v = _mm_insert_epi32(v, (int)load_u32(p + 2 * stride), 2);
    return _mm_insert_epi32(v, (int)load_u32(p + 3 * stride), 3);
}

/* Four bytes of each row. */
INLINE ints dwords_at(const uint8_t *p, size_t stride)
{
    const __m256i low = _mm256_inserti128_si256(_mm256_castsi128_si256(four_dwords(p, stride)),
                                                four_dwords(p + 4 * stride, stride), 1);
#ifdef __AVX512VNNI__
    const __m128i c = four_dwords(p + 8 * stride, stride);
    const __m128i d = four_dwords(p + 12 * stride, stride);
    return _mm512_inserti64x4(_mm512_castsi256_si512(low),
                              _mm256_inserti128_si256(_mm256_castsi128_si256(c), d, 1), 1);
#else
    return low;
#endif
}

/* Bytes at once. */
INLINE ints low_nibbles(ints v) { return v & I(set1_epi8)(15); }
INLINE ints high_nibbles(ints v) { return I(srli_epi32)(v, 4) & I(set1_epi8)(15); }

/* Without VNNI codes above 127 are taken as signed bytes, relative to their zero. */
INLINE bool signed_codes(const struct native_format *f) { return WIDTH == 8 && f->top > 127; }

#ifdef __AVX512VNNI__
/* acc + four columns: gcc makes two instructions of it, a broadcast and a product. */
INLINE ints dot_four(ints acc, ints code, const int8_t *x)
{
    __asm__("vpdpbusd %2%{1to16%}, %1, %0" : "+v"(acc) : "v"(code), "m"(*(const int32_t *)x));
    return acc;
}
#endif

#ifndef __AVX512VNNI__
/* Codes times activations, pairs of products added up in 16 bits. */
INLINE ints dot_pairs(const struct native_format *f, ints code, ints x)
{
    return signed_codes(f) ? _mm256_maddubs_epi16(_mm256_abs_epi8(code), _mm256_sign_epi8(x, code))
                           : _mm256_maddubs_epi16(code, x);
}

/* acc[t] + n vectors of codes times the activations of some tokens, `stride` apart: the same four
 * bytes for all lanes, `step` 4, or four for each lane, 32. As many products are added in 16 bits
 * as the largest code allows. */
INLINE void dot_codes(const struct native_format *f, int tokens, ints *acc, const ints *code, int n,
                      const int8_t *x, int64_t stride, int step)
{
    const int fit = f->top > 63 ? 1 : f->top > 31 ? 2 : f->top > 15 ? 4 : 8;
    ints sum[ABREAST];
    UNROLL for (int k = 0; k < n; k++)
        UNROLL for (int t = 0; t < tokens; t++)
        {
            const int8_t *a = x + t * stride + k * step;
            const ints pairs = dot_pairs(f, code[k], step == 4 ? four_bytes(a) : ints_load(a));
            sum[t] = k % fit ? _mm256_add_epi16(sum[t], pairs) : pairs;
            if (k % fit == fit - 1 || k == n - 1)
                acc[t] = _mm256_add_epi32(acc[t], _mm256_madd_epi16(sum[t], _mm256_set1_epi16(1)));
        }
}
#endif

/* acc + codes of 4 n columns times activations. */
INLINE ints few_dot(const struct native_format *f, ints acc, const ints *code, int n,
                    const int8_t *x)
{
#ifdef __AVX512VNNI__
    (void)f;
    ints other = ints_zero();
    UNROLL for (int k = 0; k < n; k += 2)
    {
        acc = dot_four(acc, code[k], x + 4 * k);
        other = dot_four(other, code[k + 1], x + 4 * k + 4);
    }
    return _mm512_add_epi32(acc, other);
#else
    dot_codes(f, 1, &acc, code, n, x, 0, 4);
    return acc;
#endif
}

/* The same for some tokens, whose activations are `stride` apart: their products take turns. */
INLINE void few_dots(const struct native_format *f, int tokens, ints *acc, const ints *code, int n,
                     const int8_t *x, int64_t stride)
{
#ifdef __AVX512VNNI__
    if (tokens > 1) {
        UNROLL for (int k = 0; k < n; k++)
            UNROLL for (int t = 0; t < tokens; t++)
                acc[t] = dot_four(acc[t], code[k], x + t * stride + 4 * k);
        return;
    }
    acc[0] = few_dot(f, acc[0], code, n, x);
#else
    dot_codes(f, tokens, acc, code, n, x, stride, 4);
#endif
}

/* Call with(tokens, first) for all tokens of x, `most` (2 or ABREAST) at a time. */
#define FEW_AT_A_TIME(x, most, with) \
    do { \
        int64_t few_t = 0; \
        for (; few_t + (most) <= (x)->tokens; few_t += (most)) \
            with(most, few_t); \
        if ((most) > 2 && few_t + 2 <= (x)->tokens) { \
            with(2, few_t); \
            few_t += 2; \
        } \
        if (few_t < (x)->tokens) \
            with(1, few_t); \
    } while (0)

/* What the dot product of a unit starts from. */
INLINE ints few_start(const struct native_format *f, const int32_t *start)
{
    return signed_codes(f) || !f->zero ? ints_zero() : ints_of(*start);
}

/* Nibbles of 16 bytes: element j is the low half of byte j, element j + 16 the high half. */
INLINE void nibbles_of(const ints q[4], ints code[8])
{
    UNROLL for (int k = 0; k < 4; k++)
    {
        code[k] = low_nibbles(q[k]);
        code[k + 4] = high_nibbles(q[k]);
    }
}

INLINE void take_nibbles(const uint8_t *p, size_t stride, ints code[8])
{
    ints q[4];
    turn_rows(p, stride, q);
    nibbles_of(q, code);
}

/* Signed bytes to codes: around the zero 128, or as they are. */
INLINE ints from_signed(void) { return I(set1_epi8)(WIDTH == 8 ? 0 : -128); }

/* 32 bytes of WIDTH rows. */
INLINE void turn_two(const uint8_t *p, size_t stride, ints v[8])
{
    turn_rows(p, stride, v);
    turn_rows(p + 16, stride, v + 4);
}

/* Nibbles to 16 levels. */
INLINE void look_up_in(const uint8_t book[16], ints *code, int n)
{
    const __m128i one = _mm_loadu_si128((const __m128i *)book);
#ifdef __AVX512VNNI__
    const ints table = _mm512_broadcast_i32x4(one);
#else
    const ints table = _mm256_broadcastsi128_si256(one);
#endif
    UNROLL for (int k = 0; k < n; k++) code[k] = I(shuffle_epi8)(table, code[k]);
}

/* To those of IQ4. */
INLINE void look_up(ints *code, int n)
{
    uint8_t book[16];
    integer_book(codebook_iq4nl, WIDTH == 8 ? 0 : 128, book);
    look_up_in(book, code, n);
}

/* To those of E2M1, codebook_e2m1_doubled around 12; constants, so that no loop makes them anew. */
INLINE void look_up_e2m1(ints *code, int n)
{
    static const uint8_t book[16] = { 12, 13, 14, 15, 16, 18, 20, 24, 12, 11, 10, 9, 8, 6, 4, 0 };
    look_up_in(book, code, n);
}

#endif
#endif
