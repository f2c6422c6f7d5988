/* SPDX-License-Identifier: MIT */
/* Native mode, unpackers of the formats with one scale per small block. Included once per level;
 * the layouts of the blocks are told in codec_blocks.c. */
#ifndef QDB_KERNELS_NATIVE_BLOCKS_H
#define QDB_KERNELS_NATIVE_BLOCKS_H

#include "kernels/codebooks.h"
#include "kernels/codec.h"
#include "kernels/native.h"

#ifdef __SSSE3__
#include <immintrin.h>
#endif

#define UNPACKER(name) \
    static void unpack_##name(const uint8_t *restrict p, int64_t n, const struct native_row *w)

/* Bytes side by side, which every level has in some width. Shifts and masks are per byte. */
typedef uint8_t bytes8 __attribute__((vector_size(8)));
typedef uint8_t bytes16 __attribute__((vector_size(16)));
typedef uint8_t bytes32 __attribute__((vector_size(32)));
#define BYTES(type, name, from) \
    type name; \
    memcpy(&name, from, sizeof name)
#define PUT(to, type, value) \
    do { \
        const type put_value = (value); \
        memcpy(to, &put_value, sizeof put_value); \
    } while (0)

static inline float scale_f16(const uint8_t *p)
{
#ifdef __F16C__
    return _cvtsh_ss(load_u16(p));
#else
    return load_f16(p);
#endif
}

/* Nibbles of 16 bytes: element j is the low half of byte j, element j + 16 the high half. */
static inline void put_nibbles(const uint8_t *q, uint8_t *code)
{
    BYTES(bytes16, v, q);
    PUT(code, bytes16, v & 15);
    PUT(code + 16, bytes16, v >> 4);
}

/* The same for `blocks` blocks of 32, `stride` bytes apart. */
static inline void put_all_nibbles(const uint8_t *q, int stride, int64_t blocks, uint8_t *code)
{
    int64_t i = 0;
#ifdef __AVX512BW__
    const __m512i twice = _mm512_setr_epi64(0, 1, 0, 1, 2, 3, 2, 3);
    const __m512i shift = _mm512_inserti64x4(
        _mm512_castsi256_si512(_mm256_setr_epi64x(0, 0, 0x0004000400040004, 0x0004000400040004)),
        _mm256_setr_epi64x(0, 0, 0x0004000400040004, 0x0004000400040004), 1);
    for (; i + 2 <= blocks; i += 2, q += 2 * stride) {
        const __m128i a = _mm_loadu_si128((const __m128i *)q);
        const __m128i b = _mm_loadu_si128((const __m128i *)(q + stride));
        const __m256i both = _mm256_inserti128_si256(_mm256_castsi128_si256(a), b, 1);
        const __m512i v = _mm512_permutexvar_epi64(twice, _mm512_castsi256_si512(both));
        _mm512_storeu_si512(code + 32 * i,
                            _mm512_and_si512(_mm512_srlv_epi16(v, shift), _mm512_set1_epi8(15)));
    }
#endif
    for (; i < blocks; i++, q += stride)
        put_nibbles(q, code + 32 * i);
}

#ifdef __SSSE3__
/* Words of 16 bits, `stride` bytes apart. */
static inline __m128i eight_words(const uint8_t *p, size_t stride)
{
    __m128i h = _mm_cvtsi32_si128(load_u16(p));
    h = _mm_insert_epi16(h, load_u16(p + stride), 1);
    h = _mm_insert_epi16(h, load_u16(p + 2 * stride), 2);
    h = _mm_insert_epi16(h, load_u16(p + 3 * stride), 3);
    h = _mm_insert_epi16(h, load_u16(p + 4 * stride), 4);
    h = _mm_insert_epi16(h, load_u16(p + 5 * stride), 5);
    h = _mm_insert_epi16(h, load_u16(p + 6 * stride), 6);
    return _mm_insert_epi16(h, load_u16(p + 7 * stride), 7);
}
#endif

/* Halves of `blocks` blocks, `stride` bytes apart. */
static inline void put_halves(const uint8_t *p, int stride, int64_t blocks, float *d)
{
    int64_t i = 0;
#ifdef __F16C__
    for (; i + 8 <= blocks; i += 8, p += 8 * stride)
        _mm256_storeu_ps(d + i, _mm256_cvtph_ps(eight_words(p, (size_t)stride)));
#endif
    for (; i < blocks; i++, p += stride)
        d[i] = scale_f16(p);
}

/* The same, each nibble the row of a codebook. */
static inline void look_nibbles(const uint8_t *q, const uint8_t *book, uint8_t *code)
{
#ifdef __SSSE3__
    BYTES(bytes16, v, q);
    const __m128i table = _mm_loadu_si128((const __m128i *)book);
    PUT(code, __m128i, _mm_shuffle_epi8(table, (__m128i)(v & 15)));
    PUT(code + 16, __m128i, _mm_shuffle_epi8(table, (__m128i)(v >> 4)));
#else
    for (int j = 0; j < 16; j++) {
        code[j] = book[q[j] & 15];
        code[j + 16] = book[q[j] >> 4];
    }
#endif
}

static inline void integer_book(const float *levels, int zero, uint8_t *book)
{
    for (int j = 0; j < 16; j++)
        book[j] = (uint8_t)((int)levels[j] + zero);
}

/* Bit j of a little-endian u32 is the fifth bit of element j. */
static inline void put_fifth_bits(const uint8_t *qh, uint8_t *code)
{
    uint8_t high[32];
    for (int j = 0; j < 4; j++)
        spread_bits(qh[j], 16, high + 8 * j);
    BYTES(bytes32, v, code);
    BYTES(bytes32, h, high);
    PUT(code, bytes32, v | h);
}

UNPACKER(q1_0)
{
    for (int64_t i = 0; i < n; i += 128, p += 18) {
        for (int j = 0; j < 16; j++)
            spread_bits(p[2 + j], 2, w->code + i + 8 * j);
        for (int j = 0; j < 4; j++)
            w->d[i / 32 + j] = scale_f16(p);
    }
}

UNPACKER(q2_0)
{
    for (int64_t i = 0; i < n; i += 64, p += 18) {
        for (int j = 0; j < 16; j++)
            spread_pairs(p[2 + j], w->code + i + 4 * j);
        w->d[i / 32] = w->d[i / 32 + 1] = scale_f16(p);
    }
}

UNPACKER(q4_0)
{
    put_halves(p, 18, n / 32, w->d);
    put_all_nibbles(p + 2, 18, n / 32, w->code);
}

UNPACKER(q4_1)
{
    put_halves(p, 20, n / 32, w->d);
    put_halves(p + 2, 20, n / 32, w->m);
    put_all_nibbles(p + 4, 20, n / 32, w->code);
}

UNPACKER(q5_0)
{
    put_halves(p, 22, n / 32, w->d);
    put_all_nibbles(p + 6, 22, n / 32, w->code);
    for (int64_t i = 0; i < n / 32; i++)
        put_fifth_bits(p + 22 * i + 2, w->code + 32 * i);
}

UNPACKER(q5_1)
{
    put_halves(p, 24, n / 32, w->d);
    put_halves(p + 2, 24, n / 32, w->m);
    put_all_nibbles(p + 8, 24, n / 32, w->code);
    for (int64_t i = 0; i < n / 32; i++)
        put_fifth_bits(p + 24 * i + 4, w->code + 32 * i);
}

UNPACKER(q8_0)
{
    uint8_t *restrict code = w->code;
    put_halves(p, 34, n / 32, w->d);
    for (int64_t i = 0; i < n / 32; i++) {
        BYTES(bytes32, v, p + 34 * i + 2);
        PUT(code + 32 * i, bytes32, v ^ 0x80);
    }
}

UNPACKER(iq4_nl)
{
    uint8_t book[16];
    integer_book(codebook_iq4nl, 128, book);
    put_halves(p, 18, n / 32, w->d);
    for (int64_t i = 0; i < n / 32; i++)
        look_nibbles(p + 18 * i + 2, book, w->code + 32 * i);
}

UNPACKER(mxfp4)
{
    uint8_t book[16];
    integer_book(codebook_e2m1_doubled, 12, book);
    for (int64_t i = 0; i < n / 32; i++, p += 17) {
        w->d[i] = e8m0_half(p[0]);
        look_nibbles(p + 1, book, w->code + 32 * i);
    }
}

UNPACKER(nvfp4)
{
    uint8_t book[16];
    integer_book(codebook_e2m1_doubled, 12, book);
    for (int64_t i = 0; i < n / 16; i++) {
        const uint8_t *block = p + i / 4 * 36;
        w->d[i] = ue4m3_half(block[i % 4]);
        const uint8_t *q = block + 4 + 8 * (i % 4);
        for (int j = 0; j < 8; j++) {
            w->code[16 * i + j] = book[q[j] & 15];
            w->code[16 * i + j + 8] = book[q[j] >> 4];
        }
    }
}

#endif
