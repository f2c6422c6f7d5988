/* SPDX-License-Identifier: MIT */
/* One token in native mode at AVX2, and two: formats with one scale per 32 columns. The blocks of a
 * row are lanes, as rows are in native_few_blocks.h. Included by native_one.h; the layouts of the
 * blocks are told in codec_blocks.c. */
#ifndef QDB_KERNELS_NATIVE_ONE_LANES_H
#define QDB_KERNELS_NATIVE_ONE_LANES_H

#include "kernels/native_few_blocks.h"
#include "kernels/native_one_rows.h"

#if defined __AVX2__ && !defined __AVX512VNNI__

enum { ONE_STEP = 32 * WIDTH };

/* Of every ONE_STEP columns four of each block, then the next four, and so on. */
static void order_blocks(int8_t *code, int64_t cols)
{
    for (int8_t *c = code; c < code + cols; c += ONE_STEP) {
        ints v[WIDTH];
        EACH_LANE v[r] = ints_load(c + 32 * r);
        transpose(v);
        EACH_LANE ints_store(c + 32 * r, v[r]);
    }
}

/* The halves with which WIDTH blocks of `bytes` begin. What is loaded for block i begins 2 i bytes
 * before it, so that its half is word i already. */
INLINE floats halves_along(const uint8_t *p, int bytes)
{
    __m128i v[WIDTH];
    EACH_LANE v[r] = _mm_loadu_si128((const __m128i *)(p + r * (bytes - 2)));
    v[0] = _mm_blend_epi16(v[0], v[1], 0x02);
    v[2] = _mm_blend_epi16(v[2], v[3], 0x08);
    v[4] = _mm_blend_epi16(v[4], v[5], 0x20);
    v[6] = _mm_blend_epi16(v[6], v[7], 0x80);
    v[0] = _mm_blend_epi16(v[0], v[2], 0x0c);
    v[4] = _mm_blend_epi16(v[4], v[6], 0xc0);
    return _mm256_cvtph_ps(_mm_blend_epi16(v[0], v[4], 0xf0));
}

/* Blocks of `bytes`, at most 34, which begin with the half d or not. */
INLINE void terms_of_blocks(const struct native_format *f, few_take *take, bool half_first,
                            int bytes, const uint8_t *p, int n, int tokens,
                            const struct native_acts *x, int64_t b, floats *term)
{
    uint8_t some[WIDTH * 34];
    struct few_block w;
    if (n < WIDTH)
        p = memcpy(memset(some, 0, sizeof some), p, (size_t)(n * bytes));
    else
        ask(p, WIDTH * bytes);
    take(p, (size_t)bytes, &w);
    if (half_first)
        w.d = halves_along(p, bytes);
    ints isum[ONE_TOKENS];
    UNROLL for (int t = 0; t < tokens; t++) isum[t]
        = signed_codes(f) ? ints_zero() : ints_load(x->start + b + t * (x->stride / 32));
    dot_codes(f, tokens, isum, w.code, 8, x->code + 32 * b, x->stride, 32);
    UNROLL for (int t = 0; t < tokens; t++, b += x->stride / 32) term[t] = _mm256_mul_ps(
        _mm256_cvtepi32_ps(isum[t]), _mm256_mul_ps(w.d, _mm256_loadu_ps(x->d + b)));
}

#define ONE_BLOCKS(name, bytes, half_first) \
    ONE_ROWS(name, 2, 32, bytes, \
             terms_of_blocks(f, take_block_##name, half_first, bytes, p, n, tokens, x, g, term))
ONE_BLOCKS(q4_0, 18, true)
ONE_BLOCKS(q8_0, 34, true)
ONE_BLOCKS(mxfp4, 17, false)
ONE_BLOCKS(iq4_nl, 18, true)

#endif
#endif
