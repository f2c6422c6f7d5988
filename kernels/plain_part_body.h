/* SPDX-License-Identifier: MIT */
/* Vectors of weights in floats, halves and brain floats as they lie in memory. Included once per
 * level, after its LEVEL_VECTOR. */
#ifndef QDB_KERNELS_PLAIN_PART_BODY_H
#define QDB_KERNELS_PLAIN_PART_BODY_H

#include <string.h>

#include "kernels/codec.h"
#include "kernels/level.h"
#include "kernels/part_body.h"

#ifdef __F16C__
#include <immintrin.h>
#endif

INLINE int plain_bytes(enum plain_kind kind) { return kind == PLAIN_F32 ? 4 : 2; }

/* A token alone meets the rows one by one: memory is then one stream, which the CPU fetches by
 * itself faster than it can be asked to. Not where vectors are too short to keep up with it. */
INLINE bool one_stream(int64_t tokens) { return LEVEL_VECTOR > 16 && tokens == 1; }

/* Rows side by side are asked for, and one stream too where activations, of so many bytes, do not
 * stay in the first-level cache beside it and wait for the same few places as what comes. */
INLINE bool plain_asks(int rows, int64_t token_bytes)
{
    enum { SMALL = 8192 };
    return rows > 1 || token_bytes > SMALL;
}

/* How many bytes ahead of the first of so many rows. */
INLINE size_t plain_ahead(int rows, size_t row_bytes)
{
    return rows > 1 ? 4096 + (size_t)rows * row_bytes : 6144;
}

/* A vector of weights from element k on. */
INLINE part plain_part(enum plain_kind kind, const uint8_t *p, int64_t k)
{
    part v;
    p += k * plain_bytes(kind);
#if LEVEL_VECTOR == 64
    if (kind == PLAIN_F16)
        return (part)_mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)p));
    if (kind == PLAIN_BF16)
        return (part)_mm512_slli_epi32(
            _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)p)), 16);
#elif LEVEL_VECTOR == 32
    if (kind == PLAIN_F16)
        return (part)_mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)p));
    if (kind == PLAIN_BF16)
        return (part)_mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)p)),
                                       16);
#endif
    memcpy(&v, p, sizeof v);
    return v;
}

/* n numbers, one by one. */
INLINE void plain_tail(enum plain_kind kind, const uint8_t *p, int64_t n, float *out)
{
    for (int64_t i = 0; i < n; i++)
        out[i] = kind == PLAIN_F32   ? float_of_bits(load_u32(p + 4 * i))
                 : kind == PLAIN_F16 ? load_f16(p + 2 * i)
                                     : float_of_bits((uint32_t)load_u16(p + 2 * i) << 16);
}

#endif
