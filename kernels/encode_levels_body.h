/* SPDX-License-Identifier: MIT */
/* Levels of the encoders, written once for vectors of any size: what codes stand for, the level
 * nearest to a number, the code of a level. */
#ifndef QDB_KERNELS_ENCODE_LEVELS_BODY_H
#define QDB_KERNELS_ENCODE_LEVELS_BODY_H

#include <math.h>
#include <stdbool.h>

#include "kernels/codec.h"
#include "kernels/encoder.h"
#include "kernels/parts_body.h"

/* The levels that codes stand for; even ones are whole numbers. */
enum levels { LEVELS_EVEN, LEVELS_IQ4, LEVELS_E2M1 };

INLINE part all(float f) { return (part){ 0 } + f; }
INLINE part size_of(part v) { return (part)((whole_part)v & 0x7fffffff); }
INLINE part or_zero(whole_part mask, part v) { return (part)((whole_part)v & mask); }

/* To nearest, ties to even, for abs(v) < 2^22: 1.5 * 2^23 leaves no room for a fraction. Of zeros
 * alone the sign depends on the level; no sum and no code does on that. */
INLINE part whole(part v)
{
#if defined __AVX512F__ && LEVEL_VECTOR == 64
    return (part)_mm512_roundscale_ps((__m512)v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
#elif defined __AVX2__ && LEVEL_VECTOR == 32
    return (part)_mm256_round_ps((__m256)v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
#else
    return (v + 12582912.0f) - 12582912.0f;
#endif
}

INLINE part over(part a, part b) { return or_zero(b != all(0), a / b); } /* 0 for b = 0 */

/* sum + l * l of whole numbers below 2^24, where fusing the two changes no bit. */
INLINE part add_square(part sum, part l)
{
#if defined __AVX512F__ && LEVEL_VECTOR == 64
    return (part)_mm512_fmadd_ps((__m512)l, (__m512)l, (__m512)sum);
#elif defined __AVX2__ && LEVEL_VECTOR == 32
    return (part)_mm256_fmadd_ps((__m256)l, (__m256)l, (__m256)sum);
#else
    return sum + l * l;
#endif
}

/* Levels of uneven formats (E2M1: of absolute values, doubled), ascending, and how far from each
 * the next one is; a number half way goes up. */
static const float iq4_level[16] = { -127, -104, -83, -65, -49, -35, -22, -10,
                                     1,    13,   25,  38,  53,  69,  89,  113 };
static const float e2m1_level[8] = { 0, 1, 2, 3, 4, 6, 8, 12 };

#if defined __AVX512F__ && LEVEL_VECTOR == 64
/* Entry `index` of a table of 32. */
INLINE part table_at(const float *table, whole_part index)
{
    return (part)_mm512_permutex2var_ps(_mm512_loadu_ps(table), (__m512i)index,
                                        _mm512_loadu_ps(table + 16));
}

/* By steps of 8 from -128, of which none has more than one boundary: where that is (999: nowhere),
 * and the levels nearest below and above it. */
INLINE part nearest_iq4(part v)
{
    static const float edge[32] = {
        999, -115.5f, 999, 999, -93.5f, 999, -74, 999, -57, 999, -42, 999, -28.5f, 999, 999,
        -4.5f, 7, 999, 19, 31.5f, 999, 45.5f, 999, 61, 999, 79, 999, 999, 101, 999, 999, 999
    };
    static const float below[32] = {
        -127, -127, -104, -104, -104, -83, -83, -65, -65, -49, -49, -35, -35, -22, -10, -10, 1,
        13, 13, 25, 38, 38, 53, 53, 69, 69, 89, 89, 89, 113, 113, 113
    };
    static const float above[32] = {
        -127, -104, -104, -104, -83, -83, -65, -65, -49, -49, -35, -35, -22, -22, -10, 1, 13, 13,
        25, 38, 38, 53, 53, 69, 69, 89, 89, 89, 113, 113, 113, 113
    };
    const part in = part_min(part_max(v, all(-127)), all(113));
    const whole_part step = __builtin_convertvector((in + 128) * 0.125f, whole_part);
    return part_choose(in >= table_at(edge, step), table_at(above, step), table_at(below, step));
}

INLINE part nearest_e2m1(part v)
{
    static const float level[32] = { 0, 1, 1, 2, 2, 3,  3,  4,  4,  4,  6,  6,  6,  6,  8,  8,
                                     8, 8, 8, 8, 12, 12, 12, 12, 12, 12, 12, 12, 12, 12, 12, 12 };
    const part twice = part_min(size_of(v) * 2, all(31));
    const part l = table_at(level, __builtin_convertvector(twice, whole_part));
    return (part)((whole_part)l | ((whole_part)v & INT32_MIN));
}
#else
INLINE part nearest_iq4(part v)
{
    part l = all(iq4_level[0]);
    UNROLL for (int k = 1; k < 16; k++)
        l += or_zero(v >= all((iq4_level[k - 1] + iq4_level[k]) / 2),
                     all(iq4_level[k] - iq4_level[k - 1]));
    return l;
}

INLINE part nearest_e2m1(part v)
{
    const part size = size_of(v);
    part l = all(0);
    UNROLL for (int k = 1; k < 8; k++)
        l += or_zero(size >= all((e2m1_level[k - 1] + e2m1_level[k]) / 2),
                     all(e2m1_level[k] - e2m1_level[k - 1]));
    return (part)((whole_part)l | ((whole_part)v & INT32_MIN));
}
#endif

/* The level nearest to v, which is known to be within from .. to, but for rounding. */
INLINE part nearest_within(enum levels kind, part v, float low, float high, float from, float to)
{
    if (kind != LEVELS_EVEN)
        return kind == LEVELS_IQ4 ? nearest_iq4(v) : nearest_e2m1(v);
    if (from < low - 0.49f)
        v = part_max(v, all(low));
    if (to > high + 0.49f)
        v = part_min(v, all(high));
    return whole(v);
}

INLINE part nearest(enum levels kind, part v, float low, float high)
{
    return nearest_within(kind, v, low, high, -INFINITY, INFINITY);
}

/* The code of a level. */
INLINE whole_part code_of(enum levels kind, part level, float low)
{
    whole_part code = { 0 };
    if (kind == LEVELS_EVEN)
        return __builtin_convertvector(level - low, whole_part);
    if (kind == LEVELS_IQ4) {
        UNROLL for (int k = 1; k < 16; k++) code -= level >= all(iq4_level[k]);
        return code;
    }
    UNROLL for (int k = 1; k < 8; k++) code -= size_of(level) >= all(e2m1_level[k]);
    return code | ((((whole_part)level & INT32_MIN) != 0) & (code != 0) & 8);
}

#endif
