/* SPDX-License-Identifier: MIT */
/* Parts: vectors of floats of the size that a level has, and what its kernels do with them. The
 * meaning of each lane is the same at every level. */
#ifndef QDB_KERNELS_PARTS_BODY_H
#define QDB_KERNELS_PARTS_BODY_H

#if defined __AVX2__
#include <immintrin.h>
#endif

#include <stdint.h>
#include <string.h>

#include "kernels/part_body.h"

enum { WIDE = LEVEL_VECTOR / (int)sizeof(float) };

typedef int32_t whole_part __attribute__((vector_size(LEVEL_VECTOR)));

INLINE part part_at(const float *p)
{
    part v;
    memcpy(&v, p, sizeof v);
    return v;
}

INLINE void part_to(float *p, part v) { memcpy(p, &v, sizeof v); }

#if defined __AVX2__ && LEVEL_VECTOR == 32
INLINE __m256i first_lanes(int64_t n)
{
    return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
#endif

/* The first n < WIDE floats, zeros behind them. Not by a masked load of AVX2: emulators (qemu 7.2)
 * read all of the vector for it, beyond the end of the array. */
INLINE part part_first(const float *p, int64_t n)
{
#if defined __AVX512F__ && LEVEL_VECTOR == 64
    return (part)_mm512_maskz_loadu_ps((__mmask16)((1u << n) - 1), p);
#else
    float f[WIDE] = { 0 };
    for (int k = 0; k < n && k < WIDE; k++)
        f[k] = p[k];
    return part_at(f);
#endif
}

INLINE void part_first_to(float *p, int64_t n, part v)
{
#if defined __AVX512F__ && LEVEL_VECTOR == 64
    _mm512_mask_storeu_ps(p, (__mmask16)((1u << n) - 1), (__m512)v);
#elif defined __AVX2__ && LEVEL_VECTOR == 32
    _mm256_maskstore_ps(p, first_lanes(n), (__m256)v);
#else
    float f[WIDE];
    part_to(f, v);
    for (int k = 0; k < n && k < WIDE; k++)
        p[k] = f[k];
#endif
}

/* yes where the mask is all ones, no where it is zero. */
INLINE part part_choose(whole_part mask, part yes, part no)
{
    return (part)(((whole_part)yes & mask) | ((whole_part)no & ~mask));
}

/* a > b ? a : b and a < b ? a : b, as x86 has them: b if one is NaN. */
INLINE part part_max(part a, part b)
{
#if defined __AVX512F__ && LEVEL_VECTOR == 64
    return (part)_mm512_max_ps((__m512)a, (__m512)b);
#elif defined __AVX2__ && LEVEL_VECTOR == 32
    return (part)_mm256_max_ps((__m256)a, (__m256)b);
#else
    return part_choose(a > b, a, b);
#endif
}

INLINE part part_min(part a, part b)
{
#if defined __AVX512F__ && LEVEL_VECTOR == 64
    return (part)_mm512_min_ps((__m512)a, (__m512)b);
#elif defined __AVX2__ && LEVEL_VECTOR == 32
    return (part)_mm256_min_ps((__m256)a, (__m256)b);
#else
    return part_choose(a < b, a, b);
#endif
}

/* Lanes of a and b in turn: those of the lower, those of the upper halves. */
INLINE void zip_parts(part a, part b, part *low, part *high)
{
#if LEVEL_VECTOR == 64
    *low = __builtin_shufflevector(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
    *high = __builtin_shufflevector(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15,
                                    31);
#elif LEVEL_VECTOR == 32
    *low = __builtin_shufflevector(a, b, 0, 8, 1, 9, 2, 10, 3, 11);
    *high = __builtin_shufflevector(a, b, 4, 12, 5, 13, 6, 14, 7, 15);
#else
    *low = __builtin_shufflevector(a, b, 0, 4, 1, 5);
    *high = __builtin_shufflevector(a, b, 2, 6, 3, 7);
#endif
}

/* The way back: even and odd lanes of a, then of b. */
INLINE void unzip_parts(part a, part b, part *even, part *odd)
{
#if LEVEL_VECTOR == 64
    *even = __builtin_shufflevector(a, b, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28,
                                    30);
    *odd = __builtin_shufflevector(a, b, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31);
#elif LEVEL_VECTOR == 32
    *even = __builtin_shufflevector(a, b, 0, 2, 4, 6, 8, 10, 12, 14);
    *odd = __builtin_shufflevector(a, b, 1, 3, 5, 7, 9, 11, 13, 15);
#else
    *even = __builtin_shufflevector(a, b, 0, 2, 4, 6);
    *odd = __builtin_shufflevector(a, b, 1, 3, 5, 7);
#endif
}

/* Square of WIDE vectors: rows become columns. */
INLINE void transpose_parts(part x[WIDE])
{
    part y[WIDE];
    _Pragma("GCC unroll 4") for (int step = 1; step < WIDE; step *= 2)
    {
        _Pragma("GCC unroll 16") for (int i = 0; i < WIDE / 2; i++)
            zip_parts(x[i], x[i + WIDE / 2], &y[2 * i], &y[2 * i + 1]);
        _Pragma("GCC unroll 16") for (int i = 0; i < WIDE; i++) x[i] = y[i];
    }
}

#endif
