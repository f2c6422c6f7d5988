/* SPDX-License-Identifier: MIT */
/* One token in native mode: formats with one scale per 32 columns. Included by native_one.h; the
 * layouts of the blocks are told in codec_blocks.c. */
#ifndef QDB_KERNELS_NATIVE_ONE_BLOCKS_H
#define QDB_KERNELS_NATIVE_ONE_BLOCKS_H

#include "kernels/native_few_rows.h"

#ifdef __AVX512VNNI__

enum {
    ONE_BLOCKS = 16, /* taken together */
    ONE_STEP = 32 * ONE_BLOCKS,
    ONE_COLS = 16384, /* wider rows are not read so */
    ONE_AHEAD = 6144  /* bytes asked for early: a stream ends with its page */
};

INLINE void ask(const uint8_t *p, int bytes)
{
    for (int i = 0; i < bytes; i += 64)
        __builtin_prefetch(p + ONE_AHEAD + i, 0, 2);
}

/* Neighbouring lanes of a, then of b, added; in each 16 bytes. */
INLINE ints add_dwords(ints a, ints b)
{
    return _mm512_add_epi32(_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
}

INLINE ints add_qwords(ints a, ints b)
{
    return _mm512_add_epi32(_mm512_unpacklo_epi64(a, b), _mm512_unpackhi_epi64(a, b));
}

/* Neighbouring 16 bytes of a, then of b, added. */
INLINE ints add_quarters(ints a, ints b)
{
    return _mm512_add_epi32(_mm512_shuffle_i32x4(a, b, 0x88), _mm512_shuffle_i32x4(a, b, 0xdd));
}

/* Lanes 0 .. 7 and 8 .. 15 of v[i] added up: lanes 2 i and 2 i + 1. */
INLINE ints sums_of_eight(const ints v[8])
{
    const ints order = _mm512_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7, 8, 12, 9, 13, 10, 14, 11, 15);
    const ints a = add_qwords(add_dwords(v[0], v[1]), add_dwords(v[2], v[3]));
    const ints b = add_qwords(add_dwords(v[4], v[5]), add_dwords(v[6], v[7]));
    return _mm512_permutexvar_epi32(order, add_quarters(a, b));
}

/* Four halves, `bytes` apart, of 128 bytes at p. */
INLINE __m128i four_halves(const uint8_t *p, int bytes)
{
    const short w = (short)(bytes / 2);
    const __m128i at = _mm_setr_epi16(0, w, (short)(2 * w), (short)(3 * w), 0, 0, 0, 0);
    const ints which = _mm512_castsi128_si512(at);
    return _mm512_castsi512_si128(
        3 * w < 32 ? _mm512_permutexvar_epi16(which, ints_load(p))
                   : _mm512_permutex2var_epi16(ints_load(p), which, ints_load(p + 64)));
}

/* The halves with which ONE_BLOCKS blocks of `bytes` begin. */
INLINE floats halves_along(const uint8_t *p, int bytes)
{
    __m128i h[4];
    UNROLL for (int i = 0; i < 4; i++) h[i] = four_halves(p + 4 * i * bytes, bytes);
    return _mm512_cvtph_ps(_mm256_inserti128_si256(
        _mm256_castsi128_si256(_mm_unpacklo_epi64(h[0], h[1])), _mm_unpacklo_epi64(h[2], h[3]), 1));
}

/* isum of ONE_BLOCKS blocks, which begin at p, and each token; x from the first of them on. */
typedef void one_dots(const uint8_t *p, int tokens, const int8_t *x, int64_t stride, ints *isum);

INLINE void dots_q8_0(const uint8_t *p, int tokens, const int8_t *x, int64_t stride, ints *isum)
{
    enum { BYTES = 34 };
    ints dot[ONE_TOKENS][8];
    UNROLL for (int i = 0; i < 8; i++)
    {
        const uint8_t *at = p + 2 * i * BYTES + 2;
        const __m256i first = _mm256_loadu_si256((const __m256i *)at);
        const __m256i second = _mm256_loadu_si256((const __m256i *)(at + BYTES));
        const ints code = _mm512_inserti64x4(_mm512_castsi256_si512(first), second, 1);
        UNROLL for (int t = 0; t < tokens; t++) dot[t][i] = _mm512_dpbusd_epi32(
            ints_zero(), code ^ from_signed(), ints_load(x + t * stride + 64 * i));
    }
    UNROLL for (int t = 0; t < tokens; t++) isum[t] = sums_of_eight(dot[t]);
}

/* sum[t] + 32 codes of each lane, four in a dword, times activations that order_lanes has been
 * through. */
INLINE void add_lanes(const ints code[8], int tokens, const int8_t *x, int64_t stride, ints *sum)
{
    ints other[ONE_TOKENS];
    UNROLL for (int t = 0; t < tokens; t++) other[t] = ints_zero();
    UNROLL for (int k = 0; k < 8; k += 2)
        UNROLL for (int t = 0; t < tokens; t++)
        {
            const int8_t *a = x + t * stride + 64 * k;
            sum[t] = _mm512_dpbusd_epi32(sum[t], code[k], ints_load(a));
            other[t] = _mm512_dpbusd_epi32(other[t], code[k + 1], ints_load(a + 64));
        }
    UNROLL for (int t = 0; t < tokens; t++) sum[t] = _mm512_add_epi32(sum[t], other[t]);
}

/* Blocks of 18 bytes, side by side like rows, the nibbles looked up or not. */
INLINE void dots_nibbles(bool look, const uint8_t *p, int tokens, const int8_t *x, int64_t stride,
                         ints *isum)
{
    ints code[8];
    take_nibbles(p + 2, 18, code);
    if (look)
        look_up(code, 8);
    UNROLL for (int t = 0; t < tokens; t++) isum[t] = ints_zero();
    add_lanes(code, tokens, x, stride, isum);
}

INLINE void dots_q4_0(const uint8_t *p, int tokens, const int8_t *x, int64_t stride, ints *isum)
{
    dots_nibbles(false, p, tokens, x, stride, isum);
}

INLINE void dots_iq4_nl(const uint8_t *p, int tokens, const int8_t *x, int64_t stride, ints *isum)
{
    dots_nibbles(true, p, tokens, x, stride, isum);
}

/* 16 bytes each. */
INLINE ints four_pieces(const int8_t *a, const int8_t *b, const int8_t *c, const int8_t *d)
{
    ints v = _mm512_castsi128_si512(_mm_loadu_si128((const __m128i *)a));
    v = _mm512_inserti32x4(v, _mm_loadu_si128((const __m128i *)b), 1);
    v = _mm512_inserti32x4(v, _mm_loadu_si128((const __m128i *)c), 2);
    return _mm512_inserti32x4(v, _mm_loadu_si128((const __m128i *)d), 3);
}

/* Of every ONE_STEP columns four of each lane, those from column first[lane] on, then the next
 * four, and so on; in the middle `skip` columns are left out. */
INLINE void order_lanes(int8_t *code, int64_t cols, const int16_t first[ONE_BLOCKS], int skip)
{
    for (int8_t *c = code; c < code + cols; c += ONE_STEP) {
        ints v[8];
        UNROLL for (int k = 0; k < 8; k++)
        {
            const int8_t *from = c + k / 4 * (16 + skip);
            const int16_t *at = first + k % 4;
            v[k] = four_pieces(from + at[0], from + at[4], from + at[8], from + at[12]);
        }
        turn_dwords(v);
        turn_dwords(v + 4);
        UNROLL for (int k = 0; k < 8; k++) ints_store(c + 64 * k, v[k]);
    }
}

/* A lane has a block. */
static void order_blocks(int8_t *code, int64_t cols)
{
    static const int16_t first[ONE_BLOCKS] = { 0,   32,  64,  96,  128, 160, 192, 224,
                                               256, 288, 320, 352, 384, 416, 448, 480 };
    order_lanes(code, cols, first, 0);
}

/* term[t * apart ..]: the terms of ONE_BLOCKS blocks from block b on, which begin at p. */
INLINE void one_terms(one_dots *dots, int bytes, const uint8_t *p, int tokens,
                      const struct native_acts *x, int64_t b, float *term, int64_t apart)
{
    const int64_t blocks = x->stride / 32;
    ints isum[ONE_TOKENS];
    dots(p, tokens, x->code + 32 * b, x->stride, isum);
    const floats d = halves_along(p, bytes);
    UNROLL for (int t = 0; t < tokens; t++)
    {
        const int64_t at = t * blocks + b;
        isum[t] = _mm512_add_epi32(isum[t], ints_load(x->start + at));
        _mm512_storeu_ps(term + t * apart,
                         _mm512_mul_ps(_mm512_cvtepi32_ps(isum[t]),
                                       _mm512_mul_ps(d, _mm512_loadu_ps(x->d + at))));
    }
}

/* The terms of a row, filled up with zeros to a multiple of ONE_BLOCKS. */
INLINE void one_row(one_dots *dots, int bytes, const uint8_t *p, int tokens,
                    const struct native_acts *x, float *term, int64_t apart)
{
    const int64_t blocks = x->cols / 32, whole = blocks / ONE_BLOCKS * ONE_BLOCKS;
    uint8_t rest[ONE_BLOCKS * 34];
    for (int64_t b = 0; b < whole; b += ONE_BLOCKS, p += ONE_BLOCKS * bytes) {
        ask(p, ONE_BLOCKS * bytes);
        one_terms(dots, bytes, p, tokens, x, b, term + b, apart);
    }
    if (whole == blocks)
        return;
    memset(rest, 0, sizeof rest);
    memcpy(rest, p, (size_t)((blocks - whole) * bytes));
    one_terms(dots, bytes, rest, tokens, x, whole, term + whole, apart);
    UNROLL for (int t = 0; t < tokens; t++)
        memset(term + t * apart + blocks, 0, (size_t)(whole + ONE_BLOCKS - blocks) * sizeof *term);
}

/* sum [tokens][WIDTH]: the terms of each row, [WIDTH][apart], added one after the other; of every
 * WIDTH of them each token has the same share. */
INLINE void add_terms(const float *term, int64_t apart, int64_t n, int tokens, float *sum)
{
    floats to[ONE_TOKENS];
    UNROLL for (int t = 0; t < tokens; t++) to[t] = _mm512_setzero_ps();
    for (int64_t i = 0; i < n; i += WIDTH) {
        ints v[WIDTH];
        EACH_LANE v[r] = ints_load(term + r * apart + i);
        transpose(v);
        EACH_LANE to[r * tokens / WIDTH] = _mm512_add_ps(to[r * tokens / WIDTH],
                                                         _mm512_castsi512_ps(v[r]));
    }
    UNROLL for (int t = 0; t < tokens; t++) _mm512_storeu_ps(sum + t * WIDTH, to[t]);
}

/* Terms of WIDTH rows, or of half as many and two tokens, are kept and turned: to add those of one
 * row takes three cycles each. More would not stay in the first-level cache. */
INLINE void one_blocks(one_dots *dots, int bytes, int tokens, const struct native_weights *w,
                       const struct native_acts *x, float *y, int64_t stride)
{
    float term[WIDTH * (ONE_COLS / 32 + ONE_BLOCKS)], sum[WIDTH];
    const int64_t apart = x->cols / 32 / ONE_BLOCKS * ONE_BLOCKS + ONE_BLOCKS;
    const int most = WIDTH / tokens;
    for (int first = 0; first < w->rows; first += most) {
        const int rows = w->rows - first < most ? w->rows - first : most;
        const uint8_t *p = w->data + (size_t)first * w->row_bytes;
        for (int r = 0; r < rows; r++, p += w->row_bytes)
            one_row(dots, bytes, p, tokens, x, term + r * tokens * apart, apart);
        add_terms(term, apart, x->cols / 32, 1, sum);
        for (int t = 0; t < tokens; t++)
            for (int r = 0; r < rows; r++)
                y[t * stride + first + r] = sum[r * tokens + t];
    }
}

/* One token alone: two are as quick where rows lie side by side. */
static void one_q4_0(const struct native_weights *w, const struct native_acts *x, float *y,
                     int64_t stride)
{
    one_blocks(dots_q4_0, 18, 1, w, x, y, stride);
}

static void one_iq4_nl(const struct native_weights *w, const struct native_acts *x, float *y,
                       int64_t stride)
{
    one_blocks(dots_iq4_nl, 18, 1, w, x, y, stride);
}

/* One token in rows of 34 bytes per block: terms added one by one, nothing asked for. There is time
 * for it, and memory is read more evenly than where terms are kept. */
INLINE float q8_0_row(const uint8_t *p, const struct native_acts *x)
{
    const int64_t blocks = x->cols / 32;
    uint8_t rest[ONE_BLOCKS * 34];
    float term[ONE_BLOCKS], sum = 0;
    for (int64_t b = 0; b < blocks; b += ONE_BLOCKS, p += sizeof rest) {
        const int64_t left = blocks - b;
        if (left < ONE_BLOCKS)
            p = memcpy(memset(rest, 0, sizeof rest), p, (size_t)left * 34);
        one_terms(dots_q8_0, 34, p, 1, x, b, term, 0);
        for (int i = 0; i < ONE_BLOCKS && i < left; i++)
            sum += term[i];
    }
    return sum;
}

static void one_q8_0(const struct native_weights *w, const struct native_acts *x, float *y,
                     int64_t stride)
{
    if (x->tokens > 1) {
        one_blocks(dots_q8_0, 34, 2, w, x, y, stride);
        return;
    }
    for (int r = 0; r < w->rows; r++)
        y[r] = q8_0_row(w->data + (size_t)r * w->row_bytes, x);
}

#endif
#endif
