/* SPDX-License-Identifier: MIT */
/* Brain floats in pairs, one per lane, as mode native multiplies them (docs/modes.md): magnitudes
 * in range, the second of a pair first. A level with LEVEL_PAIRS has an instruction for it. */
#ifndef QDB_KERNELS_BRAINS_BODY_H
#define QDB_KERNELS_BRAINS_BODY_H

#if defined __AVX2__
#include <immintrin.h>
#endif

#include <stdint.h>

#include "kernels/codec.h"
#include "kernels/native.h"
#include "kernels/part_body.h"

typedef int16_t brains_part __attribute__((vector_size(LEVEL_VECTOR)));
typedef uint32_t pairs_part __attribute__((vector_size(LEVEL_VECTOR)));

/* Magnitudes in the range that to_brains has. */
INLINE part brains_in_range(part v)
{
    const brains_part bits = (brains_part)v;
    brains_part size = bits & 0x7fff;
#if LEVEL_VECTOR == 64
    const __m512i infinity = _mm512_set1_epi16(BRAIN_INFINITE);
    const __mmask32 large = _mm512_cmpge_epi16_mask((__m512i)size, _mm512_set1_epi16(BRAIN_LARGE));
    const __mmask32 counts = _mm512_cmpge_epi16_mask((__m512i)size, _mm512_set1_epi16(BRAIN_SMALL));
    size = (brains_part)_mm512_mask_max_epi16((__m512i)size, large, (__m512i)size, infinity);
    size = (brains_part)_mm512_maskz_mov_epi16(counts, (__m512i)size);
#else
    const brains_part large = size >= BRAIN_LARGE;
#if LEVEL_VECTOR == 32
    size = (brains_part)_mm256_max_epi16((__m256i)size, (__m256i)(large & BRAIN_INFINITE));
#else
    const brains_part finite = large & (size < BRAIN_INFINITE);
    size = (size & ~finite) | (finite & BRAIN_INFINITE);
#endif
    size &= size >= BRAIN_SMALL;
#endif
    return (part)((bits & (int16_t)0x8000) | size);
}

/* See level.h. */
static inline void to_brains(const float *x, int64_t n, uint16_t *h)
{
    for (int64_t i = 0; i < n; i++) {
        const uint32_t bits = bits_of_float(x[i]), size = bits & 0x7fffffffu;
        const uint32_t round = (size + 0x7fff + (size >> 16 & 1)) >> 16;
        const uint32_t brain = size > BRAIN_INFINITE << 16 ? BRAIN_INFINITE | 0x40
                               : round >= BRAIN_LARGE      ? BRAIN_INFINITE
                               : round < BRAIN_SMALL       ? 0
                                                           : round;
        h[i] = (uint16_t)((bits >> 16 & 0x8000) | brain);
    }
}

/* As floats. */
INLINE part brains_first(part v) { return (part)((pairs_part)v << 16); }
INLINE part brains_second(part v) { return (part)((pairs_part)v & 0xffff0000u); }

/* A product that float32 holds without rounding. */
INLINE void add_exact_product(part *sum, part a, part b)
{
#if LEVEL_VECTOR == 64
    *sum = (part)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)*sum);
#elif LEVEL_VECTOR == 32
    *sum = (part)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)*sum);
#else
    *sum = *sum + a * b;
#endif
}

INLINE void add_pairs(part *sum, part a, part b)
{
#ifdef LEVEL_PAIRS
    *sum = (part)_mm512_dpbf16_ps((__m512)*sum, (__m512bh)a, (__m512bh)b);
#else
    add_exact_product(sum, brains_second(a), brains_second(b));
    add_exact_product(sum, brains_first(a), brains_first(b));
#endif
}

#endif
