/* SPDX-License-Identifier: MIT */
/* One token in native mode at AVX2, and a few: super-blocks of 256 columns. Codes lie along the
 * row, 32 in a vector, since their integer sums are exact in any order; scales, minima and
 * terms are those of WIDTH super-blocks side by side. Included by native_one.h; the layouts of
 * the blocks are told in codec_k.c and codec_iq.c. */
#ifndef QDB_KERNELS_NATIVE_ONE_SUPER_H
#define QDB_KERNELS_NATIVE_ONE_SUPER_H

#include "kernels/native_few_k.h"
#include "kernels/native_one_rows.h"
#include "kernels/native_super.h"

#if defined __AVX2__ && !defined __AVX512VNNI__

enum { MOST_HEAD = 84 /* bytes */ };

/* What is told of WIDTH super-blocks whose heads are `stride` apart: to s, and scales as words, of
 * one super-block after the other. */
typedef void one_heads(const uint8_t *head, size_t stride, struct few_super *s, int16_t *scale);

/* Codes 32 v .. 32 v + 31 of the super-block at p. */
typedef ints one_take(const uint8_t *p, int v);

/* The scales of 8 or 16 units, a dword in each lane. */
INLINE void put_scales(const ints *scale, int units, int16_t *to)
{
    UNROLL for (int u = 0; u < units; u += 8)
    {
        ints v[4];
        UNROLL for (int k = 0; k < 4; k++) v[k] = _mm256_blend_epi16(
            scale[u + 2 * k], _mm256_slli_epi32(scale[u + 2 * k + 1], 16), 0xaa);
        turn_dwords(v);
        UNROLL for (int k = 0; k < 4; k++)
        {
            __m128i *const row = (__m128i *)(to + k * units + u);
            _mm_storeu_si128(row, _mm256_castsi256_si128(v[k]));
            _mm_storeu_si128(row + units / 2, _mm256_extracti128_si256(v[k], 1));
        }
    }
}

#define ONE_HEADS(name, head, units) \
    INLINE void name##_heads(const uint8_t *p, size_t stride, struct few_super *s, int16_t *scale) \
    { \
        head(p, stride, s); \
        put_scales(s->scale, units, scale); \
    }
ONE_HEADS(k4, k4_head, 8)
ONE_HEADS(iq4_xs, iq4_xs_head, 8)
ONE_HEADS(q2_k, q2_k_head, 16)
ONE_HEADS(q3_k, q3_k_scales, 16)
ONE_HEADS(tq2_0, tq2_0_scales, 8)

INLINE void q6_k_heads(const uint8_t *p, size_t stride, struct few_super *s, int16_t *scale)
{
    s->d = halves_at(p + 16, stride);
    EACH_LANE ints_store(scale + 16 * r, _mm256_cvtepi8_epi16(_mm_loadu_si128(
                                             (const __m128i *)(p + (size_t)r * stride))));
}

/* Of each byte: bit `from` becomes bit `to`, others somewhere. */
INLINE ints bits_moved(ints v, int from, int to)
{
    return from < to ? I(slli_epi16)(v, to - from) : I(srli_epi16)(v, from - to);
}

/* Two bits each: of 32 bytes for the first four vectors, then of the next. */
INLINE ints take_two_bits(const uint8_t *p, int v)
{
    return bits_moved(ints_load(p + v / 4 * 32), v % 4 * 2, 0) & I(set1_epi8)(3);
}

INLINE ints take_q2_k(const uint8_t *p, int v) { return take_two_bits(p + 16, v); }
INLINE ints take_tq2_0(const uint8_t *p, int v) { return take_two_bits(p, v); }

INLINE ints take_q3_k(const uint8_t *p, int v)
{
    return take_two_bits(p + 32, v) | (bits_moved(ints_load(p), v, 2) & I(set1_epi8)(4));
}

INLINE ints take_q4_k(const uint8_t *p, int v)
{
    const ints q = ints_load(p + 16 + v / 2 * 32);
    return v % 2 ? high_nibbles(q) : low_nibbles(q);
}

INLINE ints take_q5_k(const uint8_t *p, int v)
{
    const ints fifth = bits_moved(ints_load(p + 16), v, 4);
    return take_q4_k(p + 32, v) | (fifth & I(set1_epi8)(16));
}

INLINE ints take_q6_k(const uint8_t *p, int v)
{
    const ints q = ints_load(p + v / 4 * 64 + v % 2 * 32);
    const ints two = bits_moved(ints_load(p + 128 + v / 4 * 32), v % 4 * 2, 4);
    return (v % 4 > 1 ? high_nibbles(q) : low_nibbles(q)) | (two & I(set1_epi8)(48));
}

INLINE ints take_iq4_xs(const uint8_t *p, int v)
{
    const ints q = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(p + 8 + 16 * v)));
    ints code = low_nibbles(_mm256_srlv_epi32(q, _mm256_setr_epi32(0, 0, 0, 0, 4, 4, 4, 4)));
    look_up(&code, 1);
    return code;
}

/* The sums of the lanes of v[r], in lane r. */
INLINE ints sums_of_lanes(const ints v[WIDTH])
{
    const ints a = _mm256_hadd_epi32(_mm256_hadd_epi32(v[0], v[1]), _mm256_hadd_epi32(v[2], v[3]));
    const ints b = _mm256_hadd_epi32(_mm256_hadd_epi32(v[4], v[5]), _mm256_hadd_epi32(v[6], v[7]));
    return _mm256_add_epi32(_mm256_permute2x128_si256(a, b, 0x20),
                            _mm256_permute2x128_si256(a, b, 0x31));
}

/* Sums of min * xsum of WIDTH super-blocks, in lanes. */
INLINE ints sums_of_minima(int units, const ints *min, const int16_t *xsum)
{
    ints msum = ints_zero();
    UNROLL for (int u = 0; u < units; u += 8)
    {
        ints v[4];
        turn_rows((const uint8_t *)(xsum + u), (size_t)units * sizeof *xsum, v);
        UNROLL for (int k = 0; k < 4; k++) msum
            = _mm256_add_epi32(msum, _mm256_madd_epi16(min[u / 2 + k], v[k]));
    }
    return msum;
}

/* What begins the sum of a super-block: -zero times its scales and sums of activations. */
INLINE ints sum_of_zeros(const struct native_format *f, const int16_t *scale, const int16_t *xsum)
{
    return f->zero && !signed_codes(f) ? unit_products(f->unit, scale, -f->zero, xsum)
                                       : ints_zero();
}

/* dot[t][i]: in lanes, the integer sum of super-block i of those at p, which is number g of a row,
 * with token t. */
INLINE void super_dot(const struct native_format *f, one_take *take, const uint8_t *p, int i,
                      const int16_t *scale, int tokens, const struct native_acts *x, int64_t g,
                      ints dot[][WIDTH])
{
    const int units = 256 / f->unit;
    ints sum[ONE_TOKENS];
    scale += i * units;
    UNROLL for (int t = 0; t < tokens; t++) sum[t] = sum_of_zeros(
        f, scale, x->sum + (t * (x->stride / 256) + g) * units);
    UNROLL for (int v = 0; v < 8; v++)
    {
        const ints code = take(p, v);
        const ints words = spread_scales(f->unit, scale + 32 * v / f->unit);
        const int8_t *a = x->code + 256 * g + 32 * v;
        UNROLL for (int t = 0; t < tokens; t++, a += x->stride) sum[t] = _mm256_add_epi32(
            sum[t], _mm256_madd_epi16(dot_pairs(f, code, ints_load(a)), words));
    }
    UNROLL for (int t = 0; t < tokens; t++) dot[t][i] = sum[t];
}

/* Super-blocks of `bytes`, of which `heads` looks at `size` bytes from `head` on. */
INLINE void terms_of_supers(const struct native_format *f, one_heads *heads, int head, size_t size,
                            one_take *take, size_t bytes, const uint8_t *p, int n, int tokens,
                            const struct native_acts *x, int64_t g, floats *term)
{
    const int units = 256 / f->unit;
    int16_t scale[WIDTH * 16];
    uint8_t some[WIDTH * MOST_HEAD];
    ints dot[ONE_TOKENS][WIDTH];
    struct few_super s;
    if (n < WIDTH) {
        memset(some, 0, sizeof some);
        for (int i = 0; i < n; i++)
            memcpy(some + (size_t)i * size, p + (size_t)i * bytes + head, size);
        heads(some, size, &s, scale);
    } else {
        heads(p + head, bytes, &s, scale);
    }
    for (int i = 0; i < n; i++, p += bytes) {
        ask(p, (int)bytes);
        super_dot(f, take, p, i, scale, tokens, x, g + i, dot);
    }
    UNROLL for (int t = 0; t < tokens; t++, g += x->stride / 256)
    {
        const floats dx = _mm256_loadu_ps(x->d + g);
        const floats isum = _mm256_cvtepi32_ps(sums_of_lanes(dot[t]));
        term[t] = _mm256_mul_ps(isum, _mm256_mul_ps(s.d, dx));
        if (f->mins) {
            const ints msum = sums_of_minima(units, s.min, x->sum + units * g);
            term[t] = _mm256_sub_ps(term[t], _mm256_mul_ps(_mm256_cvtepi32_ps(msum),
                                                           _mm256_mul_ps(s.m, dx)));
        }
    }
}

#define ONE_SUPERS(name, heads, head, size, bytes) \
    ONE_ROWS(name, 4, 256, bytes, \
             terms_of_supers(f, heads, head, size, take_##name, bytes, p, n, tokens, x, g, term))
ONE_SUPERS(q2_k, q2_k_heads, 0, 84, 84)
ONE_SUPERS(q3_k, q3_k_heads, 96, 14, 110)
ONE_SUPERS(q4_k, k4_heads, 0, 16, 144)
ONE_SUPERS(q5_k, k4_heads, 0, 16, 176)
ONE_SUPERS(q6_k, q6_k_heads, 192, 18, 210)
ONE_SUPERS(tq2_0, tq2_0_heads, 64, 2, 66)
ONE_SUPERS(iq4_xs, iq4_xs_heads, 0, 16, 136)

#endif
#endif
