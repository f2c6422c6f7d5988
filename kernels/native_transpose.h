/* SPDX-License-Identifier: MIT */
/* Vectors of the level's width for native mode: how sixteen or eight 32-bit lanes are handled and
 * turned. */
#ifndef QDB_KERNELS_NATIVE_TRANSPOSE_H
#define QDB_KERNELS_NATIVE_TRANSPOSE_H

#include <stdint.h>
#include <string.h>

#ifdef __AVX2__
#include <immintrin.h>

#ifdef __AVX512VNNI__

enum { WIDTH = 16 };
typedef __m512i ints;
typedef __m512 floats;
#define I(op)            _mm512_##op
#define ints_zero        _mm512_setzero_si512
#define ints_of          _mm512_set1_epi32
#define ints_load(p)     _mm512_loadu_si512(p)
#define ints_store(p, v) _mm512_storeu_si512(p, v)

#else

enum { WIDTH = 8 };
typedef __m256i ints;
typedef __m256 floats;
#define I(op)            _mm256_##op
#define ints_zero        _mm256_setzero_si256
#define ints_of          _mm256_set1_epi32
#define ints_load(p)     _mm256_loadu_si256((const __m256i *)(p))
#define ints_store(p, v) _mm256_storeu_si256((__m256i *)(p), v)

#endif

#define EACH_LANE _Pragma("GCC unroll 16") for (int r = 0; r < WIDTH; r++)

/* Four bytes to every lane. */
static inline __attribute__((always_inline)) ints four_bytes(const void *p)
{
    int32_t v;
    memcpy(&v, p, sizeof v);
    return ints_of(v);
}

/* WIDTH vectors of WIDTH dwords: v[i][j] and v[j][i] change places. */
static inline __attribute__((always_inline)) void transpose(ints v[WIDTH])
{
    ints t[WIDTH], u[WIDTH];
#pragma GCC unroll 16
    for (int i = 0; i < WIDTH; i += 2) {
        t[i] = I(unpacklo_epi32)(v[i], v[i + 1]);
        t[i + 1] = I(unpackhi_epi32)(v[i], v[i + 1]);
    }
#pragma GCC unroll 16
    for (int i = 0; i < WIDTH; i += 4) {
        u[i] = I(unpacklo_epi64)(t[i], t[i + 2]);
        u[i + 1] = I(unpackhi_epi64)(t[i], t[i + 2]);
        u[i + 2] = I(unpacklo_epi64)(t[i + 1], t[i + 3]);
        u[i + 3] = I(unpackhi_epi64)(t[i + 1], t[i + 3]);
    }
    /* Now 128-bit lane L of u[4 i + j] has column 4 L + j of rows 4 i .. 4 i + 3. */
#pragma GCC unroll 4
    for (int j = 0; j < 4; j++) {
#ifdef __AVX512VNNI__
        const ints a = _mm512_shuffle_i32x4(u[j], u[4 + j], 0x88);
        const ints b = _mm512_shuffle_i32x4(u[j], u[4 + j], 0xdd);
        const ints c = _mm512_shuffle_i32x4(u[8 + j], u[12 + j], 0x88);
        const ints d = _mm512_shuffle_i32x4(u[8 + j], u[12 + j], 0xdd);
        v[j] = _mm512_shuffle_i32x4(a, c, 0x88);
        v[4 + j] = _mm512_shuffle_i32x4(b, d, 0x88);
        v[8 + j] = _mm512_shuffle_i32x4(a, c, 0xdd);
        v[12 + j] = _mm512_shuffle_i32x4(b, d, 0xdd);
#else
        v[j] = _mm256_permute2x128_si256(u[j], u[4 + j], 0x20);
        v[4 + j] = _mm256_permute2x128_si256(u[j], u[4 + j], 0x31);
#endif
    }
}

#endif
#endif
